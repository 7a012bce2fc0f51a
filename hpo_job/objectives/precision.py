"""In which precision a model trains: float32, or half of it where the device is made for that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.learner import Learner
from torch import Tensor, nn

from hpo_job import machine
from hpo_job.errors import MachineError

HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def resolved(precision: str, device: str) -> str:
    """The precision to train in.

    "auto" is bf16 where the hardware has it, else fp16 on CUDA and fp32 on a CPU: without bf16
    instructions a CPU is slower in bf16 than in float32.

    Raises:
        ValueError: fp16 without a CUDA GPU, where gradients would underflow unscaled.
    """
    if precision == "fp16" and device != "cuda":
        raise ValueError(f"precision: fp16 needs a CUDA GPU, found {device}; use bf16 or auto")
    if precision != "auto":
        return precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device == "cpu" and machine.has_bf16() else "fp32"


def check_precision(kinds: Sequence[object]) -> None:
    """Raise MachineError unless this machine can train in all of these precisions."""
    for kind in kinds:
        try:
            resolved(str(kind), "cuda" if torch.cuda.is_available() else "cpu")
        except ValueError as error:
            raise MachineError(str(error), "precision") from error


def set_precision(learn: Learner, precision: str, device: str) -> None:
    """Let ``learn`` train in ``precision``; see `resolved` for its values."""
    kind = resolved(precision, device)
    if kind == "fp32":
        return
    learn.model.forward = _in_half(learn.model.forward, device, HALVES[kind])
    if device == "cpu":
        for convolution in _depthwise(learn.model):
            vars(convolution)["forward"] = _trained_in_float32(convolution.forward)
    learn.add_cb(Float32Predictions())
    if kind == "fp16" or _computes_in_fp16(learn.model, device):
        learn.add_cb(ScaledGradients())


def full_precision(learn: Learner) -> bool:
    """Make ``learn`` compute in float32 from now on; returns whether it did not before."""
    half = [cb for cb in learn.cbs if isinstance(cb, ScaledGradients | Float32Predictions)]
    learn.remove_cbs(half)
    for module in (learn.model, *_depthwise(learn.model)):
        vars(module).pop("forward", None)  # which `set_precision` has set
    learn.model._compiled_call_impl = None  # of the model with that forward
    return bool(half)


def _in_half(forward: Callable[..., Any], device: str, dtype: torch.dtype) -> Callable[..., Any]:
    """A model's forward pass, computed in half precision.

    Autocast is around the model only, and ends if it raises. It is entered here: torch.compile does
    not see through torch's decorator, and would compile the model in fragments, or not at all.
    """

    def compute(*inputs: Any) -> Any:
        with torch.autocast(device, dtype=dtype):
            return forward(*inputs)

    return compute


def _computes_in_fp16(model: nn.Module, device: str) -> bool:
    """Whether a part of the model computes in fp16 whatever the precision: on CUDA an LSTM does."""
    return device == "cuda" and any(isinstance(module, nn.LSTM) for module in model.modules())


def _depthwise(model: nn.Module) -> Iterator[nn.Conv2d]:
    """The convolutions of each channel by itself."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            yield module


def _trained_in_float32(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A depthwise convolution whose gradients are computed in float32, within bf16's autocast.

    A CPU has no fast instructions for them: with AMX and torch 2.15 they take three times as long
    in bf16 as in float32. An EfficientNet trained at 0.6 of the speed of float32, and now trains at
    0.95 (80 pixels) to 1.3 times (160 pixels) that speed.
    """

    def train(batch: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return forward(batch)
        with torch.autocast("cpu", enabled=False):
            return forward(batch.float())

    return train


class ScaledGradients(MixedPrecision):  # type: ignore[misc]
    """fastai's scaling of losses, without which gradients underflow in fp16; autocast is ours.

    fastai enters autocast before each batch and leaves it after the loss. If a batch runs out of
    memory, it stays switched on, with copies of weights that the following trials would use.
    """

    def before_batch(self) -> None:
        """Leave autocast to the model."""

    def after_pred(self) -> None:
        """Leave the predictions to `Float32Predictions`."""

    def after_loss(self) -> None:
        """Leave autocast to the model."""


class Float32Predictions(Callback):  # type: ignore[misc]
    """Converts predictions to float32 for losses and scores."""

    order = 10

    def after_pred(self) -> None:
        self.learn.pred = _to_float32(self.pred)


def _to_float32(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, list | tuple):
        return type(value)(map(_to_float32, value))
    return value
