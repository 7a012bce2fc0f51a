"""A port of a pod as a port of this machine, through the API server as `kubectl port-forward`."""

from __future__ import annotations

import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from websocket import ABNF, WebSocketException, WebSocketTimeoutException

from hpo_job.cluster.client import Cluster
from hpo_job.cluster.refusals import ForbiddenError
from hpo_job.errors import ClusterError, one_line
from hpo_job.storage.defaults import CONNECT_TIMEOUT

BUFFER = 1 << 16  # bytes
# What kubelets say, in long words of their own, where no process of a pod has the port
REFUSED = "connection refused"
DATA, ERROR = 0, 1  # channels
TRIES = 2  # to open a tunnel through which the pod answers
SPARE = 5.0  # seconds that an unused tunnel is kept; MySQL waits longer for a client's log-in
log = logging.getLogger(__name__)


class Tunnel:
    """A connection to a port of a pod, in a WebSocket to the API server.

    The kubelet sends data and errors on a channel each. The first frame of each channel holds
    the number of the port, and no data.

    Args:
        cluster: the namespace of the pod.
        pod: its name.
        port: of the pod.

    Raises:
        ClusterError: the API server refuses, or does not answer.
    """

    def __init__(self, cluster: Cluster, pod: str, port: int) -> None:
        self._pod, self._port = pod, port
        self._socket = cluster.websocket(f"pods/{pod}/portforward", ports=str(port))
        self.opened = time.monotonic()  # not earlier: over a slow network, opening takes seconds
        self._started: set[int] = set()  # channels whose first frame has arrived
        self._early = b""  # data that arrived before `carry`

    def wait_for_data(self, seconds: float) -> None:
        """Wait until the pod has sent something, which stays to be carried.

        Raises:
            ClusterError: it has not, and why.
        """
        self._socket.settimeout(seconds)
        try:
            while not self._early:
                data = self._receive()
                if data is None:
                    raise ClusterError(f"pod {self._pod} ended the connection")
                self._early = data
        except WebSocketTimeoutException:
            raise ClusterError(f"pod {self._pod} sends nothing within {seconds:.0f} s") from None
        except (WebSocketException, OSError) as error:
            raise ClusterError(f"pod {self._pod}: {one_line(error)}") from error
        self._socket.settimeout(None)

    def carry(self, here: socket.socket) -> None:
        """Copy in both directions until one side has ended.

        One thread does both, because an SSL socket must not be used by two threads at a time.
        """
        here.sendall(self._early)
        with selectors.DefaultSelector() as selector:
            for side in (here, self._socket.sock):
                selector.register(side, selectors.EVENT_READ)
            while True:
                ready = self._decrypted() or [key.fileobj for key, _ in selector.select()]
                if self._socket.sock in ready:
                    data = self._receive()
                    if data is None:
                        return
                    here.sendall(data)
                if here in ready:
                    data = here.recv(BUFFER)
                    if not data:
                        return
                    self._socket.send_binary(bytes([DATA]) + data)

    def close(self) -> None:
        """End the connection, without waiting for the other side."""
        with suppress(WebSocketException, OSError):
            self._socket.send_close()
        self._socket.shutdown()

    def _decrypted(self) -> list[Any]:
        """The WebSocket, if TLS has decrypted data already.

        A selector looks at the kernel's socket and does not see that data, so it would wait for
        more: with MySQL, which speaks first, until the server's connect_timeout.
        """
        sock = self._socket.sock
        return [sock] if isinstance(sock, ssl.SSLSocket) and sock.pending() else []

    def _receive(self) -> bytes | None:
        """The next piece of data, which may be empty; None at the end.

        Raises:
            ClusterError: the kubelet reports an error, such as a port where nobody listens.
        """
        opcode, frame = self._socket.recv_data_frame(control_frame=True)
        if opcode == ABNF.OPCODE_CLOSE:
            return None
        if opcode != ABNF.OPCODE_BINARY or not frame.data:
            return b""
        channel, data = frame.data[0], bytes(frame.data[1:])
        if channel not in self._started:
            self._started.add(channel)
            return b""
        if channel == ERROR:
            raise ClusterError(f"pod {self._pod}: {self._reason(data.decode(errors='replace'))}")
        return data

    def _reason(self, text: str) -> str:
        if REFUSED in text.lower():
            return f"nobody listens on its port {self._port}; it is starting, or has crashed"
        return one_line(text)


