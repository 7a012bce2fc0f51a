"""The states of running trials: saved, found by the next attempt, never a wrong one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from hpo_job.artifacts.checkpoints import Checkpoints
from hpo_job.artifacts.folder_store import FolderStore
from hpo_job.results.continued import continued
from hpo_job.study.attempts import checkpoints, object_names, work
from hpo_job.trial import attributes, checkpoint_file
from hpo_job.worker import repeats, saving
from hpo_job.worker.saving import Saving
from hpo_job.worker.signals import Stop
from tests.quick import wait_until
from tests.worker.attempts import ALWAYS, EPOCHS, Study, undisturbed

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_trial_goes_on_where_it_was(tmp_path: Path, number: str) -> None:
    study = Study(tmp_path)
    study.end_at(6, number)
    assert study.run() == {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}[number]
    assert len(study.objects()) == 2  # the newest, and the one before
    assert study.run() == 0
    first, second = study.trials
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert study.epochs() == [*([0, epoch] for epoch in range(7)), *([1, e] for e in range(7, 20))]
    assert second.value == undisturbed(second.params["x"])
    assert list(second.intermediate_values) == list(range(20))
    assert {**second.intermediate_values, **first.intermediate_values} == second.intermediate_values
    attrs = second.user_attrs
    assert (attrs[attributes.RESUMED_FROM], attrs[attributes.RESUMED_AT]) == (0, 7)
    assert attrs[attributes.SAVED_SECONDS] > 0
    assert first.duration is not None
    assert 0 <= attrs[attributes.LOST_SECONDS] <= first.duration.total_seconds()
    assert attrs[attributes.TOTAL_TIME] > attrs[attributes.SAVED_SECONDS]
    assert study.objects() == set()  # nobody continues a finished trial
    assert "trial 1 continues trial 0 after step 7" in study.log.read_text()


def test_many_attempts_are_one_training_and_none_of_them_counts_as_a_retry(tmp_path: Path) -> None:
    """Each saves some work, so the two retries of the budget are never used up."""
    study = Study(tmp_path)
    for epoch in (0, 3, 4, 9, 18):
        study.end_at(epoch, "SIGKILL")
        assert study.run() == -9
        assert len(study.objects()) <= 3  # and one that was being written
        facts = continued(study.study)
        assert (facts.states, facts.size) == (1, study.stored_bytes())  # as `status` shows it
    assert study.run() == 0
    assert study.states() == {"COMPLETE": 1, "FAIL": 5}
    last = study.trials[-1]
    assert [epoch for _, epoch in study.epochs()] == list(range(20))
    assert last.value == undisturbed(last.params["x"])
    assert len({trial.params["x"] for trial in study.trials}) == 1
    assert study.objects() == set()


def test_an_attempt_saves_for_the_first_time_sooner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And all states where its worker was killed before."""
    study, now = Study(tmp_path), 100.0
    monkeypatch.setattr(saving, "time", SimpleNamespace(monotonic=lambda: now))
    trial = study.start()
    mine = Checkpoints(study.study, study.storage, trial, str(study.store))
    saves = Saving(mine, 60.0, Stop())
    tree = {"objective": {}, "timings": {attributes.TOTAL_TIME: 1.0}}
    due = []
    for now in (100.0, 109.9, 110.0, 169.9, 170.0):  # noqa: B007  # the clock reads it
        due.append(saves.due)
        if due[-1]:
            assert saves.write(tree, wait=True)
    assert due == [False, False, True, False, True]
    assert len(study.objects()) == 2

    trial.set_user_attr(attributes.REASON, attributes.LOST)
    study.study.tell(trial.number, state=TrialState.FAIL)
    again = Checkpoints(study.study, study.storage, study.start(), str(study.store))
    saves, due = Saving(again, 60.0, Stop()), []
    for now in (179.9, 180.0, 189.9, 190.0):  # noqa: B007  # the clock reads it
        due.append(saves.due)
        if due[-1]:
            assert saves.write(tree, wait=True)
    assert due == [False, True, False, True]


