"""Texts in other languages than English: split by their rules, with a language model of theirs."""

from __future__ import annotations

import csv
import hashlib
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from click.testing import Result
from fastai.text.learner import language_model_learner
from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_lm_config
from fastcore.xtras import save_pickle

from hpo_job.data.language_models import language_model_of
from hpo_job.data.tables import LabelledRows
from hpo_job.errors import SpecError
from hpo_job.objectives import text_classification
from hpo_job.objectives.candidates import Candidates
from hpo_job.objectives.context import Context
from hpo_job.objectives.text import language_model, weights
from hpo_job.objectives.text.tokens import tokenised, tokens_of
from hpo_job.spec.metrics import METRICS
from hpo_job.spec.reading import read_spec
from hpo_job.spec.study_toml import StudySpec
from hpo_job.study.checking import read_data
from tests.objectives import LOADER_WORKERS
from tests.objectives.small import TEXTS as SMALL
from tests.objectives.small import text_values

pytestmark = pytest.mark.fastai
Job = Callable[..., Path]
Cli = Callable[..., Result]
LETTER = "Der alte Brief, d.h. die Abschrift, liegt z.B. im Archiv und ist nicht lesbar"
SPEECH = "Meine Herren, wir haben das Gesetz beraten, und es wird bis Mai gelten"


@pytest.fixture
def german(job: Job, tmp_path: Path) -> Callable[..., StudySpec]:
    """A study of German letters and speeches, with these keys of [data]."""
    with (tmp_path / "texte.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "art"])
        writer.writerows(
            (f"{(LETTER, SPEECH)[n % 2]} {n}", ("Brief", "Rede")[n % 2]) for n in range(40)
        )

    def make(**data: object) -> StudySpec:
        keys = {"path": str(tmp_path / "texte.csv"), "text": "text", "label": "art", **data}
        text = {"objective": "text_classification", "metric": "accuracy", "direction": "maximize"}
        return read_spec(job(**text, data=keys, search_space={"pre_trained": True}))

    return make


def context_of(spec: StudySpec, folder: Path, **params: object) -> Context:
    data = read_data(spec)
    assert isinstance(data, LabelledRows)
    return Context(
        loader_workers=LOADER_WORKERS,
        trial=optuna.create_study().ask(),
        params={**SMALL, "min_freq": 1, **params},
        path=None,
        seed=1,
        threads=1,
        weights=folder / "weights",
        cache=folder / "cache",
        data=data,
        metrics=(METRICS["accuracy"],),
    )


@pytest.fixture
def model(german: Callable[..., StudySpec], tmp_path: Path) -> Path:
    """A folder with a small German language model in fastai's format."""
    context = context_of(german(language="de"), tmp_path)
    study = text_classification._start(context)
    learn = text_classification._language_model(study, context)
    small = language_model_learner(
        learn.dls,
        AWD_LSTM,
        config={**awd_lstm_lm_config, **language_model.sizes(study.parameters)},
        pretrained=False,
    )
    folder = tmp_path / "published" / "de"
    folder.mkdir(parents=True)
    torch.save(small.model.state_dict(), folder / "de.pth")
    save_pickle(folder / "itos.pkl", learn.dls.vocab)
    return folder


def packed(folder: Path) -> Path:
    archive = folder.parent / "de.tgz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, "some/folder/de")
    return archive


def test_words_are_split_by_the_rules_of_their_language(tmp_path: Path) -> None:
    assert "z.b." in next(tokens_of([LETTER], "de"))
    assert "z.b." not in next(tokens_of([LETTER], "en"))
    train = torch.arange(1).numpy()
    german, english = (tokenised([LETTER], train, tmp_path, each) for each in ("de", "en"))
    assert "z.b." in german.vocab and "z.b." not in english.vocab  # two entries of one cache


@pytest.mark.parametrize("source", ["folder", "archive", "url", "weights"])
def test_a_trial_starts_from_the_model_of_its_language(
    german: Callable[..., StudySpec], model: Path, tmp_path: Path, cli: Cli, source: str
) -> None:
    keys: dict[str, object] = {"language_model": str(model)} if source == "folder" else {}
    if source == "archive":
        keys = {"language_model": str(packed(model))}
    elif source == "url":
        archive = packed(model)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        keys = {"language_model": archive.as_uri(), "language_model_sha256": digest}
    elif source == "weights":
        (tmp_path / "weights").mkdir()
        model.rename(tmp_path / "weights" / "lm-de")
    spec = german(language="de", **keys)
    text_classification.check(
        Candidates(text_values(pre_trained=True), tmp_path / "weights", None, spec)
    )
    context = context_of(spec, tmp_path, pre_trained=True, lm_body_epochs=0, head_epochs=0)
    study = text_classification._start(context)
    learn = text_classification._language_model(study, context)
    place = weights.obtain(tmp_path / "weights", language_model_of(spec))
    asked = cli("weights", "--job", spec.folder, "--weights", tmp_path / "weights")
    assert asked.stdout == f"{place.name}: {place}\n" or source == "folder", asked.output
    assert asked.exit_code == 0
    loaded = weights.load(place)
    vocabulary, known = learn.dls.vocab, loaded.vocab
    word = "z.b."
    assert torch.equal(
        learn.model[0].encoder.weight[vocabulary.index(word)].cpu(),
        loaded.weights["0.encoder.weight"][known.index(word)],
    )
    if source == "folder":
        text_classification.train(context.trial, context)
        assert context.keep is not None
        (tmp_path / "kept").mkdir()
        context.keep(tmp_path / "kept")
        kept = text_classification.rebuild(tmp_path / "kept")
        assert kept.language == "de"
        (tmp_path / "neu.txt").write_text(LETTER)
        assert len(text_classification.predict(kept, [tmp_path / "neu.txt"])) == 1


def test_what_is_wrong_with_a_model_is_one_line(
    german: Callable[..., StudySpec], model: Path, tmp_path: Path
) -> None:
    def refused(**keys: object) -> str:
        with pytest.raises(SpecError) as caught:
            text_classification.check(
                Candidates(
                    text_values(pre_trained=True), tmp_path / "weights", None, german(**keys)
                )
            )
        assert "\n" not in str(caught.value)
        return str(caught.value)

    line = refused(language="de")
    assert "no language model of language 'de'" in line and "pre_trained = false" in line
    assert "no such file" in refused(language="de", language_model="gone.tgz")
    (tmp_path / "empty").mkdir()
    empty = str(tmp_path / "empty")
    assert "no .pth and .pkl in this folder" in refused(language="de", language_model=empty)
    url = packed(model).as_uri()
    other = refused(language="de", language_model=url, language_model_sha256="0" * 64)
    assert "its sha256 is another one" in other
    assert "no tokenizer of 'qq'" in refused(language="qq")
    (tmp_path / "no.tgz").write_text("no archive")
    assert "cannot be used" in refused(language="de", language_model=str(tmp_path / "no.tgz"))


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"language_model": "https://x.org/a.tgz"}, "language_model_sha256 is needed too"),
        ({"language_model": "a", "language_model_sha256": "0" * 64}, "is for a URL as language_mo"),
        ({"language": "German"}, "data.language"),
    ],
)
def test_keys_that_do_not_fit(
    german: Callable[..., StudySpec], keys: dict[str, object], problem: str
) -> None:
    with pytest.raises(SpecError, match=problem):
        german(**keys)


