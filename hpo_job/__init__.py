"""Pragmatic hyperparameter optimisation: parallel fastai trials that share one Optuna study."""

__version__ = "0.1.0"
