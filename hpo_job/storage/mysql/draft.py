"""A trial that this process runs: it is known without reading, and its writes are buffered."""

import json
import time
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo_job.storage import tables, trial_rows
from hpo_job.storage.optuna_private import trial_id_of
from hpo_job.trial.clock import later


class Draft:
    """A RUNNING trial of this process, with the rows that are still to be written.

    Args:
        trial: the trial as it was started; its contents are copied.
        study_id: the study that it belongs to.
    """

    def __init__(self, trial: FrozenTrial, study_id: int) -> None:
        self.trial_id = trial_id_of(trial)
        self.study_id = study_id
        self.pending: dict[int, dict[str, trial_rows.Row]] = {}
        self.last_beat = self._begun = time.monotonic()
        self._trial = trial
        self._snapshot: FrozenTrial | None = None

    def set_param(self, name: str, internal: float, distribution: BaseDistribution) -> None:
        """Set a parameter; its row is written with the next flush."""
        self._own()
        self._trial.params[name] = distribution.to_external_repr(internal)
        self._trial.distributions[name] = distribution
        row = trial_rows.param_row(name, internal, distribution)
        self.pending.setdefault(tables.PARAM, {})[name] = row

    def set_attr(self, kind: int, key: str, value: Any) -> None:
        """Set a user or system attribute; its row is written with the next flush."""
        row = trial_rows.attr_row(key, value)  # first: it raises for what cannot be stored
        self._own()
        attrs = self._trial.user_attrs if kind == tables.USER else self._trial.system_attrs
        attrs[key] = json.loads(row[1])
        self.pending.setdefault(kind, {})[key] = row

    def set_report(self, step: int, value: float) -> None:
        """Take in a report that has been written."""
        self._own()
        self._trial.intermediate_values[step] = float(value)

    def written(self, kind: int, names: Sequence[str]) -> None:
        """Drop pending rows that have been written."""
        for name in names:
            self.pending[kind].pop(name, None)
        if not self.pending[kind]:
            del self.pending[kind]

    def beat_is_due(self, every: float) -> bool:
        """Whether the last heartbeat, or the trial's start, is at least ``every`` seconds ago."""
        return time.monotonic() - self.last_beat >= every

    def beat(self) -> None:
        """Note that a heartbeat has been written."""
        self.last_beat = time.monotonic()

    def snapshot(self) -> FrozenTrial:
        """The trial as it is now. It never changes: the next write copies the trial first."""
        if self._snapshot is None:
            self._snapshot = self._trial
        return self._snapshot

    def finished(self, state: TrialState, values: Sequence[float] | None) -> FrozenTrial:
        """The trial as it ends.

        Its end is its start by the server's clock, plus the seconds that passed here.
        """
        self._own()
        trial = self._trial
        trial.state = state
        trial.values = list(values) if values is not None else None
        assert trial.datetime_start is not None  # it is RUNNING
        trial.datetime_complete = later(trial.datetime_start, time.monotonic() - self._begun)
        return self.snapshot()

    def _own(self) -> None:
        """Copy the trial if it was handed out, before it is changed."""
        if self._snapshot is not None:
            self._trial = copy_of(self._snapshot)
            self._snapshot = None


def copy_of(trial: FrozenTrial) -> FrozenTrial:
    """A trial with new containers; the values in them are shared with the old one."""
    return FrozenTrial(
        trial_id=trial_id_of(trial),
        number=trial.number,
        state=trial.state,
        value=None,
        values=trial.values,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=dict(trial.params),
        distributions=dict(trial.distributions),
        user_attrs=dict(trial.user_attrs),
        system_attrs=dict(trial.system_attrs),
        intermediate_values=dict(trial.intermediate_values),
    )
