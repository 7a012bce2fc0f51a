"""A job, checked: all that its study.toml names is looked up before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hpo_job import objectives
from hpo_job.data import findings, from_spec
from hpo_job.data.fetch import with_data
from hpo_job.errors import DataError, MachineError, plural, unknown
from hpo_job.machine import CACHE
from hpo_job.spec import baselines, metrics
from hpo_job.spec.metrics import METRICS, NAMES, Metric, Task
from hpo_job.spec.study_toml import StudySpec
from hpo_job.study import suitability
from hpo_job.study.pruners import make_pruner
from hpo_job.study.samplers import make_sampler
from hpo_job.trial import attributes

if TYPE_CHECKING:
    from hpo_job.data.from_spec import Labelled

TASKS: tuple[Task, ...] = ("classification", "multilabel", "regression")
NAMED = 10  # unreadable images that an error names


@dataclass(frozen=True)
class Checked:
    """A valid spec with what it names: all that a worker needs for its trials.

    Attributes:
        spec: what study.toml says; its data is on this machine.
        weights: the local folder of pre-trained weights.
        metrics: what trials are scored by; none if a function returns its own values.
        data: the items, labels and split; None for a function.
        baselines: for each metric the score of always giving the same answer, if known.
        cautions: what the user should know before the study begins, a line each.
    """

    spec: StudySpec
    weights: Path
    metrics: tuple[Metric, ...]
    data: Labelled | None
    baselines: tuple[float | None, ...]
    cautions: tuple[str, ...] = ()

    @property
    def baseline(self) -> float | list[float | None] | None:
        """The baselines as they are stored: a list if there are several metrics."""
        if not any(baseline is not None for baseline in self.baselines):
            return None
        return self.baselines[0] if len(self.baselines) == 1 else list(self.baselines)


def check(
    spec: StudySpec, weights: Path, cache: Path = CACHE, *, runs_elsewhere: bool = False
) -> Checked:
    """Look up everything that ``spec`` names.

    Writes nothing, except weights and data that have to be downloaded, and notes in ``cache``.

    Args:
        spec: what study.toml says.
        weights: the local folder of pre-trained weights.
        cache: where data that is behind a URL is kept.
        runs_elsewhere: whether trials may run on another machine: what only this one lacks is then
            a caution instead of an error.

    Raises:
        SpecError: study.toml names something that does not exist or does not fit.
        MachineError: this machine cannot run the trials.
        DataError: the data cannot be used.
    """
    scored = check_spec(spec)
    spec = with_data(spec, cache)
    data = read_data(spec, cache)
    lacking = _check_objective(spec, weights, cache, runs_elsewhere=runs_elsewhere)
    if data and (problem := baselines.undefined(data.targets[data.valid], data.classes)):
        raise spec.error("data.valid_pct", problem)
    constants = tuple(_baseline(metric, data) for metric in scored)
    pairs = zip(scored, constants, strict=True)
    cautions = [line for metric, constant in pairs for line in _cautions(metric, data, constant)]
    cautions += findings.cautions(data) if data else ()
    cautions += suitability.of_language(spec, data)
    cautions += lacking
    cautions += suitability.cautions(spec, suitability.require_suitable_sampler(spec))
    return Checked(spec, weights, scored, data, constants, tuple(dict.fromkeys(cautions)))


def _check_objective(
    spec: StudySpec, weights: Path, cache: Path, *, runs_elsewhere: bool
) -> list[str]:
    """Check parameters and models; what only this machine lacks, a line each."""
    lacking: dict[str, str] = {}
    while True:
        try:
            objectives.check(spec, weights, lacking, cache)
        except MachineError as error:
            if not runs_elsewhere or error.parameter in lacking:
                raise
            text = str(error).removeprefix(f"{spec.file}: ")
            lacking[error.parameter] = f"only this machine cannot run it: {text}"
        else:
            return list(lacking.values())


def check_spec(spec: StudySpec) -> tuple[Metric, ...]:
    """Look up what needs neither data nor weights.

    Returns:
        The metrics that trials are scored by.

    Raises:
        SpecError: one of the names does not exist.
    """
    objectives.require_known(spec)
    make_sampler(spec)
    make_pruner(spec)
    return _metrics(spec)


def inspect(checked: Checked) -> Checked:
    """``checked`` with cautions on the content of its data: reads all of it, so once per study.

    Raises:
        DataError: images do not decode; they are named.
    """
    if checked.data and (unreadable := checked.data.unreadable):
        named = ", ".join(unreadable[:NAMED]) + (", ..." if len(unreadable) > NAMED else "")
        raise DataError(
            f"{checked.spec.file}: data.path: {checked.data.root}: "
            f"{plural(len(unreadable), 'unreadable image')}: {named}; repair or remove them"
        )
    if checked.data is None:
        return checked
    cautions = (*checked.cautions, *findings.content_cautions(checked.data))
    return replace(checked, cautions=tuple(dict.fromkeys(cautions)))


def _metrics(spec: StudySpec) -> tuple[Metric, ...]:
    """The metrics that trials are scored by; none where a function returns its own values."""
    names, function = spec.metrics, objectives.is_function(spec)
    if not names and not function:
        raise spec.error("metric", f"missing; known: {', '.join(_known(spec))}")
    if len(set(names)) < len(names):
        raise spec.error("metric", "one is named twice")
    known = tuple(
        _metric(spec, name, way)
        for name, way in zip(names, spec.directions, strict=False)
        if name in METRICS or not function
    )
    if not function and all(metric is TIMED for metric in known):
        raise spec.error("metric", "execute_time does not score predictions; add another metric")
    return known if len(known) == len(names) else ()


def _known(spec: StudySpec) -> list[str]:
    return [*metrics.names(objectives.task(spec)), TIMED.name]


def _metric(spec: StudySpec, name: str, direction: str) -> Metric:
    if name not in NAMES and name != TIMED.name:
        raise spec.error("metric", unknown("metric", name, _known(spec)))
    function = objectives.is_function(spec)
    usable = METRICS if function else metrics.of_task(objectives.task(spec))
    if name not in usable and name != TIMED.name:
        task, others = objectives.task(spec), ", ".join(usable)
        other = next(kind for kind in TASKS if name in metrics.of_task(kind))
        raise spec.error("metric", f"{name} is for {other}; {task} has {others}")
    metric = usable.get(name, TIMED)
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
    return baselines.baseline(metric, data.targets[data.train], data.targets[data.valid])


_WAY = {"maximize": "higher: maximize", "minimize": "lower: minimize"}


def _cautions(metric: Metric, data: Labelled | None, constant: float | None) -> tuple[str, ...]:
    """What the user should know about the metric on this data before the study begins."""
    if data is None or metric is TIMED:
        return ()
    train, valid = data.targets[data.train], data.targets[data.valid]
    cautions = (
        baselines.left_out(valid, data.classes),
        baselines.caution(metric, train, valid, data.classes, constant),
    )
    return tuple(caution for caution in cautions if caution)


def read_data(spec: StudySpec, cache: Path | None = None) -> Labelled | None:
    """The labelled data that a spec names; None for an objective that reads its own data.

    Args:
        spec: the study.
        cache: folder in which this machine notes what it has seen of images; None notes nothing.

    Raises:
        SpecError: there is nothing at its path, or a key of [data] does not fit the objective.
        DataError: the data cannot be used.
    """
    if not objectives.is_function(spec):
        return from_spec.read(spec, objectives.layout(spec), objectives.task(spec), cache)
    if spec.data and spec.data_path:
        from_spec.require_keys(spec, spec.data, None)
        if not spec.data_path.exists():
            raise spec.error("data.path", f"{spec.data_path} does not exist")
    return None
