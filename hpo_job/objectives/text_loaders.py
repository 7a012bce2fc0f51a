"""The loaders of a text study: a stream of tokens for a language model, texts for a classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from fastai.data.core import DataLoaders
from fastai.text.data import LMDataLoader, LMTensorText, Pad_Chunk, SortedDL, TensorText
from fastai.torch_core import TensorCategory
from numpy.typing import NDArray

from hpo_job.objectives.tokens import UNKNOWN, Corpus


@dataclass(frozen=True)
class Texts:
    """Some texts of a corpus, as one trial reads them.

    rows: their positions in the corpus.
    known: numbers of tokens from here on are not in the trial's vocabulary.
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
        """Tokens of each text that are read."""
        whole = self.corpus.offsets[self.rows + 1] - self.corpus.offsets[self.rows]
        return [int(length) for length in np.minimum(whole, self.longest)]


class _Stream:
    """The texts as items of a language model."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, item: int) -> LMTensorText:
        return LMTensorText(self.texts[item])


class _Labelled:
    """The texts as items of a classifier; without ``targets`` all of class 0."""

    def __init__(self, texts: Texts, targets: NDArray[np.int64]) -> None:
        self.texts, self.targets = texts, targets

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, item: int) -> tuple[TensorText, TensorCategory]:
        return TensorText(self.texts[item]), TensorCategory(int(self.targets[item]))


def language_loaders(
    train: Texts, valid: Texts, batch_size: int, bptt: int, device: torch.device
) -> DataLoaders:
    """Batches of ``batch_size`` streams of ``bptt`` tokens; texts are shuffled each epoch."""

    def loader(texts: Texts, shuffle: bool) -> LMDataLoader:
        lengths = texts.lengths
        # of few tokens, no stream would be left
        streams = max(1, min(batch_size, (sum(lengths) - 1) // bptt))
        return LMDataLoader(
            _Stream(texts), lens=lengths, bs=streams, seq_len=bptt, shuffle=shuffle, device=device
        )

    return DataLoaders(loader(train, True), loader(valid, False), device=device)


def classifier_loaders(
    train: tuple[Texts, NDArray[np.int64]],
    valid: tuple[Texts, NDArray[np.int64]],
    batch_size: int,
    bptt: int,
    device: torch.device,
) -> DataLoaders:
    """Batches of texts of like length, each padded to a multiple of ``bptt`` tokens.

    train, valid: the texts, and the class number of each.
    """

    def loader(texts: Texts, targets: NDArray[np.int64], training: bool) -> SortedDL:
        return SortedDL(
            _Labelled(texts, targets),
            res=texts.lengths,
            bs=min(batch_size, len(texts)),
            shuffle=training,
            drop_last=training,  # batch norm cannot train on a batch of one
            before_batch=Pad_Chunk(seq_len=bptt),
            device=device,
        )

    return DataLoaders(loader(*train, True), loader(*valid, False), device=device)
