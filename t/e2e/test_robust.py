"""Malformed and hostile requests, clients that behave badly, and nginx's own machinery around an owt location: no
worker crashes, nothing leaks, and everybody else is served."""

import base64
import gzip
import http.client
import json
import random
import re
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, quote_from_bytes

import httpx
import pytest
from asking import Asking, wait_access, wait_text
from gate import PAUSE, Gate
from harness import PRELOAD, SLOW, Server, wait_until

ECHO = "def run(request, name='owt'): return f'Hello, {name}!'"
COUNT = "def run(_, **fields): return str(len(fields))"
BODY = "def run(request): return request.data"

BUSY = """
import owt, pathlib, time
def run(_, file):
    try:
        pathlib.Path(file + ".begun").touch()
        while True:
            time.sleep(0.001)
    except owt.Cancelled:
        pathlib.Path(file).write_text("Cancelled")
"""

STREAM = f"def run(_, gate):\n    yield 'begun,'\n    pause(gate)\n    yield 'done'\n{PAUSE}"

CONF = """
client_max_body_size 64m;
client_body_buffer_size 64k;
large_client_header_buffers 4 1m;
gzip_types *;
gzip_min_length 1;
server {
    listen 127.0.0.1:{port};
    root {dir}/pages;
    owt_allow http10;
    location / { owt; }
    location /plain { return 200 plain; }
    location /hasty { owt; client_body_timeout 200ms; }
    location /small { owt; client_max_body_size 1k; }
    location /gzip { owt; gzip on; }
    location /slow { owt; limit_rate 200k; owt_timeout 400ms; }
    location /pages/ { alias {dir}/pages/; ssi on; ssi_value_length 4k; default_type text/html; }
    location /private { set $question $args; auth_request /auth; proxy_pass http://127.0.0.1:{port}/plain; }
    location = /auth { rewrite ^ /allows?$question?; }
    location /allows { owt; }
    location /mirrored { mirror /mirror; proxy_pass http://127.0.0.1:{port}/plain; }
    location = /mirror { internal; owt; }
    location /missing { error_page 404 /oops?code=def%20run(request):%20return%20request.path; return 404; }
    location /oops { owt; }
    location /try/ { try_files $uri @owt; }
    location @owt { owt; }
    location /rewritten/ { rewrite ^/rewritten/(.*)$ /hasty/$1 last; }
    location /front { proxy_pass http://127.0.0.1:{port}/; proxy_http_version 1.1; }
    location /front10 { proxy_pass http://127.0.0.1:{port}/; }
}
"""


@pytest.fixture(autouse=True)
def everybody_is_still_served(server: Server) -> Iterator[None]:
    before = server.workers()
    yield
    assert server.run(ECHO, name="you").text == "Hello, you!"
    assert server.workers() == before


