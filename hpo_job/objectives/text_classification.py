"""The objective ``text_classification``: ULMFiT, a language model that becomes a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import torch
from fastai.learner import Learner
from numpy.typing import NDArray

from hpo_job.data import columns
from hpo_job.data.language_models import ENGLISH, LanguageModel, language_model_of
from hpo_job.data.tables import LabelledRows
from hpo_job.errors import DataError, SpecError, problem, unknown
from hpo_job.machine import read_text
from hpo_job.objectives import learner_file, saved
from hpo_job.objectives.balance import loss, sample
from hpo_job.objectives.batches import Mapped
from hpo_job.objectives.candidates import Candidates
from hpo_job.objectives.checkpoint import resumed_phase
from hpo_job.objectives.context import Context
from hpo_job.objectives.finder import Curve, find_lr
from hpo_job.objectives.parameters import TextClassification
from hpo_job.objectives.precision import check_precision
from hpo_job.objectives.text import language_model
from hpo_job.objectives.text.batches import Texts
from hpo_job.objectives.text.classifier import (
    CLASSIFIER,
    classifier,
    fit_classifier,
    groups,
    thaw,
)
from hpo_job.objectives.text.loaders import (
    Items,
    Reader,
    classifier_loaders,
    language_loaders,
    new_texts,
)
from hpo_job.objectives.text.tokens import Corpus, tokenised, tokenizer, tokens_of
from hpo_job.objectives.text.weights import load, obtain
from hpo_job.objectives.training import finish, prepare, start_afresh
from hpo_job.trial import attributes


def check(candidates: Candidates) -> None:
    """Check, once and before the first trial, that trials can start.

    Raises:
        SpecError: a trial could not start.
    """
    values, spec = candidates.values, candidates.spec
    check_precision(values["precision"])
    if "bf16" in values["precision"]:
        _check_bf16()
    wanted = language_model_of(spec) if spec else LanguageModel()
    if wanted.language != ENGLISH:
        tokenizer(wanted.language)
    if True in values["pre_trained"]:
        sizes = load(obtain(candidates.weights, wanted)).sizes
        for name, size in sizes.items():
            if other := [value for value in values[name] if value != size]:
                settings = ", ".join(f"{key} = {value}" for key, value in sizes.items())
                raise SpecError(
                    f"{name}: the pre-trained language model has {size}, found {other[0]}; "
                    f"set {settings}, or pre_trained = false"
                )


def train(trial: optuna.Trial, context: Context) -> float | tuple[float, ...]:
    """Train one classifier; returns the study's metrics on the validation texts.

    A language model is fitted to the training texts, ``head_epochs`` frozen and
    ``lm_body_epochs`` unfrozen, and scored by its perplexity on the validation texts. A
    classifier takes over its encoder and is trained for ``classifier_epochs``, scored by the
    study's metric.

    Raises:
        optuna.TrialPruned: the pruner stopped it.
    """
    study = _start(context)
    # a state of the classifier holds its encoder
    encoder = None if resumed_phase(context) == CLASSIFIER else _encoder(study, context)
    learn = _classifier(study, context, encoder)
    fit_classifier(learn, context, study.parameters)
    context.keep = partial(save, learn, study.parameters, study.reader)
    return finish(learn, context)


def lr_find(context: Context, names: Sequence[str]) -> dict[str, Curve]:
    """The learning-rate finder's curve for each of these parameters, in its own phase."""
    study = _start(context)
    curves = {}
    learn = _language_model(study, context)
    if "learning_rate_frozen" in names:
        curves["learning_rate_frozen"] = find_lr(learn)
    if len(curves) < len(names):
        language_model.fit_frozen(learn, context, study.parameters)
    if "learning_rate_unfrozen" in names:
        learn.unfreeze()
        curves["learning_rate_unfrozen"] = find_lr(learn)
    if "learning_rate_classifier" in names:
        language_model.fit_unfrozen(learn, context, study.parameters)
        learn = _classifier(study, context, language_model.encoder(learn))
        gradual = study.parameters.gradual_unfreezing
        thaw(learn, 1 if gradual else groups(study.parameters))
        curves["learning_rate_classifier"] = find_lr(learn)
    return curves


def save(learn: Learner, parameters: TextClassification, reader: Reader, folder: Path) -> None:
    """Write what `rebuild` needs into ``folder``."""
    sizes = language_model.sizes(parameters)
    record = {"objective": "text_classification", "sizes": sizes, "reader": reader.stored()}
    saved.write(folder, learn.model, record)


def rebuild(folder: Path) -> Learner:
    """The learner that `save` wrote, without its data, for export and predictions."""
    record = learner_file.read(folder)
    reader = Reader.restored(record["reader"])
    parameters = TextClassification.model_validate(record["sizes"])
    learn = classifier(new_texts(reader), parameters, reader)
    learn.text_column, learn.language = reader.column, reader.language
    saved.load(folder, learn.model)
    return prepare(learn, None)


