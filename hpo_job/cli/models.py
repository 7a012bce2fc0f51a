"""The commands about models: learning-rate finder, export, and pre-trained weights."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import click

from hpo_job.cli.completion import complete_job
from hpo_job.cli.opening import open_study, storage_option
from hpo_job.cli.options import (
    MachineOptions,
    artifacts_option,
    format_option,
    grace_option,
    job_argument,
    machine_options,
    new_folder_option,
    option,
    output_option,
    study_argument,
    trial_option,
    weights_option,
)
from hpo_job.cli.terminal import put, show_log


@click.command("lr-find")
@job_argument
@output_option("The plot: .png, .svg or .pdf.  [default: NAME-lr-find.png]")
@format_option("text", "json", default="text", help_text="How the suggestions are printed.")
@storage_option
@weights_option
@machine_options
@grace_option
def lr_find_command(
    job: str,
    output: Path | None,
    form: str,
    storage: str,
    weights: Path,
    machine: MachineOptions,
    grace: int,
) -> None:
    """Print and plot what the learning-rate finder suggests.

    Runs the finder now unless a worker has run it already: for the learning rates that an
    [[enqueue]] entry sets to "lr_find", or else for all learning rates of the objective.
    """
    from hpo_job.report.plots import require_picture, save_lr_find
    from hpo_job.results.writing import to_json
    from hpo_job.spec.reading import read_spec
    from hpo_job.study.checking import check
    from hpo_job.study.joining import join
    from hpo_job.worker import lr_find
    from hpo_job.worker.signals import Stop

    show_log(logging.INFO)
    if output is not None:
        require_picture(output)  # before the minutes that the finder takes
    spec = read_spec(job)
    lr_find.require_learning_rates(spec)
    checked = check(spec, weights, machine.cache)
    study, opened = join(checked, storage, grace)
    stop, usable = Stop(), machine.shared()
    with opened.reaching(), stop.listening():
        lr_find.ensure(checked, study, opened, stop, usable, grace, always=True)
        if stop.requested:
            raise SystemExit(stop.exit_code)
        suggestions = lr_find.stored(study)
    if form == "json":
        put(to_json(suggestions))
    for name, suggestion in suggestions.items() if form == "text" else ():
        click.echo(f"{name:<24} {lr_find.described(suggestion)}")
    curves = {name: each for name, each in suggestions.items() if "lrs" in each}
    if curves:
        file = output or Path(f"{study.study_name}-lr-find.png")
        save_lr_find(curves, file)
        click.echo(f"wrote {file}", err=form == "json")


@click.command()
@study_argument
@trial_option("Number of the trial.  [default: the best]")
@new_folder_option("Folder to create.")
@artifacts_option
@storage_option
def export_command(
    study: str, trial: int | None, output: Path, artifacts: str, storage: str
) -> None:
    """Copy a kept model out of a study, in fastai's export format.

    hpo-job predict uses the folder.
    """
    from hpo_job.artifacts.export import export

    with open_study(study, storage) as (opened, _):
        click.echo(export(opened, artifacts, output, trial))


@click.command()
@click.argument("models", metavar="[MODEL...]", nargs=-1)
@option(
    "--job",
    "jobs",
    metavar="JOB",
    multiple=True,
    shell_complete=complete_job,
    help="Also those that trials of this job start from, such as the language model of its "
    "[data] language; may be repeated.",
)
@weights_option
def weights_command(models: tuple[str, ...], jobs: tuple[str, ...], weights: Path) -> None:
    """Download pre-trained weights of models.

    Skips weights that are already on this machine. The image build uses this command. The English
    language model of text_classification is called wt103-fwd.
    """
    if not models and not jobs:
        raise click.UsageError("name a MODEL, or a job with --job")
    from hpo_job import objectives
    from hpo_job.data.language_models import WIKIPEDIA
    from hpo_job.objectives.images.weights import obtain
    from hpo_job.spec.reading import read_spec

    for model in models:
        if model == WIKIPEDIA:
            place = objectives.shipped("text_classification").obtain(weights)
        else:
            place = obtain(model, weights)
        click.echo(f"{model}: {place}")
    for job in jobs:
        places = objectives.obtain_weights(read_spec(job), weights)
        for name, each in places.items():
            click.echo(f"{name}: {each}")
        if not places:
            click.echo(f"{job}: no trial starts from pre-trained weights")


@click.command()
@study_argument
@option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@format_option("text", "json", default="text", help_text="How what is removed is printed.")
@artifacts_option
@storage_option
def gc_command(study: str, dry_run: bool, form: str, artifacts: str, storage: str) -> None:
    """Remove files that killed workers left in the artifact store.

    Those are saved states that no trial will continue, and models that are not among the best.
    Only what this study's trials name is looked at; in a folder, also files that were never
    complete and have not changed for a day. It may run while workers do.
    """
    from hpo_job.artifacts.garbage import orphans, remove_orphans
    from hpo_job.errors import binary_size, plural
    from hpo_job.results.writing import to_json

    with open_study(study, storage) as (opened, database):
        url, orphaned = orphans(opened, database, artifacts)
    if form == "json":
        put(to_json({"store": url, "files": [asdict(each) for each in orphaned]}))
        if not dry_run:
            remove_orphans(url, orphaned)
        return
    for orphan in orphaned:
        trial = "no trial" if orphan.trial is None else f"trial {orphan.trial}"
        click.echo(f"{trial}  {orphan.kind:<10}  {binary_size(orphan.size):>9}")
    if not dry_run:
        remove_orphans(url, orphaned)
    size = binary_size(sum(orphan.size for orphan in orphaned))
    verb = "would be removed" if dry_run else "removed"
    click.echo(f"{plural(len(orphaned), 'file')}, {size}, {verb} from {url}")


COMMANDS = (lr_find_command, export_command, weights_command, gc_command)
