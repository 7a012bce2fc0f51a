"""pyproject.toml, constraints.txt and the hashed files in requirements/ say the same."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import ROOT
from tests.release.test_package import IMPORTS, NOT_TRIED

LOCKED = ROOT / "requirements"
EXTRAS = {
    "demo.txt": ["fastai", "demo"],
    "kubernetes.txt": ["kubernetes"],
    "test.txt": ["fastai", "demo", "test"],
    "image.txt": ["fastai", "demo", "mysql", "remote", "s3", "gcs", "dashboard"],
}
with (ROOT / "pyproject.toml").open("rb") as _file:
    PYPROJECT = tomllib.load(_file)
PROJECT = PYPROJECT["project"]


def pins(file: Path) -> dict[str, str]:
    """The version of each package in a lock file; a package that is there twice is an error."""
    lines = re.findall(r"^([\w.-]+)==(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    names = [canonicalize_name(name) for name, _ in lines]
    assert len(names) == len({*names}), f"{file.name} has a package twice"
    return dict(zip(names, (version for _, version in lines), strict=True))


def asked(extras: Iterable[str]) -> Iterator[Requirement]:
    """What pyproject.toml asks for with these extras, which may name others of its extras."""
    for line in [*PROJECT["dependencies"]] + [
        line for extra in extras for line in PROJECT["optional-dependencies"][extra]
    ]:
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            yield from asked(requirement.extras)
        else:
            yield requirement


CONSTRAINTS = pins(ROOT / "constraints.txt")


def test_there_is_a_file_for_each_use() -> None:
    assert {file.name for file in LOCKED.iterdir()} == {*EXTRAS, "release.txt"}


@pytest.mark.parametrize("name", EXTRAS)
def test_what_pyproject_asks_for_is_locked(name: str) -> None:
    locked = pins(LOCKED / name)
    for requirement in asked(EXTRAS[name]):
        version = locked.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not in {name}: run `make lock`"
        assert requirement.specifier.contains(version, prereleases=True), requirement


def test_the_constraints_are_for_every_extra() -> None:
    for requirement in asked(PROJECT["optional-dependencies"]):
        version = CONSTRAINTS[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), requirement


def test_every_extra_is_installed_by_make_test_wheel() -> None:
    assert set(PROJECT["optional-dependencies"]) - NOT_TRIED == set(IMPORTS)


def test_release_tools_are_locked() -> None:
    locked = pins(LOCKED / "release.txt")
    for line in PYPROJECT["dependency-groups"]["release"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(locked[requirement.name]), requirement


@pytest.mark.parametrize("file", sorted(LOCKED.iterdir()), ids=lambda file: file.name)
def test_each_version_is_that_of_the_constraints_and_has_hashes(file: Path) -> None:
    assert pins(file).items() <= CONSTRAINTS.items()
    for entry in re.split(r"\n(?=\w)", file.read_text(encoding="utf-8").partition("\n\n")[0])[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry.splitlines()[0]


@pytest.mark.parametrize(
    "file",
    [ROOT / "constraints.txt", *sorted(LOCKED.iterdir())],
    ids=lambda file: file.name,
)
def test_a_lock_holds_names_versions_and_hashes_only(file: Path) -> None:
    """No address or folder of the machine that wrote it."""
    for line in file.read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(
            r"#.*|[\w.-]+==[\w.]+( ; [^/:]*)?( \\)?|    --hash=sha256:[0-9a-f]{64}( \\)?", line
        ), line


def test_what_locked_packages_ask_for_is_locked() -> None:
    """Of those that are installed here, for this machine and this Python."""
    missing = {
        f"{name} asks for {requirement.name}"
        for name in pins(LOCKED / "test.txt")
        for requirement in map(Requirement, _asked_by(name))
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if canonicalize_name(requirement.name) not in CONSTRAINTS
    }
    assert missing == set()


def _asked_by(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:  # of another system
        return []


def test_optuna_is_pinned_to_a_minor_release() -> None:
    """Private names of it are used; tests/study and tests/storage pin each of them."""
    (optuna,) = (each for each in asked([]) if each.name == "optuna")
    assert re.fullmatch(r"~=\d+\.\d+\.\d+", str(optuna.specifier))
