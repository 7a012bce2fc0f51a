"""Jobs in a queue of Kueue. What its controller says was recorded from that of Kueue 0.19.2."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.cluster.conftest import Api
from tests.cluster.objects import JOB
from tests.manifests.renders import with_components

Object = dict[str, Any]
Cli = Callable[..., Result]
pytestmark = pytest.mark.usefixtures("namespace")
JOBS = "/apis/batch/v1/namespaces/hpo-job/jobs"
WORKLOAD = "/apis/kueue.x-k8s.io/v1beta2/namespaces/hpo-job/workloads/job-digits-worker-33186"


def condition(kind: str, status: str, reason: str, message: str) -> Object:
    return {"type": kind, "status": status, "reason": reason, "message": message}


ADMITTED = (
    condition("QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue cq"),
    condition("Admitted", "True", "Admitted", "The workload is admitted"),
)
FULL = condition(
    "QuotaReserved",
    "False",
    "Pending",
    "couldn't assign flavors to pod set main: insufficient unused quota for cpu in flavor "
    "default-flavor, 2 more needed",
)
NO_RESERVATION = condition("Admitted", "False", "NoReservation", "The workload has no reservation")
GAVE_WAY = (
    "Preempted to accommodate a workload (UID: 154f068d-c513-492c-a643-e222e28e80a7, JobUID: "
    "eb2e2976-a0f1-4258-aa12-395b1e09b5c3) due to prioritization in the ClusterQueue; preemptor "
    "path: /cq; preemptee path: /cq"
)
PREEMPTED = (
    FULL,
    condition("Evicted", "True", "Preempted", GAVE_WAY),
    NO_RESERVATION,
    condition("Preempted", "True", "InClusterQueue", GAVE_WAY),
    condition("Requeued", "True", "Preempted", GAVE_WAY),
)
RUNS_AGAIN = (
    *ADMITTED,
    condition("Evicted", "False", "QuotaReserved", f"Previously: {GAVE_WAY}"),
    condition("Preempted", "False", "QuotaReserved", f"Previously: {GAVE_WAY}"),
)
NO_QUEUE = condition("QuotaReserved", "False", "Inadmissible", "LocalQueue default doesn't exist")
DEACTIVATED = (
    condition("QuotaReserved", "False", "Pending", "The workload is deactivated"),
    condition("Evicted", "True", "Deactivated", "The workload is deactivated"),
    NO_RESERVATION,
)
REPLACED = condition(
    "Finished", "True", "WorkloadSliceReplaced", "Replaced to accommodate a new workload slice"
)
GATE = {"name": "kueue.x-k8s.io/elastic-job"}


@pytest.fixture
def job(api: Api) -> Object:
    """A Job that Kueue has not let in."""
    api.install_kueue()
    job = copy.deepcopy(JOB)
    job["spec"]["suspend"] = True
    job["status"] = {"conditions": [{"type": "Suspended", "status": "True"}]}
    return api.put("batch/v1/jobs", job)


def status(cli: Cli) -> str:
    done = cli("status", "digits", "--cluster")
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ([FULL], f"hpo-job: waits in queue default {FULL['message']} indexes"),
        ([NO_QUEUE], "waits in queue default LocalQueue default doesn't exist indexes"),
        (PREEMPTED, f"waits in queue default {GAVE_WAY.partition(';')[0]} {FULL['message']} ind"),
    ],
)
def test_status_says_what_a_job_waits_for(
    api: Api, cli: Cli, job: Object, conditions: list[Object], says: str
) -> None:
    api.queue_job(job, *conditions)
    assert says in status(cli)


def test_a_job_that_was_preempted_once_is_not_said_to_wait(api: Api, cli: Cli, job: Object) -> None:
    job["spec"]["suspend"] = False
    job["status"] = {"active": 2, "ready": 1}
    api.queue_job(job, *RUNS_AGAIN)
    text = status(cli)
    assert "digits-worker in hpo-job: 2 workers indexes" in text
    assert "Previously" not in text


def test_why_a_job_that_kueue_let_in_has_no_pods(api: Api, cli: Cli, job: Object) -> None:
    """Kueue knows nothing of the namespace's own quotas and webhooks."""
    job["spec"]["suspend"] = False
    job["status"] = {}
    api.queue_job(job, *ADMITTED)
    api.note("Job", job["metadata"]["uid"], "Error creating: exceeded quota: small")
    assert "2 workers Error creating: exceeded quota: small indexes 0 active" in status(cli)


