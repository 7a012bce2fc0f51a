"""What `hpo-job submit` imports: most of its time is that."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_submit_imports_none_of_the_clients_generated_classes() -> None:
    """They are half of all modules that it would import."""
    listed = run("import hpo_job.cluster.submit, sys; print(*sys.modules)").split()
    assert [name for name in listed if name.startswith("kubernetes.client.models")] == []
    assert len([name for name in listed if name.startswith("kubernetes")]) < 20
    assert len(listed) < 1200


def test_whoever_imports_the_client_afterwards_gets_all_of_it() -> None:
    code = "import hpo_job.cluster.client, kubernetes; print(kubernetes.client.CoreV1Api.__name__)"
    assert run(code) == "CoreV1Api\n"


def test_a_client_that_is_imported_already_is_used() -> None:
    code = (
        "import kubernetes; from hpo_job.cluster import client_parts; "
        "print(client_parts.Configuration is kubernetes.client.Configuration)"
    )
    assert run(code) == "True\n"
