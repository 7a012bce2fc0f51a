"""Syne Tune's local back end: a process a trial, as many at a time as there are workers."""

from __future__ import annotations

import os
from pathlib import Path

from sleeper import options


def main() -> None:
    settings = options(__doc__).parse_args()
    os.environ["SYNETUNE_FOLDER"] = settings.folder  # read when it is imported

    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import LocalBackend
    from syne_tune.config_space import uniform
    from syne_tune.optimizer.baselines import TPE, RandomSearch

    space = {"x": uniform(0, 1), "y": uniform(0, 1), "seconds": settings.seconds}
    scheduler = (
        TPE(space, metric="value", do_minimize=True)
        if settings.sampler == "tpe"
        else RandomSearch(space, metrics=["value"], do_minimize=True)
    )
    tuner = Tuner(
        trial_backend=LocalBackend(entry_point=str(Path(__file__).parent / "syne_tune_trial.py")),
        scheduler=scheduler,
        stop_criterion=StoppingCriterion(max_num_trials_started=settings.trials),
        wait_trial_completion_when_stopping=True,
        n_workers=settings.workers,
        sleep_time=0.1,  # between two looks at the trials; the default is 5 s
        save_tuner=False,
        suffix_tuner_name=False,
        tuner_name="sleeping",
    )
    tuner.run()
    print("trials", tuner.tuning_status.num_trials_finished)


if __name__ == "__main__":
    main()
