"""The sections of a report about time: where it went, and what failed and was run again."""

from __future__ import annotations

from collections import Counter

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_job.artifacts.trial_logs import read_log
from hpo_job.errors import HpoJobError, plural
from hpo_job.report import figures
from hpo_job.report.blocks import Block, Details, Heading, Note, Paragraph, Table
from hpo_job.report.page import Page
from hpo_job.results import clock
from hpo_job.results.continued import work_text
from hpo_job.results.formatting import sentence
from hpo_job.results.timings import Timings, timings
from hpo_job.results.trials import seconds, trials_of, worker_name
from hpo_job.trial import attributes

UNKNOWN = "no reason stored"
LISTED = 200  # failed trials that are listed
LOGS = 10  # of them, those whose logs are embedded
LOG_END = 8000  # characters of a log, from its end


def time_section(study: optuna.Study, page: Page, prefix: str) -> None:
    """Where the time went, and which worker ran what when."""
    spent = timings(study)
    blocks: list[Block | None] = [Note("No trial was started yet.")]
    if spent.total:
        blocks = [
            Paragraph(_total(spent)),
            Note(
                f"Not measured by any trial: {', '.join(spent.missing)}; that time is counted "
                "under other, in a trial."
            )
            if spent.missing
            else None,
            page.figure(
                f"{prefix}time-bars",
                figures.time_bars(spent),
                "From each worker's first trial to its last; the time before and after is not "
                "stored.",
            ),
            Heading("Timeline by worker"),
            page.figure(f"{prefix}timeline", figures.timeline(study)),
        ]
    page.section("Where the time went", f"{prefix}time", *blocks)


def failures_section(study: optuna.Study, page: Page, prefix: str, artifacts: str) -> None:
    """Failed trials by their reason, and which were run again."""
    trials = trials_of(study)
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    retries = {
        trial.user_attrs[attributes.RETRY_OF]: trial
        for trial in trials
        if isinstance(trial.user_attrs.get(attributes.RETRY_OF), int)
    }
    if not failed and not retries:
        page.section("Failures and retries", f"{prefix}failures", Note("No trial failed."))
        return
    header = ("trial", "reason", "error", "worker", "time", "run again as")
    rows = [_failure(trial, retries.get(trial.number)) for trial in failed[-LISTED:]]
    page.section(
        "Failures and retries",
        f"{prefix}failures",
        Paragraph(_failed(failed, len(trials))) if failed else None,
        Paragraph(f"Trials: {work}.") if (work := work_text(study)) else None,
        Table(header, rows, right=(4,)),
        Note(f"The last {len(rows)} are listed.") if len(failed) > len(rows) else None,
        *_logs(study, failed, artifacts),
    )


def _logs(study: optuna.Study, failed: list[FrozenTrial], artifacts: str) -> list[Block]:
    """The ends of the logs of the trials that failed last, as far as they are reachable."""
    blocks: list[Block] = []
    for trial in [each for each in failed if each.user_attrs.get(attributes.LOG)][-LOGS:]:
        try:
            text = read_log(study, trial, artifacts)
        except HpoJobError as error:
            return [*blocks, Note(sentence(str(error)))]
        blocks.append(Details(f"the log of #{trial.number}", text[-LOG_END:]))
    return blocks


def _total(spent: Timings) -> str:
    workers = f"of {plural(spent.workers, 'worker')}"
    if not spent.workers:
        workers = "in all; which workers there were is not stored"
    useful = (
        f"{spent.useful:.1%} of it was useful: training and scoring trials that count."
        if spent.useful is not None
        else "How much of it was useful is unknown: no trial stored its training time."
    )
    return f"{clock(spent.total)} {workers}. {useful}"


def _failed(failed: list[FrozenTrial], trials: int) -> str:
    reasons = Counter(map(_reason, failed))
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    known = f" ({counts})" if list(reasons) != [UNKNOWN] else ""
    lost = clock(sum(map(seconds, failed)))
    return f"{len(failed)} of {plural(trials, 'trial')} failed{known}; {lost} were spent on them."


def _failure(trial: FrozenTrial, retry: FrozenTrial | None) -> tuple[str, ...]:
    return (
        f"#{trial.number}",
        _reason(trial),
        str(trial.user_attrs.get(attributes.ERROR, "")),
        worker_name(trial) or "-",
        clock(seconds(trial)),
        f"#{retry.number} {retry.state.name}" if retry else "-",
    )


def _reason(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get(attributes.REASON) or UNKNOWN)
