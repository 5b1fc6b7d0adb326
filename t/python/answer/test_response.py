import gzip
import hashlib
import io

import fake_owt
import pytest
from owt import Cancelled
from owt.engine import runtime
from werkzeug.test import EnvironBuilder

HTML = "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("expression", "status", "type", "text"),
    [
        ("'x'", 200, HTML, "x"),
        ("'é'", 200, HTML, "é"),
        ("b'x'", 200, "application/octet-stream", "x"),
        ("bytearray(b'x')", 200, "application/octet-stream", "x"),
        ("None", 200, None, ""),
        ("1.5", 200, HTML, "1.5"),
        ("True", 200, "application/json", "true\n"),
        ("{'b': [1], 'a': 'é'}", 200, "application/json", '{"b":[1],"a":"\\u00e9"}\n'),
        ("['x', 201]", 200, "application/json", '["x",201]\n'),
        ("('x', 201)", 201, HTML, "x"),
        ("('x', '404 NOPE')", 404, HTML, "x"),
        ("('x', {'Content-Type': 'text/plain'})", 200, "text/plain", "x"),
        ("({}, 201, [('content-type', 'a/b')])", 201, "a/b", "{}\n"),
        ("__import__('werkzeug').Response('x', 202)", 202, "text/plain; charset=utf-8", "x"),
        ("(__import__('werkzeug').Response('x', 202), 203)", 203, "text/plain; charset=utf-8", "x"),
        ("lambda e, s: s('203 OK', [('Content-Type', 'a/b')]) and None or [b'x']", 203, "a/b", "x"),
        ("__import__('io').BytesIO(b'x')", 200, "application/octet-stream", "x"),
        ("iter(())", 200, None, ""),
        ("iter(['', 'x', 'é'])", 200, HTML, "xé"),
        ("iter([b'x', bytearray(b'y')])", 200, "application/octet-stream", "xy"),
        ("(iter(['x']), 202, {'Content-Type': 'text/event-stream'})", 202, "text/event-stream", "x"),
        ("__import__('decimal').Decimal('1.50')", 200, HTML, "1.50"),
        ("__import__('numpy').int64(3)", 200, HTML, "3"),
    ],
)
def test_coercion(call, expression, status, type, text):
    done = call(f"def run(): return {expression}")
    assert (done.status, done.headers.get("Content-Type") or done.headers.get("content-type"), done.text) == (
        status,
        type,
        text,
    )


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("object()", "run returned an object, which cannot be sent"),
        ("('x',)", "tuple of 1"),
        ("('x', 99)", "99"),
        ("('x', {'a': 'b\\nc'})", "control character"),
        ("__import__('pathlib').Path('/')", "a directory"),
        ("__import__('pathlib').Path('/nowhere')", "the path /nowhere, and no such file is there"),
        ("{'a': object()}", "answer['a'] is an object"),
        ("'\\ud800'", "UnicodeEncodeError"),
        ("iter([1])", "run yielded an int, which cannot be streamed"),
        ("[][0]", "IndexError"),
        ("exit(3)", "SystemExit: 3"),
    ],
)
def test_what_cannot_be_sent(call, expression, part):
    done = call(f"def run(): return {expression}")
    assert done.status == 500
    assert part in done.text


def test_werkzeugs_abort_is_an_answer(call):
    assert call("import werkzeug\ndef run(): werkzeug.exceptions.abort(418)").status == 418


def test_streams_chunk_by_chunk(call):
    done = call("def run():\n yield 'a'\n yield ''\n yield 'b'")
    assert (done.chunks, done.ended) == (["a", "b"], "finished")


def test_stream_that_fails(call, log):
    assert call("def run():\n 1/0\n yield 'a'").status == 500
    done = call("def run():\n yield 'a'\n 1/0")
    assert (done.chunks, done.ended) == (["a"], "aborted")
    assert any("ZeroDivisionError" in text for _, _, text in log)
    events = call(
        "def g():\n yield 'a'\n raise OSError('x\\ny')\nrun = lambda: (g(), {'Content-Type': 'text/event-stream'})"
    )
    assert events.chunks == ["a", "event: error\ndata: OSError: x\ndata: y\n\n"]
    assert events.ended == "aborted"


CLOSED = """
done = []
def run(c: object):
    try:
        yield 'a'
        c.cancelled = True
        yield 'b'
    finally:
        done.append(1)
def ask(): return done
"""


def test_cancelled_stream_is_closed(call):
    made = fake_owt.Call(CLOSED)
    with pytest.raises(Cancelled):
        runtime.run(made, made.code_id, "run", {"c": made}, None)
    assert call(code_id=made.code_id, fn_name="ask").json == [1]


