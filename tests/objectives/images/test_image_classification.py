"""Real, small trainings: what is reported, what is pruned, what is trained, what is repeated."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from torch import nn

from hpo_job.data.images import LabelledFiles
from hpo_job.errors import SpecError
from hpo_job.objectives import training
from hpo_job.objectives.context import Context
from hpo_job.objectives.image_classification import train
from hpo_job.objectives.images import objective
from hpo_job.objectives.images.heads import CLASSES
from hpo_job.objectives.images.loaders import image_loaders
from hpo_job.objectives.images.models import build
from hpo_job.objectives.images.objective import fit_head, fit_unfrozen
from hpo_job.objectives.parameters import ImageClassification
from hpo_job.objectives.training import start_afresh
from hpo_job.spec.metrics import Metric
from hpo_job.spec.scores import Probabilities, Targets
from hpo_job.trial import attributes
from hpo_job.trial.phases import Phase
from hpo_job.worker import repeats
from tests.objectives.pruners import PrunesAt

MakeContext = Callable[..., Context]
TIMES = {
    attributes.DATA_TIME,
    attributes.TRAIN_TIME,
    attributes.EPOCH_TIMES,
    attributes.VALIDATION_TIME,
    attributes.EXECUTE_TIME,
    attributes.ITEM_TIME_MS,
    attributes.STORAGE_TIME,
    attributes.TOTAL_TIME,
    attributes.train_time("head"),
}
TWO_PHASES = {"epochs": 2, "unfrozen_epochs": 2, "unfrozen_learning_rate": 1e-3}


class Interrupted(BaseException):
    """What a worker's signal handler raises."""


def reported(context: Context) -> dict[int, float]:
    study, number = context.trial.study, context.trial.number
    return study.trials[number].intermediate_values


def optimizer_steps(learn: Learner) -> int:
    """How many batches the head was trained on in the last phase; unfreezing starts anew."""
    return int(learn.opt.state[learn.model[1][-1].weight]["step"])


def loaders_of(context: Context, parameters: ImageClassification) -> DataLoaders:
    assert isinstance(context.data, LabelledFiles)
    return image_loaders(context.data, context, parameters)


def value_of(context: Context) -> float:
    value = train(context.trial, context)
    assert isinstance(value, float)
    return value


@pytest.fixture
def learners(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Learner]]:
    """The learners that were made, which `train` keeps to itself."""
    learners: list[Learner] = []
    make = objective.make_learner

    def keep(*args: Any, **options: Any) -> Learner:
        learners.append(make(*args, **options))
        return learners[-1]

    monkeypatch.setattr(objective, "make_learner", keep)
    yield learners
    learners.clear()


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_memory_format_of_images_and_weights(
    make_context: MakeContext, channels_last: bool
) -> None:
    context = make_context(channels_last=channels_last)
    start_afresh(context)
    parameters = ImageClassification(**context.params)
    dls = loaders_of(context, parameters)
    learn = objective.make_learner(CLASSES, dls, context, parameters)
    convolution = next(m for m in learn.model.modules() if isinstance(m, nn.Conv2d))
    for tensor in (dls.one_batch()[0], convolution.weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last) == channels_last
        assert tensor.is_contiguous() != channels_last


