"""Results that are kept: which call gets whose, what is kept and what not, and that a hit needs no Python."""

import base64
import hashlib
import os
import random
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from asking import Asking, leave
from gate import PAUSE, Gate
from harness import PRELOAD, SLOW, Server, wait_until

CONF = """
log_format owt '$request_method $uri $status [$owt_cache_status] [$owt_code_id] [$owt_run_time]';
access_log cache.log owt;
client_max_body_size 64m;
owt_zone results 8m;
owt_zone brief 8m;
owt_cache results;
owt_cache_max 200k;
owt_instance default { threads 2; }
server {
    listen 127.0.0.1:{port};
    server_name one.example;
    location / { owt; }
    location /else/ { owt; }
    location /off/ { owt; owt_cache off; }
    location /apart/ { owt; owt_cache brief; }
    location /spool/ { owt; client_body_buffer_size 1k; }
    location /brief/ { owt; owt_timeout 300ms; }
    location /slow/ { owt; owt_stream_buffer 16k; owt_cache_max 8m; }
    location /compressed/ { owt; gzip on; gzip_types *; gzip_min_length 1; }
    location /plain { return 200 plain; }
}
server {
    listen 127.0.0.1:{port};
    server_name two.example;
    location / { owt; }
}
"""

# Every run has another result.
ONCE = "import uuid\ndef run(_, **kwargs):\n    return uuid.uuid4().hex\n"


@pytest.fixture
def code() -> str:
    """Code that no other test has kept a result of."""
    return f"# {uuid.uuid4()}\n{ONCE}"


