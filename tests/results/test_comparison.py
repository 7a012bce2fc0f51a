"""Studies side by side: importance, what was reached and when, and where the time went."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import optuna
import pytest
from click.testing import Result
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from hpo_job.errors import QueryError
from hpo_job.results import comparison
from hpo_job.results.importance import importance, importances
from hpo_job.results.intermediate import phases_in, segments
from hpo_job.results.timings import timings
from hpo_job.spec.choices import IMPORTANCE_METHODS
from hpo_job.storage.database import Storage
from hpo_job.trial.phases import measured_value
from tests import synthetic

pytestmark = pytest.mark.studies

Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    return synthetic.study(synthetic.trials(150))


# importance


@pytest.mark.parametrize("method", IMPORTANCE_METHODS)
def test_the_learning_rate_mattered(study: optuna.Study, method: str) -> None:
    assessed = importance(study, method)
    assert next(iter(assessed.shares)) == "learning_rate"
    assert sum(assessed.shares.values()) == pytest.approx(1)
    assert importance(study, method) == assessed  # the same answer twice


def test_a_conditional_parameter_is_assessed_or_named(study: optuna.Study) -> None:
    ped, forest = importance(study), importance(study, "fanova")
    assert "mult" in ped.shares
    assert "mult" not in forest.shares
    assert "ped-anova assesses it" in forest.notes[-1]
    few = importance(synthetic.study(synthetic.trials(16)))
    assert "mult" not in few.shares
    assert any("too few to say" in note for note in few.notes)


def test_too_few_trials_are_warned_of(study: optuna.Study) -> None:
    assert not [note for note in importance(study).notes if "unreliable" in note]
    few = importance(synthetic.study(synthetic.trials(15)))
    assert any("unreliable: " in note and "; run " in note for note in few.notes)


@pytest.mark.parametrize("method", IMPORTANCE_METHODS)
@pytest.mark.parametrize(
    ("values", "rates", "reason"),
    [
        ((), (), "nothing to compare"),
        ((1.0,), (0.1,), "nothing to compare"),
        ((1.0, 2.0), (0.1, 0.1), "no parameter varied"),
        ((1.0, 1.0), (0.1, 0.2), "the same value"),
        ((float("inf"), 1.0), (0.1, 0.2), "nothing to compare"),
    ],
)
def test_nothing_can_be_said(
    method: str, values: tuple[float, ...], rates: tuple[float, ...], reason: str
) -> None:
    bare = optuna.create_study()
    for value, rate in zip(values, rates, strict=True):
        space: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}
        bare.add_trial(create_trial(value=value, params={"x": rate}, distributions=space))
    assessed = importance(bare, method)
    assert assessed.shares == {}
    assert reason in assessed.notes[0]


def test_an_unknown_method_is_named(study: optuna.Study) -> None:
    with pytest.raises(QueryError, match="did you mean 'fanova'"):
        importance(study, "anova")


# side by side


def test_importances_of_two_studies_side_by_side(study: optuna.Study) -> None:
    other = synthetic.study(synthetic.trials(150, seed=1), "other")
    table = importances([study, other])
    assert list(table.columns) == ["synthetic", "other"]
    assert table.index[0] == "learning_rate"
    assert table["other"].sum() == pytest.approx(1)


def timed(values: list[float], *, baseline: float | None, direction: str) -> optuna.Study:
    """A study whose trials took 10 s each, one after the other, with an hour between them."""
    trials = []
    for position, value in enumerate(values):
        trial = create_trial(value=value)
        trial.datetime_start = synthetic.START + timedelta(hours=position)
        trial.datetime_complete = trial.datetime_start + timedelta(seconds=10)
        trials.append(trial)
    result = synthetic.study(trials, direction=direction, ours=baseline is not None)
    if baseline is not None:
        result.set_user_attr("baseline", baseline)
    return result


@pytest.mark.parametrize(
    ("values", "baseline", "direction", "threshold", "after"),
    [
        ([0.6, 0.89, 0.93, 1.0], 0.5, "maximize", 0.975, 4),  # 0.93 is no 95% of the gain
        ([0.6, 0.96, 1.0, 0.2], None, "maximize", 0.95, 2),
        ([1.0, 0.52, 0.51, 0.5], 1.5, "minimize", 0.55, 2),
        ([1.0, 0.52, 0.5], None, "minimize", 0.5 / 0.95, 2),
        ([-4.0, -1.1, -1.0], None, "maximize", -1.15, 2),  # of the way there from the first
        ([0.4, 0.45], 0.5, "maximize", 0.4275, 2),  # worse than the baseline
        ([0.7], 0.5, "maximize", 0.69, 1),
    ],
)
def test_when_95_percent_was_reached(
    values: list[float], baseline: float | None, direction: str, threshold: float, after: int
) -> None:
    reached = comparison.time_to_95(timed(values, baseline=baseline, direction=direction))
    assert reached is not None
    assert reached.threshold == pytest.approx(threshold)
    assert reached.trials == after
    assert reached.seconds == pytest.approx(10 * after)  # the hours between do not count


def test_what_studies_reached(study: optuna.Study) -> None:
    empty = synthetic.study(name="empty")
    table = comparison.summary([study, empty])
    assert table.loc["synthetic", "best"] == study.best_value
    assert table.loc["synthetic", "gain"] == pytest.approx(study.best_value - 0.52)
    assert table.loc["synthetic", "best_trial"] == study.best_trial.number
    assert table.loc["empty", "trials"] == 0
    assert table.loc["empty"].isna()["best"]


def test_best_parameters_and_learning_rates_side_by_side(study: optuna.Study) -> None:
    other = synthetic.study(synthetic.trials(30, seed=1), "other", ours=False)
    table = comparison.best_parameters([study, other])
    assert table.loc["batch_size", "synthetic"] == 32  # a fixed one
    assert table["other"].isna()["batch_size"]
    assert table.loc["model", "other"] == other.best_params["model"]
    rates = comparison.learning_rates([study, other])
    assert rates.loc["learning_rate", ("synthetic", "suggested")] == 3e-3
    assert rates.loc["learning_rate", ("other", "best")] == other.best_params["learning_rate"]


def test_what_several_methods_or_studies_say_is_said_once(
    storage: Storage, cli: Cli, database: str
) -> None:
    for name in ("one", "two"):
        synthetic.study(synthetic.trials(60), name, storage=storage.optuna)
    remarks = cli("importance", "one", "--method", "all", "--storage", database).stderr.splitlines()
    assert sum("only some of" in line for line in remarks) == 2
    assert any(": fanova, mean-decrease-impurity: only some of" in line for line in remarks)
    (line,) = cli("importance", "one", "two", "--storage", database).stderr.splitlines()
    assert line.startswith("hpo-job: only some of")


def test_learning_rates_of_many_studies_fit(storage: Storage, cli: Cli, database: str) -> None:
    names = [f"a-study-of-the-{decade}s" for decade in range(1730, 1780, 10)]
    for name in names:
        synthetic.study(synthetic.trials(5), name, storage=storage.optuna)
    text = cli("compare", *names, "--storage", database).stdout
    lines = text[text.index("learning rates\n") :].splitlines()
    assert [line.split()[1] for line in lines[2:]] == names
    assert max(map(len, lines)) <= 80


def test_none_is_a_choice(storage: Storage, cli: Cli, database: str) -> None:
    study = optuna.create_study(study_name="theirs", storage=storage.optuna)
    study.optimize(lambda t: len(str(t.suggest_categorical("depth", [None]))), n_trials=1)
    synthetic.study(synthetic.trials(5), "ours", storage=storage.optuna)
    text = cli("compare", "theirs", "ours", "--storage", database).stdout
    assert ["depth", "None", "-"] in [line.split() for line in text.splitlines()]


def test_progress_never_gets_worse(study: optuna.Study) -> None:
    table = comparison.progress(study)
    assert table["best"].is_monotonic_increasing
    assert table["seconds"].is_monotonic_increasing
    assert table["best"].iloc[-1] == study.best_value
    assert table["trials"].iloc[-1] <= len(study.trials)


# phases and timings


def test_steps_are_counted_within_their_phase() -> None:
    phases = [
        {"name": "frozen", "start": 0, "metric": "loss", "direction": "minimize"},
        {"name": "unfrozen", "start": 3, "metric": "accuracy", "direction": "maximize"},
    ]
    trial = create_trial(
        value=1.0,
        user_attrs={"phases": phases},
        intermediate_values={0: 0.9, 1: 0.8, 2: 0.7, 3: 0.5, 4: 0.6},
    )
    assert segments(trial) == {
        "frozen": [(1, 0.9), (2, 0.8), (3, 0.7)],
        "unfrozen": [(1, 0.5), (2, 0.6)],
    }
    assert list(phases_in([trial])) == ["frozen", "unfrozen"]


@pytest.mark.parametrize("phases", [None, [], "frozen", 3, [{"name": "x"}], [3], [{"start": "a"}]])
def test_steps_without_phases_are_as_they_are(phases: object) -> None:
    trial = create_trial(
        value=1.0, user_attrs={"phases": phases}, intermediate_values={5: 0.5, 10: 0.6}
    )
    assert segments(trial) == {"": [(5, 0.5), (10, 0.6)]}
    trial.state = TrialState.PRUNED
    assert measured_value(trial) == 0.6


def test_the_parts_of_the_time_add_up(study: optuna.Study) -> None:
    result = timings(study)
    assert result.workers == 4
    assert result.missing == ()
    assert sum(result.seconds.values()) == pytest.approx(result.total)
    assert all(time >= 0 for time in result.seconds.values())
    first = min(t.datetime_start for t in study.trials if t.datetime_start)
    last = max(t.datetime_complete for t in study.trials if t.datetime_complete)
    assert result.total <= 4 * (last - first).total_seconds() + 1
    assert result.useful is not None
    assert 0.5 < result.useful < 1
    assert result.frame()["share"].sum() == pytest.approx(1)


def one_trial(
    seconds: float, state: TrialState = TrialState.COMPLETE, **attrs: object
) -> optuna.Study:
    trial = create_trial(
        state=state, value=1.0 if state == TrialState.COMPLETE else None, user_attrs=attrs
    )
    trial.datetime_start = synthetic.START
    trial.datetime_complete = synthetic.START + timedelta(seconds=seconds)
    return synthetic.study([trial])


def test_validation_is_part_of_the_fits() -> None:
    result = timings(one_trial(20, train_time=10.0, validation_time=3.0, data_time=2.0)).seconds
    assert result["training"] == pytest.approx(7)
    assert result["validation"] == pytest.approx(3)
    assert result["other, in a trial"] == pytest.approx(8)


def test_the_storage_may_be_waited_for_while_training() -> None:
    result = timings(one_trial(10, train_time=10.0, storage_time=4.0)).seconds
    assert result["storage"] == pytest.approx(4)
    assert result["training"] == pytest.approx(6)


def test_a_failed_trial_is_lost_time() -> None:
    result = timings(one_trial(10, TrialState.FAIL, train_time=8.0)).seconds
    assert result["failed trials"] == pytest.approx(10)
    assert result["training"] == 0


@pytest.mark.parametrize("strange", ["fast", None, [1.0], float("nan"), -3.0, True, 1e9])
def test_attributes_of_any_kind_do_no_harm(strange: object) -> None:
    result = timings(one_trial(10, train_time=strange, data_time=strange))
    assert sum(result.seconds.values()) == pytest.approx(10)


def test_what_was_not_measured_is_named() -> None:
    result = timings(one_trial(10))
    assert "train_time" in result.missing
    assert result.useful is None


# the commands


@pytest.fixture
def pair(storage: Storage) -> list[optuna.Study]:
    return [
        synthetic.study(
            synthetic.trials(60, seed=seed, shift=seed / 2), f"study-{seed}", storage=storage.optuna
        )
        for seed in (0, 1)
    ]


def test_compare_prints_it_all_in_80_columns(
    pair: list[optuna.Study], cli: Cli, database: str
) -> None:
    done = cli("compare", "study-0", "study-1", "--storage", database)
    assert done.exit_code == 0, done.output
    assert max(map(len, done.stdout.splitlines())) <= 80
    for title in ("what they reached", "best parameters", "importances", "learning rates"):
        assert title in done.stdout
    assert f"{pair[1].best_value:.4f}" in done.stdout


def test_compare_as_json(pair: list[optuna.Study], cli: Cli, database: str) -> None:
    asked = ["compare", "study-0", "study-1", "--format", "json", "--storage", database]
    result = json.loads(cli(*asked).stdout)
    assert result["summary"]["study-0"]["best"] == pair[0].best_value
    assert result["best_parameters"]["study-1"]["model"] == pair[1].best_params["model"]
    assert set(result["importances"]) == {"study-0", "study-1"}
    assert result["learning_rates"]["study-0"]["suggested"]["learning_rate"] == 3e-3


def test_compare_wants_two(pair: list[optuna.Study], cli: Cli, database: str) -> None:
    done = cli("compare", "study-0", "study-0", "--storage", database)
    assert done.exit_code == 2
    assert "at least two studies" in done.stderr


def test_compare_says_where_values_do_not_compare(
    pair: list[optuna.Study], storage: Storage, cli: Cli, database: str
) -> None:
    synthetic.study(
        synthetic.trials(5),
        "lower",
        storage=storage.optuna,
        direction="minimize",
        metric="error_rate",
    )
    done = cli("compare", "study-0", "lower", "--storage", database)
    assert "different metrics" in done.stderr


def test_importance_prints_methods_and_studies_side_by_side(
    pair: list[optuna.Study], cli: Cli, database: str
) -> None:
    done = cli(
        "importance",
        "study-0",
        "study-1",
        "--method",
        "all",
        "--format",
        "csv",
        "--storage",
        database,
    )
    header = done.stdout.splitlines()[0].split(",")
    assert len(header) == 7
    assert header[1] == "study-0 ped-anova"
    table = cli("importance", "study-0", "study-1", "--storage", database)
    assert max(map(len, table.stdout.splitlines())) <= 80
