"""owt-server, which becomes nginx, and owt.server, which starts one: as root and as an ordinary user."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from harness import BUILD, NGINX, PRELOAD, ROOT, certificate, free_port, linked_in, terminal, title, wait_until
from owt.server import Server, ServerError
from virtualenvs import bare

pytestmark = [
    pytest.mark.skipif(bool(PRELOAD), reason="owt-server loads no sanitizer before nginx"),
    pytest.mark.skipif(linked_in(), reason="owt-server loads the module, which this nginx contains"),
]

MODULE = BUILD / "ngx_http_owt_module.so"
LOGIN = f"me:{hashlib.sha256(b'hunter2').hexdigest()}"
WHO = "import os\ndef run(_): return [os.getuid(), os.getpid()]"


class Running:
    """bin/owt-server, once it says where; what it and nginx say is kept."""

    def __init__(self, command: list[str | Path], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stderr
        self.said = ""
        where = None
        while not where and (line := self.process.stderr.readline()):
            self.said += line
            where = re.search(r"owt-server: (https?://\S+), .*; files in (\S.*)$", line)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not where:
            self.stop()
            raise AssertionError(self.said)
        self.url, self.dir = where[1], Path(where[2])
        parts = urlsplit(self.url)
        assert parts.hostname and parts.port
        self.host, self.port = parts.hostname, parts.port
        with socket.socket() as probe:
            refused = probe.connect_ex((self.host, self.port))
        if refused:
            self.stop()
            raise AssertionError(f"it is said to listen, and does not: {os.strerror(refused)}\n{self.said}")

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.said += line

    def run(self, code: str, **options: object) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=60, verify=str(certificate()[0])) as client:
            url = str(options.pop("url", self.url))
            return client.post(url, json={"code": code}, **options)  # type: ignore[arg-type]

    def stop(self, number: int = signal.SIGINT) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(30)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self._reader.join()


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OWT_", "VIRTUAL_ENV"))}
    return {**kept, **more}


def words(*arguments: str | Path) -> list[str | Path]:
    return [ROOT / "bin/owt-server", "--nginx", NGINX, "--module", MODULE, *arguments]


Sings = Callable[..., Running]


@pytest.fixture
def sing(tmp_path: Path) -> Iterator[Sings]:
    """Starts owt-server on any port."""
    running = []

    def sing(*arguments: str | Path, **env: str) -> Running:
        running.append(Running(words("--port", "0", *arguments), environment(TMPDIR=str(tmp_path), **env)))
        return running[-1]

    yield sing
    for server in running:
        server.stop()
        assert "[alert]" not in server.said


def fails(*arguments: str | Path, **env: str) -> str:
    """What owt-server says instead of starting."""
    done = subprocess.run(words(*arguments), env=environment(**env), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


# ---- from a shell ----------------------------------------------------------------------------------------------------


def test_it_serves_until_ctrl_c(sing: Sings, tmp_path: Path) -> None:
    server = sing()
    uid, pid = server.run(WHO).json()
    assert uid == os.getuid()
    assert title(server.process.pid).startswith("nginx: master process")
    assert server.dir.parent == tmp_path
    assert server.dir.stat().st_mode & 0o777 == 0o700
    server.stop()
    assert server.process.returncode == 0
    assert not title(pid)


def test_a_signal_to_the_whole_group_ends_it(sing: Sings) -> None:
    """As a supervisor sends it. Nobody dies of it whom nginx does not know."""
    server = sing()
    os.killpg(server.process.pid, signal.SIGTERM)
    assert server.process.wait(30) == 0
    assert server.said.count("\n") == 1


def test_it_says_where_only_once_it_listens(tmp_path: Path) -> None:
    """Not where nginx refuses its configuration, nor what an earlier one has left in the directory."""
    (tmp_path / "dir").mkdir(mode=0o700)
    (tmp_path / "dir/nginx.pid").write_text("1\n")
    command = words("--port", "0", "--dir", tmp_path / "dir", "--timeout", "30x")
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "[emerg]" in done.stderr and "owt_timeout" in done.stderr
    assert "http://" not in done.stderr
    server = Running(words("--port", "0", "--dir", tmp_path / "dir"), environment())
    try:
        assert int((tmp_path / "dir/nginx.pid").read_text()) == server.process.pid
        assert server.run("def run(): return 'ok'").text == "ok"
    finally:
        server.stop()


def test_what_is_empty_in_the_environment_is_unset() -> None:
    env = environment(OWT_ADDRESS="", OWT_PORT="", OWT_AUTH="", VIRTUAL_ENV="")
    done = subprocess.run(words("--print-conf"), env=env, capture_output=True, text=True, timeout=60)
    assert "listen 127.0.0.1:9876;" in done.stdout, done.stderr
    assert "owt_auth" not in done.stdout and "python_home" not in done.stdout


@pytest.mark.parametrize("before", [[], ["sh", "-c", '"$@"; exit $?', "sh"], ["nohup"]])
def test_it_ends_with_its_terminal(before: list[str], tmp_path: Path) -> None:
    """Which sends SIGHUP to the session's leader, and when that ends to the foreground's group."""
    outer, inner = terminal()
    command = ["setsid", "--ctty", *before, *words("-v", "--port", "0", "--dir", tmp_path / "dir")]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdin=inner, stdout=inner, stderr=subprocess.PIPE
    ) as process:
        os.close(inner)
        assert process.stderr
        said = b""
        while b"start worker process" not in said:
            said = process.stderr.readline()
            assert said
        pid = int((tmp_path / "dir/nginx.pid").read_text())
        try:
            os.close(outer)
            if before == ["nohup"]:
                while b"reconfiguring" not in said:
                    said = process.stderr.readline()
                    assert said
                os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not title(pid), "nginx to end", 30)
        finally:
            if title(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_reload_is_no_end(sing: Sings) -> None:
    server = sing("-v")
    server.process.send_signal(signal.SIGHUP)
    wait_said(server, "reconfiguring")
    assert server.run("def run(): return 'ok'").text == "ok"


def test_both_loopback_addresses(sing: Sings) -> None:
    server = sing()
    for host in ("localhost", "127.0.0.1", *(["[::1]"] if "[::1]" in (server.dir / "nginx.conf").read_text() else [])):
        assert server.run("def run(): return 'ok'", url=f"http://{host}:{server.port}").text == "ok"


@pytest.fixture
def anybodys_tree() -> Iterator[Path]:
    """The programs, the package and the module where every user can read them."""
    tree = Path(tempfile.mkdtemp(prefix="owt-tree-"))
    tree.chmod(0o755)
    shutil.copytree(ROOT / "bin", tree / "bin")
    shutil.copytree(ROOT / "python", tree / "python", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(BUILD / "python", tree / "build/python", symlinks=True)
    shutil.copy(MODULE, tree / "build")
    yield tree
    shutil.rmtree(tree)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user(anybodys_tree: Path) -> None:
    """From a tree of another place, which finds its own module."""
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    command = [*nobody, anybodys_tree / "bin/owt-server", "--nginx", NGINX, "--port", "0"]
    server = Running(command, environment(HOME="/nonexistent", TMPDIR="/tmp"))
    try:
        assert server.run(WHO).json()[0] == 65534
        assert (server.dir.stat().st_uid, server.dir.stat().st_mode & 0o777) == (65534, 0o700)
        called = [*nobody, anybodys_tree / "bin/owt", "--address", server.url, "--run", "lambda name: name"]
        done = subprocess.run([*called, "--arg", "name", "owt"], capture_output=True, env=environment(), timeout=60)
        assert done.stdout == b"owt", done.stderr
    finally:
        server.stop()
        shutil.rmtree(server.dir)
    assert server.process.returncode == 0
    assert server.said.count("\n") == 1


def test_what_adaptors_print_is_shown_if_asked_for(sing: Sings) -> None:
    code = "import sys\ndef run(): print('aho' + 'y'); print('oh ' + 'no', file=sys.stderr)"
    quiet, verbose = sing(), sing("-v")
    for server in (quiet, verbose):
        server.run(code)
        wait_until(lambda server=server: "oh no" in server.said, "what the adaptor prints")  # type: ignore[misc]
    assert " ahoy" in verbose.said
    assert " ahoy" not in quiet.said


def test_it_publishes_functions_and_nothing_else(sing: Sings, tmp_path: Path) -> None:
    """For anybody who reaches it, without a login, and without nginx's words."""
    functions = tmp_path / 'my "functions"'
    functions.mkdir()
    (functions / "beside.py").write_text("WORD = 'said'\n")
    (functions / "say.py").write_text(
        "import beside\n\ndef run(text: str, times: int = 2) -> dict:\n"
        '    """Says it again."""\n    return {beside.WORD: \' \'.join([text] * times)}\n'
    )
    server = sing("--publish", functions, "--address", "0.0.0.0")
    assert server.url == f"http://127.0.0.1:{server.port}/api/"
    html = {"Accept": "text/html"}
    with httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{server.port}", follow_redirects=True) as client:
        assert client.post("/api/say", data={"text": "hey", "times": "3"}).json() == {"said": "hey hey hey"}
        assert "say" in client.get("/", headers=html).text
        assert "Says it again." in client.get("/api/say", headers=html).text
        told = client.post("/elsewhere", json={"code": "def run(): return 'ran'"})
        assert (told.status_code, told.text) == (
            404,
            "This server runs no code that it is sent. Its functions: /api/\n",
        )
        assert client.post("/", json={"code": "def run(): return 'ran'"}, follow_redirects=False).status_code == 302
        accept = {"Accept": "application/json, text/event-stream"}
        tools = client.post("/mcp", headers=accept, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).json()
        assert [tool["name"] for tool in tools["result"]["tools"]] == ["say"]
        # A process may answer before another has told that its call has ended.
        wait_until(lambda: client.get("/owt/calls").json() == [], "the end of all calls")


