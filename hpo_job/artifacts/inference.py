"""Predictions of exported models for new files; of several seeds, their mean."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from hpo_job import objectives
from hpo_job.artifacts.export import SEED_FOLDER
from hpo_job.data import columns
from hpo_job.data.image_file import is_image
from hpo_job.errors import DataError
from hpo_job.objectives import learner_file
from hpo_job.objectives.saved_files import FUNCTION

ITEM = ("file", "row")  # columns that name an item; `prediction` and the classes follow
ANSWER = "prediction"


@dataclass(frozen=True)
class Model:
    """An exported model, or several that differ by their seed only.

    Attributes:
        folder: of the export.
        objective: what trained it.
        module: of the objective.
        learners: the models.
        record: what was kept with the first one: see `learner_file`.
    """

    folder: Path
    objective: str
    module: ModuleType
    learners: tuple[Any, ...]
    record: dict[str, Any]

    @property
    def layout(self) -> str:
        """What it predicts of: images, a table's rows, or texts."""
        return objectives.SHIPPED[self.objective].layout

    @property
    def is_regression(self) -> bool:
        """Whether it predicts numbers."""
        return objectives.SHIPPED[self.objective].task == "regression"

    @property
    def threshold(self) -> float | None:
        """Above which probability a label is predicted; None unless items have several labels."""
        has_label_sets = objectives.SHIPPED[self.objective].task == "multilabel"
        return float(self.record["threshold"]) if has_label_sets else None

    def labels_in(self, answer: str) -> list[str]:
        """The labels in a cell of ``prediction``, where items have several labels."""
        return answer.split(str(self.record["delimiter"])) if answer else []

    def predict(self, files: Sequence[Path]) -> pd.DataFrame:
        """A row for each file, or for each row of a table.

        Returns:
            ``file``, ``row`` (of tables and texts, from 1), ``prediction``, and of a classifier
            the probability of each class. Several labels are in one cell, divided as in the data
            that the model was trained on.

        Raises:
            DataError: a file cannot be read.
        """
        tables = [self.module.predict(learner, list(files)) for learner in self.learners]
        table: pd.DataFrame = tables[0]
        if len(tables) == 1:
            return table
        if self.is_regression:
            return table.assign(**{ANSWER: np.mean([each[ANSWER] for each in tables], axis=0)})
        classes = class_columns(table)
        shares = np.mean([each[classes].to_numpy() for each in tables], axis=0)
        joint = table.assign(**{name: shares[:, at] for at, name in enumerate(classes)})
        if self.threshold is not None:
            labels, delimiter = (
                np.array(self.record["classes"], dtype=object),
                self.record["delimiter"],
            )
            joint[ANSWER] = [delimiter.join(labels[row > self.threshold]) for row in shares]
            return joint
        answers = {name: answer for each in tables for name, answer in _answers(each)}
        joint[ANSWER] = [answers[classes[at]] for at in shares.argmax(axis=1)]
        return joint


def load(folder: Path) -> Model:
    """The model that `export` or `train` wrote into ``folder``.

    Raises:
        DataError: there is none that can be loaded.
    """
    first = folder / SEED_FOLDER.format(0)
    if not first.is_dir():
        folders = [folder]
    else:
        count = len(list(folder.glob(SEED_FOLDER.format("*"))))
        folders = [folder / SEED_FOLDER.format(number) for number in range(count)]
    record = learner_file.read(folders[0])
    objective = str(record.get("objective"))
    if objective == FUNCTION:
        raise DataError(
            f"{folder}: the model of a function of your own; load its files with your own code"
        )
    if objective not in objectives.SHIPPED:
        raise DataError(f"{folders[0] / learner_file.LEARNER}: no objective {objective!r}")
    module = objectives.shipped(objective)
    learners = tuple(module.rebuild(each) for each in folders)
    return Model(folder, objective, module, learners, record)


def files_of(layout: str, names: Sequence[Path]) -> list[Path]:
    """The files that are meant by files, folders and patterns such as ``scans/*.png``.

    Of a folder, those below it that the model can read: images, or tables and texts.

    Raises:
        DataError: a name means no file.
    """
    files: list[Path] = []
    for name in names:
        if name.is_file():
            files.append(name)
            continue
        pattern = glob.has_magic(str(name)) and not name.exists()
        matches = sorted(_matching(name)) if pattern else [name]
        if pattern and not matches:
            raise DataError(f"{name}: no file matches")
        for match in matches:
            below = [match] if match.is_file() else sorted(_readable(match, layout))
            if match.is_dir() and not below:
                raise DataError(f"{match}: no {_KINDS[layout]} in this folder")
            if not match.exists():
                raise DataError(f"{match}: no such file")
            files += below
    return list(dict.fromkeys(files))


def _matching(pattern: Path) -> Iterator[Path]:
    root = Path(pattern.anchor)
    return root.glob(str(pattern.relative_to(root)))


def class_columns(table: pd.DataFrame) -> list[str]:
    """The columns of `Model.predict` that hold probabilities of classes."""
    names = list(map(str, table.columns))
    return names[names.index(ANSWER) + 1 :]


def _answers(table: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    """The class that each column of probabilities is of, as far as it was predicted.

    A column's name differs from its class where another column is called so already.
    """
    classes = class_columns(table)
    likeliest = table[classes].to_numpy().argmax(axis=1)
    for at, name in enumerate(classes):
        rows = np.flatnonzero(likeliest == at)
        yield name, table[ANSWER].iloc[rows[0]] if len(rows) else name


_KINDS = {"images": "image", "table": "table", "text": "text or table"}


def _readable(folder: Path, layout: str) -> Iterator[Path]:
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if hidden or not file.is_file():
            continue
        if layout == "images":
            if is_image(file):
                yield file
        elif columns.is_table(file) or (layout == "text" and file.suffix.lower() == ".txt"):
            yield file
