"""The augmentations reach the batches: looked for in the pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hpo_job.data.images import LabelledFiles
from hpo_job.objectives.context import Context
from hpo_job.objectives.images.loaders import image_loaders
from hpo_job.objectives.parameters import ImageClassification
from hpo_job.objectives.training import start_afresh

MakeContext = Callable[..., Context]
NONE: dict[str, Any] = {
    "apply_tfms": True,
    "do_flip": False,
    "flip_vert": False,
    "max_rotate": 0.0,
    "max_zoom": 1.0,
    "max_lighting": 0.0,
    "max_warp": 0.0,
}


def batch(make_context: MakeContext, *, train: bool = True, **params: object) -> torch.Tensor:
    """The first batch of the study's images, in their order, as a model would see it."""
    context = make_context(image_size=64, batch_size=32, **params)
    start_afresh(context)
    assert isinstance(context.data, LabelledFiles)
    dls = image_loaders(context.data, context, ImageClassification(**context.params))
    loader = dls.train if train else dls.valid
    # the training loader's transforms on items in their order: 0 is fastai's training split
    loader.shuffle = False
    images: torch.Tensor = loader.one_batch()[0]
    return torch.Tensor(images)


@pytest.mark.parametrize(
    "augmentation",
    [
        {"do_flip": True},
        {"flip_vert": True},
        {"do_flip": True, "flip_vert": True},
        {"max_rotate": 90.0},
        {"max_zoom": 3.0},
        {"max_zoom": 0.5},
        {"max_lighting": 0.9},
        {"max_warp": 0.5},
    ],
    ids=lambda augmentation: "-".join(augmentation),
)
def test_each_changes_training_images_and_no_other(
    make_context: MakeContext, augmentation: dict[str, Any]
) -> None:
    plain = batch(make_context)
    changed = batch(make_context, **NONE | augmentation)
    moved = (plain - changed).abs().amax(dim=(1, 2, 3)) > 0.1
    assert 8 <= int(moved.sum()) <= len(plain)  # half of 32 or three quarters, by chance
    assert torch.isfinite(changed).all()
    valid = batch(make_context, train=False)
    torch.testing.assert_close(
        batch(make_context, train=False, **NONE | augmentation), valid, rtol=0, atol=1e-4
    )


def test_none_of_them_changes_nothing(make_context: MakeContext) -> None:
    plain = batch(make_context)
    torch.testing.assert_close(batch(make_context, **NONE), plain, rtol=0, atol=1e-4)
    everything: dict[str, Any] = {"apply_tfms": False, "max_rotate": 180.0, "max_lighting": 0.9}
    torch.testing.assert_close(batch(make_context, **everything), plain, rtol=0, atol=0)


def test_mult_multiplies(make_context: MakeContext) -> None:
    plain = batch(make_context)
    strong, weak, none = (
        (batch(make_context, **NONE | {"max_lighting": 0.5, "mult": mult}) - plain).abs().mean()
        for mult in (1.0, 0.2, 0.0)
    )
    assert strong > 2 * weak > 0
    assert none < 1e-4


def test_upside_down_is_upside_down(make_context: MakeContext) -> None:
    plain = batch(make_context)
    turned = batch(make_context, **NONE | {"flip_vert": True})
    upright = (plain - turned).abs().amax(dim=(1, 2, 3)) < 0.05
    flipped = (plain.flip(2) - turned).abs().amax(dim=(1, 2, 3)) < 0.05
    assert (upright | flipped).all()
    assert flipped.any()


def test_more_lighting_than_fastai_can_is_refused(few: LabelledFiles) -> None:
    with pytest.raises(ValueError, match="max_lighting"):
        ImageClassification(max_lighting=1.0)
