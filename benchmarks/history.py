"""Compares TPE with the whole history and with a bounded one: time, and best values found.

    python benchmarks/history.py --time                     # ms of a suggestion, by size
    python benchmarks/history.py --limit 225 --trials 600   # best values, 20 seeds
    python benchmarks/history.py --limit 1000 --trials 1500 --function sphere

The product's limit is 10,000 finished trials: up to there the suggestions are the same, and no
study of fewer trials differs. Lower limits show what thinning out does. Both studies of a
pair are one until the limit is passed, where it is forked. The differences are of
log10(best value); the p-value is that of a two-sided sign test.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import TPESampler
from optuna.trial import create_trial

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hpo_job.study.bounded_tpe import BoundedTPESampler

DIMENSIONS = 5
GOOD = 25  # TPE's good side, from 250 trials on
Vector = list[float]


def sphere(x: Vector) -> float:
    """One hill."""
    return sum(v * v for v in x)


def rosenbrock(x: Vector) -> float:
    """A bent valley."""
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in pairwise(x))


def ackley(x: Vector) -> float:
    """A funnel with waves."""
    square = sum(v * v for v in x) / len(x)
    wave = sum(math.cos(2 * math.pi * v) for v in x) / len(x)
    return -20 * math.exp(-0.2 * math.sqrt(square)) - math.exp(wave) + 20 + math.e


def rastrigin(x: Vector) -> float:
    """Many valleys."""
    return sum(v * v - 10 * math.cos(2 * math.pi * v) + 10 for v in x)


# The minimum is 0 and lies off the middle of the range, where TPE has its prior.
FUNCTIONS: dict[str, tuple[Callable[[Vector], float], float, float]] = {
    "sphere": (sphere, -4.0, 6.0),
    "rosenbrock": (rosenbrock, -2.0, 2.5),
    "ackley": (ackley, -8.0, 12.0),
    "rastrigin": (rastrigin, -4.0, 6.0),
}
Task = tuple[str, int, int, int, int]


def go_on(study: optuna.Study, name: str, trials: int, at_once: int) -> float:
    """Run trials, as many RUNNING at once as there are workers; the best value."""
    function, low, high = FUNCTIONS[name]
    for begin in range(0, trials, at_once):
        asked = []
        for _ in range(min(at_once, trials - begin)):
            trial = study.ask()
            x = [trial.suggest_float(f"x{i}", low, high) for i in range(DIMENSIONS)]
            asked.append((trial, function(x)))
        for trial, value in asked:
            study.tell(trial, value)
    return study.best_value


def compare(task: Task) -> tuple[float, float]:
    """The best values of one study with the whole and with the bounded history."""
    name, seed, limit, trials, at_once = task
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = BoundedTPESampler(seed=seed)
    study = optuna.create_study(sampler=sampler)
    alike = limit + GOOD
    go_on(study, name, alike, at_once)
    answers = []
    for seen in (trials, limit):
        reader, writer = os.pipe()
        if not (child := os.fork()):
            sampler.limit = seen
            best = go_on(study, name, trials - alike, at_once)
            os.write(writer, json.dumps(best).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            answers.append(json.loads(answer.read()))
        os.waitpid(child, 0)
    return answers[0], answers[1]


def sign_test(wins: int, losses: int) -> float:
    """How likely a split at least as uneven as this one is by chance."""
    n, k = wins + losses, max(wins, losses)
    tail: float = sum(math.comb(n, i) for i in range(k, n + 1)) / 2**n
    return min(1.0, 2 * tail)


def table(functions: list[str], seeds: int, limit: int, trials: int, at_once: int) -> None:
    """Print the comparison."""
    print(f"limit {limit}, {trials} trials, {at_once} at once, {seeds} seeds", flush=True)
    print(
        f"{'function':<12}{'whole: median':>15}{'bounded: median':>17}"
        f"{'median of differences':>23}{'bounded wins-loses':>20}{'p':>7}{'s':>6}"
    )
    wins = losses = 0
    with multiprocessing.Pool(2) as pool:
        for name in functions:
            begin = time.monotonic()
            tasks = [(name, seed, limit, trials, at_once) for seed in range(seeds)]
            pairs = pool.map(compare, tasks, chunksize=1)
            whole, ours = zip(*pairs, strict=True)
            differences = [math.log10(b) - math.log10(a) for a, b in pairs]
            better, worse = sum(d < 0 for d in differences), sum(d > 0 for d in differences)
            wins, losses = wins + better, losses + worse
            print(
                f"{name:<12}{statistics.median(whole):>15.4g}{statistics.median(ours):>17.4g}"
                f"{statistics.median(differences):>+23.3f}{f'{better}-{worse}':>20}"
                f"{sign_test(better, worse):>7.2f}{time.monotonic() - begin:>6.0f}",
                flush=True,
            )
    print(f"{'all':<67}{f'{wins}-{losses}':>20}{sign_test(wins, losses):>7.2f}", flush=True)


def suggestion_times() -> None:
    """Print the time of a suggestion by number of trials; each by a new sampler, in turn."""
    space: dict[str, BaseDistribution] = {
        f"x{i}": FloatDistribution(0, 1) for i in range(DIMENSIONS)
    }
    kinds = (TPESampler, BoundedTPESampler)
    print(f"{'trials':>8}{'whole, ms':>12}{'bounded, ms':>13}{'ratio':>8}")
    for n in (100, 1000, 3000, 10_000, 30_000):
        study = optuna.create_study()
        drawn = random.Random(0)
        for _ in range(n):
            params = {name: drawn.random() for name in space}
            study.add_trial(create_trial(params=params, distributions=space, value=drawn.random()))
        taken: dict[type[TPESampler], list[float]] = {kind: [] for kind in kinds}
        for turn in range(16):
            for kind in kinds:
                study.sampler = kind(seed=turn)
                begin = time.perf_counter()
                trial = study.ask(space)
                taken[kind].append(1000 * (time.perf_counter() - begin))
                study.tell(trial, 1.0)
        whole, ours = (statistics.median(taken[kind][1:]) for kind in kinds)
        print(f"{n:>8}{whole:>12.1f}{ours:>13.1f}{ours / whole:>8.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--function", action="append", choices=FUNCTIONS, help="only this one")
    for name, default in (("seeds", 20), ("limit", 225), ("trials", 600), ("at-once", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--time", action="store_true", help="the time of a suggestion instead")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if arguments.time:
        suggestion_times()
    else:
        functions = arguments.function or list(FUNCTIONS)
        table(functions, arguments.seeds, arguments.limit, arguments.trials, arguments.at_once)


if __name__ == "__main__":
    main()
