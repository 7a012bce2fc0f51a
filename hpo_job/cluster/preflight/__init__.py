"""Checks before anything is sent: what would keep a Job's pods from running."""

from __future__ import annotations

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.credentials import credentials
from hpo_job.cluster.names import storage_secret
from hpo_job.cluster.preflight.database import check_database
from hpo_job.cluster.preflight.ending import NOTHING, Ending
from hpo_job.cluster.preflight.findings import Findings
from hpo_job.cluster.preflight.image import check_image
from hpo_job.cluster.preflight.limits import check_limit_ranges, check_quotas
from hpo_job.cluster.preflight.models import check_models
from hpo_job.cluster.preflight.nodes import check_nodes
from hpo_job.cluster.preflight.objects import check_objects
from hpo_job.cluster.preflight.sharing import check_sharing, workers_in_pod
from hpo_job.spec.study_toml import StudySpec


def preflight(
    cluster: Cluster,
    job: Object,
    spec: StudySpec,
    more: int,
    *,
    nodes_may_come: bool = False,
    ended: Ending = NOTHING,
) -> Findings:
    """Check all that a Job needs, without changing anything.

    Args:
        cluster: where it will run.
        job: the Job as it would be sent.
        spec: the study that it runs.
        more: how many pods it has still to start.
        nodes_may_come: whether the cluster adds nodes when pods need them.
        ended: the pods of the Job that is replaced by this one.

    Raises:
        ClusterError: something would keep every pod from running.
    """
    findings = Findings()
    pod = job["spec"]["template"]["spec"]
    secret = storage_secret(job)
    if secret:
        credentials(cluster, secret)
        findings.checked.append(f"Secret {secret}")
    check_objects(cluster, job, more, findings)
    check_quotas(cluster, pod, more, findings, ended)
    check_limit_ranges(cluster, pod, findings)
    check_nodes(cluster, pod, more, findings, ended, nodes_may_come=nodes_may_come)
    check_image(pod, findings)
    check_sharing(pod, spec, findings)
    check_models(pod, spec, findings)
    if secret:
        arguments = [each for container in pod["containers"] for each in container.get("args", [])]
        same_study = "--same-study" in arguments
        more *= workers_in_pod(spec.cluster.workers_per_gpu, pod)
        check_database(cluster, secret, spec, more, findings, ended, same_study=same_study)
    return findings
