"""The fastai callback that scores every epoch, reports it, and stops a trial to be pruned."""

from __future__ import annotations

import numpy as np
from fastai.callback.core import Callback, CancelFitException

from hpo_job.objectives.context import Context


class EpochScores(Callback):  # type: ignore[misc]  # fastai is untyped
    """Reports the study's metric on the validation set after each of ``epochs`` epochs.

    One and the same callback goes through all the fits of a trial, so that its epochs are
    counted over all of them. The predictions are those of fastai's own validation pass.
    ``values`` are the scores so far; after `pruned` turned True nothing more should be fitted.
    """

    order = 60  # after Recorder and all the others: raising ends their turn as well

    def __init__(self, context: Context, epochs: int) -> None:
        self.context, self.epochs = context, epochs
        self.values: list[float] = []
        self.pruned = False

    def before_validate(self) -> None:
        self.probabilities: list[np.ndarray] = []
        self.targets: list[np.ndarray] = []

    def after_pred(self) -> None:
        if self.training:
            return
        probabilities = self.loss_func.activation(self.pred.detach())
        self.probabilities.append(probabilities.double().cpu().numpy())
        self.targets.append(self.yb[0].cpu().numpy())

    def after_epoch(self) -> None:
        """Score, report and, where the pruner says so, end the fit.

        TrialPruned is not raised here: fastai rewrites the message of what a callback raises.
        """
        assert self.context.metric is not None
        value = self.context.metric.score(
            np.concatenate(self.targets).astype(np.int64), np.concatenate(self.probabilities)
        )
        self.values.append(value)
        last = len(self.values) == self.epochs
        if self.context.should_stop_after(value, last=last):
            self.pruned = True
            raise CancelFitException