def test_status_of_more_workers_than_the_quota_has(
    api: Api, cli: Cli, job: Object, worker_pod: Callable[..., Object]
) -> None:
    """Two of four run: the Job has two Workloads, and the first of three has been replaced."""
    job["spec"].update(suspend=False, parallelism=4, completions=4)
    job["status"] = {"active": 4, "ready": 2}
    api.queue_job(job, *ADMITTED, REPLACED, name="job-digits-worker-86419")
    api.queue_job(job, *ADMITTED, name="job-digits-worker-86420")
    api.queue_job(job, FULL, podSets=[{"name": "main", "count": 4}])
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    pod = api.put("v1/pods", worker_pod(2, "Pending", conditions=[gated]))
    pod["spec"]["schedulingGates"] = [GATE]
    text = status(cli)
    assert "4 workers, more workers wait in queue default, for 4 in all couldn't assign" in text
    assert "index 2: waits until Kueue has quota for it" in text
    pod["spec"]["schedulingGates"] = [{"name": "example.com/licence"}]
    assert "waits for whoever has set its scheduling gates: example.com/licence" in status(cli)


def test_a_stop_that_half_succeeds_says_so(api: Api, cli: Cli, job: Object) -> None:
    """An elastic Job that waits for more quota has two Workloads."""
    job["spec"]["suspend"] = False
    api.queue_job(job, *ADMITTED, name="job-digits-worker-86420")
    api.queue_job(job, FULL)
    api.answer(f"patch {WORKLOAD}", 403, "forbidden")
    refused = cli("stop", "digits")
    assert refused.exit_code == 2
    assert "another Workload of the Job is changed already: run the command again" in refused.stderr
    api.answer(f"patch {WORKLOAD.replace('33186', '86420')}", 403, "forbidden")
    assert "is changed already" not in cli("resume", "digits").stderr


def test_stopping_deactivates_the_workloads(api: Api, cli: Cli, job: Object) -> None:
    """Kueue starts a Job again at once whose `suspend` somebody else has set."""
    job["spec"]["suspend"] = False
    ended = api.queue_job(job, *ADMITTED, REPLACED, name="job-digits-worker-86420")
    api.queue_job(job, *ADMITTED)
    done = cli("stop", "digits")
    assert done.exit_code == 0, done.output
    assert "job/digits-worker: stopped; its running trials are interrupted" in done.stdout
    assert api.objects[WORKLOAD]["spec"]["active"] is False
    assert "job/digits-worker: is stopped already" in cli("stop", "digits").stdout
    assert ended["spec"]["active"] is True
    assert job["spec"]["suspend"] is False  # that is Kueue's
    job["spec"]["suspend"] = True
    api.objects[WORKLOAD]["status"]["conditions"] = list(DEACTIVATED)
    text = status(cli)
    assert "hpo-job: stopped (hpo-job resume starts it again) indexes" in text
    assert "job/digits-worker: waits in queue default again" in cli("resume", "digits").stdout
    assert api.objects[WORKLOAD]["spec"]["active"] is True
    api.patches.clear()
    assert cli("resume", "digits").stdout == "job/digits-worker: was not stopped\n"
    assert api.patches == []


def test_why_kueue_has_stopped_a_job_for_good(api: Api, cli: Cli, job: Object) -> None:
    """Not recorded: as the controller's source has it."""
    message = (
        "The workload is deactivated due to exceeding the maximum number of re-queuing retries"
    )
    evicted = condition("Evicted", "True", "DeactivatedDueToRequeuingLimitExceeded", message)
    api.queue_job(job, evicted, active=False)
    assert f"stopped (hpo-job resume starts it again) {message}" in status(cli)


def test_stopping_before_kueue_has_seen_the_job(api: Api, cli: Cli, job: Object) -> None:
    job["metadata"].setdefault("labels", {})["kueue.x-k8s.io/queue-name"] = "default"
    refused = cli("stop", "digits")
    assert refused.exit_code == 2
    assert "Kueue has no Workload of Job digits-worker yet; is its controller" in refused.stderr


def test_what_scaling_means_in_a_queue(api: Api, cli: Cli, job: Object) -> None:
    api.queue_job(job, *ADMITTED)
    job["spec"]["template"]["spec"].pop("schedulingGates", None)
    said = cli("scale", "digits", "4").stdout
    assert "2 workers, 4 from now on; Kueue interrupts running trials, and starts" in said
    job["spec"]["template"]["spec"]["schedulingGates"] = [GATE]
    said = cli("scale", "digits", "6").stdout
    assert "4 workers, 6 from now on; the further ones start when queue default has quota" in said
    assert cli("scale", "digits", "1").stdout.endswith("6 workers, 1 from now on\n")


