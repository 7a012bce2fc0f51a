"""A port of a pod as a port of this machine, for as long as it takes."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from kubernetes.client import ApiException
from kubernetes.stream import portforward

from hpo_job.cluster.client import Cluster
from hpo_job.cluster.refusals import ForbiddenError
from hpo_job.errors import ClusterError

BUFFER = 1 << 16  # bytes
LEAVING = 5  # seconds that a pod has to end a connection
log = logging.getLogger(__name__)


@contextmanager
def forwarded(cluster: Cluster, pod: Callable[[], str], port: int) -> Iterator[int]:
    """Listen on a free port of 127.0.0.1 that leads to ``port`` of a pod; its number.

    pod: names the pod, asked anew for each connection: a pod that was started again in between
        may have another name.

    Raises ClusterError where the API server does not let this account, or where ``pod`` does.
    """
    _try(cluster, pod(), port)  # one line now, rather than a driver's "lost connection" later
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        accept = threading.Thread(
            target=_accept, args=(listener, cluster, pod, port), name="forward", daemon=True
        )
        accept.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            with suppress(OSError):  # wakes up accept()
                listener.shutdown(socket.SHUT_RDWR)


def _try(cluster: Cluster, pod: str, port: int) -> None:
    """Open a connection and close it again. Raises ClusterError where that is refused."""
    try:
        with _tunnel(cluster, pod, port):
            pass
    except Exception as error:  # of the websocket, of HTTP, of the API
        text = " ".join(str(_answer(error)).split())
        if " 403 " in text:
            raise ForbiddenError(
                "forbidden: this account may not get and create pods/portforward in namespace "
                f"{cluster.namespace}"
            ) from error
        reason = text.partition(" -+-+- ")[0]  # headers and body follow
        raise ClusterError(f"no port-forward to pod {pod}: {reason}") from error


def _answer(error: BaseException) -> object:
    """What the API server answered, over which the client stumbles: it expects a body."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ApiException):
            return cause.reason
        cause = cause.__context__
    return error


@contextmanager
def _tunnel(cluster: Cluster, pod: str, port: int) -> Iterator[Any]:
    """A connection to a port of a pod, like a socket."""
    call = cluster.core().connect_get_namespaced_pod_portforward
    there = portforward(call, pod, cluster.namespace, ports=str(port)).socket(port)
    there.setblocking(True)
    try:
        yield there
    finally:
        # read to its end: the client's thread stumbles over a socket that is gone before it
        with closing(there), suppress(OSError):
            there.shutdown(socket.SHUT_WR)
            there.settimeout(LEAVING)
            while there.recv(BUFFER):
                pass


def _accept(listener: socket.socket, cluster: Cluster, pod: Callable[[], str], port: int) -> None:
    while True:
        try:
            here, _ = listener.accept()
        except OSError:
            return  # closed: nobody needs it any more
        threading.Thread(target=_serve, args=(here, cluster, pod, port), daemon=True).start()


def _serve(here: socket.socket, cluster: Cluster, pod: Callable[[], str], port: int) -> None:
    """Carry one connection; where the pod is not reached, it is closed, and the driver says so."""
    with closing(here):
        try:
            with _tunnel(cluster, pod(), port) as there:
                back = threading.Thread(target=_back, args=(there, here), daemon=True)
                back.start()
                _copy(here, there)
                with suppress(OSError):
                    there.shutdown(socket.SHUT_WR)
                back.join()
        except Exception as error:  # of the websocket, of HTTP, of the API: all mean "not reached"
            log.debug("port-forward: %s", " ".join(str(error).split()))


def _back(there: Any, here: socket.socket) -> None:
    """Carry what the pod says; once it says no more, whoever listens here is told at once."""
    _copy(there, here)
    with suppress(OSError):
        here.shutdown(socket.SHUT_RDWR)


def _copy(source: Any, target: Any) -> None:
    """Copy until the source ends; what a target that is gone does not take is read all the same."""
    taken = True
    with suppress(OSError):
        while data := source.recv(BUFFER):
            if taken:
                try:
                    target.sendall(data)
                except OSError:
                    taken = False
