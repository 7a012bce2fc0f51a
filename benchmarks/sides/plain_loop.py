"""The trials as a notebook runs them: one process, fastai's defaults, data loaders anew each time.

With a list of trials, those; else a search as in the worked example: one Optuna study in memory,
TPE, and a pruner that is asked after each epoch of the last phase.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import optuna
from fastai.vision.all import (
    Callback,
    CancelFitException,
    CategoryBlock,
    DataBlock,
    ImageBlock,
    Learner,
    Normalize,
    Resize,
    ResizeMethod,
    accuracy,
    parent_label,
    set_seed,
)

sys.path.insert(0, str(Path(__file__).parents[2]))

from hpo_job.objectives.images.models import build, stats
from hpo_job.objectives.images.weights import find

MODEL, SIZE, BATCH = "tf_efficientnet_lite0", 80, 16


class Pruning(Callback):  # type: ignore[misc]  # fastai is untyped
    """Report each epoch of a fit, and end it where the pruner says so."""

    order = 60  # after fastai's Recorder, whose values it reports

    def __init__(self, trial: optuna.Trial) -> None:
        self.trial, self.pruned = trial, False

    def after_epoch(self) -> None:
        self.trial.report(float(self.recorder.values[-1][-1]), self.epoch)
        if self.trial.should_prune():
            self.pruned = True
            raise CancelFitException


def main() -> None:
    order = json.loads(Path(sys.argv[1]).read_text())
    if order["trials"]:
        for params in order["trials"]:
            _announce(_train(order, params, None))
        return
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=order["seed"], n_startup_trials=6),
        pruner=optuna.pruners.SuccessiveHalvingPruner(),
    )

    def objective(trial: optuna.Trial) -> float:
        params = {
            "pre_trained": trial.suggest_categorical("pre_trained", [True, False]),
            "epochs": trial.suggest_int("epochs", 1, 4),
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
            "unfrozen_epochs": trial.suggest_int("unfrozen_epochs", 0, 3),
            "unfrozen_learning_rate": trial.suggest_float(
                "unfrozen_learning_rate", 1e-5, 1e-2, log=True
            ),
        }
        value = _train(order, params, trial)
        _announce(value)
        return value

    study.optimize(objective, n_trials=order["count"])


def _announce(value: float) -> None:
    print("TRIAL", time.time(), value, flush=True)


def _train(order: dict[str, Any], params: dict[str, Any], trial: optuna.Trial | None) -> float:
    set_seed(42)
    root, held_out = Path(order["root"]), set(order["valid"])
    files = [root / name for name in sorted([*order["train"], *order["valid"]])]
    dls = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_y=parent_label,
        splitter=lambda items: _split(items, root, held_out),
        item_tfms=Resize(SIZE, method=ResizeMethod.Squish),
        batch_tfms=Normalize.from_stats(*stats(MODEL)),
    ).dataloaders(files, bs=BATCH)
    weights = find(MODEL, Path("weights")) if params["pre_trained"] else None
    model, splitter = build(MODEL, len(dls.vocab), weights, SIZE)
    learn = Learner(dls, model, splitter=splitter, metrics=accuracy)
    pruning = Pruning(trial) if trial else None
    with learn.no_bar(), learn.no_logging():
        if params["pre_trained"]:
            learn.freeze()
        last = not params["unfrozen_epochs"]
        cbs = [pruning] if last and pruning else []
        learn.fit_one_cycle(params["epochs"], params["learning_rate"], cbs=cbs)
        if not last:
            learn.unfreeze()
            cbs = [pruning] if pruning else []
            rate = params["unfrozen_learning_rate"]
            learn.fit_one_cycle(params["unfrozen_epochs"], rate, cbs=cbs)
    if pruning and pruning.pruned:
        raise optuna.TrialPruned
    return float(learn.recorder.values[-1][-1])


def _split(items: list[Path], root: Path, held_out: set[str]) -> tuple[list[int], list[int]]:
    """The positions of the training images, and of those that trials are scored on."""
    places = {True: [], False: []}  # type: dict[bool, list[int]]
    for position, item in enumerate(items):
        places[item.relative_to(root).as_posix() in held_out].append(position)
    return places[False], places[True]


if __name__ == "__main__":
    main()
