"""Arguments follow annotations: what came as text, as JSON or as a file becomes what the parameter wants."""

import io
import math
import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import fake_owt
import pytest
from werkzeug.datastructures import FileStorage

PRELUDE = """
import collections, datetime, decimal, enum, fractions, functools, io, numbers, os, pathlib, typing, uuid
import collections.abc as abc
from dataclasses import dataclass, field, InitVar
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import *
from uuid import UUID
from msgspec import Meta, Struct
from werkzeug.datastructures import FileStorage

class Color(enum.Enum): RED = "red"; BLUE = "blue"
class Size(enum.IntEnum): S = 1; L = 2
class Mixed(enum.Enum): A = 1.5; B = (1, 2); C = None
class Bits(enum.IntFlag): X = 1; Y = 2
class Port(int): pass
class Name(str): pass
class Tags(list): pass
class Plain: pass
@dataclass
class Point:
    x: int
    y: float = 0
    on: bool = False
@dataclass
class Line:
    points: list[Point]
    name: str | None = None
@dataclass
class Tree:
    value: int
    children: list["Tree"] = field(default_factory=list)
@dataclass
class Odd:
    path: Mixed
    scale: InitVar[int] = 1
    def __post_init__(self, scale):
        self.scaled = scale * 2
@dataclass
class Positive:
    n: int
    def __post_init__(self):
        if self.n < 0: raise ValueError("n is negative")
class Pair(NamedTuple):
    a: int
    b: str = "b"
class Opts(TypedDict):
    depth: int
    wide: NotRequired[bool]
class Packed(Struct):
    a: int
    b: str = ""
Alias = NewType("Alias", int)
Bound = TypeVar("Bound", bound=int)
"""

