"""The parameters of the shipped objectives: names, defaults and bounds; no torch in here."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from hpo_job.data.from_spec import Layout
from hpo_job.spec.metrics import Task

Balance = Literal["none", "class_weights", "sampler"]


class Parameters(BaseModel):
    """The parameters of an objective; ``layout`` and ``task`` are the kind of data it takes.

    Strict: neither a bool nor a string is accepted as a number; an int is accepted as a float.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    layout: ClassVar[Layout] = "images"
    task: ClassVar[Task] = "classification"
    memory: ClassVar[tuple[str, ...]] = ("batch_size",)  # what decides on a trial's memory
    learning_rates: ClassVar[tuple[str, ...]] = ()  # the learning-rate finder suggests these

    batch_size: int = Field(32, ge=2, description="Items in a training step.")
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "auto",
        description="Number format of the computation; auto: half precision where it is faster.",
    )


class Classification(Parameters):
    """The parameters of every objective that predicts classes."""

    balance: Balance = Field(
        "none",
        description="Make rare classes count as much: by weight, or by drawing them as often.",
    )


class ImageModel(Parameters):
    """The parameters that the image objectives share."""

    memory: ClassVar[tuple[str, ...]] = ("batch_size", "image_size", "model")
    learning_rates: ClassVar[tuple[str, ...]] = ("learning_rate", "unfrozen_learning_rate")

    model: str = Field("resnet18", description="Name of a torchvision or timm model.")
    pre_trained: bool = Field(
        True, description="Start from ImageNet weights with a frozen body, not from random ones."
    )
    image_size: int = Field(128, ge=32, description="Side of the square image, in pixels.")
    epochs: int = Field(1, ge=1, description="Epochs of the first phase.")
    learning_rate: float = Field(
        2e-3, gt=0, description="Highest learning rate of the first phase's one-cycle."
    )
    unfrozen_epochs: int = Field(
        0, ge=0, description="Epochs of the second phase, with every layer trained."
    )
    unfrozen_learning_rate: float = Field(
        1e-4, gt=0, description="Highest learning rate of the second phase's one-cycle."
    )
    channels_last: bool = Field(
        True, description="Keep images in the memory format in which convolutions are fastest."
    )
    compile: bool = Field(
        False, description="Generate faster code for the model (torch.compile); for long trials."
    )
    apply_tfms: bool = Field(
        False, description="Change training images at random (fastai's aug_transforms)."
    )
    mult: float = Field(
        1.0, ge=0, le=1, description="Multiplies max_rotate, max_lighting and max_warp."
    )
    do_flip: bool = Field(True, description="Mirror half of the images.")
    flip_vert: bool = Field(False, description="Also turn them upside down and by 90 degrees.")
    max_rotate: float = Field(10.0, ge=0, le=180, description="Largest rotation, in degrees.")
    max_zoom: float = Field(
        1.1, gt=0, le=10, description="Largest enlargement factor; below 1, images are shrunk."
    )
    max_lighting: float = Field(
        0.2, ge=0, lt=1, description="Largest change of brightness and contrast."
    )
    max_warp: float = Field(0.2, ge=0, le=1, description="Largest change of perspective.")


class ImageClassification(ImageModel, Classification):
    """The parameters of the objective ``image_classification``."""


class ImageMultilabel(ImageModel):
    """The parameters of the objective ``image_multilabel``: several labels an image, or none."""

    task: ClassVar[Task] = "multilabel"

    balance: Literal["none", "class_weights"] = Field(
        "none", description="Make rare labels count as much, by their weight in the loss."
    )
    threshold: float = Field(
        0.5, gt=0, lt=1, description="Labels with a probability above it are predicted."
    )


class ImageRegression(ImageModel):
    """The parameters of the objective ``image_regression``: a number for each image."""

    task: ClassVar[Task] = "regression"


class Tabular(Parameters):
    """The parameters that the tabular objectives share."""

    layout: ClassVar[Layout] = "table"
    memory: ClassVar[tuple[str, ...]] = ("batch_size", "units", "layers", "embed_factor")
    learning_rates: ClassVar[tuple[str, ...]] = ("learning_rate",)

    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "fp32", description="Number format of the computation; small models gain nothing from less."
    )
    epochs: int = Field(5, ge=1, description="Epochs of the one-cycle.")
    learning_rate: float = Field(1e-2, gt=0, description="Highest learning rate of the one-cycle.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of every layer.")
    layers: int = Field(2, ge=1, le=10, description="Hidden layers.")
    units: int = Field(200, ge=1, description="Units of the first hidden layer.")
    halving: bool = Field(
        True,
        description="Each hidden layer has half the units of the one before; if false, the same.",
    )
    ps: float = Field(0.0, ge=0, lt=1, description="Dropout after each hidden layer.")
    embed_p: float = Field(0.0, ge=0, lt=1, description="Dropout of the embeddings of categories.")
    embed_factor: float = Field(
        1.0, gt=0, description="Size of the embeddings, as a multiple of fastai's rule of thumb."
    )


class TabularClassification(Tabular, Classification):
    """The parameters of the objective ``tabular_classification``."""


class TabularRegression(Tabular):
    """The parameters of the objective ``tabular_regression``."""

    task: ClassVar[Task] = "regression"


class TextClassification(Classification):
    """The parameters of the objective ``text_classification``: ULMFiT."""

    layout: ClassVar[Layout] = "text"
    memory: ClassVar[tuple[str, ...]] = ("batch_size", "bptt", "max_tokens", "n_hid", "max_vocab")
    learning_rates: ClassVar[tuple[str, ...]] = (
        "learning_rate_frozen",
        "learning_rate_unfrozen",
        "learning_rate_classifier",
    )

    pre_trained: bool = Field(
        True, description="Start from a language model of Wikipedia, not from random weights."
    )
    emb_sz: int = Field(400, ge=1, description="Size of the embedding of a token.")
    n_hid: int = Field(1152, ge=1, description="Width of the hidden LSTM layers.")
    n_layers: int = Field(3, ge=1, description="LSTM layers.")
    max_vocab: int = Field(60000, ge=16, description="Largest number of tokens in the vocabulary.")
    min_freq: int = Field(
        3, ge=1, description="Rarer tokens of the training texts are left out of it."
    )
    max_tokens: int = Field(1440, ge=8, description="Tokens read of each text, from its beginning.")
    bptt: int = Field(72, ge=4, description="Tokens per step of back-propagation through time.")
    drop_mult: float = Field(
        0.5,
        ge=0,
        le=2,
        description="Multiplies all dropouts but that of the classifier's hidden layer (0.1).",
    )
    head_epochs: int = Field(
        1, ge=0, description="Epochs of the language model; a pre-trained one is frozen."
    )
    learning_rate_frozen: float = Field(
        2e-2, gt=0, description="Highest learning rate of that phase's one-cycle."
    )
    lm_body_epochs: int = Field(1, ge=0, description="Epochs of the unfrozen language model.")
    learning_rate_unfrozen: float = Field(
        2e-3, gt=0, description="Highest learning rate of that phase's one-cycle."
    )
    classifier_epochs: int = Field(4, ge=1, description="Epochs of the classifier.")
    learning_rate_classifier: float = Field(
        1e-2, gt=0, description="Highest learning rate of the classifier's head."
    )
    gradual_unfreezing: bool = Field(
        True, description="Train the head first, and one layer more in each epoch."
    )
    layer_decay: float = Field(
        2.6,
        ge=1,
        le=100,
        description="Factor by which each layer learns slower than the next one.",
    )
