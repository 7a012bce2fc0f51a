"""The objective ``image_multilabel``: several labels an image, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna
import pandas as pd
from fastai.learner import Learner

from hpo_job.objectives.context import Context
from hpo_job.objectives.finder import Curve
from hpo_job.objectives.images import objective
from hpo_job.objectives.images.heads import LABELS
from hpo_job.objectives.images.objective import check

__all__ = ["check", "lr_find", "predict", "rebuild", "train"]


def train(trial: optuna.Trial, context: Context) -> float | tuple[float, ...]:
    """Train one model; returns the study's metrics on the validation images."""
    return objective.train(LABELS, context)


def lr_find(context: Context, names: Sequence[str]) -> dict[str, Curve]:
    """The learning-rate finder's curve for each of these parameters, in its own phase."""
    return objective.lr_find(LABELS, context, names)


def rebuild(folder: Path) -> Learner:
    """The learner of a kept model, without its data, for export and predictions."""
    return objective.rebuild(LABELS, folder)


def predict(learn: Learner, files: Sequence[Path]) -> pd.DataFrame:
    """The labels of each image file, and the probability of every label: a row for each file."""
    return objective.predict(LABELS, learn, files)
