"""Parameters of trainings that take a second."""

from __future__ import annotations

from typing import Any

from hpo_job.objectives.parameters import TextClassification

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


def text_values(**values: object) -> dict[str, tuple[object, ...]]:
    """What `Candidates` has of a study of texts whose parameters are all fixed."""
    known = TextClassification().model_dump() | TEXTS | values
    return {name: (value,) for name, value in known.items()}
