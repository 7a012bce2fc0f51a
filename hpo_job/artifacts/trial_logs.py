"""The logs of trials in the study's artifact store: one object each, named by its trial.

The name is stored with the trial before the object is written, so that whatever a killed worker
leaves is read, counted and deleted with the study.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING
from uuid import uuid4

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from hpo_job.artifacts.stored import store_of
from hpo_job.artifacts.stores import is_missing, open_store, reason
from hpo_job.errors import SpecError, StudyError
from hpo_job.spec.study_toml import is_url
from hpo_job.storage.database import Storage
from hpo_job.trial import attributes

if TYPE_CHECKING:
    from hpo_job.artifacts.stores import Store

IN_FOLDER, IN_BUCKET = 0.5, 5.0  # seconds between two writes of a growing log
log = logging.getLogger(__name__)


class TrialLogs:
    """Where one worker writes the logs of its trials.

    Attributes:
        pause: seconds between two writes of a growing log.

    Args:
        storage: of the study.
        url: of the artifact store.
    """

    def __init__(self, storage: Storage, url: str) -> None:
        self._storage, self._url = storage, url
        self._store: Store | None = None
        self._failed = False
        self.pause = IN_BUCKET if is_url(url) and not url.startswith("file:") else IN_FOLDER

    def of(self, trial: optuna.Trial) -> Callable[[str], None] | None:
        """What writes the log of ``trial``, each time all of it; None where none can be kept."""
        if self._failed:
            return None
        name: str | None = None

        def write(text: str) -> None:
            nonlocal name
            if self._failed:
                return
            try:
                self._store = self._store or open_store(self._url)
                if name is None:
                    new = str(uuid4())
                    trial.set_user_attr(attributes.LOG, new)
                    self._storage.flush()
                    name = new  # only now: no object is written that no trial names
                self._store.write(name, BytesIO(text.encode("utf-8", "replace")))
            except UpdateFinishedTrialError:
                pass  # it was declared lost meanwhile
            except SpecError as error:
                self._give_up(str(error))
            except Exception as error:  # every store's client, and every database, has its own
                self._give_up(f"{self._url}: {reason(error)}")

        return write

    def _give_up(self, problem: str) -> None:
        if not self._failed:
            self._failed = True
            log.warning("the logs of trials are not kept: %s", problem)


def read_log(study: optuna.Study, trial: FrozenTrial, artifacts: str) -> str:
    """The log of a trial.

    Args:
        study: any study.
        trial: of it.
        artifacts: where models and logs are kept, unless the study names a place.

    Raises:
        StudyError: it has none, or that is not reachable from here.
        SpecError: the store cannot be opened.
    """
    which = f"study {study.study_name!r}: trial {trial.number}"
    name = trial.user_attrs.get(attributes.LOG)
    if not name:
        raise StudyError(f"{which} has no log: it wrote nothing, or has not begun")
    store = store_of(study, artifacts)
    assert store is not None  # since the trial names an object in it
    try:
        with store.open_reader(name) as stored:
            return str(stored.read().decode("utf-8", "replace"))
    except Exception as error:  # every store's client has its own
        if is_missing(error):
            raise StudyError(
                f"{which}: its log was kept where its worker ran: copy that folder here and name "
                "it with --artifacts, or let study.toml name a bucket as [artifacts] store"
            ) from error
        raise StudyError(f"{which}: its log cannot be fetched: {reason(error)}") from error
