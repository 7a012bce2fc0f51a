"""``hpo-job init``: a study.toml for the user's own data, and manifests for a cluster."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hpo_job.cli.completion import complete_job
from hpo_job.cli.options import option, weights_option
from hpo_job.cli.terminal import program, put, show_log

if TYPE_CHECKING:
    from hpo_job.cli.proposal.look import Look
    from hpo_job.cli.proposal.study import Surroundings

OBJECTIVES = (
    "image_classification",
    "image_multilabel",
    "image_regression",
    "tabular_classification",
    "tabular_regression",
    "text_classification",
)


@click.command()
@click.argument("job", metavar="[JOB]", required=False)
@click.option(  # no environment variable: HPO_JOB_CLUSTER is another --cluster
    "--cluster",
    is_flag=True,
    help="Copy the Kubernetes manifests into k8s/ of this repository (the nearest folder with "
    ".git, or else the current one). Files that exist are kept.",
)
@option(
    "--data",
    metavar="PATH",
    type=click.Path(exists=True, path_type=Path),
    help="A folder of images or of .txt files per class, or a table (CSV, Parquet) of rows, texts "
    "or images, which have a class, several labels or a number each.",
)
@option("--label", metavar="COLUMN", help="The column of a table to predict.  [default: guessed]")
@option("--text", metavar="COLUMN", help="The column of its texts.  [default: guessed]")
@option(
    "--objective",
    metavar="NAME",
    type=click.Choice(OBJECTIVES),
    help=f"What is trained: {', '.join(OBJECTIVES)}.  [default: what fits]",
)
@option("--trials", type=click.IntRange(min=1), metavar="N", help="How many trials it may take.")
@option("--time", metavar="TIME", help="How long: 8h, 1h30m, lunch, overnight or weekend.")
@option("--measure", is_flag=True, help="Run one short trial, and write how many fit.")
@option("--function", is_flag=True, help="Tune a function of your own: writes one that runs.")
@option(
    "--like",
    metavar="JOB",
    shell_complete=complete_job,
    help="Take the study.toml of another job, with the new name and data.",
)
@weights_option
def init_command(
    job: str | None,
    cluster: bool,
    data: Path | None,
    label: str | None,
    text: str | None,
    objective: str | None,
    trials: int | None,
    time: str | None,
    measure: bool,
    function: bool,
    like: str | None,
    weights: Path,
) -> None:
    """Write a job folder for your data.

    Looks at the data, says what is in it, and writes JOB/study.toml with every line explained:
    metric, split, search space, sampler, pruner and budget. JOB is a new folder; a plain name
    becomes jobs/NAME where there is a folder jobs.

    With --cluster, writes what submit and database need: edit k8s/settings/kustomization.yaml,
    commit k8s/, and every clone of the repository can submit.
    """
    if cluster:
        from hpo_job.cli.kubernetes import lay_manifests_here

        lay_manifests_here()
        if job is None:
            return
    if job is None:
        raise click.UsageError("name a JOB, or add --cluster")
    from hpo_job.cli.proposal import function as functions
    from hpo_job.cli.proposal.like import path_from, relative, study_like
    from hpo_job.cli.proposal.study import Limits, propose

    show_log()
    limits = Limits(trials, _time(time))
    folder, name = _new_folder(job)
    if like is not None:
        _refuse_with(like, label, text, objective, trials, time, function)
        path = relative(data, folder) if data else path_from(like, folder)
        _write(folder, study_like(like, name, path), _copied(like))
    elif function:
        look = _look(data, label, text, objective) if data else None
        path = relative(data, folder) if data else None
        _write(folder, functions.propose(look, name, path, limits), functions.program(look))
    elif data is None:
        raise click.UsageError("name your data with --data, or add --function or --like JOB")
    else:
        here = _surroundings(weights)
        path = relative(data, folder)
        _write(folder, propose(_look(data, label, text, objective), name, path, limits, here))
    if measure:
        _measure(folder, weights)
    short = _short(folder)
    put(
        f"\nnext\n  {program()} check {short}   # what will run, on what data\n"
        f"  {program()} run {short}     # Ctrl-C at any time; the same command goes on"
    )


def _time(time: str | None) -> str | None:
    """``--time`` as [budget] timeout takes it."""
    from hpo_job.cli.proposal.study import TIMES
    from hpo_job.spec.study_toml import duration

    if time is None or time in TIMES:
        return time
    try:
        duration(time)
    except ValueError as error:
        words = ", ".join(TIMES)
        raise click.UsageError(f"--time {error}, or {words}") from error
    return time


def _new_folder(job: str) -> tuple[Path, str]:
    """The folder of a new job, and the name of its study."""
    from hpo_job.errors import SpecError
    from hpo_job.spec.study_toml import SPEC_FILE

    plain = Path(job).name == job
    folder = Path("jobs", job) if plain and Path("jobs").is_dir() else Path(job)
    if (folder / SPEC_FILE).exists():
        raise SpecError(f"{folder / SPEC_FILE}: exists already; name another JOB, or remove it")
    if folder.exists() and not folder.is_dir():
        raise SpecError(f"{folder}: a file; name a new folder")
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:63].strip("-")
    if not name:
        raise SpecError(f"{job}: no name for a study in it; use letters a to z, digits, dashes")
    return folder, name


def _refuse_with(like: str, *others: object) -> None:
    if any(others):
        raise click.UsageError(f"--like {like} goes with --data alone")


def _look(data: Path, label: str | None, text: str | None, objective: str | None) -> Look:
    """Look at the data, and print what is in it."""
    from hpo_job.cli.describe import described_data, wrapped
    from hpo_job.cli.proposal.findings import findings
    from hpo_job.cli.proposal.look import Wanted, look

    seen = look(data, Wanted(label, text, objective))
    put("\n".join(described_data(seen.data)))
    for heading, line in findings(seen):
        put("\n".join(wrapped(heading, line)))
    return seen


def _surroundings(weights: Path) -> Surroundings:
    from hpo_job.cli.proposal.study import Surroundings
    from hpo_job.worker.gpus import available

    return Surroundings(bool(available()), weights)


def _copied(like: str) -> str | None:
    from hpo_job.cli.proposal.like import function_of

    source = function_of(like)
    return None if source is None else source.read_text(encoding="utf-8-sig")


def _write(folder: Path, study: str, code: str | None = None) -> None:
    """Write the job folder, once its study.toml is known to be one."""
    from hpo_job.errors import SpecError, problem
    from hpo_job.spec.study_toml import SPEC_FILE

    files = {SPEC_FILE: study} | ({} if code is None else {"objective.py": code})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{folder}: cannot be written: {problem(error)}") from error
    for name in files:
        put(f"wrote         {folder / name}")


def _measure(folder: Path, weights: Path) -> None:
    """Say how long a trial takes here and what that means for the budget, and write it there."""
    from hpo_job.cli.describe import wrapped
    from hpo_job.cli.proposal.document import with_remark, with_value
    from hpo_job.machine import cpus
    from hpo_job.results import clock
    from hpo_job.spec.reading import read_spec
    from hpo_job.worker.measuring import measure

    spec = read_spec(folder)
    measured = measure(spec, weights, cpus())
    text = f"one trial with the fewest epochs took {clock(measured.short)}"
    text += f"; a typical one takes about {clock(measured.typical)} with one worker here"
    budget = spec.budget
    if budget.trials:
        text += f", {budget.trials} of them {clock(budget.trials * measured.typical)}"
    if budget.timeout:
        fitting = max(1, round(budget.timeout / measured.typical))
        text += f": about {fitting} in {clock(budget.timeout)}"
    text += "; pruned ones take less"
    put("\n".join(wrapped("measured", text)))
    day = f"{datetime.now():%Y-%m-%d}"
    written = spec.file.read_text(encoding="utf-8")
    written = with_remark(written, "[budget]", f"Measured on {day} on this machine: {text}.")
    if budget.timeout and not budget.trials:
        written = with_value(written, "[budget]", "trials", fitting)
    spec.file.write_text(written, encoding="utf-8")
    put(f"wrote         {spec.file}: the measurement, in [budget]")


def _short(folder: Path) -> str:
    """What the user types for this job."""
    return folder.name if folder.parent == Path("jobs") else str(folder)


COMMANDS = (init_command,)