def test_a_function_that_saves_but_never_resumes_uses_up_its_retries(tmp_path: Path) -> None:
    study = Study(tmp_path, EPOCHS.replace("context.resume() or ", ""))
    for _ in range(4):
        study.end_at(2, "SIGKILL")
        assert study.run() == -9
    parameters = [trial.params["x"] for trial in study.trials]
    assert parameters == [*[parameters[0]] * 4, *parameters[4:]]
    study.end_at(2, "SIGKILL")
    assert study.run() == -9
    assert study.trials[-1].params["x"] != parameters[0]


def test_attempts_without_progress_use_up_the_retries(tmp_path: Path) -> None:
    source = """
    import os, signal, threading
    def train(trial, context):
        if context.resume() is None:
            context.save({})
            for thread in threading.enumerate():
                if thread.name == "upload":
                    thread.join()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    study = Study(tmp_path, source)
    for _ in range(6):
        assert study.run() == -9
    parameters = [trial.params["x"] for trial in study.trials]
    assert parameters.count(parameters[0]) == 4  # one that saved something, and its two retries
    assert len(set(parameters)) > 1


def test_the_same_state_saved_again_is_no_progress(tmp_path: Path) -> None:
    """As in a validation that kills its worker, however often it saves what was trained before."""
    source = """
    import os, signal, threading
    import numpy as np
    def train(trial, context):
        state = context.resume() or {"epoch": 1, "weights": np.ones(4), "at": (1, 2)}
        context.report(1.0) if trial.number == 0 else None
        context.save(lambda: {**state, "at": tuple(state["at"])})
        for thread in threading.enumerate():
            if thread.name == "upload":
                thread.join()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    study = Study(tmp_path, source)
    for _ in range(6):
        assert study.run() == -9
    trials = study.trials
    assert all(map(checkpoints, trials[:4]))
    parameters = [trial.params["x"] for trial in trials]
    assert parameters.count(parameters[0]) == 4  # one that saved something, and its retries
    assert len(set(parameters)) > 1


# A state of 8 MB, all of one number, saved without a pause
LARGE = """
import os
from pathlib import Path

import numpy as np

def train(trial, context):
    folder = Path(__file__).parent
    state = context.resume()
    start = 0
    if state:
        numbers = {*np.unique(state["weights"]).tolist()}
        assert numbers == {state["round"]}, numbers
        start = state["round"]
    (folder / "begun").write_text(str(start))
    for number in range(start + 1, 10**9):
        weights = np.full(2**20, number)
        while not context.save(lambda: {"round": number, "weights": weights}):
            pass
        (folder / "round").write_text(str(number))
"""


def test_killed_at_any_point_of_a_save_the_state_is_whole(tmp_path: Path) -> None:
    study, chance = Study(tmp_path, LARGE), random.Random(1)
    begun = 0
    for _ in range(10):
        for name in ("begun", "round"):
            (study.job / name).unlink(missing_ok=True)
        worker = study.fork()
        wait_until((study.job / "round").exists)
        rounds = int((study.job / "round").read_text() or 0) + chance.randint(1, 4)
        wait_until(lambda: int((study.job / "round").read_text() or 0) >= rounds)  # noqa: B023
        time.sleep(chance.random() / 20)  # anywhere in the next save
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        assert "Error" not in study.log.read_text()
        assert int((study.job / "begun").read_text()) >= begun
        begun = int((study.job / "begun").read_text())
    assert begun > 0
    assert study.states() == {"FAIL": 9, "RUNNING": 1}
    assert len(study.objects()) <= 3


