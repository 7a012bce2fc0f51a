"""What is worth knowing of data before a study of it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from hpo_job.cli.proposal.look import Look
from hpo_job.cli.proposal.study import SAMPLED, sides
from hpo_job.data.findings import cautions, content_cautions
from hpo_job.data.images import LabelledFiles
from hpo_job.data.language import language_of
from hpo_job.data.scripts import share_unspaced
from hpo_job.data.tables import LabelledRows

DECODED = 5000  # images above which `check` alone looks for copies, since it decodes them all


def findings(look: Look) -> Iterator[tuple[str, str]]:
    """Sizes, languages, copies, and what may be wrong, as (heading, text)."""
    data = look.data
    if isinstance(data, LabelledFiles):
        yield from _of_images(data)
    elif data.text is not None:
        yield from _of_texts(data)
    for key, why in look.reasons.items():
        value = look.settings[key]
        named = ", ".join(map(repr, value)) if isinstance(value, list) else repr(value)
        yield "guessed", f"{named} {'are' if isinstance(value, list) else 'is'} {why}"
    if merged := look.settings.get("labels"):
        other = next(iter(merged.values()))
        yield "merged", f"classes of one item, into {other!r}: {', '.join(map(repr, merged))}"
    for caution in cautions(data):
        yield "caution", caution
    if isinstance(data, LabelledFiles) and len(data) > DECODED:
        yield "not looked at", f"whether some of the {len(data)} images are copies: check does"
        return
    for caution in content_cautions(data):
        yield "caution", caution


def _of_images(data: LabelledFiles) -> Iterator[tuple[str, str]]:
    pixels = sides(data)
    if not len(pixels):
        return
    (width, height), (low, high) = np.median(pixels, axis=0), (pixels.min(), pixels.max())
    sampled = f" ({len(pixels)} of them looked at)" if len(data) > SAMPLED else ""
    text = f"{width:.0f} x {height:.0f} pixels in the middle; sides from {low} to {high}{sampled}"
    yield "sizes", text
    suffixes = Counter(name.rpartition(".")[2].lower() for name in data.files)
    yield "formats", ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5))


def _of_texts(data: LabelledRows) -> Iterator[tuple[str, str]]:
    texts = data.frame[data.text]
    language = language_of(texts)
    if language is not None:
        yield "language", language.name
    elif share_unspaced(texts) > 0.5:
        yield "language", "of a script without spaces; each character is read as a word"
    else:
        yield "language", "not recognised"
