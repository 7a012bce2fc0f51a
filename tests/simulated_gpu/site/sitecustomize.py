"""Imported by each Python process that finds it: simulates GPUs as soon as torch is imported."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any


class _AfterTorch(MetaPathFinder):
    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)  # for the others to find it
        spec = importlib.util.find_spec("torch")
        sys.meta_path.insert(0, self)
        assert spec is not None and spec.loader is not None
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(torch: ModuleType) -> None:
            sys.meta_path.remove(self)
            execute(torch)
            _load("device", Path(__file__).parents[1] / "device.py").simulate(
                _load("simulated_cuda", Path(os.environ["SIMULATED_GPU_MODULE"])),
                count=int(os.environ["SIMULATED_GPUS"]),
                memory=int(float(os.environ["SIMULATED_GPU_GIB"]) * 2**30),
            )

        loader.exec_module = exec_module
        return spec


def _load(name: str, file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if os.environ.get("SIMULATED_GPUS"):
    sys.meta_path.insert(0, _AfterTorch())
