"""Scripts that put no spaces between words: Chinese, Japanese, Thai and their like."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from hpo_job.errors import plural

if TYPE_CHECKING:
    import pandas as pd

LOOKED_AT = 1000  # texts of which the share is computed
# Han with its extensions, kana, Bopomofo, Yi; Thai, Lao, Tibetan, Burmese, Khmer, Tai
_LETTERS = (
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uf900-\ufaff\uff66-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U000323af"
    "\u0e01-\u0e5b\u0e81-\u0edf\u0f40-\u0fbc\u1000-\u109f\u1780-\u17dd\u1950-\u19df\u1a20-\u1aad"
    "\ua9e0-\ua9fe\uaa60-\uaadf"
)
# Vowels and tones that stand with the letter before them
_MARKS = (
    "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u0f71-\u0f84\u0f8d-\u0fbc"
    "\u102b-\u103e\u1056-\u1059\u105e-\u1060\u1062-\u1064\u1067-\u106d\u1071-\u1074\u1082-\u108d"
    "\u17b4-\u17d3\u17dd\u1a55-\u1a7c\u3099\u309a\uff9e\uff9f\ufe00-\ufe0f"
)
_UNSPACED = re.compile(f"[{_LETTERS}][{_MARKS}]*")


def share_unspaced(texts: Iterable[str]) -> float:
    """The share of letters that are of a script without spaces, between 0 and 1."""
    letters = unspaced = 0
    for text in islice(texts, LOOKED_AT):
        letters += sum(map(str.isalpha, text))
        unspaced += sum(map(len, _UNSPACED.findall(text)))
    return min(1.0, unspaced / letters) if letters else 0.0


def spaced(text: str) -> str:
    """``text`` with a space around every letter of a script that has none."""
    return _UNSPACED.sub(r" \g<0> ", text)


def median_length(texts: pd.Series[Any]) -> str:
    """How long the texts are, for a person: the median, in words or in characters."""
    if share_unspaced(texts) > 0.5:
        characters = int(texts.str.len().median())
        return f"{plural(characters, 'character')} in a typical text; each is read as a word"
    words = int(texts.str.count(r"\S+").median())
    return f"{plural(words, 'word')} in a typical text"
