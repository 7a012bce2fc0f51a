"""Whether the models that a study keeps outlive the pods that write them."""

from __future__ import annotations

from pathlib import PurePosixPath

from hpo_job import objectives
from hpo_job.cluster.client import Object
from hpo_job.cluster.preflight.findings import Findings
from hpo_job.spec.study_toml import StudySpec


def check_models(pod: Object, spec: StudySpec, findings: Findings) -> None:
    """Warn if the models that a study keeps are in a folder that is deleted with its pods."""
    (worker, *_) = pod["containers"]
    places = {each["name"]: each.get("value") for each in worker.get("env") or []}
    store = spec.artifacts.store or places.get("HPO_JOB_ARTIFACTS")
    if objectives.is_function(spec) or not spec.artifacts.keep or not store or "://" in store:
        return
    temporary = {each["name"] for each in pod.get("volumes") or [] if "emptyDir" in each}
    for mount in worker.get("volumeMounts") or []:
        if mount["name"] in temporary and PurePosixPath(store).is_relative_to(mount["mountPath"]):
            findings.warnings.append(
                f"the models that the study keeps, in {store}, are deleted with their pods: name "
                "a bucket as [artifacts] store, or switch on the component cache in k8s/settings"
            )
            return
