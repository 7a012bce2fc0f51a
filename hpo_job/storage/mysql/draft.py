"""A trial that this process runs: known in full without reading, its writes gathered."""

import json
import time
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo_job.storage.mysql import rows, tables
from hpo_job.storage.mysql.optuna_private import trial_id_of
from hpo_job.trial.clock import later


class Draft:
    """What this process has told about its RUNNING trial, written or still to be written.

    Args:
        trial: the trial as it was started; its contents are copied.
        study_id: the study that it belongs to.
    """

    def __init__(self, trial: FrozenTrial, study_id: int) -> None:
        self.trial_id = trial_id_of(trial)
        self.study_id = study_id
        self.pending: dict[int, dict[str, rows.Row]] = {}
        self.last_beat = self._begun = time.monotonic()
        self._trial = trial
        self._snapshot: FrozenTrial | None = None

    def set_param(self, name: str, internal: float, distribution: BaseDistribution) -> None:
        """Note a parameter; it is written with the next flush."""
        self._own()
        self._trial.params[name] = distribution.to_external_repr(internal)
        self._trial.distributions[name] = distribution
        row = rows.param_row(name, internal, distribution)
        self.pending.setdefault(tables.PARAM, {})[name] = row

    def set_attr(self, kind: int, key: str, value: Any) -> None:
        """Note a user or system attribute; it is written with the next flush."""
        row = rows.attr_row(key, value)  # first, as it refuses what JSON cannot hold
        self._own()
        attrs = self._trial.user_attrs if kind == tables.USER else self._trial.system_attrs
        attrs[key] = json.loads(row[1])
        self.pending.setdefault(kind, {})[key] = row

    def set_report(self, step: int, value: float) -> None:
        """Note a report that has been written."""
        self._own()
        self._trial.intermediate_values[step] = float(value)

    def written(self, kind: int, names: Sequence[str]) -> None:
        """Forget pending rows that have reached the server."""
        for name in names:
            self.pending[kind].pop(name, None)
        if not self.pending[kind]:
            del self.pending[kind]

    def beat_is_due(self, every: float) -> bool:
        """Whether the last heartbeat, or the trial's start, is `every` seconds ago."""
        return time.monotonic() - self.last_beat >= every

    def beat(self) -> None:
        """A heartbeat has been written."""
        self.last_beat = time.monotonic()

    def snapshot(self) -> FrozenTrial:
        """The trial as it is now; what was handed out never changes."""
        if self._snapshot is None:
            self._snapshot = self._trial
        return self._snapshot

    def finished(self, state: TrialState, values: Sequence[float] | None) -> FrozenTrial:
        """The trial as it ends. Its end is told by the server's clock, this one's ticks added."""
        self._own()
        trial = self._trial
        trial.state = state
        trial.values = list(values) if values is not None else None
        assert trial.datetime_start is not None  # it runs, and here
        trial.datetime_complete = later(trial.datetime_start, time.monotonic() - self._begun)
        return self.snapshot()

    def _own(self) -> None:
        """Copy what was handed out, before it is changed."""
        if self._snapshot is not None:
            self._trial = copy_of(self._snapshot)
            self._snapshot = None


def copy_of(trial: FrozenTrial) -> FrozenTrial:
    """A trial with containers of its own; the values in them are shared."""
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
