"""Kills workers of a study at random while they train, and compares it with an undisturbed one.

    python benchmarks/preemption.py                # one worker killed every 20 s, 12 trials
    python benchmarks/preemption.py --separate     # two `hpo-job worker`, in place of `run`
    python benchmarks/preemption.py --every 10 --checkpoint 5s --epochs 6

Both studies train the same 12 parameter sets on jobs/people-vs-animals, with the real command and
two workers. In the second one, SIGKILL or SIGTERM is sent to a worker that is in the middle of a
trial. Printed are, for each, the seconds of training (``train_time``, and the work that was lost),
the seconds from the command to its end, those of the processors (all processes, starts included:
the ratio that holds where something else runs), and their ratios. Exit code 0 where the budget came
out exact and each parameter set ended with the value of the undisturbed study.
"""

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hpo_job.machine import cpu_name  # noqa: E402
from hpo_job.trial import attributes  # noqa: E402

HPO_JOB = Path(sys.executable).with_name("hpo-job")
WORKERS, NAME = 2, "preemption"
STUDY = """
name = "preemption"
objective = "image_classification"
metric = "log_loss"
direction = "minimize"
[budget]
trials = {trials}
[data]
path = "data"
valid_pct = 0.3
seed = 42
[pruner]
name = "NopPruner"
[checkpoint]
every = "{checkpoint}"
[search_space]
model = "tf_efficientnet_lite0"
image_size = 32
batch_size = 16
epochs = 1
unfrozen_epochs = {epochs}
learning_rate = {{ type = "float", low = 1e-4, high = 1e-1, log = true }}
unfrozen_learning_rate = {{ type = "float", low = 1e-5, high = 1e-2, log = true }}
"""


class Workers:
    """The processes of one study: `hpo-job run`, or `hpo-job worker` started again when killed."""

    def __init__(self, folder: Path, *, separate: bool) -> None:
        self.url = f"sqlite:///{folder}/studies.db"
        places: list[str | Path] = ["--storage", self.url, "--artifacts", folder / "store"]
        # the decoded images are shared, so that only the first study of all decodes them
        places += ["--cache", folder.parent / "cache", "--threads", "1"]
        job = folder.parent / "job"
        command: list[str | Path] = (
            ["worker", job] if separate else ["run", job, "--workers", str(WORKERS)]
        )
        self._command = [HPO_JOB, *command, *places]
        self._log = (folder / "log").open("w")
        self._processes = [self._start() for _ in range(WORKERS if separate else 1)]
        self._separate = separate
        self.starts = len(self._processes)

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=self._log, stderr=self._log)

    def run(self) -> bool:
        """Whether some of them run still; those that a signal has ended are started again."""
        for position, process in enumerate(self._processes):
            if self._separate and process.poll() in (-signal.SIGKILL, 128 + signal.SIGTERM):
                self._processes[position] = self._start()
                self.starts += 1
        codes = [process.poll() for process in self._processes]
        if any(codes):
            raise SystemExit(f"exit codes {codes}; see {self._log.name}")
        return None in codes

    def training(self) -> list[int]:
        """The processes that are in the middle of a trial."""
        pids = [trial.user_attrs[attributes.WORKER]["pid"] for trial in trials(self.url, running)]
        return [pid for pid in pids if _is_ours(pid)]


def running(trial: FrozenTrial) -> bool:
    """Whether it runs, and a worker has written its name to it."""
    return trial.state == TrialState.RUNNING and attributes.WORKER in trial.user_attrs


def trials(url: str, chosen: Any = lambda trial: True) -> list[FrozenTrial]:
    """Those of the study; none where it does not exist yet."""
    try:
        study = optuna.load_study(study_name=NAME, storage=url)
        return [trial for trial in study.get_trials(deepcopy=False) if chosen(trial)]
    except Exception:  # there are no tables yet, or not all of them
        return []


def _is_ours(pid: int) -> bool:
    """Whether a process lives and descends from this one."""
    while pid > 1:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError:
            return False
        if stat.rpartition(")")[2].split()[0] == "Z":
            return False
        pid = int(stat.rpartition(")")[2].split()[1])
        if pid == os.getpid():
            return True
    return False


