"""The section of a report that says where a study comes from: provenance, spec, search space."""

from __future__ import annotations

import optuna

from hpo_job.report.blocks import Block, Heading, Note, Pairs
from hpo_job.report.page import Page
from hpo_job.results import settings
from hpo_job.results.trials import spec_of
from hpo_job.spec.toml_text import in_toml
from hpo_job.trial import attributes


def origin_section(study: optuna.Study, page: Page, prefix: str) -> None:
    """Where the study comes from."""
    spec, provenance = spec_of(study), study.user_attrs.get(attributes.PROVENANCE)
    if not spec and not isinstance(provenance, dict):
        names = ", ".join(sorted(study.user_attrs)) or "none"
        text = f"This study was not created by hpo-job; its user attributes: {names}."
        page.section("Where it comes from", f"{prefix}origin", Note(text))
        return
    rows = [
        (name, settings(entry) if isinstance(entry, dict) else _text(entry))
        for name, entry in (provenance or {}).items()
    ]
    keys = [
        (key, _text(entry)) for key, entry in spec.items() if key not in ("search_space", "enqueue")
    ]
    space = [(name, _range(each)) for name, each in spec.get("search_space", {}).items()]
    blocks: list[Block] = [Heading("Provenance"), Pairs(rows), Heading("Spec"), Pairs(keys)]
    if space:
        blocks += [Heading("Search space"), Pairs(space)]
    page.section("Where it comes from", f"{prefix}origin", *blocks)


def _range(parameter: object) -> str:
    """What a parameter of a stored spec can be, in the words of `check`."""
    if not isinstance(parameter, dict):
        return f"fixed at {_text(parameter)}"
    rest = dict(parameter)
    kind, when = rest.pop("type", ""), rest.pop("when", None)
    if "choices" in rest:
        text = f"one of {_text(rest.pop('choices'))}"
    else:
        text = f"{kind} {rest.pop('low', '?')} to {rest.pop('high', '?')}"
    if rest.get("step") == 1:
        del rest["step"]
    options = {
        name: entry for name, entry in rest.items() if entry is not None and entry is not False
    }
    more = [name if entry is True else f"{name} {_text(entry)}" for name, entry in options.items()]
    if when:
        more.append("when " + " and ".join(f"{name} = {_text(v)}" for name, v in when.items()))
    return ", ".join([text, *more])


def _text(entry: object) -> str:
    if isinstance(entry, dict):
        return ", ".join(f"{name} {_text(each)}" for name, each in entry.items())
    if isinstance(entry, list):
        return ", ".join(map(_text, entry))
    return "-" if entry is None else in_toml(entry)