def test_what_cannot_be_published() -> None:
    assert "--publish /not/there: is no directory" in fails("--publish", "/not/there")
    assert "owt_allow origin" in fails("--publish", ROOT / "examples/publish", "--allow-origin", "https://app.example")
    assert "--publish a directory" in fails("--address", "0.0.0.0", "--port", "0")


def test_a_virtualenv_that_is_none(tmp_path: Path) -> None:
    venv = bare(tmp_path / "a venv")
    for inner in ("bin", "bin/python3", "bin/activate"):
        assert f"{venv / inner} is no virtualenv, but lies in one: --venv '{venv}'\n" in fails("--venv", venv / inner)
    new = tmp_path / "new"
    assert f"there is no virtualenv {new}: `python3 -m venv {new}` makes one\n" in fails("--venv", new)
    assert f"{tmp_path} is no virtualenv, as it has no bin/python3" in fails("--venv", tmp_path)
    assert "/etc is no virtualenv, as it has no bin/python3" in fails("--venv", "/etc")
    (venv / "bin/python3").unlink()
    (venv / "bin/python3").symlink_to("/not/there")
    assert "[emerg]" in fails("--venv", venv)  # of a Python that has gone nginx knows more


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_virtualenv_where_its_user_may_not_go(anybodys_tree: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    hidden = bare(closed / "venv")
    venv = anybodys_tree / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python3").symlink_to(hidden / "bin/python3")
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    command = [*nobody, anybodys_tree / "bin/owt-server", "--nginx", NGINX, "--port", "0"]
    for home, arguments in ((hidden, ["--venv", hidden]), (venv, ["--venv", venv]), (hidden, [])):
        env = environment() | ({} if arguments else {"VIRTUAL_ENV": str(hidden)})
        done = subprocess.run([*command, *arguments], env=env, capture_output=True, text=True, cwd="/", timeout=60)
        assert done.returncode == 1
        assert f"owt-server: the Python of {home} is {hidden}/bin/python3, where you may not go" in done.stderr


@pytest.mark.parametrize("arguments", [["--publish", ""], ["--publish="], ["--tls", "", "key.pem"]])
def test_a_word_that_is_empty_is_no_option_left_out(arguments: list[str]) -> None:
    """As of a shell's variable that is not set: what was to publish functions would run any code."""
    command = words("--port", "0", *arguments)
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"argument {arguments[0].rstrip('=')}: is empty: name a directory or a file" in done.stderr


def test_paths_that_are_no_utf_8(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    odd.mkdir()
    assert "\\xff' is no UTF-8" in fails("--port", "0", "--publish", odd)
    for more in ([], ["--print-conf"]):
        command = words("--port", "0", *more)
        done = subprocess.run(command, env=environment(), cwd=odd, capture_output=True, text=True, timeout=60)
        assert (done.returncode, "\\xff' is no UTF-8" in done.stderr) == (1, True), done.stderr
    command = words("--port", "0", "--print-conf", "--tls", odd / "cert.pem", odd / "key.pem")
    printed = subprocess.run(command, env=environment(HOME="/"), capture_output=True, timeout=60, check=True).stdout
    assert b'/\xff/cert.pem";' in printed


def test_a_directory_that_everybody_may_write_to_is_told(sing: Sings, tmp_path: Path) -> None:
    functions = tmp_path / "for all"
    functions.mkdir()
    (functions / "say.py").write_text("def run(): return 'said'\n")
    assert "every user" not in sing("--publish", functions).said
    functions.chmod(0o777)
    assert f"they run as you: chmod o-w '{functions}'" in sing("--publish", functions).said


@pytest.mark.parametrize("login", [True, False])
def test_nor_is_it_a_good_place_to_start_in(tmp_path: Path, login: bool) -> None:
    """Modules are found there, before Python's own; but where no login is asked for everybody may send code anyway."""
    tmp_path.chmod(0o1777)
    command = words("--port", "0", "--print-conf", *(["--auth", LOGIN] if login else []))
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = f"can put files into {tmp_path}, and they run as you: start in another directory"
    assert (told in done.stderr) == login


def test_adaptors_have_the_environment_but_no_logins(sing: Sings) -> None:
    server = sing(MINE="yes", OWT_AUTH=LOGIN, OWT_PASSWORD="x")
    code = (
        "import os\ndef run(): return [os.environ.get(name) for name in ('MINE', 'OWT_AUTH', 'OWT_PASSWORD', 'PATH')]"
    )
    answer = server.run(code, auth=("me", "hunter2"))
    assert answer.json() == ["yes", None, None, os.environ["PATH"]]


def test_the_environment_says_where_and_for_whom(tmp_path: Path) -> None:
    port = free_port()
    env = environment(
        OWT_ADDRESS="127.0.0.1", OWT_PORT=str(port), OWT_AUTH=f"{LOGIN} you:{'0' * 64}", TMPDIR=str(tmp_path)
    )
    server = Running(words(), env)
    try:
        assert server.url == f"http://127.0.0.1:{port}"
        assert server.run("def run(): return 'ok'").status_code == 401
        assert server.run("def run(): return 'ok'", auth=("me", "hunter2")).text == "ok"
    finally:
        server.stop()


def test_threads_and_a_virtualenv(sing: Sings, tmp_path: Path) -> None:
    home = bare(tmp_path / "a venv")
    code = "import sys\ndef run(): return [sys.prefix]"
    assert sing("--venv", home).run(code).json() == [str(home)]
    assert sing(VIRTUAL_ENV=str(home)).run(code).json() == [str(home)]
    assert sing("--venv", "", VIRTUAL_ENV=str(home)).run(code).json() == ["/usr"]
    assert sing("--venv", home, VIRTUAL_ENV="/not/there").run(code).json() == [str(home)]
    assert "owt: ready, 3 threads" in wait_said(sing("-v", "--threads", "3"), "owt: ready")


def test_where_nginx_is_in_the_environment(sing: Sings) -> None:
    """nginx would take that for a list of open sockets."""
    server = sing(NGINX=NGINX)
    assert server.run("import os\ndef run(): return [os.environ.get('NGINX')]").json() == [None]
    assert "NGINX environment" not in server.said


def test_an_activated_virtualenv_that_is_gone() -> None:
    """A shell goes on naming it."""
    assert fails("--port", "0", VIRTUAL_ENV="/not/my there") == (
        "owt-server: VIRTUAL_ENV, which names the activated virtualenv, is /not/my there, and there is no such directory:"
        " `deactivate` or `unset VIRTUAL_ENV`, or make it anew, `python3 -m venv '/not/my there'`\n"
    )


def wait_said(server: Running, text: str) -> str:
    wait_until(lambda: text in server.said, text)
    return server.said


def test_sources_outlive_it(sing: Sings, tmp_path: Path) -> None:
    code = "def run(): return 'known'"
    code_id = f"sha256:{hashlib.sha256(code.encode()).hexdigest()}"
    first = sing("--dir", tmp_path / 'kept $here; "odd"')
    assert first.run(code).text == "known"
    first.stop()
    second = sing("--dir", first.dir)
    assert httpx.post(second.url, json={"code_id": code_id}, trust_env=False).text == "known"


def test_tls(sing: Sings) -> None:
    server = sing("--tls", *certificate())
    assert server.url.startswith("https:")
    assert server.run("def run(): return 'ok'").text == "ok"


# ---- who may come from elsewhere -------------------------------------------------------------------------------------


@pytest.fixture
def own_address() -> str:
    """One of this machine that is not loopback: who asks from it counts as another machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


@pytest.mark.parametrize("everywhere", [True, False])
def test_with_a_login_other_machines_may_ask(sing: Sings, own_address: str, everywhere: bool) -> None:
    address = "0.0.0.0" if everywhere else own_address
    if not everywhere:
        told = fails("--port", "0", "--address", own_address)
        assert "--auth" in told and own_address in told
    server = sing("--address", address, "--auth", LOGIN, "--host", "gpu1")
    url, code = f"http://{own_address}:{server.port}", "def run(): return 'ok'"
    assert server.run(code, url=url, auth=("me", "hunter2")).text == "ok"
    assert server.run(code, url=url, auth=("me", "wrong")).status_code == 401
    assert server.run(code, url=url, auth=("me", "hunter2"), headers={"Host": "gpu1"}).text == "ok"
    assert server.run(code, url=url, auth=("me", "hunter2"), headers={"Host": "gpu2"}).status_code == 421


def test_without_a_login_it_does_not_listen_for_other_machines() -> None:
    told = fails("--port", "0", "--address", "0.0.0.0")
    assert "0.0.0.0 can be reached from other machines" in told
    assert "--auth user:sha256" in told


# ---- what is wrong ---------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = fails("--port", str(port))
    assert f"port {port} of 127.0.0.1 is taken" in told
    assert "--port" in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nginx", "/not/there"], "no /not/there here: install nginx"),
        (["--module", "/not/there.so"], r"the module is not /not/there\.so: in owt's source tree, build it"),
        (["--address", "192.0.2.1"], "no address of this machine"),
        (["--port", "70000"], "no port"),
        (["--auth", "me:secret"], "'me': a login is user:sha256"),
        (["--dir", "/not/there/either"], "cannot make the directory /not/there/either"),
    ],
)
def test_what_cannot_be_is_said(arguments: list[str], told: str) -> None:
    assert re.search(told, fails("--port", "0", *arguments))


@pytest.mark.parametrize("arguments", [["--threads", "0"], ["--module", "/dev/../etc/passwd"]])
def test_what_nginx_refuses_is_said_by_nginx(tmp_path: Path, arguments: list[str]) -> None:
    assert "[emerg]" in fails("--port", "0", *arguments, TMPDIR=str(tmp_path))


def test_a_package_that_lies_in_no_source_tree_looks_for_no_build(tmp_path: Path) -> None:
    """As pip has installed it."""
    site = tmp_path / "lib/python3/site-packages"
    shutil.copytree(ROOT / "python/owt", site / "owt", ignore=shutil.ignore_patterns("__pycache__"))
    code = "from owt.server.nginx import Nginx; import sys; print(Nginx(sys.argv[1])._module(None))"
    (tmp_path / "nginx").write_text("#!/bin/sh\necho configure arguments: --modules-path=/no/modules >&2\n")
    (tmp_path / "nginx").chmod(0o755)
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code, tmp_path / "nginx"],
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert (
        "the module is not /no/modules/ngx_http_owt_module.so: in owt's source tree, build it (make), then install it"
        " (make install) or name it (--module build/ngx_http_owt_module.so)\n"
    ) in done.stderr


def test_a_directory_that_others_can_read(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    (tmp_path / "private").mkdir(0o700)
    (tmp_path / "link").symlink_to("private")
    for name in ("open", "link"):
        assert "mode 0700" in fails("--port", "0", "--dir", tmp_path / name)


# ---- its configuration -----------------------------------------------------------------------------------------------


def test_the_conf_is_printed_and_says_what_conf_nginx_conf_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = words("--print-conf", "--port", port, "--threads", "8")
        done = subprocess.run(command, env=environment(HOME="/"), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

    def lines(text: str) -> set[str]:
        return {" ".join(line.split()) for line in re.sub(r"^ *#.*", "", text, flags=re.MULTILINE).splitlines()}

    model = (
        (ROOT / "conf/nginx.conf")
        .read_text()
        .replace("9876", port)
        .replace("owt_instance default { threads 8 64; }", "threads 8 64;")
    )
    missing = {
        line for line in lines(model) - lines(done.stdout) if not re.match(r"env |load_module|\}|listen \[::1\]", line)
    }
    assert missing == {
        "include /etc/nginx/mime.types;",  # quoted
        "error_log stderr info;",
        "location /api/ { owt_root ../../examples/publish lazy; }",  # what --publish is for
        "location = /mcp { owt_mcp ../../examples/publish lazy; }",
        "location /examples/ {",
        "root ../..;",
        "charset utf-8;",
        "autoindex on;",
    }


# ---- from Python -----------------------------------------------------------------------------------------------------


def call(address: str, port: int) -> str:
    return httpx.post(
        f"http://{address}:{port}", json={"code": "def run(): print('aho' + 'y'); return 'ok'"}, trust_env=False
    ).text


def test_a_server_sings_where_it_is() -> None:
    with Server(module=MODULE, nginx=NGINX) as server:
        address, port = server.sing()
        assert (address, server.sing()) == ("127.0.0.1", (address, port))
        assert call(address, port) == "ok"
        assert " ahoy" in server.log()
        with Server(module=MODULE, nginx=NGINX) as another:
            assert another.sing() != (address, port)
            assert call(*another.sing()) == "ok"
    with pytest.raises(httpx.ConnectError):
        call(address, port)


def test_a_server_survives_the_thread_and_a_fork() -> None:
    code = (
        "from owt.server import Server; import os, sys, threading\n"
        "server = Server(module=sys.argv[1], nginx=sys.argv[2])\n"
        "starting = threading.Thread(target=server.sing)\n"
        "starting.start(); starting.join()\n"
        "if not os.fork(): sys.exit()\n"
        "os.wait()\n"
        "print(*server.sing(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    env = environment(PYTHONPATH=str(ROOT / "python"))
    command = ["/usr/bin/python3", "-c", code, MODULE, NGINX]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin and program.stdout
        address, port = program.stdout.readline().split()
        assert call(address, int(port)) == "ok"
        program.stdin.close()
        assert program.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_ends_with_a_program_that_is_killed(number: signal.Signals, tmp_path: Path) -> None:
    code = (
        "from owt.server import Server; import sys\n"
        "print(*Server(module=sys.argv[1], nginx=sys.argv[2]).sing(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    env = environment(PYTHONPATH=str(ROOT / "python"), TMPDIR=str(tmp_path))
    command = ["/usr/bin/python3", "-c", code, MODULE, NGINX]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        address, port = program.stdout.readline().split()
        assert call(address, int(port)) == "ok"
        program.send_signal(number)
        assert program.wait(60) == -number
    wait_until(lambda: not list(tmp_path.iterdir()), "nginx to end, and its directory to go", 30)
    with pytest.raises(httpx.ConnectError):
        call(address, int(port))


def test_a_server_ends_with_the_program() -> None:
    code = (
        "from owt.server import Server; import sys\n"
        "print(*Server(module=sys.argv[1], nginx=sys.argv[2]).sing(), flush=True)\n"
        "sys.stdin.read()\n"
    )
    env = environment(PYTHONPATH=str(ROOT / "python"))
    command = ["/usr/bin/python3", "-c", code, MODULE, NGINX]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin and program.stdout
        address, port = program.stdout.readline().split()
        assert call(address, int(port)) == "ok"
        program.stdin.close()
        assert program.wait(60) == 0
    with pytest.raises(httpx.ConnectError):
        call(address, int(port))


def test_a_server_that_cannot_start_says_why() -> None:
    with pytest.raises(ServerError, match=r"\[emerg\].*threads"):
        Server(threads=0, module=MODULE, nginx=NGINX).sing()
    with Server("0.0.0.0", auth=[LOGIN], module=MODULE, nginx=NGINX) as server:
        assert server.sing()[0] == "127.0.0.1"
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServerError, match="is taken"):
        Server(port=taken.getsockname()[1], module=MODULE, nginx=NGINX)
    with pytest.raises(ServerError, match="--auth"):
        Server("0.0.0.0", module=MODULE, nginx=NGINX)


# ---- installed -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(BUILD != ROOT / "build", reason="make install takes the build without a sanitizer")
def test_make_install_brings_the_programs(tmp_path: Path) -> None:
    built = [path.relative_to(ROOT) for path in (MODULE, *(BUILD / "python").glob("_bridge.*.so"))]
    make = ["make", *(word for path in built for word in ("-o", path)), f"DESTDIR={tmp_path}"]
    env = {name: value for name, value in environment().items() if not name.startswith("MAKE")}
    done = subprocess.run(
        [*make, "install"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, umask=0o077
    )
    assert done.returncode == 0, done.stderr
    there = [path for path in tmp_path.rglob("*") if not path.is_symlink()]
    assert not [path for path in there if ~path.stat().st_mode & (0o005 if path.is_dir() else 0o004)]
    packages = tmp_path / "usr/share/owt/python"
    soabi = sysconfig.get_config_var("SOABI")
    assert (packages / f"_bridge.{soabi}.so").is_file()
    imported = packages / soabi
    assert {"werkzeug", "msgspec"} <= {path.name for path in imported.iterdir()}
    assert not [
        path for path in (*packages.iterdir(), *imported.iterdir()) if ROOT in path.resolve().parents
    ]  # it may go, they stay
    assert (tmp_path / "usr/share/owt/python/owt/py.typed").is_file()
    env["PYTHONPATH"] = str(tmp_path / "usr/lib/python3/dist-packages")
    with Server(module=MODULE, nginx=NGINX) as server:
        address = "{}:{}".format(*server.sing())
        command = [tmp_path / "usr/bin/owt", "--address", address, "--run", "lambda: 'ok'"]
        assert subprocess.run(command, env=env, capture_output=True, timeout=60).stdout == b"ok"
    module = tmp_path / "usr/lib/nginx/modules/ngx_http_owt_module.so"
    command = [tmp_path / "usr/bin/owt-server", "--nginx", NGINX, "--module", module, "--print-conf"]
    assert (
        f'load_module "{module}";'
        in subprocess.run(command, env=env, capture_output=True, text=True, timeout=60).stdout
    )
    done = subprocess.run([*make, "uninstall"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()]


def test_a_name_that_is_listened_on_is_answered() -> None:
    name = socket.gethostname()
    command = words("--print-conf", "--port", "0", "--address", name, "--auth", f"me:{'1' * 64}")
    done = subprocess.run(command, env=environment(HOME="/"), capture_output=True, text=True, timeout=60)
    if "is no address" in done.stderr:
        pytest.skip("this machine has no name for itself")
    assert f'owt_allow host "{name}";' in done.stdout, done.stderr


# ---- as wheels put it ------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory of packages: owt, and owt_server with an nginx that says it has the module linked in."""
    folder = tmp_path / "site"
    shutil.copytree(ROOT / "python/owt", folder / "owt", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "owt_server").mkdir()
    (folder / "owt_server/mime.types").touch()
    nginx = folder / "owt_server/nginx"
    nginx.write_bytes(b"#!/bin/sh\necho nginx version: nginx/1.26.3 >&2\n#ngx_http_owt_module\0\n")
    nginx.chmod(0o755)
    return folder


def printed(site: Path, *arguments: str) -> str:
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from owt.server.main import main; sys.exit(main())"
    command = ["/usr/bin/python3", "-Ic", code, str(site), "--print-conf", "--port", str(free_port()), *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout


def test_an_nginx_that_came_along_loads_nothing(site: Path) -> None:
    text = printed(site)
    assert "load_module" not in text
    assert f'include "{site}/owt_server/mime.types";' in text


def test_another_nginx_is_taken_when_it_is_named(site: Path) -> None:
    text = printed(site, "--nginx", NGINX, "--module", str(MODULE))
    assert f'load_module "{MODULE}";' in text and "owt_server" not in text


def test_the_python_that_has_a_bridge_is_that_of_adaptors(site: Path, tmp_path: Path) -> None:
    assert "python_home" not in printed(site)
    (site / "owt/_bridge.cpython-311-fantasia.so").touch()
    assert 'python_home "/usr";' in printed(site)
    other = bare(tmp_path / "other")
    assert f'python_home "{other}";' in printed(site, "--venv", str(other))


def test_a_package_that_is_installed_to_be_edited(site: Path, tmp_path: Path) -> None:
    """pip install -e leaves in the virtualenv what has been built, beside it the other wheel, and finds both parts."""
    built = tmp_path / "venv/owt"
    built.mkdir(parents=True)
    (built / "_bridge.cpython-311-fantasia.so").touch()
    (site / "owt_server").rename(built.with_name("owt_server"))
    code = (
        "import sys; site, venv = sys.argv[1:3]; del sys.argv[1:3]; sys.path.insert(0, site); import owt;"
        " owt.__path__.insert(0, venv); from owt.server.main import main; sys.exit(main())"
    )
    command = ["/usr/bin/python3", "-Ic", code, site, built, "--print-conf", "--port", str(free_port())]
    text = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout
    assert 'python_home "/usr";' in text
    assert "load_module" not in text and f'include "{built.parent}/owt_server/mime.types";' in text
