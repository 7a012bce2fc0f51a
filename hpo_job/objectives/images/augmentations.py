"""Random changes of training images, in fastai's words."""

from __future__ import annotations

from fastai.vision.augment import Dihedral, RandTransform, aug_transforms

from hpo_job.objectives.parameters import ImageModel

UPSIDE_DOWN = 2  # its number among fastai's eight symmetries


def augmentations(parameters: ImageModel) -> list[RandTransform]:
    """Random changes of the training images; validation images stay as they are."""
    if not parameters.apply_tfms:
        return []
    upside_down = parameters.flip_vert and not parameters.do_flip  # fastai would do nothing
    tfms: list[RandTransform] = aug_transforms(
        mult=parameters.mult,
        do_flip=parameters.do_flip,
        flip_vert=parameters.flip_vert,
        max_rotate=parameters.max_rotate,
        # fastai does nothing either with a max_zoom below 1 and its min_zoom of 1
        min_zoom=min(1.0, parameters.max_zoom),
        max_zoom=max(1.0, parameters.max_zoom),
        max_lighting=parameters.max_lighting,
        max_warp=parameters.max_warp,
        xtra_tfms=[Dihedral(p=0.5, draw=UPSIDE_DOWN)] if upside_down else None,
    )
    return tfms
