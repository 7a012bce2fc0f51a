"""The epochs of a phase: scored, timed, reported, saved; left out if an attempt before had them."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import optuna
import torch
from fastai.callback.core import Callback, CancelEpochException, CancelFitException
from fastai.learner import Learner
from numpy.typing import NDArray

from hpo_job.objectives.checkpoint import (
    capture,
    forget_epoch,
    random_numbers,
    restore,
    restore_hidden,
    restore_random_numbers,
)
from hpo_job.objectives.context import Context
from hpo_job.objectives.tensors import as_array, synchronise
from hpo_job.trial import attributes
from hpo_job.trial.checkpoint_file import State
from hpo_job.trial.phases import Phase

Score = Callable[[NDArray[Any], NDArray[np.float64]], float]


class Epochs(Callback):  # type: ignore[misc]  # fastai is untyped
    """Scores, times, reports and saves each epoch of a phase, and ends it when it is pruned.

    ``values`` are the scores so far. Once ``pruned`` is True, further fits of the phase end
    before they begin. The predictions are those of fastai's own validation pass.

    Where the trial goes on from a saved state, the fits, epochs and batches before it are left out.
    """

    order = 61  # after Recorder, ParamScheduler and all others, which an exception would skip

    def __init__(
        self,
        context: Context,
        phase: Phase,
        score: Score,
        of_learner: Callable[[Learner], float] | None = None,
    ) -> None:
        self.context, self.phase, self.score, self.of_learner = context, phase, score, of_learner
        self.state, context.resumed = context.resumed, None
        self.values: list[float] = list(self.state["values"]) if self.state else []
        self.started = perf_counter()
        self.fits = 0  # how many of the phase have begun
        self.pruned = self.left_out = False

    def before_fit(self) -> None:
        self.fits += 1
        first = self.state["position"]["fit"] if self.state else 0
        if self.pruned or self.fits < first:
            raise CancelFitException
        if self.fits > first:  # the state was at the end of the fit before
            self.state = None
        if self.state:
            restore(self.learn, self.state)
            self.learn.train_iter = self.state["position"]["iteration"]
            began = self.state["position"]["began"]
            restore_random_numbers(self.learn, began or self.state["random"])

    def before_epoch(self) -> None:
        self.started = perf_counter()
        self.left_out = self.state is not None and self.epoch < self.state["position"]["epoch"]
        if self.left_out:
            raise CancelEpochException

    def before_train(self) -> None:
        self.batch = 0
        self.news = False  # whether something was trained that no state of an earlier attempt has
        self.began = random_numbers(self.learn)
        state, self.state = self.state, None
        if state and state["position"]["batch"]:
            position = state["position"]
            self.batch, self.learn.pct_train = position["batch"], position["share"]
            self.started -= position["seconds"]
            restore_hidden(self.learn, state)
            self.dls.train.skip(
                self.batch, lambda: restore_random_numbers(self.learn, state["random"])
            )

    def after_batch(self) -> None:
        self.batch += self.training
        self.news = self.news or self.training
        if self.news:
            # In a long validation too: what was trained is saved, and is validated again
            self._save(self.epoch, self.batch, self.began, None if self.training else self.trained)
        else:
            # What an earlier attempt has saved would count as progress if it were saved once more,
            # and a validation that kills its worker would be run again for ever
            self.context.progress()

    def before_validate(self) -> None:
        self.trained = random_numbers(self.learn)
        self.predictions: list[torch.Tensor] = []
        self.targets: list[torch.Tensor] = []
        synchronise(self.dls.device)
        self.validating = perf_counter()

    def after_pred(self) -> None:
        if self.training or self.of_learner:
            return
        predictions = getattr(self.loss_func, "activation", lambda x: x)(self.pred.detach())
        self.predictions.append(predictions)  # on the device: a copy to the CPU would wait for it
        self.targets.append(self.yb[0])

    def after_validate(self) -> None:
        synchronise(self.dls.device)
        self.context.timings.add(attributes.VALIDATION_TIME, perf_counter() - self.validating)

    def after_epoch(self) -> None:
        if self.left_out:
            forget_epoch(self.learn)
            return
        if self.of_learner:
            value = self.of_learner(self.learn)
        else:
            value = self.score(
                as_array(torch.cat(self.targets)), as_array(torch.cat(self.predictions))
            )
        self.context.timings.epoch(perf_counter() - self.started)
        self.values.append(value)
        last = self.phase.final and len(self.values) == self.phase.epochs
        if self.context.should_stop_after(value, last=last):
            self.pruned = True
            raise CancelFitException
        self._save(self.epoch + 1)

    def captured(
        self,
        learn: Learner,
        epoch: int,
        batch: int = 0,
        began: State | None = None,
        numbers: State | None = None,
    ) -> State:
        """The state of training, to be continued by a fit of the same phase.

        Args:
            learn: the learner.
            epoch: the next one to train.
            batch: the next one of it.
            began: the random numbers at the beginning of that epoch; None where it begins now.
            numbers: those at the end of its training; None are those of this moment.
        """
        position = {
            "fit": self.fits,
            "epoch": epoch,
            "batch": batch,
            "iteration": int(learn.train_iter),
            "share": float(learn.pct_train),
            "seconds": perf_counter() - self.started,
            "began": began,
        }
        return {
            **capture(learn, self.context, self.phase.name, self.values),
            "position": position,
            "random": numbers or random_numbers(learn),
        }

    def _save(self, *position: Any) -> None:
        """Offer the state of training; for ``position`` see `captured`."""
        try:
            self.context.save(lambda: self.captured(self.learn, *position))
        except optuna.TrialPruned:  # it pauses here; `fit` raises it anew
            self.pruned = True
            raise CancelFitException from None
