"""A request's life on the event loop: bodies that come late, twice, large or compressed; answers that fail while a slow
client takes them; and what is let go of once it is no longer needed."""

import base64
import gzip
import hashlib
import json
import os
import random
import re
import socket
import ssl
import subprocess
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode

import httpx
import pytest
from asking import Asking, wait_access
from gate import PAUSE, Gate
from harness import NGINX, PRELOAD, Server, certificate, has_gil, wait_until

HOOKS = True

LOGIN = f"ann:{hashlib.sha256(b'secret').hexdigest()}"

CONF = f"""
owt_zone results 4m;
owt_instance default {{ threads 4; }}
client_max_body_size 64m;
client_body_buffer_size 16k;
server {{
    listen 127.0.0.1:{{port}};
    listen 127.0.0.1:{{port3}} sndbuf=4k;
    listen 127.0.0.1:{{port4}} sndbuf=4k ssl;
    ssl_certificate {{cert}};
    ssl_certificate_key {{key}};
    location / {{ owt; }}
    location /plain {{ return 200 plain; }}
    location /late {{ proxy_pass http://unix:{{dir}}/nobody.sock; proxy_request_buffering off; error_page 502 = @owt;
                     proxy_http_version 1.1; }}
    location /gone {{ proxy_pass http://unix:{{dir}}/backend.sock; proxy_request_buffering off; error_page 502 504 = @owt; }}
    location /kept-back {{ proxy_pass http://unix:{{dir}}/nobody.sock; error_page 502 = @owt; }}
    location @owt {{ owt; }}
    location /mirrored {{ owt; mirror /copy; }}
    location = /copy {{ internal; owt; }}
    location /gzip {{ owt; gzip on; gzip_types *; gzip_min_length 1; }}
    location /gzip/hasty {{ owt; gzip on; gzip_types *; send_timeout 300ms; }}
    location /hasty {{ owt; send_timeout 300ms; }}
    location /gzip/brief {{ owt; gzip on; gzip_types *; owt_timeout 300ms; }}
    location /gzip/limited {{ owt; gzip on; gzip_types *; limit_rate 8k; }}
    location /cached {{ owt; owt_cache results; }}
    location /memory {{ owt; owt_cache results; client_body_buffer_size 64m; }}
    location /expires {{ owt; expires 1h; }}
    location /never {{ owt; expires epoch; }}
    location /rewritten {{ rewrite ^/rewritten/(.*)$ /as/$1 break; owt; }}
    location /inner {{ rewrite ^/inner/(.*)$ /fetch/$1 last; }}
    location /login {{ owt; owt_auth {LOGIN}; }}
    location /basic {{ owt; auth_basic owt; auth_basic_user_file {{dir}}/passwords; }}
    location /basic/off {{ owt; auth_basic off; }}
    location /any {{ owt; satisfy any; allow 127.0.0.1; deny all; auth_basic owt; auth_basic_user_file {{dir}}/passwords; }}
    location /either {{ owt; satisfy any; deny all; auth_basic owt; auth_basic_user_file {{dir}}/passwords; }}
    location /moved {{ auth_basic owt; auth_basic_user_file {{dir}}/passwords; rewrite ^ / last; }}
    location /subs {{ auth_request /login/sub; proxy_pass http://127.0.0.1:{{port}}/; }}
    location /host {{ return 200 $owt_host; }}
    location /id {{ client_body_buffer_size 16k; proxy_pass http://127.0.0.1:{{port}}/id-of-it; proxy_set_header X-Id $owt_code_id; }}
    location /id-of-it {{ return 200 "[$http_x_id]"; }}
}}
server {{
    listen unix:{{dir}}/owt.sock;
    owt_allow remote;
    location / {{ owt; }}
}}
server {{
    listen 127.0.0.1:{{port2}} ssl;
    ssl_certificate {{cert}};
    ssl_certificate_key {{key}};
    location / {{
        proxy_pass http://unix:{{dir}}/owt.sock;
        proxy_set_header Host $owt_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
    }}
    location /twice {{
        proxy_pass http://unix:{{dir}}/owt.sock;
        proxy_set_header Host $owt_host;
        proxy_set_header X-Forwarded-Proto "http, https";
    }}
}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(CONF, hooks=HOOKS) as server:
        secret = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
        (server.dir / "passwords").write_text(f"ann:{{SHA}}{secret}\n")
        yield server


def fresh(source: str) -> str:
    return f"# {uuid.uuid4()}\n{source}"


# ---- a body that a proxy has begun to read ------------------------------------------------------------------------------

LENGTH = "def run(_, text):\n    return str(len(text))\n"


class Slow:
    """A request whose body comes in parts."""

    def __init__(self, server: Server, path: str, *headers: str) -> None:
        self.socket = server.connect()
        lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> tuple[int, str]:
        data = b"".join(iter(lambda: self.socket.recv(65536), b""))
        self.socket.close()
        head, _, body = data.decode().partition("\r\n\r\n")
        if "transfer-encoding: chunked" in head.lower():
            body = "".join(re.findall(r"\r\n(.*?)\r\n", f"\r\n{body}", re.DOTALL)[1::2])
        return int(head.split()[1]), body


def wait_failed(server: Server, before: int) -> None:
    """The proxy has given up, and the other location has been asked."""
    server.wait_log(r"connect\(\) to unix:.*nobody.sock failed", after=before)


@pytest.mark.parametrize("size", [2_000, 300_000], ids=["in memory", "spooled"])
@pytest.mark.parametrize("kind", ["form", "json"])
def test_code_whose_second_half_comes_late_runs_whole(server: Server, kind: str, size: int) -> None:
    code, text = fresh(LENGTH), "x" * size
    fields = {"code": code, "text": text}
    body = json.dumps(fields).encode() if kind == "json" else urlencode(fields).encode()
    type = "application/json" if kind == "json" else "application/x-www-form-urlencoded"
    before = len(server.error_log)
    request = Slow(server, "/late", f"Content-Type: {type}", f"Content-Length: {len(body)}")
    request.send(body[: len(body) // 2])
    wait_failed(server, before)
    request.send(body[len(body) // 2 :])
    assert request.answer() == (200, str(size))


def test_late_chunks_are_waited_for(server: Server) -> None:
    body = json.dumps({"code": fresh(LENGTH), "text": "x" * 100_000}).encode()
    before = len(server.error_log)
    request = Slow(server, "/late", "Transfer-Encoding: chunked")
    request.send(b"%x\r\n%b\r\n" % (1000, body[:1000]))
    wait_failed(server, before)
    request.send(b"%x\r\n%b\r\n" % (len(body) - 1000, body[1000:]))
    request.send(b"0\r\n\r\n")
    assert request.answer() == (200, "100000")


def test_a_late_body_of_the_adaptors_own_is_whole(server: Server) -> None:
    code = "import hashlib\ndef run(request):\n    return hashlib.sha256(request.get_data()).hexdigest()\n"
    body = random.Random(1).randbytes(100_000)
    before = len(server.error_log)
    request = Slow(server, f"/late?code={quote(code)}", f"Content-Length: {len(body)}")
    request.send(body[:10])
    wait_failed(server, before)
    request.send(body[10:])
    assert request.answer() == (200, hashlib.sha256(body).hexdigest())


def test_nothing_runs_for_a_client_that_leaves_before_its_second_half(server: Server, tmp_path: Path) -> None:
    body = urlencode({"code": f"open({str(tmp_path / 'ran')!r}, 'w')\nrun = lambda: ''\n#" + "x" * 1000}).encode()
    before = len(server.error_log)
    request = Slow(
        server, "/late/left", "Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"
    )
    request.send(body[:500])
    wait_failed(server, before)
    request.socket.close()
    wait_access(server, "POST /late/left")
    assert not (tmp_path / "ran").exists()


def test_a_body_that_a_proxy_has_passed_on_is_not_taken_for_whole(server: Server, tmp_path: Path) -> None:
    """What it has read is gone: what is left looks like a body."""
    rest = urlencode({"code": f"open({str(tmp_path / 'ran')!r}, 'w')\nrun = lambda: ''\n"}).encode()
    body = b"x" * 100_000 + b"&" + rest
    with socket.socket(socket.AF_UNIX) as backend:
        backend.bind(str(server.dir / "backend.sock"))
        backend.listen()
        request = Slow(
            server, "/gone", "Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"
        )
        request.send(body[:100_000])
        connection, _ = backend.accept()
        read = 0
        while read < 100_000:  # and the head
            read += len(connection.recv(65536))
        connection.close()
    server.wait_log("upstream prematurely closed connection")
    request.send(body[100_000:])
    status, text = request.answer()
    assert status == 500
    assert "proxy_request_buffering" in text
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("size", [2_000, 300_000], ids=["in memory", "spooled"])
def test_a_body_that_a_proxy_has_read_with_buffering_is_whole(server: Server, size: int) -> None:
    assert server.run(fresh(LENGTH), "/kept-back", text="x" * size).text == str(size)


# ---- one body, two calls ------------------------------------------------------------------------------------------------

# Reads a part, waits until the other has done so too, and reads the rest.
TWO = """
import hashlib, os, pathlib, time
def run(request, dir):
    name, other = ("copy", "main") if request.path == "/copy" else ("main", "copy")
    here = pathlib.Path(request.args["dir"])
    digest = hashlib.sha256(request.stream.read(1 << 20))
    (here / f"{name}.begun").touch()
    deadline = time.monotonic() + 60
    while not (here / f"{other}.begun").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    while block := request.stream.read(100_000):
        digest.update(block)
    (here / f"{name}.new").write_text(digest.hexdigest())
    os.rename(here / f"{name}.new", here / name)
    return "done"
