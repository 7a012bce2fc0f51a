"""A whole study on a real cluster: submitted, scaled, evicted, killed, resubmitted, read.

Runs on the cluster that $KUBECONFIG names, in the namespace hpo-job-test; skipped without it.
HPO_JOB_TEST_IMAGE is the workers' image (it needs no torch), HPO_JOB_TEST_MYSQL_IMAGE the
database's, where they are not those of k8s/settings.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpo_job.cluster.client import Cluster
from hpo_job.cluster.pods import is_over, is_ready, pods_of
from hpo_job.cluster.render import kubectl
from tests import ROOT
from tests.manifests.renders import CLUSTER_COMPONENTS, with_components

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # a kubeconfig may skip the certificate's check; pytest takes back that the client is silent
    pytest.mark.filterwarnings("ignore:Unverified HTTPS"),
    pytest.mark.needs("cluster"),
]
NAMESPACE = "hpo-job-test"
TRIALS = 40
OBJECTIVE = """
import time
def train(trial, context):
    x = trial.suggest_float("x", -5, 5)
    for step in range(4):
        time.sleep(1)
        context.report(x * x / (step + 1))
    return x * x
"""
STUDY = f"""
name = "digits"
objective = "objective.py:train"
metric = "loss"
direction = "minimize"
[budget]
trials = {TRIALS}
"""
JOB = "digits-worker"
SETTINGS = "k8s/settings/kustomization.yaml"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """k8s/ with settings of the test's own, the namespace and the database on the cluster."""
    folder = with_components(tmp_path_factory.mktemp("cluster") / "clone", (), ("network-policy",))
    file = folder / SETTINGS
    text = file.read_text().replace("namespace: hpo-job\n", f"namespace: {NAMESPACE}\n")
    text = re.sub(r"cpu: \"[12]\", memory: .Gi", "cpu: 100m, memory: 300Mi", text, count=1)
    for name, variable in (("hpo-job", "IMAGE"), ("mysql", "MYSQL_IMAGE")):
        if image := os.environ.get(f"HPO_JOB_TEST_{variable}"):
            new, _, tag = image.rpartition(":")
            text = re.sub(
                rf"(- name: {name}\b.*\n\s+newName: ).*(\n\s+newTag: ).*",
                rf'\g<1>{new}\g<2>"{tag}"',
                text,
            )
    file.write_text(text)
    (folder / "jobs/digits/study.toml").write_text(STUDY)
    (folder / "jobs/digits/objective.py").write_text(OBJECTIVE)
    run(folder, kubectl(), "apply", "-k", "k8s/cluster")
    hpo(folder, "database")
    yield folder
    subprocess.call([kubectl(), "delete", "namespace", NAMESPACE, "--wait=false"])


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster(namespace=NAMESPACE)


def run(folder: Path, *command: str, code: int = 0) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def hpo(folder: Path, *arguments: str, code: int = 0) -> str:
    program = "import sys; from hpo_job.cli import main; main(sys.argv[1:], prog_name='hpo-job')"
    return run(folder, sys.executable, "-c", program, *arguments, code=code)


