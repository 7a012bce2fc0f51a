"""What ``check`` prints: the study that will run."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING

from hpo_job import objectives
from hpo_job.errors import plural
from hpo_job.results import clock, number
from hpo_job.spec import search_space
from hpo_job.spec.metrics import ANSWERS
from hpo_job.spec.study_toml import Component, StudySpec
from hpo_job.storage.rights import Rights
from hpo_job.study.checking import Checked

if TYPE_CHECKING:
    from hpo_job.data.from_spec import Labelled


def describe(checked: Checked) -> Iterator[str]:
    """The study, with defaults filled in: a line for each fact, at most 80 columns."""
    spec = checked.spec
    yield f"study         {spec.name} ({spec.file})"
    yield from assigned(spec)
    yield f"objective     {spec.objective}"
    for name, direction in zip_longest(spec.metrics, spec.directions, fillvalue="value"):
        yield f"metric        {name}, {direction}"
    yield from wrapped("budget", _budget(checked))
    yield f"sampler       {_component(spec.sampler)}"
    yield f"pruner        {_pruner(spec)}"
    yield f"seed          {spec.seed}"
    if each := spec.cluster.workers_per_gpu:
        yield f"cluster       {plural(each, 'worker')} in each pod, for each of its GPUs"
    if checked.data:
        yield from described_data(checked.data)
    elif spec.data_path:
        yield f"data          {spec.data_path}"
    for metric, baseline in zip(checked.metrics, checked.baselines, strict=True):
        if baseline is not None:
            text = f"{metric.name} {number(baseline)} by {ANSWERS[metric.answer]}"
            yield from wrapped("baseline", text)
    for caution in checked.cautions:
        yield from wrapped("caution", caution)
    yield from _space(checked)
    if spec.enqueue:
        yield f"enqueued      {plural(len(spec.enqueue), 'trial')}"


def assigned(spec: StudySpec) -> list[str]:
    """A line for each key that --set gave another value than study.toml."""
    return [f"set           {each}, instead of {spec.file}'s" for each in spec.assignments]


def _budget(checked: Checked) -> str:
    budget = checked.spec.budget
    trials = plural(budget.trials, "trial") if budget.trials else "any number of trials"
    repeats = f", each on {budget.repeats} seeds" if budget.repeats > 1 else ""
    timeout = f" in at most {clock(budget.timeout)}" if budget.timeout else ""
    delta = f" of {budget.min_delta:g}" if budget.min_delta else ""
    patience = f"; ends after {plural(budget.patience or 0, 'trial')} without an improvement{delta}"
    failures = plural(budget.failures, "failed trial stops", "failed trials in a row stop")
    ends = patience if budget.patience else ""
    return f"{trials}{repeats}{timeout}{ends}; {failures} a worker"


def _component(component: Component) -> str:
    options = ", ".join(f"{name}={value!r}" for name, value in component.options.items())
    return f"{component.name}({options})"


def wrapped(heading: str, text: str) -> Iterator[str]:
    """Text of any length, in lines of 80 columns."""
    for position, line in enumerate(textwrap.wrap(text, 80 - 14)):
        yield f"{'' if position else heading:<13} {line}"


def described_rights(rights: Rights) -> Iterator[str]:
    """What an account may do with the database; where it lacks something, what gives it that."""
    yield from wrapped("rights", rights.allowed())
    if not rights.lacking:
        return
    lacking = f"may not {' or '.join(rights.lacking)}"
    if not rights.missing:
        lacking += (
            ": only the first worker of an empty database has to, and pods, to remember their Job"
        )
    yield from wrapped("", lacking)
    for line in rights.remedy:  # whole, to be copied
        yield f"{'':13} {line}"


def _pruner(spec: StudySpec) -> str:
    off = len(spec.directions) > 1 and spec.pruner.name != "NopPruner"
    return _component(spec.pruner) + (": off, with several metrics" if off else "")


def described_data(data: Labelled) -> Iterator[str]:
    """What is in the data: classes, columns and parts."""
    for heading, text in data.described():
        whole = heading in ("data", "")  # a path, or a class with its count
        yield from [f"{heading:<13} {text}"] if whole else wrapped(heading, text)


def _space(checked: Checked) -> Iterator[str]:
    spec = checked.spec
    count = search_space.size(spec.search_space)
    many = "infinitely many" if math.isinf(count) else f"{count:.0f}"
    if not spec.search_space and objectives.is_function(spec):
        yield "search space  suggested by the function itself"
        return
    yield f"search space  {many} {'combination' if count == 1 else 'combinations'}"
    usual = objectives.defaults(spec)
    width = max(map(len, {**spec.search_space, **usual}), default=0)
    for name, parameter in spec.search_space.items():
        yield f"              {name:<{width}}  {search_space.describe(parameter)}"
    for name, value in usual.items():
        if name not in spec.search_space:
            yield f"              {name:<{width}}  {value} (default)"