def test_steps_grow_over_both_phases(make_context: MakeContext) -> None:
    pruner = PrunesAt()
    # In half precision, which some CPUs choose, the value is scored once more, in float32
    context = make_context(pruner, precision="fp32", **TWO_PHASES)
    value = train(context.trial, context)
    assert list(reported(context)) == [0, 1, 2, 3]
    assert value == reported(context)[3]
    assert pruner.asked == [0, 1, 2]  # once an epoch, and not after the last
    assert context.trial.user_attrs[attributes.PHASES] == [
        Phase("head", 2, "accuracy", "maximize").stored(0),
        Phase("unfrozen", 2, "accuracy", "maximize").stored(2),
    ]
    times = context.timings.values()
    assert times.keys() == TIMES | {attributes.train_time("unfrozen")}
    epochs = times.pop(attributes.EPOCH_TIMES)
    assert isinstance(epochs, list)
    assert len(epochs) == 4
    assert all(isinstance(seconds, float) and seconds > 0 for seconds in times.values())
    phases = [times[attributes.train_time(phase)] for phase in ("head", "unfrozen")]
    assert sum(phases) == pytest.approx(times[attributes.TRAIN_TIME], rel=1e-3)  # type: ignore[arg-type]
    assert times[attributes.VALIDATION_TIME] < times[attributes.TRAIN_TIME]  # type: ignore[operator]


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_pruned_trial_is_not_trained_further(
    make_context: MakeContext, learners: list[Learner], step: int
) -> None:
    pruner = PrunesAt(step)
    context = make_context(pruner, **TWO_PHASES)
    phase, epoch = ("head", step + 1) if step < 2 else ("unfrozen", step - 1)
    message = f"^pruned after epoch {epoch} of 2 of phase {phase}$"
    with pytest.raises(optuna.TrialPruned, match=message):
        train(context.trial, context)
    assert list(reported(context)) == pruner.asked == list(range(step + 1))
    further = {attributes.train_time("unfrozen")} if step == 2 else set()
    assert context.timings.values().keys() == TIMES | further
    assert optimizer_steps(learners[0]) == [4, 8, 4][step]  # 64 images, 16 a batch


def test_one_seed_gives_the_same_values_twice(make_context: MakeContext) -> None:
    def values(seed: int) -> list[float]:
        context = make_context(epochs=2, pre_trained=False, learning_rate=1e-2)
        context.seed = seed
        # a metric that shows the last bit of a difference
        context.metrics = (Metric("sum", "maximize", lambda _, p: float((p[:, 0] ** 2).sum())),)
        train(context.trial, context)
        return list(reported(context).values())

    first = values(seed=3)
    np.random.rand(7)
    assert values(seed=3) == first
    assert values(seed=4) != first


def test_the_items_scored_are_those_of_the_split(make_context: MakeContext) -> None:
    seen: list[tuple[Targets, Probabilities]] = []

    def score(targets: Targets, probabilities: Probabilities) -> float:
        seen.append((targets, probabilities))
        return 0.0

    context = make_context(epochs=2)
    context.metrics = (Metric("seen", "maximize", score),)
    assert context.data is not None
    train(context.trial, context)
    assert len(seen) == 3  # after each epoch, and when the pass is timed
    for targets, probabilities in seen:
        assert targets.dtype == np.int64
        assert probabilities.dtype == np.float64
        np.testing.assert_array_equal(targets, context.data.targets[context.data.valid])
        assert probabilities.shape == (len(targets), 2)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_loaders_read_the_split_and_nothing_else(make_context: MakeContext) -> None:
    context = make_context()
    data = context.data
    assert data is not None
    dls = loaders_of(context, ImageClassification(**context.params))
    assert list(dls.train_ds.items) == data.train.tolist()
    assert list(dls.valid_ds.items) == data.valid.tolist()
    assert tuple(dls.vocab) == data.classes


def test_a_batch_larger_than_the_data_still_trains(make_context: MakeContext) -> None:
    context = make_context(batch_size=1000)
    learn, parameters = objective.start(CLASSES, context)
    fit_head(learn, context, parameters)
    assert optimizer_steps(learn) == 1


def test_a_model_that_waits_to_be_kept_is_its_weights_alone(
    make_context: MakeContext, learners: list[Learner]
) -> None:
    train((context := make_context(batch_size=32)).trial, context)
    assert context.keep is not None
    assert learners[0].opt is None
    assert all(parameter.grad is None for parameter in learners[0].model.parameters())


def test_the_value_is_that_of_the_predictions(
    make_context: MakeContext, learners: list[Learner]
) -> None:
    context = make_context(epochs=1, unfrozen_epochs=1)
    log_loss = Metric(
        "nll", "minimize", lambda t, p: float(-np.log(p[np.arange(len(t)), t]).mean())
    )
    context.metrics = (log_loss,)
    value = train(context.trial, context)
    probabilities, targets = learners[0].get_preds()
    again = log_loss.score(targets.numpy().astype(np.int64), probabilities.double().numpy())
    assert value == pytest.approx(again, abs=1e-6)


def convolutions(model: nn.Module) -> list[torch.Tensor]:
    return [m.weight.detach().clone() for m in model.modules() if isinstance(m, nn.Conv2d)]


