"""What a request may carry, where, and what comes back when something about it is wrong."""

import base64
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
from gate import PAUSE, Gate
from harness import Server, wait_until

CONF = """
client_body_buffer_size 16k;
client_max_body_size 8m;
large_client_header_buffers 4 64k;
log_format owt "$uri $status [$owt_code_id] [$owt_fn] [$owt_queue_time] [$owt_run_time]";
server {
    listen 127.0.0.1:{port};
    access_log access.log owt;
    location / { owt; }
    location /small/ { owt; client_max_body_size 1k; }
    location /hidden/ { owt; owt_traceback off; }
    location /brief/ { owt; owt_timeout 400ms; }
}
"""

SHOW = "import json\ndef run(request, **kwargs):\n    return json.dumps(kwargs, sort_keys=True)\n"
PLUS = "def run(a, b):\n    return f'{a}{b}'\n"

Send = Callable[..., httpx.Response]


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def code_id(code: str) -> str:
    return f"sha256:{hashlib.sha256(code.encode()).hexdigest()}"


def by_query(server: Server, path: str = "/", **fields: str) -> httpx.Response:
    return server.get(path, params=fields)


def by_json(server: Server, path: str = "/", **fields: str) -> httpx.Response:
    return server.post(path, json=fields)


def by_form(server: Server, path: str = "/", **fields: str) -> httpx.Response:
    return server.post(path, data=fields)


def by_multipart(server: Server, path: str = "/", **fields: str) -> httpx.Response:
    return server.post(path, files={name: (None, text) for name, text in fields.items()})


everywhere = pytest.mark.parametrize("send", [by_query, by_json, by_form, by_multipart])
in_a_body = pytest.mark.parametrize("send", [by_json, by_form, by_multipart])
as_text = pytest.mark.parametrize("send", [by_query, by_form, by_multipart])


# ---- the parameters, in every place ----------------------------------------------------------------------------------


@everywhere
def test_with_code_other_fields_are_keyword_arguments(server: Server, send: Send) -> None:
    assert send(server, code=SHOW, a="1", b="zwei").json() == {"a": "1", "b": "zwei"}


@everywhere
def test_with_code_id_other_fields_are_keyword_arguments(server: Server, send: Send) -> None:
    server.run(SHOW)
    assert send(server, code_id=code_id(SHOW), a="1").json() == {"a": "1"}


@everywhere
def test_with_code_b64_other_fields_are_none(server: Server, send: Send) -> None:
    assert send(server, code_b64=b64(SHOW), a="1").json() == {}


@everywhere
def test_with_code_b64_other_fields_are_reached_through_the_request(server: Server, send: Send) -> None:
    code = "def run(request):\n    return (request.json if request.is_json else request.values)['a']\n"
    assert send(server, code_b64=b64(code), a="1").text == "1"


@everywhere
def test_fn_name_is_the_function_that_is_called(server: Server, send: Send) -> None:
    code = "def run():\n    return 'run'\ndef other(a):\n    return 'other ' + a\n"
    assert send(server, code=code, fn_name="other", a="1").text == "other 1"


@everywhere
def test_kwargs_b64_is_json(server: Server, send: Send) -> None:
    assert send(server, code_b64=b64(SHOW), kwargs_b64=b64('{"a": null, "b": [true]}')).json() == {
        "a": None,
        "b": [True],
    }


@everywhere
def test_kwargs_b64_is_a_python_expression(server: Server, send: Send) -> None:
    code = "class C:\n    def __init__(self, x): self.x = x\ndef run(c): return str(c.x)\n"
    assert send(server, code_b64=b64(code), kwargs_b64=b64("dict(c=C(x=6 * 7))")).text == "42"


@everywhere
def test_kwargs_is_text(server: Server, send: Send) -> None:
    assert send(server, code=SHOW, kwargs="{'a': (1, None)}").json() == {"a": [1, None]}


def test_kwargs_is_an_object_in_json(server: Server) -> None:
    assert server.run(SHOW, kwargs={"a": {"b": [1, None]}}).json() == {"a": {"b": [1, None]}}


@everywhere
def test_kwargs_come_beside_other_fields(server: Server, send: Send) -> None:
    assert send(server, code=SHOW, kwargs='{"a": 1}', b="2").json() == {"a": 1, "b": "2"}


