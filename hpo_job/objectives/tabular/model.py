"""The common part of the two tabular objectives: fastai's tabular model of a prepared table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import fastai.callback.schedule  # noqa: F401  # adds fit_one_cycle to Learner
import numpy as np
import pandas as pd
import torch
from fastai.data.block import CategoryBlock, RegressionBlock
from fastai.data.core import DataLoaders
from fastai.losses import CrossEntropyLossFlat
from fastai.tabular.core import ReadTabBatch, TabDataLoader, TabularPandas, TabularProc
from fastai.tabular.learner import TabularLearner
from fastai.tabular.model import TabularModel, emb_sz_rule
from torch import nn

from hpo_job.data import columns
from hpo_job.data.tables import LabelledRows
from hpo_job.errors import DataError, unknown
from hpo_job.objectives import balance, learner_file, saved
from hpo_job.objectives.context import Context
from hpo_job.objectives.finder import Curve, find_lr
from hpo_job.objectives.parameters import Tabular, TabularClassification
from hpo_job.objectives.standardised import standardised_error
from hpo_job.objectives.tabular.loaders import row_loaders
from hpo_job.objectives.tabular.preparation import Preparation, restore
from hpo_job.objectives.tabular.prepared import prepared
from hpo_job.objectives.training import finish, fit, prepare, start_afresh
from hpo_job.trial import attributes
from hpo_job.trial.phases import Phase

Kind = type[Tabular]
FEWEST = 3  # rows of a rebuilt learner's placeholder table: two to train on, one to validate


class Prepare(TabularProc):  # type: ignore[misc]  # fastai is untyped
    """A `Preparation` as a fastai processing step, so that an export prepares new rows."""

    def __init__(self, preparation: Preparation) -> None:
        self.preparation = preparation

    def encodes(self, rows: Any) -> Any:
        """Replace the features by numbers; other columns stay."""
        others = rows.items.drop(columns=list(self.preparation.columns), errors="ignore")
        rows.items = pd.concat([self.preparation.encode(rows.items), others], axis=1)
        return rows


class TableLoader(TabDataLoader):  # type: ignore[misc]
    """fastai's loader of tables, quick: a batch is picked from tensors, not from a DataFrame.

    A batch is (categories, numbers) and, where the table has them, the targets.
    """

    def __init__(self, dataset: Any, **options: Any) -> None:
        self.tensors = _tensors(dataset)
        super().__init__(dataset, **options)

    def do_batch(self, b: Sequence[int]) -> tuple[torch.Tensor, ...]:
        """The batch of rows at these positions."""
        picked = torch.tensor(list(b))
        return tuple(tensor[picked] for tensor in self.tensors)


class ShowRows(ReadTabBatch):  # type: ignore[misc]
    """Leaves batches unchanged; decodes them into rows, as fastai does to show them."""

    def encodes(self, rows: Any) -> Any:
        return rows


def _tensors(table: Any) -> tuple[torch.Tensor, ...]:
    """All rows of a fastai table."""
    frame = table.items
    tensors = [
        torch.tensor(frame[list(table.cat_names)].to_numpy(np.int64)),
        torch.tensor(frame[list(table.cont_names)].to_numpy(np.float32)),
    ]
    if set(table.y_names) <= set(frame.columns):
        targets = frame[list(table.y_names)].to_numpy()
        kind = np.int64 if targets.dtype.kind in "iu" else np.float32
        tensors.append(torch.tensor(targets.astype(kind)))
    return tuple(tensors)


class Rescaled(nn.Module):
    """A model of standardised numbers whose output is the numbers themselves."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: nn.Module, mean: float, std: float) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32))

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.model(categories, numbers)
        return answer.float() * self.std + self.mean  # half precision would lose digits


def train(kind: Kind, context: Context) -> float | tuple[float, ...]:
    """Train one model in one phase; returns the study's metrics after its last epoch.

    Raises:
        optuna.TrialPruned: the pruner stopped it.
    """
    learner, parameters, preparation = _start(kind, context)
    metric = context.scored
    phase = Phase("train", parameters.epochs, metric.name, metric.direction, final=True)
    fit(
        learner,
        context,
        phase,
        lambda: learner.fit_one_cycle(parameters.epochs, parameters.learning_rate),
    )
    context.keep = partial(save, learner, kind, parameters, preparation)
    return finish(learner, context)


def lr_find(kind: Kind, context: Context, names: Sequence[str]) -> dict[str, Curve]:
    """The learning-rate finder's curve for the only learning rate there is."""
    learner, _, _ = _start(kind, context)
    return {name: find_lr(learner) for name in names}


def save(
    learner: TabularLearner,
    kind: Kind,
    parameters: Tabular,
    preparation: Preparation,
    folder: Path,
) -> None:
    """Write what `rebuild` needs into ``folder``: weights and a JSON record."""
    regression = isinstance(learner.model, Rescaled)
    record = {
        "objective": "tabular_regression" if regression else "tabular_classification",
        "parameters": parameters.model_dump(),
        "preparation": preparation.stored(),
        "label": learner.dls.y_names[0],
        "classes": [] if regression else list(learner.dls.vocab),
    }
    saved.write(folder, learner.model, record)