def changed(before: list[torch.Tensor], model: nn.Module) -> list[bool]:
    after = convolutions(model)
    return [not torch.equal(old, new) for old, new in zip(before, after, strict=True)]


def test_only_the_second_phase_trains_the_body(make_context: MakeContext) -> None:
    context = make_context(unfrozen_epochs=1, unfrozen_learning_rate=1e-3)
    parameters = ImageClassification(**context.params)
    start_afresh(context)
    dls = loaders_of(context, parameters)
    learn = objective.make_learner(CLASSES, dls, context, parameters)
    body = convolutions(learn.model[0])
    head = learn.model[1][-1].weight.detach().clone()

    fit_head(learn, context, parameters)
    assert not any(changed(body, learn.model[0]))
    assert not torch.equal(head, learn.model[1][-1].weight)
    fit_unfrozen(learn, context, parameters)
    assert all(changed(body, learn.model[0]))


def test_a_random_body_is_not_frozen(make_context: MakeContext) -> None:
    context = make_context(pre_trained=False)
    parameters = ImageClassification(**context.params)
    dls = loaders_of(context, parameters)
    learn = objective.make_learner(CLASSES, dls, context, parameters)
    body = convolutions(learn.model[0])
    fit_head(learn, context, parameters)
    assert all(changed(body, learn.model[0]))


def test_pre_training_helps(make_context: MakeContext, all_images: LabelledFiles) -> None:
    values = {}
    for pre_trained in (True, False):
        context = make_context(image_size=64, learning_rate=3e-3, pre_trained=pre_trained)
        context.data = all_images
        values[pre_trained] = value_of(context)
    assert values[True] > values[False] + 0.05


@pytest.mark.parametrize("error", [Interrupted(), RuntimeError("CUDA out of memory")])
def test_what_breaks_off_a_batch_comes_through_unharmed(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    context = make_context(pre_trained=False)

    def breaking(*args: Any) -> Any:
        model, splitter = build(*args)

        def break_off(*_: object) -> None:
            raise error

        model[1].register_forward_hook(break_off)
        return model, splitter

    monkeypatch.setattr(objective, "build", breaking)
    with pytest.raises(type(error)) as raised:
        train(context.trial, context)
    assert raised.value is error
    assert not reported(context)


@pytest.mark.parametrize("model", ["squeezenet1_1", "mobilenetv3_small_050"])
def test_models_of_either_library_train(make_context: MakeContext, model: str) -> None:
    context = make_context(model=model, pre_trained=False, image_size=64, unfrozen_epochs=1)
    assert 0 <= value_of(context) <= 1
    assert len(reported(context)) == 2


def test_nothing_is_printed(make_context: MakeContext, capfd: pytest.CaptureFixture[str]) -> None:
    context = make_context(pre_trained=False)
    capfd.readouterr()
    train(context.trial, context)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", True),
        ("epochs", 1.0),
        ("learning_rate", "1e-3"),
        ("image_size", 31),
        ("batch_size", 1),
        ("learning_rate", float("nan")),
        ("mult", 2),
        ("max_lighting", 1),
    ],
)
def test_parameters_are_strict(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        ImageClassification.model_validate({name: value})


def test_an_int_does_for_a_float() -> None:
    assert ImageClassification(learning_rate=1).learning_rate == 1.0


def test_execute_time_is_that_of_one_pass_with_repeats_too(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context(pre_trained=False)
    clock = itertools.count()  # a second passes from one look to the next
    monkeypatch.setattr(training, "perf_counter", lambda: float(next(clock)))
    trained = repeats.run(train, context, 3, compared=False)
    assert len(trained.attrs[attributes.REPEAT_VALUES]) == 3
    times = context.timings.values()
    assert times[attributes.EXECUTE_TIME] == 1.0
    assert context.data is not None
    assert times[attributes.ITEM_TIME_MS] == pytest.approx(1000 / len(context.data.valid))


def test_weights_that_have_gone_since_the_check_are_one_line(make_context: MakeContext) -> None:
    context = make_context(model="resnet18", pre_trained=True)
    start_afresh(context)
    parameters = ImageClassification(**context.params)
    dls = loaders_of(context, parameters)
    with pytest.raises(SpecError, match=r"^model 'resnet18': its weights are no longer in "):
        objective.make_learner(CLASSES, dls, context, parameters)
