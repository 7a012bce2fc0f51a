"""How many CPUs there are to share out: those of a container's limit, not of its machine."""

from __future__ import annotations

import joblib


def cpus() -> int:
    """The CPUs this process may use, at least 1.

    The least of the machine's, of those it is bound to, and of its cgroup's CPU limit rounded up
    (versions 1 and 2), as a Kubernetes pod has one; torch and ``os.cpu_count`` see the machine's.
    """
    return int(joblib.cpu_count())
