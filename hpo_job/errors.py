"""The errors that a user can fix, with the exit code of each, and how a message is worded."""

import difflib
from collections.abc import Iterable


class HpoJobError(Exception):
    """Something the user can fix; its text is one line: where, what is wrong, how to fix it."""

    exit_code = 1


class SpecError(HpoJobError):
    """The job folder or its study.toml is wrong; a retry cannot succeed."""

    exit_code = 2


class MachineError(SpecError):
    """This machine cannot run what study.toml asks for; another one may.

    Args:
        text: the message.
        parameter: the parameter of the search space that asks for it.
    """

    def __init__(self, text: str, parameter: str) -> None:
        super().__init__(text)
        self.parameter = parameter


class DataError(HpoJobError):
    """The data of a study is missing, unreadable or unsuitable; a retry cannot succeed."""

    exit_code = 2


class FetchError(HpoJobError):
    """Data could not be downloaded; a retry may succeed."""

    exit_code = 1


class ClusterError(HpoJobError):
    """The cluster rejected the request or lacks something it needs; the message says how to fix it.

    A retry cannot succeed.
    """

    exit_code = 2


class StorageError(HpoJobError):
    """The storage cannot be reached, read or written; the message never contains a password."""

    exit_code = 2


class UnreachableError(StorageError):
    """The storage did not answer for as long as the patience; a retry may reach it."""

    exit_code = 1


class GoneError(StorageError, KeyError):
    """A study or trial that is in use was deleted; a KeyError, as Optuna expects of a storage."""

    __str__ = Exception.__str__  # KeyError's own would show the text in quotes


class StudyError(HpoJobError):
    """The study does not exist, was deleted, or is not the one that study.toml describes."""

    exit_code = 2


class QueryError(HpoJobError):
    """A question about a study's results names something that does not exist."""

    exit_code = 2


class DiskFullError(HpoJobError):
    """The disk of a worker's pod is full; the next pod of its index starts with an empty one."""

    exit_code = 1


class FailuresError(HpoJobError):
    """Too many trials failed one after the other."""

    exit_code = 1


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that does not exist: the most similar one, and all that do."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    suggestion = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"unknown {kind} {name!r}; {suggestion}known: {', '.join(names)}"


def problem(error: BaseException) -> str:
    """One line that says what is wrong with a file, from what opening or reading it raised."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split()) or type(error).__name__


def plural(count: int, one: str, several: str | None = None) -> str:
    """``count`` with its noun: 1 row, 2 rows."""
    return f"{count} {one if count == 1 else several or one + 's'}"


UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def binary_size(count: float) -> str:
    """A number of bytes as a person says it: ``512 B``, ``6.0 KiB`` or ``120 GiB``."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    decimals = 0 if unit == 0 or value >= 100 else 1
    return f"{value:.{decimals}f} {UNITS[unit]}"


def one_line(text: object, limit: int = 300) -> str:
    """A text on one line, cut after ``limit`` characters."""
    line = " ".join(str(text or "").split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