class _Forward:
    """Opens tunnels to one port, of whichever pod serves it at that time, and carries connections.

    Args:
        cluster, pod, port, greets: see `forwarded`.
    """

    def __init__(
        self, cluster: Cluster, pod: Callable[[], str], port: int, *, greets: bool
    ) -> None:
        self._cluster, self._pod, self._port, self._greets = cluster, pod, port, greets
        self._spare: list[Tunnel] = []
        self._carried: dict[socket.socket, threading.Thread] = {}

    def prepare(self) -> None:
        """Open a tunnel for the first connection. Raises ClusterError if that is impossible."""
        self._spare.append(self._new())

    def accept(self, listener: socket.socket) -> None:
        """Carry every connection to a socket, until the socket is closed."""
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # messages are small
                thread = threading.Thread(target=self._carry, args=(here,), daemon=True)
                self._carried[here] = thread
                thread.start()

    def close(self) -> None:
        """End all connections."""
        for tunnel in self._spare:
            tunnel.close()
        for here, thread in list(self._carried.items()):
            with suppress(OSError):
                here.shutdown(socket.SHUT_RDWR)
            thread.join()

    def _carry(self, here: socket.socket) -> None:
        """Carry one connection. On an error it is closed, which the driver reports and retries."""
        try:
            with closing(here), closing(self._take()) as tunnel:
                tunnel.carry(here)
        except (ClusterError, WebSocketException, OSError) as error:
            log.debug("port-forward: %s", one_line(error))
        finally:
            self._carried.pop(here, None)

    def _take(self) -> Tunnel:
        """The prepared tunnel, or a new one."""
        with suppress(IndexError):
            spare = self._spare.pop()
            if time.monotonic() - spare.opened < SPARE:
                return spare
            spare.close()
        return self._new()

    def _new(self) -> Tunnel:
        for left in reversed(range(TRIES)):
            tunnel = self._open()
            try:
                if self._greets:
                    tunnel.wait_for_data(CONNECT_TIMEOUT)
            except ClusterError as error:
                tunnel.close()
                if not left:
                    raise ClusterError(f"no port-forward: {error}") from error
            else:
                return tunnel
        raise AssertionError("not reached")

    def _open(self) -> Tunnel:
        try:
            return Tunnel(self._cluster, self._pod(), self._port)
        except ForbiddenError as error:
            raise ForbiddenError(
                "forbidden: this account may not get and create pods/portforward in namespace "
                f"{self._cluster.namespace}"
            ) from error


@contextmanager
def forwarded(
    cluster: Cluster, pod: Callable[[], str], port: int, *, greets: bool = False
) -> Iterator[int]:
    """Listen on a free port of 127.0.0.1 that leads to a port of a pod.

    Args:
        cluster: the namespace of the pod.
        pod: names the pod. It is called for each connection, because a pod that was started again
            may have another name.
        port: of the pod.
        greets: whether the server there speaks first, as MySQL does. Then a tunnel is used only
            once something has come through it.

    Yields:
        The number of the local port.

    Raises:
        ClusterError: the API server refuses, or ``pod`` raises it.
    """
    with (
        closing(_Forward(cluster, pod, port, greets=greets)) as forward,
        closing(socket.create_server(("127.0.0.1", 0))) as listener,
    ):
        # now, so that an error is one line rather than a driver's "lost connection" later
        forward.prepare()
        accepting = threading.Thread(target=forward.accept, args=(listener,), daemon=True)
        accepting.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes up accept()
            accepting.join()
