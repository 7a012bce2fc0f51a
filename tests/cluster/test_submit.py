"""What `submit` sends and says, against a stand-in for the API server."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from tests import ROOT
from tests.cluster.conftest import Api
from tests.cluster.objects import node
from tests.manifests.renders import with_components

Object = dict[str, Any]
pytestmark = pytest.mark.usefixtures("namespace")


def test_what_is_previewed_is_what_is_sent(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    preview = cli("submit", digits, "--workers", "3", "--dry-run")
    assert preview.exit_code == 0, preview.output
    assert api.applied == []
    assert api.dry_runs == 3
    done = cli("submit", digits, "--workers", "3")
    assert done.exit_code == 0, done.output
    assert api.applied == list(yaml.safe_load_all(preview.stdout))
    (sent,) = [thing for thing in api.applied if thing["kind"] == "Job"]
    assert sent["spec"]["parallelism"] == sent["spec"]["completions"] == 3
    for command in ("status digits --cluster", "logs digits -f", "results digits --cluster"):
        assert command in done.stdout
    assert max(map(len, done.stdout.splitlines()[-3:])) <= 80


def test_a_warning_of_models_that_are_deleted_with_their_pods(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    """Of a study that keeps some, where neither a bucket nor a volume does."""
    api.put("v1/secrets", secret)
    cautions = "are deleted with their pods"
    assert cautions not in cli("submit", digits, "--dry-run").stderr
    animals = digits.parent / "people-vs-animals"
    shutil.copytree(ROOT / "jobs/people-vs-animals", animals, ignore=shutil.ignore_patterns(".hpo"))
    assert cautions in cli("submit", animals, "--dry-run").stderr
    study, kept = animals / "study.toml", (animals / "study.toml").read_text()
    for table in ('store = "s3://models"', "keep = 0"):
        study.write_text(f"{kept}\n[artifacts]\n{table}\n")
        assert cautions not in cli("submit", animals, "--dry-run").stderr
    study.write_text(kept)
    volume = {"name": "cache", "persistentVolumeClaim": {"claimName": "c"}, "emptyDir": None}
    file = animals / "kustomization.yaml"
    patch = {"spec": {"template": {"spec": {"volumes": [volume]}}}}
    whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "worker"}, **patch}
    manifest = yaml.safe_load(file.read_text())
    manifest["patches"].append({"target": {"kind": "Job"}, "patch": yaml.safe_dump(whole)})
    file.write_text(yaml.safe_dump(manifest))
    api.put("v1/persistentvolumeclaims", {"metadata": {"name": "c"}, "status": {}})
    done = cli("submit", animals, "--dry-run")
    assert "claimName: c" in done.stdout
    assert cautions not in done.stderr


@pytest.mark.parametrize("name", ["2024", "1e3", "null"])
def test_a_name_that_yaml_would_take_for_something_else(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object, name: str
) -> None:
    api.put("v1/secrets", secret)
    (digits / "kustomization.yaml").unlink()
    study = digits / "study.toml"
    study.write_text(study.read_text().replace('name = "digits"', f'name = "{name}"'))
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    assert f"job/{name}-worker" in done.stdout


def test_manifests_under_another_of_kustomizes_names(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    (digits / "kustomization.yaml").rename(digits / "kustomization.yml")
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    assert not (digits / "kustomization.yaml").exists()


def test_a_name_of_no_pod_leaves_no_manifests(
    api: Api, cli: Callable[..., Result], digits: Path
) -> None:
    (digits / "kustomization.yaml").unlink()
    study = digits / "study.toml"
    study.write_text(study.read_text().replace('name = "digits"', f'name = "{"x" * 60}"'))
    assert "characters too long" in cli("submit", digits).stderr
    assert not (digits / "kustomization.yaml").exists()


def test_a_folder_without_manifests_gets_them(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    (digits / "kustomization.yaml").unlink()
    preview = cli("submit", digits, "--workers", "5", "--dry-run")
    assert "parallelism: 5" in preview.stdout
    assert not (digits / "kustomization.yaml").exists()
    done = cli("submit", digits, "--workers", "5")
    assert done.exit_code == 0, done.output
    assert "wrote" in done.stderr
    assert (digits / "kustomization.yaml").is_file()


def test_what_was_set_is_passed_on_to_the_workers(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    done = cli("submit", digits, "--set", "budget.trials=7", "--dry-run")
    assert done.exit_code == 0, done.output
    assert f"--set budget.trials=7, instead of {digits}/study.toml's" in done.stderr
    (job,) = [each for each in yaml.safe_load_all(done.stdout) if each["kind"] == "Job"]
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    assert worker["args"] == ["worker", "/job", "--no-wait", "--set", "budget.trials=7"]
    assert cli("submit", digits, "--set", "budget.trails=7").exit_code == 2


def test_what_the_server_warns_of_is_shown(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    api.warnings.append('would violate PodSecurity \\"restricted:latest\\"')
    done = cli("submit", digits)
    assert done.stderr.count('hpo-job: would violate PodSecurity "restricted:latest"') == 1


def test_how_many_workers_have_space(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    """Four CPUs, of which three are used, and each worker asks for one."""
    api.put("v1/secrets", secret)
    api.put("v1/nodes", node("a"), namespace=None)
    asks = {"resources": {"requests": {"cpu": "3"}}}
    used = {
        "metadata": {"name": "p"},
        "status": {"phase": "Running"},
        "spec": {"nodeName": "a", "containers": [asks]},
    }
    api.put("v1/pods", used, namespace="of-others")
    said = cli("submit", digits, "--workers", "3", "--dry-run").stderr
    asked = "cpu 1, ephemeral-storage 2Gi, memory 2Gi"
    assert f"the nodes have space for 1 more worker (each asks for {asked})" in said
    assert "the other 2 will wait" in said
    api.put("v1/nodes", node("a", unschedulable=True), namespace=None)
    assert "no node takes it, because of taints" in cli("submit", digits, "--dry-run").stderr
    api.put("v1/nodes", node("a"), namespace=None)
    used["status"] = {"phase": "Failed"}
    assert "1 node with space for 4 more workers;" in cli("submit", digits, "--dry-run").stderr
    api.answer("get /api/v1/pods", 403, "forbidden")
    assert (
        "space for 4 more workers, if nothing else ran there"
        in cli("submit", digits, "--dry-run").stderr
    )


def test_gpu_nodes_may_come(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    copy = with_components(digits.parents[1] / "gpu", ("gpu",), ())
    api.put("v1/secrets", secret)
    refused = cli("submit", copy / "jobs/digits")
    assert refused.exit_code == 2
    assert "--nodes-may-come" in refused.stderr
    done = cli("submit", copy / "jobs/digits", "--nodes-may-come")
    assert done.exit_code == 0, done.output
    assert "pods wait, unless the cluster adds such a node" in done.stderr
    assert len(api.applied) == 3
