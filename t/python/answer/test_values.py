"""Values at the top: what each is sent as, and what is said of those that cannot be sent."""

import io
import sys
import types
import wave

import numpy
import pytest

HTML, JSON = "text/html; charset=utf-8", "application/json"

MADE = """
import collections, concurrent.futures, dataclasses, enum, functools, io, math, pathlib, typing
import numpy as np
from markupsafe import Markup

@dataclasses.dataclass
class Point:
    x: object
class Named(typing.NamedTuple):
    text: str
    status: int = 200
class Colour(enum.Enum):
    RED = "red"
    PAIR = ("x", 201)
    HALF = 0.5
class Level(enum.IntEnum):
    HIGH = 7
class Html:
    def __html__(self): return "<b>"
class Words:
    def __iter__(self): return iter("ab")
class Model:
    def __call__(self, *args, **kwargs): raise AssertionError("called")
class Scorer:
    def __call__(self, query, documents): return query + documents
class Asgi:
    async def __call__(self, scope, receive, send): pass
def helper(text): return text
def app(environ, start_response):
    start_response("203 Odd", [("Content-Type", "a/b")])
    return [environ["PATH_INFO"].encode()]
def odd(environ, start_response=None): return app(environ, start_response)
class Application:
    def __call__(self, env, start): return app(env, start)
async def later(): return {"a": np.int8(1)}, 201
"""


def returned(call, expression, made=MADE, **environ):
    return call(f"{made}\ndef run(): return {expression}", environ=environ)


@pytest.mark.parametrize(
    ("expression", "status", "kind", "text"),
    [
        ("True", 200, JSON, "true\n"),
        ("np.bool_(False)", 200, JSON, "false\n"),
        ("np.float32(0.5)", 200, HTML, "0.5"),
        ("{3}", 200, JSON, "[3]\n"),
        ("range(3)", 200, JSON, "[0,1,2]\n"),
        ("np.eye(2, dtype=int)", 200, JSON, "[[1,0],[0,1]]\n"),
        ("Point(np.nan), 201", 201, JSON, '{"x":null}\n'),
        ("Point", 500, None, "run returned the class Point, which cannot be sent"),
        ("Named('t')", 200, JSON, '["t",200]\n'),
        ("(Named('t'), 201)", 201, JSON, '["t",200]\n'),
        ("collections.UserDict(a=1)", 200, JSON, '{"a":1}\n'),
        ("Colour.RED", 200, HTML, "red"),
        ("Colour.PAIR", 200, JSON, '["x",201]\n'),
        ("Colour.HALF", 200, HTML, "0.5"),
        ("Level.HIGH", 200, HTML, "7"),
        ("Html()", 200, HTML, "<b>"),
        ("Markup('<i>')", 200, HTML, "<i>"),
        ("later()", 201, JSON, '{"a":1}\n'),
        ("io.StringIO('in memory')", 200, HTML, "in memory"),
        ("app", 203, "a/b", "/"),
        ("odd", 203, "a/b", "/"),
        ("Application()", 203, "a/b", "/"),
        ("functools.partial(app)", 203, "a/b", "/"),
        ("lambda e, s: app(e, s)", 203, "a/b", "/"),
        ("{'a': 1}, {'Content-Type': 'application/ld+json'}", 200, "application/ld+json", '{"a":1}\n'),
        ("np.eye(1), {'Content-Type': 'text/plain'}", 200, "text/plain", "[[1.0]]\n"),
    ],
)
def test_values(call, expression, status, kind, text):
    done = returned(call, expression)
    assert (done.status, done.headers.get("Content-Type")) == (status, kind), done.text
    assert done.text == text if status != 500 else text in done.text


