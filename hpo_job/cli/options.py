"""The one way a command gets an option: on the command line, or in the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def option(name: str, *names: str, **settings: Any) -> Callable[[F], F]:
    """A click option that is an HPO_JOB_* environment variable as well."""
    variable = "HPO_JOB_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, *names, envvar=variable, show_envvar=True, **settings)
