"""Pragmatic hyperparameter optimisation: parallel fastai trials that share one Optuna study."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpo_job.notebook import Results

__version__ = "0.1.0"


def load(study: str, storage: str | None = None) -> Results:
    """A study for a notebook: ``hpo_job.load("mine").trials()``; see `hpo_job.notebook`.

    Args:
        study: its name, or its job folder.
        storage: the URL of its database; where None, .hpo/studies.db of the working folder or the
            nearest one above it.
    """
    from hpo_job.notebook import load  # what it needs takes a second to import

    return load(study, storage)
