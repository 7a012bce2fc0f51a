"""Tables and records written exactly, as JSON, CSV or Parquet, by every command that has --format.

Whoever reads a number back has the same number, down to the last bit. JSON has no infinite numbers
and no NaN: they are the strings "Infinity", "-Infinity" and "NaN", which ``float`` understands.
What is missing is null in JSON and Parquet, and an empty cell in CSV.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from hpo_job.errors import StudyError, problem


class Missing(Enum):
    """The cell of a row that has no such value; None is a value like any other."""

    MISSING = "missing"


MISSING = Missing.MISSING
Row = Mapping[str, Any]


def to_json(content: Any) -> str:
    """Any nesting of mappings, sequences and cells as JSON text with a newline at its end."""
    return json.dumps(_json_cell(content), indent=2, allow_nan=False) + "\n"


def to_csv(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """Rows as CSV text with a heading."""
    lines = [_csv_line(columns)]
    lines += [_csv_line([_csv_cell(row.get(name, MISSING)) for name in columns]) for row in rows]
    return "".join(lines)


def to_text(columns: Sequence[str], rows: Iterable[Row], form: str) -> str:
    """Rows as ``"csv"`` or ``"json"`` text; in JSON every row has every column."""
    if form == "csv":
        return to_csv(columns, rows)
    return to_json([{name: row.get(name, MISSING) for name in columns} for row in rows])


def write_parquet(columns: Sequence[str], rows: Sequence[Row], file: Path) -> None:
    """Rows as a Parquet file.

    A Parquet column has one type. A parameter or attribute that is a string in one row and a
    number in another, or a table, is written as JSON text.

    Raises:
        StudyError: pyarrow is not installed, or the file cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise StudyError(
            "parquet needs pyarrow: pip install 'hpo-job[parquet]', or choose csv"
        ) from error
    arrays = {name: _array([row.get(name, MISSING) for row in rows]) for name in columns}
    table = pa.table(list(arrays.values()), names=list(arrays))
    table = table.replace_schema_metadata({"pandas": json.dumps(_nullable_integers(table))})
    try:
        pq.write_table(table, file)
    except OSError as error:
        raise StudyError(f"{file}: cannot be written: {problem(error)}") from error


def _array(cells: Sequence[Any]) -> Any:
    import pyarrow as pa

    values = [None if cell is MISSING else _python(cell) for cell in cells]
    if not any(isinstance(value, dict) for value in values):
        try:
            return pa.array(values)
        except (
            pa.ArrowInvalid,  # several types, or integers among floats that no float can hold
            pa.ArrowTypeError,
            pa.ArrowNotImplementedError,
            OverflowError,  # integers of more than 64 bits
            UnicodeEncodeError,  # bytes of a file name that are no UTF-8
        ):
            pass
    return pa.array(
        [None if cell is MISSING else json.dumps(_json_cell(cell)) for cell in cells], pa.string()
    )


def _nullable_integers(table: Any) -> dict[str, Any]:
    """What tells pandas to read integers with missing cells as integers, not as floats."""
    import pyarrow as pa

    kinds = {
        field.name: "Int64" if pa.types.is_integer(field.type) else "boolean"
        for field, column in zip(table.schema, table.columns, strict=True)
        if column.null_count
        and (pa.types.is_integer(field.type) or pa.types.is_boolean(field.type))
    }
    columns = [
        {
            "name": name,
            "field_name": name,
            "pandas_type": "int64" if kind == "Int64" else "bool",
            "numpy_type": kind,
            "metadata": None,
        }
        for name, kind in kinds.items()
    ]
    return {"index_columns": [], "column_indexes": [], "columns": columns}


def _json_cell(cell: Any) -> Any:
    cell = _python(cell)
    if is_dataclass(cell):
        cell = vars(cell)
    if isinstance(cell, Mapping):
        return {str(name): _json_cell(each) for name, each in cell.items()}
    if isinstance(cell, list | tuple):
        return [_json_cell(each) for each in cell]
    if isinstance(cell, float) and not math.isfinite(cell):
        return "NaN" if math.isnan(cell) else "Infinity" if cell > 0 else "-Infinity"
    if cell is MISSING or cell is None or isinstance(cell, bool | int | float | str):
        return None if cell is MISSING else cell
    if isinstance(cell, datetime | date):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return _iso_duration(cell)
    return str(cell)


def _csv_line(cells: Sequence[str]) -> str:
    """One line, which ends in a newline; cells with any line break are quoted."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # which decides what is quoted
    return text.getvalue().removesuffix("\r\n") + "\n"


def _csv_cell(cell: Any) -> str:
    cell = _python(cell)
    if cell is MISSING:
        return ""
    if isinstance(cell, float):
        return repr(cell)
    if isinstance(cell, Mapping | list | tuple):
        return json.dumps(_json_cell(cell))
    if isinstance(cell, timedelta):
        return _iso_duration(cell)
    return str(cell)


def _python(cell: Any) -> Any:
    """Values of numpy and pandas as Python's."""
    if type(cell).__module__ == "builtins" or cell is MISSING:
        return cell
    if type(cell).__name__ in ("NaTType", "NAType"):
        return MISSING
    for convert in ("to_pydatetime", "to_pytimedelta", "item"):
        if hasattr(cell, convert):
            return getattr(cell, convert)()
    return cell


def _iso_duration(duration: timedelta) -> str:
    """``P0DT0H1M30.5S``, as pandas writes durations to JSON, exact to the microsecond."""
    sign = "-" if duration < timedelta(0) else ""
    duration = abs(duration)
    hours, rest = divmod(duration.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    fraction = f".{duration.microseconds:06}".rstrip("0").rstrip(".")
    return f"{sign}P{duration.days}DT{hours}H{minutes}M{seconds}{fraction}S"
