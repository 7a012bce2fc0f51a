"""Whether texts are English, as the pre-trained language model is: by its most frequent words."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from hpo_job.data.language import WORD

LOOKED_AT = 1000  # texts of which the share is computed
FEWEST = 200  # words from which the share says something
USUAL = 0.08  # the share that English exceeds by far, and other languages do not reach
# Together about a quarter of the words of an English text; words that German, Dutch, French,
# Spanish, Italian or a Nordic language has too, such as in, was, is, for and will, are left out
_WORDS = (
    "the and that it with his you but this they she from which are or were been their there "
    "who would when said if what its them other could these then into your about more than "
    "our because very how where should"
)
WORDS = frozenset(_WORDS.split())


def share_english(texts: Iterable[str]) -> float | None:
    """The share of words that are frequent in English; None of too few words.

    About 0.25 for English prose, below 0.05 for other languages.
    """
    words = [word for text in islice(texts, LOOKED_AT) for word in WORD.findall(text.casefold())]
    if len(words) < FEWEST:
        return None
    return sum(word in WORDS for word in words) / len(words)
