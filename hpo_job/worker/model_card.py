"""The model card of a final model: where it comes from, what it can do, and how it is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from hpo_job import objectives
from hpo_job.data.digests import fingerprint
from hpo_job.data.language_models import language_model_of
from hpo_job.errors import plural
from hpo_job.objectives.predictions import LEVEL, Predictions
from hpo_job.results import number
from hpo_job.results.errors import by_class
from hpo_job.spec.metrics import ANSWERS
from hpo_job.spec.toml_text import toml
from hpo_job.study.checking import Checked
from hpo_job.study.provenance import git_revision, versions
from hpo_job.trial.attributes import EXECUTE_TIME

CARD = "README.md"  # as model hubs call it
Part = Literal["validation", "test"]


@dataclass(frozen=True)
class Final:
    """What was trained.

    Attributes:
        seeds: of training, one for each model.
        values: the metrics of each model; empty where all data was learnt.
        part: the items that they are of; None where all data was learnt.
        items: how many items models learnt from, and how many they are scored on; None for a
            function, which divides its data itself.
        together: the predictions of all models together, where they are known.
        interval: of the first metric but execute_time, over samples of the scored items.
    """

    seeds: tuple[int, ...]
    values: tuple[tuple[float, ...], ...]
    part: Part | None
    items: tuple[int, int] | None
    together: Predictions | None = None
    interval: tuple[float, float] | None = None


def scores(checked: Checked, final: Final) -> list[str]:
    """What the models score, and the baseline, a line each; or why nothing is known."""
    names = checked.spec.metrics or ("value",) * len(checked.spec.directions)
    if not final.values:
        return ["not scored: every item was learnt, so that none is left to score it on"]
    # What is measured rather than computed of predictions has neither a joint value nor an interval
    scored = next((n for n, m in enumerate(checked.metrics) if m.name != EXECUTE_TIME), 0)
    lines = []
    for position, name in enumerate(names):
        values = [value[position] for value in final.values]
        text = f"{name} {number(sum(values) / len(values))}"
        if len(values) > 1:
            text += f", the mean of {len(values)} models: {', '.join(map(number, values))}"
        if position == scored and final.together is not None and len(values) > 1:
            metric = checked.metrics[scored].at(final.together.threshold)
            joint = metric.score(final.together.targets, final.together.outputs)
            text += f"; together {number(joint)}"
        if position == scored and final.interval is not None:
            low, high = map(number, final.interval)
            text += f", {LEVEL}% interval {low} to {high}"
        lines.append(text)
    for metric, baseline in zip(checked.metrics, checked.baselines, strict=True):
        if baseline is not None and final.part == "validation":
            lines.append(f"baseline: {metric.name} {number(baseline)} by {ANSWERS[metric.answer]}")
    return lines


def card(checked: Checked, params: dict[str, Any], final: Final, title: str) -> str:
    """The card as Markdown."""
    return "\n".join(_lines(checked, params, final, title)) + "\n"


def write_card(file: Path, text: str) -> None:
    """Write the card."""
    file.write_text(text, encoding="utf-8")


def _lines(checked: Checked, params: dict[str, Any], final: Final, title: str) -> Iterator[str]:
    spec = checked.spec
    yield f"# {spec.name}"
    yield ""
    models = plural(len(final.seeds), "model")
    yield f"{models} of {spec.objective}: {title}, trained again on {datetime.now():%Y-%m-%d}"
    seeds = f"{'seed' if len(final.seeds) == 1 else 'seeds'} {', '.join(map(str, final.seeds))}"
    yield f"by hpo-job {versions()['hpo-job']}, {seeds}."
    yield from _data(checked, final)
    yield from ("", "## Scores", "")
    if final.part:
        where = "test part, which no trial has seen" if final.part == "test" else "validation part"
        yield from (f"On the {where}:", "")
    for line in scores(checked, final):
        yield f"- {line}"
    if final.together is not None and final.together.classes:
        yield from (
            "",
            f"| {by_class(final.together).index.name} | items | precision | recall | F1 |",
            "| --- | --- | --- | --- | --- |",
        )
        for name, row in by_class(final.together).iterrows():
            shares = " | ".join(f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
            yield f"| {name} | {row['items']:.0f} | {shares} |"
    yield from ("", "## Parameters", "", "```toml")
    fixed = {key: each for key, each in spec.stored()["search_space"].items() if key not in params}
    for name, value in params.items():
        yield f"{name} = {toml(value)}"
    for name, value in fixed.items():
        if not isinstance(value, dict):  # one is searched only under a condition
            yield f"{name} = {toml(value)}"
    yield "```"
    yield from ("", "## Versions", "")
    for name, version in versions().items():
        yield f"- {name} {version}"
    if revision := git_revision(spec.folder):
        yield f"- the job's repository at {revision}"
    yield from _weights(checked, params)
    yield from ("", "## Use", "", "```console")
    if objectives.is_function(spec):
        yield "$ ls    # the files that the function has saved: load them with your own code"
    else:
        yield "$ hpo-job predict THIS_FOLDER NEW_FILE"
    yield "```"


def _data(checked: Checked, final: Final) -> Iterator[str]:
    path = checked.spec.data_path
    if path is None:
        return
    yield from ("", "## Data", "")
    described = checked.data.described() if checked.data else [("data", str(path))]
    for heading, text in described:
        yield f"- {heading}: {text}" if heading else f"  - {' '.join(text.split())}"
    if final.items is not None:
        learnt, scored = final.items
        yield f"- learnt from {learnt} items, scored on {scored}"
    yield f"- fingerprint (SHA-256 of names and contents): `{fingerprint(path)}`"


def _weights(checked: Checked, params: dict[str, Any]) -> Iterator[str]:
    """Where the pre-trained weights are from, and their licence as far as it is stated."""
    spec = checked.spec
    if objectives.is_function(spec):
        return
    values = {**objectives.defaults(spec), **spec.stored()["search_space"], **params}
    if values.get("pre_trained") is not True:
        return
    yield from ("", "## Pre-trained weights", "")
    if objectives.layout(spec) == "images":
        model = str(values["model"])
        licence = objectives.licence_of_weights(model)
        yield f"{model}, trained on ImageNet; licence: {licence or 'its publisher states none'}"
    else:
        yield language_model_of(spec).described