class Killed:
    """A study whose first trial was killed after seven epochs, and the trial that goes on."""

    def __init__(self, folder: Path, **job: str) -> None:
        self.study = Study(folder, **job)
        self.study.end_at(6, "SIGKILL")
        assert self.study.run() == -9
        self.trial = self.study.start()
        newest, before = checkpoints(self.study.trials[0])
        self.newest, self.before = newest.name, before.name

    def resumes_at(self, store: Path) -> int | None:
        """The epoch from which the next attempt goes on, with the files in ``store``."""
        one = Checkpoints(self.study.study, self.study.storage, self.trial, str(store))
        state = one.load(lambda _: None)
        return None if state is None else int(state["objective"]["epoch"])

    def copy(self, folder: Path) -> Path:
        return Path(shutil.copytree(self.study.store, folder / "store"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    return Killed(tmp_path_factory.mktemp("killed"))


def test_a_file_cut_short_is_skipped_for_the_one_before(
    killed: Killed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, chance = killed.copy(tmp_path), random.Random(3)
    assert killed.resumes_at(store) == 7
    content = (store / killed.newest).read_bytes()
    for size in (0, *(chance.randrange(len(content)) for _ in range(20))):
        (store / killed.newest).write_bytes(content[:size])
        caplog.clear()
        assert killed.resumes_at(store) == 6
        line = f"trial 1: a checkpoint of trial 0 is skipped: it has {size} bytes instead of"
        assert line in caplog.text
        assert len(caplog.messages) == 1
    (store / killed.newest).write_bytes(content)
    assert killed.resumes_at(store) == 7


def test_a_file_with_other_contents_is_skipped(killed: Killed, tmp_path: Path) -> None:
    store = killed.copy(tmp_path)
    content = bytearray((store / killed.newest).read_bytes())
    content[len(content) // 2] ^= 1
    (store / killed.newest).write_bytes(content)
    assert killed.resumes_at(store) == 6


def test_where_none_is_usable_it_begins_at_the_beginning(
    killed: Killed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = killed.copy(tmp_path)
    (store / killed.newest).unlink()
    (store / killed.before).write_bytes(b"")
    assert killed.resumes_at(store) is None
    first, second = caplog.messages
    assert first.endswith(f"is skipped: it is not in {store}")
    assert " is skipped: it has 0 bytes instead of " in second


def test_the_files_of_two_studies_are_not_mixed_up(
    killed: Killed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Swapped in the store; and noted with the wrong trial, as in a study that was copied badly."""
    other = Killed(tmp_path / "other", more=f"{ALWAYS}[artifacts]\nkeep = 0\n")
    store = killed.copy(tmp_path)
    shutil.copy(other.study.store / other.newest, store / killed.newest)
    shutil.copy(other.study.store / other.before, store / killed.before)
    assert killed.resumes_at(store) is None
    assert caplog.text.count(" is skipped: ") == 2

    caplog.clear()
    stored = killed.study.trials[0].user_attrs[attributes.CHECKPOINTS]
    number = other.trial.number
    other.trial.set_user_attr(attributes.CHECKPOINTS, stored)
    other.study.study.tell(number, state=TrialState.FAIL)
    other.study.study.enqueue_trial({}, user_attrs={attributes.RETRY_OF: number})
    other.trial = other.study.start()
    assert other.resumes_at(killed.study.store) is None
    assert caplog.text.count("it belongs to another trial: 0") == 2


def test_damage_between_all_attempts_changes_no_result(tmp_path: Path) -> None:
    """Killed after each epoch; the newest state is cut short, emptied, removed or exchanged."""
    study, other, chance = Study(tmp_path), Study(tmp_path / "other"), random.Random(7)
    other.end_at(9, "SIGKILL")
    assert other.run() == -9
    foreign = (other.store / checkpoints(other.trials[0])[0].name).read_bytes()
    for epoch in range(1, 19):
        study.end_at(epoch, "SIGKILL")
        assert study.run() == -9, study.log.read_text()
        newest, before = checkpoints(study.trials[-1])[:2]
        file = study.store / newest.name
        content = file.read_bytes()
        match epoch % 4:
            case 0:
                file.write_bytes(foreign)
            case 1:
                file.write_bytes(content[: chance.randrange(len(content))])
            case 2:
                file.write_bytes(b"") if epoch % 8 == 2 else file.unlink()
            case 3:
                shutil.copy(study.store / before.name, file)
    assert study.run() == 0, study.log.read_text()
    last = study.trials[-1]
    assert last.value == undisturbed(last.params["x"])
    assert study.states() == {"COMPLETE": 1, "FAIL": 18}
    assert [each.user_attrs.get(attributes.RESUMED_AT) for each in study.trials[1:]] == [
        *range(1, 19)
    ]
    assert study.log.read_text().count(" is skipped: ") >= 18


# Killed in its second repeat, once
SECOND = """

once = train

def train(trial, context):
    mark = Path(__file__).with_name("second")
    if context.repeat == 1 and not mark.exists():
        mark.touch()
        mark.with_name("at-5").write_text("SIGKILL")
    return once(trial, context) + context.repeat
"""


@pytest.mark.parametrize("pruner", ["NopPruner", "WilcoxonPruner"])
def test_a_trial_of_two_repeats_goes_on_in_the_second(tmp_path: Path, pruner: str) -> None:
    more = f'{ALWAYS}[pruner]\nname = "{pruner}"\n'
    study = Study(tmp_path, EPOCHS + SECOND, budget="trials = 1\nrepeats = 2", more=more)
    assert study.run() == -9
    assert study.run() == 0, study.log.read_text()
    trial = study.trials[1]
    value = undisturbed(trial.params["x"])
    assert trial.user_attrs[attributes.REPEAT_VALUES] == [value, value + 1]
    assert trial.value == value + 0.5
    epochs = [epoch for number, epoch in study.epochs() if number == 1]
    assert epochs == list(range(6, 20))  # of the second repeat
    steps = 2 if pruner == "WilcoxonPruner" else 20
    assert list(trial.intermediate_values) == list(range(steps))


def test_the_model_of_an_earlier_repeat_is_saved_with_the_state(tmp_path: Path) -> None:
    done = repeats._Done()

    def keep(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "weights").write_bytes(b"\x00\xff")

    done.add(0.5, keep, maximize=True)
    done.add(0.4, None, maximize=True)
    packed = done.packed()
    assert packed == {
        "values": [[0.5], [0.4]],
        "kept": [0.5],
        "files": {"inner/weights": b"\x00\xff"},
    }
    repeats._write_files(packed["files"], tmp_path)
    assert (tmp_path / "inner" / "weights").read_bytes() == b"\x00\xff"


def test_a_signal_waits_for_the_next_save_and_no_longer(tmp_path: Path) -> None:
    """An objective that saves is not broken off before it can; one that stops saving is."""
    source = """
    import os, signal, time
    from pathlib import Path

    def train(trial, context):
        folder = Path(__file__).parent
        context.save({"value": 0})
        os.kill(os.getpid(), signal.SIGTERM)
        if trial.number == 0:
            (folder / "reached").touch()
            context.save({"value": 1})
            (folder / "later").touch()
        while True:
            time.sleep(0.01)
    """
    study = Study(tmp_path, source)
    assert study.run() == 143
    assert (study.job / "reached").exists()
    assert not (study.job / "later").exists()  # it ends with the save
    (newest, *_) = checkpoints(study.trials[0])
    with (study.store / newest.name).open("rb") as file:
        assert checkpoint_file.read(file)[0]["objective"] == {"value": 1}
    assert study.run() == 143  # after `signals.SAVE_WAIT`
    assert study.states() == {"FAIL": 2, "WAITING": 1}


def test_a_store_that_cannot_be_written_to_stops_no_training(tmp_path: Path) -> None:
    study = Study(tmp_path, more=f"{ALWAYS}[artifacts]\nkeep = 0\n")
    study.store.write_text("not a folder")
    assert study.run() == 0
    assert study.states() == {"COMPLETE": 1}
    assert "trial 0: its state was not saved: artifacts: " in study.log.read_text()


@pytest.mark.parametrize("every", ['"off"', "0", '"0s"'])
def test_what_is_switched_off_writes_nothing(tmp_path: Path, every: str) -> None:
    study = Study(tmp_path, more=f"[checkpoint]\nevery = {every}\n")
    study.end_at(6, "SIGKILL")
    assert study.run() == -9
    assert study.run() == 0
    assert study.objects() == set()
    assert [epoch for number, epoch in study.epochs() if number == 1] == list(range(20))


def test_what_cannot_be_saved_is_an_error_of_the_trial(tmp_path: Path) -> None:
    source = "def train(trial, context):\n    context.save({'model': object()})\n    return 1\n"
    study = Study(tmp_path, source, budget="trials = 1\nfailures = 1")
    assert study.run() == 99
    error = study.trials[0].user_attrs[attributes.ERROR]
    assert error.startswith("TypeError: state['objective']['model'] cannot be saved: builtins.obj")
    assert study.objects() == {study.trials[0].user_attrs[attributes.LOG]}  # of its traceback


def test_a_state_that_could_not_be_removed_stays_named_and_is_removed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a worker is killed just before it removes it: `hpo-job gc` finds it by its name."""
    study = Study(tmp_path)
    mine = Checkpoints(study.study, study.storage, study.start(), str(study.store))

    def save() -> None:
        with mine.pack({"objective": {}, "timings": {}}) as file:
            mine.upload(file, 1.0)

    def refuse(store: FolderStore, name: str) -> None:
        raise OSError("away")

    with monkeypatch.context() as patch:
        patch.setattr(FolderStore, "remove", refuse)
        for _ in range(4):
            save()
    assert len(study.objects()) == 4
    assert study.objects() <= {*object_names(study.trials[0])}
    save()
    assert len(study.objects()) == 2


def test_an_attempt_that_ended_before_it_trained_neither_began_anew_nor_lost_what_is_saved(
    tmp_path: Path,
) -> None:
    study = Study(tmp_path)

    def attempt() -> Checkpoints:
        return Checkpoints(study.study, study.storage, study.start(), str(study.store))

    def lose() -> None:
        running = study.trials[-1].number
        study.study.tell(running, state=TrialState.FAIL)
        study.study.enqueue_trial({}, user_attrs={attributes.RETRY_OF: running})

    first = attempt()
    with first.pack({"objective": {}, "timings": {}, "notes": {}}) as file:
        first.upload(file, 0.001)
    lose()
    attempt()  # killed while it loads its data
    lose()
    third = attempt()
    assert third.load(lambda _: None) is not None
    third.resumed(1)
    facts = continued(study.study)
    assert (facts.resumed, facts.restarted) == (1, 0)
    assert facts.lost == pytest.approx(sum(map(work, study.trials[:2])) - 0.001)
    lose()
    fourth = attempt()
    assert fourth.load(lambda _: "it does not fit") is None
    facts = continued(study.study)
    assert (facts.resumed, facts.restarted) == (1, 1)


def test_a_lost_worker_takes_nothing_from_the_one_that_goes_on(tmp_path: Path) -> None:
    """Its trial is declared lost while it trains: its next save is refused, and ends it."""
    study = Study(tmp_path)
    first = study.start()
    mine = Checkpoints(study.study, study.storage, first, str(study.store))
    tree = {"objective": {"epoch": 1}, "timings": {}}
    with mine.pack(tree) as file:
        mine.upload(file, 1.0)
    first.set_user_attr(attributes.REASON, attributes.LOST)
    study.study.tell(first.number, state=TrialState.FAIL)
    second = study.start()
    theirs = Checkpoints(study.study, study.storage, second, str(study.store))
    before = study.objects()
    with mine.pack(tree) as file, pytest.raises(UpdateFinishedTrialError):
        mine.upload(file, 2.0)
    assert study.objects() == before
    assert theirs.load(lambda _: None) is not None
