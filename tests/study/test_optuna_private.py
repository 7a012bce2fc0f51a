"""The names that Optuna does not publish are as this package expects them."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import TPESampler

import hpo_job
from hpo_job.study import optuna_private
from tests.sources import parsed

PACKAGES = ("spec", "study", "trial", "worker")


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (owner, name, parameters)
        for owner, methods in optuna_private.METHODS.items()
        for name, parameters in methods.items()
    ],
)
def test_a_private_method_takes_what_it_took(
    owner: type, name: str, parameters: tuple[str, ...]
) -> None:
    actual = inspect.signature(getattr(owner, name)).parameters
    assert tuple(parameter for parameter in actual if parameter != "self") == parameters


def test_a_trial_that_was_started_can_be_opened() -> None:
    assert tuple(inspect.signature(optuna.Trial).parameters) == ("study", "trial_id")


@pytest.mark.parametrize("name", optuna_private.ATTRIBUTES)
def test_a_private_attribute_exists(name: str) -> None:
    assert hasattr(TPESampler(), name)


def test_an_estimator_is_made_and_drawn_from_as_expected() -> None:
    sampler = optuna_private.ExtensibleTPESampler(seed=1)
    space: optuna_private.Space = {"x": FloatDistribution(0, 1)}
    below, above = (sampler.estimate({"x": np.array([x, x + 0.01])}, space) for x in (0.2, 0.8))
    assert 0 <= sampler.best_candidate(below, above)["x"] < 0.5


def test_where_optuna_keeps_enqueued_parameters() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 3})
    waiting, free = study.trials[0], study.ask()
    assert optuna_private.fixed_params(waiting) == {"x": 3}
    study.tell(free, 1.0)
    study.tell(study.ask(), 1.0)
    assert optuna_private.fixed_params(study.trials[1]) == {}


def test_no_other_module_uses_a_private_name_of_optunas() -> None:
    """Neither a module below a private package, nor one of the names that are pinned here."""
    private = {*optuna_private.ATTRIBUTES}
    private |= {name for methods in optuna_private.METHODS.values() for name in methods}
    for package in PACKAGES:
        for file in (Path(str(hpo_job.__file__)).parent / package).rglob("*.py"):
            if file.stem == "optuna_private":
                continue
            for node in ast.walk(parsed(file)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("optuna."):
                    assert "._" not in str(node.module), f"{file}: {node.module}"
                if isinstance(node, ast.Attribute):
                    assert node.attr not in private, f"{file}:{node.lineno}: {node.attr}"
                if isinstance(node, ast.Attribute) and node.attr == "get":  # one by its name
                    assert "system_attrs" not in ast.dump(node.value), f"{file}:{node.lineno}"
                if isinstance(node, ast.Subscript):
                    assert "system_attrs" not in ast.dump(node.value), f"{file}:{node.lineno}"
