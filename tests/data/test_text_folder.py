"""A folder of texts: classes and parts by its folders, and every mistake in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpo_job.data.digests import fingerprint
from hpo_job.data.findings import cautions
from hpo_job.data.tables import LabelledRows, read_texts
from hpo_job.errors import DataError, SpecError
from hpo_job.spec.reading import read_spec
from hpo_job.spec.study_toml import Data
from hpo_job.study.checking import read_data

Write = Callable[..., Path]


@pytest.fixture
def texts(tmp_path: Path) -> Write:
    """Writes files with these texts."""

    def write(**files: str) -> Path:
        for number in range(8):
            for part in ("train/", "valid/", "test/") if files.pop("parts", None) else ("",):
                for kind in ("letter", "speech"):
                    files[f"{part}{kind}/{number}.txt"] = f"{kind} number {number} of {part}"
        for name, text in files.items():
            file = tmp_path / "texts" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return tmp_path / "texts"

    return write


def read(root: Path, **keys: object) -> LabelledRows:
    return read_texts(root, Data.model_validate({"path": "-", "valid_pct": 0.25, **keys}), 1)


def test_texts_and_their_classes(texts: Write) -> None:
    data = read(texts())
    assert data.classes == ("letter", "speech")
    assert data.counts == {"letter": 8, "speech": 8}
    assert data.names[0] == "letter/0.txt"
    assert data.frame["text"][0] == "letter number 0 of "
    assert (len(data.train), len(data.valid), len(data.test)) == (12, 4, 0)
    described = list(data.described())
    assert described[0] == ("data", f"{data.file}: 16 texts in 2 classes")
    assert ("validation", "4 texts, the same in every trial") in described


def test_parts_that_folders_name(texts: Write, tmp_path: Path) -> None:
    root = texts(
        **{"train/letter/a.txt": "one", "valid/letter/a.txt": "two", "test/speech/b.txt": "x"}
    )
    for part in ("train", "valid", "test"):
        for kind in ("letter", "speech"):
            for number in range(3):
                (root / part / kind).mkdir(parents=True, exist_ok=True)
                (root / part / kind / f"{number}.txt").write_text(f"{part} {kind} {number}")
    for kind in ("letter", "speech"):
        for file in (root / kind).iterdir():
            file.unlink()
        (root / kind).rmdir()
    data = read(root)
    assert data.source == "folders"
    for part, positions in (("train", data.train), ("valid", data.valid), ("test", data.test)):
        assert {data.names[n].split("/")[0] for n in positions.tolist()} == {part}
    drawn = read(root, split=False)
    assert drawn.classes == ("test", "train", "valid") and not len(drawn.test)


def test_what_is_left_out_is_named(texts: Write) -> None:
    root = texts(
        **{"notes.md": "x", "loose.txt": "x", "letter/blank.txt": "  ", "letter/e.txt": ""}
    )
    data = read(root)
    assert len(data) == 16
    said = " ".join(data.left_out)
    for part in ("no .txt file: notes.md", "in no class folder: loose.txt", "blank.txt", "e.txt"):
        assert part in said
    assert any("without any word" in line for line in cautions(data))


def test_another_text_is_other_data(texts: Write) -> None:
    root = texts()
    before = read(root).listing()
    assert read(root).listing() == before
    (root / "letter" / "0.txt").write_text("letter number 9 of ")
    assert read(root).listing() != before


def test_what_is_not_used_is_no_part_of_the_data(texts: Write) -> None:
    root = texts()
    before = read(root).listing()
    assert before == fingerprint(root)  # as studies of earlier releases have it
    (root / "NOTES.md").write_text("to do")
    (root / "letter" / "scan.jpg").write_bytes(b"x")
    assert read(root).listing() == before
    (root / "letter" / "new.txt").write_text("one more")
    assert read(root).listing() != before


def test_a_sample_and_merged_classes(texts: Write) -> None:
    root = texts(**{"Letter/0.txt": "a", "Letter/1.txt": "b"})
    data = read(root, labels={"Letter": "letter"}, sample=8)
    assert data.classes == ("letter", "speech")
    assert len(data) == len(data.names) == 8


def test_mistakes(texts: Write, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"data.path: .*no texts in it; expected empty/<class>/<text>"
    ):
        read(tmp_path / "empty")
    root = texts()
    (root / "letter" / "0.txt").write_bytes(b"gr\xfc\xdfe")
    with pytest.raises(DataError, match=r"0.txt: not a readable text: line 1 is not UTF-8"):
        read(root)


def test_keys_of_tables_do_not_go_with_a_folder(texts: Write, job: Callable[..., Path]) -> None:
    text = {"objective": "text_classification", "metric": "accuracy", "direction": "maximize"}
    spec = read_spec(job(**text, data={"path": str(texts())}, search_space={}))
    assert isinstance(read_data(spec), LabelledRows)
    spec = read_spec(job(**text, data={"path": str(texts()), "group": "x"}, search_space={}))
    with pytest.raises(
        SpecError, match=r"data.group: is for a table, and path is a folder of texts"
    ):
        read_data(spec)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "no such file or folder"),
        ({"made_by": "python -m mine"}, "not there yet; make it: python -m mine"),
    ],
)
def test_a_folder_that_is_not_there(
    job: Callable[..., Path], keys: dict[str, str], problem: str
) -> None:
    text = {"objective": "text_classification", "metric": "accuracy", "direction": "maximize"}
    spec = read_spec(job(**text, data={"path": "gone", **keys}, search_space={}))
    with pytest.raises(DataError, match=f"study.toml: data.path: .*gone: {problem}$"):
        read_data(spec)


def test_a_sample_without_training_texts(tmp_path: Path) -> None:
    for kind in ("letter", "speech"):
        for part, number in (("train", 1), ("test", 40)):
            (tmp_path / part / kind).mkdir(parents=True)
            for each in range(number):
                (tmp_path / part / kind / f"{each}.txt").write_text(f"{part} {kind} {each}")
    with pytest.raises(DataError, match=r"data.sample: .*: folders: no item is in the training"):
        read(tmp_path, sample=4)