def study(folder: Path, every: float | None, chance: random.Random, *, separate: bool) -> Any:
    """Run one study to its end; its trials, its costs, and what was sent to its workers."""
    folder.mkdir()
    started, before = time.monotonic(), processor()
    workers = Workers(folder, separate=separate)
    due, sent = started, Counter[str]()
    while workers.run():
        time.sleep(0.1)
        if every is None or time.monotonic() < due:
            continue
        pids = workers.training()
        if not sent and pids:  # the first interval begins with the first trial
            sent["start"], due = 1, time.monotonic() + every
        elif pids:
            number = chance.choice([signal.SIGKILL, signal.SIGTERM])
            os.kill(chance.choice(pids), number)
            sent[number.name] += 1
            due += every
    sent.pop("start", None)
    costs = time.monotonic() - started, processor() - before
    return trials(workers.url), costs, sent


def processor() -> float:
    """Seconds that the processors worked for all commands that have ended, with their workers."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def seconds(each: list[FrozenTrial]) -> tuple[float, float, float]:
    """Of training, of work that was repeated, and of work that was saved."""
    done = [trial for trial in each if trial.state == TrialState.COMPLETE]
    training = sum(trial.user_attrs[attributes.TRAIN_TIME] for trial in done)
    lost = sum(trial.user_attrs.get(attributes.LOST_SECONDS, 0.0) for trial in each)
    saved = sum(trial.user_attrs.get(attributes.SAVED_SECONDS, 0.0) for trial in each)
    return training, lost, saved


def values(each: list[FrozenTrial]) -> dict[tuple[float, ...], list[float]]:
    """The values of the completed trials, by their parameters."""
    found: dict[tuple[float, ...], list[float]] = {}
    for trial in each:
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            found.setdefault(tuple(trial.params.values()), []).append(trial.value)
    return found


def same_values(calm: list[FrozenTrial], broken: list[FrozenTrial], budget: int) -> bool:
    """Whether both have tried each parameter set once, with the same value."""
    one, other = values(calm), values(broken)
    exact = len(one) == len(other) == budget and one.keys() == other.keys()
    return exact and all(
        len(other[key]) == 1 and abs(other[key][0] - one[key][0]) < 1e-6 for key in one
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=float, default=20, help="seconds between two signals")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=3, help="unfrozen epochs; one comes before")
    parser.add_argument("--checkpoint", default="60s", help="[checkpoint] every")
    parser.add_argument("--separate", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    chance = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="preemption-"))
    shutil.copytree(ROOT / "jobs" / "people-vs-animals" / "data", folder / "job" / "data")
    text = STUDY.format(**vars(arguments))
    for _ in range(arguments.trials):
        head, body = 10 ** chance.uniform(-4, -1), 10 ** chance.uniform(-5, -2)
        text += f"[[enqueue]]\nlearning_rate = {head}\nunfrozen_learning_rate = {body}\n"
    (folder / "job" / "study.toml").write_text(text)
    calm, (calm_wall, calm_cpu), _ = study(
        folder / "undisturbed", None, chance, separate=arguments.separate
    )
    broken, (wall, cpu), sent = study(
        folder / "disturbed", arguments.every, chance, separate=arguments.separate
    )
    (before, _, _), (training, lost, saved) = seconds(calm), seconds(broken)
    signals = ", ".join(f"{count} {name}" for name, count in sorted(sent.items()))
    same = same_values(calm, broken, arguments.trials)
    print(f"{cpu_name()}, {os.cpu_count()} cores; {signals}; {len(broken)} attempts")
    print("| seconds | undisturbed | disturbed | ratio |")
    print("| --- | --- | --- | --- |")
    print(f"| of training | {before:.0f} | {training:.0f} | {training / before:.2f} |")
    whole = training + lost
    print(f"| with the work lost | {before:.0f} | {whole:.0f} | {whole / before:.2f} |")
    print(f"| from command to end | {calm_wall:.0f} | {wall:.0f} | {wall / calm_wall:.2f} |")
    print(f"| of the processors | {calm_cpu:.0f} | {cpu:.0f} | {cpu / calm_cpu:.2f} |")
    print(f"with the work lost, to the training that counted: {whole / training:.2f}")
    print(f"{saved:.0f} s of work saved, {lost:.0f} s lost")
    print("each parameter set once, with the same value" if same else f"they differ: {folder}")
    sys.exit(not same)


if __name__ == "__main__":
    main()
