"""Batches of tokens; without fastai, which a loader process would take ten seconds to import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from hpo_job.objectives.batches import Mapped

UNKNOWN = 0  # the number of xxunk, fastai's token for all that is not in the vocabulary
PADDING = 1  # the number of xxpad


@dataclass(frozen=True)
class Texts:
    """Some texts of a corpus, as one trial reads them.

    Attributes:
        tokens: of the corpus, see `hpo_job.objectives.text.tokens.Corpus`.
        offsets: likewise.
        rows: the positions of these texts in the corpus.
        known: tokens with this number, or a larger one, are not in the trial's vocabulary.
        longest: how many tokens of a text are read, from its beginning.
    """

    tokens: Mapped
    offsets: Mapped
    rows: NDArray[np.int64]
    known: int
    longest: int

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> NDArray[np.int64]:
        start, end = self.offsets.array[self.rows[item] : self.rows[item] + 2]
        tokens = self.tokens.array[start : min(end, start + self.longest)].astype(np.int64)
        tokens[tokens >= self.known] = UNKNOWN
        return tokens

    @property
    def lengths(self) -> list[int]:
        """The number of tokens that are read of each text."""
        whole = self.offsets.array[self.rows + 1] - self.offsets.array[self.rows]
        return [int(length) for length in np.minimum(whole, self.longest)]


class Streams:
    """Texts one after the other, cut into ``streams`` of equal length; a batch is its number.

    Batch n holds the tokens of all streams from ``n * bptt`` on, ``bptt`` of them or, in the last
    batch, what is left, and the tokens that follow each. The end of the texts, shorter than the
    number of streams, is left out, as in fastai.
    """

    def __init__(self, texts: Texts, order: Sequence[int], streams: int, bptt: int) -> None:
        chosen = [texts[item] for item in order]
        tokens = np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
        length = max(0, len(tokens) - 1) // streams
        starts = np.arange(streams) * length
        self.tokens = np.stack([tokens[start : start + length + 1] for start in starts])
        self.bptt, self.length = bptt, length

    def __len__(self) -> int:
        return -(-self.length // self.bptt)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        start = number * self.bptt
        batch = torch.from_numpy(self.tokens[:, start : start + self.bptt + 1])
        return batch[:, :-1].contiguous(), batch[:, 1:].contiguous()


class Padded:
    """Texts with their class numbers; a batch is a list of positions, padded to one length."""

    def __init__(self, texts: Texts, targets: NDArray[np.int64], bptt: int) -> None:
        self.texts, self.targets, self.bptt = texts, targets, bptt

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, positions: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        rows = [self.texts[position] for position in positions]
        length = padded_length(max(map(len, rows)), self.bptt)
        batch = np.full((len(rows), length), PADDING, np.int64)
        for line, row in zip(batch, rows, strict=True):
            # As fastai's Pad_Chunk: whole chunks of padding before the text, the rest after it
            first = (length - len(row)) // self.bptt * self.bptt
            line[first : first + len(row)] = row
        return torch.from_numpy(batch), torch.from_numpy(self.targets[list(positions)])


def padded_length(longest: int, bptt: int) -> int:
    """To how many tokens the texts of a batch are padded; see `PadToChunks`."""
    # a single chunk has no shorter last one
    return longest if longest <= bptt else -(-longest // bptt) * bptt
