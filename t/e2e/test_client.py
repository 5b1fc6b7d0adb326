"""owt, the client for shells, and owt.client, the one for Python: each call is a process and a socket of its own."""

from __future__ import annotations

import hashlib
import io
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from gate import PAUSE, Gate
from harness import ROOT, SLOW, Server, certificate, free_port, terminal, wait_until
from owt.client import CallError, Client

LOGIN = f"me:{hashlib.sha256(b'hunter2').hexdigest()}"

CONF = """
client_max_body_size 64m;
large_client_header_buffers 4 64k;
owt_instance default { threads 4; }
server {
    listen 127.0.0.1:{port};
    listen unix:{dir}/owt.sock;
    location / { owt; }
    location /below/ { owt; }
    location /small { owt; client_max_body_size 1k; }
    location /login { owt; owt_auth LOGIN; }
    location /strict { owt; owt_guard strict; }
    location /moved { return 302 /below/; }
}
server {
    listen 127.0.0.1:{port2} ssl;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    location / { owt; }
}
""".replace("LOGIN", LOGIN)

ECHO = "def run(request, **kwargs): return {name: str(value) for name, value in kwargs.items()}\n"
# Longer than its id and than the arguments that the tests send.
LONG = ECHO + "#" * 2000 + "\n"


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OWT_")}
    return {**kept, **more}


