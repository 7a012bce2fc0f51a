"""What workers write, as `hpo-job logs` shows it, against a stand-in for the API server."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kmock
import pytest
from click.testing import Result

from hpo_job.cluster.client import Cluster
from hpo_job.errors import ClusterError
from tests import web
from tests.cluster.conftest import Api, Cut, kubeconfig
from tests.cluster.objects import JOB

Object = dict[str, Any]
LOG = "get /api/v1/namespaces/hpo-job/pods/digits-worker-{}-abcde/log"
RUNS: Object = {"containerStatuses": [{"image": "i", "state": {"running": {}}}]}
OVER: Object = {"conditions": [{"type": "Complete", "status": "True"}]}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpo_job.cluster.logs.LOOK", 0.1)


@pytest.fixture
def job(api: Api) -> Object:
    return api.put("batch/v1/jobs", copy.deepcopy(JOB))


def said(second: int, text: str) -> bytes:
    """A line as the API server gives it, behind its time."""
    return f"2026-01-01T00:00:{second:02}.000000000Z {text}\n".encode()


def answering(api: Api, pod: Object, job: Object, *answers: bytes | Exception) -> None:
    """Let each try to read the log have its answer; with the last one, pod and Job have ended."""
    left = [*answers]

    def log() -> bytes:
        if len(left) == 1:
            pod["status"]["phase"] = "Succeeded"
            job["status"] = OVER
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    api.answers[LOG.format(0)] = log


def test_a_log_that_went_with_its_node_does_not_hide_the_others(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    for index in (0, 1):
        api.put("v1/pods", worker_pod(index, **RUNS))
    api.answer(LOG.format(0), 500, "dial tcp: no route to host")
    api.answers[LOG.format(1)] = said(1, "hpo-job: trial 1 COMPLETE")
    done = cli("logs", "digits")
    assert done.exit_code == 0, done.output
    assert "0-abcde | hpo-job: the API server refuses: dial tcp: no route to host" in done.stdout
    assert "1-abcde | hpo-job: trial 1 COMPLETE" in done.stdout


def test_after_a_stop_it_says_where_logs_may_be(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    """A pod that failed before stays for a while, without its container and so without its log."""
    job["spec"]["suspend"] = True
    ended = [{"image": "i", "state": {"terminated": {"exitCode": 143}}}]
    api.put("v1/pods", worker_pod(0, "Failed", containerStatuses=ended))
    gone = "unable to retrieve container logs for containerd://13572bac0c0efa2e3df3942240"
    api.answers[LOG.format(0)] = gone.encode()
    gone_line, stopped_line = cli("logs", "digits").stdout.splitlines()
    assert gone_line == "0-abcde | hpo-job: its log is deleted, with its container"
    assert stopped_line.startswith("digits-worker | hpo-job: the Job is stopped")
    assert "a log collector" in stopped_line


def test_logs_are_merged_by_time_and_named_by_pod(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    job["status"] = OVER
    for index in (0, 1):
        ended = [{"image": "i", "state": {"terminated": {"exitCode": 0}}}]
        api.put("v1/pods", worker_pod(index, "Succeeded", containerStatuses=ended))
    api.answers[LOG.format(0)] = said(1, "trial 0") + said(4, "done")
    api.answers[LOG.format(1)] = said(2, "trial 1") + said(3, "done")
    done = cli("logs", "digits")
    lines = ["0-abcde | trial 0", "1-abcde | trial 1", "1-abcde | done", "0-abcde | done"]
    assert done.stdout.splitlines() == lines, done.output
    assert sorted(cli("logs", "digits", "-f").stdout.splitlines()) == sorted(lines)


def test_a_followed_log_goes_on_after_its_connection_was_cut(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    """No line is lost, and none comes twice, though the node has kept the latest ones only.

    What does not run says why.
    """
    pod = api.put("v1/pods", worker_pod(0, **RUNS))
    waits = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes available."}
    api.put("v1/pods", worker_pod(1, "Pending", conditions=[waits]))
    one, two, three = (said(second, str(second)) for second in (1, 2, 3))
    answering(api, pod, job, one, one + two, two + three)
    done = cli("logs", "digits", "-f")
    assert done.exit_code == 0, done.output
    assert sorted(done.stdout.splitlines()) == [
        "0-abcde | 1",
        "0-abcde | 2",
        "0-abcde | 3",
        "1-abcde | hpo-job: unschedulable: 0/1 nodes available.",
    ]


def test_what_a_pod_writes_between_a_cut_and_its_end_is_read(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    """A silent log is cut every minute; while nobody listens, the pod says why it fails."""
    pod = api.put("v1/pods", worker_pod(0, **RUNS))
    lines = [said(1, "starts")]

    def log() -> bytes:
        text = b"".join(lines)
        lines[1:] = [said(2, "its disk is full")]
        pod["status"]["phase"], job["status"] = "Failed", OVER
        return text

    api.answers[LOG.format(0)] = log
    said_of_it = cli("logs", "digits", "-f").stdout.splitlines()
    assert said_of_it == ["0-abcde | starts", "0-abcde | its disk is full"]


def test_what_an_ended_pod_has_written_is_read_to_its_end_after_a_cut(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    """Its log is not waited for, and so is read again from the last line that came."""
    job["status"] = OVER
    ended = [{"image": "i", "state": {"terminated": {"exitCode": 0}}}]
    api.put("v1/pods", worker_pod(0, "Succeeded", containerStatuses=ended))
    whole = [said(second, str(second)) for second in (1, 2, 3)]
    answers = [Cut(whole[0]), Cut(b"".join(whole[:2])), b"".join(whole)]
    api.answers[LOG.format(0)] = lambda: answers.pop(0)
    lines = cli("logs", "digits", "-f").stdout.splitlines()
    assert [line for line in lines if "does not answer" not in line] == [
        "0-abcde | 1",
        "0-abcde | 2",
        "0-abcde | 3",
    ]
    assert answers == []
    assert not any("follow" in query for query in api.queries)


def test_a_line_that_is_cut_in_half_comes_whole(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    pod = api.put("v1/pods", worker_pod(0, **RUNS))
    one, two = said(1, "one"), said(2, "two halves")
    answering(api, pod, job, Cut(one + two[:-8]), one + two)
    assert cli("logs", "digits", "-f").stdout.splitlines() == [
        "0-abcde | one",
        "0-abcde | two halves",
    ]


def test_a_worker_that_writes_before_its_pod_runs_is_followed(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    """Of two containers, one has started: the pod is pending still."""
    job["status"] = OVER
    pod = api.put("v1/pods", worker_pod(0, "Pending", **RUNS))
    one, two = said(1, "1"), said(2, "2")
    answering(api, pod, job, one, one + two)
    assert cli("logs", "digits", "-f").stdout.splitlines() == ["0-abcde | 1", "0-abcde | 2"]


def test_a_pod_that_is_deleted_while_its_log_is_followed(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    """As those of a Job that is scaled down or stopped: its log has ended, which is no error."""
    api.put("v1/pods", worker_pod(0, **RUNS))

    def log() -> bytes:
        if job["status"]:
            raise kmock.KubernetesError(404, "NotFound", 'pods "x" not found', {"kind": "pods"})
        api.delete("v1/pods", "digits-worker-0-abcde")
        job["status"] = OVER
        return said(1, "starts")

    api.answers[LOG.format(0)] = log
    assert cli("logs", "digits", "-f").stdout.splitlines() == ["0-abcde | starts"]


@pytest.mark.web
def test_a_log_that_is_cut_is_not_taken_for_a_whole_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = said(1, "starts")
    chunk = (
        f"{len(line):x}\r\n".encode() + line + b"\r\n"
    )  # the last one, which is empty, is missing
    with web.answering(200, chunk, {"Transfer-Encoding": "chunked"}) as url:
        kubeconfig(tmp_path / "kubeconfig", url)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        assert [text for _, text in Cluster().log("p", follow=True)] == ["starts"]
        with pytest.raises(ClusterError, match="does not answer"):
            list(Cluster().log("p"))


@pytest.mark.web
def test_a_refusal_that_is_cut_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with web.answering(500, b"4\r\nbusy\r\n", {"Transfer-Encoding": "chunked"}) as url:
        kubeconfig(tmp_path / "kubeconfig", url)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        with pytest.raises(ClusterError, match="does not answer"):
            list(Cluster().log("p", follow=True))


def test_a_followed_log_is_asked_for_again_after_a_refusal(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    """As a kubelet does that is started again; each refusal is reported once."""
    pod = api.put("v1/pods", worker_pod(0, **RUNS))
    away = kmock.KubernetesError(502, "", "the kubelet is away", {})
    answering(api, pod, job, said(1, "1"), away, away, said(4, "4"))
    assert cli("logs", "digits", "-f").stdout.splitlines() == [
        "0-abcde | 1",
        "0-abcde | hpo-job: the API server refuses: the kubelet is away",
        "0-abcde | 4",
    ]


def test_what_a_node_says_in_the_place_of_a_log(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    """It bears no time, so the log is asked for again from where it was."""
    pod = api.put("v1/pods", worker_pod(0, **RUNS))
    words = b"failed to create fsnotify watcher\n"
    answering(api, pod, job, said(1, "one"), words, words, said(1, "one") + said(2, "two"))
    assert cli("logs", "digits", "-f").stdout.splitlines() == [
        "0-abcde | one",
        "0-abcde | failed to create fsnotify watcher",
        "0-abcde | two",
    ]


def test_a_log_that_may_not_be_read_is_not_asked_for_again(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    api.put("v1/pods", worker_pod(0, **RUNS))
    message = 'pods "x" is forbidden: User "ann" cannot get resource "pods/log" in API group ""'
    asked = []

    def log() -> bytes:
        asked.append(1)
        job["status"] = OVER
        raise kmock.KubernetesError(403, "", message, {})

    api.answers[LOG.format(0)] = log
    assert "forbidden: this account may not get pods/log" in cli("logs", "digits", "-f").stdout
    assert len(asked) == 1


def test_following_goes_on_over_an_api_server_that_is_away(
    api: Api, cli: Callable[..., Result], job: Object, worker_pod: Callable[..., Object]
) -> None:
    looks = []

    def pods() -> Object:
        looks.append(1)
        if len(looks) in (2, 3):
            raise kmock.KubernetesError(500, "", "etcd is away", {})
        if len(looks) == 4:
            job["status"] = OVER
        return {"items": []}

    api.answers["get /api/v1/namespaces/hpo-job/pods"] = pods
    done = cli("logs", "digits", "-f")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("etcd is away; trying again") == 1


def test_after_a_stop_it_is_said_where_the_logs_went(
    api: Api, cli: Callable[..., Result], job: Object
) -> None:
    """Stopping a Job deletes its pods; Kueue's waiting is no stop."""
    job["spec"]["suspend"] = True
    refused = cli("logs", "digits")
    assert refused.exit_code == 2
    assert "which deleted the running pods and their logs; a log collector" in refused.stderr
    job["metadata"].setdefault("labels", {})["kueue.x-k8s.io/queue-name"] = "default"
    assert "the Job is stopped" not in cli("logs", "digits").stderr


