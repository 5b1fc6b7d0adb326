"""Published functions as OpenAPI 3.1: https://spec.openapis.org/oas/v3.1.0."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from owt.published import answers
from owt.published.describe import Description, Parameter, described, of_parameter
from owt.published.schema import DEFINED, Schema, Way, refs, with_refs

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

    from owt.published.catalog import Catalog

_COMPONENTS = "#/components/schemas/"

Object = dict[str, Any]


def openapi(catalog: Catalog, request: Request) -> Object:
    """The document about all that a location publishes, for who asks for it there.

    A function that does not load is left out.
    """
    base = request.host_url.rstrip("/") + quote(catalog.prefix)
    return document([description for _, description in described(catalog) if description is not None], base)


def document(descriptions: Iterable[Description], base: str) -> Object:
    """The document about these functions, which lie below this URL."""
    components = _Components()
    operations = _Operations(components)
    paths = {f"/{quote(one.name)}": operations.of(one) for one in descriptions}
    text = json.dumps(paths, default=str)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Published functions",
            "description": "Python functions, called by HTTP.",
            # Another one when anything of it changes.
            "version": hashlib.sha256(text.encode()).hexdigest()[:12],
        },
        "servers": [{"url": base.rstrip("/") or "/"}],
        "paths": paths,
        "components": {"schemas": {"Problem": _PROBLEM, **components.schemas}, "responses": _RESPONSES},
    }


class _Operations:
    def __init__(self, components: _Components) -> None:
        self.components = components
        self._ids: set[str] = set()

    def of(self, one: Description) -> Object:
        """What can be done at a function's path."""
        body = self.body(one)  # whose classes get their own names before those of the answer
        answer = self.answer(one)
        item: Object = {"post": self.operation(one, "post") | body | {"responses": answer}}
        if all(parameter.simple for parameter in one.parameters) and one.further is None:
            query = [self.query(one, parameter) for parameter in one.parameters]
            asked = {"parameters": query} if query else {}
            item["get"] = self.operation(one, "get") | asked | {"responses": answer}
        return item

    def operation(self, one: Description, method: str) -> Object:
        made: Object = {"operationId": self.id(one.name if method == "post" else f"get_{one.name}")}
        if one.summary:
            made["summary"] = one.summary
        if one.text:
            made["description"] = one.text
        return made

    def id(self, name: str) -> str:
        plain = re.sub(r"\W+", "_", name)
        made, number = plain, 1
        while made in self._ids:
            number += 1
            made = f"{plain}_{number}"
        self._ids.add(made)
        return made

    def query(self, one: Description, parameter: Parameter) -> Object:
        schema = of_parameter(parameter, Way.JSON)
        made: Object = {"name": parameter.name, "in": "query", "required": parameter.required}
        if text := schema.pop("description", ""):
            made["description"] = text
        return made | {"schema": schema}

    def body(self, one: Description) -> Object:
        content: Object = {}
        if one.files:
            content["multipart/form-data"] = self.form(one)
        arguments = one.arguments(Way.JSON)
        if arguments is not None:
            content[answers.JSON] = {"schema": self.components.take(one, arguments, Way.JSON)}
        if not one.parameters and one.further is None:
            return {}
        required = any(parameter.required for parameter in one.parameters)
        return {"requestBody": {"required": required, "content": content}}

    def form(self, one: Description) -> Object:
        arguments = one.arguments(Way.FORM) or {"type": "object"}
        types = {parameter.name: _media_type(parameter) for parameter in one.parameters if parameter.file}
        made: Object = {"schema": self.components.take(one, arguments, Way.FORM)}
        return made | {"encoding": {name: {"contentType": media_type} for name, media_type in types.items()}}

    def answer(self, one: Description) -> Object:
        said = one.answer.text or f"What {one.name} returns."
        if one.answer.streams:
            said += f" {_STREAMED.get(next(iter(one.answer.contents), ''), _PIECES)}"
        made: Object = {"description": said}
        content = {
            media_type: {"schema": self.components.take(one, schema, Way.ANSWER)} if schema else {}
            for media_type, schema in one.answer.contents.items()
        }
        if content or not one.answer.empty:
            made["content"] = content or {"*/*": {}}
        errors = {status: {"$ref": f"#/components/responses/{name}"} for status, (name, _) in _ERRORS.items()}
        return {"200": made, **errors}