def owt(server: Server, *arguments: str, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    """bin/owt, to its end."""
    return subprocess.run(
        [ROOT / "bin/owt", "--address", server.url, *arguments],
        input=stdin,
        capture_output=True,
        env=environment(**env),
        timeout=60 * SLOW,
    )


def begin(server: Server, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    """bin/owt, to be looked at while it runs."""
    command = [str(ROOT / "bin/owt"), "--address", server.url, *arguments]
    return subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]


def said(done: subprocess.CompletedProcess[bytes]) -> object:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("program", ["owt", "owt-server"])
def test_the_programs_find_their_package(tmp_path: Path, program: str) -> None:
    """Through links, and where Python does not look beside a program by itself."""
    (tmp_path / program).symlink_to(ROOT / "bin" / program)
    for safe in ("", "1"):
        done = subprocess.run(
            [tmp_path / program, "--help"], capture_output=True, text=True, env=environment(PYTHONSAFEPATH=safe)
        )
        assert done.stdout.startswith(f"usage: {program} "), done.stderr


# ---- the adaptor and its arguments -----------------------------------------------------------------------------------


def test_code_and_an_argument(server: Server) -> None:
    assert said(owt(server, "--code", ECHO, "--arg", "name", "owt")) == {"name": "owt"}


def test_a_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    assert said(owt(server, "--file", str(tmp_path / "echo.py"), "--arg", "name", "owt")) == {"name": "owt"}


def test_a_file_on_standard_input(server: Server) -> None:
    assert said(owt(server, "--file", "-", "--arg", "name", "owt", stdin=ECHO.encode())) == {"name": "owt"}


def test_an_expression(server: Server) -> None:
    done = owt(server, "--run", "lambda name: [name]", "--arg", "name", "owt")
    assert said(done) == ["owt"]


def test_a_pipeline(server: Server) -> None:
    done = owt(server, "--run", "path().f(lambda segments: segments)", "--path", "/below/a/b")
    assert said(done) == ["below", "a", "b"]


def test_what_is_no_expression_is_not_sent(server: Server) -> None:
    done = owt(server, "--path", "/unsent", "--run", "def run(_): pass")
    assert done.returncode == 2
    assert b"--code takes statements" in done.stderr
    assert "/unsent" not in server.access_log


def test_arguments_as_json_keep_their_types(server: Server) -> None:
    code = "def run(a, b, **rest): return [a, b, rest]"
    done = owt(server, "--code", code, "--kwargs", '{"a": 1, "b": [true]}', "--arg", "c", "3")
    assert said(done) == [1, [True], {"c": "3"}]


def test_arguments_as_an_expression_are_evaluated_by_the_server(server: Server) -> None:
    done = owt(server, "--code", "import math\ndef run(x): return [x]", "--kwargs", "dict(x=math.floor(2.5))")
    assert said(done) == [2]


def test_texts_arrive_as_they_are(server: Server) -> None:
    texts = {"a": 'two "words"\r\n&=+%', "b": "naïve ☃", "c": ""}
    arguments = [word for name, text in texts.items() for word in ("--arg", name, text)]
    assert said(owt(server, "--code", ECHO, *arguments)) == texts
    with_upload = ["--code", "def run(_, file, **texts): return texts", "--arg", "file", "@/dev/null", *arguments]
    assert said(owt(server, *with_upload)) == texts


def test_a_file_is_uploaded(server: Server, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / 'a;b,c "d".bin').write_bytes(content)
    code = "import hashlib\ndef run(_, file, n): return [file.filename, hashlib.sha256(file.read()).hexdigest(), n]"
    path = str(tmp_path / 'a;b,c "d".bin')
    done = owt(server, "--code", code, "--arg", "file", f"@{path}", "--arg", "n", "1")
    assert said(done) == ['a;b,c "d".bin', hashlib.sha256(content).hexdigest(), "1"]
    done = owt(server, "--code", code, "--arg", "file", "@-", "--arg", "n", "1", stdin=content)
    assert said(done) == ["-", hashlib.sha256(content).hexdigest(), "1"]


def test_another_function(server: Server) -> None:
    assert said(owt(server, "--code", "def other(): return [1]", "--fn-name", "other")) == [1]


def test_an_argument_that_has_a_parameters_name(server: Server) -> None:
    done = owt(server, "--code", ECHO, "--arg", "code", "x")
    assert done.returncode == 2
    assert b"within kwargs" in done.stderr
    assert said(owt(server, "--code", ECHO, "--kwargs", '{"code": "x"}')) == {"code": "x"}


def test_a_header_and_the_accept_of_ones_own(server: Server) -> None:
    code = "def run(request): return [request.headers['X-Mine'], request.headers['Accept']]" + "#" * 1000
    mine = ["--header", "x-mine: a: b", "--header", "accept: image/png"]
    assert said(owt(server, "--code", code, *mine)) == ["a: b", "application/problem+json, image/png"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "one of the arguments --file --code --run is required"),
        (["--code", "x", "--run", "x"], "not allowed with"),
        (["--file", "/not/there"], "/not/there"),
        (["--code", "x", "--arg", "a", "@/not/there"], "/not/there"),
        (["--code", "x", "--address", "http://[::1"], "is no address"),
        (["--code", "x", "--address", "ftp://x"], "is no address"),
        (["--code", "x", "--address", "host:port"], "is no address"),
        (["--code", "x", "--header", "x"], "Name: value"),
        (["--code", "x", "--header", "x: ☃"], "no header"),
        (["--code", "x", "--header", "x y: z"], "no header"),
        (["--code", "x", "--auth", "me"], "OWT_PASSWORD"),
        (["--code", "x", "--timeout", "0"], "a timeout is a number of seconds, more than 0, not 0"),
        (["--code", "x", "--timeout", "nan"], "more than 0, not nan"),
        (["--code", "x", "--timeout", "inf"], "more than 0, not inf"),
        (["--code", "x", "--timeout", "soon"], "invalid float value: 'soon'"),
        (["--code", "x", "--header", "Content-Type: text/plain"], "the header Content-Type is the call's own"),
        (["--code", "x", "--header", "content-length: 1", "--curl"], "the header Content-Length is the call's own"),
        (["--code", "x", "--header", "transfer-encoding: chunked"], "the header Transfer-Encoding is the call's own"),
        (["--code", "x", "--arg", "a", "@/dev/null", "--url"], "needs a POST"),
        (["--code", "x", "--address", "unix:/x", "--url"], "no URL"),
    ],
)
def test_what_makes_no_sense_is_said(server: Server, arguments: list[str], told: str) -> None:
    done = owt(server, *arguments)
    assert done.returncode == 2
    assert told in done.stderr.decode()
    assert b"Traceback" not in done.stderr


