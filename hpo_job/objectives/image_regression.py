"""The objective ``image_regression``: a number for an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna
import pandas as pd
from fastai.learner import Learner

from hpo_job.objectives.context import Context
from hpo_job.objectives.finder import Curve
from hpo_job.objectives.images import objective
from hpo_job.objectives.images.heads import NUMBERS
from hpo_job.objectives.images.objective import check

__all__ = ["check", "lr_find", "predict", "rebuild", "train"]


def train(trial: optuna.Trial, context: Context) -> float | tuple[float, ...]:
    """Train one model; returns the study's metrics on the validation images."""
    return objective.train(NUMBERS, context)


def lr_find(context: Context, names: Sequence[str]) -> dict[str, Curve]:
    """The learning-rate finder's curve for each of these parameters, in its own phase."""
    return objective.lr_find(NUMBERS, context, names)


def rebuild(folder: Path) -> Learner:
    """The learner of a kept model, without its data, for export and predictions."""
    return objective.rebuild(NUMBERS, folder)


def predict(learn: Learner, files: Sequence[Path]) -> pd.DataFrame:
    """The number for each image file: a row for each."""
    return objective.predict(NUMBERS, learn, files)
