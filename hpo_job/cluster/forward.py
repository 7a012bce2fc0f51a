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

from hpo_job.cluster.client import Cluster, ForbiddenError
from hpo_job.errors import ClusterError

BUFFER = 1 << 16  # bytes
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
        with closing(_tunnel(cluster, pod, port)):
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


def _tunnel(cluster: Cluster, pod: str, port: int) -> Any:
    """A connection to a port of a pod, like a socket."""
    call = cluster.core().connect_get_namespaced_pod_portforward
    there = portforward(call, pod, cluster.namespace, ports=str(port)).socket(port)
    there.setblocking(True)
    return there


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
            there = _tunnel(cluster, pod(), port)
        except Exception as error:  # of the websocket, of HTTP, of the API: all mean "not reached"
            log.debug("port-forward: %s", " ".join(str(error).split()))
            return
        with closing(there):
            back = threading.Thread(target=_pump, args=(there, here), daemon=True)
            back.start()
            _pump(here, there)
            back.join()


def _pump(source: Any, target: Any) -> None:
    """Copy until either end closes, and tell both that it is over."""
    with suppress(OSError):
        while data := source.recv(BUFFER):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
