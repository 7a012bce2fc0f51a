"""The second half of ULMFiT: a classifier takes a language model's encoder over, and is trained."""

from __future__ import annotations

from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.text.learner import text_classifier_learner
from fastai.text.models.awdlstm import AWD_LSTM

from hpo_job.objectives.context import Context
from hpo_job.objectives.parameters import TextClassification
from hpo_job.objectives.text.language_model import sizes
from hpo_job.objectives.text.loaders import Reader
from hpo_job.objectives.training import fit
from hpo_job.trial.phases import Phase

CLASSIFIER = "classifier"


def classifier(
    dls: DataLoaders,
    parameters: TextClassification,
    reader: Reader,
    loss: CrossEntropyLossFlat | None = None,
) -> Learner:
    """A classifier with random weights, for what `classifier_loaders` or `new_texts` gave."""
    return text_classifier_learner(
        dls,
        AWD_LSTM,
        seq_len=reader.bptt,
        config=sizes(parameters),
        pretrained=False,  # the encoder comes from a language model of this trial
        drop_mult=parameters.drop_mult,
        max_len=None,  # the loaders have cut the texts
        loss_func=loss or CrossEntropyLossFlat(),
    )


def fit_classifier(learn: Learner, context: Context, parameters: TextClassification) -> None:
    """The last phase, scored by the study's own metric."""
    metric = context.scored
    epochs = parameters.classifier_epochs

    def run() -> None:
        for stage, (layers, count) in enumerate(stages(parameters)):
            thaw(learn, layers)
            highest = parameters.learning_rate_classifier / 2**stage
            lowest = highest / parameters.layer_decay ** (groups(parameters) - 1)
            learn.fit_one_cycle(count, slice(lowest, highest))

    fit(learn, context, Phase(CLASSIFIER, epochs, metric.name, metric.direction, final=True), run)


def stages(parameters: TextClassification) -> list[tuple[int, int]]:
    """How the classifier is trained: (layer groups from the last on, epochs), one after another.

    Gradual unfreezing gives an epoch to the head, one to the head and the last layer, and so
    on; when all is unfrozen, the rest of the epochs goes there. Otherwise all is trained at once.
    """
    epochs = parameters.classifier_epochs
    if not parameters.gradual_unfreezing:
        return [(groups(parameters), epochs)]
    single = [(count, 1) for count in range(1, min(epochs, groups(parameters)))]
    return [*single, (len(single) + 1, epochs - len(single))]


def groups(parameters: TextClassification) -> int:
    """Layer groups of the classifier: the embedding, each LSTM layer, and the head."""
    return parameters.n_layers + 2


def thaw(learn: Learner, layers: int) -> None:
    """Train the last ``layers`` layer groups, and no others."""
    learn.freeze_to(-layers)
