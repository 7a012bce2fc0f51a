"""What fastai's learning-rate finder suggests, and what is an error of it."""

from __future__ import annotations

from pathlib import Path

import fastai.callback.schedule  # noqa: F401  # adds lr_find to Learner
import pytest
import torch
from fastai.callback.core import Callback
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.torch_core import set_seed
from torch.utils.data import TensorDataset

from hpo_job.objectives import finder
from hpo_job.objectives.finder import find_lr


def learner(*callbacks: Callback) -> Learner:
    set_seed(1)
    x = torch.randn(64, 8)
    data = TensorDataset(x, x[:, :2])
    loaders = DataLoaders.from_dsets(data, data, bs=8, device=torch.device("cpu"))
    learn = Learner(loaders, torch.nn.Linear(8, 2), torch.nn.MSELoss(), cbs=callbacks)
    learn.remove_cb(ProgressCallback)
    learn.logger = lambda _: None
    return learn


@pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning")
def test_it_suggests_what_fastai_does(tmp_path: Path) -> None:
    set_seed(2)
    fastais = learner()
    fastais.path = tmp_path
    expected = fastais.lr_find(show_plot=False).valley
    set_seed(2)
    curve = find_lr(learner())
    assert curve.suggestion == pytest.approx(expected)
    assert len(curve.lrs) == len(curve.losses) > 20


class Diverges(Callback):  # type: ignore[misc]
    """The loss is not a number, from a batch on."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def after_loss(self) -> None:
        if self.train_iter >= self.batch:
            self.learn.loss = self.learn.loss_grad = self.loss_grad * torch.nan


@pytest.mark.parametrize("batch", [0, 8])
def test_a_loss_that_diverges_at_once_has_no_suggestion(batch: int) -> None:
    with pytest.raises(ValueError, match="diverged at once"):
        find_lr(learner(Diverges(batch)))


@pytest.mark.filterwarnings("ignore:numpy.core is deprecated:DeprecationWarning")
@pytest.mark.parametrize("batch", [11, 12, 13, 60])
def test_a_loss_that_diverges_later_has_fastais(batch: int, tmp_path: Path) -> None:
    """No rate of the part where it had diverged."""
    set_seed(2)
    fastais = learner(Diverges(batch))
    fastais.path = tmp_path
    expected = fastais.lr_find(show_plot=False).valley
    set_seed(2)
    curve = find_lr(learner(Diverges(batch)))
    assert curve.suggestion == pytest.approx(expected)
    assert curve.suggestion <= curve.lrs[batch]


def test_a_suggestion_comes_from_before_the_divergence() -> None:
    """A valley of two points at the start, which fastai's index of -1 is read from."""
    lrs = [float(number) for number in range(100)]
    losses = [2.0] * 10 + [2.0, 1.0] + [float("nan")] * 88
    assert finder._suggestion(lrs, losses, 100) in (10.0, 11.0)


class RunsOut(Callback):  # type: ignore[misc]
    """No memory is left for a batch."""

    def after_loss(self) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_running_out_of_memory_is_not_called_divergence() -> None:
    with pytest.raises(torch.OutOfMemoryError, match="Tried to allocate"):
        find_lr(learner(RunsOut()))
