"""What the workers of one machine import: once, in the process that they are forked from.

Guaranteed: nothing of the user's own runs in that process, and nothing asks for a GPU: CUDA cannot
be used in a process that was forked after CUDA had been asked.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hpo_job import objectives
from hpo_job.errors import SpecError
from hpo_job.machine import collector_paused
from hpo_job.spec.study_toml import StudySpec

# With this, torch.cuda.is_available() asks NVIDIA's management library, and leaves CUDA alone
CUDA_CHECK = "PYTORCH_NVML_BASED_CUDA_CHECK"
SCORING = "sklearn.metrics"  # which the objectives import when they first score a trial


def preload(spec: StudySpec) -> None:
    """Import what the trials of this study need; what cannot be imported is left to the workers."""
    with collector_paused(), cuda_untouched(), suppress(Exception, SystemExit):
        importlib.import_module("numpy.random")  # which samplers draw from
        if source := objectives.source(spec):
            for module in leading_imports(source):
                importlib.import_module(module)
        else:
            with suppress(SpecError):
                objectives.shipped(spec.objective)
            importlib.import_module(SCORING)


def leading_imports(file: Path) -> list[str]:
    """The installed modules that a Python file imports before it does anything else.

    What comes later may depend on what the file does first, such as setting a variable that a
    package reads when it is imported. So the list ends there, and where a module next to the file
    is imported, which may do the same.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):  # said by whoever imports it
        return []
    modules: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # the docstring
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
            names = [statement.module]
        else:
            break
        if not all(_is_installed(name, file.parent) for name in names):
            break
        modules += names
    return modules


def _is_installed(module: str, folder: Path) -> bool:
    """Whether a module is found, and not in ``folder``, which comes first for the worker."""
    package = module.partition(".")[0]
    if (folder / package).exists() or (folder / f"{package}.py").exists():
        return False
    return importlib.util.find_spec(package) is not None


def draw_afresh() -> None:
    """Seed the global random numbers of numpy and torch anew: a fork repeats its parent's.

    Python's own are seeded anew at each fork.
    """
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if torch := sys.modules.get("torch"):
        torch.default_generator.seed()


@contextmanager
def cuda_untouched() -> Iterator[None]:
    """Let ``torch.cuda.is_available()`` answer without starting CUDA, where NVML can be asked."""
    before = os.environ.get(CUDA_CHECK)
    os.environ[CUDA_CHECK] = "1"
    try:
        yield
    finally:
        os.environ.pop(CUDA_CHECK)
        if before is not None:
            os.environ[CUDA_CHECK] = before
