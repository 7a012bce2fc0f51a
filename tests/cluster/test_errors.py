"""Every refusal of a cluster is reported on one line that says how to fix it."""

from __future__ import annotations

import base64
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kmock
import pytest
import yaml
from click.testing import Result

from hpo_job.cluster.names import check_job_name
from hpo_job.errors import ClusterError
from tests.cluster.conftest import Api, kubeconfig
from tests.cluster.objects import JOB, JOBS
from tests.web import answering

Object = dict[str, Any]


@pytest.fixture
def line(cli: Callable[..., Result]) -> Callable[..., str]:
    """Runs hpo-job, which must fail with exit code 2 and one line, and returns that."""

    def invoke(*arguments: str | Path, code: int = 2) -> str:
        result = cli(*arguments)
        assert result.exit_code == code, result.output
        lines = [each for each in result.stderr.splitlines() if "not checked" not in each]
        assert len(lines) == 1, result.stderr
        return lines[0]

    return invoke


def test_no_kubeconfig(
    line: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    said = line("scale", "digits", "2")
    assert "no kubeconfig" in said
    assert "set KUBECONFIG" in said


def test_an_api_server_may_take_longer_to_answer_than_to_connect(
    api: Api, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that is busy with a thousand pods."""
    monkeypatch.setattr("hpo_job.cluster.connection.TIMEOUT", (0.2, 60))

    def slowly() -> Object:
        time.sleep(0.5)
        return JOB

    api.put("batch/v1/jobs", copy.deepcopy(JOB))
    api.answers[f"get {JOBS}/digits-worker"] = slowly
    done = cli("scale", "digits", "3")
    assert done.exit_code == 0, done.output
    assert set(api.encodings) == {"gzip"}  # a list of 1,000 pods is 11 MB otherwise


def test_an_unknown_context(api: Api, line: Callable[..., str]) -> None:
    assert "context 'nope' is not in the kubeconfig" in line("stop", "x", "--context", "nope")


def test_nobody_answers(
    line: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kubeconfig(tmp_path / "dead", "http://127.0.0.1:9")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "dead"))
    said = line("delete", "digits", "--cluster")
    assert "the API server http://127.0.0.1:9 of context x does not answer: Failed to " in said
    assert "refused" in said


def test_forbidden_names_verb_and_resource(api: Api, line: Callable[..., str]) -> None:
    api.put("batch/v1/jobs", JOB)
    api.answer(
        f"patch {JOBS}/digits-worker",
        403,
        'jobs.batch "digits-worker" is forbidden: User "ann" cannot patch resource "jobs" in API '
        'group "batch" in the namespace "hpo-job"',
    )
    said = line("scale", "digits", "4")
    assert "this account may not patch jobs.batch in namespace hpo-job" in said


def test_expired_credentials(api: Api, line: Callable[..., str]) -> None:
    api.answer(f"get {JOBS}/digits-worker", 401, "Unauthorized")
    assert "log in again" in line("scale", "digits", "4")


def test_a_missing_namespace(api: Api, line: Callable[..., str], digits: Path) -> None:
    api.answer("get /api/v1/namespaces/hpo-job", 404, "not found", kind="namespaces")
    said = line("submit", digits)
    assert "namespace hpo-job does not exist; `kubectl apply -k k8s/cluster`" in said


@pytest.mark.parametrize(
    "command",
    [
        "status digits --cluster",
        "results digits --cluster",
        "logs digits",
        "scale digits 2",
        "stop digits",
        "delete digits --cluster",
    ],
)
def test_a_misspelt_namespace(api: Api, line: Callable[..., str], command: str) -> None:
    """It is named, rather than what cannot be found in it."""
    assert "namespace nope does not exist; `kubectl apply -k k8s/cluster`" in line(
        *command.split(), "-n", "nope"
    )


@pytest.mark.web
def test_a_proxy_before_a_server_that_is_not_there(
    line: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its 404 says nothing of the Job, which would be taken to be gone."""
    with answering(404, b"default backend - 404") as url:
        kubeconfig(tmp_path / "proxy", url)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "proxy"))
        for command in (
            "status digits --cluster",
            "results digits --cluster",
            "logs digits",
            "delete digits --cluster",
        ):
            assert "answers, but not as a Kubernetes API server does" in line(*command.split())