@everywhere
@pytest.mark.parametrize("name", ["use_cache", "cache_kwargs"])
def test_a_boolean_has_eight_spellings(server: Server, send: Send, name: str) -> None:
    for text in ("true", "false", "1", "0", "yes", "no", "on", "off"):
        assert send(server, code=SHOW, **{name: text}).json() == {}, text


@everywhere
@pytest.mark.parametrize("name", ["use_cache", "cache_kwargs"])
def test_any_other_spelling_of_a_boolean_is_refused(server: Server, send: Send, name: str) -> None:
    answer = send(server, code=SHOW, **{name: "maybe"})
    assert answer.status_code == 400
    assert name in answer.text
    assert "maybe" in answer.text
    assert "true" in answer.text


def test_a_boolean_is_one_in_json(server: Server) -> None:
    assert server.run(SHOW, use_cache=False, cache_kwargs=True).json() == {}


@everywhere
def test_cache_key_override_is_any_text(server: Server, send: Send) -> None:
    assert send(server, code=SHOW, cache_key_override="ключ 🗝 = ?&").json() == {}


@everywhere
def test_text_is_any_unicode(server: Server, send: Send) -> None:
    text = "Grüße, 世界 🦉 & = + % \" ' \\ \x7f"
    assert send(server, code=SHOW, **{"näme": text}).json() == {"näme": text}


@everywhere
def test_code_is_any_unicode(server: Server, send: Send) -> None:
    assert send(server, code="def run(): return '+ % & 🦉 \\u00e9'  # é").text == "+ % & 🦉 é"


@as_text
def test_text_stays_text(server: Server, send: Send) -> None:
    assert send(server, code=SHOW, a="1", b="null", c="[]", d="").json() == {"a": "1", "b": "null", "c": "[]", "d": ""}


def test_a_json_value_stays_itself(server: Server) -> None:
    values = {"a": 1, "b": [1.5, {"c": "\u00e9"}], "d": False, "e": "1", "f": 2**80, "g": {}, "h": 1e300, "i": ""}
    assert server.run(SHOW, **values).json() == values


def test_a_file_part_is_werkzeugs(server: Server) -> None:
    code = "def run(data):\n    return [type(data).__name__, data.filename, data.content_type, list(data.read())]\n"
    answer = server.post(data={"code": code}, files={"data": ("x.bin", b"\x00\xff", "image/png")})
    assert answer.json() == ["FileStorage", "x.bin", "image/png", [0, 255]]


def test_code_is_a_file_part(server: Server) -> None:
    answer = server.post(data={"a": "1"}, files={"code": ("show.py", SHOW.encode(), "text/x-python")})
    assert answer.json() == {"a": "1"}


def test_the_three_calls_of_the_design_are_the_same(server: Server, tmp_path: Path) -> None:
    code = 'def run(request, name): return f"Hello, {name}!"'
    file = tmp_path / "echo.py"
    file.write_text(code)
    calls = [
        ["-F", f"code=@{file}", "--form-string", "name=owt"],
        ["--json", json.dumps({"code": code, "name": "owt"})],
        [
            "-G",
            "--data-urlencode",
            f"code_b64={b64(code)}",
            "--data-urlencode",
            f"kwargs_b64={b64(repr({'name': 'owt'}))}",
        ],
    ]
    assert [server.curl("/hello", *call).stdout for call in calls] == ["Hello, owt!"] * 3


@in_a_body
def test_a_body_that_nginx_spools_is_read_as_well(server: Server, send: Send) -> None:
    text = "é" * 400_000
    answer = send(server, code="def run(text, end): return f'{len(text)} {set(text)} {end}'", text=text, end="fin")
    assert answer.text == "400000 {'é'} fin"


@in_a_body
def test_an_error_in_a_spooled_body_is_told(server: Server, send: Send) -> None:
    answer = send(server, code_b64="!" * 100_000)
    assert answer.status_code == 400
    assert "code_b64" in answer.text


# ---- base64 ----------------------------------------------------------------------------------------------------------

# Its base64 has both characters in which the alphabets differ, and padding.
DIFFERING = "def run(): return '>>>???~~~'"


