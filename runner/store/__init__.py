"""Rows and the rules of their moves, in SQLite or PostgreSQL."""

from runner.store.database import Cursor, Database
from runner.store.moves import Store
from runner.store.reader import Reader

__all__ = [
    "Cursor",
    "Database",
    "Reader",
    "Store",
]