def read_all(client: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def exchange(server: Server, request: bytes) -> bytes:
    """Sends bytes on a connection of its own; all that comes back."""
    with server.connect() as client:
        client.sendall(request)
        return read_all(client)


def post(body: bytes, *headers: str, path: str = "/") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def asked(server: Server, body: bytes, type: str) -> httpx.Response:
    return server.post("/", content=body, headers={"Content-Type": type})


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def query(code: str, **fields: str) -> str:
    return "?" + "&".join(f"{name}={quote(value)}" for name, value in {"code": code, **fields}.items())


# ---- bodies ---------------------------------------------------------------------------------------------------------

TYPES = [
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "multipart/form-data",
    "application/octet-stream",
    "text/plain; charset=nonsense",
    "",
    "\xff/\xfe; boundary=\"",
]  # fmt: skip


@pytest.mark.parametrize("type", TYPES)
def test_random_bytes_are_a_400(server: Server, type: str) -> None:
    chance = random.Random(type)
    for _ in range(30):
        body = chance.randbytes(chance.randrange(2000))
        answer = exchange(server, post(body, f"Content-Type: {type}", "Connection: close"))
        assert status(answer) == 400, body


@pytest.mark.parametrize("type", TYPES[:3])
@pytest.mark.parametrize("start", [b"{", b"[", b"code=", b"--b\r\n", b"\xef\xbb\xbf{", b"\0"])
def test_random_bytes_after_a_good_start_are_a_400(server: Server, type: str, start: bytes) -> None:
    chance = random.Random(f"{type}{start!r}")
    for size in (0, 1, 10, 1000, 100_000):
        assert asked(server, start + chance.randbytes(size), type).status_code == 400


FORM = b"".join(
    b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part
    for part in [(b"code", b"def run(_, a='none'):\n    return a\n    # end"), (b"a", b"whole")]
)  # fmt: skip


def test_a_form_that_is_cut_off_is_a_400(server: Server) -> None:
    type = "multipart/form-data; boundary=b"
    assert asked(server, FORM + b"--b--\r\n", type).text == "whole"
    statuses = {cut: asked(server, FORM[:cut], type).status_code for cut in range(0, len(FORM), 5)}
    assert set(statuses.values()) == {400}, statuses


PART = b'--b\r\nContent-Disposition: form-data; name="code"%s\r\n\r\nlambda: "ran"\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("type", "body", "part"),
    [
        ("multipart/form-data", PART % b"", "names no boundary"),
        ("multipart/form-data; boundary=", PART % b"", "names no boundary"),
        ('multipart/form-data; boundary=""', PART % b"", "names no boundary"),
        ("multipart/form-data; boundary", PART % b"", "names no boundary"),
        ("multipart/form-data; charset=utf-8", PART % b"", "names no boundary"),
        ("multipart/form-data; boundary=other", PART % b"", "its boundary is not the one"),
        ("multipart/form-data; boundary=" + "b" * 3000, PART % b"", "its boundary is not the one"),
        # As its version of Werkzeug reads what is no Content-Type.
        ('multipart/form-data; boundary="b', PART % b"", "its boundary is not the one|names no boundary"),
        ("multipart/form-data; boundary=\xe9", PART % b"", "names no boundary"),
        ("multipart/form-data; boundary=b", b"", "it breaks off"),
        ("multipart/form-data; boundary=b", (PART % b"")[:-4], "it breaks off"),
        ("multipart/form-data; boundary=b", (PART % b"")[:40], "it breaks off"),
        ("multipart/form-data; boundary=b", (PART % b"").replace(b'; name="code"', b""), "has no name"),
        ("multipart/form-data; boundary=b", (PART % b'; filename="x"').replace(b' name="code";', b""), "has no name"),
        ("multipart/form-data; boundary=b", (PART % b"").replace(b"Content-Disposition", b"X"), "malformed"),
        ("multipart/form-data; boundary=b", (PART % b"").replace(b"Content-Disposition:", b""), "malformed"),
        ("multipart/form-data; boundary=b", PART % b"\r\nX: \xff", "not UTF-8"),
    ],
)
def test_a_form_that_is_none_is_a_400_that_says_why(server: Server, type: str, body: bytes, part: str) -> None:
    head = post(body, "Accept: application/json", "Connection: close", "Content-Type: " + type)
    answer = exchange(server, head)
    assert status(answer) == 400
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert problem["type"] == "urn:owt:bad-parameters"
    assert re.search(part, problem["detail"])


@pytest.mark.parametrize("charset", ["nope", "rot13", "utf-8, x", "hex"])
def test_a_part_in_an_unheard_of_encoding_is_served_or_refused(server: Server, charset: str) -> None:
    body = PART % f"\r\nContent-Type: text/plain; charset={charset}".encode()
    assert asked(server, body, "multipart/form-data; boundary=b").status_code in (200, 400)


