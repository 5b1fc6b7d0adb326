"""What functions say of themselves is what conversion does."""

from __future__ import annotations

import datetime
import decimal
import enum
import io
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple, TypedDict

import msgspec
import numpy as np
import pandas as pd
import pydantic
import pytest
from matplotlib.figure import Figure
from owt.asked import binding
from owt.models.batch import batch
from owt.process.refusal import Refusal
from owt.published import answers
from owt.published.describe import Description, Parameter, describe, describe_function, described
from owt.published.schema import MISSING, Way, misfit
from PIL import Image
from small_catalog import Catalog
from werkzeug.datastructures import FileStorage


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Option:
    help = "how often"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Shape(enum.Enum):
    BOX = (1, 2)
    LINE = (3, 4)


@dataclass
class Point:
    """A place."""

    x: float
    y: float = 0.0
    next: Point | None = None
    tags: list[str] = field(default_factory=list)


class Row(TypedDict, total=False):
    name: str
    n: int


class Pair(NamedTuple):
    a: int
    b: str = "b"


class Struct(msgspec.Struct):
    p: int = 1


class Model(pydantic.BaseModel):
    m: int


class Unsendable:
    pass


Small = Annotated[int, msgspec.Meta(ge=1, le=9)]


def schema_of(annotation: Any, way: Way = Way.JSON) -> Any:
    def function(it): ...  # type: ignore[no-untyped-def]

    function.__annotations__["it"] = annotation
    (parameter,) = describe_function(function, "f").parameters
    return parameter.schemas.get(way)


FILE = {"type": "string", "format": "binary", "contentMediaType": "application/octet-stream"}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (str, {"type": "string"}),
        (bytes, {"type": "string"}),
        (Any, {}),
        (decimal.Decimal, {"type": "string", "format": "decimal"}),
        (uuid.UUID, {"type": "string", "format": "uuid"}),
        (datetime.date, {"type": "string", "format": "date"}),
        (datetime.datetime, {"type": "string", "format": "date-time"}),
        (datetime.timedelta, {"type": "string", "format": "duration"}),
        (int | None, {"type": "integer"}),
        (int | str, {"anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (list[int | None], {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}),
        (Literal["s", "l"], {"type": "string", "enum": ["s", "l"]}),
        (Literal["auto", 1], {"enum": ["auto", 1]}),
        (Color, {"type": "string", "enum": ["red", "blue"]}),
        (Level, {"type": "integer", "enum": [1, 2]}),
        (Shape, {"type": "string", "enum": ["BOX", "LINE"]}),
        (list[str], {"type": "array", "items": {"type": "string"}}),
        (list, {"type": "array", "items": {}}),
        (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        (
            tuple[int, str],
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
        ),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (dict, {"type": "object"}),
        (Small, {"type": "integer", "minimum": 1, "maximum": 9}),
        (list[Small], {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 9}}),
        (Annotated[str, msgspec.Meta(max_length=3)], {"type": "string", "maxLength": 3}),
        (
            Annotated[list[int], msgspec.Meta(min_length=1)],
            {"type": "array", "items": {"type": "integer"}, "minItems": 1},
        ),
        (Point, {"$ref": "#/$defs/Point"}),
        (complex, {"type": ["number", "string"]}),
        (np.float32, {"type": "number"}),
        (Path, None),
        (Image.Image, None),
    ],
    ids=str,
)
def test_what_comes_as_json(annotation: Any, schema: Any) -> None:
    assert schema_of(annotation) == schema


@pytest.mark.parametrize("kind", [Path, BinaryIO, FileStorage, io.BytesIO, bytes], ids=str)
def test_files(kind: Any) -> None:
    assert schema_of(kind, Way.FORM) == FILE
    assert schema_of(list[kind], Way.FORM) == {"type": "array", "items": FILE}
    assert schema_of(kind, Way.BASE64)["contentEncoding"] == "base64"


def test_pictures_and_arrays() -> None:
    assert schema_of(Image.Image, Way.FORM)["contentMediaType"] == "image/*"
    assert schema_of(Image, Way.FORM)["contentMediaType"] == "image/*"  # the module, as people write it
    assert schema_of(np.ndarray, Way.FORM) == FILE
    assert schema_of(np.ndarray)["type"] == "array"