def test_submitting_says_that_a_job_in_a_queue_is_stopped(
    api: Api, cli: Cli, job: Object, secret: Object, tmp_path: Path
) -> None:
    api.put("v1/secrets", secret)
    digits = with_components(tmp_path / "queued", ("kueue",), ()) / "jobs/digits"
    api.queue_job(job, *DEACTIVATED, active=False)
    assert "the Job is stopped: hpo-job resume digits" in cli("submit", digits).stderr
    api.objects[WORKLOAD]["spec"]["active"] = True
    assert "the Job is stopped" not in cli("submit", digits).stderr


@pytest.mark.parametrize(
    ("denied", "differs"),
    [
        (
            'metadata.labels[kueue.x-k8s.io/queue-name]: Invalid value: "other": field is '
            "immutable",
            "kueue.x-k8s.io/queue-name",
        ),
        (
            "metadata.annotations[kueue.x-k8s.io/elastic-job]: Invalid value: true: field is "
            "immutable",
            "kueue.x-k8s.io/elastic-job",
        ),
    ],
)
def test_what_kueue_lets_nobody_change_needs_replace(
    api: Api,
    cli: Cli,
    job: Object,
    secret: Object,
    tmp_path: Path,
    denied: str,
    differs: str,
) -> None:
    """The webhook's refusal has the code of a missing right."""
    api.put("v1/secrets", secret)
    digits = with_components(tmp_path / "queued", ("kueue",), ()) / "jobs/digits"
    api.queue_job(job, *ADMITTED)
    job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "other"
    if "queue-name" in denied:
        job["metadata"]["annotations"] = {"kueue.x-k8s.io/elastic-job": "true"}
    else:
        job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "default"
    message = f'admission webhook "vjob.kb.io" denied the request: {denied}'
    api.answer(f"patch {JOBS}/digits-worker", 403, message)
    refused = cli("submit", digits)
    assert refused.exit_code == 2
    assert "exists already, with another " in refused.stderr
    assert f", {differs}; --replace ends it" in refused.stderr
    assert api.applied == []


def test_a_priority_class_that_is_taken_away_needs_replace(
    api: Api, cli: Cli, job: Object, secret: Object, tmp_path: Path
) -> None:
    """Of what a Job has no more, only what hpo-job has applied is taken away."""
    api.put("v1/secrets", secret)
    digits = with_components(tmp_path / "queued", ("kueue",), ()) / "jobs/digits"
    api.queue_job(job, *ADMITTED)
    priority, other = "kueue.x-k8s.io/priority-class", "kueue.x-k8s.io/of-somebody-else"
    job["metadata"]["labels"] |= {priority: "low", other: "kept"}
    job["metadata"]["annotations"] = {"kueue.x-k8s.io/elastic-job": "true"}
    labels: Object = {f"f:{priority}": {}, "f:app.kubernetes.io/name": {}}
    job["metadata"]["managedFields"] = [
        applied_by("hpo-job", labels),
        applied_by("kubectl", {f"f:{other}": {}}),
    ]
    message = (
        'admission webhook "vjob.kb.io" denied the request: metadata.labels[kueue.x-k8s.io/'
        "priority-class]: Forbidden: priority class cannot be removed from a workload"
    )
    api.answer(f"patch {JOBS}/digits-worker", 403, message)
    refused = cli("submit", digits)
    assert refused.exit_code == 2
    assert f", {priority}; --replace ends it" in refused.stderr
    assert other not in refused.stderr


def applied_by(manager: str, labels: Object) -> Object:
    """As the API server notes which fields somebody has applied."""
    fields = {"f:metadata": {"f:labels": labels}}
    return {"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields}


def test_any_other_refusal_of_a_webhook_is_passed_on(
    api: Api, cli: Cli, digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    message = 'admission webhook "images.example.com" denied the request: image is not signed'
    api.answer(f"patch {JOBS}/digits-worker", 403, message)
    refused = cli("submit", digits)
    assert f"the API server refuses: {message}" in refused.stderr
    assert "forbidden" not in refused.stderr


def test_the_logs_of_a_job_that_waits(api: Api, cli: Cli, job: Object) -> None:
    api.queue_job(job, *PREEMPTED)
    refused = cli("logs", "digits")
    assert refused.exit_code == 2
    assert (
        "none of the Job's pods runs: it waits in queue default, or was stopped" in refused.stderr
    )
