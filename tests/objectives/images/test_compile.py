"""The parameter `compile`, on the processor of any machine with a compiler; the share of a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hpo_job.objectives import training
from hpo_job.objectives.context import Context
from hpo_job.objectives.image_classification import train
from hpo_job.trial import attributes

MIB = training.MIB


@pytest.mark.slow
@pytest.mark.needs("compiler")
def test_a_compiled_model_learns_the_same(
    make_context: Callable[..., Context],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """As far as another order of additions allows; its times are measured, and it can be kept."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
    compiled: list[torch.nn.Module] = []
    original = torch.nn.Module.compile

    def counting(module: torch.nn.Module, *arguments: Any, **options: Any) -> None:
        compiled.append(module)
        original(module, *arguments, **options)

    monkeypatch.setattr(torch.nn.Module, "compile", counting)
    values = {}
    for choice in (False, True):
        context = make_context(
            model="squeezenet1_1", pre_trained=False, precision="fp32", compile=choice
        )
        values[choice] = train(context.trial, context)
        assert len(compiled) == choice
        times = context.timings.values()
        assert times[attributes.EXECUTE_TIME] < times[attributes.TOTAL_TIME]  # type: ignore[operator]
        kept = tmp_path_factory.mktemp("kept")
        assert context.keep is not None
        context.keep(kept)
        assert list(kept.iterdir())
    assert values[True] == pytest.approx(values[False], abs=0.1)


@pytest.mark.parametrize(
    ("share", "total", "fraction"),
    [(0.5, 80 * 1024 * MIB, 0.5 - 600 / (80 * 1024)), (0.25, 2 * 1024 * MIB, 0.125)],
)
def test_a_process_leaves_space_for_cuda_itself(share: float, total: int, fraction: float) -> None:
    assert training.memory_fraction(share, total) == pytest.approx(fraction)
