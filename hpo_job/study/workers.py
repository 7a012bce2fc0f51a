"""How a worker is named in its trials, and how another one knows that it no longer runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

# Set in a pod of an Indexed Job: which Job (its uid), which of its indexes, and the pod's name
OWNER, INDEX, POD = "HPO_JOB_OWNER", "HPO_JOB_INDEX", "HPO_JOB_POD"


def identity() -> dict[str, str | int]:
    """The name of this process as a worker; in a pod also its Job, its index there, and the pod."""
    worker: dict[str, str | int] = {"host": _host(), "pid": os.getpid()}
    owner, index, pod = (os.environ.get(name) for name in (OWNER, INDEX, POD))
    if owner and index:
        worker |= {"owner": owner, "index": index} | ({"pod": pod} if pod else {})
    return worker


def owner() -> str | None:
    """The uid of the Job that this process belongs to; None outside of a pod of one."""
    return os.environ.get(OWNER) or None


def is_gone(worker: object) -> bool:
    """Whether a worker is known to have ended, so that there is no grace to wait out.

    Guaranteed: never true of a worker that runs. It is true of one that ran on this machine and
    whose process is gone; of a worker in the pod before this one, of the same index of the same
    Job, since there is never more than one such pod at a time; and of this process's own name,
    which an earlier process with the same number left: who asks for a trial runs none.

    Not guaranteed: a dead worker may not be recognised, where another process has its number now,
    or where it ran on another machine. Its trial is then lost once its grace is over.

    Args:
        worker: what `identity` returned for it, or anything else that stands in its place.
    """
    if not isinstance(worker, dict):
        return False
    mine = identity()
    if "owner" in mine and all(worker.get(key) == mine[key] for key in ("owner", "index")):
        if "pod" not in mine or worker.get("pod") != mine["pod"]:
            return True
    elif worker.get("host") != mine["host"]:
        return False
    return worker.get("pid") == os.getpid() or not _is_alive(int(worker.get("pid", 0)))


def _host() -> str:
    """The machine or container, that is, the scope in which process numbers are unique."""
    try:
        namespace = Path("/proc/self/ns/pid").readlink().name
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: no containers that share a host's name
        return socket.gethostname()
    return f"{socket.gethostname()}/{boot}/{namespace}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
