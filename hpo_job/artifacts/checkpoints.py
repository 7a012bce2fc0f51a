"""The saved states of a trial, in the study's artifact store: written, switched, found again.

A state is written under a new name. Then the trial's attribute `attributes.CHECKPOINTS` is set,
which names the newest complete one and the one before, with their sizes and checksums; the database
makes that switch atomic. What is older is removed after it.

Guaranteed, whenever a worker dies:

- A state that is loaded is one that was written as a whole by an attempt at the same parameters in
  this study. A damaged, missing or foreign one is skipped for the one before, with a log line.
- A worker whose trial was declared lost can no longer switch, so it takes nothing from the worker
  that runs the parameters again.
- Every object in the store is named by its trial from before it is written until the study is
  deleted, so `hpo_job.artifacts.garbage` finds what was left.

Not guaranteed: a worker that dies between a trial's end and the removal leaves its objects.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from hpo_job.artifacts.stores import is_missing, open_store, reason, remove
from hpo_job.errors import SpecError
from hpo_job.storage.database import Storage
from hpo_job.study.attempts import (
    KEPT,
    Checkpoint,
    checkpoints,
    checkpoints_attribute,
    earlier,
    object_names,
    work_before,
)
from hpo_job.study.recovery import trial_id
from hpo_job.trial import attributes, checkpoint_file
from hpo_job.trial.checkpoint_file import DamagedError, State

if TYPE_CHECKING:
    from hpo_job.artifacts.stores import Store

PRUNERS_NOTES = "completed_rung"  # in names of system attributes: successive halving keeps them
CHUNK = 2**20  # bytes
log = logging.getLogger(__name__)


class Checkpoints:
    """The saved states of one running trial, and of the attempts before it.

    Args:
        study: the study.
        storage: its storage.
        trial: the running trial.
        url: of the store; it is opened when it is first needed.
    """

    def __init__(self, study: optuna.Study, storage: Storage, trial: optuna.Trial, url: str):
        self._study, self._storage, self._trial, self._url = study, storage, trial, url
        self.number = trial.number
        self._id = trial_id(study, trial.number, storage)
        self._earlier: list[FrozenTrial] = []
        if attributes.RETRY_OF in trial.user_attrs:
            trials = study.get_trials(deepcopy=False)
            self._earlier = earlier(trials[trial.number], trials)
        self._counted = False  # whether the trial says how much work was lost before it
        if not any(map(checkpoints, self._earlier)):
            self._begin_anew()
        self._of_earlier = [name for attempt in self._earlier for name in object_names(attempt)]
        self._own: list[Checkpoint] = []
        self._old: list[str] = []  # the names of those to be removed
        self._upcoming = str(uuid4())  # the name under which the next one is written
        self._announced = False  # whether the database has these names
        self._continued: tuple[FrozenTrial, Checkpoint, dict[str, Any]] | None = None
        self._content = ""  # the digest of what it holds, until training has moved on
        self._loaded: dict[str, State | str] = {}  # by name: a state, or why it is skipped
        self._opened: Store | None = None

    @property
    def was_preempted(self) -> bool:
        """Whether a worker was killed, or asked to stop, in an earlier attempt."""
        killed = (attributes.LOST, attributes.PREEMPTED)
        return any(each.user_attrs.get(attributes.REASON) in killed for each in self._earlier)

    def load(self, misfit: Callable[[State], str | None]) -> State | None:
        """The newest state of an earlier attempt that is complete, and that fits.

        Args:
            misfit: why a state does not fit; None if it does.
        """
        for attempt in self._earlier:
            for checkpoint in checkpoints(attempt):
                state = self._load(attempt, checkpoint)
                problem = state if isinstance(state, str) else misfit(state)
                if problem is None:
                    assert not isinstance(state, str)
                    self._continued = (attempt, checkpoint, state["notes"])
                    self._content = _content(state)
                    return state
                log.warning(
                    "trial %d: a checkpoint of trial %d is skipped: %s",
                    self._trial.number,
                    attempt.number,
                    problem,
                )
        self._begin_anew()
        return None

    def resumed(self, steps: int) -> None:
        """Store with the trial which checkpoint it continues: the one that was loaded last."""
        assert self._continued is not None
        attempt, checkpoint, notes = self._continued
        trial, lost = self._trial, work_before(self._earlier) - checkpoint.seconds
        self._counted = True
        for name, value in {
            attributes.SAVED_SECONDS: checkpoint.seconds,
            attributes.LOST_SECONDS: max(lost, 0.0),
            attributes.RESUMED_AT: steps,
            attributes.RESUMED_FROM: attempt.number,
        }.items():
            trial.set_user_attr(name, value)
        for name, value in notes.items():
            self._storage.optuna.set_trial_system_attr(self._id, name, value)
        log.info(
            "trial %d continues trial %d after step %d (%.0f s of work saved, %.0f s lost)",
            trial.number,
            attempt.number,
            steps,
            checkpoint.seconds,
            max(lost, 0.0),
        )

    def pack(self, tree: State) -> IO[bytes]:
        """``tree`` as a temporary file; nothing of it is shared with training any more.

        Raises:
            TypeError: it holds something that cannot be saved.
        """
        self._loaded.clear()  # so that no state is held longer than it is needed
        self._begin_anew()  # unless it continues another
        if not self._announced:
            self._note()
        stored = self._storage.optuna.get_trial(self._id)
        notes = {k: v for k, v in stored.system_attrs.items() if PRUNERS_NOTES in k}
        record = {"name": self._upcoming, **self._belongs_to(self._trial.number, stored.params)}
        file: IO[bytes] = TemporaryFile()  # noqa: SIM115  # the caller closes it
        try:
            checkpoint_file.write(file, {**tree, "notes": notes}, record)
        except BaseException:
            file.close()
            raise
        if self._content and _content(tree) != self._content:
            self._content = ""
        return file

    def upload(self, file: IO[bytes], seconds: float) -> None:
        """Write a packed state into the store, switch to it, and remove what is older.

        Args:
            file: what `pack` returned.
            seconds: of work that the state holds. If it holds what was continued and nothing more,
                it has that one's: repeating what killed a worker is no progress.

        Raises:
            UpdateFinishedTrialError: the trial was declared lost meanwhile.
            Exception: the store's client's; nothing has changed then.
        """
        name, store = self._upcoming, self._store()
        size, digest = _measured(file)
        if self._content and self._continued:
            seconds = self._continued[1].seconds
        file.seek(0)
        store.write(name, file)  # type: ignore[arg-type]
        states = [Checkpoint(name, size, digest, seconds), *self._own]
        self._own = states[:KEPT]
        self._old = [*self._old, *(each.name for each in states[KEPT:])]
        self._upcoming, self._announced = str(uuid4()), False
        try:
            self._note()
        except UpdateFinishedTrialError:
            remove(store, name, "checkpoint")
            raise
        # What cannot be removed now is tried again after the next one
        self._old = [each for each in self._old if not remove(store, each, "checkpoint")]
        for each in self._superseded():
            remove(store, each, "checkpoint")

    def keep_newest(self) -> None:
        """Remove all states of the trial and of the attempts before it but the newest."""
        if self._own:
            old = [*(each.name for each in self._own[1:]), *self._old, *self._of_earlier]
            for name in old:
                remove(self._store(), name, "checkpoint")

    def remove(self) -> None:
        """Remove all states of the trial and of the attempts before it: nobody continues them."""
        names = [*(each.name for each in self._own), *self._old, *self._of_earlier]
        if self._announced:
            names.append(self._upcoming)
        remove_all(self._url, names)

    def _store(self) -> Store:
        self._opened = self._opened or open_store(self._url)
        return self._opened

    def _begin_anew(self) -> None:
        """Store with the trial that it continues nothing, so that all work before it is lost."""
        if self._earlier and not self._counted:
            self._counted = True
            self._trial.set_user_attr(attributes.LOST_SECONDS, work_before(self._earlier))

    def _note(self) -> None:
        value = checkpoints_attribute(self._own, self._upcoming, self._old)
        self._trial.set_user_attr(attributes.CHECKPOINTS, value)
        self._storage.flush()  # before an object of that name is written, or an older one removed
        self._announced = True

    def _superseded(self) -> list[str]:
        """The states of earlier attempts that are not among the newest `KEPT` any more."""
        continued = self._continued[1].name if self._continued else None
        still = [n for n in self._of_earlier if n == continued and len(self._own) < KEPT]
        old = [name for name in self._of_earlier if name not in still]
        self._of_earlier = still
        return old

    def _belongs_to(self, number: int, params: dict[str, Any]) -> dict[str, Any]:
        origin = self._study.user_attrs.get(attributes.PROVENANCE) or {}
        return {
            "study": self._study.study_name,
            "trial": number,
            "params": params,
            "function": origin.get("objective_sha256"),
        }

    def _load(self, attempt: FrozenTrial, checkpoint: Checkpoint) -> State | str:
        """The state of a checkpoint, or why there is none."""
        if checkpoint.name not in self._loaded:
            try:
                self._loaded[checkpoint.name] = self._read(attempt, checkpoint)
            except DamagedError as error:
                self._loaded[checkpoint.name] = str(error)
            except Exception as error:  # every store's client has its own
                missing = f"it is not in {self._url}" if is_missing(error) else reason(error)
                self._loaded[checkpoint.name] = missing
        return self._loaded[checkpoint.name]

    def _read(self, attempt: FrozenTrial, checkpoint: Checkpoint) -> State:
        with TemporaryFile() as file:
            with self._store().open_reader(checkpoint.name) as stored:
                while part := stored.read(CHUNK):
                    file.write(part)
            size, digest = _measured(file)
            if size != checkpoint.size:
                raise DamagedError(f"it has {size} bytes instead of {checkpoint.size}")
            if digest != checkpoint.sha256:
                raise DamagedError("its contents are not what was saved")
            file.seek(0)
            state, record = checkpoint_file.read(file)
        params = {name: attempt.params.get(name) for name in record["params"]}
        for key, value in self._belongs_to(attempt.number, params).items():
            if record[key] != value:
                raise DamagedError(f"it belongs to another {key}: {record[key]}")
        return state


def remove_all(url: str, names: Sequence[str]) -> None:
    """Remove these checkpoints from the store at ``url``; what goes wrong is logged."""
    if not names:
        return
    try:
        store = open_store(url)
    except SpecError as error:
        log.warning("%s", error)
        return
    for name in names:
        remove(store, name, "checkpoint")


def _content(tree: State) -> str:
    """A checksum of where training is, whenever it is saved."""
    return checkpoint_file.digest([tree.get(name) for name in ("repeat", "objective", "values")])


def _measured(file: IO[bytes]) -> tuple[int, str]:
    """The size in bytes of a file, and its checksum."""
    file.seek(0)
    digest = hashlib.sha256()
    while part := file.read(CHUNK):
        digest.update(part)
    return file.tell(), digest.hexdigest()