@everywhere
@pytest.mark.parametrize("name", ["code_b64", "kwargs_b64"])
def test_base64_may_be_standard_or_url_safe_and_lack_its_padding(server: Server, send: Send, name: str) -> None:
    for pad in range(3):
        text = "'" + ">>>???~~~ÿþ" + " " * pad + "'"
        code = f"def run(): return {text}" if name == "code_b64" else "def run(x): return x"
        for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
            sent = encode((code if name == "code_b64" else text).encode()).decode()
            for spelling in (sent, sent.rstrip("=")):
                fields = {"code_b64": spelling} if name == "code_b64" else {"code": code, name: spelling}
                assert send(server, **fields).text == text.strip("'"), spelling


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_base64_may_hold_spaces_where_a_plus_was_decoded(server: Server, method: str) -> None:
    code = "def run(): return '>>>~~~>>>~~~'  # \u07fe\u07fe\u07fe"
    assert "+" in b64(code)
    raw = f"code_b64={b64(code)}"  # the + is not escaped
    if method == "GET":
        answer = server.get(f"/?{raw}")
    else:
        answer = server.post(content=raw, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.text == ">>>~~~>>>~~~"


def test_base64_may_be_broken_into_lines(server: Server) -> None:
    assert server.post(json={"code_b64": base64.encodebytes(SHOW.encode() * 3).decode()}).json() == {}


# ---- kwargs ----------------------------------------------------------------------------------------------------------

LAST = "def run(x):\n    return [type(x).__name__, x]\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("21", ["int", 21]),
        ("[1, 2]", ["list", [1, 2]]),
        ("null", ["NoneType", None]),
        ("'word'", ["str", "word"]),
        ("two words", ["str", "two words"]),  # no expression
        ("word", ["str", "word"]),  # no such name
        ("word.upper()", ["str", "word.upper()"]),
        ("sum(range(10))", ["int", 45]),
        ('"[1, 2]"', ["str", "[1, 2]"]),  # only a dict counts
        ('{"x": "[1, 2]"}', ["str", "[1, 2]"]),
        ("\"{'x': 1}\"", ["int", 1]),
        ("'{\"x\": null}'", ["NoneType", None]),
        (json.dumps(json.dumps({"x": [1]})), ["list", [1]]),
        ("{'x': 1 + 1}", ["int", 2]),
        ("True", ["bool", True]),
        ("true", ["bool", True]),
    ],
)
def test_what_kwargs_mean(server: Server, text: str, value: list[Any]) -> None:
    assert server.run(LAST, kwargs_b64=b64(text)).json() == value
    assert server.run(LAST, kwargs=text).json() == value


def test_kwargs_are_evaluated_in_the_endpoints_names(server: Server) -> None:
    assert (
        server.run("N = 20\ndef twice(x): return 2 * x\ndef run(x): return x", kwargs="{'x': twice(N + 1)}").text
        == "42"
    )


def test_kwargs_are_evaluated_once_for_each_call(server: Server) -> None:
    code = "n = 0\ndef count():\n    global n\n    n += 1\n    return n\ndef run(x): return x\n"
    assert [server.run(code, kwargs="{'x': count()}").text for _ in range(4)] == ["1", "2", "3", "4"]


def test_kwargs_are_fresh_for_each_call(server: Server) -> None:
    code = "def run(x):\n    x.append(1)\n    return len(x)\n"
    for text in ("{'x': []}", '{"x": []}'):
        assert [server.run(code, kwargs=text).text for _ in range(3)] == ["1", "1", "1"]


def test_a_failure_in_kwargs_is_refused(server: Server) -> None:
    answer = server.run(LAST, kwargs="{'x': 1 / 0}")
    assert answer.status_code == 400
    assert "ZeroDivisionError" in answer.text
    assert "kwargs" in answer.text


def test_a_failure_in_a_function_that_kwargs_call_is_refused(server: Server) -> None:
    answer = server.run("def f(): return missing\ndef run(x): return x", kwargs="{'x': f()}")
    assert answer.status_code == 400
    assert "missing" in answer.text


