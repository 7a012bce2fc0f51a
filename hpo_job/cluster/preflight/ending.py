"""The pods that are ended for a Job that replaces another: what they take becomes free."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from hpo_job.cluster.client import Cluster, Object
from hpo_job.cluster.names import storage_secret
from hpo_job.cluster.pods import is_alive, pods_of
from hpo_job.cluster.preflight.sharing import workers_in_pod


@dataclass(frozen=True)
class Ending:
    """What is ended before a Job starts.

    Attributes:
        pods: those that have not ended by themselves.
        workers: how many workers run in them, and are connected to their database.
        secret: the Secret with that database's URL.
    """

    pods: Sequence[Object] = ()
    workers: int = 0
    secret: str | None = None

    @property
    def further(self) -> str:
        """What the new Job's workers are called, next to those that go on."""
        return "worker" if self.pods else "more worker"

    @property
    def used(self) -> str:
        """What is not free, in words, for that Job; what the ended pods use is."""
        return "used by others" if self.pods else "used"


NOTHING = Ending()


def ending(cluster: Cluster, job: Object, study: str) -> Ending:
    """The pods of a Job that is replaced.

    Args:
        cluster: where it is.
        job: the Job.
        study: its study.toml, which says how many workers are in each pod.
    """
    settings = {}
    with suppress(tomllib.TOMLDecodeError):  # whoever applies a broken one has no worker that runs
        settings = tomllib.loads(study).get("cluster", {})
    pods = list(filter(is_alive, pods_of(cluster, job["metadata"]["name"])))
    running = [pod for pod in pods if pod["status"]["phase"] == "Running"]  # pending ones have none
    per_gpu = settings.get("workers_per_gpu")
    workers = sum(workers_in_pod(per_gpu, pod["spec"]) for pod in running)
    return Ending(pods, workers, storage_secret(job))
