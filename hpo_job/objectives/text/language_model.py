"""The first half of ULMFiT: a language model learns the language of the texts."""

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

from hpo_job.data.language_models import LanguageModel
from hpo_job.data.tables import LabelledRows
from hpo_job.errors import SpecError
from hpo_job.objectives.context import Context
from hpo_job.objectives.downloads import find_language_model
from hpo_job.objectives.parameters import TextClassification
from hpo_job.objectives.text.weights import load
from hpo_job.objectives.training import fit, prepare
from hpo_job.trial.phases import Phase

FROZEN, UNFROZEN = "language_model_frozen", "language_model_unfrozen"
LARGEST = 700.0  # largest loss whose exponential fits a float
SIZES = ("emb_sz", "n_hid", "n_layers")


def sizes(parameters: TextClassification) -> dict[str, int]:
    """The sizes of the encoder, by the names of fastai's configurations."""
    return {name: getattr(parameters, name) for name in SIZES}


def precision(parameters: TextClassification, context: Context) -> str:
    """The precision to train in.

    "auto" is fp16 on CUDA: torch computes an LSTM in it there whatever autocast is set to, and its
    gradients have to be scaled. Elsewhere it is float32, since few CPUs have bf16 for an LSTM.
    """
    if parameters.precision != "auto":
        return parameters.precision
    return "fp16" if context.device == "cuda" else "fp32"


def language_model(dls: DataLoaders, context: Context, parameters: TextClassification) -> Learner:
    """An AWD-LSTM language model: pre-trained and frozen except for its words, or random."""
    learn = language_model_learner(
        dls,
        AWD_LSTM,
        config={**awd_lstm_lm_config, **sizes(parameters)},
        drop_mult=parameters.drop_mult,
        pretrained=False,
    )
    prepare(learn, context, precision(parameters, context))
    if parameters.pre_trained:
        assert isinstance(context.data, LabelledRows)
        _load(learn, context.weights, context.data.language_model)
        learn.freeze()
    return learn


def fit_frozen(learn: Learner, context: Context, parameters: TextClassification) -> None:
    """Run the first phase: of a pre-trained model only the words; of a new one everything."""
    _fit(learn, context, FROZEN, parameters.head_epochs, parameters.learning_rate_frozen)


def fit_unfrozen(learn: Learner, context: Context, parameters: TextClassification) -> None:
    """Run the second phase, which trains everything."""
    learn.unfreeze()
    _fit(learn, context, UNFROZEN, parameters.lm_body_epochs, parameters.learning_rate_unfrozen)


def encoder(learn: Learner) -> dict[str, torch.Tensor]:
    """The weights of the encoder, which the classifier takes over."""
    return {name: weights.detach().clone() for name, weights in learn.model[0].state_dict().items()}


def perplexity(learn: Learner) -> float:
    """Perplexity of the validation texts after an epoch: exp(loss)."""
    loss = float(learn.final_record[1])
    return exp(min(loss, LARGEST)) if loss == loss else loss


def _fit(learn: Learner, context: Context, name: str, epochs: int, rate: float) -> None:
    if epochs:
        phase = Phase(name, epochs, "perplexity", "minimize", of_study=False)
        fit(learn, context, phase, lambda: learn.fit_one_cycle(epochs, rate), of_learner=perplexity)


def _load(learn: Learner, weights: Path, wanted: LanguageModel) -> None:
    """Load pre-trained weights; a word unknown to them gets the mean of all words."""
    folder = find_language_model(weights, wanted)
    if folder is None:  # `check` has seen them
        raise SpecError(f"pre_trained: {wanted.name} is no longer in {weights}")
    pretrained = load(folder)
    state: dict[str, Any] = match_embeds(pretrained.weights, pretrained.vocab, learn.dls.vocab)
    load_ignore_keys(learn.model, clean_raw_keys(state))
