"""The logs of a Job's workers: of all its pods, merged, each line after the name of its pod."""

from __future__ import annotations

import heapq
import math
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.pods import (
    PODS_A_SECOND,
    describe,
    has_log,
    is_alive,
    is_over,
    pods_of,
    short,
    why_none,
    why_suspended,
)
from hpo_job.cluster.refusals import DeniedError, NoAnswerError, NotFoundError
from hpo_job.errors import ClusterError, plural

MOST = 100  # pods whose logs are read or followed at the same time
LATEST = 100  # lines of each pod that are printed where there are more
READERS = 8  # threads that read those
LOOK = 2.0  # seconds between two looks for new pods
PREFIX = "hpo-job: "  # of lines that this command adds
GONE = "unable to retrieve container logs"  # what a node says of a container that it has removed


def written(cluster: Cluster, job: str) -> Iterator[str]:
    """The lines that a Job's workers have written so far, sorted by time.

    Raises:
        ClusterError: no pod has run yet; says why.
    """
    pods = pods_of(cluster, job)
    ran = [pod for pod in pods if has_log(pod)]
    if not ran:
        raise ClusterError(_why_silent(cluster, job, pods))
    logs: Iterable[Iterable[tuple[str, str]]] = (_lines_of(cluster, pod) for pod in ran)
    if len(ran) > MOST:
        yield (
            f"{job} | {PREFIX}{len(ran)} pods: the latest {LATEST} lines of each; kubectl -n "
            f"{cluster.namespace} logs POD prints all of one"
        )
        with ThreadPoolExecutor(READERS) as readers:
            logs = list(readers.map(lambda pod: list(_lines_of(cluster, pod, LATEST)), ran))
    for _, line in heapq.merge(*logs, key=itemgetter(0)):
        yield line
    # The lines above were of pods that had ended
    if reason := why_suspended(cluster.find("jobs", job)):
        yield f"{job} | {PREFIX}{reason}"


def followed(cluster: Cluster, job: str) -> Iterator[str]:
    """The lines that a Job's workers have written and write, until the Job has ended."""
    following = _Following(cluster, job)
    looked = -math.inf
    while not following.over:
        if time.monotonic() - looked > max(LOOK, following.pods / PODS_A_SECOND):
            looked = time.monotonic()
            yield from following.look()
        try:
            line = following.heard.get(timeout=LOOK)
        except queue.Empty:
            continue
        if line is None:
            following.open -= 1
            if following.pods <= LOOK * PODS_A_SECOND:  # at once: another one may take its place
                looked = -math.inf
        else:
            yield line


class _Following:
    """Reads the log of every pod in a thread, and reports once why other pods do not run.

    Attributes:
        heard: the lines; None when a log has ended.
        open: how many logs have not ended.
        over: whether the Job has ended, and all logs with it.
        pods: how many pods there were at the last look.
    """

    def __init__(self, cluster: Cluster, job: str) -> None:
        self.heard: queue.Queue[str | None] = queue.Queue()
        self.open = 0
        self.over = False
        self.pods = 0
        self._cluster, self._job = cluster, job
        self._pods: set[str] = set()
        self._reported: set[str] = set()  # twenty pods that wait for the same need one line
        self._trouble = ""

    def look(self) -> Iterator[str]:
        """Start to read the logs of new pods; yields why others do not run.

        An API server that does not answer is reported once, and asked again at the next look.
        """
        try:
            pods = pods_of(self._cluster, self._job)
            self.pods = len(pods)
            left_out = self._listen([pod for pod in pods if has_log(pod)])
            silent = [pod for pod in pods if not has_log(pod)]
            job = self._cluster.find("jobs", self._job)
            reasons = [(short(pod), reason) for pod, reason in _waiting(self._cluster, silent)]
            reasons.append((self._job, why_suspended(job) or why_none(self._cluster, job)))
            if left_out:
                kubectl = f"kubectl -n {self._cluster.namespace} logs -f POD"
                line = f"follows {plural(MOST, 'pod')} at a time; {kubectl} follows any other"
                reasons.append((self._job, line))
        except DeniedError:
            raise
        except ClusterError as error:
            if str(error) != self._trouble:
                yield f"{self._job} | {PREFIX}{error}; trying again"
            self._trouble = str(error)
            return
        self._trouble = ""
        for who, reason in reasons:
            if reason and reason not in self._reported:
                self._reported.add(reason)
                yield f"{who} | {PREFIX}{reason}"
        self.over = self.open == 0 and is_over(job)

    def _listen(self, pods: list[Object]) -> bool:
        """Follow those that are new; whether some have to wait until others have ended."""
        for pod in pods:
            name = str(pod["metadata"]["name"])
            if name not in self._pods:
                if self.open == MOST:
                    return True
                self._pods.add(name)
                self.open += 1
                threading.Thread(
                    target=_hear, args=(self._cluster, pod, self.heard), daemon=True
                ).start()
        return False


