"""The objective ``tabular_regression``: numbers for table rows, by fastai's tabular model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna
from fastai.tabular.learner import TabularLearner

from hpo_job.objectives.candidates import Candidates
from hpo_job.objectives.context import Context
from hpo_job.objectives.finder import Curve
from hpo_job.objectives.parameters import TabularRegression
from hpo_job.objectives.precision import check_precision
from hpo_job.objectives.tabular import model
from hpo_job.objectives.tabular.model import predict

__all__ = ["check", "lr_find", "predict", "rebuild", "train"]


def check(candidates: Candidates) -> None:
    """Raise SpecError where a trial could not start. No weights are needed."""
    check_precision(candidates.values["precision"])


def train(trial: optuna.Trial, context: Context) -> float | tuple[float, ...]:
    """Train one model; returns the study's metrics on the validation rows."""
    return model.train(TabularRegression, context)


def lr_find(context: Context, names: Sequence[str]) -> dict[str, Curve]:
    """The learning-rate finder's curve for ``learning_rate``."""
    return model.lr_find(TabularRegression, context, names)


def rebuild(folder: Path) -> TabularLearner:
    """The learner of a kept model, without its data, for export and predictions."""
    return model.rebuild(TabularRegression, folder)
