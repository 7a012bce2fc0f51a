"""Compares pruners at the same number of epochs: the best value found, over 10 seeds.

    python benchmarks/promotion.py                 # the table first, then 40 short studies
    python benchmarks/promotion.py --seeds 3 --epochs 200
    python benchmarks/promotion.py --work images --curves 60

The table holds real learning curves, each trained to its end with parameters drawn at random:

- digits: multi-layer perceptrons on scikit-learn's digits, 27 epochs; the value is the logarithmic
  loss of the validation half, less is better.
- images: a small residual network on jobs/people-vs-animals at 32 px, from random weights, by
  hpo-job's own image_classification, 3 + 6 epochs; the value is the accuracy.

A trial of a study looks one of them up, epoch by epoch, through hpo-job's own worker and a function
that saves its state; so only the pruner differs. Each study ends once it has spent so many epochs.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import TrialState
from scipy.stats import t as student_t  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hpo_job.spec.reading import read_spec
from hpo_job.storage.database import Storage
from hpo_job.study.checking import check
from hpo_job.study.joining import create
from hpo_job.worker.loop import work
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.signals import Stop

FOLDER = Path(__file__).resolve().parents[1]
LENGTH = 27  # epochs of a network on the digits
PRUNERS = {
    "NopPruner": "",
    "MedianPruner": "n_startup_trials = 5",
    "SuccessiveHalvingPruner": "min_resource = 1\nreduction_factor = 3",
    "PromotionPruner": "min_resource = 1\nreduction_factor = 3",
}
OBJECTIVE = """
import json, os, signal
from pathlib import Path

CURVES = json.loads(Path(os.environ["CURVES"]).read_text())
LIMIT = int(os.environ["EPOCHS"])
spent = []

def train(trial, context):
    curve = CURVES[context.params["curve"]]
    state = context.resume() or {"epoch": 0}
    for epoch in range(state["epoch"], len(curve)):
        if len(spent) == LIMIT:
            Path(__file__).with_name("spent.json").write_text(json.dumps(spent))
            os.kill(os.getpid(), signal.SIGTERM)
        spent.append(curve[epoch])
        context.report(curve[epoch], last=epoch == len(curve) - 1)
        context.save({"epoch": epoch + 1})
    return curve[-1]
"""
STUDY = """
name = "curves"
objective = "objective.py:train"
direction = "{direction}"
seed = {seed}
[budget]
trials = 100000
[sampler]
name = "RandomSampler"
[checkpoint]
every = "1h"
[pruner]
name = "{pruner}"
{options}
[search_space]
curve = {{ type = "int", low = 0, high = {last} }}
"""


IMAGES = """
name = "images"
objective = "image_classification"
metric = "accuracy"
direction = "maximize"
[budget]
trials = {count}
[data]
path = "data"
valid_pct = 0.3
seed = 42
[sampler]
name = "RandomSampler"
[pruner]
name = "NopPruner"
[artifacts]
keep = 0
[search_space]
model = "test_resnet"
image_size = 32
pre_trained = false
batch_size = {{ type = "categorical", choices = [16, 32, 64] }}
epochs = 3
learning_rate = {{ type = "float", low = 1e-4, high = 1e-1, log = true }}
unfrozen_epochs = 6
unfrozen_learning_rate = {{ type = "float", low = 1e-5, high = 1e-1, log = true }}
"""


@dataclass(frozen=True)
class Work:
    """What is trained.

    Attributes:
        direction: "minimize" or "maximize".
        count: how many curves there are, unless somebody asks for another number.
        epochs: after how many a study ends, likewise.
        train: returns so many curves.
    """

    direction: str
    count: int
    epochs: int
    train: Callable[[int], list[list[float]]]

    @property
    def best(self) -> Callable[[Iterable[float]], float]:
        return max if self.direction == "maximize" else min


def of_digits(count: int) -> list[list[float]]:
    with multiprocessing.get_context("spawn").Pool(2) as trainers:
        return trainers.map(of_network, range(count))


def of_images(count: int) -> list[list[float]]:
    """The accuracy after each epoch of so many trials of a random study."""
    with tempfile.TemporaryDirectory() as place:
        job = Path(place) / "job"
        shutil.copytree(FOLDER / "jobs" / "people-vs-animals" / "data", job / "data")
        (job / "study.toml").write_text(IMAGES.format(count=count))
        url = f"sqlite:///{place}/studies.db"
        command: list[str | Path] = [Path(sys.executable).with_name("hpo-job"), "run", job]
        subprocess.run(
            [*command, "--workers", "2", "--threads", "1", "--storage", url, "--quiet"], check=True
        )
        return stored_curves("images", url)


def stored_curves(name: str, url: str) -> list[list[float]]:
    """The intermediate values of a study's completed trials."""
    trials = optuna.load_study(study_name=name, storage=url).get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return [list(trial.intermediate_values.values()) for trial in done]


