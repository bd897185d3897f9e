"""Rows and the rules of their moves, in SQLite or PostgreSQL."""

from runner.store.database import Cursor, Database
from runner.store.moves import Store
from runner.store.reader import Reader
from runner.store.spool import Comparison, Spool, compare

__all__ = [
    "Comparison",
    "Cursor",
    "Database",
    "Reader",
    "Spool",
    "Store",
    "compare",
]
