import json
import sys
from collections.abc import Callable
from types import ModuleType

import pytest
from owt.asked import arguments

PASS = [
    ("def run(_): return type(_).__name__", {}, "Request"),
    ("def run(request, name): return name", {"name": "a"}, "a"),
    ("def run(request=None): return type(request).__name__", {}, "Request"),
    ("def run(name: str): return name", {"name": "a"}, "a"),
    ("def run(text=''): return text or 'none'", {}, "none"),
    ("def run(): return 'x'", {}, "x"),
    ("lambda name: name", {"name": "a"}, "a"),
    ("lambda r: type(r).__name__", {}, "Request"),
    ("from werkzeug.wrappers import Request\ndef run(r: Request): return type(r).__name__", {}, "Request"),
    ("def run(r: 'flask.Request', a): return type(r).__name__ + a", {"a": "b"}, "Requestb"),
    ("def run(*args, **kwargs): return str((args, kwargs))", {"a": 1}, "((), {'a': 1})"),
    ("def run(request, a, b=2, /, c=3): return str((a, b, c))", {"a": 1, "c": 4}, "(1, 2, 4)"),
    ("def run(a: int = 1, b: int = 2, /): return str((a, b))", {"b": 5}, "(1, 5)"),
    # a value without a name
    ("lambda text: text", {"__last__": "v"}, "v"),
    ("def run(request, text): return text", {"__last__": "v"}, "v"),
    ("def run(request, text, style='s'): return text + style", {"__last__": "v"}, "vs"),
    ("def run(request, text='t'): return text", {"__last__": "v"}, "v"),
    ("def run(request, text, style): return text + style", {"__last__": "v", "style": "s"}, "vs"),
    ("def run(request, **kw): return str(kw)", {"__last__": "v"}, "{'__last__': 'v'}"),
    ("def run(__last__): return __last__", {"__last__": "v"}, "v"),
    ("def run(text: str, /): return text", {"__last__": "v"}, "v"),
    ("run = dict", {"a": 1}, '{"a":1}\n'),
]


@pytest.mark.parametrize(("source", "kwargs", "answer"), PASS)
def test_binds(call, source, kwargs, answer):
    done = call(source, kwargs=kwargs)
    assert (done.status, done.text) == (200, answer)


FAIL = [
    ("def run(request, name): 1/0", {}, ["run(request, name)", "missing: name"]),
    ("def run(request): 1/0", {"name": "a", "b": 1}, ["run(request)", "not taken: b, name"]),
    ("def run(request): 1/0", {"request": "a"}, ["not taken: request"]),
    ("def run(request, **kw): 1/0", {"request": "a"}, ["not taken: request"]),
    ("def run(name, request): 1/0", {"name": "a"}, ["missing: request. The request is given to the first parameter"]),
    ("def run(request, a=1, b=2): 1/0", {"__last__": "v"}, ["not clear"]),
    ("def run(): 1/0", {"__last__": "v"}, ["no parameter is free"]),
]


@pytest.mark.parametrize(("source", "kwargs", "parts"), FAIL)
def test_refuses_what_does_not_fit(call, source, kwargs, parts):
    done = call(source, kwargs=kwargs)
    assert (done.status, done.type) == (400, "bad-arguments")
    assert all(part in done.text for part in parts), done.text


def test_type_error_inside_is_the_adaptors(call):
    done = call("def run(request):\n    return len(5)")
    assert done.status == 500
    assert "line 2, in run" in done.text
    assert "return len(5)" in done.text
    assert done.text.endswith("TypeError: object of type 'int' has no len()\n")


KWARGS = [
    ('{"a": 1}', {"a": 1}),
    ("{'a': 1 + 1}", {"a": 2}),
    ("dict(a=helper())", {"a": "h"}),
    ("5", {"__last__": 5}),
    ("hello world", {"__last__": "hello world"}),
    ("hello", {"__last__": "hello"}),
    ("[1]\n", {"__last__": [1]}),
    ("\"{'a': 1}\"", {"a": 1}),
    ('"[1]"', {"__last__": "[1]"}),
    ("null", {"__last__": None}),
    ("hello (world)", {"__last__": "hello (world)"}),
    ("3 apples", {"__last__": "3 apples"}),
    ("word.upper()", {"__last__": "word.upper()"}),
    ("{'a': request.method}", {"a": "GET"}),
    ("dict(a=[request.method for _ in 'ab'])", {"a": ["GET", "GET"]}),
    ("{'a': (b := 2), 'c': b}", {"a": 2, "c": 2}),
]


@pytest.mark.parametrize(("text", "kwargs"), KWARGS)
def test_kwargs_text(call, text, kwargs):
    source = "helper = lambda: 'h'\ndef run(request, **kw): return [(k, kw[k]) for k in kw]"
    for _ in range(2):  # compiled, then remembered
        assert call(source, text=text).json == [list(item) for item in kwargs.items()]


