"""Optuna's dashboard and command line open the study as it is, during a run and after it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.quick import wait_until
from tests.storage.pods import HELD, pods_of

PROGRAMS = Path(sys.executable).parent


def test_the_dashboard_and_the_command_line_see_the_run(url: str, tmp_path: Path) -> None:
    program = PROGRAMS / "optuna-dashboard"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def ask(path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}") as answer:
            return json.load(answer)

    def answers() -> bool:
        try:
            return bool(ask("studies"))
        except (urllib.error.URLError, ConnectionError):
            return False

    def states(trials: list[dict[str, Any]]) -> list[str]:
        return [str(trial["state"]).upper() for trial in trials]

    with pods_of(tmp_path, url, HELD, budget="trials = 2") as pods:
        pods.start(2)
        pods.wait_for(2)
        pods.know_parameters(2)
        dashboard = subprocess.Popen(
            [program, "--port", str(port), "--quiet", url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(answers)
            (study,) = ask("studies")["study_summaries"]
            assert study["study_name"] == "quick"
            seen = ask(f"studies/{study['study_id']}?after=0")["trials"]
            assert states(seen) == ["RUNNING"] * 2
            assert all(trial["params"] for trial in seen)
            pods.go()
            assert pods.end() == [0, 0]
            wait_until(
                lambda: (
                    states(ask(f"studies/{study['study_id']}?after=0")["trials"])
                    == ["COMPLETE"] * 2
                )
            )
        finally:
            dashboard.terminate()
            dashboard.wait(120)
    listed = subprocess.run(
        [PROGRAMS / "optuna", "trials", "--study-name", "quick", "--storage", url, "-f", "json"],
        capture_output=True,
        text=True,
    )
    assert listed.returncode == 0, listed.stderr
    assert len(json.loads(listed.stdout)) == 2
