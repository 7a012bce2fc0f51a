"""kubectl and hpo-job, one after the other on the same Job: a real kubectl, and the stand-in."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from hpo_job.cluster.render import kubectl, render
from tests.cluster.conftest import Api
from tests.cluster.objects import JOBS
from tests.manifests.renders import with_components

Object = dict[str, Any]
Cli = Callable[..., Result]
pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("namespace")]


def apply(job: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """``kubectl apply -k``; the stand-in has no schemas to validate against."""
    command = [kubectl(), "apply", "-k", str(job), "--validate=false", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def submitted(api: Api, cli: Cli, digits: Path, secret: Object) -> Path:
    """The folder of a Job that hpo-job has submitted, with the folder's two workers."""
    api.put("v1/secrets", secret)
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    assert "kubectl apply -k would set" not in done.stderr
    api.patches.clear()
    return digits


def workers(api: Api) -> int:
    return int(api.objects[f"{JOBS}/digits-worker"]["spec"]["parallelism"])


def write_workers(job: Path, number: int) -> None:
    file = job / "kustomization.yaml"
    file.write_text(file.read_text().replace("value: 2}", f"value: {number}}}"))


def test_kubectl_changes_nothing_that_was_submitted(api: Api, submitted: Path) -> None:
    """But for the annotation that it keeps its last manifest in."""
    done = apply(submitted)
    assert done.returncode == 0, done.stderr
    assert len(api.patches) == 3
    for patch in api.patches:
        assert set(patch["metadata"]) == {"annotations"}
        # an empty list, which the API server takes for none
        assert patch.get("spec") in (None, {"template": {"spec": {"tolerations": []}}})


@pytest.mark.parametrize("command", ["scale", "submit"])
def test_whoever_scales_is_warned_of_kubectl(
    api: Api, cli: Cli, submitted: Path, command: str
) -> None:
    """It writes every field of the manifests; the number can be kept by writing it there."""
    scaled = cli("scale", submitted, "8") if command == "scale" else None
    scaled = scaled or cli("submit", submitted, "--workers", "8")
    assert f"8 workers, and {submitted}/kustomization.yaml says 2" in scaled.stderr
    assert "which kubectl apply -k would set: write 8 there" in scaled.stderr
    write_workers(submitted, 8)
    assert apply(submitted).returncode == 0
    assert workers(api) == 8
    assert "kubectl apply -k would set" not in cli("scale", submitted, "8").stderr
    write_workers(submitted, 2)


def test_server_side_there_is_no_conflict_but_for_a_scaled_job(
    api: Api, cli: Cli, submitted: Path
) -> None:
    done = apply(submitted, "--server-side")
    assert done.returncode == 0, done.stderr
    assert cli("scale", submitted, "8").exit_code == 0
    refused = apply(submitted, "--server-side")
    assert refused.returncode != 0
    assert 'conflicts with "hpo-job":\n- .spec.completions\n- .spec.parallelism' in refused.stderr
    assert workers(api) == 8
    write_workers(submitted, 8)
    assert apply(submitted, "--server-side").returncode == 0


def test_what_kubectl_has_applied_is_submitted_without_a_change(
    api: Api, cli: Cli, digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    assert apply(digits).returncode == 0
    before = api.objects[f"{JOBS}/digits-worker"]["spec"]
    done = cli("submit", digits)
    assert done.exit_code == 0, done.output
    assert "configured job/digits-worker" in done.stdout
    tolerations = before["template"]["spec"].pop("tolerations")
    assert tolerations == []  # an empty list, which the API server takes for none
    assert api.applied[-1]["spec"] == before


def test_a_policy_can_keep_kubectl_from_undoing_a_scaling(tmp_path: Path) -> None:
    """Its expressions are an API server's to evaluate; here, what they are about."""
    copy = with_components(tmp_path / "all", (), ("keep-workers",))
    things = {thing["kind"]: thing for thing in render(copy / "k8s/cluster")}
    policy, binding = (things[f"ValidatingAdmissionPolicy{suffix}"] for suffix in ("", "Binding"))
    assert "namespace" not in policy["metadata"]
    assert "namespace" not in binding["metadata"]
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    (job,) = [each for each in render(copy / "jobs/digits") if each["kind"] == "Job"]
    selector = policy["spec"]["matchConstraints"]["objectSelector"]["matchLabels"]
    assert selector.items() <= job["metadata"]["labels"].items()
    (condition,) = policy["spec"]["matchConditions"]
    assert '"kubectl-client-side-apply"' in condition["expression"]