#: Annotation, what came, the repr of what the function gets.
FITS = [
    ("int", "3", "3"),
    ("int", " 3\n", "3"),
    ("int", "-3", "-3"),
    ("int", "3.0", "3"),
    ("int", "9" * 30, "9" * 30),
    ("int", 3, "3"),
    ("int", 3.0, "3"),
    ("float", "3", "3.0"),
    ("float", "1e3", "1000.0"),
    ("float", "nan", "nan"),
    ("float", 3, "3.0"),
    ("float", 0.5, "0.5"),
    *[("bool", text, "True") for text in ("true", "True", "1", "yes", "ON", " on ")],
    *[("bool", text, "False") for text in ("false", "0", "no", "off", "FALSE")],
    ("bool", False, "False"),
    ("bool", 0, "False"),
    ("bool", 1, "True"),
    ("str", "3", "'3'"),
    ("str", "", "''"),
    ("bytes", "é", repr("é".encode())),
    ("bytearray", "a", "bytearray(b'a')"),
    ("None", "", "None"),
    ("None", "null", "None"),
    ("Literal['a', 'b']", "b", "'b'"),
    ("Literal[1, 2]", "2", "2"),
    ("Literal[1, 2]", 2, "2"),
    ("Literal[True, 'auto']", "yes", "True"),
    ("Literal[True, 'auto']", "auto", "'auto'"),
    ("Literal[None, 3]", "", "None"),
    ("Literal[Color.RED]", "RED", "<Color.RED: 'red'>"),
    ("Color", "red", "<Color.RED: 'red'>"),
    ("Color", "RED", "<Color.RED: 'red'>"),
    ("Size", "2", "<Size.L: 2>"),
    ("Size", 2, "<Size.L: 2>"),
    ("Size", "L", "<Size.L: 2>"),
    ("Mixed", "1.5", "<Mixed.A: 1.5>"),
    ("Mixed", 1.5, "<Mixed.A: 1.5>"),
    ("Mixed", [1, 2], "<Mixed.B: (1, 2)>"),
    ("Mixed", "B", "<Mixed.B: (1, 2)>"),
    ("Bits", "3", "<Bits.X|Y: 3>"),
    ("Port", "80", "80"),
    ("type(Port(1))", "80", "80"),
    ("Name", "x", "'x'"),
    ("complex", "1+2j", "(1+2j)"),
    ("fractions.Fraction", "1/3", "Fraction(1, 3)"),
    ("numbers.Real", "1.5", "1.5"),
    ("numbers.Real", "2", "2"),
    ("Decimal", "1.10", "Decimal('1.10')"),
    ("Decimal", 1.1, "Decimal('1.1')"),
    ("UUID", "12345678123456781234567812345678", "UUID('12345678-1234-5678-1234-567812345678')"),
    ("date", "2024-02-29", "datetime.date(2024, 2, 29)"),
    ("datetime.datetime", "2024-02-29T10:30", "datetime.datetime(2024, 2, 29, 10, 30)"),
    (
        "datetime.datetime",
        "2024-02-29T10:30:00Z",
        "datetime.datetime(2024, 2, 29, 10, 30, tzinfo=datetime.timezone.utc)",
    ),
    ("datetime.datetime", 0, "datetime.datetime(1970, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)"),
    ("time", "10:30", "datetime.time(10, 30)"),
    ("timedelta", "90", "datetime.timedelta(seconds=90)"),
    ("timedelta", 1.5, "datetime.timedelta(seconds=1, microseconds=500000)"),
    ("timedelta", "PT1H", "datetime.timedelta(seconds=3600)"),
    # None, unions
    ("int | None", "3", "3"),
    ("int | None", "", "None"),
    ("int | None", "null", "None"),
    ("Optional[float]", " ", "None"),
    ("str | None", "", "''"),
    ("str | None", "null", "'null'"),
    ("bool | None", "", "None"),
    ("date | None", "", "None"),
    ("Color | None", "", "None"),
    ("list[int] | None", "", "None"),
    ("int | float", "3", "3"),
    ("int | float", "3.5", "3.5"),
    ("float | int", 3, "3"),
    ("int | str", "3", "'3'"),
    ("float | Literal['auto']", "auto", "'auto'"),
    ("float | Literal['auto']", "2", "2.0"),
    ("bool | int", "2", "2"),
    ("int | list[int]", "3", "3"),
    ("int | list[int]", "[3]", "[3]"),
    ("str | list[str]", ["a", "b"], "['a', 'b']"),
    ("list[str] | None", "a", "['a']"),
    ("Point | Pair", {"a": 1}, "Pair(a=1, b='b')"),
    ("dict | list", "[1]", "[1]"),
    ("dict | list", '{"a": 1}', "{'a': 1}"),
    # containers
    ("list[str]", "a", "['a']"),
    ("list[str]", '["a", "b"]', "['a', 'b']"),
    ("list[str]", "[draft] note", "['[draft] note']"),
    ("list[str]", ["a", "b"], "['a', 'b']"),
    ("list[int]", ["1", "2"], "[1, 2]"),
    ("list[int]", "[1, 2]", "[1, 2]"),
    ("list[int]", '["1", 2.0]', "[1, 2]"),
    ("list[int]", 5, "[5]"),
    ("list[bool]", ["yes", "off"], "[True, False]"),
    ("list[list[int]]", ["[1]", "[2, 3]"], "[[1], [2, 3]]"),
    ("list[dict]", '{"a": 1}', "[{'a': 1}]"),
    ("list", "a", "['a']"),
    ("list", "[1, null]", "[1, None]"),
    ("List[int]", "[1]", "[1]"),
    ("List", "a", "['a']"),
    ("abc.Sequence[int]", ["1"], "[1]"),
    ("abc.Iterable[int]", ["1"], "[1]"),
    ("set[int]", ["1", "1", "2"], "{1, 2}"),
    ("frozenset[str]", "a", "frozenset({'a'})"),
    ("collections.deque[int]", "[1]", "deque([1])"),
    ("Tags", "a", "['a']"),
    ("tuple", "a", "('a',)"),
    ("Tuple", "[1]", "(1,)"),
    ("tuple[int, ...]", ["1", "2"], "(1, 2)"),
    ("tuple[int, str]", ["1", "2"], "(1, '2')"),
    ("tuple[int, str]", '[1, "b"]', "(1, 'b')"),
    ("tuple[int]", "1", "(1,)"),
    ("dict", '{"a": 1}', "{'a': 1}"),
    ("dict[str, int]", {"a": "1"}, "{'a': 1}"),
    ("dict[int, bool]", '{"1": "yes"}', "{1: True}"),
    ("Mapping[str, float]", {"a": 1}, "{'a': 1.0}"),
    ("collections.OrderedDict", '{"a": 1}', repr(OrderedDict(a=1))),
    ("collections.defaultdict[str, int]", '{"a": "1"}', "defaultdict(None, {'a': 1})"),
    # records
    ("Point", '{"x": 1}', "Point(x=1, y=0, on=False)"),
    ("Point", {"x": "1", "y": 2, "on": "yes", "more": 0}, "Point(x=1, y=2.0, on=True)"),
    ("list[Point]", ['{"x": 1}', '{"x": 2}'], "[Point(x=1, y=0, on=False), Point(x=2, y=0, on=False)]"),
    ("Line", {"points": [{"x": 1}], "name": "null"}, "Line(points=[Point(x=1, y=0, on=False)], name='null')"),
    ("Tree", {"value": 1, "children": [{"value": "2"}]}, "Tree(value=1, children=[Tree(value=2, children=[])])"),
    ("Odd", {"path": 1.5, "scale": "3"}, "Odd(path=<Mixed.A: 1.5>)"),
    ("Pair", {"a": "1"}, "Pair(a=1, b='b')"),
    ("Pair", '[1, "c"]', "Pair(a=1, b='c')"),
    ("Opts", {"depth": "1", "wide": "no"}, "{'depth': 1, 'wide': False}"),
    ("Opts", '{"depth": 1}', "{'depth': 1}"),
    ("Packed", '{"a": 1}', "Packed(a=1, b='')"),
    # what says nothing of values, or only a little
    ("Alias", "3", "3"),
    ("Bound", "3", "3"),
    ("Annotated[int, 'a note']", "3", "3"),
    ("Annotated[int, Meta(ge=1, le=9)]", "3", "3"),
    ("Annotated[list[int], Meta(max_length=2)]", ["1", "2"], "[1, 2]"),
    ("Annotated[bool, Meta(description='x')]", "off", "False"),
    ("list[Annotated[int, Meta(gt=0)]]", ["1"], "[1]"),
    # no conversion is known: as it came
    ("Any", "3", "'3'"),
    ("object", "3", "'3'"),
    ("Callable", "3", "'3'"),
    ("abc.Callable[[int], int]", "3", "'3'"),
    ("Hashable", "3", "'3'"),
    ("type", "3", "'3'"),
    ("5", "3", "'3'"),
    ("'some text'", "3", "'3'"),
    ("'Nowhere'", "3", "'3'"),
    ("(int, float)", "3", "'3'"),
    ("list['Nowhere']", "3", "'3'"),
    ("AnyStr", "3", "'3'"),
]


@pytest.mark.parametrize(("annotation", "came", "got"), FITS)
def test_fits(call, annotation, came, got):
    done = call(f"{PRELUDE}\ndef run(x: {annotation}): return repr(x)", kwargs={"x": came})
    assert (done.status, done.text) == (200, got)


@pytest.mark.parametrize(("annotation", "came", "got"), FITS)
def test_fits_where_annotations_are_text(call, annotation, came, got):
    source = f"from __future__ import annotations\n{PRELUDE}\ndef run(x: {annotation}): return repr(x)"
    done = call(source, kwargs={"x": came})
    assert (done.status, done.text) == (200, got)


