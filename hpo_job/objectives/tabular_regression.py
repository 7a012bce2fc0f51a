"""The objective ``tabular_regression``: numbers for table rows, by fastai's tabular model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
from fastai.tabular.learner import TabularLearner

from hpo_job.objectives.context import Context
from hpo_job.objectives.finder import Curve
from hpo_job.objectives.parameters import TabularRegression
from hpo_job.objectives.tabular import model as tabular
from hpo_job.objectives.tabular.model import predict
from hpo_job.objectives.training import check_precision

__all__ = ["check", "lr_find", "predict", "rebuild", "train"]


def check(candidates: Mapping[str, Sequence[object]], weights: Path) -> None:
    """Raise SpecError where a trial could not start; no weights are needed."""
    check_precision(candidates["precision"])


def train(trial: optuna.Trial, context: Context) -> float | tuple[float, ...]:
    """Train one model; the study's metrics on the validation rows after the last epoch."""
    return tabular.train(TabularRegression, context)


def lr_find(context: Context, names: Sequence[str]) -> dict[str, Curve]:
    """What fastai's learning-rate finder says for ``learning_rate``."""
    return tabular.lr_find(TabularRegression, context, names)


def rebuild(folder: Path) -> TabularLearner:
    """The learner of a model that was kept, without its data; it can be exported and predicts."""
    return tabular.rebuild(TabularRegression, folder)
