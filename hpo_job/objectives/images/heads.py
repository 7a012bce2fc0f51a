"""What an image model predicts: a class, several labels, or a number; its loss and its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.data.block import CategoryBlock, MultiCategoryBlock, RegressionBlock, TransformBlock
from fastai.losses import BaseLoss, BCEWithLogitsLossFlat, CrossEntropyLossFlat
from fastai.torch_core import TensorBase, TensorCategory, TensorMultiCategory
from torch import nn

from hpo_job.data.image_targets import MultiLabelFiles
from hpo_job.data.images import LabelledFiles
from hpo_job.objectives import balance, learner_file
from hpo_job.objectives.parameters import (
    ImageClassification,
    ImageModel,
    ImageMultilabel,
    ImageRegression,
)
from hpo_job.objectives.standardised import Rescale, standardised_error

Record = dict[str, Any]  # plain JSON values that are kept next to a model's weights


@dataclass(frozen=True)
class Head:
    """The part of an image objective that depends on what is predicted.

    Attributes:
        objective: its name.
        parameters: its parameters.
        typed: makes a batch of targets what fastai's transforms choose by.
    """

    objective: str
    parameters: type[ImageModel]
    typed: Callable[[torch.Tensor], torch.Tensor]

    def outputs(self, record: Record) -> int:
        """How many numbers the model returns for an image."""
        return len(record["classes"])

    def record(self, data: LabelledFiles, parameters: ImageModel) -> Record:
        """What has to be kept of the data and the parameters to rebuild the head."""
        return {"classes": list(data.classes)}

    def finished(self, model: nn.Sequential, record: Record) -> nn.Sequential:
        """The model with what follows its last layer."""
        return model

    def loss(self, data: LabelledFiles, parameters: ImageModel) -> BaseLoss:
        """What is minimised in training."""
        raise NotImplementedError

    def loss_of_export(self, record: Record) -> BaseLoss:
        """The loss whose activation turns the outputs of a rebuilt model into its answers."""
        raise NotImplementedError

    def block(self, record: Record) -> tuple[TransformBlock, object]:
        """The block of the targets, as fastai has it, and a target that it takes."""
        raise NotImplementedError

    def table(
        self, items: pd.DataFrame, answers: np.ndarray[Any, Any], record: Record
    ) -> pd.DataFrame:
        """The predictions: ``items``, ``prediction``, and a column of probabilities per class.

        Args:
            items: a row for each image.
            answers: after the loss's activation, shape (items, outputs).
            record: of the model.
        """
        raise NotImplementedError


class ClassHead(Head):
    """One class for each image."""

    def loss(self, data: LabelledFiles, parameters: ImageModel) -> BaseLoss:
        assert isinstance(parameters, ImageClassification)
        return balance.loss(parameters.balance, data)

    def loss_of_export(self, record: Record) -> BaseLoss:
        return CrossEntropyLossFlat()

    def block(self, record: Record) -> tuple[TransformBlock, object]:
        return CategoryBlock(vocab=record["classes"], sort=False), record["classes"][0]

    def table(
        self, items: pd.DataFrame, answers: np.ndarray[Any, Any], record: Record
    ) -> pd.DataFrame:
        return learner_file.predictions(items, record["classes"], answers)


class LabelHead(Head):
    """Several labels for each image, or none."""

    def record(self, data: LabelledFiles, parameters: ImageModel) -> Record:
        assert isinstance(data, MultiLabelFiles)
        assert isinstance(parameters, ImageMultilabel)
        settings = {"threshold": parameters.threshold, "delimiter": data.delimiter}
        return {**super().record(data, parameters), **settings}

    def loss(self, data: LabelledFiles, parameters: ImageModel) -> BaseLoss:
        assert isinstance(parameters, ImageMultilabel)
        return balance.loss_of_labels(parameters.balance, data, parameters.threshold)

    def loss_of_export(self, record: Record) -> BaseLoss:
        return BCEWithLogitsLossFlat(thresh=record["threshold"])

    def block(self, record: Record) -> tuple[TransformBlock, object]:
        return MultiCategoryBlock(vocab=record["classes"]), record["classes"][:1]

    def table(
        self, items: pd.DataFrame, answers: np.ndarray[Any, Any], record: Record
    ) -> pd.DataFrame:
        return learner_file.label_predictions(
            items, record["classes"], answers, record["threshold"], record["delimiter"]
        )


class NumberHead(Head):
    """A number for each image."""

    def outputs(self, record: Record) -> int:
        return 1

    def record(self, data: LabelledFiles, parameters: ImageModel) -> Record:
        targets = data.targets[data.train]
        scale = {"mean": float(targets.mean()), "std": float(targets.std()) or 1.0}
        return {**super().record(data, parameters), **scale}

    def finished(self, model: nn.Sequential, record: Record) -> nn.Sequential:
        return nn.Sequential(*model, Rescale(record["mean"], record["std"]))

    def loss(self, data: LabelledFiles, parameters: ImageModel) -> BaseLoss:
        return standardised_error(self.record(data, parameters)["std"])

    def loss_of_export(self, record: Record) -> BaseLoss:
        return standardised_error(record["std"])

    def block(self, record: Record) -> tuple[TransformBlock, object]:
        return RegressionBlock(n_out=1), record["mean"]

    def table(
        self, items: pd.DataFrame, answers: np.ndarray[Any, Any], record: Record
    ) -> pd.DataFrame:
        return items.assign(prediction=answers[:, 0])


def _numbers(targets: torch.Tensor) -> torch.Tensor:
    numbers: torch.Tensor = TensorBase(targets.float())
    return numbers


CLASSES = ClassHead("image_classification", ImageClassification, TensorCategory)
LABELS = LabelHead("image_multilabel", ImageMultilabel, TensorMultiCategory)
NUMBERS = NumberHead("image_regression", ImageRegression, _numbers)
