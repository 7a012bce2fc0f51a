"""The predictions of a trained model for the validation items, kept with it as a Parquet file."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hpo_job.data.kinds import DAY
from hpo_job.objectives.context import Context
from hpo_job.spec.metrics import Metric

if TYPE_CHECKING:
    import pandas as pd

FILE = "predictions.parquet"
NIGHT = "T00:00:00"  # the time of a date without one
LONGEST = 1000  # characters of a text that are kept
RESAMPLES = 500  # of the validation items, for an interval
LEVEL = 95  # percent of the resamples whose score is inside the interval
LEAST_PROBABILITY = 1e-12  # of the true class, so that a loss is finite


@dataclass(frozen=True)
class Predictions:
    """What a model predicts for the validation items, in the order of the split.

    Args:
        items: the name of each: a file relative to ``root``, or ``row 17``.
        texts: what each says: a text, or a row's features, shortened; empty for images.
        classes: the names of the classes; empty for regression.
        targets: the class numbers, int64, or the true numbers, float64; shape (items,). Of several
            labels an item, 1 where it has a label, else 0; shape (items, classes).
        outputs: the probabilities, shape (items, classes), or the predicted numbers, (items,).
        root: the folder of the files, or the table, on the machine that trained.
        interval: the bootstrap interval of the metric; None where it could not be computed.
        threshold: of several labels an item, the probability above which one is predicted.
    """

    items: list[str]
    texts: list[str]
    classes: tuple[str, ...]
    targets: NDArray[Any]
    outputs: NDArray[np.float64]
    root: str = ""
    interval: tuple[float, float] | None = None
    threshold: float = 0.5

    @property
    def has_label_sets(self) -> bool:
        """Whether an item may have several labels, or none."""
        return self.targets.ndim == 2

    @cached_property
    def answers(self) -> NDArray[Any]:
        """The predicted class numbers, labels (1 or 0), or numbers; shaped as the targets."""
        if self.has_label_sets:
            return (self.outputs > self.threshold).astype(np.int64)
        return self.outputs.argmax(axis=1) if self.classes else self.outputs

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """The negative logarithm of the true class's probability, or the squared error.

        Of several labels an item, the mean over the labels of the negative logarithm of the
        probability of what is true.
        """
        if not self.classes:
            return np.asarray(np.square(self.outputs - self.targets))
        if self.has_label_sets:
            of_truth = np.where(self.targets == 1, self.outputs, 1 - self.outputs)
            return np.asarray(-np.log(np.clip(of_truth, LEAST_PROBABILITY, None)).mean(axis=1))
        of_true_class = self.outputs[np.arange(len(self.targets)), self.targets]
        return np.asarray(-np.log(np.clip(of_true_class, LEAST_PROBABILITY, None)))

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """Which items a classifier gets wrong; of several labels, those with any wrong one."""
        different = self.answers != self.targets
        return np.asarray(different.any(axis=1) if self.has_label_sets else different)

    @cached_property
    def sureness(self) -> NDArray[np.float64]:
        """How sure a classifier is of each answer: its probability; of several labels, the mean."""
        if self.has_label_sets:
            return np.asarray(np.maximum(self.outputs, 1 - self.outputs).mean(axis=1))
        return np.asarray(self.outputs.max(axis=1))

    def named(self, answer: Any) -> Any:
        """A target or answer by its name: a class, a list of labels, or the number itself."""
        if self.has_label_sets:
            return [self.classes[number] for number in np.flatnonzero(answer)]
        return self.classes[answer] if self.classes else answer

    def write(self, file: Path) -> None:
        """Write them as Parquet: item, text, target, prediction, probabilities, loss."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        of_classes, nothing = bool(self.classes), pa.nulls(len(self.items))
        table = pa.table(
            {
                "item": self.items,
                "text": self.texts or nothing,
                "target": list(map(self.named, self.targets)),
                "prediction": list(map(self.named, self.answers)),
                "probabilities": self.outputs.tolist() if of_classes else nothing,
                "loss": self.losses,
            }
        )
        settings = {
            "classes": self.classes,
            "root": self.root,
            "interval": self.interval,
            "threshold": self.threshold if self.has_label_sets else None,
        }
        pq.write_table(table.replace_schema_metadata({"hpo-job": json.dumps(settings)}), file)

    @classmethod
    def read(cls, file: Path) -> Predictions:
        """Read what `write` wrote."""
        import pyarrow.parquet as pq

        table = pq.read_table(file)
        settings = json.loads(table.schema.metadata[b"hpo-job"])
        columns = table.to_pydict()
        classes = tuple(settings["classes"])
        numbers = {name: number for number, name in enumerate(classes)}
        outputs = columns["probabilities"] if classes else columns["prediction"]
        threshold = settings.get("threshold")
        targets: list[Any]
        if threshold is not None:
            targets = [[int(name in each) for name in classes] for each in columns["target"]]
        else:
            targets = [numbers[name] if classes else name for name in columns["target"]]
        return cls(
            columns["item"],
            [text or "" for text in columns["text"]] if any(columns["text"]) else [],
            classes,
            np.array(targets, dtype=np.int64 if classes else np.float64),
            np.array(outputs, dtype=np.float64).reshape((len(targets), -1) if classes else -1),
            settings["root"],
            tuple(settings["interval"]) if settings["interval"] else None,
            0.5 if threshold is None else threshold,
        )