"""


def test_two_calls_read_one_spooled_body(server: Server, tmp_path: Path) -> None:
    body = random.Random(2).randbytes(8 << 20)
    params = {"code": TWO, "dir": str(tmp_path)}
    assert server.post("/mirrored", params=params, content=body).text == "done"
    for name in ("main", "copy"):
        wait_until((tmp_path / name).exists, f"the answer of {name}")
        assert (tmp_path / name).read_text() == hashlib.sha256(body).hexdigest(), name


def test_two_calls_have_one_body_in_memory(server: Server, tmp_path: Path) -> None:
    code = "import pathlib\ndef run(request, dir):\n    name = request.path.strip('/')\n"
    code += (
        "    (pathlib.Path(request.args['dir']) / name).write_text(request.get_data(as_text=True))\n    return 'done'\n"
    )
    params = {"code": code, "dir": str(tmp_path)}
    assert server.post("/mirrored", params=params, content=b"body").text == "done"
    for name in ("mirrored", "copy"):
        wait_until(
            lambda name=name: (tmp_path / name).exists() and (tmp_path / name).read_text(), f"the body of {name}"
        )
        assert (tmp_path / name).read_text() == "body"


# ---- a slow client ------------------------------------------------------------------------------------------------------

# What gzip can do little about.
FAILS = """
import pathlib, random
def run(_, file, pieces, then):
    chance = random.Random(3)
    for _ in range(pieces):
        yield chance.randbytes(8192).hex()
    pathlib.Path(file).touch()
    if then == "wait":
        import time
        while True:
            time.sleep(0.01)
    raise ValueError("no more")