_PIECES = "It comes as it is made."
_STREAMED = {
    answers.LINES: "Each line is a JSON value as described, sent when it has been made.",
    answers.PICTURES: "Each part is a picture, which takes the place of the one before.",
}


def _media_type(parameter: Parameter) -> str:
    for schema in _schemas_of(parameter.schemas[Way.FORM]):
        if "contentMediaType" in schema:
            return str(schema["contentMediaType"])
    return answers.OCTETS


def _schemas_of(schema: Schema) -> Iterable[Schema]:
    yield schema
    for one in (schema.get("items"), *schema.get("anyOf", ())):
        if isinstance(one, dict):
            yield from _schemas_of(one)


class _Components:
    """What the schemas of all functions define. Classes of one name need not be the same."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        #: As they were before references in them were renamed, and to what they were.
        self._taken: dict[str, tuple[Schema, dict[str, str]]] = {}

    def take(self, one: Description, schema: Schema, way: Way) -> Schema:
        """The schema as it is in the document, what it leads to among the components."""
        defs: dict[str, Schema] = one.with_defs(schema, way).get("$defs", {})
        names = self._names(defs, way)

        def renamed(ref: str) -> str:
            name = ref.removeprefix(DEFINED)
            return _COMPONENTS + names.get(name, name)

        for name, definition in defs.items():
            self._taken[names[name]] = definition, {other: names[other] for other in refs(definition) if other in names}
            self.schemas[names[name]] = with_refs(definition, renamed)
        made: Schema = with_refs(schema, renamed)
        return made

    def _names(self, defs: dict[str, Schema], way: Way) -> dict[str, str]:
        """A name for each definition: its own, if that is free or means the same already."""
        names = {name: _plain(name) for name in defs}
        moved = True
        while moved:
            moved = False
            for name, definition in defs.items():
                leads = {other: names[other] for other in refs(definition) if other in names}
                while self._taken.get(names[name], (definition, leads)) != (definition, leads):
                    names[name] = _next(names[name], _plain(name), "Answer" if way is Way.ANSWER else "")
                    moved = True
                    leads = {other: names[other] for other in refs(definition) if other in names}
        return names


def _plain(name: str) -> str:
    """A name that components may have. Problem is taken."""
    plain = re.sub(r"[^\w.-]", "_", name)
    return plain if plain != "Problem" else "Problem_"


def _next(tried: str, name: str, suffix: str) -> str:
    if tried == name and suffix:
        return name + suffix
    base = name + suffix
    number = tried.removeprefix(base)
    return f"{base}{int(number) + 1 if number.isdigit() else 2}"


# ---- errors: src/call/problem.cpp

_PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457. Sent to who accepts JSON better than text/plain; others get the detail alone.",
    "properties": {
        "type": {"type": "string", "description": "what it is, for programs", "examples": ["urn:owt:bad-arguments"]},
        "title": {"type": "string", "description": "what the status means"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong, and what to do about it"},
    },
    "required": ["type", "title", "status", "detail"],
}

_ERRORS: dict[str, tuple[str, str]] = {
    "400": ("BadArguments", "The arguments do not fit: the detail names each one, what it wants and what came."),
    "500": ("Failed", "The function has failed."),
    "503": ("Busy", "Too many calls wait already: try again after as many seconds as Retry-After says."),
    "504": ("Timeout", "The function gave nothing within the server's time limit, and has been cancelled."),
    "default": ("Refused", "The server refuses the call."),
}


def _problem(text: str) -> Object:
    return {
        "description": text,
        "content": {
            "application/problem+json": {"schema": {"$ref": _COMPONENTS + "Problem"}},
            "text/plain": {"schema": {"type": "string"}},
        },
    }


_RESPONSES = {name: _problem(text) for name, text in _ERRORS.values()}
