"""Image models by name: a torchvision, fastai or timm body, and fastai's head for our classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
from fastai.callback.hook import num_features_model
from fastai.vision.core import imagenet_stats
from fastai.vision.learner import TimmBody, add_head, create_body, default_split, model_meta
from fastai.vision.models import xresnet
from torch import nn
from torchvision import models as torchvision_models

from hpo_job.errors import SpecError
from hpo_job.objectives.images import weights

Splitter = Callable[[nn.Module], Any]
Stats = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Body:
    """A model without its classifier, as fastai's `add_head` takes it.

    features: the channels of its output; pool: whether the head has to pool them.
    split: body and head as parameter groups, for freezing; the head is the last one.
    """

    layers: nn.Module
    features: int
    pool: bool
    split: Splitter


def check_known(name: str) -> None:
    """Raise SpecError, with the nearest names, where no library knows the model."""
    if weights.is_torchvision(name) or weights.is_fastai(name) or timm.is_model(name):
        return
    known = {
        *weights.FASTAI,
        *torchvision_models.list_models(module=torchvision_models),
        *timm.list_models(),
    }
    near = get_close_matches(name, sorted(known), n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise SpecError(f"unknown model {name!r}; {hint}use any torchvision or timm image model")


def build(name: str, classes: int, file: Path | None) -> tuple[nn.Sequential, Splitter]:
    """The model ``name`` for ``classes`` classes, and its split into parameter groups.

    The weights of the head are random, so seed torch before.

    Args:
        name: of a torchvision, fastai or timm model.
        classes: how many.
        file: the weights of the body; None for random ones.

    Raises:
        SpecError: the model has no body that takes a head, or ``file`` is not its weights.
    """
    cut = weights.is_torchvision(name) or weights.is_fastai(name)
    body = _cut(name, file) if cut else _timm(name, file)
    return add_head(body.layers, body.features, classes, pool=body.pool), body.split


def stats(name: str) -> Stats:
    """Mean and standard deviation, per channel, of the images the model is designed for."""
    cut = weights.is_torchvision(name) or weights.is_fastai(name)
    published = None if cut else timm.get_pretrained_cfg(name)
    mean, std = (published.mean, published.std) if published else imagenet_stats
    return tuple(mean), tuple(std)


def _cut(name: str, file: Path | None) -> Body:
    """The body of a model of torchvision or fastai, cut off where fastai's table says."""
    if weights.is_fastai(name):
        make = getattr(xresnet, name)
    else:
        make = torchvision_models.get_model_builder(name)
    meta = model_meta.get(make)
    model = make()
    if file:
        try:
            model.load_state_dict(weights.renamed(weights.load(file), model.state_dict()))
        except Exception as error:  # unpickling alone raises half a dozen kinds
            raise _unfit(name, file, error) from error
    try:
        layers = create_body(model, cut=meta["cut"] if meta else None)
        features = num_features_model(layers)
    except (StopIteration, RuntimeError) as error:  # no pooling, or not a chain of layers
        raise _no_body(name) from error
    # fastai cuts a model it has no entry for at the last pooling, which may be at its beginning.
    if meta is None and _convolutions(layers) < _convolutions(model):
        raise _no_body(name)
    return Body(layers, features, True, meta["split"] if meta else default_split)


def _timm(name: str, file: Path | None) -> Body:
    overlay = None
    if file:
        names = timm.create_model(name).state_dict()
        try:
            overlay = {"state_dict": weights.renamed(weights.load(file), names)}
        except Exception as error:
            raise _unfit(name, file, error) from error
    try:
        # With its classifier, since timm lets keys go missing where the classes differ.
        model = timm.create_model(name, pretrained=bool(file), pretrained_cfg_overlay=overlay)
    except Exception as error:
        if file is None:
            raise
        raise _unfit(name, file, error) from error
    model.pretrained_cfg.pop("state_dict", None)  # timm would keep the weights twice
    model.reset_classifier(0)
    layers = TimmBody(model)
    return Body(layers, model.num_features, layers.needs_pool, default_split)


def _convolutions(model: nn.Module) -> int:
    return sum(isinstance(module, nn.Conv2d) for module in model.modules())


def _no_body(name: str) -> SpecError:
    return SpecError(
        f"model {name!r}: torchvision's cannot be cut into a body and a classifier; "
        "use a timm model of this family"
    )


def _unfit(name: str, file: Path, error: Exception) -> SpecError:
    reason = " ".join(str(error).split())[:200]
    return SpecError(f"{file}: not the weights of model {name!r}: {type(error).__name__}: {reason}")