#: Annotation, what came, parts of what is said.
MISFITS = [
    ("int", "abc", ["x wants int (a whole number), and 'abc' came"]),
    ("int", "", ["x wants int", "'' came"]),
    ("int", "3.5", []),
    ("int", 3.5, []),
    ("int", True, ["True came"]),
    ("int", "9" * 5000, ["... came"]),
    ("int", [1], []),
    ("int", None, ["None came"]),
    ("float", "1,5", []),
    ("float", True, []),
    ("bool", "maybe", ["bool (true or false, 1 or 0, yes or no, on or off)"]),
    ("bool", "", []),
    ("bool", 2, []),
    ("bool", 1.0, []),
    ("str", 5, ["x wants str", "5 came"]),
    ("str", ["a"], []),
    ("bytes", "\ud800", []),
    ("bytes", 5, []),
    ("None", "x", []),
    ("Literal['a', 'b']", "c", ["one of 'a', 'b'"]),
    ("Literal[1]", True, []),
    ("Color", "green", ["one of 'red', 'blue' (Color)"]),
    ("Size", "3", []),
    ("Port", "x", []),
    ("fractions.Fraction", "1/0", []),
    ("Decimal", "x", []),
    ("Decimal", True, []),
    ("UUID", "x", []),
    ("date", "29.2.2024", ["as 2024-12-31"]),
    ("datetime.datetime", "x", []),
    ("time", "25:00", []),
    ("timedelta", "x", ["seconds"]),
    ("int | None", "x", ["int (a whole number) or None", "'x' came"]),
    ("int | list[int]", ["x"], ["x[0] wants int"]),
    ("list[int]", "x", ["x[0] wants int (a whole number), and 'x' came"]),
    ("list[int]", "1,2", ["(a whole number), several as so many fields or as a JSON array, and '1,2' came"]),
    ("list[int]", ["1", "b"], ["x[1] wants int (a whole number), and 'b' came"]),
    ("list[list[int]]", "[1, 2]", ["x[0] wants list[int], and 1 came"]),
    ("set[int]", {"a": 1}, []),
    ("set", "[[1]]", ["unhashable"]),
    ("tuple[int, str]", ["1"], ["2 items", "1 came"]),
    ("tuple[int, int]", "3", []),
    ("dict", "x", ["dict (a JSON object)"]),
    ("dict[str, int]", {"a": "b"}, ["x['a'] wants int"]),
    ("dict", "[1]", []),
    ("Point", '{"y": 1}', ["x.x wants int (a whole number), and nothing came"]),
    ("Point", "{x: 1}", ["Point (a JSON object)"]),
    ("Line", {"points": [{"x": 1}, {"x": "b"}]}, ["x.points[1].x wants int", "'b' came"]),
    ("Positive", '{"n": -1}', ["Positive", "n is negative"]),
    ("Pair", "[]", ["x.a wants int", "nothing came"]),
    ("Pair", '[1, "a", 2]', []),
    ("Opts", "{}", ["x.depth wants int", "nothing came"]),
    ("Packed", '{"a": "b"}', ["Packed", "$.a"]),
    ("Annotated[int, Meta(ge=5)]", "3", ["x wants int >= 5, and '3' came"]),
    ("list[Annotated[int, Meta(gt=0)]]", ["1", "-1"], ["x[1] wants int >= 1"]),
    ("Path", "photo.jpg", ["Path (a file, sent as a file of a form: curl -F NAME=@FILE), and 'photo.jpg' came"]),
    ("BinaryIO", "photo.jpg", ["a file"]),
    ("FileStorage", "photo.jpg", ["a file"]),
    ("list[Path]", "photo.jpg", ["x[0] wants", "a file"]),
    ("int", "\ud800", []),
    ("int | None", "\ud800", []),
    ("UUID", "\ud800", []),
    ("datetime.datetime", "\ud800", []),
    ("list[int]", ["\ud800"], []),
    ("Packed", {"a": "\ud800"}, []),
    ("float | Literal['auto']", "\ud800", []),
    ("Plain", "x", ["an instance of Plain, which text and JSON cannot be"]),
]


@pytest.mark.parametrize(("annotation", "came", "parts"), MISFITS)
def test_what_does_not_fit_is_refused(call, annotation, came, parts):
    done = call(f"{PRELUDE}\ndef run(x: {annotation}): 1/0", kwargs={"x": came})
    assert (done.status, done.type) == (400, "bad-arguments"), done.text
    assert "do not fit run(x: " in done.text
    assert "sha256" not in done.text
    assert all(part in done.text for part in parts), done.text


def test_all_that_do_not_fit_are_named(call):
    source = "def run(request, n: int, cut: bool = False, name: str = '', free=1): 1/0"
    done = call(source, kwargs={"n": "a", "cut": "b", "name": "c", "free": "d"})
    assert done.text == (
        "These arguments do not fit run(request, n: int, cut: bool = False, name: str = '', free=1):"
        " n wants int (a whole number), and 'a' came;"
        " cut wants bool (true or false, 1 or 0, yes or no, on or off), and 'b' came."
    )


def test_no_annotation_is_as_it_came(call):
    source = "def run(request, a, b=1, *, c=None, **d): return [repr(x) for x in (a, b, c, d)]"
    kwargs = {"a": "1", "b": 2, "c": ["3"], "e": "true"}
    assert call(source, kwargs=kwargs).json == ["'1'", "2", "['3']", "{'e': 'true'}"]


def test_a_default_is_what_it_is(call):
    assert call("def run(n: int = None): return repr(n)").text == "None"
    assert call("def run(n: int = 'x'): return repr(n)").text == "'x'"
    assert call("def run(n: int = None): 1/0", kwargs={"n": None}).status == 400
    assert call("def run(n: int = None): 1/0", kwargs={"n": ""}).status == 400


