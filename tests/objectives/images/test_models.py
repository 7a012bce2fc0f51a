"""Models train at the sizes that are searched, or are refused with the sizes they take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from hpo_job.errors import SpecError
from hpo_job.objectives.images import trying
from hpo_job.objectives.images.models import build
from hpo_job.objectives.images.trying import try_step


@pytest.mark.parametrize("size", [64, 96])
@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_a_model_of_one_size_is_built_for_the_size_that_is_searched(model: str, size: int) -> None:
    try_step(model, None, size, None)


def test_channels_that_come_last_are_pooled_as_channels() -> None:
    model: Any = build("swin_tiny_patch4_window7_224", 3, None, 64)[0]
    body = model[0].eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        maps = body.model.forward_features(images)
        assert maps.shape == (2, 2, 2, 768)
        torch.testing.assert_close(body(images), maps.permute(0, 3, 1, 2), rtol=0, atol=0)
    assert model[1][-1].out_features == 3


def test_a_size_that_cannot_be_is_refused_with_those_that_can() -> None:
    with pytest.raises(SpecError) as raised:
        try_step("maxvit_rmlp_nano_rw_256", None, 100, None)
    line = str(raised.value)
    assert line.startswith("image_size: model 'maxvit_rmlp_nano_rw_256' cannot take 100 px (")
    assert "; it takes 32, 64, 96, 128" in line


def test_what_was_tried_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.random.get_rng_state()
    try_step("squeezenet1_1", None, 32, tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)

    def never(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(trying, "build", never)
    try_step("squeezenet1_1", None, 32, tmp_path)
    with pytest.raises(AssertionError, match="built again"):
        try_step("squeezenet1_1", None, 64, tmp_path)


def test_check_tries_both_ends_of_the_sizes(
    job: Callable[..., Path], image_folder: Path, refused: Callable[..., str]
) -> None:
    folder = job(
        objective="image_classification",
        metric="accuracy",
        direction="maximize",
        data={"path": str(image_folder), "valid_pct": 0.25},
        search_space={
            "model": "maxvit_rmlp_nano_rw_256",
            "pre_trained": False,
            "image_size": {"type": "int", "low": 100, "high": 128},
        },
    )
    line = refused("check", folder)
    assert "study.toml: search_space: image_size: model 'maxvit_rmlp_nano_rw_256' cannot" in line


FAMILIES = (
    *("test_resnet.r160_in1k", "test_vit.r160_in1k", "test_convnext.r160_in1k"),
    *("beit_base_patch16_224", "cait_xxs24_224", "coat_tiny", "convit_tiny", "crossvit_9_240"),
    *("deit_tiny_distilled_patch16_224", "edgenext_xx_small", "efficientformer_l1"),
    *("efficientvit_b0", "fastvit_t8", "focalnet_tiny_srf", "gcvit_xxtiny", "ghostnet_050"),
    *("hiera_tiny_224", "levit_128s", "mambaout_femto", "maxvit_pico_rw_256", "mixer_s32_224"),
    *("mobilevit_xxs", "mvitv2_tiny", "nest_tiny", "pit_ti_224", "poolformer_s12"),
    *("pvt_v2_b0", "regnety_002", "rexnet_100", "swinv2_tiny_window8_256", "tiny_vit_5m_224"),
    *("twins_svt_small", "visformer_tiny", "volo_d1_224", "xcit_nano_12_p16_224"),
    *("lambda_resnet50ts", "test_byobnet", "cpubone_nano", "csatv2", "cs3darknet_focus_s"),
    *("cspnext_tiny", "davit_tiny", "densenet121", "dla60x", "dpn68", "efficientformerv2_s0"),
    *("test_efficientnet", "efficientvim_m1", "efficientvit_m0", "vit_tiny_patch16_dinov3_qkvb"),
    *("fasternet_t0", "hardcorenas_b", "hgnetv2_b0", "hrnet_w18_small", "iformer_t"),
    *("inception_next_atto", "inception_v4", "lcnetv2_small", "lowformer_b0"),
    *("mobilenetv3_small_050", "nextvit_small", "test_nfnet", "rdnet_tiny", "repghostnet_050"),
    *("repvit_m1", "res2next50", "resnest14d", "resnetv2_18", "selecsls42", "legacy_seresnet18"),
    *("sequencer2d_s", "shvit_s1", "skresnet18", "starnet_s1", "swiftformer_xs"),
    *("swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224", "tnt_s_legacy_patch16_224"),
    *("tresnet_m", "vit_tiny_r_s16_p8_224", "test_vit_relpos", "vitamin_small_224"),
    *("ese_vovnet19b_slim_dw", "legacy_xception", "xception41p"),
)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, len(FAMILIES), 12))
def test_a_model_of_each_family_trains_a_step_at_its_own_size(first: int) -> None:
    """The smallest of each family of timm that has one of fewer than 80 million weights."""
    for name in FAMILIES[first : first + 12]:
        published = timm.get_pretrained_cfg(name)
        size = max(published.input_size[1:]) if published else 224
        try_step(name, None, size, None)
