"""What a study.toml may say: its tables and keys, each checked, then frozen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from hpo_job.errors import SpecError
from hpo_job.spec.search_space import Parameter, Scalar, conditions_problem
from hpo_job.spec.urls import ambiguity, store_problem
from hpo_job.trial.phases import Direction

SPEC_FILE = "study.toml"
UNWRITTEN = {"folder", "place", "assignments"}  # fields of a spec that are not keys of study.toml
ColumnKind = Literal["number", "category", "date", "drop"]
MissingMarks = Annotated[tuple[str | int | float, ...], Field(min_length=1, strict=False)]
ColumnName = Annotated[str, Field(min_length=1)]
LabelColumns = ColumnName | Annotated[tuple[ColumnName, ...], Field(min_length=2, strict=False)]
CallbackName = Annotated[str, Field(pattern=r"^[^:]+\.py:[A-Za-z_]\w*$")]
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Budget(_Table):
    """When a study is over. It may change while the study runs, except for ``repeats``.

    Attributes:
        trials: how many trials end COMPLETE or PRUNED; None for no limit.
        timeout: seconds of working time after which no trial starts; None for no limit.
        patience: after how many trials in a row without an improvement of the metric no trial
            starts; None for no limit.
        min_delta: by how much a value must be better to be an improvement; 0 for any.
        failures: how many trials in a row may raise before a worker gives up.
        retries: how often parameters are run again after a trial was lost or preempted.
        repeats: on how many seeds parameters are trained; the value is the mean.
    """

    trials: int | None = Field(default=None, ge=1)
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    patience: int | None = Field(default=None, ge=1)
    min_delta: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    failures: int = Field(default=3, ge=1)
    retries: int = Field(default=2, ge=0)
    repeats: int = Field(default=1, ge=1)

    @field_validator("timeout", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        return duration(value) if isinstance(value, str) else value


class Data(_Table):
    """Where the data is, how it is read, and how its validation set is drawn.

    Attributes:
        path: relative to the job folder; or a URL (s3://, gs://, https://) of a file or an
            archive.
        valid_pct: the share of the items in the validation set.
        seed: the seed with which the validation set is drawn; None for the study's.
        sha256: the checksum of the file behind a URL.
        image: the column of image files, where ``path`` is a table that names them.
        label: the column to predict; for several labels an item also a list of columns of 0 and
            1, one for each label.
        label_delim: what divides the labels in a cell, for several labels an item; guessed among
            semicolon, bar and comma where None.
        text: the column of texts to predict it from; instead of ``features``.
        features: the columns to predict it from; None for all others.
        categorical: the feature columns that hold categories although they look like numbers.
        group: a column; rows with the same value in it are kept in the same part.
        sample: how many rows are used, drawn once; None for all.
        kinds: what the named columns hold, where the guess is wrong.
        missing: values that stand for a missing one: in all columns, or in the named ones.
        decimal: the decimal mark of numbers that are written as text.
        thousands: what divides the thousands of such numbers.
        labels: class names to change, such as to merge those that differ by a space.
        split: the column that says which part a row is in; False to ignore such a column, or
            folders called train and valid.
        language: the language of the texts, such as ``"de"``; it decides how they are split into
            words, and which pre-trained language model a trial starts from; None for English.
        language_model: a language model in fastai's format: a folder with a .pth and a .pkl file,
            or an archive of them, relative to the job folder; or a URL of an archive.
        language_model_sha256: the checksum of the file behind that URL.
        made_by: the command that creates data which is not shipped; the error for missing data
            names it.
    """

    path: str = Field(min_length=1)
    valid_pct: float = Field(default=0.2, gt=0, lt=1)
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    image: str | None = Field(default=None, min_length=1)
    label: LabelColumns | None = None
    label_delim: str | None = Field(default=None, min_length=1)
    text: str | None = Field(default=None, min_length=1)
    features: tuple[str, ...] | None = Field(default=None, min_length=1, strict=False)
    categorical: tuple[str, ...] | None = Field(default=None, min_length=1, strict=False)
    group: str | None = Field(default=None, min_length=1)
    sample: int | None = Field(default=None, ge=2)
    kinds: dict[str, ColumnKind] | None = None
    missing: MissingMarks | dict[str, MissingMarks] | None = None
    decimal: Literal[".", ","] | None = None
    thousands: Literal[",", ".", " ", "'", ""] | None = None
    labels: dict[str, str] | None = None
    split: str | Literal[False] | None = None
    language: str | None = Field(default=None, pattern="^[a-z]{2,3}$")
    language_model: str | None = Field(default=None, min_length=1)
    language_model_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    made_by: str | None = Field(default=None, min_length=1)

    @field_validator("path")
    @classmethod
    def _readable(cls, path: str) -> str:
        if is_url(path) and (problem := ambiguity(path)):
            raise ValueError(problem)
        return path

    @model_validator(mode="after")
    def _checksum_of_url(self) -> Self:
        if is_url(self.path) and self.sha256 is None:
            raise ValueError("path is a URL, so sha256 is needed too: what sha256sum prints")
        if self.sha256 is not None and not is_url(self.path):
            raise ValueError(f"sha256 is for a URL, and {self.path!r} is not one; remove sha256")
        remote = self.language_model is not None and is_url(self.language_model)
        if remote and self.language_model_sha256 is None:
            raise ValueError("language_model is a URL, so language_model_sha256 is needed too")
        if self.language_model_sha256 is not None and not remote:
            raise ValueError("language_model_sha256 is for a URL as language_model; remove it")
        return self


class Artifacts(_Table):
    """How many of the best trials' models are kept, and where.

    Attributes:
        keep: how many models are kept; 0 keeps none.
        store: a folder, ``s3://bucket`` or ``gs://bucket``; None for the worker's --artifacts.
    """

    keep: int = Field(default=3, ge=0)
    store: str | None = Field(default=None, min_length=1)

    @field_validator("store")
    @classmethod
    def _place(cls, store: str | None) -> str | None:
        if store and (problem := store_problem(store)):
            raise ValueError(problem)
        return store


class Checkpoint(_Table):
    """How often a running trial saves its state, so that it can be continued elsewhere.

    Attributes:
        every: seconds between two saves, at least; 0 for never.
    """

    every: float = Field(default=60.0, ge=0, allow_inf_nan=False)

    @field_validator("every", mode="before")
    @classmethod
    def _seconds(cls, value: object) -> object:
        if value == "off":
            return 0.0
        return duration(value) if isinstance(value, str) else value


class Cluster(_Table):
    """How a study's pods work on Kubernetes. It may change while the study runs.

    Attributes:
        workers_per_gpu: how many workers a pod starts for each GPU that it has, which they share;
            in a pod without a GPU, how many in all. None for one worker in a pod, whatever it
            has. Elsewhere it has no effect.
    """

    workers_per_gpu: int | None = Field(default=None, ge=1)


class Component(BaseModel):
    """A sampler or pruner: Optuna's class name, and its constructor's arguments.

    Attributes:
        name: the class name.
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.__pydantic_extra__ or {})


