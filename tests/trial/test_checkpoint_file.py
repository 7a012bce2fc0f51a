"""The format of checkpoints: what is read is what was written, or it is refused."""

from __future__ import annotations

import io
import json
import math
import random
import zipfile
from typing import Any

import numpy as np
import pytest

from hpo_job.trial import checkpoint_file
from hpo_job.trial.checkpoint_file import DamagedError

STATE: dict[str, Any] = {
    "epoch": 3,
    "large": 2**80,
    "rate": 1e-300,
    "losses": [0.5, math.inf, -math.inf, None, True],
    "names": {"dict": "a key like the format's own", "": "ü\udc80\n"},
    "empty": [{}, [], b"", ""],
    "blob": bytes(range(256)),
    "weights": {
        "float": np.arange(6, dtype=np.float32).reshape(2, 3),
        "bits": np.array([True, False]),
        "none": np.zeros((0, 4), dtype=np.float16),
        "scalar": np.array(7, dtype=np.uint64),
        "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "part": np.arange(10)[::3],
    },
}
RECORD = {"study": "s", "trial": 3}


def written(state: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    checkpoint_file.write(file, state, RECORD)
    return file.getvalue()


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(one[key], other[key]) for key in one)
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    return type(one) is type(other) and one == other


def test_a_state_comes_back_as_it_was() -> None:
    state, record = checkpoint_file.read(io.BytesIO(written(STATE)))
    assert same(STATE, state)
    assert record == RECORD


def test_a_missing_number_stays_one() -> None:
    state, _ = checkpoint_file.read(io.BytesIO(written({"loss": math.nan})))
    assert math.isnan(state["loss"])


def test_tuples_and_numpys_numbers_become_pythons() -> None:
    state, _ = checkpoint_file.read(
        io.BytesIO(written({"a": (1, np.int64(2)), "b": np.float32(0.5)}))
    )
    assert state == {"a": [1, 2], "b": 0.5}
    assert type(state["b"]) is float


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"model": {"layers": [object()]}}, r"state\['model'\]\['layers'\]\[0\] .*builtins.object"),
        ({"a": np.array([object()])}, r"state\['a'\] cannot be saved: an array of objects"),
        ({"a": {1: 2}}, r"state\['a'\] cannot be saved: its key 1 is not a string"),
        ({"a": {2, 3}}, r"state\['a'\] cannot be saved: builtins.set; use dict, list"),
    ],
)
def test_what_it_cannot_hold_is_named(state: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        written(state)


def test_a_file_cut_at_any_place_is_refused() -> None:
    content = written(STATE)
    for end in range(len(content)):
        with pytest.raises(DamagedError):
            checkpoint_file.read(io.BytesIO(content[:end]))


def test_a_file_with_one_changed_bit_is_never_read_as_something_else() -> None:
    """Zip's own headers have spare bits: a change there may go unnoticed, and changes nothing."""
    content, chance = written(STATE), random.Random(0)
    refused = 0
    for _ in range(500):
        changed = bytearray(content)
        changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        try:
            state, record = checkpoint_file.read(io.BytesIO(changed))
        except DamagedError:
            refused += 1
        else:
            assert same(STATE, state)
            assert record == RECORD
    assert refused > 250


def test_a_file_that_would_run_code_is_refused() -> None:
    """An array of pickled objects, as numpy writes it, in place of one of numbers."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.array([print], dtype=object), allow_pickle=True)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        header = {"version": checkpoint_file.VERSION, "record": {}}
        packed.writestr(checkpoint_file.RECORD, json.dumps(header))
        packed.writestr(checkpoint_file.STATE, json.dumps({"array": "arrays/1.npy"}))
        packed.writestr("arrays/1.npy", file.getvalue())
    with pytest.raises(DamagedError, match="ValueError"):
        checkpoint_file.read(content)


def test_another_version_is_named() -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        packed.writestr(checkpoint_file.RECORD, json.dumps({"version": 9, "record": {}}))
    with pytest.raises(DamagedError, match="it has format version 9, not 1"):
        checkpoint_file.read(content)


def test_a_digest_is_of_the_content_alone() -> None:
    """Of what is read as of what was written, and of nothing else."""
    grid = np.arange(6.0).reshape(2, 3)
    state = {"b": (1, np.float32(0.5), b"x"), "a": {"grid": np.asfortranarray(grid), "none": None}}
    read, _ = checkpoint_file.read(io.BytesIO(written(state)))
    assert checkpoint_file.digest(read) == checkpoint_file.digest(state)
    others: list[Any] = [
        {**state, "b": (1, 0.5, b"y")},
        {**state, "b": (1, 0.5, "x")},
        {**state, "b": (True, 0.5, b"x")},
        {**state, "a": {"grid": grid.T, "none": None}},
        {**state, "a": {"grid": grid + 1e-9, "none": None}},
        {**state, "a": {"grid": np.zeros((0, 3)), "none": None}},
        {**state, "a": {"grid": np.array(1.0), "none": math.nan}},
        {"b": state["b"]},
    ]
    assert len({checkpoint_file.digest(each) for each in (state, *others)}) == len(others) + 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"object": "x"}, r"^it is damaged \(a value of kind 'object'\)$"),
        ({"array": "arrays/1.npy"}, r"^it is damaged \(an array is followed by something else\)$"),
    ],
)
def test_a_value_that_was_never_written_is_refused(value: dict[str, Any], message: str) -> None:
    array = io.BytesIO()
    np.lib.format.write_array(array, np.arange(3))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("arrays/1.npy", array.getvalue() + b"more")
    with zipfile.ZipFile(file) as packed, pytest.raises(DamagedError, match=message):
        checkpoint_file._restored([value], packed)