@pytest.mark.parametrize(
    ("source", "kwargs", "got"),
    [
        ("def run(request, *, n: int): return n", {"n": "3"}, "3"),
        ("def run(n: int, /, m: int = 1): return n + m", {"n": "3", "m": "4"}, "7"),
        ("def run(request, **more: int): return sum(more.values())", {"a": "3", "b": "4"}, "7"),
        ("def run(n: float, **more: int): return n + more['a']", {"n": "0.5", "a": "4"}, "4.5"),
        ("def run(request, *args: int, n: int = 0): return n + 1", {"n": "3"}, "4"),
        ("class C:\n def go(self, n: int): return n + 1\nrun = C().go", {"n": "3"}, "4"),
        ("class C:\n def __call__(self, n: 'int'): return n + 1\nrun = C()", {"n": "3"}, "4"),
        ("class C:\n @classmethod\n def go(cls, n: int): return n + 1\nrun = C.go", {"n": "3"}, "4"),
        ("class C:\n def __init__(self, n: 'int'): self.n = n\n def __str__(self): return str(self.n + 1)\n"
         " def _repr_html_(self): return str(self)\nrun = C", {"n": "3"}, "4"),
        ("import functools\ndef f(m, n: int): return m + n\nrun = functools.partial(f, 1)", {"n": "3"}, "4"),
        ("import functools\ndef f(m: int, n: int): return m + n\nrun = functools.partial(f, m=1)", {"n": "3"}, "4"),
        ("import functools\ndef deco(f):\n @functools.wraps(f)\n def w(*a, **k): return f(*a, **k)\n return w\n"
         "@deco\ndef run(request, n: int): return n + 1", {"n": "3"}, "4"),
        ("import functools\n@functools.cache\ndef run(n: int): return n + 1", {"n": "3"}, "4"),
        ("async def run(n: int): return n + 1", {"n": "3"}, "4"),
        ("async def run(n: int):\n yield str(n + 1)", {"n": "3"}, "4"),
        ("def run(n: int):\n yield str(n + 1)", {"n": "3"}, "4"),
        ("lambda n: n", {"n": "3"}, "3"),
        ("f(lambda n: n)", {"n": "3"}, "3"),
        ("def f(n: int): return n + 1\nrun = pipe().f(f)", {"n": 3}, "4"),
        ("def run(n: int): return n + 1", {"__last__": "3"}, "4"),
        ("def run(__last__: int): return __last__ + 1", {"__last__": "3"}, "4"),
        ("from fractions import Fraction as run", {"numerator": 3}, "3"),
        ("def run(request: int): return request.path", {}, "/"),
    ],
)  # fmt: skip
def test_every_kind_of_callable(call, source, kwargs, got):
    done = call(source, kwargs=kwargs)
    assert (done.status, done.text) == (200, got)


