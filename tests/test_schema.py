"""schema.sql and runner/store/schema.py tell the same."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import sqlalchemy as sa

from runner.store import schema

SCHEMA_SQL = Path(__file__).parents[1] / "schema.sql"


def statements(connection) -> dict[str, str]:
    """Each table's and index's CREATE statement, without comments and layout."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {
        name: re.sub(r"\s*([(),])\s*", r"\1", re.sub(r"\s+", " ", re.sub(r"--.*", "", sql)))
        for name, sql in rows
    }


def test_schema_sql_equals_the_tables_that_the_store_makes():
    """A reader of schema.sql reads what is in the database, to the letter."""
    told = sqlite3.connect(":memory:")
    told.executescript(SCHEMA_SQL.read_text())
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        schema.create_tables(connection)
        made = statements(connection.connection.driver_connection)
        assert statements(told) == made
    assert len(made) >= 12
    told.close()
