"""A sampler, pruner or budget that does not suit the search space is named before any trial."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result

from hpo_job.errors import MachineError, SpecError
from hpo_job.objectives.candidates import Candidates
from hpo_job.spec.reading import read_spec
from hpo_job.study.checking import check, read_data
from hpo_job.study.samplers import SAMPLERS
from hpo_job.study.suitability import of_language

Job = Callable[..., Path]
X = {"type": "float", "low": 0.0, "high": 1.0}
KIND = {"type": "categorical", "choices": ["a", "b"]}
IF_A = {**X, "when": {"kind": "a"}}
MIXED = {"x": X, "y": X, "kind": KIND, "mult": IF_A}


def cautions(folder: Path) -> tuple[str, ...]:
    return check(read_spec(folder), folder / "weights").cautions


ENGLISH = "It was the best of times, it was the worst of times, and they had nothing before them. "
GERMAN = (
    "Alle glücklichen Familien gleichen einander, es war in der Stadt so, und sie will all das. "
)
SPANISH = "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, he de decir as y no. "
DUTCH = "Alle gelukkige gezinnen lijken op elkaar, maar zij was in het huis van her en der. "


@pytest.mark.parametrize("language", [GERMAN, SPANISH, DUTCH, "吾輩は猫である。名前は無い。"])
@pytest.mark.parametrize("pre_trained", [None, True, False])
def test_texts_that_are_not_english(
    job: Job, tmp_path: Path, language: str, pre_trained: bool | None
) -> None:
    table = tmp_path / "texts.csv"

    def said(text: str) -> list[str]:
        rows = [{"t": f"{text * 20}{n}", "y": "ab"[n % 2]} for n in range(20)]
        pd.DataFrame(rows).to_csv(table, index=False)
        space = {} if pre_trained is None else {"pre_trained": pre_trained}
        spec = read_spec(
            job(
                objective="text_classification",
                metric="accuracy",
                direction="maximize",
                data={"path": str(table), "label": "y", "text": "t"},
                search_space=space,
            )
        )
        return list(of_language(spec, read_data(spec)))

    assert said(ENGLISH) == []
    english = [line for line in said(language) if "does not look English (" in line]
    assert len(english) == (pre_trained is not False)
    assert all(line.endswith("compare it with pre_trained = false") for line in english)


@pytest.mark.parametrize(
    ("declared", "line"),
    [
        (None, "text 't' looks German, and is split into words by English rules: set [data] lan"),
        ("de", ""),
        ("fr", "text 't' looks German, and [data] language is 'fr', as tokenizer is: correct one"),
    ],
)
def test_the_language_of_texts_and_what_study_toml_says(
    job: Job, tmp_path: Path, declared: str | None, line: str
) -> None:
    rows = [{"t": f"{GERMAN}{n}", "y": "ab"[n % 2]} for n in range(20)]
    pd.DataFrame(rows).to_csv(tmp_path / "texts.csv", index=False)
    data = {"path": str(tmp_path / "texts.csv"), "label": "y", "text": "t"}
    spec = read_spec(
        job(
            objective="text_classification",
            metric="accuracy",
            direction="maximize",
            data=data | ({"language": declared} if declared else {}),
            search_space={"pre_trained": False},
        )
    )
    lines = list(of_language(spec, read_data(spec)))
    assert [each[: len(line)] for each in lines] == ([line] if line else [])


@pytest.mark.parametrize(
    ("sampler", "space", "names"),
    [
        ("CmaEsSampler", MIXED, "kind, mult"),
        ("CmaEsSampler", {"x": X}, "x"),
        ("QMCSampler", MIXED, "mult"),
        pytest.param("GPSampler", MIXED, "mult", marks=pytest.mark.fastai),
    ],
)
def test_what_a_sampler_does_not_search_is_named(
    job: Job, sampler: str, space: dict[str, Any], names: str
) -> None:
    (line,) = cautions(job(sampler={"name": sampler}, search_space=space))
    assert line.startswith(f"{sampler} does not search {names}: ")
    assert "TPESampler searches all of them" in line


@pytest.mark.parametrize("sampler", ["NSGAIISampler", "RandomSampler", "TPESampler"])
def test_others_search_everything(job: Job, sampler: str) -> None:
    assert cautions(job(sampler={"name": sampler}, search_space=MIXED)) == ()


def test_numbers_are_no_problem(job: Job) -> None:
    assert cautions(job(sampler={"name": "CmaEsSampler"}, search_space={"x": X, "y": X})) == ()


def test_what_is_fixed_is_not_missing(job: Job) -> None:
    sampler = {
        "name": "PartialFixedSampler",
        "fixed_params": {"kind": "b"},
        "base_sampler": {"name": "CmaEsSampler"},
    }
    space = {"x": X, "y": X, "kind": KIND}
    assert cautions(job(sampler=sampler, search_space=space)) == ()


@pytest.mark.parametrize("space", [MIXED, None])
def test_a_sampler_for_one_metric_refuses_two(
    job: Job, refused: Callable[..., str], space: dict[str, Any] | None
) -> None:
    both = ["minimize", "minimize"]
    folder = job(sampler={"name": "CmaEsSampler"}, direction=both, search_space=space)
    line = refused("check", folder)
    assert "sampler.name: CmaEsSampler cannot search this study: " in line
    assert "multi-objective" in line


@pytest.mark.parametrize(
    "sampler",
    [
        pytest.param(name, marks=pytest.mark.fastai if name == "GPSampler" else ())
        for name in sorted({*SAMPLERS} - {"GridSampler", "BruteForceSampler"})
    ],
)
def test_nothing_of_optunas_is_printed(
    job: Job, sampler: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"name": sampler}
    if sampler == "PartialFixedSampler":
        options |= {"fixed_params": {"x": 0.5}, "base_sampler": {"name": "TPESampler"}}
    cautions(job(sampler=options, search_space=MIXED))
    assert capfd.readouterr() == ("", "")


def test_more_trials_than_combinations(job: Job) -> None:
    space = {"kind": KIND, "n": {"type": "int", "low": 1, "high": 3}}
    (line,) = cautions(job(budget={"trials": 7}, search_space=space))
    assert line == (
        "budget.trials is 7, but only 6 combinations are possible: some will be tried repeatedly; "
        "GridSampler tries each once"
    )
    assert cautions(job(budget={"trials": 6}, search_space=space)) == ()
    assert cautions(job(budget={"trials": 7}, search_space=None)) == ()


def test_wilcoxon_without_repeats(job: Job) -> None:
    pruner = {"name": "WilcoxonPruner"}
    (line,) = cautions(job(pruner=pruner))
    assert "budget.repeats is 1: set repeats to 5 or more" in line
    assert cautions(job(pruner=pruner, budget={"trials": 1, "repeats": 5})) == ()


def test_what_only_this_machine_lacks_is_a_caution_of_check_and_an_error_of_a_run(
    image_job: Job, refused: Callable[..., str], cli: Callable[..., Result]
) -> None:
    def check(candidates: Candidates) -> None:
        if "fp16" in candidates.values["precision"]:
            raise MachineError("precision: fp16 needs a CUDA GPU, found cpu", "precision")
        if "resnet99" in candidates.values["model"]:
            raise SpecError("model: unknown")

    image_job()  # the stand-in for the objective's module
    sys.modules["hpo_job.objectives.image_classification"].__dict__["check"] = check
    space = {"precision": "fp16", "learning_rate": 0.1}
    folder = image_job(search_space=space)
    line = "search_space: precision: fp16 needs a CUDA GPU"
    assert line in refused("worker", folder)
    checked = cli("check", folder)
    assert checked.exit_code == 0, checked.output
    words = " ".join(checked.stdout.split())
    assert f"only this machine cannot run it: {line}" in words
    # what is wrong on every machine is found all the same
    folder = image_job(search_space={**space, "model": "resnet99"})
    assert "search_space: model: unknown" in refused("check", folder)