def test_an_exit_in_kwargs_is_refused(server: Server) -> None:
    before = server.workers()
    assert server.run(LAST, kwargs="exit()").status_code == 400
    assert server.workers() == before


# ---- one place -------------------------------------------------------------------------------------------------------


def test_a_body_that_begins_with_a_brace_is_json(server: Server) -> None:
    for start in ("", " \r\n\t", "\ufeff"):
        text = start + json.dumps({"code": SHOW, "a": 1})
        for kind in ("application/x-www-form-urlencoded", "text/plain", ""):
            answer = server.post(content=text, headers={"Content-Type": kind} if kind else {})
            assert answer.json() == {"a": 1}, (start, kind)


def test_a_query_that_names_code_leaves_the_body_to_the_adaptor(server: Server) -> None:
    code = "def run(request): return [request.data.decode(), request.method, request.content_type]"
    answer = server.post(params={"code": code}, content='{"code": "raise"}', headers={"Content-Type": "text/x-owt"})
    assert answer.json() == ['{"code": "raise"}', "POST", "text/x-owt"]


def test_such_a_body_is_json(server: Server) -> None:
    code = "def run(request, a): return [request.json, a]"
    assert server.post(params={"code": code, "a": "q"}, json={"a": 1, "code": "x"}).json() == [
        {"a": 1, "code": "x"},
        "q",
    ]


def test_such_a_body_is_a_stream(server: Server) -> None:
    code = "def run(request): return [len(request.stream.read(3)), len(request.stream.read())]"
    for size in (10, 1_000_000):
        assert server.post(params={"code": code}, content=b"x" * size).json() == [3, size - 3]


def test_such_a_body_without_a_length_is_a_stream(server: Server) -> None:
    code = "def run(request): return request.stream.read()"
    assert server.post(params={"code": code}, content=iter([b"ab", b"cd"])).content == b"abcd"


def test_such_a_body_is_a_form_with_files(server: Server) -> None:
    code = "def run(request): return [request.form['a'], request.files['f'].read().decode()]"
    for contents in ("short", "l" * 700_000 + "ong"):
        answer = server.post(params={"code": code}, data={"a": "1"}, files={"f": contents.encode()})
        assert answer.json() == ["1", contents]


@pytest.mark.parametrize("send", [by_json, by_form, by_multipart])
def test_a_query_that_names_no_code_stays_with_the_request(server: Server, send: Send) -> None:
    code = "def run(request, a): return [a, request.args.getlist('b')]"
    assert send(server, "/?b=1&b=2&fn_name=other", code=code, a="1").json() == ["1", ["1", "2"]]


@pytest.mark.parametrize("path", ["/", "/deep/er/still", "/%C3%BC%20+", "/a//b"])
def test_any_path_will_do(server: Server, path: str) -> None:
    assert server.run("def run(request): return request.path", path).status_code == 200


def test_the_path_is_decoded_for_the_adaptor(server: Server) -> None:
    assert server.run("def run(request): return request.path", "/" + quote("ü ?/")).text == "/ü ?/"


@pytest.mark.parametrize("names", [("code", "code_b64"), ("code_b64", "code_id"), ("code", "code_id")])
@everywhere
def test_code_named_twice_is_refused(server: Server, send: Send, names: tuple[str, str]) -> None:
    texts = {"code": SHOW, "code_b64": b64(SHOW), "code_id": code_id(SHOW)}
    answer = send(server, **{name: texts[name] for name in names})
    assert answer.status_code == 400
    assert all(name in answer.text for name in names)
    assert "once" in answer.text


def test_one_field_of_code_twice_is_refused(server: Server) -> None:
    pair = f"code={quote_plus(SHOW)}&code={quote_plus(SHOW)}"
    member = f'"code": {json.dumps(SHOW)}'
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answers = [
        server.get(f"/?{pair}"),
        server.post(content=pair, headers=form),
        server.post(content=f"{{{member}, {member}}}"),
        server.post(files=[("code", (None, SHOW)), ("code", (None, SHOW))]),
        server.post(files=[("code", (None, SHOW)), ("code", ("a.py", SHOW))]),
    ]
    assert [answer.status_code for answer in answers] == [400] * 5


