"""Multipart forms: the same with every Werkzeug."""

import fake_owt
import pytest

SHOW = "def run(request, **kw): return {k: repr(v) for k, v in kw.items()}"


def part(head, content=b""):
    content = content.encode() if isinstance(content, str) else content
    return b"--b\r\nContent-Disposition: form-data; " + head.encode("latin-1") + b"\r\n\r\n" + content + b"\r\n"


def field(name, content):
    return part(f'name="{name}"', content)


def file(name, content, filename="f"):
    return part(f'name="{name}"; filename="{filename}"', content)


@pytest.fixture
def form(call):
    def send(*parts, end=b"--b--\r\n", type="multipart/form-data; boundary=b"):
        environ = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": type}
        return call(made=fake_owt.Call(environ=environ, body=b"".join(parts) + end), code_id="")

    return send


def test_fields_and_files(form):
    source = "def run(request, a, f): return [a, f.filename, f.mimetype, f.read().decode(), request.form['a'], len(request.files)]"
    typed = part('name="f"; filename="ü.txt"'.encode().decode("latin-1") + "\r\nContent-Type: text/csv", "1,2")
    assert form(field("code", source), field("a", "é"), typed).json == ["é", "ü.txt", "text/csv", "1,2", "é", 1]


def test_quotation_marks_in_names_are_as_browsers_send_them(form):
    source = "def run(request, f, **rest): return [f.filename, rest, list(request.form)]"
    done = form(field("code", source), field("a%22b%22", "1"), part('name="f"; filename="%22x%22 100%.txt"', "1"))
    assert done.json == ['"x" 100%.txt', {'a"b"': "1"}, ["code", 'a"b"']]


def test_there_is_no_limit_but_nginxs(form):
    big = "x" * 3_000_000
    source = "def run(request, a, f): return [len(a), len(request.form['a']), len(f.read())]"
    assert form(field("code", source), field("a", big), file("f", big)).json == [3_000_000] * 3
    assert form(field("code", f"def run(): return {len(big)}  # {big}")).text == "3000000"


def test_a_form_that_the_adaptor_reads_has_none_either(call):
    """The query named the code: the body is the adaptor's."""
    body = field("a", "x" * 3_000_000) + b"--b--\r\n"
    environ = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "multipart/form-data; boundary=b"}
    for source in (
        "def run(request): return str(len(request.form['a']))",
        "from flask import request\ndef run(): return str(len(request.form['a']))",
    ):
        assert call(source, environ=environ, body=body).text == "3000000"


def test_so_many_parts(form):
    assert form(field("code", SHOW), *[field(f"a{i}", "1") for i in range(999)]).status == 200
    done = form(field("code", SHOW), *[field(f"a{i}", "1") for i in range(1000)])
    assert (done.status, done.type) == (413, "too-many-parts")
    assert "more than 1000 parts" in done.text


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ([field("code", SHOW), field("name", b"\xe4")], "its part 'name' is not UTF-8 at byte 0"),
        ([field("code", SHOW.encode() + b" # \xe4")], "its part 'code' is not UTF-8 at byte"),
        ([file("code", SHOW.encode() + b" # \xe4")], "its part 'code' is not UTF-8 at byte"),
        ([field("code", SHOW), file("kwargs", b"\xe4")], "its part 'kwargs' is not UTF-8 at byte 0"),
        ([field("code", SHOW), field("n\xe4me", "x")], "the head of a part"),
        ([field("code", SHOW), file("f", "x", filename="\xe4")], "the head of a part"),
        ([field("code", SHOW), part('name="a"\r\nContent-Type: text/plain; charset=klingon', "x")], "'a' is not klingon"),
        ([field("code", SHOW), part('name="a"\r\nContent-Type: text/plain; charset=hex', "x")], "'a' is not hex"),
        ([field("code", SHOW), part('name="a"\r\nContent-Type: text/plain; charset=ascii', b"\xe4")], "'a' is not ascii at byte 0"),
        ([field("code", SHOW), part("", "x")], "a part of it has no name"),
        ([field("code", SHOW), b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"], "Missing Content-Disposition header"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(form, parts, what):
    done = form(*parts)
    assert (done.status, done.type) == (400, "bad-parameters"), done.text
    assert what in done.text


def test_an_encoding_that_a_part_names_is_read(form):
    latin = part('name="a"\r\nContent-Type: text/plain; charset=iso-8859-1', b"\xe4")
    wide = part('name="b"\r\nContent-Type: text/plain; charset=UTF-16', "ä".encode("utf-16"))
    assert form(field("code", SHOW), latin, wide).json == {"a": "'ä'", "b": "'ä'"}


def test_half_a_form_is_none(form):
    whole = field("code", SHOW) + field("a", "1")
    for length in (10, len(whole) - 3, len(whole)):
        done = form(whole[:length], end=b"")
        assert (done.status, done.type) == (400, "bad-parameters")
    assert "boundary" in form(whole, type="multipart/form-data").text
    assert form(whole, type="multipart/form-data; boundary=c").status == 400


def test_repeated_fields_and_files(form):
    source = "from pathlib import Path\ndef run(request, t: list[int] = (), f: list[bytes] = (), u=None, g=None): "
    source += "return repr((t, f, u, [x if isinstance(x, str) else x.filename for x in g or ()]))"
    done = form(
        field("code", source), field("t", "1"), field("t", "2"), file("f", "a"), file("f", "b"),
        field("u", "first"), field("u", "second"), file("g", "", "x"), file("g", "", "y"),
    )  # fmt: skip
    assert done.text == "([1, 2], [b'a', b'b'], 'first', ['x', 'y'])"
    done = form(field("code", source), field("f", "a"), file("f", "b"), field("g", "t"), file("g", "c", "x"))
    assert done.text == "((), [b'a', b'b'], None, ['t', 'x'])"
    done = form(field("code", source), field("f", "a"), field("f", "b"), file("f", "c"))
    assert done.text == "((), [b'a', b'b', b'c'], None, [])"


def test_the_rest_of_the_request_is_there(form):
    source = (
        "def run(request): return [request.data.decode(), request.stream.read().decode(), request.content_type[:19]]"
    )
    assert form(field("code", source)).json == ["", "", "multipart/form-data"]