def test_annotations_of_another_module_are_resolved_there(call, tmp_path, monkeypatch):
    (tmp_path / "owt_elsewhere.py").write_text(
        "from __future__ import annotations\nfrom decimal import Decimal as Money\n"
        "def pay(amount: Money): return repr(amount)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert call("from owt_elsewhere import pay as run", kwargs={"amount": "1"}).text == "Decimal('1')"


def test_one_that_cannot_be_resolved_spoils_no_other(call):
    source = (
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING: from x import Y\n"
        "def run(n: int, y: Y, z: list[Y]): return [repr(a) for a in (n, y, z)]"
    )
    assert call(source, kwargs={"n": "1", "y": "2", "z": "3"}).json == ["1", "'2'", "'3'"]


# ---- wrappers --------------------------------------------------------------------------------------------------------

WRAPPED = "def deco(f):\n    def wrapper(*args, **kwargs): return f(*args, **kwargs)\n    return wrapper\n"


@pytest.mark.parametrize(
    ("source", "kwargs", "got"),
    [
        (WRAPPED + "@deco\ndef run(name): return name", {"name": "a"}, "a"),
        (WRAPPED + "@deco\n@deco\ndef run(name): return name", {"name": "a"}, "a"),
        (WRAPPED + "@deco\ndef run(request, name): return request.path + name", {"name": "a"}, "/a"),
        (WRAPPED + "@deco\ndef run(_): return 'x'", {}, "x"),
        (WRAPPED + "@deco\ndef run(n: int): return n + 1", {"n": "3"}, "4"),
        (WRAPPED + "@deco\nasync def run(name): return name", {"name": "a"}, "a"),
        (
            "class Run:\n def __call__(self, *a, **k): return str((a, k))\nrun = Run()",
            {"name": "a"},
            "((), {'name': 'a'})",
        ),
        (
            "class Timed:\n def __init__(self, f): self.f = f\n def __call__(self, *a, **k): return self.f(*a, **k)\n"
            "@Timed\ndef run(request, name): return name",
            {"name": "a"},
            "a",
        ),
        ("def run(*args): return str(args)", {}, "()"),
        ("lambda *a, **k: str((a, k))", {"a": 1}, "((), {'a': 1})"),
    ],
)
def test_a_wrapper_that_says_nothing(call, source, kwargs, got):
    for _ in range(2):
        done = call(source, kwargs=kwargs)
        assert (done.status, done.text) == (200, got)


def test_a_wrapper_that_hides_too_much_is_told_what_to_do(call):
    source = "def g(): pass\ndef deco(f):\n def w(*a, **k):\n  g2()\n  return f(*a, **k)\n g2 = g\n return w\n"
    done = call(source + "@deco\ndef run(request, name): 1/0", kwargs={"name": "a"})
    assert done.status == 500
    assert "missing 1 required positional argument: 'request'" in done.text
    assert "functools.wraps" in done.text


# ---- the request by mistake ------------------------------------------------------------------------------------------

HINT = "name was given the request, because no argument name came"


@pytest.mark.parametrize(
    "source",
    [
        "def run(name): return 'Hello, ' + name",
        "def run(name):\n    yield 'x'\n    yield 'Hello, ' + name",
        "async def run(name): return 'Hello, ' + name",
        "async def run(name):\n    yield 'Hello, ' + name",
        "def run(name): return name",
        "def run(name): return {'hello': name}",
        "def run(name, *, n=3): return name * n",
        WRAPPED + "@deco\ndef run(name): return 'Hello, ' + name",
    ],
)
def test_a_failure_says_that_the_request_was_a_guess(call, log, source):
    done = call(source)
    assert HINT in done.text or any(HINT in text for _, _, text in log), done.text


@pytest.mark.parametrize("parameter", ["request", "_", "_req", "r", "req", "flask_request"])
def test_what_is_meant_for_the_request_is_no_guess(call, parameter):
    done = call(f"def run({parameter}): 1/0")
    assert done.status == 500
    assert "was given the request" not in done.text


def test_no_guess_is_told_of_where_all_goes_well(call):
    assert call("def run(anything): return anything.path").text == "/"


# ---- files -----------------------------------------------------------------------------------------------------------


def upload(content=b"content", name="a.txt"):
    return FileStorage(io.BytesIO(content), filename=name)


@pytest.mark.parametrize(
    ("annotation", "expression", "got"),
    [
        ("FileStorage", "x.filename + x.read().decode()", "a.txtcontent"),
        ("Path", "x.suffix + x.read_text()", ".txtcontent"),
        ("os.PathLike", "open(x).read()", "content"),
        ("os.PathLike[str]", "open(x).read()", "content"),
        ("pathlib.PosixPath", "x.read_text()", "content"),
        ("bytes", "repr(x)", "b'content'"),
        ("bytearray", "repr(x)", "bytearray(b'content')"),
        ("memoryview", "repr(bytes(x))", "b'content'"),
        ("BinaryIO", "repr(x.read(4)) + repr(x.seek(0)) + repr(x.read())", "b'cont'0b'content'"),
        ("IO[bytes]", "repr(x.read())", "b'content'"),
        ("IO", "repr(x.read())", "b'content'"),
        ("typing.BinaryIO", "repr(x.read())", "b'content'"),
        ("io.IOBase", "repr(x.read())", "b'content'"),
        ("io.BufferedReader", "repr(x.peek()[:2]) + repr(x.read())", "b'co'b'content'"),
        ("io.BytesIO", "repr(x.getvalue())", "b'content'"),
        ("TextIO", "repr(x.readlines())", "['content']"),
        ("IO[str]", "x.read()", "content"),
        ("io.StringIO", "x.getvalue()", "content"),
        ("str", "x", "content"),
        ("str | None", "x", "content"),
        ("Path | None", "x.read_text()", "content"),
        ("str | Path", "type(x).__name__", "PosixPath"),
        ("bytes | str", "repr(x)", "b'content'"),
        ("list[Path]", "[p.read_text() for p in x]", '["content"]\n'),
        ("list[bytes]", "repr(x)", "[b'content']"),
        ("list[FileStorage]", "[f.filename for f in x]", '["a.txt"]\n'),
        ("list", "[f.filename for f in x]", '["a.txt"]\n'),
        ("tuple[Path, ...] | None", "[p.read_text() for p in x]", '["content"]\n'),
        ("Annotated[Path, 'x']", "x.read_text()", "content"),
        ("Annotated[Path, Meta(description='x')]", "x.read_text()", "content"),
        ("object", "x.filename", "a.txt"),
    ],
)
def test_a_file(call, annotation, expression, got):
    done = call(f"{PRELUDE}\ndef run(x: {annotation}): return {expression}", kwargs={"x": upload()})
    assert (done.status, done.text) == (200, got)


def test_a_file_where_no_file_is_wanted_is_its_text(call):
    for annotation, content, got in [
        ("int", b"5\n", "5"),
        ("dict", b'{"a": 1}', "{'a': 1}"),
        ("list[int]", b"[1, 2]", "[1, 2]"),
        ("Point", b'{"x": 1}', "Point(x=1, y=0, on=False)"),
        ("Packed", b'{"a": 1}', "Packed(a=1, b='')"),
    ]:
        done = call(f"{PRELUDE}\ndef run(x: {annotation}): return repr(x)", kwargs={"x": upload(content)})
        assert (done.status, done.text) == (200, got)
    for annotation in ("int", "str", "dict", "list[int]", "TextIO"):
        done = call(f"{PRELUDE}\ndef run(x: {annotation}): 1/0", kwargs={"x": upload(b"\xff")})
        assert (done.status, done.type) == (400, "bad-arguments")
        assert "the file 'a.txt'" in done.text
        assert "UTF-8" in done.text


def test_several_files(call):
    files = [upload(b"1", "a"), upload(b"2", "b")]
    code = PRELUDE + "\ndef run(x: {}): return repr([i.read_bytes() for i in x])"
    assert call(code.format("list[Path]"), kwargs={"x": files}).text == "[b'1', b'2']"
    assert call(PRELUDE + "\ndef run(x): return [f.filename for f in x]", kwargs={"x": files}).json == ["a", "b"]
    for annotation in ("Path", "bytes", "BinaryIO", "str", "FileStorage"):
        done = call(code.format(annotation), kwargs={"x": files})
        assert (done.status, done.type) == (400, "bad-arguments")
        assert "2 files came" in done.text


def test_a_file_field_that_nobody_filled_in(call):
    """What browsers send for one: a part without a name or content."""
    blank = [upload(b"", "")]
    for annotation, got in [
        ("Path | None", "None"),
        ("bytes | None", "None"),
        ("Optional[FileStorage]", "None"),
        ("list[Path]", "[]"),
        ("list[bytes]", "[]"),
        ("list[Path] | None", "None"),
    ]:
        done = call(f"{PRELUDE}\ndef run(x: {annotation}): return repr(x)", kwargs={"x": blank[0]})
        assert (done.status, done.text) == (200, got)
    done = call(f"{PRELUDE}\ndef run(x: Path): 1/0", kwargs={"x": blank[0]})
    assert "an empty file field came" in done.text
    assert call(f"{PRELUDE}\ndef run(x: FileStorage): return repr(x.filename)", kwargs={"x": blank[0]}).text == "''"


SHOW = "\ndef run(x: Path):\n    "


@pytest.mark.parametrize(
    "body",
    [
        "return str(x)",
        "raise RuntimeError(str(x))",
        "yield str(x)\n    assert x.exists()",
        "return (str(x) for x in [x])",
    ],
)
@pytest.mark.parametrize("prefix", ["", "async "])
def test_a_path_is_gone_after_the_call(call, body, prefix):
    if prefix and "return (" in body:
        body = "return aiter(x)\nasync def aiter(x):\n    yield str(x)\n    assert x.exists()"
    done = call(PRELUDE + SHOW.replace("def", prefix + "def", 1) + body, kwargs={"x": upload()})
    path = done.text.strip().rpartition(" ")[2]
    assert "owt-upload-" in path and path.endswith(".txt")
    assert done.ended != "aborted"
    assert not Path(path).exists()


def test_a_path_may_be_moved_or_sent(call, tmp_path):
    target = tmp_path / "kept"
    assert call(PRELUDE + SHOW + f"x.rename({str(target)!r})", kwargs={"x": upload()}).status == 200
    assert target.read_bytes() == b"content"
    done = call(PRELUDE + SHOW + "return x", kwargs={"x": upload()})
    assert done.text == "content"
    assert not list(Path(os.environ.get("TMPDIR", "/tmp")).glob(done.name))


@pytest.mark.parametrize(
    "name", ["../../x.gz", "a/../.b", "x." + "y" * 300, "\0.a\0b", "..", "no", ".tar.gz", "C:\\a\\b.png"]
)
def test_a_path_has_a_name_that_can_be(call, name):
    done = call(PRELUDE + SHOW + "return [x.name, x.read_text()]", kwargs={"x": upload(name=name)})
    made, content = done.json
    assert content == "content"
    assert made.startswith("owt-upload-")
    assert Path(made).suffix == {"../../x.gz": ".gz", "\0.a\0b": "", ".tar.gz": ".gz", "C:\\a\\b.png": ".png"}.get(
        name, ""
    )


def test_what_was_sent_is_still_in_the_request(call):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="code"\r\n\r\n'
        b"from pathlib import Path\ndef run(request, x: Path, y: bytes):"
        b" return [x.read_text(), y.decode(), request.files['x'].read().decode(), request.files['y'].read().decode()]"
        b'\r\n--b\r\nContent-Disposition: form-data; name="x"; filename="x"\r\n\r\n1'
        b'\r\n--b\r\nContent-Disposition: form-data; name="y"; filename="y"\r\n\r\n2\r\n--b--\r\n'
    )
    environ = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "multipart/form-data; boundary=b"}
    assert call(made=fake_owt.Call(environ=environ, body=body), code_id="").json == ["1", "2", "1", "2"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="has no type statements")
