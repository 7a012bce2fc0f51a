"""What is imported once for all workers of a machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpo_job.objectives.preload import leading_imports

FILE = '''
"""Its docstring."""
from __future__ import annotations

import json, xml.dom
import click as command
from rich.text import Text
'''


@pytest.mark.parametrize(
    "then",
    [
        "import os\nos.environ['BACKEND'] = 'x'\nimport torch",  # read by what is imported next
        "import helper\nimport torch",  # may do the same
        "from . import helper\nimport torch",
        "import no_such_package\nimport torch",
        "if True:\n    import torch",
    ],
)
def test_imports_up_to_what_may_change_them(tmp_path: Path, then: str) -> None:
    (tmp_path / "helper.py").touch()
    file = tmp_path / "objective.py"
    file.write_text(FILE + then)
    wanted = ["__future__", "json", "xml.dom", "click", "rich.text"]
    assert leading_imports(file) == wanted + (["os"] if then.startswith("import os") else [])


def test_a_folder_next_to_it_hides_an_installed_package(tmp_path: Path) -> None:
    (tmp_path / "click").mkdir()
    (tmp_path / "objective.py").write_text("import json\nimport click\n")
    assert leading_imports(tmp_path / "objective.py") == ["json"]


def test_a_file_that_is_no_python_has_no_imports(tmp_path: Path) -> None:
    file = tmp_path / "objective.py"
    assert leading_imports(file) == []
    file.write_text("import json\nthis is: no Python")
    assert leading_imports(file) == []


# CUDA as in a build of torch that has it; whoever asks it directly cannot be forked any more
UNTOUCHED = """
import sys
import torch

torch.cuda._is_compiled = lambda: True

def count():
    raise SystemExit("CUDA was asked before the fork")

torch._C._cuda_getDeviceCount = count
from hpo_job.objectives import preload
from hpo_job.spec.reading import read_spec
preload.preload(read_spec(sys.argv[1]))
loaded = sys.modules.keys() & {"fastai.learner", "torchvision", "timm", "sklearn.metrics"}
assert len(loaded) == 4, loaded
with preload.cuda_untouched():
    assert torch.cuda.is_available() is False  # without a call to the above
print("untouched")
"""


def test_nothing_asks_cuda_before_the_fork(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(
        'name = "images"\nobjective = "image_classification"\nmetric = "accuracy"\n'
        'direction = "maximize"\n[budget]\ntrials = 1\n[data]\npath = "data"\n'
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", UNTOUCHED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.stdout == "untouched\n", done.stderr
