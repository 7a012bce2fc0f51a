"""The pre-trained language model: from a local folder, fastai's own folder, or a download."""

from __future__ import annotations

import pickle
import tarfile
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from fastai.data.external import URLs

from hpo_job.data.once import make_once
from hpo_job.errors import SpecError
from hpo_job.objectives.downloads import (
    LANGUAGE_MODEL,
    download,
    failed,
    find_language_model,
)

NAME = LANGUAGE_MODEL  # trained on 103 million words of Wikipedia, forwards


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


def obtain(folder: Path) -> Path:
    """The folder of the model, downloaded into ``folder`` where this machine has none.

    Workers that start together wait for one download.

    Raises:
        FetchError: the download failed, and a retry may succeed.
        SpecError: it failed for good.
    """
    try:
        return make_once(
            folder / NAME, lambda: find_language_model(folder), partial(_fetch, folder / NAME)
        )
    except (OSError, HTTPException, tarfile.TarError) as error:  # most of urllib's are OSErrors
        reason = " ".join(str(error).split())
        raise failed(
            error,
            f"pre_trained: no pre-trained language model: no .pth and .pkl in {folder / NAME}, "
            f"{URLs.WT103_FWD} cannot be downloaded ({reason}); unpack it there or set "
            "pre_trained = false",
        ) from error


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


def _fetch(place: Path, target: Path) -> None:
    """Download the model, for ``place``, and unpack it at ``target``."""
    if place.exists():
        raise FileExistsError(f"{place} holds something else")  # which is not ours to replace
    archive = download(URLs.WT103_FWD, target.with_suffix(".tgz"))
    with tarfile.open(archive) as packed:
        packed.extractall(target.parent, filter="data")
