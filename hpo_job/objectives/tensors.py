"""What is read off a device: arrays, and the moment at which it has finished."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def as_array(tensor: torch.Tensor) -> NDArray[Any]:
    """As a numpy array: integers as int64, all else as float64; (items, 1) becomes (items,)."""
    whole = not tensor.is_floating_point()
    array = tensor.detach().cpu().to(torch.int64 if whole else torch.float64).numpy()
    return np.asarray(array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array)


def synchronise(device: torch.device) -> None:
    """Wait until an asynchronous device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
