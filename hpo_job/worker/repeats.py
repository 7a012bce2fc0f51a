"""One parameter set on several seeds: its value is their mean, and their spread is kept."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
from optuna.study import StudyDirection

from hpo_job.objectives import Train
from hpo_job.objectives.context import Context
from hpo_job.trial import attributes
from hpo_job.trial.checkpoint_file import State


@dataclass(frozen=True)
class Trained:
    """What the objective returned.

    Attributes:
        value: a number, or one for each objective; with repeats the mean.
        attrs: with repeats the values and their spread, as user attributes.
        keep: writes the model of the best repeat into a folder.
        kept: the value of that repeat.
    """

    value: Any
    attrs: dict[str, Any]
    keep: Callable[[Path], None] | None
    kept: Any


def run(train: Train, context: Context, repeats: int, compared: bool) -> Trained:
    """Call the objective once for each seed: the study's own, and those that follow it.

    Args:
        train: the objective.
        context: what it is called with.
        repeats: how often.
        compared: whether the value of each repeat is reported to the pruner, instead of its
            epochs. If not, the first repeat reports its epochs, and the others are not pruned.
    """
    if repeats == 1:
        value = _once(train, context)
        return Trained(value, {}, context.keep, value)
    maximize = context.trial.study.directions[0] == StudyDirection.MAXIMIZE
    done = _Done()
    context.repeated = done.packed
    begun = done.restore(context)
    for number in range(len(done.values), repeats):
        again = replace(
            context,
            seed=(context.seed + number) % 2**32,
            quiet=compared or number > 0,
            keep=None,
            repeat=number,
            resumable=number == begun,
        )
        done.add(_once(train, again), again.keep, maximize=maximize)
        del again
        gc.collect()
        if compared:
            context.report(done.values[-1][0], last=number == repeats - 1)
    mean, spread = np.mean(done.values, axis=0), np.std(done.values, axis=0)
    one = len(mean) == 1
    attrs = {
        attributes.REPEAT_VALUES: [each[0] for each in done.values] if one else done.values,
        attributes.REPEAT_STD: float(spread[0]) if one else spread.tolist(),
    }
    return Trained(float(mean[0]) if one else tuple(map(float, mean)), attrs, done.keep, done.kept)


class _Done:
    """The repeats of a trial that have ended: their values, and the model of the best."""

    def __init__(self) -> None:
        self.values: list[list[float]] = []
        self.keep: Callable[[Path], None] | None = None
        self.kept: Any = None
        self._files: dict[str, bytes] | None = None  # of the model, once they were written

    def add(self, value: Any, keep: Callable[[Path], None] | None, *, maximize: bool) -> None:
        self.values.append(_numbers(value))
        if self.kept is None or (self.values[-1] > _numbers(self.kept)) == maximize:
            self.keep, self.kept, self._files = keep, value, None

    def packed(self) -> State:
        """All of it, as part of a saved state."""
        if self.keep is not None and self._files is None:
            self._files = _files_of(self.keep)
        kept = None if self.kept is None else _numbers(self.kept)
        return {"values": self.values, "kept": kept, "files": self._files}

    def restore(self, context: Context) -> int:
        """Take over the repeats that an earlier attempt had ended; which one it was in."""
        tree = context.checkpoints.load(lambda _: None) if context.checkpoints else None
        if tree is None or not tree["repeat"]:
            return 0
        context.inherit(tree)
        self.values = tree["repeated"]["values"]
        kept, self._files = tree["repeated"]["kept"], tree["repeated"]["files"]
        self.kept = kept[0] if len(kept) == 1 else kept
        if self._files is not None:
            self.keep = partial(_write_files, self._files)
        return int(tree["repeat"])


def _files_of(keep: Callable[[Path], None]) -> dict[str, bytes]:
    """The files that ``keep`` writes, by their paths."""
    with TemporaryDirectory() as place:
        keep(folder := Path(place))
        return {
            str(file.relative_to(folder)): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }


def _write_files(files: dict[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def _once(train: Train, context: Context) -> Any:
    """Call the objective.

    Raises:
        optuna.TrialPruned: it was pruned, even if it hid that: it went on and returned a value,
            or raised something else.
    """
    try:
        value = train(context.trial, context)
    except Exception as error:
        if context.pruned and not isinstance(error, optuna.TrialPruned):
            raise optuna.TrialPruned from error  # a library may wrap what a callback raises
        raise
    if context.pruned:  # a user's function may catch every exception
        raise optuna.TrialPruned
    return value


def _numbers(value: Any) -> list[float]:
    """The one value, or several, as a list; raises what ``float`` does for anything else."""
    many = isinstance(value, Sequence) and not isinstance(value, str)
    return [float(each) for each in (value if many else [value])]
