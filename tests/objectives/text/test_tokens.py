"""Tokenised texts: as fastai tokenises them, made once for all workers, and never half there."""

from __future__ import annotations

import errno
import multiprocessing
import queue
import signal
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastai.text.core import TokenizeWithRules, WordTokenizer
from fastai.text.data import Numericalize, make_vocab

from hpo_job.errors import DataError
from hpo_job.objectives.text import tokens
from hpo_job.objectives.text.batches import UNKNOWN
from hpo_job.objectives.text.tokens import Corpus, tokenised, tokens_of

TEXTS = [
    "The House of Representatives, AND the Senate: it's 1,200 dollars!!!!!",
    "the house of the people; the the the the house",
    "Nothing that the others said... <br />",
    "",
    "Unheard-of words, in validation only: zebra zebra.",
]
TRAIN = np.array([0, 1, 2, 3], dtype=np.int64)


def fastais(texts: list[str]) -> list[list[str]]:
    return [list(row) for row in TokenizeWithRules(tok=WordTokenizer())(texts)]


def rows(corpus: Corpus) -> list[list[str]]:
    ends = corpus.offsets
    return [
        [corpus.vocab[number] for number in corpus.tokens[start:end]]
        for start, end in pairwise(ends)
    ]


def folders(cache: Path) -> list[Path]:
    return [path for path in (cache / "text").iterdir() if path.is_dir()]


def test_tokens_are_fastais() -> None:
    assert list(tokens_of(TEXTS)) == fastais(TEXTS)


def test_scripts_without_spaces_are_split_into_characters() -> None:
    japanese, thai, mixed = tokens_of(["今日は", "กำลัง", "the 東京 tower"])
    assert japanese == ["xxbos", *"今日は"]
    assert thai == ["xxbos", "ก", "ำ", "ลั", "ง"]  # a mark stays with its letter
    assert mixed == ["xxbos", "the", "東", "京", "tower"]


def test_a_corpus_says_what_the_texts_say(tmp_path: Path) -> None:
    corpus = tokenised(TEXTS, TRAIN, tmp_path)
    expected = fastais(TEXTS)
    assert rows(corpus)[:4] == expected[:4]
    known = set(corpus.vocab)
    assert "zebra" not in known  # of the validation texts, a vocabulary knows what training has
    assert rows(corpus)[4] == [token if token in known else "xxunk" for token in expected[4]]
    assert corpus.tokens.dtype == np.int32
    assert isinstance(corpus.tokens, np.memmap)


@pytest.mark.parametrize(("max_vocab", "min_freq"), [(60000, 1), (60000, 3), (12, 1), (18, 2)])
def test_vocabularies_are_fastais(tmp_path: Path, max_vocab: int, min_freq: int) -> None:
    corpus = tokenised(TEXTS, TRAIN, tmp_path)
    counter = Counter(token for row in fastais(TEXTS[:4]) for token in row)
    ours = corpus.vocabulary(max_vocab, min_freq)
    theirs = make_vocab(counter, min_freq, max_vocab)
    size = corpus.known(ours)
    assert ours[:size] == [token for token in theirs if token != "xxfake"]
    assert len(ours) % 8 == 0
    numericalize = Numericalize(vocab=ours)
    for (start, end), text in zip(pairwise(corpus.offsets), fastais(TEXTS), strict=True):
        read = [n if n < size else UNKNOWN for n in corpus.tokens[start:end].tolist()]
        assert read == numericalize(text).tolist()


def test_it_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tokenised(TEXTS, TRAIN, tmp_path)
    monkeypatch.setattr(tokens, "_make", None)
    again = tokenised(TEXTS, TRAIN, tmp_path)
    assert np.array_equal(first.tokens, again.tokens)
    assert first.vocab == again.vocab


def test_other_texts_and_another_split_are_kept_apart(tmp_path: Path) -> None:
    tokenised(TEXTS, TRAIN, tmp_path)
    tokenised(TEXTS, TRAIN[:3], tmp_path)
    tokenised([*TEXTS[:4], TEXTS[4] + "!"], TRAIN, tmp_path)
    # what ends one text and begins the next is part of what they say
    tokenised(["a b", "c"], TRAIN[:2], tmp_path)
    tokenised(["a", "b c"], TRAIN[:2], tmp_path)
    assert len(folders(tmp_path)) == 5


