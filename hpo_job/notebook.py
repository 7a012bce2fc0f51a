"""A study in a notebook: Optuna's own, with what the commands show as data frames and figures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import plotly.graph_objects as go

from hpo_job import report, results
from hpo_job.errors import StudyError, unknown
from hpo_job.report.kinds import figures_of
from hpo_job.results import comparison
from hpo_job.results.frames import frame
from hpo_job.results.gain import shortfalls
from hpo_job.results.importance import importance
from hpo_job.results.pareto import names_of_values, pareto
from hpo_job.results.query import select
from hpo_job.results.ranking import leaders
from hpo_job.results.timings import timings
from hpo_job.spec.choices import IMPORTANCE_METHODS, PLOT_KINDS
from hpo_job.storage.database import Storage
from hpo_job.storage.defaults import PROMPT
from hpo_job.storage.urls import embedded_url
from hpo_job.study import joining


class Results:
    """The results of a study, read again by each call: it may be running.

    ``study`` is Optuna's Study, for everything that is not here.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.study = study

    def __repr__(self) -> str:
        return "\n".join([self.study.study_name, *results.overview(self.study)])

    def trials(
        self, where: str | None = None, sort: str | None = None, limit: int | None = None
    ) -> pd.DataFrame:
        """The trials as Optuna's ``trials_dataframe``; those asked for, as `results` does."""
        known = names_of_values(self.study)
        return select(frame(self.study), where=where, sort=sort, limit=limit, known=known)

    def best(self, count: int = 1) -> pd.DataFrame:
        """The best trials, best first; of several objectives those of the Pareto front.

        Warns where the best is no better than the baseline.
        """
        self._warn_of_shortfalls()
        numbers = [trial.number for trial in results.leading(self.study, count)]
        return self._rows(numbers)

    def fastest(self, within: float = results.NEARLY) -> pd.DataFrame:
        """The fastest trial that is nearly as good as the best; a row, or none.

        Args:
            within: how much of the best trial's gain over the baseline it may cost, such as 0.05.
        """
        self._warn_of_shortfalls()
        fastest = results.fastest_within(self.study, within)
        return self._rows([fastest.trial.number] if fastest else [])

    def pareto(self, *columns: str) -> pd.DataFrame:
        """The trials that no other beats in all ``columns``: ``"value", "execute_time"``."""
        return pareto(self.study, columns)

    def parameters(self) -> dict[str, Any]:
        """The parameters of the best trial, fixed ones too; empty while there is none."""
        self._warn_of_shortfalls()
        first = results.leading(self.study, 1)
        return results.parameters(self.study, first[0]) if first else {}

    def importance(self, method: str = IMPORTANCE_METHODS[0]) -> pd.Series:
        """The share of each parameter, the most important first."""
        assessed = importance(self.study, method)
        name = f"importance ({method})"
        return pd.Series(assessed.shares, dtype=float, name=name).rename_axis("parameter")

    def timings(self) -> pd.DataFrame:
        """Where the workers' time went: seconds and share of each part."""
        return timings(self.study).frame()

    def progress(self) -> pd.DataFrame:
        """The best value so far, by trials and by seconds of working time."""
        return comparison.progress(self.study)

    def plot(self, kind: str = "history", params: Sequence[str] | None = None) -> go.Figure:
        """One of the report's figures.

        Args:
            kind: such as ``history``; an unknown kind is answered with all of them.
            params: the parameters of parallel, slice and contour; of slice name one.

        Raises:
            StudyError: there is no such kind, or nothing to draw yet.
        """
        if kind not in PLOT_KINDS:
            raise StudyError(unknown("kind of plot", kind, PLOT_KINDS))
        figures = figures_of(self.study, kind, params)
        if not figures:
            raise StudyError(f"study {self.study.study_name!r} has nothing to draw as {kind} yet")
        figure = next(iter(figures.values()))
        figure.update_layout(template="plotly")  # the report's own are themed by its page
        return figure

    def report(self, file: str | Path = "report.html") -> Path:
        """Write the report; returns where it is."""
        report.write([self.study], Path(file))
        return Path(file)

    def compare(self, *others: Results) -> pd.DataFrame:
        """What this study and others reached, a row each."""
        return comparison.summary([self.study, *(other.study for other in others)])

    def importances(self, *others: Results, method: str = IMPORTANCE_METHODS[0]) -> pd.DataFrame:
        """Importances side by side, a column for each study."""
        return comparison.best_importances([self.study, *(each.study for each in others)], method)

    def _warn_of_shortfalls(self) -> None:
        for sentence in shortfalls(self.study, leaders(self.study)):
            warnings.warn(sentence, UserWarning, stacklevel=3)

    def _rows(self, numbers: list[int]) -> pd.DataFrame:
        table = frame(self.study)
        return table.set_index("number", drop=False).loc[numbers].reset_index(drop=True)


def load(study: str, storage: str | None = None) -> Results:
    """The study called ``study``.

    Args:
        study: its name.
        storage: the URL of its database; where None, .hpo/studies.db of the working folder or the
            nearest one above it.

    Raises:
        StudyError: there is no such study.
        StorageError: there is no such database, or it cannot be reached.
    """
    opened = Storage(storage or embedded_url(), patience=PROMPT, read_only=True)
    with opened.reaching():
        return Results(joining.load(study, opened))