def predict(learn: Learner, files: Sequence[Path]) -> pd.DataFrame:
    """The class of each text, and the probability of every class.

    In a table (.csv, .csv.gz or .parquet) the texts are the rows of the study's text column; any
    other file is one text.

    Returns:
        A row for each text: ``file``, ``row`` (from 1, below the header), ``prediction``, and a
        column for each class.

    Raises:
        DataError: a file cannot be read.
    """
    texts = pd.concat([_texts(file, learn.text_column) for file in files], ignore_index=True)
    loader = learn.dls.test_dl(list(tokens_of(texts.pop("text"), learn.language)))
    probabilities = learn.get_preds(dl=loader)[0].double().numpy()
    return learner_file.predictions(texts, list(learn.dls.vocab[1]), probabilities)


@dataclass(frozen=True)
class _Study:
    """What all parts of a trial share: parameters, data, and how texts are read."""

    parameters: TextClassification
    data: LabelledRows
    corpus: Corpus
    reader: Reader

    def part(self, rows: NDArray[np.int64]) -> Items:
        """The texts in these rows, and their class numbers."""
        known = self.corpus.known(self.reader.vocabulary)
        tokens, offsets = Mapped(self.corpus.tokens), Mapped(self.corpus.offsets)
        texts = Texts(tokens, offsets, rows, known, self.reader.longest)
        return texts, self.data.targets[rows].astype(np.int64)


def _start(context: Context) -> _Study:
    parameters = TextClassification.model_validate(context.params)
    start_afresh(context)
    data = context.data
    assert isinstance(data, LabelledRows)
    assert data.text is not None
    with context.timings.measure(attributes.DATA_TIME):
        language = data.language_model.language
        corpus = tokenised(data.frame[data.text].tolist(), data.train, context.cache, language)
        vocabulary = corpus.vocabulary(parameters.max_vocab, parameters.min_freq)
    reader = Reader(
        vocabulary, data.classes, data.text, parameters.bptt, parameters.max_tokens, language
    )
    return _Study(parameters, data, corpus, reader)


def _language_model(study: _Study, context: Context) -> Learner:
    parameters, data = study.parameters, study.data
    with context.timings.measure(attributes.DATA_TIME):
        dls = language_loaders(
            study.part(data.train)[0],
            study.part(data.valid)[0],
            study.reader,
            parameters.batch_size,
            torch.device(context.device),
            context.loader_workers or 0,
        )
    return language_model.language_model(dls, context, parameters)


def _encoder(study: _Study, context: Context) -> dict[str, torch.Tensor]:
    """The encoder of a language model that has been fitted to the texts."""
    learn = _language_model(study, context)
    language_model.fit_frozen(learn, context, study.parameters)
    language_model.fit_unfrozen(learn, context, study.parameters)
    return language_model.encoder(learn)


def _classifier(
    study: _Study, context: Context, encoder: dict[str, torch.Tensor] | None
) -> Learner:
    """A classifier with this encoder and a new head; all new without one."""
    parameters, data = study.parameters, study.data
    with context.timings.measure(attributes.DATA_TIME):
        dls = classifier_loaders(
            study.part(data.train),
            study.part(data.valid),
            study.reader,
            parameters.batch_size,
            torch.device(context.device),
            context.loader_workers or 0,
        )
        sample(parameters.balance, dls.train, data)
    learn = classifier(dls, parameters, study.reader, loss(parameters.balance, data))
    if encoder is not None:
        learn.model[0].module.load_state_dict(encoder)
    return prepare(learn, context, language_model.precision(parameters, context))


def _check_bf16() -> None:
    """Raise SpecError where an LSTM cannot be computed in bf16 here."""
    if torch.cuda.is_available():
        return
    try:
        with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
            torch.nn.LSTM(8, 8, batch_first=True)(torch.zeros(2, 2, 8))
    except RuntimeError as error:
        raise SpecError("precision: this CPU has no bf16 for an LSTM; use fp32 or auto") from error


def _texts(file: Path, column: str) -> pd.DataFrame:
    """The texts in a file: ``file``, ``row`` and ``text``."""
    if columns.is_table(file):
        known = columns.names(file)
        if column not in known:
            raise DataError(f"{file}: {unknown('column', column, known)}")
        texts = columns.read(file, [column], verbatim=[column])[column].tolist()
        if not texts:
            raise DataError(f"{file}: no rows in it")
    else:
        try:
            texts = [read_text(file)]
        except (OSError, ValueError) as error:
            raise DataError(f"{file}: not a readable text: {problem(error)}") from error
    return pd.DataFrame({"file": str(file), "row": range(1, len(texts) + 1), "text": texts})
