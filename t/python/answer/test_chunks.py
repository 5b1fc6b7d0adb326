"""What is yielded: the first item decides what a stream is."""

import re

import pytest

MADE = """
import asyncio, dataclasses, io
import numpy as np
from PIL import Image
@dataclasses.dataclass
class Point:
    x: object
def image(mode="RGB", colour=0): return Image.new(mode, (2, 2), colour)
def rows(dtype="uint8"): return np.zeros((2, 2, 3), dtype)
"""
HTML, OCTETS, LINES = "text/html; charset=utf-8", "application/octet-stream", "application/x-ndjson"
EVENTS, JSON = "text/event-stream", "application/json"


@pytest.fixture(params=["def", "async def"])
def yielded(request, call):
    """Runs a generator, plain or asynchronous, that yields these expressions, and returns the call."""

    def run(*expressions, headers=None):
        body = "".join(f"    yield {expression}\n" for expression in expressions) or "    return\n    yield\n"
        wrapped = "chunks()" if headers is None else f"chunks(), {headers!r}"
        return call(f"{MADE}\n{request.param} chunks():\n{body}\ndef run(): return {wrapped}\n")

    return run


@pytest.mark.parametrize(
    ("items", "kind", "chunks"),
    [
        (["'a'", "b'b'", "'é'"], HTML, ["a", b"b", "é".encode()]),
        (["b'a'", "bytearray(b'b')", "'c'"], OCTETS, [b"a", b"b", "c"]),
        (["{'b': 1, 'a': np.nan}", "{}"], LINES, ['{"b":1,"a":null}\n', "{}\n"]),
        (["Point(np.int8(1))", "[2]", "(3, 4)"], LINES, ['{"x":1}\n', "[2]\n", "[3,4]\n"]),
        (["np.arange(2)", "{1}"], LINES, ["[0,1]\n", "[1]\n"]),
    ],
)
def test_kinds(yielded, items, kind, chunks):
    done = yielded(*items)
    assert (done.headers, done.chunks, done.ended) == ({"Content-Type": kind}, chunks, "finished")


@pytest.mark.parametrize(
    ("kind", "items", "text"),
    [
        (EVENTS, ["{'a': 1}", "Point(2)"], 'data: {"a":1}\n\ndata: {"x":2}\n\n'),
        (
            EVENTS,
            ["'retry: 9\\n\\n'", "{'a': 1}", "'data: [DONE]\\n\\n'"],
            'retry: 9\n\ndata: {"a":1}\n\ndata: [DONE]\n\n',
        ),
        (JSON, ["{'a': 1}", "{'b': 2}"], '[{"a":1}\n,{"b":2}\n]\n'),
        (JSON, [], "[]\n"),
        (JSON, ["'[1'", "']'"], "[1]"),
        ("text/plain", ["{'a': 1}", "{'b': 2}"], '{"a":1}\n{"b":2}\n'),
        ("application/jsonl", ["{'a': 1}"], '{"a":1}\n'),
    ],
)
def test_the_content_type_says_how_json_is_framed(yielded, kind, items, text):
    done = yielded(*items, headers={"Content-Type": kind})
    assert (done.headers, done.text) == ({"Content-Type": kind}, text)


@pytest.mark.parametrize(
    ("item", "what"),
    [
        ("1", "an int"),
        ("None", "None"),
        ("np.float32(1)", "a float32"),
        ("object()", "an object"),
        ("print", "the function print"),
        ("(n for n in 'ab')", "a generator"),
    ],
)
def test_what_cannot_be_streamed(yielded, item, what):
    done = yielded(item)
    assert (done.status, done.type) == (500, "cannot-send")
    assert re.search(rf"run yielded {what} \(line \d+, in chunks\), which cannot be streamed: yield ", done.text)


@pytest.mark.parametrize(
    ("first", "second", "what"),
    [
        ("'a'", "{}", "a dict (line 13, in chunks), after text or bytes"),
        ("b'a'", "3", "an int (line 13, in chunks), after text or bytes"),
        ("{}", "'a'", "a str (line 13, in chunks), after JSON"),
        ("{}", "None", "None (line 13, in chunks), after JSON"),
        ("[]", "image()", "a PIL.Image.Image (line 13, in chunks), after JSON"),
        ("image()", "{}", "a dict (line 13, in chunks), after pictures"),
        ("(8000, np.zeros(1))", "np.zeros(1)", "an ndarray (line 13, in chunks), after sound"),
        ("(8000, np.zeros(1))", "(9000, np.zeros(1))", "sound at 9000 Hz on 1 channels (line 13, in chunks)"),
        ("{}", "{'a': b''}", "a dict that cannot be made JSON: answer['a'] is bytes"),
    ],
)
def test_another_kind_than_the_first(yielded, log, first, second, what):
    done = yielded(first, second)
    assert (done.status, len(done.chunks), done.ended) == (200, 1, "aborted")
    assert any(f"run yielded {what}" in text for _, _, text in log), log


