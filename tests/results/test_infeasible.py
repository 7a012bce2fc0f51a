"""Trials that break a constraint count nowhere as results, and are named wherever they appear."""

from __future__ import annotations

import ast
import json
import shutil
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from click.testing import Result
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState, create_trial

import hpo_job
from hpo_job import results
from hpo_job.notebook import Results
from hpo_job.report import figures, parameter_figures
from hpo_job.report.plots import canvas, values
from hpo_job.report.plots import parameters as pictures
from hpo_job.report.series import history
from hpo_job.report.tables import columns_and_rows
from hpo_job.results import comparison
from hpo_job.results.importance import importance
from hpo_job.results.pareto import pareto, pareto_axes
from hpo_job.results.warm_start import starts
from hpo_job.spec.choices import IMPORTANCE_METHODS
from hpo_job.storage.database import Storage
from hpo_job.study import joining
from tests import synthetic
from tests.sources import parsed

pytestmark = pytest.mark.studies

Cli = Callable[..., Result]
BROKEN = 99.0  # far better than any value that counts


def with_constraint(trial: FrozenTrial, size: float, value: float | None = None) -> FrozenTrial:
    """A copy of ``trial`` with a constraint, and another value; 0 or less is feasible."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        copy = create_trial(
            state=trial.state,
            values=[value, *trial.values[1:]] if value is not None else trial.values,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={**trial.user_attrs, "execute_time": 1e-3} if value else trial.user_attrs,
            intermediate_values=trial.intermediate_values,
            constraints={"size": size},
        )
    copy.datetime_start, copy.datetime_complete = trial.datetime_start, trial.datetime_complete
    return copy


def constrained(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Every fifth COMPLETE trial is the best and the fastest of all, but infeasible."""
    kept, count = [], 0
    for trial in trials:
        if trial.state == TrialState.COMPLETE:
            count += 1
            broken = count % 5 == 0
            trial = with_constraint(trial, 0.25 if broken else -1.0, BROKEN if broken else None)
        kept.append(trial)
    return kept


