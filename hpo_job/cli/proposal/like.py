"""A job like another one: the same study.toml with another name and other data."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from hpo_job import objectives
from hpo_job.errors import SpecError
from hpo_job.spec.reading import read_spec
from hpo_job.spec.study_toml import is_url
from hpo_job.spec.toml_text import toml

OF_THE_DATA = ("sha256", "made_by")  # keys of [data] that are about the other job's data


def study_like(job: str, name: str, path: str | None) -> str:
    """The text of the study.toml of ``job`` with this name and, where given, data at this path.

    Comments are kept where the file has one line for each key.

    Raises:
        SpecError: there is no such job, its file cannot be read, or has no [data] to replace.
    """
    spec = read_spec(job)
    text = spec.file.read_text(encoding="utf-8-sig")
    wanted = tomllib.loads(text)
    wanted["name"] = name
    if path is not None:
        if "data" not in wanted:
            raise SpecError(f"--like {job}: it has no [data]; leave out --data")
        others = {key: value for key, value in wanted["data"].items() if key not in OF_THE_DATA}
        wanted["data"] = {**others, "path": path}
    edited = _edited(text, name, path)
    if _parsed(edited) == wanted:
        return edited
    return tomli_w.dumps(wanted)


def path_from(job: str, folder: Path) -> str | None:
    """The path, relative to ``folder``, of the data of ``job``; None where it has none."""
    spec = read_spec(job)
    if spec.data is None or spec.data_path is None or is_url(spec.data.path):
        return None
    return relative(spec.data_path, folder)


def function_of(job: str) -> Path | None:
    """The file of the function that ``job`` tunes; None for a shipped objective."""
    return objectives.source(read_spec(job))


def relative(path: Path, folder: Path) -> str:
    """``path`` as [data] path of a job in ``folder``: relative to it, with / on every system.

    It stays absolute where the two have nothing in common but the root.
    """
    there, here = path.resolve(), folder.resolve()
    if there.parts[1:2] != here.parts[1:2]:
        return there.as_posix()
    return Path(os.path.relpath(there, here)).as_posix()


def _edited(text: str, name: str, path: str | None) -> str:
    """``text`` with another value on the line of name, and on that of path in [data]."""
    lines, table, written = [], "", set[str]()
    for line in text.splitlines():
        if header := re.match(r"\s*\[+([^\]]+)\]", line):
            table = header[1].strip()
        key = re.match(r"\s*([A-Za-z0-9_-]+)\s*=", line)
        word = f"{table}.{key[1]}" if key and table else key[1] if key else ""
        if word == "name" and word not in written:
            line = _with_value(line, name)
        elif word == "data.path" and path is not None:
            line = _with_value(line, path)
        elif path is not None and word in {f"data.{each}" for each in OF_THE_DATA}:
            continue
        written.add(word)
        lines.append(line)
    return "\n".join(lines) + "\n"


def _with_value(line: str, value: str) -> str:
    """``line`` with another text as its value; the comment behind it stays."""
    start, _, rest = line.partition("=")
    comment = re.match(r"""\s*(?:"(?:[^"\\]|\\.)*"|'[^']*')(\s*#.*)?$""", rest)
    return f"{start.rstrip()} = {toml(value)}{(comment[1] or '') if comment else ''}"


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
