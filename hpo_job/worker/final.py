"""The final model: the best parameters trained again, on more data or with several seeds."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

from hpo_job import objectives
from hpo_job.artifacts.export import LEARNER, SEED_FOLDER, new_folder
from hpo_job.errors import StudyError
from hpo_job.objectives.predictions import FILE, Predictions, interval
from hpo_job.spec import search_space
from hpo_job.spec.metrics import Metric
from hpo_job.study.checking import Checked
from hpo_job.trial import attributes
from hpo_job.trial.timings import Timings
from hpo_job.worker.loop import context_of
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.model_card import CARD, Final, Part, card, write_card

if TYPE_CHECKING:
    from hpo_job.data.from_spec import Labelled


def train(
    checked: Checked,
    params: dict[str, Any],
    folder: Path,
    machine: Machine,
    *,
    title: str,
    seeds: int = 1,
    all_data: bool = False,
) -> Final:
    """Train the parameters again, and export the model of each seed into ``folder``.

    Models learn from the training and validation part and are scored on the test part, where the
    data has one; otherwise they learn and are scored as trials are.

    Args:
        checked: the job.
        params: of a trial: those that it was suggested.
        folder: created; several seeds have a folder each in it.
        machine: what this process may use.
        title: which trial of which study they are of, for the card.
        seeds: how many models; predictions of several are averaged.
        all_data: learn from every item, so that nothing is left to score them on.

    Raises:
        StudyError: the function saves no model.
        SpecError: the folder exists, or cannot be written.
    """
    data, part = _divided(checked.data, all_data=all_data)
    spec = checked.spec
    chosen = tuple((spec.seed + number) % 2**32 for number in range(seeds))
    values, predictions = [], []
    with new_folder(folder) as place:
        place.mkdir(parents=True)
        for number, seed in enumerate(chosen):
            target = place / SEED_FOLDER.format(number) if seeds > 1 else place
            value = _train_one(replace(checked, data=data), params, seed, machine, target)
            values.append(value if isinstance(value, tuple) else (float(value),))
            if (target / FILE).exists():
                predictions.append(Predictions.read(target / FILE))
                if all_data:
                    (target / FILE).unlink()  # of items that were learnt
        together = _together(predictions) if not all_data else None
        items = None if data is None else (len(data.train), 0 if all_data else len(data.valid))
        between = _interval(checked.metrics, together)
        kept = () if all_data else tuple(values)
        final = Final(chosen, kept, part, items, together, between)
        write_card(place / CARD, card(checked, params, final, title))
    return final


def _train_one(
    checked: Checked, params: dict[str, Any], seed: int, machine: Machine, folder: Path
) -> Any:
    """Train one model as a trial is trained, but in a temporary study."""
    spec = checked.spec
    study = optuna.create_study(directions=list(spec.directions))
    study.enqueue_trial(params)
    trial = study.ask()
    context = replace(context_of(trial, checked, machine, Timings()), seed=seed)
    suggested = search_space.suggest(trial, spec.search_space)
    context.params = {**objectives.defaults(spec), **suggested}
    value = objectives.load(spec)(trial, context)
    if context.keep is None:
        raise StudyError(f"{spec.file}: {spec.objective} saves no model: call context.save_model")
    folder.mkdir(parents=True, exist_ok=True)
    context.keep(folder)
    if not objectives.is_function(spec):
        objectives.shipped(spec.objective).rebuild(folder).export(folder / LEARNER)
    del context
    objectives.release_memory()
    gc.collect()
    return value


def _divided(data: Labelled | None, *, all_data: bool) -> tuple[Labelled | None, Part | None]:
    """The data as the final model learns it, and which part it is scored on."""
    if data is None:  # a function divides for itself
        return None, None if all_data else "validation"
    if all_data:
        return replace(data, train=np.arange(len(data))), None
    if not len(data.test):
        return data, "validation"
    train = np.sort(np.concatenate([data.train, data.valid]))
    return replace(data, train=train, valid=data.test, test=data.test[:0]), "test"


def _together(predictions: Sequence[Predictions]) -> Predictions | None:
    """The mean of what several models predict for the same items."""
    if not predictions:
        return None
    outputs = np.mean([each.outputs for each in predictions], axis=0)
    return replace(predictions[0], outputs=outputs, interval=None)


def _interval(
    metrics: Sequence[Metric], together: Predictions | None
) -> tuple[float, float] | None:
    if together is None or not metrics:
        return None
    scored = next(metric for metric in metrics if metric.name != attributes.EXECUTE_TIME)
    return interval(scored.at(together.threshold), together.targets, together.outputs)
