"""Batches are the same however they are read: here or by processes, decoded anew or cached."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastai.data.core import DataLoaders
from fastai.torch_core import set_seed

from hpo_job.data.images import LabelledFiles
from hpo_job.data.tables import read_table
from hpo_job.objectives.batches import PREFETCHED, START_VARIABLE, close_pools, read_ahead
from hpo_job.objectives.context import Context
from hpo_job.objectives.images.loaders import ImageLoader, image_loaders
from hpo_job.objectives.parameters import ImageClassification, TextClassification
from hpo_job.objectives.tabular.loaders import row_loaders
from hpo_job.objectives.tabular.prepared import prepared
from hpo_job.objectives.text.loaders import Reader, classifier_loaders, language_loaders
from hpo_job.objectives.text.tokens import tokenised
from hpo_job.objectives.text_classification import _Study
from hpo_job.spec.study_toml import Data
from tests import ROOT

Make = Callable[..., DataLoaders]


@pytest.fixture
def images(make_context: Callable[..., Context]) -> Make:
    def make(**settings: Any) -> DataLoaders:
        context = replace(make_context(), **settings)
        assert isinstance(context.data, LabelledFiles)
        parameters = ImageClassification(image_size=48, batch_size=16, apply_tfms=True)
        return image_loaders(context.data, context, parameters)

    return make


@pytest.fixture
def rows(make_context: Callable[..., Context], tmp_path: Path) -> Make:
    file = ROOT / "jobs" / "penguins-species" / "penguins.csv"
    data = read_table(file, Data(path="-", label="species", valid_pct=0.3), 42)

    def make(**settings: Any) -> DataLoaders:
        return row_loaders(data, prepared(data, tmp_path), replace(make_context(), **settings), 16)

    return make


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> _Study:
    file = ROOT / "jobs" / "state-of-the-union-early" / "passages.csv.gz"
    described = Data(path="-", text="text", label="party", group="address", sample=48)
    data = read_table(file, described, 1)
    cache = tmp_path_factory.mktemp("tokens")
    corpus = tokenised(data.frame["text"].tolist(), data.train, cache)
    reader = Reader(corpus.vocabulary(500, 3), data.classes, "text", 16, 80)
    return _Study(TextClassification(), data, corpus, reader)


@pytest.fixture
def streams(study: _Study) -> Make:
    def make(loader_workers: int | None = None, **_: Any) -> DataLoaders:
        train, valid = (study.part(rows)[0] for rows in (study.data.train, study.data.valid))
        device = torch.device("cpu")
        return language_loaders(train, valid, study.reader, 8, device, loader_workers or 0)

    return make


@pytest.fixture
def texts(study: _Study) -> Make:
    def make(loader_workers: int | None = None, **_: Any) -> DataLoaders:
        train, valid = (study.part(rows) for rows in (study.data.train, study.data.valid))
        device = torch.device("cpu")
        return classifier_loaders(train, valid, study.reader, 8, device, loader_workers or 0)

    return make


def two_epochs(dls: DataLoaders) -> list[torch.Tensor]:
    """All tensors of two passes over the training items, and one over the others."""
    batches = [batch for loader in (dls.train, dls.train, dls.valid) for batch in loader]
    return [torch.Tensor(tensor).clone() for batch in batches for tensor in batch]


def same(make: Make, *settings: dict[str, Any]) -> None:
    """The batches are equal to the last bit, and so is what is random afterwards."""
    seen = []
    for each in settings:
        set_seed(3, reproducible=True)
        batches = two_epochs(make(**each))
        close_pools()
        seen.append((batches, random.random(), np.random.rand(), float(torch.rand(1))))
    first, *others = seen
    assert len(first[0]) > 4
    assert not torch.equal(first[0][0], first[0][2])
    for other in others:
        assert len(other[0]) == len(first[0])
        assert all(map(torch.equal, first[0], other[0]))
        assert other[1:] == first[1:]


@pytest.mark.parametrize("method", ["fork", "forkserver"])
@pytest.mark.parametrize("kind", ["images", "rows", "streams", "texts"])
def test_processes_read_the_same_batches(
    kind: str, method: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv(START_VARIABLE, method)
    uncached: dict[str, Any] = {"cache_size": 0}
    same(
        request.getfixturevalue(kind),
        uncached,
        uncached | {"loader_workers": 2},
        {"loader_workers": 2},
        {},
    )


def test_a_thread_reads_the_same_batches_ahead(
    images: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU that does not hold the images."""
    monkeypatch.setattr(ImageLoader, "reads_ahead", property(lambda loader: loader.ahead))

    def make(ahead: bool) -> DataLoaders:
        dls = images()
        for loader in dls.loaders:
            loader.ahead = ahead
        return dls

    same(make, {"ahead": False}, {"ahead": True})


class Noting:
    """A data set that notes which batches were read; that of key 5 cannot be."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.threads: set[int] = set()

    def __getitem__(self, key: int) -> tuple[torch.Tensor, ...]:
        if key == 5:
            raise OSError("gone")
        self.threads.add(threading.get_ident())
        self.read.append(key)
        return (torch.tensor(key),)


def test_a_thread_is_two_batches_ahead_and_no_more() -> None:
    source = Noting()
    for taken, (batch,) in enumerate(read_ahead(source, range(5), pin=False), 1):
        assert int(batch) == taken - 1
        assert len(source.read) <= taken + PREFETCHED
    assert source.read == [0, 1, 2, 3, 4]
    assert len(source.threads) == 1
    assert threading.get_ident() not in source.threads


def test_what_a_thread_cannot_read_is_the_trials_error() -> None:
    source = Noting()
    batches = read_ahead(source, range(3, 8), pin=False)
    assert [int(next(batches)[0]) for _ in range(2)] == [3, 4]
    with pytest.raises(OSError, match="gone"):
        next(batches)


class Slow(Noting):
    """A data set whose batches, but for the first, wait until they may be read."""

    def __init__(self) -> None:
        super().__init__()
        self.free, self.begun = threading.Event(), threading.Event()

    def __getitem__(self, key: int) -> tuple[torch.Tensor, ...]:
        if key:
            self.begun.set()
            self.free.wait()
        return super().__getitem__(key)


def test_a_pass_that_is_broken_off_reads_no_further_and_leaves_no_thread() -> None:
    before, source = set(threading.enumerate()), Slow()
    batches = read_ahead(source, range(5), pin=False)
    next(batches)
    source.begun.wait()
    timer = threading.Timer(0.2, source.free.set)  # once the thread that reads is waited for
    timer.start()
    batches.close()
    timer.join()
    assert source.read == [0, 1]
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("pin", [True, False])
def test_batches_are_pinned_for_a_gpu(pin: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor + 100)
    numbers = [int(batch[0]) for batch in read_ahead(Noting(), range(4), pin=pin)]
    assert numbers == [number + 100 * pin for number in range(4)]
