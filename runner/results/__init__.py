"""What jobs leave on disk: files, manifests, metrics, and whether they are whole."""

from runner.results.folder import MANIFEST, ResultsFolder
from runner.results.metrics import METRICS, MetricsLog
from runner.results.mirror import LogMirror
from runner.results.render_job import RECORD_FIELDS, RenderJob
from runner.results.sheet import contact_sheet
from runner.results.verify import Findings

__all__ = [
    "Findings",
    "LogMirror",
    "MANIFEST",
    "METRICS",
    "MetricsLog",
    "RECORD_FIELDS",
    "RenderJob",
    "ResultsFolder",
    "contact_sheet",
]