def test_classes_are_defined_once() -> None:
    def function(a: Point, b: list[Point], c: Row, d: Pair, e: Struct, f: Model) -> None: ...

    one = describe_function(function, "f")
    arguments = one.arguments(Way.JSON)
    assert arguments is not None
    whole = one.with_defs(arguments, Way.JSON)
    assert set(whole["$defs"]) == {"Point", "Row", "Pair", "Struct", "Model"}
    point = whole["$defs"]["Point"]
    assert point["required"] == ["x"]
    assert point["description"] == "A place."
    assert point["properties"]["y"] == {"type": "number", "default": 0.0}
    assert point["properties"]["next"]["anyOf"] == [{"$ref": "#/$defs/Point"}, {"type": "null"}]
    assert "required" not in whole["$defs"]["Row"]
    assert whole["$defs"]["Pair"]["properties"]["b"] == {"type": "string", "default": "b"}
    assert whole["$defs"]["Model"]["properties"]["m"]["type"] == "integer"


def test_a_model_is_described_each_time_anew() -> None:
    def function(a: Model, b: list[Model]) -> Model: ...

    for _ in range(2):
        one = describe_function(function, "f")
        assert set(one.defs[Way.JSON]) == set(one.defs[Way.ANSWER]) == {"Model"}


def described_as(function: Any) -> Description:
    return describe_function(function, "f")


def test_parameters() -> None:
    def function(
        request, text: str, anything, n: int = 3, when: datetime.date = datetime.date(2024, 2, 29), *, late=None
    ):  # type: ignore[no-untyped-def]
        ...

    one = described_as(function)
    assert [(p.name, p.required) for p in one.parameters] == [
        ("text", True),
        ("anything", True),
        ("n", False),
        ("when", False),
        ("late", False),
    ]
    defaults = {p.name: p.default for p in one.parameters}
    assert defaults == {"text": MISSING, "anything": MISSING, "n": 3, "when": "2024-02-29", "late": None}
    assert one.arguments(Way.JSON) == {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "anything": {},
            "n": {"type": "integer", "default": 3},
            "when": {"type": "string", "format": "date", "default": "2024-02-29"},
            "late": {},
        },
        "required": ["text", "anything"],
        "additionalProperties": False,
    }


def test_who_gets_the_request() -> None:
    assert [p.name for p in described_as(lambda _, a: 1).parameters] == ["a"]
    assert [p.name for p in described_as(lambda req, a: 1).parameters] == ["a"]
    assert [p.name for p in described_as(lambda text, a=1: 1).parameters] == ["text", "a"]
    assert [p.name for p in described_as(lambda *args: 1).parameters] == []


def test_further_arguments() -> None:
    def function(a: int, **sizes: int) -> None: ...

    one = described_as(function)
    assert [p.name for p in one.parameters] == ["a"]
    assert one.arguments(Way.JSON)["additionalProperties"] == {"type": "integer"}  # type: ignore[index]
    assert described_as(lambda **more: 1).arguments(Way.JSON)["additionalProperties"] is True  # type: ignore[index]


def test_what_nobody_can_send_is_left_out_or_shown() -> None:
    def function(a: int, thing: Unsendable | None = None, other: Unsendable = Unsendable()) -> None: ...  # noqa: B008

    def needs(thing: Unsendable) -> None: ...

    assert [p.name for p in described_as(function).parameters] == ["a"]
    assert described_as(needs).arguments(Way.JSON) is None


def test_a_wrapper_that_says_nothing_is_seen_through() -> None:
    def wrapped(request, a: int) -> None: ...  # type: ignore[no-untyped-def]

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    assert [p.name for p in described_as(wrapper).parameters] == ["a"]


def test_a_batched_function_takes_one_item() -> None:
    @batch
    def run(texts: list[str]) -> list[str]:
        """Says it."""
        return texts

    one = described_as(run)
    assert one.summary == "Says it."
    assert one.parameters[0].schemas[Way.JSON] == {"type": "string"}
    assert list(one.answer.contents) == [answers.HTML]


