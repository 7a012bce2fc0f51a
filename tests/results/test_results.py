"""The results of a study: the same trials as a table, as Optuna's data frame, and as TOML."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import Result
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState, create_trial

from hpo_job import results
from hpo_job.errors import StudyError
from hpo_job.report import figures
from hpo_job.report.style import about
from hpo_job.report.tables import columns_and_rows
from hpo_job.results import clock
from hpo_job.results.frames import frame
from hpo_job.results.ranking import as_toml
from hpo_job.spec.reading import read_spec
from hpo_job.spec.search_space import searched
from hpo_job.storage.database import Storage
from hpo_job.study import joining
from hpo_job.study.checking import check
from tests import synthetic

Job = Callable[..., Path]
Refused = Callable[..., str]
Cli = Callable[..., Result]
START = datetime(2024, 1, 1, 12, 0, 0)
SPACE = {
    "model": {"type": "categorical", "choices": ["resnet18", "resnet50"]},
    "pre_trained": {"type": "categorical", "choices": [True, False]},
    "batch_size": 32,
    "n": {"type": "int", "low": 0, "high": 9},
    "rate": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "name": 'a "quoted" name',
}
PARAMS = {"model": "resnet50", "pre_trained": True, "n": 3, "rate": 0.0123456789}


def add(
    study: optuna.Study,
    folder: Path,
    value: float | None,
    *,
    state: TrialState = TrialState.COMPLETE,
    seconds: float = 1.0,
    params: Mapping[str, Any] | None = None,
    **attrs: Any,
) -> None:
    """A trial of this ``value`` that took ``seconds``, with these user attributes."""
    params = PARAMS if params is None else params
    space = searched(read_spec(folder).search_space)
    distributions: dict[str, BaseDistribution] = {
        name: parameter.distribution() for name, parameter in space.items() if name in params
    }
    trial = create_trial(
        state=state,
        value=value,
        params={name: params[name] for name in distributions},
        distributions=distributions,
        user_attrs=attrs,
    )
    trial.datetime_start = START
    trial.datetime_complete = START + timedelta(seconds=seconds)
    study.add_trial(trial)


def ask(study: optuna.Study) -> optuna.Trial:
    """A trial that runs; Optuna would remind us to let its heart beat."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
        return study.ask()


@pytest.fixture
def new_study(job: Job, storage: Storage) -> Callable[..., tuple[optuna.Study, Path]]:
    """A study without trials, and its job folder."""

    def make(**keys: Any) -> tuple[optuna.Study, Path]:
        folder = job(**({"search_space": SPACE} | keys))
        return joining.create(check(read_spec(folder), folder), storage), folder

    return make


NewStudy = Callable[..., tuple[optuna.Study, Path]]


def best_number(study: optuna.Study) -> int:
    trial = results.best(study)
    assert trial is not None
    return trial.number


def fastest(study: optuna.Study) -> tuple[int, float, str]:
    fastest = results.fastest_within(study)
    assert fastest is not None
    return fastest.trial.number, fastest.seconds, fastest.measure


# best and fastest


def test_best_where_less_is_more(new_study: NewStudy) -> None:
    study, folder = new_study()
    for value in (0.5, 0.2, 0.9):
        add(study, folder, value)
    assert best_number(study) == 1


def test_best_where_more_is_more(new_study: NewStudy) -> None:
    study, folder = new_study(direction="maximize")
    for value in (0.5, 0.2, 0.9, 0.9):
        add(study, folder, value)
    assert best_number(study) == 2


def test_a_trial_that_breaks_a_constraint_is_not_best(new_study: NewStudy) -> None:
    study, folder = new_study()
    for value in (0.5, 0.9):
        add(study, folder, value)
    trial = ask(study)
    trial.set_constraint("too slow", 1.0)
    study.tell(trial, 0.1)
    assert best_number(study) == study.best_trial.number == 0
    assert fastest(study)[0] == 0


def test_only_complete_trials_are_best(new_study: NewStudy) -> None:
    study, folder = new_study(direction="maximize")
    add(study, folder, 0.5)
    add(study, folder, 0.9, state=TrialState.PRUNED)
    add(study, folder, None, state=TrialState.FAIL)
    assert best_number(study) == 0


def test_no_best_without_a_complete_trial(new_study: NewStudy) -> None:
    study, folder = new_study()
    assert results.best(study) is None
    add(study, folder, 0.9, state=TrialState.PRUNED)
    add(study, folder, None, state=TrialState.FAIL)
    assert results.best(study) is None
    assert results.fastest_within(study) is None


