"""Where pre-trained weights come from, and that it is those weights a model starts with."""

from __future__ import annotations

import errno
import socket
import ssl
import time
from http.client import IncompleteRead
from pathlib import Path

import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet
from safetensors.torch import save_file

from hpo_job.errors import FetchError, SpecError
from hpo_job.objectives import downloads
from hpo_job.objectives.candidates import Candidates
from hpo_job.objectives.image_classification import check
from hpo_job.objectives.images import weights
from hpo_job.objectives.images.models import build, check_known
from hpo_job.objectives.images.weights import find, load, obtain, renamed
from tests.web import answering

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every download goes to a port of this machine where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{port}")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    _asks_anew(monkeypatch)


def _asks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's urllib keeps the proxies that it has found first."""
    monkeypatch.setattr("urllib.request._opener", None)


@pytest.mark.parametrize("size", [64, 224])
def test_converted_weights_give_the_logits_of_their_own_implementation(
    tmp_path: Path, size: int
) -> None:
    file = obtain(LITE0, tmp_path)
    theirs = EfficientNet.from_name("efficientnet-lite0")
    theirs.load_state_dict(load(file))
    ours = timm.create_model(LITE0)
    ours.load_state_dict(renamed(load(file), ours.state_dict()))
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images), theirs.eval()(images), rtol=0, atol=1e-4)


def test_a_file_in_the_folder_goes_before_the_package(tmp_path: Path) -> None:
    packaged = find(LITE0, tmp_path)
    assert packaged is not None
    assert packaged.parent != tmp_path
    local = tmp_path / f"{LITE0}.pth"
    local.write_bytes(packaged.read_bytes())
    assert find(LITE0, tmp_path) == obtain(LITE0, tmp_path) == local


def test_an_images_own_weights_go_before_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baked, folder = tmp_path / "baked/resnet18.pth", tmp_path / "cache"
    baked.parent.mkdir()
    baked.touch()
    assert find("resnet18", folder) is None
    monkeypatch.setenv("HPO_JOB_BAKED_WEIGHTS", str(baked.parent))
    assert obtain("resnet18", folder) == baked
    assert not folder.exists()


@pytest.mark.parametrize(
    "name", ["resnet18.pth", "resnet18.pt", "resnet18.safetensors", "resnet18-f37072fd.pth"]
)
def test_file_names_looked_for(tmp_path: Path, name: str) -> None:
    assert find("resnet18", tmp_path) is None
    (tmp_path / name).touch()
    assert find("resnet18", tmp_path) == tmp_path / name


def test_the_hubs_common_file_name_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert find("resnet18d", tmp_path) is None


@pytest.mark.parametrize(
    ("model", "layer", "suffix"),
    [
        ("squeezenet1_1", "features.0.weight", ".pth"),  # torchvision
        ("densenet121", "features.conv0.weight", ".pth"),
        ("mobilenetv3_small_050", "conv_stem.weight", ".safetensors"),  # timm
    ],
)
def test_weights_in_the_folder_are_those_a_model_starts_with(
    tmp_path: Path, model: str, layer: str, suffix: str
) -> None:
    from torchvision import models

    make = models.get_model if weights.is_torchvision(model) else timm.create_model
    state = make(model).state_dict()
    assert layer in state
    file = tmp_path / (model + suffix)
    save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    built, _ = build(model, 3, obtain(model, tmp_path), 64)
    assert any(torch.equal(state[layer], tensor) for tensor in built[0].state_dict().values())
    random, _ = build(model, 3, None, 64)
    assert not any(torch.equal(state[layer], t) for t in random[0].state_dict().values())


def test_densenets_older_names_are_understood() -> None:
    old = {"features.denseblock1.denselayer1.norm.1.weight": torch.ones(1)}
    assert list(renamed(old, [])) == ["features.denseblock1.denselayer1.norm1.weight"]


def test_layers_in_another_order_are_refused() -> None:
    state = {"_conv_stem.weight": torch.ones(1), "_bn0.bias": torch.ones(1)}
    with pytest.raises(ValueError, match=r"^_bn0\.bias does not correspond to bn1\.weight$"):
        renamed(state, ["conv_stem.weight", "bn1.weight"])


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("model", ["resnet18", "resnet18d"])
def test_no_weights_and_no_network_is_one_quick_line(
    tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with pytest.raises(FetchError) as raised:
        check(
            Candidates(
                {
                    "model": [LITE0, model],
                    "image_size": [64],
                    "pre_trained": [True],
                    "precision": ["auto"],
                },
                tmp_path / "weights",
            )
        )
    assert sum(pauses) < 30
    text = str(raised.value)
    assert "\n" not in text
    for part in (repr(model), str(tmp_path / "weights"), f"{model}.pth", "pre_trained = false"):
        assert part in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]


@pytest.mark.needs("no-root")
@pytest.mark.usefixtures("no_network")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SpecError, match="Permission denied"):
        obtain("resnet18", tmp_path)


