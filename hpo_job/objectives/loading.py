"""fastai's loaders over data sets that return whole batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from fastai.data.core import TfmdDL
from fastai.torch_core import to_device

from hpo_job.objectives.batches import Source, read_ahead, read_by_processes


class WholeBatches:
    """Mixed into a fastai loader before its class: its data set returns whole batches.

    fastai still draws the items (``get_idxs``) and changes the batches on their device
    (``after_batch``). ``num_workers`` loader processes read the batches, or this process, in a
    thread if it ``reads_ahead``.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options | {"indexed": True})
        self._skip: tuple[int, Callable[[], None]] | None = None

    def skip(self, count: int, then: Callable[[], None]) -> None:
        """Leave out the first ``count`` batches of the next pass, and call ``then`` before it.

        The order of the items is drawn as ever: ``then`` is called when it is.
        """
        self._skip = count, then

    def source(self) -> Source:
        """The data set of the next pass; as long as it is the same, so are the processes."""
        return self.dataset  # type: ignore[attr-defined, no-any-return]

    @property
    def reads_ahead(self) -> bool:
        """Whether a batch is read while the one before is computed, without loader processes."""
        return False

    def keys(self) -> list[Any]:
        """What indexes the batches of a pass: for each, the positions of its items."""
        items = [int(item) for item in self.get_idxs()]  # type: ignore[attr-defined]
        size = self.bs  # type: ignore[attr-defined]
        chunks = [items[start : start + size] for start in range(0, len(items), size)]
        if self.drop_last and chunks and len(chunks[-1]) < size:  # type: ignore[attr-defined]
            chunks.pop()
        return chunks

    def typed(self, batch: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """A batch on its device, as the types that fastai's transforms choose by."""
        return tuple(batch)

    def do_item(self, item: int | None) -> int:
        return item or 0

    def do_batch(self, positions: Sequence[int]) -> tuple[torch.Tensor, ...]:
        """The batch of items at these positions."""
        return self.typed(self.source()[positions])

    def __iter__(self: Any) -> Iterator[tuple[torch.Tensor, ...]]:
        self.randomize()
        self.before_iter()
        keys, source = self.keys(), self.source()
        if self._skip:
            (count, then), self._skip = self._skip, None
            keys = keys[count:]
            then()
        for batch in self._read(source, keys):
            yield self.after_batch(self.typed(to_device(tuple(batch), self.device, True)))
        self.after_iter()

    def _read(self: Any, source: Source, keys: list[Any]) -> Iterator[tuple[torch.Tensor, ...]]:
        processes = min(self.fake_l.num_workers, len(keys))
        pin = self.device.type == "cuda"
        if processes:
            return read_by_processes(source, keys, processes, pin=pin)
        if self.reads_ahead:
            return read_ahead(source, keys, pin=pin)
        return (source[key] for key in keys)


class Loader(WholeBatches, TfmdDL):  # type: ignore[misc]  # fastai is untyped
    """A loader of whole batches, in the order of the items or shuffled."""
