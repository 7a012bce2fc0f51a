"""Half precision: where gradients are scaled, which underflow in fp16."""

from __future__ import annotations

import pytest
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from torch import nn

from hpo_job.objectives.precision import ScaledGradients, set_precision


@pytest.mark.parametrize(
    ("model", "precision", "device", "scaled"),
    [
        (nn.LSTM(2, 2), "bf16", "cuda", True),  # which CUDA computes in fp16
        (nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 2)), "bf16", "cuda", True),
        (nn.LSTM(2, 2), "fp32", "cuda", False),
        (nn.LSTM(2, 2), "bf16", "cpu", False),
        (nn.Linear(2, 2), "fp16", "cuda", True),
        (nn.Linear(2, 2), "bf16", "cuda", False),
    ],
)
def test_gradients_are_scaled_where_a_part_is_computed_in_fp16(
    model: nn.Module, precision: str, device: str, scaled: bool
) -> None:
    batches = [(torch.zeros(1, 2), torch.zeros(1, 2))]
    learn = Learner(DataLoaders(batches, batches), model, nn.MSELoss())
    set_precision(learn, precision, device)
    assert any(isinstance(callback, ScaledGradients) for callback in learn.cbs) == scaled