def of_network(seed: int) -> list[float]:
    """The validation loss after each epoch of one network."""
    from sklearn.datasets import load_digits
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order] / 16, y[order]
    chance = random.Random(seed)
    network = MLPClassifier(
        hidden_layer_sizes=(chance.choice([8, 16, 32, 64]),),
        solver="sgd",
        learning_rate_init=10 ** chance.uniform(-4, 0.5),
        momentum=chance.uniform(0, 0.99),
        alpha=10 ** chance.uniform(-6, 0),
        batch_size=chance.choice([16, 32, 64, 128]),
        random_state=seed,
    )
    values = []
    for _ in range(LENGTH):
        network.partial_fit(x[:900], y[:900], classes=range(10))
        predicted = np.nan_to_num(network.predict_proba(x[900:]), nan=0.1)
        values.append(float(min(log_loss(y[900:], predicted, labels=range(10)), 10.0)))
    return values


WORKS = {
    "digits": Work("minimize", 240, 270, of_digits),
    "images": Work("maximize", 60, 90, of_images),
}


@dataclass(frozen=True)
class Job:
    """One study: the file of its curves, how many they are, and the epochs that it may spend."""

    pruner: str
    seed: int
    curves: Path
    count: int
    epochs: int
    direction: str


def spent(job: Job) -> list[float]:
    """The value after each epoch that a study trained, in their order."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ |= {"CURVES": str(job.curves), "EPOCHS": str(job.epochs)}
        (folder / "objective.py").write_text(OBJECTIVE)
        text = STUDY.format(
            seed=job.seed,
            pruner=job.pruner,
            options=PRUNERS[job.pruner],
            last=job.count - 1,
            direction=job.direction,
        )
        (folder / "study.toml").write_text(text)
        checked = check(read_spec(folder), folder)
        storage = Storage(f"sqlite:///{folder}/studies.db", create=True)
        study, stop = create(checked, storage), Stop()
        with stop.listening():
            work(checked, study, storage, stop, Machine(1, artifacts=str(folder / "store")))
        storage.close()
        values: list[float] = json.loads((folder / "spent.json").read_text())
        return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=WORKS, default="digits")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, help="that each study may spend")
    parser.add_argument("--curves", type=int, help="how many are trained")
    parser.add_argument("--file", type=Path, help="where they are kept; WORK-curves.json")
    arguments = parser.parse_args()
    chosen = WORKS[arguments.work]
    epochs, seeds = arguments.epochs or chosen.epochs, range(arguments.seeds)
    file = arguments.file or Path(f"{arguments.work}-curves.json")
    if not file.exists():
        file.write_text(json.dumps(chosen.train(arguments.curves or chosen.count)))
    curves = json.loads(file.read_text())
    print(f"best of all {len(curves)} curves: {chosen.best(map(chosen.best, curves)):.4f}")
    print("best after so many epochs: mean over the seeds, and 95% interval of the mean\n")
    marks = [epochs // 4, epochs // 2, epochs]
    print(f"| pruner | {' | '.join(f'{mark} epochs' for mark in marks)} | won against it |")
    print(f"| --- |{' --- |' * (len(marks) + 1)}")
    jobs = [
        Job(pruner, seed, file.resolve(), len(curves), epochs, chosen.direction)
        for pruner in PRUNERS
        for seed in seeds
    ]
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        studies = pool.map(spent, jobs, 1)
    results = {(job.pruner, job.seed): one for job, one in zip(jobs, studies, strict=True)}
    quantile = float(student_t.ppf(0.975, len(seeds) - 1))
    for pruner in PRUNERS:
        cells = []
        for mark in marks:
            best = [chosen.best(results[pruner, seed][:mark]) for seed in seeds]
            error = statistics.stdev(best) / len(best) ** 0.5
            cells.append(f"{statistics.mean(best):.4f} ± {quantile * error:.4f}")
        sign = 1 if chosen.direction == "maximize" else -1
        gains = [
            sign
            * (chosen.best(results["PromotionPruner", seed]) - chosen.best(results[pruner, seed]))
            for seed in seeds
        ]
        won, lost = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
        print(f"| {pruner} | {' | '.join(cells)} | {won} to {lost} |")


if __name__ == "__main__":
    main()
