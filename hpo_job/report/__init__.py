"""A report of studies as one HTML file that is shown without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna

from hpo_job.errors import StudyError
from hpo_job.machine import ARTIFACTS
from hpo_job.report.advice_section import advice_section
from hpo_job.report.comparison import comparison_section
from hpo_job.report.errors_section import errors_section
from hpo_job.report.kinds import figures_of
from hpo_job.report.origin import origin_section
from hpo_job.report.page import Page
from hpo_job.report.sections import history_section, importance_section, summary_section
from hpo_job.report.tables import columns_and_rows
from hpo_job.report.time_sections import failures_section, time_section
from hpo_job.spec.choices import IMPORTANCE_METHODS


def write(
    studies: Sequence[optuna.Study],
    file: Path,
    method: str = IMPORTANCE_METHODS[0],
    artifacts: str = ARTIFACTS,
) -> None:
    """Write the report of ``studies`` to ``file``; several are compared first.

    Raises:
        StudyError: the file cannot be written.
    """
    _save(report(studies, method, artifacts), file)


def write_comparison(
    studies: Sequence[optuna.Study], file: Path, method: str = IMPORTANCE_METHODS[0]
) -> None:
    """Write only the comparison.

    Raises:
        StudyError: the file cannot be written.
    """
    page = Page(", ".join(study.study_name for study in studies))
    comparison_section(studies, page, method)
    _save(page, file)


def write_plot(
    study: optuna.Study, kind: str, file: Path, params: Sequence[str] | None = None
) -> bool:
    """Write one kind of plot as a page.

    Returns:
        Whether there was anything to draw.
    """
    page = Page(f"{study.study_name}: {kind}")
    figures = figures_of(study, kind, params)
    if not figures:
        return False
    page.section(kind, "plot", *(page.figure(name, each) for name, each in figures.items()))
    _save(page, file)
    return True


def report(
    studies: Sequence[optuna.Study],
    method: str = IMPORTANCE_METHODS[0],
    artifacts: str = ARTIFACTS,
) -> Page:
    """The page: the comparison where there are several studies, then each of them.

    Args:
        studies: at least one.
        method: how importances are computed.
        artifacts: where models are kept, unless a study names a place.
    """
    page = Page(", ".join(study.study_name for study in studies))
    if len(studies) > 1:
        comparison_section(studies, page, method)
    for study in studies:
        prefix = f"{study.study_name}-" if len(studies) > 1 else ""
        if prefix:
            page.section(study.study_name, f"study-{study.study_name}", level=1)
        summary_section(study, page, prefix)
        advice_section(study, page, prefix, artifacts)
        history_section(study, page, prefix)
        importance_section(study, page, prefix, method)
        errors_section(study, page, prefix, artifacts)
        time_section(study, page, prefix)
        failures_section(study, page, prefix, artifacts)
        origin_section(study, page, prefix)
        trials = page.table(f"{prefix}table", *columns_and_rows(study))
        page.section("All trials", f"{prefix}trials", trials)
    return page


def _save(page: Page, file: Path) -> None:
    try:
        file.write_text(page.html(), encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{file}: cannot be written: {error.strerror}") from error