# ---- the same call in other words ------------------------------------------------------------------------------------

CODE = "def run(request, name, n=0, q=None): return [request.method, name, n]"


def test_a_url_is_the_same_call(server: Server) -> None:
    done = owt(
        server, "--code", CODE, "--arg", "name", "a b&c", "--kwargs", '{"n": 2}', "--path", "/below/?q=1", "--url"
    )
    url = done.stdout.decode().strip()
    assert url.startswith(f"{server.url}/below/?q=1&code=def+run")
    assert server.get(url).json() == ["GET", "a b&c", 2]


def test_method_get(server: Server) -> None:
    arguments = ["--code", CODE, "--arg", "name", "x", "--method", "GET"]
    assert said(owt(server, *arguments)) == ["GET", "x", 0]
    # No redirect has brought it there.
    assert said(owt(server, *arguments, "--path", "/strict")) == ["GET", "x", 0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--code", CODE, "--arg", "name", "it's"],
        ["--code", CODE, "--arg", "name", "@starts like a file", "--method", "GET"],
        ["--run", "lambda name: name.read().decode()", "--arg", "name", "@{file}"],
        ["--file", "{file}", "--fn-name", "other", "--kwargs", '{"n": 1}'],
        ["--code", CODE, "--kwargs", '{"name": "x"}', "--path", "/login?a={b}", "--auth", "me:hunter2"],
        ["--code", "def run(request): return request.headers['x-mine']", "--header", "X-Mine: $HOME"],
        ["--address", "unix:{dir}/owt.sock", "--code", CODE, "--arg", "name", "x"],
        ["--code", CODE, "--arg", "name", "x", "--timeout", "29.5"],
    ],
)
def test_a_line_for_curl_is_the_same_call(server: Server, tmp_path: Path, arguments: list[str]) -> None:
    file = tmp_path / 'an "odd"; name.py'
    file.write_text("def other(n): return [n]\n")
    words = [word.replace("{file}", str(file)).replace("{dir}", str(server.dir)) for word in arguments]
    if "@starts like a file" in words:
        words[words.index("@starts like a file")] = "starts like a file"
    called = owt(server, *words)
    assert called.returncode == 0, called.stderr
    line = owt(server, *words, "--curl").stdout.decode()
    assert shlex.split(line)[0] == "curl"
    done = subprocess.run(["bash", "-euc", line], capture_output=True, timeout=60 * SLOW)
    assert (done.returncode, done.stdout) == (0, called.stdout), done.stderr


# ---- where the server is, and who asks -------------------------------------------------------------------------------


def test_https(server: Server) -> None:
    address = f"https://localhost:{server.port_of('port2')}"
    done = owt(server, "--address", address, "--code", ECHO, SSL_CERT_FILE=str(certificate()[0]))
    assert said(done) == {}
    done = owt(server, "--address", address, "--code", ECHO)
    assert done.returncode == 1
    assert b"certificate" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_unix_socket(server: Server) -> None:
    assert said(owt(server, "--address", f"unix:{server.dir}/owt.sock", "--code", ECHO, "--arg", "a", "1")) == {
        "a": "1"
    }


def test_a_path_is_escaped(server: Server) -> None:
    run = ["--run", "lambda request: [request.path]", "--path", "/below/naïve x%2Cy#z"]
    assert said(owt(server, *run)) == ["/below/naïve x,y#z"]
    assert server.get(owt(server, *run, "--url").stdout.decode().strip()).json() == ["/below/naïve x,y#z"]


