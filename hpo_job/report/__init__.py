"""A report of studies as one HTML file, which shows all it holds without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import optuna

from hpo_job.errors import StudyError
from hpo_job.report import sections
from hpo_job.report.assemble import assembled
from hpo_job.report.comparison import compared
from hpo_job.report.kinds import figures_of
from hpo_job.report.markup import Page
from hpo_job.report.origin import origin
from hpo_job.report.tables import columns_and_rows
from hpo_job.spec.choices import IMPORTANCE_METHODS


def write(studies: Sequence[optuna.Study], file: Path, method: str = IMPORTANCE_METHODS[0]) -> None:
    """Write the report of ``studies`` to ``file``; several are compared first.

    Raises StudyError where it cannot be written.
    """
    _save(report(studies, method), file)


def write_comparison(
    studies: Sequence[optuna.Study], file: Path, method: str = IMPORTANCE_METHODS[0]
) -> None:
    """Write only the comparison. Raises StudyError where it cannot be written."""
    page = Page(", ".join(study.study_name for study in studies))
    compared(studies, page, method)
    _save(page, file)


def write_plot(
    study: optuna.Study, kind: str, file: Path, params: Sequence[str] | None = None
) -> bool:
    """Write one kind of plot as a page; whether there was anything to draw."""
    page = Page(f"{study.study_name}: {kind}")
    made = figures_of(study, kind, params)
    if not made:
        return False
    page.section(kind, kind, *(page.figure(name, each) for name, each in made.items()))
    _save(page, file)
    return True


def report(studies: Sequence[optuna.Study], method: str = IMPORTANCE_METHODS[0]) -> Page:
    """The page: the comparison where there are several studies, then each of them."""
    page = Page(", ".join(study.study_name for study in studies))
    if len(studies) > 1:
        compared(studies, page, method)
    for study in studies:
        prefix = f"{study.study_name}-" if len(studies) > 1 else ""
        if prefix:
            page.section(study.study_name, f"study-{study.study_name}", level=1)
        sections.headline(study, page, prefix)
        sections.history_section(study, page, prefix)
        sections.importance_section(study, page, prefix, method)
        sections.time(study, page, prefix)
        sections.failures(study, page, prefix)
        origin(study, page, prefix)
        page.section(
            "All trials", f"{prefix}trials", page.table(f"{prefix}table", *columns_and_rows(study))
        )
    return page


def _save(page: Page, file: Path) -> None:
    try:
        file.write_text(assembled(page), encoding="utf-8")
    except OSError as error:
        raise StudyError(f"{file}: cannot be written: {error.strerror}") from error
