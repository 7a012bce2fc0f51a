"""The file format of a checkpoint: a tree of plain values and arrays, read without unpickling.

A file is an uncompressed zip:

- ``checkpoint.json``: the format's version, and the record: what the state belongs to.
- ``state.json``: the tree. JSON has no bytes, no arrays and no NaN, so each dictionary in it is one
  of these, by its only key: ``dict``, ``float``, ``bytes`` and ``array`` (the name of a member).
- ``bytes/N`` and ``arrays/N.npy``: those members.

Guaranteed: what `read` returns is what `write` was called with; a file that was cut short, emptied
or changed raises DamagedError. Each member has a checksum, and their list is at the file's end.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np

VERSION = 1
RECORD, STATE = "checkpoint.json", "state.json"
# dict[str, ...], list, str, int, float, bool, None, bytes and numpy arrays, nested in any way
State = dict[str, Any]


class DamagedError(Exception):
    """A file is no checkpoint, or not a complete one; the message says why, in a few words."""


def write(file: IO[bytes], state: State, record: Mapping[str, Any]) -> None:
    """Write ``state`` and its record into an empty binary file.

    Args:
        file: open for writing; it must be able to seek.
        state: the tree. Tuples become lists, and numpy's scalars Python's.
        record: JSON values that say what the state belongs to.

    Raises:
        TypeError: something in the tree has another type; the message names the place.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr(RECORD, json.dumps({"version": VERSION, "record": record}))
        packed.writestr(STATE, json.dumps(_Writer(packed).plain(state, "state"), allow_nan=False))


def read(file: IO[bytes]) -> tuple[State, dict[str, Any]]:
    """The state and the record in a file that `write` wrote.

    Raises:
        DamagedError: it is damaged, or of another version.
    """
    try:
        with zipfile.ZipFile(file) as packed:
            header = json.loads(packed.read(RECORD))
            if header["version"] != VERSION:
                raise DamagedError(f"it has format version {header['version']}, not {VERSION}")
            state = _restored(json.loads(packed.read(STATE)), packed)
            return state, header["record"]
    except DamagedError:
        raise
    except Exception as error:  # zipfile, json and numpy each raise many kinds for damaged files
        raise DamagedError(f"it is damaged ({type(error).__name__})") from error


def digest(value: Any) -> str:
    """A checksum of a tree's content: the same for what was written and for what `read` returns."""
    checksum = hashlib.sha256()
    for part in _content(value):
        checksum.update(part)
    return checksum.hexdigest()


def _content(value: Any) -> Iterator[bytes | memoryview]:
    """What distinguishes a tree from all others, piece by piece; no array is copied."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        yield b"dict %d " % len(value)
        for key in sorted(value):
            yield from _content(key)
            yield from _content(value[key])
    elif isinstance(value, list | tuple):
        yield b"list %d " % len(value)
        for each in value:
            yield from _content(each)
    elif isinstance(value, np.ndarray):
        yield f"array {value.dtype.str} {value.shape} ".encode()
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    elif isinstance(value, bytes | bytearray | memoryview):
        yield b"bytes %d " % len(bytes(value))
        yield bytes(value)
    else:
        text = f"{type(value).__name__} {value!r}".encode("utf-8", "surrogatepass")
        yield b"%d %s " % (len(text), text)


class _Writer:
    """Turns a tree into JSON values, and writes its bytes and arrays as members of a zip."""

    def __init__(self, packed: zipfile.ZipFile) -> None:
        self._packed, self._count = packed, 0

    def plain(self, value: Any, place: str) -> Any:
        if value is None or isinstance(value, str | bool | int):
            return value
        if isinstance(value, np.generic):
            return self.plain(value.item(), place)
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, bytes | bytearray | memoryview):
            return {"bytes": self._member("bytes", bytes(value))}
        if isinstance(value, np.ndarray):
            return {"array": self._array(value, place)}
        if isinstance(value, list | tuple):
            return [self.plain(each, f"{place}[{i}]") for i, each in enumerate(value)]
        if isinstance(value, dict):
            return {"dict": dict(self._items(value, place))}
        raise TypeError(f"{place} cannot be saved: {_kind(value)}; {_ADVICE}")

    def _items(self, table: Mapping[Any, Any], place: str) -> Iterator[tuple[str, Any]]:
        for key, value in table.items():
            if not isinstance(key, str):
                raise TypeError(f"{place} cannot be saved: its key {key!r} is not a string")
            yield key, self.plain(value, f"{place}[{key!r}]")

    def _member(self, folder: str, content: bytes) -> str:
        name = self._name(folder)
        self._packed.writestr(name, content)
        return name

    def _array(self, array: np.ndarray[Any, Any], place: str) -> str:
        name = f"{self._name('arrays')}.npy"
        if array.dtype.hasobject:
            raise TypeError(f"{place} cannot be saved: an array of objects; {_ADVICE}")
        with self._packed.open(name, "w", force_zip64=True) as member:
            np.lib.format.write_array(member, array, allow_pickle=False)
        return name

    def _name(self, folder: str) -> str:
        self._count += 1
        return f"{folder}/{self._count}"


def _restored(value: Any, packed: zipfile.ZipFile) -> Any:
    """What `_Writer.plain` made ``value`` of."""
    if isinstance(value, list):
        return [_restored(each, packed) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {key: _restored(each, packed) for key, each in content.items()}
    if kind == "float":
        return float(content)
    if kind == "bytes":
        return packed.read(content)
    if kind == "array":
        with packed.open(content) as member:
            array = np.lib.format.read_array(member, allow_pickle=False)
            if member.read(1):  # at the end, the checksum is compared
                raise DamagedError("it is damaged (an array is followed by something else)")
            return array
    raise DamagedError(f"it is damaged (a value of kind {kind!r})")


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


_ADVICE = "use dict, list, str, int, float, bool, None, bytes and numpy arrays"
