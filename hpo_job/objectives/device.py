"""The device that torch can use best here."""

from __future__ import annotations


def best_device() -> str:
    """``"cuda"``, ``"mps"`` or ``"cpu"``; ``"cpu"`` too where torch is not installed."""
    try:
        import torch
    except ImportError:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"
