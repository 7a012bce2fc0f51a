"""The functions of ``torch.cuda`` for simulated GPUs: as many as are visible, all alike."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import torch
import torch.library
import torch.storage
from torch import Tensor

NAME = "Simulated GPU"
# Views, which share memory with their tensor on every device; and what device.cpp has of its own
KEPT = {
    *("alias", "as_strided", "unfold", "view", "view_as_complex", "view_as_real"),
    *("_reshape_alias", "is_set_to", "record_stream", "is_pinned", "_pin_memory"),
    *("set_", "set_.source_Storage", "set_.source_Storage_storage_offset", "set_.source_Tensor"),
    *("_copy_from", "_copy_from_and_resize", "_local_scalar_dense", "copy_", "resize_"),
    *("empty.memory_format", "empty_strided"),
}
# Of these torch has no kernel for CUDA: it would choose one that only a GPU has
ADDED = ["convolution", "convolution_backward"]
_kept: list[object] = []  # registrations end with their object


def simulate(native: Any, count: int, memory: int) -> None:
    """Let this process find CUDA GPUs.

    Args:
        native: the module that device.cpp is compiled to.
        count: of the machine; CUDA_VISIBLE_DEVICES chooses among them.
        memory: bytes that each has.
    """
    registered = torch._C._dispatch_get_registrations_for_dispatch_key("CUDA")
    own = [name.removeprefix("aten::") for name in registered if name.startswith("aten::")]
    replaced = [name for name in own if name not in KEPT and "sparse" not in name]
    native.replace(count, replaced + ADDED)
    native.set_limit(memory)
    _replace_functions(native, _Runtime(count), memory)
    _register_lstm()
    torch.backends.cudnn.enabled = False
    torch.storage._to = _moved  # type: ignore[attr-defined]


class _Runtime:
    """CUDA in this process: as on a machine with GPUs, it does not survive a fork."""

    def __init__(self, count: int) -> None:
        self.count, self.user, self.visible = count, 0, -1

    def start(self) -> None:
        self.user = self.user or os.getpid()
        if self.user != os.getpid():
            raise RuntimeError(
                "Cannot re-initialize CUDA in forked subprocess. To use CUDA with "
                "multiprocessing, you must use the 'spawn' start method"
            )
        self.visible = self._count_visible() if self.visible < 0 else self.visible

    def device_count(self) -> int:
        return self.visible if self.visible >= 0 else self._count_visible()

    def is_available(self) -> bool:
        if os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK") != "1":
            self.user = self.user or os.getpid()  # CUDA itself was asked
        return self.device_count() > 0

    def _count_visible(self) -> int:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = [name.strip() for name in (visible or "").split(",")]
        return self.count if visible is None else len([n for n in names if n not in ("", "-1")])


def _replace_functions(native: Any, runtime: _Runtime, memory: int) -> None:
    properties = SimpleNamespace(
        name=NAME, total_memory=memory, major=9, minor=0, multi_processor_count=1
    )

    def answer(value: Any) -> Any:
        def function(*_: object, **__: object) -> Any:
            runtime.start()
            return value() if callable(value) else value

        return function

    functions: dict[str, Any] = {
        "_lazy_init": runtime.start,
        "_exchange_device": native.exchange,
        "_maybe_exchange_device": native.exchange,
        "init": runtime.start,
        "is_initialized": lambda: runtime.user == os.getpid(),
        "is_available": runtime.is_available,
        "device_count": runtime.device_count,
        "current_device": answer(lambda: native.exchange(-1)),
        "set_device": lambda device: native.exchange(torch.device(device).index),
        "synchronize": answer(None),
        "get_device_name": answer(NAME),
        "get_device_properties": answer(properties),
        "get_device_capability": answer((9, 0)),
        "is_bf16_supported": answer(True),
        "mem_get_info": answer(lambda: (memory - native.allocated(), memory)),
        "memory_allocated": answer(native.allocated),
        "memory_reserved": answer(native.allocated),
        "max_memory_allocated": answer(native.peak),
        "reset_peak_memory_stats": answer(native.reset_peak),
        "set_per_process_memory_fraction": lambda part, *_: native.set_limit(int(part * memory)),
        "empty_cache": answer(None),
        "manual_seed": lambda seed: None,  # random numbers are the CPU's
        "manual_seed_all": lambda seed: None,
        "_is_in_bad_fork": lambda: runtime.user not in (0, os.getpid()),
        "get_rng_state": answer(torch.get_rng_state),
        "get_rng_state_all": answer(lambda: [torch.get_rng_state()]),
        "set_rng_state": lambda state, *_: torch.set_rng_state(state),
        "set_rng_state_all": lambda states: torch.set_rng_state(states[0]),
    }
    for name, function in functions.items():
        setattr(torch.cuda, name, function)
        if hasattr(torch.cuda.random, name):
            setattr(torch.cuda.random, name, function)
    torch._C._cuda_getDeviceCount = runtime.device_count


def _moved(storage: Any, device: torch.device, non_blocking: bool = False) -> Any:
    moved = torch.empty(storage.nbytes(), dtype=torch.uint8, device=device).untyped_storage()
    return moved.copy_(storage, non_blocking)


def _register_lstm() -> None:
    """The cell of an LSTM, which has an operator of its own on a GPU."""
    library: Any = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    _kept.append(library)

    def forward(
        of_input: Tensor,
        of_hidden: Tensor,
        cell: Tensor,
        input_bias: Tensor | None = None,
        hidden_bias: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        gates = of_input + of_hidden
        if input_bias is not None and hidden_bias is not None:
            gates = gates + input_bias + hidden_bias
        enter, forget, new, leave = gates.chunk(4, 1)
        enter, forget, new, leave = enter.sigmoid(), forget.sigmoid(), new.tanh(), leave.sigmoid()
        cell = forget * cell + enter * new
        return leave * cell.tanh(), cell, torch.cat([enter, forget, new, leave], 1)

    def backward(
        of_hidden: Tensor | None,
        of_cell: Tensor | None,
        before: Tensor,
        after: Tensor,
        gates: Tensor,
        has_bias: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        enter, forget, new, leave = gates.chunk(4, 1)
        zero, squashed = torch.zeros_like(after), after.tanh()
        of_hidden = zero if of_hidden is None else of_hidden
        of_cell = zero if of_cell is None else of_cell
        of_cell = of_cell + of_hidden * leave * (1 - squashed * squashed)
        of_gates = torch.cat(
            [
                of_cell * new * enter * (1 - enter),
                of_cell * before * forget * (1 - forget),
                of_cell * enter * (1 - new * new),
                of_hidden * squashed * leave * (1 - leave),
            ],
            1,
        )
        return of_gates, of_cell * forget, of_gates.sum(0) if has_bias else None

    library.impl("_thnn_fused_lstm_cell", forward, "CUDA")
    library.impl("_thnn_fused_lstm_cell_backward_impl", backward, "CUDA")
