"""The errors a user can mend: one line each, and the exit code the command ends with."""

import difflib
from collections.abc import Iterable


class HpoJobError(Exception):
    """Something the user can mend; its text is one line: where, what was found, what would do."""

    exit_code = 1


class SpecError(HpoJobError):
    """The job folder or its study.toml is wrong; no retry can mend it."""

    exit_code = 2


class DataError(HpoJobError):
    """The data a study names is missing, unreadable or unfit; no retry can mend it."""

    exit_code = 2


class FetchError(HpoJobError):
    """Data could not be fetched now; a later try may get it."""

    exit_code = 1


class ClusterError(HpoJobError):
    """The cluster refused, or has not what it takes; its text says what would do."""

    exit_code = 2


class StorageError(HpoJobError):
    """The storage cannot be reached, read or written; its text never holds a password."""

    exit_code = 2


class UnreachableError(StorageError):
    """The storage did not answer for as long as was waited; a later try may reach it."""

    exit_code = 1


class StudyError(HpoJobError):
    """The study asked for does not exist, or is not the one that study.toml describes."""

    exit_code = 2


class QueryError(HpoJobError):
    """What was asked of a study's results names something there is not."""

    exit_code = 2


class FailuresError(HpoJobError):
    """Too many trials failed one after the other."""

    exit_code = 1


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The problem of a name that does not exist: the nearest one, and all there are."""
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    meant = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"unknown {kind} {name!r}; {meant}known: {', '.join(names)}"


def problem(error: BaseException) -> str:
    """One line on what is wrong with a file, of what opening or reading it raised."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(text.split()) or type(error).__name__
