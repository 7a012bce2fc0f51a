"""A network between a client and a server: slow, and with a count of the round trips."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time


class RoundTrips:
    """Counts how often a client waits for an answer, on the way to a server of this machine.

    Args:
        port: of the server.
        delay: seconds that each direction takes.
    """

    def __init__(self, port: int, delay: float = 0.0) -> None:
        self.count = 0
        self.connections = 0
        self._delay = delay
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            other, last = {client: server, server: client}, None
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for side in ready:
                    data = side.recv(1 << 16)
                    if not data:
                        return
                    self.count += side is server and last is not server
                    last = side
                    time.sleep(self._delay)
                    other[side].sendall(data)
