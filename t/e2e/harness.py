"""A real nginx with the module, on ports and in a directory of its own.

The environment says what is tested; without it, what plain `make` has built:

    OWT_BUILD    the directory with the module, and with hooks/ (`make hooks`)
    OWT_NGINX    the nginx to run; one with the module linked in is known by its configure arguments
    OWT_PRELOAD  libraries of a sanitizer
    OWT_SLOW     how many times longer everything may take: 5 with a sanitizer, more on a machine that has other work
    OWT_HOME     a python_home for all instances that name none
"""

from __future__ import annotations

import ctypes
import functools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("OWT_BUILD", ROOT / "build"))
NGINX = os.environ.get("OWT_NGINX", "/usr/sbin/nginx")
PRELOAD = os.environ.get("OWT_PRELOAD", "")
HOME = os.environ.get("OWT_HOME", "")

# What is ignored here, as in a script's background or under nohup, every program that a test starts would ignore too.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

# How much longer everything may take.
SLOW = int(os.environ.get("OWT_SLOW", 5 if PRELOAD else 1))

# ThreadSanitizer runs a signal's handler when the thread next comes to the C library, and in a forked child never.
HOLDS_SIGNALS = "libtsan" in PRELOAD

# For tests of what a process with threads forks.
child_has_threads = pytest.mark.skipif(
    HOLDS_SIGNALS, reason="ThreadSanitizer takes a forked child's threads for its parent's"
)


@functools.cache
def _said_by_python(expression: str) -> str:
    """By that of the instances."""
    command = [f"{HOME or '/usr'}/bin/python3", "-Ic", f"import sys; print({expression})"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def has_gil() -> bool:
    """Whether the Python that instances have has one."""
    return _said_by_python("getattr(sys, '_is_gil_enabled', lambda: True)()") == "True"


def minor_version() -> int:
    """13 of Python 3.13, for the Python that instances have."""
    return int(_said_by_python("sys.version_info[1]"))


# For tests of how much memory is given back.
gives_memory_back = pytest.mark.skipif(
    bool(PRELOAD) or not has_gil(),
    reason="a sanitizer keeps freed memory, and so does CPython without a GIL (mimalloc)",
)

BLOCK = re.compile(r"owt_instance (\w+) \{(?![^}]*python_home)")


def with_home(http: str) -> str:
    """Where no instance names a Python, it is that of OWT_HOME."""
    if "owt_instance default {" not in http:
        http = f"{http}\nowt_instance default {{ }}"
    return BLOCK.sub(rf"owt_instance \1 {{ python_home {HOME};", http)


# What no error log may hold.
BAD = re.compile(r"\[(alert|emerg)\]|(Address|Thread)Sanitizer|runtime error:|SUMMARY:")

FRAME = """\
daemon off;
pid nginx.pid;
error_log error.log info;
env PATH;
env OWT_HOOKS;
{main}
events {{ }}
http {{
    include /etc/nginx/mime.types;
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{http}
}}
"""

# Those in use, for the reports of tests that fail.
servers: list[Server] = []

T = TypeVar("T")


def wait_until(look: Callable[[], T], what: str, timeout: float = 10) -> T:
    """Looks until there is something true to see, and returns it."""
    deadline = time.monotonic() + timeout * SLOW
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout * SLOW:.0f} s for {what}")
        time.sleep(0.005)
    return seen


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives to clients."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@functools.cache
def linked_in() -> bool:
    """Whether the nginx under test contains the module and has nothing to load."""
    version = subprocess.run([NGINX, "-V"], capture_output=True, text=True, check=True).stderr
    return f"--add-module={ROOT}" in version


@functools.cache
def version() -> tuple[int, ...]:
    """That of the nginx under test."""
    told = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
    return tuple(map(int, re.findall(r"nginx/(\d+)\.(\d+)\.(\d+)", told)[0]))


