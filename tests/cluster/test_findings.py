"""What a submission is warned of: images that may differ between nodes, a database that is full."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpo_job.cluster.preflight import database
from hpo_job.cluster.preflight.ending import NOTHING, Ending
from hpo_job.cluster.preflight.findings import Findings
from hpo_job.cluster.preflight.image import check_image
from tests.quick import Quick


def of_image(image: str, policy: str | None) -> list[str]:
    findings = Findings()
    container = {"image": image, **({"imagePullPolicy": policy} if policy else {})}
    check_image({"containers": [container]}, findings)
    assert findings.checked == [f"image {image}, pull policy {policy or 'by its tag'}"]
    return findings.warnings


@pytest.mark.parametrize("image", ["hpo-job", "hpo-job:latest", "registry.example:5000/hpo-job"])
def test_an_image_without_a_fixed_tag_may_differ_between_nodes(image: str) -> None:
    assert of_image(image, "IfNotPresent") == [
        f"image {image} has no fixed tag, and pull policy IfNotPresent: nodes may run different "
        "ones; give it a tag in k8s/settings"
    ]
    assert of_image(image, "Always") == []


@pytest.mark.parametrize(
    "image", ["registry.example:5000/hpo-job:0.1.0", f"registry.example/hpo-job@sha256:{'0' * 64}"]
)
def test_an_image_with_a_tag_or_a_digest_is_the_same_everywhere(image: str) -> None:
    for policy in ("IfNotPresent", "Always", None):
        assert of_image(image, policy) == []


def test_an_image_that_is_never_pulled_must_be_there() -> None:
    assert of_image("hpo-job:0.1.0", "Never") == [
        "pull policy Never: hpo-job:0.1.0 must be on every node already"
    ]


@pytest.mark.parametrize(
    ("more", "ended", "warned"),
    [
        (2, NOTHING, None),
        (3, NOTHING, "2 more workers; of 3"),
        (4, Ending([{}, {}], workers=2), None),
        (8, Ending([{}, {}], workers=2), "4 workers; of 8"),
    ],
)
def test_workers_without_a_connection_will_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int, ended: Ending, warned: str | None
) -> None:
    """SQLite has no connections to count, and stands in for a server that has two left."""
    quick = Quick(tmp_path)
    monkeypatch.setattr(database, "worker_capacity", lambda url: 2)
    findings = Findings()
    database._check(quick.url, quick.checked.spec, more, findings, ended, same_study=False)
    warning = f"the database has connections for {warned}, some will wait for each other"
    assert findings.warnings == ([warning] if warned else [])
    assert findings.checked == [f"database with connections for {2 + ended.workers} workers"]
