"""`make run`: from a terminal, on any port, with a virtualenv, in places and with environments that are out of the
ordinary. What it starts is .ci/serve, with what make has built."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import BUILD, NGINX, PRELOAD, ROOT, free_port, linked_in, terminal, title, wait_until
from test_docs import HELLO, shell
from virtualenvs import bare, packages_of

MODULE = "ngx_http_owt_module.so"
AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else, or make namespaces")


def environment(**more: str) -> dict[str, str]:
    """This one's, but for what is to be tried."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "VIRTUAL_ENV", "PYTHON")) and not name.lower().endswith("_proxy")
    }
    return {**kept, **more}


def make_run(port: int) -> list[str]:
    build = [f"NGINX={NGINX}", *([f"SANITIZE={BUILD.name}"] if PRELOAD else [])]
    return ["make", "run", f"PORT={port}", *build]


def serve(tree: Path, port: int) -> list[str]:
    """What make run starts once all is built."""
    return ["/usr/bin/python3", "-I", f"{tree}/.ci/serve", f"{tree}/build/{MODULE}", str(port), NGINX]


class Running:
    """A command; what it says is kept."""

    def __init__(self, command: list[str], env: dict[str, str], cwd: Path = ROOT, umask: int = -1) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            umask=umask,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.said = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.said += line

    def wait_said(self, text: str, timeout: float = 30) -> str:
        def look() -> bool:
            if text not in self.said and self.process.poll() is not None:
                self._reader.join()
                assert text in self.said, self.said
            return text in self.said

        wait_until(look, text, timeout)
        return self.said

    def wait_banner(self) -> str:
        return self.wait_said("-d name=owt\n", 120)

    def stop(self) -> str:
        """As Ctrl-C does."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(30)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self._reader.join()
        return self.said


Runs = Callable[..., Running]


@pytest.fixture
def running() -> Iterator[Runs]:
    started = []

    def run(command: list[str], env: dict[str, str] | None = None, **options: object) -> Running:
        started.append(Running(command, environment() if env is None else env, **options))  # type: ignore[arg-type]
        return started[-1]

    yield run
    for one in started:
        assert "[alert]" not in one.stop()


def call(port: int, code: str, *before: str) -> str:
    words = [*before, "curl", "-q", "-sS", "--noproxy", "*", "--form-string", f"code={code}", f"127.0.0.1:{port}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
def tree() -> Iterator[Path]:
    """What has been built, with its sources, where every user can read it, under a name that is no plain word."""
    top = Path(tempfile.mkdtemp(prefix="owt tree "))
    top.chmod(0o755)
    tree = top / 'mäin "tree";'
    for name in ("bin", "conf", "examples", "python", ".ci"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(BUILD / "python", tree / "build/python", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(BUILD / MODULE, tree / "build")
    yield tree
    shutil.rmtree(top)


# ---- make run --------------------------------------------------------------------------------------------------------


def test_it_serves_until_interrupted(running: Runs) -> None:
    port = free_port()
    server = running(make_run(port))
    said = server.wait_banner()
    assert said.count("curl ") == said.count(f" localhost:{port}/hello") == 3
    assert f"http://127.0.0.1:{port} until Ctrl-C" in said
    assert len(HELLO) == 3
    for command in HELLO:
        assert shell(command.replace("9876", str(port)), NO_PROXY="*").stdout.strip() == "Hello, owt!"
    for command in re.findall("curl .*", said):
        assert shell(command, NO_PROXY="*").stdout.strip() == "Hello, owt!"
    pages = shell(f"curl localhost:{port}/examples/echo/echo.py", NO_PROXY="*")
    assert pages.stdout == (ROOT / "examples/echo/echo.py").read_text()
    assert 'href="echo/"' in shell(f"curl localhost:{port}/examples/", NO_PROXY="*").stdout
    repeated = shell(f"curl localhost:{port}/api/repeat -d text=hey", NO_PROXY="*")
    assert repeated.stdout.strip() == '{"said":"hey hey"}'
    server.stop()
    assert refused(port)


def test_who_forgets_the_code_is_told_this_port(running: Runs) -> None:
    port = free_port()
    running(make_run(port)).wait_banner()
    for name in ("localhost", "127.0.0.1"):
        told = shell(f"curl {name}:{port}", NO_PROXY="*").stdout
        assert told.count(f"\ncurl {name}:{port} ") == 2


@pytest.mark.parametrize("before", [[], ["bash", "-c", '"$@"; exit $?', "bash"]])
def test_it_ends_with_its_terminal(before: list[str]) -> None:
    """Whether make is what the terminal was opened for, or a shell is in between."""
    port = free_port()
    outer, inner = terminal()
    process = subprocess.Popen(
        ["setsid", "--ctty", *before, *make_run(port)],
        cwd=ROOT, env=environment(), stdin=inner, stdout=inner, stderr=inner,
    )  # fmt: skip
    os.close(inner)
    try:
        said = b""
        while b"-d name=owt" not in said:
            said += os.read(outer, 4096)
        os.close(outer)
        wait_until(lambda: refused(port), "nginx to end", 30)
    finally:
        process.kill()
        process.wait()
        pid_file = BUILD / "run/nginx.pid"
        if not refused(port) and pid_file.exists():
            os.kill(int(pid_file.read_text()), signal.SIGKILL)


# ---- a port that is taken --------------------------------------------------------------------------------------------


def fails(command: list[str], **env: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environment(**env), capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "until Ctrl-C" not in done.stdout + done.stderr
    return done.stderr


def test_a_port_that_is_taken_says_by_whom() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = fails(make_run(port))
    name = Path("/proc/self/comm").read_text().strip()
    assert f"port {port} of 127.0.0.1 is taken by {name} (process {os.getpid()})" in told
    assert f"`kill {os.getpid()}`" in told
    other = re.search(r"make run PORT=(\d+)", told)
    assert other and int(other[1]) > port


@only_root
def test_a_port_that_another_user_has_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        program = "import sys; sys.path.insert(0, sys.argv[1]); from owt.server.places import free_port;"
        program += "free_port(['127.0.0.1'], int(sys.argv[2]))"
        with tempfile.TemporaryDirectory() as directory:
            Path(directory).chmod(0o755)
            shutil.copytree(ROOT / "python", f"{directory}/python", ignore=shutil.ignore_patterns("__pycache__"))
            words = [*AS_NOBODY, "/usr/bin/python3", "-Ic", program, f"{directory}/python", str(port)]
            done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert "is taken by a program of the user root, who may end that" in done.stderr


def test_a_port_that_is_none() -> None:
    for port in ("70000", "http", "-1"):
        assert re.search(
            rf"make run: .*{port}", fails(["/usr/bin/python3", "-I", ".ci/serve", str(BUILD / MODULE), port])
        )


@pytest.mark.parametrize("port", ["abc", "0x10", "80.5", "8 0"])
def test_a_port_that_is_no_number(port: str) -> None:
    told = fails([*serve(ROOT, 0)[:-2], port, NGINX])
    assert told == f"make run: PORT={port!r} is no number: make run PORT=8000\n"


# ---- a virtualenv ----------------------------------------------------------------------------------------------------


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    return bare(tmp_path / "a vénv")


@pytest.mark.parametrize("relative", [False, True])
def test_an_activated_virtualenv_is_the_adaptors(running: Runs, venv: Path, relative: bool) -> None:
    (packages_of(venv) / "mine.py").write_text("word = 'of the virtualenv'")
    port = free_port()
    named = os.path.relpath(venv, ROOT) if relative else str(venv)
    server = running(make_run(port), environment(VIRTUAL_ENV=named, PATH=f"{venv}/bin:{os.environ['PATH']}"))
    said = server.wait_banner()
    assert f"with the packages of the virtualenv {ROOT / named}." in said
    assert "[emerg]" not in said  # of NGINX, which make puts into the environment
    told = call(port, "import mine, sys\ndef run(): return [mine.word, sys.prefix]")
    assert json.loads(told) == ["of the virtualenv", str(venv)]


def test_an_activated_virtualenv_that_is_gone() -> None:
    done = subprocess.run(
        serve(ROOT, free_port()), env=environment(VIRTUAL_ENV="/not/there"), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith("make run: VIRTUAL_ENV, which names the activated virtualenv, is /not/there, and")


def test_the_banner_comes_once_it_answers(running: Runs, venv: Path, tmp_path: Path) -> None:
    """Not while Python starts, when nginx listens already and its pid is written."""
    gate, reached = tmp_path / "gate", tmp_path / "reached"
    (packages_of(venv) / "held.pth").write_text("import held")
    (packages_of(venv) / "held.py").write_text(
        "import os, time\n"
        "if os.path.basename(os.readlink('/proc/self/exe')).startswith('nginx'):\n"
        f"    open({str(reached)!r}, 'w')\n"
        f"    while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    )
    port = free_port()
    server = running(make_run(port), environment(VIRTUAL_ENV=str(venv)))
    wait_until(reached.exists, "Python to start", 120)
    asking = f":{port:04X} 01 "  # established

    def asks() -> bool:
        assert "until Ctrl-C" not in server.said
        return asking in Path("/proc/net/tcp").read_text()

    wait_until(asks, "somebody who asks whether it serves")
    assert "until Ctrl-C" not in server.said
    gate.touch()
    server.wait_banner()


# ---- places and environments -----------------------------------------------------------------------------------------


@only_root
@pytest.mark.parametrize("built", [False, True], ids=["a tree", "what another has built"])
def test_an_ordinary_user_whose_tree_it_is_not(tree: Path, built: bool) -> None:
    for name in ("Makefile", "config", "src"):
        subprocess.run(["cp", "-r", ROOT / name, tree], check=True)
    if built:
        os.chown(tree, 65534, 65534)
    else:
        (tree / "build").rename(tree / "built")
    done = subprocess.run(
        [*AS_NOBODY, "make", "all"], cwd=tree, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert f"make writes into {tree}/build, and nobody may not: `sudo chown -R nobody build'" in done.stderr


@only_root
def test_an_ordinary_user_in_an_odd_place_with_an_odd_environment(tree: Path, running: Runs) -> None:
    """Who owns the tree as a checkout is owned, lets nobody else read what he writes, and has a conda on PATH."""
    subprocess.run(["chown", "-R", "nobody:nogroup", tree], check=True)
    conda = tree / "conda"
    (conda / "bin").mkdir(parents=True)
    for name in ("python3", "nginx", "python"):
        (conda / "bin" / name).write_text("#!/bin/sh\nexit 3\n")
        (conda / "bin" / name).chmod(0o755)
    env = environment(
        HOME="/nonexistent",
        PATH=f"{conda}/bin:/usr/bin:/bin",
        TMPDIR=f"{tree}/not there",
        CONDA_PREFIX=str(conda),
        PYTHONHOME="/nonexistent",
        PYTHONPATH=str(conda),
        LANG="C",
    )
    port = free_port()
    server = running([*AS_NOBODY, *serve(tree, port)], env, cwd=tree, umask=0o077)
    server.wait_banner()
    code = "import os, sys\ndef run(): return [os.getuid(), sys.prefix]"
    assert call(port, code) == '[65534,"/usr"]\n'
    assert shell(f"curl 127.0.0.1:{port}/examples/echo/echo.py", NO_PROXY="*").stdout.startswith("def run")
    assert (tree / "build/run/owt_temp").stat().st_uid == 65534


@only_root
@pytest.mark.parametrize("lacking", ["IPv6", "/dev/shm"])
def test_what_a_machine_may_lack(running: Runs, lacking: str) -> None:
    if lacking == "IPv6":
        namespace = ["unshare", "--net"]
        ready = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6"
    else:
        namespace = ["unshare", "--mount"]
        ready = "mount -t tmpfs -o ro,mode=000 none /dev/shm"
    tried = subprocess.run([*namespace, "sh", "-c", ready], capture_output=True, text=True)
    if tried.returncode != 0:
        pytest.skip(f"no namespace without {lacking} here: {tried.stderr}")
    port = free_port()
    server = running([*namespace, "sh", "-c", f'{ready} && exec "$@"', "sh", *make_run(port)])
    server.wait_banner()
    pid = (BUILD / "run/nginx.pid").read_text().strip()
    assert call(port, "def run(): return 'ran'", "nsenter", "-t", pid, "--net", "--mount") == "ran"


@pytest.mark.parametrize(
    ("env", "noted"),
    [
        ({}, ""),
        ({"http_proxy": "http://proxy.example:3128"}, "http_proxy"),
        ({"HTTP_PROXY": "http://proxy.example:3128"}, "HTTP_PROXY"),
        ({"http_proxy": "http://proxy.example:3128", "no_proxy": "example.com, 10.0.0.1"}, "http_proxy"),
        ({"http_proxy": "http://proxy.example:3128", "no_proxy": "example.com,localhost"}, ""),
        ({"http_proxy": "http://proxy.example:3128", "no_proxy": "*"}, ""),
    ],
)
@pytest.mark.skipif(bool(PRELOAD) or linked_in(), reason="tried without")
def test_a_proxy_that_clients_would_ask_is_noted(running: Runs, env: dict[str, str], noted: str) -> None:
    server = running(serve(ROOT, free_port()), environment(**env))
    said = server.wait_banner()
    if not noted:
        assert "note:" not in said
        return
    said = server.wait_said("export no_proxy=")
    assert f"note: {noted} is set" in said
    line = next(line for line in said.splitlines() if "export no_proxy" in line)
    done = subprocess.run(["sh", "-euc", f"{line}\necho $no_proxy"], env=env, capture_output=True, text=True)
    assert {"localhost", "127.0.0.1"} <= set(done.stdout.strip().split(","))


def test_its_nginx_is_gone_when_it_has_ended(running: Runs) -> None:
    port = free_port()
    server = running(make_run(port))
    server.wait_banner()
    pid = int((BUILD / "run/nginx.pid").read_text())
    assert title(pid).startswith("nginx: master")
    server.stop()
    assert not title(pid)
