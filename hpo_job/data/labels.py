"""Class names: those that look alike, and those that study.toml merges."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from hpo_job.errors import DataError, unknown

NAMED = 3  # groups of names that a line lists
# Letters of other alphabets that look like Latin ones
_LATIN = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0458\u0501"  # Cyrillic
    "\u03bf\u03bd\u03b1",  # Greek
    "aeopcyxisjdova",
)


def merge(labels: Sequence[str], names: Mapping[str, str] | None) -> list[str]:
    """``labels`` with those that are keys of ``names`` called by its values.

    Raises:
        DataError: a key is no label.
    """
    if not names:
        return list(labels)
    known = set(labels)
    for name in names:
        if name not in known:
            raise DataError(f"data.labels: {unknown('class', name, known)}")
    return [names.get(label, label) for label in labels]


def folded(name: str) -> str:
    """What is left of a name without case, spaces, form of Unicode and final marks.

    ``1.0`` and ``01`` are as ``1``; ``not-spam`` and ``not_spam`` as ``not spam``.
    """
    plain = unicodedata.normalize("NFKC", name).casefold().translate(_LATIN)
    plain = "".join(c for c in plain if unicodedata.category(c) != "Cf")  # zero-width characters
    plain = re.sub(r"[\s_\-\u2010-\u2015]+", " ", plain).strip(" .,;:!?'\"\u2019\u201c\u201d")
    return f"{float(plain):g}" if re.fullmatch(r"\d+(?:\.\d+)?", plain) else plain


def readable(name: str) -> str:
    """A class name for a person: in quotes where it would not be seen as it is."""
    return name if name.isprintable() and name == name.strip() and name else repr(name)


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """The groups of names that differ in nothing but what `folded` leaves out."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        groups[folded(name)].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def caution(counts: Mapping[str, int], kept: Collection[str]) -> str | None:
    """One line on classes that look alike; None where there are none.

    Args:
        counts: how many items each class has.
        kept: classes that study.toml names, so that they are as they should be.
    """
    groups = [group for group in look_alikes(counts) if not set(group) <= set(kept)]
    if not groups:
        return None
    alike = "; ".join(
        " and ".join(f"{name!r} ({counts[name]})" for name in group) for group in groups[:NAMED]
    )
    more = f"; and {len(groups) - NAMED} more" if len(groups) > NAMED else ""
    target = max(groups[0], key=lambda name: (name == name.strip(), counts[name]))
    other = _toml(next(name for name in groups[0] if name != target))
    return (
        f"classes that look alike: {alike}{more}; to merge them: [data] labels = "
        f"{{ {other} = {_toml(target)} }}; if they are different: {{ {other} = {other} }}"
    )


def _toml(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
