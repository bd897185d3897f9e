"""Exports the results of done jobs in formats that other tools read."""

from runner.export.formats import FORMATS, Exported, export
from runner.export.rows import ExportOptions

__all__ = [
    "ExportOptions",
    "Exported",
    "FORMATS",
    "export",
]