@functools.cache
def certificate() -> tuple[Path, Path]:
    """A self-signed certificate for the loopback names, and its key."""
    directory = Path(tempfile.mkdtemp(prefix="owt-tls"))
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"]
        + ["-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    return cert, key


LIBC = ctypes.CDLL(None, use_errno=True)
LANDLOCK_CREATE_RULESET = 444


def has_landlock() -> bool:
    """Whether the kernel can make directories read-only for a process."""
    return LIBC.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1) >= 1  # its version


def title(pid: int) -> str:
    """What a process calls itself; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").strip().decode(errors="replace")
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(process.name))
    return sorted(found)


_create_connection = socket.create_connection


def _undelayed(*arguments: Any, **options: Any) -> socket.socket:
    one = _create_connection(*arguments, **options)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


# httpx sends head and body apart, and the kernel would hold back the body for up to 40 ms. Newer ones do this themselves.
socket.create_connection = _undelayed

_getaddrinfo = socket.getaddrinfo


def _localhost(host: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return _getaddrinfo(host, *arguments, **options)
    except OSError:
        if host != "localhost":
            raise
        return _getaddrinfo("127.0.0.1", *arguments, **options)


# A chroot may lack /etc/hosts. nginx, curl and Chromium know who that is; httpx and selenium do not.
socket.getaddrinfo = _localhost


def terminal() -> tuple[int, int]:
    """A new terminal, its outer and its inner side; skips the test where there are none, as in a bare chroot."""
    try:
        return os.openpty()
    except OSError as error:
        pytest.skip(f"no terminals here: {error}")


class Server:
    """nginx with `http` as the inside of its http block and `main` at its top level.

    In both, {port}, {port2}, ... become free ports, {dir} nginx's prefix, {root} the source tree, {cert} and {key} a
    certificate for TLS. With `hooks` the module is the one built for tests, which `hold` can stop.
    """

    def __init__(self, http: str, *, main: str = "", hooks: bool = False, env: dict[str, str] | None = None) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="owt-"))
        self._ports: dict[str, int] = {}
        self._expected: list[str] = []
        self._clients: list[httpx.Client] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.seen = 0  # of the error log, before the test that runs now
        servers.append(self)
        self._hooks = hooks
        self._env = env or {}
        (self.dir / "hooks").mkdir()
        self.write_conf(http, main=main)

    # ---- what it is -------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port that the conf calls {port}."""
        return self.port_of("port")

    def port_of(self, name: str) -> int:
        """The port that the conf calls {name}: port, port2, ..."""
        return self._ports.setdefault(name, free_port())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def master(self) -> int:
        assert self._process, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def workers(self, leaving: bool = False) -> list[int]:
        """The worker processes, those of owt_instance included; with `leaving`, also those that are shutting down."""
        titles = {pid: title(pid) for pid in children(self.master)}
        return [
            pid
            for pid, text in titles.items()
            if text.startswith("nginx: worker process") and (leaving or "shutting down" not in text)
        ]

    def workers_of(self, instance: str, leaving: bool = False) -> list[int]:
        """The workers of an owt_instance; "default" has the ordinary ones."""
        named = re.compile(r"\(owt (.+)\)")
        names = {pid: named.search(title(pid)) for pid in self.workers(leaving)}
        return [pid for pid, name in names.items() if (name[1] if name else "default") == instance]

    # ---- its life ---------------------------------------------------------------------------------------------------

    def write_conf(self, http: str, *, main: str = "") -> None:
        """A new configuration, for the next start or reload."""
        lines = [main]
        if not linked_in():
            lines.insert(0, f"load_module {BUILD / 'hooks' if self._hooks else BUILD}/ngx_http_owt_module.so;")
        elif self._hooks:
            raise RuntimeError("tests with hooks need the module as a file of its own")
        if os.geteuid() == 0:
            lines.insert(0, "user root;")  # whose directories these are
        if HOME:
            http = with_home(http)
        if "libasan" in PRELOAD:
            lines.append("env PYTHONMALLOC=malloc;")  # so that the sanitizer sees every block of Python's
        text = FRAME.format(main="\n".join(lines), http=http)
        if version() >= (1, 25, 1):
            text = re.sub(r"(listen [^;]*) http2;", r"\1; http2 on;", text)
        self.conf = re.sub(r"\{(port\d*|dir|root|cert|key)\}", lambda name: str(self._value(name[1])), text)
        (self.dir / "nginx.conf").write_text(self.conf)

    def _value(self, name: str) -> object:
        if name.startswith("port"):
            return self.port_of(name)
        if name in ("cert", "key"):
            return certificate()[name == "key"]
        return self.dir if name == "dir" else ROOT

    def command(self, *arguments: str) -> list[str]:
        return [NGINX, "-p", f"{self.dir}/", "-c", "nginx.conf", *arguments]

    def environment(self) -> dict[str, str]:
        env = {**os.environ, "OWT_HOOKS": str(self.dir / "hooks"), **self._env}
        if PRELOAD:
            env |= {
                "LD_PRELOAD": PRELOAD,
                # CPython leaks by design; faulthandler brings a signal stack, which the sanitizer takes for its own.
                "ASAN_OPTIONS": "detect_leaks=0:use_sigaltstack=0",
                "UBSAN_OPTIONS": "print_stacktrace=1",
                # A process that an adaptor forked may start threads. Nobody joins those that Python has when it ends.
                "TSAN_OPTIONS": "die_after_fork=0:report_thread_leaks=0:"
                f"suppressions={Path(__file__).with_name('tsan.supp')}",
            }
        return env

    def start(self) -> Server:
        """Starts nginx; returns once its workers exist and it can be connected to."""
        with (self.dir / "error.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                start_new_session=True,
            )
        try:
            wait_until(self._up, "nginx to start", 20)
        except TimeoutError:
            self._kill()
            raise
        return self

    def _up(self) -> bool:
        if not self.running:
            raise RuntimeError(f"nginx did not start:\n{self.error_log}")
        if not self.workers() or not self._all_forked():
            return False
        for port in self._ports.values():
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return False
        return True

    def test_conf(self) -> subprocess.CompletedProcess[str]:
        """nginx -t"""
        return subprocess.run(
            self.command("-t"), capture_output=True, text=True, env=self.environment(), timeout=30 * SLOW
        )

    def signal(self, name: str) -> None:
        """reload, quit, stop or reopen; returns when the new workers have taken over, or when nginx has ended."""
        number = {"reload": "SIGHUP", "quit": "SIGQUIT", "stop": "SIGTERM", "reopen": "SIGUSR1"}[name]
        before = set(self.workers(leaving=True))
        offset = len(self.error_log)
        os.kill(self.master, signal.Signals[number])
        if name == "reload":
            wait_until(lambda: self._taken_over(before, offset), "the new workers")
        elif name != "reopen":
            self.wait_exit()

    def _taken_over(self, before: set[int], offset: int) -> bool:
        failure = re.search(r".*\[emerg\].*", self.error_log[offset:])
        if failure:
            raise RuntimeError(f"reload failed: {failure[0]}")
        now = set(self.workers())
        return bool(now) and not now & before and self._all_forked()

    def _all_forked(self) -> bool:
        """Whether the master has done what it was told: it blocks signals unless it waits for the next one."""
        status = Path(f"/proc/{self.master}/status").read_text()
        return re.search(r"^SigBlk:\t0+$", status, re.MULTILINE) is not None

    def wait_exit(self, timeout: float = 20) -> None:
        """Until nginx has ended by itself."""
        assert self._process
        wait_until(lambda: not self.running, "nginx to end", timeout)
        assert self._process.returncode == 0, f"nginx ended with {self._process.returncode}"

    def _kill(self) -> None:
        """Ends what is left of it, adaptors' own processes included."""
        if self._process:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            self._process.wait()

    def close(self) -> None:
        """Quits gracefully; raises AssertionError if that failed, or if the error log holds what it must not."""
        for client in self._clients:
            client.close()
        try:
            if self.running:
                self.signal("quit")
        except TimeoutError as error:
            raise AssertionError(f"{error}: {self._processes()}\n{self.error_log[-5000:]}") from None
        finally:
            self._kill()
            servers.remove(self)
            log = self.error_log
            shutil.rmtree(self.dir, ignore_errors=True)
        bad = [line for line in log.splitlines() if BAD.search(line) and not self._is_expected(line)]
        assert not bad, "in the error log:\n" + "\n".join(bad) + (f"\n\n{log[-20000:]}" if PRELOAD else "")

    def _is_expected(self, line: str) -> bool:
        return any(re.search(pattern, line) for pattern in self._expected)

    def _processes(self) -> str:
        return ", ".join(f"{pid} {title(pid)}" for pid in [self.master, *children(self.master)])

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- its logs ---------------------------------------------------------------------------------------------------

    @property
    def error_log(self) -> str:
        path = self.dir / "error.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def access_log(self) -> str:
        return (self.dir / "access.log").read_text(errors="replace")

    def wait_log(self, pattern: str, timeout: float = 10, after: int = 0) -> re.Match[str]:
        """Until the error log, from the offset `after` on, holds what the pattern matches (^ and $ match at lines)."""
        compiled = re.compile(pattern, re.MULTILINE)
        try:
            return wait_until(lambda: compiled.search(self.error_log, after), f"{pattern!r} in the error log", timeout)
        except TimeoutError as error:
            raise AssertionError(f"{error}; its end:\n{self.error_log[-3000:]}") from None

    def expect(self, pattern: str) -> None:
        """Lines of the error log that this matches are no failure."""
        self._expected.append(pattern)

    # ---- asking it --------------------------------------------------------------------------------------------------

    def client(self, url: str | None = None, **options: Any) -> httpx.Client:
        """A client with connections of its own, for this server's or another URL; closed with the server."""
        if (url or "").startswith("https:"):
            options.setdefault("verify", str(certificate()[0]))
        client = httpx.Client(base_url=url or self.url, trust_env=False, timeout=30 * SLOW, **options)
        self._clients.append(client)
        return client

    @functools.cached_property
    def _client(self) -> httpx.Client:
        return self.client()

    def get(self, path: str = "/", **options: Any) -> httpx.Response:
        return self._client.get(path, **options)

    def post(self, path: str = "/", **options: Any) -> httpx.Response:
        return self._client.post(path, **options)

    def run(self, code: str, path: str = "/", **fields: object) -> httpx.Response:
        """Calls an adaptor as a JSON body does; the fields are its arguments and owt's parameters."""
        return self.post(path, json={"code": code, **fields})

    def curl(self, path: str, *arguments: str, url: str | None = None) -> subprocess.CompletedProcess[str]:
        """curl with these arguments: its standard output is the body, its exit status tells of aborted answers."""
        command = ["curl", "-q", "-sS", "-g", "--noproxy", "*", "--max-time", str(30 * SLOW), *arguments]
        return subprocess.run(
            [*command, (url or self.url) + path], capture_output=True, text=True, errors="surrogateescape"
        )

    def connect(self, port: int | None = None) -> socket.socket:
        """A bare TCP connection."""
        return socket.create_connection(("127.0.0.1", port or self.port), timeout=30 * SLOW)

    def hold(self, name: str) -> Hold:
        """Stops the next thread that comes to the hook of this name, until released or the end of the with block."""
        assert self._hooks, "this server runs without hooks"
        return Hold(self.dir / "hooks" / name)


class Hold:
    """See src/call/hooks.hpp."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._reached = file.with_name(file.name + ".reached")

    def __enter__(self) -> Hold:
        self._file.touch()
        return self

    def wait_reached(self, timeout: float = 10) -> None:
        wait_until(self._reached.exists, f"a thread at the hook {self._file.name}", timeout)

    @property
    def reached(self) -> bool:
        return self._reached.exists()

    def release(self) -> None:
        """Lets the thread go on; without one, the next will not be stopped."""
        self._file.unlink(missing_ok=True)
        self._reached.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
