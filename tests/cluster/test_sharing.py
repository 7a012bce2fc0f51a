"""Several workers in each pod: what `submit` says of it, and what `status` shows."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import Result

from hpo_job.cluster import view
from hpo_job.trial import attributes
from tests import ROOT
from tests.cluster.conftest import Api
from tests.cluster.objects import JOB
from tests.manifests.renders import with_components

Object = dict[str, Any]
pytestmark = pytest.mark.usefixtures("namespace")


def with_four(job: Path) -> Path:
    file = job / "study.toml"
    file.write_text(file.read_text() + "\n[cluster]\nworkers_per_gpu = 4\n")
    return job


def test_submit_counts_them(
    api: Api, cli: Callable[..., Result], tmp_path: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    clone = with_components(tmp_path / "clone", ("gpu",), ())
    done = cli("submit", with_four(clone / "jobs/digits"), "--workers", "2", "--nodes-may-come")
    assert done.exit_code == 0, done.output
    assert "; 4 workers in each pod" in done.stdout
    assert "2 pods of 4 workers each, of hpo-job:0.1.0 in namespace hpo-job" in done.stdout
    assert "the 4 workers of a pod may use cpu 2 together, and need about 4" in done.stderr
    assert "use memory" not in done.stderr  # of a function, nobody knows what it takes
    assert "no GPU" not in done.stderr
    (job,) = [thing for thing in api.applied if thing["kind"] == "Job"]
    assert job["spec"]["parallelism"] == 2


def test_submit_says_what_they_lack(
    api: Api, cli: Callable[..., Result], digits: Path, secret: Object
) -> None:
    api.put("v1/secrets", secret)
    animals = digits.parent / "people-vs-animals"
    ignored = shutil.ignore_patterns(".hpo")
    shutil.copytree(ROOT / "jobs/people-vs-animals", animals, ignore=ignored)
    said = cli("submit", with_four(animals), "--dry-run").stderr
    assert "[cluster] workers_per_gpu = 4, and pods ask for no GPU" in said
    assert "the 4 workers of a pod may use memory 4Gi together, and need about 8Gi" in said


def test_status_shows_the_trials_of_each(
    api: Api, cli: Callable[..., Result], worker_pod: Callable[..., Object]
) -> None:
    study = optuna.create_study()
    for index in ("0", "0", "1"):
        trial = study.ask()
        trial.set_user_attr(attributes.WORKER, {"owner": "u", "index": index})
    assert view.running(study, JOB) == {0: "#0 step 0\n#1 step 0", 1: "#2 step 0"}


def test_status_names_the_image_that_runs(
    api: Api, cli: Callable[..., Result], worker_pod: Callable[..., Object]
) -> None:
    """By its digest, which only the node knows; a tag may mean another image by now."""
    api.put("batch/v1/jobs", copy.deepcopy(JOB))
    for index, image in enumerate(("registry/hpo-job@sha256:aa", "sha256:aa")):
        ran = {"name": "worker", "image": "registry/hpo-job:1", "imageID": image, "state": {}}
        api.put("v1/pods", worker_pod(index, containerStatuses=[ran]))
    assert "\nimage: sha256:aa\n" in cli("status", "digits", "--cluster").stdout
    ran["imageID"] = "registry/hpo-job@sha256:bb"
    said = cli("status", "digits", "--cluster").stdout
    assert "index 0: another image than others, sha256:aa" in said
    assert "index 1: another image than others, sha256:bb" in said
    api.put("v1/pods", worker_pod(1, "Failed", containerStatuses=[ran]))
    assert "\nimage: sha256:aa\n" in cli("status", "digits", "--cluster").stdout  # of what runs


def test_an_index_that_fails_again_and_again_is_named_once(
    api: Api, cli: Callable[..., Result], worker_pod: Callable[..., Object]
) -> None:
    api.put("batch/v1/jobs", copy.deepcopy(JOB))
    for each in ("a", "b"):
        pod = worker_pod(
            0, "Failed", containerStatuses=[{"state": {"terminated": {"exitCode": 1}}}]
        )
        pod["metadata"]["name"] += each
        api.put("v1/pods", pod)
    assert "\nindex 0: ended with exit code 1" in cli("status", "digits", "--cluster").stdout


def test_check_says_how_many(cli: Callable[..., Result], job: Callable[..., Path]) -> None:
    folder = job(cluster={"workers_per_gpu": 3})
    assert (
        "cluster       3 workers in each pod, for each of its GPUs" in cli("check", folder).stdout
    )
    assert '"workers_per_gpu": 3' in cli("check", folder, "--format", "json").stdout
    assert "cluster" not in cli("check", job()).stdout
    refused = cli("check", job(cluster={"workers_per_gpu": 0}))
    assert refused.exit_code == 2
    assert "cluster.workers_per_gpu" in refused.stderr