def test_of_many_pods_the_latest_lines_are_read(
    api: Api,
    cli: Callable[..., Result],
    job: Object,
    worker_pod: Callable[..., Object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection for each of a thousand pods is more than a laptop may open."""
    monkeypatch.setattr("hpo_job.cluster.logs.MOST", 2)
    monkeypatch.setattr("hpo_job.cluster.logs.LATEST", 7)
    for index in range(3):
        api.put("v1/pods", worker_pod(index, **RUNS))
        api.answers[LOG.format(index)] = said(9 - index, f"trial {index}")
    lines = cli("logs", "digits").stdout.splitlines()
    assert lines[0].startswith("digits-worker | hpo-job: 3 pods: the latest 7 lines of each; ")
    assert lines[1:] == ["2-abcde | trial 2", "1-abcde | trial 1", "0-abcde | trial 0"]
    assert sum(query.get("tailLines") == "7" for query in api.queries) == 3
    api.delete("v1/pods", "digits-worker-2-abcde")
    assert len(cli("logs", "digits").stdout.splitlines()) == 2
    assert sum("tailLines" in query for query in api.queries) == 3


def test_of_many_pods_some_are_followed_at_a_time(
    api: Api,
    cli: Callable[..., Result],
    job: Object,
    worker_pod: Callable[..., Object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hpo_job.cluster.logs.MOST", 1)
    job["status"] = OVER
    for index in range(3):
        ended = [{"image": "i", "state": {"terminated": {"exitCode": 0}}}]
        api.put("v1/pods", worker_pod(index, "Succeeded", containerStatuses=ended))
        api.answers[LOG.format(index)] = said(1, f"trial {index}")
    lines = cli("logs", "digits", "-f").stdout.splitlines()
    assert [line for line in lines if "trial" in line] == [
        "0-abcde | trial 0",
        "1-abcde | trial 1",
        "2-abcde | trial 2",
    ]
    assert len([line for line in lines if "follows 1 pod at a time" in line]) == 1
