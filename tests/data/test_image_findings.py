"""What `check` says of the content of images: blank ones, copies, and what labels tear apart."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hpo_job.data import image_looks
from hpo_job.data.findings import content_cautions
from hpo_job.data.image_file import Levels
from hpo_job.data.image_looks import Look
from hpo_job.data.images import LabelledFiles, read_image_folder
from hpo_job.spec.study_toml import Data


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Different pictures of two classes, with parts that are given."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("valid", 4)):
        for label in ("a", "b"):
            folder = tmp_path / "data" / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
                image = Image.fromarray(small).resize((48, 48), Image.Resampling.BICUBIC)
                image.save(folder / f"{number}.png")
    return tmp_path / "data"


def lines(root: Path, **keys: Any) -> list[str]:
    data: LabelledFiles = read_image_folder(root, Data(path="-", **keys), 1)
    return list(content_cautions(data))


def test_nothing_to_say(pictures: Path) -> None:
    assert lines(pictures) == []


def test_copies(pictures: Path) -> None:
    shutil.copy(pictures / "train/a/0.png", pictures / "train/a/copy.png")
    assert lines(pictures) == ["1 image is a copy of another"]
    Image.open(pictures / "train/a/1.png").save(pictures / "valid/a/again.bmp")
    (known,) = lines(pictures)
    assert known.startswith("1 of 9 validation images also in training")
    assert known.endswith(": valid/a/again.bmp")
    Image.open(pictures / "train/b/1.png").save(pictures / "valid/b/saved.jpg", quality=85)
    assert "1 validation image is nearly the same as one in training: valid/b/saved.jpg" in lines(
        pictures
    )


def test_the_same_under_two_labels(pictures: Path) -> None:
    shutil.copy(pictures / "train/a/0.png", pictures / "train/b/copy.png")
    assert lines(pictures)[0] == (
        "2 images are the same under different labels, such as train/a/0.png and train/b/copy.png"
    )


def test_blank_images(pictures: Path) -> None:
    Image.new("RGB", (9, 9), "red").save(pictures / "train/a/red.png")
    assert lines(pictures) == ["of one colour, which says nothing: 1 of 25 images: train/a/red.png"]
    for number, file in enumerate(pictures.rglob("*.png")):
        Image.new("L", (9, 9), number).save(file)
    assert lines(pictures)[0].startswith("of one colour, which says nothing: all ")


def test_faint_images(pictures: Path) -> None:
    """As masks of few classes are, and 12 bits in a file of 16."""
    for number in range(3):
        levels = np.zeros((20, 20), dtype=np.uint8)
        levels[: 5 + number] = 3
        Image.fromarray(levels).save(pictures / f"train/a/faint{number}.png")
    (line,) = (line for line in lines(pictures) if "contrast" in line)
    assert line.startswith("3 images have hardly any contrast, fewer than 16 of 255 levels: train/")
    levels[:5] = 40
    Image.fromarray(levels).save(pictures / "train/a/faint0.png")
    assert any(line.startswith("2 images have hardly") for line in lines(pictures))


def test_pages_and_profiles(pictures: Path) -> None:
    frames = [Image.open(pictures / f"train/a/{number}.png") for number in range(2)]
    frames[0].rotate(90).save(pictures / "train/a/pages.tif", save_all=True, append_images=frames)
    frames[1].rotate(90).save(pictures / "train/a/odd.png", icc_profile=b"none" * 50)
    assert lines(pictures) == [
        "1 image has several frames or pages, of which the first is used: train/a/pages.tif",
        "1 image has a colour profile that cannot be applied: train/a/odd.png",
    ]


def test_files_that_did_not_change_are_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, cache = tmp_path / "images", tmp_path / "cache"
    files = ["plain.png", "odd.png", "third.png", "later.png"]
    folder.mkdir()
    for number, name in enumerate(files):
        Image.new("RGB", (20, 20), (number, 9, 9)).save(folder / name)
    seen: list[str] = []
    decode = image_looks.look

    def look(path: Path, levels: Levels) -> Look | None:
        seen.append(path.name)
        return decode(path, levels)

    monkeypatch.setattr(image_looks, "look", look)

    def looks() -> list[tuple[object, ...] | None]:
        seen.clear()
        found = image_looks.look_at_all(folder, files, {}, cache)
        return [None if one is None else (*vars(one).values(),)[:5] for one in found]

    monkeypatch.setattr(image_looks, "LINE_INTERVAL", 0.0)
    first = looks()
    assert sorted(seen) == sorted(files)
    assert "checking 4 images: 100%" in caplog.text
    caplog.clear()
    assert (looks(), seen, caplog.messages) == (first, [], [])
    Image.new("RGB", (30, 20), (9, 9, 9)).save(folder / "later.png")
    again = looks()
    assert (seen, again[:3]) == (["later.png"], first[:3])
    assert again[3] != first[3]
    (kept,) = (cache / "looks").iterdir()
    kept.write_bytes(kept.read_bytes()[:200])  # damaged
    assert (looks(), len(seen)) == (again, 4)
    (folder / "third.png").write_bytes(b"no image")
    assert looks()[2] is None
    assert image_looks.look_at_all(folder, [], {}, cache) == []
