"""A table that a command writes as .csv or .csv.gz: whole, or not at all."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TextIO, cast

from hpo_job.errors import DataError, problem


def require_writable(output: Path) -> None:
    """Raise DataError where no table can be written at ``output``, or its name is no table's."""
    if not output.name.endswith((".csv", ".csv.gz")):
        raise DataError(f"{output}: the name of the table has to end in .csv or .csv.gz")
    if output.is_dir():
        raise DataError(f"{output}: is a folder")
    if not output.parent.is_dir():
        raise DataError(f"{output}: there is no folder {output.parent}")


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A text file that takes the place of ``path`` when the block ends well, and else is gone."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with ExitStack() as files:
            binary: IO[bytes] = files.enter_context(temporary.open("wb"))
            if path.suffix == ".gz":
                # No name and no time, so that the same rows are the same bytes
                packed = gzip.GzipFile("", "wb", 6, binary, mtime=0)
                binary = files.enter_context(cast("IO[bytes]", packed))
            yield files.enter_context(io.TextIOWrapper(binary, encoding="utf-8", newline=""))
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {problem(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)
