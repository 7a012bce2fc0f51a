"""The columns of a table file: CSV, gzipped CSV or Parquet; only those that a study needs."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_job.data.dialect import Dialect, recognise_dialect
from hpo_job.data.kinds import as_text
from hpo_job.errors import DataError, unknown

if TYPE_CHECKING:
    import pandas as pd

CSV, PARQUET = (".csv", ".csv.gz"), (".parquet",)
# Cells that stand for a missing value, as pandas has it
MISSING = [
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
    "NULL",
    "NaN",
    "None",
    "n/a",
    "nan",
    "null",
]
_SUFFIXES = ", ".join((*CSV, *PARQUET))


def is_table(file: Path) -> bool:
    """Whether a file has the name of a table that can be read."""
    return file.name.lower().endswith((*CSV, *PARQUET))


def dialect(file: Path) -> Dialect:
    """How a table is written, where that is text."""
    return Dialect() if file.name.lower().endswith(PARQUET) else recognise_dialect(file)


def names(file: Path) -> tuple[str, ...]:
    """The names of the table's columns, in its order; those without a name are left out.

    Raises:
        DataError: there is no such table; the text begins with the file.
    """
    if file.is_dir():
        raise DataError(f"{file}: a folder; expected a table in one file ({_SUFFIXES})")
    if not file.is_file():
        raise DataError(f"{file}: no such file; [data] path must be a table ({_SUFFIXES})")
    if not is_table(file):
        raise DataError(f"{file}: not a table that can be read; expected {_SUFFIXES}")
    if file.name.lower().endswith(PARQUET):
        return tuple(name for name in _parquet_columns(file) if not name.startswith("__index_"))
    # Two lines: where the second is longer, pandas would take its first cells for row names.
    first = _csv(file, header=None, nrows=2, dtype="str", keep_default_na=False).iloc[0]
    present = [name for name in first if name]  # one without a name is a row number, as a rule
    for name in present:
        if present.count(name) > 1:
            raise DataError(f"{file}: two columns are called {name!r}; rename one")
    return tuple(present)


def read(file: Path, columns: Sequence[str], verbatim: Collection[str] = ()) -> pd.DataFrame:
    """The ``columns`` of a table, with rows numbered from 0.

    Args:
        file: the table.
        columns: their names, in the order wanted.
        verbatim: those of which every cell is text, as written, and missing only where nothing is
            written: a class may be called NA, or 007.

    Returns:
        Of a CSV file, text; what pandas takes for missing is NaN. Of a Parquet file, its own types.

    Raises:
        DataError: the file cannot be read; the text begins with its name.
    """
    if file.name.lower().endswith(PARQUET):
        frame = _parquet(file, columns)
        for name in verbatim:
            frame[name] = as_text(frame[name])
    else:
        frame = _csv(
            file,
            dtype="str",
            keep_default_na=False,
            na_values={name: MISSING for name in columns if name not in verbatim},
        )
    for name in verbatim:
        frame[name] = frame[name].fillna("")  # of a line that is too short
    return frame[list(columns)]


def require(file: Path, key: str, column: str, known: Sequence[str]) -> None:
    """Check that the table has the ``column`` that ``key`` of [data] names.

    Raises:
        DataError: it has not; the nearest one is named.
    """
    if column not in known:
        raise DataError(f"data.{key}: {file}: {unknown('column', column, known)}")


def _csv(file: Path, **options: object) -> pd.DataFrame:
    import pandas as pd

    written = dialect(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # it would lose data
            # low_memory: pandas would guess a column's type anew for every part of the file.
            frame: pd.DataFrame = pd.read_csv(  # type: ignore[call-overload]
                file,
                low_memory=False,
                encoding=written.encoding,
                sep=written.separator,
                **options,
            )
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{file}: empty; expected a first line that names the columns") from error
    except (ValueError, OSError, EOFError, zlib.error, pd.errors.ParserWarning) as error:
        raise _unreadable(file, "CSV", error) from error
    return frame


def _parquet(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    from pyarrow import parquet

    try:
        # ignore_metadata: pandas would make row names of a column that it wrote as such
        table = _plain(file, parquet.read_table(file, columns=list(columns)))
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise _unreadable(file, "Parquet", error) from error
    return frame


def _parquet_columns(file: Path) -> list[str]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f"{file}: Parquet needs pyarrow: pip install 'hpo-job[parquet]' (or pyarrow)"
        ) from error
    try:
        return list(parquet.read_schema(file).names)
    except (OSError, ValueError) as error:
        raise _unreadable(file, "Parquet", error) from error


def _plain(file: Path, table: Any) -> Any:
    """A Parquet table with decimals as floats, and bytes as the text they are."""
    import pyarrow as pa

    fields = []
    for field in table.schema:
        if pa.types.is_nested(field.type):
            raise DataError(
                f"{file}: column {field.name!r} holds nested values ({field.type}); make plain "
                "columns of them, or leave it out"
            )
        if pa.types.is_decimal(field.type):
            field = field.with_type(pa.float64())
        elif pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            field = field.with_type(pa.string())
        fields.append(field)
    return table.cast(pa.schema(fields))


def _unreadable(file: Path, kind: str, error: BaseException) -> DataError:
    if isinstance(error, UnicodeDecodeError):
        text = f"the byte 0x{error.object[error.start]:02x} in it is not UTF-8; save it as UTF-8"
    else:
        text = " ".join(str(error).split())
    return DataError(f"{file}: not a readable {kind} file: {text}")
