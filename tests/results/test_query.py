"""Trials that were asked for: conditions, order, columns, and what is refused of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import optuna
import pandas as pd
import pytest
from click.testing import Result
from optuna.trial import TrialState, create_trial

from hpo_job.errors import QueryError
from hpo_job.results.frames import frame, value_columns
from hpo_job.results.pareto import names_of_values, pareto, pareto_axes
from hpo_job.results.query import select
from hpo_job.results.trials import value
from hpo_job.storage.database import Storage
from hpo_job.study import joining
from hpo_job.trial.counting import counted
from tests import synthetic

Cli = Callable[..., Result]
Refused = Callable[..., str]


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    return synthetic.study(synthetic.trials(120))


def numbers(study: optuna.Study, **asked: object) -> list[int]:
    chosen = select(frame(study), known=names_of_values(study), **asked)  # type: ignore[arg-type]
    return list(chosen["number"])


@pytest.fixture
def growing(monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    """A study that gets a trial whenever its trials have been read, as one that runs may."""
    live = synthetic.study(synthetic.trials(40))
    more = iter(synthetic.trials(80)[40:])
    read = live.get_trials

    def and_grow(*arguments: object, **named: object) -> list[optuna.trial.FrozenTrial]:
        trials = read(*arguments, **named)  # type: ignore[arg-type]
        live.add_trial(next(more))
        return trials

    monkeypatch.setattr(live, "get_trials", and_grow)
    return live


def test_a_study_that_grows_while_it_is_read(growing: optuna.Study) -> None:
    assert len(frame(growing)) >= 40
    assert len(pareto(growing, ["value", "execute_time"])) >= 1
    table = pareto_axes(growing)
    assert table is not None
    assert set(table.front.index) <= set(table.points.index)


# conditions


def test_where_on_values(study: optuna.Study) -> None:
    expected = [trial.number for trial in counted(study) if value(trial) >= 0.85]
    assert expected
    assert numbers(study, where="value >= 0.85 and state == 'COMPLETE'") == expected
    assert numbers(study, where="f1_weighted >= 0.85 and state == 'COMPLETE'") == expected


@pytest.mark.parametrize(
    "where",
    [
        "params_model in ['resnet18', 'resnet50'] and user_attrs_execute_time < 0.7",
        "model in ('resnet18', 'resnet50') and execute_time < 0.7",
        "not (model != 'resnet18' and model != 'resnet50') and execute_time < 0.7",
        "((model == 'resnet18') | (model == 'resnet50')) & (execute_time < 0.7)",
        "`params_model` in ['resnet18', 'resnet50'] and `execute_time` < 0.7",
        "model in ['resnet18', 'resnet50'] and execute_time * 10 < 7",
        "model in ['resnet18', 'resnet50'] and 0 < execute_time < 0.7",
    ],
)
def test_where_says_the_same_in_many_ways(study: optuna.Study, where: str) -> None:
    expected = [
        trial.number
        for trial in study.trials
        if trial.params["model"] in ("resnet18", "resnet50")
        and trial.user_attrs.get("execute_time", 9) < 0.7
    ]
    assert expected
    assert numbers(study, where=where) == expected


def test_where_on_booleans_conditional_parameters_and_times(study: optuna.Study) -> None:
    assert numbers(study, where="mult >= 0") == numbers(study, where="apply_tfms == True")
    assert numbers(study, where="duration > '20s'") == [
        trial.number
        for trial in study.trials
        if trial.duration is not None and trial.duration.total_seconds() > 20
    ]
    assert numbers(study, where="datetime_start < '2026-03-01 20:00:30'")[:3] == [0, 1, 2]


@pytest.mark.parametrize(
    "where",
    [
        "__import__('os').system('true')",
        "value.__class__ == 1",
        "value.max() > 0",
        "@value > 0",
        "lambda: value",
        "[x for x in value]",
        "value if state else 0",
        "value[0] > 1",
        "f'{value}' == 'x'",
        "(value := 3) > 1",
        "value > 0; import os",
        "value ** 9 > 1",
        "value >",
        "",
        "1 < 2",
        "value + 1",
        "value",
        "value > 'words'",
        "nonsense > 3",
        "`no such` > 3",
        "value > " + "(" * 300 + "1" + ")" * 300,
        "value > 1 " * 200,
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(study: optuna.Study, where: str) -> None:
    with pytest.raises(QueryError) as caught:
        numbers(study, where=where)
    line = str(caught.value)
    assert line.startswith("--where")
    assert "\n" not in line
    assert len(where) > 200 or "params_learning_rate" in line


def test_a_column_that_may_be_two_is_asked_back() -> None:
    table = pd.DataFrame({"number": [0], "params_a": [1], "user_attrs_a": [2]})
    with pytest.raises(QueryError, match="params_a or user_attrs_a"):
        select(table, where="a > 0")


# order, columns, limit


@pytest.mark.parametrize("sort", ["user_attrs_execute_time", "execute_time"])
def test_sort_puts_what_is_missing_last(study: optuna.Study, sort: str) -> None:
    table = select(frame(study), sort=sort)["user_attrs_execute_time"]
    known = table.dropna()
    assert 0 < len(known) < len(table)
    assert list(table[: len(known)]) == sorted(known)
    down = select(frame(study), sort=f"-{sort}")["user_attrs_execute_time"]
    assert list(down[: len(known)]) == sorted(known, reverse=True)


def test_sort_of_words_and_numbers_in_one_column() -> None:
    mixed = optuna.create_study()
    for table in ("a", 3, None, 2.5):
        mixed.add_trial(create_trial(value=1.0, user_attrs={"x": table}))
    assert len(select(frame(mixed), sort="x")) == 4


def test_columns_and_limit(study: optuna.Study) -> None:
    table = select(frame(study), columns=["state", "model"], limit=3)
    assert list(table.columns) == ["state", "params_model"]
    assert len(table) == 3


def test_an_unknown_column_names_the_nearest(study: optuna.Study) -> None:
    with pytest.raises(QueryError, match="did you mean 'duration'"):
        select(frame(study), columns=["duratoin"])


# the command


@pytest.fixture(scope="module")
def template_database(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = Path(shutil.copy(empty_database, tmp_path_factory.mktemp("query")))
    with closing(Storage(f"sqlite:///{file}")) as storage:
        synthetic.study(synthetic.trials(40), storage=storage.optuna)
    return file


@pytest.fixture
def stored(storage: Storage) -> optuna.Study:
    return joining.load("synthetic", storage)


def test_results_prints_what_was_asked_for(
    stored: optuna.Study, cli: Cli, database: str, subtests: pytest.Subtests
) -> None:
    asked = ["--where", "value >= 0.8 and state == 'COMPLETE'", "--sort", "-value", "--limit", "4"]
    expected = sorted((value(t) for t in counted(stored)), reverse=True)[:4]
    with subtests.test("json"):
        text = cli("results", "synthetic", *asked, "--format", "json", "--storage", database).stdout
        assert [record["value"] for record in json.loads(text)] == pytest.approx(expected)
    with subtests.test("csv"):
        columns = ["--columns", "number, value,model", "--format", "csv"]
        text = cli("results", "synthetic", *asked, *columns, "--storage", database).stdout
        assert text.splitlines()[0] == "number,value,params_model"
        assert len(text.splitlines()) == 5
    with subtests.test("table"):
        text = cli("results", "synthetic", *asked, "--storage", database).stdout
        lines = text.splitlines()
        assert lines[0].split()[:4] == ["trial", "state", "f1_weighted", "time"]
        assert f"{expected[0]:.4f}" in lines[1]
        assert "baseline 0.5200" in lines[-1]
    with subtests.test("chosen columns"):
        columns = ["--columns", "number,value,duration,apply_tfms,worker"]
        text = cli("results", "synthetic", *asked, *columns, "--storage", database).stdout
        assert max(map(len, text.splitlines())) <= 80
        assert "apply_tfms" in text.splitlines()[0]


def test_results_without_a_match_say_so(stored: optuna.Study, cli: Cli, database: str) -> None:
    done = cli("results", "synthetic", "--where", "value > 7", "--storage", database)
    assert done.exit_code == 0
    assert "no trial is like that" in done.stdout


def test_a_wrong_expression_is_one_line(
    stored: optuna.Study, refused: Refused, database: str
) -> None:
    for option, text in (("--where", "valeu > 1"), ("--sort", "x"), ("--columns", "number,x")):
        line = refused("results", "synthetic", option, text, "--storage", database)
        assert option in line
        assert "params_model" in line


def test_parquet_holds_what_csv_holds(
    stored: optuna.Study, cli: Cli, database: str, tmp_path: Path
) -> None:
    for mixed in ("word", 3, [1, "a", {"b": None}]):
        stored.add_trial(create_trial(value=0.5, user_attrs={"mixed": mixed}))
    file = tmp_path / "trials.parquet"
    done = cli("results", "synthetic", "--format", "parquet", "-o", file, "--storage", database)
    assert done.exit_code == 0, done.output
    table, expected = pd.read_parquet(file), stored.trials_dataframe()
    assert list(table.columns) == list(expected.columns)
    assert list(table["number"]) == list(range(43))
    assert [json.loads(cell) for cell in table["user_attrs_mixed"][40:]] == [
        "word",
        3,
        [1, "a", {"b": None}],
    ]
    assert table["value"].equals(expected["value"])
    assert json.loads(table["user_attrs_worker"][0]) == expected["user_attrs_worker"][0]


def test_a_file_that_cannot_be_written_is_one_line(
    stored: optuna.Study, cli: Cli, database: str, tmp_path: Path
) -> None:
    for arguments in (
        ["results", "synthetic", "-o", tmp_path / "no" / "x.txt"],
        ["results", "synthetic", "--format", "parquet", "-o", tmp_path / "no" / "x.parquet"],
        ["report", "synthetic", "-o", tmp_path / "no" / "x.html"],
        ["plot", "synthetic", "history", "-o", tmp_path / "no" / "x.png"],
    ):
        done = cli(*arguments, "--storage", database)
        assert done.exit_code == 2
        assert "cannot be written" in done.stderr
        assert len(done.stderr.splitlines()) == 1


# Pareto fronts


def front_by_hand(study: optuna.Study, speed: str) -> set[int]:
    points = {t.number: (-value(t), float(t.user_attrs[speed])) for t in counted(study)}
    return {
        one
        for one, (a, b) in points.items()
        if not any(x <= a and y <= b and (x, y) != (a, b) for x, y in points.values())
    }


@pytest.mark.parametrize("name", ["execute_time", "user_attrs_execute_time", "execute_time:min"])
def test_a_pareto_front_after_the_fact(study: optuna.Study, name: str) -> None:
    table = pareto(study, ["value", name])
    assert set(table["number"]) == front_by_hand(study, "execute_time")
    assert list(table["value"]) == sorted(table["value"], reverse=True)


def test_a_front_can_have_its_direction_set(study: optuna.Study) -> None:
    most = pareto(study, ["value", "epochs:max"])
    assert most["params_epochs"].max() == max(t.params["epochs"] for t in counted(study))


@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        (["value"], "two columns"),
        (["value", "value"], "two columns"),
        (["value", "nothing"], "unknown column"),
        (["value", "epochs:up"], "neither min nor max"),
    ],
)
def test_what_is_no_front(study: optuna.Study, targets: Sequence[str], reason: str) -> None:
    with pytest.raises(QueryError, match=reason):
        pareto(study, targets)


def test_best_prints_the_front_as_a_table_and_as_toml(
    stored: optuna.Study, cli: Cli, database: str
) -> None:
    asked = ["best", "synthetic", "--pareto", "value,execute_time", "--storage", database]
    lines = cli(*asked).stdout.splitlines()
    assert lines[0].split()[:3] == ["trial", "f1_weighted", "execute_time"]
    toml = cli(*asked, "--format", "toml").stdout
    assert toml.count("[[enqueue]]") == len(front_by_hand(stored, "execute_time"))


def test_several_objectives_have_columns_by_their_names() -> None:
    several = synthetic.several_objectives(30)
    assert value_columns(several) == ["values_f1_weighted", "values_execute_time"]
    front = pareto(several, ["f1_weighted", "values_execute_time"])
    assert set(front["number"]) == {trial.number for trial in several.best_trials}
    assert list(frame(several).columns) == list(several.trials_dataframe().columns)
    assert {trial.state for trial in several.trials} == {TrialState.COMPLETE}


def test_a_trial_that_is_as_good_and_slower_is_not_on_the_front() -> None:
    study = optuna.create_study(direction="maximize")
    for seconds in (2.0, 1.0):
        study.add_trial(optuna.create_trial(value=0.5, user_attrs={"execute_time": seconds}))
    assert list(pareto(study, ["value", "execute_time"])["number"]) == [1]
