"""What the shipped objectives can be tuned by: names, defaults and bounds, without torch."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from hpo_job.data.from_spec import Layout
from hpo_job.spec.metrics import Task

Balance = Literal["none", "class_weights", "sampler"]


class Parameters(BaseModel):
    """The parameters of an objective; ``layout`` and ``task`` say what data it is for.

    Strict: a bool is not a number and a string is not either; an int does for a float.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    layout: ClassVar[Layout] = "images"
    task: ClassVar[Task] = "classification"
    learning_rates: ClassVar[tuple[str, ...]] = ()  # those that the finder can suggest

    batch_size: int = Field(32, ge=2, description="Items a training step sees.")
    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "auto", description="What the model computes in; auto: half precision where it is quick."
    )


class Classification(Parameters):
    """What every objective that tells classes apart can be tuned by."""

    balance: Balance = Field(
        "none", description="Make rare classes count as much: by their weight, or drawn as often."
    )


class ImageClassification(Classification):
    """The parameters of the objective ``image_classification``."""

    learning_rates: ClassVar[tuple[str, ...]] = ("learning_rate", "unfrozen_learning_rate")

    model: str = Field("resnet18", description="Name of a torchvision or timm model.")
    pre_trained: bool = Field(
        True, description="Start from ImageNet weights, the body frozen, rather than at random."
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
        True, description="Keep images in the memory format that convolutions are quickest in."
    )
    apply_tfms: bool = Field(
        False, description="Change training images at random: fastai's aug_transforms."
    )
    mult: float = Field(
        1.0, ge=0, le=1, description="Multiplies max_rotate, max_lighting and max_warp."
    )
    do_flip: bool = Field(True, description="Mirror half of the images.")
    flip_vert: bool = Field(False, description="Also upside down, and turned by 90 degrees.")
    max_rotate: float = Field(10.0, ge=0, le=180, description="Degrees to turn by, at most.")
    max_zoom: float = Field(
        1.1, gt=0, le=10, description="Enlarge up to so many times; below 1, shrink."
    )
    max_lighting: float = Field(
        0.2, ge=0, lt=1, description="Change of brightness and contrast, at most."
    )
    max_warp: float = Field(0.2, ge=0, le=1, description="Change of perspective, at most.")


class Tabular(Parameters):
    """What the tabular objectives have in common."""

    layout: ClassVar[Layout] = "table"
    learning_rates: ClassVar[tuple[str, ...]] = ("learning_rate",)

    precision: Literal["auto", "fp32", "fp16", "bf16"] = Field(
        "fp32", description="What the model computes in; a small one gains nothing by less."
    )
    epochs: int = Field(5, ge=1, description="Epochs of the one-cycle.")
    learning_rate: float = Field(1e-2, gt=0, description="Highest learning rate of the one-cycle.")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of every layer.")
    layers: int = Field(2, ge=1, le=10, description="Hidden layers.")
    units: int = Field(200, ge=1, description="Units of the first hidden layer.")
    halving: bool = Field(
        True, description="Each hidden layer has half the units of the one before; else as many."
    )
    ps: float = Field(0.0, ge=0, lt=1, description="Dropout after each hidden layer.")
    embed_p: float = Field(0.0, ge=0, lt=1, description="Dropout of the categories' embeddings.")
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
    learning_rates: ClassVar[tuple[str, ...]] = (
        "learning_rate_frozen",
        "learning_rate_unfrozen",
        "learning_rate_classifier",
    )

    pre_trained: bool = Field(
        True, description="Start from a language model of Wikipedia, rather than at random."
    )
    emb_sz: int = Field(400, ge=1, description="Numbers that a token is embedded in.")
    n_hid: int = Field(1152, ge=1, description="Width of the LSTM layers between.")
    n_layers: int = Field(3, ge=1, description="LSTM layers.")
    max_vocab: int = Field(60000, ge=16, description="Tokens in the vocabulary, at most.")
    min_freq: int = Field(3, ge=1, description="Times that a token of it is in the training texts.")
    max_tokens: int = Field(
        1440, ge=8, description="Tokens of a text that are read, from its beginning."
    )
    bptt: int = Field(72, ge=4, description="Tokens that are read, and learnt from, at a time.")
    drop_mult: float = Field(0.5, ge=0, le=2, description="Multiplies every dropout.")
    head_epochs: int = Field(
        1, ge=0, description="Epochs of the language model, a pre-trained one frozen."
    )
    learning_rate_frozen: float = Field(
        2e-2, gt=0, description="Highest learning rate of that phase's one-cycle."
    )
    lm_body_epochs: int = Field(1, ge=0, description="Epochs of the language model, unfrozen.")
    learning_rate_unfrozen: float = Field(
        2e-3, gt=0, description="Highest learning rate of that phase's one-cycle."
    )
    classifier_epochs: int = Field(4, ge=1, description="Epochs of the classifier.")
    learning_rate_classifier: float = Field(
        1e-2, gt=0, description="Highest learning rate of its head."
    )
    gradual_unfreezing: bool = Field(
        True, description="Train its head first, then with each epoch one layer more."
    )
    layer_decay: float = Field(
        2.6,
        ge=1,
        le=100,
        description="How many times slower each of its layers learns than the next.",
    )
