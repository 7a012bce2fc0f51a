"""The loaders of a text study: streams of tokens for a language model, texts for a classifier."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from fastai.data.core import DataLoaders, Datasets, TfmdLists
from fastai.data.transforms import Categorize
from fastai.text.core import Tokenizer
from fastai.text.data import (
    LMDataLoader,
    LMTensorText,
    Numericalize,
    Pad_Chunk,
    SortedDL,
    TensorText,
)
from fastai.torch_core import TensorCategory
from fastcore.foundation import L
from fasttransform import Transform
from numpy.typing import NDArray

from hpo_job.objectives.text.tokens import RULES, UNKNOWN, Corpus, tokenizer


@dataclass(frozen=True)
class Reader:
    """How texts are read, in training and later.

    vocabulary: the token of each number; classes: the class of each number.
    column: the column of a table that holds the texts.
    bptt: tokens that a model reads at a time.
    longest: tokens that are read of a text, from its beginning.
    """

    vocabulary: list[str]
    classes: tuple[str, ...]
    column: str
    bptt: int
    longest: int

    def stored(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `stored`."""
        return cls(**{**stored, "classes": tuple(stored["classes"])})


@dataclass(frozen=True)
class Texts:
    """Some texts of a corpus, as one trial reads them.

    rows: their positions in the corpus.
    known: tokens with this number, or a larger one, are not in the trial's vocabulary.
    longest: how many tokens of a text are read, from its beginning.
    """

    corpus: Corpus
    rows: NDArray[np.int64]
    known: int
    longest: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> torch.Tensor:
        start, end = self.corpus.offsets[self.rows[item]], self.corpus.offsets[self.rows[item] + 1]
        tokens = self.corpus.tokens[start : min(end, start + self.longest)].astype(np.int64)
        tokens[tokens >= self.known] = UNKNOWN
        return torch.from_numpy(tokens)

    @property
    def lengths(self) -> list[int]:
        """The number of tokens that are read of each text."""
        whole = self.corpus.offsets[self.rows + 1] - self.corpus.offsets[self.rows]
        return [int(length) for length in np.minimum(whole, self.longest)]


BATCH = 64  # new texts in a batch
Items = tuple[Texts, NDArray[np.int64]]  # texts, and the class number of each


class _Stream:
    """The texts as items of a language model; the loaders have its attributes as well."""

    def __init__(self, texts: Texts, reader: Reader) -> None:
        self.texts, self.vocab = texts, reader.vocabulary  # fastai's name

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, item: int) -> LMTensorText:
        return LMTensorText(self.texts[item])


class _Labelled:
    """The texts as items of a classifier; the loaders have its attributes as well."""

    def __init__(self, items: Items, reader: Reader) -> None:
        self.texts, self.targets = items
        self.vocab = L(reader.vocabulary, reader.classes)  # fastai's name, and its order

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, item: int) -> tuple[TensorText, TensorCategory]:
        return TensorText(self.texts[item]), TensorCategory(int(self.targets[item]))


class PadToChunks(Pad_Chunk):  # type: ignore[misc]  # fastai is untyped
    """Pads the texts of a batch that are longer than ``seq_len`` to a multiple of it.

    fastai pads to the longest text only. If the last chunk is shorter than ``seq_len``, its
    encoder, which processes as many texts from the top of the batch as have tokens left, takes
    the wrong ones, and the prediction for a text depends on the other texts of the batch.
    """

    max_len: int

    def before_call(self, b: Any) -> None:
        super().before_call(b)
        if self.max_len > self.seq_len:  # a single chunk has no shorter last one
            self.max_len = -(-self.max_len // self.seq_len) * self.seq_len


def language_loaders(
    train: Texts, valid: Texts, reader: Reader, batch_size: int, device: torch.device
) -> DataLoaders:
    """Batches of ``batch_size`` streams of ``bptt`` tokens; texts are shuffled each epoch."""

    def loader(texts: Texts, shuffle: bool) -> LMDataLoader:
        lengths = texts.lengths
        # of few tokens, fastai would leave no stream
        streams = max(1, min(batch_size, (sum(lengths) - 1) // reader.bptt))
        return LMDataLoader(
            _Stream(texts, reader),
            lens=lengths,
            bs=streams,
            seq_len=reader.bptt,
            shuffle=shuffle,
            device=device,
        )

    return DataLoaders(loader(train, True), loader(valid, False), device=device)


def classifier_loaders(
    train: Items,
    valid: Items,
    reader: Reader,
    batch_size: int,
    device: torch.device,
) -> DataLoaders:
    """Batches of texts of similar length, padded to a multiple of ``bptt`` tokens."""

    def loader(items: Items, training: bool) -> SortedDL:
        return SortedDL(
            _Labelled(items, reader),
            res=items[0].lengths,
            bs=min(batch_size, len(items[0])),
            shuffle=training,
            drop_last=training,  # batch norm cannot train on a batch of one
            num_workers=0,
            before_batch=PadToChunks(seq_len=reader.bptt),
            device=device,
        )

    return DataLoaders(loader(train, True), loader(valid, False), device=device)


class Beginning(Transform):  # type: ignore[misc]  # fastai is untyped
    """Drops what follows the first ``longest`` tokens of a text."""

    def __init__(self, longest: int) -> None:
        self.longest = longest

    def encodes(self, text: TensorText) -> TensorText:
        return text[: self.longest]


def new_texts(reader: Reader) -> DataLoaders:
    """Loaders of one empty text, which read new texts as the classifier's loaders read theirs.

    They consist of fastai's own transforms: ``test_dl`` takes texts, or lists of their tokens.
    """
    read = [
        Tokenizer(tokenizer(), rules=RULES),
        Numericalize(reader.vocabulary),
        Beginning(reader.longest),
    ]
    classes = [Categorize(vocab=list(reader.classes), sort=False)]
    data = Datasets(tls=[TfmdLists([""], read), TfmdLists([reader.classes[0]], classes)])
    loader = SortedDL(data, bs=BATCH, num_workers=0, before_batch=PadToChunks(seq_len=reader.bptt))
    return DataLoaders(loader, loader)