@pytest.mark.parametrize(
    ("expression", "what", "instead"),
    [
        ("Words()", "a Words", "iter(...) of it is streamed"),
        ("Model()", "a Model", "call it"),
        ("helper", "the function helper", "call it, helper(...)"),
        ("len", "the function len", "len(...)"),
        ("functools.partial(helper, 1)", "a functools.partial", "call it"),
        ("Asgi()", "an Asgi", "ASGI"),
        ("math", "the module math", "return something of it"),
        ("ValueError('x')", "a ValueError", "raise it"),
        ("...", "Ellipsis", "yet to be written"),
        ("concurrent.futures.Future()", "a concurrent.futures._base.Future", ".result()"),
        ("pipe().const(1)", "a Pipe", "run = pipe()"),
        ("pipe", "the function pipe", "pipe(...)"),
        ("object()", "an object", "return str, bytes"),
        ("__import__('string').Template('$x')", "a string.Template", "yet to be filled in: f'...' is text"),
        (
            "type('Template', (), {'__module__': 'string.templatelib', '__iter__': lambda _: iter([1])})()",  # t'...'
            "a string.templatelib.Template",
            "yet to be filled in: f'...' is text",
        ),
        ("('cat', 0.93)", "a tuple whose status is 0.93", "a list or a dict for JSON"),
        ("('x', Point(1))", "a tuple whose status is a Point", "a list or a dict for JSON"),
        ("(1, 2, 3, 4)", "a tuple of 4", "return a list for JSON"),
        ("(('x', 201), 202)", "a tuple within a tuple", "return a list for JSON"),
        ("('x', 200, 5)", "headers", "a list for JSON"),
        ("(later(), 201)", "an awaitable within a tuple", "await it first"),
        ("(np.zeros(3), 16000)", "a tuple whose status is 16000", "(rate, samples) for sound"),
        ("(np.zeros((2, 2)), {'Content-Type': 'image/png'})", "an ndarray with the Content-Type image/png", "uint8"),
        ("(Point(1), {'Content-Type': 'text/csv'})", "a Point with the Content-Type text/csv", "only JSON"),
    ],
)
def test_what_cannot_be_sent(call, recwarn, expression, what, instead):
    done = returned(call, expression)
    assert (done.status, done.type) == (500, "cannot-send")
    assert f"run returned {what}" in done.text
    assert instead in done.text
    assert not recwarn.list


def test_what_was_called_as_wsgi_by_mistake_says_so(call):
    done = returned(call, "Scorer()")
    assert (done.status, done.type) == (500, "adaptor-failed")
    assert done.text.rstrip().endswith(
        "run returned a Scorer, which was called as WSGI is, with (environ, start_response)"
    )


def test_responses_of_another_server(call):
    made = "import sys, types\nclass Response: pass\nResponse.__module__ = 'requests.models'\n"
    done = returned(call, "Response()", made)
    assert "run returned a requests.models.Response, which cannot be sent: it is another server's answer" in done.text
    assert "r.content" in done.text
    assert "answer['a'] is a requests" in returned(call, "{'a': Response()}", made).text


@pytest.fixture
def starlette(monkeypatch):
    """What stands in for its responses, whose attributes these are."""
    module = types.ModuleType("starlette.responses")

    class Response:
        background = None

        def __init__(self, status=200, headers=(), **attributes):
            self.status_code = status
            self.raw_headers = [(name.encode(), value.encode()) for name, value in headers]
            vars(self).update(attributes)

        async def __call__(self, scope, receive, send):
            raise AssertionError

    module.Response = Response
    monkeypatch.setitem(sys.modules, "starlette.responses", module)


