"""What the tables of ``make bench`` share: timing a command, and writing a table."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OTHERS = ROOT / ".venv-bench"  # where Ray Tune and Syne Tune are installed: make .venv-bench
RESULTS = ROOT / "build" / "bench"
PACKAGES = ("hpo-job", "optuna", "torch", "fastai", "ray", "syne-tune")
LIMIT = 1800  # seconds that one side may take


class NotRun(Exception):
    """A side could not be measured; the text is what the table says instead of a figure."""


@dataclass
class Table:
    """What one kind of work costs with each tool.

    Attributes:
        title: says what was measured, and in what unit.
        columns: of the table, after the first, which names the tool.
        rows: the cells of each tool, by its name: the figures of all runs, or why there are none.
        goals: what this tool should reach, by column.
        notes: sentences below the table.
    """

    title: str
    columns: list[str]
    rows: dict[str, dict[str, list[float] | str]] = field(default_factory=dict)
    goals: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def measure(self, row: str, column: str, work: Callable[[], float]) -> None:
        """Add a figure to a cell; a side that cannot be measured says why in its place."""
        cell = self.rows.setdefault(row, {}).setdefault(column, [])
        if isinstance(cell, str):
            return
        try:
            cell.append(work())
        except NotRun as problem:
            self.rows[row][column] = str(problem)
        print(f"{row:<14} {column:<26} {shown(self.rows[row][column])}", flush=True)

    def add(self, row: str, column: str, figure: float) -> None:
        """Add a figure that is known already."""
        self.measure(row, column, lambda: figure)

    def markdown(self) -> str:
        """The table as a page of documentation has it."""
        lines = [f"### {self.title}", ""]
        lines += ["| | " + " | ".join(self.columns) + " |"]
        lines += ["| --- |" + " --- |" * len(self.columns)]
        for name, cells in self.rows.items():
            texts = [shown(cells.get(column, "")) for column in self.columns]
            lines.append(f"| {name} | " + " | ".join(texts) + " |")
        if self.goals:
            texts = [self.goals.get(column, "") for column in self.columns]
            lines.append("| goal | " + " | ".join(texts) + " |")
        return "\n".join([*lines, "", *self.notes, ""])


def shown(cell: Sequence[float] | str) -> str:
    """The median of all runs, and their spread."""
    if isinstance(cell, str) or not cell:
        return str(cell or "")
    middle = f"{statistics.median(cell):.3g}"
    return middle if len(cell) == 1 else f"{middle} ({min(cell):.3g} to {max(cell):.3g})"


def write(name: str, tables: Sequence[Table], repeats: int) -> None:
    """Write the tables as Markdown and JSON, with the machine and the versions they hold for."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    about = {"date": datetime.now(UTC).date().isoformat(), **machine()}
    data = {**about, "runs": repeats, "tables": [asdict(table) for table in tables]}
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    lines = [f"{key}: {value}" for key, value in about.items() if key != "versions"]
    lines += [", ".join(f"{package} {version}" for package, version in versions().items())]
    text = "\n\n".join([*(table.markdown() for table in tables), "  \n".join(lines)])
    (RESULTS / f"{name}.md").write_text(text + "\n")
    print(f"\n{text}\n\nwritten: {RESULTS.relative_to(ROOT)}/{name}.md and {name}.json")


def machine() -> dict[str, Any]:
    """What a figure depends on."""
    sys.path.insert(0, str(ROOT))
    from hpo_job.machine import cpu_name

    return {
        "machine": f"{cpu_name() or platform.machine()}, {len(os.sched_getaffinity(0))} CPUs",
        "load before": round(_LOAD, 2),
        "python": platform.python_version(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """The packages that were compared; those of the other tools are in their own environment."""
    path = [*sys.path, *map(str, OTHERS.glob("lib/python*/site-packages"))]
    found = {}
    for name in PACKAGES:
        for each in importlib.metadata.distributions(name=name, path=path):
            found[name] = each.version
            break
    return found


def timed(
    command: Sequence[object], cwd: Path, environment: Mapping[str, str] | None = None
) -> tuple[float, str]:
    """The seconds from starting a command to its end, and what it has printed.

    Raises:
        NotRun: it failed, or took longer than the limit.
    """
    begin = time.perf_counter()
    with (cwd / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        try:
            code = process.wait(LIMIT)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    seconds = time.perf_counter() - begin
    text = (cwd / "output.txt").read_text(errors="replace")
    if code:
        print(text[-3000:], file=sys.stderr)
        raise NotRun(f"failed (exit code {code})")
    return seconds, text


def python_of_others(package: str) -> Path:
    """The interpreter that has another tool.

    Raises:
        NotRun: it is not installed.
    """
    if not any(OTHERS.glob(f"lib/python*/site-packages/{package}/__init__.py")):
        raise NotRun(f"not installed on Python {platform.python_version()}")
    return OTHERS / "bin" / "python"


_LOAD = os.getloadavg()[0]
