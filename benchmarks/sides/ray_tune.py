"""Ray Tune on this machine: one actor a trial, as many at a time as there are workers."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune
from sleeper import options, values


def main() -> None:
    settings = options(__doc__).parse_args()
    seconds = settings.seconds

    def objective(config: dict[str, Any]) -> None:
        for value in values(config["x"], config["y"], seconds):
            tune.report({"value": value})

    ray.init(num_cpus=settings.workers, include_dashboard=False, log_to_driver=False)
    tuner = tune.Tuner(
        objective,
        param_space={"x": tune.uniform(0, 1), "y": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            metric="value",
            mode="min",
            num_samples=settings.trials,
            max_concurrent_trials=settings.workers,
            search_alg=_search(settings.sampler),
        ),
        run_config=tune.RunConfig(storage_path=settings.folder, verbose=0),
    )
    results = tuner.fit()
    print("trials", len(results) - results.num_errors)


def _search(sampler: str) -> Any:
    if sampler == "random":
        return None  # Ray's default
    from ray.tune.search.optuna import OptunaSearch

    return OptunaSearch()  # TPE is Optuna's default


if __name__ == "__main__":
    main()
