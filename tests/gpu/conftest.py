"""The small studies of the objectives' tests, here on a GPU."""

from __future__ import annotations

from tests.objectives.conftest import all_images, few, image_cache, make_context

__all__ = ["all_images", "few", "image_cache", "make_context"]
