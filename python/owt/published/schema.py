"""JSON Schema (2020-12) of what a parameter wants, and of what is answered: by what conversion does, not by names.

What msgspec and pydantic convert themselves they describe themselves.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import inspect
import json
import numbers
from collections.abc import Callable, Iterator
from typing import Any, get_args

import msgspec

from owt.answer import jsons
from owt.asked import scalars, uploads
from owt.asked.containers import Either, Fixed, Many, Record, Struct, Table
from owt.asked.convert import Checked
from owt.asked.models import Model
from owt.asked.wanted import Wanted

Schema = dict[str, Any]

#: Where a schema's own definitions lie.
DEFINED = "#/$defs/"

#: What stands for no value: None is one.
MISSING: Any = object()


class Way(enum.Enum):
    """How values travel."""

    #: In a JSON body: no files.
    JSON = "json"
    #: As fields of a form: files as they are.
    FORM = "form"
    #: In JSON, files as base64.
    BASE64 = "base64"
    #: What owt makes JSON of.
    ANSWER = "answer"


class Schemas:
    """Makes the schemas of one description; classes that have a name are defined once, in ``defs``."""

    def __init__(self, way: Way, *, numbers_may_be_null: bool = False) -> None:
        self.way = way
        self.defs: dict[str, Schema] = {}
        self.number: Schema = {"type": ["number", "null"] if numbers_may_be_null else "number"}
        self._names: dict[Any, str] = {}

    def of(self, wanted: Wanted | None) -> Schema | None:
        """The schema; None for what cannot travel this way. Nothing wanted is anything: ``{}``."""
        if wanted is None:
            return {}
        for kind in type(wanted).__mro__:
            make = _MAKERS.get(kind)
            if make is not None:
                return make(self, wanted)
        return {}

    def part(self, wanted: Wanted | None) -> Schema:
        """The schema of what is inside of something, which is JSON anyhow."""
        made = self.of(wanted)
        return {} if made is None else made

    # ---- files

    def binary(self, media_type: str, text: bool = False) -> Schema | None:
        """A file; where it cannot be one, text stands for it if that may be."""
        if self.way is Way.FORM:
            return {"type": "string", "format": "binary", "contentMediaType": media_type}
        if self.way is Way.BASE64:
            return {"type": "string", "contentEncoding": "base64", "contentMediaType": media_type}
        return {"type": "string"} if text or self.way is Way.ANSWER else None

    def bytes(self, wanted: scalars.Bytes) -> Schema | None:
        return self.binary("application/octet-stream", text=True)

    def upload(self, wanted: uploads.Upload) -> Schema | None:
        return self.binary("application/octet-stream")

    def image(self, wanted: uploads.Image) -> Schema | None:
        return self.binary("image/*")

    def array(self, wanted: uploads.Array) -> Schema | None:
        if self.way is Way.FORM:
            return self.binary("application/octet-stream")
        return {"type": "array", "items": {}, "description": "numbers, in as many dimensions as there are"}

    # ---- single values

    def parsed(self, wanted: scalars.Parsed) -> Schema:
        made: Schema = msgspec.json.schema(wanted.kind)
        # Both need no time zone, which RFC 3339 wants: with one they are taken, without one they may be sent.
        if self.way is not Way.ANSWER and wanted.kind in _TIMES:
            made["format"] = _TIMES[wanted.kind]
        return made

    def made(self, wanted: scalars.Made) -> Schema | None:
        return self.of(wanted.below)

    def other_number(self, wanted: scalars.Number) -> Schema:
        if issubclass(wanted.kind, numbers.Integral):
            return {"type": "integer"}
        if issubclass(wanted.kind, numbers.Real) and not issubclass(wanted.kind, numbers.Rational):
            return dict(self.number)
        return {"type": ["number", "string"]}

    def one_of(self, wanted: scalars.OneOf) -> Schema:
        return choice([value.value if isinstance(value, enum.Enum) else value for value in wanted.values])

    def member(self, wanted: scalars.Member) -> Schema:
        if issubclass(wanted.kind, enum.Flag):
            return {"type": "integer"}
        values = [member.value for member in wanted.kind]
        if all(isinstance(value, str | int | float | bool | None) for value in values) or self.way is Way.ANSWER:
            return choice([as_json(value) for value in values])
        return choice([member.name for member in wanted.kind])

    def instance(self, wanted: scalars.Instance) -> Schema | None:
        return {} if self.way is Way.ANSWER else None

    # ---- what has parts

    def checked(self, wanted: Checked) -> Schema | None:
        below = self.of(wanted.below)
        if below is None or "$ref" in below:
            return below
        for check in get_args(wanted.annotation)[1:]:
            below = below | _of_meta(check, below)
        return below

    def either(self, wanted: Either) -> Schema | None:
        made = [self.of(member) for member in wanted.members]
        members = _different([member for member in made if member is not None])
        if not members:
            return None
        if {} in members:
            return {}
        if wanted.none:
            members.append({"type": "null"})
        return members[0] if len(members) == 1 else {"anyOf": members}

    def many(self, wanted: Many) -> Schema | None:
        items = self.of(wanted.item)
        if items is None:
            return None
        made: Schema = {"type": "array", "items": items}
        is_set = wanted.make is set or wanted.make is frozenset
        return made | {"uniqueItems": True} if is_set else made

    def fixed(self, wanted: Fixed) -> Schema | None:
        items = [self.of(part) for part in wanted.parts]
        if any(item is None for item in items):
            return None
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}

    def table(self, wanted: Table) -> Schema:
        items = self.part(wanted.item)
        return {"type": "object", "additionalProperties": items} if items else {"type": "object"}

    def record(self, wanted: Record) -> Schema:
        name = self._names.get(wanted.kind)
        if name is None:
            name = self._names[wanted.kind] = self._free(wanted.kind.__name__)
            self.defs[name] = {}  # it may lead back to itself
            self.defs[name] = self._fields(wanted)
        return {"$ref": DEFINED + name}

    def _fields(self, wanted: Record) -> Schema:
        defaults = _defaults(wanted.kind)
        fields = {name: self.part(field.wanted) for name, field in wanted.fields.items()}
        title: Schema = {"title": wanted.kind.__name__}
        if wanted.ordered and self.way is Way.ANSWER:  # a NamedTuple
            return title | {"type": "array", "prefixItems": list(fields.values())}
        for name, value in defaults.items():
            if name in fields and "$ref" not in fields[name]:
                fields[name] = fields[name] | {"default": value}
        made = title | {"type": "object", "properties": fields}
        if self.way is Way.ANSWER and not issubclass(wanted.kind, dict):
            required = list(fields)
        else:
            required = [name for name, field in wanted.fields.items() if field.required]
        if required:
            made["required"] = required
        text = inspect.cleandoc(wanted.kind.__doc__ or "").strip()
        if text and not text.startswith(f"{wanted.kind.__name__}(") and "_fields" not in vars(wanted.kind):
            made["description"] = text
        return made

    def struct(self, wanted: Struct) -> Schema:
        (made,), defs = msgspec.json.schema_components([wanted.kind], ref_template=DEFINED + "{name}")
        return self._taken_in(made, defs)

    def model(self, wanted: Model) -> Schema:
        adapter = getattr(wanted.validate, "__self__", None)
        mode = "serialization" if self.way is Way.ANSWER else "validation"
        try:
            if adapter is not None:
                # For several at once, since a schema for one has its outermost model in it and not among the others.
                schemas, whole = adapter.json_schemas([("", mode, adapter)], ref_template=DEFINED + "{model}")
                made, defs = schemas["", mode], whole.get("$defs", {})
            else:  # before version 2
                import pydantic

                made = dict(pydantic.schema_of(wanted.annotation, ref_template=DEFINED + "{model}"))  # which it keeps
                defs = made.pop("definitions", {})
                made.pop("title", None)
        except Exception:  # a model may hold what has no schema
            return {"type": "object"}
        return self._taken_in(made, defs)

    def _taken_in(self, made: Schema, defs: dict[str, Schema]) -> Schema:
        """A schema from elsewhere, its definitions among ours, under other names where ours are taken."""
        others = {name: name if self.defs.get(name) in (None, defs[name]) else self._free(name) for name in defs}

        def renamed(ref: str) -> str:
            name = ref.removeprefix(DEFINED)
            return DEFINED + others.get(name, name)

        for name, schema in defs.items():
            self.defs[others[name]] = with_refs(schema, renamed)
        taken: Schema = with_refs(made, renamed)
        return taken

    def _free(self, name: str) -> str:
        number = 1
        free = name
        while free in self.defs:
            number += 1
            free = f"{name}{number}"
        return free


_TIMES: dict[Any, str] = {datetime.datetime: "date-time", datetime.time: "time"}

_MAKERS: dict[type, Callable[[Schemas, Any], Schema | None]] = {
    scalars.Nothing: lambda schemas, wanted: {"type": "null"},
    scalars.Int: lambda schemas, wanted: {"type": "integer"},
    scalars.Float: lambda schemas, wanted: dict(schemas.number),
    scalars.Bool: lambda schemas, wanted: {"type": "boolean"},
    scalars.Str: lambda schemas, wanted: {"type": "string"},
    scalars.Bytes: Schemas.bytes,
    scalars.Parsed: Schemas.parsed,
    scalars.Made: Schemas.made,
    scalars.Number: Schemas.other_number,
    scalars.OneOf: Schemas.one_of,
    scalars.Member: Schemas.member,
    scalars.Instance: Schemas.instance,
    uploads.Upload: Schemas.upload,
    uploads.Image: Schemas.image,
    uploads.Array: Schemas.array,
    Checked: Schemas.checked,
    Either: Schemas.either,
    Many: Schemas.many,
    Fixed: Schemas.fixed,
    Table: Schemas.table,
    Record: Schemas.record,
    Struct: Schemas.struct,
    Model: Schemas.model,
}


def choice(values: list[Any]) -> Schema:
    """One of these values."""
    kinds = {_TYPES.get(type(value), "") for value in values}
    made: Schema = {"enum": values}
    return {"type": kinds.pop(), **made} if len(kinds) == 1 and "" not in kinds else made


_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def as_json(value: object) -> Any:
    """A value as JSON has it; MISSING for what has none."""
    try:
        return json.loads(jsons.dumps(value))
    except Exception:  # whatever making JSON of an object of the function's raises
        return MISSING


def sound(schema: Schema) -> Schema:
    """The schema as JSON has it. Annotations add anything to one: where that has no JSON, so is the value."""
    made = as_json(schema)
    return _without_nothing(made) if isinstance(made, dict) else {}


def _without_nothing(schema: Schema) -> Schema:
    """Without bounds that are no numbers in JSON."""
    return {name: value for name, value in schema.items() if value is not None}


def _defaults(kind: Any) -> dict[str, Any]:
    """The defaults of a record's fields that JSON knows."""
    if dataclasses.is_dataclass(kind):
        found = {field.name: field.default for field in dataclasses.fields(kind)}
        found = {name: value for name, value in found.items() if value is not dataclasses.MISSING}
    else:
        found = dict(getattr(kind, "_field_defaults", {}))
    made = {name: as_json(value) for name, value in found.items()}
    return {name: value for name, value in made.items() if value is not MISSING}


