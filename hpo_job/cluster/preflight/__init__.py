"""Checks before anything is sent: what would keep a Job's pods from running."""

from __future__ import annotations

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.credentials import credentials
from hpo_job.cluster.names import storage_secret
from hpo_job.cluster.preflight.database import check_database
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
    running: int = 0,
    *,
    nodes_may_come: bool = False,
    replaced: Object | None = None,
) -> Findings:
    """Check all that a Job needs, without changing anything.

    Args:
        cluster: where it will run.
        job: the Job as it would be sent.
        spec: the study that it runs.
        running: how many pods of this Job exist already.
        nodes_may_come: whether the cluster adds nodes when pods need them.
        replaced: the Job of those pods, if they have to be ended for this one.

    Raises:
        ClusterError: something would keep every pod from running.
    """
    findings = Findings()
    pod = job["spec"]["template"]["spec"]
    workers = int(job["spec"].get("parallelism", 1))
    more = workers - running
    secret = storage_secret(job)
    if secret:
        credentials(cluster, secret)
        findings.checked.append(f"Secret {secret}")
    check_objects(cluster, job, more, findings)
    if replaced:
        ended = replaced["spec"]["template"]["spec"]
        check_quotas(cluster, pod, workers, findings, ended=ended, ending=running)
    else:
        check_quotas(cluster, pod, more, findings)
    check_limit_ranges(cluster, pod, findings)
    check_nodes(
        cluster,
        pod,
        more,
        findings,
        nodes_may_come=nodes_may_come,
        ends_workers=replaced is not None and running > 0,
    )
    check_image(pod, findings)
    check_sharing(pod, spec, findings)
    check_models(pod, spec, findings)
    if secret:
        arguments = [each for container in pod["containers"] for each in container.get("args", [])]
        same_study = "--same-study" in arguments
        more *= workers_in_pod(spec, pod)
        check_database(cluster, secret, spec, more, findings, same_study=same_study)
    return findings
