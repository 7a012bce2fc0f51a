"""Real, small ULMFiT trainings on the shipped addresses: what is carried over, frozen, pruned."""

from __future__ import annotations

import gzip
import pickle
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast

import numpy as np
import optuna
import pytest
import torch
from click.testing import Result
from fastai.learner import Learner, load_learner
from fastai.text.data import TensorText
from fastai.text.learner import language_model_learner
from fastai.text.models.awdlstm import AWD_LSTM, awd_lstm_lm_config
from fastai.torch_core import TensorCategory
from fastcore.xtras import save_pickle

from hpo_job.data.tables import LabelledRows, read_table
from hpo_job.errors import DataError, FetchError, SpecError
from hpo_job.objectives import text_classification
from hpo_job.objectives.candidates import Candidates
from hpo_job.objectives.context import Context
from hpo_job.objectives.downloads import find_language_model
from hpo_job.objectives.parameters import TextClassification
from hpo_job.objectives.predictions import LONGEST
from hpo_job.objectives.text import language_model, weights
from hpo_job.objectives.text.classifier import stages
from hpo_job.objectives.text.loaders import PadToChunks
from hpo_job.objectives.text_classification import check, predict, rebuild, train
from hpo_job.spec.metrics import METRICS, Metric
from hpo_job.spec.study_toml import Data
from hpo_job.trial import attributes
from hpo_job.trial.phases import Phase
from tests import ROOT
from tests.objectives import LOADER_WORKERS
from tests.objectives.pruners import PrunesAt
from tests.objectives.small import TEXTS as SMALL
from tests.objectives.small import text_values
from tests.objectives.stored import require_predictions

JOB = ROOT / "jobs" / "state-of-the-union-early"
MakeContext = Callable[..., Context]
FROZEN, UNFROZEN, CLASSIFIER = "language_model_frozen", "language_model_unfrozen", "classifier"


@pytest.fixture(scope="session")
def passages() -> LabelledRows:
    """96 of the shipped passages, a quarter of them held out by address."""
    file = JOB / "passages.csv.gz"
    return read_table(
        file,
        Data(path="-", label="party", valid_pct=0.25, text="text", group="address", sample=96),
        1,
    )


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def text_context(passages: LabelledRows, cache: Path, tmp_path: Path) -> MakeContext:
    """A trial of a fresh in-memory study, with small and quick parameters."""

    def make(pruner: optuna.pruners.BasePruner | None = None, **params: object) -> Context:
        study = optuna.create_study(pruner=pruner or optuna.pruners.NopPruner())
        return Context(
            loader_workers=LOADER_WORKERS,
            trial=study.ask(),
            params=SMALL | params,
            path=None,
            seed=1,
            threads=1,
            weights=tmp_path / "weights",
            cache=cache,
            data=passages,
            metrics=(METRICS["f1_macro"],),
        )

    return make


@pytest.fixture
def learners(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Learner]]:
    """The learners that were made, which `train` keeps to itself: language model, classifier."""
    learners: list[Learner] = []

    def keep(make: Callable[..., Learner]) -> Callable[..., Learner]:
        def kept(*arguments: Any) -> Learner:
            learners.append(make(*arguments))
            return learners[-1]

        return kept

    for name in ("_language_model", "_classifier"):
        make = getattr(text_classification, name)
        monkeypatch.setattr(text_classification, name, keep(make))
    yield learners
    learners.clear()


@pytest.fixture
def wikipedia(text_context: MakeContext, passages: LabelledRows) -> Path:
    """A folder of weights with a small language model, as fastai would have published it."""
    context = text_context()
    study = text_classification._start(context)
    learn = text_classification._language_model(study, context)
    small = language_model_learner(
        learn.dls,
        AWD_LSTM,
        config={**awd_lstm_lm_config, **language_model.sizes(study.parameters)},
        pretrained=False,
    )
    folder = context.weights / weights.NAME
    folder.mkdir(parents=True)
    torch.save(small.model.state_dict(), folder / "lstm_fwd.pth")
    save_pickle(folder / "itos_wt103.pkl", learn.dls.vocab)
    return context.weights