@pytest.mark.parametrize("type", TYPES[:3])
def test_very_many_fields_are_served_or_refused(server: Server, type: str) -> None:
    names = [f"f{i}" for i in range(20_000)]
    if "json" in type:
        body = json.dumps({"code": COUNT, **dict.fromkeys(names, 1)}).encode()
    elif "urlencoded" in type:
        body = "&".join([f"code={quote(COUNT)}", *(f"{name}=1" for name in names)]).encode()
    else:
        parts = [("code", COUNT), *((name, "1") for name in names)]
        part = '--b\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'
        body = "".join(part.format(*pair) for pair in parts).encode() + b"--b--\r\n"
    answer = asked(server, body, type)
    assert answer.status_code in (200, 400, 413)
    assert answer.status_code != 200 or answer.text == "20000"


@pytest.mark.parametrize("depth", [100, 1000, 100_000, 5_000_000])
def test_deep_json_is_served_or_refused(server: Server, depth: int) -> None:
    body = json.dumps({"code": COUNT})[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}"
    answer = asked(server, body.encode(), "application/json")
    assert answer.status_code == 200 if depth == 100 else answer.status_code in (200, 400)


@pytest.mark.parametrize("body", ["{", "{}", "[]", '"text"', "null", "1e999", "{]", '{"code": 1}', '{"code": {}}'])
def test_json_that_names_no_code_is_a_400(server: Server, body: str) -> None:
    assert asked(server, body.encode(), "application/json").status_code == 400


def test_huge_numbers_are_served_or_refused(server: Server) -> None:
    for number in ("1" * 10_000, "1e400", "-0", "1" * 5000 + ".5", "NaN", "-Infinity"):
        body = json.dumps({"code": COUNT})[:-1] + f', "n": {number}}}'
        assert asked(server, body.encode(), "application/json").status_code in (200, 400)


@pytest.mark.parametrize("text", ["=", "====", "a", "abcde", "ab=cd", "%%%%", "ab cd!", "\u20ac", "YQ==YQ==", "////"])
def test_bad_base64_is_a_400(server: Server, text: str) -> None:
    for answer in (
        server.get("/", params={"code_b64": text}),
        server.post("/", json={"code_b64": text}),
        server.post("/", data={"code_b64": text}),
        server.post("/", json={"code": ECHO, "kwargs_b64": "\x01" + text}),
    ):
        assert answer.status_code == 400


@pytest.mark.parametrize("field", ["code", "fn_name", "code_id", "use_cache"])
def test_a_nul_is_a_400(server: Server, field: str) -> None:
    for value in ("\0", "run\0", "def run(_): return '\0'"):
        fields = {"code": "def run(_): return 'x'", field: value}
        assert server.post("/", json=fields).status_code == 400
        assert server.post("/", data=fields).status_code == 400


def test_a_nul_in_a_value_is_a_character(server: Server) -> None:
    assert server.run(ECHO, name="a\0b").text == "Hello, a\0b!"


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80"])
def test_what_is_not_utf8_is_a_400(server: Server, bad: bytes) -> None:
    escaped = quote_from_bytes(bad)
    code = "def run(_, **kw): return ''"
    form = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n--b--\r\n'
    multipart = "multipart/form-data; boundary=b"
    statuses = [
        server.get(f"/?code={escaped}").status_code,
        server.get(f"/{query(code)}&value={escaped}").status_code,
        server.get("/", params={"code_b64": base64.b64encode(bad).decode()}).status_code,
        asked(server, f"code={escaped}".encode(), "application/x-www-form-urlencoded").status_code,
        asked(server, f"code={quote(code)}&value={escaped}".encode(), "application/x-www-form-urlencoded").status_code,
        asked(server, b'{"code": "' + bad + b'"}', "application/json").status_code,
        asked(server, b'{"code": "def run(_, **kw): pass", "value": "' + bad + b'"}', "application/json").status_code,
        asked(server, form % (b"code", bad), multipart).status_code,
    ]
    assert statuses == [400] * len(statuses)


