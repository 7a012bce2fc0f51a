"""What can be tuned: the shipped objectives and functions in a job folder; no torch in here."""

from __future__ import annotations

import gc
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
from pydantic import ValidationError

from hpo_job.data.from_spec import Layout
from hpo_job.data.language_models import language_model_of
from hpo_job.errors import MachineError, SpecError, unknown
from hpo_job.machine import collector_paused
from hpo_job.objectives import user_files
from hpo_job.objectives.candidates import Candidates
from hpo_job.objectives.context import Context
from hpo_job.objectives.parameters import (
    ImageClassification,
    ImageMultilabel,
    ImageRegression,
    Parameters,
    TabularClassification,
    TabularRegression,
    TextClassification,
)
from hpo_job.spec import search_space
from hpo_job.spec.metrics import Task
from hpo_job.spec.search_space import Float, Scalar, Searched
from hpo_job.spec.study_toml import StudySpec

Train = Callable[[optuna.Trial, Context], Any]  # a number; a sequence of them for several metrics
LR_FIND = "lr_find"  # enqueued in place of a learning rate: the finder suggests one
# Each shipped objective is the module of its name, and declares the parameters it knows.
SHIPPED: dict[str, type[Parameters]] = {
    "image_classification": ImageClassification,
    "image_multilabel": ImageMultilabel,
    "image_regression": ImageRegression,
    "tabular_classification": TabularClassification,
    "tabular_regression": TabularRegression,
    "text_classification": TextClassification,
}


def is_function(spec: StudySpec) -> bool:
    """Whether the objective is a function of the user's own, named as ``file.py:function``."""
    return ":" in spec.objective


def layout(spec: StudySpec) -> Layout:
    """The kind of data that a shipped objective learns from."""
    return SHIPPED[spec.objective].layout


def task(spec: StudySpec) -> Task:
    """What a shipped objective predicts: classes, several labels an item, or numbers."""
    return SHIPPED[spec.objective].task


def defaults(spec: StudySpec) -> dict[str, object]:
    """The objective's own value of every parameter it knows; empty for a function."""
    return {} if is_function(spec) else SHIPPED[spec.objective]().model_dump()


def load(spec: StudySpec) -> Train:
    """The function that trains one trial.

    Raises:
        SpecError: it cannot be imported, or cannot be called with (trial, context).
    """
    module = (
        user_files.imported(spec, "objective", spec.objective.partition(":")[0])
        if is_function(spec)
        else _shipped_module(spec)
    )
    name = spec.objective.partition(":")[2] or "train"
    train = getattr(module, name, None)
    if not callable(train):
        raise spec.error("objective", f"{spec.objective.partition(':')[0]} has no function {name}")
    try:
        inspect.signature(train).bind(None, None)
    except TypeError as error:
        problem = f"{name} cannot be called as {name}(trial, context)"
        raise spec.error("objective", problem) from error
    function: Train = train
    return function


def require_known(spec: StudySpec) -> None:
    """Raise SpecError unless the objective is shipped or has the form ``file.py:function``."""
    if not is_function(spec) and spec.objective not in SHIPPED:
        names = [*SHIPPED, "file.py:function"]
        raise spec.error("objective", unknown("objective", spec.objective, names))


def check(
    spec: StudySpec, weights: Path, skip: Container[str] = (), cache: Path | None = None
) -> None:
    """Check, without training, that the parameters and models of trials are valid.

    Args:
        spec: the study.
        weights: local folder of pre-trained weights; missing ones are downloaded into it.
        skip: parameters that are not checked.
        cache: folder in which this machine notes what it has tried; None tries again.

    Raises:
        SpecError: every trial, or some, would fail.
        MachineError: they would fail on this machine only.
    """
    _check_parameters(spec)
    callbacks(spec)
    if is_function(spec):
        load(spec)
        return
    usual = defaults(spec)
    every = {
        name: (usual[name],) if name in skip else candidates(spec, name)
        for name in SHIPPED[spec.objective].model_fields
    }
    try:
        _shipped_module(spec).check(Candidates(every, weights, cache, spec))
    except MachineError as error:
        text = str(spec.error("search_space", str(error)))
        raise MachineError(text, error.parameter) from error
    except SpecError as error:
        raise spec.error("search_space", str(error)) from error


def obtain_weights(spec: StudySpec, weights: Path) -> dict[str, Path]:
    """The weights that trials start from, by model; those that are missing are downloaded.

    Args:
        spec: the study.
        weights: local folder of pre-trained weights.

    Returns:
        Nothing for a function, and where no trial starts from pre-trained weights.

    Raises:
        SpecError: there are none for a model, or they cannot be downloaded.
        FetchError: the download failed, and a retry may succeed.
    """
    require_known(spec)
    if is_function(spec) or "pre_trained" not in SHIPPED[spec.objective].model_fields:
        return {}
    if True not in candidates(spec, "pre_trained"):
        return {}
    try:
        if SHIPPED[spec.objective].layout == "images":
            from hpo_job.objectives.images.weights import obtain  # imports torch

            return {str(name): obtain(str(name), weights) for name in candidates(spec, "model")}
        wanted = language_model_of(spec)
        return {wanted.name: shipped(spec.objective).obtain(weights, wanted)}
    except SpecError as error:
        raise spec.error("search_space", str(error)) from error