def test_docstrings_and_notes() -> None:
    def function(a: Annotated[int, "from the annotation"], b: Annotated[int, msgspec.Meta(description="meta")], c: int):  # type: ignore[no-untyped-def]
        """Does it.

        More of it.

        Args:
            c: from the docstring

        Returns:
            int: the sum
        """

    one = described_as(function)
    assert (one.summary, one.text, one.answer.text) == ("Does it.", "More of it.", "the sum")
    assert [p.text for p in one.parameters] == ["from the annotation", "meta", "from the docstring"]


def test_notes_of_typer_are_told() -> None:
    def function(n: Annotated[int, Option()] = 1) -> None: ...

    assert [p.text for p in described_as(function).parameters] == ["how often"]


def test_the_path_of_a_file_is_no_default_that_callers_could_send() -> None:
    def function(
        a: Path = Path("x"), b: Path = "x", c: Path | str = "x", d: str = "x", e: Path | None = None
    ) -> None: ...  # type: ignore[assignment]

    one = described_as(function)
    assert {p.name: p.default for p in one.parameters} == {"a": MISSING, "b": MISSING, "c": "x", "d": "x", "e": None}
    for way in (Way.FORM, Way.BASE64):
        schema = one.arguments(way)
        assert schema is not None
        assert [name for name, its in schema["properties"].items() if "default" in its] == ["c", "d"]


def test_a_secret_is_not_told() -> None:
    def function(key: pydantic.SecretStr = pydantic.SecretStr("hush")) -> None: ...  # noqa: B008

    (parameter,) = described_as(function).parameters
    assert parameter.default is MISSING
    assert parameter.schemas[Way.FORM]["format"] == "password"


