"""Installs the wheel with each extra in a new environment, and tunes in it: ``make test-wheel``.

With arguments, only those extras; ``-`` is the wheel without any. This downloads what it installs,
so it is not a part of the test suite.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tests import ROOT
from tests.quick import write_job
from tests.release.test_package import IMPORTS

STEPS = ("run quick", "status quick", "results quick", "best quick")


def main(extras: list[str]) -> int:
    """Try each of ``extras``; the exit code."""
    wheels = list((ROOT / "dist").glob("*.whl"))
    if len(wheels) != 1:
        print("dist/ holds no wheel, or several: make dist")
        return 2
    failed = [extra for extra in extras or ["-", *IMPORTS] if not works(wheels[0], extra)]
    print(f"Python {sys.version.split()[0]}: {len(failed)} failed", *failed)
    return 1 if failed else 0


def works(wheel: Path, extra: str) -> bool:
    """Install and use the wheel with one extra; print what is tried, and what failed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        programs = folder / "venv" / "bin"
        wanted = str(wheel) if extra == "-" else f"{wheel}[{extra}]"
        constraints = ("--constraint", ROOT / "constraints.txt")
        commands: list[list[str | Path]] = [
            [programs / "pip", "install", "--quiet", *constraints, wanted]
        ]
        if extra in IMPORTS:
            lines = "; ".join(f"import {module}" for module in IMPORTS[extra].split())
            commands.append([programs / "python", "-c", lines])
        write_job(folder, budget="trials = 2")
        commands += [[programs / "hpo-job", *step.split()] for step in STEPS]
        for command in commands:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                print(extra, *command[1:], done.stdout, done.stderr, sep="\n")
                return False
        size = sum(file.stat().st_size for file in programs.parent.rglob("*") if file.is_file())
        print(f"{extra}: works, {size / 2**30:.1f} GiB", flush=True)
    return True


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