def reported(context: Context) -> dict[int, float]:
    study, number = context.trial.study, context.trial.number
    return study.trials[number].intermediate_values


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(before[name], value)}


def test_three_phases_are_reported_with_growing_steps(text_context: MakeContext) -> None:
    pruner = PrunesAt()
    context = text_context(pruner)
    value = train(context.trial, context)
    assert list(reported(context)) == [0, 1, 2, 3, 4]
    assert value == reported(context)[4]
    assert pruner.asked == [0, 1, 2, 3]  # once an epoch, and not after the last
    perplexity = {"metric": "perplexity", "direction": "minimize", "of_study": False}
    assert context.trial.user_attrs[attributes.PHASES] == [
        {"name": FROZEN, "start": 0, "epochs": 1, **perplexity},
        {"name": UNFROZEN, "start": 1, "epochs": 2, **perplexity},
        Phase(CLASSIFIER, 2, "f1_macro", "maximize", final=True).stored(3),
    ]
    # better than not to know which of 200 tokens comes, and never sure of it
    assert all(1 < reported(context)[step] < 200 for step in (0, 1, 2))
    assert reported(context)[2] < reported(context)[0]
    times = context.timings.values()
    assert {attributes.train_time(name) for name in (FROZEN, UNFROZEN, CLASSIFIER)} < times.keys()
    assert len(times[attributes.EPOCH_TIMES]) == 5  # type: ignore[arg-type]


@pytest.mark.parametrize(("step", "phase"), [(0, FROZEN), (2, UNFROZEN), (3, CLASSIFIER)])
def test_every_phase_can_be_pruned(
    text_context: MakeContext, learners: list[Learner], step: int, phase: str
) -> None:
    context = text_context(PrunesAt(step))
    with pytest.raises(optuna.TrialPruned, match=f"of phase {phase}$"):
        train(context.trial, context)
    assert list(reported(context)) == list(range(step + 1))
    assert len(learners) == (2 if phase == CLASSIFIER else 1)


def test_the_encoder_is_carried_over(
    text_context: MakeContext, learners: list[Learner], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, torch.Tensor]] = []

    def fit_nothing(learn: Learner, *_: object) -> None:
        begun.append(weights_of(learn.model[0].module))

    monkeypatch.setattr(text_classification, "fit_classifier", fit_nothing)
    context = text_context()
    train(context.trial, context)
    fitted = weights_of(learners[0].model[0])
    assert not changed(fitted, begun[0])
    assert fitted.keys() == begun[0].keys()


def test_a_frozen_language_model_learns_its_words_only(
    text_context: MakeContext, wikipedia: Path
) -> None:
    context = text_context(pre_trained=True)
    study = text_classification._start(context)
    learn = text_classification._language_model(study, context)
    before = weights_of(learn.model)
    language_model.fit_frozen(learn, context, study.parameters)
    frozen = weights_of(learn.model)
    words = {name for name in frozen if "encoder" in name or "decoder" in name}
    assert changed(before, frozen) == words
    language_model.fit_unfrozen(learn, context, study.parameters)
    assert changed(frozen, weights_of(learn.model)) == frozen.keys()


def test_a_language_model_from_scratch_is_not_frozen(text_context: MakeContext) -> None:
    context = text_context()
    study = text_classification._start(context)
    learn = text_classification._language_model(study, context)
    before = weights_of(learn.model)
    language_model.fit_frozen(learn, context, study.parameters)
    assert changed(before, weights_of(learn.model)) == before.keys()


def test_pre_trained_words_are_found_by_their_name(
    text_context: MakeContext, wikipedia: Path
) -> None:
    folder = wikipedia / weights.NAME
    pretrained = weights.load(folder)
    shuffled = np.random.default_rng(0).permutation(len(pretrained.vocab))
    save_pickle(folder / "itos_wt103.pkl", [pretrained.vocab[number] for number in shuffled])
    state = torch.load(folder / "lstm_fwd.pth", weights_only=True)
    for name in ("0.encoder.weight", "0.encoder_dp.emb.weight", "1.decoder.weight"):
        state[name] = state[name][shuffled]
    state["1.decoder.bias"] = state["1.decoder.bias"][shuffled]
    torch.save(state, folder / "lstm_fwd.pth")
    context = text_context(pre_trained=True)
    study = text_classification._start(context)
    learn = text_classification._language_model(study, context)
    assert torch.equal(learn.model[0].encoder.weight.cpu(), pretrained.weights["0.encoder.weight"])