@pytest.mark.parametrize(
    ("direction", "baseline", "values"),
    [
        ("maximize", 0.5, (0.90, 0.898, 0.896, 0.895)),  # 1% of a gain of 0.4
        ("minimize", 500.0, (100.0, 103.0, 104.0, 105.0)),  # an error in grams
        ("maximize", None, (100.0, 99.5, 99.0, 98.0)),  # 1% of the best value
        ("minimize", 50.0, (99.0, 99.5, 100.0, 101.0)),  # no gain: of the best value
    ],
)
def test_nearly_as_good_is_a_share_of_the_gain_over_the_baseline(
    new_study: NewStudy, direction: str, baseline: float | None, values: Sequence[float]
) -> None:
    study, folder = new_study(direction=direction)
    if baseline is not None:
        study.set_user_attr("baseline", baseline)
    for value, time in zip(values, (4.0, 3.0, 2.0, 1.0), strict=True):
        add(study, folder, value, seconds=100, execute_time=time)
    assert fastest(study) == (2, 2.0, "execute_time")


def test_fastest_by_duration_where_nothing_was_measured(new_study: NewStudy) -> None:
    study, folder = new_study(direction="maximize")
    for value, time in ((0.9, 4.0), (0.895, 2.5), (0.5, 1.0)):
        add(study, folder, value, seconds=time)
    assert fastest(study) == (1, 2.5, "duration")


def test_execute_time_counts_and_not_the_duration(new_study: NewStudy) -> None:
    study, folder = new_study(direction="maximize")
    add(study, folder, 0.9, seconds=10, execute_time=2.0)
    add(study, folder, 0.9, seconds=20, execute_time=1.0)
    assert fastest(study) == (1, 1.0, "execute_time")


def test_several_objectives_have_no_one_best(storage: Storage) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"], storage=storage.optuna)
    with pytest.raises(StudyError, match="several objectives"):
        results.best(study)
    assert results.overview(study)


# the data frame


def mixed(study: optuna.Study, folder: Path) -> None:
    """A trial in every state."""
    add(study, folder, 0.5, execute_time=0.25)
    add(study, folder, 0.7, state=TrialState.PRUNED)
    add(study, folder, None, state=TrialState.FAIL, error='ValueError: no, "no"\u2026, [x]')
    study.enqueue_trial({"n": 4})
    ask(study)
    study.enqueue_trial({"n": 5})


def test_csv_is_optunas_data_frame(new_study: NewStudy, cli: Cli, database: str) -> None:
    study, folder = new_study()
    mixed(study, folder)
    text = cli("results", "quadratic", "--format", "csv", "--storage", database).stdout
    rows = list(csv.reader(io.StringIO(text)))
    frame = study.trials_dataframe()
    assert rows[0] == list(frame.columns)
    assert len(rows) == 1 + len(frame) == 6
    column = {name: position for position, name in enumerate(rows[0])}
    assert [row[column["state"]] for row in rows[1:]] == list(frame["state"])
    assert float(rows[1][column["value"]]) == 0.5
    assert float(rows[1][column["params_rate"]]) == PARAMS["rate"]
    assert rows[3][column["user_attrs_error"]] == 'ValueError: no, "no"…, [x]'


def test_json_is_optunas_data_frame(new_study: NewStudy, cli: Cli, database: str) -> None:
    study, folder = new_study()
    mixed(study, folder)
    text = cli("results", "quadratic", "--format", "json", "--storage", database).stdout
    records = json.loads(text)
    frame = study.trials_dataframe()
    assert all(list(record) == list(frame.columns) for record in records)
    assert [record["number"] for record in records] == list(range(5))
    assert [record["value"] for record in records][:3] == [0.5, 0.7, None]
    assert records[0]["params_rate"] == pytest.approx(PARAMS["rate"], rel=1e-9)
    assert records[0]["user_attrs_execute_time"] == 0.25
    assert records[0]["datetime_start"].startswith("2024-01-01T12:00:00")


def test_nothing_to_read_is_still_readable(new_study: NewStudy, cli: Cli, database: str) -> None:
    new_study()
    assert (
        json.loads(cli("results", "quadratic", "--format", "json", "--storage", database).stdout)
        == []
    )
    assert cli("results", "quadratic", "--format", "csv", "--storage", database).exit_code == 0
    table = cli("results", "quadratic", "--storage", database)
    assert table.exit_code == 0
    status = cli("status", "quadratic", "--storage", database)
    assert status.exit_code == 0
    assert "finished  0 of 10 trials in 0s" in status.stdout
    assert "no trial is COMPLETE yet" in status.stdout