def test_responses_of_starlette(call, starlette, tmp_path):
    made = "from starlette.responses import Response\nasync def words():\n    yield 'a'\n    yield 'b'\n"
    done = returned(call, "Response(201, [('content-type', 'a/b'), ('x-a', '1')], body=b'x')", made)
    assert (done.status, done.headers, done.text) == (201, {"content-type": "a/b", "x-a": "1"}, "x")
    done = returned(call, "Response(307, [('location', '/x')], body=b'')", made)
    assert (done.status, done.headers, done.text) == (307, {"location": "/x"}, "")
    done = returned(call, "Response(headers=[('content-type', 'a/b')], body_iterator=words())", made)
    assert (done.headers, done.chunks, done.ended) == ({"content-type": "a/b"}, ["a", "b"], "finished")
    (tmp_path / "a.txt").write_text("in a file")
    done = returned(call, f"Response(headers=[('etag', 'x')], path={str(tmp_path / 'a.txt')!r})", made)
    assert (done.text, done.name, done.headers) == ("in a file", "a.txt", {})
    assert "background tasks" in returned(call, "Response(background=print, body=b'')", made).text


# ---- sound -----------------------------------------------------------------------------------------------------------


def heard(wav):
    with wave.open(io.BytesIO(wav)) as file:
        samples = numpy.frombuffer(file.readframes(file.getnframes()), "<i2").tolist()
        return file.getframerate(), file.getnchannels(), samples


@pytest.mark.parametrize(
    ("samples", "channels", "pcm"),
    [
        ("np.array([0, .5, -2, np.nan])", 1, [0, 16384, -32767, 0]),
        ("np.array([[0, 1], [2, 3]], 'int16')", 2, [0, 1, 2, 3]),
        ("np.array([1 << 16, -1 << 31], 'int32')", 1, [1, -32768]),
        ("np.array([128, 0, 255], 'uint8')", 1, [0, -32768, 32512]),
    ],
)
def test_rate_and_samples_are_sound(call, samples, channels, pcm):
    done = returned(call, f"(24000, {samples})")
    assert done.headers == {"Content-Type": "audio/wav"}
    assert heard(done.chunks[0]) == (24000, channels, pcm)


def test_sound_with_status_and_headers(call):
    done = returned(call, "((np.int32(8000), np.zeros(2)), 201, {'X-A': '1'})")
    assert (done.status, done.headers) == (201, {"Content-Type": "audio/wav", "X-A": "1"})
    assert heard(done.chunks[0]) == (8000, 1, [0, 0])


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("(3, np.zeros(2))", "the rate 3"),
        ("(8000, np.zeros((2, 400)))", "samples.T"),
        ("(8000, np.zeros(2, 'int64'))", "not int64"),
        ("(8000, np.array(['a']))", "not <U1"),
        ("((8000, np.zeros(2)), {'Content-Type': 'audio/mpeg'})", "for another format return its bytes"),
    ],
)
def test_what_is_no_sound(call, value, part):
    done = returned(call, value)
    assert (done.status, done.type) == (500, "cannot-send")
    assert "(rate, samples), which is sound" in done.text
    assert part in done.text
    assert "return" in done.text or "samples.T" in done.text


# ---- stages ----------------------------------------------------------------------------------------------------------

GREET = """
from owt.summat import Adaptor, KeepKWs, PassKWs, DropKWs
class Greet(Adaptor[str]):
    def call(self, /, *, __last__, name, **kwargs):
        return {result}
run = Greet()
"""


@pytest.mark.parametrize(
    ("result", "answer"),
    [
        ("KeepKWs(f'hi {name}')", "hi owt"),
        ("DropKWs((name, 201))", "owt"),
        ("PassKWs({'__last__': name})", "owt"),
        ("PassKWs({'name': 'x'})", ""),
    ],
)
def test_a_stage_may_be_an_endpoint(call, result, answer):
    done = call(GREET.format(result=result), kwargs={"name": "owt", "token": "secret"})
    assert done.text == answer
    assert "secret" not in str(done.headers)
    assert "token" not in done.headers


def test_a_class_of_stages_is_none(call):
    done = call(GREET.format(result="KeepKWs(1)").replace("Greet()", "Greet"), kwargs={"name": "x"})
    assert (done.status, done.type) == (400, "no-such-function")
    assert "Greet()" in done.text
    done = call("run = lambda: Adaptor\nfrom owt.summat import Adaptor")
    assert "the class Adaptor" in done.text
