"""The sampler of a study, built from Optuna's own class names and arguments."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler

from hpo_job.spec.combinations import EXHAUSTIVE
from hpo_job.spec.study_toml import StudySpec
from hpo_job.study.bounded_tpe import BoundedTPESampler
from hpo_job.study.components import Factory

SAMPLERS = (
    "BruteForceSampler",
    "CmaEsSampler",
    "GPSampler",
    "GridSampler",
    "NSGAIISampler",
    "NSGAIIISampler",
    "PartialFixedSampler",
    "QMCSampler",
    "RandomSampler",
    "TPESampler",
)
# Samplers that may be an option of another one: those that suggest a parameter at a time
INNER_SAMPLERS = tuple(name for name in SAMPLERS if name not in EXHAUSTIVE)


def make_sampler(spec: StudySpec, draw: int = 0) -> BaseSampler:
    """The study's sampler, seeded for the ``draw``-th trial that was started.

    Each draw has another seed, so no two workers ever suggest the same by accident, and one
    worker alone repeats the same trials. Of a sampler that tries all combinations, this one only
    completes what was enqueued in part: see `study.grid`.

    Raises:
        SpecError: Optuna has no such sampler, or not with these options.
    """
    seed = int(np.random.SeedSequence([spec.seed, draw]).generate_state(1)[0])
    # the same suggestions as Optuna's, in a third of the time
    own_classes = {"TPESampler": BoundedTPESampler}
    arguments = partial(_arguments, spec.seed, seed)
    factory = Factory(spec, "sampler", SAMPLERS, INNER_SAMPLERS, own_classes, arguments)
    if spec.sampler.name in EXHAUSTIVE:
        factory.check(spec.sampler)
        return RandomSampler(seed)
    sampler: BaseSampler = factory.make(spec.sampler)
    return sampler


def _arguments(study_seed: int, seed: int, kind: Callable[..., Any]) -> dict[str, Any]:
    """Arguments of a sampler that are not the user's; only those that it accepts are used.

    Args:
        study_seed: the study's.
        seed: of this draw.
        kind: the sampler's class.
    """
    # `check` says once what these sample independently; they would say it for each trial
    quiet = {"warn_independent_sampling": False} if _warns(kind) else {}
    if kind is optuna.samplers.QMCSampler:
        # All workers share one sequence, and count in the storage where they are in it. What the
        # study's first trial did not have is not in it, and is drawn at random
        independent = RandomSampler(seed)
        quiet["warn_asynchronous_seeding"] = False
        return {**quiet, "seed": study_seed, "independent_sampler": independent}
    return {**quiet, "seed": seed}


def _warns(kind: Callable[..., Any]) -> bool:
    return kind in (
        optuna.samplers.CmaEsSampler,
        optuna.samplers.GPSampler,
        optuna.samplers.QMCSampler,
    )
