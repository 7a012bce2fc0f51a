"""Quotas and limits of the namespace, which keep pods from being created."""

from __future__ import annotations

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.limit_range import outside
from hpo_job.cluster.preflight.ending import NOTHING, Ending
from hpo_job.cluster.preflight.findings import Findings
from hpo_job.cluster.refusals import ForbiddenError, QuotaError
from hpo_job.cluster.resources import plain, shortages
from hpo_job.errors import ClusterError, plural


def check_quotas(
    cluster: Cluster,
    pod: Object,
    more: int,
    findings: Findings,
    ended: Ending = NOTHING,
) -> None:
    """Compare further pods with what the namespace's quotas have left.

    Args:
        cluster: where.
        pod: the spec of a worker's pod.
        more: how many further pods there will be.
        findings: gets the result.
        ended: the pods that are ended before these start, and leave the quotas.

    Raises:
        QuotaError: a quota has too little left for them.
    """
    try:
        quotas = cluster.list_objects("resourcequotas")
    except ForbiddenError as error:
        findings.warnings.append(f"quota not checked: {error}")
        return
    leaving = [each["spec"] for each in ended.pods]
    for quota in quotas if more > 0 else []:
        if found := shortages(quota, pod, more, leaving):
            short = found[0]
            raise QuotaError(
                f"quota {quota['metadata']['name']} in namespace {cluster.namespace}: "
                f"{short.resource} {plain(short.hard)}, of which {plain(short.used)} are "
                f"{ended.used}: too little for {plural(more, ended.further)} ({plain(short.asked)})"
            )
    findings.checked.append(plural(len(quotas), "quota") if quotas else "no quota")


def check_limit_ranges(cluster: Cluster, pod: Object, findings: Findings) -> None:
    """Compare a pod with the namespace's LimitRanges.

    Raises:
        ClusterError: one would refuse the pod.
    """
    try:
        ranges = cluster.list_objects("limitranges")
    except ForbiddenError as error:
        findings.warnings.append(f"limits not checked: {error}")
        return
    for each in ranges:
        if problems := outside(each, pod):
            name = each["metadata"]["name"]
            raise ClusterError(
                f"LimitRange {name} in namespace {cluster.namespace}: {problems[0]}; change the "
                "resources in k8s/settings"
            )
