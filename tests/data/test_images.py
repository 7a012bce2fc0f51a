"""A labelled image folder: what is found, how it is split, how it is told from another."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from hpo_job.data.digests import fingerprint
from hpo_job.data.images import LabelledFiles, read_image_folder
from hpo_job.errors import DataError
from hpo_job.spec.study_toml import Data

Images = Callable[..., Path]
Refused = Callable[..., str]
HPO_JOB = Path(sys.executable).parent / "hpo-job"


def read(root: Path, valid_pct: float = 0.25, seed: int = 1, **keys: Any) -> LabelledFiles:
    return read_image_folder(root, Data(path="-", valid_pct=valid_pct, **keys), seed)


def test_files_and_labels_are_found(image_folder: Path) -> None:
    data = read(image_folder, 0.25, 1)
    assert len(data.files) == 20
    assert list(data.files) == sorted(data.files)
    assert all(
        name.split("/")[0] == label for name, label in zip(data.files, data.labels, strict=True)
    )
    assert data.classes == ("cats", "dogs")
    assert data.counts == {"cats": 12, "dogs": 8}
    assert data.targets.tolist() == [0] * 12 + [1] * 8


def test_most_frequent_class_comes_first(images: Images) -> None:
    data = read(images({"a": 3, "b": 9, "c": 5}), 0.4, 1)
    assert list(data.counts) == ["b", "c", "a"]
    assert data.classes == ("a", "b", "c")


@pytest.mark.parametrize("valid_pct", [0.1, 0.2, 0.25, 0.5])
def test_split_is_disjoint_covers_all_and_is_as_large_as_asked(
    image_folder: Path, valid_pct: float
) -> None:
    data = read(image_folder, valid_pct, 1)
    assert sorted([*data.train.tolist(), *data.valid.tolist()]) == list(range(20))
    assert len(data.valid) == round(20 * valid_pct)
    assert data.train.tolist() == sorted(data.train.tolist())
    assert data.valid.tolist() == sorted(data.valid.tolist())


@pytest.mark.parametrize("seed", range(5))
def test_split_is_stratified(images: Images, seed: int) -> None:
    data = read(images({"many": 40, "few": 8, "some": 12}), 0.25, seed)
    assert Counter(data.labels[i] for i in data.valid) == {"many": 10, "few": 2, "some": 3}


def test_split_is_the_seeds(image_folder: Path) -> None:
    first, again, other = (read(image_folder, 0.25, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.valid, again.valid)
    assert np.array_equal(first.train, again.train)
    assert not np.array_equal(first.valid, other.valid)


def test_split_does_not_depend_on_where_the_folder_is(images: Images) -> None:
    counts = {"cats": 12, "dogs": 8}
    here = read(images(counts, "here"), 0.25, 1)
    there = read(images(counts, "there"), 0.25, 1)
    assert here.files == there.files
    assert np.array_equal(here.valid, there.valid)


def test_split_does_not_depend_on_the_random_state_of_the_process(image_folder: Path) -> None:
    first = read(image_folder, 0.25, 1)
    np.random.seed(3)
    assert np.array_equal(first.valid, read(image_folder, 0.25, 1).valid)


def test_hidden_files_and_other_files_are_left_out(image_folder: Path) -> None:
    before = read(image_folder, 0.25, 1)
    picture = (image_folder / "cats" / "0000.png").read_bytes()
    for name in (
        "cats/.hidden.png",
        "cats/._0000.png",
        ".thumbnails/a.png",
        "cats/.cache/a.png",
        "cats/notes.txt",
        "cats/Thumbs.db",
        "loose.png",
        "README.md",
    ):
        (image_folder / name).parent.mkdir(exist_ok=True)
        hidden = any(part.startswith(".") for part in Path(name).parts)
        (image_folder / name).write_bytes(picture if hidden or name == "loose.png" else b"text")
    after = read(image_folder, 0.25, 1)
    assert (after.files, after.listing()) == (before.files, before.listing())


@pytest.mark.parametrize("name", ["A.PNG", "a.JPG", "a.JPeg", "a.webp", "a.tiff"])
def test_suffixes_in_any_case(image_folder: Path, name: str) -> None:
    (image_folder / "dogs" / name).write_bytes((image_folder / "dogs" / "0000.png").read_bytes())
    data = read(image_folder, 0.25, 1)
    assert f"dogs/{name}" in data.files
    assert data.unreadable == []


def test_images_in_folders_below_a_class_are_of_that_class(image_folder: Path) -> None:
    (image_folder / "dogs" / "small").mkdir()
    (image_folder / "dogs" / "0000.png").rename(image_folder / "dogs" / "small" / "0000.png")
    data = read(image_folder, 0.25, 1)
    assert data.labels[data.files.index("dogs/small/0000.png")] == "dogs"
    assert data.counts == {"cats": 12, "dogs": 8}


def test_a_class_of_no_images_is_no_class(image_folder: Path) -> None:
    (image_folder / "birds").mkdir()
    assert read(image_folder, 0.25, 1).classes == ("cats", "dogs")


def test_fingerprint_is_of_names_and_contents(images: Images) -> None:
    counts = {"cats": 3, "dogs": 3}
    here, there = images(counts, "here"), images(counts, "there")
    first = fingerprint(here)
    assert fingerprint(there) == first
    file = there / "cats" / "0001.png"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert fingerprint(there) != first
    content[-1] ^= 1
    file.write_bytes(content)
    assert fingerprint(there) == first
    file.rename(there / "cats" / "0009.png")
    assert fingerprint(there) != first


def test_fingerprint_of_a_single_file(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("a,b\n")
    first = fingerprint(file)
    file.write_text("a,c\n")
    assert fingerprint(file) != first


def test_listing_is_of_names_and_sizes(images: Images) -> None:
    counts = {"cats": 3, "dogs": 3}

    def listing(folder: Path) -> str:
        return read(folder, 0.5, 1).listing()

    folder = images(counts)
    first = listing(folder)
    assert listing(images(counts, "elsewhere")) == first
    with (folder / "cats" / "0000.png").open("ab") as stream:
        stream.write(b"0")
    longer = listing(folder)
    assert longer != first
    (folder / "cats" / "0000.png").rename(folder / "cats" / "0007.png")
    assert listing(folder) not in (first, longer)


def test_unreadable_images_are_named(image_folder: Path) -> None:
    _break(image_folder)
    data = read(image_folder, 0.25, 1)
    assert data.unreadable == ["cats/0003.png", "cats/0004.png", "dogs/0002.png"]


def test_a_truncated_jpeg_is_unreadable(image_folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = image_folder / "dogs" / "photo.jpg"
    Image.fromarray(noise).save(file)
    assert read(image_folder, 0.25, 1).unreadable == []
    file.write_bytes(file.read_bytes()[:2000])
    assert read(image_folder, 0.25, 1).unreadable == ["dogs/photo.jpg"]


def _break(folder: Path) -> None:
    """One image truncated, one empty, one that is no image."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = folder / "cats" / "0003.png"
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:6000])
    (folder / "cats" / "0004.png").write_bytes(b"")
    (folder / "dogs" / "0002.png").write_text("<html>404</html>")


