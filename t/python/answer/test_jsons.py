"""Values as JSON: what each becomes, and what is said of those that have none."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import io
import ipaddress
import json
import math
import pathlib
import sqlite3
import sys
import types
import typing
import uuid
from concurrent.futures import Future

import numpy
import pytest
from owt.answer import jsons
from owt.answer.cannot import CannotSend


def dumps(value):
    text = jsons.dumps(value)
    assert text.endswith("\n")
    return text[:-1]


@dataclasses.dataclass
class Point:
    x: object
    y: object = None


@dataclasses.dataclass(slots=True)
class Slim:
    _x: int
    seen: typing.ClassVar[int] = 7


class Named(typing.NamedTuple):
    a: object
    b: object = 200


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Number(enum.IntEnum):
    SEVEN = 7


class Text(str, enum.Enum):
    A = "a"


class Words(str):
    def __str__(self):
        return "something else"


class Whole(int):
    def __repr__(self):
        return "something else"


class Own:
    def __json__(self):
        return {"own": [1, math.nan]}


class Markup:
    def __html__(self):
        return "<b>"


class Shown:
    def _repr_json_(self):
        return {"a": 1}, {"expanded": True}


def rows():
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    return connection.execute("select 1 as id, 'a' as name").fetchall()


UTC = datetime.UTC


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"start": 1, "end": 2, "a": 3}, '{"start":1,"end":2,"a":3}'),
        ({1: "a", "b": 2, None: 3, 2.5: 4, False: 5}, '{"1":"a","b":2,"null":3,"2.5":4,"false":5}'),
        ({"mean": math.nan, "most": [math.inf, -math.inf, 1.5]}, '{"mean":null,"most":[null,null,1.5]}'),
        ({math.nan: 1, -math.inf: 2}, '{"NaN":1,"-Infinity":2}'),
        ([2**64, -(2**70), 10**400], f"[{2**64},{-(2**70)},{10**400}]"),
        ({"n": 10**400, "x": math.nan}, f'{{"n":{10**400},"x":null}}'),
        (["é", "\ud800", "\u2028</script>"], '["\\u00e9","\\ud800","\\u2028</script>"]'),
        ([True, None, 1e100, -0.0], "[true,null,1e+100,-0.0]"),
        ((1, [2], ()), "[1,[2],[]]"),
        # text, and what is spelled as text
        ([datetime.datetime(2024, 2, 29, 12, 30, tzinfo=UTC)], '["2024-02-29T12:30:00+00:00"]'),
        ([datetime.date(2024, 2, 29), datetime.time(1, 2)], '["2024-02-29","01:02:00"]'),
        (
            [datetime.timedelta(1, 2, 3), datetime.timedelta(0), datetime.timedelta(hours=-1), datetime.timedelta(3)],
            '["P1DT2.000003S","PT0S","-PT3600S","P3D"]',
        ),
        (datetime.timedelta(seconds=20), '"PT20S"'),
        ([decimal.Decimal("1.50"), fractions.Fraction(1, 3)], '["1.50","1/3"]'),
        (uuid.UUID(int=7), '"00000000-0000-0000-0000-000000000007"'),
        ([pathlib.Path("/a"), pathlib.PurePosixPath("b")], '["/a","b"]'),
        ([ipaddress.ip_address("::1"), collections.UserString("u")], '["::1","u"]'),
        ([Colour.RED, Colour.PAIR, Number.SEVEN, Text.A], '["red",[1,2],7,"a"]'),
        ([Words("words"), Whole(3)], '["words",3]'),
        (
            {Colour.RED: 1, uuid.UUID(int=1): 2, datetime.date(2024, 1, 2): 3, Number.SEVEN: 4, Words("w"): 5},
            '{"red":1,"00000000-0000-0000-0000-000000000001":2,"2024-01-02":3,"7":4,"w":5}',
        ),
        # containers
        ([{3}, frozenset(), collections.deque([1]), range(2)], "[[3],[],[1],[0,1]]"),
        ([{"a": 1}.keys(), {"a": 1}.values(), {"a": 1}.items()], '[["a"],[1],[["a",1]]]'),
        (collections.OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
        (collections.defaultdict(list, a=[]), '{"a":[]}'),
        ([collections.ChainMap({"a": 1}), types.MappingProxyType({"a": 1})], '[{"a":1},{"a":1}]'),
        (types.SimpleNamespace(a=1), '{"a":1}'),
        (__import__("array").array("d", [1, 2]), "[1.0,2.0]"),
        ({"made": (n for n in range(3)), "mapped": map(str, [1])}, '{"made":[0,1,2],"mapped":["1"]}'),
        ({"made": iter([math.nan]), "x": math.nan}, '{"made":[null],"x":null}'),
        (rows(), '[{"id":1,"name":"a"}]'),
        # objects
        (Point(1, [Point("é")]), '{"x":1,"y":[{"x":"\\u00e9","y":null}]}'),
        ([Slim(1)], '[{"_x":1}]'),
        ([Named("t"), sys.version_info[:2]], f'[["t",200],{json.dumps(sys.version_info[:2], separators=(",", ":"))}]'),
        ([Own(), Markup(), Shown()], '[{"own":[1,null]},"<b>",{"a":1}]'),
        # NumPy
        ({"s": numpy.float32(0.5), "b": numpy.bool_(True), "i": numpy.uint8(3)}, '{"s":0.5,"b":true,"i":3}'),
        ([numpy.float64("nan"), numpy.float16("inf"), numpy.longdouble(1.5)], "[null,null,1.5]"),
        ({"v": numpy.arange(3), "m": numpy.eye(2)}, '{"v":[0,1,2],"m":[[1.0,0.0],[0.0,1.0]]}'),
        ([numpy.array([[1, numpy.nan], [-numpy.inf, 2]], "f4")], "[[[1.0,null],[null,2.0]]]"),
        ([numpy.array(3.5), numpy.array(numpy.nan), numpy.array([], "f8")], "[3.5,null,[]]"),
        ([numpy.array(["a", "b"]), numpy.str_("s")], '[["a","b"],"s"]'),
        (numpy.array([1.5, numpy.nan], numpy.longdouble), "[1.5,null]"),
        (numpy.array([{"a": numpy.int8(1)}, None], object), '[{"a":1},null]'),
        (numpy.array([(1, 2.5)], [("a", "i4"), ("b", "f4")]), '[{"a":1,"b":2.5}]'),
        (numpy.ma.array([1.0, 2.0], mask=[False, True]), "[1.0,null]"),
        (numpy.array(["2024-01-02T03:04", "NaT"], "M8[m]"), '["2024-01-02T03:04",null]'),
        ([numpy.timedelta64(90, "m"), numpy.timedelta64("NaT", "s"), numpy.timedelta64(2, "Y")], '["PT5400S",null,2]'),
        ({numpy.int64(3): 1, numpy.str_("x"): 2, numpy.bool_(True): 3}, '{"3":1,"x":2,"true":3}'),
    ],
    ids=lambda value: None,
)
def test_what_has_json(value, text):
    assert dumps(value) == text


def test_it_is_what_a_strict_reader_takes():
    def refuse(constant):
        raise AssertionError(constant)

    values = [math.nan, {"a": (math.inf, numpy.array([numpy.nan]))}, Point(-math.inf)]
    assert json.loads(jsons.dumps(values), parse_constant=refuse) == [
        None,
        {"a": [None, [None]]},
        {"x": None, "y": None},
    ]


holds_itself: list = [{"a": 1}]
holds_itself[0]["b"] = holds_itself
points_to_itself = Point(1)
points_to_itself.y = {"back": [points_to_itself]}
twice = [1]
deep: list = []
for _ in range(100_000):
    deep = [deep]
deep_and_nan = [deep, math.nan]


class Endless:
    def __json__(self):
        return [Endless()]


class Stubborn:
    def __json__(self):
        return self


@pytest.mark.parametrize(
    ("value", "where", "advice"),
    [
        ({"a": object()}, "answer['a'] is an object", "make a dict"),
        ({"items": [1, 2, 3, Point({"weights": {1, object()}})]}, "answer['items'][3].x['weights'][", "an object"),
        ({"a": b"x"}, "answer['a'] is bytes", "base64_buf() of owt.lib.encoding"),
        ([memoryview(b"x")], "answer[0] is a memoryview", "base64"),
        (numpy.array([b"x"]), "answer[0] is a bytes_", "base64"),
        ({"z": 1j}, "answer['z'] is a complex", "[z.real, z.imag]"),
        ({"e": ValueError("x")}, "answer['e'] is a ValueError", "str(error)"),
        ({"f": io.BytesIO(b"x")}, "answer['f'] is a BytesIO", ".read()"),
        ({"f": Future()}, "answer['f'] is a concurrent.futures._base.Future", ".result()"),
        ({"f": dumps}, "answer['f'] is the function dumps", "dumps(...)"),
        ({"f": Point}, "answer['f'] is the class Point", "Point(...)"),
        ({"m": math}, "answer['m'] is the module math", "of it"),
        ({"later": ...}, "answer['later'] is Ellipsis", "yet to be written"),
        ({(1, 2): 3}, "answer has the key (1, 2), a tuple", "text"),
        ({"a": {b"k": 1}}, "answer['a'] has the key b'k', bytes", "text"),
        ({"a": [{}, holds_itself]}, "answer['a'][1][0]['b'] is answer['a'][1] again", "holds itself"),
        (points_to_itself, "answer.y['back'][0] is answer again", "holds itself"),
        (deep, "answer[0][0][0][0][0][0]...[0][0][0][0][0][0] is nested", "more deeply"),
        (deep_and_nan, "is nested", "more deeply"),
        ([Endless()], "is nested", "more deeply"),
        ([Stubborn()], "Stubborn: ", "make a dict"),
        ({"n": 10**5000}, "answer['n'] is an int of more digits", "hex(...)"),
        ({"x" * 200: object()}, "answer['xxx", "...xxx"),
    ],
    ids=lambda value: None,
)
def test_what_has_none_is_told_with_its_place(value, where, advice):
    with pytest.raises(CannotSend) as raised:
        jsons.dumps(value)
    text = str(raised.value)
    assert text.startswith("run returned ")
    assert where in text
    assert advice in text
    assert len(text) < 500


def test_the_same_twice_is_no_circle():
    assert dumps({"a": twice, "b": [twice, twice], "x": math.nan}) == '{"a":[1],"b":[[1],[1]],"x":null}'


def test_a_coroutine_that_was_forgotten(recwarn):
    async def answer():
        return 1

    with pytest.raises(CannotSend, match=r"answer\['a'\] is a coroutine: await it"):
        jsons.dumps({"a": answer()})
    assert not recwarn.list


def test_what_an_object_raises_is_its_own():
    class Broken:
        def __json__(self):
            raise KeyError("oops")

    with pytest.raises(KeyError, match="oops") as raised:
        jsons.dumps({"a": [Broken()]})
    assert raised.value.__notes__ == ["while JSON was made of answer['a'][0]"]
    assert raised.value.__context__ is None


def test_no_library_is_imported_for_it():
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from owt.answer import jsons
jsons.dumps([1.5, {{"a": {{1}}}}, float("nan"), object.__doc__])
try:
    jsons.dumps(object())
except jsons.CannotSend:
    pass
print([name for name in ("numpy", "pandas", "torch", "PIL", "matplotlib", "pydantic", "polars") if name in sys.modules])
"""
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


