"""The commands that tidy up: list, delete, rename, copy, import, and what takes up space."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hpo_job.cli.opening import (
    cluster_database,
    connect,
    names_a_cluster,
    open_study,
    same_place,
    storage_option,
    url_from_options,
)
from hpo_job.cli.options import (
    artifacts_option,
    cache_option,
    format_option,
    option,
    storage_options,
    study_argument,
    weights_option,
)
from hpo_job.cli.terminal import program, put, put_rows, show_log, width
from hpo_job.errors import SpecError, binary_size, plural
from hpo_job.machine import used_bytes
from hpo_job.storage.defaults import PROMPT

if TYPE_CHECKING:
    import optuna

    from hpo_job.cluster.client import Cluster
    from hpo_job.storage.database import Storage

COLUMNS = ("study", "trials", "best", "baseline", "last activity", "models")


@click.command("list")
@format_option("table", "csv", "json", help_text="How the studies are printed.")
@artifacts_option
@storage_option
def list_command(form: str, artifacts: str, storage: str) -> None:
    """List the studies of a database.

    For each study: how many trials of its budget have ended COMPLETE or PRUNED, the best value and
    its baseline, when a trial began or ended last, and the size of the kept models. JSON and CSV
    have sizes in bytes and values in full.
    """
    import optuna

    from hpo_job.results import text_table
    from hpo_job.results.summary import Summary, summary
    from hpo_job.storage.database import Storage

    show_log()
    database = Storage(storage, patience=PROMPT, read_only=True, once=True)
    with closing(database), database.reaching():
        names = sorted(optuna.get_all_study_names(database.optuna))
        summaries = []
        for name in names:
            study = optuna.load_study(study_name=name, storage=database.optuna)
            summaries.append(summary(study, _size_of_models(study, artifacts)))
    if form != "table":
        put_rows(Summary.columns(), [each.row() for each in summaries], form, None)
        return
    if not summaries:
        put(f"{database}: no studies yet; start one with {program()} run JOB")
        return
    rows = [(*each.texts(), binary_size(each.models) if each.models else "") for each in summaries]
    put(text_table(COLUMNS, rows, width(), right=(False, True, True, True), bold=True))


@click.command()
@study_argument
@option("--yes", "-y", is_flag=True, help="Do not ask.")
@option("--study", "with_study", is_flag=True, help="With --cluster: also delete the study.")
@artifacts_option
@storage_options
def delete_command(
    study: str,
    yes: bool,
    with_study: bool,
    artifacts: str,
    storage: str | None,
    storage_file: Path | None,
    cluster: bool,
    namespace: str | None,
    context: str | None,
) -> None:
    """Delete a study with its trials and models.

    With --cluster (implied by -n and --context), delete its Job from the cluster instead: the
    trials stay in the database, unless --study is added.
    """
    cluster = cluster or names_a_cluster()
    url = url_from_options(storage, storage_file, cluster=cluster)
    if not cluster:
        if with_study:
            raise click.UsageError("--study goes with --cluster; without it, a study is deleted")
        _delete_study(study, url, artifacts, yes=yes)
        return
    there = connect(context, namespace, study)
    if with_study:
        with cluster_database(there, study, own=True) as url:  # found by the Job, before that goes
            _delete_study(study, url, artifacts, yes=yes, before=lambda: _delete_job(there, study))
        return
    _delete_job_only(there, study)


def _delete_job_only(cluster: Cluster, study: str) -> None:
    """Delete a study's Job, and say where its trials are kept."""
    from hpo_job.cluster.credentials import secret_of
    from hpo_job.cluster.names import secret_of_settings

    place, secret = same_place(cluster, study), secret_of(cluster, study, own=True)
    _delete_job(cluster, study, must_exist=True)
    again = f"{program()} delete {study} --cluster{place} --study"
    if secret != secret_of_settings(study):  # by which the database is found without the Job
        again += f", where k8s/settings names Secret {secret}"
    click.echo(f"its trials are kept in the database of Secret {secret}; to delete them: {again}")


def _delete_job(cluster: Cluster, study: str, *, must_exist: bool = False) -> None:
    from hpo_job.cluster.existing import delete
    from hpo_job.cluster.names import study_of

    for line in delete(cluster, study_of(study), must_exist=must_exist):
        click.echo(f"deleted {line}")


def _delete_study(
    name: str, url: str, artifacts: str, *, yes: bool, before: Callable[[], None] = lambda: None
) -> None:
    """Delete a study, and call ``before`` once it is found and nobody minds."""
    from hpo_job.artifacts.tidying import delete

    with open_study(name, url, read_only=False) as (study, storage):
        trials = len(study.get_trials(deepcopy=False))
        if not yes:
            size = _size_of_models(study, artifacts)
            _confirm(
                f"delete {study.study_name} from {storage}: {plural(trials, 'trial')}, models: "
                f"{binary_size(size) if size else 'none'}"
            )
        before()
        done = delete(study, storage, artifacts)
        freed = f", {binary_size(done.models)} of models" if done.models else ""
        click.echo(f"deleted {study.study_name}: {plural(done.trials, 'trial')}{freed}")


