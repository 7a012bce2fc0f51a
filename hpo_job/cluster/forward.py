"""A port of a pod as a port of this machine, for as long as it takes."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from kubernetes.stream import portforward

from hpo_job.cluster.client import Cluster

BUFFER = 1 << 16  # bytes
log = logging.getLogger(__name__)


@contextmanager
def forwarded(cluster: Cluster, pod: Callable[[], str], port: int) -> Iterator[int]:
    """Listen on a free port of 127.0.0.1 that leads to ``port`` of a pod; its number.

    pod: names the pod, asked anew for each connection: a pod that was started again in between
        may have another name.
    """
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
            call = cluster.core().connect_get_namespaced_pod_portforward
            tunnel = portforward(call, pod(), cluster.namespace, ports=str(port))
        except Exception as error:  # of the websocket, of HTTP, of the API: all mean "not reached"
            log.debug("port-forward: %s", " ".join(str(error).split()))
            return
        there = tunnel.socket(port)
        there.setblocking(True)
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