# ---- libraries that are not everywhere -------------------------------------------------------------------------------


def test_attrs_classes():
    attr = pytest.importorskip("attr")
    assert dumps([attr.make_class("K", ["a", "_b"])(1, numpy.int8(2))]) == '[{"a":1,"_b":2}]'


def test_structs():
    msgspec = pytest.importorskip("msgspec")
    made = msgspec.defstruct("K", [("a_b", int), ("c", object)], rename="camel")
    assert dumps(made(1, {"d": numpy.int8(2)})) == '{"aB":1,"c":{"d":2}}'
    with pytest.raises(CannotSend, match=r"answer\['c'\] is bytes"):
        jsons.dumps(made(1, b"x"))


def test_pydantic_models():
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        id: uuid.UUID = uuid.UUID(int=1)
        mean: float = pydantic.Field(math.nan, alias="from")
        when: datetime.date = datetime.date(2024, 1, 2)
        more: typing.Any = None

    text = '{"id":"00000000-0000-0000-0000-000000000001","from":null,"when":"2024-01-02","more":%s}'
    assert dumps(Model()) == text % "null"
    assert dumps([Model(more=Model())]) == f"[{text % (text % 'null')}]"
    assert dumps(Model(more=numpy.arange(2))) == text % "[0,1]"
    with pytest.raises(CannotSend, match=r"answer\[0\].more is an object"):
        jsons.dumps([Model(more=object())])
    with pytest.raises(CannotSend, match="the class Model"):
        jsons.dumps(Model)
    assert dumps(pydantic.SecretStr("x")) == '"**********"'