class StudySpec(_Table):
    """Everything that defines a study, as read from its job folder.

    Most attributes are the keys of study.toml. With several metrics and as many directions,
    trials are compared by all of them: see `metrics` and `directions`.

    Attributes:
        folder: the job folder.
        place: where the data is on this machine, if not in the job folder: see
            `hpo_job.data.fetch`.
        assignments: keys that ``--set`` gave another value than study.toml has.
        name: the name of the study: at most 63 lower-case letters, digits and dashes.
        objective: a shipped objective, or a function of your own as ``objective.py:train``.
        metric: what trials are scored by, or a list; for a function, how its value is called.
        direction: which way is better; with several metrics a list, one for each.
        seed: the seed of the sampler, of training, and of the draw of the validation set.
        budget: when the study is over.
        data: where the data is and how it is read; a function may do without.
        sampler: the class name of an Optuna sampler, and its arguments.
        pruner: the class name of an Optuna pruner, and its arguments.
        search_space: the parameters that are searched or fixed, by their names.
        artifacts: which models are kept.
        checkpoint: how often a trial's state is saved.
        cluster: how the study's pods work on Kubernetes.
        enqueue: parameters that are tried first; the sampler suggests what they leave out.
        callbacks: functions in the job folder that are called with the study and each trial that
            has ended, as ``callbacks.py:track``; they may change while the study runs.
    """

    folder: Path = Field(exclude=True)
    place: Path | None = Field(default=None, exclude=True)
    assignments: tuple[str, ...] = Field(default=(), exclude=True)
    name: str
    objective: str
    metric: str | Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None
    direction: Direction | Annotated[tuple[Direction, ...], Field(min_length=1, strict=False)]
    seed: int = Field(default=0, ge=0, lt=2**32)
    budget: Budget = Budget()
    data: Data | None = None
    sampler: Component = Component(name="TPESampler")
    pruner: Component = Component(name="NopPruner")
    search_space: dict[str, Parameter] = Field(default_factory=dict)
    artifacts: Artifacts = Artifacts()
    checkpoint: Checkpoint = Checkpoint()
    cluster: Cluster = Cluster()
    enqueue: tuple[dict[str, Scalar], ...] = Field(default=(), strict=False)
    callbacks: tuple[CallbackName, ...] = Field(default=(), strict=False)

    @field_validator("name")
    @classmethod
    def _dns_label(cls, name: str) -> str:
        if not is_study_name(name):
            raise ValueError(
                f"should be at most 63 lower-case letters, digits and dashes, found {name!r}"
            )
        return name

    @field_validator("search_space")
    @classmethod
    def _conditions(cls, space: dict[str, Parameter]) -> dict[str, Parameter]:
        if problem := conditions_problem(space):
            raise ValueError(problem)
        return space

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that trials are scored by; empty for a function that names none."""
        if self.metric is None:
            return ()
        return (self.metric,) if isinstance(self.metric, str) else self.metric

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Which way is better, for each metric."""
        return (self.direction,) if isinstance(self.direction, str) else self.direction

    @property
    def file(self) -> Path:
        return self.folder / SPEC_FILE

    @property
    def data_path(self) -> Path | None:
        if self.data is None:
            return None
        return self.place or self.folder / self.data.path

    def stored(self) -> dict[str, Any]:
        """The spec as it is stored with the study: plain JSON values."""
        return self.model_dump(mode="json", exclude_none=True)

    def error(self, key: str, problem: str) -> SpecError:
        """A SpecError that names this file and ``key``."""
        return SpecError(f"{self.file}: {key}: {problem}")


def restore(stored: Mapping[str, Any]) -> StudySpec:
    """The spec from what `StudySpec.stored` returned; its job folder is not known.

    Raises:
        ValueError: ``stored`` is something else, such as an attribute of somebody else's study.
    """
    if not isinstance(stored, Mapping):
        raise ValueError(f"a stored spec is a table, not {stored!r}")
    return StudySpec.model_validate({**stored, "folder": Path()})


def is_study_name(name: str) -> bool:
    """Whether a study can be called so: its objects on Kubernetes have this name."""
    return _NAME.fullmatch(name) is not None


def is_url(path: str) -> bool:
    """Whether a data path is a URL rather than a file or folder."""
    return "://" in path


def duration(text: str) -> float:
    """The seconds of a duration such as ``"30m"``, ``"1h30m"`` or ``"90s"``.

    Raises:
        ValueError: it is anything else.
    """
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f"should be a duration like '30m', '1h30m' or '90s', found {text!r}")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(hours * 3600 + minutes * 60 + seconds)