def test_one_of_several_objects_is_nothing_that_a_query_has_room_for() -> None:
    schema = {"oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}
    assert not Parameter("pet", True, "", False, {Way.JSON: schema}).simple
    assert Parameter("n", True, "", False, {Way.JSON: {"oneOf": [{"type": "integer"}, {"type": "string"}]}}).simple


def function_returning(annotation: Any) -> Any:
    def function(): ...  # type: ignore[no-untyped-def]

    function.__annotations__["return"] = annotation
    return function


OBJECT = {"type": "object"}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python has them from 3.12 on")
def test_an_answer_by_the_name_that_numpy_gives_it() -> None:
    """NumPy 2.5's NDArray is such a name, with a type of its own."""
    names: dict[str, Any] = {"np": np, "Any": Any}
    exec("type NDArray[T: np.generic] = np.ndarray[Any, np.dtype[T]]", names)
    for annotation in (names["NDArray"], names["NDArray"][np.float32]):
        assert described_as(function_returning(annotation)).answer.contents == {
            "application/json": {"type": "array"},
            "image/png": {},
        }


@pytest.mark.parametrize(
    ("annotation", "contents", "streams"),
    [
        (str, {"text/html": {"type": "string"}}, False),
        (int, {"text/html": {"type": "string"}}, False),
        (bool, {"application/json": {"type": "boolean"}}, False),
        (bytes, {"application/octet-stream": {}}, False),
        (dict, {"application/json": OBJECT}, False),
        (list[int], {"application/json": {"type": "array", "items": {"type": "integer"}}}, False),
        (Point, {"application/json": {"$ref": "#/$defs/Point"}}, False),
        (Path, {"application/octet-stream": {}}, False),
        (Image.Image, {"image/png": {}}, False),
        (Figure, {"image/png": {}, "image/svg+xml": {}, "application/pdf": {}}, False),
        (np.ndarray, {"application/json": {"type": "array"}, "image/png": {}}, False),
        (
            pd.DataFrame,
            {
                "text/html": {"type": "string"},
                "application/json": {"type": "array", "items": OBJECT},
                "text/csv": {"type": "string"},
            },
            False,
        ),
        (tuple[int, np.ndarray], {"audio/wav": {}}, False),
        (tuple[str, int], {"text/html": {"type": "string"}}, False),
        (tuple[Image.Image, dict[str, str]], {"image/png": {}}, False),
        (str | None, {"text/html": {"type": "string"}}, False),
        (Iterator[str], {"text/html": {"type": "string"}}, True),
        (AsyncIterator[bytes], {"application/octet-stream": {}}, True),
        (Iterator[dict], {"application/x-ndjson": OBJECT}, True),
        (Iterator[Image.Image], {"multipart/x-mixed-replace": {}}, True),
        (Iterator[tuple[int, np.ndarray]], {"audio/wav": {}}, True),
        (Iterable[int], {"application/json": {"type": "array", "items": {"type": "integer"}}}, False),
        (Awaitable[str], {"text/html": {"type": "string"}}, False),
        (Any, {}, False),
        (None, {}, False),
    ],
    ids=str,
)
def test_answers(annotation: Any, contents: Any, streams: bool) -> None:
    answer = described_as(function_returning(annotation)).answer
    assert (answer.contents, answer.streams) == (contents, streams)


def test_an_answer_s_json_is_what_owt_sends() -> None:
    def function() -> tuple[Pair, int]: ...

    one = described_as(function)
    schema = one.answer.contents["application/json"]
    assert one.defs[Way.ANSWER]["Pair"]["type"] == "array", "a named tuple is an array"
    assert misfit(one.with_defs(schema, Way.ANSWER), [1, "b"]) == ""
    assert misfit(one.with_defs(schema, Way.ANSWER), {"a": 1}) == "it is no array"


def test_a_generator_that_says_nothing_streams() -> None:
    def function():  # type: ignore[no-untyped-def]
        yield 1

    answer = described_as(function).answer
    assert (answer.contents, answer.streams) == ({}, True)


VALUES: list[tuple[Any, list[Any], list[Any]]] = [
    (int, [3], ["three", None]),
    (Small, [1, 9], [0, 10]),
    (list[int], [[1, 2], []], [["a"]]),
    (Literal["s", "l"], ["s"], ["m"]),
    (Point, [{"x": 1}, {"x": 1, "next": {"x": 2}}], [{}, {"x": "b"}]),
    (dict[str, float], [{"a": 1}], [{"a": "b"}]),
    (Row, [{}, {"n": 1}], [{"n": "b"}]),
    (tuple[int, str], [[1, "a"]], [["a", 1]]),
]


@pytest.mark.parametrize(("annotation", "good", "bad"), VALUES, ids=str)
def test_schemas_agree_with_conversion(ask: Any, annotation: Any, good: list[Any], bad: list[Any]) -> None:
    """What the schema says is taken is taken, and what conversion refuses the schema does not allow."""
    jsonschema = pytest.importorskip("jsonschema", reason="package python3-jsonschema")

    def function(it): ...  # type: ignore[no-untyped-def]

    function.__annotations__["it"] = annotation
    one = described_as(function)
    schema = one.with_defs(one.arguments(Way.JSON) or {}, Way.JSON)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    plan = binding.plan(binding.taken_by(function, {}), "f", ("it",))
    for value in good:
        assert validator.is_valid({"it": value})
        plan(function, ask(), {"it": value})
    for value in bad:
        assert not validator.is_valid({"it": value})
        with pytest.raises(Refusal):
            plan(function, ask(), {"it": value})


def test_descriptions_are_made_once_for_a_function() -> None:
    catalog = Catalog(f=lambda a: a)
    (published,) = catalog
    assert describe(published) is describe(published)


def test_what_does_not_load_is_told_apart() -> None:
    def fails() -> Any:
        raise ValueError("no")

    catalog = Catalog(good=lambda: 1, bad=lambda: 2)
    catalog.published[1].load = fails
    assert [(one.name, what is None) for one, what in described(catalog)] == [("good", False), ("bad", True)]


def test_what_does_not_load_is_not_tried_again_before_it_changes(tmp_path: Path) -> None:
    tried = []

    def fails() -> Any:
        tried.append(1)
        raise ValueError("no")

    catalog = Catalog(bad=lambda: 2)
    (published,) = catalog
    published.file, published.load = str(tmp_path / "bad.py"), fails
    Path(published.file).write_text("1")
    for _ in range(3):
        assert [what for _, what in described(catalog)] == [None]
    assert len(tried) == 1
    Path(published.file).write_text("12")
    published.load = lambda: lambda: 2
    assert [what is None for _, what in described(catalog)] == [False]
