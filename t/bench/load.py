"""Readings: load is put on a server, and what the server spends on it is taken down."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import measure
from peers import HERE, BenchError, Server

CLIENT = HERE / "client.py"
CHUNK = 65536


@dataclass(frozen=True)
class Echo:
    """One run of wrk. Times are in seconds; `cpu` is the server's, all requests together."""

    requests: int
    seconds: float
    cpu: float
    p50: float
    p99: float
    longest: float
    failed: int

    @property
    def cpu_per_call(self) -> float:
        return self.cpu / self.requests

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True)
class Download:
    """One streamed answer, read to its end."""

    size: int
    cpu: float

    @property
    def bytes_per_cpu_second(self) -> float:
        return self.size / self.cpu


def echo(server: Server, connections: int, seconds: int) -> Echo:
    """wrk posts the peer's echo over so many kept-alive connections, from one thread."""
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s"]
    command += ["-s", str(HERE / "post.lua"), f"http://127.0.0.1:{server.port}/", "--", server.peer.echo]
    before = measure.cpu_seconds(server.pid)
    output = _output(server, command, timeout=seconds + 30)
    cpu = measure.cpu_seconds(server.pid) - before
    seen = json.loads(output.splitlines()[-1])
    if seen.pop("bad"):
        raise BenchError(f"{server.peer.name} refused some of wrk's requests: {server.log()}")
    if not seen["requests"]:
        raise BenchError(f"{server.peer.name} answered none of wrk's requests: {server.log()}")
    return Echo(cpu=cpu, **seen)


def download(server: Server, request: str, size: int) -> Download:
    """The answer to `request`, at least `size` bytes in chunks."""
    before = measure.cpu_seconds(server.pid)
    drain(server, request, size)
    return Download(size, measure.cpu_seconds(server.pid) - before)


def drain(server: Server, request: str, size: int = 0, upload: int = 0) -> str:
    """Reads the answer to `request` and `upload` bytes; returns its end. It must be a whole 200 of `size` bytes."""
    seen = _client(server, "drain", request, str(upload))
    if seen["status"] != 200 or seen["bytes"] < size or (size and not seen["tail"].endswith("0\r\n\r\n")):
        raise BenchError(f"{server.peer.name}: a broken answer: {seen} {server.log()}")
    tail: str = seen["tail"]
    return tail


def number(server: Server, request: str) -> float:
    """The answer to `request`, a number."""
    return float(_client(server, "drain", request)["tail"].rpartition("\r\n")[2])


def lags(server: Server, request: str) -> list[float]:
    """Sorted, the seconds from yield to read of each line of the answer."""
    found: list[float] = _client(server, "lag", request)["lags"]
    if not found:
        raise BenchError(f"{server.peer.name} sent no times: {server.log()}")
    return sorted(found)


@contextmanager
def held(server: Server, request: str, count: int) -> Iterator[tuple[int, float]]:
    """Keeps so many answers open for a `with` block; its value is how many are, and the seconds until all were."""
    command = [sys.executable, str(CLIENT), "hold", str(server.port), request, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin and client.stdout
        try:
            line = client.stdout.readline()
            if not line:
                raise BenchError(f"{server.peer.name} does not hold {count} answers open: {server.log()}")
            seen = json.loads(line)
            yield seen["open"], seen["seconds"]
        finally:
            client.terminate()


def post(source: str, **fields: object) -> str:
    """The HTTP request that runs an adaptor with keyword arguments."""
    body = json.dumps({"code": source, **fields})
    return _head("POST / HTTP/1.1", len(body), "Content-Type: application/json") + body


def post_query(size: int, **query: str) -> str:
    """The head of a request that names code in its query; a body of `size` bytes follows."""
    return _head(f"POST /?{urlencode(query)} HTTP/1.1", size, "Content-Type: application/octet-stream")


def get(target: str, **query: object) -> str:
    """A GET request."""
    return _head(f"GET {target}?{urlencode(query)} HTTP/1.1")


def _head(line: str, size: int | None = None, *fields: str) -> str:
    length = [] if size is None else [f"Content-Length: {size}"]
    return "\r\n".join([line, "Host: localhost", "Connection: close", *fields, *length, "", ""])


def _client(server: Server, verb: str, request: str, *rest: str) -> dict[str, Any]:
    command = [sys.executable, str(CLIENT), verb, str(server.port), request, *rest]
    result: dict[str, Any] = json.loads(_output(server, command, timeout=300))
    return result


def _output(server: Server, command: list[str], timeout: float) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{server.peer.name}: {command[0]} took longer than {timeout} s: {server.log()}") from error
    if done.returncode:
        raise BenchError(f"{server.peer.name}: {done.stdout[-500:]} {done.stderr[-1500:]} {server.log()}")
    return done.stdout
