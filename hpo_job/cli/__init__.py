"""The ``hpo-job`` command: each command reads its options, calls the library, and prints.

Optuna takes a third of a second to import and torch several, so a command imports what it needs
when it runs, and ``hpo-job --help`` is quick.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import Any

import click

from hpo_job import __version__
from hpo_job.cli import (
    completion,
    housekeeping,
    init,
    insight,
    kubernetes,
    models,
    pages,
    predicting,
    results,
    studies,
)
from hpo_job.cli.terminal import warn
from hpo_job.errors import HpoJobError
from hpo_job.worker.output import replace_unencodable


class Commands(click.Group):
    """Commands whose known errors are one line on stderr and an exit code."""

    def main(self, *args: Any, **settings: Any) -> Any:
        replace_unencodable()
        atexit.register(_spare_modules)
        return super().main(*args, **settings)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except HpoJobError as error:
            warn(str(error))
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(130)  # as a shell expects of Ctrl-C


def _spare_modules() -> None:
    """Keep the interpreter's end from visiting a million objects of modules, for half a second.

    Not with triton, which torch imports: its bindings print dozens of lines at the end about each
    object that was not freed.
    """
    if "triton" not in sys.modules:
        gc.freeze()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hpo-job")
def main() -> None:
    """Tune a model: parallel trials that share one Optuna study.

    JOB is a folder with a study.toml, or its name under jobs/. STUDY is the name of a study in
    the storage, or its job folder.
    """


for module in (
    init,
    studies,
    results,
    insight,
    pages,
    models,
    predicting,
    housekeeping,
    kubernetes,
    completion,
):
    for command in module.COMMANDS:
        main.add_command(command)


def kubectl() -> None:
    """`kubectl hpo`: the same commands, with --cluster where a command has it."""
    os.environ.setdefault("HPO_JOB_CLUSTER", "1")
    main(prog_name="kubectl hpo")
