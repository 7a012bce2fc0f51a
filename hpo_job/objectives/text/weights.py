"""Pre-trained language models: from a folder, an archive, or a download."""

from __future__ import annotations

import pickle
import shutil
import tarfile
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from fastai.data.external import URLs

from hpo_job.data.language_models import ENGLISH, WIKIPEDIA, LanguageModel
from hpo_job.data.once import make_once
from hpo_job.errors import SpecError
from hpo_job.objectives.downloads import (
    download,
    failed,
    find_language_model,
    has_digest,
    is_language_model,
)

NAME = WIKIPEDIA  # trained on 103 million words of Wikipedia, forwards


@dataclass(frozen=True)
class Pretrained:
    """A language model as fastai keeps it: its weights by name, and the token of each number."""

    weights: dict[str, torch.Tensor]
    vocab: list[str]

    @property
    def sizes(self) -> dict[str, int]:
        """Its sizes, by the names of the parameters that must have the same values."""
        return {
            "emb_sz": self.weights["0.encoder.weight"].shape[1],
            "n_hid": self.weights["0.rnns.0.weight_hh_l0_raw"].shape[1],
            "n_layers": sum(name.endswith(".weight_hh_l0_raw") for name in self.weights),
        }


def obtain(folder: Path, wanted: LanguageModel | None = None) -> Path:
    """The folder of the model, downloaded or unpacked into ``folder`` where it is not there.

    Workers that start together wait for one download.

    Args:
        folder: the folder of weights.
        wanted: the model; None for the English one.

    Raises:
        FetchError: the download failed, and a retry may succeed.
        SpecError: it failed for good, or there is no such model.
    """
    wanted = wanted or LanguageModel()
    place = folder / wanted.name
    if problem := _unknown(wanted, folder):
        raise SpecError(problem)
    try:
        return make_once(
            place, lambda: find_language_model(folder, wanted), partial(_fetch, wanted, place)
        )
    except (OSError, HTTPException, tarfile.TarError) as error:  # most of urllib's are OSErrors
        reason = " ".join(str(error).split())
        raise failed(error, _missing(wanted, place, reason)) from error


def _unknown(wanted: LanguageModel, folder: Path) -> str | None:
    """Why there is no such model, and how to fix it; None where it is there or can be fetched."""
    if find_language_model(folder, wanted):
        return None
    if wanted.path is not None and not wanted.path.is_file():
        what = "no .pth and .pkl in this folder" if wanted.path.is_dir() else "no such file"
        return f"pre_trained: [data] language_model {wanted.path}: {what}"
    if wanted.path or wanted.url or wanted.language == ENGLISH:
        return None
    return (
        f"pre_trained: no language model of language {wanted.language!r}: no .pth and .pkl in "
        f"{folder / wanted.name}; put one there, name one as [data] language_model, or set "
        "pre_trained = false"
    )


def _missing(wanted: LanguageModel, place: Path, reason: str) -> str:
    if wanted.path or wanted.url:
        return (
            f"pre_trained: [data] language_model {wanted.url or wanted.path}: cannot be used "
            f"({reason}); correct it or set pre_trained = false"
        )
    return (
        f"pre_trained: no pre-trained language model: no .pth and .pkl in {place}, "
        f"{URLs.WT103_FWD} cannot be downloaded ({reason}); unpack it there or set "
        "pre_trained = false"
    )


def load(folder: Path) -> Pretrained:
    """The model in ``folder``; no code in its files is run.

    Raises:
        SpecError: it is no language model of fastai's.
    """
    weights, vocab = _file(folder, "*.pth"), _file(folder, "*.pkl")
    try:
        if weights is None or vocab is None:
            raise FileNotFoundError("no .pth, or no .pkl")
        state = torch.load(weights, map_location="cpu", weights_only=True)
        with vocab.open("rb") as file:
            tokens = _Plain(file).load()
        model = Pretrained(dict(state.get("model", state)), list(map(str, tokens)))
        if len(model.vocab) != len(model.weights["0.encoder.weight"]) or not model.sizes:
            raise ValueError("its vocabulary and its embedding have different lengths")
    except Exception as error:  # unpickling alone raises half a dozen kinds
        reason = " ".join(str(error).split())[:200]
        raise SpecError(
            f"pre_trained: {folder}: not fastai's language model: {type(error).__name__}: {reason}"
        ) from error
    return model


class _Plain(pickle.Unpickler):
    """Reads lists, strings and numbers, and refuses everything that would run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain list of tokens")


def _file(folder: Path, pattern: str) -> Path | None:
    return min(folder.glob(pattern), default=None)


def _fetch(wanted: LanguageModel, place: Path, target: Path) -> None:
    """Download the model, for ``place``, and unpack it at ``target``."""
    if place.exists():
        raise FileExistsError(f"{place} holds something else")  # which is not ours to replace
    archive = wanted.path or download(wanted.url or URLs.WT103_FWD, target.with_suffix(".tgz"))
    if wanted.sha256 and not has_digest(archive, wanted.sha256):
        raise OSError("its sha256 is another one than [data] language_model_sha256")
    unpacked = target.with_suffix(".unpacked")
    with tarfile.open(archive) as packed:
        packed.extractall(unpacked, filter="data")
    folders = [unpacked, *(folder for folder in sorted(unpacked.rglob("*")) if folder.is_dir())]
    model = next(filter(is_language_model, folders), None)
    if model is None:
        raise OSError("no folder in it has a .pth and a .pkl file")
    shutil.move(model, target)
