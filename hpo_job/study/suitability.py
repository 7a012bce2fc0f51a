"""Whether a study's sampler, pruner and budget suit its search space, and its model its texts."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection

from hpo_job import objectives
from hpo_job.data.english import USUAL, share_english
from hpo_job.data.language import language_of
from hpo_job.data.language_models import ENGLISH
from hpo_job.data.tables import LabelledRows
from hpo_job.errors import plural
from hpo_job.spec import search_space
from hpo_job.spec.combinations import EXHAUSTIVE
from hpo_job.spec.search_space import Float
from hpo_job.spec.study_toml import StudySpec
from hpo_job.study.samplers import make_sampler

if TYPE_CHECKING:
    from hpo_job.data.from_spec import Labelled

PROBES = 12  # finished trials that a sampler is tried with: more than it takes to start sampling
# Samplers that search only some kinds of parameters; they sample the others independently
PARTIAL = ("CmaEsSampler", "GPSampler", "QMCSampler")


def require_suitable_sampler(spec: StudySpec) -> tuple[str, ...]:
    """Let the study's sampler suggest a trial of a made-up study with the same search space.

    Returns:
        The searched parameters that the sampler leaves to independent sampling.

    Raises:
        SpecError: it cannot do that, such as CmaEsSampler with several metrics.
    """
    name = _inner_name(spec)
    if name == "GPSampler" and importlib.util.find_spec("torch") is None:
        raise spec.error("sampler.name", "GPSampler needs torch; install hpo-job[fastai]")
    sampler = make_sampler(spec, PROBES)
    try:
        with _silence():
            study = _probe(spec)
            ignored = _sampled_independently(spec, study, sampler)
            if name != "GPSampler":  # it takes seconds, and can do any search space
                study.sampler = sampler
                _suggest(spec, study.ask())
    except (ValueError, NotImplementedError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise spec.error("sampler.name", f"{name} cannot search this study: {text}") from error
    return ignored if name in PARTIAL else ()


def cautions(spec: StudySpec, independent: tuple[str, ...]) -> Iterator[str]:
    """What in this study has no effect or not the expected one, a line each.

    Args:
        spec: the study's.
        independent: what `require_suitable_sampler` returned.
    """
    if independent:
        yield (
            f"{_inner_name(spec)} does not search {', '.join(independent)}: it searches "
            f"{_SEARCHES[_inner_name(spec)]} that every trial has, and draws the others "
            "independently of all results; TPESampler searches all of them"
        )
    trials, count = spec.budget.trials, search_space.size(spec.search_space)
    if trials and spec.search_space and math.isfinite(count) and trials > count:
        exhaustive = spec.sampler.name in EXHAUSTIVE
        only = plural(int(count), "combination is", "combinations are")
        yield f"budget.trials is {trials}, but only {only} possible: " + (
            "the study ends when all have been tried"
            if exhaustive
            else "some will be tried repeatedly; GridSampler tries each once"
        )
    if spec.pruner.name == "WilcoxonPruner" and spec.budget.repeats == 1:
        yield (
            "WilcoxonPruner compares the repeats of two trials, and budget.repeats is 1: set "
            "repeats to 5 or more, or use another pruner"
        )
    if len(spec.directions) > 1 and spec.pruner.name != "NopPruner":
        yield f"{spec.pruner.name} has no effect: with several metrics nothing is pruned"


_SEARCHES = {
    "CmaEsSampler": "two or more numbers",
    "GPSampler": "parameters",
    "QMCSampler": "parameters",
}


@contextmanager
def _silence() -> Iterator[None]:
    """Without Optuna's warnings and log lines, which are about a study that is not the user's."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _inner_name(spec: StudySpec) -> str:
    """The sampler that suggests: of a PartialFixedSampler, its base sampler."""
    component = spec.sampler
    if component.name == "PartialFixedSampler":
        return str(component.options["base_sampler"]["name"])
    return component.name


def _probe(spec: StudySpec) -> optuna.Study:
    """A study in memory with the search space of ``spec``, and some finished trials."""
    storage = InMemoryStorage()
    directions = [StudyDirection[direction.upper()] for direction in spec.directions]
    storage.create_new_study(directions, study_name="probe")
    study = optuna.load_study(study_name="probe", storage=storage, sampler=RandomSampler(0))
    for number in range(PROBES):
        trial = study.ask()
        _suggest(spec, trial)
        study.tell(trial, [float(number % 5 + objective) for objective in range(len(directions))])
    return study


def _suggest(spec: StudySpec, trial: optuna.Trial) -> None:
    space = spec.search_space
    if not search_space.searched(space):  # a function that suggests by itself
        space = {name: Float(type="float", low=0, high=1) for name in ("x", "y")}
    search_space.suggest(trial, space)


def _sampled_independently(
    spec: StudySpec, study: optuna.Study, sampler: BaseSampler
) -> tuple[str, ...]:
    """The searched parameters that are not part of the sampler's joint search space."""
    joint = sampler.infer_relative_search_space(study, study.get_trials(deepcopy=False)[-1])
    if _inner_name(spec) == "CmaEsSampler" and len(joint) == 1:
        joint = {}  # it needs two dimensions
    names = search_space.searched(spec.search_space)
    if _inner_name(spec) == "QMCSampler":  # its sequence has what the first trial happened to have
        joint = {name: joint[name] for name in joint if not names[name].when}
    fixed = spec.sampler.options.get("fixed_params", {})
    return tuple(name for name in names if name not in joint and name not in fixed)


def of_language(spec: StudySpec, data: Labelled | None) -> Iterator[str]:
    """A line where texts are in another language than the model is."""
    if not isinstance(data, LabelledRows) or data.text is None:
        return
    texts, language = data.frame[data.text], data.language_model.language
    pre_trained = True in objectives.candidates(spec, "pre_trained")
    guess = language_of(texts)
    if language != ENGLISH:
        if guess is not None and guess.code != language:
            what = "tokenizer and language model are" if pre_trained else "tokenizer is"
            yield (
                f"text {data.text!r} looks {guess.name}, and [data] language is {language!r}, as "
                f"{what}: correct one of them"
            )
        return
    share = share_english(texts)
    if pre_trained and share is not None and share < USUAL:
        yield (
            f"text {data.text!r} does not look English ({share:.0%} of the words are frequent "
            "English ones, of English prose about 25%), and the pre-trained language model is: "
            "compare it with pre_trained = false"
        )
    if guess is not None and guess.code != ENGLISH and not (spec.data and spec.data.language):
        yield (
            f"text {data.text!r} looks {guess.name}, and is split into words by English rules: "
            f"set [data] language = {guess.code!r}"
        )