BAD_KWARGS = {
    "1/0": "ZeroDivisionError: division by zero",
    "{1: 2}": "its key 1 is not a str",
    "exit()": "SystemExit",
    "broken()": "NameError: name 'missing' is not defined",
    # what looks like code is code
    "(": "'(' was never closed",
    "{'name': nam}": "NameError: name 'nam' is not defined",
    "{'name': 'x'": "'{' was never closed",
    " {'name': 'x', 5}": "SyntaxError: ':' expected after dictionary key",
    "dict(name=user)": "NameError: name 'user' is not defined",
    "array([1, 2)": "does not match opening parenthesis",
    "[1, nam]": "NameError: name 'nam' is not defined",
    "(laughs)": "NameError: name 'laughs' is not defined",
    '{"a": true,}': "as JSON it is not valid",
    "{'a': (yield)}": "outside function",
    "{'a': await x}": "outside function",
    "(" * 500: "too many nested parentheses",
    "{'a': request.pat}": "AttributeError",
}


@pytest.mark.parametrize("text", BAD_KWARGS)
def test_bad_kwargs(call, text):
    for _ in range(2):
        done = call("def broken(): return missing\ndef run(**kw): 1/0", text=text)
        assert (done.status, done.type) == (400, "bad-kwargs")
        assert BAD_KWARGS[text] in done.text, done.text


def test_kwargs_are_evaluated_for_each_call(call):
    source = "import itertools\ncount = itertools.count()\ndef run(n: int): return n"
    assert [call(source, text="{'n': next(count)}").text for _ in range(3)] == ["0", "1", "2"]


# ---- JSON -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "[1, -Infinity]", "1e999", "1e-400", "-0", "-0.0", "5e-324", "123456789012345678901234567890", "1.0"),
        *(
            '"\\ud83d"',
            '"\ud800"',
            '"\\u0000"',
            '{"a": 1, "a": 2}',
            " \n1\t",
            "[1,]",
            "01",
            "nul",
            "",
            "\ufeff1",
            "1" * 5000,
        ),
    ],
)
def test_json_is_read_as_python_reads_it(text: str) -> None:
    def read(how: Callable[[str], object]) -> str:
        try:
            return repr(how(text))
        except ValueError:
            return "ValueError"

    assert read(arguments.read_json) == read(json.loads)


# ---- what is said of it

ANNOTATED = "from __future__ import annotations\n"
SAID = [
    ("from typing import Annotated\ndef run(n: Annotated[int, 'so many'] = 1): 1/0", "run(n: int = 1):"),
    (f"{ANNOTATED}import typing as t\ndef run(n: t.Annotated[int, 'so many']) -> str: 1/0", "run(n: int) -> str:"),
    (
        f"{ANNOTATED}from typing import Annotated\ndef run(n: list[Annotated[int, 1]] = []): 1/0",
        "run(n: list[int] = []):",
    ),
    ("def run(n: 'int | None' = None): 1/0", "run(n: int | None = None):"),
    ("def helper(): ...\ndef run(n=helper, m=object()): 1/0", "run(n=<function helper>, m=<object object>):"),
]


@pytest.mark.parametrize(("source", "shown"), SAID)
def test_a_signature_is_shown_as_it_is_read(call, source, shown):
    done = call(source, kwargs={"other": "1"})
    assert (done.status, done.type) == (400, "bad-arguments")
    assert shown in done.text


@pytest.mark.parametrize("fields", [{"x": 1}, {"x": 1, "y": 2}, {"a": 1, "b": 2, "c": 3, "d": 4}])
def test_the_fields_of_an_object_alone_are_told_where_they_belong(call, fields):
    source = "from dataclasses import dataclass\n@dataclass\nclass Point:\n    x: float\ndef run(point: Point): 1/0"
    done = call(source, kwargs=dict(fields))
    inner = ", ".join(f'"{name}": ...' for name in list(fields)[:3]) + (", ..." if len(fields) > 3 else "")
    assert done.text.endswith(f'What belongs to point is sent within it: {{"point": {{{inner}}}}}.')


@pytest.fixture
def fastapi(monkeypatch):
    """As much of FastAPI as says what a parameter depends on."""
    params = ModuleType("fastapi.params")
    exec("class Depends:\n    def __init__(self, dependency): self.dependency = dependency\n", vars(params))
    params.Depends.__module__ = "fastapi.params"
    monkeypatch.setitem(sys.modules, "fastapi.params", params)


@pytest.mark.parametrize(
    "parameter", ["q=Depends(common)", "q: Annotated[dict, Depends(common)]", "q: 'Annotated[dict, Depends(common)]'"]
)
def test_what_only_fastapi_can_make(call, fastapi, parameter):
    source = (
        "from typing import Annotated\nfrom fastapi.params import Depends\n"
        f"def common(): ...\ndef run({parameter}): return q"
    )
    told = call(source)
    assert told.status == 400
    assert told.text.startswith("q of run is what only FastAPI can make, Depends(common): call common() within run")
    assert call(source, kwargs={"q": {"a": 1}}).text == '{"a":1}\n'


def test_who_expects_starlettes_request_is_told_whose_it_is(call):
    source = (
        "class Request: ...\nRequest.__module__ = 'starlette.requests'\n"
        "def run(request: Request): return request.url.path"
    )
    done = call(source)
    assert done.status == 500
    assert "request is Werkzeug's Request, not Starlette's: request.path" in done.text
    assert "Starlette" not in call(source.replace("request.url.path", "1/0")).text
