"""Parameters of trainings that take a second."""

from __future__ import annotations

from typing import Any

TEXTS: dict[str, Any] = {
    "pre_trained": False,
    "emb_sz": 8,
    "n_hid": 12,
    "n_layers": 2,
    "max_vocab": 200,
    "max_tokens": 24,
    "bptt": 12,
    "batch_size": 16,
    "head_epochs": 1,
    "lm_body_epochs": 2,
    "classifier_epochs": 2,
}