def test_a_path_and_headers_may_hold_any_bytes(server: Server) -> None:
    code = "def run(request): return [len(request.path), request.headers['X-Odd'], request.user_agent.string]"
    request = f"GET /%FF%FE%C3{query(code)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()
    answer = exchange(server, request + b"X-Odd: \xff\xc3(\r\nUser-Agent: \xed\xa0\x80\r\nCookie: \xff=\xfe\r\n\r\n")
    assert status(answer) == 200
    assert json.loads(answer.partition(b"\r\n\r\n")[2])[1] == "\xff\xc3("


@pytest.mark.parametrize("text", ["\\ud800", "\\udfff\\ud800", "\\u0000\\udc00"])
def test_lone_surrogates_are_served_or_refused(server: Server, text: str) -> None:
    for body in (
        f'{{"code": "{text}"}}',
        f'{{"code": "def run(_, x): return ascii(x)", "x": "{text}"}}',
        f'{{"{text}": 1}}',
    ):
        assert asked(server, body.encode(), "application/json").status_code in (200, 400)


@pytest.mark.parametrize(
    "code",
    ["(" * 100_000, "-" * 200_000 + "1", "f(" * 50_000, "[" * 500 + "]" * 500, "x = " * 20_000 + "1", "\\" * 1000, "\f\v"],
    ids=range(7),
)  # fmt: skip
def test_code_that_is_hard_to_compile_is_a_refusal(server: Server, code: str) -> None:
    assert asked(server, json.dumps({"code": code}).encode(), "application/json").status_code in (400, 500)


def test_endless_recursion_is_a_500(server: Server) -> None:
    answer = server.run("def run(_): return run(_)")
    assert answer.status_code == 500
    assert "RecursionError" in answer.text


def test_a_large_body_is_a_413(server: Server) -> None:
    assert server.post("/small", json={"code": ECHO, "name": "x" * 2000}).status_code == 413


# ---- clients --------------------------------------------------------------------------------------------------------


def test_http_0_9_is_answered(server: Server) -> None:
    assert exchange(server, f"GET /{query(ECHO)}\r\n".encode())


