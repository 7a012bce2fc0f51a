"""The predictions of a trained model for the validation items, kept with it as a Parquet file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo_job.objectives.context import Context
from hpo_job.spec.metrics import Metric

FILE = "predictions.parquet"
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
        targets: the class numbers, int64, or the true numbers, float64; shape (items,).
        outputs: the probabilities, shape (items, classes), or the predicted numbers, (items,).
        root: the folder of the files, or the table, on the machine that trained.
        interval: the bootstrap interval of the metric; None where it could not be computed.
    """

    items: list[str]
    texts: list[str]
    classes: tuple[str, ...]
    targets: NDArray[Any]
    outputs: NDArray[np.float64]
    root: str = ""
    interval: tuple[float, float] | None = None

    @cached_property
    def answers(self) -> NDArray[Any]:
        """The predicted class numbers, or the predicted numbers."""
        return self.outputs.argmax(axis=1) if self.classes else self.outputs

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """The negative logarithm of the true class's probability, or the squared error."""
        if not self.classes:
            return np.asarray(np.square(self.outputs - self.targets))
        of_true_class = self.outputs[np.arange(len(self.targets)), self.targets]
        return np.asarray(-np.log(np.clip(of_true_class, LEAST_PROBABILITY, None)))

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """Which items a classifier gets wrong."""
        return np.asarray(self.answers != self.targets)

    def write(self, file: Path) -> None:
        """Write them as Parquet: item, text, target, prediction, probabilities, loss."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        of_classes, nothing = bool(self.classes), pa.nulls(len(self.items))
        table = pa.table(
            {
                "item": self.items,
                "text": self.texts or nothing,
                "target": [self.classes[t] for t in self.targets] if of_classes else self.targets,
                "prediction": [self.classes[a] for a in self.answers]
                if of_classes
                else self.outputs,
                "probabilities": self.outputs.tolist() if of_classes else nothing,
                "loss": self.losses,
            }
        )
        settings = {"classes": self.classes, "root": self.root, "interval": self.interval}
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
        targets = [numbers[name] for name in columns["target"]] if classes else columns["target"]
        return cls(
            columns["item"],
            [text or "" for text in columns["text"]] if any(columns["text"]) else [],
            classes,
            np.array(targets, dtype=np.int64 if classes else np.float64),
            np.array(outputs, dtype=np.float64).reshape((len(targets), -1) if classes else -1),
            settings["root"],
            tuple(settings["interval"]) if settings["interval"] else None,
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
        None where the items are not known one by one: several labels each, or another order.
    """
    data = context.data
    if data is None or targets.ndim != 1 or len(targets) != len(data.valid):
        return None
    classes = tuple(getattr(data, "classes", ()))
    if outputs.ndim != (2 if classes else 1):
        return None
    if not np.allclose(targets, data.targets[data.valid]):
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
    )


def interval(
    metric: Metric, targets: NDArray[Any], outputs: NDArray[np.float64]
) -> tuple[float, float] | None:
    """Where the metric lies for 95% of the samples of as many items, drawn with replacement.

    The percentile bootstrap of the validation items; it says nothing about other seeds.

    Returns:
        The low and the high end; None where too few samples have a score.
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
    return float(low), float(high)


def _named(data: Any) -> tuple[list[str], list[str]]:
    """The names of the validation items, and what each says."""
    if hasattr(data, "files"):
        return [str(data.files[position]) for position in data.valid], []
    rows = data.frame.iloc[data.valid]
    names = [f"row {number + 1}" for number in rows.index]
    if data.text is not None:
        return names, [str(text)[:LONGEST] for text in rows[data.text]]
    records = rows[list(data.features)].to_dict("records")
    texts = (", ".join(f"{name}={cell}" for name, cell in record.items()) for record in records)
    return names, [text[:LONGEST] for text in texts]
