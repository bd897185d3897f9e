"""Tables: parquet, CSV and JSON lines, a row a job."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from runner.cells import cell, is_formula
from runner.errors import ExportError
from runner.export.rows import BATCH, Row, Rows
from runner.export.targets import needing, replacing, to_json
from runner.export.typed import Shape, as_text, typed

# How many rows are in memory at once, and are read by others in one go.
_ROW_GROUP = 100_000


def write_jsonl(rows: Rows, target: Path) -> None:
    with replacing(target) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(to_json(row) + "\n")


def write_csv(rows: Rows, target: Path) -> None:
    """Lists and dicts are cells of JSON, formulas become text; missing values are empty."""
    with replacing(target) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        as_needed = csv.writer(file, lineterminator="\n")
        # Python's own writer leaves a bare carriage return unquoted, and readers take it for the end of a line.
        all_quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        formulas = 0
        for cells in _cells(rows):
            formulas += sum(map(is_formula, cells))
            cells = list(map(cell, cells))
            has_return = any(isinstance(value, str) and "\r" in value for value in cells)
            (all_quoted if has_return else as_needed).writerow(cells)
    if formulas:
        rows.notes.append(
            f"{formulas:,} texts that a spreadsheet might run as formulas have a ' before them here; "
            "jsonl and parquet have them as they are"
        )


def _cells(rows: Rows) -> Any:
    """The names of the columns, then each row's cells."""
    yield rows.columns
    for row in rows:
        values = [row.get(name) for name in rows.columns]
        yield [to_json(value) if isinstance(value, (list, dict)) else value for value in values]


def write_parquet(rows: Rows, target: Path) -> None:
    """Each param and metric becomes a column of its type, wide enough for all jobs; text where no type fits."""
    with needing("pyarrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq

    shapes, texts = typed(rows, rows.columns, "parquet")
    rows.note_texts(texts)
    schema = pa.schema(
        [(name, pa.string() if name in texts else _arrow_type(shapes[name])) for name in rows.columns]
    )
    remaining = iter(rows)

    def tables(count: int) -> Iterator[pa.Table]:
        """The next rows, at most so many, in parts that are not too large as Python values."""
        for _ in range(count // BATCH):
            if batch := list(islice(remaining, BATCH)):
                columns = [_column(batch, name, name in texts) for name in rows.columns]
                arrays = [pa.array(column, type) for column, type in zip(columns, schema.types)]
                yield pa.Table.from_arrays(arrays, schema=schema)

    try:
        with (
            replacing(target) as temporary,
            pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
        ):
            while group := list(tables(_ROW_GROUP)):
                writer.write_table(pa.concat_tables(group))
    except pa.ArrowException as error:
        raise ExportError(
            f"parquet cannot hold these jobs in typed columns ({str(error).splitlines()[0]}); jsonl and csv can"
        ) from None


def _column(batch: list[Row], name: str, is_text: bool) -> list[Any]:
    values = [row.get(name) for row in batch]
    return list(map(as_text, values)) if is_text else values


def _arrow_type(shape: Shape) -> Any:
    """Text for columns that no job fills, such as errors: many readers refuse a column without a type."""
    import pyarrow as pa

    if shape.kind == "list":
        return pa.list_(_arrow_type(shape.inner or Shape()))
    if shape.kind == "dict":
        return pa.struct([(name, _arrow_type(inner)) for name, inner in shape.fields.items()])
    if shape.kind == "int":
        return pa.uint64() if shape.high >= 1 << 63 else pa.int64()
    return {"bool": pa.bool_(), "float": pa.float64()}.get(shape.kind, pa.string())
