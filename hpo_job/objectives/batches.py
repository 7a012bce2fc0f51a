"""Batches for fastai's loaders, taken whole from a data set, here or by loader processes.

fastai's own loaders hand processes a pickle of themselves, which holds lambdas: that works only
where processes are forked. Here a process gets the data set alone, and the start method is chosen,
not inherited: a worker that was spawned would otherwise spawn its loader processes too.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

START_VARIABLE = "HPO_JOB_LOADER_START"
START = "forkserver"  # fork is unsafe next to the heartbeat's thread and CUDA; spawn is slow
PREFETCHED = 2  # batches that each process or thread has ready, as torch's loaders have


class Source(Protocol):
    """A data set that returns a whole batch, as tensors on the CPU; it can be pickled."""

    def __getitem__(self, key: Any) -> tuple[torch.Tensor, ...]: ...


class Mapped:
    """An array in a .npy file, memory-mapped: processes share its pages, and pickle its name.

    An array that is no file is kept as it is.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array
        name = getattr(array, "filename", None)
        self.file = Path(name) if name else None

    def __getstate__(self) -> dict[str, Any]:
        return {"file": self.file, "array": None if self.file else self.array}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.file:
            self.array = np.load(self.file, mmap_mode="r")


def start_method() -> str:
    """How loader processes start: HPO_JOB_LOADER_START, or forkserver where there is one.

    Raises:
        ValueError: the variable names no method of this system.
    """
    known = multiprocessing.get_all_start_methods()
    chosen = os.environ.get(START_VARIABLE) or (START if START in known else "spawn")
    if chosen not in known:
        raise ValueError(f"{START_VARIABLE}: unknown method {chosen!r}; known: {', '.join(known)}")
    return chosen


def read_by_processes(
    source: Source, keys: Sequence[Any], processes: int, *, pin: bool
) -> Iterator[tuple[torch.Tensor, ...]]:
    """The batches of these keys, in their order, read by ``processes``.

    The processes live until `close_pools`, for further passes over the same data set; of one data
    set there can be only one pass at a time. Nothing is drawn from torch's random numbers.

    Args:
        source: the data set.
        keys: what it is indexed with.
        processes: how many, at least 1.
        pin: whether to put batches into memory from which a GPU copies faster.
    """
    if id(source) not in _pools:
        _pools[id(source)] = _Pool(source, processes, pin=pin)
    return _pools[id(source)].read(keys)


def read_ahead(
    source: Source, keys: Sequence[Any], *, pin: bool
) -> Generator[tuple[torch.Tensor, ...], None, None]:
    """The batches of these keys, in their order, read by a thread while earlier ones are used.

    For data sets that only copy: numpy releases Python's lock meanwhile. Nothing is drawn from
    torch's random numbers.

    Args:
        source: the data set.
        keys: what it is indexed with.
        pin: whether to put batches into memory from which a GPU copies faster.
    """

    def read(key: Any) -> tuple[torch.Tensor, ...]:
        batch = source[key]
        return tuple(tensor.pin_memory() for tensor in batch) if pin else batch

    reader = ThreadPoolExecutor(1, "reader")
    try:
        ready = deque(reader.submit(read, key) for key in keys[:PREFETCHED])
        for key in keys[PREFETCHED:]:
            batch = ready.popleft()
            ready.append(reader.submit(read, key))
            yield batch.result()
        while ready:
            yield ready.popleft().result()
    finally:
        reader.shutdown(cancel_futures=True)


def close_pools(source: Source | None = None) -> None:
    """End the loader processes of one data set, or of all.

    Left to Python's collector, their queues may go first, and each would be waited for in vain.
    """
    if source is None:
        _pools.clear()
    else:
        _pools.pop(id(source), None)


class _Pool:
    """Loader processes of one data set, and the order in which they read."""

    def __init__(self, source: Source, processes: int, *, pin: bool) -> None:
        self.source, self._keys = source, _Keys()  # the source lives as long as its id is a key
        method = start_method()
        if method == "forkserver":
            # Imported by the server once, not by each process; no effect once the server runs
            multiprocessing.set_forkserver_preload([__name__, type(source).__module__])
        with warnings.catch_warnings():
            # as many as were asked for, also where the machine has fewer CPUs
            warnings.filterwarnings("ignore", message="This DataLoader will create")
            self._loader: DataLoader[Any] = DataLoader(
                source,  # type: ignore[arg-type]  # indexed by what the sampler yields
                batch_size=None,
                sampler=self._keys,
                num_workers=processes,
                worker_init_fn=_end_with_trainer,
                collate_fn=_unchanged,
                pin_memory=pin,
                multiprocessing_context=method,
                generator=torch.Generator(),
                prefetch_factor=PREFETCHED,
                persistent_workers=True,
            )

    def read(self, keys: Sequence[Any]) -> Iterator[tuple[torch.Tensor, ...]]:
        """The batches of these keys, in their order."""
        self._keys.keys = keys
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="This DataLoader will create")
            return iter(self._loader)


_pools: dict[int, _Pool] = {}


class _Keys(Sampler[Any]):
    """The keys of the batches of one pass, set before it starts."""

    keys: Sequence[Any] = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


def _end_with_trainer(_: int) -> None:
    """End this loader process when the process that trains does, however that ended.

    torch's own watch is for the parent: of a forked server's children that is the server, which
    lives as long as they do, so after a SIGKILL all of them would stay, with their memory.
    """
    trainer = multiprocessing.parent_process()
    assert trainer is not None

    def wait() -> None:
        trainer.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _unchanged(batch: Any) -> Any:
    return batch


class Tensors(Dataset[Any]):
    """Items in tensors of equal length; a batch is indexed by a list of positions."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, positions: Sequence[int]) -> tuple[torch.Tensor, ...]:
        chosen = torch.as_tensor(positions).to(self.tensors[0].device, non_blocking=True)
        return tuple(tensor[chosen] for tensor in self.tensors)