def _hear(cluster: Cluster, pod: Object, heard: queue.Queue[str | None]) -> None:
    """Follow a pod's log to its end, also if a connection is cut or refused in between."""
    name, heard_until, trouble = pod["metadata"]["name"], "", ""
    try:
        goes_on = True
        while goes_on:
            # Before the log is read: a connection that is cut may hide a pod's last lines
            goes_on = writes = _may_write(cluster, name)
            try:
                # by time: lines cannot be counted, since the node keeps only the latest ones
                for when, line in cluster.log(name, follow=writes, since=heard_until):
                    if when or line != trouble:  # a node repeats its message at each try
                        heard.put(f"{short(pod)} | {_readable(when, line)}")
                    heard_until, trouble = (when, "") if when else (heard_until, line)
            except ClusterError as error:
                if isinstance(error, NotFoundError) and heard_until:  # deleted since it was read
                    break
                if str(error) != trouble:
                    heard.put(f"{short(pod)} | {PREFIX}{error}")
                trouble = str(error)
                if isinstance(error, (DeniedError, NotFoundError)):
                    break
                # of a pod that has ended, the rest of its log is still to come
                goes_on = writes or isinstance(error, NoAnswerError)
            if goes_on:
                time.sleep(LOOK)
    finally:
        heard.put(None)


def _may_write(cluster: Cluster, name: str) -> bool:
    """Whether a pod may still write; assumed if the API server does not answer.

    One is pending until all of its containers have started, and may write before.
    """
    try:
        pod = cluster.find("pods", name)
    except DeniedError:
        return False
    except ClusterError:
        return True
    return bool(pod and is_alive(pod))


def _lines_of(
    cluster: Cluster, pod: Object, latest_lines: int | None = None
) -> Iterator[tuple[str, str]]:
    """A pod's lines with their times; instead of a log that is gone with its node, one line."""
    latest = ""
    try:
        for when, line in cluster.log(pod["metadata"]["name"], latest=latest_lines):
            latest = when or latest
            yield latest, f"{short(pod)} | {_readable(when, line)}"
    except ClusterError as error:
        yield latest, f"{short(pod)} | {PREFIX}{error}"


def _readable(when: str | None, line: str) -> str:
    """A worker's line as it is; that of a node, which has no time, in the user's words."""
    if when is None and line.startswith(GONE):
        return f"{PREFIX}its log is deleted, with its container"
    return line


def _waiting(cluster: Cluster, pods: list[Object]) -> Iterator[tuple[Object, str | None]]:
    """Pods that have not run yet, each with the reason if it is known."""
    warnings = cluster.latest_warnings("Pod") if pods else {}
    for pod in pods:
        yield pod, describe(pod, warnings).why


def _why_silent(cluster: Cluster, name: str, pods: list[Object]) -> str:
    reasons = [
        f"{pod['metadata']['name']}: {reason or 'is starting'}"
        for pod, reason in _waiting(cluster, pods)
    ]
    job = cluster.find("jobs", name)
    if not reasons and (reason := why_suspended(job)):
        return reason
    reason = "; ".join(reasons) or why_none(cluster, job) or "there is none"
    return f"no pod has run yet; {reason}"