def _of_meta(meta: msgspec.Meta, below: Schema) -> Schema:
    """What a Meta adds to the schema of what it is about."""
    kind = below.get("type")
    what = {"array": "Items", "object": "Properties"}.get(kind if isinstance(kind, str) else "", "Length")
    names = {
        "ge": "minimum",
        "gt": "exclusiveMinimum",
        "le": "maximum",
        "lt": "exclusiveMaximum",
        "multiple_of": "multipleOf",
        "pattern": "pattern",
        "min_length": f"min{what}",
        "max_length": f"max{what}",
        "title": "title",
        "description": "description",
        "examples": "examples",
    }
    made = {name: getattr(meta, attribute) for attribute, name in names.items()}
    return {name: value for name, value in made.items() if value is not None} | dict(meta.extra_json_schema or {})


def _different(members: list[Schema]) -> list[Schema]:
    found: list[Schema] = []
    for member in members:
        if member not in found:
            found.append(member)
    return found


def with_refs(schema: Any, renamed: Callable[[str], str]) -> Any:
    """The same schema, each ``$ref`` renamed, and what a discriminator leads to."""
    if isinstance(schema, dict):
        return {
            key: renamed(value)
            if isinstance(value, str) and (key == "$ref" or value.startswith(DEFINED))
            else with_refs(value, renamed)
            for key, value in schema.items()
        }
    return [with_refs(item, renamed) for item in schema] if isinstance(schema, list) else schema


