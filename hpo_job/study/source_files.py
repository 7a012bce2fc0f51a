"""The Python files that a user's function may consist of: whether two studies have the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from hpo_job import objectives
from hpo_job.spec.study_toml import StudySpec

LENGTH = 16  # hexadecimal digits of a digest: 64 bits, which no two versions share by chance
NAMED = 3  # files that a message names
VENV = "pyvenv.cfg"  # stands in a folder of installed packages


def digests(spec: StudySpec) -> dict[str, str] | None:
    """A digest of each file of the user's function; None for a shipped objective.

    Every ``*.py`` in the job folder counts, whether it is imported or not: what a function
    imports is known only once it has run. Hidden folders, virtual environments and the data are
    left out. A file elsewhere that study.toml names counts by itself.
    """
    source = objectives.source(spec)
    if source is None:
        return None
    files = {path.relative_to(spec.folder).as_posix(): path for path in _modules(spec)}
    files.setdefault(spec.objective.partition(":")[0], source)
    return {name: _digest(path) for name, path in sorted(files.items())}


def changed(stored: Mapping[str, str] | str | None, now: Mapping[str, str] | None) -> list[str]:
    """The files that both have, and that differ.

    A file that only one of them has is no difference: the workers on a cluster get those that
    the ConfigMap lists, and a file that is the same in both imports the same modules.

    Args:
        stored: what a study has; a study of an earlier release has one digest, of the file that
            study.toml names.
        now: what the job folder has.
    """
    if isinstance(stored, str) or stored is None or now is None:
        same = stored is None if now is None else stored is not None and _has(now, str(stored))
        return [] if same else sorted(now or ())
    return sorted(name for name in stored.keys() & now if stored[name] != now[name])


def named(files: list[str]) -> str:
    """The first of ``files``, for a person."""
    return ", ".join(files[:NAMED]) + (", ..." if len(files) > NAMED else "")


def _has(now: Mapping[str, str], stored: str) -> bool:
    return any(stored.startswith(digest) for digest in now.values())


def _modules(spec: StudySpec) -> Iterator[Path]:
    data = spec.data_path
    for folder, below, names in os.walk(spec.folder):
        here = Path(folder)
        below[:] = [
            name
            for name in below
            if not name.startswith(".")
            and name != "__pycache__"
            and here / name != data
            and not (here / name / VENV).exists()
        ]
        yield from (here / name for name in names if name.endswith(".py"))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:LENGTH]
