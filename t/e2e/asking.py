"""A client that sees an answer come, and that can leave at any time."""

from __future__ import annotations

import http.client
import json
import select
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from harness import SLOW, Server, wait_until


def wait_text(file: Path, timeout: float = 10) -> str:
    """What an adaptor writes to a file, as soon as it has."""
    return wait_until(lambda: file.read_text() if file.exists() else "", f"text in {file}", timeout)


def wait_access(server: Server, entry: str) -> None:
    """Until the access log holds this, as `"POST /path HTTP/1.1" 499`."""
    wait_until(lambda: entry in server.access_log, f"{entry} in the access log")


def leave(server: Server, asked: Asking) -> None:
    """The client leaves, and nginx has seen it."""
    before = server.access_log.count("\n")
    asked.leave()
    wait_until(lambda: server.access_log.count("\n") > before, "the client's end")


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    whole: bool

    @property
    def text(self) -> str:
        return self.body.decode()


class Asking:
    """A call that has been sent, on a connection of its own that ends with it; its answer has yet to be read."""

    def __init__(
        self, server: Server, code: str, path: str = "/", *, port: int = 0, receive: int = 0, **fields: object
    ) -> None:
        """receive is the size of the client's receive buffer: a small one soon holds up the server."""
        self.socket = socket.socket()
        self.socket.settimeout(30 * SLOW)
        if receive:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.connect(("127.0.0.1", port or server.port))
        body = json.dumps({"code": code, **fields}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)
        self._response = http.client.HTTPResponse(self.socket)
        self._begun = False

    @property
    def response(self) -> http.client.HTTPResponse:
        """Once its head has come."""
        if not self._begun:
            self._begun = True
            self._response.begin()
        return self._response

    def read(self, size: int) -> bytes:
        """So many bytes of the body."""
        return self.response.read(size)

    def answer(self) -> Answer:
        """The rest of it. whole is false if it was cut off."""
        response = self.response
        whole = True
        try:
            body = response.read()
        except http.client.IncompleteRead as error:
            body, whole = error.partial, False
        except ConnectionError:
            body, whole = b"", False
        self.socket.close()
        return Answer(response.status, response.headers, body, whole)

    @property
    def answered(self) -> bool:
        """Whether anything of the answer has come."""
        return bool(select.select([self.socket], [], [], 0)[0])

    def answer_or_none(self) -> Answer | None:
        """None if the connection ends without one."""
        try:
            return self.answer()
        except (http.client.BadStatusLine, ConnectionError):
            return None

    def leave(self, *, reset: bool = False) -> None:
        """Closes the connection, or resets it."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._response.close()
        self.socket.close()