@pytest.mark.parametrize(
    "annotation, came, got",
    [
        ("Whole", "5", 5),
        ("Same[int]", "5", 5),
        ("Table[int, str]", '{"a": "5"}', {"a": 5}),
        ("Many", "[1]", [1]),
        ("list[Same[int]]", '["5"]', [5]),
    ],
)
def test_aliases_are_what_they_stand_for(call, annotation, came, got):
    head = "type Whole = int\ntype Same[T] = T\ntype Table[A, B] = dict[B, A]\ntype Many[T] = list[T]\n"
    assert call(f"{head}def run(x: {annotation}): return [x]", kwargs={"x": came}).json == [got]


def test_an_image(call):
    image = pytest.importorskip("PIL.Image")
    png = io.BytesIO()
    image.new("RGB", (3, 2), "red").save(png, "png")
    for head in ("from PIL import Image\ndef run(x: Image.Image)", "import PIL.Image\ndef run(x: PIL.Image.Image | None)",
                 "from PIL import Image\ndef run(x: Image)", "from PIL.Image import Image\ndef run(x: 'Image')"):  # fmt: skip
        done = call(head + ": return [x.size, x.format]", kwargs={"x": upload(png.getvalue(), "a.png")})
        assert done.json == [[3, 2], "PNG"], head
    for content in (b"", b"no image", png.getvalue()[:-30]):
        done = call("from PIL import Image\ndef run(x: Image.Image): 1/0", kwargs={"x": upload(content, "a.png")})
        assert (done.status, done.type) == (400, "bad-arguments"), content
        assert "an image" in done.text
    assert call("from PIL import Image\ndef run(x: Image.Image): 1/0", kwargs={"x": "a.png"}).status == 400


ALIASES = """
from typing import TypeAliasType, TypeVar, TypeVarTuple, Unpack
K, V, Ts = TypeVar("K"), TypeVar("V"), TypeVarTuple("Ts")
Whole = TypeAliasType("Whole", int)
Turned = TypeAliasType("Turned", dict[V, K], type_params=(K, V))
Same = TypeAliasType("Same", K, type_params=(K,))
Maybe = TypeAliasType("Maybe", K | None, type_params=(K,))
Mine = TypeAliasType("Mine", list[Same[K]], type_params=(K,))
Idle = TypeAliasType("Idle", int, type_params=(K,))
Many = TypeAliasType("Many", tuple[Unpack[Ts]], type_params=(Ts,))
"""


named_types = pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has them from 3.12 on")


@named_types
@pytest.mark.parametrize(
    ("annotation", "came", "got"),
    [
        ("Whole", "3", "3"),
        ("Turned[int, str]", {"a": "3"}, "{'a': 3}"),
        ("Same[int]", "3", "3"),
        ("Same", "3", "'3'"),
        ("Maybe[int]", "3", "3"),
        ("Maybe[int]", "", "None"),
        ("Mine[int]", "[1, 2]", "[1, 2]"),
        ("list[Mine[int]]", [["1"]], "[[1]]"),
        ("Idle[str]", "3", "3"),
        ("Many[int, str]", [1, "a"], "[1, 'a']"),
    ],
)
def test_a_name_for_a_type(call, annotation, came, got):
    """As `type` gives one in newer Pythons, with parameters too."""
    done = call(f"{ALIASES}\ndef run(x: {annotation}): return repr(x)", kwargs={"x": came})
    assert done.text == got


@named_types
def test_an_array_by_the_name_that_numpy_gives_it(call):
    """NumPy 2.5's NDArray is such a name."""
    pytest.importorskip("numpy")
    head = "import numpy as np\nfrom typing import Any\ntype NDArray[T: np.generic] = np.ndarray[Any, np.dtype[T]]\n"
    for annotation, got in (("NDArray[np.float32]", "float32"), ("NDArray", "float64")):
        assert call(f"{head}def run(x: {annotation}): return x.dtype.name", kwargs={"x": "[1, 2.5]"}).text == got