@pytest.mark.usefixtures("no_network")
def test_weights_are_not_asked_for_where_no_trial_needs_them(tmp_path: Path) -> None:
    check(
        Candidates(
            {
                "model": ["squeezenet1_1"],
                "image_size": [64],
                "pre_trained": [False],
                "precision": ["auto"],
            },
            tmp_path / "weights",
        )
    )
    assert not (tmp_path / "weights").exists()


def test_a_download_arrives_whole_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source.pth"
    torch.save({"layer": torch.ones(2)}, source)
    monkeypatch.setattr(weights, "_urls", lambda _: [source.as_uri()])
    file = obtain("resnet18", tmp_path / "weights")
    assert file == tmp_path / "weights" / "resnet18.pth"
    assert file.read_bytes() == source.read_bytes()
    assert {p.name for p in file.parent.iterdir()} == {"resnet18.pth", ".resnet18.pth.lock"}


@pytest.mark.parametrize(
    ("status", "error"), [(404, SpecError), (429, FetchError), (503, FetchError)]
)
def test_which_downloads_may_succeed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, error: type[Exception]
) -> None:
    """A worker that ends with another exit code than 2 is started again."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    _asks_anew(monkeypatch)
    with answering(status) as url:
        monkeypatch.setattr(weights, "_urls", lambda _: [f"{url}/resnet18.pth"])
        with pytest.raises(error, match=f"resnet18.*cannot be downloaded .*{status}"):
            obtain("resnet18", tmp_path / "weights")


@pytest.mark.parametrize(
    ("problem", "error"),
    [
        (IncompleteRead(b""), FetchError),
        (ssl.SSLEOFError(), FetchError),
        (OSError(errno.EHOSTUNREACH, "No route to host"), FetchError),
        (OSError(errno.ENOSPC, "No space left on device"), SpecError),
    ],
)
def test_which_broken_downloads_may_succeed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception, error: type[Exception]
) -> None:
    """What urllib raises while a file is read is not wrapped."""

    def broken_off(*_: object) -> None:
        raise problem

    source = tmp_path / "resnet18.pth"
    source.touch()
    monkeypatch.setattr(weights, "_urls", lambda _: [source.as_uri()])
    monkeypatch.setattr("shutil.copyfileobj", broken_off)
    with pytest.raises(error, match="cannot be downloaded"):
        obtain("resnet18", tmp_path / "weights")


def test_a_download_with_another_digest_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "resnet18-00000000.pth"
    source.write_bytes(b"something else")
    monkeypatch.setattr(weights, "_urls", lambda _: [source.as_uri()])
    with pytest.raises(SpecError, match="expected 00000000"):
        obtain("resnet18", tmp_path / "weights")
    assert not list((tmp_path / "weights").glob("*.pth"))


def test_a_file_of_another_model_is_one_line(tmp_path: Path) -> None:
    for model in ("squeezenet1_1", "mobilenetv3_small_050"):
        torch.save({"layer": torch.ones(2)}, tmp_path / f"{model}.pth")
        with pytest.raises(SpecError, match=f"{model}.pth: not the weights of") as raised:
            check(
                Candidates(
                    {
                        "model": [model],
                        "image_size": [64],
                        "pre_trained": [True],
                        "precision": ["auto"],
                    },
                    tmp_path,
                )
            )
        assert "\n" not in str(raised.value)


def test_nothing_in_a_weights_file_is_executed(tmp_path: Path) -> None:
    torch.save({"layer": Path("/")}, tmp_path / "squeezenet1_1.pth")
    with pytest.raises(SpecError, match="not the weights of"):
        check(
            Candidates(
                {
                    "model": ["squeezenet1_1"],
                    "image_size": [64],
                    "pre_trained": [True],
                    "precision": ["auto"],
                },
                tmp_path,
            )
        )


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"^unknown model 'resnt18'; did you mean 'resnet18'"):
        check_known("resnt18")


@pytest.mark.parametrize("model", ["shufflenet_v2_x0_5", "mobilenet_v2"])
def test_a_model_without_a_body_is_refused(model: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"{model}.*cannot be cut"):
        check(
            Candidates(
                {
                    "model": [model],
                    "image_size": [64],
                    "pre_trained": [False],
                    "precision": ["auto"],
                },
                tmp_path,
            )
        )


def test_a_model_whose_weights_nobody_publishes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_urls", lambda model: ())
    with pytest.raises(SpecError, match=r"resnet18.*none are published"):
        obtain("resnet18", tmp_path)
    file = tmp_path / "resnet18.pth"
    file.touch()
    assert obtain("resnet18", tmp_path) == file


def test_a_download_that_was_cut_short_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "resnet18.pth"
    file.write_bytes(b"123")
    downloads._verify(file, "https://example.org/resnet18.pth", "3")
    with pytest.raises(ConnectionError, match=r"^3 of 5 bytes arrived$"):
        downloads._verify(file, "https://example.org/resnet18.pth", "5")