def of_validation(
    context: Context, targets: NDArray[Any], outputs: NDArray[np.float64]
) -> Predictions | None:
    """The predictions for the validation items of a trial.

    Args:
        context: the trial.
        targets: as the learner returned them.
        outputs: as the learner returned them.

    Returns:
        None where the items are not known one by one, such as in another order.
    """
    data = context.data
    if data is None or targets.shape != (true := data.targets[data.valid]).shape:
        return None
    classes = tuple(getattr(data, "classes", ()))
    if outputs.ndim != (2 if classes else 1) or not np.allclose(targets, true):
        return None
    items, texts = _named(data)
    return Predictions(
        items,
        texts,
        classes,
        targets.astype(np.int64 if classes else np.float64),
        outputs,
        str(data.root),
        interval(context.scored, targets, outputs),
        float(context.params.get("threshold", 0.5)),
    )


def interval(
    metric: Metric, targets: NDArray[Any], outputs: NDArray[np.float64]
) -> tuple[float, float] | None:
    """Where the metric lies for 95% of the samples of as many items, drawn with replacement.

    The percentile bootstrap of the validation items; it says nothing about other seeds.

    Returns:
        The low and the high end; None where too few samples have a score, or all the same.
    """
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(RESAMPLES):
        picked = rng.integers(0, len(targets), len(targets))
        if metric.task == "classification" and len(np.unique(targets[picked])) < 2:
            continue  # some metrics are not defined for one class
        scores.append(metric.score(targets[picked], outputs[picked]))
    known = np.array(scores)[np.isfinite(scores)]
    if len(known) < RESAMPLES // 2:
        return None
    outside = (100 - LEVEL) / 2
    low, high = np.percentile(known, [outside, 100 - outside])
    # Without any difference, such as where all is right, the items say nothing of the spread
    return (float(low), float(high)) if low < high else None


def _named(data: Any) -> tuple[list[str], list[str]]:
    """The names of the validation items, and what each says."""
    if hasattr(data, "files"):
        return [str(data.files[position]) for position in data.valid], []
    rows = data.frame.iloc[data.valid]
    names = [f"row {number + 1}" for number in rows.index]
    if data.names:
        names = [data.names[number] for number in rows.index]
    if data.text is not None:
        return names, [str(text)[:LONGEST] for text in rows[data.text]]
    columns = {name: _readable(rows[name], data.formats[name].kind) for name in data.features}
    records = zip(*columns.values(), strict=True)
    texts = (
        ", ".join(f"{name}={cell}" for name, cell in zip(columns, cells, strict=True))
        for cells in records
    )
    return names, [text[:LONGEST] for text in texts]


def _readable(column: pd.Series[Any], kind: str) -> list[object]:
    """The cells of a feature as people write them: dates, which models get as days, as dates."""
    if kind != "date":
        return list(column)
    return [
        cell if math.isnan(cell) else str(np.datetime64(round(cell * DAY), "s")).removesuffix(NIGHT)
        for cell in column
    ]