def test_gradual_unfreezing_goes_down_from_the_head(
    text_context: MakeContext, learners: list[Learner], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[list[bool]] = []
    original = Learner.fit

    def fit(self: Learner, *args: Any, **options: Any) -> None:
        if self is learners[-1] and len(learners) == 2:
            groups = self.opt.param_lists
            trained.append([any(p.requires_grad for p in group) for group in groups])
        original(self, *args, **options)

    monkeypatch.setattr(Learner, "fit", fit)
    context = text_context(classifier_epochs=5, head_epochs=0, lm_body_epochs=0)
    train(context.trial, context)
    assert trained == [
        [False, False, False, True],
        [False, False, True, True],
        [False, True, True, True],
        [True, True, True, True],
    ]
    assert list(reported(context)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (1, [(1, 1)]),
        (3, [(1, 1), (2, 1), (3, 1)]),
        (4, [(1, 1), (2, 1), (3, 1), (4, 1)]),
        (7, [(1, 1), (2, 1), (3, 1), (4, 4)]),
    ],
)
def test_epochs_are_shared_out_over_the_stages(
    epochs: int, expected: list[tuple[int, int]]
) -> None:
    parameters = TextClassification(n_layers=2, classifier_epochs=epochs)
    assert stages(parameters) == expected
    plain = TextClassification(n_layers=2, classifier_epochs=epochs, gradual_unfreezing=False)
    assert stages(plain) == [(4, epochs)]


def test_each_phase_has_its_rate_and_lower_layers_learn_slower(
    text_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float | slice] = []
    original = Learner.fit_one_cycle

    def fit_one_cycle(self: Learner, epochs: int, rate: float | slice) -> None:
        rates.append(rate)
        original(self, epochs, rate)

    monkeypatch.setattr(Learner, "fit_one_cycle", fit_one_cycle)
    context = text_context(
        learning_rate_frozen=1e-2,
        learning_rate_unfrozen=3e-3,
        learning_rate_classifier=8e-3,
        layer_decay=2.0,
    )
    train(context.trial, context)
    assert rates == [1e-2, 3e-3, slice(1e-3, 8e-3), slice(5e-4, 4e-3)]


def test_all_dropouts_but_the_last_are_multiplied(text_context: MakeContext) -> None:
    def dropouts(drop_mult: float) -> list[float]:
        context = text_context(drop_mult=drop_mult)
        study = text_classification._start(context)
        learn = text_classification._language_model(study, context)
        classifier = text_classification._classifier(study, context, None)
        modules = [*learn.model.modules(), *classifier.model.modules()]
        kinds = ("RNNDropout", "WeightDropout", "EmbeddingDropout", "Dropout")
        found = [module for module in modules if type(module).__name__ in kinds]
        names = ("p", "weight_p", "embed_p")
        return [
            getattr(module, name) for module in found for name in names if hasattr(module, name)
        ]

    *plain, last = dropouts(1.0)
    assert len(plain) > 8 and all(plain)
    assert dropouts(0.5) == pytest.approx([*(0.5 * p for p in plain), last])


def test_one_seed_gives_the_same_values_twice(text_context: MakeContext) -> None:
    def values(seed: int) -> list[float]:
        context = text_context(gradual_unfreezing=False, balance="sampler")
        context.seed = seed
        train(context.trial, context)
        return list(reported(context).values())

    first = values(seed=3)
    np.random.rand(7)
    assert values(seed=3) == first
    assert values(seed=4) != first


