"""What ``run`` shows: a line for each trial that ends, and below them how far the study is."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Collection
from types import TracebackType

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from hpo_job import results
from hpo_job.errors import plural
from hpo_job.results.ending import without_improvement
from hpo_job.results.forecast import forecast
from hpo_job.trial import attributes
from hpo_job.trial.counting import takes_place
from hpo_job.trial.phases import step_text

BAR = 20  # cells of the bar


class Progress:
    """The progress of a study whose workers are other processes.

    Nothing but a terminal gets the lines that change: a file gets what is printed for good.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._printed: set[int] = set()
        self._earlier = 0  # trials that had ended before this run
        self._study: optuna.Study | None = None
        self._stopping: Callable[[], bool] = lambda: False

    def __enter__(self) -> Progress:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        """Show what is being done now."""
        self._update(_line(text))

    def follow(
        self,
        study: optuna.Study,
        workers: int,
        stopping: Callable[[], bool],
        earlier: Collection[int] | None = None,
    ) -> None:
        """Print the heading, and show this study from now on.

        Args:
            study: what to show.
            workers: how many are started.
            stopping: whether they were asked to stop.
            earlier: the trials that had ended before this run; None if it is not known, so that
                those count that have ended by now.
        """
        self._study, self._stopping = study, stopping
        trials = study.get_trials(deepcopy=False)
        if earlier is None:
            earlier = [trial.number for trial in trials if trial.state.is_finished()]
        self._printed = set(earlier)
        self._earlier = len(self._printed)
        for line in self._heading(study, workers):
            self._console.print(line, markup=False)
        self.say(f"starting {plural(workers, 'worker')}")

    def look(self) -> None:
        """Print the trials that ended since the last look, and update what is shown."""
        assert self._study is not None
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._printed:
                self._printed.add(trial.number)
                self._print(trial)
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        lines = [_line(self._so_far(self._study, trials))]
        if self._stopping():
            lines.append(_line("ending the trials that run; the same command goes on with them"))
        elif running:
            each = (f"#{trial.number} {step_text(trial)}" for trial in running)
            lines.append(_line(f"running {', '.join(each)}"))
        elif results.finished(self._study):
            lines.append(_line("workers are ending"))
        else:
            new = len(self._printed) > self._earlier
            lines.append(_line("the next trials are starting" if new else "workers are starting"))
        self._update(Group(*lines))

    def _update(self, picture: RenderableType) -> None:
        if self._console.is_terminal:
            self._live.update(picture, refresh=True)

    def _heading(self, study: optuna.Study, workers: int) -> list[str]:
        bound = study.user_attrs[attributes.SPEC]["budget"].get("trials")
        trials = plural(bound, "trial") if bound else "any number of trials"
        known = [each for each in results.baselines(study) if each is not None]
        baseline = f", baseline {', '.join(map(results.number, known))}" if known else ""
        metric = results.metric_name(study)
        trials_before = (study.get_trials(deepcopy=False)[number] for number in self._printed)
        earlier = sum(map(takes_place, trials_before))
        done = f" ({earlier} done before)" if earlier else ""
        return [
            f"{study.study_name}: {trials}{done}, {plural(workers, 'worker')}; {metric}{baseline}",
            f"{'trial':>6}  {'state':<8}  {metric[:8]:>8}  {'time':>6}  parameters",
        ]

    def _so_far(self, study: optuna.Study, trials: list[FrozenTrial]) -> str:
        """A bar, and next to it trials, best value and expected end."""
        bound = study.user_attrs[attributes.SPEC]["budget"].get("trials")
        done = sum(map(takes_place, trials))
        parts = [f"{done} of {plural(bound, 'trial')}" if bound else plural(done, "trial")]
        since = without_improvement(study, trials)
        if since is not None:
            patience = study.user_attrs[attributes.SPEC]["budget"]["patience"]
            parts.append(f"{since} of {patience} without improvement")
        if leading := results.leading(study, 1):
            best = leading[0]
            values = " ".join(map(results.number, best.values or ()))
            parts.append(f"best #{best.number} {values}")
        expected = forecast(study)
        if expected.left is not None:
            parts.append(f"ends about {expected.end:%H:%M} (in {results.clock(expected.left)})")
        filled = BAR * min(done, bound) // bound if bound else 0
        bar = f"{'━' * filled}{'╌' * (BAR - filled)}  " if bound else ""
        return f"{bar}{', '.join(parts)}"

    def _print(self, trial: FrozenTrial) -> None:
        number, state, value, time, rest = results.row(trial)
        line = f"{number:>6}  {state:<8}  {value:>8}  {time:>6}  {rest}"
        width = shutil.get_terminal_size().columns if self._console.is_terminal else None
        text = line if width is None or len(line) <= width else line[: width - 1] + "…"
        self._console.print(text, markup=False, soft_wrap=True)


def summary(
    study: optuna.Study, program: str, place: str | None = "", *, interrupted: bool = False
) -> list[str]:
    """How far the study is, and the commands that print more.

    Args:
        study: the study.
        program: as the user types it.
        place: the options that lead to the study's database; None if they cannot be printed.
        interrupted: whether the run that ends here goes on with the same command.
    """
    name = shlex.quote(study.study_name) + (place or "")
    again = ["interrupted: the same command goes on", ""] if interrupted else []
    best = f"  {program} best {name}       the best parameters, to paste"
    trials = study.get_trials(deepcopy=False)
    failed = [trial.number for trial in trials if trial.state == TrialState.FAIL]
    if failed and not results.leading(study, 1):  # there is no best trial to print
        best = f"  {program} logs {name} --trial {failed[-1]}    why that trial failed"
    return [
        "",
        *again,
        *results.overview(study),
        "",
        "look further" if place is not None else "look further, with the same --storage",
        f"  {program} results {name}    every trial",
        best,
        f"  {program} status {name}     how far the study is",
    ]


def _line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")