def test_http_1_0_gets_a_stream_without_chunks(server: Server) -> None:
    code = "def run(_):\n    yield 'a'\n    yield 'b'\n"
    answer = exchange(server, f"GET /{query(code)} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
    assert answer.endswith(b"\r\n\r\nab")
    assert b"chunked" not in answer


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    requests = [post(json.dumps({"code": ECHO, "name": name}).encode()) for name in "abc"]
    requests.append(post(json.dumps({"code": ECHO, "name": "d"}).encode(), "Connection: close"))
    answer = exchange(server, b"".join(requests))
    assert [answer.find(f"Hello, {name}!".encode()) > 0 for name in "abcd"] == [True] * 4
    assert sorted(answer.find(f"Hello, {name}!".encode()) for name in "abcd") == [
        answer.find(f"Hello, {name}!".encode()) for name in "abcd"
    ]


def test_pipelined_garbage_ends_the_connection_after_the_answer(server: Server) -> None:
    answer = exchange(server, post(json.dumps({"code": ECHO}).encode()) + b"\x00\x01\x02 garbage\r\n\r\n")
    assert b"Hello, owt!" in answer
    assert b" 400 " in answer


def test_a_body_that_stops_is_given_up(server: Server) -> None:
    with server.connect() as client:
        client.sendall(post(b"x" * 1000, path="/hasty")[:-500])
        assert client.recv(65536)[:12] in (b"", b"HTTP/1.1 408")
    wait_access(server, '"POST /hasty HTTP/1.1" 408')


@pytest.mark.parametrize("size", [1000, 1 << 20], ids=["in memory", "spooled"])
def test_a_client_that_closes_in_mid_body_is_forgotten(server: Server, size: int) -> None:
    before = server.access_log.count('"POST /half HTTP/1.1" 400')
    for _ in range(20):
        with server.connect() as client:
            client.sendall(post(b"x" * size, path="/half")[: -size // 2])
    wait_until(lambda: server.access_log.count('"POST /half HTTP/1.1" 400') == before + 20, "20 entries")


def test_expect_100_continue(server: Server) -> None:
    body = json.dumps({"code": ECHO}).encode()
    request = post(body, "Expect: 100-continue", "Connection: close")
    with server.connect() as client, client.makefile("rb") as file:
        client.sendall(request[: -len(body)])
        assert file.readline() == b"HTTP/1.1 100 Continue\r\n"
        client.sendall(body)
        assert file.read().endswith(b"Hello, owt!")


@pytest.mark.parametrize("size", [10, 1 << 20], ids=["in memory", "spooled"])
def test_a_chunked_body(server: Server, size: int) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(10):
            yield b"x" * (size // 10)

    answer = server.post("/", params={"code": BODY}, content=chunks())
    assert answer.content == b"x" * (size // 10 * 10)
    body = json.dumps({"code": "def run(_, name): return str(len(name))", "name": "x" * size}).encode()
    answer = server.post("/", content=(body[i : i + 7919] for i in range(0, len(body), 7919)))
    assert answer.text == str(size)


@pytest.mark.parametrize(
    "chunks", [b"zz\r\nab\r\n0\r\n\r\n", b"-1\r\n\r\n", b"fffffffffffffffff\r\n", b"3\r\nabcdef\r\n0\r\n"]
)
def test_bad_chunks_are_a_400(server: Server, chunks: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert status(exchange(server, head + chunks)) == 400


# ---- nginx's machinery around a location ----------------------------------------------------------------------------


def page(server: Server, text: str) -> str:
    """What a page with server-side includes becomes."""
    pages = server.dir / "pages"
    pages.mkdir(exist_ok=True)
    (pages / "page.html").write_text(text)
    answer = server.get("/pages/page.html")
    assert answer.status_code == 200
    return answer.text


def include(code: str, path: str = "/", **fields: str) -> str:
    return f'<!--#include virtual="{path}{query(code, **fields)}" -->'


def test_ssi_includes_answers(server: Server) -> None:
    assert page(server, f"[{include(ECHO, name='a')}|{include(ECHO, name='b')}]") == "[Hello, a!|Hello, b!]"


def test_ssi_includes_streams_in_their_places(server: Server) -> None:
    slow = "import time\ndef run(_):\n    for i in 'abc':\n        time.sleep(0.02)\n        yield i\n"
    fast = "def run(_):\n    yield '1'\n    yield '2'\n"
    assert page(server, f"[{include(slow)}|{include(fast)}|{include(slow)}]") == "[abc|12|abc]"


def test_ssi_includes_asynchronous_answers(server: Server) -> None:
    code = "import asyncio\nasync def run(_, name):\n    await asyncio.sleep(0.01)\n    return name\n"
    assert page(server, f"[{include(code, name='a')}|{include(code, name='b')}]") == "[a|b]"


def test_ssi_includes_nothing_and_files(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("file")
    code = "import pathlib\ndef run(_, file): return pathlib.Path(file)"
    nothing = include("def run(_): return None")
    assert page(server, f"[{nothing}|{include(code, file=str(tmp_path / 'file.txt'))}]") == "[|file]"


def test_ssi_shows_why_an_include_failed(server: Server) -> None:
    text = page(server, f"[{include('def run(_): return 1 / 0')}|{include(ECHO)}]")
    assert text.startswith("[")
    assert text.endswith("|Hello, owt!]")


def test_a_client_that_leaves_a_page_cancels_its_includes(server: Server, tmp_path: Path) -> None:
    pages = server.dir / "pages"
    pages.mkdir(exist_ok=True)
    files = [tmp_path / "one", tmp_path / "two"]
    (pages / "left.html").write_text("".join(include(BUSY, file=str(file)) for file in files))
    with server.connect() as client:
        client.sendall(b"GET /pages/left.html HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for file in files:
            wait_until(Path(f"{file}.begun").exists, "the call")
    assert [wait_text(file) for file in files] == ["Cancelled"] * 2


@pytest.mark.parametrize(("allowed", "expected"), [(200, 200), (204, 200), (401, 401), (403, 403), (500, 500)])
def test_auth_request_asks_an_adaptor(server: Server, allowed: int, expected: int) -> None:
    server.expect(r"auth request unexpected status")
    answer = server.get("/private" + query(f"def run(_): return 'body', {allowed}"))
    assert answer.status_code == expected
    assert (answer.text == "plain") == (expected == 200)


def test_mirror_runs_a_call_beside(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "mirrored"
    code = "import pathlib\ndef run(request, file): pathlib.Path(file).write_text(request.method)"
    answer = server.get("/mirrored" + query(code, file=str(file)))
    assert answer.status_code == 200
    assert wait_text(file) == "GET"


def test_an_adaptor_is_an_error_page(server: Server) -> None:
    answer = server.get("/missing")
    assert answer.status_code == 404
    assert answer.text == "/oops"


def test_try_files_and_rewrite_lead_to_owt(server: Server) -> None:
    code = "def run(request): return request.environ['REQUEST_URI'].partition('?')[0]"
    assert server.get("/try/this" + query(code)).text == "/try/this"
    assert server.get("/rewritten/that" + query(code)).text == "/rewritten/that"


def test_gzip_compresses_an_answer(server: Server) -> None:
    code = "def run(_): return 'owt ' * 1000"
    answer = server.get("/gzip", params={"code": code})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.text == "owt " * 1000


def test_gzip_leaves_alone_what_is_compressed(server: Server) -> None:
    code = "import gzip\ndef run(_): return gzip.compress(b'owt'), {'Content-Encoding': 'gzip'}"
    with server.connect() as client, client.makefile("rb") as file:
        request = (
            f"GET /gzip{query(code)} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
        )
        client.sendall(request.encode())
        assert gzip.decompress(file.read().partition(b"\r\n\r\n")[2]) == b"owt"


def test_gzip_passes_on_each_chunk(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    unzip = zlib.decompressobj(31)
    params = {"code": STREAM, "gate": str(gate)}
    with server.client().stream("GET", "/gzip", params=params, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        pieces = answer.iter_raw()
        text = b""
        while text != b"begun,":
            text += unzip.decompress(next(pieces))
        gate.open()
        assert text + b"".join(map(unzip.decompress, pieces)) == b"begun,done"


@pytest.mark.parametrize("code", ["return 'x' * 300_000", "for _ in range(30): yield 'x' * 10_000"])
def test_limit_rate_slows_an_answer_and_completes_it(server: Server, code: str) -> None:
    """For longer than owt_timeout, which only counts what the call takes."""
    answer = Asking(server, f"def run(_):\n    {code}\n", "/slow").answer()
    assert answer.whole
    assert len(answer.body) == 300_000


# ---- a proxy in front -----------------------------------------------------------------------------------------------

fronts = pytest.mark.parametrize("front", ["/front", "/front10"])


@fronts
def test_a_proxy_passes_on_each_chunk(server: Server, tmp_path: Path, front: str) -> None:
    gate = Gate(tmp_path)
    asked = Asking(server, STREAM, front, gate=str(gate))
    assert asked.read(6) == b"begun,"
    gate.open()
    answer = asked.answer()
    assert answer.whole
    assert answer.text == "done"


@fronts
def test_a_client_that_leaves_a_proxy_cancels_the_call(server: Server, tmp_path: Path, front: str) -> None:
    file = tmp_path / "end"
    asked = Asking(server, BUSY, front, file=str(file))
    wait_until(Path(f"{file}.begun").exists, "the call")
    asked.leave()
    assert wait_text(file) == "Cancelled"


def test_a_proxy_shows_that_a_stream_broke_off(server: Server) -> None:
    server.expect("upstream prematurely closed")
    answer = Asking(server, "def run(_):\n    yield 'begun'\n    1 / 0\n", "/front").answer()
    assert answer.body == b"begun"
    assert not answer.whole


# ---- all of it at once ----------------------------------------------------------------------------------------------

MIXED = {
    "echo": ECHO,
    "large": "def run(_): return b'x' * 1_000_000",
    "failing": "def run(_): return 1 / 0",
    "stream": "import time\ndef run(_):\n    for i in range(5):\n        yield 'x' * 1000\n        time.sleep(0.001)\n",
    "flood": "def run(_):\n    for i in range(50):\n        yield b'x' * 100_000\n",
    "async": "import asyncio\nasync def run(_):\n    await asyncio.sleep(0.002)\n    return 'x'\n",
    "async stream": "async def run(_):\n    for i in range(50):\n        yield b'x' * 100_000\n",
    "syntax": "def run(_) return",
    "waiting": "import time\ndef run(_):\n    for _ in range(20): time.sleep(0.001)\n",
}


class Size:
    """What a process holds."""

    def __init__(self, pid: int) -> None:
        fields = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
        )
        self.rss = int(fields["VmRSS"].split()[0]) << 10
        self.threads = int(fields["Threads"])
        self.files = len(list(Path(f"/proc/{pid}/fd").iterdir()))


def mix(server: Server, seed: int, calls: int) -> None:
    """Some calls, one after the other, many of which are left at any moment."""
    chance = random.Random(seed)
    for _ in range(calls):
        code = chance.choice(list(MIXED.values()))
        if chance.random() < 0.1:
            body = chance.randbytes(200)
            with server.connect() as client:
                client.sendall(post(body)[: chance.randrange(300)])
            continue
        asking = Asking(server, code, receive=4096 if chance.random() < 0.3 else 0)
        if chance.random() < 0.4:
            asking.answer()
        elif chance.random() < 0.5:
            try:
                asking.socket.settimeout(chance.random() * 0.01)
                asking.read(1)
            except (TimeoutError, http.client.HTTPException):
                pass
            asking.leave(reset=chance.random() < 0.5)
        else:
            asking.leave(reset=chance.random() < 0.5)


def test_a_thousand_mixed_calls_leave_nothing_behind(start: Callable[..., Server]) -> None:
    server = start("client_max_body_size 2m;\nserver { listen 127.0.0.1:{port}; location / { owt; } }")
    (worker,) = server.workers()

    def at_once(calls: int, seed: int) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda i: mix(server, seed + i, calls // 8), range(8)))
        # All are over once each thread has come back from what it did.
        barrier = threading.Barrier(8)
        gates = "import threading, time\nbarrier = threading.Barrier(8)\ndef run(_): return str(barrier.wait(30) >= 0)"
        with ThreadPoolExecutor(8) as pool:

            def ask(_: int) -> str:
                barrier.wait()
                return Asking(server, gates).answer().text

            assert set(pool.map(ask, range(8))) == {"True"}

    at_once(600, 0)
    before = Size(worker)
    at_once(1000, 100)
    wait_until(lambda: Size(worker).files <= before.files, "the end of all connections")
    after = Size(worker)
    assert server.workers() == [worker]
    assert after.threads == before.threads
    if not PRELOAD:  # which keeps freed memory for a while
        assert after.rss - before.rss < 16 << 20


def test_a_slow_reader_holds_up_no_other(server: Server) -> None:
    flood = "def run(_):\n    while True: yield b'x' * 100_000\n"
    slow = [Asking(server, flood, receive=4096) for _ in range(4)]
    for asking in slow:
        asking.read(1)
    for _ in range(20):
        assert server.run(ECHO).text == "Hello, owt!"
    for asking in slow:
        asking.leave()


def test_more_connections_than_threads_and_queue_are_all_answered(server: Server) -> None:
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=30 * SLOW) for _ in range(200)]
    request = post(json.dumps({"code": ECHO}).encode(), "Connection: close")
    for client in clients:
        client.sendall(request)
    answers = [status(read_all(client)) for client in clients]
    for client in clients:
        client.close()
    assert set(answers) <= {200, 503}
    assert 200 in answers