"""


def expected(pieces: int) -> bytes:
    chance = random.Random(3)
    return "".join(chance.randbytes(8192).hex() for _ in range(pieces)).encode()


class Reader:
    """A client that accepts gzip, and takes nothing until it is told to. Between it and nginx there is little room."""

    def __init__(self, server: Server, path: str, code: str, tls: bool = False, **fields: object) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", server.port_of("port4" if tls else "port3")))
        if tls:
            context = ssl.create_default_context(cafile=str(certificate()[0]))
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        body = json.dumps({"code": code, **fields}).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def read_chunk(self) -> int:
        """How many bytes came up to the end of the first chunk, the head's included."""
        data = b""
        end = None
        while end is None or len(data) < end:
            block = self.socket.recv(65536)
            assert block, data
            data += block
            head, _, rest = data.partition(b"\r\n\r\n")
            if b"\r\n" in rest:
                size = rest[: rest.index(b"\r\n")]
                end = len(head) + 4 + len(size) + 2 + int(size, 16) + 2
        return len(data)

    def read(self) -> tuple[bytes, bool]:
        """What comes of the body, and whether that is all of it."""
        data = b""
        try:
            while block := self.socket.recv(65536):
                data += block
                if data.endswith(b"\r\n0\r\n\r\n"):
                    break
        except ConnectionResetError:
            pass
        self.socket.close()
        head, _, rest = data.partition(b"\r\n\r\n")
        body = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            if size == b"0":
                return self._plain(head, body), True
            body += rest[: int(size or b"0", 16)]
            rest = rest[int(size or b"0", 16) + 2 :]
        return self._plain(head, body), False

    def _plain(self, head: bytes, body: bytes) -> bytes:
        if b"Content-Encoding: gzip" not in head:
            return body
        return zlib.decompressobj(31).decompress(body)


@pytest.mark.parametrize("path", ["/gzip", "/"], ids=["gzip", "plain"])
def test_what_came_before_a_failure_reaches_a_slow_client(server: Server, tmp_path: Path, path: str) -> None:
    file = tmp_path / "failed"
    before = len(server.error_log)
    reader = Reader(server, path, FAILS, file=str(file), pieces=60, then="fail")
    server.wait_log("ValueError: no more", after=before)
    assert reader.read() == (expected(60), False)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_what_came_before_a_timeout_reaches_a_slow_client(server: Server, tmp_path: Path, tls: bool) -> None:
    before = len(server.error_log)
    reader = Reader(server, "/gzip/brief", FAILS, tls, file=str(tmp_path / "file"), pieces=30, then="wait")
    wait_until((tmp_path / "file").exists, "the stream to stop")
    assert reader.read() == (expected(30), False)
    server.wait_log("no output within owt_timeout", after=before)


