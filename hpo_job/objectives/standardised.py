"""Regression whose loss does not depend on the unit of the numbers: they are standardised."""

from __future__ import annotations

import torch
from fastai.losses import BaseLoss
from torch import nn


class Rescale(nn.Module):
    """The last layer of a model: standardised numbers become the numbers themselves."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, answers: torch.Tensor) -> torch.Tensor:
        return answers.float() * self.std + self.mean  # half precision would lose digits


class StandardisedError(nn.Module):
    """The squared error, measured in standard deviations of the targets."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, answers: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(answers / self.std, targets / self.std)


def standardised_error(std: float) -> BaseLoss:
    """The loss of fastai's kind, for answers of shape (items, 1)."""
    return BaseLoss(StandardisedError, std, flatten=True, floatify=True, is_2d=False)