def sha256(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()


def fresh(source: str) -> str:
    return f"# {uuid.uuid4()}\n{source}"


def cached(server: Server, source: str, path: str = "/", **fields: object) -> httpx.Response:
    return server.run(source, path, use_cache=True, **fields)


def status(answer: httpx.Response) -> str:
    return answer.headers.get("cache-status", "")


# ---- a result is kept -------------------------------------------------------------------------------------------------


def test_the_second_call_gets_the_first_ones_result(server: Server, code: str) -> None:
    first = cached(server, code)
    second = cached(server, code)
    assert (status(first), status(second)) == ("owt; fwd=miss; stored", "owt; hit")
    assert first.text == second.text
    assert first.status_code == second.status_code == 200
    for name in ("content-type", "content-length", "etag", "x-content-type-options", "cache-control"):
        assert first.headers[name] == second.headers[name]


def test_nothing_is_kept_unasked(server: Server, code: str) -> None:
    assert server.run(code).text != server.run(code).text
    assert "cache-status" not in server.run(code).headers
    for no in (False, "false", "no", 0):
        assert server.run(code, use_cache=no).text != server.run(code, use_cache=no).text


def test_use_cache_without_a_cache_runs(server: Server, code: str) -> None:
    first, second = cached(server, code, "/off/"), cached(server, code, "/off/")
    assert first.text != second.text
    assert status(second) == "owt; fwd=bypass; detail=owt_cache-off"


@pytest.mark.parametrize(
    ("returned", "code_wanted"),
    [
        ("'text'", 200),
        ("b''", 200),
        ("None", 200),
        ("{'a': [1, 2]}", 200),
        ("('made', 201, {'X-A': 'a', 'x-b': 'b'})", 201),
        ("('', 302, {'Location': '/there'})", 302),
        ("('gone by', 204)", 204),
        ("('x', [('X-Twice', '1'), ('X-Twice', '2'), ('Content-Type', 'text/x; charset=utf-8')])", 200),
        ("bytes(range(256)) * 700", 200),
        ("'\\u00e4' * 9000", 200),
    ],
)
def test_status_headers_and_body_come_again(server: Server, returned: str, code_wanted: int) -> None:
    source = fresh(f"def run(_): return {returned}")
    first, second = cached(server, source), cached(server, source)
    assert status(second) == "owt; hit"
    assert first.status_code == second.status_code == code_wanted
    assert first.content == second.content
    mine = {"server-timing", "cache-status", "date", "connection", "accept-ranges"}

    def own(answer: httpx.Response) -> list[tuple[str, str]]:
        return sorted(pair for pair in answer.headers.multi_items() if pair[0] not in mine)

    assert own(first) == own(second)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_stream_comes_again_whole(server: Server, kind: str) -> None:
    source = fresh(
        f"import uuid\n{kind} run(_):\n"
        "    for i in range(50):\n        yield f'{i} {uuid.uuid4()} ' + 'x' * (i * 37)\n"
    )
    first, second = cached(server, source), cached(server, source)
    assert status(first).startswith("owt; fwd=miss")
    assert status(second) == "owt; hit"
    assert first.content == second.content
    assert first.headers["content-type"] == second.headers["content-type"]
    assert int(second.headers["content-length"]) == len(first.content)


def test_a_stream_with_a_head_of_its_own(server: Server) -> None:
    source = fresh(
        "from werkzeug import Response\ndef run(_):\n"
        "    return Response((c for c in ['data: a\\n\\n', 'data: b\\n\\n']), 203, [('X-A', 'a')],"
        " mimetype='text/event-stream')\n"
    )
    first, second = cached(server, source), cached(server, source)
    assert status(second) == "owt; hit"
    assert first.status_code == second.status_code == 203
    assert first.text == second.text == "data: a\n\ndata: b\n\n"
    assert second.headers["x-a"] == "a"
    assert second.headers["content-type"] == first.headers["content-type"]


def test_the_log_knows(server: Server, code: str) -> None:
    path = f"/{uuid.uuid4()}"
    cached(server, code, path)
    cached(server, code, path)
    server.run(code, path)
    cached(server, code, f"/off{path}")
    log = server.dir / "cache.log"
    wait_until(lambda: f"/off{path}" in log.read_text(), "the log")
    lines = [line for line in log.read_text().splitlines() if path in line]
    assert [re.findall(r"\[(.*?)\]", line)[0] for line in lines] == ["MISS", "HIT", "-", "BYPASS"]
    assert all(f"[{sha256(code)}]" in line for line in lines)


# ---- keys, pair by pair -----------------------------------------------------------------------------------------------


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


Call = Callable[[Server, str], httpx.Response]


def post(path: str = "/", headers: dict[str, str] | None = None, **fields: object) -> Call:
    return lambda server, code: server.post(path, json={"code": code, "use_cache": True, **fields}, headers=headers)


def form(path: str = "/", headers: dict[str, str] | None = None, **fields: str) -> Call:
    return lambda server, code: server.post(path, data={"code": code, "use_cache": "1", **fields}, headers=headers)


def multipart(path: str = "/", **fields: Any) -> Call:
    def call(server: Server, code: str) -> httpx.Response:
        parts = {"code": code, "use_cache": "1", **fields}
        files = {name: value if isinstance(value, tuple) else (None, value) for name, value in parts.items()}
        return server.post(path, files=files)

    return call


def query(path: str = "/", method: str = "GET", content: bytes | None = None, **fields: str) -> Call:
    def call(server: Server, code: str) -> httpx.Response:
        return server._client.request(method, path, params={"code": code, "use_cache": "1", **fields}, content=content)

    return call


def by_b64(path: str = "/", **fields: object) -> Call:
    return lambda server, code: server.post(path, json={"code_b64": b64(code), "use_cache": True, **fields})


def by_id(**fields: object) -> Call:
    def call(server: Server, code: str) -> httpx.Response:
        name = "sha256:" + sha256(code)
        return server.post("/", json={"code_id": name, "use_cache": True, **fields})

    return call


def changed(call: Call, more: str = "\n") -> Call:
    return lambda server, code: call(server, code + more)


ACCEPT = "def other(_, **kwargs):\n    return 'other'\n"

SHARE = {
    "json and json": (post(), post()),
    "json and form": (post(), form()),
    "form and multipart": (form(), multipart()),
    "multipart and json": (multipart(), post()),
    "code and code_b64": (post(), by_b64()),
    "code and code_id": (post(), by_id()),
    "run by its name": (post(), post(fn_name="run")),
    "arguments do not count": (post(a=1), post(b=2)),
    "kwargs do not count": (post(kwargs={"a": 1}), post(kwargs={"a": 2})),
    "kwargs in a query do not count": (query(kwargs="{'a': 1}"), query(kwargs="{'a': 2}")),
    "the same arguments": (post(cache_kwargs=True, a=1), post(cache_kwargs=True, a=1)),
    "the same text in a form": (post(cache_kwargs=True, a="1"), form(cache_kwargs="on", a="1")),
    "the same text in a multipart form": (post(cache_kwargs=True, a="1"), multipart(cache_kwargs="1", a="1")),
    "kwargs and kwargs_b64": (
        form(cache_kwargs="1", kwargs="{'a': 1}"),
        form(cache_kwargs="1", kwargs_b64=b64("{'a': 1}")),
    ),
    "the same file": (
        multipart(cache_kwargs="1", f=("a.txt", b"one", "text/plain")),
        multipart(cache_kwargs="1", f=("a.txt", b"one", "text/plain")),
    ),
    "files do not count": (multipart(f=("a.txt", b"one")), multipart(f=("b.txt", b"two"))),
    "GET and HEAD": (query(), query(method="HEAD")),
    "GET and GET": (query(x="1"), query(x="1")),
    "owt's own parameters in a query": (query(), query(cache_kwargs="0", fn_name="run")),
    "one override": (post(cache_key_override="k"), post("/x", a=3, cache_key_override="k", fn_name="run")),
    "the override of other code": (
        post(cache_key_override="shared"),
        changed(post(cache_key_override="shared")),
    ),
    "an override, a form": (post(cache_key_override="k2"), multipart(cache_key_override="k2")),
    "an override that is a number": (post(cache_key_override=7), form(cache_key_override="7")),
    "no Accept that matters": (post(headers={"Accept": "text/html"}), post(headers={"Accept": "image/png"})),
    "other headers": (post(headers={"Cookie": "a=b"}), post(headers={"User-Agent": "c"})),
    "a body of the adaptor's": (
        query(method="POST", content=b"one", cache_kwargs="1"),
        query(method="POST", content=b"one", cache_kwargs="1"),
    ),
    "an unspooled and a spooled body": (
        query("/spool/", method="POST", content=b"o" * 5000, cache_kwargs="1"),
        query("/spool/", method="POST", content=b"o" * 5000, cache_kwargs="1"),
    ),
    "spooled json": (post("/spool/", a="x" * 5000), post("/spool/", a="y" * 6000)),
    "the place of the code": (query(method="POST"), post()),
}

APART = {
    "code": (post(), changed(post())),
    "code, one comment": (post(), changed(post(), "# more\n")),
    "fn_name": (post(), post(fn_name="again")),
    "path": (post("/a"), post("/b")),
    "path, as it came": (post("/a"), post("/%61")),
    "path, slash": (post("/a"), post("/a/")),
    "query beside a body": (post("/?x=1"), post("/?x=2")),
    "query and none": (post("/?x"), post("/")),
    "other query fields": (query(x="1"), query(x="2")),
    "names of query fields": (query(x="1"), query(y="1")),
    "use_cache as the adaptor's own": (post("/?use_cache=1"), post("/?use_cache=0")),
    "GET and POST": (query(), query(method="POST")),
    "arguments": (post(cache_kwargs=True, a=1), post(cache_kwargs=True, a=2)),
    "names of arguments": (post(cache_kwargs=True, a=1), post(cache_kwargs=True, b=1)),
    "number and text": (post(cache_kwargs=True, a=1), post(cache_kwargs=True, a="1")),
    "arguments and none": (post(cache_kwargs=True, a=1), post(cache_kwargs=True)),
    "counting and not": (post(cache_kwargs=True), post()),
    "kwargs": (post(cache_kwargs=True, kwargs={"a": 1}), post(cache_kwargs=True, kwargs={"a": 2})),
    "kwargs and a field": (post(cache_kwargs=True, kwargs={"a": 1}), post(cache_kwargs=True, a=1)),
    "where one ends": (post(cache_kwargs=True, a="bc"), post(cache_kwargs=True, ab="c")),
    "one field in two": (post(cache_kwargs=True, a="1"), post(cache_kwargs=True, a="1", b="")),
    "kwargs in a query": (
        query(cache_kwargs="1", kwargs="{'a': 1}"),
        query(cache_kwargs="1", kwargs="{'a': 2}"),
    ),
    "fields beside code_b64": (by_b64(cache_kwargs=True, a=1), by_b64(cache_kwargs=True, a=2)),
    "a file's content": (
        multipart(cache_kwargs="1", f=("a.txt", b"one")),
        multipart(cache_kwargs="1", f=("a.txt", b"two")),
    ),
    "a file's name": (
        multipart(cache_kwargs="1", f=("a.txt", b"one")),
        multipart(cache_kwargs="1", f=("b.txt", b"one")),
    ),
    "a file's type": (
        multipart(cache_kwargs="1", f=("a.txt", b"one", "text/plain")),
        multipart(cache_kwargs="1", f=("a.txt", b"one", "text/html")),
    ),
    "a file's field": (
        multipart(cache_kwargs="1", f=("a.txt", b"one")),
        multipart(cache_kwargs="1", g=("a.txt", b"one")),
    ),
    "a file and a text": (multipart(cache_kwargs="1", f=("a.txt", b"one")), multipart(cache_kwargs="1", f="one")),
    "a body of the adaptor's": (
        query(method="POST", content=b"one", cache_kwargs="1"),
        query(method="POST", content=b"two", cache_kwargs="1"),
    ),
    "a spooled body of the adaptor's": (
        query("/spool/", method="POST", content=b"o" * 5000, cache_kwargs="1"),
        query("/spool/", method="POST", content=b"o" * 4999 + b"p", cache_kwargs="1"),
    ),
    "spooled json": (
        post("/spool/", cache_kwargs=True, a="x" * 5000),
        post("/spool/", cache_kwargs=True, a="y" * 5000),
    ),
    "overrides": (post(cache_key_override="m"), post(cache_key_override="n")),
    "an override and none": (post(cache_key_override="o"), post()),
    "an empty override is none": (post(cache_key_override=""), changed(post(cache_key_override=""))),
    "location": (post(cache_key_override="p"), post("/else/", cache_key_override="p")),
    "server": (
        post(cache_key_override="q", headers={"Host": "one.example"}),
        post(cache_key_override="q", headers={"Host": "two.example"}),
    ),
    "zone": (post("/apart/", cache_key_override="r"), post(cache_key_override="r")),
}


@pytest.mark.parametrize("pair", SHARE)
def test_they_share_a_result(server: Server, code: str, pair: str) -> None:
    code += "def again(_, **kwargs):\n    return uuid.uuid4().hex\n"
    one, other = SHARE[pair]
    first, second = one(server, code), other(server, code)
    assert first.status_code == second.status_code == 200
    assert status(second) == "owt; hit"
    assert second.text in ("", first.text)


@pytest.mark.parametrize("pair", APART)
def test_they_never_share_a_result(server: Server, code: str, pair: str) -> None:
    code += "def again(_, **kwargs):\n    return uuid.uuid4().hex\n"
    one, other = APART[pair]
    first, second = one(server, code), other(server, code)
    assert first.status_code == second.status_code == 200, second.text
    assert "hit" not in status(second)
    assert first.text != second.text
    assert (one(server, code).text, other(server, code).text) == (first.text, second.text)


def test_instances_never_share_a_result(start: Callable[..., Server], code: str) -> None:
    """Servers of one name and with the same location, whose Python is not the same."""
    server = start(
        """
owt_zone results 1m;
owt_cache results;
owt_instance other { threads 1; }
server { listen 127.0.0.1:{port}; server_name one.example; location / { owt; } }
server { listen 127.0.0.1:{port2}; server_name one.example; owt_instance other; location / { owt; } }
server { listen 127.0.0.1:{port3}; server_name one.example; location / { owt; } }
"""
    )
    body = {"code": code, "use_cache": True, "cache_key_override": "k"}
    one, other, third = (
        server.client(f"http://127.0.0.1:{server.port_of(name)}").post("/", json=body)
        for name in ("port", "port2", "port3")
    )
    assert [status(answer) for answer in (one, other, third)] == ["owt; fwd=miss; stored"] * 2 + ["owt; hit"]
    assert one.text == third.text != other.text


def test_servers_without_a_name_never_share_a_result(start: Callable[..., Server], code: str) -> None:
    server = start(
        """
owt_zone results 1m;
owt_zone others 1m;
owt_cache results;
server { listen 127.0.0.1:{port}; location /x { owt; } location = /x { owt; } }
server { listen 127.0.0.1:{port2}; location /x { owt; } }
server { listen 127.0.0.1:{port3}; owt_cache others; location /x { owt; } }
"""
    )
    body = {"code": code, "use_cache": True, "cache_key_override": "k"}
    places = [("port", "/x"), ("port", "/x/y"), ("port2", "/x"), ("port3", "/x")]

    def asked() -> list[httpx.Response]:
        return [
            server.client(f"http://127.0.0.1:{server.port_of(port)}").post(path, json=body) for port, path in places
        ]

    first, again = asked(), asked()
    assert [status(answer) for answer in first] == ["owt; fwd=miss; stored"] * 4
    assert len({answer.text for answer in first}) == 4
    assert [status(answer) for answer in again] == ["owt; hit"] * 4
    assert [answer.text for answer in again] == [answer.text for answer in first]


def test_a_result_forgets_no_more_than_it_needs(start: Callable[..., Server]) -> None:
    server = start("owt_zone results 1m; server { listen 127.0.0.1:{port}; location / { owt; owt_cache results; } }")
    code = fresh("def run(_, size: int):\n    return 'x' * size\n")

    def asked(key: str, size: int = 10) -> str:
        return status(server.run(code, size=size, use_cache=True, cache_key_override=key))

    for number in range(1500):
        assert asked(str(number)) == "owt; fwd=miss; stored"
    latest = [str(number) for number in range(800, 1500)]
    assert {asked(key) for key in latest} == {"owt; hit"}
    assert asked("large", 5000) == "owt; fwd=miss; stored"
    assert asked("large") == "owt; hit"
    assert {asked(key) for key in latest} == {"owt; hit"}


def test_a_stream_that_is_longer_than_it_says_is_not_kept(server: Server, code: str) -> None:
    source = f"# {code[:40]!r}\ndef run(_):\n    return iter([b'abc', b'def']), {{'Content-Length': '3'}}\n"
    server.expect(r"the stream is longer")
    for _ in range(2):
        answer = server.post("/", json={"code": source, "use_cache": True})
        assert answer.content == b"abc"
        assert "hit" not in status(answer)


SLOW_STREAM = """
import time
def run(_):
    for _ in range(6):
        time.sleep(0.15)
        yield "x"
"""


def test_who_waits_for_a_long_stream_is_not_timed_out(server: Server) -> None:
    """owt_timeout is for a call without output, not for one that waits for another's."""
    code = fresh(SLOW_STREAM)
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(lambda _: server.client().post("/brief/", json={"code": code, "use_cache": True}), "ab")
        )
    assert [(answer.status_code, answer.text) for answer in answers] == [(200, "xxxxxx")] * 2


