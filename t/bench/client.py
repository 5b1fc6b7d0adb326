"""A client over a plain socket, in a process of its own: what it costs is not counted with the server.

    client.py drain PORT REQUEST [UPLOAD]  sends REQUEST and UPLOAD zero bytes, reads the answer to its end
    client.py lag PORT REQUEST             reads an answer of time.monotonic_ns() in lines: how late is each?
    client.py hold PORT REQUEST COUNT      opens COUNT answers and keeps them until its standard input ends

The server has to close the connection after the answer. The result is one line of JSON.
"""

import json
import re
import select
import socket
import sys
import time
from collections.abc import Callable

SILENCE = 60.0  # seconds without a byte after which the server counts as stuck


def connect(port: int, request: str) -> socket.socket:
    """Returns a connection on which the request has been sent."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=SILENCE)
    connection.sendall(request.encode())
    return connection


def drain(port: int, request: str, upload: str = "0") -> dict[str, object]:
    """How many bytes came, the status, and the last of what came."""
    with connect(port, request) as connection:
        zeros = memoryview(bytes(1 << 20))
        left = int(upload)
        while left:
            left -= connection.send(zeros[:left])
        buffer = bytearray(1 << 20)
        view = memoryview(buffer)
        total, status, tail = 0, 0, b""
        while size := connection.recv_into(buffer):
            if total == 0:
                status = int(buffer[9:12])
            total += size
            tail = (tail + bytes(view[max(0, size - 64) : size]))[-64:]
    return {"bytes": total, "status": status, "tail": tail.decode("latin-1")}


def lag(port: int, request: str) -> dict[str, object]:
    """Seconds from a line's making to its arrival here, line by line."""
    lags: list[float] = []
    pending = b""
    with connect(port, request) as connection:
        while data := connection.recv(65536):
            now = time.monotonic_ns()
            lines = (pending + data).split(b"\n")
            pending = lines.pop()
            lags += [(now - int(line)) / 1e9 for line in lines if re.fullmatch(rb"\d{9,}", line)]
    return {"lags": lags}


def hold(port: int, request: str, count: str) -> dict[str, object]:
    """How many answers are open, each seen to have sent its head and its first chunk; asked for as fast as it goes.

    Also the seconds until all were.
    """
    begun = time.monotonic()
    held = [connect(port, request) for _ in range(int(count))]
    for number, connection in enumerate(held):
        answer = b""
        while not answer.partition(b"\r\n\r\n")[2].endswith(b"\n\r\n"):  # a line, then the end of its chunk
            data = connection.recv(4096)
            if not data:
                break
            answer += data
        if not data or not answer.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"answer {number + 1} did not stay open: {answer.decode('latin-1')}")
    seconds = time.monotonic() - begun
    poll = select.poll()
    for connection in held:
        poll.register(connection, select.POLLIN)
    ended = len(poll.poll(0))
    print(json.dumps({"open": len(held) - ended, "seconds": seconds}), flush=True)
    sys.stdin.read()
    return {}


if __name__ == "__main__":
    _, verb, port, *rest = sys.argv
    verbs: dict[str, Callable[..., dict[str, object]]] = {"drain": drain, "lag": lag, "hold": hold}
    print(json.dumps(verbs[verb](int(port), *rest)))
