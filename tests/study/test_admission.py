"""The budget is exact, and nothing that was broken off is lost."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from hpo_job.storage.database import Storage
from hpo_job.study import admission, recovery
from hpo_job.study.admission import Refusal, admit
from hpo_job.study.joining import budget
from hpo_job.study.ledger import Ledger, Times, working_time
from hpo_job.study.optuna_private import fixed_params
from hpo_job.study.recovery import recover, requeue, trial_id
from hpo_job.study.workers import identity
from hpo_job.trial import attributes
from tests.quick import SPACE, Quick


def start(quick: Quick) -> optuna.Trial:
    """A trial as a worker on a machine of its own starts it."""
    trial = quick.start()
    trial.set_user_attr(attributes.WORKER, {"host": f"pod-{trial.number}", "pid": 1})
    return trial


def refused(quick: Quick) -> Refusal:
    refusal = admit(quick.study, quick.checked.spec, quick.storage)
    assert isinstance(refusal, Refusal)
    return refusal


HEARTBEATS = "UPDATE trial_heartbeats SET heartbeat = datetime(heartbeat, '-4 seconds')"


def age(folder: Path, statement: str) -> None:
    """Let time pass in the study's database."""
    with sqlite3.connect(folder / "studies.db") as database:
        assert database.execute(statement).rowcount == 1
    database.close()


def dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def break_off(quick: Quick, trial: optuna.Trial, reason: str) -> None:
    trial.set_user_attr(attributes.REASON, reason)
    quick.study.tell(trial, state=TrialState.FAIL)


