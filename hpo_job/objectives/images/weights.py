"""Pre-trained weights of image models: from a local folder, an installed package, a download."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

import timm
import torch
from huggingface_hub import hf_hub_url
from safetensors.torch import load_file
from torchvision import models as torchvision_models

from hpo_job.data.once import make_once
from hpo_job.errors import SpecError
from hpo_job.objectives.downloads import (
    PACKAGES,
    SUFFIXES,
    download,
    failed,
    packaged,
    places,
)

# fastai's own architecture, of which one size was published with weights
FASTAI = ("xresnet18", "xresnet34", "xresnet50", "xresnet101", "xresnet152")
FASTAI_WEIGHTS = {"xresnet50": "https://s3.amazonaws.com/fast-ai-modelzoo/xrn50_940.pth"}
HUB_FILE = "model.safetensors"


def find(model: str, folder: Path) -> Path | None:
    """The weights of ``model`` on this machine, or None.

    Looked for in ``folder``, then in the folder that an image has them in, then in a package.
    """
    for place in places(folder):
        for name in _file_names(model):
            if (place / name).is_file():
                return place / name
    return packaged(model)


def obtain(model: str, folder: Path) -> Path:
    """The weights of ``model``, downloaded into ``folder`` where this machine has none.

    Workers that start together wait for one download.

    Raises:
        FetchError: the download failed, and a retry may succeed; within seconds without network.
        SpecError: it failed for good, or no weights are published.
    """
    url = next(iter(_urls(model)), None)
    if url is None:
        file = find(model, folder)
        if file is None:
            raise SpecError(_missing(model, folder, "none are published"))
        return file
    target = folder / (model + PurePosixPath(_base_name(url)).suffix)
    try:
        return make_once(target, lambda: find(model, folder), lambda path: download(url, path))
    except (OSError, HTTPException) as error:  # most of urllib's errors are OSErrors
        reason = " ".join(str(error).split())
        raise failed(error, _missing(model, folder, f"cannot be downloaded ({reason})")) from error


def load(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a weights file, by name, on the CPU; nothing in the file is executed."""
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def renamed(state: dict[str, torch.Tensor], names: Iterable[str]) -> dict[str, torch.Tensor]:
    """``state`` under the names that its model uses.

    EfficientNet-PyTorch and timm list their layers in the same order, so names are matched by
    position. torchvision's DenseNet files have names from before a renaming. fastai's files hold
    the optimiser's state too, which is left out.

    Raises:
        ValueError: the positions do not correspond.
    """
    if isinstance(state.get("model"), dict):
        return dict(state["model"])
    if "_conv_stem.weight" in state:
        pairs = list(zip(state, names, strict=True))
        for theirs, ours in pairs:
            if theirs.rpartition(".")[2] != ours.rpartition(".")[2]:
                raise ValueError(f"{theirs} does not correspond to {ours}")
        return {ours: state[theirs] for theirs, ours in pairs}
    old = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d+)\.")
    return {old.sub(r"\1\2.", name): tensor for name, tensor in state.items()}


def is_torchvision(model: str) -> bool:
    """Whether torchvision has an image model of this name; it is preferred to timm's."""
    return model in torchvision_models.list_models(module=torchvision_models)


def is_fastai(model: str) -> bool:
    """Whether fastai itself has an image model of this name."""
    return model in FASTAI


def licence(model: str) -> str | None:
    """The licence of the published weights of ``model``, where their publisher states one."""
    published = (
        None if is_torchvision(model) or is_fastai(model) else timm.get_pretrained_cfg(model)
    )
    return (published.license or None) if published else None


def _file_names(model: str) -> list[str]:
    """The names a weights file may have: the model's, or one that it is published under."""
    published = [_base_name(url) for url in _urls(model)]
    packaged = [Path(PACKAGES[model].file).name] if model in PACKAGES else []
    # The hub calls every model's weights the same, which does not say whose they are.
    return [*(model + s for s in SUFFIXES), *packaged, *(n for n in published if n != HUB_FILE)]


def _urls(model: str) -> list[str]:
    """The URLs where the weights are published; the first one is used."""
    if is_fastai(model):
        return [FASTAI_WEIGHTS[model]] if model in FASTAI_WEIGHTS else []
    if is_torchvision(model):
        return [torchvision_models.get_model_weights(model)["DEFAULT"].url]
    published = timm.get_pretrained_cfg(model)
    if published is None:
        return []
    hub = published.hf_hub_id
    urls = [hf_hub_url(hub, published.hf_hub_filename or HUB_FILE)] if hub else []
    return urls + ([published.url] if published.url else [])


def _base_name(url: str) -> str:
    return PurePosixPath(urlparse(url).path).name


def _missing(model: str, folder: Path, last: str) -> str:
    entry = PACKAGES.get(model)
    installed = f"package {entry.distribution} not installed" if entry else "no package has them"
    return (
        f"model {model!r}: no pre-trained weights: none of {', '.join(_file_names(model))} in "
        f"{folder}, {installed}, {last}; put one there or set pre_trained = false"
    )