def test_a_kind_that_the_cluster_does_not_know(
    api: Api, line: Callable[..., str], digits: Path, secret: Object
) -> None:
    """Of a group that is not there, of which an API server says no more than 404."""
    api.put("v1/namespaces", {"metadata": {"name": "hpo-job"}}, namespace=None)
    api.put("v1/secrets", secret)
    queue = {
        "apiVersion": "kueue.x-k8s.io/v1beta1",
        "kind": "LocalQueue",
        "metadata": {"name": "q"},
    }
    (digits / "queue.yaml").write_text(yaml.safe_dump(queue))
    file = digits / "kustomization.yaml"
    file.write_text(file.read_text().replace("resources:\n", "resources:\n  - queue.yaml\n", 1))
    group = "get /apis/kueue.x-k8s.io/v1beta1"
    api.answers[group] = lambda: bare(404, b"404 page not found")
    said = line("submit", digits)
    assert "kueue.x-k8s.io/v1beta1 LocalQueue: this cluster does not know this kind" in said
    api.answers[group] = lambda: bare(503, b"<html>no backend</html>")
    assert "answers, but not as a Kubernetes API server does" in line("submit", digits)


def bare(status: int, page: bytes) -> Any:
    return kmock.Response(status=status, payload=page)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n- list\n", "not a kustomization"),
        ("just words", "not a kustomization"),
        ("a: [", "not valid YAML"),
        ("patches: [{patch: 'a: ['}]", "kustomization.yaml: patches: "),
    ],
)
@pytest.mark.usefixtures("namespace")
def test_settings_that_are_none(
    api: Api, line: Callable[..., str], digits: Path, text: str, says: str
) -> None:
    (digits.parents[1] / "k8s/settings/kustomization.yaml").write_text(text)
    assert says in line("results", digits, "--cluster")


@pytest.mark.usefixtures("namespace")
def test_a_missing_secret(api: Api, line: Callable[..., str], digits: Path) -> None:
    said = line("submit", digits)
    assert "Secret hpo-job-storage is missing in namespace hpo-job" in said
    assert "hpo-job database" in said
    assert api.applied == []


def test_a_secret_without_a_url(api: Api, line: Callable[..., str]) -> None:
    api.put("v1/secrets", {"metadata": {"name": "hpo-job-storage"}, "data": {}})
    assert "has no key `url`" in line("results", "digits", "--cluster")