def test_running_trials_hold_their_places(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 2")
    first, second = start(quick), start(quick)
    assert refused(quick) is Refusal.FULL
    quick.study.tell(first, 1.0)
    assert refused(quick) is Refusal.FULL
    quick.study.tell(second, state=TrialState.PRUNED)
    assert refused(quick) is Refusal.USED_UP
    assert quick.states() == {"COMPLETE": 1, "PRUNED": 1}


def test_a_failed_trial_gives_its_place_back(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 1")
    quick.study.tell(start(quick), state=TrialState.FAIL)
    quick.study.tell(start(quick), 1.0)
    assert refused(quick) is Refusal.USED_UP
    assert quick.states() == {"COMPLETE": 1, "FAIL": 1}


def test_a_larger_budget_goes_on_where_the_smaller_ended(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 1")
    quick.study.tell(start(quick), 1.0)
    larger = Quick(tmp_path, budget="trials = 2")
    larger.study.tell(start(larger), 1.0)
    # the worker that was told the smaller budget sees the larger one: it is the study's
    assert refused(quick) is Refusal.USED_UP
    assert larger.states() == {"COMPLETE": 2}


def test_the_timeout_is_the_studys(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget='timeout = "1s"')
    trial = start(quick)
    age(tmp_path, "UPDATE trials SET datetime_start = datetime(datetime_start, '-2 seconds')")
    quick.study = optuna.load_study(study_name="quick", storage=Storage(quick.url).optuna)
    assert refused(quick) is Refusal.TIMEOUT  # for a second worker, while the first still runs
    quick.study.tell(trial, 1.0)
    assert refused(Quick(tmp_path, budget='timeout = "1s"')) is Refusal.TIMEOUT  # and later on


def ran(start: int, end: int | None, reason: str | None = None) -> FrozenTrial:
    """A trial that ran from one second of a day to another, or still runs."""
    day = datetime(2026, 1, 1)
    trial = optuna.create_trial(
        state=TrialState.FAIL if reason or end is not None else TrialState.RUNNING,
        user_attrs={attributes.REASON: reason} if reason else {},
    )
    trial.datetime_start = day + timedelta(seconds=start)
    trial.datetime_complete = None if end is None else day + timedelta(seconds=end)
    return trial


@pytest.mark.parametrize(
    ("trials", "seconds"),
    [
        ([], 0),
        ([ran(0, 10), ran(5, 20)], 20),  # two at once count once
        ([ran(0, 20), ran(5, 10)], 20),
        ([ran(0, 10), ran(3600, 3610)], 20),  # an hour without workers does not count
        ([ran(0, 10), ran(90, None)], 20),  # what runs counts until now
        ([ran(0, 10), ran(20, 90, "lost")], 10),  # nobody saw when it was lost
        ([ran(0, 10), ran(20, 30, "preempted")], 20),
    ],
)
def test_worked_is_the_time_in_which_any_trial_ran(trials: list[FrozenTrial], seconds: int) -> None:
    now = datetime(2026, 1, 1) + timedelta(seconds=100)
    for number, trial in enumerate(trials):
        trial.number = number
    assert working_time(trials, now) == seconds


def test_working_time_is_the_same_however_it_is_added_up() -> None:
    draw = random.Random(1)
    times = Times()
    day = datetime(2026, 1, 1)
    seconds: set[int] = set()
    for _ in range(300):
        start = draw.randrange(3000)
        end = start + draw.randrange(1, 12)
        times.add(day + timedelta(seconds=start), day + timedelta(seconds=end))
        seconds |= set(range(start, end))
        begun = draw.randrange(3000)
        now = draw.randrange(begun, 3100)
        assert times.total(day + timedelta(seconds=begun), day + timedelta(seconds=now)) == len(
            seconds | set(range(begun, now))
        )


@pytest.mark.parametrize("reason", ["interrupted", "preempted", "lost"])
def test_a_broken_off_trial_is_enqueued_again_once(tmp_path: Path, reason: str) -> None:
    quick = Quick(tmp_path)
    trial = start(quick)
    x = trial.suggest_float("x", -5, 5)
    break_off(quick, trial, reason)
    for _ in range(2):
        with quick.storage.exclusive("quick"):
            requeue(quick.study, quick.checked.spec.budget, Ledger())
    assert quick.states() == {"FAIL": 1, "WAITING": 1}
    again = start(quick)
    assert again.suggest_float("x", -5, 5) == x
    assert again.user_attrs[attributes.RETRY_OF] == trial.number


def test_an_enqueued_trial_that_was_broken_off_at_once_keeps_its_parameters(tmp_path: Path) -> None:
    quick = Quick(
        tmp_path,
        space="[search_space]\nx = { type = 'int', low = 0, high = 9 }\n[[enqueue]]\nx = 7",
    )
    break_off(quick, start(quick), "preempted")  # before it was suggested anything
    again = start(quick)
    assert fixed_params(quick.study.trials[again.number]) == {"x": 7}
    assert again.suggest_int("x", 0, 9) == 7


def test_a_parameter_set_is_retried_as_often_as_the_budget_says(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 9\nretries = 2")
    values = []
    for _ in range(4):
        trial = start(quick)
        values.append(trial.suggest_float("x", -5, 5))
        break_off(quick, trial, "preempted")
    assert values[0] == values[1] == values[2] != values[3]


def test_a_failed_objective_is_not_retried(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    trial = start(quick)
    trial.suggest_float("x", -5, 5)
    break_off(quick, trial, "error")
    start(quick)
    assert quick.states() == {"FAIL": 1, "RUNNING": 1}


def test_the_trial_of_a_dead_process_is_taken_back_at_once(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 1", grace=3600)
    trial = start(quick)
    x = trial.suggest_float("x", -5, 5)
    trial.set_user_attr(attributes.WORKER, {**identity(), "pid": dead_pid()})
    again = start(quick)
    assert again.user_attrs[attributes.RETRY_OF] == trial.number
    assert again.suggest_float("x", -5, 5) == x
    assert quick.study.trials[trial.number].user_attrs[attributes.REASON] == "lost"


def test_the_trial_of_a_live_process_is_left_alone(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 1")
    trial = start(quick)
    trial.set_user_attr(attributes.WORKER, {**identity(), "pid": os.getppid()})
    assert refused(quick) is Refusal.FULL


def test_a_worker_started_again_under_its_name_takes_its_trial_back(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 1")
    trial = start(quick)
    trial.suggest_float("x", -5, 5)
    trial.set_user_attr(attributes.WORKER, identity())  # a pod's process has the same number
    assert start(quick).user_attrs[attributes.RETRY_OF] == trial.number


def test_a_trial_without_a_heartbeat_is_taken_back_after_the_grace(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 1", grace=2)
    trial = start(quick)
    trial.suggest_float("x", -5, 5)
    assert refused(quick) is Refusal.FULL
    age(tmp_path, HEARTBEATS)
    assert start(quick).user_attrs[attributes.RETRY_OF] == trial.number


def test_a_heartbeat_keeps_a_trial(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 1", grace=2)
    trial = start(quick)
    age(tmp_path, HEARTBEATS)
    quick.storage.optuna.record_heartbeat(trial_id(quick.study, trial.number, quick.storage))
    assert refused(quick) is Refusal.FULL


def test_trials_that_have_ended_are_not_looked_at_for_lost_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[list[int]] = []

    def noting(study: optuna.Study, storage: Storage, *, trials: Sequence[FrozenTrial]) -> bool:
        looked_at.append([trial.number for trial in trials])
        return recovery.fail_lost(study, storage, trials=trials)

    quick = Quick(tmp_path, budget="trials = 10")
    for _ in range(6):
        quick.study.tell(start(quick), 1.0)
    start(quick)
    monkeypatch.setattr(admission, "fail_lost", noting)
    admit(quick.study, quick.checked.spec, quick.storage)
    assert looked_at == [[6]]


def test_a_worker_does_not_take_its_own_trial_for_lost(tmp_path: Path) -> None:
    """As after an hour of sleep: it looks for lost trials while it runs one itself."""
    quick = Quick(tmp_path, budget="trials = 1", grace=2)
    trial = start(quick)
    age(tmp_path, HEARTBEATS)
    recover(quick.study, quick.storage, Ledger(), trial.number)
    assert quick.states() == {"RUNNING": 1}
    recover(quick.study, quick.storage, Ledger(), 99)  # the worker of another one
    assert quick.states() == {"FAIL": 1, "WAITING": 1}


def test_no_two_trials_share_a_sampler_seed(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    # two workers that start at once have seen the same history, so only the seed tells them apart
    drawn = [trial.suggest_float("x", -5, 5) for trial in (start(quick), start(quick))]
    assert drawn[0] != drawn[1]


def test_one_worker_repeats_its_trials_also_when_interrupted(tmp_path: Path) -> None:
    def drawn_values(folder: str, interrupted: set[int]) -> list[float]:
        quick = Quick(tmp_path / folder, budget="trials = 14")
        values: list[float] = []
        while len(values) < 14:
            trial = start(quick)
            x = trial.suggest_float("x", -5, 5)
            if trial.number in interrupted:
                break_off(quick, trial, "interrupted")
                quick = Quick(tmp_path / folder, budget="trials = 14")
            else:
                values.append(x)
                quick.study.tell(trial, x**2)
        return values

    # trials 0..9 are drawn at random, the others by what was learnt from them
    assert drawn_values("one", set()) == drawn_values("two", {3, 4, 12, 13})


@pytest.mark.parametrize(("more", "left"), [("", {}), ("[[enqueue]]\nx = 1.5", {"WAITING": 1})])
def test_a_worker_that_dies_before_it_asked_leaves_nothing_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, left: dict[str, int]
) -> None:
    quick = Quick(tmp_path, budget="trials = 1", space=f"{SPACE}\n{more}")

    def die(_: optuna.Study) -> None:
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(optuna.Study, "ask", die)
        with pytest.raises(SystemExit):
            start(quick)
    assert quick.states() == left
    quick.study.tell(start(quick), 1.0)
    assert quick.states() == {"COMPLETE": 1}


def test_a_new_trial_is_never_without_the_name_of_its_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored in one transaction with it, so the worker may die before the first heartbeat."""
    quick = Quick(tmp_path)

    def die(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as dying:
        dying.setattr(type(quick.storage.optuna), "record_heartbeat", die)
        with pytest.raises(SystemExit):
            quick.start()
    (left,) = quick.study.trials
    assert (left.state, left.user_attrs[attributes.WORKER]) == (TrialState.RUNNING, identity())
    quick.start()
    assert quick.study.trials[0].user_attrs[attributes.REASON] == attributes.LOST


def test_an_enqueued_trial_is_known_by_its_worker_before_it_runs(tmp_path: Path) -> None:
    """Its worker's name and heartbeat are on it while it waits: the worker may die right after."""
    quick = Quick(tmp_path, space=f"{SPACE}\n[[enqueue]]\nx = 1.5")
    seen: list[tuple[str, str]] = []

    def look(connection: sqlalchemy.Connection, _: object, statement: str, *__: object) -> None:
        if statement.startswith("UPDATE trials SET state="):
            rows = connection.exec_driver_sql(
                "SELECT t.state, a.value_json FROM trials t JOIN trial_heartbeats USING (trial_id)"
                " JOIN trial_user_attributes a USING (trial_id) WHERE a.key = 'worker'"
            )
            seen.extend((state, worker) for state, worker in rows)

    assert isinstance(quick.storage.optuna, RDBStorage)
    engine = quick.storage.optuna.engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", look)
    quick.start()
    assert seen == [("WAITING", json.dumps(identity()))]


def test_a_trial_that_completed_in_the_last_moment_counts_and_is_not_retried(
    tmp_path: Path,
) -> None:
    quick = Quick(tmp_path)
    trial = start(quick)
    trial.set_user_attr(attributes.REASON, "lost")  # somebody was about to fail it
    quick.study.tell(trial, 1.0)
    requeue(quick.study, budget(quick.study), Ledger())
    assert quick.states() == {"COMPLETE": 1}


def test_interruptions_do_not_use_up_the_retries(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 9\nretries = 1")
    reasons = ["interrupted", "preempted", "interrupted", "interrupted", "lost"]
    values = []
    for reason in [*reasons, "interrupted"]:
        trial = start(quick)
        values.append(trial.suggest_float("x", -5, 5))
        break_off(quick, trial, reason)
    assert len(set(values[:5])) == 1
    assert values[5] != values[0]


def test_a_failed_requeue_is_made_good_by_the_next_worker(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    trial = start(quick)
    x = trial.suggest_float("x", -5, 5)
    break_off(quick, trial, "preempted")  # and its worker dies before it enqueues anything
    assert start(Quick(tmp_path)).suggest_float("x", -5, 5) == x


def test_a_plain_optuna_worker_may_take_what_was_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Quick(tmp_path, budget="trials = 2")
    ask = optuna.Study.ask
    taken = []

    def after_another(study: optuna.Study) -> optuna.Trial:
        taken.append(ask(study))
        return ask(study)

    with monkeypatch.context() as racing:
        racing.setattr(optuna.Study, "ask", after_another)
        mine = quick.start()
    assert mine.number != taken[0].number
    assert quick.study.trials[mine.number].user_attrs[attributes.WORKER] == identity()


def test_what_a_plain_optuna_worker_has_just_enqueued_gets_the_name_of_who_starts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Quick(tmp_path)
    ask = optuna.Study.ask

    def after_an_enqueuing(study: optuna.Study) -> optuna.Trial:
        study.enqueue_trial({"x": 1.5})
        return ask(study)

    with monkeypatch.context() as racing:
        racing.setattr(optuna.Study, "ask", after_an_enqueuing)
        trial = quick.start()
    assert trial.suggest_float("x", -5, 5) == 1.5
    (stored,) = quick.study.trials
    assert stored.user_attrs[attributes.WORKER] == identity()
    assert stored.user_attrs[attributes.DRAW] == 0


def test_trials_copied_from_another_study_do_not_lead_astray(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    for retry_of in (1, 0, 99):
        quick.study.add_trial(
            optuna.create_trial(
                state=TrialState.FAIL,
                user_attrs={attributes.REASON: "lost", attributes.RETRY_OF: retry_of},
            )
        )
    start(quick)


@pytest.mark.filterwarnings("ignore:Heartbeat of storage:UserWarning")
def test_what_a_worker_of_plain_optuna_left_running_is_lost_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a heartbeat, its start tells: it blocked the study for ever, silently."""
    quick = Quick(tmp_path, budget="trials = 1")
    zombie = quick.study.ask()
    x = zombie.suggest_float("x", -5, 5)
    assert refused(quick) is Refusal.FULL
    assert not caplog.records
    with sqlite3.connect(tmp_path / "studies.db") as database:
        database.execute("UPDATE trials SET datetime_start = '2026-01-01 00:00:00.000000'")
    database.close()
    retry = quick.start()
    assert retry.suggest_float("x", -5, 5) == x
    assert retry.user_attrs[attributes.RETRY_OF] == zombie.number
    assert quick.study.trials[0].user_attrs[attributes.REASON] == attributes.LOST
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "trial 0 is lost, and is run again: a worker of plain Optuna" in record.message


def test_one_worker_at_a_time_decides(tmp_path: Path) -> None:
    quick = Quick(tmp_path)
    started: list[optuna.Trial | Refusal] = []

    other = Quick(tmp_path)  # with a storage of its own, as another process has

    def ask() -> None:
        asking.set()
        started.append(admit(other.study, other.checked.spec, other.storage))

    asking = threading.Event()
    asker = threading.Thread(target=ask)

    def decide() -> bool:
        asker.start()
        assert asking.wait(120)
        asker.join(1)  # it could have ended, without the lock
        return bool(started)

    assert not quick.storage.run_exclusively(quick.study.study_name, decide)
    asker.join(120)
    assert isinstance(started[0], optuna.Trial)


def test_a_running_promotion_holds_no_place() -> None:
    """Its parameters have one already: that of the paused trial which it goes on with."""
    promoted = {attributes.RETRY_OF: 0, attributes.RUNG: 1}
    trials = [
        optuna.create_trial(state=TrialState.RUNNING, user_attrs=attrs)
        for attrs in ({attributes.RUNG: 0}, promoted, {})
    ]
    for number, trial in enumerate(trials):
        trial.number = number
    ledger = Ledger()
    ledger.update(trials)
    assert (ledger.running, ledger.holding) == (3, 2)


def test_a_study_that_promotes_is_not_over_while_a_trial_runs(tmp_path: Path) -> None:
    """It may pause, and then it or another one is promoted: other workers wait for that."""
    quick = Quick(
        tmp_path,
        budget="trials = 2",
        more='[pruner]\nname = "PromotionPruner"\nreduction_factor = 2',
    )
    for trial, value in [(start(quick), 2.0), (start(quick), 1.0)]:
        trial.report(value, 0)
        trial.set_user_attr(attributes.PAUSED_AT, 1)
        quick.study.tell(trial, state=TrialState.PRUNED)
    promoted = start(quick)
    assert promoted.user_attrs[attributes.RETRY_OF] == 1
    assert refused(quick) is Refusal.FULL
    quick.study.tell(promoted, 1.0)
    assert refused(quick) is Refusal.USED_UP


def pause(quick: Quick, trial: optuna.Trial, value: float) -> None:
    trial.report(value, 0)
    trial.set_user_attr(attributes.PAUSED_AT, 1)
    quick.study.tell(trial, state=TrialState.PRUNED)


def test_none_is_promoted_for_want_of_others_while_a_trial_runs(tmp_path: Path) -> None:
    """A third of two is none: the better one goes on, once both have reached the rung."""
    budget = "trials = 9\npatience = 1"  # which the first one uses up
    quick = Quick(tmp_path, budget=budget, more='[pruner]\nname = "PromotionPruner"')
    first, second = start(quick), start(quick)
    pause(quick, first, 2.0)
    assert refused(quick) is Refusal.FULL
    pause(quick, second, 1.0)
    assert start(quick).user_attrs[attributes.RETRY_OF] == second.number


def test_a_promotion_that_is_broken_off_keeps_its_rung_and_bracket(tmp_path: Path) -> None:
    pruner = '[pruner]\nname = "PromotionPruner"\nbrackets = 2\nreduction_factor = 2'
    quick = Quick(tmp_path, budget="trials = 4", more=pruner)
    for trial in [start(quick) for _ in range(4)]:  # in the brackets 0, 1, 0, 1
        pause(quick, trial, float(trial.number))
    for bracket, number in ((0, 0), (1, 1)):
        promoted = start(quick)
        assert promoted.user_attrs[attributes.RETRY_OF] == number
        break_off(quick, promoted, "preempted")
        again = start(quick)
        assert again.user_attrs[attributes.RETRY_OF] == promoted.number
        assert again.user_attrs[attributes.RUNG] == 1
        assert again.user_attrs[attributes.BRACKET] == bracket
        quick.study.tell(again, 0.5)
