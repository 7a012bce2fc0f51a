"""What some tests need besides Python and its packages: ``@pytest.mark.needs("mariadb")``.

Where it is missing the test is skipped, and the reason says what to install. In CI a test fails
instead of being skipped if `.ci/run` installs what it needs. A test without such a mark
sees no programs but ``BASIC``, so one that forgets its mark fails on every machine.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import SHARED_DATA

# Programs of every Unix with Python and make, as far as tests and the Makefile use them
BASIC = (
    *("awk", "basename", "bash", "cat", "chmod", "cp", "date", "dirname", "env", "expr", "false"),
    *("grep", "head", "id", "ln", "ls", "make", "mkdir", "mktemp", "mv", "python3", "rm", "sed"),
    *("sh", "sleep", "sort", "tail", "touch", "tr", "true", "uname", "wc", "xargs"),
)
# Fixtures that need something: whoever uses them needs it too
FIXTURES = {
    "root_url": ("mysql",),
    "start_server": ("mariadb",),
    "tls": ("mariadb", "openssl"),
    "postgres": ("postgres",),
    "own_postgres": ("postgres",),
    "chrome": ("chromium",),
}


@dataclass(frozen=True)
class Need:
    """Whether it is there, what to do where it is not, and whether `.ci/run` installs it."""

    is_there: Callable[[], object]
    hint: str
    in_ci: bool = True


def find_program(*names: str) -> str | None:
    """The first of some programs that is installed.

    Servers lie in directories that an ordinary user's PATH leaves out: /usr/sbin, and Debian's
    /usr/lib/postgresql/VERSION/bin.
    """
    paths = [Path(entry) for entry in os.get_exec_path()]
    for prefix in [path.parent for path in paths if path.name == "bin"]:
        paths += [prefix / "sbin", *sorted((prefix / "lib/postgresql").glob("*/bin"), reverse=True)]
    places = os.pathsep.join(map(str, paths))
    return next((path for name in names if (path := shutil.which(name, path=places))), None)


def find_browser() -> tuple[str, str] | None:
    """The browser and its driver, where both are installed."""
    browser, driver = find_program("chromium", "google-chrome"), find_program("chromedriver")
    return (browser, driver) if browser and driver else None


def find_server() -> str | None:
    """The server program: HPO_JOB_TEST_MYSQLD, or the one that is installed."""
    return os.environ.get("HPO_JOB_TEST_MYSQLD") or find_program("mariadbd", "mysqld")


def _module(name: str) -> Callable[[], object]:
    return lambda: importlib.util.find_spec(name)


def _program(*names: str) -> Callable[[], object]:
    return lambda: all(find_program(name) for name in names)


def _may_mount() -> bool:
    unshare = find_program("unshare")
    command = [str(unshare), "--mount", "mount", "-t", "tmpfs", "t", "/mnt"]
    return unshare is not None and not subprocess.run(command, capture_output=True).returncode


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _shared(name: str) -> Need:
    file = SHARED_DATA / name
    return Need(file.exists, f"{name} may not be shipped: put it into {SHARED_DATA}", in_ci=False)


NEEDS = {
    "mariadb": Need(find_server, "install the package mariadb-server"),
    "mysql": Need(
        lambda: os.environ.get("HPO_JOB_TEST_MYSQL") or find_server(),
        "install the package mariadb-server, or name a server in HPO_JOB_TEST_MYSQL",
    ),
    "mysqlclient": Need(_module("MySQLdb"), "pip install mysqlclient"),
    "sqlite3": Need(_program("sqlite3"), "install the package sqlite3"),
    "pymysql": Need(_module("pymysql"), "pip install pymysql"),
    "postgres": Need(
        lambda: find_program("initdb") and importlib.util.find_spec("psycopg"),
        "install the package postgresql, and pip install 'psycopg[binary]'",
    ),
    "chromium": Need(find_browser, "install the packages chromium and chromium-driver"),
    "git": Need(_program("git"), "install the package git"),
    "openssl": Need(_program("openssl"), "install the package openssl"),
    "faketime": Need(_program("faketime"), "install the package faketime"),
    "mount": Need(_may_mount, "run as root, where mount namespaces are allowed", in_ci=False),
    "setuptools": Need(
        lambda: int(importlib.metadata.version("setuptools").split(".")[0]) >= 77,
        "pip install 'setuptools>=77', which builds the package",
    ),
    "setpriv": Need(
        lambda: os.geteuid() != 0 or find_program("setpriv"), "install the package util-linux"
    ),
    "no-root": Need(lambda: os.geteuid() != 0, "run as an ordinary user", in_ci=False),
    "two-cpus": Need(
        lambda: len(os.sched_getaffinity(0)) > 1, "run on a machine of two CPUs", in_ci=False
    ),
    "gpu": Need(_has_gpu, "run on a machine with a CUDA GPU", in_ci=False),
    "compiler": Need(
        lambda: find_program("g++") and Path(sysconfig.get_path("include"), "Python.h").exists(),
        "install the packages g++ and python3-dev, for torch.compile and the simulated GPU",
        in_ci=False,
    ),
    "no-gpu": Need(lambda: not _has_gpu(), "run with CUDA_VISIBLE_DEVICES=", in_ci=False),
    "full-disk": Need(
        Path("/dev/full").exists, "run on Linux: /dev/full is a full disk", in_ci=False
    ),
    "image-build": Need(
        lambda: find_program("buildah") and os.geteuid() == 0 and os.environ.get("CI") != "true",
        "install the package buildah, and run as root; not in CI, because it takes minutes",
        in_ci=False,
    ),
    "base-image": Need(
        lambda: os.environ.get("HPO_JOB_TEST_BASE_IMAGE") or find_program("debootstrap"),
        "install the package debootstrap, or name an image in HPO_JOB_TEST_BASE_IMAGE",
        in_ci=False,
    ),
    "cluster": Need(
        lambda: os.environ.get("KUBECONFIG"),
        "name a cluster in KUBECONFIG, or run make test-cluster",
        in_ci=False,
    ),
    "old-bailey": _shared("old-bailey"),
    "state-of-the-union": _shared("state-of-the-union.csv.gz"),
}


@functools.cache
def is_there(name: str) -> bool:
    """Whether this machine has it; looked up once."""
    return bool(NEEDS[name].is_there())


def of_item(item: pytest.Item) -> Iterator[str]:
    """The names of what a test needs."""
    for marker in item.iter_markers("needs"):
        yield from marker.args


def mark(item: pytest.Item) -> None:
    """Mark a test with what its fixtures need; an unknown name is an error."""
    for fixture in getattr(item, "fixturenames", ()):
        if fixture in FIXTURES:
            item.add_marker(pytest.mark.needs(*FIXTURES[fixture]))
    if unknown := set(of_item(item)) - set(NEEDS):
        raise pytest.UsageError(
            f"{item.nodeid}: needs {', '.join(sorted(unknown))}: tests/needs.py does not have it"
        )


def check(item: pytest.Item) -> None:
    """Skip a test that lacks something; in CI, fail where `.ci/run` should have installed it."""
    for name in of_item(item):
        if not is_there(name):
            reason = f"needs {name}: {NEEDS[name].hint}"
            if os.environ.get("CI") == "true" and NEEDS[name].in_ci:
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


def basic_programs(folder: Path) -> Path:
    """A folder of links to the programs that every test may use, to be its PATH."""
    for name in BASIC:
        if program := shutil.which(name):
            (folder / name).symlink_to(program)
    return folder
