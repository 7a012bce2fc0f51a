"""A study: checked, created once by whichever worker comes first, and joined by the others."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from hpo_job import attributes, metrics, objectives, provenance
from hpo_job import data as rooms
from hpo_job import storage as storages
from hpo_job.components import make_pruner, make_sampler
from hpo_job.data import Labelled, fingerprint, listing
from hpo_job.errors import DataError, SpecError, StudyError, unknown
from hpo_job.fetch import with_data
from hpo_job.metrics import METRICS, Metric
from hpo_job.phases import PhasePruner
from hpo_job.search_space import Scalar
from hpo_job.spec import Budget, StudySpec, restore
from hpo_job.storage import Storage

log = logging.getLogger(__name__)
NAMED = 10  # unreadable images that an error names


@dataclass(frozen=True)
class Checked:
    """A spec that was found to be right, with what it names: all a worker needs for its trials."""

    spec: StudySpec
    weights: Path
    metrics: tuple[Metric, ...]
    data: Labelled | None
    baselines: tuple[float | None, ...]
    cautions: tuple[str, ...] = ()

    @property
    def baseline(self) -> float | list[float | None] | None:
        """As it is stored: of several metrics a list, in their order."""
        if not any(baseline is not None for baseline in self.baselines):
            return None
        return self.baselines[0] if len(self.baselines) == 1 else list(self.baselines)


def check(spec: StudySpec, weights: Path, cache: Path | None = None) -> Checked:
    """Look up everything that ``spec`` names.

    weights: the local folder of pre-trained weights.
    cache: where data that is behind a URL is kept.

    Raises SpecError or DataError for what no trial could mend. Writes nothing, except weights
    and data that have to be downloaded.
    """
    scored = check_spec(spec)
    spec = with_data(spec, cache)
    data = _data(spec)
    objectives.check(spec, weights)
    if data and (problem := metrics.undefined(data.targets[data.valid], data.classes)):
        raise spec.error("data.valid_pct", problem)
    baselines = tuple(_baseline(metric, data) for metric in scored)
    cautions = [line for metric in scored for line in _cautions(metric, data)]
    cautions += data.cautions if data else ()
    return Checked(spec, weights, scored, data, baselines, tuple(dict.fromkeys(cautions)))


def check_spec(spec: StudySpec) -> tuple[Metric, ...]:
    """Look up what can be looked up without data and weights: the metrics that are known.

    Raises SpecError.
    """
    objectives.require_known(spec)
    make_sampler(spec)
    make_pruner(spec)
    return _metrics(spec)


def join(
    checked: Checked,
    url: str,
    grace: int = storages.GRACE,
    patience: float = storages.PATIENCE,
) -> tuple[optuna.Study, Storage]:
    """Open the storage at ``url``, made where it does not exist, and `create` the study in it.

    grace: seconds without a sign of life after which a running trial is lost.
    patience: seconds to wait for a server that is away or busy.
    """
    if storages.is_new(url):
        require_readable(checked)  # before there is a file that would have to be removed
    storage = Storage(url, grace=grace, create=True, patience=patience)
    with storage.reaching():
        return create(checked, storage), storage


def create(checked: Checked, storage: Storage) -> optuna.Study:
    """The study of this spec: created where it does not exist, joined where it does.

    Raises StudyError where it exists with another spec or with other data; another budget is
    taken over. DataError names the images that cannot be read, before anything is written.
    """
    spec = checked.spec
    if _needs_creating(checked, storage):
        require_readable(checked)
        origin = _provenance(checked)  # reads all data, so it is not done within the lock
        storage.alone(spec.name, lambda: _store(checked, origin, storage))
        for caution in checked.cautions:
            log.warning("%s", caution)
    study = load(spec.name, storage)
    _require_same(study, checked)
    if study.user_attrs[attributes.SPEC] != spec.stored():
        study.set_user_attr(attributes.SPEC, spec.stored())
    study.pruner = PhasePruner(lambda: make_pruner(spec), storage.optuna)
    return study


def load(name: str, storage: Storage) -> optuna.Study:
    """The study called ``name``. Raises StudyError, naming those there are."""
    study = _find(name, storage)
    if study is None:
        names = optuna.get_all_study_names(storage.optuna)
        raise StudyError(
            f"{storage}: {unknown('study', name, names)}" if names
            else f"{storage}: no study {name!r}, nor any other; make one with hpo-job run JOB"
        )  # fmt: skip
    return study


def budget(study: optuna.Study) -> Budget:
    """The study's budget as it is now: the last `create` may have changed it."""
    return Budget.model_validate(study.user_attrs[attributes.SPEC]["budget"])


