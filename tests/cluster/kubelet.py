"""An API server that carries a port over TLS, and answers in the same record as its handshake.

So does a real one now and then: the answer to the WebSocket's handshake and the first frames of a
server that speaks first arrive together, are decrypted together, and then nothing else arrives.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from hpo_job.cluster.server import new_server

GREETING = b"greetings from the database"
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of RFC 6455


class Kubelet:
    """Greets on each connection, and answers in capital letters: two frames in one TLS record.

    Args:
        mute: of how many connections nothing comes through at all.
        error: what the kubelet reports instead of a greeting.
    """

    def __init__(self, mute: int = 0, error: bytes = b"") -> None:
        self.mute, self.error = mute, error
        self.connections = 0
        self.url = ""

    def serve(self, connection: ssl.SSLSocket) -> None:
        self.connections += 1
        request = _until(connection, b"\r\n\r\n")
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
        assert key
        accept = base64.b64encode(hashlib.sha1(key[1] + MAGIC).digest())
        answer = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: v4.channel.k8s.io\r\nSec-WebSocket-Accept: "
        )
        answer += accept + b"\r\n\r\n"
        if self.connections > self.mute:
            port = struct.pack("<H", 3306)
            answer += _frame(b"\0" + port) + _frame(b"\1" + port)
            answer += _frame(b"\1" + self.error if self.error else b"\0" + GREETING)
        connection.sendall(answer)  # one record
        while payload := _payload(connection):
            answer = payload[1:].upper()
            half = len(answer) // 2
            connection.sendall(_frame(b"\0" + answer[:half]) + _frame(b"\0" + answer[half:]))


@contextmanager
def running(folder: Path, kubelet: Kubelet) -> Iterator[Kubelet]:
    """Let it listen; its certificate is in ``folder``."""
    secret = new_server("hpo-job")
    for name in ("server.pem", "server-key.pem"):
        (folder / name).write_text(secret[name])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kubelet.url = f"https://127.0.0.1:{listener.getsockname()[1]}"

        def each(raw: socket.socket) -> None:
            with suppress(OSError), closing(context.wrap_socket(raw, server_side=True)) as secure:
                kubelet.serve(secure)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    raw, _ = listener.accept()
                    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=each, args=(raw,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield kubelet
        listener.shutdown(socket.SHUT_RDWR)


def _until(connection: ssl.SSLSocket, end: bytes) -> bytes:
    text = b""
    while end not in text:
        text += connection.recv(1 << 12)
    return text


def _frame(payload: bytes) -> bytes:
    """A short binary frame of a server, which is not masked."""
    return bytes([0x82, len(payload)]) + payload


def _payload(connection: ssl.SSLSocket) -> bytes:
    """What a short binary frame of a client holds; empty when it closes."""
    head = connection.recv(6)
    if len(head) < 6 or head[0] != 0x82:
        return b""
    mask, body = head[2:], connection.recv(head[1] & 0x7F)
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(body))