def test_no_split_where_a_part_would_lack_a_class(images: Images) -> None:
    with pytest.raises(DataError, match=r"valid_pct = 0\.1"):
        read(images({"a": 3, "b": 3, "c": 3}), 0.1, 1)


@pytest.mark.parametrize(
    "command", ["check", "create", pytest.param("run", marks=pytest.mark.processes), "worker"]
)
def test_missing_folder(image_job: Images, refused: Refused, command: str) -> None:
    line = refused(command, image_job(data={"path": "nothere"}))
    assert "study.toml: data.path: " in line
    assert "nothere" in line


def test_folder_is_a_file(image_job: Images, refused: Refused, image_folder: Path) -> None:
    line = refused("check", image_job(data={"path": str(image_folder / "cats" / "0000.png")}))
    assert "study.toml: data.path: " in line


@pytest.mark.parametrize(
    ("counts", "problem"),
    [
        ({}, "no images"),
        ({"cats": 0, "dogs": 0}, "no images"),
        ({"cats": 5}, "only one class, 'cats'"),
        ({"cats": 5, "dogs": 0}, "only one class, 'cats'"),
        ({"cats": 5, "dogs": 1}, "class 'dogs' has one image"),
    ],
)
def test_data_nothing_can_be_learnt_from(
    image_job: Images, refused: Refused, images: Images, counts: dict[str, int], problem: str
) -> None:
    folder = images(counts, "poor")
    line = refused("check", image_job(data={"path": str(folder)}))
    assert "study.toml: data.path: " in line
    assert str(folder) in line
    assert problem in line


def test_images_beside_no_class_folder(
    image_job: Images, refused: Refused, image_folder: Path
) -> None:
    line = refused("check", image_job(data={"path": str(image_folder / "cats")}))
    assert "no images" in line
    assert "<class>" in line


def test_the_function_needs_its_data_too(job: Images, refused: Refused) -> None:
    line = refused("check", job(data={"path": "nothere"}))
    assert "study.toml: data.path: " in line
    assert "nothere" in line


@pytest.mark.parametrize("command", ["check", "create", "worker"])
def test_broken_images_are_named_before_anything_is_written(
    image_job: Images, refused: Refused, image_folder: Path, command: str
) -> None:
    _break(image_folder)
    line = refused(command, image_job())
    assert "3 unreadable images" in line
    assert "cats/0003.png, cats/0004.png, dogs/0002.png" in line


@pytest.mark.processes
def test_run_names_broken_images_and_creates_no_study(
    image_job: Images, cli: Callable[..., Result], image_folder: Path
) -> None:
    """It checks in a process of its own, with the real objective, which notes what it tried."""
    _break(image_folder)
    done = cli("run", image_job(), "--storage", "sqlite:///none.db")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert "3 unreadable images: cats/0003.png, cats/0004.png, dogs/0002.png" in done.stderr
    assert not Path("none.db").exists()


def test_many_broken_images_stay_one_short_line(
    image_job: Images, refused: Refused, images: Images
) -> None:
    folder = images({"cats": 60, "dogs": 60}, "broken")
    for file in folder.rglob("*.png"):
        file.write_bytes(b"")
    line = refused("check", image_job(data={"path": str(folder)}))
    assert "120 unreadable images" in line
    assert len(line) < 1000


@pytest.mark.processes
def test_true_exit_code_with_the_real_objective(image_job: Images, image_folder: Path) -> None:
    """The one test here that imports torch."""
    _break(image_folder)
    folder = image_job()
    done = subprocess.run(
        [HPO_JOB, "check", folder],
        capture_output=True,
        text=True,
        check=False,
        env={key: value for key, value in os.environ.items() if not key.startswith("HPO_JOB_")},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "study.toml" in done.stderr
    assert "cats/0003.png" in done.stderr