def test_only_failed_trials(new_study: NewStudy, cli: Cli, refused: Refused, database: str) -> None:
    study, folder = new_study()
    for _ in range(2):
        add(study, folder, None, state=TrialState.FAIL, fail_reason="error", error="ValueError: x")
    status = cli("status", "quadratic", "--storage", database).stdout
    assert "finished  0 of 10 trials" in status
    assert "2 FAIL" in status
    assert "no trial is COMPLETE yet" in status
    assert "ValueError: x" in cli("results", "quadratic", "--storage", database).stdout
    rows = cli("results", "quadratic", "--format", "csv", "--storage", database).stdout
    assert rows.splitlines()[0] == ",".join(study.trials_dataframe().columns)
    line = refused("best", "quadratic", "--storage", database)
    assert "no trial is COMPLETE yet" in line


def test_a_perplexity_is_no_value(storage: Storage, cli: Cli, database: str) -> None:
    """A language model that was pruned would otherwise be far better than any classifier."""
    trials = [trial for trial in synthetic.trials(9) if trial.state == TrialState.COMPLETE]
    study = synthetic.study([*trials, synthetic.language_model()], storage=storage.optuna)
    assert study.trials_dataframe()["value"].iloc[-1] == 107.5
    assert frame(study)["value"].isna().tolist() == [*[False] * len(trials), True]
    assert list(frame(study).columns) == list(study.trials_dataframe().columns)
    assert "107" not in cli("results", "synthetic", "--storage", database).stdout
    asked = ("--where", "value >= 0", "--columns", "number,state,value")
    chosen = cli("results", "synthetic", *asked, "--storage", database).stdout
    assert "COMPLETE" in chosen
    assert "PRUNED" not in chosen
    columns, rows = columns_and_rows(study)
    assert rows[-1][[column["name"] for column in columns].index("f1_weighted")] is None
    assert "107" not in about(study.trials[-1])
    drawn = figures.history(study)
    assert drawn is not None
    assert max(y for trace in drawn.data for y in trace.y) < 1


# the best parameters as TOML


def test_best_is_toml_with_the_fixed_ones_too(new_study: NewStudy, cli: Cli, database: str) -> None:
    study, folder = new_study()
    add(study, folder, 0.7, params=PARAMS | {"n": 1})
    add(study, folder, 0.5)
    text = cli("best", "quadratic", "--storage", database).stdout
    fixed = {"batch_size": 32, "name": 'a "quoted" name'}
    (parameters,) = tomllib.loads(text)["enqueue"]
    assert parameters == PARAMS | fixed
    assert {name: type(value) for name, value in parameters.items()} == {
        name: type(value) for name, value in (PARAMS | fixed).items()
    }
    assert list(parameters) == list(read_spec(folder).search_space)
    assert "# quadratic trial 1: " in text
    assert "0.5000" in text


@pytest.mark.parametrize("space", [SPACE, {"n": SPACE["n"]}], ids=["long", "short"])
def test_best_can_be_pasted_at_the_end_of_study_toml(
    new_study: NewStudy, cli: Cli, database: str, space: dict[str, Any]
) -> None:
    study, folder = new_study(search_space=space)
    add(study, folder, 0.5)
    text = cli("best", "quadratic", "--storage", database).stdout
    with (folder / "study.toml").open("a") as stream:
        stream.write(text)
    (enqueued,) = read_spec(folder).enqueue
    assert list(enqueued) == list(read_spec(folder).search_space)
    assert enqueued["n"] == 3
    assert cli("check", folder).exit_code == 0


def test_best_can_be_pasted_behind_an_entry_and_twice(
    new_study: NewStudy, cli: Cli, database: str
) -> None:
    study, folder = new_study()
    add(study, folder, 0.5)
    text = cli("best", "quadratic", "--storage", database).stdout
    with (folder / "study.toml").open("a") as stream:
        stream.write(f"\n[[enqueue]]\nn = 3\n\n{text}\n{text}")
    assert [len(entry) for entry in read_spec(folder).enqueue] == [1, 6, 6]


def test_best_of_a_function_that_suggests_for_itself(
    new_study: NewStudy, storage: Storage, cli: Cli, database: str
) -> None:
    study, _ = new_study(search_space=None)
    trial = ask(study)
    trial.suggest_float("rate", 0.5, 0.5)
    trial.suggest_categorical("depth", [2])
    study.tell(trial, 0.25)
    text = cli("best", "quadratic", "--storage", database).stdout
    assert tomllib.loads(text)["enqueue"] == [{"rate": 0.5, "depth": 2}]


# baseline and overview


