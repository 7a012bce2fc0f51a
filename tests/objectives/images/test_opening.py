"""Images are opened in the same way for training, for predictions and by an export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hpo_job.data.images import read_image_folder
from hpo_job.objectives.context import Context
from hpo_job.objectives.image_classification import rebuild, train
from hpo_job.spec.study_toml import Data


def test_16_bit_images_reach_the_model_as_bright_as_they_are(
    make_context: Callable[..., Context], tmp_path: Path
) -> None:
    """Bright and dark 16-bit images: read as 8 bits, or scaled one by one, all are alike."""
    for label, value in (("dark", 8000), ("bright", 40000)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(8):
            noise = np.random.default_rng(number).integers(0, 2000, (40, 40))
            image = Image.fromarray((value + noise).astype(np.uint16))
            image.save(tmp_path / "data" / label / f"{number}.png")
    context = make_context(model="xresnet18", pre_trained=False, epochs=1, image_size=32)
    context.data = data = read_image_folder(tmp_path / "data", Data(path="-", valid_pct=0.25), 1)
    train(context.trial, context)
    assert context.keep is not None
    context.keep(tmp_path)
    learn = rebuild(tmp_path)
    files = [data.root / data.files[position] for position in data.valid]
    batches = [batch[0].as_subclass(torch.Tensor) for batch in learn.dls.test_dl(files)]
    bright = torch.cat(batches).float().mean(dim=(1, 2, 3)).cpu()
    expected = torch.tensor([data.labels[position] == "bright" for position in data.valid])
    assert ((bright > 0) == expected).all()