PIECE_AND_PAUSE = """
import asyncio, pathlib, random
async def run(_, size, gate):
    yield random.Random(3).randbytes(size)
    while not pathlib.Path(gate).exists():
        await asyncio.sleep(0.01)
"""


def test_the_last_byte_of_a_piece_follows_by_itself(server: Server, tmp_path: Path) -> None:
    """The first write takes 8 kB. Where it leaves but the end of a chunk gzip, which has sent all of its own, would not
    ask for it to be sent. A head's length varies by a few digits, so the pieces have all lengths around that."""
    gate = tmp_path / "gate"
    with Reader(server, "/gzip/limited", PIECE_AND_PAUSE, size=7000, gate=str(gate)) as reader:
        length = 7000 + 8192 + 1 - reader.read_chunk()
        readers = [
            Reader(server, "/gzip/limited", PIECE_AND_PAUSE, size=length + more, gate=str(gate))
            for more in range(-8, 9)
        ]
        for reader in readers:
            with reader:
                assert abs(reader.read_chunk() - 8193) < 20
        gate.touch()


@pytest.mark.parametrize("path", ["/gzip/hasty", "/hasty"], ids=["gzip", "plain"])
@pytest.mark.parametrize("pieces", [6, 600])
def test_send_timeout_ends_a_client_that_takes_nothing(server: Server, tmp_path: Path, path: str, pieces: int) -> None:
    """Whether gzip has taken all that there is, or holds up the stream."""
    before = len(server.error_log)
    reader = Reader(server, path, FAILS, file=str(tmp_path / "file"), pieces=pieces, then="wait")
    server.wait_log("client timed out", after=before)
    body, whole = reader.read()
    assert not whole
    assert len(body) < pieces * 16384


@pytest.mark.skipif(bool(PRELOAD), reason="the sanitizer's memory is another")
def test_small_pieces_that_wait_cost_little_more_than_their_bytes(start: Callable[..., Server], tmp_path: Path) -> None:
    """Many single bytes, to a client that does not read."""
    server = start("server { listen 127.0.0.1:{port}; listen 127.0.0.1:{port3} sndbuf=4k; location / { owt; } }")
    code = "import pathlib\ndef run(_, file):\n    for i in range(400_000):\n        yield 'abcdefghij'[i % 10]\n"
    code += "    pathlib.Path(file).touch()\n"
    server.run("def run(): return ''")
    before = resident(server)
    reader = Reader(server, "/", code, file=str(tmp_path / "file"))
    wait_until((tmp_path / "file").exists, "the stream to end", 30)
    assert resident(server) - before < 6 << 20
    assert reader.read() == (b"abcdefghij" * 40_000, True)