@pytest.fixture
def cats(image_job: Job, storage: Storage) -> tuple[optuna.Study, Path]:
    """A study with a baseline of 0.6, and one trial at 0.8."""
    folder = image_job()
    study = joining.create(check(read_spec(folder), folder), storage)
    add(study, folder, 0.8, params={"learning_rate": 0.01})
    return study, folder


def test_the_baseline_stands_next_to_the_best_value(
    cats: tuple[optuna.Study, Path], cli: Cli, database: str
) -> None:
    line = "accuracy 0.8000 (baseline 0.6000)"
    assert line in cli("status", "cats-and-dogs", "--storage", database).stdout
    assert line in cli("best", "cats-and-dogs", "--storage", database).stdout
    assert line in "\n".join(results.overview(cats[0]))


def test_the_baseline_stands_where_there_is_no_best_value_yet(
    image_job: Job, storage: Storage, cli: Cli, database: str
) -> None:
    folder = image_job()
    joining.create(check(read_spec(folder), folder), storage)
    text = cli("status", "cats-and-dogs", "--storage", database).stdout
    assert "baseline" in text
    assert "0.6000" in text


def test_a_baseline_of_zero_is_a_baseline(
    image_job: Job, storage: Storage, cli: Cli, database: str
) -> None:
    """cohen_kappa of one answer is always 0."""
    folder = image_job(metric="cohen_kappa")
    study = joining.create(check(read_spec(folder), folder), storage)
    assert "0.0000" in cli("status", "cats-and-dogs", "--storage", database).stdout
    add(study, folder, 0.8, params={"learning_rate": 0.01})
    assert study.user_attrs["baseline"] == 0.0
    assert "(baseline 0.0000)" in cli("best", "cats-and-dogs", "--storage", database).stdout


def test_check_shows_data_size_and_baseline(image_job: Job, cli: Cli) -> None:
    text = cli("check", image_job()).stdout
    assert "20 images in 2 classes" in text
    assert "12   60%  cats" in text
    assert "8   40%  dogs" in text
    assert "accuracy 0.6000" in text
    assert "infinitely many combinations" in text
    assert "learning_rate" in text
    assert "pre_trained" in text


def test_check_counts_the_combinations(job: Job, cli: Cli) -> None:
    text = cli("check", job(search_space={**SPACE, "rate": 0.1})).stdout
    assert "40 combinations" in text


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("f1_weighted", ": always answering the most frequent class"),
        ("mae", ": always answering the median of training"),
        ("profit", ""),
    ],
)
def test_whose_answer_the_baseline_is(metric: str, text: str) -> None:
    objective = "tabular_regression" if metric == "mae" else "image_classification"
    study = synthetic.study(synthetic.trials(3), metric=metric, objective=objective)
    assert results.caption(study) == f"baseline 0.5200{text}"


@pytest.mark.parametrize(
    ("budget", "over"),
    [
        ({"trials": 3}, True),
        ({"trials": 4}, False),
        ({"timeout": 3}, True),
        ({"timeout": 3600}, False),
        ({"trials": 9, "timeout": 3}, True),
        ({}, False),
    ],
)
def test_a_study_is_finished_by_trials_or_by_time(budget: dict[str, float], over: bool) -> None:
    study = synthetic.study(synthetic.trials(3), budget=budget)
    assert results.finished(study) is over
    study.add_trial(create_trial(state=TrialState.RUNNING))
    assert not results.finished(study)


def test_overview(new_study: NewStudy) -> None:
    study, folder = new_study(direction="maximize")
    add(study, folder, 0.9, seconds=60, execute_time=2.0)
    add(study, folder, 0.895, seconds=90, execute_time=1.0)
    add(study, folder, 0.2, state=TrialState.PRUNED, seconds=1)
    add(study, folder, None, state=TrialState.FAIL, seconds=1)
    text = "\n".join(results.overview(study))
    assert "finished  3 of 10 trials in 1m30s" in text
    assert "2 COMPLETE, 1 PRUNED, 1 FAIL" in text
    assert "best      #0  value 0.9000" in text
    assert "fastest   #1  value 0.8950, execute_time 1 s" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (41.4, "41s"),
        (59.6, "1m00s"),
        (187, "3m07s"),
        (3600, "1h00m"),
        (3720, "1h02m"),
        (90000, "25h00m"),
    ],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


# the table