@pytest.mark.parametrize("name", ["tokens.npy", "offsets.npy", "vocab.json", "digests.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_one_is_made_anew(tmp_path: Path, name: str, damage: str) -> None:
    whole = tokenised(TEXTS, TRAIN, tmp_path)
    wanted = np.array(whole.tokens), whole.vocab
    file = folders(tmp_path)[0] / name
    content = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    again = tokenised(TEXTS, TRAIN, tmp_path)
    assert np.array_equal(again.tokens, wanted[0])
    assert again.vocab == wanted[1]
    assert file.read_bytes() == content


def test_what_a_killed_worker_left_is_removed(tmp_path: Path) -> None:
    tokenised(TEXTS, TRAIN, tmp_path)
    folder = folders(tmp_path)[0]
    half = folder.with_name(f".{folder.name}.abc.tmp")
    folder.rename(half)
    (half / "digests.json").unlink()
    tokenised(TEXTS, TRAIN, tmp_path)
    assert folders(tmp_path) == [folder]


def test_what_another_worker_has_kept_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was not seen at first, as on a shared volume, and is what that worker reads from."""
    make, theirs = tokens._make, []

    def make_as_another_does(*arguments: Any) -> Corpus:
        monkeypatch.setattr(tokens, "_make", make)
        corpus = make(*arguments)
        (folder,) = {path.name[1:-5] for path in (tmp_path / "text").glob(".*.lock")}
        tokens._write(tmp_path / "text" / folder, corpus)
        theirs.append((tmp_path / "text" / folder).stat().st_ino)
        return corpus

    monkeypatch.setattr(tokens, "_make", make_as_another_does)
    tokenised(TEXTS, TRAIN, tmp_path)
    (folder,) = folders(tmp_path)
    assert [folder.stat().st_ino] == theirs


def test_a_text_of_any_length(tmp_path: Path) -> None:
    long = "one two " * 130_000  # spaCy's own limit is a million characters
    corpus = tokenised([long, "short"], TRAIN[:1], tmp_path)
    assert corpus.offsets[1] > 260_000


def _stop_in_the_middle(cache: Path, within: object) -> None:
    """In a process of its own: come as far as the middle of writing, and no further."""

    def stuck(*arguments: object) -> None:
        within.set()  # type: ignore[attr-defined]
        signal.pause()

    tokens._dump = stuck  # type: ignore[assignment]
    tokenised(TEXTS, TRAIN, cache)


def test_a_worker_that_is_killed_meanwhile_holds_nobody_up(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    within, gate, results = fork.Event(), fork.Barrier(1), fork.Queue()
    first = fork.Process(target=_stop_in_the_middle, args=(tmp_path, within))
    first.start()
    assert within.wait(120)
    second = fork.Process(target=_tokenise, args=(tmp_path, gate, results))
    second.start()
    with pytest.raises(queue.Empty):
        results.get(timeout=0.5)  # it waits, for the first one lives
    first.kill()
    assert results.get(timeout=120) == 1
    assert results.get(timeout=120)
    second.join(timeout=120)
    first.join(timeout=120)
    assert len(folders(tmp_path)) == 1  # nothing half is left


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DataError, match=r"^--cache .*: No space left on device; name a folder"):
        tokenised(TEXTS, TRAIN, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(tokenised(TEXTS, TRAIN, tmp_path).offsets) == len(TEXTS) + 1


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"^--cache .*file: .*: Not a directory; name a folder"):
        tokenised(TEXTS, TRAIN, tmp_path / "file")


def _tokenise(cache: Path, gate: object, results: object) -> None:
    """In a process of its own: come at the same time as the others, and say whether it made it."""
    make = tokens._make

    def count(*arguments: object) -> Corpus:
        results.put(1)  # type: ignore[attr-defined]
        return make(*arguments)  # type: ignore[arg-type]

    tokens._make = count  # type: ignore[assignment]
    gate.wait()  # type: ignore[attr-defined]
    results.put(tokenised(TEXTS, TRAIN, cache).tokens.tolist())  # type: ignore[attr-defined]


def test_of_processes_that_come_together_one_makes_it(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    gate, results = fork.Barrier(3), fork.Queue()
    processes = [fork.Process(target=_tokenise, args=(tmp_path, gate, results)) for _ in range(3)]
    for process in processes:
        process.start()
    said = [results.get(timeout=120) for _ in range(4)]
    for process in processes:
        process.join(timeout=120)
        assert process.exitcode == 0
    assert said.count(1) == 1
    seen = [message for message in said if message != 1]
    assert len(seen) == 3 and seen[0] == seen[1] == seen[2]
