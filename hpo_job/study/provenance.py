"""Where a study comes from: what is needed to run it again."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from hpo_job import __version__

PACKAGES = ("optuna", "fastai", "torch", "torchvision", "timm", "scikit-learn", "numpy")


def versions() -> dict[str, str]:
    """The versions of Python, hpo-job and the packages that trials depend on, where installed.

    hpo-job's is its own: it may only be on Python's path.
    """
    installed = {"python": platform.python_version(), "hpo-job": __version__}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def git_revision(folder: Path) -> str | None:
    """The commit of ``folder``, with ``-dirty`` if files were changed; None outside of git."""
    try:
        revision = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return revision.stdout.strip()
