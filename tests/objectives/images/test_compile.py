"""The parameter `compile`, on the processor of any machine with a compiler; the share of a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partialmethod
from typing import Any

import pytest
import torch
import torch._dynamo.config
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from torch.utils.data import TensorDataset

from hpo_job.objectives import training
from hpo_job.objectives.context import Context
from hpo_job.objectives.image_classification import train
from hpo_job.trial import attributes

MIB = training.MIB


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[torch.nn.Module]:
    """The models that were compiled."""
    models: list[torch.nn.Module] = []
    original = torch.nn.Module.compile

    def noting(module: torch.nn.Module, *arguments: Any, **options: Any) -> None:
        models.append(module)
        original(module, *arguments, **options)

    monkeypatch.setattr(torch.nn.Module, "compile", noting)
    return models


def test_a_trial_compiles_its_model_if_it_is_asked_to(
    make_context: Callable[..., Context],
    compiled: list[torch.nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Its value, its times and its kept model are as without; torch generates nothing here."""
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")  # it would take minutes
    values = {}
    for choice in (False, True):
        context = make_context(pre_trained=False, precision="fp32", compile=choice)
        values[choice] = train(context.trial, context)
        assert len(compiled) == choice
        times = context.timings.values()
        assert times[attributes.EXECUTE_TIME] < times[attributes.TOTAL_TIME]  # type: ignore[operator]
        kept = tmp_path_factory.mktemp("kept")
        assert context.keep is not None
        context.keep(kept)
        assert list(kept.iterdir())
    assert values[True] == values[False]


@pytest.mark.slow
@pytest.mark.needs("compiler")
def test_a_compiled_model_learns_the_same(
    make_context: Callable[..., Context],
    compiled: list[torch.nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Really compiled, in fastai's loop; as far as another order of additions allows."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
    weights = []
    for choice in (False, True):
        torch.manual_seed(0)
        x = torch.randn(32, 8)
        data = TensorDataset(x, x[:, :2])
        loaders = DataLoaders.from_dsets(data, data, bs=8, shuffle=False, device="cpu")
        model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        learn = Learner(loaders, model, loss_func=torch.nn.MSELoss())
        training.prepare(learn, make_context(), "fp32", compiled=choice)
        learn.fit(2, 1e-2)
        weights.append(torch.nn.utils.parameters_to_vector(model.parameters()).detach())
        assert len(compiled) == choice
    torch.testing.assert_close(weights[0], weights[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_whole_model_is_compiled_in_every_trial(
    make_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """One graph for training and one for validation, also after more trials than torch allows."""
    graphs: list[int] = []  # the operations of each

    def count(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        graphs.append(sum(node.op.startswith("call") for node in graph.graph.nodes))
        return graph.forward

    original = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", partialmethod(original, backend=count))
    for _ in range(torch._dynamo.config.recompile_limit + 2):
        graphs.clear()
        x = torch.randn(16, 8)
        data = TensorDataset(x, x[:, :2])
        loaders = DataLoaders.from_dsets(data, data, bs=8, device=torch.device("cpu"))
        layers = [torch.nn.Linear(8, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 2)]
        learn = Learner(loaders, torch.nn.Sequential(*layers), loss_func=torch.nn.MSELoss())
        training.prepare(learn, make_context(), precision, compiled=True)
        learn.fit(1, 1e-3)
        assert len(graphs) == 2 and min(graphs) >= len(layers)


@pytest.mark.parametrize(
    ("share", "total", "fraction"),
    [(0.5, 80 * 1024 * MIB, 0.5 - 600 / (80 * 1024)), (0.25, 2 * 1024 * MIB, 0.125)],
)
def test_a_process_leaves_space_for_cuda_itself(share: float, total: int, fraction: float) -> None:
    assert training.memory_fraction(share, total) == pytest.approx(fraction)
