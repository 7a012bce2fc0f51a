"""Text of any kind on any terminal: names that are not text, a BOM, ASCII, files without codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

HPO_JOB = str(Path(sys.executable).with_name("hpo-job"))
NAME = os.fsdecode(b"caf\xe9.txt")  # an old archive's name, which is not UTF-8
# Fails with the name of a file, and prints it
OBJECTIVE = """
import os

def train(trial, context):
    (name,) = os.listdir(context.path)
    print(name, "größer")
    if trial.number == 0:
        raise ValueError(f"{name} is no good, größer")
    return context.params["x"]
"""
BOM = b"\xef\xbb\xbf"
ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
LATIN = {"PYTHONIOENCODING": "latin-1"}
COMMANDS = [
    ["check", "JOB"],
    ["create", "JOB"],
    ["run", "JOB", "--workers", "2", "--log-file", "größer.log", "--set", "budget.trials=6"],
    ["status", "JOB"],
    ["status", "wörter", "--format", "json"],
    ["results", "wörter"],
    ["results", "wörter", "--columns", "number,größe,user_attrs_error"],
    ["best", "wörter"],
    ["importance", "wörter"],
    ["enqueue", "wörter", "größe=größer"],
    ["plot", "wörter", "history"],
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a job of which each file and name is of some trouble."""
    folder = tmp_path_factory.mktemp("größer")
    job = folder / "jobs" / os.fsdecode(b"j\xf6b")
    (job / "data").mkdir(parents=True)
    (job / "data" / NAME).write_bytes(b"x")
    (job / "objective.py").write_bytes(BOM + OBJECTIVE.encode())
    study = """
name = "quick"
objective = "objective.py:train"
direction = "minimize"
[budget]
trials = 3
[data]
path = "data"
[search_space]
x = { type = "float", low = 0.0, high = 1.0 }
"größe" = { type = "categorical", choices = ["größer", "klein"] }
"""
    (job / "study.toml").write_bytes(BOM + study.replace("\n", "\r\n").encode())
    (folder / "url").write_bytes(BOM + b"sqlite:///studies.db\r\n")
    return folder


def hpo_job(place: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    job = os.fsdecode(b"j\xf6b")
    words = [job if word == "JOB" else word.replace("wörter", "quick") for word in arguments]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HPO_JOB_")}
    done = subprocess.run(
        [HPO_JOB, *words],
        cwd=place,
        env=clean | {"HPO_JOB_STORAGE_FILE": "url"} | env,
        capture_output=True,
        check=False,
    )
    assert b"UnicodeEncodeError" not in done.stderr + done.stdout
    assert b"UnicodeDecodeError" not in done.stderr + done.stdout
    return done


@pytest.mark.slow
@pytest.mark.parametrize("env", [ASCII, LATIN], ids=["ascii", "latin-1"])
def test_every_command_writes_what_the_terminal_can_show(
    place: Path, subtests: pytest.Subtests, env: dict[str, str]
) -> None:
    """Replaced, where it cannot; and one traceback at most, of the objective's one mistake."""
    for arguments in COMMANDS:
        with subtests.test(" ".join(arguments)):
            done = hpo_job(place, *arguments, **env)
            codes = (0, 2) if arguments[1] == "JOB" and arguments[0] == "status" else (0,)
            assert done.returncode in codes, done.stderr.decode("latin-1")
            assert done.stderr.count(b"Traceback (most recent call last)") <= 1
            for output in (done.stdout, done.stderr):
                output.decode("utf-8" if env is ASCII else "latin-1")


@pytest.mark.processes
def test_files_are_utf_8_without_terminal_codes(place: Path) -> None:
    hpo_job(place, "worker", "JOB")
    for form in ("table", "csv", "json"):
        file = place / f"results.{form}"
        done = hpo_job(
            place, "results", "quick", "--format", form, "-o", str(file), FORCE_COLOR="1", **ASCII
        )
        assert done.returncode == 0, done.stderr.decode()
        text = file.read_bytes().decode("utf-8")
        assert "größer" in text or json.loads(text)
        assert "\x1b" not in text
    assert "größer" in set(pd.read_csv(place / "results.csv")["params_größe"])
    page = place / "page.html"
    assert hpo_job(place, "report", "quick", "-o", str(page), **ASCII).returncode == 0
    assert "größer" in page.read_bytes().decode("utf-8")
    assert b"\x1b" not in page.read_bytes()


@pytest.mark.processes
def test_a_pipe_gets_no_terminal_codes(place: Path) -> None:
    hpo_job(place, "worker", "JOB")
    for arguments in (["results", "quick"], ["status", "quick"], ["compare", "quick", "quick"]):
        done = hpo_job(place, *arguments)
        assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.processes
def test_a_name_with_terminal_codes_is_escaped(job: Callable[..., Path], tmp_path: Path) -> None:
    folder = job(folder="\x1b[31mred\x07", budget={"trails": 3})
    done = subprocess.run(
        [HPO_JOB, "check", folder], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "\\x1b[31mred\\x07" in done.stderr
    assert "\x1b" not in done.stderr
