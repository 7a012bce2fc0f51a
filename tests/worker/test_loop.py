"""What a worker does with one trial after another, however they end."""

from __future__ import annotations

import logging
import math
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from optuna.trial import TrialState

from hpo_job.errors import FailuresError, SpecError
from hpo_job.study.admission import Refusal
from hpo_job.trial import attributes
from hpo_job.worker.failures import Failure, in_common
from hpo_job.worker.loop import work
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.output import Entry
from hpo_job.worker.signals import Stop
from tests.quick import Quick

pytestmark = pytest.mark.studies


def test_a_worker_runs_exactly_the_budget_and_a_rerun_none(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 6")
    assert quick.work() is Refusal.USED_UP
    assert Quick(tmp_path, budget="trials = 6").work() is Refusal.USED_UP
    assert quick.states() == {"COMPLETE": 6}
    assert [t.value for t in quick.study.trials] == [
        (t.params["x"] - 1) ** 2 for t in quick.study.trials
    ]


def test_a_trial_that_raises_is_recorded_and_the_next_one_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick = Quick(
        tmp_path,
        """
        def train(trial, context):
            if trial.number in (1, 3):
                raise ValueError("no such\\nweather")
            return context.params["x"]
        """,
    )
    quick.work()
    assert quick.states() == {"COMPLETE": 6, "FAIL": 2}
    failed = quick.study.trials[1]
    assert failed.user_attrs[attributes.REASON] == "error"
    assert failed.user_attrs[attributes.ERROR] == "ValueError: no such weather"
    assert "Traceback" in caplog.text  # loud where it happens


@pytest.mark.parametrize("end", ["sys.exit(0)", "raise KeyboardInterrupt"])
def test_an_objective_cannot_end_its_worker(tmp_path: Path, end: str) -> None:
    quick = Quick(
        tmp_path,
        f"""
        import sys

        def train(trial, context):
            if trial.number == 1:
                {end}
            return 1
        """,
        budget="trials = 3",
    )
    assert quick.work() is Refusal.USED_UP
    assert quick.states() == {"COMPLETE": 3, "FAIL": 1}


def test_a_long_error_is_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = "def train(trial, context):\n    raise ValueError('x' * 10**6)"
    with pytest.raises(FailuresError):
        Quick(tmp_path, source, budget="trials = 1\nfailures = 1").work()
    entries = [Entry.of(record) for record in caplog.records]
    assert sum(len(entry.line) + len(entry.trace) for entry in entries) < 10**4
    assert any(entry.trace.endswith("xxx") for entry in entries)


def test_failures_in_a_row_stop_the_worker(tmp_path: Path) -> None:
    quick = Quick(
        tmp_path,
        """
        def train(trial, context):
            if trial.number >= 2:
                raise RuntimeError(f"no weather on day {trial.number}")
            return 1
        """,
        budget="trials = 9\nfailures = 3",
    )
    with pytest.raises(FailuresError) as raised:
        quick.work()
    assert str(raised.value) == (
        "3 trials in a row failed (#2, #3, #4), all with RuntimeError, "
        "the last: RuntimeError: no weather on day 4"
    )
    assert raised.value.exit_code == 1
    assert quick.states() == {"COMPLETE": 2, "FAIL": 3}


def test_failures_that_are_not_in_a_row_do_not_stop_it(tmp_path: Path) -> None:
    quick = Quick(
        tmp_path,
        """
        import optuna

        def train(trial, context):
            if trial.number % 3 < 2:
                raise RuntimeError
            raise optuna.TrialPruned  # it ran well
        """,
        budget="trials = 3\nfailures = 3",
    )
    assert quick.work() is Refusal.USED_UP
    assert quick.states() == {"FAIL": 6, "PRUNED": 3}


def test_what_failures_have_in_common_is_said_in_one_line() -> None:
    common = {"model": "resnet18", "batch_size": 512}
    failures = [
        Failure(number, "MemoryError: 9 GiB", {**common, "lr": number}) for number in (4, 5)
    ]
    assert in_common(failures) == (
        "2 trials in a row failed (#4, #5), all with MemoryError: 9 GiB; "
        "all with model = resnet18, batch_size = 512"
    )
    other = [failures[0], Failure(7, "KeyError: 'a'", {"lr": 1})]
    assert "with KeyError, MemoryError, the last: KeyError: 'a'" in in_common(other)


@pytest.mark.parametrize("error", ["MemoryError()", "OutOfMemoryError('CUDA out of memory')"])
def test_running_out_of_memory_is_told_apart(tmp_path: Path, error: str) -> None:
    quick = Quick(
        tmp_path,
        f"""
        class OutOfMemoryError(RuntimeError):
            "Named as torch names its own"

        def train(trial, context):
            raise {error}
        """,
        budget="trials = 1\nfailures = 1",
    )
    with pytest.raises(FailuresError, match="1 trial failed"):
        quick.work()
    assert quick.study.trials[0].user_attrs[attributes.REASON] == "out_of_memory"


@pytest.mark.fastai
def test_torchs_own_error_is_the_one_that_is_meant() -> None:
    import torch

    assert torch.cuda.OutOfMemoryError.__name__ == "OutOfMemoryError"


@pytest.mark.parametrize("value", ["float('nan')", "None", "'good'"])
def test_what_is_no_number_is_a_failure(tmp_path: Path, value: str) -> None:
    quick = Quick(
        tmp_path,
        f"def train(trial, context):\n    return {value}",
        budget="trials = 1\nfailures = 1",
    )
    with pytest.raises(FailuresError, match=r"the objective returned .*, not a number"):
        quick.work()
    assert quick.states() == {"FAIL": 1}


def test_infinity_is_a_value(tmp_path: Path) -> None:
    quick = Quick(tmp_path, "def train(trial, context):\n    return float('inf')")
    quick.work()
    assert quick.study.trials[0].value == math.inf


def test_an_error_that_no_trial_is_spared_ends_the_worker_at_once(tmp_path: Path) -> None:
    quick = Quick(
        tmp_path,
        """
        from hpo_job.errors import SpecError

        def train(trial, context):
            raise SpecError("no such model")
        """,
    )
    with pytest.raises(SpecError, match="no such model"):
        quick.work()
    assert quick.states() == {"FAIL": 1}


def test_reports_count_their_steps_and_prune(tmp_path: Path) -> None:
    quick = Quick(
        tmp_path,
        """
        def train(trial, context):
            for epoch in range(4):
                context.report(trial.number + 1)
            return trial.number
        """,
        more='[pruner]\nname = "ThresholdPruner"\nupper = 3.5\nn_warmup_steps = 1',
    )
    quick.work()
    states = [trial.state for trial in quick.study.trials]
    assert states == [TrialState.COMPLETE] * 3 + [TrialState.PRUNED] * 3
    steps = [list(trial.intermediate_values) for trial in quick.study.trials]
    assert steps == [[0, 1, 2, 3]] * 3 + [[0, 1]] * 3


PRUNES = '[pruner]\nname = "ThresholdPruner"\nupper = 3.5'


@pytest.mark.parametrize("repeats", [1, 2])
def test_an_objective_cannot_go_on_after_it_was_pruned(tmp_path: Path, repeats: int) -> None:
    quick = Quick(
        tmp_path,
        """
        def train(trial, context):
            for value in (9, 1, 1):
                try:
                    context.report(value)
                except Exception:
                    pass
            return 1
        """,
        budget=f"trials = 1\nrepeats = {repeats}",
        more=PRUNES,
    )
    quick.work()
    assert quick.states() == {"PRUNED": 1}
    assert quick.study.trials[0].intermediate_values == {0: 9}


def test_the_last_step_is_not_pruned_where_it_is_said_to_be_the_last(tmp_path: Path) -> None:
    quick = Quick(
        tmp_path,
        """
        def train(trial, context):
            context.report(1)
            context.report(9, last=True)
            return 9
        """,
        budget="trials = 1",
        more=PRUNES,
    )
    quick.work()
    assert quick.states() == {"COMPLETE": 1}


def test_a_line_of_a_pruned_trial_says_its_metric_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick = Quick(
        tmp_path,
        """
        from hpo_job.trial.phases import Phase

        def train(trial, context):
            mine = trial.number == 0
            context.begin(Phase("first", 2, "perplexity", "minimize", of_study=mine))
            context.report(123.5)
        """,
        budget="trials = 2",
        more=PRUNES,
    )
    with caplog.at_level(logging.INFO):
        quick.work()
    lines = [line for line in caplog.messages if "PRUNED" in line]
    assert lines == ["trial 0 PRUNED 123.5 after step 1", "trial 1 PRUNED after step 1"]


def test_the_late_result_of_a_trial_that_was_given_away_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick = Quick(
        tmp_path,
        f"""
        import sqlite3

        def train(trial, context):
            if trial.number == 0:  # while this worker slept, another took the trial back
                with sqlite3.connect("{tmp_path}/studies.db") as database:
                    database.execute("UPDATE trials SET state = 'FAIL' WHERE number = 0")
            return 0
        """,
        budget="trials = 2",
    )
    assert quick.work() is Refusal.USED_UP
    assert [trial.state.name for trial in quick.study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert quick.study.trials[0].value is None
    assert "trial 0: its result is not recorded" in caplog.text


def test_the_heartbeat_outlives_a_database_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quick = Quick(
        tmp_path,
        f"""
        import logging, sqlite3
        from tests.quick import wait_until

        class Warned(logging.Handler):
            text = ""

            def emit(self, record):
                self.text += record.getMessage()

        def train(trial, context):
            warned = Warned()
            logging.getLogger("hpo_job").addHandler(warned)
            database = sqlite3.connect("{tmp_path}/studies.db", timeout=60)
            beats = lambda: database.execute("SELECT heartbeat FROM trial_heartbeats").fetchall()
            database.execute("ALTER TABLE trial_heartbeats RENAME TO gone")
            wait_until(lambda: "no heartbeat: " in warned.text)
            database.execute("ALTER TABLE gone RENAME TO trial_heartbeats")
            before = beats()
            wait_until(lambda: beats() != before)
            logging.getLogger("hpo_job").removeHandler(warned)
            return 0
        """,
        budget="trials = 1\nfailures = 1",
        grace=6,
    )
    quick.work()
    assert "no heartbeat: " in caplog.text
    assert quick.states() == {"COMPLETE": 1}


def test_one_seed_gives_the_same_values_twice(tmp_path: Path) -> None:
    def values(folder: str, seed: int) -> list[float | None]:
        quick = Quick(tmp_path / folder, budget="trials = 15", more=f"seed = {seed}")
        quick.work()
        return [trial.value for trial in quick.study.trials]

    assert values("one", 1) == values("two", 1) != values("three", 2)


def test_a_worker_that_waits_asks_again_when_another_has_ended(tmp_path: Path) -> None:
    """What is left is run: the other one may have been ended by its objective, with exit code 0."""
    quick = Quick(tmp_path, budget="trials = 1")
    other = quick.start()
    other.set_user_attr(attributes.WORKER, {"host": "elsewhere", "pid": 1})
    over, more = Pipe(duplex=False)
    pauses: list[Connection | None] = []

    class Waiting(Stop):
        def wait(self, seconds: float, until: Connection | None = None) -> None:
            pauses.append(until)
            if len(pauses) == 1:
                more.close()
            else:
                quick.study.tell(other, state=TrialState.FAIL)

    refusal = work(quick.checked, quick.study, quick.storage, Waiting(), Machine(1), over=over)
    assert refusal is Refusal.USED_UP
    assert quick.states() == {"COMPLETE": 1, "FAIL": 1}
    assert pauses == [over, None]  # an end that was seen would cut every pause short


def test_a_worker_waits_while_others_may_give_places_back(tmp_path: Path) -> None:
    quick = Quick(tmp_path, budget="trials = 1")
    other = quick.start()
    other.set_user_attr(attributes.WORKER, {"host": "elsewhere", "pid": 1})

    class Waiting(Stop):
        waits = 0

        def wait(self, seconds: float, until: Connection | None = None) -> None:
            self.waits += 1
            if self.waits == 3:
                quick.study.tell(other, state=TrialState.FAIL)

    stop = Waiting()
    assert work(quick.checked, quick.study, quick.storage, stop, Machine(1)) is Refusal.USED_UP
    assert stop.waits == 3
    assert quick.states() == {"COMPLETE": 1, "FAIL": 1}


@pytest.fixture(autouse=True)
def _logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="hpo_job")
