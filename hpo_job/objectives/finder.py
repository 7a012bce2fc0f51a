"""fastai's learning-rate finder: a mock training at growing rates, and what it suggests."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from itertools import takewhile
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from fastai.callback.schedule import LRFinder, valley
from fastai.learner import Learner

SKIPPED = 5  # last losses left out, as fastai does: they have diverged


@dataclass(frozen=True)
class Curve:
    """Smoothed training losses at growing learning rates, and the rate in their longest valley."""

    suggestion: float
    lrs: list[float]
    losses: list[float]

    def stored(self) -> dict[str, Any]:
        """Plain values of five digits: MySQL limits the length of a study attribute."""
        digits = {key: [float(f"{value:.5g}") for value in getattr(self, key)] for key in _LISTS}
        return {**asdict(self), **digits}


_LISTS = ("lrs", "losses")


def find_lr(learn: Learner, batches: int = 100) -> Curve:
    """Run the finder over at most ``batches`` training batches; ``learn`` is left unchanged.

    Raises:
        ValueError: the loss diverges before enough of it is recorded.
    """
    path, finder = learn.path, LRFinder(num_it=batches)
    gpus = [torch.cuda.current_device()] if learn.dls.device.type == "cuda" else []
    with TemporaryDirectory() as folder, torch.random.fork_rng(gpus):
        learn.path = Path(folder)  # where fastai keeps the weights meanwhile
        try:
            with warnings.catch_warnings():
                # fastai restores the weights through a name that numpy has renamed
                warnings.filterwarnings("ignore", message="numpy.core is deprecated")
                with learn.no_logging():
                    learn.fit(batches // len(learn.dls.train) + 1, cbs=finder)
        finally:
            learn.path = path
            if hasattr(finder, "tmp_d"):  # where an error ended it
                finder.tmp_d.cleanup()
    lrs, losses = learn.recorder.lrs, [float(loss) for loss in learn.recorder.losses]
    suggestion = _suggestion(lrs, losses, batches)
    return Curve(suggestion, lrs[:-SKIPPED], losses[:-SKIPPED])


def _suggestion(lrs: list[float], losses: list[float], batches: int) -> float:
    """The rate that fastai's ``lr_find`` suggests for these losses.

    Raises:
        ValueError: there is none before the first that is not a number.
    """
    used = slice(batches // 10, -SKIPPED)
    values = list(takewhile(lambda loss: not isnan(loss), losses[used]))
    if not values:
        raise ValueError(f"the loss diverged at once, after {len(losses)} batches")
    return float(valley(lrs[used][: len(values)], values, batches)[0])
