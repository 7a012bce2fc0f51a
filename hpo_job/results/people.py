"""Who ran a study's trials, and where: accounts, machines and pods."""

from __future__ import annotations

from collections import Counter

import optuna
from optuna.trial import FrozenTrial

from hpo_job.errors import plural
from hpo_job.results.trials import trials_of
from hpo_job.trial import attributes

NAMED = 3  # places that are named; of the others there is a count


def places(study: optuna.Study) -> list[dict[str, object]]:
    """Each account and machine or pod, with the number of its trials, the most first."""
    counts = Counter(place for trial in trials_of(study) if (place := _place(trial)))
    return [
        {"user": user, "host": host, "pod": pod, "trials": count}
        for (user, host, pod), count in counts.most_common()
    ]


def places_text(study: optuna.Study) -> str | None:
    """The same for people: ``anna@node-1 (12 trials), ben@laptop (3 trials)``; None if unknown."""
    known = places(study)
    if not known:
        return None
    listed = [
        f"{_named(place)} ({plural(int(str(place['trials'])), 'trial')})" for place in known[:NAMED]
    ]
    more = [f"and {plural(len(known) - NAMED, 'other')}"] if len(known) > NAMED else []
    return ", ".join([*listed, *more])


def _place(trial: FrozenTrial) -> tuple[str | None, str | None, str | None] | None:
    names = (attributes.USER, attributes.HOST, attributes.POD)
    user, host, pod = (trial.user_attrs.get(name) for name in names)
    if user is None and host is None and pod is None:
        return None
    return tuple(None if each is None else str(each) for each in (user, host, pod))  # type: ignore[return-value]


def _named(place: dict[str, object]) -> str:
    where = place["pod"] or place["host"]
    return f"{place['user']}@{where}" if place["user"] and where else str(place["user"] or where)