@click.command()
@study_argument
@click.argument("name", metavar="NEW")
@storage_option
def rename_command(study: str, name: str, storage: str) -> None:
    """Give a study another name.

    To go on with it, change name in its study.toml as well. Refused while a trial runs.
    """
    from hpo_job.artifacts.tidying import rename

    _require_name(name)
    with open_study(study, storage, read_only=False) as (opened, database):
        old = opened.study_name
        rename(opened, database, name)
    click.echo(f"{old} is called {name} now; set name = {name!r} in its study.toml to go on")


@click.command()
@study_argument
@click.argument("name", metavar="NEW")
@option("--to", metavar="URL", help="Database of the copy.  [default: the same]")
@artifacts_option
@storage_option
def copy_command(study: str, name: str, to: str | None, artifacts: str, storage: str) -> None:
    """Copy a study, with all trials and models.

    With --to, into another database, which may be of another kind. Refused while a trial runs.
    """
    from hpo_job.artifacts.tidying import copy_study

    _require_name(name)
    with open_study(study, storage, read_only=False) as (opened, database):
        with _target(to) if to else nullcontext(database) as target:
            done = copy_study(opened, database, target, name, artifacts)
        copied = f", {plural(done.models, 'artifact')}" if done.models else ""
        trials = plural(done.trials, "trial")
        click.echo(f"copied {opened.study_name} to {name} in {target}: {trials}{copied}")


@click.command("import")
@click.argument("name", metavar="NAME")
@option("--from", "source", metavar="URL", required=True, help="Database that holds the study.")
@option("--as", "new", metavar="NEW", help="Name of the study here.  [default: the same]")
@storage_option
def import_command(name: str, source: str, new: str | None, storage: str) -> None:
    """Copy a study of plain Optuna into the database.

    All commands that read a study show it. To go on with it, write a study.toml with this name, the
    same directions, and a search space that the trials fit.
    """
    from hpo_job.artifacts.tidying import copy_study
    from hpo_job.storage.urls import parse, redacted_url

    _require_name(new or name)
    with _target(storage) as target, open_study(name, source) as (opened, database):
        origin = f"{opened.study_name} in {redacted_url(parse(source))}"
        done = copy_study(opened, database, target, new or opened.study_name, "", origin)
    click.echo(f"imported {plural(done.trials, 'trial')} as {new or name} into {target}")


@click.command()
@format_option("table", "csv", "json", help_text="How the sizes are printed.")
@artifacts_option
@cache_option
@weights_option
@storage_option
def du_command(form: str, artifacts: str, cache: Path, weights: Path, storage: str) -> None:
    """Show what takes up space: models, cache, weights, database.

    Lists the models of each study, wherever they are kept, then the folders and the SQLite file
    of this machine.
    """
    import optuna

    from hpo_job.results import text_table
    from hpo_job.storage.database import Storage
    from hpo_job.storage.urls import parse, sqlite_path

    show_log()
    rows: list[tuple[str, str, int]] = []
    file = sqlite_path(parse(storage))
    if file is None or file.exists():
        database = Storage(storage, patience=PROMPT, read_only=True, once=True)
        with closing(database), database.reaching():
            for name in sorted(optuna.get_all_study_names(database.optuna)):
                study = optuna.load_study(study_name=name, storage=database.optuna)
                rows.append(("models", name, _size_of_models(study, artifacts) or 0))
    rows += [
        ("weights", str(weights), used_bytes(weights)),
        ("cache", str(cache), used_bytes(cache)),
    ]
    if file is not None:
        rows.append(("database", str(file), file.stat().st_size if file.exists() else 0))
    if form != "table":
        names = ("kind", "what", "bytes")
        put_rows(names, [dict(zip(names, row, strict=True)) for row in rows], form, None)
        return
    texts = [(binary_size(size), kind, what) for kind, what, size in rows]
    put(text_table(("size", "of", "what"), texts, width(), right=(True,), bold=True))


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise SpecError(f"{question}? add --yes, since there is nobody to ask")
    if not click.confirm(f"{question}?"):
        raise click.Abort


def _require_name(name: str) -> None:
    from hpo_job.spec.study_toml import is_study_name

    if not is_study_name(name):
        raise SpecError(
            f"{name!r} is no name for a study: use at most 63 lower-case letters, digits and dashes"
        )


@contextmanager
def _target(url: str) -> Iterator[Storage]:
    """The database that a study is copied into, created where there is none."""
    from hpo_job.storage.database import Storage

    show_log()
    storage = Storage(url, create=True, patience=PROMPT)
    with closing(storage), storage.reaching():
        yield storage


def _size_of_models(study: optuna.Study, artifacts: str) -> int | None:
    """The bytes of a study's models; None where there are none, or their store is not there."""
    from hpo_job.artifacts.stored import artifact_ids, size, store_of

    if not Path(artifacts).exists() and "://" not in artifacts:
        return None  # opening it would create the folder
    try:
        store = store_of(study, artifacts)
    except SpecError:
        return None
    if store is None:
        return None
    trials = study.get_trials(deepcopy=False)
    sizes = (size(store, each) for trial in trials for each in artifact_ids(trial))
    return sum(each for each in sizes if each is not None) or None


COMMANDS: tuple[Any, ...] = (
    list_command,
    delete_command,
    rename_command,
    copy_command,
    import_command,
    du_command,
)
