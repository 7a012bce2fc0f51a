"""What ``check`` and ``status`` print as JSON; docs/commands.md lists the keys."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_job import results
from hpo_job.results.continued import continued
from hpo_job.results.ending import ended_by, without_improvement
from hpo_job.results.forecast import forecast
from hpo_job.results.overhead import overhead
from hpo_job.results.people import places
from hpo_job.results.trials import baselines, metric_names, parameters, spec_of, trials_of
from hpo_job.results.writing import to_json
from hpo_job.spec import search_space
from hpo_job.storage.rights import RIGHTS, Rights
from hpo_job.study.checking import Checked
from hpo_job.study.ledger import working_time
from hpo_job.trial import attributes
from hpo_job.trial.clock import running_time
from hpo_job.trial.counting import takes_place
from hpo_job.trial.phases import step_text


def as_json(facts: Any) -> str:
    """JSON with numbers as they are, as `results` writes it."""
    return to_json(facts).removesuffix("\n")


def of_check(checked: Checked, connections: int | None, rights: Rights | None) -> dict[str, Any]:
    """The study that will run.

    Args:
        checked: the job.
        connections: how many workers the server has connections for; None if nobody knows.
        rights: what its account may do; None if that was not asked.
    """
    spec = checked.spec
    combinations = search_space.size(spec.search_space)
    return {
        "study": spec.name,
        "file": str(spec.file),
        "set": list(spec.assignments),
        "objective": spec.objective,
        "metrics": list(spec.metrics),
        "directions": list(spec.directions),
        "baselines": list(checked.baselines),
        "budget": spec.budget.model_dump(mode="json"),
        "sampler": spec.sampler.model_dump(mode="json"),
        "pruner": spec.pruner.model_dump(mode="json"),
        "seed": spec.seed,
        "workers_per_gpu": spec.cluster.workers_per_gpu,
        "data": dict(checked.data.described()) if checked.data else {},
        "search_space": spec.stored()["search_space"],
        "combinations": None if math.isinf(combinations) else int(combinations),
        "enqueued": len(spec.enqueue),
        "cautions": list(checked.cautions),
        "server_connections": connections,
        "rights": rights and {right: right not in rights.lacking for right in RIGHTS},
        "rights_remedy": list(rights.remedy) if rights else [],
    }


def of_status(study: optuna.Study) -> dict[str, Any]:
    """How far a study is, and what runs now."""
    trials, now = trials_of(study), datetime.now()
    expected = forecast(study, now)
    budget = spec_of(study).get("budget", {})
    several = len(study.directions) > 1
    best = results.front(study) if several else results.leading(study, 1)
    return {
        "study": study.study_name,
        "metrics": list(metric_names(study)),
        "directions": [direction.name.lower() for direction in study.directions],
        "baselines": list(baselines(study)),
        "budget": {key: budget.get(key) for key in ("trials", "timeout", "patience", "min_delta")},
        "evaluated": sum(map(takes_place, trials)),
        "without_improvement": without_improvement(study, trials),
        "over": results.finished(study),
        "ended_by": ended_by(study),
        "states": {
            state.name: sum(trial.state == state for trial in trials) for state in TrialState
        },
        "working_time": working_time(trials, now),
        "trials_per_hour": None if expected.rate is None else expected.rate * 3600,
        "seconds_left": expected.left,
        "run_by": places(study),
        "overhead": _overhead(study),
        "retries": _retries(study),
        "best": [_best(study, trial) for trial in best],
        "running": [_running(trial, now) for trial in trials if trial.state == TrialState.RUNNING],
    }


def _overhead(study: optuna.Study) -> dict[str, Any] | None:
    spent = overhead(study)
    return None if spent is None else {**asdict(spent), "share": spent.share}


def _retries(study: optuna.Study) -> dict[str, Any]:
    facts = continued(study)
    return {
        "resumed": facts.resumed,
        "restarted": facts.restarted,
        "saved_seconds": facts.saved,
        "lost_seconds": facts.lost,
        "stored_bytes": facts.size,
    }


def _best(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "values": list(trial.values or ()),
        "parameters": parameters(study, trial),
    }


def _running(trial: FrozenTrial, now: datetime) -> dict[str, Any]:
    steps = trial.intermediate_values
    return {
        "number": trial.number,
        "steps": len(steps),
        "doing": step_text(trial),
        "last_value": steps[max(steps)] if steps else None,
        "seconds": running_time(trial, now),
        "parameters": trial.params,
        "worker": trial.user_attrs.get(attributes.WORKER),
    }