def refs(schema: Any) -> Iterator[str]:
    """The names of the definitions that a schema names."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value.removeprefix(DEFINED)
            else:
                yield from refs(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from refs(item)


def misfit(schema: Schema, value: Any) -> str:
    """How a JSON value is not what a schema of ours says, in words; empty if it is."""
    return _misfit(schema, value, schema.get("$defs", {}), "it")


def _misfit(schema: Schema, value: Any, defs: dict[str, Schema], where: str) -> str:
    if "$ref" in schema:
        return _misfit(defs.get(schema["$ref"].removeprefix(DEFINED), {}), value, defs, where)
    if "anyOf" in schema:
        said = [_misfit(one, value, defs, where) for one in schema["anyOf"]]
        return "" if "" in said else said[0]
    if "enum" in schema and value not in schema["enum"]:
        return f"{where} is none of {schema['enum']}"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(kind, value) for kind in kinds):
        return f"{where} is no {' or '.join(kinds)}"
    if isinstance(value, dict):
        return _object_misfit(schema, value, defs, where)
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        rest = schema.get("items", {}) if isinstance(schema.get("items"), dict) else {}
        for index, item in enumerate(value):
            if wrong := _misfit(first[index] if index < len(first) else rest, item, defs, f"{where}[{index}]"):
                return wrong
    return ""


def _object_misfit(schema: Schema, value: dict[str, Any], defs: dict[str, Schema], where: str) -> str:
    for name in schema.get("required", []):
        if name not in value:
            return f"{where} has no {name}"
    properties = schema.get("properties", {})
    rest = schema.get("additionalProperties", {})
    for name, item in value.items():
        one = properties.get(name, rest)
        if isinstance(one, dict) and (wrong := _misfit(one, item, defs, f"{where}.{name}")):
            return wrong
    return ""


def _is(kind: str, value: object) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, _KINDS.get(kind, object))


_KINDS: dict[str, Any] = {
    "string": str,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}
