"""Compares pruners at the same number of epochs: the best value found, over 10 seeds.

    python benchmarks/promotion.py                 # the table first, then 40 short studies
    python benchmarks/promotion.py --seeds 3 --epochs 200

The table holds real learning curves: multi-layer perceptrons on scikit-learn's digits, trained for
27 epochs each with parameters drawn at random. A trial of a study looks one of them up, epoch by
epoch, through hpo-job's own worker and a function that saves its state; so only the pruner differs.
The value is the logarithmic loss of the validation half, less is better. Each study ends once it
has spent so many epochs.
"""

import argparse
import json
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hpo_job.spec.reading import read_spec
from hpo_job.storage.database import Storage
from hpo_job.study.checking import check
from hpo_job.study.joining import create
from hpo_job.worker.loop import work
from hpo_job.worker.machine_share import Machine
from hpo_job.worker.signals import Stop

LENGTH, CURVES = 27, 240
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
direction = "minimize"
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


def curve(seed: int) -> list[float]:
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


def spent(pruner: str, seed: int, curves: Path, epochs: int) -> list[float]:
    """The value after each epoch that a study trained, in their order."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.environ |= {"CURVES": str(curves), "EPOCHS": str(epochs)}
        (folder / "objective.py").write_text(OBJECTIVE)
        options = PRUNERS[pruner]
        text = STUDY.format(seed=seed, pruner=pruner, options=options, last=CURVES - 1)
        (folder / "study.toml").write_text(text)
        checked = check(read_spec(folder), folder)
        storage = Storage(f"sqlite:///{folder}/studies.db", create=True)
        study, stop = create(checked, storage), Stop()
        with stop.listening():
            work(checked, study, storage, stop, Machine(1, artifacts=str(folder / "store")))
        storage.close()
        values: list[float] = json.loads((folder / "spent.json").read_text())
        return values


def one(job: tuple[str, int, Path, int]) -> list[float]:
    return spent(*job)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=270)
    parser.add_argument("--curves", type=Path, default=Path("digits-curves.json"))
    arguments = parser.parse_args()
    marks = [arguments.epochs // 4, arguments.epochs // 2, arguments.epochs]
    pool = multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1)
    with multiprocessing.get_context("spawn").Pool(2) as trainers:
        if not arguments.curves.exists():
            arguments.curves.write_text(json.dumps(trainers.map(curve, range(CURVES))))
    curves = json.loads(arguments.curves.read_text())
    print(f"best of all {CURVES} curves: {min(map(min, curves)):.4f}")
    print("best loss after so many epochs: mean over the seeds, and 95% interval of the mean\n")
    print(f"| pruner | {' | '.join(f'{mark} epochs' for mark in marks)} | won against it |")
    print(f"| --- |{' --- |' * (len(marks) + 1)}")
    jobs = [
        (pruner, seed, arguments.curves.resolve(), arguments.epochs)
        for pruner in PRUNERS
        for seed in range(arguments.seeds)
    ]
    with pool:
        results = dict(zip(((j[0], j[1]) for j in jobs), pool.map(one, jobs, 1), strict=True))
    for pruner in PRUNERS:
        cells = []
        for mark in marks:
            best = [min(results[pruner, seed][:mark]) for seed in range(arguments.seeds)]
            error = statistics.stdev(best) / len(best) ** 0.5
            cells.append(
                f"{statistics.mean(best):.4f} ± {2.26 * error:.4f}"
            )  # Student's t, 10 seeds
        pairs = [
            (min(results["PromotionPruner", seed]), min(results[pruner, seed]))
            for seed in range(arguments.seeds)
        ]
        won, lost = sum(a < b for a, b in pairs), sum(a > b for a, b in pairs)
        print(f"| {pruner} | {' | '.join(cells)} | {won} to {lost} |")


if __name__ == "__main__":
    main()
