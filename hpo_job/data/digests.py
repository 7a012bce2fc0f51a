"""Digests of files and folders: whether two workers have the same data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def listing(path: Path) -> str:
    """A digest of a file's size, or of the names and sizes in a folder.

    Cheap enough for every worker that joins a study.
    """
    return sizes(_files(path))


def fingerprint(path: Path) -> str:
    """A digest of a file, or of the names and contents in a folder; reads them all."""
    return contents(_files(path))


def contents(files: Iterable[tuple[str, Path]]) -> str:
    """A digest of these names, and of the contents of their files; reads them all."""
    return _digest(f"{name}\0{_content(file)}" for name, file in files)


def sizes(files: Iterable[tuple[str, Path]]) -> str:
    """A digest of these names, and of the sizes of their files."""
    return _digest(f"{name}\0{file.stat().st_size}" for name, file in files)


def is_hidden(name: Path) -> bool:
    """Whether a relative path is that of a hidden file, or lies in a hidden folder."""
    return any(part.startswith(".") for part in name.parts)


def _files(path: Path) -> list[tuple[str, Path]]:
    """The files at or under ``path``, hidden ones left out, by their names relative to it."""
    if path.is_file():
        return [("", path)]
    files = ((file.relative_to(path), file) for file in path.rglob("*") if file.is_file())
    return sorted((name.as_posix(), file) for name, file in files if not is_hidden(name))


def _content(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode(errors="surrogateescape") + b"\n")
    return digest.hexdigest()