@pytest.mark.parametrize("command", [("results",), ("status",)])
def test_80_columns_hold_it_all(
    new_study: NewStudy, cli: Cli, database: str, command: tuple[str]
) -> None:
    wide = {f"a_rather_long_parameter_{n}": {"type": "int", "low": 0, "high": 9} for n in range(9)}
    study, folder = new_study(search_space=wide, metric="validation_loss")
    values = dict.fromkeys(wide, 7)
    add(study, folder, 0.123456789, params=values, seconds=12345)
    add(study, folder, -12345.678, params=values)
    add(study, folder, None, state=TrialState.FAIL, params=values, error=f"E: {'long ' * 60}[/x]")
    trial = ask(study)
    for name in wide:
        trial.suggest_int(name, 0, 9)
    text = cli(*command, "quadratic", "--storage", database).stdout
    assert max(map(len, text.splitlines())) <= 80
    folded = "".join(text.split())
    assert "a_rather_long_parameter_8=" in folded
    if command == ("results",):
        assert "…" not in text
        assert "#3" in text
        assert "RUNNING" in text
        assert "0.1235" in text
        assert "-1.235e+04" in text
        assert "[/x]" in text  # no markup of ours


def test_status_shows_what_runs(new_study: NewStudy, cli: Cli, database: str) -> None:
    study, _ = new_study()
    trial = ask(study)
    trial.suggest_int("n", 0, 9)
    trial.report(0.25, 0)
    text = cli("status", "quadratic", "--storage", database).stdout
    assert "study     quadratic" in text
    assert "1 RUNNING" in text
    assert "0.2500" in text
    assert "baseline" not in text.splitlines()[-1]  # folded at the width of the table


def test_waiting_trials_show_what_they_will_try(
    new_study: NewStudy, cli: Cli, database: str
) -> None:
    study, _ = new_study()
    study.enqueue_trial({"n": 4, "model": "resnet18"})
    text = cli("results", "quadratic", "--storage", database).stdout
    assert "WAITING" in text
    assert text.splitlines()[0].split() == ["trial", "state", "value", "time", "n", "model"]
    assert text.splitlines()[1].split()[-2:] == ["4", "resnet18"]


def test_a_study_of_plain_optuna_can_be_read(storage: Storage, cli: Cli, database: str) -> None:
    study = optuna.create_study(study_name="theirs", storage=storage.optuna)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    for command in ("status", "results", "best"):
        assert cli(command, "theirs", "--storage", database).exit_code == 0
    assert "finished  2 trials" in cli("status", "theirs", "--storage", database).stdout


# which study


@pytest.mark.parametrize("command", ["status", "results", "best"])
def test_a_study_goes_by_its_name_and_by_its_job_folder(
    new_study: NewStudy, cli: Cli, database: str, command: str
) -> None:
    study, folder = new_study()
    add(study, folder, 0.5)
    by_name = cli(command, "quadratic", "--storage", database)
    by_folder = cli(command, folder, "--storage", database)
    assert by_name.exit_code == by_folder.exit_code == 0
    assert by_name.stdout == by_folder.stdout


@pytest.mark.parametrize("command", [("status",), ("results",), ("best",), ("enqueue",)])
def test_an_unknown_study_is_answered_with_those_there_are(
    new_study: NewStudy, refused: Refused, database: str, command: tuple[str, ...]
) -> None:
    new_study()
    new_study(folder="other", name="people")
    more = ("n=1",) if command == ("enqueue",) else ()
    line = refused(*command, "quadratc", *more, "--storage", database)
    assert "did you mean 'quadratic'?" in line
    assert "known: people, quadratic" in line


def test_a_storage_without_any_study(storage: Storage, refused: Refused, database: str) -> None:
    assert "it has no studies yet; start one with hpo-job run JOB" in refused(
        "status", "quadratic", "--storage", database
    )


def test_infinite_values_are_values(new_study: NewStudy) -> None:
    study, folder = new_study()
    for _ in range(2):
        add(study, folder, float("inf"))
    assert results.fastest_within(study) is not None


def test_none_is_told_beside_the_toml_that_has_no_word_for_it(new_study: NewStudy) -> None:
    study, _ = new_study(search_space=None)
    trial = ask(study)
    trial.suggest_categorical("depth", [None])
    trial.suggest_categorical("kind", ["a"])
    study.tell(trial, 1.0)
    top = results.best(study)
    assert top is not None
    text = as_toml(study, top)
    assert "# depth is None\n[[enqueue]]\n" in text
    assert tomllib.loads(text) == {"enqueue": [{"kind": "a"}]}


@pytest.mark.processes
def test_the_table_of_trials_needs_no_pandas() -> None:
    """Its import is a tenth of the time of ten thousand trials."""
    code = "import sys, hpo_job.cli.results, hpo_job.results.rows; print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