def rebuild(kind: Kind, folder: Path) -> TabularLearner:
    """The learner that `save` wrote, without its data, for export and predictions."""
    record = learner_file.read(folder)
    parameters = kind.model_validate(record["parameters"])
    preparation, label = restore(record["preparation"]), record["label"]
    # fastai needs rows to make a learner: a few empty ones stand in for them
    rows = pd.DataFrame({name: [None] * FEWEST for name in preparation.columns})
    rows[label] = record["classes"][0] if record["classes"] else 0.0
    dls = _placeholders(rows, label, record["classes"], preparation)
    learner = _learner(dls, parameters, preparation, record["classes"], 0.0, 1.0, None)
    saved.load(folder, learner.model)
    return prepare(learner, None)


def predict(learner: TabularLearner, files: Sequence[Path]) -> pd.DataFrame:
    """The predictions for the rows of table files.

    Returns:
        A row for each: ``file``, ``row`` (from 1, below the header), ``prediction``, and of
        classes the probability of each.

    Raises:
        DataError: a file lacks a feature, or cannot be read.
    """
    tables = []
    for file in files:
        rows = _read(file, learner.dls.procs)
        loader = learner.dls.test_dl(rows)
        answers = learner.get_preds(dl=loader)[0].double().numpy()
        table = pd.DataFrame({"file": str(file), "row": np.arange(1, len(rows) + 1)})
        if isinstance(learner.model, Rescaled):
            tables.append(table.assign(prediction=answers[:, 0]))
        else:
            classes = list(learner.dls.vocab)
            tables.append(learner_file.predictions(table, classes, answers))
    return pd.concat(tables, ignore_index=True)


def _read(file: Path, procs: Any) -> pd.DataFrame:
    """The features in a table file. Raises DataError, in one line, where they are not."""
    preparation: Preparation = next(p.preparation for p in procs if isinstance(p, Prepare))
    known = columns.names(file)
    lacking = [name for name in preparation.columns if name not in known]
    if lacking:
        raise DataError(f"{file}: {unknown('column', lacking[0], known)}")
    rows = columns.read(file, preparation.columns)
    if rows.empty:
        raise DataError(f"{file}: no rows in it")
    try:
        preparation.encode(rows)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    return rows


def _start(kind: Kind, context: Context) -> tuple[TabularLearner, Tabular, Preparation]:
    """A new learner on the study's data."""
    parameters = kind.model_validate(context.params)
    start_afresh(context)
    data = context.data
    assert isinstance(data, LabelledRows)
    with context.timings.measure(attributes.DATA_TIME):
        rows = prepared(data, context.cache)
        # fastai drops the last, smaller batch: of few rows nothing would be left
        dls = row_loaders(data, rows, context, min(parameters.batch_size, len(data.train)))
    preparation = rows.preparation
    targets = data.targets[data.train]
    mean, std = float(targets.mean()), float(targets.std()) or 1.0
    learner = _learner(dls, parameters, preparation, data.classes, mean, std, data)
    return prepare(learner, context, parameters.precision), parameters, preparation


def _placeholders(
    rows: pd.DataFrame, label: str, classes: Sequence[str], preparation: Preparation
) -> DataLoaders:
    """Loaders of fastai's own kind, whose ``test_dl`` prepares new rows."""
    block = CategoryBlock(vocab=list(classes), sort=False) if classes else RegressionBlock()
    table = TabularPandas(
        rows,
        procs=[Prepare(preparation)],
        cat_names=preparation.category_names,
        cont_names=preparation.number_names,
        y_names=label,
        y_block=block,
        splits=([0, 1], [2]),
        reduce_memory=False,  # it would change the columns' types
    )
    return table.dataloaders(
        bs=2,
        dl_type=TableLoader,
        device=torch.device("cpu"),
        num_workers=0,
        after_batch=[ShowRows(table)],
    )


def _learner(
    dls: DataLoaders,
    parameters: Tabular,
    preparation: Preparation,
    classes: Sequence[str],
    mean: float,
    std: float,
    data: LabelledRows | None,
) -> TabularLearner:
    """A learner with fastai's tabular model; for regression, with the targets' mean and std."""
    embeddings = [
        (size, max(1, min(600, round(parameters.embed_factor * emb_sz_rule(size)))))
        for size in preparation.sizes
    ]
    widths = [
        max(1, parameters.units >> position if parameters.halving else parameters.units)
        for position in range(parameters.layers)
    ]
    model: nn.Module = TabularModel(
        embeddings,
        len(preparation.number_names),
        len(classes) or 1,
        widths,
        ps=[parameters.ps] * len(widths),
        embed_p=parameters.embed_p,
    )
    if not classes:
        model = Rescaled(model, mean, std)
        function = standardised_error(std)
    else:
        function = CrossEntropyLossFlat()
        if isinstance(parameters, TabularClassification) and data is not None:
            function = balance.loss(parameters.balance, data)
            balance.sample(parameters.balance, dls.train, data)
    return TabularLearner(dls, model, loss_func=function, wd=parameters.weight_decay)