def test_a_path_in_the_address(server: Server) -> None:
    done = owt(server, "--address", f"{server.url}/below/", "--path", "/x", "--run", "lambda request: [request.path]")
    assert said(done) == ["/below/x"]


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1", "http://localhost:{port}"])
def test_the_environment_says_where(server: Server, address: str) -> None:
    env = environment(OWT_ADDRESS=address.format(port=server.port), OWT_PORT=str(server.port))
    command = [ROOT / "bin/owt", "--run", "lambda: [1]"]
    assert said(subprocess.run(command, env=env, capture_output=True, timeout=60 * SLOW)) == [1]


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["--auth", "me:hunter2"], {}),
        (["--auth", "me:hunter2"], {"OWT_PASSWORD": "another"}),
        (["--auth", "me"], {"OWT_PASSWORD": "hunter2"}),
        ([], {"OWT_AUTH": "me:hunter2"}),
        ([], {"OWT_AUTH": LOGIN, "OWT_PASSWORD": "hunter2"}),  # as the server has it
    ],
)
def test_a_login(server: Server, arguments: list[str], env: dict[str, str]) -> None:
    call = ["--path", "/login", "--code", LONG, "--arg", "a", "1"]
    assert said(owt(server, *call, *arguments, **env)) == {"a": "1"}
    refused = owt(server, *call)
    assert refused.returncode == 1
    assert b"401" in refused.stderr
    assert b"--auth" in refused.stderr


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"OWT_AUTH": "me"}, "no password for me"),
        ({"OWT_AUTH": "me:"}, "no password for me"),
        ({"OWT_AUTH": "me:", "OWT_PASSWORD": ""}, "no password for me"),
        ({"OWT_AUTH": LOGIN}, "the hash of me's password"),
        ({"OWT_AUTH": LOGIN.upper(), "OWT_PASSWORD": ""}, "the hash of ME's password"),
        ({"OWT_AUTH": f"{LOGIN} you:{'0' * 64}"}, "the hash of me's password"),
    ],
)
def test_a_login_without_its_password_is_not_sent(server: Server, env: dict[str, str], told: str) -> None:
    done = owt(server, "--path", "/login/unsent", "--code", ECHO, **env)
    assert done.returncode == 2
    assert told in done.stderr.decode()
    assert b"OWT_PASSWORD" in done.stderr
    assert "/login/unsent" not in server.access_log


def test_what_is_empty_in_the_environment_is_unset(server: Server) -> None:
    command = [ROOT / "bin/owt", "--run", "lambda: [1]", "--url"]
    for env in ({"OWT_PORT": ""}, {"OWT_ADDRESS": "", "OWT_PORT": ""}, {"OWT_AUTH": "", "OWT_PORT": "9876"}):
        done = subprocess.run(command, env=environment(**env), capture_output=True, timeout=60 * SLOW)
        assert done.stdout.startswith(b"http://localhost:9876/?"), done.stderr
    env = {"OWT_ADDRESS": f"127.0.0.1:{server.port}", "OWT_PORT": ""}
    assert said(subprocess.run(command[:-1], env=environment(**env), capture_output=True, timeout=60 * SLOW)) == [1]


# ---- what fails ------------------------------------------------------------------------------------------------------


def test_the_traceback_of_an_adaptor_that_fails(server: Server) -> None:
    done = owt(server, "--code", "def run(_):\n    return 1 / 0\n")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"line 2, in run" in done.stderr
    assert done.stderr.endswith(b"\nowt: the server answered 500 Internal Server Error\n")


def test_an_error_that_the_adaptor_returns_goes_where_its_answers_go(server: Server) -> None:
    done = owt(server, "--code", "def run(_): return 'no\\nway', 418")
    assert (done.returncode, done.stdout) == (1, b"no\nway")
    assert (b"no" in done.stderr, b"418" in done.stderr) == (False, True)
    done = owt(server, "--code", "def run(_): return {'a': 1}, 418")
    assert (done.returncode, done.stdout) == (1, b'{"a":1}\n')
    assert b"418" in done.stderr


def test_a_404_of_the_adaptors_own_is_no_unknown_code(server: Server) -> None:
    code = "n = 0\ndef run(_):\n    global n\n    n += 1\n    return str(n), 404\n" + "#" * 1000
    owt(server, "--code", code)
    done = owt(server, "--code", code)
    assert (done.returncode, done.stdout) == (1, b"2")