def test_of_a_repeated_field_the_first_counts(server: Server) -> None:
    pairs = [("code", SHOW), ("a", "1"), ("a", "2")]
    text = "&".join(f"{name}={quote_plus(value)}" for name, value in pairs)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answers = [
        server.get(f"/?{text}"),
        server.post(content=text, headers=form),
        server.post(files=[(name, (None, value)) for name, value in pairs]),
    ]
    assert [answer.json() for answer in answers] == [{"a": "1"}] * 3


def test_of_a_repeated_field_in_json_the_last_counts(server: Server) -> None:
    assert server.post(content=f'{{"a": 1, "code": {json.dumps(SHOW)}, "a": 2}}').json() == {"a": 2}


def test_a_null_in_json_is_absent(server: Server) -> None:
    fields = {"a": None, "fn_name": None, "code_b64": None, "code_id": None, "kwargs": None, "use_cache": None}
    assert server.run(SHOW, **fields, b=1).json() == {"b": 1}


def test_a_later_null_takes_a_field_back(server: Server) -> None:
    assert server.post(content=f'{{"code": {json.dumps(SHOW)}, "a": 1, "a": null}}').json() == {}


# ---- methods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_other_methods_are_refused(server: Server, method: str) -> None:
    answer = server.client().request(method, "/", json={"code": SHOW})
    assert answer.status_code == 405
    assert {word.strip() for word in answer.headers["Allow"].split(",")} == {"GET", "HEAD", "POST"}
    assert all(word in answer.text for word in ("GET", "HEAD", "POST"))


def test_a_connection_outlives_a_refused_method(server: Server) -> None:
    client = server.client(limits=httpx.Limits(max_connections=1))
    assert client.put("/", content=b"x" * 100_000).status_code == 405
    assert client.post("/", json={"code": SHOW}).json() == {}


def test_head_is_get_without_a_body(server: Server) -> None:
    fields = {"code": "def run(request): return request.method, {'X-Method': request.method}"}
    got, head = server.get(params=fields), server.client().head("/", params=fields)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["X-Method"] == "GET"
    assert head.headers["Content-Length"] == got.headers["Content-Length"] == "3"


# ---- refusals --------------------------------------------------------------------------------------------------------


def raw(content: bytes | str, kind: str = "") -> dict[str, Any]:
    return {"method": "POST", "content": content, "headers": {"Content-Type": kind} if kind else {}}


def fields(**fields: object) -> dict[str, Any]:
    return {"method": "POST", "json": fields}


FORM = "application/x-www-form-urlencoded"
UNKNOWN = "sha256:" + "0" * 64