def test_a_failure_in_a_form_is_no_bypass(server: Server, code: str) -> None:
    answer = server.post("/", files={"code": (None, code), "use_cache": (None, "maybe")})
    assert answer.status_code == 400
    assert "Cache-Status" not in answer.headers


REPEATED = {
    "urlencoded": lambda server, code, tags: server.post(
        "/", content="&".join([urlencode({"code_b64": b64(code), "use_cache": "1", "cache_kwargs": "1"}), *tags]),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    ),
    "multipart": lambda server, code, tags: server.post(
        "/", files=[("code", (None, code)), ("use_cache", (None, "1")), ("cache_kwargs", (None, "1"))]
        + [("tag", (None, tag.partition("=")[2])) for tag in tags],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REPEATED)
def test_repeated_fields_tell_results_apart(server: Server, code: str, kind: str) -> None:
    code += "def run(request, **kwargs):\n    return [uuid.uuid4().hex, *request.form.getlist('tag')]\n"
    one = REPEATED[kind](server, code, ["tag=1", "tag=2"])
    other = REPEATED[kind](server, code, ["tag=1", "tag=3"])
    assert (one.json()[1:], other.json()[1:]) == (["1", "2"], ["1", "3"])
    assert REPEATED[kind](server, code, ["tag=1", "tag=2"]).json() == one.json()


def test_an_answer_chosen_by_accept(server: Server) -> None:
    """Each Accept has its own; what a client that accepts something else gets is never another's."""
    source = fresh(
        "import uuid\nclass Both:\n"
        "    def _repr_html_(self): return '<b>' + uuid.uuid4().hex\n"
        "    def _repr_svg_(self): return '<svg>' + uuid.uuid4().hex\n"
        "def run(_): return Both()\n"
    )
    html, svg = {"Accept": "text/html"}, {"Accept": "image/svg+xml"}
    asked = [post(headers=headers)(server, source) for headers in (html, svg, html, svg)]
    assert [answer.text[:3] for answer in asked] == ["<b>", "<sv", "<b>", "<sv"]
    assert [status(answer) for answer in asked] == ["owt; fwd=miss; stored"] * 2 + ["owt; hit"] * 2
    assert asked[0].text == asked[2].text
    assert asked[1].text == asked[3].text


# ---- what is not kept -------------------------------------------------------------------------------------------------

UUID = "__import__('uuid').uuid4().hex"


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        (f"({UUID}, 404)", "status"),
        (f"({UUID}, 500)", "status"),
        (f"({UUID}, 206, {{'Content-Range': 'bytes 0-31/64'}})", "status"),
        (f"({UUID}, {{'Cache-Control': 'no-store'}})", "no-store"),
        (f"({UUID}, {{'Cache-Control': 'max-age=60, PRIVATE'}})", "private"),
        (f"({UUID}, {{'Cache-Control': 'private=\"X-A\"'}})", "private"),
        (f"({UUID}, {{'Cache-Control': 'no-cache'}})", "no-store"),
        (f"({UUID}, {{'Cache-Control': 'max-age=0'}})", "no-store"),
        (f"({UUID}, {{'Cache-Control': 'max-age=60, s-maxage=0'}})", "no-store"),
        (f"({UUID}, {{'Set-Cookie': 'a=b'}})", "set-cookie"),
        (f"({UUID}, {{'Vary': 'Cookie'}})", "vary"),
        (f"({UUID}, {{'Vary': 'accept, accept-language'}})", "vary"),
        (f"({UUID}, {{'Vary': '*'}})", "vary"),
        (f"{UUID} * 7000", "too-large"),
        (f"iter([{UUID}, 'x' * 100_000, 'y' * 100_000, 'z' * 10_000])", "too-large"),
        (f"({UUID} + str(n) for n in ['a', 'b', 1/0])", "error"),
    ],
)
def test_not_kept(server: Server, returned: str, why: str) -> None:
    source = fresh(f"def run(_): return {returned}")
    first, second = cached(server, source), cached(server, source)
    assert first.status_code == second.status_code
    assert first.text != second.text or why == "error"
    streams = "iter(" in returned  # its head may have gone before it was too large
    assert status(second) in (f"owt; fwd=miss; detail={why}", "owt; fwd=miss" if streams else "")


