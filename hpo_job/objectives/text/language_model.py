"""The first half of ULMFiT: a language model learns the texts' language; its encoder is kept."""

from __future__ import annotations

from math import exp
from pathlib import Path
from typing import Any

import fastai.callback.schedule  # noqa: F401  # adds fit_one_cycle to Learner
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.text.learner import (
    clean_raw_keys,
    language_model_learner,
    load_ignore_keys,
    match_embeds,
)
from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_lm_config

from hpo_job.errors import SpecError
from hpo_job.objectives.context import Context
from hpo_job.objectives.parameters import TextClassification
from hpo_job.objectives.text import weights as text_weights
from hpo_job.objectives.training import fit, prepare
from hpo_job.trial.phases import Phase

FROZEN, UNFROZEN = "language_model_frozen", "language_model_unfrozen"
LARGEST = 700.0  # loss whose exponential is a float
SIZES = ("emb_sz", "n_hid", "n_layers")


def sizes(parameters: TextClassification) -> dict[str, int]:
    """The encoder's sizes, as fastai's configurations name them."""
    return {name: getattr(parameters, name) for name in SIZES}


def precision(parameters: TextClassification, context: Context) -> str:
    """On a CPU, "auto" is float32: not every CPU that has bf16 has it for an LSTM."""
    chosen = parameters.precision
    return "fp32" if chosen == "auto" and context.device != "cuda" else chosen


def language_model(dls: DataLoaders, context: Context, parameters: TextClassification) -> Learner:
    """An AWD-LSTM language model: pre-trained and frozen but for its words, or at random."""
    learn = language_model_learner(
        dls,
        AWD_LSTM,
        config={**awd_lstm_lm_config, **sizes(parameters)},
        drop_mult=parameters.drop_mult,
        pretrained=False,
    )
    if parameters.pre_trained:
        _load(learn, context.weights)
        learn.freeze()
    return prepare(learn, context, precision(parameters, context))


def fit_frozen(learn: Learner, context: Context, parameters: TextClassification) -> None:
    """The first phase: of a pre-trained model the words only; of a new one everything."""
    _fit(learn, context, FROZEN, parameters.head_epochs, parameters.learning_rate_frozen)


def fit_unfrozen(learn: Learner, context: Context, parameters: TextClassification) -> None:
    """The second phase: everything."""
    learn.unfreeze()
    _fit(learn, context, UNFROZEN, parameters.lm_body_epochs, parameters.learning_rate_unfrozen)


def encoder(learn: Learner) -> dict[str, torch.Tensor]:
    """The weights of the part that a classifier takes over."""
    return {name: weights.detach().clone() for name, weights in learn.model[0].state_dict().items()}


def perplexity(learn: Learner) -> float:
    """Of the validation texts, after an epoch: among how many words the model is in doubt."""
    loss = float(learn.final_record[1])
    return exp(min(loss, LARGEST)) if loss == loss else loss


def _fit(learn: Learner, context: Context, name: str, epochs: int, rate: float) -> None:
    if epochs:
        phase = Phase(name, epochs, "perplexity", "minimize", of_study=False)
        fit(learn, context, phase, lambda: learn.fit_one_cycle(epochs, rate), of_learner=perplexity)


def _load(learn: Learner, weights: Path) -> None:
    """Put pre-trained weights in; a word that they do not know gets the mean of all words."""
    folder = text_weights.find(weights)
    if folder is None:  # `check` has seen them
        raise SpecError(f"pre_trained: the language model is gone from {weights}")
    found = text_weights.load(folder)
    state: dict[str, Any] = match_embeds(found.weights, found.vocab, learn.dls.vocab)
    load_ignore_keys(learn.model, clean_raw_keys(state))