def enqueue(study: optuna.Study, storage: Storage, parameters: Mapping[str, Scalar]) -> None:
    """Let the next free worker try ``parameters``; those left out are suggested.

    Raises SpecError where no trial of this study could have them.
    """
    if problem := misfit(study, parameters):
        raise SpecError(f"study {study.study_name!r}: {problem[0]}: {problem[1]}")
    enqueued = False

    def add() -> None:
        nonlocal enqueued
        if not enqueued:
            study.enqueue_trial(dict(parameters))
            enqueued = True

    storage.alone(study.study_name, add)  # numbers of new trials are drawn one at a time


def misfit(study: optuna.Study, parameters: Mapping[str, Scalar]) -> tuple[str, str] | None:
    """The first of ``parameters`` that no trial of ``study`` could have, and why."""
    stored = study.user_attrs.get(attributes.SPEC)
    if not isinstance(stored, Mapping) or "objective" not in stored:
        return None  # not made by hpo-job, so nobody knows its search space
    return objectives.misfit(restore(stored), parameters)


def difference(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys in which two stored specs differ, but for what may: ``key: stored, now``."""
    before, after = dict(_flat(stored)), dict(_flat(now))
    return [
        f"{key}: {before.get(key, 'nothing')!r} in the study, {after.get(key, 'nothing')!r} now"
        for key in sorted({*before, *after})
        # as JSON: Python holds 1 and true equal
        if not _may_change(key) and dumps(before.get(key)) != dumps(after.get(key))
    ]


def _may_change(key: str) -> bool:
    """Whether a running study may be given another value; repeats are part of what a value is."""
    return key.startswith(("budget.", "artifacts.")) and key != "budget.repeats"


def _find(name: str, storage: Storage) -> optuna.Study | None:
    try:
        return optuna.load_study(study_name=name, storage=storage.optuna)
    except KeyError:
        return None


def _needs_creating(checked: Checked, storage: Storage) -> bool:
    """Whether there is no such study, or whoever created it died before its spec was stored."""
    study = _find(checked.spec.name, storage)
    if study is None:
        return True
    return (
        attributes.SPEC not in study.user_attrs
        and tuple(way.name.lower() for way in study.directions) == checked.spec.directions
        and all(trial.state == TrialState.WAITING for trial in study.get_trials(deepcopy=False))
    )


def _store(checked: Checked, origin: dict[str, Any], storage: Storage) -> None:
    """Write what the study is, if nobody was first; the spec last, as the sign that all is."""
    if not _needs_creating(checked, storage):
        return
    study = optuna.create_study(
        study_name=checked.spec.name,
        storage=storage.optuna,
        directions=checked.spec.directions,
        load_if_exists=True,
    )
    study.set_user_attr(attributes.PROVENANCE, origin)
    if checked.baseline is not None:
        study.set_user_attr(attributes.BASELINE, checked.baseline)
    if len(checked.spec.metrics) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # it has been since 3.2
            study.set_metric_names(list(checked.spec.metrics))
    for parameters in checked.spec.enqueue:
        if not objectives.asks_lr_find(parameters):  # the others wait for what it finds
            study.enqueue_trial(parameters, skip_if_exists=True)
    study.set_user_attr(attributes.SPEC, checked.spec.stored())


def _require_same(study: optuna.Study, checked: Checked) -> None:
    name, spec = study.study_name, checked.spec
    if attributes.SPEC not in study.user_attrs:
        raise StudyError(f"study {name!r} was not made by hpo-job; give {spec.file} another name")
    changed = difference(study.user_attrs[attributes.SPEC], spec.stored())
    if changed:
        raise StudyError(
            f"study {name!r} exists with another spec than {spec.file}; give the new one another "
            "name, or undo:\n  " + "\n  ".join(changed)
        )
    stored = study.user_attrs[attributes.PROVENANCE]
    same_data = stored["data_listing"] == _listing(checked)
    if not same_data and not checked.data:
        # a function may keep what it makes beside its data
        log.warning("%s is not as it was when study %r began", spec.data_path, name)
    elif not same_data:
        raise StudyError(
            f"study {name!r} was made with other data than {spec.data_path} holds now; trials "
            "would be scored on different items: give the study another name"
        )
    if stored["objective_sha256"] != _objective_sha256(spec):
        log.warning("%s is not what study %r began with", objectives.source(spec), name)


def require_readable(checked: Checked) -> None:
    """Raise DataError that names the images that do not decode."""
    if checked.data and (unreadable := checked.data.unreadable):
        named = ", ".join(unreadable[:NAMED]) + (", ..." if len(unreadable) > NAMED else "")
        raise DataError(
            f"{checked.spec.file}: data.path: {checked.data.root}: {len(unreadable)} unreadable "
            f"image{'s' if len(unreadable) > 1 else ''}: {named}; mend or remove"
        )


def _provenance(checked: Checked) -> dict[str, Any]:
    spec = checked.spec
    return {
        "seed": spec.seed,
        "git_revision": provenance.git_revision(spec.folder),
        "versions": provenance.versions(),
        "data_fingerprint": fingerprint(spec.data_path) if spec.data_path else None,
        "data_listing": _listing(checked),
        "objective_sha256": _objective_sha256(spec),
    }


def _listing(checked: Checked) -> str | None:
    if checked.data:
        return checked.data.listing()
    return listing(checked.spec.data_path) if checked.spec.data_path else None


def _objective_sha256(spec: StudySpec) -> str | None:
    """A digest of the user's own function's file, or None for a shipped objective."""
    source = objectives.source(spec)
    return hashlib.sha256(source.read_bytes()).hexdigest() if source else None


def _metrics(spec: StudySpec) -> tuple[Metric, ...]:
    """The metrics that trials are scored by; none where a function returns values of its own."""
    names, function = spec.metrics, objectives.is_function(spec)
    if not names and not function:
        raise spec.error("metric", f"missing; known: {', '.join(_known(spec))}")
    if len(set(names)) < len(names):
        raise spec.error("metric", "one is named twice")
    found = tuple(
        _metric(spec, name, way)
        for name, way in zip(names, spec.directions, strict=False)
        if name in METRICS or not function
    )
    if not function and all(metric is TIMED for metric in found):
        raise spec.error("metric", "execute_time says nothing of the predictions; add another")
    return found if len(found) == len(names) else ()


def _known(spec: StudySpec) -> list[str]:
    return [*metrics.names(objectives.task(spec)), TIMED.name]


def _metric(spec: StudySpec, name: str, direction: str) -> Metric:
    if name not in (*METRICS, TIMED.name):
        raise spec.error("metric", unknown("metric", name, _known(spec)))
    metric = METRICS.get(name, TIMED)
    shipped = metric is not TIMED and not objectives.is_function(spec)
    if shipped and metric.task != (task := objectives.task(spec)):
        others = ", ".join(metrics.names(task))
        raise spec.error("metric", f"{metric.name} is for {metric.task}; {task} has {others}")
    if metric.direction != direction:
        raise spec.error("direction", f"{metric.name} is better the {_WAY[metric.direction]}")
    return metric


def _untimed(targets: object, predictions: object) -> float:
    raise TypeError("execute_time is measured, not computed of predictions")


# Seconds for one pass over the validation set, as one metric among several
TIMED = Metric(attributes.EXECUTE_TIME, "minimize", _untimed)


def _baseline(metric: Metric, data: Labelled | None) -> float | None:
    if data is None or metric is TIMED:
        return None
    return metrics.baseline(metric, data.targets[data.train], data.targets[data.valid])


_WAY = {"maximize": "higher: maximize", "minimize": "lower: minimize"}


def _cautions(metric: Metric, data: Labelled | None) -> tuple[str, ...]:
    """What the user should know of the metric on this data before the study begins."""
    if data is None or metric is TIMED:
        return ()
    train, valid = data.targets[data.train], data.targets[data.valid]
    found = (
        metrics.left_out(valid, data.classes),
        metrics.caution(metric, train, valid, data.classes),
    )
    return tuple(caution for caution in found if caution)


def _data(spec: StudySpec) -> Labelled | None:
    if not objectives.is_function(spec):
        return rooms.read(spec, objectives.layout(spec), objectives.task(spec) == "regression")
    if spec.data and spec.data_path:
        rooms.require_keys(spec, spec.data, None)
        if not spec.data_path.exists():
            raise spec.error("data.path", f"{spec.data_path} does not exist")
    return None


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