def test_an_array(call):
    numpy = pytest.importorskip("numpy")

    def npy(array, **options):
        file = io.BytesIO()
        numpy.save(file, array, **options)
        return upload(file.getvalue(), "a.npy")

    head = "import numpy as np, numpy.typing as npt\n"
    show = "return [str(x.dtype), x.tolist()]"
    data = numpy.array([[1, 2]], dtype="int32")
    for annotation, came, got in [
        ("np.ndarray", npy(data), ["int32", [[1, 2]]]),
        ("'np.ndarray | None'", npy(data), ["int32", [[1, 2]]]),
        ("npt.NDArray[np.float64]", npy(data), ["float64", [[1.0, 2.0]]]),
        ("npt.NDArray[np.float32]", "[1, 2.5]", ["float32", [1.0, 2.5]]),
        ("np.ndarray", [[1, 2], [3, 4]], ["int64", [[1, 2], [3, 4]]]),
        ("np.ndarray", 5, ["int64", 5]),
        ("np.float32", "1.5", ["float32", 1.5]),
        ("np.int64", "3", ["int64", 3]),
    ]:
        done = call(f"{head}def run(x: {annotation}): {show}", kwargs={"x": came})
        assert done.json == got, (annotation, done.text)
    archive = io.BytesIO()
    numpy.savez(archive, a=data, b=data)
    for annotation, came, part in [
        ("np.ndarray", upload(b"\x89PNG", "a.png"), "of a picture: PIL.Image.Image, then numpy.asarray(...)"),
        ("np.ndarray", upload(b"", "a.npy"), "a .npy file"),
        ("np.ndarray", npy(numpy.array([{}]), allow_pickle=True), "allow_pickle"),
        ("np.ndarray", upload(archive.getvalue(), "a.npz"), "archive"),
        ("np.ndarray", "a.npy", "a .npy file"),
        ("np.ndarray", [[1], [2, 3]], "a .npy file"),
        ("np.ndarray", ["a"], "a .npy file"),
        ("npt.NDArray[np.int64]", [1.5], "same_kind"),
    ]:
        done = call(f"{head}def run(x: {annotation}): 1/0", kwargs={"x": came})
        assert (done.status, done.type) == (400, "bad-arguments"), (annotation, done.text)
        assert part in done.text


# ---- kwargs, which are values already --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "text", "got"),
    [
        ("int", "{'x': '3'}", "3"),
        ("int", '{"x": "3"}', "3"),
        ("int", "'3'", "3"),
        ("int", "3", "3"),
        ("Path", "{'x': Path('/a')}", "PosixPath('/a')"),
        ("Point", "{'x': Point(1)}", "Point(x=1, y=0, on=False)"),
        ("Point", "Point(1)", "Point(x=1, y=0, on=False)"),
        ("list[int]", "{'x': (1, '2')}", "[1, 2]"),
        ("tuple[int, ...]", "{'x': range(2)}", "(0, 1)"),
        ("set[int]", "{'x': {1}}", "{1}"),
        ("date", "{'x': date(2024, 1, 1)}", "datetime.date(2024, 1, 1)"),
        ("Color", "{'x': Color.RED}", "<Color.RED: 'red'>"),
        ("dict[str, int]", "{'x': {'a': '1'}}", "{'a': 1}"),
        ("bytes", "{'x': b'a'}", "b'a'"),
        ("BinaryIO", "{'x': io.BytesIO(b'a')}", "<_io.BytesIO"),
        ("Callable", "{'x': len}", "<built-in function len>"),
        ("Plain", "{'x': Plain()}", "<owt.endpoint"),
        ("Mixed", "{'x': (1, 2)}", "<Mixed.B: (1, 2)>"),
        ("Decimal", "{'x': Decimal('1.0')}", "Decimal('1.0')"),
    ],
)
def test_values_of_kwargs_are_converted_too(call, annotation, text, got):
    done = call(f"{PRELUDE}\ndef run(x: {annotation}): return repr(x)", text=text)
    assert done.status == 200, done.text
    assert done.text.startswith(got)


def test_numbers_of_numpy_are_numbers(call):
    pytest.importorskip("numpy")
    source = "import numpy as np\ndef run(a: int, b: float, c: bool, d: list[float]): return repr((a, b, c, d))"
    text = "dict(a=np.int32(1), b=np.float32(0.5), c=np.bool_(True), d=np.array([1, 2], dtype='f4'))"
    assert call(source, text=text).text == "(1, 0.5, True, [1.0, 2.0])"


def test_repeated_fields_that_kwargs_replace(call):
    made = fake_owt.Call("def run(x: list[str]): return x")
    made.repeated = {"x": ["a", "b"]}
    assert call(made=made, kwargs={"x": "a"}).json == ["a", "b"]
    made = fake_owt.Call("def run(x: list[str]): return x")
    made.repeated = {"x": ["a", "b"]}
    assert call(made=made, kwargs={"x": "a"}, text="{'x': 'c'}").json == ["c"]


# ---- pydantic --------------------------------------------------------------------------------------------------------

PYDANTIC = """
from typing import *
import pydantic
from pydantic import BaseModel, Field
class User(BaseModel):
    name: str
    age: int = Field(default=0, ge=0)
"""


@pytest.mark.parametrize(
    ("annotation", "came", "got"),
    [
        ("User", '{"name": "a", "age": "3"}', "User(name='a', age=3)"),
        ("User", {"name": "a"}, "User(name='a', age=0)"),
        ("User | None", '{"name": "a"}', "User(name='a', age=0)"),
        ("User | None", "", "None"),
        ("list[User]", '[{"name": "a"}]', "[User(name='a', age=0)]"),
        ("list[User]", ['{"name": "a"}', '{"name": "b"}'], "[User(name='a', age=0), User(name='b', age=0)]"),
        ("dict[str, User]", '{"x": {"name": "a"}}', "{'x': User(name='a', age=0)}"),
    ],
)
def test_pydantic_models(call, annotation, came, got):
    pytest.importorskip("pydantic")
    done = call(f"{PYDANTIC}\ndef run(x: {annotation}): return repr(x)", kwargs={"x": came})
    assert (done.status, done.text) == (200, got)


