"""``status --cluster``: a study's Job, trials and pods as one view, once or kept up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from typing import Self

import optuna
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from hpo_job.cluster import view
from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.database import reachable
from hpo_job.cluster.names import study_of
from hpo_job.cluster.pods import PODS_A_SECOND, is_over, is_suspended
from hpo_job.cluster.refusals import DeniedError
from hpo_job.errors import ClusterError, HpoJobError
from hpo_job.results.forecast import forecast_lines
from hpo_job.storage.database import STORAGE_ERRORS, Storage
from hpo_job.storage.defaults import PROMPT
from hpo_job.study.joining import load

INTERVAL = 3.0  # seconds between two views

Overview = Callable[[optuna.Study], list[str]]


def show(job: str, cluster: Cluster, overview: Overview, *, watch: bool) -> None:
    """Print the view of a study; with ``watch``, again and again until its Job is over."""
    console = Console(highlight=False)
    with View(job, cluster, overview, once=not watch) as current:
        picture, over = current.draw()
        if not watch:
            console.print(picture)
            return
        with Live(picture, console=console, auto_refresh=False) as live:
            while not over:
                time.sleep(max(INTERVAL, current.workers / PODS_A_SECOND))
                picture, over = _draw_or_say_why_not(current)
                live.update(picture, refresh=True)


class View:
    """A study on a cluster, as something to print; opens its database when it is first drawn.

    Args:
        job: the study, or its job folder.
        cluster: where it is.
        overview: the lines about a study.
        once: whether it is drawn only once.

    Attributes:
        workers: how many pods its Job asked for when it was last drawn.
    """

    def __init__(self, job: str, cluster: Cluster, overview: Overview, *, once: bool) -> None:
        self._job = job
        self._name = study_of(job)
        self._cluster = cluster
        self._overview = overview
        self._opened = ExitStack()
        self._once = once
        self.workers = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def draw(self) -> tuple[RenderableType, bool]:
        """The view now, and whether the Job is over."""
        line, job = view.job_line(self._cluster, self._name)
        self.workers = int(job["spec"].get("parallelism", 1)) if job else 0
        text, running = self._study(job)
        parts: list[RenderableType] = [Text(line), *map(Text, text)]
        if job is not None:  # the pods last: a screen may be too low for many of them
            parts += [Text(""), view.pods(self._cluster, job, running)]
        return Group(*parts), is_over(job)

    def _study(self, job: Object | None) -> tuple[list[str], dict[int, str]]:
        """Lines about the study, or why it cannot be read; and what runs at each index."""
        try:
            study = load(self._name, self._storage)
            lines = [f"study     {self._name}", *self._overview(study)]
            if not is_over(job) and not is_suspended(job):  # nothing goes on as it did otherwise
                lines += forecast_lines(study)
            return lines, view.running(study, job)
        except (HpoJobError, *STORAGE_ERRORS) as error:
            return [f"study     {' '.join(str(error).split())}"], {}

    # A cached property that raises is tried again by the next view.

    @cached_property
    def _storage(self) -> Storage:
        return Storage(self._url, patience=PROMPT, read_only=True, once=self._once)

    @cached_property
    def _url(self) -> str:
        database = reachable(self._cluster, study=self._job, at_once=self._once)
        return self._opened.enter_context(database)


def _draw_or_say_why_not(current: View) -> tuple[RenderableType, bool]:
    """The view now; a network that is away for a moment is named, and does not end the watch."""
    try:
        return current.draw()
    except DeniedError:
        raise
    except ClusterError as error:
        return Text(f"{error}; trying again"), False