def test_files(call, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("hello")
    for source in (
        f"import pathlib\nrun = lambda: pathlib.Path({str(file)!r})",
        f"run = lambda: open({str(file)!r})",
        f"def run():\n f = open({str(file)!r}, 'rb')\n f.read()\n return f",
    ):
        done = call(source)
        assert (done.status, done.text, done.name) == (200, "hello", "a.txt")
    done = call("import tempfile\ndef run():\n f = tempfile.NamedTemporaryFile('w')\n f.write('hello')\n return f")
    assert done.text == "hello"
    zipped = tmp_path / "a.gz"
    zipped.write_bytes(gzip.compress(b"a\nb\n"))
    assert call(f"import gzip\nrun = lambda: gzip.open({str(zipped)!r})").chunks == [b"a\n", b"b\n"]


FIGURE = """
from matplotlib.figure import Figure
def run():
    figure = Figure()
    figure.subplots().plot([1, 2])
    return figure
"""


@pytest.mark.parametrize(
    ("accept", "type"),
    [
        (None, "image/png"),
        ("image/svg+xml,*/*;q=0.1", "image/svg+xml; charset=utf-8"),
        ("application/pdf", "application/pdf"),
        ("video/mp4", "image/png"),
    ],
)
def test_figures_by_accept(call, accept, type):
    done = call(FIGURE, environ={"HTTP_ACCEPT": accept} if accept else {})
    assert done.status == 200
    assert done.headers == {"Content-Type": type, "Vary": "Accept"}


def test_rich_objects(call):
    shown = "class C:\n def _repr_html_(self): return None\n def _repr_json_(self): return {'a': 1}\nrun = C"
    assert call(shown).json == {"a": 1}
    bundle = "class C:\n def _repr_mimebundle_(self, **k): return {'image/png': 'eA==', 'text/plain': 'C'}, {}\nrun = C"
    done = call(bundle)
    assert (done.chunks, done.headers["Content-Type"]) == ([b"x"], "image/png")
    image = call("from PIL import Image\nrun = lambda: Image.new('1', (1, 1))")
    assert image.chunks[0].startswith(b"\x89PNG")


def test_request(call):
    environ = {"QUERY_STRING": "a=1", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "7", "HTTP_HOST": "h"}
    done = call(
        "def run(r): return [repr(r)[:12], r.args['a'], r.json, r.cancelled, r.url]", environ=environ, body=b'{"x":1}'
    )
    assert done.json == ["<Request of ", "1", {"x": 1}, False, "http://h/?a=1"]
    missing = call("def run(r): return r.nothing")
    assert "AttributeError: 'Request' object has no attribute 'nothing'" in missing.text


def test_flask(call):
    environ = {"QUERY_STRING": "a=1", "CONTENT_LENGTH": "1", "HTTP_HOST": "h"}
    source = """
from flask import jsonify, render_template_string, request
def run(r):
    assert r.data == request.data == b'x'
    return jsonify(render_template_string('{{ request.args.a }}'))
def stream():
    yield request.args['a']
async def later(r):
    return r.args['a'] + request.args['a']
"""
    assert call(source, environ=environ, body=b"x").text == '"1"\n'
    assert call(source, "stream", environ=environ).text == "1"
    assert call(source, "later", environ=environ).text == "11"
    assert call("from flask import abort\ndef run(): abort(404)", environ=environ).status == 404


def test_forms(call):
    def post(**data):
        built = EnvironBuilder(method="POST", data=data, content_type="multipart/form-data").get_environ()
        body = built["wsgi.input"].read()
        made = fake_owt.Call(environ={k: v for k, v in built.items() if isinstance(v, str)}, body=body)
        return call(made=made, code_id="")

    source = "def run(request, name, file): return name + file.read().decode() + request.form['name']"
    done = post(code=(io.BytesIO(source.encode()), "a.py"), name="é", file=(io.BytesIO(b"y"), "b"))
    assert done.text == "éyé"
    assert post(code=(io.BytesIO(b"\xff"), "a.py")).status == 400


def test_a_form_that_is_parked(call):
    """It is read once: what comes back runs with the files that were there."""
    from owt.engine import runtime

    def park(**files):
        source = "def run(request, file): return file.read().decode() + request.form['code'][:3]"
        data = {"code": source, **{name: (io.BytesIO(content), "name") for name, content in files.items()}}
        built = EnvironBuilder(method="POST", data=data, content_type="multipart/form-data").get_environ()
        body = built["wsgi.input"].read()
        made = fake_owt.Call(environ={k: v for k, v in built.items() if isinstance(v, str)}, body=body)
        made.looks_later = made.key_has_arguments = True
        assert call(made=made, code_id="").status is None
        return made, *made.parked

    made, further, rest = park(file=b"one")
    made._body = b""
    code_id = hashlib.sha256(made.code).hexdigest()
    assert runtime.run(made, code_id, "run", {}, None, rest)[2] == "onedef"
    assert park(file=b"one")[1] == further
    assert len({further, park(file=b"two")[1], park(other=b"one")[1], park()[1]}) == 4
    assert park()[1] == ""
