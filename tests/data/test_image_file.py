"""What a model gets of an image file, whatever its mode, depth, orientation, profile or format."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

from hpo_job.data.image_file import decodes, is_image, open_image
from hpo_job.data.images import read_image_folder
from hpo_job.spec.study_toml import Data

SIZE = (24, 24)


def shape(mode: str = "L") -> Image.Image:
    """A bright square on dark ground."""
    image = Image.new("L", SIZE, 40)
    ImageDraw.Draw(image).rectangle((6, 6, 17, 17), fill=220)
    return image.convert(mode)


def pixels(image: Image.Image) -> NDArray[np.int64]:
    assert image.mode == "RGB"
    return np.asarray(image).astype(np.int64)


def shows_the_square(image: Image.Image) -> bool:
    """Whether the square can be told from the ground."""
    values = pixels(image)
    return bool(np.abs(values[12, 12] - values[1, 1]).max() > 100)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(image: Image.Image, name: str = "image.png", **options: object) -> Path:
        image.save(tmp_path / name, **options)  # type: ignore[arg-type]
        return tmp_path / name

    return write


Save = Callable[..., Path]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA"])
def test_modes(save: Save, mode: str) -> None:
    assert shows_the_square(open_image(save(shape(mode))))


@pytest.mark.parametrize(
    ("mode", "name"), [("CMYK", "a.jpg"), ("CMYK", "a.tif"), ("YCbCr", "a.jpg"), ("LAB", "a.tif")]
)
def test_modes_of_print_and_of_science(save: Save, mode: str, name: str) -> None:
    if mode == "LAB":
        way = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        image = ImageCms.applyTransform(shape("RGB"), way)
        assert image is not None
    else:
        image = shape("RGB").convert(mode)
    assert np.abs(pixels(open_image(save(image, name))) - pixels(shape("RGB"))).max() < 30


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("top", [300, 4095, 65535])
def test_16_bits(save: Save, name: str, top: int) -> None:
    """Of which 12 may be used, or fewer: read as 8 bits, all would be white."""
    values = np.where(np.asarray(shape()) > 128, top, top // 10).astype(np.uint16)
    assert shows_the_square(open_image(save(Image.fromarray(values), name)))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (0.1, 0.2), (100.0, 5000.0)])
def test_floats(save: Save, low: float, high: float) -> None:
    values = np.where(np.asarray(shape()) > 128, high, low).astype(np.float32)
    values[0, 0], values[0, 1], values[0, 2] = np.nan, np.inf, -np.inf
    assert shows_the_square(open_image(save(Image.fromarray(values), "a.tif")))


def test_32_bits(save: Save) -> None:
    values = np.where(np.asarray(shape()) > 128, 2**30, -5).astype(np.int32)
    assert shows_the_square(open_image(save(Image.fromarray(values), "a.tif")))


def test_brightness_counts_where_the_levels_are_those_of_all(tmp_path: Path) -> None:
    """Each scaled by itself, bright and dark images would look the same."""
    for label, value in (("dark", 8000), ("bright", 40000)):
        (tmp_path / label).mkdir()
        for number in range(6):
            noise = np.random.default_rng(number).integers(0, 2000, SIZE)
            image = Image.fromarray((value + noise).astype(np.uint16))
            image.save(tmp_path / label / f"{number}.png")
    data = read_image_folder(tmp_path, Data(path="-", valid_pct=0.5), 1)
    means = {name: pixels(open_image(tmp_path / name, data.levels)).mean() for name in data.files}
    assert min(v for n, v in means.items() if n.startswith("bright")) > 200
    assert max(v for n, v in means.items() if n.startswith("dark")) < 50


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (250, 250, 240)])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_in_the_alpha_channel_alone(
    save: Save, colour: tuple[int, int, int], mode: str
) -> None:
    image = Image.new("RGB", SIZE, colour).convert(mode)
    image.putalpha(shape().point(lambda value: 255 if value > 128 else 0))
    assert shows_the_square(open_image(save(image)))


def test_hidden_colours_under_transparency_are_not_seen(save: Save) -> None:
    image = shape("RGBA")
    image.putalpha(0)
    assert pixels(open_image(save(image))).min() == 255


def test_transparency_of_palettes_and_of_one_colour(save: Save) -> None:
    palette = shape().quantize(2)
    ground = palette.getpixel((0, 0))
    seen = open_image(save(palette, "a.png", transparency=ground))
    assert pixels(seen)[0, 0].tolist() == [255, 255, 255]
    seen = open_image(save(shape(), "b.png", transparency=40))
    assert pixels(seen)[0, 0].tolist() == [255, 255, 255]


def test_the_orientation_of_photos(save: Save) -> None:
    image = Image.new("RGB", (24, 12), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = open_image(save(image, "a.jpg", exif=exif))
    assert turned.size == (12, 24)


def test_the_colour_profile_is_applied(save: Save) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # a device whose red and blue are exchanged, under another name
    swapped = srgb.replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
    swapped = swapped.replace("sRGB".encode("utf-16-be"), "eRGB".encode("utf-16-be"))
    red = Image.new("RGB", SIZE, "red")
    assert pixels(open_image(save(red, icc_profile=swapped)))[0, 0].argmax() == 2
    red.putalpha(200)
    assert pixels(open_image(save(red, icc_profile=swapped)))[0, 0].argmax() == 2
    for profile in (srgb, b"no profile" * 20):
        kept = open_image(save(Image.new("RGB", SIZE, "red"), icc_profile=profile))
        assert pixels(kept)[0, 0].tolist() == [255, 0, 0]


def test_of_several_frames_the_first(save: Save) -> None:
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.tif", "a.webp", "a.png"):
        file = save(frames[0], name, save_all=True, append_images=frames[1:])
        assert pixels(open_image(file))[0, 0].argmax() == 0


def test_content_instead_of_a_file(save: Save) -> None:
    file = save(shape())
    expected = pixels(open_image(file))
    assert np.array_equal(pixels(open_image(file.read_bytes())), expected)
    assert np.array_equal(pixels(open_image(io.BytesIO(file.read_bytes()))), expected)
    assert np.array_equal(pixels(open_image(str(file))), expected)


def test_damaged_files_are_an_oserror(save: Save, tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for name in ("a.png", "a.jpg", "a.gif", "a.tif", "a.webp", "a.bmp"):
        content = save(noise, name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        assert is_image(tmp_path / name) or name == "a.webp"
        assert not decodes(tmp_path / name)
        with pytest.raises(OSError):  # noqa: PT011  # each decoder has its own text
            open_image(tmp_path / name)


def test_metadata_that_is_damaged_does_no_harm(save: Save) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x")
    assert decodes(save(shape("RGB"), "a.jpg", exif=b"Exif\0\0 broken"))
    assert decodes(save(shape("RGB"), "a.png", pnginfo=info))
