"""The pruner of a study, built from Optuna's own class names and arguments, or ours."""

from __future__ import annotations

from optuna.pruners import BasePruner

from hpo_job.spec.study_toml import StudySpec
from hpo_job.study.components import Factory
from hpo_job.study.promotion import NAME, PromotionPruner

PRUNERS = (
    "HyperbandPruner",
    "MedianPruner",
    "NopPruner",
    "PatientPruner",
    "PercentilePruner",
    "PromotionPruner",
    "SuccessiveHalvingPruner",
    "ThresholdPruner",
    "WilcoxonPruner",
)
# Pruners that may be an option of another one
INNER_PRUNERS = tuple(name for name in PRUNERS if name != NAME)


def make_pruner(spec: StudySpec) -> BasePruner:
    """The study's pruner.

    Raises:
        SpecError: Optuna has no such pruner, or not with these options.
    """
    factory = Factory(spec, "pruner", PRUNERS, INNER_PRUNERS, {NAME: PromotionPruner})
    pruner: BasePruner = factory.make(spec.pruner)
    if spec.pruner.name == NAME and len(spec.directions) > 1:
        raise spec.error("pruner.name", f"{NAME} ranks trials by one value; use one metric")
    if spec.pruner.name == NAME and not spec.checkpoint.every:
        raise spec.error(
            "checkpoint.every", f"{NAME} goes on from saved states; set it above 0 or use another"
        )
    return pruner