def test_a_stream_that_breaks_off_is_not_kept(server: Server, tmp_path: Path) -> None:
    source = fresh("import pathlib\ndef run(_, file):\n    yield 'a'\n    yield pathlib.Path(file).read_text()\n")
    file = tmp_path / "file"
    broken = Asking(server, source, use_cache=True, file=str(file)).answer()
    assert (broken.whole, broken.body) == (False, b"a")
    file.write_text("b")
    assert cached(server, source, file=str(file)).text == "ab"
    file.write_text("c")
    assert cached(server, source, file=str(file)).text == "ab"


def test_a_stream_of_the_wrong_length_is_not_kept(server: Server) -> None:
    source = fresh("def run(_): return iter(['abc']), {'Content-Length': '5'}")
    for _ in range(2):
        answer = Asking(server, source, use_cache=True).answer()
        assert not answer.whole
        assert "hit" not in answer.headers["cache-status"]


def test_a_file_is_not_kept(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one")
    source = fresh("import pathlib\ndef run(_, file): return pathlib.Path(file)\n")
    assert cached(server, source, file=str(tmp_path / "file")).text == "one"
    (tmp_path / "file").write_text("other")
    answer = cached(server, source, file=str(tmp_path / "file"))
    assert answer.text == "other"
    assert status(answer) == "owt; fwd=miss; detail=file"


def test_an_abandoned_call_is_not_kept(server: Server, tmp_path: Path) -> None:
    source = fresh(
        f"import uuid\ndef run(_, gate):\n    yield 'begun'\n    pause(gate)\n    yield uuid.uuid4().hex\n{PAUSE}"
    )
    gate = Gate(tmp_path)
    asked = Asking(server, source, use_cache=True, gate=str(gate))
    gate.wait_reached()
    leave(server, asked)
    gate.open()
    # If all of it comes at once, its head can tell that it is stored.
    assert status(cached(server, source, gate=str(gate))).startswith("owt; fwd=miss")
    assert status(cached(server, source, gate=str(gate))) == "owt; hit"


def test_what_timed_out_is_not_kept(server: Server, tmp_path: Path) -> None:
    source = fresh(f"def run(_, gate):\n    pause(gate)\n    return 'done'\n{PAUSE}")
    gate = Gate(tmp_path)
    assert cached(server, source, "/brief/", gate=str(gate)).status_code == 504
    gate.open()
    assert status(cached(server, source, "/brief/", gate=str(gate))) == "owt; fwd=miss; stored"


def test_a_life_has_its_end(server: Server) -> None:
    source = fresh(f"def run(_): return {UUID}, {{'Cache-Control': 'max-age=2'}}")
    first = cached(server, source)
    again = cached(server, source)
    assert again.text == first.text
    assert 0 <= int(again.headers["age"]) <= 2
    wait_until(lambda: cached(server, source).text != first.text, "the end of a result's life")


def test_a_request_can_ask_for_a_new_result(server: Server, code: str) -> None:
    old = cached(server, code).text
    new = post(headers={"Cache-Control": "no-cache"})(server, code)
    assert new.text != old
    assert status(new) == "owt; fwd=request; stored"
    assert cached(server, code).text == new.text
    other = post(headers={"Cache-Control": "no-store"})(server, code)
    assert other.text != new.text
    assert status(other) == "owt; fwd=request"
    assert cached(server, code).text == new.text


@pytest.mark.skipif(bool(PRELOAD), reason="a sanitizer keeps what is freed")
def test_recording_costs_nothing_beyond_the_limit(server: Server) -> None:
    """A stream is recorded up to owt_cache_max and no further: one of 200 MB leaves no trace in the worker."""
    source = fresh("def run(_):\n    for _ in range(3200):\n        yield b'x' * 65536\n")
    worker = server.workers()[0]

    def peak() -> int:
        text = Path(f"/proc/{worker}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", text)
        assert found
        return int(found[1])

    assert len(cached(server, fresh("def run(_):\n    yield b'x' * 65536\n    yield b'y'\n")).content) == 65537
    before = peak()
    with server._client.stream("POST", "/", json={"code": source, "use_cache": True}) as answer:
        size = sum(len(part) for part in answer.iter_raw())
    assert size >= 3200 * 65536
    assert peak() - before < 32 * 1024 * SLOW
    assert status(cached(server, fresh("def run(_): return 'x'"))) == "owt; fwd=miss; stored"


# ---- hits as HTTP has them --------------------------------------------------------------------------------------------


def test_a_client_with_the_same_gets_304(server: Server, code: str) -> None:
    ask = query(x="1")
    first = ask(server, code)
    etag = first.headers["etag"]
    params = {"code": code, "use_cache": "1", "x": "1"}
    for condition in (etag, f'"other", {etag}', "*"):
        answer = server.get(params=params, headers={"If-None-Match": condition})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    for condition in ('"other"', f'"{etag[1:-1]}x"', f'"x{etag[1:-1]}"'):
        answer = server.get(params=params, headers={"If-None-Match": condition})
        assert (answer.status_code, answer.text) == (200, first.text)
        assert status(answer) == "owt; hit"
    # nginx looks at the date first, and knows none.
    both = {"If-None-Match": etag, "If-Modified-Since": "Mon, 28 Sep 1970 06:00:00 GMT"}
    assert server.get(params=params, headers=both).text == first.text
    answer = server.get(params=params, headers={"If-Match": '"other"'})
    assert (answer.status_code, answer.headers["connection"]) == (412, "close")


def test_head_has_the_length(server: Server) -> None:
    source = fresh("def run(_): return 'x' * 12345")
    for _ in range(2):
        answer = server._client.head("/", params={"code": source, "use_cache": "1"})
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-length"] == "12345"
    assert status(answer) == "owt; hit"
    assert server.get(params={"code": source, "use_cache": "1"}).text == "x" * 12345


def test_ranges_of_a_hit(server: Server) -> None:
    source = fresh("def run(_): return bytes(range(256)) * 40")
    whole = server.get(params={"code": source, "use_cache": "1"})
    for text, part in {
        "bytes=0-9": whole.content[:10],
        "bytes=5000-": whole.content[5000:],
        "bytes=-7": whole.content[-7:],
    }.items():
        answer = server.get(params={"code": source, "use_cache": "1"}, headers={"Range": text})
        assert (answer.status_code, answer.content) == (206, part)
    headers = {"Range": "bytes=0-9", "If-Range": whole.headers["etag"]}
    assert server.get(params={"code": source, "use_cache": "1"}, headers=headers).status_code == 206
    headers["If-Range"] = '"other"'
    assert server.get(params={"code": source, "use_cache": "1"}, headers=headers).content == whole.content


def test_an_adaptors_own_etag_stays(server: Server) -> None:
    source = fresh("def run(_): return 'x', {'ETag': '\"mine\"'}")
    assert [cached(server, source).headers["etag"] for _ in range(2)] == ['"mine"', '"mine"']
    answer = server.post("/", json={"code": source, "use_cache": True}, headers={"If-None-Match": '"mine"'})
    assert answer.status_code == 304


def test_a_hit_can_be_compressed(server: Server) -> None:
    source = fresh("def run(_): return 'x' * 100_000")
    for _ in range(2):
        answer = cached(server, source, "/compressed/")
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.text == "x" * 100_000
    assert status(answer) == "owt; hit"


def test_a_hit_on_a_slow_client(server: Server) -> None:
    """What it has yet to read is its own: the zone may forget the result meanwhile."""
    source = fresh("import random\ndef run(_): return random.Random(1).randbytes(6_000_000)\n")
    first = cached(server, source, "/slow/")
    assert status(first) == "owt; fwd=miss; stored"
    slow = Asking(server, source, "/slow/", receive=4096, use_cache=True)
    begun = slow.read(100)
    assert slow.response.headers["cache-status"] == "owt; hit"
    for _ in range(3):
        other = fresh("import random\ndef run(_): return random.randbytes(6_000_000)\n")
        assert status(cached(server, other, "/slow/")) == "owt; fwd=miss; stored"
    assert status(cached(server, source, "/slow/")) == "owt; fwd=miss; stored"  # forgotten, by now
    answer = slow.answer()
    assert answer.whole
    assert begun + answer.body == first.content


# ---- without Python ---------------------------------------------------------------------------------------------------


@pytest.fixture
def busy(server: Server, tmp_path: Path) -> Iterator[None]:
    """Every thread waits at a gate."""
    source = fresh(f"def run(_, gate):\n    pause(gate)\n    return 'done'\n{PAUSE}")
    gates = [Gate(tmp_path, f"busy{i}") for i in range(2)]
    asked = [Asking(server, source, gate=str(gate)) for gate in gates]
    for gate in gates:
        gate.wait_reached()
    yield
    for gate, one in zip(gates, asked, strict=True):
        gate.open()
        assert one.answer().text == "done"


def test_a_hit_needs_no_thread(server: Server, code: str, request: pytest.FixtureRequest) -> None:
    first = cached(server, code)
    request.getfixturevalue("busy")
    for call in (post(), form(), by_id()):
        assert call(server, code).text == first.text


def test_a_hit_needs_no_gil(server: Server, code: str, tmp_path: Path) -> None:
    """The GIL is held in C until the test has got its hits: `read` ends when the pipe's other end is closed."""
    first = cached(server, code)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    source = """
import ctypes, os, pathlib
def run(_, pipe):
    end = os.open(pipe, os.O_RDONLY)
    pathlib.Path(pipe + ".begun").touch()
    ctypes.PyDLL(None).read(end, ctypes.create_string_buffer(1), 1)
    return 'done'
"""
    asked = Asking(server, fresh(source), pipe=str(pipe))
    with pipe.open("wb"):
        wait_until(Path(f"{pipe}.begun").exists, "the adaptor")
        for _ in range(20):
            answer = cached(server, code)
            assert (answer.text, status(answer)) == (first.text, "owt; hit")
        assert asked.socket.fileno() >= 0
    assert asked.answer().text == "done"


def test_a_multipart_hit_runs_nothing(server: Server, tmp_path: Path) -> None:
    """It is parsed on a Python thread, then answered by nginx; the adaptor does not run."""
    source = fresh(
        "import pathlib\ndef run(_, file, data):\n    with open(file, 'a') as out:\n        out.write('ran ')\n    return data.read()\n"
    )
    file = tmp_path / "ran"
    for _ in range(3):
        answer = multipart(cache_kwargs="1", file=str(file), data=("d", b"z" * 100_000))(server, source)
        assert answer.content == b"z" * 100_000
    assert status(answer) == "owt; hit"
    assert file.read_text() == "ran "


def test_a_multipart_upload_in_a_file(server: Server) -> None:
    source = fresh("import hashlib\ndef run(request, data):\n    return hashlib.sha256(data.read()).hexdigest()\n")
    content = os.urandom(5_000_000)
    wanted = hashlib.sha256(content).hexdigest()
    answers = [multipart("/spool/", cache_kwargs="1", data=("d", content))(server, source) for _ in range(2)]
    assert [answer.text for answer in answers] == [wanted, wanted]
    assert [status(answer) for answer in answers] == ["owt; fwd=miss; stored", "owt; hit"]


# ---- one run for many -------------------------------------------------------------------------------------------------

GATED = f"import pathlib, uuid\ndef run(_, gate, file):\n    with open(file, 'a') as out:\n        out.write('ran ')\n    pause(gate)\n    {{}}\n{PAUSE}"


class Crowd:
    """Calls that are the same."""

    def __init__(self, server: Server, source: str, directory: Path, path: str = "/") -> None:
        self.server, self.path = server, path
        self.source = fresh(source)
        self.gate = Gate(directory, "crowd")
        self.file = directory / "runs"

    def ask(self, **fields: object) -> Asking:
        asked = Asking(
            self.server, self.source, self.path, use_cache=True, gate=str(self.gate), file=str(self.file), **fields
        )
        assert self.server.get("/plain").text == "plain"  # so it has come
        return asked

    @property
    def runs(self) -> int:
        return self.file.read_text().count("ran") if self.file.exists() else 0


def test_identical_calls_run_once(server: Server, tmp_path: Path) -> None:
    crowd = Crowd(server, GATED.format("return uuid.uuid4().hex"), tmp_path)
    asked = [crowd.ask() for _ in range(20)]
    crowd.gate.wait_reached()
    crowd.gate.open()
    answers = [one.answer() for one in asked]
    assert len({answer.text for answer in answers}) == 1
    assert crowd.runs == 1
    collapsed = [answer.headers["cache-status"] for answer in answers[1:]]
    assert set(collapsed) == {"owt; fwd=miss; collapsed"}


def test_identical_streams_run_once(server: Server, tmp_path: Path) -> None:
    crowd = Crowd(server, GATED.format("yield 'a'\n    yield uuid.uuid4().hex"), tmp_path)
    asked = [crowd.ask() for _ in range(5)]
    crowd.gate.wait_reached()
    crowd.gate.open()
    answers = [one.answer() for one in asked]
    assert all(answer.whole for answer in answers)
    assert len({answer.text for answer in answers}) == 1
    assert crowd.runs == 1


def test_identical_forms_run_once(server: Server, tmp_path: Path) -> None:
    """Those that wait hold no thread: there are only two."""
    crowd = Crowd(server, GATED.format("return uuid.uuid4().hex"), tmp_path)
    call = multipart(gate=str(crowd.gate), file=str(crowd.file))
    with ThreadPoolExecutor(5) as pool:
        asked = [pool.submit(call, server, crowd.source) for _ in range(5)]
        crowd.gate.wait_reached()
        assert server.run("def run(): return 'free'").text == "free"
        crowd.gate.open()
        texts = {one.result().text for one in asked}
    assert len(texts) == 1
    assert crowd.runs == 1


def test_a_failure_is_each_ones_own(server: Server, tmp_path: Path) -> None:
    crowd = Crowd(server, GATED.format("raise ValueError('no')"), tmp_path)
    asked = [crowd.ask() for _ in range(4)]
    crowd.gate.wait_reached()
    crowd.gate.open()
    assert [one.answer().status for one in asked] == [500] * 4
    assert crowd.runs == 4


def test_after_a_failure_the_next_one_serves_the_rest(server: Server, tmp_path: Path) -> None:
    crowd = Crowd(
        server, GATED.format("if len(open(file).read().split()) == 1: 1 / 0\n    return uuid.uuid4().hex"), tmp_path
    )
    asked = [crowd.ask() for _ in range(6)]
    crowd.gate.wait_reached()
    crowd.gate.open()
    answers = [one.answer() for one in asked]
    assert sorted(answer.status for answer in answers) == [200] * 5 + [500]
    assert len({answer.text for answer in answers if answer.status == 200}) == 1
    assert crowd.runs == 2


def test_what_serves_nobody_else_is_run_by_each(server: Server, tmp_path: Path) -> None:
    crowd = Crowd(
        server,
        GATED.format("return uuid.uuid4().hex, {{'Cache-Control': 'no-store'}}".replace("{{", "{").replace("}}", "}")),
        tmp_path,
    )
    asked = [crowd.ask() for _ in range(4)]
    crowd.gate.wait_reached()
    crowd.gate.open()
    assert len({one.answer().text for one in asked}) == 4
    assert crowd.runs == 4


def test_if_the_first_leaves_the_next_one_runs(server: Server, tmp_path: Path) -> None:
    crowd = Crowd(server, GATED.format("return uuid.uuid4().hex"), tmp_path)
    first = crowd.ask()
    crowd.gate.wait_reached()
    asked = [crowd.ask() for _ in range(3)]
    leave(server, first)
    wait_until(lambda: crowd.runs == 2, "the second run")
    crowd.gate.open()
    answers = [one.answer() for one in asked]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert crowd.runs == 2


def test_one_that_waits_may_leave(server: Server, tmp_path: Path) -> None:
    crowd = Crowd(server, GATED.format("return uuid.uuid4().hex"), tmp_path)
    asked = [crowd.ask() for _ in range(4)]
    crowd.gate.wait_reached()
    leave(server, asked.pop(1))
    asked.pop(2).leave(reset=True)
    crowd.gate.open()
    assert {one.answer().status for one in asked} == {200}
    assert crowd.runs == 1


def test_all_may_leave(server: Server, tmp_path: Path) -> None:
    crowd = Crowd(server, GATED.format("return uuid.uuid4().hex"), tmp_path)
    asked = [crowd.ask() for _ in range(4)]
    crowd.gate.wait_reached()
    for one in reversed(asked):
        leave(server, one)
    crowd.gate.open()
    last = crowd.ask().answer()
    assert last.status == 200
    assert crowd.runs == 2


def test_who_waits_has_its_own_timeout(server: Server, tmp_path: Path) -> None:
    crowd = Crowd(server, GATED.format("return uuid.uuid4().hex"), tmp_path, "/brief/")
    first, second = crowd.ask(), crowd.ask()
    assert {first.answer().status, second.answer().status} == {504}


def test_a_slow_client_holds_up_nobody(server: Server, tmp_path: Path) -> None:
    crowd = Crowd(
        server, GATED.format("for i in range(60):\n        yield uuid.uuid4().hex.encode() * 3200"), tmp_path, "/slow/"
    )
    slow = Asking(
        server, crowd.source, "/slow/", receive=4096, use_cache=True, gate=str(crowd.gate), file=str(crowd.file)
    )
    crowd.gate.wait_reached()
    others = [crowd.ask() for _ in range(3)]
    crowd.gate.open()
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(Asking.answer, others))
    assert all(answer.whole for answer in answers)
    assert slow.answer().whole


def test_answers_by_accept_are_not_mixed_up(server: Server, tmp_path: Path) -> None:
    source = fresh(
        "import uuid\n" + PAUSE + "class Both:\n"
        "    def _repr_html_(self): return '<b>'\n"
        "    def _repr_svg_(self): return '<svg>'\n"
        "def run(_, gate):\n    pause(gate)\n    return Both()\n"
    )
    gate = Gate(tmp_path)
    with ThreadPoolExecutor(6) as pool:
        kinds = ["text/html", "image/svg+xml"] * 3
        asked = [pool.submit(post(headers={"Accept": kind}, gate=str(gate)), server, source) for kind in kinds]
        gate.wait_reached()
        gate.open()
        answers = [one.result() for one in asked]
    assert [answer.headers["content-type"].split(";")[0] for answer in answers] == kinds


def test_over_http2(server: Server, start: Callable[..., Server], tmp_path: Path) -> None:
    """Calls of one connection wait for each other, and end with it."""
    conf = """
owt_zone results 1m;
owt_instance default { threads 2; }
server {
    listen 127.0.0.1:{port};
    listen 127.0.0.1:{port2} ssl http2;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    location / { owt; owt_cache results; }
    location /plain { return 200 plain; }
}
"""
    other = start(conf)
    url = f"https://127.0.0.1:{other.port_of('port2')}"
    crowd = Crowd(other, GATED.format("return uuid.uuid4().hex"), tmp_path)
    body = {"code": crowd.source, "use_cache": True, "gate": str(crowd.gate), "file": str(crowd.file)}
    client = other.client(url, http2=True)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(client.post, "/", json=body) for _ in range(8)]
        crowd.gate.wait_reached()
        crowd.gate.open()
        assert len({one.result().text for one in asked}) == 1
    assert crowd.runs == 1
    again = Crowd(other, GATED.format("return uuid.uuid4().hex"), tmp_path / "again")
    (tmp_path / "again").mkdir()
    body = {"code": again.source, "use_cache": True, "gate": str(again.gate), "file": str(again.file)}
    with (
        httpx.Client(base_url=url, http2=True, trust_env=False, verify=False, timeout=1) as leaving,
        ThreadPoolExecutor(8) as pool,
    ):
        asked = [pool.submit(leaving.post, "/", json=body) for _ in range(8)]
        again.gate.wait_reached()
        ended = [one.exception() for one in asked]
        assert all(isinstance(error, httpx.TimeoutException) for error in ended), ended
    again.gate.open()
    assert again.ask().answer().status == 200


# ---- the zone ---------------------------------------------------------------------------------------------------------

ZONE = """
owt_zone results {size};
server {{
    listen 127.0.0.1:{{port}};
    location / {{ owt; owt_cache results; owt_cache_max {most}; }}
    location /plain {{ return 200 plain; }}
}}
"""


def zone(size: str = "1m", most: str = "200k") -> str:
    return ZONE.format(size=size, most=most)


def test_results_survive_a_reload(start: Callable[..., Server], code: str) -> None:
    server = start(zone())
    first = cached(server, code)
    for _ in range(2):
        server.signal("reload")
        assert cached(server, code).text == first.text


def test_a_zone_of_another_size_starts_empty(start: Callable[..., Server], code: str) -> None:
    server = start(zone())
    first = cached(server, code)
    server.write_conf(zone("2m"))
    server.signal("reload")
    server.wait_log(r'\[notice\].*the zone "results" has 2097152 bytes now and had 1048576: its results are forgotten')
    second = cached(server, code)
    assert second.text != first.text
    assert cached(server, code).text == second.text


def test_a_zone_goes_and_comes(start: Callable[..., Server], code: str) -> None:
    server = start(zone())
    first = cached(server, code)
    server.write_conf("server { listen 127.0.0.1:{port}; location / { owt; } }")
    server.signal("reload")
    assert status(cached(server, code)) == "owt; fwd=bypass; detail=owt_cache-off"
    server.write_conf(zone())
    server.signal("reload")
    assert cached(server, code).text != first.text


def test_workers_share_results(start: Callable[..., Server], code: str) -> None:
    server = start(zone(), main="worker_processes 3;")
    wait_until(lambda: len(server.workers()) == 3, "three workers")
    source = fresh("import os\ndef run(_): return str(os.getpid())")
    first = cached(server, source).text
    for _ in range(30):
        with server.client() as client:
            assert client.post("/", json={"code": source, "use_cache": True}).text == first


def test_a_full_zone_forgets_the_oldest(start: Callable[..., Server]) -> None:
    server = start(zone("256k", "100k"))
    source = fresh("import uuid\ndef run(_, size):\n    return uuid.uuid4().hex + 'x' * size\n")
    texts = [cached(server, source, f"/{i}", size=1000).text for i in range(20)]
    assert [cached(server, source, f"/{i}", size=1000).text for i in range(20)] == texts
    for i in range(20, 400):
        cached(server, source, f"/{i}", size=1000)
        assert cached(server, source, "/0", size=1000).text == texts[0]  # in use, so it stays
    assert cached(server, source, "/1", size=1000).text != texts[1]
    assert "[crit]" not in server.error_log


def test_a_zone_filled_to_the_brim_by_three_workers(start: Callable[..., Server]) -> None:
    server = start(zone("512k", "300k"), main="worker_processes 3;")
    source = fresh("import random\ndef run(_, seed, size):\n    return random.Random(seed).randbytes(size)\n")

    def work(which: int) -> int:
        choose = random.Random(which)
        hits = 0
        with httpx.Client(base_url=server.url, trust_env=False, timeout=30 * SLOW) as client:
            for _ in range(150):
                seed = choose.randrange(60)
                size = [10, 300, 1500, 3000, 5000, 20_000, 70_000, 290_000][seed % 8]
                body = {"code": source, "seed": seed, "size": size, "use_cache": True, "cache_kwargs": True}
                answer = client.post("/", json=body)
                assert answer.status_code == 200, answer.text
                assert answer.content == random.Random(seed).randbytes(size)
                hits += status(answer) == "owt; hit"
        return hits

    with ThreadPoolExecutor(9) as pool:
        assert sum(pool.map(work, range(9))) > 20
    assert not re.search(r"\[(crit|error|alert)\]", server.error_log)
    source = fresh(ONCE)
    assert cached(server, source).text == cached(server, source).text


def test_reloads_under_load(start: Callable[..., Server]) -> None:
    """Old and new workers use the zone at the same time; what was kept before is there after."""
    server = start(zone("512k", "100k"), main="worker_processes 3;")
    first = fresh(ONCE)
    text = cached(server, first).text
    source = fresh("import random\ndef run(_, seed):\n    return random.Random(seed).randbytes(seed * 500)\n")
    stop = threading.Event()

    def work(which: int) -> int:
        choose, done = random.Random(which), 0
        while not stop.is_set():
            seed = choose.randrange(100)
            body = {"code": source, "seed": seed, "use_cache": True, "cache_kwargs": True}
            answer = httpx.post(server.url, json=body, headers={"Connection": "close"}, timeout=30 * SLOW)
            assert answer.content == random.Random(seed).randbytes(seed * 500)
            assert cached_once(server, first) == text
            done += 1
        return done

    with ThreadPoolExecutor(6) as pool:
        working = [pool.submit(work, which) for which in range(6)]
        try:
            for _ in range(4):
                server.signal("reload")
        finally:
            stop.set()
        assert min(one.result() for one in working) > 0
    assert not re.search(r"\[(crit|error|alert)\]", server.error_log)


def cached_once(server: Server, source: str) -> str:
    """On a connection of its own, which no reload closes."""
    body = {"code": source, "use_cache": True}
    return httpx.post(server.url, json=body, headers={"Connection": "close"}, timeout=30 * SLOW).text


def test_what_no_zone_has_room_for(start: Callable[..., Server]) -> None:
    server = start(zone("64k", "64k"))
    kept = fresh(ONCE)
    first = cached(server, kept)
    answer = cached(server, fresh("def run(_): return 'x' * 65000"))
    assert status(answer) == "owt; fwd=miss; detail=not-kept"
    assert cached(server, kept).text == first.text
    assert "[crit]" not in server.error_log


def test_the_usual_limit(start: Callable[..., Server]) -> None:
    """A quarter of the zone, and 1m at most."""
    conf = """
owt_zone little 400k;
owt_zone large 16m;
server {
    listen 127.0.0.1:{port};
    location /little { owt; owt_cache little; }
    location /large { owt; owt_cache large; }
}
"""
    server = start(conf)
    for path, most in (("/little", 100 * 1024), ("/large", 1 << 20)):
        for size, end in ((most, "stored"), (most + 1, "detail=too-large")):
            assert status(cached(server, fresh(f"def run(_): return 'x' * {size}"), path)).endswith(end)


@pytest.mark.parametrize(
    ("http", "complaint"),
    [
        ("owt_cache nowhere;", r'"owt_cache nowhere" in .*nginx.conf:\d+: there is no such zone; declare it in http'),
        ("owt_zone a 16k;", r'"owt_zone": the zone is too small: give it 32k or more'),
        ("owt_zone a;", r'invalid number of arguments in "owt_zone"'),
        ("owt_zone a many;", r'"owt_zone": wants a name and a size, as in "owt_zone results 64m;"'),
        ("owt_zone a 1m; owt_zone a 2m;", r'"owt_zone": there is a zone "a" already'),
        ("owt_zone a 1m; owt_zone a 1m;", r'"owt_zone": there is a zone "a" already'),
        ("owt_zone off 1m;", r'"owt_zone": "off" is what owt_cache says for none'),
        (
            "limit_req_zone $uri zone=a:1m rate=1r/s; owt_zone a 1m;",
            r'shared memory zone "a" is already declared for a different use',
        ),
        ("owt_cache_max none;", r'"owt_cache_max" directive wants a size, as in "owt_cache_max 4m;"'),
        ("owt_cache_max 0;", r'"owt_cache_max" directive wants a size'),
        ("owt_zone a 1m; owt_cache a; owt_cache_max 2m;", r"owt_cache_max is larger than the zone"),
        ("owt_zone a 1m; owt_cache a; owt_cache a;", r'"owt_cache" directive is duplicate'),
        ("server { owt_zone a 1m; }", r'"owt_zone" directive is not allowed here'),
    ],
)
def test_errors_in_the_configuration(http: str, complaint: str) -> None:
    server = Server(http + "\nserver { listen 127.0.0.1:{port}; location / { owt; } }")
    try:
        tested = server.test_conf()
        assert tested.returncode != 0
        assert re.search(complaint, tested.stderr), tested.stderr
    finally:
        server.close()


def test_a_cache_without_owt_is_harmless(start: Callable[..., Server]) -> None:
    """And a zone may be declared behind its use."""
    server = start(
        "server { listen 127.0.0.1:{port}; location / { owt_cache a; return 200 plain; } }\nowt_zone a 1m;\n"
    )
    assert server.get("/").text == "plain"
