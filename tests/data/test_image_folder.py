"""What is taken from a folder of images, and what is left out, with its reason."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hpo_job.data.findings import cautions
from hpo_job.data.images import LabelledFiles, read_image_folder
from hpo_job.errors import DataError
from hpo_job.spec.study_toml import Data

Images = Callable[..., Path]


def read(root: Path, **keys: Any) -> LabelledFiles:
    return read_image_folder(root, Data(path="-", valid_pct=0.25, **keys), 1)


def left_out(data: LabelledFiles) -> str:
    return "\n".join(text for heading, text in data.described() if heading == "left out")


@pytest.mark.parametrize(
    ("suffix", "format_"),
    [
        (".avif", "AVIF"),
        (".jfif", "JPEG"),
        ("", "PNG"),
        (".jp2", "JPEG2000"),
        (".tga", "TGA"),
        (".ppm", "PPM"),
        (".JPG", "JPEG"),
        (".img", "WEBP"),
        (".jpg_large", "JPEG"),
        (".heic", "PNG"),
        (".ico", "ICO"),
        (".pcx", "PCX"),
    ],
)
def test_formats(image_folder: Path, suffix: str, format_: str) -> None:
    for number in range(4):
        (image_folder / "birds").mkdir(exist_ok=True)
        image = Image.new("RGB", (32, 32), (number, 60, 90))
        image.save(image_folder / "birds" / f"{number}{suffix}", format_)
    data = read(image_folder)
    assert data.counts["birds"] == 4
    assert (data.left_out, data.unreadable) == ((), [])


def test_what_is_left_out_is_named(image_folder: Path, tmp_path: Path) -> None:
    cats = image_folder / "cats"
    for name, content in {
        "cats/notes.txt": b"text",
        "cats/Thumbs.db": b"\xd0\xcf\x11\xe0",
        "cats/.DS_Store": b"x",
        "cats/a.heic": b"\0\0\0\x18ftypheic",
        "cats/b.pdf": b"%PDF-1.4",
        "cats/empty": b"",
        ".thumbnails/a.png": b"x",
    }.items():
        (image_folder / name).parent.mkdir(exist_ok=True)
        (image_folder / name).write_bytes(content)
    shutil.copy(cats / "0000.png", image_folder / "loose.png")
    (cats / "gone.png").symlink_to("nowhere.png")
    (cats / "around").symlink_to(image_folder)
    os.mkfifo(cats / "pipe")
    (image_folder / "birds").mkdir()
    data = read(image_folder)
    assert data.counts == {"cats": 12, "dogs": 8}
    assert set(data.left_out) == {
        "2 no image: cats/Thumbs.db, cats/notes.txt",
        "2 hidden: .thumbnails, cats/.DS_Store",
        "2 a format that cannot be read here; convert to PNG or JPEG: cats/a.heic, cats/b.pdf",
        "1 empty: cats/empty",
        "1 in no class folder: loose.png",
        "1 a link to nothing: cats/gone.png",
        "1 a link to a folder above it: cats/around",
        "1 neither a file nor a folder: cats/pipe",
        "1 a folder without images: birds",
    }
    assert sorted(data.left_out) == sorted(left_out(data).splitlines())
    assert not any("hidden" in line or "no image" in line for line in cautions(data))
    assert sum(line.startswith("left out: ") for line in cautions(data)) == 7


def test_links_are_followed(image_folder: Path, images: Images) -> None:
    elsewhere = images({"x": 3}, "elsewhere") / "x"
    (image_folder / "birds").symlink_to(elsewhere)
    (image_folder / "cats" / "more.png").symlink_to(elsewhere / "0000.png")
    assert read(image_folder).counts == {"cats": 13, "dogs": 8, "birds": 3}


def test_a_link_to_a_folder_that_is_a_link_back(image_folder: Path) -> None:
    (image_folder / "cats" / "a").mkdir()
    (image_folder / "cats" / "a" / "b").symlink_to(image_folder / "cats")
    data = read(image_folder)
    assert data.counts == {"cats": 12, "dogs": 8}
    assert data.left_out == ("1 a link to a folder above it: cats/a/b",)


def test_nothing_but_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "a.heic").write_bytes(b"x")
    with pytest.raises(
        DataError, match=r"no images in it; .*\(1 a format that cannot be read here"
    ):
        read(tmp_path)


def folders(images: Images, *parts: str) -> Path:
    root = images({}, "root")
    for part in parts:
        images({"cats": 6, "dogs": 6}, f"root/{part}")
    return root


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("train", "valid", "test"),
        ("Training", "val", "holdout"),
        ("train_set", "validation-set", "test_set"),
        ("TrainData", "DevData", "TestData"),
        ("1. Learning", "2. Evaluation", "3. Hold-Out"),
        ("train2017", "val2017", "test2017"),
        ("TRAIN", "EVAL", "TESTING_IMAGES"),
        ("Trainingsdaten", "Dev", "Testdaten"),
    ],
)
def test_given_parts(images: Images, train: str, valid: str, test: str) -> None:
    data = read(folders(images, train, valid, test))
    assert data.classes == ("cats", "dogs")
    for part, positions in ((train, data.train), (valid, data.valid), (test, data.test)):
        assert {data.files[position].split("/")[0] for position in positions} == {part}
        assert len(positions) == 12
    line = dict(data.described())["validation"]
    assert line == (
        "12 images, the same in every trial, by folders; 12 images are held out: no trial sees them"
    )


def test_parts_below_the_classes(images: Images) -> None:
    root = images({}, "root")
    for label in ("cats", "dogs"):
        images({"train": 6, "valid": 4}, f"root/{label}")
    data = read(root)
    assert (data.classes, len(data.train), len(data.valid)) == (("cats", "dogs"), 12, 8)


def test_train_and_test_alone(images: Images) -> None:
    """Validation is drawn from training, and test is held out."""
    data = read(folders(images, "train", "test"))
    assert len(data.train) == 9 and len(data.valid) == 3 and len(data.test) == 12
    assert {data.files[position].split("/")[0] for position in data.valid} == {"train"}


def test_other_folders_among_the_parts(images: Images) -> None:
    data = read(folders(images, "train", "valid", "unlabelled"))
    assert len(data) == 24
    assert "12 not in a folder called train, valid or test" in left_out(data)
    assert any("not in a folder called train" in line for line in cautions(data))


def test_classes_that_are_called_as_parts(images: Images) -> None:
    data = read(images({"train": 8, "test": 8}))
    assert data.classes == ("test", "train")
    assert "the classes test and train are called as parts of the data" in cautions(data)[0]
    assert cautions(read(images({}, "images"), split=False)) == ()
    assert cautions(read(images({"train": 4, "car": 4}, "vehicles"))) == ()


@pytest.mark.parametrize(
    "names", [("trainA", "trainB"), ("protest", "contest"), ("trains", "values"), ("1", "2")]
)
def test_other_folders_are_classes(images: Images, names: tuple[str, str]) -> None:
    data = read(images(dict.fromkeys(names, 6)))
    assert data.classes == names or data.classes == tuple(sorted(names))
    assert cautions(data) == ()


def test_unknown_names_of_parts_are_asked_about(images: Images) -> None:
    root = folders(images, "a", "b")
    data = read(root)
    assert data.classes == ("a", "b")
    assert cautions(data) == (
        "the classes a and b hold the same folders (cats, dogs): if those are the classes, rename "
        "a and b to train, valid or test",
    )
    assert cautions(read(root, split=False)) == ()


def test_parts_may_be_ignored(images: Images) -> None:
    data = read(folders(images, "train", "valid"), split=False)
    assert data.classes == ("train", "valid")


def test_a_class_of_the_validation_part_alone(images: Images) -> None:
    root = folders(images, "train", "valid")
    images({"birds": 2}, "root/valid")
    assert "no training image is of class 'birds': no model can learn it" in cautions(read(root))


def test_one_folder_too_high(images: Images) -> None:
    images({}, "root")
    images({"cats": 4, "dogs": 4}, "root/pets")
    with pytest.raises(DataError, match=r"only one class, 'pets'.*path has to end in pets"):
        read(images({}, "root"))
