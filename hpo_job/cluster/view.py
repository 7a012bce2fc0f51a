"""What `hpo-job status --cluster` shows: the Job, its pods, and their trials."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Group
from rich.table import Table
from rich.text import Text

from hpo_job import results
from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.names import SUFFIX
from hpo_job.cluster.pods import (
    Worker,
    describe,
    has_log,
    index_list,
    indexes_in,
    is_being_deleted,
    lacks,
    pods_of,
    why_none,
)
from hpo_job.cluster.queue import queue_of, waiting
from hpo_job.errors import ClusterError, one_line, plural
from hpo_job.trial import attributes

ENDED_LISTED = 20  # of the pods that ended, only the latest are listed
MOST = 50  # pods that are listed in all; of more, those that do not run come first
IDLE_LOGS = 3  # pods without a trial whose logs are looked at, to say what they wait for
WIDTH = 40  # a pod's name is wrapped after so many characters
ENDED = ("Succeeded", "Failed")
WAITS = re.compile(r"waiting for .*, \d+ s at most: (.*)")  # of `storage.outage.Outage`


def job_line(cluster: Cluster, study: str) -> tuple[str, Object | None]:
    """Lines about the Job, its indexes and why it lacks pods; and the Job, if it exists."""
    name = study + SUFFIX
    job = cluster.find("jobs", name)
    if job is None:
        cluster.require_namespace()
        return f"job       none called {name} in namespace {cluster.namespace}", None
    spec, status = job["spec"], job.get("status", {})
    states = [
        f"{status.get('active', 0)} active",
        f"{status.get('succeeded', 0)} of {spec.get('completions')} succeeded",
    ]
    if failed := status.get("failedIndexes"):
        states.append(f"{len(indexes_in(failed))} failed (index {failed})")
    state = _state(job)
    reasons: list[str] = []
    if lacks(job, "ready") and queue_of(job):
        queued, reasons = waiting(cluster, job)
        state = ", ".join(filter(None, ["" if spec.get("suspend") else state, queued]))
    if not reasons and (reason := why_none(cluster, job)):
        reasons = [reason]
    lines = [f"job       {name} in {cluster.namespace}: {state}"]
    lines += [f"          {reason}" for reason in reasons]
    lines.append(f"indexes   {', '.join(states)}")
    return "\n".join(lines), job


def _state(job: Object) -> str:
    if is_being_deleted(job):
        return "is being deleted; its pods end their trials"
    for condition in job.get("status", {}).get("conditions") or []:
        if (
            condition["type"] in ("Complete", "Failed", "Suspended")
            and condition["status"] == "True"
        ):
            message = one_line(condition.get("message"))
            if condition["type"] == "Complete":
                return "complete"
            if condition["type"] == "Suspended":
                return "stopped (hpo-job resume starts it again)"
            return f"failed: {message or condition.get('reason')}"
    return plural(int(job["spec"].get("parallelism", 1)), "worker")


def pods(cluster: Cluster, job: Object, running: Mapping[int, str]) -> Group:
    """A table of the Job's pods, and below it why some do not run.

    Of the pods that have ended, only the latest are listed, and `MOST` in all; a reason that
    several pods share is given once.

    Args:
        cluster: where the Job is.
        job: the Job.
        running: the trials of each index, see `running`.
    """
    every = pods_of(cluster, job["metadata"]["name"])
    warnings = {} if all(map(has_log, every)) else cluster.latest_warnings("Pod")
    workers = [describe(pod, warnings) for pod in every]
    alive = [worker for worker in workers if worker.phase not in ENDED]
    ended = [worker for worker in workers if worker.phase in ENDED][-ENDED_LISTED:]
    listed, unlisted = _most_telling([*alive, *ended])
    idle = [
        worker for worker in listed if worker.phase == "Running" and worker.index not in running
    ]
    reasons = [*_reasons(listed), *_waits(cluster, idle[:IDLE_LOGS])]
    lines = [*unlisted, *_images(alive or listed), *reasons]
    return Group(_table(listed, running), *map(Text, lines))


def _most_telling(workers: list[Worker]) -> tuple[list[Worker], list[str]]:
    """The workers to list, by index, and a line about the others."""
    ranked = sorted(workers, key=lambda worker: (worker.phase == "Running", worker.index))
    counts = Counter(worker.phase for worker in ranked[MOST:])
    phases = ", ".join(f"{count} {phase}" for phase, count in counts.items())
    line = [f"and {plural(counts.total(), 'more pod')}: {phases}"] if counts else []
    return sorted(ranked[:MOST], key=lambda worker: worker.index), line


def _waits(cluster: Cluster, workers: list[Worker]) -> Iterator[str]:
    """Which workers wait for their database, and what its driver says, as their logs end so."""
    for worker in workers:
        try:
            lines = [line for _, line in cluster.log(worker.pod, latest=1)]
        except ClusterError:  # a log only explains, nothing depends on it
            continue
        if lines and (reason := WAITS.search(lines[-1])):
            yield f"index {worker.index}: waits for the database: {reason[1]}"


def _table(workers: list[Worker], running: Mapping[int, str]) -> Table:
    rows = Table(box=None, pad_edge=False, header_style="bold")
    width = max((len(worker.pod) for worker in workers), default=0)
    rows.add_column("pod", overflow="fold", min_width=min(width, WIDTH))
    rows.add_column("phase", no_wrap=True)
    rows.add_column("node", overflow="fold")
    rows.add_column("restarts", justify="right", no_wrap=True)
    rows.add_column("age", justify="right", no_wrap=True)
    rows.add_column("trial", overflow="fold")
    for worker in workers:
        trial = running.get(worker.index, "") if worker.phase == "Running" else ""
        age = results.clock(_seconds_since(worker.started)) if worker.started else "-"
        cells = (worker.pod, worker.phase, worker.node, str(worker.restarts), age, trial)
        rows.add_row(*map(Text, cells))
    return rows


def _images(workers: list[Worker]) -> Iterator[str]:
    """Which image the pods run, by its digest: a tag may have moved between two pulls."""
    indexes_of = _indexes_by((worker.image, worker.index) for worker in workers)
    if len(indexes_of) == 1:
        yield f"image: {next(iter(indexes_of))}"
    for digest, indexes in indexes_of.items() if len(indexes_of) > 1 else ():
        yield f"{indexes}: another image than others, {digest}"


def _reasons(workers: list[Worker]) -> Iterator[str]:
    """Why workers do not run, or failed."""
    for reason, indexes in _indexes_by((worker.why, worker.index) for worker in workers).items():
        yield f"{indexes}: {reason}"


def _indexes_by(pairs: Iterable[tuple[str | None, int]]) -> dict[str, str]:
    """Which indexes have the same text, as words; several pods of one index count once."""
    indexes_of: dict[str, set[int]] = {}
    for text, index in pairs:
        if text:
            indexes_of.setdefault(text, set()).add(index)
    return {text: index_list(indexes) for text, indexes in indexes_of.items()}


def running(study: optuna.Study, job: Object | None) -> dict[int, str]:
    """The trials that each index of a Job runs, and their latest values; usually one."""
    owner = str(job["metadata"].get("uid")) if job else None
    trials: dict[int, list[str]] = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = trial.user_attrs.get(attributes.WORKER)
        if isinstance(worker, dict) and worker.get("owner") == owner:
            trials.setdefault(int(worker.get("index", -1)), []).append(_progress(trial))
    return {index: "\n".join(lines) for index, lines in trials.items()}


def _progress(trial: FrozenTrial) -> str:
    steps = trial.intermediate_values
    value = f", {results.number(list(steps.values())[-1])}" if steps else ""
    return f"#{trial.number} step {len(steps)}{value}"


def _seconds_since(moment: str) -> float:
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
