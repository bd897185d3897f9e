"""What jobs leave on disk: files, manifests, metrics, and whether they are whole."""

from runner.results.columns import COLUMNS, FILES, named
from runner.results.encode import IMAGE_KINDS
from runner.results.folder import MANIFEST, RUN_LOG, ResultsFolder, make_results
from runner.results.metrics import METRICS, MetricsLog
from runner.results.mirror import LogMirror
from runner.results.render_job import RenderJob
from runner.results.sheet import contact_sheet
from runner.results.shown import is_scaled, range_of, shown
from runner.results.tile import small_frame, small_jpeg
from runner.results.verify import Findings

__all__ = [
    "COLUMNS",
    "FILES",
    "Findings",
    "IMAGE_KINDS",
    "LogMirror",
    "MANIFEST",
    "METRICS",
    "MetricsLog",
    "RUN_LOG",
    "RenderJob",
    "ResultsFolder",
    "contact_sheet",
    "is_scaled",
    "make_results",
    "named",
    "range_of",
    "shown",
    "small_frame",
    "small_jpeg",
]
