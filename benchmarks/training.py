"""The tables of real training: people-vs-animals with a fixed list of trials, and with a search.

Both sides train the same networks from the same weights, on the same images, and are scored on the
same held-out ones. The plain loop is written as the worked example writes it in a notebook: see
sides/plain_loop.py.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
import tomli_w
from measuring import ROOT, NotRun, Table, timed

sys.path.insert(0, str(ROOT))

from hpo_job.data.images import LabelledFiles
from hpo_job.spec.reading import read_spec
from hpo_job.study.checking import read_data

JOB = ROOT / "jobs" / "people-vs-animals"
LOOP = Path(__file__).parent / "sides" / "plain_loop.py"
WORKERS = 2
NEAR = 0.98  # of the best value
TRIALS = [
    {
        "pre_trained": pre_trained,
        "epochs": epochs,
        "learning_rate": rate,
        "unfrozen_epochs": unfrozen,
        "unfrozen_learning_rate": unfrozen_rate,
    }
    for pre_trained, epochs, rate, unfrozen, unfrozen_rate in (
        (True, 2, 3e-3, 1, 1e-4),
        (True, 3, 1e-2, 0, 1e-4),
        (True, 1, 5e-3, 2, 3e-4),
        (True, 4, 2e-3, 0, 1e-4),
        (True, 2, 1e-2, 2, 1e-3),
        (True, 3, 5e-3, 1, 3e-4),
        (True, 1, 1e-2, 3, 1e-3),
        (True, 2, 8e-3, 2, 3e-4),
        (True, 4, 5e-3, 1, 1e-4),
        (True, 3, 3e-3, 3, 3e-4),
        (False, 3, 3e-3, 1, 1e-3),
        (False, 4, 1e-2, 2, 1e-3),
    )
]


def fixed(quick: bool, repeats: int) -> list[Table]:
    """The time that the same trials take, and what they reach."""
    trials = [{**trial, "epochs": 1} for trial in TRIALS[:2]] if quick else TRIALS
    columns = ["seconds", "faster than the loop", "mean accuracy", "best accuracy"]
    table = Table(
        f"people-vs-animals, {len(trials)} fixed trials, hpo-job with {WORKERS} workers",
        columns,
        goals={"faster than the loop": "1.8", "mean accuracy": "within 0.02"},
        notes=["From the command to its end, imports included."],
    )
    for _ in range(repeats):
        taken = {}
        for name, run in (("plain loop", _run_loop), ("hpo-job", _run_study)):
            try:
                begin, end, ended = run(trials, len(trials), 0)
            except NotRun as problem:
                table.rows.setdefault(name, {})["seconds"] = str(problem)
                continue
            taken[name] = end - begin
            values = [value for _, value in ended]
            table.add(name, "seconds", taken[name])
            table.add(name, "mean accuracy", statistics.mean(values))
            table.add(name, "best accuracy", max(values))
            if "plain loop" in taken:  # else its row says why it was not measured
                table.add(name, "faster than the loop", taken["plain loop"] / taken[name])
    return [table]


def search(quick: bool, seeds: int) -> list[Table]:
    """The time until a trial is near the best value that any trial of any side has reached."""
    trials = 3 if quick else 12
    runs = {}
    for seed in range(seeds):
        for name, run in (("plain loop", _run_loop), ("hpo-job", _run_study)):
            runs[name, seed] = run(None, trials, seed)
            print(f"{name}, seed {seed}: {runs[name, seed][1] - runs[name, seed][0]:.0f} s")
    best = max(value for _, _, ended in runs.values() for _, value in ended)
    column, whole = f"seconds to {NEAR:g} of {best:.3f}", "seconds in all"
    table = Table(
        f"people-vs-animals with search and pruning, {trials} trials, {WORKERS} workers",
        [column, "sooner than the loop", whole, "best accuracy"],
        goals={"sooner than the loop": "3"},
        notes=[
            "The best value is the best of all runs. A run that does not come near it counts with "
            f"its whole time. Seeds: {seeds}."
        ],
    )
    reached = {}
    for (name, seed), (begin, end, ended) in runs.items():
        near = [moment for moment, value in ended if value >= NEAR * best]
        reached[name, seed] = min(near, default=end) - begin
        table.add(name, column, reached[name, seed])
        table.add(name, whole, end - begin)
        table.add(name, "best accuracy", max(value for _, value in ended))
        ratio = reached["plain loop", seed] / reached[name, seed]
        table.add(name, "sooner than the loop", ratio)
    return [table]


Run = tuple[float, float, list[tuple[float, float]]]  # begin, end, and (end, value) of each trial


def _run_loop(trials: list[dict[str, Any]] | None, count: int, seed: int) -> Run:
    spec = read_spec(JOB)
    data = read_data(spec)
    assert isinstance(data, LabelledFiles)
    order = {
        "root": str(data.root),
        "train": [data.files[position] for position in data.train],
        "valid": [data.files[position] for position in data.valid],
        "trials": trials,
        "count": count,
        "seed": seed,
    }
    folder = Path(tempfile.mkdtemp(prefix="hpo-job-bench-"))
    try:
        (folder / "order.json").write_text(json.dumps(order))
        begin = time.time()
        _, text = timed([sys.executable, LOOP, folder / "order.json"], folder)
        end = time.time()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    lines = [line.split() for line in text.splitlines() if line.startswith("TRIAL ")]
    return begin, end, [(float(moment), float(value)) for _, moment, value in lines]


def _run_study(trials: list[dict[str, Any]] | None, count: int, seed: int) -> Run:
    folder = Path(tempfile.mkdtemp(prefix="hpo-job-bench-"))
    try:
        (folder / "job").mkdir()
        (folder / "job" / "study.toml").write_text(_study_toml(trials, count, seed))
        url = f"sqlite:///{folder}/studies.db"
        command: list[object] = [Path(sys.executable).with_name("hpo-job"), "run", folder / "job"]
        options = ["--storage", url, "--workers", str(WORKERS), "--cache", folder / "cache"]
        begin = time.time()
        timed([*command, *options], folder)
        end = time.time()
        (study,) = optuna.get_all_study_names(url)
        ended = list(_ended(optuna.load_study(study_name=study, storage=url).trials))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if trials and len(ended) < count:
        raise NotRun(f"{len(ended)} of {count} trials are COMPLETE")
    return begin, end, ended


def _ended(trials: Iterable[optuna.trial.FrozenTrial]) -> Iterable[tuple[float, float]]:
    for trial in trials:
        if trial.state.name == "COMPLETE" and trial.datetime_complete and trial.value is not None:
            yield trial.datetime_complete.timestamp(), trial.value


def _study_toml(trials: list[dict[str, Any]] | None, count: int, seed: int) -> str:
    """The demo's study.toml; its list of trials to begin with is this one."""
    study = tomllib.loads((JOB / "study.toml").read_text())
    study["data"]["path"] = str(JOB / "data")
    study["budget"]["trials"] = count
    study["enqueue"] = trials or []
    if trials:
        del study["pruner"]
    else:
        study["seed"] = seed
    return tomli_w.dumps(study)