def until(what: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(1)


def running(cluster: Cluster) -> list[str]:
    return [str(pod["metadata"]["name"]) for pod in pods_of(cluster, JOB) if is_ready(pod)]


def test_every_folder_passes_the_servers_dry_run(clone: Path) -> None:
    shutil.copytree(
        ROOT / "jobs",
        clone / "jobs",
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("data", "digits", "*.csv*"),
    )
    for file in sorted(clone.glob("jobs/*/kustomization.yaml")):
        said = run(clone, kubectl(), "apply", "--dry-run=server", "-k", str(file.parent))
        assert "violate" not in said  # the namespace's Pod Security Standard


@pytest.mark.parametrize(
    "component",
    sorted(re.findall(r"(?m)^# +- ../components/(\S+)", (ROOT / SETTINGS).read_text())),
)
def test_the_server_accepts_each_component(clone: Path, tmp_path: Path, component: str) -> None:
    folder = with_components(tmp_path / "clone", (component,), ())
    file = folder / SETTINGS
    file.write_text(file.read_text().replace("namespace: hpo-job\n", f"namespace: {NAMESPACE}\n"))
    said = run(folder, kubectl(), "apply", "--dry-run=server", "-k", "jobs/digits")
    assert f"job.batch/{JOB} created (server dry run)" in said
    assert "violate" not in said


def test_what_a_namespace_has_applies_on_both_sides(clone: Path, tmp_path: Path) -> None:
    """The server's own default values are written out, else they are a conflict."""
    folder = with_components(tmp_path / "clone", (), CLUSTER_COMPONENTS)
    file = folder / SETTINGS
    file.write_text(file.read_text().replace("namespace: hpo-job\n", f"namespace: {NAMESPACE}\n"))
    try:
        run(folder, kubectl(), "apply", "-k", "k8s/cluster")
        run(folder, kubectl(), "apply", "--server-side", "-k", "k8s/cluster")
    finally:  # the policies would stay, and the dashboard uses CPUs
        policies = "validatingadmissionpolicies,validatingadmissionpolicybindings"
        run(folder, kubectl(), "delete", policies, "hpo-job-keep-workers", "--ignore-not-found")
        run(folder, kubectl(), "-n", NAMESPACE, "delete", "deployment", "hpo-job-dashboard")


def test_a_study_from_submit_to_results(clone: Path, cluster: Cluster) -> None:
    assert "created" in hpo(clone, "submit", "digits", "--workers", "2")
    until(lambda: len(running(cluster)) == 2)
    # by hand, as docs/kubernetes.md has it
    change = '{"spec":{"parallelism":4,"completions":4}}'
    run(clone, kubectl(), "-n", NAMESPACE, "patch", "job", JOB, "--type", "merge", "-p", change)
    until(lambda: len(running(cluster)) == 4)
    evicted, deleted, *_ = running(cluster)
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": evicted, "namespace": NAMESPACE},
    }
    cluster._json("POST", cluster._path("pods", evicted) + "/eviction", {}, eviction)
    run(clone, kubectl(), "-n", NAMESPACE, "delete", "pod", deleted, "--wait=false")
    until(lambda: not {evicted, deleted} & set(running(cluster)) and len(running(cluster)) == 4)
    # the first worker makes the database's tables, which may take a while
    until(lambda: f"of {TRIALS} trials" in hpo(clone, "status", "digits", "--cluster"))
    assert "4 workers" in hpo(clone, "status", "digits", "--cluster")
    run(clone, kubectl(), "-n", NAMESPACE, "delete", "pod", "hpo-job-mysql-0", "--wait=false")
    hpo(clone, "scale", "digits", "5")  # a worker that starts meanwhile waits for the database
    until(lambda: len(running(cluster)) == 5)
    hpo(clone, "scale", "digits", "1")
    until(lambda: is_over(cluster.find("jobs", JOB)), 400)
    job = cluster.get("jobs", JOB)
    assert job["status"]["completedIndexes"] == "0"
    assert job["status"]["succeeded"] == job["spec"]["completions"] == 1
    table = hpo(clone, "results", "digits", "--cluster", "--format", "csv")
    trials = list(csv.DictReader(io.StringIO(table)))
    states = Counter(trial["state"] for trial in trials)
    assert states["COMPLETE"] + states["PRUNED"] == TRIALS
    assert states["RUNNING"] == 0
    assert "[[enqueue]]" in hpo(clone, "best", "digits", "--cluster")
    assert "| hpo-job: trial" in hpo(clone, "logs", "digits")


def test_a_resubmitted_study_goes_on(clone: Path, cluster: Cluster) -> None:
    study = clone / "jobs/digits/study.toml"
    study.write_text(STUDY.replace(f"trials = {TRIALS}", f"trials = {TRIALS + 4}"))
    assert "another study.toml" in hpo(clone, "submit", "digits", code=2)
    hpo(clone, "submit", "digits", "--replace")
    until(lambda: is_over(cluster.find("jobs", JOB)), 300)
    assert f"{TRIALS + 4} of {TRIALS + 4} trials" in hpo(clone, "status", "digits", "--cluster")
    assert "deleted job/digits-worker" in hpo(clone, "delete", "digits", "--cluster")
