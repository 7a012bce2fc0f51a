"""fastai's learning-rate finder: a mock training at growing rates, and what it suggests."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fastai.callback.schedule  # noqa: F401  # adds lr_find to Learner
import torch
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
    path = learn.path
    gpus = [torch.cuda.current_device()] if learn.dls.device.type == "cuda" else []
    with TemporaryDirectory() as folder, torch.random.fork_rng(gpus):
        learn.path = Path(folder)  # where fastai keeps the weights meanwhile
        try:
            with warnings.catch_warnings():
                # fastai restores the weights through a name that numpy has renamed
                warnings.filterwarnings("ignore", message="numpy.core is deprecated")
                suggestion = learn.lr_find(num_it=batches, show_plot=False).valley
        except (IndexError, RuntimeError) as error:
            raise ValueError(f"the loss diverged at once: {error}") from error
        finally:
            learn.path = path
    lrs, losses = learn.recorder.lrs, [float(loss) for loss in learn.recorder.losses]
    return Curve(float(suggestion), lrs[:-SKIPPED], losses[:-SKIPPED])
