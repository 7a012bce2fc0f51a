"""Values as TOML, and as a person types them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomli_w


def toml(value: Any) -> str:
    """A value as TOML, in one line."""
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{toml_key(key)} = {toml(each)}" for key, each in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, float):
        return _number(value)
    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def toml_key(key: str) -> str:
    """A key as TOML, in quotes where it needs them."""
    return tomli_w.dumps({key: 0}).removesuffix(" = 0\n")


def _number(value: float) -> str:
    """As people write it: 1e-4 rather than 0.0001."""
    if value and (abs(value) < 1e-2 or abs(value) >= 1e6):
        mantissa, _, exponent = f"{value:e}".partition("e")
        short = f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
        if float(short) == value:
            return short
    return repr(value)


def in_toml(value: object) -> str:
    """A value as a person types it: TOML's true and false, and words without quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)