def callbacks(spec: StudySpec) -> dict[str, Callable[..., object]]:
    """The study's callbacks by their names in study.toml.

    Raises:
        SpecError: one cannot be imported, or cannot be called with (study, trial).
    """
    by_name = {}
    for position, text in enumerate(spec.callbacks):
        key = f"callbacks.{position}"
        callback = user_files.named(spec, key, text)
        try:
            inspect.signature(callback).bind(None, None)
        except TypeError as error:
            raise spec.error(key, f"{text} cannot be called with (study, trial)") from error
        by_name[text] = callback
    return by_name


def misfit(spec: StudySpec, values: Mapping[str, object]) -> tuple[str, str] | None:
    """The first of ``values`` that no trial of this study could have, and why; None if all can."""
    suggests_itself = is_function(spec) and not spec.search_space
    return search_space.misfit(None if suggests_itself else spec.search_space, values)


def asks_lr_find(values: Mapping[str, object]) -> bool:
    """Whether an enqueued entry leaves a learning rate to the learning-rate finder."""
    return LR_FIND in values.values()


def learning_rates(spec: StudySpec) -> tuple[str, ...]:
    """The parameters that the learning-rate finder can suggest; none for a function."""
    return () if is_function(spec) else SHIPPED[spec.objective].learning_rates


def memory_parameters(spec: StudySpec) -> tuple[str, ...]:
    """The parameters that decide on a trial's memory, the most likely first; none known: empty."""
    return () if is_function(spec) else SHIPPED[spec.objective].memory


def release_memory(*, everything: bool = False) -> None:
    """Free what a trial has left, however it ended: processes, models, memory of the GPU.

    Args:
        everything: also what is kept for the next trial, such as decoded images on the GPU.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        gc.collect()
        return
    from hpo_job.objectives.batches import close_pools  # imports no more than torch
    from hpo_job.objectives.images.pixels import release_images

    close_pools()
    if everything:
        release_images()
    gc.collect()  # a learner and its callbacks refer to each other
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def shipped(objective: str) -> ModuleType:
    """The module of a shipped objective.

    Raises:
        SpecError: its packages are not installed.
    """
    try:
        with collector_paused(), warnings.catch_warnings():
            # raised when fastai is imported: torch.jit.script, and an option that pandas 3 ignores
            warnings.filterwarnings("ignore", message=".torch.jit.script. is deprecated")
            warnings.filterwarnings("ignore", message="The .mode.chained_assignment. option")
            return importlib.import_module(f"hpo_job.objectives.{objective}")
    except ModuleNotFoundError as error:
        raise SpecError(f"{objective} needs {error.name}: pip install 'hpo-job[fastai]'") from error


def licence_of_weights(model: str) -> str | None:
    """The licence of an image model's pre-trained weights, where their publisher states one."""
    from hpo_job.objectives.images.weights import licence  # imports torch

    return licence(model)


def source(spec: StudySpec) -> Path | None:
    """The file of the user's own function, or None for a shipped objective."""
    return spec.folder / spec.objective.partition(":")[0] if is_function(spec) else None


def _check_parameters(spec: StudySpec) -> None:
    for name, parameter in spec.search_space.items():
        key = f"search_space.{name}"
        if not is_function(spec):
            known = SHIPPED[spec.objective]
            if name not in known.model_fields:
                raise spec.error(key, unknown("parameter", name, known.model_fields))
            for value in parameter.extremes() if isinstance(parameter, Searched) else (parameter,):
                _check_value(spec, key, known, name, value)
    for position, parameters in enumerate(spec.enqueue):
        if problem := _lr_find_misfit(spec, parameters) or misfit(spec, _searched(parameters)):
            raise spec.error(f"enqueue.{position}.{problem[0]}", problem[1])
        if parameters in spec.enqueue[:position]:
            raise spec.error(f"enqueue.{position}", "an earlier entry has the same parameters")


def _searched(parameters: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """An enqueued entry without what the learning-rate finder is to suggest."""
    return {name: value for name, value in parameters.items() if value != LR_FIND}


def _lr_find_misfit(spec: StudySpec, parameters: Mapping[str, Scalar]) -> tuple[str, str] | None:
    known = learning_rates(spec)
    for name, value in parameters.items():
        if value == LR_FIND and name not in known:
            which = f"only {', '.join(known)}" if known else "and this objective has none"
            return name, f"lr_find suggests learning rates: {which}"
        if value == LR_FIND and not isinstance(spec.search_space.get(name), Float):
            return name, "lr_find needs a float to search in [search_space]"
    return None


def _check_value(
    spec: StudySpec, key: str, known: type[Parameters], name: str, value: Scalar
) -> None:
    try:
        known.model_validate({name: value})
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise spec.error(key, f"{message[0].lower()}{message[1:]}, found {value!r}") from error


def candidates(spec: StudySpec, name: str) -> tuple[object, ...]:
    """Every value that ``name`` can have in a trial; of a range, its two ends."""
    if name not in spec.search_space:
        return (defaults(spec)[name],)
    parameter = spec.search_space[name]
    return parameter.extremes() if isinstance(parameter, Searched) else (parameter,)


def _shipped_module(spec: StudySpec) -> ModuleType:
    try:
        return shipped(spec.objective)
    except SpecError as error:
        raise spec.error("objective", str(error)) from error