def test_a_stream_that_breaks_off(server: Server) -> None:
    done = owt(server, "--code", "def run(_):\n    yield 'begun'\n    yield 1 / 0\n")
    assert (done.returncode, done.stdout) == (1, b"begun")
    assert b"broke off after 5 bytes" in done.stderr


def test_an_answer_of_known_length_that_breaks_off() -> None:
    """Of a server that promises more than it sends."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
    with answering(head + b"begun") as url, pytest.raises(CallError, match="broke off after 5 bytes"):
        Client(url).call("f").read()
    with answering(head + b"0123456789 and more") as url:
        assert Client(url).call("f").read() == b"0123456789"


def test_no_answer_at_all() -> None:
    with answering(b"") as url, pytest.raises(CallError, match="sent no answer"):
        Client(url).call("f")
    with answering(b"220 mail.example ESMTP\r\n") as url, pytest.raises(CallError, match="sent no answer"):
        Client(url).call("f")


class answering:
    """A server that answers once, with these bytes, and leaves."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> str:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(self._answer)

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()


def test_nobody_listens() -> None:
    command = [ROOT / "bin/owt", "--address", f"127.0.0.1:{free_port()}", "--run", "f"]
    done = subprocess.run(command, env=environment(), capture_output=True, timeout=60 * SLOW)
    assert done.returncode == 1
    assert b"cannot reach 127.0.0.1:" in done.stderr
    assert b"Connection refused" in done.stderr
    assert b"Traceback" not in done.stderr


class silent:
    """A server that says this much and then nothing, until its client has gone."""

    def __init__(self, begin: bytes = b"") -> None:
        self._begin = begin
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> str:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self.url

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.sendall(self._begin)
            while connection.recv(1 << 16):
                pass

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()


def test_a_server_that_says_nothing_is_given_up() -> None:
    with silent() as url:
        command = [ROOT / "bin/owt", "--address", url, "--run", "f", "--timeout", "0.05"]
        done = subprocess.run(command, env=environment(), capture_output=True, timeout=60 * SLOW)
    told = b"owt: the server said nothing for longer than the timeout, 0.05 s\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", told)
    with silent(b"HTTP/1.1 200 OK\r\n\r\nbegun") as url:
        command[2] = url
        done = subprocess.run(command, env=environment(), capture_output=True, timeout=60 * SLOW)
    told = b"owt: the server said nothing for longer than the timeout, after 5 bytes of the answer\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, b"begun", told)
    with silent() as url, pytest.raises(CallError, match=r"said nothing for longer than the timeout, 0.05 s"):
        Client(url, timeout=0.05).call("f")


def test_a_timeout_that_is_kept(server: Server) -> None:
    assert said(owt(server, "--timeout", str(60 * SLOW), "--run", "lambda: [1]")) == [1]
    done = owt(server, "--timeout", "60", "--address", f"unix:{server.dir}/owt.sock", "--run", "lambda: [1]")
    assert said(done) == [1]
    assert said(owt(server, "--timeout", "9", "--run", "lambda: [1]", "--header", "Host: localhost")) == [1]


@pytest.mark.parametrize(
    ("arguments", "closed", "status", "told"),
    [
        ("--run 'lambda: [1]'", "<&-", 0, ""),
        ("--file -", "<&-", 2, "standard input cannot be read"),
        ("--run f --arg file @-", "<&-", 2, "standard input cannot be read"),
        ("--run 'lambda: [1]'", ">&-", 1, "owt: cannot write what comes: Bad file descriptor\n"),
        ("--run 'lambda: None'", ">&-", 0, ""),
        ("--run 'lambda: [1]' --url", ">&-", 1, "owt: cannot write what comes: Bad file descriptor\n"),
        ("--run 'lambda: [1]' --curl", "> /dev/full", 1, "owt: cannot write what comes: No space left on device\n"),
        ("--help", ">&-", 0, "owt: cannot write what comes: Bad file descriptor\n"),
        ("--run 'lambda: 1 / 0'", "2>&-", 1, ""),
        ("--run 'lambda: [1]'", "<&- 2>&-", 0, ""),
        ("--run f --timeout soon", "<&- >&- 2>&-", 2, ""),
        ("--run 'lambda: \"x\\n\" * 1000000'", "| head -1 > /dev/null", 141, ""),
        ("--run 'lambda: [1] * 1000000'", "| true", 141, ""),
        ("--run 'lambda: [1] * 1000000' --timeout 60", "| head -c 10 > /dev/null", 141, ""),
    ],
)
def test_streams_that_are_closed(server: Server, arguments: str, closed: str, status: int, told: str) -> None:
    line = f"set -o pipefail; {ROOT}/bin/owt --address {server.url} {arguments} {closed}"
    done = subprocess.run(["bash", "-c", line], env=environment(), capture_output=True, text=True, timeout=60 * SLOW)
    assert done.returncode == status, done.stderr
    assert told in done.stderr
    assert told or not done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


