"""What a rendered job folder must hold, and a Job that does not go away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from hpo_job.cluster.client import Cluster
from hpo_job.cluster.existing import delete_job
from hpo_job.cluster.names import INSTANCE, WORKER
from hpo_job.cluster.render import worker_job
from hpo_job.errors import ClusterError
from hpo_job.spec.reading import read_spec
from hpo_job.spec.study_toml import StudySpec

Object = dict[str, Any]


@pytest.fixture
def spec(job: Callable[..., Path]) -> StudySpec:
    return read_spec(job())


def rendered(**changed: Any) -> Object:
    """A worker Job of the study, with other entries of its spec."""
    template = {"spec": {"containers": [{"name": "worker"}]}}
    return {
        "kind": "Job",
        "metadata": {"name": "quadratic-worker", "labels": {**WORKER, INSTANCE: "quadratic"}},
        "spec": {"parallelism": 2, "completions": 2, "template": template, **changed},
    }


def test_the_job_is_found_among_other_objects(spec: StudySpec) -> None:
    other = {"kind": "ConfigMap", "metadata": {"name": "quadratic"}}
    assert worker_job([other, rendered()], spec, None) == rendered()
    more = worker_job([other, rendered()], spec, 5)
    assert more == rendered(parallelism=5, completions=5)


@pytest.mark.parametrize("count", [0, 2])
def test_there_must_be_one_job_of_workers(spec: StudySpec, count: int) -> None:
    with pytest.raises(ClusterError, match=rf"renders {count} worker Jobs, should be 1$"):
        worker_job([rendered()] * count, spec, None)


@pytest.mark.parametrize("changed", [{"completions": 3}, {"completions": None}])
def test_each_index_must_be_one_worker(spec: StudySpec, changed: dict[str, Any]) -> None:
    message = r"completions should be the same as parallelism, 2$"
    with pytest.raises(ClusterError, match=message):
        worker_job([rendered(**changed)], spec, None)


def test_a_job_that_does_not_go_away_is_one_line() -> None:
    class Stuck:
        namespace = "hpo-job"

        def delete(self, resource: str, name: str) -> None:
            assert (resource, name) == ("jobs", "quadratic-worker")

        def find(self, resource: str, name: str) -> Object:
            return rendered()

    with pytest.raises(ClusterError) as error:
        delete_job(cast(Cluster, Stuck()), "quadratic-worker", seconds=-1)
    assert str(error.value) == (
        "Job quadratic-worker is being deleted, and is not gone after -1 s: its pods have not "
        "ended; kubectl -n hpo-job get pods -l batch.kubernetes.io/job-name=quadratic-worker; run "
        "the command again"
    )