@pytest.fixture(scope="module")
def template_database(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = Path(shutil.copy(empty_database, tmp_path_factory.mktemp("infeasible")))
    with closing(Storage(f"sqlite:///{file}")) as storage:
        synthetic.study(constrained(synthetic.trials(80)), storage=storage.optuna)
    return file


@pytest.fixture
def study(storage: Storage) -> optuna.Study:
    return joining.load("synthetic", storage)


def broken_numbers(study: optuna.Study) -> set[int]:
    numbers = {trial.number for trial in study.trials if trial.values == [BROKEN]}
    assert len(numbers) > 5
    return numbers


def test_ranking_fronts_and_comparisons_leave_them_out(study: optuna.Study) -> None:
    broken = broken_numbers(study)
    first = results.best(study)
    assert first is not None
    assert first.number == study.best_trial.number
    assert not broken & {trial.number for trial in results.leading(study, 100)}
    fastest = results.fastest_within(study)
    assert fastest is not None
    assert fastest.trial.number not in broken
    assert not broken & set(pareto(study, ["value", "execute_time"])["number"])
    axes = pareto_axes(study)
    assert axes is not None
    assert not broken & set(axes.points.index)
    assert broken == set(axes.infeasible.index)
    assert comparison.summary([study]).loc["synthetic", "best"] == first.value
    assert comparison.progress(study)["best"].max() == first.value
    reached = comparison.time_to_95(study)
    assert reached is not None
    assert reached.threshold < 1
    other = synthetic.study(name="other")
    assert not broken & {start.trial for start in starts(other, study, 100)}


def test_a_front_of_several_objectives_leaves_them_out() -> None:
    several = synthetic.several_objectives(40)
    trials = [with_constraint(trial, -1.0) for trial in several.trials]
    trials.append(with_constraint(several.trials[0], 2.0, BROKEN))
    study = optuna.create_study(directions=several.directions)
    study.add_trials(trials)
    assert BROKEN not in {trial.values[0] for trial in results.front(study)}
    assert BROKEN not in set(pareto(study, ["values_0", "values_1"])["values_0"])


@pytest.mark.parametrize("method", IMPORTANCE_METHODS)
def test_importances_are_those_of_the_other_trials(study: optuna.Study, method: str) -> None:
    broken = broken_numbers(study)
    without = synthetic.study([trial for trial in study.trials if trial.number not in broken])
    assert importance(study, method).shares == importance(without, method).shares


def test_all_infeasible_is_said(storage: Storage, cli: Cli, database: str) -> None:
    trials = [t for t in synthetic.trials(20) if t.state == TrialState.COMPLETE][:3]
    synthetic.study([with_constraint(t, 1.0) for t in trials], "all", storage=storage.optuna)
    text = cli("status", "all", "--storage", database).stdout
    assert "no trial counts yet: 3 COMPLETE but infeasible" in text
    done = cli("best", "all", "--storage", database)
    assert done.exit_code == 2
    assert "3 COMPLETE but infeasible" in done.stderr


def test_commands_name_them_and_never_print_one_as_best(
    study: optuna.Study, cli: Cli, database: str
) -> None:
    broken = broken_numbers(study)
    status = cli("status", "synthetic", "--storage", database).stdout
    assert f"{len(broken)} COMPLETE but infeasible" in " ".join(status.split())
    assert "99.0" not in status
    listing = " ".join(cli("results", "synthetic", "--storage", database).stdout.split())
    assert listing.count("(infeasible: size 0.25)") == len(broken)
    for arguments in (
        ["best", "synthetic", "--format", "json"],
        ["best", "synthetic", "--pareto", "value,execute_time", "--format", "json"],
    ):
        records = json.loads(cli(*arguments, "--storage", database).stdout)
        assert not broken & {record["number"] for record in records}


def test_figures_and_pictures_show_them_apart(study: optuna.Study) -> None:
    broken = broken_numbers(study)
    points = history(study)
    assert points is not None
    assert {trial.number for trial, _ in points.infeasible} == broken
    assert not broken & {trial.number for trial, _ in points.counted}
    assert max(points.best) < 1
    for figure in (figures.history(study), figures.pareto(study)):
        assert figure is not None
        assert "infeasible" in [trace.name for trace in figure.data]
    for figure in (
        parameter_figures.parallel(study),
        parameter_figures.contour(study, ("learning_rate", "epochs")),
        figures.history(study),
    ):
        assert figure is not None
        texts = [str(t) for trace in figure.data for t in trace.hovertext or ()]
        lines = [trace for trace in figure.data if trace.name != "infeasible"]
        assert texts
        drawn = {str(t) for trace in lines for t in trace.hovertext or ()}
        assert not [t for t in drawn for n in broken if t.startswith(f"<b>#{n}</b>")]
    with canvas.style():
        labels = values.history(study, None).axes[0].get_legend_handles_labels()[1]
        assert "infeasible" in labels
        assert len(pictures.slices(study, ["epochs"]).axes[0].collections) == 3
        assert pictures.parallel(study, None)


def test_the_report_and_notebook_say_so(study: optuna.Study) -> None:
    columns, rows = columns_and_rows(study)
    note = [column["name"] for column in columns].index("note")
    assert {row[0] for row in rows if "infeasible: size 0.25" in str(row[note])} == broken_numbers(
        study
    )
    page = hpo_job.report.report([study]).html()
    assert f"{len(broken_numbers(study))} of the COMPLETE infeasible" in page
    notebook = Results(study)
    assert BROKEN not in set(notebook.best(50)["value"])
    assert notebook.compare(notebook)["best"].max() < 1


# Where a trial's state says which trials are taken, and why that is no choice of results
MAY_ASK = {
    "trial/counting.py": "the rule itself",
    "trial/phases.py": "the value of any trial, for people to read",
    "worker/outcomes.py": "how a trial is recorded and logged",
    "study/bounded_tpe.py": "Optuna's sampler, which weighs infeasible trials by itself",
    "study/phase_pruner.py": "Optuna's pruners, which compare intermediate values",
    "storage/mysql/tables.py": "what ends a trial in the database",
}


def asks_for_complete(tree: ast.AST) -> bool:
    """Whether a file names the state COMPLETE other than in a text or as the key of a colour."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "COMPLETE":
            return True
        parts: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Call):
            parts = [*node.args, *(keyword.value for keyword in node.keywords)]
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            parts = parts if name in ("get_trials", "trials_of", "get_all_trials") else []
        for part in parts:
            for each in ast.walk(part):
                if isinstance(each, ast.Constant) and each.value == "COMPLETE":
                    return True
    return False


def test_nobody_else_chooses_trials_by_their_state() -> None:
    package = Path(hpo_job.__file__).parent
    asking = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if asks_for_complete(parsed(file))
    }
    assert asking - set(MAY_ASK) == set()
    assert asks_for_complete(ast.parse('table[table["state"] == "COMPLETE"]'))
    assert asks_for_complete(ast.parse("study.get_trials(states=(TrialState.COMPLETE,))"))
