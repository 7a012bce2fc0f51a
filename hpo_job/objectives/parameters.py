"""What the shipped objectives can be tuned by: names, defaults and bounds, without torch."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from hpo_job.data import Layout
from hpo_job.metrics import Task


class Parameters(BaseModel):
    """The parameters of an objective; ``layout`` and ``task`` say what data it is for.

    Strict: a bool is not a number and a string is not either; an int does for a float.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    layout: ClassVar[Layout] = "images"
    task: ClassVar[Task] = "classification"


class ImageClassification(Parameters):
    """The parameters of the objective ``image_classification``."""

    model: str = Field("resnet18", description="Name of a torchvision or timm model.")
    pre_trained: bool = Field(
        True, description="Start from ImageNet weights, the body frozen, rather than at random."
    )
    batch_size: int = Field(32, ge=2, description="Images a training step sees.")
    image_size: int = Field(128, ge=32, description="Side of the square image, in pixels.")
    epochs: int = Field(1, ge=1, description="Epochs of the first phase.")
    learning_rate: float = Field(
        2e-3, gt=0, description="Highest learning rate of the first phase's one-cycle."
    )
    unfrozen_epochs: int = Field(
        0, ge=0, description="Epochs of the second phase, with every layer trained."
    )
    unfrozen_learning_rate: float = Field(
        1e-4, gt=0, description="Highest learning rate of the second phase's one-cycle."
    )