def test_an_event_stream_says_what_went_wrong(yielded):
    done = yielded("{'a': 1}", "3", headers={"Content-Type": EVENTS})
    assert done.chunks[1].startswith(
        "event: error\ndata: CannotSend: run yielded an int (line 13, in chunks), after events"
    )
    assert done.ended == "aborted"


# ---- pictures --------------------------------------------------------------------------------------------------------


def parts(done, boundary="frame"):
    """Types and contents of the parts of a multipart answer."""
    body = b"".join(done.chunks)
    assert body.startswith(f"--{boundary}\r\n".encode())
    assert body.endswith(f"\r\n--{boundary}--\r\n".encode())
    inner = body[: -len(boundary) - 8].split(f"--{boundary}\r\n".encode())[1:]
    heads = [part.removesuffix(b"\r\n").partition(b"\r\n\r\n") for part in inner]
    return [(head.decode(), data) for head, _, data in heads]


@pytest.mark.parametrize(
    ("items", "kind", "start"),
    [
        (["image()", "image()"], "image/jpeg", b"\xff\xd8"),
        (["image('L')", "rows()"], "image/jpeg", b"\xff\xd8"),
        (["rows()", "rows()[:, :, 0]", "rows()[:, :, :1]"], "image/jpeg", b"\xff\xd8"),
        (["image('RGBA')", "image()"], "image/png", b"\x89PNG"),
        (["image('RGB')", "image('RGBA')"], "image/jpeg", b"\xff\xd8"),
    ],
)
def test_pictures_are_parts(yielded, items, kind, start):
    done = yielded(*items)
    assert done.headers == {"Content-Type": "multipart/x-mixed-replace; boundary=frame"}
    assert done.ended == "finished"
    found = parts(done)
    assert len(found) == len(items) + 1
    assert found[-1] == found[-2]  # it fills the part that was open
    assert {head for head, _ in found} == {f"Content-Type: {kind}"}
    assert all(data.startswith(start) for _, data in found)
    # Browsers show a picture when they have seen the next head.
    assert all(chunk.endswith(f"--frame\r\nContent-Type: {kind}\r\n\r\n".encode()) for chunk in done.chunks[:-1])


def test_figures_are_pictures(yielded):
    figure = "__import__('matplotlib.figure').figure.Figure((1, 1))"
    assert [head for head, _ in parts(yielded(figure, "image()"))] == ["Content-Type: image/png"] * 3


def test_a_boundary_of_one_s_own(yielded):
    kind = 'multipart/x-mixed-replace; boundary="abc"'
    done = yielded("image()", headers={"Content-Type": kind})
    assert done.headers == {"Content-Type": kind}
    assert len(parts(done, "abc")) == 2


@pytest.mark.parametrize("kind", ["image/gif", "text/html", "multipart/x-mixed-replace"])
def test_pictures_go_out_as_nothing_else(yielded, kind):
    done = yielded("image()", headers={"Content-Type": kind})
    assert (done.status, done.type) == (500, "cannot-send")
    assert "multipart/x-mixed-replace; boundary=frame" in done.text


# ---- sound -----------------------------------------------------------------------------------------------------------


def test_sound_grows(yielded):
    done = yielded("(8000, np.array([0.0, 1.0]))", "(8000, np.array([-1.0]))")
    assert done.headers == {"Content-Type": "audio/wav"}
    assert done.chunks[0][:4] == b"RIFF"
    assert (done.chunks[0][44:], done.chunks[1]) == (b"\0\0\xff\x7f", b"\x01\x80")
    assert "audio/wav" in yielded("(8000, np.zeros(1))", headers={"Content-Type": "audio/mpeg"}).text


# ---- Flask -----------------------------------------------------------------------------------------------------------


def test_flasks_streams(call):
    source = """
from flask import Response, request, stream_with_context
def lines():
    yield {"a": request.args["a"]}
    yield {"b": request.path}
def run(r): return stream_with_context(lines())
def typed(r): return Response(stream_with_context(line["a"] for line in [{"a": "x"}]), mimetype="text/plain")
"""
    environ = {"QUERY_STRING": "a=1", "HTTP_HOST": "h"}
    done = call(source, environ=environ)
    assert (done.headers["Content-Type"], done.text) == (LINES, '{"a":"1"}\n{"b":"/"}\n')
    assert call(source, "typed", environ=environ).text == "x"