def resident(server: Server) -> int:
    (worker,) = server.workers()
    pages = int(Path(f"/proc/{worker}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


# ---- the wrong moment ---------------------------------------------------------------------------------------------------

WAIT = f"def run(_, gate):\n    pause(gate)\n    return 'done'\n{PAUSE}"


def test_a_result_that_lands_as_patience_ends_is_no_timeout(server: Server, tmp_path: Path) -> None:
    """The loop is held until both have come: the result of the one that runs, and the end of the other's patience."""
    gate, code = Gate(tmp_path), fresh(WAIT)
    first = Asking(server, code, "/cached", gate=str(gate), use_cache=True)
    gate.wait_reached()
    before = len(server.error_log)
    second = Asking(server, code, "/cached", gate=str(gate), use_cache=True)
    with server.client() as other, server.hold("ran") as ran:
        assert other.get("/plain").text == "plain"  # the second has been read: it came before
        with server.hold("asked") as asked:
            third = Asking(server, "def run(): return 'third'")
            asked.wait_reached()
            gate.open()
            ran.wait_reached()
            time.sleep(1.2)  # of a clock that goes on: patience is a second here, and has no other event
    assert first.answer().text == second.answer().text == "done"
    assert third.answer().text == "third"
    assert "owt_timeout" not in server.error_log[before:]


# ---- uploads ------------------------------------------------------------------------------------------------------------

UPLOADS = {
    "data": "def run(request): return str(len(request.get_data()))",
    "json": "def run(request): return str(len(request.get_data(cache=False)))",
    "stream": "def run(request): return str(len(request.stream.read()))",
    "part of a stream": "def run(request): return str(len(request.stream.read(10)))",
    "lines": "def run(request): return str(len(next(iter(request.stream))))",
    "ignored": "def run(): return 'ignored'",
    "looked at": "def run(request): return request.path + request.args['code'][:1]",
    "failing": "def run(request):\n    stream = request.stream\n    stream.read(10)\n    raise ValueError('no')",
    "failing in itself": "def run(request):\n    try:\n        request.stream.read(10)\n        raise ValueError('no')\n"
    "    except ValueError as error:\n        raise KeyError from error",
    "refused": "from werkzeug.exceptions import abort\ndef run(request):\n    request.stream.read(10)\n    abort(404)",
    "streamed": "def run(request):\n    yield str(len(request.stream.read()))",
    "async": "async def run(request):\n    return str(len(request.get_data()))",
    "async stream": "async def run(request):\n    yield str(len(request.get_data()))",
    "flask": "from flask import request\ndef run(_):\n    return str(len(request.get_data()))",
    "flask, failing": "from flask import request\ndef run(_):\n    request.get_data()\n    raise ValueError('no')",
    "flask, ignored": "import flask\ndef run(_):\n    return 'ignored'",
    "pipeline": "pipe().f(lambda: 1)",
}

FORMS = {
    "a file": "def run(_, file): return str(len(file.read()))",
    "a file's stream": "def run(_, file): return str(len(file.stream.read()))",
    "not looked at": "def run(_, file): return 'ignored'",
    "failing": "def run(_, file):\n    file.read(10)\n    raise ValueError('no')",
    "from request.files": "def run(request, **files): return str(len(request.files['file'].read()))",
    "streamed": "def run(_, file):\n    yield str(len(file.read()))",
    "async": "async def run(_, file):\n    return str(len(file.read()))",
    "flask": "from flask import request\ndef run(_, file):\n    return str(len(request.files['file'].read()))",
    "does not fit": "def run(_, other): return ''",
    "no such function": "def other(): return ''",
}

# Descriptors of files without a name: what nginx has spooled, and what Werkzeug has.
OPEN = """
import os
def run():
    names = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    return [name for name in names if name.endswith(" (deleted)") and "/.nginx" not in name and "/dev/" not in name]
"""


@pytest.fixture(scope="module")
def without_gc(server: Server) -> Iterator[None]:
    """What is closed is closed without a collection."""
    server.run("import gc\ndef run():\n    gc.collect()\n    gc.disable()\n")
    yield
    server.run("import gc\ndef run():\n    gc.enable()\n    gc.collect()\n")


def move_all_threads(server: Server) -> None:
    """Without a GIL what a thread has made and another has let go of is freed when the first has its next call."""
    if not has_gil():
        gates = [
            Asking(server, "import threading\nhere = threading.Barrier(4)\ndef run(): here.wait()") for _ in range(4)
        ]
        assert [gate.answer().status for gate in gates] == [200] * 4
        assert server.run("async def run(): pass").status_code == 200


def wait_closed(server: Server, before: list[str]) -> None:
    def is_closed() -> bool:
        move_all_threads(server)
        return bool(server.run(OPEN).json() == before)

    try:
        wait_until(is_closed, "the upload to be closed", 5)
    except TimeoutError:
        assert server.run(OPEN).json() == before


@pytest.mark.parametrize("code", UPLOADS.values(), ids=UPLOADS)
def test_an_upload_is_closed_once_its_call_is_over(server: Server, without_gc: None, code: str) -> None:
    before = server.run(OPEN).json()
    server.post("/", params={"code": code}, content=b"x" * 700_000)
    wait_closed(server, before)


@pytest.mark.parametrize("code", FORMS.values(), ids=FORMS)
def test_a_form_is_closed_once_its_call_is_over(server: Server, without_gc: None, code: str) -> None:
    before = server.run(OPEN).json()
    server.post("/", data={"code": code}, files={"file": b"x" * 700_000})
    wait_closed(server, before)


# ---- what a stream holds ------------------------------------------------------------------------------------------------

HOLDS = """
import asyncio, pathlib
async def run(_, gate, {}):
    {}
    yield "begun"
    while not pathlib.Path(gate).exists():
        await asyncio.sleep(0.01)
    yield "done"
"""


@pytest.mark.skipif(bool(PRELOAD), reason="the sanitizer's memory is another")
@pytest.mark.parametrize("how", ["field", "kwargs", "kwargs_b64"])
def test_a_stream_holds_its_arguments_once(server: Server, tmp_path: Path, how: str) -> None:
    """Beside the request's body, which it may still ask for."""
    gate, code = Gate(tmp_path), HOLDS.format("text", "text = len(text)")
    text = "x" * 1_000_000

    def ask() -> Asking:
        if how == "field":
            fields: dict[str, object] = {"gate": str(gate), "text": text}
        elif how == "kwargs":
            fields = {"kwargs": {"gate": str(gate), "text": text}}
        else:
            kwargs = base64.b64encode(json.dumps({"gate": str(gate), "text": text[:700_000]}).encode()).decode()
            fields = {"kwargs_b64": kwargs}
        asked = Asking(server, code, "/memory", **fields)
        assert asked.read(5) == b"begun"
        return asked

    streams = [ask() for _ in range(4)]  # what is made once has been made
    before = resident(server)
    streams += [ask() for _ in range(24)]
    held = (resident(server) - before) / 24
    gate.open()
    assert all(stream.answer().text == "done" for stream in streams)
    assert held < 1.7 * 1_000_000


def test_the_request_is_there_for_a_stream_that_asks_late(server: Server) -> None:
    code = "def run(request, text):\n    yield 'begun,'\n    yield str(request.get_json()['text'] == text)\n"
    assert server.run(code, "/memory", text="x" * 500_000).text == "begun,True"


def test_the_body_can_still_be_logged(start: Callable[..., Server]) -> None:
    """nginx's variable, after the call is over and its thread has gone on."""
    server = start("""
        client_max_body_size 4m;
        client_body_buffer_size 2m;
        log_format body escape=json "$owt_fn $request_body";
        server { listen 127.0.0.1:{port}; access_log body.log body; location / { owt; } }
    """)
    text = "".join(random.Random(5).choices("abcdefgh", k=500_000))
    assert server.run(LENGTH, text=text).text == "500000"
    log = server.dir / "body.log"
    wait_until(lambda: log.read_text().endswith("\n"), "the log")
    name, _, body = log.read_text().replace('\\"', '"').rstrip("\n").partition(" ")
    assert name == "run"
    assert text in body


# ---- large bodies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["json", "form", "query"])
def test_nobody_waits_while_a_large_body_is_read(server: Server, kind: str) -> None:
    """Its parameters, or what tells its result from others, are read by a Python thread."""
    code, text = fresh("def run(request, text=''):\n    return str(len(text))\n"), "x" * 1_000_000
    fields = {"code": code, "text": text, "use_cache": "yes", "cache_kwargs": "yes"}
    options: dict[str, dict[str, object]] = {
        "json": {"json": fields},
        "form": {"data": fields},
        "query": {"params": {**fields, "text": ""}, "content": text},
    }
    answers: list[httpx.Response] = []
    with server.hold("parse") as hold, server.client() as client:
        thread = threading.Thread(target=lambda: answers.append(client.post("/memory", **options[kind])))
        thread.start()
        hold.wait_reached()
        assert server.get("/plain").text == "plain"
        hold.release()
        thread.join()
        again = client.post("/memory", **options[kind])
    for answer in (*answers, again):
        assert (answer.status_code, answer.text) == (200, "0" if kind == "query" else "1000000")
    assert [answer.headers["cache-status"] for answer in (*answers, again)] == ["owt; fwd=miss; stored", "owt; hit"]


def test_an_error_in_a_large_body_is_told(server: Server) -> None:
    body = '{"code": "lambda: 1", "text": "' + "x" * 500_000 + '", }'
    answer = server.post("/memory", content=body.encode())
    assert answer.status_code == 400
    assert "not valid JSON" in answer.text


def test_the_code_s_id_is_looked_for_in_a_large_body_s_beginning(server: Server) -> None:
    code, rest = fresh("lambda: 1"), [0] * 400_000
    name = hashlib.sha256(code.encode()).hexdigest()
    encoded = base64.b64encode(code.encode()).decode()
    for fields in (
        {"code": code, "rest": rest},
        {"a": [{"code": "no"}, 'a "quote" \\'], "b": {"code": "no"}, "n": None, "code": code, "rest": rest},
        {"code_b64": encoded, "rest": rest},
        {"code_id": f"sha256:{name}", "rest": rest},
        {"code": "", "code_b64": encoded, "rest": rest},
    ):
        assert server.post("/id", json=fields).text == f"[{name}]"
    for data in ({"a": "b", "code": code, "rest": "x" * 800_000}, {"code_b64": encoded, "rest": "x" * 800_000}):
        assert server.post("/id", data=data).text == f"[{name}]"
    for fields in ({"rest": rest, "code": code}, {"rest": rest}, {"code": 1, "rest": rest}, {"code": "x" * 800_000}):
        assert server.post("/id", json=fields).text == "[]"
    assert server.post("/id", content=b"{" + b" " * 800_000).text == "[]"


# ---- compressed bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "x-gzip", "identity, gzip"])
@pytest.mark.parametrize("type", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_parameters_in_a_compressed_body_are_refused(server: Server, coding: str, type: str) -> None:
    headers = {"Content-Encoding": coding, **({"Content-Type": type} if type else {})}
    answer = server.post("/", content=gzip.compress(b'{"code": "lambda: 1"}'), headers=headers)
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    assert "Content-Encoding" in answer.text


def test_a_large_compressed_body_is_refused_as_well(server: Server) -> None:
    body = gzip.compress(random.Random(6).randbytes(500_000))
    answer = server.post("/", content=body, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")


def test_a_compressed_body_of_the_adaptors_own_is_its_own(server: Server) -> None:
    code = "import gzip\ndef run(request):\n    return gzip.decompress(request.get_data()) + request.content_encoding.encode()"
    answer = server.post(
        "/", params={"code": code}, content=gzip.compress(b"owt, "), headers={"Content-Encoding": "gzip"}
    )
    assert (answer.status_code, answer.content) == (200, b"owt, gzip")


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_a_body_that_is_not_compressed_may_say_so(server: Server, coding: str) -> None:
    answer = server.post("/", json={"code": "lambda: 'owt'"}, headers={"Content-Encoding": coding})
    assert (answer.status_code, answer.text) == (200, "owt")


def test_no_body_is_not_compressed(server: Server) -> None:
    assert server.get("/", params={"code": "lambda: 'owt'"}, headers={"Content-Encoding": "gzip"}).text == "owt"
    assert server.get("/", headers={"Content-Encoding": "gzip"}).status_code == 400


# ---- what the adaptor sees of the request -------------------------------------------------------------------------------

PATH = "def run(request, **_): return [request.path, request.environ['PATH_INFO']]"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/fetch/https://example.com/a", "/fetch/https://example.com/a"),
        ("/fetch/https:%2F%2Fexample.com%2Fa", "/fetch/https://example.com/a"),
        ("/fetch/a%2Fb//c///d/", "/fetch/a/b//c///d/"),
        ("/fetch/%2525//%25", "/fetch/%25//%"),
        ("/fetch/a%20b+c//d", "/fetch/a b+c//d"),
        ("/fetch/a//b?x=//", "/fetch/a//b"),
        ("/fetch/%3F//%23", "/fetch/?//#"),
        ("/fetch/plain", "/fetch/plain"),
        ("/fetch/a/../b//c", "/fetch/b/c"),
        ("/fetch/./a//b", "/fetch/a/b"),
        ("/fetch/%2e%2e/a", "/a"),
        ("/rewritten/a//b", "/as/a/b"),
        ("/rewritten/a%2F%2Fb", "/as/a/b"),
        ("/inner/a//b", "/fetch/a/b"),
    ],
)
def test_the_path_is_as_it_was_sent(server: Server, target: str, path: str) -> None:
    """Decoded once, without what nginx does to slashes; where nginx has made another of it, that one."""
    query = f"{'&' if '?' in target else '?'}code={quote(PATH)}"
    assert json.loads(server.curl(target + query, "--path-as-is").stdout) == [path, path]


def test_the_location_is_nginx_s_to_choose(server: Server) -> None:
    query = f"?code={quote(PATH)}"
    assert server.curl("//login//x" + query, "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}").stdout == "401"
    assert server.curl("/%2Flogin" + query, "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}").stdout == "401"


USER = "def run(request): return [request.remote_user, request.environ.get('AUTH_TYPE')]"


@pytest.mark.parametrize(
    ("path", "user"),
    [
        ("/login", ["ann", "Basic"]),
        ("/basic", ["ann", "Basic"]),
        ("/either", ["ann", "Basic"]),
        ("/", [None, None]),
        ("/basic/off", [None, None]),
        ("/any", [None, None]),
        ("/moved", [None, None]),
    ],
)
def test_a_user_is_known_who_has_logged_in_here(server: Server, path: str, user: list[str | None]) -> None:
    answer = server.get(path, params={"code": USER}, auth=("ann", "secret"))
    assert (answer.status_code, answer.json()) == (200, user)


@pytest.mark.parametrize("path", ["/", "/any", "/basic/off"])
def test_a_password_that_nobody_checks_makes_no_user(server: Server, path: str) -> None:
    answer = server.get(path, params={"code": USER}, auth=("mallory", "wrong"))
    assert (answer.status_code, answer.json()) == (200, [None, None])


@pytest.mark.parametrize("path", ["/login", "/basic", "/either"])
def test_a_wrong_password_does_not_run(server: Server, path: str) -> None:
    assert server.get(path, params={"code": USER}, auth=("ann", "wrong")).status_code == 401


def test_headers_make_no_user(server: Server) -> None:
    headers = {"Remote-User": "mallory", "Auth-Type": "Basic", "REMOTE_USER": "mallory", "HTTPS": "on"}
    code = "def run(request): return [request.remote_user, request.is_secure]"
    assert server.get("/", params={"code": code}, headers=headers).json() == [None, False]


URL = "def run(request): return [request.host_url, request.is_secure, request.environ.get('HTTPS')]"


def test_behind_a_front_with_tls_the_request_is_secure(server: Server) -> None:
    port = server.port_of("port2")
    with server.client(f"https://localhost:{port}") as client:
        answer = client.get("/", params={"code": URL})
        assert answer.json() == [f"https://localhost:{port}/", True, "on"]
        assert client.get("/twice", params={"code": URL}).json()[1:] == [False, None]


def test_who_comes_by_itself_cannot_say_so(server: Server) -> None:
    headers = {"X-Forwarded-Proto": "https"}
    answer = server.get("/", params={"code": URL}, headers=headers)
    assert (answer.status_code, "X-Forwarded-Proto" in answer.text) == (403, True)


@pytest.mark.parametrize(
    ("line", "headers", "told"),
    [
        ("/host", "Host: localhost:81", "localhost:81"),
        ("/host", "Host: localhost", "localhost"),
        ("/host", "Host: [::1]:82", "[::1]:82"),
        ("http://localhost:83/host", "Host: localhost:83", "localhost:83"),
        ("http://[::1]:85/host?a=b:86", "Host: [::1]:85", "[::1]:85"),
    ],
)
def test_what_the_client_calls_the_server(server: Server, line: str, headers: str, told: str) -> None:
    """For a front to pass on, and for the adaptor."""
    with server.connect() as connection:
        connection.sendall(f"GET {line} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n".encode())
        assert b"".join(iter(lambda: connection.recv(4096), b"")).endswith(f"\r\n\r\n{told}".encode())
    code = quote("def run(request, **_): return request.environ['HTTP_HOST']")
    line = f"{line.replace('/host', '/')}{'&' if '?' in line else '?'}code={code}"
    with server.connect() as connection:
        connection.sendall(f"GET {line} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n".encode())
        assert b"".join(iter(lambda: connection.recv(4096), b"")).endswith(f"\r\n\r\n{told}".encode())


def test_a_client_may_call_the_server_nothing(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /host HTTP/1.0\r\n\r\n")
        assert b"".join(iter(lambda: connection.recv(4096), b"")).endswith(b"\r\n\r\n")


# ---- nginx's own words about an answer ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        "{}",
        "{'Cache-Control': 'private'}",
        "[('Cache-Control', 'private'), ('Cache-Control', 'x')]",
        "{'Cache-Control': 'private', 'Expires': 'Thu, 01 Jan 1970 00:00:00 GMT'}",
    ],
)
@pytest.mark.parametrize(("path", "value"), [("/expires", "max-age=3600"), ("/never", "no-cache")])
def test_expires_has_the_last_word(server: Server, path: str, value: str, headers: str) -> None:
    answer = server.run(f"def run(): return 'x', {headers}", path)
    assert answer.headers.get_list("cache-control") == [value]
    assert len(answer.headers.get_list("expires")) == 1


def test_an_adaptor_s_cache_control_is_all_there(server: Server) -> None:
    answer = server.run("def run(): return 'x', [('Cache-Control', 'private'), ('Cache-Control', 'max-age=5')]")
    assert answer.headers.get_list("cache-control") == ["private", "max-age=5"]


# ---- HTTP/3 -------------------------------------------------------------------------------------------------------------


def has_http3() -> bool:
    return "--with-http_v3_module" in subprocess.run([NGINX, "-V"], capture_output=True, text=True, check=True).stderr


INSTANCE = """
owt_instance model {{ processes {processes}; }}
server {{
    listen 127.0.0.1:{{port}} quic;
    ssl_certificate {{cert}};
    ssl_certificate_key {{key}};
    owt_instance model;
    location / {{ owt; }}
}}
"""


@pytest.mark.skipif(not has_http3(), reason="this nginx does not speak HTTP/3")
def test_quic_is_for_one_process() -> None:
    server = Server(INSTANCE.format(processes=2))
    try:
        assert '"quic" of "listen' in server.test_conf().stderr
        server.write_conf(INSTANCE.format(processes=1))
        assert server.test_conf().returncode == 0
    finally:
        server.close()
