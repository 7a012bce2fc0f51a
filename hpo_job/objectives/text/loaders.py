"""The loaders of a text study: streams of tokens for a language model, texts for a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from fastai.data.core import DataLoaders, Datasets, TfmdLists
from fastai.data.transforms import Categorize
from fastai.text.core import Tokenizer
from fastai.text.data import LMTensorText, Numericalize, Pad_Chunk, SortedDL, TensorText
from fastai.torch_core import TensorCategory
from fastcore.foundation import L
from fasttransform import Transform
from numpy.typing import NDArray

from hpo_job.data.language_models import ENGLISH
from hpo_job.objectives.batches import close_pools
from hpo_job.objectives.loading import Loader, WholeBatches
from hpo_job.objectives.text.batches import Padded, Streams, Texts, padded_length
from hpo_job.objectives.text.tokens import RULES, tokenizer


@dataclass(frozen=True)
class Reader:
    """How texts are read, in training and later.

    Attributes:
        vocabulary: the token of each number.
        classes: the class of each number.
        column: the column of a table that holds the texts.
        bptt: tokens that a model reads at a time.
        longest: tokens that are read of a text, from its beginning.
        language: of the texts: how they are split into tokens.
    """

    vocabulary: list[str]
    classes: tuple[str, ...]
    column: str
    bptt: int
    longest: int
    language: str = ENGLISH

    def stored(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def restored(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `stored`."""
        return cls(**{**stored, "classes": tuple(stored["classes"])})


BATCH = 64  # new texts in a batch
Items = tuple[Texts, NDArray[np.int64]]  # texts, and the class number of each


class _Stream:
    """The texts of a language model, with the attributes that fastai looks for in a data set."""

    n_inp = 1

    def __init__(self, texts: Texts, reader: Reader) -> None:
        self.texts, self.vocab = texts, reader.vocabulary  # fastai's name

    def __len__(self) -> int:
        return len(self.texts)


class _Labelled:
    """The texts of a classifier, with the attributes that fastai looks for in a data set."""

    n_inp = 1

    def __init__(self, items: Items, reader: Reader) -> None:
        self.source = Padded(*items, reader.bptt)
        self.vocab = L(reader.vocabulary, reader.classes)  # fastai's name, and its order

    def __len__(self) -> int:
        return len(self.source)


class StreamLoader(Loader):
    """Batches of streams of ``bptt`` tokens; in training, texts come in a new order each pass."""

    streams: Streams | None = None

    def __init__(self, dataset: _Stream, bptt: int, **options: Any) -> None:
        super().__init__(dataset, **options)
        self.bptt = bptt
        self.n = self.bs * -(-(max(0, sum(dataset.texts.lengths) - 1) // self.bs) // bptt)

    def new(self, *arguments: Any, **options: Any) -> StreamLoader:
        """A copy with other options."""
        copy: StreamLoader = super().new(*arguments, **{"bptt": self.bptt} | options)
        return copy

    def do_batch(self, positions: Sequence[int]) -> tuple[torch.Tensor, ...]:
        """The first batch of a pass."""
        self.keys()
        return self.typed(self.source()[0])

    def get_idxs(self) -> list[int]:
        """The texts in their order, which is shuffled in training."""
        order = list(range(len(self.dataset)))
        return self.rng.sample(order, len(order)) if self.shuffle else order

    def keys(self) -> list[int]:
        """The numbers of the batches of a new pass."""
        if self.streams is not None:
            close_pools(self.streams)
        self.streams = Streams(self.dataset.texts, self.get_idxs(), self.bs, self.bptt)
        return list(range(len(self.source())))

    def source(self) -> Streams:
        """The streams of this pass."""
        assert self.streams is not None
        return self.streams

    def typed(self, batch: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Tokens, and the tokens that follow them."""
        return LMTensorText(batch[0]), TensorText(batch[1])


class TextLoader(WholeBatches, SortedDL):  # type: ignore[misc]  # fastai is untyped
    """Batches of texts of similar length."""

    def source(self) -> Padded:
        """The data set without its attributes: all that a loader process needs."""
        source: Padded = self.dataset.source
        return source

    def typed(self, batch: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Tokens, and class numbers."""
        return TensorText(batch[0]), TensorCategory(batch[1])


class PadToChunks(Pad_Chunk):  # type: ignore[misc]  # fastai is untyped
    """Pads the texts of a batch that are longer than ``seq_len`` to a multiple of it.

    fastai pads to the longest text only. If the last chunk is shorter than ``seq_len``, its
    encoder, which processes as many texts from the top of the batch as have tokens left, takes
    the wrong ones, and the prediction for a text depends on the other texts of the batch.
    """

    max_len: int

    def before_call(self, b: Any) -> None:
        super().before_call(b)
        self.max_len = padded_length(self.max_len, self.seq_len)


def language_loaders(
    train: Texts,
    valid: Texts,
    reader: Reader,
    batch_size: int,
    device: torch.device,
    workers: int = 0,
) -> DataLoaders:
    """Batches of ``batch_size`` streams of ``bptt`` tokens; texts are shuffled each epoch."""

    def loader(texts: Texts, training: bool) -> StreamLoader:
        # of few tokens, no stream would be left
        streams = max(1, min(batch_size, (sum(texts.lengths) - 1) // reader.bptt))
        return StreamLoader(
            _Stream(texts, reader),
            reader.bptt,
            bs=streams,
            shuffle=training,
            num_workers=workers,
            device=device,
        )

    return DataLoaders(loader(train, True), loader(valid, False), device=device)


def classifier_loaders(
    train: Items,
    valid: Items,
    reader: Reader,
    batch_size: int,
    device: torch.device,
    workers: int = 0,
) -> DataLoaders:
    """Batches of texts of similar length, padded to a multiple of ``bptt`` tokens."""

    def loader(items: Items, training: bool) -> TextLoader:
        return TextLoader(
            _Labelled(items, reader),
            res=items[0].lengths,
            bs=min(batch_size, len(items[0])),
            shuffle=training,
            drop_last=training,  # batch norm cannot train on a batch of one
            num_workers=workers,
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
        Tokenizer(tokenizer(reader.language), rules=RULES),
        Numericalize(reader.vocabulary),
        Beginning(reader.longest),
    ]
    classes = [Categorize(vocab=list(reader.classes), sort=False)]
    data = Datasets(tls=[TfmdLists([""], read), TfmdLists([reader.classes[0]], classes)])
    loader = SortedDL(data, bs=BATCH, num_workers=0, before_batch=PadToChunks(seq_len=reader.bptt))
    return DataLoaders(loader, loader)