@pytest.mark.parametrize("what", ["--help", "--run 'lambda: [1]' --url"])
def test_nobody_reads_what_is_printed(what: str) -> None:
    """Whether the reader has gone before or after, which is for the scheduler to say."""
    line = f"{ROOT}/bin/owt {what} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], env=environment(), capture_output=True, timeout=60 * SLOW)
    assert done.returncode in (0, 141)
    assert done.stderr == b""


def test_a_refused_upload_says_why(server: Server, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(20_000_000))
    done = owt(server, "--path", "/small", "--code", ECHO, "--arg", "file", f"@{tmp_path}/big")
    assert done.returncode == 1
    assert b"413" in done.stderr


def test_a_redirect_is_not_followed(server: Server) -> None:
    done = owt(server, "--path", "/moved", "--code", ECHO)
    assert done.returncode == 1
    assert b"302" in done.stderr
    assert b"/below/" in done.stderr


# ---- the bytes as they come ------------------------------------------------------------------------------------------


def test_bytes_are_handed_on_as_they_come(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = f"def run(_, gate):\n    yield b'\\xff1'\n    pause(gate)\n    yield b'2'\n{PAUSE}"
    process = begin(server, "--code", code, "--arg", "gate", str(gate))
    assert process.stdout
    assert os.read(process.stdout.fileno(), 100) == b"\xff1"
    gate.open()
    assert process.communicate(timeout=60 * SLOW)[0] == b"2"
    assert process.returncode == 0


ENDLESS = """
import pathlib
def run(_, file):
    try:
        while True:
            yield b"x" * 10000
    finally:
        pathlib.Path(file).touch()
"""


def test_who_interrupts_ends_the_call(server: Server, tmp_path: Path) -> None:
    process = begin(server, "--code", ENDLESS, "--arg", "file", str(tmp_path / "ended"), stderr=subprocess.PIPE)
    assert process.stdout
    process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60 * SLOW)[1]
    assert (process.returncode, errors) == (130, b"")
    wait_until((tmp_path / "ended").exists, "the call to end")


def test_who_reads_no_more_ends_the_call(server: Server, tmp_path: Path) -> None:
    process = begin(server, "--code", ENDLESS, "--arg", "file", str(tmp_path / "ended"), stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60 * SLOW) == 141
    wait_until((tmp_path / "ended").exists, "the call to end")