def test_the_data_says_its_language(german: Callable[..., StudySpec]) -> None:
    data = read_data(german(language="de"))
    assert isinstance(data, LabelledRows)
    assert ("language", "German") in list(data.described())
    assert "language" not in dict(
        replace(data, language_model=language_model_of(german())).described()
    )


def test_a_folder_that_holds_no_language_model_is_one_line(tmp_path: Path) -> None:
    says = "pre_trained: .*: not fastai's language model: "
    with pytest.raises(SpecError, match=rf"^{says}FileNotFoundError: no \.pth, or no \.pkl$"):
        weights.load(tmp_path)
    state = {"0.encoder.weight": torch.zeros(3, 2), "0.rnns.0.weight_hh_l0_raw": torch.zeros(8, 2)}
    torch.save(state, tmp_path / "model.pth")
    save_pickle(tmp_path / "vocab.pkl", ["two", "words"])
    with pytest.raises(SpecError, match=f"^{says}ValueError: its vocabulary and its embedding"):
        weights.load(tmp_path)


def test_a_folder_of_something_else_is_not_replaced_by_a_download(tmp_path: Path) -> None:
    other = tmp_path / weights.NAME / "thesis.txt"
    other.parent.mkdir()
    other.write_text("ours")
    with pytest.raises(SpecError, match=r"cannot be downloaded \(.* holds something else\)"):
        weights.obtain(tmp_path)
    assert other.read_text() == "ours"
