"""A server as a child process, for programs and tests."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from owt.server.conf import Settings, conf
from owt.server.errors import ServerError
from owt.server.nginx import Nginx
from owt.server.places import free_port, names, own_python, reachable, resolve
from owt.server.singing import Singing, here
from owt.server.watch import GRACE, end_with_this_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType


class _Sing:
    """``sing`` of a server, and of the class itself."""

    def __get__(self, server: Server | None, owner: type[Server]) -> Callable[[], Singing]:
        return here if server is None else server._sing


class Server:
    """nginx with owt, in a directory of its own.

    It ends with ``close()``, the ``with`` block or the program, even one that is killed; not with a
    process that the program forks. address is an IP address, a name of
    this machine, or ``localhost``, which is both loopback addresses; port 0 is any that is free. auth
    are logins as ``user:sha256``, needed where address is not loopback; hosts are names by which it
    may be asked for. venv is the virtualenv of adaptors, by default the one that pip has put this package
    into. timeout is how many seconds it has to start.

    ``sing()`` starts it unless it runs, and returns, once it answers, an address to reach it by and the
    port. ``Server.sing()``, of the class, is for adaptors: it starts nothing, and returns where the server
    is that runs the call, as its client has named it; ServerError where no call runs.

    Raises ServerError where it cannot start.
    """

    sing = _Sing()

    def __init__(
        self,
        address: str = "localhost",
        port: int = 0,
        *,
        auth: Sequence[str] = (),
        hosts: Sequence[str] = (),
        threads: int = 8,
        venv: str | Path | None = None,
        module: str | Path | None = None,
        nginx: str | None = None,
        timeout: float = 60,
    ) -> None:
        self._nginx = Nginx(nginx, module)
        addresses = resolve(address)
        port = free_port(addresses, port)
        venv = Path(venv).absolute() if venv else own_python()
        hosts = [*hosts, *names(address)]
        self._settings = Settings(addresses, port, auth=auth, hosts=hosts, threads=threads, venv=venv, level="info")
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = Path()
        self._watcher: subprocess.Popen[bytes] | None = None
        self._program = 0

    def _sing(self) -> Singing:
        if self._process is None:
            self._start()
        return Singing(reachable(self._settings.listen), self._settings.port)

    def log(self) -> str:
        """nginx's error log, where adaptors print to; empty before the start and after the end."""
        file = self._directory / "error.log"
        return file.read_text(errors="replace") if self._process and file.exists() else ""

    def _start(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="owt-"))
        (self._directory / "nginx.conf").write_bytes(os.fsencode(conf(self._nginx, self._settings)))
        self._program = os.getpid()
        atexit.register(self.close)
        with (self._directory / "error.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._nginx.command(self._directory),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._watcher = end_with_this_program(self._process.pid, self._directory)
            self._wait_until_it_answers(time.monotonic() + self._timeout)
        except BaseException:
            self.close()
            raise

    def _wait_until_it_answers(self, deadline: float) -> None:
        """Workers accept connections once Python is up; whatever they then say is an answer."""
        assert self._process
        while True:
            left = deadline - time.monotonic()
            if self._process.poll() is not None or left <= 0:
                what = "is not up in time" if left <= 0 else "did not start"
                raise ServerError(f"nginx {what}; its log:\n{self.log()[-5000:]}")
            try:
                with socket.create_connection((reachable(self._settings.listen), self._settings.port), left) as one:
                    one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    if one.recv(1):
                        return
            except OSError:
                pass  # not yet
            time.sleep(0.01)

    def close(self) -> None:
        """Ends it, and calls that run with it. Does nothing a second time."""
        process, self._process = self._process, None
        if process is None or self._program != os.getpid():
            return
        atexit.unregister(self.close)
        process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what adaptors have started included
            process.wait()
            if self._watcher:
                self._watcher.wait()
            shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Server:
        self.sing()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
