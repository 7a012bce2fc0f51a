"""The second half of ULMFiT: a classifier takes over the encoder of a language model."""

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
    """A classifier with random weights, for the loaders of `classifier_loaders` or `new_texts`."""
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
    """Run the last phase, scored by the study's own metric."""
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
    """The stages of training, each as (number of layer groups from the last on, epochs).

    Gradual unfreezing spends an epoch on the head, one on the head and the last layer, and so
    on; the remaining epochs train everything. Without it there is one stage.
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
    """Unfreeze the last ``layers`` layer groups, and freeze the others."""
    learn.freeze_to(-layers)
