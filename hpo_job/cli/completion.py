"""``hpo-job completion``: what a shell needs to complete commands, options, jobs and studies."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

VARIABLE = "_HPO_JOB_COMPLETE"  # click's: set by the shell's script to ask for words
SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    It completes commands, options, jobs and studies. To load it in each new shell:

    \b
    eval "$(hpo-job completion bash)"   in ~/.bashrc
    eval "$(hpo-job completion zsh)"    in ~/.zshrc, after compinit
    hpo-job completion fish | source    in ~/.config/fish/config.fish
    """
    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(context.find_root().command, {}, "hpo-job", VARIABLE).source())


def complete_job(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Job folders: those under jobs/ by name, and paths that lead to one."""
    names = [name for name in _jobs() if name.startswith(incomplete)]
    if names:
        return [CompletionItem(name) for name in names]
    return [CompletionItem(incomplete, type="dir")]


def complete_study(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Studies of the storage that the options or the environment name; and job folders."""
    words = dict.fromkeys([*_studies(context), *_jobs()])
    matching = [word for word in words if word.startswith(incomplete)]
    if matching:
        return [CompletionItem(word) for word in matching]
    return [CompletionItem(incomplete, type="dir")]


def _jobs() -> list[str]:
    return sorted(file.parent.name for file in Path("jobs").glob("*/study.toml"))


def _studies(context: click.Context) -> list[str]:
    """No names where the storage cannot be read now: a shell has no place for an error."""
    import optuna

    from hpo_job.errors import HpoJobError
    from hpo_job.storage.database import Storage
    from hpo_job.storage.urls import embedded_url, storage_url

    url, file = (
        context.params.get(name) or os.environ.get(f"HPO_JOB_{name.upper()}")
        for name in ("storage", "storage_file")
    )
    try:
        url = storage_url(url, Path(file) if file else None)
        storage = Storage(url or embedded_url(), patience=1, read_only=True)
        with storage.reaching():
            return sorted(optuna.get_all_study_names(storage.optuna))
    except HpoJobError:
        return []


COMMANDS = (completion_command,)