@pytest.mark.parametrize("balance", ["class_weights", "sampler"])
def test_rare_classes_can_count_as_much(text_context: MakeContext, balance: str) -> None:
    plain, balanced = text_context(), text_context(balance=balance)
    seen: dict[str, list[float]] = {}
    for context in (plain, balanced):
        context.metrics = (Metric("sum", "maximize", lambda _, p: float((p[:, 0] ** 2).sum())),)
        train(context.trial, context)
        seen[context.params.get("balance", "none")] = list(reported(context).values())
    # the language model knows no classes
    assert seen["none"][:3] == seen[balance][:3]
    assert seen["none"][3:] != seen[balance][3:]


@pytest.mark.filterwarnings("ignore:load_learner:UserWarning")
def test_the_kept_model_scores_and_predicts_as_it_did(
    text_context: MakeContext, passages: LabelledRows, tmp_path: Path
) -> None:
    context = text_context(classifier_epochs=4)
    value = train(context.trial, context)
    folder = tmp_path / "kept"
    folder.mkdir()
    assert context.keep is not None
    context.keep(folder)
    stored = require_predictions(folder, context, value)
    assert stored.texts[0] == passages.frame["text"].iloc[passages.valid[0]][:LONGEST]
    learn = rebuild(folder)
    learn.export(tmp_path / "export.pkl")
    table = tmp_path / "new.csv"
    rows = passages.frame.iloc[passages.valid]
    rows.to_csv(table, index=False)
    again = predict(load_learner(tmp_path / "export.pkl"), [table])
    assert list(again.columns) == ["file", "row", "prediction", *passages.classes]
    assert again["row"].tolist() == list(range(1, len(rows) + 1))
    scored = METRICS["f1_macro"].score(
        passages.targets[passages.valid], again[list(passages.classes)].to_numpy()
    )
    assert scored == pytest.approx(value, abs=1e-9)
    texts = [tmp_path / f"{number}.txt" for number in range(3)]
    for file, text in zip(texts, rows["text"], strict=False):
        file.write_text(text, encoding="utf-8")
    alone = predict(learn, texts)
    assert alone["file"].tolist() == [str(file) for file in texts]
    np.testing.assert_allclose(alone.iloc[:, 3:], again.iloc[:3, 3:], rtol=1e-4)
    # and so does fastai itself, given the text
    plain = load_learner(tmp_path / "export.pkl")
    for number, text in enumerate(rows["text"][:3]):
        name, position, probabilities = plain.predict(text)
        assert name == passages.classes[position] == alone["prediction"][number]
        np.testing.assert_allclose(probabilities, again.iloc[number, 3:].tolist(), rtol=1e-4)


def test_what_is_said_of_a_text_does_not_depend_on_the_others(
    text_context: MakeContext, passages: LabelledRows, tmp_path: Path
) -> None:
    context = text_context(max_tokens=32, head_epochs=0, lm_body_epochs=0)  # of bptt = 12
    train(context.trial, context)
    assert context.keep is not None
    context.keep(tmp_path)
    learn = rebuild(tmp_path)
    words = passages.frame["text"].str.split()
    texts = [" ".join(text[:length]) for text, length in zip(words, range(1, 40), strict=False)]
    together, alone = (learn.get_preds(dl=learn.dls.test_dl(texts, bs=bs))[0] for bs in (39, 1))
    assert alone.std() > 0.01
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_short_texts_are_padded_to_the_longest_of_them() -> None:
    """And no further: most texts of a table are shorter than the 72 tokens of a chunk."""

    def padded(*lengths: int) -> list[int]:
        batch = [(TensorText(torch.full((length,), 2)), TensorCategory(0)) for length in lengths]
        return [len(text) for text, _ in PadToChunks(seq_len=72)(batch)]

    assert padded(20, 30) == [30, 30]
    assert padded(72, 1) == [72, 72]
    assert padded(20, 73) == [144, 144]


