"""What `check` looks up before a study begins, in every worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hpo_job.spec import baselines
from hpo_job.spec.metrics import Metric
from hpo_job.spec.reading import read_spec
from hpo_job.spec.scores import Targets
from hpo_job.study.checking import check


def test_each_baseline_is_computed_once(
    image_job: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, baseline = [], baselines.baseline

    def counted(metric: Metric, train: Targets, valid: Targets) -> float:
        names.append(metric.name)
        return baseline(metric, train, valid)

    monkeypatch.setattr(baselines, "baseline", counted)
    folder = image_job(metric=["accuracy", "log_loss"], direction=["maximize", "minimize"])
    checked = check(read_spec(folder), tmp_path / "weights")
    assert names == ["accuracy", "log_loss"]
    assert checked.baselines[0] == 0.6
