"""Image models by name: a torchvision, fastai or timm body, and fastai's head for our classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from fastai.callback.hook import num_features_model
from fastai.vision.core import imagenet_stats
from fastai.vision.learner import add_head, create_body, default_split, model_meta
from fastai.vision.models import xresnet
from torch import nn
from torchvision import models as torchvision_models

from hpo_job.errors import SpecError
from hpo_job.objectives.images import weights

SIZES = (32, 64, 96, 128, 160, 192, 224, 256, 299, 320, 384, 448, 512)  # that an error names
Splitter = Callable[[nn.Module], Any]
Stats = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Body:
    """A model without its classifier, as fastai's `add_head` takes it.

    Attributes:
        features: the channels of its output.
        pool: whether the head has to pool them.
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


def build(name: str, classes: int, file: Path | None, size: int) -> tuple[nn.Sequential, Splitter]:
    """The model ``name`` for ``classes`` classes, and its split into parameter groups.

    The weights of the head are random, so seed torch before.

    Args:
        name: of a torchvision, fastai or timm model.
        classes: how many.
        file: the weights of the body; None for random ones.
        size: the side of its images; a model of one size only is built for this one.

    Raises:
        SpecError: the model has no body that takes a head, ``file`` is not its weights, or it
            cannot take images of this size.
    """
    cut = weights.is_torchvision(name) or weights.is_fastai(name)
    body = _cut(name, file) if cut else _timm(name, file, size)
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


class TimmFeatures(nn.Module):
    """A timm model without its classifier.

    Its features are maps (items, channels, height, width), or maps whose channels come last, or
    pooled by the model itself (items, channels).
    """

    def __init__(self, model: nn.Module, size: int) -> None:
        super().__init__()
        self.model = model
        self.is_pooled, self.channels_are_last = True, False
        config: dict[str, Any] = model.default_cfg  # type: ignore[assignment]
        if config.get("pool_size"):
            channels = int(model.num_features)  # type: ignore[arg-type]
            shape = tuple(self._shape(size, model.forward_features))  # type: ignore[arg-type]
            self.channels_are_last = len(shape) == 4 and shape[1] != channels == shape[3]
            self.is_pooled = len(shape) != 4 or channels not in (shape[1], shape[3])
        self.features = self._shape(size, self)[1]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.is_pooled:
            pooled: torch.Tensor = self.model(images)
            return pooled
        maps: torch.Tensor = self.model.forward_features(images)  # type: ignore[operator]
        return maps.permute(0, 3, 1, 2) if self.channels_are_last else maps

    def _shape(self, size: int, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Size:
        """The shape that ``function`` returns for one image; nothing of the model changes."""
        training = self.training
        self.eval()
        with torch.no_grad():
            shape = function(torch.zeros(1, 3, size, size)).shape
        self.train(training)
        return shape


def _timm(name: str, file: Path | None, size: int) -> Body:
    published = timm.get_pretrained_cfg(name)
    settings = {"img_size": size} if published and published.fixed_input_size else {}
    try:
        empty = timm.create_model(name, **settings)
    except TypeError:  # one that has no such argument
        settings = {}
        empty = timm.create_model(name)
    except (AssertionError, ValueError, RuntimeError) as error:
        raise wrong_size(name, size, error) from error
    model = empty
    if file:
        try:
            state = weights.renamed(weights.load(file), empty.state_dict())
            # With its classifier, since timm lets keys go missing where the classes differ.
            model = timm.create_model(
                name, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **settings
            )
        except Exception as error:
            raise _unfit(name, file, error) from error
    model.pretrained_cfg.pop("state_dict", None)  # timm would keep the weights twice
    model.reset_classifier(0)
    try:
        layers = TimmFeatures(model, size)
    except (AssertionError, ValueError, RuntimeError, IndexError) as error:
        raise wrong_size(name, size, error) from error
    return Body(layers, layers.features, not layers.is_pooled, default_split)


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


def wrong_size(name: str, size: int, error: Exception) -> SpecError:
    """The error for a model that cannot take images of this size."""
    reason = " ".join(str(error).split())[:160]
    near = [str(other) for other in SIZES if other != size and _takes(name, other)]
    known = f"it takes {', '.join(near)}" if near else "use another model"
    return SpecError(f"image_size: model {name!r} cannot take {size} px ({reason}); {known}")


def _takes(name: str, size: int) -> bool:
    """Whether a model can be computed for images of this size; without memory for its weights."""
    settings = {"img_size": size}
    try:
        with torch.device("meta"), torch.no_grad():
            if weights.is_torchvision(name) or weights.is_fastai(name):
                model = build(name, 2, None, size)[0]
            else:
                try:
                    model = timm.create_model(name, **settings)
                except TypeError:
                    model = timm.create_model(name)
            model.eval()(torch.zeros(1, 3, size, size))
    except Exception:  # each model has its own
        return False
    return True
