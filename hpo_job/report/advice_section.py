"""The section of a report that says what to try next."""

from __future__ import annotations

import optuna

from hpo_job.artifacts.predictions import best_predictions
from hpo_job.report.blocks import Block, Note, Paragraph
from hpo_job.report.kinds import figures_of
from hpo_job.report.page import Page
from hpo_job.results.advice import advise, too_few
from hpo_job.results.formatting import sentence


def advice_section(study: optuna.Study, page: Page, prefix: str, artifacts: str) -> None:
    """A sentence for each rule that applies, with the figure that shows it."""
    sentences = advise(study, best_predictions(study, artifacts))
    blocks: list[Block | None] = []
    drawn: set[str] = set()
    for advice in sentences:
        blocks.append(Paragraph(sentence(advice.text)))
        if advice.plot == "slice":  # the others are drawn further down
            for name, figure in figures_of(study, "slice", advice.params).items():
                if name not in drawn:
                    drawn.add(name)
                    blocks.append(page.figure(f"{prefix}advice-{name}", figure))
    page.section("What next", f"{prefix}advice", *(blocks or [Note(sentence(too_few(study)))]))