def test_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {"n": [1, 2], "t": pandas.to_datetime(["2024-01-02", None]), "f": [1.5, None], 3: ["a", None]}
    )
    records = '[{"n":1,"t":"2024-01-02T00:00:00","f":1.5,"3":"a"},{"n":2,"t":null,"f":null,"3":null}]'
    assert dumps({"frame": frame}) == f'{{"frame":{records}}}'
    assert dumps([pandas.NaT, pandas.NA, pandas.Timestamp("2024-01-02"), pandas.Timedelta("1h")]) == (
        '[null,null,"2024-01-02T00:00:00","P0DT1H0M0S"]'
    )
    assert dumps([frame.n, frame.n[frame.n > 1], frame.columns, pandas.Categorical(["a"])]) == (
        '[[1,2],[2],["n","t","f",3],["a"]]'
    )
    assert dumps([pandas.array([1, None]), pandas.Period("2024-01"), pandas.Interval(0, 1)]) == (
        '[[1,null],"2024-01","(0, 1]"]'
    )
    kinds = pandas.DataFrame({"kind": ["x", "x", "y"], "v": [1, 2, 3]})
    assert dumps(kinds.kind.value_counts()) == '{"x":2,"y":1}'
    assert dumps(kinds.groupby("kind").sum()) == '[{"kind":"x","v":3},{"kind":"y","v":3}]'
    assert dumps(kinds.groupby(["kind", "v"]).size().head(1)) == '[{"kind":"x","v":1,"0":1}]'
    both = kinds.groupby("kind").agg({"v": ["min", "mean"]})
    assert dumps(both.head(1)) == '[{"kind":"x","v_min":1,"v_mean":1.5}]'
    both.columns = pandas.MultiIndex.from_tuples([("a", "b_c"), ("a_b", "c")])  # which joined are the same
    assert list(json.loads(dumps(both.head(1)))[0]) == ["('kind', '')", "('a', 'b_c')", "('a_b', 'c')"]
    assert dumps(kinds.describe().head(1)) == '[{"index":"count","v":3.0}]'
    assert dumps(pandas.Series([1, 2], index=["a", "a"])) == '[{"index":"a","0":1},{"index":"a","0":2}]'
    assert dumps([pandas.DataFrame(), pandas.Series([], dtype=float)]) == "[[],[]]"
    with pytest.raises(CannotSend, match="DataFrameGroupBy"):
        jsons.dumps(kinds.groupby("kind"))


