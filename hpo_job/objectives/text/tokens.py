"""Texts as numbers: tokenised once for all trials and workers of a machine, and cached."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import numpy as np
from fastai.text.core import WordTokenizer
from fastai.torch_core import defaults
from fastcore.basics import compose
from numpy.typing import NDArray

from hpo_job.data.language_models import ENGLISH
from hpo_job.data.once import make_once
from hpo_job.data.scripts import spaced
from hpo_job.errors import DataError, SpecError, problem
from hpo_job.objectives.text.batches import UNKNOWN

FORMAT = 2  # of the cache; increased whenever the meaning of its files changes
# Before tokenising: a letter of a script without spaces is a word; the rest as fastai does
RULES = [spaced, *defaults.text_proc_rules]
MULTIPLE = 8  # that a vocabulary's size is padded to, as fastai does for a GPU's sake
DIGESTS = "digests.json"
ARRAYS = ("tokens", "offsets", "counts")
VOCAB = "vocab.json"


@dataclass(frozen=True)
class Corpus:
    """Tokenised texts.

    Attributes:
        tokens: numbers of the tokens of all texts, one text after the other, shape (tokens,).
        offsets: where each text begins and the last one ends, shape (texts + 1,).
        vocab: the token of each number: fastai's special ones, then those of the training texts,
            the most frequent first. Any other token has the number UNKNOWN.
        counts: how often each is in the training texts, shape (vocab,).
    """

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]
    vocab: tuple[str, ...]
    counts: NDArray[np.int64]

    def vocabulary(self, max_vocab: int, min_freq: int) -> list[str]:
        """The ``max_vocab`` most frequent tokens among those seen ``min_freq`` times or more.

        It is the beginning of ``vocab``, with all special tokens, padded with xxfake: a token is
        unknown to it if its number is not smaller than its length.
        """
        special = len(defaults.text_spec_tok)
        frequent = special + int((self.counts[special:] >= min_freq).sum())
        chosen = list(self.vocab[: max(special, min(max_vocab, frequent))])
        return chosen + ["xxfake"] * (-len(chosen) % MULTIPLE)

    def known(self, vocabulary: Sequence[str]) -> int:
        """How many tokens of ``vocabulary`` are real; tokens with smaller numbers are known."""
        return len(vocabulary) - list(vocabulary[-MULTIPLE:]).count("xxfake")


def tokenised(
    texts: Sequence[str], train: NDArray[np.int64], cache: Path, language: str = ENGLISH
) -> Corpus:
    """The texts as numbers, read from the folder ``cache``, or tokenised and written there.

    Workers that start together wait for the one that tokenises. A damaged entry is made again.

    Args:
        texts: all texts of the study.
        train: positions of the training texts, from which the vocabulary is made.
        cache: the folder that the workers of this machine share.
        language: of the texts.

    Raises:
        DataError: the cache cannot be written.
    """
    folder = cache / "text" / _key(texts, train, language)
    try:
        return make_once(
            folder, lambda: _read(folder), lambda path: _write(path, _make(texts, train, language))
        )
    except OSError as error:
        raise DataError(
            f"--cache {cache}: the tokenised texts cannot be written: {problem(error)}; name a "
            "folder that can be written and has space"
        ) from error


def tokens_of(texts: Iterable[str], language: str = ENGLISH) -> Iterator[list[str]]:
    """The tokens of each text by fastai's rules, as for its pre-trained models."""
    # the same as fastai's TokenizeWithRules, in half the time
    before, after = compose(*RULES), compose(*defaults.text_postproc_rules)
    for document in tokenizer(language).pipe(map(before, texts)):
        yield [after(token.text) for token in document]


@cache
def tokenizer(language: str = ENGLISH) -> WordTokenizer:
    """The tokenizer of spaCy as fastai configures it, for texts of any length; takes a second.

    Raises:
        SpecError: spaCy has none of this language, or it needs another package.
    """
    try:
        words = WordTokenizer(language)
    except ImportError as error:
        reason = " ".join(str(error).split())[:200]
        raise SpecError(f"[data] language: no tokenizer of {language!r}: {reason}") from error
    words.pipe.__self__.max_length = sys.maxsize  # a limit of spaCy's parser, which is not used
    return words


def _key(texts: Sequence[str], train: NDArray[np.int64], language: str) -> str:
    """A digest of everything that the corpus depends on."""
    rules = [rule.__name__ for rule in (*RULES, *defaults.text_postproc_rules)]
    settings = [FORMAT, language, rules, *map(version, ("fastai", "spacy"))]
    digest = hashlib.sha256(json.dumps(settings).encode())
    digest.update(train.astype(np.int64).tobytes())
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d\0" % len(content) + content)
    return digest.hexdigest()[:32]


def _make(texts: Sequence[str], train: NDArray[np.int64], language: str) -> Corpus:
    first: dict[str, int] = {token: number for number, token in enumerate(defaults.text_spec_tok)}
    special = len(first)
    rows = [
        np.array([first.setdefault(token, len(first)) for token in row], dtype=np.int32)
        for row in tokens_of(texts, language)
    ]
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    counts = np.zeros(len(first), dtype=np.int64)
    for position in train:
        counts += np.bincount(rows[position], minlength=len(first))
    # among equals the order of first appearance is kept, as by Counter.most_common
    order = [
        *range(special),
        *sorted((n for n in range(special, len(first)) if counts[n]), key=lambda n: -counts[n]),
    ]
    number = np.full(len(first), UNKNOWN, dtype=np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    names = list(first)
    tokens = number[np.fromiter(chain.from_iterable(rows), np.int32, count=offsets[-1])]
    return Corpus(tokens, offsets, tuple(names[n] for n in order), counts[order])


def _write(folder: Path, corpus: Corpus) -> None:
    """Write ``corpus`` into a new ``folder``, with digests by which damage is noticed."""
    folder.mkdir()
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", getattr(corpus, name))
    _dump(folder / VOCAB, corpus.vocab)
    _dump(folder / DIGESTS, {file.name: _digest(file) for file in folder.iterdir()})


def _read(folder: Path) -> Corpus | None:
    """The corpus in ``folder``; None where there is none, or its digests do not match."""
    try:
        digests = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
        if any(_digest(folder / name) != digest for name, digest in digests.items()):
            return None
        tokens, offsets, counts = (
            np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS
        )
        vocab = json.loads((folder / VOCAB).read_text(encoding="utf-8"))
        return Corpus(tokens, offsets, tuple(vocab), counts)
    except (OSError, ValueError, AttributeError):
        return None


def _dump(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
