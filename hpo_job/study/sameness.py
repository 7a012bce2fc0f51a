"""Whether a job folder still is what its study was created with: spec, data and function."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from json import dumps
from typing import TYPE_CHECKING, Any

import optuna

from hpo_job.data.digests import listing
from hpo_job.errors import StudyError
from hpo_job.spec.study_toml import StudySpec, restore
from hpo_job.study import source_files
from hpo_job.trial import attributes

if TYPE_CHECKING:
    from hpo_job.data.from_spec import Labelled

log = logging.getLogger(__name__)


def require_same_spec(attrs: Mapping[str, Any], spec: StudySpec) -> None:
    """Refuse what differs from the spec in a study's attributes, but for what may change.

    Raises:
        StudyError: the message names what differs.
    """
    if attributes.SPEC not in attrs:
        raise StudyError(
            f"study {spec.name!r} was not created by hpo-job; change name in {spec.file} to start "
            "another one"
        )
    changed = difference(attrs[attributes.SPEC], spec.stored())
    if changed:
        raise StudyError(
            f"study {spec.name!r} exists with another spec than {spec.file}; change its name "
            "there, or undo:\n  " + "\n  ".join(changed)
        )


def require_same_data(attrs: Mapping[str, Any], spec: StudySpec, data: Labelled | None) -> None:
    """Refuse other data, with which values could not be compared; of a function's, warn.

    Raises:
        StudyError: the study was created with other data.
    """
    if attrs[attributes.PROVENANCE]["data_listing"] == data_listing(spec, data):
        return
    if data is None:
        # a function may write its own files next to its data
        log.warning("%s has changed since study %r began", spec.data_path, spec.name)
        return
    raise StudyError(
        f"study {spec.name!r} was created with other data than {spec.data_path} has now, so its "
        f"trials could not be compared; restore the data, or change name in {spec.file}"
    )


def require_same_function(attrs: Mapping[str, Any], spec: StudySpec) -> None:
    """Refuse another function: two users may have chosen the same name for their studies.

    Args:
        attrs: of the study.
        spec: what study.toml says.

    Raises:
        StudyError: the study was created with other Python files; the message names them, and
            says how to go on.
    """
    files = source_files.changed(_objective_of(attrs), source_files.digests(spec))
    if not files:
        return
    raise StudyError(
        f"study {spec.name!r} was created with another function than {spec.folder} has: "
        f"somebody else's, or an earlier version ({source_files.named(files)} differs); to "
        "continue it with this one, add --same-study; to start another study, change name in "
        f"{spec.file}"
    )


def continue_with_function(study: optuna.Study, attrs: Mapping[str, Any], spec: StudySpec) -> None:
    """Store which version of the function continues the study: from now on the old is refused."""
    digests = source_files.digests(spec)
    if files := source_files.changed(_objective_of(attrs), digests):
        origin = {**attrs[attributes.PROVENANCE], "objective_sha256": digests}
        study.set_user_attr(attributes.PROVENANCE, origin)
        which = source_files.named(files)
        log.warning("study %r continues with another version of %s", study.study_name, which)


def difference(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The keys in which two stored specs differ, except those that may: ``key: stored, now``.

    A key that a later release has added counts with its default, in a study of an earlier one.
    """
    before, after = dict(_flat(with_defaults(stored))), dict(_flat(now))
    return [
        f"{key}: {_value(before, key)} in the study, {_value(after, key)} now"
        for key in sorted({*before, *after})
        # as JSON, since to Python 1 and true are equal
        if not _may_change(key) and dumps(before.get(key)) != dumps(after.get(key))
    ]


def with_defaults(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """A stored spec of an earlier release, with the defaults of what was added since."""
    try:
        return restore(stored).stored()
    except ValueError:  # it has what this release does not know: the difference names it
        return stored


def data_listing(spec: StudySpec, data: Labelled | None) -> str | None:
    """What a study's data is recognised by; None without data."""
    if data:
        return data.listing()
    return listing(spec.data_path) if spec.data_path else None


def _value(spec: Mapping[str, Any], key: str) -> str:
    return repr(spec[key]) if key in spec else "not there"


def _may_change(key: str) -> bool:
    """Whether another value continues the same study. Not so ``repeats``: they define a value."""
    if key == "budget.repeats":
        return False
    return key == "callbacks" or key.startswith(
        ("budget.", "artifacts.", "checkpoint.", "cluster.")
    )


def _objective_of(attrs: Mapping[str, Any]) -> Any:
    return attrs[attributes.PROVENANCE]["objective_sha256"]


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