def test_a_full_disk(server: Server, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [ROOT / "bin/owt", "--address", server.url, "--code", ENDLESS, "--arg", "file", f"{tmp_path}/ended"]
        done = subprocess.run(command, env=environment(), stdout=full, stderr=subprocess.PIPE, timeout=60 * SLOW)
    assert (done.returncode, done.stderr) == (1, b"owt: cannot write what comes: No space left on device\n")
    wait_until((tmp_path / "ended").exists, "the call to end")


def test_progress_is_shown_on_a_terminal(server: Server, tmp_path: Path) -> None:
    screen, inner = terminal()
    try:
        process = begin(server, "--code", ENDLESS, "--arg", "file", str(tmp_path / "ended"), stderr=inner)
        assert process.stdout
        reader = threading.Thread(
            target=lambda file: [None for _ in iter(lambda: file.read(1 << 16), b"")], args=[process.stdout]
        )
        reader.start()
        shown = b""
        while b"B/s" not in shown:
            assert select.select([screen], [], [], 30 * SLOW)[0], shown
            shown += os.read(screen, 1000)
        process.send_signal(signal.SIGINT)
        assert process.wait(60 * SLOW) == 130
        reader.join()
        process.stdout.close()
    finally:
        os.close(inner)
        os.close(screen)


# ---- bytes on the wire -----------------------------------------------------------------------------------------------


class Wire:
    """A relay to the server that keeps what clients send."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []  # one for each connection
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.requests.append(b"")
            threading.Thread(target=self._relay, args=[client, len(self.requests) - 1], daemon=True).start()

    def _relay(self, client: socket.socket, index: int) -> None:
        with client, socket.create_connection(("127.0.0.1", self._to)) as server:
            back = threading.Thread(target=self._back, args=[server, client])
            back.start()
            while data := client.recv(1 << 16):
                self.requests[index] += data
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
            back.join()

    @staticmethod
    def _back(server: socket.socket, client: socket.socket) -> None:
        while data := server.recv(1 << 16):
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    wire = Wire(server.port)
    yield wire
    wire.close()


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_the_source_is_sent_once(wire: Wire, method: str) -> None:
    """What the server has seen goes by its hash."""
    code = f"def run(name): return name  # {method}{'x' * 50_000}"
    client = Client(wire.url)
    assert client.call(code, {"name": "a"}, method=method).text() == "a"
    asked, sent = wire.requests
    assert b"code_id=sha256%3A" + hashlib.sha256(code.encode()).hexdigest().encode() in asked
    assert len(asked) < 600
    assert len(sent) > 50_000
    assert client.call(code, {"name": "b"}, method=method).text() == "b"
    assert len(wire.requests) == 3
    assert len(wire.requests[2]) < 600


def test_an_upload_is_sent_once(wire: Wire, tmp_path: Path) -> None:
    """With code that the server does not know."""
    (tmp_path / "big").write_bytes(bytes(5_000_000))
    code = f"def run(file): return [len(file.read())]  # {os.urandom(20_000).hex()}"
    answer = Client(wire.url).call(code, {"file": tmp_path / "big"})
    assert answer.json() == [5_000_000]
    assert len(wire.requests) == 1
    assert 5_040_000 < len(wire.requests[0]) < 5_042_000


def test_a_source_shorter_than_its_hash_is_sent_at_once(wire: Wire) -> None:
    assert Client(wire.url).call("lambda: 1").text() == "1"
    assert len(wire.requests) == 1


def test_arguments_never_go_twice_if_they_are_larger_than_the_source(wire: Wire) -> None:
    code = f"def run(text): return [len(text)]  # {os.urandom(500).hex()}"
    assert Client(wire.url).call(code, {"text": "x" * 2000}).json() == [2000]
    assert len(wire.requests) == 1


# ---- from Python -----------------------------------------------------------------------------------------------------


def test_the_client_of_python(server: Server, tmp_path: Path) -> None:
    client = Client(server.url)
    (tmp_path / "echo.py").write_text("def run(request, **kwargs): return [request.path, kwargs]")
    answer = client.call(tmp_path / "echo.py", {"a": 1, "b": [None, "x"]}, path="/below/x")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.json() == ["/below/x", {"a": 1, "b": [None, "x"]}]
    upload = client.call(
        "def run(n, file): return file.read(), {'X-N': str(n)}", {"n": 1, "file": tmp_path / "echo.py"}
    )
    assert upload.headers["X-N"] == "1"
    assert upload.read() == (tmp_path / "echo.py").read_bytes()
    assert list(client.call("def run(_):\n    yield 'a'\n", method="GET")) == [b"a"]
    assert client.call("def run(_): return None").read() == b""
    assert client.call("import math\nrun = lambda x: [x]", "{'x': math.floor(1.5)}").json() == [1]


def test_a_failing_call_of_python(server: Server) -> None:
    with pytest.raises(CallError, match="ZeroDivisionError") as failed:
        Client(server.url).call("def run(_): return 1 / 0")
    assert (failed.value.status, failed.value.type) == (500, "urn:owt:adaptor-failed")
    with pytest.raises(CallError) as refused:
        Client(server.url).call("def run(_): return 'no', 403")
    assert (refused.value.status, refused.value.type, refused.value.body) == (403, "", b"no")
    assert str(refused.value) == "no\nthe server answered 403 Forbidden"
    with pytest.raises(CallError) as refused:
        Client(server.url).call("def run(_): return {'a': 1}, 403")
    assert (str(refused.value), refused.value.body) == ("the server answered 403 Forbidden", b'{"a":1}\n')
    with pytest.raises(TypeError):
        Client(server.url).call(ECHO, {"a": object()})
    with pytest.raises(ConnectionRefusedError):
        Client(f"127.0.0.1:{free_port()}").call(ECHO)


def test_closing_an_answer_ends_the_call(server: Server, tmp_path: Path) -> None:
    with Client(server.url).call(ENDLESS, {"file": str(tmp_path / "ended")}) as answer:
        assert next(iter(answer))
    wait_until((tmp_path / "ended").exists, "the call to end")


def test_the_client_starts_with_little() -> None:
    """Of the package owt only itself; and neither typing nor inspect, which take as long as all else."""
    code = "import sys, owt.client.main; print(*sys.modules)"
    env = environment(PYTHONPATH=str(ROOT / "python"))
    modules = subprocess.run(["/usr/bin/python3", "-c", code], env=env, capture_output=True, text=True, check=True)
    names = set(modules.stdout.split())
    assert {name for name in names if name.startswith("owt") and not name.startswith("owt.client")} == {"owt"}
    assert not names & {"typing", "inspect", "dataclasses", "json", "asyncio", "werkzeug"}


def test_help() -> None:
    for command in ([ROOT / "bin/owt"], [sys.executable, "-m", "owt.client"]):
        env = environment(PYTHONPATH=str(ROOT / "python"))
        done = subprocess.run([*command, "--help"], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0
        assert "examples:\n  owt --run" in done.stdout


def test_a_head_has_no_body(server: Server) -> None:
    answer = Client(server.url).call("def run(_): return 'x' * 100", method="HEAD")
    assert (answer.status, answer.read()) == (200, b"")


def test_a_file_without_a_length_is_uploaded(server: Server) -> None:
    answer = Client(server.url).call("lambda file: str(len(file.read()))", {"file": Path("/proc/self/status")})
    assert int(answer.text()) > 100


class Number:
    """As NumPy's are."""

    def tolist(self) -> int:
        return 3


def test_files_and_numbers_as_programs_have_them(server: Server, tmp_path: Path) -> None:
    code = "def run(request, f, n=0): return [f.filename, f.read().decode(), n]"
    client = Client(server.url)
    (tmp_path / "a.txt").write_text("some text")
    with (tmp_path / "a.txt").open("rb") as file:
        assert client.call(code, {"f": file, "n": Number()}).json() == ["a.txt", "some text", 3]
    with (tmp_path / "a.txt").open() as file:
        assert client.call(code, {"f": file}).json() == ["a.txt", "some text", 0]
    for content in (b"bytes", bytearray(b"bytes"), io.BytesIO(b"bytes")):
        assert client.call(code, {"f": content}).json() == ["f", "bytes", 0]
    assert client.call("def run(f: bytes): return len(f)", {"f": b""}).text() == "0"


def test_what_cannot_be_sent_is_named(server: Server) -> None:
    with pytest.raises(TypeError, match="an argument of type object cannot be sent: send what is JSON"):
        Client(server.url).call("lambda f: f", {"f": [object()]})
    with pytest.raises(TypeError, match="not function; of a function"):
        Client(server.url).call(lambda: 1)  # type: ignore[arg-type]
