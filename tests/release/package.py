"""What this tree releases, built for real, and environments that hold it with one extra."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import ROOT

# What a build reads; jobs and their images are not a part of any
BUILT_FROM = ("hpo_job", "k8s", "tests")
BUILD = (
    "import sys; from setuptools import build_meta; "
    "print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
)


def copy_tree(tree: Path) -> Path:
    """A copy to build in, since a build leaves folders behind."""
    for name in BUILT_FROM:
        leave_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=leave_out)
    for file in ROOT.iterdir():
        if file.suffix in (".in", ".md", ".toml", ".txt") or file.name == "LICENSE":
            shutil.copy(file, tree / file.name)
    return tree


def build(hook: str, tree: Path, into: Path) -> Path:
    """The wheel (``build_wheel``) or the sdist (``build_sdist``) of ``tree``."""
    done = subprocess.run(
        [sys.executable, "-c", BUILD, hook, str(into)], cwd=tree, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return into / done.stdout.split()[-1]


def environment(folder: Path, wheel: Path, *extras: str) -> Path:
    """The Python of an environment with ``wheel`` and, as links, what it asks for; nothing else.

    The links lead to packages of the environment that runs the tests, so nothing is downloaded.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    ours = Distribution.at(next(site.glob("hpo_job-*.dist-info")))
    for package in _asked_by(ours, extras, {}).values():
        for name in {file.parts[0] for file in package.files or ()} - {"..", "__pycache__"}:
            target = Path(str(package.locate_file(name)))
            if target.exists() and not (site / name).exists():
                (site / name).symlink_to(target)
    return folder / "bin" / "python"


def _asked_by(
    package: Distribution, extras: Iterable[str], found: dict[str, Distribution]
) -> dict[str, Distribution]:
    """All packages that ``package`` with ``extras`` needs on this machine, by name."""
    for requirement in _requirements(package, extras):
        name = canonicalize_name(requirement.name)
        try:
            needed = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # not installed for the tests, such as the drivers of databases
        if name not in found or requirement.extras:
            found[name] = needed
            _asked_by(needed, requirement.extras, found)
    return found


def _requirements(package: Distribution, extras: Iterable[str]) -> Iterator[Requirement]:
    for requirement in map(Requirement, package.requires or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement
