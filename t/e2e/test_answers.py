"""What comes back: each kind of result, streams, files, and what every answer carries."""

import io
import json
import re
import socket
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asking import Asking
from gate import PAUSE, Gate
from harness import ROOT, Server, wait_until

CONF = """
owt_instance default { threads 8; }
access_log off;
server {
    listen 127.0.0.1:{port};
    owt_allow http10;
    location / { owt; }
    location /proxied/ { proxy_pass http://127.0.0.1:{port}/; proxy_http_version 1.1; }
    location /zipped/ { owt; gzip on; gzip_types *; gzip_min_length 0; }
}
server {
    listen 127.0.0.1:{port2} sndbuf=64k;
    location / { owt; owt_stream_buffer 128k; }
}
server {
    listen 127.0.0.1:{port3} http2;
    location / { owt; }
}
"""

HTML, OCTETS, JSON = "text/html; charset=utf-8", "application/octet-stream", "application/json"


def code_of(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def returning(expression: str, before: str = "") -> str:
    return f"{before}\ndef run(request):\n    return {expression}\n"


def sync(body: str) -> str:
    """A generator with this body."""
    return "def run(request, gate=None):\n" + textwrap.indent(body, "    ") + PAUSE


def asynchronous(body: str) -> str:
    """The same as an async generator, whose pauses hold up nobody."""
    body = body.replace("pause(gate)", "await asyncio.to_thread(pause, gate)")
    return "import asyncio\nasync def run(request, gate=None):\n" + textwrap.indent(body, "    ") + PAUSE


both = pytest.mark.parametrize("generator", [sync, asynchronous])
Generator = Callable[[str], str]


class Reader:
    """A connection of its own on which an answer is read bit by bit."""

    def __init__(
        self, server: Server, code: str, path: str = "/", port: int = 0, receive: int = 0, **fields: Any
    ) -> None:
        body = json.dumps({"code": code, **fields}).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        if receive:
            self.socket = socket.socket()
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
            self.socket.settimeout(30)
            self.socket.connect(("127.0.0.1", port))
        else:
            self.socket = server.connect(port or None)
        self.socket.sendall(head.encode() + body)
        self._file = self.socket.makefile("rb")

    def head(self) -> str:
        """The status line and the headers."""
        return "".join(iter(lambda: self._file.readline().decode(), "\r\n"))

    def chunk(self) -> bytes:
        """A chunk; empty at the proper end."""
        size = int(self._file.readline(), 16)
        data = self._file.read(size)
        assert self._file.readline() == b"\r\n"
        return data

    def chunks(self) -> Iterator[bytes]:
        """The chunks that are left, up to the proper end."""
        return iter(self.chunk, b"")

    def rest(self) -> bytes:
        """Whatever comes until the connection ends."""
        return self._file.read()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()


# ---- kinds of results ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "kind", "body"),
    [
        ("'hi'", HTML, b"hi"),
        ("''", HTML, b""),
        ("'h\\u00e4h \\U0001f989'", HTML, "häh 🦉".encode()),
        ("type('S', (str,), {})('sub')", HTML, b"sub"),
        ("b'\\x00\\xff'", OCTETS, b"\x00\xff"),
        ("b''", OCTETS, b""),
        ("bytearray(b'ab')", OCTETS, b"ab"),
        ("memoryview(b'abc')[1:]", OCTETS, b"bc"),
        ("{'b': 1, 'a': [1, None]}", JSON, b'{"b":1,"a":[1,null]}\n'),
        ("{}", JSON, b"{}\n"),
        ("[]", JSON, b"[]\n"),
        ("['\\u00fc', 201]", JSON, b'["\\u00fc",201]\n'),
        ("[{'X': '1'}, {'Y': '2'}]", JSON, b'[{"X":"1"},{"Y":"2"}]\n'),
        ("__import__('collections').OrderedDict(a=1)", JSON, b'{"a":1}\n'),
        ("3", HTML, b"3"),
        ("-2.5", HTML, b"-2.5"),
        ("2 ** 70", HTML, b"1180591620717411303424"),
        ("True", JSON, b"true\n"),
        ("__import__('decimal').Decimal('1.10')", HTML, b"1.10"),
        ("__import__('io').BytesIO(b'in memory')", OCTETS, b"in memory"),
    ],
)
def test_a_result_has_its_type(server: Server, expression: str, kind: str, body: bytes) -> None:
    answer = server.run(returning(expression))
    assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (200, kind, body)
    assert answer.headers["Content-Length"] == str(len(body))


def test_none_is_an_empty_answer(server: Server) -> None:
    answer = server.run(returning("None"))
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "0")


def test_json_is_as_flask_writes_it(server: Server) -> None:
    """But for the order of keys and for dates."""
    code = code_of(
        """
        import dataclasses, decimal, flask, uuid
        @dataclasses.dataclass
        class Point:
            x: int
        class Markup:
            def __html__(self): return "<b>"
        values = {
            "a": decimal.Decimal("1.10"), "b": uuid.UUID(int=7), "c": Point(1), "d": Markup(),
            "e": (1, 2), "f": 1e100, "g": "\\u2028<&>\\"", "h": {"a": 2, "b": 1},
        }
        def run():
            return values
        app = flask.Flask("x")
        def flasks():
            return app.json.response(values)
        """
    )
    answer, theirs = server.run(code), server.run(code, fn_name="flasks")
    assert theirs.status_code == 200
    assert answer.content == theirs.content
    assert answer.headers["Content-Type"] == theirs.headers["Content-Type"]


def test_numpys_numbers_are_numbers(server: Server) -> None:
    assert server.run(returning("numpy.float64(1.5)", "import numpy")).text == "1.5"
    assert server.run(returning("numpy.int32(7)", "import numpy")).text == "7"
    answer = server.run(returning("{'v': numpy.array([0.5, numpy.nan], 'f4'), 'n': numpy.bool_(1)}", "import numpy"))
    assert answer.text == '{"v":[0.5,null],"n":true}\n'


# ---- the tables of doc/adaptors.md -----------------------------------------------------------------------------------

PAGE = (ROOT / "doc/adaptors.md").read_text().partition("## What it returns\n")[2]
NAMES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
MAGIC = {
    "a PNG": b"\x89PNG",
    "a JPEG": b"\xff\xd8",
    "an SVG": b"<?xml",
    "a PDF": b"%PDF",
    "a WAV": b"RIFF",
    "nothing": b"",
}


def rows(heading: str) -> list[list[str]]:
    """The rows of the table of the page that begins with this."""
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def matches(text: str, shown: str) -> bool:
    """Whether text is what a page shows, where "..." stands for anything."""
    return bool(re.fullmatch(".*".join(map(re.escape, shown.split("..."))), text.rstrip("\r\n"), re.DOTALL))


SENT, REFUSED = rows("returned | sent as | the body"), rows("returned | the answer")


@pytest.mark.parametrize(("returned", "sent", "body"), SENT, ids=[row[0] for row in SENT])
def test_what_is_returned_is_sent_as_the_page_says(server: Server, returned: str, sent: str, body: str) -> None:
    expression, *accept = quoted(returned)
    answer = server.post(
        json={"code": NAMES + returning(expression)}, headers={"Accept": accept[0]} if accept else {"Accept": "*/*"}
    )
    status = re.match(r"\d+", sent)
    assert answer.status_code == int(status[0] if status else 200), answer.text
    assert answer.headers.get_list("Content-Type") == quoted(sent)
    if body in MAGIC:
        assert answer.content.startswith(MAGIC[body])
        assert bool(answer.content) == bool(MAGIC[body])
    else:
        assert matches(answer.text, *quoted(body)), answer.text


@pytest.mark.parametrize(("returned", "said"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_sent_is_refused_as_the_page_says(server: Server, returned: str, said: str) -> None:
    answer = server.run(NAMES + returning(*quoted(returned)))
    assert answer.status_code == 500
    assert matches(answer.text, *quoted(said)), answer.text


def test_the_page_has_its_tables() -> None:
    assert (len(SENT) > 30, len(REFUSED) > 5) == (True, True)
    assert all(len(row) == 3 for row in SENT)
    assert all(len(row) == 2 for row in REFUSED)


# ---- tuples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "status", "headers", "body"),
    [
        ("('b', 201)", 201, {"Content-Type": HTML}, b"b"),
        ("(b'b', 202)", 202, {"Content-Type": OCTETS}, b"b"),
        ("({'a': 1}, 404)", 404, {"Content-Type": JSON}, b'{"a":1}\n'),
        ("([1], 418)", 418, {"Content-Type": JSON}, b"[1]\n"),
        ("('b', {'X-A': '1'})", 200, {"X-A": "1", "Content-Type": HTML}, b"b"),
        ("('b', [('X-A', '1'), ('X-A', '2')])", 200, {"X-A": "1, 2"}, b"b"),
        ("('b', {'X-A': ['1', '2']})", 200, {"X-A": "1, 2"}, b"b"),
        ("('b', 203, {'content-type': 'text/x-b'})", 203, {"Content-Type": "text/x-b"}, b"b"),
        ("('b', 200, {'X-Number': 7})", 200, {"X-Number": "7"}, b"b"),
        ("('b', '503 Gone Fishing')", 503, {}, b"b"),
        ("('b', __import__('http').HTTPStatus.ACCEPTED)", 202, {}, b"b"),
        ("(None, 204)", 204, {}, b""),
        ("(None, {'X-A': '1'})", 200, {"X-A": "1"}, b""),
        ("(3, 201)", 201, {}, b"3"),
        ("('', 302, {'Location': '/elsewhere?a=1'})", 302, {"Location": "/elsewhere?a=1"}, b""),
        ("('b', __import__('werkzeug').datastructures.Headers({'X-A': '1'}))", 200, {"X-A": "1"}, b"b"),
        ("(iter(['a', 'b']), 201, {'X-A': '1'})", 201, {"X-A": "1", "Content-Type": HTML}, b"ab"),
    ],
)
def test_a_tuple_has_status_and_headers(
    server: Server, expression: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    answer = server.run(returning(expression))
    assert (answer.status_code, answer.content) == (status, body)
    assert {name: answer.headers[name] for name in headers} == headers


def test_an_answer_has_one_content_type(server: Server) -> None:
    answer = server.run(returning("('b', {'content-TYPE': 'text/x-b'})"))
    assert answer.headers.get_list("Content-Type") == ["text/x-b"]


def test_cookies_stay_apart(server: Server) -> None:
    answer = server.run(returning("('b', [('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2; Path=/')])"))
    assert answer.headers.get_list("Set-Cookie") == ["a=1", "b=2; Path=/"]


@pytest.mark.parametrize("status", [204, 304])
def test_a_connection_goes_on_after_an_answer_without_a_body(server: Server, status: int) -> None:
    client = server.client(limits=httpx.Limits(max_connections=1))
    for _ in range(3):
        answer = client.post("/", json={"code": returning(f"('no body', {status})")})
        assert (answer.status_code, answer.content) == (status, b"")


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("object()", "object"),
        ("object", "the class object"),
        ("('a', 200, {}, 'b')", "tuple"),
        ("('a',)", "tuple"),
        ("(('a', 201), 202)", "tuple"),
        ("('a', 99)", "99"),
        ("('a', 1000)", "1000"),
        ("('a', 'nonsense')", "nonsense"),
        ("('a', 200, 5)", "headers"),
        ("(object(), 200)", "object"),
        ("{'a': object()}", "object"),
        ("[{object()}]", "answer[0]["),
    ],
)
def test_what_cannot_be_sent_is_a_500_that_names_it(server: Server, expression: str, word: str) -> None:
    answer = server.run(returning(expression))
    assert answer.status_code == 500
    assert word in answer.text


def test_a_lone_surrogate_is_a_500(server: Server) -> None:
    answer = server.run(returning("'\\ud800'"))
    assert answer.status_code == 500
    assert "surrogate" in answer.text


@pytest.mark.parametrize(
    "expression",
    [
        "('b', {'X-A': 'a\\r\\nX-Injected: b'})",
        "('b', {'X-A': 'a\\nX-Injected: b'})",
        "('b', {'X-A': 'a\\x00'})",
        "('b', {'X-A\\r\\nX-Injected': 'b'})",
        "('b', {'X-Injected: b': 'c'})",
        "('b', {'X Injected': 'c'})",
        "('b', {'': 'c'})",
        "(iter(['b']), {'X-A': 'a\\r\\nX-Injected: b'})",
        "(__import__('pathlib').Path('/etc/passwd'), {'X-A': 'a\\nX-Injected: b'})",
        "('b', {'Content-Type': 'text/plain\\r\\nX-Injected: b'})",
    ],
)
def test_a_header_cannot_be_injected(server: Server, expression: str) -> None:
    with Reader(server, returning(expression)) as reader:
        answer = reader.rest()
    head = answer.partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"\nX-Injected" not in head
    assert b"header" in answer


# ---- responses and applications --------------------------------------------------------------------------------------


def test_a_werkzeug_response_is_sent(server: Server) -> None:
    response = "werkzeug.Response('b', 201, {'X-A': '1'}, mimetype='text/x-b')"
    answer = server.run(returning(response, "import werkzeug"))
    assert (answer.status_code, answer.text, answer.headers["X-A"]) == (201, "b", "1")
    assert answer.headers["Content-Type"] == "text/x-b; charset=utf-8"
    assert answer.headers["Content-Length"] == "1"


def test_a_flask_response_is_sent(server: Server) -> None:
    code = code_of(
        """
        from flask import make_response
        def run(_):
            response = make_response({"a": 1}, 201)
            response.set_cookie("c", "1")
            response.set_cookie("d", "2")
            return response
        """
    )
    answer = server.run(code)
    assert (answer.status_code, answer.json()) == (201, {"a": 1})
    assert [cookie.partition(";")[0] for cookie in answer.headers.get_list("Set-Cookie")] == ["c=1", "d=2"]


def test_a_response_takes_status_and_headers_from_a_tuple(server: Server) -> None:
    answer = server.run(returning("(werkzeug.Response('b', 201), 202, {'X-A': '1'})", "import werkzeug"))
    assert (answer.status_code, answer.text, answer.headers["X-A"]) == (202, "b", "1")


def test_a_redirect_is_sent(server: Server) -> None:
    answer = server.run(returning("redirect('/there')", "from flask import redirect"))
    assert (answer.status_code, answer.headers["Location"]) == (302, "/there")


def test_a_response_streams(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = code_of(
        """
        from werkzeug import Response
        def run(gate):
            def chunks():
                yield "one"
                pause(gate)
                yield "two"
            return Response(chunks(), 201, {"X-A": "1"}, mimetype="text/x-b")
        """
    )
    with Reader(server, code + PAUSE, gate=str(gate)) as reader:
        head = reader.head()
        assert head.startswith("HTTP/1.1 201 ")
        assert "X-A: 1\r\n" in head
        assert reader.chunk() == b"one"
        gate.open()
        assert list(reader.chunks()) == [b"two"]


def test_a_response_that_was_called_on_close_is_closed(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "closed"
    code = code_of(
        f"""
        import pathlib, werkzeug
        def run():
            response = werkzeug.Response(iter(["a", "b"]))
            response.call_on_close(pathlib.Path({str(file)!r}).touch)
            return response
        """
    )
    assert server.run(code).text == "ab"
    wait_until(file.exists, "the response to be closed")


def test_a_wsgi_callable_is_called(server: Server) -> None:
    code = code_of(
        """
        def application(environ, start_response):
            start_response("202 Accepted", [("Content-Type", "text/x-b"), ("X-A", environ["PATH_INFO"])])
            return [b"a", environ["wsgi.input"].read()[:1]]
        def run(_): return application
        """
    )
    answer = server.run(code, "/p")
    assert (answer.status_code, answer.text, answer.headers["X-A"]) == (202, "a{", "/p")
    assert answer.headers["Content-Type"] == "text/x-b"


def test_a_wsgi_callable_s_write_comes_first(server: Server) -> None:
    code = code_of(
        """
        def application(environ, start_response):
            write = start_response("200 OK", [("Content-Type", "text/x-b")])
            write(b"a")
            return [b"b"]
        def run(_): return application
        """
    )
    assert server.run(code).text == "ab"


def test_a_wsgi_callable_streams_and_is_closed(server: Server, tmp_path: Path) -> None:
    gate, closed = Gate(tmp_path), tmp_path / "closed"
    code = code_of(
        f"""
        import pathlib
        class Chunks:
            def __init__(self, chunks): self.chunks = chunks
            def __iter__(self): return iter(self.chunks)
            def close(self): pathlib.Path({str(closed)!r}).touch()
        def chunks():
            yield b"one"
            pause({str(gate)!r})
            yield b"two"
        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/x-b")])
            return Chunks(chunks())
        def run(_): return application
        """
    )
    with Reader(server, code + PAUSE) as reader:
        reader.head()
        assert reader.chunk() == b"one"
        assert not closed.exists()
        gate.open()
        assert list(reader.chunks()) == [b"two"]
    wait_until(closed.exists, "the application's iterable to be closed")


def test_a_flask_application_is_served(server: Server) -> None:
    code = code_of(
        """
        from flask import Flask, jsonify, request
        app = Flask(__name__)
        @app.route("/items/<int:n>", methods=["POST"])
        def item(n): return jsonify(n=n, q=request.args.get("q"))
        def run(_): return app
        """
    )
    assert server.run(code, "/items/7?q=1").json() == {"n": 7, "q": "1"}
    assert server.run(code, "/nowhere").status_code == 404


# ---- streams ---------------------------------------------------------------------------------------------------------

IN_TWO = 'yield "one"\npause(gate)\nyield "two"\n'


@both
@pytest.mark.parametrize("path", ["/", "/proxied/"])
def test_each_chunk_is_seen_before_the_next_is_made(
    server: Server, generator: Generator, path: str, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    with Reader(server, generator(IN_TWO), path, gate=str(gate)) as reader:
        assert "Transfer-Encoding: chunked\r\n" in reader.head()
        assert reader.chunk() == b"one"
        gate.wait_reached()
        gate.open()
        assert list(reader.chunks()) == [b"two"]


@both
def test_each_chunk_is_seen_through_gzip(server: Server, generator: Generator, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    fields = {"code": generator(IN_TWO), "gate": str(gate)}
    with server.client().stream("POST", "/zipped/", json=fields, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        text = answer.iter_text()
        assert next(part for part in text if part) == "one"
        gate.open()
        assert "".join(text) == "two"


@both
def test_each_chunk_is_seen_over_http_2(server: Server, generator: Generator, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    fields = {"code": generator(IN_TWO), "gate": str(gate)}
    client = server.client(f"http://127.0.0.1:{server.port_of('port3')}", http1=False, http2=True)
    with client.stream("POST", "/", json=fields) as answer:
        assert answer.http_version == "HTTP/2"
        text = answer.iter_text()
        assert next(part for part in text if part) == "one"
        gate.open()
        assert "".join(text) == "two"


@both
def test_a_chunk_goes_out_as_it_was_yielded(server: Server, generator: Generator, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    body = 'for chunk in (b"\\x00\\xff", b"", "\\u00e4", bytearray(b"c"), memoryview(b"d")):\n    yield chunk\n'
    answer = server.run(generator(body), gate=str(gate))
    assert answer.content == b"\x00\xff\xc3\xa4cd"


@both
@pytest.mark.parametrize(("first", "kind"), [("'a'", HTML), ("b'a'", OCTETS), ("''", HTML), ("b''", OCTETS)])
def test_the_first_chunk_decides_about_the_type(server: Server, generator: Generator, first: str, kind: str) -> None:
    answer = server.run(generator(f"yield {first}\nyield b'b'\n"))
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert "Content-Length" not in answer.headers
    assert answer.text.endswith("b")


@both
def test_an_empty_stream_is_an_empty_answer(server: Server, generator: Generator) -> None:
    answer = server.run(generator("return\nyield\n"))
    assert (answer.status_code, answer.content) == (200, b"")


@both
def test_many_chunks_come_in_their_order(server: Server, generator: Generator) -> None:
    answer = server.run(generator("for i in range(20_000):\n    yield f'{i} '\n"))
    assert answer.text == "".join(f"{i} " for i in range(20_000))


@both
def test_large_chunks_come_whole(server: Server, generator: Generator) -> None:
    answer = server.run(generator("for i in range(10):\n    yield bytes([i]) * 1_000_003\n"))
    assert answer.content == b"".join(bytes([i]) * 1_000_003 for i in range(10))


def test_any_iterator_streams(server: Server) -> None:
    assert server.run(returning("map(str, range(5))")).text == "01234"
    assert server.run(returning("iter([b'a', b'b'])")).headers["Content-Type"] == OCTETS


def test_a_generator_within_a_tuple_streams_with_its_headers(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = "def run(gate):\n    def chunks():\n        yield 'data: 1\\n\\n'\n        pause(gate)\n    return chunks(), 203, {'Content-Type': 'text/event-stream', 'X-A': '1'}\n"
    with Reader(server, code + PAUSE, gate=str(gate)) as reader:
        head = reader.head()
        assert head.startswith("HTTP/1.1 203 ")
        assert "Content-Type: text/event-stream\r\n" in head
        assert "X-A: 1\r\n" in head
        assert reader.chunk() == b"data: 1\n\n"
        gate.open()
        assert reader.chunk() == b""


def test_a_coroutine_may_return_a_generator(server: Server) -> None:
    code = "async def run():\n    async def chunks():\n        yield 'a'\n        yield 'b'\n    return chunks(), 201\n"
    answer = server.run(code)
    assert (answer.status_code, answer.text) == (201, "ab")


def test_http_1_0_gets_a_stream_until_the_end(server: Server) -> None:
    done = server.curl("/", "-0", "-i", "--json", json.dumps({"code": sync("yield 'a'\nyield 'b'\n")}))
    head, _, body = done.stdout.partition("\n\n")
    assert done.returncode == 0
    assert "chunked" not in head
    assert body == "ab"


def test_a_connection_goes_on_after_a_stream(server: Server) -> None:
    client = server.client(limits=httpx.Limits(max_connections=1))
    assert [client.post("/", json={"code": sync(f"yield '{n}'\n")}).text for n in range(3)] == ["0", "1", "2"]


@both
def test_a_stream_may_have_a_length(server: Server, generator: Generator, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = code_of(
        """
        def chunks(gate):
            yield b"one"
            pause(gate)
            yield b"two"
        def run(gate): return chunks(gate), {"Content-Length": "6", "Content-Type": "text/plain"}
        """
    )
    if generator is asynchronous:
        code = code.replace("def chunks", "import asyncio\nasync def chunks").replace(
            "pause(gate)", "await asyncio.to_thread(pause, gate)"
        )
    with Reader(server, code + PAUSE, gate=str(gate)) as reader:
        head = reader.head()
        assert "Content-Length: 6\r\n" in head
        assert "chunked" not in head
        assert reader._file.read(3) == b"one"
        gate.open()
        assert reader.rest() == b"two"


def test_a_response_s_stream_may_have_a_length(server: Server) -> None:
    code = returning(
        "Response(iter([b'one', b'two']), headers={'Content-Length': '6'})", "from werkzeug import Response"
    )
    answer = server.run(code)
    assert answer.headers["Content-Length"] == "6"
    assert answer.content == b"onetwo"


def test_a_stream_shorter_than_its_length_is_seen_to_fail(server: Server) -> None:
    code = returning("(iter([b'one']), {'Content-Length': '6'})")
    assert server.curl("/", "--json", json.dumps({"code": code})).returncode == 18


def test_what_is_longer_than_its_length_is_not_taken_for_the_next_answer(server: Server) -> None:
    code = returning("(iter([b'one', b'HTTP/1.1 200 OK']), {'Content-Length': '3'})")
    client = server.client(limits=httpx.Limits(max_connections=1))
    with pytest.raises(httpx.HTTPError):
        assert client.post("/", json={"code": code}).content == b"one"
        raise httpx.HTTPError("as good as any end")
    assert client.post("/", json={"code": returning("'next'")}).text == "next"


@pytest.mark.parametrize("name", ["Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade"])
def test_headers_of_the_connection_are_nginxs(server: Server, name: str) -> None:
    client = server.client(limits=httpx.Limits(max_connections=1))
    for expression in (f"('b', {{'{name}': 'close'}})", f"(iter(['b']), {{'{name}': 'close'}})"):
        answer = client.post("/", json={"code": returning(expression)})
        assert answer.text == "b"
        assert answer.headers.get(name) != "close"


@both
def test_each_line_of_json_is_seen_before_the_next_is_made(
    server: Server, generator: Generator, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    code = generator('yield {"n": 1}\npause(gate)\nyield {"n": float("nan")}\n')
    with Reader(server, code, gate=str(gate)) as reader:
        assert "Content-Type: application/x-ndjson\r\n" in reader.head()
        assert reader.chunk() == b'{"n":1}\n'
        gate.wait_reached()
        gate.open()
        assert list(reader.chunks()) == [b'{"n":null}\n']


@both
def test_each_picture_is_seen_before_the_next_is_made(server: Server, generator: Generator, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = generator(
        'from PIL import Image\nyield Image.new("RGB", (2, 2), "red")\npause(gate)\nyield Image.new("L", (2, 2))\n'
    )
    with Reader(server, code, gate=str(gate)) as reader:
        assert "Content-Type: multipart/x-mixed-replace; boundary=frame\r\n" in reader.head()
        first = reader.chunk()
        assert first.startswith(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8")
        gate.wait_reached()
        gate.open()
        rest = b"".join(reader.chunks())
        assert rest.startswith(b"\xff\xd8")
        assert rest.endswith(b"\r\n--frame--\r\n")
        assert rest.count(b"--frame") == 2


# ---- streams that fail -----------------------------------------------------------------------------------------------


@both
def test_a_generator_that_fails_before_its_first_chunk_is_a_500(server: Server, generator: Generator) -> None:
    answer = server.run(generator("x = 1\nraise KeyError('early')\nyield x\n"))
    assert answer.status_code == 500
    assert "KeyError: 'early'" in answer.text
    assert "in run" in answer.text
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@both
def test_a_generator_that_fails_later_aborts(server: Server, generator: Generator, tmp_path: Path) -> None:
    code = generator("yield 'one'\nyield 'two'\nraise KeyError('late')\n")
    done = server.curl("/", "--json", json.dumps({"code": code}))
    assert (done.returncode, done.stdout) == (18, "onetwo")
    server.wait_log(r"\[error\].*KeyError: 'late'")


@both
def test_a_generator_that_fails_later_resets_its_http_2_stream(
    server: Server, generator: Generator, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    fields = {"code": generator("yield 'one'\npause(gate)\nraise KeyError('late')\n"), "gate": str(gate)}
    client = server.client(f"http://127.0.0.1:{server.port_of('port3')}", http1=False, http2=True)
    with client.stream("POST", "/", json=fields) as answer:
        chunks = answer.iter_raw()
        assert next(chunks) == b"one"
        gate.open()
        with pytest.raises(httpx.RemoteProtocolError, match="StreamReset"):
            list(chunks)
    assert client.post("/", json={"code": returning("'the connection goes on'")}).text == "the connection goes on"


@both
def test_a_generator_that_fails_later_aborts_through_a_proxy(server: Server, generator: Generator) -> None:
    done = server.curl("/proxied/", "--json", json.dumps({"code": generator("yield 'one'\nraise KeyError('late')\n")}))
    assert (done.returncode, done.stdout) == (18, "one")


@both
@pytest.mark.parametrize("exit", ["raise SystemExit(1)", "raise KeyboardInterrupt", "raise GeneratorExit"])
def test_an_exit_in_a_stream_aborts_it_alone(server: Server, generator: Generator, exit: str) -> None:
    before = server.workers()
    done = server.curl("/", "--json", json.dumps({"code": generator(f"yield 'one'\n{exit}\n")}))
    assert (done.returncode, done.stdout) == (18, "one")
    assert server.workers() == before


@both
def test_an_event_stream_that_fails_says_so_in_an_event(server: Server, generator: Generator) -> None:
    code = generator("yield 'data: 1\\n\\n'\nraise KeyError('late')\n").replace("def run(", "def chunks(")
    code += "\ndef run(request): return chunks(request), {'Content-Type': 'text/event-stream'}\n"
    done = server.curl("/", "--json", json.dumps({"code": code}))
    assert done.returncode == 18
    first, event, rest = done.stdout.split("\n\n", 2)
    assert first == "data: 1"
    assert event.startswith("event: error\ndata: ")
    assert "late" in event
    assert rest == ""


@both
def test_what_a_stream_cannot_send_fails_as_it_should(server: Server, generator: Generator) -> None:
    early = server.run(generator("yield 3\n"))
    assert early.status_code == 500
    assert "int" in early.text
    done = server.curl("/", "--json", json.dumps({"code": generator("yield 'one'\nyield {}\n")}))
    assert (done.returncode, done.stdout) == (18, "one")
    server.wait_log(r"\[error\].*run yielded a dict \(line \d+, in run\), after text or bytes")


def test_the_server_is_well_after_failed_streams(server: Server) -> None:
    code = sync("yield 'one'\nraise KeyError('late')\n")
    for _ in range(30):  # more than there are threads
        assert server.curl("/", "--json", json.dumps({"code": code})).returncode == 18
    assert server.run(returning("'well'")).text == "well"


# ---- backpressure ----------------------------------------------------------------------------------------------------

CHUNK, CHUNKS = 32 << 10, 512
COUNTING = f"""
made, closed = 0, False
def run(request):
    global made, closed
    try:
        for n in range({CHUNKS}):
            made += 1
            yield n.to_bytes(4, "big") * {CHUNK // 4}
    finally:
        closed = True
def look(): return [made, closed]
"""


def settled(look: Callable[[], int]) -> int:
    """What look returns once it has stayed the same for a while: there is no event that says that nothing happens."""
    import time

    last, since = look(), time.monotonic()
    while time.monotonic() < since + 0.3:
        time.sleep(0.02)
        now = look()
        if now != last:
            last, since = now, time.monotonic()
    return last


@pytest.mark.parametrize("prefix", ["", "async "])
def test_a_generator_waits_for_a_client_that_does_not_read(server: Server, prefix: str) -> None:
    code = COUNTING.replace("def run", f"{prefix}def run")
    with Reader(server, code, port=server.port_of("port2"), receive=32 << 10) as reader:
        wait_until(lambda: server.run(code, fn_name="look").json()[0] > 0, "the stream to begin")
        made = settled(lambda: server.run(code, fn_name="look").json()[0])
        # owt_stream_buffer, and as much again for the buffers of the sockets and one chunk over.
        assert CHUNK * made <= (128 << 10) * 2 + 4 * CHUNK
        reader.head()
        assert b"".join(reader.chunks()) == b"".join(n.to_bytes(4, "big") * (CHUNK // 4) for n in range(CHUNKS))
    assert server.run(code, fn_name="look").json() == [CHUNKS, True]


def test_one_slow_client_holds_up_no_other(server: Server) -> None:
    with Reader(server, COUNTING + "# slow", port=server.port_of("port2"), receive=32 << 10):
        assert len(server.post(json={"code": COUNTING + "# fast"}).content) == CHUNK * CHUNKS


@pytest.mark.parametrize("prefix", ["", "async "])
def test_a_generator_whose_client_leaves_is_closed(server: Server, prefix: str) -> None:
    code = COUNTING.replace("def run", f"{prefix}def run") + "# left"
    with Reader(server, code, port=server.port_of("port2"), receive=32 << 10) as reader:
        reader.head()
        reader.chunk()
    made, _ = wait_until(lambda: (seen := server.run(code, fn_name="look").json())[1] and seen, "the generator's end")
    assert made < CHUNKS


def test_a_large_answer_waits_for_a_slow_client(server: Server) -> None:
    code = "def run(request): return b''.join(n.to_bytes(4, 'big') for n in range(1 << 20))"
    with Reader(server, code, port=server.port_of("port2"), receive=32 << 10) as reader:
        assert "Content-Length: 4194304\r\n" in reader.head()
        assert reader.rest() == b"".join(n.to_bytes(4, "big") for n in range(1 << 20))


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "digits.txt"
    path.write_bytes(b"0123456789")
    return path


def path_of(file: Path) -> str:
    return returning(f"pathlib.Path({str(file)!r})", "import pathlib")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "text/plain"),
        ("a.html", "text/html"),
        ("a.JSON", "application/json"),
        ("a.png", "image/png"),
        ("a.tar.gz", "application/octet-stream"),
        ("a", "text/plain"),
        ("ü b.svg", "image/svg+xml"),
    ],
)
def test_a_path_is_sent_with_the_type_of_its_name(server: Server, tmp_path: Path, name: str, kind: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"contents")
    answer = server.run(path_of(file))
    assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"contents", "8")
    expected = {"a": None, "a.tar.gz": None}.get(name, kind)  # whatever default_type says
    assert expected is None or answer.headers["Content-Type"].partition(";")[0] == expected


@pytest.mark.parametrize("how", ["'rb'", "'r'", "'r+b'", "'rb', buffering=0"])
def test_an_open_file_is_sent(server: Server, file: Path, how: str) -> None:
    answer = server.run(returning(f"open({str(file)!r}, {how})"))
    assert (answer.content, answer.headers["Content-Type"]) == (b"0123456789", "text/plain")
    assert "ETag" in answer.headers


def test_an_open_file_that_was_written_is_sent_from_its_start(server: Server) -> None:
    code = code_of(
        """
        import tempfile
        def run():
            file = tempfile.TemporaryFile()
            file.write(b"written")
            return file
        """
    )
    assert server.run(code).content == b"written"


@pytest.mark.parametrize("kind", ["NamedTemporaryFile", "SpooledTemporaryFile", "TemporaryFile"])
def test_a_temporary_file_is_sent_though_it_is_gone(server: Server, kind: str) -> None:
    code = f"import tempfile\ndef run():\n    file = tempfile.{kind}()\n    file.write(b'x' * 3_000_000)\n    return file\n"
    assert server.run(code).content == b"x" * 3_000_000


def test_a_path_is_sent_though_it_is_removed_at_once(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "gone"
    code = f"import pathlib\ndef run():\n    p = pathlib.Path({str(file)!r})\n    p.write_text('contents')\n    f = p.open()\n    p.unlink()\n    return f\n"
    assert server.run(code).text == "contents"


@pytest.mark.parametrize(
    ("ranges", "body", "content_range"),
    [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
    ],
)
@pytest.mark.parametrize("form", ["path", "open"])
def test_a_range_of_a_file_is_sent(
    server: Server, file: Path, ranges: str, body: bytes, content_range: str, form: str
) -> None:
    code = path_of(file) if form == "path" else returning(f"open({str(file)!r}, 'rb')")
    answer = server.post(json={"code": code}, headers={"Range": ranges})
    assert (answer.status_code, answer.content) == (206, body)
    assert answer.headers["Content-Range"] == content_range


def test_several_ranges_of_a_file_are_sent(server: Server, file: Path) -> None:
    answer = server.post(json={"code": path_of(file)}, headers={"Range": "bytes=0-1,8-9"})
    assert answer.status_code == 206
    assert answer.headers["Content-Type"].startswith("multipart/byteranges")
    assert b"\r\n\r\n01\r\n" in answer.content
    assert b"\r\n\r\n89\r\n" in answer.content


def test_a_range_beyond_the_end_is_a_416(server: Server, file: Path) -> None:
    answer = server.post(json={"code": path_of(file)}, headers={"Range": "bytes=10-"})
    assert answer.status_code == 416
    assert answer.headers["Content-Range"] == "bytes */10"


def test_a_file_has_validators(server: Server, file: Path) -> None:
    answer = server.run(path_of(file))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"].strip('"')
    assert answer.headers["Last-Modified"].endswith("GMT")


def test_a_file_that_the_client_has_is_a_304(server: Server, file: Path) -> None:
    fields = {"code": path_of(file)}
    first = server.get(params=fields)
    for name, value in (
        ("If-None-Match", first.headers["ETag"]),
        ("If-Modified-Since", first.headers["Last-Modified"]),
    ):
        again = server.get(params=fields, headers={name: value})
        assert (again.status_code, again.content) == (304, b""), name
    file.write_bytes(b"changed contents")
    for name, value in [("If-Match", '"other"'), ("If-Unmodified-Since", "Mon, 28 Sep 1970 06:00:00 GMT")]:
        answer = server.get(params=fields, headers={name: value})
        assert (answer.status_code, answer.headers["Connection"]) == (412, "close")  # as it is: nginx ends it
    assert server.get(params=fields, headers={"If-None-Match": first.headers["ETag"]}).text == "changed contents"


def test_a_range_of_a_file_that_has_changed_is_the_whole(server: Server, file: Path) -> None:
    code = path_of(file)
    etag = server.run(code).headers["ETag"]
    same = server.post(json={"code": code}, headers={"Range": "bytes=0-0", "If-Range": etag})
    other = server.post(json={"code": code}, headers={"Range": "bytes=0-0", "If-Range": '"other"'})
    assert (same.status_code, other.status_code) == (206, 200)


def test_head_of_a_file_tells_its_size(server: Server, file: Path) -> None:
    answer = server.client().head("/", params={"code": path_of(file)})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == "10"
    assert "ETag" in answer.headers


def test_a_file_takes_status_and_headers_from_a_tuple(server: Server, file: Path) -> None:
    headers = "{'Content-Type': 'text/x-b', 'Content-Disposition': 'attachment', 'ETag': '\"mine\"'}"
    answer = server.run(returning(f"(pathlib.Path({str(file)!r}), 201, {headers})", "import pathlib"))
    assert (answer.status_code, answer.content) == (201, b"0123456789")
    assert answer.headers.get_list("Content-Type") == ["text/x-b"]
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers.get_list("ETag") == ['"mine"']


def test_an_adaptors_last_modified_replaces_the_files(server: Server, file: Path) -> None:
    then = "Thu, 01 Jan 2015 00:00:00 GMT"
    answer = server.run(returning(f"(pathlib.Path({str(file)!r}), {{'Last-Modified': {then!r}}})", "import pathlib"))
    assert answer.headers.get_list("Last-Modified") == [then]


def test_an_empty_file_is_sent(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "empty.txt"
    file.touch()
    client = server.client(limits=httpx.Limits(max_connections=1))
    for _ in range(2):
        answer = client.post("/", json={"code": path_of(file)})
        assert (answer.status_code, answer.content, answer.headers["Content-Length"]) == (200, b"", "0")


def test_a_large_file_is_sent_to_a_slow_client(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "large"
    data = b"".join(n.to_bytes(4, "big") for n in range(1 << 20))
    file.write_bytes(data)
    with Reader(server, path_of(file), port=server.port_of("port2"), receive=32 << 10) as reader:
        reader.head()
        assert reader.rest() == data


def test_files_are_closed_afterwards(server: Server, file: Path) -> None:
    code = f"import os, pathlib\ndef run(): return pathlib.Path({str(file)!r})\ndef count(): return str(len(os.listdir('/proc/self/fd')))\n"
    server.run(code)
    before = server.run(code, fn_name="count").text
    for _ in range(20):
        server.run(code)
        server.get(params={"code": code}, headers={"If-None-Match": server.run(code).headers["ETag"]})
    assert server.run(code, fn_name="count").text == before


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("pathlib.Path('/no/such/file')", "no such file is there"),
        ("pathlib.Path('/tmp')", "directory"),
        ("pathlib.Path('/dev/zero')", "regular"),
    ],
)
def test_what_is_no_file_is_a_500_that_says_so(server: Server, expression: str, word: str) -> None:
    answer = server.run(returning(expression, "import pathlib"))
    assert answer.status_code == 500
    assert word in answer.text


def test_a_fifo_holds_up_nobody(server: Server, tmp_path: Path) -> None:
    code = f"import os, pathlib\ndef run():\n    os.mkfifo({str(tmp_path / 'fifo')!r})\n    return pathlib.Path({str(tmp_path / 'fifo')!r})\n"
    assert server.run(code).status_code == 500


# ---- rich objects ----------------------------------------------------------------------------------------------------

FIGURE = """
from matplotlib.figure import Figure
def run():
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([1, 2])
    return figure
"""
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    ("accept", "kind", "start"),
    [
        ("*/*", "image/png", PNG),
        ("image/png", "image/png", PNG),
        ("image/svg+xml", "image/svg+xml", b"<?xml"),
        ("image/svg+xml, image/png;q=0.5", "image/svg+xml", b"<?xml"),
        ("image/avif,image/webp,image/apng,image/*,*/*;q=0.8", "image/png", PNG),
        ("text/csv", "image/png", PNG),
    ],
)
def test_a_figure_is_an_image(server: Server, accept: str, kind: str, start: bytes) -> None:
    answer = server.post(json={"code": FIGURE}, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].partition(";")[0] == kind
    assert answer.content.startswith(start)
    assert "Accept" in answer.headers["Vary"]


def test_a_figure_of_pyplots_is_let_go(server: Server) -> None:
    code = code_of(
        """
        import matplotlib
        matplotlib.use("agg")
        import matplotlib.pyplot as plt
        def run():
            plt.figure(figsize=(1, 1))
            plt.plot([1, 2])
            return plt.gcf()
        def count(): return str(len(plt.get_fignums()))
        """
    )
    assert server.run(code).content.startswith(PNG)
    assert server.run(code, fn_name="count").text == "0"


def test_a_pil_image_is_a_png(server: Server) -> None:
    answer = server.run(returning("Image.new('RGB', (3, 2), 'red')", "from PIL import Image"))
    assert answer.headers["Content-Type"] == "image/png"
    from PIL import Image

    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.size, image.getpixel((0, 0))) == ((3, 2), (255, 0, 0))


SHOWN = """
class Shown:
    def _repr_html_(self): return "<b>\\u00e9</b>"
    def _repr_png_(self): return b"png"
    def _repr_svg_(self): return "<svg/>"
    def _repr_json_(self): return {"a": 1}
"""


@pytest.mark.parametrize(
    ("accept", "kind", "body"),
    [
        ("text/html,application/xhtml+xml", "text/html; charset=utf-8", "<b>é</b>".encode()),
        ("image/png", "image/png", b"png"),
        ("image/svg+xml", "image/svg+xml; charset=utf-8", b"<svg/>"),
        ("application/json", "application/json", b'{"a":1}\n'),
        ("text/html;q=0.1, application/json;q=0.2", "application/json", b'{"a":1}\n'),
    ],
)
def test_an_object_is_shown_as_the_client_likes_it(server: Server, accept: str, kind: str, body: bytes) -> None:
    answer = server.post(json={"code": returning("Shown()", SHOWN)}, headers={"Accept": accept})
    assert (answer.headers["Content-Type"], answer.content) == (kind, body)


def test_an_object_with_one_form_is_shown_in_it(server: Server) -> None:
    code = "class Table:\n    def _repr_html_(self): return '<table>'\ndef run(): return Table(), 201, {'X-A': '1'}\n"
    answer = server.post(json={"code": code}, headers={"Accept": "image/png"})
    assert (answer.status_code, answer.text, answer.headers["X-A"]) == (201, "<table>", "1")
    assert answer.headers["Content-Type"] == HTML


def test_an_object_may_have_nothing_to_show(server: Server) -> None:
    code = "class Shy:\n    def _repr_png_(self): return None\n    def _repr_html_(self): return '<p>'\ndef run(): return Shy()\n"
    assert server.run(code).text == "<p>"


def test_an_object_that_fails_to_show_itself_is_a_500(server: Server) -> None:
    code = "class Broken:\n    def _repr_html_(self): return 1 / 0\ndef run(): return Broken()\n"
    answer = server.run(code)
    assert answer.status_code == 500
    assert "ZeroDivisionError" in answer.text


# ---- every answer ----------------------------------------------------------------------------------------------------


def timing(answer: httpx.Response) -> dict[str, float]:
    found = re.fullmatch(
        r"queue;dur=(\d+(?:\.\d+)?), load;dur=(\d+(?:\.\d+)?), run;dur=(\d+(?:\.\d+)?)", answer.headers["Server-Timing"]
    )
    assert found, answer.headers["Server-Timing"]
    return dict(zip(("queue", "load", "run"), map(float, found.groups()), strict=True))


@pytest.mark.parametrize(
    "code",
    [
        returning("'text'"),
        returning("b'bytes', 404"),
        returning("None"),
        returning("None, 204"),
        returning("iter(['a'])"),
        returning("__import__('pathlib').Path('/etc/passwd')"),
        returning("__import__('werkzeug').Response('a')"),
        returning("1 / 0"),
        returning("object()"),
        "async def run(): return 'a'",
        "def run(:",
        "def other(): pass",
    ],
)
def test_every_answer_tells_where_its_time_went(server: Server, code: str) -> None:
    assert all(duration >= 0 for duration in timing(server.run(code)).values())


def test_a_refusal_tells_where_its_time_went(server: Server) -> None:
    timing(server.post(json={"code_b64": "$"}))
    timing(server.post(json={"code_id": "sha256:" + "0" * 64}))
    timing(server.get())


def test_load_and_run_are_told_apart(server: Server) -> None:
    code = "import time\ntime.sleep(0.4)\ndef run():\n    time.sleep(0.05)\n    return ''\n"
    first, second = timing(server.run(code)), timing(server.run(code))
    assert first["load"] >= 400
    assert 50 <= first["run"] < 400
    assert second["load"] == 0
    assert second["run"] >= 50


def test_run_is_told_up_to_the_head(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with Reader(server, sync(IN_TWO), gate=str(gate)) as reader:
        assert "run;dur=" in reader.head()  # which is there while the generator waits
        gate.open()


@both
def test_head_of_a_stream_has_no_body(server: Server, generator: Generator) -> None:
    client = server.client(limits=httpx.Limits(max_connections=1))
    for _ in range(2):
        answer = client.head("/", params={"code": generator("yield 'a'\nyield 'b'\n")})
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Content-Type"] == HTML


@both
def test_head_of_a_stream_closes_it(server: Server, generator: Generator, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    body = f"try:\n    for _ in range(1000): yield 'x' * 100_000\nfinally:\n    open({str(closed)!r}, 'w').close()\n"
    assert server.client().head("/", params={"code": generator(body)}).status_code == 200
    wait_until(closed.exists, "the generator's end")


@pytest.mark.parametrize("expression", ["'text'", "1 / 0", "object()", "(None, 204)", "('x', 404)"])
def test_head_has_the_headers_of_get(server: Server, expression: str) -> None:
    params = {"code": returning(expression)}
    got, head = server.get(params=params), server.client().head("/", params=params)
    assert (head.status_code, head.content) == (got.status_code, b"")
    for name in ("Content-Type", "Content-Length"):
        assert head.headers.get(name) == got.headers.get(name)


def test_a_date_and_a_server_are_sent_once(server: Server) -> None:
    date = "Thu, 01 Jan 2015 00:00:00 GMT"
    answer = server.run(returning(f"('b', {{'Date': {date!r}, 'Server': 'mine'}})"))
    assert answer.headers.get_list("Date") == [date]
    assert answer.headers.get_list("Server") == ["mine"]


def test_concurrent_answers_stay_apart(server: Server) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def ask(n: int) -> bool:
        with httpx.Client(base_url=server.url) as client:
            answers = [
                client.post("/", json={"code": "def run(n): return f'{n},' * 5000", "n": f"{n}.{i}"}) for i in range(20)
            ]
        return all(answer.text == f"{n}.{i}," * 5000 for i, answer in enumerate(answers))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))


@pytest.mark.parametrize("kind", ["owt.Cancelled", "GeneratorExit", "SystemExit"])
def test_a_stream_that_says_it_is_cancelled_ends(server: Server, kind: str) -> None:
    answer = Asking(server, f"import owt\ndef run():\n    yield 'begun'\n    raise {kind}\n").answer()
    assert (answer.text, answer.whole) == ("begun", False)
