"""A machine with CUDA GPUs, simulated: what an hpo-job process does there can be tried anywhere.

torch dispatches every operation on a tensor by its device. Here those of CUDA are computed by the
CPU (device.cpp), and the functions of ``torch.cuda`` answer for as many GPUs as a variable says
(device.py). Any Python process with the variables of `environment` simulates, also those that
hpo-job starts. The values are a CPU's; of speed, nothing can be learned.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent
GPUS, MEMORY, MODULE = "SIMULATED_GPUS", "SIMULATED_GPU_GIB", "SIMULATED_GPU_MODULE"


def build(folder: Path) -> Path:
    """Compile device.cpp for the torch that is installed; the module's file."""
    import torch

    torch_folder = Path(torch.__file__).parent
    headers, libraries = torch_folder / "include", torch_folder / "lib"
    includes = [headers, headers / "torch/csrc/api/include", sysconfig.get_path("include")]
    module = folder / "simulated_cuda.so"
    subprocess.run(
        [
            *("g++", "-shared", "-fPIC", "-std=c++20", "-O0", "-w"),
            "-DTORCH_EXTENSION_NAME=simulated_cuda",
            *(f"-isystem{path}" for path in includes),
            *(HERE / "device.cpp", "-o", module),
            *(f"-L{libraries}", f"-Wl,-rpath,{libraries}"),
            *("-ltorch", "-ltorch_cpu", "-ltorch_python", "-lc10"),
        ],
        check=True,
    )
    return module


def environment(module: Path, gpus: int, gib: float = 8) -> dict[str, str]:
    """The variables of a process that simulates ``gpus`` GPUs of ``gib`` GiB of memory each."""
    earlier = os.environ.get("PYTHONPATH")
    paths = [str(HERE / "site"), *([earlier] if earlier else [])]
    return {
        GPUS: str(gpus),
        MEMORY: str(gib),
        MODULE: str(module),
        "PYTHONPATH": os.pathsep.join(paths),
        "PATH": os.pathsep.join([str(HERE / "bin"), os.environ["PATH"]]),
    }
