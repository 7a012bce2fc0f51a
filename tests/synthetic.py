"""Studies as a long search leaves them, created through Optuna's public functions in a moment."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

START = datetime(2026, 3, 1, 20, 0, 0)
MODELS = {"resnet18": 0.02, "resnet50": 0.05, "densenet121": 0.04, "squeezenet1_0": -0.03}
SPEEDS = {"resnet18": 0.65, "resnet50": 0.9, "densenet121": 0.97, "squeezenet1_0": 0.6}
SPACE: dict[str, BaseDistribution] = {
    "model": CategoricalDistribution(list(MODELS)),
    "learning_rate": FloatDistribution(1e-5, 1e-1, log=True),
    "epochs": IntDistribution(1, 10),
    "apply_tfms": CategoricalDistribution([True, False]),
    "mult": FloatDistribution(0.0, 1.0),  # only where apply_tfms
}
SPEC: dict[str, Any] = {
    "name": "synthetic",
    "objective": "image_classification",
    "metric": "f1_weighted",
    "direction": "maximize",
    "seed": 42,
    "budget": {"trials": 1000, "failures": 3, "retries": 2},
    "data": {"path": "data", "valid_pct": 0.3},
    "sampler": {"name": "TPESampler"},
    "pruner": {"name": "SuccessiveHalvingPruner", "min_resource": 2},
    "search_space": {
        "model": {"type": "categorical", "choices": list(MODELS)},
        "learning_rate": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
        "epochs": {"type": "int", "low": 1, "high": 10},
        "apply_tfms": {"type": "categorical", "choices": [True, False]},
        "mult": {"type": "float", "low": 0.0, "high": 1.0},
        "batch_size": 32,
    },
}
PROVENANCE = {
    "seed": 42,
    "git_revision": "0123456789abcdef",
    "versions": {"python": "3.11.7", "optuna": "5.0.0"},
    "data_fingerprint": "5e1f",
}
CURVE = {
    "suggestion": 3e-3,
    "lrs": [10 ** (step / 10 - 6) for step in range(51)],
    "losses": [0.7 + 0.3 * math.cos(step / 8) + 1e-3 * step**1.6 for step in range(51)],
}


def trials(
    count: int, *, seed: int = 0, workers: int = 4, shift: float = 0.0, phases: bool = True
) -> list[FrozenTrial]:
    """Trials of a reference-like study: mostly COMPLETE, some PRUNED, a few FAIL and retried.

    shift: decades by which the best learning rate lies elsewhere.
    phases: whether they have two phases, the second one optional.
    """
    rng = random.Random(seed)
    free = [START + timedelta(seconds=rng.uniform(0, 5)) for _ in range(workers)]
    created = []
    for number in range(count):
        worker = min(range(workers), key=lambda each: free[each])
        trial = _trial(rng, number, worker, shift, phases)
        begun = free[worker] + timedelta(seconds=rng.uniform(0.1, 3))
        ended = begun + timedelta(seconds=trial.user_attrs.get("total_time", rng.uniform(2, 20)))
        trial.datetime_start, trial.datetime_complete = begun, ended
        free[worker] = ended
        created.append(trial)
    return created


def _trial(rng: random.Random, number: int, worker: int, shift: float, phases: bool) -> FrozenTrial:
    params: dict[str, Any] = {
        "model": rng.choice(list(MODELS)),
        "learning_rate": 10 ** rng.uniform(-5, -1),
        "epochs": rng.randint(1, 10),
        "apply_tfms": rng.random() < 0.5,
    }
    if params["apply_tfms"]:
        params["mult"] = rng.random()
    off = abs(math.log10(params["learning_rate"]) + 3 - shift)
    value = 0.84 + MODELS[params["model"]] - 0.09 * off**1.6 + 0.006 * params["epochs"]
    value = min(max(value + rng.gauss(0, 0.012), 0.02), 0.995)
    second = rng.randint(0, 3) if phases else 0
    steps = params["epochs"] + second
    curve = {
        step: value * (1 - 0.5 * math.exp(-(step + 1) / 2)) + rng.gauss(0, 0.006)
        for step in range(steps)
    }
    attrs: dict[str, Any] = {
        "worker": {"host": f"node-{worker // 2}", "pid": 100 + worker},
        "draw": number,
    }
    named: list[dict[str, Any]] = [
        {"name": "frozen", "start": 0, "metric": "f1_weighted", "direction": "maximize"}
    ]
    if second:
        named.append(
            {
                "name": "unfrozen",
                "start": params["epochs"],
                "metric": "f1_weighted",
                "direction": "maximize",
            }
        )
    state = TrialState.COMPLETE
    if rng.random() < 0.02:
        reason = rng.choice(["lost", "preempted", "error"])
        attrs["fail_reason"] = reason
        if reason == "error":
            attrs["error"] = "RuntimeError: CUDA error: <script>alert(1)</script> & more"
        return _created(TrialState.FAIL, None, params, attrs, {})
    if value < 0.8 and steps > 2 and rng.random() < 0.8:
        state = TrialState.PRUNED
        curve = {step: each for step, each in curve.items() if step < 2}
    train = 4.0 * len(curve) * SPEEDS[params["model"]]
    attrs |= {
        "phases": [each for each in named if each["start"] <= max(curve)] if phases else None,
        "data_time": 0.6,
        "train_time": train,
        "train_time_frozen": train,
        "epoch_times": [4.0] * len(curve),
        "validation_time": 0.2 * train,
        "storage_time": 0.15,
        "total_time": train + 2.4,
        "execute_time": round(SPEEDS[params["model"]] + rng.uniform(0, 0.08), 4),
        "device_name": "cpu",
    }
    attrs = {name: each for name, each in attrs.items() if each is not None}
    return _created(state, value if state == TrialState.COMPLETE else None, params, attrs, curve)


def _created(
    state: TrialState,
    value: float | None,
    params: Mapping[str, Any],
    attrs: Mapping[str, Any],
    curve: Mapping[int, float],
) -> FrozenTrial:
    return create_trial(
        state=state,
        value=value,
        params=dict(params),
        distributions={name: SPACE[name] for name in params},
        user_attrs=dict(attrs),
        intermediate_values=dict(curve),
    )


def language_model(perplexity: float = 107.5) -> FrozenTrial:
    """A trial that was pruned as a language model; Optuna keeps its last report as its value."""
    phase = {
        "name": "language_model_frozen",
        "start": 0,
        "metric": "perplexity",
        "direction": "minimize",
        "of_study": False,
    }
    return create_trial(
        state=TrialState.PRUNED,
        value=perplexity,
        params={"epochs": 3},
        distributions={"epochs": SPACE["epochs"]},
        user_attrs={"phases": [phase]},
        intermediate_values={0: 150.0, 1: perplexity},
    )


def study(
    trials: Sequence[FrozenTrial] = (),
    name: str = "synthetic",
    *,
    storage: Any = None,
    direction: str = "maximize",
    ours: bool = True,
    **spec: Any,
) -> optuna.Study:
    """A study with these trials; ``ours``: with the attributes that hpo-job gives it."""
    study = optuna.create_study(
        study_name=name, storage=storage, direction=StudyDirection[direction.upper()]
    )
    if ours:
        study.set_user_attr("provenance", PROVENANCE)
        study.set_user_attr("baseline", 0.52)
        study.set_user_attr("lr_find", {"learning_rate": CURVE})
        study.set_user_attr("spec", {**SPEC, "name": name, "direction": direction, **spec})
    study.add_trials(trials)
    return study


def several_objectives(count: int, *, storage: Any = None, name: str = "several") -> optuna.Study:
    """A study of accuracy, more is better, and execute_time, less is better."""
    study = optuna.create_study(
        study_name=name, storage=storage, directions=["maximize", "minimize"]
    )
    metrics = ["f1_weighted", "execute_time"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(metrics)
    study.set_user_attr("baseline", [0.52, None])
    study.set_user_attr(
        "spec", {**SPEC, "name": name, "metric": metrics, "direction": ["maximize", "minimize"]}
    )
    for trial in trials(count, seed=3):
        if trial.value is not None and trial.state == TrialState.COMPLETE:
            study.add_trial(
                create_trial(
                    state=trial.state,
                    values=[trial.value, trial.user_attrs["execute_time"]],
                    params=trial.params,
                    distributions=trial.distributions,
                    user_attrs=trial.user_attrs,
                )
            )
    return study
