"""Labelled image files with something else than one class each: several labels, or a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hpo_job.data import labels
from hpo_job.data.images import LabelledFiles
from hpo_job.data.split import membership
from hpo_job.errors import plural


@dataclass(frozen=True)
class MultiLabelFiles(LabelledFiles):
    """Image files with several labels each, or none.

    Attributes:
        labels: those of each file, divided by `delimiter`; empty where it has none.
        delimiter: of the labels of a file; in no label.
    """

    delimiter: str = ";"

    @cached_property
    def sets(self) -> list[tuple[str, ...]]:
        """The labels of every file."""
        return [tuple(each.split(self.delimiter)) if each else () for each in self.labels]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The labels, sorted: a label's position is its number."""
        return tuple(membership(self.sets)[0])

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """1 where a file has a label, else 0; shape (files, labels)."""
        return membership(self.sets)[1].astype(np.int64)

    @property
    def counts(self) -> dict[str, int]:
        """Files with each label, the most frequent label first."""
        return dict(Counter(label for each in self.sets for label in each).most_common())

    def _described_targets(self) -> Iterator[tuple[str, str]]:
        count = plural(len(self.classes), "label")
        yield "data", f"{self.table or self.root}: {plural(len(self), 'image')} with {count}"
        for name, files in self.counts.items():
            yield "", f"{files:>7}  {files / len(self):>4.0%}  {labels.readable(name)}"
        sizes = [len(each) for each in self.sets]
        mean, bare = float(np.mean(sizes)), sizes.count(0)
        without = f"; {plural(bare, 'image has', 'images have')} none" if bare else ""
        divided = f"divided by {self.delimiter!r}, " if any(n > 1 for n in sizes) else ""
        yield "labels", f"{divided}{mean:.1f} an image, {max(sizes)} at most{without}"


@dataclass(frozen=True)
class MeasuredFiles(LabelledFiles):
    """Image files with a number each.

    Attributes:
        labels: the numbers as they are written.
        values: the numbers, shape (files,).
        column: that they are in.
    """

    values: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    column: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """None: a number is no class."""
        return ()

    @property
    def targets(self) -> NDArray[np.float64]:
        """The number of every file, shape (files,)."""
        return self.values

    @property
    def counts(self) -> dict[str, int]:
        """Nothing to count."""
        return {}

    def _described_targets(self) -> Iterator[tuple[str, str]]:
        yield "data", f"{self.table or self.root}: {plural(len(self), 'image')}"
        low, middle, high = np.quantile(self.values, [0, 0.5, 1])
        yield "target", f"{self.column}: {low:g} to {high:g}, median {middle:g}"
