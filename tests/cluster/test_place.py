"""Which namespace a command means, and that everything it sends goes there."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from hpo_job.cluster.names import worker_labels
from tests.cluster.conftest import Api
from tests.cluster.objects import JOB
from tests.manifests.renders import with_components

Object = dict[str, Any]


def there(api: Api, secret: Object, namespace: str) -> None:
    api.put("v1/namespaces", {"metadata": {"name": namespace}}, namespace=None)
    api.put("v1/secrets", secret, namespace)


def theirs(clone: Path) -> Path:
    """Let a clone's settings name another namespace; their file."""
    file = clone / "k8s/settings/kustomization.yaml"
    file.write_text(file.read_text().replace("namespace: hpo-job\n", "namespace: theirs\n"))
    return file


def test_a_namespace_that_is_given_is_where_all_of_it_goes(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    there(api, secret, "other")
    preview = cli("submit", digits, "-n", "other", "--dry-run")
    assert preview.stdout.count("namespace: other") == 3, preview.output
    done = cli("submit", digits, "-n", "other")
    assert done.exit_code == 0, done.output
    assert {thing["metadata"]["namespace"] for thing in api.applied} == {"other"}
    assert "in namespace other" in done.stdout
    for command in ("status digits --cluster --watch", "logs digits -f", "results digits"):
        (line,) = [each for each in done.stdout.splitlines() if f"hpo-job {command}" in each]
        assert " -n other " in line
    assert cli("scale", "digits", "5", "-n", "other").exit_code == 0


def test_the_settings_of_the_jobs_own_clone_count(
    api: Api,
    cli: Callable[..., Result],
    digits: Path,
    secret: Object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From wherever it is submitted, and for what is asked of it later."""
    settings = theirs(digits.parents[1])
    there(api, secret, "theirs")
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    assert {thing["metadata"]["namespace"] for thing in api.applied} == {"theirs"}
    for line in done.stdout.splitlines()[-3:]:  # which give its name, not its folder
        assert " -n theirs " in line
    assert "digits-worker in theirs" in cli("status", digits, "--cluster").stdout
    assert "/nowhere/studies.db: no such file" in cli("results", digits, "--cluster").stderr
    api.delete("v1/secrets", "hpo-job-storage", "theirs")
    settings.write_text(
        settings.read_text().replace("secretName: hpo-job-storage", "secretName: s")
    )
    api.delete("batch/v1/jobs", "digits-worker", "theirs")
    missing = "Secret s is missing in namespace theirs"
    assert missing in cli("results", digits, "--cluster").stderr
    assert missing in cli("compare", digits, digits, "--cluster").stderr
    monkeypatch.chdir(digits.parents[1])
    assert missing in cli("results", "digits", "--cluster").stderr


def test_in_the_clone_no_command_needs_the_namespace(
    api: Api,
    cli: Callable[..., Result],
    digits: Path,
    secret: Object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there(api, secret, "hpo-job")
    monkeypatch.chdir(digits.parents[1])
    done = cli("submit", "digits")
    assert done.exit_code == 0, done.output
    assert " -n " not in done.stdout


def test_a_job_folder_may_have_a_namespace_of_its_own(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    """As by hand: ``kubectl apply -k`` sends it there."""
    file = digits / "kustomization.yaml"
    file.write_text(f"namespace: team-a\n{file.read_text()}")
    there(api, secret, "team-a")
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    assert {thing["metadata"]["namespace"] for thing in api.applied} == {"team-a"}
    assert cli("scale", digits, "5").exit_code == 0
    assert "digits-worker in team-a" in cli("status", digits, "--cluster").stdout


def test_a_folder_outside_of_the_clone_that_it_is_submitted_from(
    api: Api,
    cli: Callable[..., Result],
    digits: Path,
    secret: Object,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """It is built on that clone's k8s/worker, so that clone's settings say where it goes."""
    theirs(digits.parents[1])
    there(api, secret, "theirs")
    monkeypatch.chdir(digits.parents[1])
    job = digits.rename(tmp_path / "elsewhere")
    (job / "kustomization.yaml").unlink()
    done = cli("submit", job)
    assert done.exit_code == 0, done.output
    assert {thing["metadata"]["namespace"] for thing in api.applied} == {"theirs"}
    assert " -n " not in done.stdout


def test_manifests_of_another_clone_than_the_settings(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, tmp_path: Path
) -> None:
    """By hand they would go elsewhere, so somebody has to choose."""
    other = with_components(tmp_path / "other", (), ())
    theirs(other)
    file = digits / "kustomization.yaml"
    file.write_text(file.read_text().replace("../../k8s", "../../../other/k8s"))
    for name in ("hpo-job", "theirs"):
        there(api, secret, name)
    refused = cli("submit", digits)
    assert refused.exit_code == 2
    assert "renders namespace theirs, where k8s/settings here" in refused.stderr
    assert api.applied == []
    assert cli("submit", digits, "-n", "theirs").exit_code == 0


@pytest.mark.parametrize("option", ["-n", "--context"])
def test_a_place_on_a_cluster_implies_the_cluster(
    api: Api, cli: Callable[..., Result], option: str
) -> None:
    """A study of the same name on this machine is not what was asked for."""
    api.put("v1/namespaces", {"metadata": {"name": "team"}}, namespace=None)
    value = {"-n": "team", "--context": "x"}[option]
    for command in ("results", "status"):
        said = cli(command, "digits", option, value).output
        assert "namespace" in said or "in team" in said
        assert "no such file" in cli(command, "digits", HPO_JOB_NAMESPACE="team").stderr


def test_of_two_databases_in_a_namespace_the_studys_own_is_read(
    api: Api, cli: Callable[..., Result], namespace: None
) -> None:
    for name, secret in (("digits", "ours"), ("other", "theirs")):
        job = copy.deepcopy(JOB)
        job["metadata"].update(name=f"{name}-worker", labels=worker_labels(name))
        job["spec"]["template"]["spec"]["volumes"] = [
            {"name": "storage", "secret": {"secretName": secret}}
        ]
        api.put("batch/v1/jobs", job)
    assert "Secret ours is missing" in cli("results", "digits", "--cluster").stderr
    assert "Secret theirs is missing" in cli("results", "other", "--cluster").stderr


@pytest.mark.parametrize("study", ["My study", "digits"])
def test_a_study_that_was_not_submitted_is_read_all_the_same(
    api: Api,
    cli: Callable[..., Result],
    digits: Path,
    namespace: None,
    study: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One with a name that is no label's value, and one whose folder is half written."""
    (digits / "study.toml").write_text("half = ")
    monkeypatch.chdir(digits.parents[1])
    assert "Secret hpo-job-storage is missing" in cli("results", study, "--cluster").stderr


def test_outside_of_a_clone_the_context_says(
    api: Api, cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.put("batch/v1/jobs", copy.deepcopy(JOB), "of-context")
    file = tmp_path / "kubeconfig"
    file.write_text(
        file.read_text().replace("cluster: c\n", "cluster: c\n    namespace: of-context\n", 1)
    )
    monkeypatch.chdir(tmp_path)
    assert "cluster: c\n    namespace" in file.read_text()
    assert cli("scale", "digits", "3").exit_code == 0
    assert "namespace hpo-job does not" in cli("scale", "digits", "3", "-n", "hpo-job").stderr


def test_a_database_in_a_namespace_that_is_given(
    api: Api, cli: Callable[..., Result], digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(digits.parents[1])
    api.put("v1/namespaces", {"metadata": {"name": "other"}}, namespace=None)
    ready_pod(api, "other")
    monkeypatch.setattr("hpo_job.cluster.server.log_in", lambda cluster, secret: None)
    done = cli("database", "-n", "other")
    assert done.exit_code == 0, done.output
    for thing in (*api.applied, *api.created):
        assert thing["metadata"]["namespace"] == "other"
    assert "hpo-job submit JOB -n other" in done.stdout


def test_a_storage_that_is_given_twice(
    api: Api, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be one of them, and nothing said which."""
    monkeypatch.setenv("HPO_JOB_STORAGE", "sqlite:///here.db")
    for command in ("results", "status"):
        refused = cli(command, "digits", "--cluster")
        assert refused.exit_code == 2
        assert "set twice, by --cluster" in refused.stderr


def ready_pod(api: Api, namespace: str = "hpo-job", ready: str = "True") -> Object:
    """The database's pod."""
    labels = {"app.kubernetes.io/name": "hpo-job", "app.kubernetes.io/component": "mysql"}
    return api.put(
        "v1/pods",
        {
            "metadata": {"name": "hpo-job-mysql-0", "uid": "m", "labels": labels},
            "spec": {},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
        },
        namespace,
    )


def decoded(thing: Object) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in thing["data"].items()}
