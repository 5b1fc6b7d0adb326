"""What is compared, and how each is started: one process that serves, on a free port of the loopback interface."""

import base64
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).parent
MODULES = Path("/usr/lib/nginx/modules")

_ECHO = {"code": 'def run(request, name): return f"Hello, {name}!"', "name": "owt"}
ECHO = json.dumps(_ECHO)
#: The same, answered with a result that is kept.
KEPT = json.dumps(_ECHO | {"use_cache": True, "cache_kwargs": True})


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_LONG = {"code_b64": _encoded(_ECHO["code"]), "kwargs_b64": _encoded(json.dumps({"name": "owt"}))}
#: Both in the spelling that carries everything as base64.
LONG = json.dumps(_LONG)
LONG_KEPT = json.dumps(_LONG | {"use_cache": True, "cache_kwargs": True})
REPLY = b"Hello, owt!"

# Idle connections and their events take memory too; a server that has to hold many is asked for as many.
CONNECTIONS = 1024


class BenchError(Exception):
    """A reading that could not be taken, and why."""


@dataclass(frozen=True)
class Tools:
    """What owt is measured with."""

    nginx: Path
    module: Path


@dataclass(frozen=True)
class Peer:
    """A server that answers `echo` with `reply`. `command` lays out its directory and says what to execute there."""

    name: str
    title: str
    command: Callable[[Tools, Path, int], list[str]]
    echo: str = ECHO
    reply: bytes = REPLY


def nginx(
    conf: str, *modules: str, connections: int = CONNECTIONS, threads: int = 0, instance: str = ""
) -> Callable[[Tools, Path, int], list[str]]:
    """nginx with conf/<conf>.conf in its frame; the @NAMES@ in both are filled in. instance: more of owt_instance."""

    def command(tools: Tools, directory: Path, port: int) -> list[str]:
        main = [f"load_module {tools.module if module == 'owt' else MODULES / module};" for module in modules]
        main.append(f"worker_rlimit_nofile {connections + 64};")
        if os.geteuid() == 0:
            main.append("user root;")
        slots = {
            "MAIN": "\n".join(main),
            "CONNECTIONS": connections,
            "PORT": port,
            "THREADS": threads,
            "INSTANCE": instance,
        }
        text = (HERE / "conf/nginx.conf").read_text().replace("@HTTP@", (HERE / f"conf/{conf}.conf").read_text())
        for name, value in slots.items():
            text = text.replace(f"@{name}@", str(value))
        (directory / "nginx.conf").write_text(text)
        return [str(tools.nginx), "-p", f"{directory}/", "-c", "nginx.conf", "-e", "error.log"]

    return command


def owt(threads: int = 8, connections: int = CONNECTIONS) -> Peer:
    """owt with so many threads; 8 is the default."""
    title = f"owt, {threads} thread{'s' if threads > 1 else ''}"
    return Peer(f"owt-{threads}", title, nginx("owt", "owt", threads=threads, connections=connections))


def adaptor(name: str, code: str, reply: bytes = REPLY, /, **arguments: object) -> Peer:
    """owt with one thread, which runs this adaptor with these arguments."""
    body = json.dumps({"code": code, **arguments})
    return Peer(name, f"owt, {name}", nginx("owt", "owt", threads=1), body, reply)


def published(name: str, code: str, /, **arguments: object) -> Peer:
    """owt with one thread, which publishes this adaptor; the arguments are all that is sent."""

    def command(tools: Tools, directory: Path, port: int) -> list[str]:
        (directory / "published.py").write_text(code)
        return nginx("published", "owt", threads=1)(tools, directory, port)

    return Peer(name, f"owt, {name}", command, json.dumps(arguments))


def uvicorn(parser: str, loop: str) -> Callable[[Tools, Path, int], list[str]]:
    """One process, on an HTTP parser and an event loop that are named: by itself uvicorn takes what is installed."""

    def command(_tools: Tools, _directory: Path, port: int) -> list[str]:
        options = ["--http", parser, "--loop", loop, "--no-access-log", "--log-level", "warning"]
        options += ["--app-dir", str(HERE / "apps"), "--host", "127.0.0.1", "--port", str(port)]
        return [sys.executable, "-m", "uvicorn", "asgi:app", *options]

    return command


def gunicorn(_tools: Tools, _directory: Path, port: int) -> list[str]:
    """One sync worker, which closes the connection after each answer."""
    options = ["--workers", "1", "--worker-class", "sync", "--log-level", "warning", "--pythonpath", str(HERE / "apps")]
    return [sys.executable, "-m", "gunicorn", "wsgi:app", "--bind", f"127.0.0.1:{port}", *options]


PEERS = [
    Peer("return", "nginx `return 200`", nginx("return")),
    Peer("lua", "nginx+Lua, reads the body", nginx("lua", "ndk_http_module.so", "ngx_http_lua_module.so")),
    owt(1),
    owt(),
    Peer("owt-b64", "owt, 1 thread, base64", nginx("owt", "owt", threads=1), LONG),
    Peer("kept", "owt, a kept result", nginx("owt", "owt", threads=8), KEPT),
    Peer("kept-b64", "owt, a kept result, base64", nginx("owt", "owt", threads=8), LONG_KEPT),
    Peer("starlette", "uvicorn+Starlette, h11+asyncio", uvicorn("h11", "asyncio")),
    Peer("flask", "gunicorn+Flask, sync", gunicorn),
]
# Optional: uvicorn's parts written in C, with which it is several times faster.
if importlib.util.find_spec("httptools") and importlib.util.find_spec("uvloop"):
    PEERS.append(Peer("starlette-c", "uvicorn+Starlette, httptools+uvloop", uvicorn("httptools", "uvloop")))


class Server:
    """A running peer, for a `with` block. `pid` is the process whose family does the work."""

    def __init__(self, peer: Peer, tools: Tools, scratch: Path) -> None:
        self.peer = peer
        self.directory = scratch / f"{peer.name}-{time.monotonic_ns()}"
        self.directory.mkdir(parents=True)
        self.port = _free_port()
        self._command = peer.command(tools, self.directory, self.port)

    def __enter__(self) -> "Server":
        # setpriv: should this program be killed, the server still ends.
        with (self.directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", *self._command],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._process.pid
        try:
            self._wait_until_it_answers()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def log(self) -> str:
        """The end of what it wrote."""
        texts = [(self.directory / name) for name in ("output", "error.log")]
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in texts if path.exists()).strip()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                status, body = self._echo()
                break
            except (OSError, http.client.HTTPException) as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise BenchError(f"{self.peer.name} does not start ({error!r}): {self.log()}") from error
                time.sleep(0.05)
        if (status, body) != (200, self.peer.reply):
            raise BenchError(f"{self.peer.name} answers {status} {body.decode(errors='replace')[:1500]}\n{self.log()}")

    def _echo(self) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", "/", self.peer.echo, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            print(f"{self.peer.name} did not end within 10 s of SIGTERM", file=sys.stderr)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # the session is its own: what is left there, it started
        self._process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
