"""Plain Optuna: as many processes as there are workers, each with its part of the trials.

One process creates the study; then each loads it and calls ``optimize``, as Optuna's page on
distributed optimisation has it. Dividing the trials beforehand needs no callback that counts them.
"""

from __future__ import annotations

import subprocess
import sys

import optuna
from sleeper import options, values

NAME = "sleeping"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--worker", type=int)
    settings = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if settings.worker is not None:
        _work(settings.url, settings.sampler, settings.seconds, settings.trials)
        return
    optuna.create_study(storage=settings.url, study_name=NAME)
    processes = []
    for number in range(settings.workers):
        share = settings.trials // settings.workers + (number < settings.trials % settings.workers)
        again = [*sys.argv, "--worker", str(number), "--trials", str(share)]
        processes.append(subprocess.Popen([sys.executable, *again]))
    if max([process.wait() for process in processes]):
        sys.exit("a worker failed")
    study = optuna.load_study(study_name=NAME, storage=settings.url)
    print("trials", sum(trial.state.name == "COMPLETE" for trial in study.trials))


def _work(url: str, sampler: str, seconds: float, trials: int) -> None:
    samplers = optuna.samplers
    study = optuna.load_study(
        study_name=NAME,
        storage=url,
        sampler=samplers.TPESampler() if sampler == "tpe" else samplers.RandomSampler(),
    )

    def objective(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        value = 0.0
        for step, value in enumerate(values(x, y, seconds)):
            trial.report(value, step)
            trial.should_prune()
        return value

    study.optimize(objective, n_trials=trials)


if __name__ == "__main__":
    main()
