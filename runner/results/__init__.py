"""What jobs leave on disk: files, manifests, metrics, and whether they are whole."""

from runner.results.columns import COLUMNS, FILES, named
from runner.results.encode import IMAGE_KINDS
from runner.results.folder import (
    JOBS_PER_FOLDER,
    MANIFEST,
    RUN_LOG,
    Kept,
    ResultsFolder,
    folder_name,
    make_results,
)
from runner.results.metrics import METRICS, MetricsLog
from runner.results.mirror import LogMirror
from runner.results.moving import move_shards, settle_moved
from runner.results.names import checked_name
from runner.results.packed import PackedResults
from runner.results.recovery import recover
from runner.results.remote import address_of, fetch, is_url, probe
from runner.results.render_job import RenderJob
from runner.results.shards import is_at_rest, told
from runner.results.sheet import contact_sheet
from runner.results.shown import is_scaled, range_of, shown
from runner.results.stored import Moved, Stored, moved_of
from runner.results.tile import small_frame, small_jpeg
from runner.results.verify import Findings
from runner.results.whose import Whose

__all__ = [
    "COLUMNS",
    "FILES",
    "Findings",
    "IMAGE_KINDS",
    "JOBS_PER_FOLDER",
    "Kept",
    "LogMirror",
    "MANIFEST",
    "METRICS",
    "MetricsLog",
    "Moved",
    "PackedResults",
    "RUN_LOG",
    "RenderJob",
    "ResultsFolder",
    "Stored",
    "address_of",
    "Whose",
    "checked_name",
    "contact_sheet",
    "fetch",
    "folder_name",
    "is_at_rest",
    "is_scaled",
    "is_url",
    "make_results",
    "move_shards",
    "moved_of",
    "named",
    "probe",
    "range_of",
    "recover",
    "settle_moved",
    "shown",
    "small_frame",
    "small_jpeg",
    "told",
]
