"""A trained model in a folder: its weights, and a JSON record to rebuild its learner from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import nn

from hpo_job.errors import DataError
from hpo_job.objectives.learner_file import LEARNER

WEIGHTS = "weights.safetensors"


def write(folder: Path, model: nn.Module, record: dict[str, Any]) -> None:
    """Write the weights of ``model`` and ``record``.

    Args:
        folder: where to write.
        model: on any device; its weights are stored as float32, without a device.
        record: plain JSON values; "objective" names the module that rebuilds the learner.
    """
    save_model(model.to(memory_format=torch.contiguous_format), str(folder / WEIGHTS))
    (folder / LEARNER).write_text(json.dumps(record, indent=2), encoding="utf-8")


def load(folder: Path, model: nn.Module) -> None:
    """Load the weights into a model of the same architecture; no code in the file is run.

    Raises:
        DataError: they do not fit.
    """
    try:
        load_model(model, str(folder / WEIGHTS))
    except Exception as error:  # torch and safetensors have an error each
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{folder / WEIGHTS}: not this model's weights: {reason}") from error
