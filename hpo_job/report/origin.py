"""What the report says of where a study comes from: its provenance, its spec, its search space."""

from __future__ import annotations

import optuna

from hpo_job.report.markup import Page, note, pairs
from hpo_job.results import settings
from hpo_job.results.trials import spec_of
from hpo_job.spec.search_space import in_toml
from hpo_job.trial import attributes


def origin(study: optuna.Study, page: Page, prefix: str) -> None:
    """Where the study comes from."""
    spec, stored = spec_of(study), study.user_attrs.get(attributes.PROVENANCE)
    if not spec and not isinstance(stored, dict):
        names = ", ".join(sorted(study.user_attrs)) or "none"
        told = f"This study was not made by hpo-job; its user attributes: {names}."
        page.section("Where it comes from", f"{prefix}origin", note(told))
        return
    rows = [
        (name, settings(found) if isinstance(found, dict) else _told(found))
        for name, found in (stored or {}).items()
    ]
    keys = [
        (key, _told(found)) for key, found in spec.items() if key not in ("search_space", "enqueue")
    ]
    space = [(name, _values(found)) for name, found in spec.get("search_space", {}).items()]
    parts = ["<h3>Provenance</h3>", pairs(rows), "<h3>Spec</h3>", pairs(keys)]
    if space:
        parts += ["<h3>Search space</h3>", pairs(space)]
    page.section("Where it comes from", f"{prefix}origin", *parts)


def _values(parameter: object) -> str:
    """What a parameter of a stored spec can be, as `check` says it."""
    if not isinstance(parameter, dict):
        return f"fixed at {_told(parameter)}"
    rest = dict(parameter)
    kind, when = rest.pop("type", ""), rest.pop("when", None)
    if "choices" in rest:
        words = f"one of {_told(rest.pop('choices'))}"
    else:
        words = f"{kind} {rest.pop('low', '?')} to {rest.pop('high', '?')}"
    if rest.get("step") == 1:
        del rest["step"]
    said = {name: found for name, found in rest.items() if found is not None}
    more = [
        name if found is True else f"{name} {_told(found)}"
        for name, found in said.items()
        if found is not False
    ]
    if when:
        more.append("when " + " and ".join(f"{name} = {_told(v)}" for name, v in when.items()))
    return ", ".join([words, *more])


def _told(found: object) -> str:
    if isinstance(found, dict):
        return ", ".join(f"{name} {_told(each)}" for name, each in found.items())
    if isinstance(found, list):
        return ", ".join(map(_told, found))
    return "-" if found is None else in_toml(found)