# Name: the request, the status, and what the text has to contain.
REFUSALS: dict[str, tuple[dict[str, Any], int, list[str]]] = {
    "no code": ({"method": "GET"}, 400, ["code", "code_b64", "curl"]),
    "no code in JSON": (fields(a=1), 400, ["code", "code_b64", "curl"]),
    "no code in a form": (raw("a=1", FORM), 400, ["code", "curl"]),
    "no code in a multipart form": ({"method": "POST", "files": {"a": (None, "1")}}, 400, ["code", "curl"]),
    "nothing known in the body": (raw("gibberish", "text/plain"), 400, ["code", "curl"]),
    "empty code": (fields(code=" \n"), 400, ["code"]),
    "code that is no text": (fields(code=["x"]), 400, ["code", "string"]),
    "bad base64": (fields(code_b64="$$$"), 400, ["code_b64", "base64"]),
    "bad base64 in kwargs": (fields(code=SHOW, kwargs_b64="$$$"), 400, ["kwargs_b64", "base64"]),
    "bad JSON": (raw('{"code": "x",}', "application/json"), 400, ["JSON", "line 1"]),
    "JSON that is no object": (raw("[1]", "application/json"), 400, ["JSON", "object"]),
    "JSON that goes on": (raw('{"code": "x"} y'), 400, ["JSON"]),
    "code not UTF-8": (fields(code_b64=b64(b"x = '\xff'")), 400, ["UTF-8"]),
    "a form not UTF-8": (raw("code=%FF", FORM), 400, ["UTF-8"]),
    "a field not UTF-8": (raw("code=def+run(**k):pass&a=%FF", FORM), 400, ["UTF-8", "a"]),
    "JSON not UTF-8": (raw(b'{"code": "\xff"}'), 400, ["UTF-8"]),
    "a multipart form not UTF-8": (
        {"method": "POST", "files": {"code": (None, b"def run(**k): pass"), "field": (None, b"\xff")}},
        400,
        ["UTF-8", "field"],
    ),
    "kwargs not UTF-8": (fields(code=SHOW, kwargs_b64=b64(b"\xff")), 400, ["kwargs_b64", "UTF-8"]),
    "a syntax error": (
        fields(code="def run():\n    return (1,\n    )\nx = = 2\n"),
        400,
        ["line 4", "x = = 2", "^", "SyntaxError"],
    ),
    "an indentation error": (fields(code="def run():\nreturn 1\n"), 400, ["line 2", "return 1", "IndentationError"]),
    "no such function": (fields(code=SHOW, fn_name="walk"), 400, ["walk", "run", "fn_name"]),
    "no run": (fields(code="def walk(): pass"), 400, ["run", "walk", "fn_name"]),
    "no function": (fields(code="run = 3"), 400, ["run", "int"]),
    "an argument too many": (fields(code=PLUS, a=1, b=2, zebra=3), 400, ["run(a, b)", "zebra"]),
    "an argument missing": (fields(code=PLUS, a=1), 400, ["run(a, b)", "b"]),
    "a malformed code_id": (fields(code_id="sha256:xyz"), 400, ["code_id", "sha256:"]),
    "an unknown code_id": (fields(code_id=UNKNOWN), 404, [UNKNOWN, "send the code"]),
    "a failing adaptor": (fields(code="def run():\n    return {}['key']\n"), 500, ["KeyError: 'key'", "line 2"]),
    "an unsendable result": (fields(code="def run(): return object()"), 500, ["object", "return"]),
    "another method": ({"method": "PUT"}, 405, ["GET", "POST"]),
}
each_refusal = pytest.mark.parametrize(("ask", "status", "words"), REFUSALS.values(), ids=REFUSALS.keys())


def ask_for(server: Server, request: dict[str, Any], path: str = "/", **headers: str) -> httpx.Response:
    request = {**request, "headers": {**request.get("headers", {}), **headers}}
    return server.client().request(url=path, **request)


@each_refusal
def test_a_refusal_is_text_that_says_what_to_do(
    server: Server, ask: dict[str, Any], status: int, words: list[str]
) -> None:
    answer = ask_for(server, ask)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert [word for word in words if word not in answer.text] == [], answer.text
    assert answer.text.endswith("\n")


@each_refusal
def test_a_refusal_is_a_problem_for_who_likes_json(
    server: Server, ask: dict[str, Any], status: int, words: list[str]
) -> None:
    answer = ask_for(server, ask, Accept="application/json")
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert isinstance(problem["type"], str)
    assert [word for word in words if word not in problem["detail"]] == [], problem["detail"]


JSON, TEXT = "application/problem+json", "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
        ("text/plain", TEXT),
        ("application/json;q=0.5, text/plain", TEXT),
        ("application/json;q=0, */*", TEXT),
        ("image/png", TEXT),
        ("application/json", JSON),
        ("application/problem+json", JSON),
        ("application/json, text/plain;q=0.5", JSON),
        ("application/json, */*;q=0.1", JSON),
    ],
)
def test_accept_decides_about_the_form_of_a_refusal(server: Server, accept: str, kind: str) -> None:
    assert server.post(headers={"Accept": accept}).headers["Content-Type"] == kind


def test_an_unknown_code_id_has_a_type_of_its_own(server: Server) -> None:
    answer = server.post(json={"code_id": UNKNOWN}, headers={"Accept": "application/json"})
    assert answer.json()["type"].endswith("code-not-found")


def test_an_unknown_code_id_runs_nothing_and_works_once_the_code_is_sent(server: Server) -> None:
    code = "def run(): return 'known now'"
    assert server.post(json={"code_id": code_id(code)}).status_code == 404
    assert server.run(code).text == "known now"
    assert server.post(json={"code_id": code_id(code)}).text == "known now"


