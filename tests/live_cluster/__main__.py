"""``python -m tests.live_cluster``: against the cluster of $KUBECONFIG, or a new kind one.

With kind and docker, the image is built and loaded, and the cluster is deleted afterwards.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAME, IMAGE = "hpo-job-test", "hpo-job:test"


def main() -> int:
    tests = [sys.executable, "-m", "pytest", "-v", "tests/live_cluster"]
    if os.environ.get("KUBECONFIG"):
        return subprocess.call(tests)
    if not (shutil.which("kind") and shutil.which("docker")):
        print("test-cluster: set KUBECONFIG, or install docker and kind", file=sys.stderr)
        return 2
    config = str(Path(f".{NAME}.kubeconfig").resolve())
    subprocess.check_call(["kind", "create", "cluster", "--name", NAME, "--kubeconfig", config])
    try:
        subprocess.check_call(
            [
                "make",
                "image",
                f"IMAGE={IMAGE}",
                "VARIANT=none",
            ]
        )
        subprocess.check_call(["kind", "load", "docker-image", IMAGE, "--name", NAME])
        return subprocess.call(
            tests, env={**os.environ, "KUBECONFIG": config, "HPO_JOB_TEST_IMAGE": IMAGE}
        )
    finally:
        subprocess.call(["kind", "delete", "cluster", "--name", NAME])


if __name__ == "__main__":
    sys.exit(main())
