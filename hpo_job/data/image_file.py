"""Image files as models see them: 8 bits, three channels, upright, in sRGB, on a background."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

Levels = Mapping[str, tuple[float, float]]
# Formats that begin with a signature, so that no other file is taken for one of them
SNIFFED = [
    "PNG",
    "JPEG",
    "GIF",
    "TIFF",
    "WEBP",
    "AVIF",
    "BMP",
    "JPEG2000",
    "MPO",
    "PSD",
    "ICO",
    "ICNS",
    "DDS",
    "SGI",
    "SUN",
    "QOI",
    "PPM",
    "XPM",
    "DIB",
    "BLP",
    "FLI",
]
DEEP = "I;16"  # all modes of whole numbers with more than 8 bits are called so in levels
ENDS = (0.1, 99.9)  # percentiles of an image that are taken for its darkest and brightest pixels
VISIBLE = 32  # levels of 255 between a shape and its background, below which it is not seen
VERSION = 1  # of `open_image`; increased whenever it returns other pixels for a file
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
# Scans of maps have more pixels than Pillow allows by default; this is a gigapixel
Image.MAX_IMAGE_PIXELS = 2**30
# Unknown tags and broken EXIF data do not keep an image from being read
warnings.filterwarnings("ignore", module=r"PIL\..*")


def open_image(source: Path | str | bytes | IO[bytes], levels: Levels | None = None) -> Image.Image:
    """The image at ``source`` in mode RGB, as every model sees it.

    Of several frames or pages, the first one. It is turned as its EXIF data says. Colours are
    converted to sRGB where the file has a profile. What is transparent is put on white, or on
    black where it could not be seen on white.

    Args:
        source: a file, or its content.
        levels: for images with more than 8 bits a channel, by mode (see `levels_of`): the values
            that become black and white. Those of the image itself where it is not in there.

    Raises:
        OSError: it is no image, or it is damaged.
    """
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
        return _of_deep(upright, levels or {}) if is_deep(upright) else _in_srgb(upright)
    except OSError:
        raise
    except (
        Exception
    ) as error:  # Pillow's decoders raise whatever a broken file makes them trip over
        raise OSError(f"{type(error).__name__}: {error}") from error


def is_image(path: Path) -> bool:
    """Whether a file begins like an image, whatever it is called."""
    try:
        with Image.open(path, formats=SNIFFED):
            return True
    except Exception:  # Pillow's plugins raise whatever a broken header makes them trip over
        return False


def decodes(path: Path) -> bool:
    """Whether the file at ``path`` can be read as an image, to its end."""
    try:
        open_image(path)
    except OSError:
        return False
    return True


def is_deep(image: Image.Image) -> bool:
    """Whether an image has one channel of more than 8 bits."""
    return image.mode == "F" or image.mode.startswith("I")


def deep_mode(image: Image.Image) -> str:
    """The key of ``image`` in levels."""
    return "F" if image.mode == "F" else DEEP


def range_of(image: Image.Image) -> tuple[float, float]:
    """The darkest and the brightest value of an image of more than 8 bits, outliers left out."""
    pixels = _pixels(image)
    finite = pixels[np.isfinite(pixels)]
    if not finite.size:
        return 0.0, 0.0
    low, high = np.percentile(finite, ENDS)
    if low == high:  # a small shape on a plain ground
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def _pixels(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image).astype(np.float64)


def _of_deep(image: Image.Image, levels: Levels) -> Image.Image:
    low, high = levels.get(deep_mode(image)) or range_of(image)
    if low == high and 0 <= low <= 255:  # of one colour, which 8 bits can say
        low, high = 0.0, 255.0
    pixels = np.nan_to_num(_pixels(image), nan=low, posinf=high, neginf=low)
    scaled = (pixels - low) / ((high - low) or 1.0)
    bytes_ = np.rint(scaled.clip(0, 1) * 255).astype(np.uint8)
    return Image.fromarray(bytes_).convert("RGB")


def _in_srgb(image: Image.Image) -> Image.Image:
    mode = _colours(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return _on_background(_converted(image, rgba.convert(mode)), rgba.getchannel("A"))
    return _converted(image, image if image.mode == mode else image.convert(mode))


def _colours(image: Image.Image) -> str:
    """The mode that a colour profile in this image is for."""
    if image.mode in ("1", "L", "LA", "La"):
        return "L"
    return image.mode if image.mode in ("CMYK", "LAB") else "RGB"


def _on_background(colours: Image.Image, alpha: Image.Image) -> Image.Image:
    on_white = Image.composite(colours, Image.new("RGB", colours.size, WHITE), alpha)
    if _contrast(on_white) >= VISIBLE or min(alpha.getextrema()) == 255:
        return on_white
    on_black = Image.composite(colours, Image.new("RGB", colours.size, BLACK), alpha)
    return on_black if _contrast(on_black) > _contrast(on_white) else on_white


def _contrast(image: Image.Image) -> int:
    """The largest difference between two pixels in one channel."""
    return max(high - low for low, high in image.getextrema())  # type: ignore[misc]


def _converted(image: Image.Image, colours: Image.Image) -> Image.Image:
    """The ``colours`` of ``image`` in sRGB; unchanged without a profile, or with an odd one."""
    transform = None
    with suppress(ValueError):
        transform = _to_srgb(image.info.get("icc_profile"), colours.mode)
    if transform is not None:
        return ImageCms.applyTransform(colours, transform) or colours
    return colours.convert("RGB")


@lru_cache(16)
def _to_srgb(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from a profile's colours to sRGB; None where there is nothing to change.

    Raises:
        ValueError: the profile is damaged, or of other channels than ``mode``.
    """
    srgb = ImageCms.createProfile("sRGB")
    if mode == "LAB":
        return ImageCms.buildTransform(ImageCms.createProfile("LAB"), srgb, "LAB", "RGB")
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(source).strip().lower().startswith("srgb"):
            return None
        return ImageCms.buildTransform(source, srgb, mode, "RGB")
    except (ImageCms.PyCMSError, OSError) as error:
        raise ValueError(str(error)) from error


def has_odd_profile(image: Image.Image) -> bool:
    """Whether an image has a colour profile that cannot be applied."""
    try:
        _to_srgb(image.info.get("icc_profile"), _colours(image))
    except ValueError:
        return True
    return False