def test_polars():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"a": [1, None], "d": [datetime.date(2024, 1, 2), None]})
    assert dumps([frame, frame["a"]]) == '[[{"a":1,"d":"2024-01-02"},{"a":null,"d":null}],[1,null]]'
    with pytest.raises(CannotSend, match=r"\.collect\(\)"):
        jsons.dumps({"f": frame.lazy()})


@pytest.fixture
def torch(monkeypatch):
    """The library, or what stands in for it."""
    try:
        import torch
    except ImportError:
        from torch_stand_in import torch

        monkeypatch.setitem(sys.modules, "torch", torch)
    return torch


def test_tensors(torch):
    values = [torch.tensor([1, 2]), torch.tensor(3.5), torch.tensor([[True]]), torch.nn.Parameter(torch.tensor([0.5]))]
    assert dumps(values) == "[[1,2],3.5,[[true]],[0.5]]"
    assert dumps({"t": torch.tensor([1.0, math.nan], dtype=torch.bfloat16)}) == '{"t":[1.0,null]}'
    assert dumps([torch.float32, torch.device("cpu")]) == '["torch.float32","cpu"]'
    with pytest.raises(CannotSend, match=r"answer\['m'\] is a torch\..*Linear: return the tensors"):
        jsons.dumps({"m": torch.nn.Linear(1, 1)})
