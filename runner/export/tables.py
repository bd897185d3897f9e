"""Tables: parquet, CSV and JSON lines, a row a job."""

from __future__ import annotations

import csv
from itertools import islice
from pathlib import Path

from runner.errors import ExportError
from runner.export.rows import BATCH, Rows
from runner.export.targets import needing, replacing, to_json


def write_jsonl(rows: Rows, target: Path) -> None:
    with replacing(target) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(to_json(row) + "\n")


def write_csv(rows: Rows, target: Path) -> None:
    """Lists and dicts are cells of JSON; what a job does not have is empty."""
    with replacing(target) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows.columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {
                    name: to_json(value) if isinstance(value, (list, dict)) else value
                    for name, value in row.items()
                }
            )


def write_parquet(rows: Rows, target: Path) -> None:
    """Each param and metric a column of its type, wide enough for all jobs."""
    with needing("pyarrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    tables, remaining = [], iter(rows)
    try:
        while batch := list(islice(remaining, BATCH)):
            tables.append(pa.table({name: [row.get(name) for row in batch] for name in rows.columns}))
        table = pa.concat_tables(tables, promote_options="permissive")
        for index, field in enumerate(table.schema):
            if pa.types.is_null(field.type):
                # Text that no job has, such as errors: a column without a type is what many readers refuse.
                table = table.set_column(index, field.name, table.column(index).cast(pa.string()))
        with replacing(target) as temporary:
            pq.write_table(table, temporary, compression="zstd")
    except pa.ArrowException as error:
        raise ExportError(
            f"parquet cannot hold these jobs in typed columns ({str(error).splitlines()[0]}); jsonl and csv can"
        ) from None
