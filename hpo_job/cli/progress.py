"""What ``run`` prints: a line for each trial that ends, and a status line of what runs now."""

from __future__ import annotations

import shutil
from types import TracebackType

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.text import Text

from hpo_job import results
from hpo_job.trial import attributes


class Progress:
    """The progress of a study whose workers are other processes."""

    def __init__(self, study: optuna.Study, workers: int) -> None:
        self._study = study
        self._workers = workers
        self._console = Console(highlight=False)
        self._status = self._console.status("")
        self._printed = {
            trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()
        }

    def __enter__(self) -> Progress:
        for line in self._heading():
            self._console.print(line, markup=False)
        self._status.start()
        self.look()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._status.stop()

    def look(self) -> None:
        """Print the trials that ended since the last look, and update the status line."""
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._printed:
                self._printed.add(trial.number)
                self._print(trial)
        self._status.update(Text(self._now(trials), no_wrap=True, overflow="ellipsis"))

    def summary(self, program: str) -> list[str]:
        """How the study ended, and the commands that print more."""
        name = self._study.study_name
        return [
            "",
            *results.overview(self._study),
            "",
            "look further",
            f"  {program} results {name}    every trial",
            f"  {program} best {name}       the best parameters, to paste",
            f"  {program} status {name}     how far the study is",
        ]

    def _heading(self) -> list[str]:
        bound = self._study.user_attrs[attributes.SPEC]["budget"].get("trials", "any number of")
        known = [each for each in results.baselines(self._study) if each is not None]
        baseline = f", baseline {', '.join(map(results.number, known))}" if known else ""
        metric = results.metric_name(self._study)
        workers = f"{self._workers} worker{'s' if self._workers > 1 else ''}"
        return [
            f"{self._study.study_name}: {bound} trials, {workers}; {metric}{baseline}",
            f"{'trial':>6}  {'state':<8}  {metric[:8]:>8}  {'time':>6}  parameters",
        ]

    def _print(self, trial: FrozenTrial) -> None:
        number, state, value, time, rest = results.row(trial)
        line = f"{number:>6}  {state:<8}  {value:>8}  {time:>6}  {rest}"
        width = shutil.get_terminal_size().columns if self._console.is_terminal else None
        text = line if width is None or len(line) <= width else line[: width - 1] + "…"
        self._console.print(text, markup=False, soft_wrap=True)

    def _now(self, trials: list[FrozenTrial]) -> str:
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        if not running:
            return "workers are starting"
        each = ", ".join(f"#{t.number} step {len(t.intermediate_values)}" for t in running)
        return f"running {each}"
