"""A machine with nothing but Python and make runs the tests: what lacks something is skipped."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT, needs


def run_without_programs(folder: Path, *arguments: str, **env: str) -> tuple[int, str]:
    """Run pytest with an empty PATH; its exit code and what it prints."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HPO_JOB_", "KUBECONFIG", "PYTEST_", "CI"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=kept | {"PATH": str(folder)} | env,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.processes
def test_where_all_is_missing_tests_are_skipped_and_say_what_to_install(tmp_path: Path) -> None:
    # tests/objectives imports torch, and tests/release installs wheels: both take long, and need
    # no program
    code, text = run_without_programs(
        tmp_path,
        "-m",
        "needs",
        "--ignore=tests/objectives",
        "--ignore=tests/release",
        f"--basetemp={tmp_path}/base",
    )
    assert code == 0, text
    reasons = dict(re.findall(r"^SKIPPED .*?: needs ([\w-]+): (.+)$", text, re.MULTILINE))
    assert {"chromium", "git", "mariadb", "mysql"} <= set(reasons)
    assert reasons == {name: needs.NEEDS[name].hint for name in reasons}


@pytest.mark.processes
def test_in_ci_what_it_installs_has_to_be_there(tmp_path: Path) -> None:
    code, text = run_without_programs(
        tmp_path, "tests/storage/mysql/test_dashboard.py", f"--basetemp={tmp_path}/base", CI="true"
    )
    assert code == 1
    assert "needs mysql: install the package mariadb-server" in text


@pytest.mark.processes
def test_a_name_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests import needs\n"
        "def pytest_collection_modifyitems(items):\n    for item in items: needs.mark(item)\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import pytest\n@pytest.mark.needs('mariadbd')\ndef test_it(): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:kmock", "--rootdir", tmp_path],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 4
    assert "needs mariadbd: tests/needs.py does not have it" in done.stderr


def test_a_test_that_declares_nothing_sees_no_other_programs() -> None:
    assert {file.name for file in Path(os.environ["PATH"]).iterdir()} <= set(needs.BASIC)
    assert needs.find_server() is None
    assert shutil.which("make") is not None


@pytest.mark.needs("openssl")
def test_a_test_that_declares_something_sees_it() -> None:
    assert shutil.which("openssl")


def test_every_need_says_what_to_do() -> None:
    for need in needs.NEEDS.values():
        assert need.hint[0].islower() or "may not be shipped" in need.hint
        assert "\n" not in need.hint
