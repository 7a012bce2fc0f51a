"""Trials that run out of memory: how that is recognised, and which parameters to change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_job import objectives
from hpo_job.spec.study_toml import StudySpec

# In messages of errors that have a general type; importing torch for its types would take too long
MESSAGES = (
    "out of memory",  # of CUDA, and of Apple's MPS
    "can't allocate memory",  # of torch's allocator on a CPU
    "ALLOC_FAILED",  # of cuDNN and cuBLAS
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the GPU or the machine ran out of memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in MESSAGES)


def memory_params(spec: StudySpec, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a trial that decide on its memory; of a function's trial, all of them."""
    names = objectives.memory_parameters(spec) or tuple(params)
    return {name: params[name] for name in names if name in params}


def listed(params: Mapping[str, Any]) -> str:
    """Parameters as a person reads them: ``batch_size = 512, image_size = 256``."""
    return ", ".join(f"{name} = {value}" for name, value in params.items())
