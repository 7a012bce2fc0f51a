"""Every combination is tried once: by several workers, after a crash, after a failure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from hpo_job.spec import search_space
from hpo_job.spec.combinations import EXHAUSTIVE
from hpo_job.spec.reading import read_spec
from hpo_job.study.admission import Refusal, admit
from hpo_job.study.joining import enqueue
from hpo_job.study.ledger import Ledger
from hpo_job.trial import attributes
from hpo_job.worker.signals import Stop
from tests.quick import Quick, run_workers

SPACE = """
[search_space]
x = { type = "int", low = 1, high = 3 }
kind = { type = "categorical", choices = ["a", "b"] }
mult = { type = "float", low = 0.0, high = 0.3, step = 0.1, when = { kind = "b" } }
"""
ALL = 3 * (1 + 4)
SUM = """
def train(trial, context):
    return context.params["x"] + context.params.get("mult", 0)
"""
GRID = '[sampler]\nname = "GridSampler"'


def grid(folder: Path, source: str = SUM, *, budget: str = "", sampler: str = GRID) -> Quick:
    return Quick(folder, source, budget=budget, space=f"{sampler}\n{SPACE}")


def tried(quick: Quick) -> list[frozenset[tuple[str, Any]]]:
    return [frozenset(trial.params.items()) for trial in quick.study.trials]


def start(quick: Quick, ledger: Ledger | None = None) -> optuna.Trial:
    """A trial whose parameters are suggested, and which then goes on."""
    trial = admit(quick.study, quick.checked.spec, quick.storage, ledger)
    assert isinstance(trial, optuna.Trial)
    search_space.suggest(trial, quick.checked.spec.search_space)
    return trial


pytestmark = pytest.mark.studies


@pytest.mark.parametrize("name", EXHAUSTIVE)
def test_no_budget_need_be_written(job: Callable[..., Path], name: str) -> None:
    keys = {"sampler": {"name": name}, "search_space": {"n": {"type": "int", "low": 1, "high": 3}}}
    assert read_spec(job(budget=None, **keys)).budget.trials == 3
    assert read_spec(job(budget={"retries": 1}, **keys)).budget.trials == 3


@pytest.mark.parametrize("name", EXHAUSTIVE)
@pytest.mark.processes
def test_workers_try_each_once(tmp_path: Path, name: str) -> None:
    quick = grid(tmp_path, sampler=f'[sampler]\nname = "{name}"')
    assert run_workers(quick.worker_job(), 2, Stop(), lambda: None) == 0
    assert quick.states() == {"COMPLETE": ALL}
    assert len(set(tried(quick))) == ALL


def test_a_smaller_budget_ends_it_earlier(tmp_path: Path) -> None:
    quick = grid(tmp_path, budget="trials = 4")
    assert quick.work(patience=0) is Refusal.USED_UP
    assert len(set(tried(quick))) == 4


def test_a_larger_budget_does_not_try_any_again(tmp_path: Path) -> None:
    quick = grid(tmp_path, budget="trials = 100")
    assert any("the study ends when all have been tried" in each for each in quick.checked.cautions)
    assert quick.work(patience=0) is Refusal.EXHAUSTED
    assert quick.states() == {"COMPLETE": ALL}


def test_the_order_is_the_seeds(tmp_path: Path) -> None:
    one, other = (grid(tmp_path / name, budget="trials = 5") for name in ("one", "other"))
    assert (one.work(patience=0), other.work(patience=0)) == (Refusal.USED_UP, Refusal.USED_UP)
    assert tried(one) == tried(other)
    assert tried(one) != sorted(tried(one), key=str)


def test_what_failed_is_not_tried_again(tmp_path: Path) -> None:
    failing = SUM.replace("    return", "    assert context.params['x'] > 1\n    return")
    quick = grid(tmp_path, failing, budget="failures = 100")
    assert quick.work(patience=0) is Refusal.EXHAUSTED
    assert quick.states() == {"COMPLETE": ALL - 5, "FAIL": 5}
    assert len(set(tried(quick))) == ALL


def test_what_was_broken_off_is_tried_again(tmp_path: Path) -> None:
    quick = grid(tmp_path)
    trial = start(quick)
    trial.set_user_attr(attributes.REASON, attributes.PREEMPTED)
    quick.study.tell(trial, state=TrialState.FAIL)
    assert quick.work(patience=0) is Refusal.USED_UP
    assert quick.states() == {"COMPLETE": ALL, "FAIL": 1}
    complete = {frozenset(t.params.items()) for t in quick.study.trials if t.value is not None}
    assert len(complete) == ALL


def test_what_runs_is_not_tried_by_another_worker_and_is_waited_for(tmp_path: Path) -> None:
    quick = grid(tmp_path, budget="trials = 100")
    running = start(quick, Ledger())
    running.set_user_attr(attributes.WORKER, {"host": "elsewhere", "pid": 1})
    assert quick.work(patience=0) is Refusal.FULL
    assert quick.states() == {"COMPLETE": ALL - 1, "RUNNING": 1}
    assert len(set(tried(quick))) == ALL


def test_a_worker_that_dies_before_its_trial_runs_leaves_its_combination(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = grid(tmp_path)

    def die(study: optuna.Study) -> optuna.Trial:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "ask", die)
        with pytest.raises(SystemExit):
            start(quick)
    assert quick.states() == {"WAITING": 1}
    assert quick.work(patience=0) is Refusal.USED_UP
    assert quick.states() == {"COMPLETE": ALL}


def test_what_was_enqueued_is_one_of_them(tmp_path: Path) -> None:
    quick = grid(tmp_path)
    enqueue(quick.study, quick.storage, {"x": 2, "kind": "a"})
    enqueue(quick.study, quick.storage, {"x": 2, "kind": "b", "mult": 0.2})
    assert quick.work(patience=0) is Refusal.USED_UP
    assert quick.states() == {"COMPLETE": ALL}
    assert len(set(tried(quick))) == ALL


def test_grid_samplers_own_lists_choose_among_the_values(tmp_path: Path) -> None:
    lists = f"{GRID}\n[sampler.search_space]\nx = [1, 3]\nmult = [0.1]"
    quick = grid(tmp_path, sampler=lists)
    assert quick.checked.spec.budget.trials == 2 * (1 + 1)
    assert quick.work(patience=0) is Refusal.USED_UP
    assert {trial.params["x"] for trial in quick.study.trials} == {1, 3}
    assert {trial.params.get("mult") for trial in quick.study.trials} == {None, 0.1}