@pytest.mark.usefixtures("namespace")
def test_the_settings_name_the_secret_where_no_job_does(
    api: Api, line: Callable[..., str], digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A week after the last Job has ended, its results are still wanted."""
    clone = digits.parents[1]
    file = clone / "k8s/settings/kustomization.yaml"
    file.write_text(file.read_text().replace("secretName: hpo-job-storage", "secretName: ours"))
    monkeypatch.chdir(clone)
    assert "Secret ours is missing" in line("results", "digits", "--cluster")


@pytest.mark.usefixtures("namespace")
def test_an_exceeded_quota(
    api: Api, line: Callable[..., str], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    hard, used = {"requests.cpu": "4"}, {"requests.cpu": "3500m"}
    api.put(
        "v1/resourcequotas",
        {"metadata": {"name": "small"}, "spec": {}, "status": {"hard": hard, "used": used}},
    )
    said = line("submit", digits)
    assert "quota small in namespace hpo-job: requests.cpu 4, of which 3.5 are used" in said
    assert api.applied == []


@pytest.mark.usefixtures("namespace")
def test_a_quota_that_the_server_counts(api: Api, line: Callable[..., str], digits: Path) -> None:
    api.answer(
        f"patch {JOBS}/digits-worker",
        403,
        'jobs.batch "digits-worker" is forbidden: exceeded quota: few, requested: '
        "count/jobs.batch=1, used: count/jobs.batch=3, limited: count/jobs.batch=3",
    )
    said = line("submit", digits)
    assert "quota few, requested: count/jobs.batch=1" in said


@pytest.mark.usefixtures("namespace")
def test_what_the_schema_refuses(api: Api, line: Callable[..., str], digits: Path) -> None:
    causes = [{"field": "spec.template.spec.containers[0].image", "message": "Required value"}]
    api.answer(
        f"patch {JOBS}/digits-worker",
        422,
        "Job is invalid",
        kind="Job",
        name="digits-worker",
        causes=causes,
    )
    assert "Job digits-worker: spec.template.spec.containers[0].image: Required value" in line(
        "submit", digits
    )


@pytest.mark.usefixtures("namespace")
def test_no_gpus(api: Api, line: Callable[..., str], digits: Path, secret: Object) -> None:
    from tests.manifests.renders import with_components

    copy = with_components(digits.parents[1] / "gpu", ("gpu",), ())
    api.put("v1/secrets", secret)
    node = {
        "metadata": {"name": "n"},
        "spec": {},
        "status": {"allocatable": {"cpu": "8", "memory": "32Gi", "ephemeral-storage": "9Gi"}},
    }
    api.put("v1/nodes", node, namespace=None)
    said = line("submit", copy / "jobs/digits")
    assert "no node has nvidia.com/gpu 1" in said


def test_an_image_that_cannot_be_pulled(
    api: Api, line: Callable[..., str], worker_pod: Callable[..., Object]
) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image: not found"}
    containers = [{"image": "registry/hpo-job:1", "state": {"waiting": waiting}}]
    api.put("batch/v1/jobs", JOB)
    api.put("v1/pods", worker_pod(0, "Pending", containerStatuses=containers))
    said = line("logs", "digits")
    assert "image registry/hpo-job:1 cannot be pulled: Back-off pulling image: not found" in said


def test_an_unschedulable_pod(
    api: Api, line: Callable[..., str], worker_pod: Callable[..., Object]
) -> None:
    why = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
    }
    api.put("batch/v1/jobs", JOB)
    api.put("v1/pods", worker_pod(0, "Pending", conditions=[why]))
    assert "unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu." in line(
        "logs", "digits"
    )


def test_a_database_that_is_not_ready(api: Api, line: Callable[..., str]) -> None:
    url = base64.b64encode(b"mysql+pymysql://hpo:s3cret@hpo-job-mysql:3306/hpo").decode()
    api.put("v1/secrets", {"metadata": {"name": "hpo-job-storage"}, "data": {"url": url}})
    selector = {"app.kubernetes.io/component": "mysql"}
    api.put("v1/services", {"metadata": {"name": "hpo-job-mysql"}, "spec": {"selector": selector}})
    said = line("results", "digits", "--cluster")
    assert "the database hpo-job-mysql in namespace hpo-job is not ready: it has no pod" in said
    assert "s3cret" not in said
    waiting = {"type": "PodScheduled", "status": "False", "message": "no volume"}
    api.put(
        "v1/pods",
        {
            "metadata": {"name": "hpo-job-mysql-0", "labels": selector},
            "spec": {},
            "status": {"phase": "Pending", "conditions": [waiting]},
        },
    )
    said = line("results", "digits", "--cluster")
    assert "pod hpo-job-mysql-0: unschedulable: no volume" in said


@pytest.mark.parametrize(
    ("name", "workers", "problem"),
    [
        ("a" * 62, 1, "1 character too long"),
        ("a" * 60, 100, "0 characters"),
        ("Upper", 1, "not a DNS label"),
        ("dot.ted", 1, "not a DNS label"),
        ("-dash", 1, "not a DNS label"),
    ],
)
def test_a_name_that_no_pod_can_have(name: str, workers: int, problem: str) -> None:
    if problem.startswith("0"):
        check_job_name(name, workers)
        with pytest.raises(ClusterError, match="1 character too long"):
            check_job_name(name, workers + 1)
        return
    with pytest.raises(ClusterError, match=problem):
        check_job_name(name, workers)


def test_a_study_with_a_long_name(api: Api, line: Callable[..., str], digits: Path) -> None:
    name = "n" * 60
    for file in (digits / "study.toml", digits / "kustomization.yaml"):
        file.write_text(
            file.read_text()
            .replace('name = "digits"', f'name = "{name}"')
            .replace('namePrefix: "digits-', f'namePrefix: "{name}-')
            .replace('instance: "digits', f'instance: "{name}')
        )
    assert "give the study a shorter name" in line("submit", digits)


@pytest.mark.usefixtures("namespace")
def test_a_job_that_is_not_there(api: Api, line: Callable[..., str]) -> None:
    assert "has no Job nothing-worker" in line("scale", "nothing", "2")
    assert "nothing was submitted for nothing" in line("delete", "nothing", "--cluster")
    also = line("delete", "nothing", "--cluster", "--study", "--yes")
    assert "nothing was submitted" not in also  # its trials may be there still
    assert "hpo-job-storage" in also


def test_a_file_that_pods_would_miss(api: Api, line: Callable[..., str], digits: Path) -> None:
    file = digits / "kustomization.yaml"
    file.write_text(file.read_text().replace("      - objective.py\n", ""))
    assert "objective.py is not among the files of `study`" in line("submit", digits)


def test_a_copied_job_that_was_not_renamed(
    api: Api, line: Callable[..., str], digits: Path
) -> None:
    study = digits / "study.toml"
    study.write_text(study.read_text().replace('name = "digits"', 'name = "mine"'))
    assert "write namePrefix: mine-" in line("submit", digits)
