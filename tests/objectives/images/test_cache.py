"""Images are decoded once for a machine: by whom, into how much space, and as what pixels."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastai.vision.augment import Resize, ResizeMethod
from fastai.vision.core import PILImage

from hpo_job.data.images import LabelledFiles, read_image_folder
from hpo_job.errors import DataError
from hpo_job.objectives.images import cache as module
from hpo_job.objectives.images.cache import GIB, decoded
from hpo_job.objectives.images.pixels import decode
from hpo_job.spec.study_toml import Data

DATA = Data(path="-", valid_pct=0.25)
FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def nothing_warned() -> Iterator[None]:
    module.warned.clear()
    yield
    module.warned.clear()


@pytest.fixture
def data(image_folder: Path) -> LabelledFiles:
    """20 PNGs, each of one colour."""
    return read_image_folder(image_folder, DATA, 1)


def arrays(folder: Path) -> list[Path]:
    return sorted((folder / "images").glob("*.npy"))


def decode_all(data: LabelledFiles, folder: Path, size: int = 16, limit: float = 1) -> Any:
    array = decoded(data, size, folder, limit)
    assert array is not None
    return array


def test_pixels_are_those_of_fastais_squish(all_images: LabelledFiles) -> None:
    squish = Resize(64, method=ResizeMethod.Squish)
    for name in all_images.files[::40]:
        file = all_images.root / name
        np.testing.assert_array_equal(decode(file, 64), np.array(squish(PILImage.create(file))))


def test_every_image_is_in_the_array_and_is_decoded_once(
    data: LabelledFiles, tmp_path: Path
) -> None:
    array = decode_all(data, tmp_path)
    assert array.shape == (20, 16, 16, 3)
    for position, name in enumerate(data.files):
        np.testing.assert_array_equal(array[position], decode(data.root / name, 16))
    (file,) = arrays(tmp_path)
    written = file.stat().st_ino
    again = decode_all(data, tmp_path)
    assert (Path(again.filename), file.stat().st_ino) == (file, written)
    assert not again.flags.writeable


def test_another_size_or_a_changed_file_is_another_array(
    data: LabelledFiles, tmp_path: Path
) -> None:
    first = decode_all(data, tmp_path)
    decode_all(data, tmp_path, size=32)
    changed = data.root / data.files[0]
    status = changed.stat()
    changed.write_bytes((data.root / data.files[-1]).read_bytes())
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    after = decode_all(data, tmp_path)
    assert len(arrays(tmp_path)) == 3
    np.testing.assert_array_equal(after[0], after[-1])
    assert not np.array_equal(first[0], after[0])


def test_the_least_recently_used_goes(data: LabelledFiles, tmp_path: Path) -> None:
    limit = 3.2 * 20 * 16 * 16 * 3 / GIB  # three arrays of 16 pixels
    sizes: dict[int, Path] = {}
    for size in (13, 14, 15):
        decode_all(data, tmp_path, size, limit)
        (sizes[size],) = set(arrays(tmp_path)) - set(sizes.values())
    for age, size in enumerate((14, 15, 13)):
        os.utime(sizes[size], (1000 + age, 1000 + age))
    first = decode_all(data, tmp_path, 13, limit)  # used again: now the latest
    os.utime(sizes[13])
    decode_all(data, tmp_path, 16, limit)
    left = set(arrays(tmp_path))
    assert sizes[14] not in left
    assert sizes[13] in left
    assert sum(file.stat().st_size for file in left) <= limit * GIB
    sizes[13].unlink()
    assert first[0].any()  # who maps an array keeps it


def test_what_does_not_fit_is_decoded_in_each_trial(
    data: LabelledFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert decoded(data, 16, tmp_path, 1e-6) is None
    (line,) = caplog.messages
    assert line.startswith("20 images at 16 px take 0.0 GiB decoded, and --cache-size is 1e-06")
    assert decoded(data, 16, tmp_path, 0) is None
    assert len(caplog.messages) == 1  # who wants none is not warned
    assert not arrays(tmp_path)


def test_a_full_disk_is_no_bus_error(
    data: LabelledFiles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        assert decoded(data, 16, tmp_path, 1) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    (line,) = caplog.messages
    assert "decoded images cannot be written: File too large: each trial decodes them" in line
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".npy"]
    assert decode_all(data, tmp_path)[0].any()


def test_an_image_that_is_damaged_meanwhile_is_named(data: LabelledFiles, tmp_path: Path) -> None:
    (data.root / data.files[3]).write_bytes(b"no image")
    with pytest.raises(DataError, match=rf"{data.files[3]}: cannot be read as an image: "):
        decoded(data, 16, tmp_path, 1)


def _decode(data: LabelledFiles, folder: Path, gate: Any, results: Any) -> None:
    """In a process of its own: decode at the same time as others, and say how many it decoded."""
    count = 0
    original = decode

    def counting(file: Path, size: int, levels: Any) -> Any:
        nonlocal count
        count += 1
        return original(file, size, levels)

    vars(module)["decode"] = counting
    gate.wait()
    array = decode_all(data, folder)
    results.put((count, int(array.sum())))


def test_of_workers_that_start_at_once_one_decodes(data: LabelledFiles, tmp_path: Path) -> None:
    gate, results = FORK.Barrier(3), FORK.Queue()
    arguments = (data, tmp_path, gate, results)
    workers = [FORK.Process(target=_decode, args=arguments) for _ in range(3)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(count for count, _ in answers) == [0, 0, 20]
    assert len({total for _, total in answers}) == 1


def _stop_in_the_middle(data: LabelledFiles, folder: Path, within: Any) -> None:
    def hold(*_: Any) -> Any:
        within.set()
        signal.pause()

    vars(module)["decode"] = hold
    decoded(data, 16, folder, 1)


def test_one_that_is_killed_in_the_middle_is_replaced(data: LabelledFiles, tmp_path: Path) -> None:
    within = FORK.Event()
    first = FORK.Process(target=_stop_in_the_middle, args=(data, tmp_path, within))
    first.start()
    assert within.wait(120)
    assert first.pid
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    assert not arrays(tmp_path)
    array = decode_all(data, tmp_path)
    assert array[0].any()
    assert array[-1].any()
    (file,) = arrays(tmp_path)
    assert [path for path in file.parent.rglob("*") if path.suffix == ".tmp"] == []


def test_a_long_one_says_how_far_it_is(
    images: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = read_image_folder(images({"cats": 40, "dogs": 40}), DATA, 1)
    monkeypatch.setattr(module, "LINE_INTERVAL", 0.0)
    with caplog.at_level(logging.INFO):
        decode_all(replace(data), tmp_path)
    assert caplog.messages[1:] == [
        "decoding 80 images at 16 px, once: 20%",
        "decoding 80 images at 16 px, once: 40%",
        "decoding 80 images at 16 px, once: 60%",
        "decoding 80 images at 16 px, once: 80%",
        "decoded 80 images at 16 px in 0 s",
    ]