def test_a_code_id_may_be_written_in_capitals(server: Server) -> None:
    server.run(SHOW)
    hexadecimal = code_id(SHOW).removeprefix("sha256:").upper()
    assert server.post(json={"code_id": f"sha256:{hexadecimal}"}).status_code == 200


def test_arguments_that_do_not_fit_run_nothing(server: Server, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    code = f"def run(request, a): open({str(ran)!r}, 'w')"
    for arguments in ({}, {"b": 1}, {"a": 1, "b": 1}):
        assert server.run(code, **arguments).status_code == 400
    assert not ran.exists()


def test_a_type_error_within_the_adaptor_is_its_own(server: Server) -> None:
    """And no sign that the arguments did not fit."""
    answer = server.run("def f(x): pass\ndef run(a):\n    return f()\n", a=1)
    assert answer.status_code == 500
    assert "TypeError" in answer.text
    assert "line 3" in answer.text


def test_a_body_too_large_is_refused_by_nginx(server: Server) -> None:
    assert server.run(SHOW, "/small/", a="x" * 2000).status_code == 413


def test_the_traceback_is_the_adaptors_own(server: Server) -> None:
    code = "def deep(x):\n    return [][x]\n\ndef run(request, x):\n    return deep(x)\n"
    text = server.run(code, x=1).text
    assert text.startswith("Traceback (most recent call last):\n")
    assert "line 5, in run\n    return deep(x)\n" in text
    assert "line 2, in deep\n    return [][x]\n" in text
    assert text.endswith("IndexError: list index out of range\n")
    assert text.count("  File ") == 2


def test_the_traceback_shows_the_library_that_failed(server: Server) -> None:
    text = server.run("import json\ndef run():\n    json.loads('{')\n").text
    assert "line 3, in run\n    json.loads('{')\n" in text
    assert "json/decoder.py" in text
    assert "JSONDecodeError" in text


def test_the_traceback_shows_causes(server: Server) -> None:
    code = "def run():\n    try:\n        1 / 0\n    except ZeroDivisionError as e:\n        raise ValueError('outer') from e\n"
    text = server.run(code).text
    assert "ZeroDivisionError" in text
    assert "direct cause" in text
    assert "ValueError: outer" in text
    assert "owt/engine/runtime" not in text


def test_the_traceback_of_a_failing_load_is_the_adaptors_own(server: Server) -> None:
    text = server.run("import math\n\nx = math.sqrt(-1)\ndef run(): pass\n").text
    assert "line 3, in <module>\n    x = math.sqrt(-1)\n" in text
    assert "ValueError" in text
    assert text.count("  File ") == 1


def test_the_traceback_of_a_missing_module_names_it(server: Server) -> None:
    answer = server.run("import no_such_module_here\ndef run(): pass\n")
    assert answer.status_code == 500
    assert "No module named 'no_such_module_here'" in answer.text
    assert "importlib" not in answer.text


def test_a_traceback_is_in_the_error_log_as_well(server: Server) -> None:
    server.run("def run():\n    raise RuntimeError('in the log')\n")
    server.wait_log(r"\[error\].*RuntimeError: in the log")


def test_an_exception_whose_text_fails_is_a_500(server: Server) -> None:
    code = "class E(Exception):\n    def __str__(self): raise E\ndef run(): raise E\n"
    assert server.run(code).status_code == 500


def test_an_exception_with_half_a_surrogate_pair_is_a_500(server: Server) -> None:
    answer = server.run("def run(): raise ValueError('\\ud800!')")
    assert answer.status_code == 500
    assert "ValueError" in answer.text


@pytest.mark.parametrize("accept", ["text/plain", "application/json"])
def test_a_hidden_traceback_leaves_an_error_id_that_is_in_the_log(server: Server, accept: str) -> None:
    code = "def run():\n    raise RuntimeError('quite secret')\n"
    answer = server.post("/hidden/", json={"code": code}, headers={"Accept": accept})
    text = answer.json()["detail"] if "json" in accept else answer.text
    assert answer.status_code == 500
    assert "secret" not in text
    assert "line" not in text
    words = (word.strip(".:,;") for word in text.split())
    ids = [word for word in words if len(word) >= 8 and all(c in "0123456789abcdef" for c in word)]
    assert len(ids) == 1, text
    server.wait_log(rf"{ids[0]}.*quite secret")


def test_no_output_within_owt_timeout_is_a_504(server: Server) -> None:
    answer = server.run(
        "import time\ndef run(): time.sleep(0.01) or [time.sleep(0.01) for _ in range(3000)]", "/brief/"
    )
    assert answer.status_code == 504
    assert "owt_timeout" in answer.text


def test_output_within_owt_timeout_is_no_504(server: Server) -> None:
    code = "import time\ndef run():\n    for i in range(6):\n        time.sleep(0.1)\n        yield f'{i}'\n"
    assert server.run(code, "/brief/").text == "012345"


def test_a_full_queue_is_a_503(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start("owt_instance default { threads 1; queue 1; }" + CONF)
    code = "def run(gate): pause(gate)\n" + PAUSE
    with ThreadPoolExecutor() as pool:
        running, waiting = Gate(tmp_path, "running"), Gate(tmp_path, "waiting")
        calls = [pool.submit(server.client().post, "/", json={"code": code, "gate": str(running)})]
        running.wait_reached()
        clients = [server.client() for _ in range(4)]
        calls += [pool.submit(client.post, "/", json={"code": code, "gate": str(waiting)}) for client in clients]
        wait_until(lambda: sum(call.done() for call in calls) == 3, "all but one refused")
        refused = [call.result() for call in calls if call.done()]
        running.open()
        waiting.open()
        served = [call.result().status_code for call in calls if call.result() not in refused]
    assert served == [200, 200]
    assert {answer.status_code for answer in refused} == {503}
    assert {answer.headers["Retry-After"].isdigit() for answer in refused} == {True}
    assert "try again" in refused[0].text


# ---- variables -------------------------------------------------------------------------------------------------------


def logged(server: Server, path: str) -> list[str]:
    """What stands behind the path in the access log."""
    line = wait_until(
        lambda: next((line for line in server.access_log.splitlines() if line.startswith(f"{path} ")), ""),
        f"{path} in the access log",
    )
    return [word.strip("[]") for word in line.split(" ")[1:]]


@pytest.mark.parametrize("send", [by_query, by_json, by_form])
def test_variables_tell_of_a_call(server: Server, send: Send) -> None:
    path = f"/variables/{send.__name__}"
    code = "import time\ndef walk(): time.sleep(0.05)\n"
    send(server, path, code=code, fn_name="walk")
    status, id, function, queue_time, run_time = logged(server, path)
    assert status == "200"
    assert id.removeprefix("sha256:") == code_id(code).removeprefix("sha256:")
    assert function == "walk"
    assert 0 <= float(queue_time) < 5
    assert 0.05 <= float(run_time) < 5


def test_run_is_the_function_of_a_call_that_names_none(server: Server) -> None:
    server.run(SHOW, "/variables/run")
    assert logged(server, "/variables/run")[2] == "run"


def test_variables_tell_of_a_failed_call(server: Server) -> None:
    code = "def run(): raise ValueError"
    server.run(code, "/variables/failed")
    status, id, function, *_ = logged(server, "/variables/failed")
    assert (status, function) == ("500", "run")
    assert id.endswith(code_id(code).removeprefix("sha256:"))


def test_variables_of_a_call_that_waited_tell_so(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start("owt_instance default { threads 1; }" + CONF)
    code = "def run(gate): pause(gate)\n" + PAUSE
    gate = Gate(tmp_path)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(server.run, code, gate=str(gate))
        gate.wait_reached()
        with server.connect() as waiting:
            body = json.dumps({"code": SHOW}).encode()
            head = (
                f"POST /waited HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            waiting.sendall(head.encode() + body)
            assert server.client().put("/").status_code == 405  # so the loop has come past it
            gate.open()
            assert first.result().status_code == 200
            assert waiting.recv(100).startswith(b"HTTP/1.1 200")
    assert float(logged(server, "/waited")[3]) > 0


def test_variables_are_empty_where_there_is_no_call(start: Callable[..., Server]) -> None:
    server = start(CONF.replace("location / ", "location /plain { return 200 plain; }\nlocation / "))
    server.get("/plain")
    assert all(word in ("", "-") for word in logged(server, "/plain")[1:])
