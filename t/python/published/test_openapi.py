"""The document for programs. Whether it is valid OpenAPI is asked of a validator in t/e2e."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from owt.published.openapi import openapi
from owt.published.schema import with_refs
from PIL import Image
from small_catalog import Catalog


@dataclass
class Point:
    x: float
    y: float = 0.0


def other_point() -> Any:
    @dataclass
    class Point:
        z: int

    return Point


def move(request, point: Point, by: float = 1.0) -> Point:  # type: ignore[no-untyped-def]
    """Moves a point.

    Args:
        by: so far
    """
    return point


def add(a: int, b: list[int] = []) -> int:  # noqa: B006
    return a + sum(b)


def thumbnail(picture: Image.Image, note: str = "") -> Image.Image:
    return picture


def any_file(file: bytes, names: list[Path] = []) -> None:  # noqa: B006
    pass


def count(n: int) -> Iterator[dict]:
    """Counts.

    Returns:
        Numbers.
    """
    yield {"n": n}


def document(ask: Any, catalog: Catalog) -> Any:
    made = openapi(catalog, ask("/api/openapi.json"))  # type: ignore[arg-type]
    return json.loads(json.dumps(made))


def test_where_it_lies(ask: Any) -> None:
    made = document(ask, Catalog(add=add, sub__move=move))
    assert made["openapi"] == "3.1.0"
    assert made["servers"] == [{"url": "http://owt.example:8080/api"}]
    assert list(made["paths"]) == ["/add", "/sub/move"]
    assert made["paths"]["/sub/move"]["post"]["operationId"] == "sub_move"


def test_get_where_a_query_has_room(ask: Any) -> None:
    paths = document(ask, Catalog(add=add, move=move))["paths"]
    assert "get" not in paths["/move"]
    get = paths["/add"]["get"]
    assert get["operationId"] == "get_add"
    assert get["parameters"] == [
        {"name": "a", "in": "query", "required": True, "schema": {"type": "integer"}},
        {
            "name": "b",
            "in": "query",
            "required": False,
            "schema": {"type": "array", "items": {"type": "integer"}, "default": []},
        },
    ]


def test_bodies(ask: Any) -> None:
    paths = document(ask, Catalog(move=move, thumbnail=thumbnail, any_file=any_file))["paths"]
    assert list(paths["/move"]["post"]["requestBody"]["content"]) == ["application/json"]
    schema = paths["/move"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["by"] == {"type": "number", "description": "so far", "default": 1.0}
    picture = paths["/thumbnail"]["post"]["requestBody"]
    assert picture["required"]
    assert list(picture["content"]) == ["multipart/form-data"], "a picture is no JSON"
    assert picture["content"]["multipart/form-data"]["encoding"] == {"picture": {"contentType": "image/*"}}
    assert list(paths["/any_file"]["post"]["requestBody"]["content"]) == ["multipart/form-data", "application/json"]


def test_answers(ask: Any) -> None:
    paths = document(ask, Catalog(thumbnail=thumbnail, count=count, any_file=any_file))["paths"]
    assert paths["/thumbnail"]["post"]["responses"]["200"]["content"] == {"image/png": {}}
    stream = paths["/count"]["post"]["responses"]["200"]
    assert list(stream["content"]) == ["application/x-ndjson"]
    assert stream["description"].startswith("Numbers. Each line is a JSON value")
    assert "content" not in paths["/any_file"]["post"]["responses"]["200"]


def test_errors_are_described(ask: Any) -> None:
    made = document(ask, Catalog(add=add))
    assert set(made["paths"]["/add"]["post"]["responses"]) == {"200", "400", "500", "503", "504", "default"}
    refused = made["components"]["responses"]["BadArguments"]["content"]
    assert set(refused) == {"application/problem+json", "text/plain"}
    assert made["components"]["schemas"]["Problem"]["required"] == ["type", "title", "status", "detail"]


def test_classes_of_one_name(ask: Any) -> None:
    other = other_point()

    def turn(point, back=None):  # type: ignore[no-untyped-def]
        return point

    turn.__annotations__ = {"point": other, "back": Point}

    def same(point: Point) -> None: ...

    made = document(ask, Catalog(move=move, turn=turn, same=same))
    schemas = made["components"]["schemas"]
    assert set(schemas) == {"Problem", "Point", "PointAnswer", "Point2"}
    assert schemas["Point"]["required"] == ["x"]
    assert schemas["PointAnswer"]["required"] == ["x", "y"], "what is sent has all"
    body = made["paths"]["/turn"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    both = {body["properties"]["point"]["$ref"], body["properties"]["back"]["$ref"]}
    assert both == {"#/components/schemas/Point2", "#/components/schemas/Point"} or "Point2" in str(both)
    again = made["paths"]["/same"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert again["properties"]["point"]["$ref"] == "#/components/schemas/Point"


def test_the_version_is_the_content_s(ask: Any) -> None:
    first, second = document(ask, Catalog(add=add)), document(ask, Catalog(add=add))
    assert first["info"]["version"] == second["info"]["version"]
    assert document(ask, Catalog(add=move))["info"]["version"] != first["info"]["version"]


def test_what_does_not_load_is_left_out(ask: Any) -> None:
    def fails() -> Any:
        raise ValueError("no")

    catalog = Catalog(add=add, bad=add)
    catalog.published[1].load = fails
    assert list(document(ask, catalog)["paths"]) == ["/add"]


def test_what_a_discriminator_leads_to_is_there() -> None:
    mapping = {"cat": "#/$defs/Point"}
    union = {"oneOf": [{"$ref": "#/$defs/Point"}], "discriminator": {"propertyName": "kind", "mapping": mapping}}
    made = with_refs(union, lambda name: name.replace("#/$defs/", "#/components/schemas/"))
    assert made == {
        "oneOf": [{"$ref": "#/components/schemas/Point"}],
        "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/components/schemas/Point"}},
    }
