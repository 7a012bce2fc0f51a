"""The examples of docs/resume.md: killed half-way, they end as if they had not been."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import ROOT
from tests.worker.attempts import Study

PAGE = (ROOT / "docs" / "resume.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^### (\w[-\w]*)\n.*?^```python\n(.*?)^```", PAGE, re.M | re.S))
LIBRARIES = {"PyTorch": "torch", "XGBoost": "xgboost", "scikit-learn": "sklearn"}
# Killed after some epochs, once those are uploaded
KILLED = """

undisturbed = train

def train(trial, context):
    import os, signal, threading
    from pathlib import Path

    save, first = context.save, not Path(__file__).with_name("begun").exists()
    Path(__file__).with_name("begun").touch()

    def save_and_die(state):
        save(state)
        for thread in threading.enumerate():
            if thread.name == "upload":
                thread.join()
        if first and len(context.history.values) == 8:
            os.kill(os.getpid(), signal.SIGKILL)

    context.save = save_and_die
    return undisturbed(trial, context)
"""
SPACE = '[search_space]\nx = { type = "float", low = 0.01, high = 0.1 }'


def test_there_is_one_for_each_library() -> None:
    assert EXAMPLES.keys() == LIBRARIES.keys()


@pytest.mark.processes
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("PyTorch", marks=pytest.mark.fastai),
        "XGBoost",
        "scikit-learn",
    ],
)
def test_an_example_ends_as_if_it_had_not_been_killed(name: str, tmp_path: Path) -> None:
    pytest.importorskip(LIBRARIES[name])
    whole = Study(tmp_path / "whole", EXAMPLES[name], space=SPACE)
    assert whole.run() == 0, whole.log.read_text()
    study = Study(tmp_path / "killed", EXAMPLES[name] + KILLED, space=SPACE)
    assert study.run() == -9, study.log.read_text()
    assert study.run() == 0, study.log.read_text()
    _, second = study.trials
    assert second.user_attrs["resumed_at_epoch"] == 8
    assert second.value == pytest.approx(whole.trials[0].value, rel=1e-9)
    assert len(second.intermediate_values) == 20
    assert second.intermediate_values == pytest.approx(whole.trials[0].intermediate_values)