@pytest.mark.parametrize(
    ("annotation", "came", "parts"),
    [
        ("User", '{"age": 3}', ["x wants User", "name: "]),
        ("User", '{"name": "a", "age": -1}', ["age: "]),
        ("User", "a", ["User (a JSON object"]),
        ("list[User]", '[{"name": "a"}, {}]', ["x[1] wants User", "name: "]),
    ],
)
def test_what_pydantic_refuses(call, annotation, came, parts):
    pytest.importorskip("pydantic")
    done = call(f"{PYDANTIC}\ndef run(x: {annotation}): 1/0", kwargs={"x": came})
    assert (done.status, done.type) == (400, "bad-arguments"), done.text
    assert all(part in done.text for part in parts), done.text


@pytest.mark.parametrize(
    ("annotation", "came", "got"),
    [
        ("Annotated[int, Field(gt=0)]", "3", "3"),
        ("Annotated[int, Field(gt=0)]", "-3", None),
        ("Annotated[list[int], Field(min_length=2)]", ["1", "2"], "[1, 2]"),
        ("Annotated[list[int], Field(min_length=2)]", "[1, 2]", "[1, 2]"),
        ("Annotated[list[int], Field(min_length=2)]", "1", None),
        ("Annotated[list[int], Field(min_length=1)]", "1", "[1]"),
        ("Annotated[bool, Field(description='x')]", "off", "False"),
        ("pydantic.conint(gt=2)", "3", "3"),
        ("pydantic.dataclasses.dataclass(type('D', (), {'__annotations__': {'a': int}}))", '{"a": "1"}', "D(a=1)"),
    ],
)
def test_pydantics_constraints(call, annotation, came, got):
    pydantic = pytest.importorskip("pydantic")
    if pydantic.VERSION < "2" and "Annotated" in annotation:
        pytest.skip("pydantic reads constraints in Annotated from version 2 on")
    source = f"{PYDANTIC}\nimport pydantic.dataclasses\nKind = {annotation}\ndef run(x: Kind): return repr(x)"
    done = call(source, kwargs={"x": came})
    assert (done.status, done.text) == (200, got) if got else done.status == 400, done.text


# ---- what it costs ---------------------------------------------------------------------------------------------------


def test_nothing_is_imported_for_a_function_without_annotations(tmp_path):
    """In a process of its own, where nothing else has asked for it."""
    script = (
        "import sys, fake_owt\nfrom owt import endpoint\nfrom owt.endpoint import loaded\n"
        "from owt.engine import runtime\nendpoint.on_load = loaded.register\n"
        "call = fake_owt.Call('def run(request, name, n=1, **kw): return name')\n"
        "assert runtime.run(call, call.code_id, 'run', {'name': 'a'}, None)[2] == 'a'\n"
        "assert 'owt.asked.convert' not in sys.modules\n"
        "call = fake_owt.Call('def run(n: int): return n + 1')\n"
        "assert runtime.run(call, call.code_id, 'run', {'n': '1'}, None) [2] == '2'\n"
        "assert 'owt.asked.convert' in sys.modules\n"
    )
    env = {**os.environ, "OWT_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script], check=True, env=env, timeout=60)


def test_what_is_nested_deeply_is_converted_or_refused(call):
    for depth, status in ((50, 200), (480, None)):
        value = {"value": "1"}
        for _ in range(depth):
            value = {"value": 1, "children": [value]}
        done = call(f"{PRELUDE}\ndef run(x: Tree): return 'ok'", kwargs={"x": value})
        assert done.status == (status or 400), done.text
        assert status or "x wants less, and what is nested too deeply came" in done.text


def test_many_numbers_are_converted_at_once(call):
    source = "def run(x: list[float]): return [sum(x), type(x[0]).__name__]"
    assert call(source, kwargs={"x": list(range(100_000))}).json == [math.comb(100_000, 2), "float"]


@pytest.mark.parametrize(
    ("annotation", "came", "told"),
    [
        ("Strict | None", '{"x": -1}', "x wants Strict (a JSON object) (x: at least 0), and {'x': -1} came"),
        ("Strict | None", {"x": -1}, "x wants Strict (a JSON object) (x: at least 0), and {'x': -1} came"),
        ("Strict | None", {"x": "b"}, "x.x wants int (a whole number), and 'b' came"),
        ("Optional[Annotated[int, Meta(ge=1)]]", "0", "x wants int >= 1, and '0' came"),
        ("int | None", "a", "x wants int (a whole number) or None, and 'a' came"),
        ("Strict | int | None", '{"x": -1}', "x wants Strict (a JSON object) or int (a whole number) or None, and"),
    ],
)
def test_what_may_be_none_says_why_it_is_not_what_it_could_be(call, annotation, came, told):
    source = (
        "from dataclasses import dataclass\nfrom typing import Annotated, Optional\nfrom msgspec import Meta\n"
        "@dataclass\nclass Strict:\n    x: int\n    def __post_init__(self):\n"
        "        if self.x < 0: raise ValueError('x: at least 0')\n"
        f"def run(x: {annotation} = None): return repr(x)"
    )
    done = call(source, kwargs={"x": came})
    assert done.status == 400
    assert told in done.text


def test_why_one_of_pydantics_is_none_though_it_may_be_left_out(call):
    pytest.importorskip("pydantic")
    source = (
        "from pydantic import BaseModel, Field\nclass Box(BaseModel):\n    w: int = Field(gt=2)\n"
        "def run(x: Box | None = None): return repr(x)"
    )
    for came in ({"w": 1}, '{"w": 1}'):
        told = call(source, kwargs={"x": came}).text
        assert "x wants Box (a JSON object) (w: " in told
        assert "greater than 2" in told
    assert call(source).text == "None"