def test_what_cannot_be_predicted_is_one_line(
    text_context: MakeContext, passages: LabelledRows, tmp_path: Path
) -> None:
    context = text_context(head_epochs=0, lm_body_epochs=0, classifier_epochs=1)
    train(context.trial, context)
    assert context.keep is not None
    context.keep(tmp_path)
    learn = rebuild(tmp_path)
    table = tmp_path / "new.CSV"
    table.write_text("party,txt\na,b\n")
    with pytest.raises(DataError, match=r"new\.CSV: unknown column 'text'; did you mean 'txt'"):
        predict(learn, [table])
    table.write_text("text,id\n,1\nsomething,2\n")  # an empty text is a text as well
    assert predict(learn, [table])["row"].tolist() == [1, 2]
    table.write_text("text,id\n")
    with pytest.raises(DataError, match=r"new\.CSV: no rows in it"):
        predict(learn, [table])
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"text\nsomething to be read\n")[:-12])
    with pytest.raises(DataError, match=r"cut\.csv\.gz: not a readable CSV file"):
        predict(learn, [cut])
    with pytest.raises(DataError, match=r"missing\.txt: not a readable text: .*No such file"):
        predict(learn, [tmp_path / "missing.txt"])
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(
        DataError, match=r"binary\.txt: not a readable text: encoded as UTF-16; save it as UTF-8"
    ):
        predict(learn, [binary])


def test_the_finder_runs_in_the_phase_of_each_rate(text_context: MakeContext) -> None:
    names = TextClassification.learning_rates
    context = text_context(batch_size=4)
    curves = text_classification.lr_find(context, names)
    assert set(curves) == set(names)
    assert all(1e-7 <= curve.suggestion <= 10 for curve in curves.values())


def test_sizes_must_be_those_of_the_pre_trained_model(wikipedia: Path) -> None:
    check(Candidates(text_values(pre_trained=True), wikipedia))
    with pytest.raises(SpecError, match=r"^n_hid: .* has 12, found 13; set emb_sz = 8, "):
        check(Candidates(text_values(pre_trained=True, n_hid=13), wikipedia))
    check(Candidates(text_values(n_hid=13), wikipedia))


def test_a_vocabulary_that_would_run_code_is_refused(wikipedia: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[object, ...]:
            return print, ("run",)

    vocab = wikipedia / weights.NAME / "itos_wt103.pkl"
    vocab.write_bytes(pickle.dumps([Code()]))
    with pytest.raises(SpecError, match="not fastai's language model: UnpicklingError"):
        check(Candidates(text_values(pre_trained=True), wikipedia))


def test_the_language_model_of_an_image(
    wikipedia: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Result]
) -> None:
    """As `make image WEIGHTS=wt103-fwd` puts it there, and a pod finds it without a download."""
    archive = tmp_path / "published.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(wikipedia / weights.NAME, weights.NAME)
    monkeypatch.setattr("fastai.data.external.URLs.WT103_FWD", archive.as_uri())
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path / "fastai"))
    baked = tmp_path / "image"
    done = cli("weights", "wt103-fwd", "--weights", baked)
    assert done.output.splitlines() == [f"wt103-fwd: {baked / 'wt103-fwd'}"]
    assert find_language_model(tmp_path / "cache") is None
    monkeypatch.setenv("HPO_JOB_BAKED_WEIGHTS", str(baked))
    assert find_language_model(tmp_path / "cache") == baked / "wt103-fwd"
    assert weights.obtain(tmp_path / "cache") == baked / "wt103-fwd"
    assert not (tmp_path / "cache").exists()


def test_a_missing_pre_trained_model_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastai.data.external.URLs.WT103_FWD", "http://127.0.0.1:1/wt103-fwd.tgz")
    monkeypatch.setenv("FASTAI_HOME", str(tmp_path / "fastai"))
    with pytest.raises(FetchError, match=r"^pre_trained: .*unpack it there or set pre_trained = f"):
        check(Candidates(text_values(pre_trained=True), tmp_path / "weights"))
    assert not (tmp_path / "weights").exists()


@pytest.mark.parametrize(
    ("device", "chosen", "precision"),
    [("cuda", "auto", "fp16"), ("cpu", "auto", "fp32"), ("cuda", "bf16", "bf16")],
)
def test_texts_train_in_scaled_halves_on_a_gpu(
    device: str, chosen: Literal["auto", "bf16"], precision: str
) -> None:
    context = cast("Context", SimpleNamespace(device=device))
    parameters = TextClassification(precision=chosen)
    assert language_model.precision(parameters, context) == precision
