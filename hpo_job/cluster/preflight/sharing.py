"""Several workers in one pod: how many, and whether the pod asks for what they need together."""

from __future__ import annotations

from decimal import Decimal

from hpo_job import objectives
from hpo_job.cluster.client import Object
from hpo_job.cluster.preflight.findings import Findings
from hpo_job.cluster.resources import devices, limits, plain
from hpo_job.spec.study_toml import StudySpec

KEY = "[cluster] workers_per_gpu"
MEMORY = Decimal(
    2 * 2**30
)  # bytes that a worker of a shipped objective takes, as k8s/base requests


def workers_in_pod(per_gpu: int | None, pod: Object) -> int:
    """How many workers each pod starts, as far as its manifest shows: a claim may be for more GPUs.

    Args:
        per_gpu: the study's ``workers_per_gpu``.
        pod: the spec of a worker's pod.
    """
    return 1 if per_gpu is None else per_gpu * max(1, int(sum(devices(pod).values())))


def check_sharing(pod: Object, spec: StudySpec, findings: Findings) -> None:
    """Compare what the workers of one pod need with what the pod may use."""
    count, allowed = workers_in_pod(spec.cluster.workers_per_gpu, pod), limits(pod)
    if count == 1:
        return
    findings.checked.append(f"{count} workers in each pod")
    if not devices(pod) and not pod.get("resourceClaims"):
        findings.warnings.append(
            f"{KEY} = {spec.cluster.workers_per_gpu}, and pods ask for no GPU: switch on one of "
            "the gpu components in k8s/settings"
        )
    needed = {"cpu": Decimal(count)}
    if not objectives.is_function(spec):
        needed["memory"] = count * MEMORY
    for name, amount in needed.items():
        if name in allowed and allowed[name] < amount:
            findings.warnings.append(
                f"the {count} workers of a pod may use {name} {plain(allowed[name])} together, and "
                f"need about {plain(amount)}: raise it in k8s/settings"
            )
