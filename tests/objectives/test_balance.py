"""Rare classes weigh more in the loss, or come more often in the batches: looked at one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.data.core import DataLoaders, TfmdDL
from fastai.text.data import SortedDL
from fastai.torch_core import set_seed
from numpy.typing import NDArray

from hpo_job.data.tables import LabelledRows, read_table
from hpo_job.objectives.balance import class_weights, loss, sample
from hpo_job.objectives.parameters import Balance
from hpo_job.spec.study_toml import Data

ITEMS, SIZE = 400, 50


@pytest.fixture
def rows(tmp_path: Path) -> LabelledRows:
    """84% thefts, and two rarer classes; a training part of 320 rows."""
    kinds = ["theft"] * 336 + ["kill"] * 48 + ["arson"] * 16
    file = tmp_path / "trials.csv"
    pd.DataFrame({"x": range(ITEMS), "kind": kinds}).to_csv(file, index=False)
    return read_table(file, Data(path="-", label="kind", valid_pct=0.2), 1)


class Items:
    """A data set of (position in the training part, class)."""

    def __init__(self, data: LabelledRows):
        self.targets = data.targets[data.train]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(item), torch.tensor(self.targets[item])


def make_loader(data: LabelledRows, balance: Balance, seed: int = 1) -> TfmdDL:
    set_seed(seed)
    loader = TfmdDL(Items(data), bs=SIZE, shuffle=True)
    sample(balance, loader, data)
    return loader


def epoch(loader: TfmdDL) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The items and their classes that an epoch shows, in its order."""
    batches = list(loader)
    assert all(len(items) == SIZE for items, _ in batches[:-1])
    return tuple(torch.cat(part).numpy() for part in zip(*batches, strict=True))  # type: ignore[return-value]


def test_weights_are_inverse_to_frequency(rows: LabelledRows) -> None:
    targets = rows.targets[rows.train]
    counts = np.bincount(targets)
    weights = class_weights(rows)
    assert rows.classes == ("arson", "kill", "theft")
    assert weights * counts == pytest.approx([len(targets) / 3] * 3)
    assert weights[targets].mean() == pytest.approx(1)


def test_weights_are_of_the_training_part(rows: LabelledRows) -> None:
    other = read_table(rows.file, Data(path="-", label="kind", valid_pct=0.2), 2)
    shuffled = LabelledRows(**{**vars(other), "train": other.train[:100]})
    assert not np.allclose(class_weights(shuffled), class_weights(rows))


def test_a_class_without_training_items_weighs_one(rows: LabelledRows) -> None:
    lacking = rows.train[rows.targets[rows.train] != 0]
    weights = class_weights(LabelledRows(**{**vars(rows), "train": lacking}))
    assert weights[0] == 1
    assert np.isfinite(weights).all()


def test_the_loss_weighs_rare_classes(rows: LabelledRows) -> None:
    """Of the same wrong answer to each class, those to rarer ones cost more."""

    def losses(balance: Balance) -> NDArray[np.float32]:
        function = loss(balance, rows)
        function.reduction = "none"
        return np.asarray(function(torch.zeros(3, 3), torch.arange(3)))

    weighed = losses("class_weights")
    assert weighed / weighed[2] == pytest.approx(class_weights(rows) / class_weights(rows)[2])
    for balance in ("none", "sampler"):
        plain = losses(balance)
        assert plain == pytest.approx([plain[0]] * 3)


def test_without_balance_each_item_comes_once(rows: LabelledRows) -> None:
    for balance in ("none", "class_weights"):
        items, _ = epoch(make_loader(rows, balance))
        assert sorted(items) == list(range(len(rows.train)))


def test_the_sampler_shows_every_class_alike(rows: LabelledRows) -> None:
    loader = make_loader(rows, "sampler")
    classes = np.concatenate([epoch(loader)[1] for _ in range(5)])
    assert np.bincount(classes) / len(classes) == pytest.approx([1 / 3] * 3, abs=0.05)


def test_the_sampler_shows_items_with_their_own_class(rows: LabelledRows) -> None:
    items, classes = epoch(make_loader(rows, "sampler"))
    assert np.array_equal(rows.targets[rows.train][items], classes)
    assert len(set(items)) < len(items)  # with replacement


def test_every_epoch_is_drawn_anew_and_repeats_with_the_seed(rows: LabelledRows) -> None:
    loader, again, other = (
        make_loader(rows, "sampler"),
        make_loader(rows, "sampler"),
        make_loader(rows, "sampler", 2),
    )
    first, second = epoch(loader)[0], epoch(loader)[0]
    assert not np.array_equal(first, second)
    assert np.array_equal(first, epoch(again)[0])
    assert np.array_equal(second, epoch(again)[0])
    assert not np.array_equal(first, epoch(other)[0])


def test_predictions_on_the_training_part_see_each_item_once(rows: LabelledRows) -> None:
    """fastai copies the training loader for that."""
    loader = make_loader(rows, "sampler")
    dls = DataLoaders(loader, loader.new(shuffle=False))
    assert epoch(dls[0].new(shuffle=False))[0].tolist() == list(range(len(rows.train)))
    assert epoch(dls.valid)[0].tolist() == list(range(len(rows.train)))


def test_a_loader_that_sorts_by_length_still_does(rows: LabelledRows) -> None:
    lengths = np.random.default_rng(0).integers(1, 1000, len(rows.train)).tolist()

    def spread(loader: TfmdDL) -> float:
        return float(np.mean([np.ptp(np.array(lengths)[items.numpy()]) for items, _ in loader]))

    set_seed(1)
    loader = SortedDL(Items(rows), res=lengths, bs=SIZE, shuffle=True)
    before = spread(loader)
    sample("sampler", loader, rows)
    assert spread(loader) < 2 * before < 500
    classes = np.concatenate([epoch(loader)[1] for _ in range(5)])
    assert np.bincount(classes) / len(classes) == pytest.approx([1 / 3] * 3, abs=0.05)
