"""What a published function says of itself: by its docstring, its signature, and what conversion makes of that."""

from __future__ import annotations

import ast
import typing
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import Parameter as Written
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from owt.asked import binding
from owt.asked.annotations import annotations_of, returned_by
from owt.endpoint import loaded
from owt.process.context import ends_the_call
from owt.published import docstrings, files, places
from owt.published.answers import Answer, answer_of
from owt.published.schema import MISSING, Schema, Schemas, Way, as_json, refs, sound

if TYPE_CHECKING:
    from owt.published.catalog import Catalog, Published
    from owt.published.places import Signature


@dataclass
class Parameter:
    """One parameter, as callers see it. schemas are by the way in which it comes; one that is missing cannot."""

    name: str
    required: bool
    text: str
    #: It takes a file as a file.
    file: bool
    schemas: dict[Way, Schema]
    #: Its default as JSON has it; MISSING if there is none, or JSON has none.
    default: Any = MISSING

    @property
    def simple(self) -> bool:
        """Its values are text, numbers and the like, or lists of them: a query has room for it."""
        return Way.JSON in self.schemas and _is_simple(self.schemas[Way.JSON])

    @property
    def shown_default(self) -> str:
        """The default in words, where it is one worth showing."""
        return "" if self.default in (MISSING, None, "") else str(self.default)


@dataclass
class Description:
    """A published function, described: in text and JSON alone, so that this holds nothing that the function's file has
    loaded.
    """

    name: str
    summary: str
    text: str
    parameters: list[Parameter]
    #: The schema of further arguments, for ``**kwargs``; None if there are none.
    further: Schema | None
    answer: Answer
    #: What the schemas name, by the way in which values come.
    defs: dict[Way, dict[str, Schema]]

    @property
    def title(self) -> str:
        return self.summary.rstrip(".") or self.name

    @property
    def files(self) -> bool:
        """It takes files."""
        return any(parameter.file for parameter in self.parameters)

    def arguments(self, way: Way) -> Schema | None:
        """The schema of all arguments as an object; None if it cannot be called in this way."""
        there = [parameter for parameter in self.parameters if way in parameter.schemas]
        if any(parameter.required for parameter in self.parameters if parameter not in there):
            return None
        made: Schema = {"type": "object", "properties": {one.name: of_parameter(one, way) for one in there}}
        if required := [one.name for one in there if one.required]:
            made["required"] = required
        made["additionalProperties"] = False if self.further is None else self.further or True
        return made

    def with_defs(self, schema: Schema, way: Way) -> Schema:
        """The schema, with those definitions that it leads to."""
        defs = self.defs[way]
        found: dict[str, Schema] = {}
        waiting = list(refs(schema))
        while waiting:
            name = waiting.pop()
            if name not in found and name in defs:
                found[name] = defs[name]
                waiting += refs(defs[name])
        return schema | {"$defs": {name: found[name] for name in defs if name in found}} if found else schema


def of_parameter(parameter: Parameter, way: Way) -> Schema:
    """A parameter's schema, with its default and what is said of it."""
    schema = parameter.schemas[way]
    more: Schema = {}
    if parameter.text:
        more["description"] = parameter.text
    if parameter.default is not MISSING and parameter.default is not None:
        more["default"] = parameter.default
    return schema | more


_known: weakref.WeakKeyDictionary[Any, tuple[str, Description]] = weakref.WeakKeyDictionary()


def describe(published: Published) -> Description:
    """The description of a published function, which is loaded for that; raises what loading it raises."""
    function = published.get()
    try:
        name, known = _known.get(function, ("", None))
        if known is not None and name == published.name:
            return known
    except TypeError:  # not everything that can be called can be a key
        return describe_function(function, published.name)
    made = describe_function(function, published.name)
    _known[function] = published.name, made
    return made


def described(catalog: Catalog) -> Iterator[tuple[Published, Description | None]]:
    """All that is published, with descriptions; None for what does not load, or has a signature that nobody reads.

    What is lazy is loaded for that, once: what has been described, or has failed to load, is not loaded again before it
    changes; a call may.
    """
    for published in catalog:
        yield published, described_if_possible(published)


#: What has come of files that were loaded to be described, by file, function and name, as they were then.
_descriptions: dict[tuple[str, str, str], tuple[Signature, Description | None]] = {}


def described_if_possible(published: Published) -> Description | None:
    """The description of one of them, as ``described`` has it."""
    key = published.file, published.function, published.name
    seen = None if published.file in loaded.endpoints else places.look(published.file)
    known, made = _descriptions.get(key, (None, None))
    if seen is not None and known == seen:
        return made  # they may be more than stay loaded
    failed = made is None
    try:
        made = describe(published)
    except BaseException as error:  # whatever loading, or looking at the function, raises: SystemExit, say
        if ends_the_call(error):
            raise
        made = None
    if seen is not None:
        _descriptions[key] = seen, made
    elif failed and made is not None:
        _descriptions.pop(key, None)
    return made


@dataclass
class Outline:
    """What a function's source says without being run."""

    summary: str
    parameters: list[str]


def outline(published: Published) -> Outline | None:
    """What is to be seen of a function without loading it; None if its source is no Python, or cannot be read."""
    if published.file in loaded.endpoints:
        try:
            one = describe(published)
        except BaseException as error:
            if ends_the_call(error):
                raise
            return None
        return Outline(one.summary, [parameter.name for parameter in one.parameters])
    if files.has_failed(published.file):
        return None
    key, seen = (published.file, published.function), places.look(published.file)
    known, made = _outlines.get(key, (None, None))
    if seen is None or known != seen:
        made = _outline(*key)
        if seen is not None:
            _outlines[key] = seen, made
    return made


#: What has been seen of files that are not loaded, by file and function, as they were then.
_outlines: dict[tuple[str, str], tuple[Signature, Outline | None]] = {}


def _outline(file: str, function: str) -> Outline | None:
    try:
        tree = ast.parse(places.read(file)[0])
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == function:
            written = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            names = [one.arg for one in written if not binding.means_request(one.arg)]
            return Outline(docstrings.parse(ast.get_docstring(node) or "").summary, names)
    return Outline("", [])


def describe_function(function: Callable[..., Any], name: str) -> Description:
    """The description of any function that is known to callers by this name."""
    names = _names_of(function)
    takes = binding.taken_by(function, names)
    said = docstrings.read(function)
    notes = _notes(function, takes, names)
    schemas = {way: Schemas(way) for way in Way}
    parameters = []
    further: Schema | None = None
    for written in binding.parameters_of(takes):
        wanted = takes.wanted.get(written.name)
        if written.kind is Written.VAR_KEYWORD:
            further = sound(schemas[Way.JSON].part(wanted))
            continue
        required = written.default is Written.empty and written.name not in takes.defaults
        by_way = {way: _without_none(schemas[way].of(wanted)) for way in _CALLS}
        there = {way: sound(schema) for way, schema in by_way.items() if schema is not None}
        if not there and not required:
            continue  # nobody can send it
        # The path of a file of its own is none that a caller could send, and a secret (pydantic's) not for telling.
        its_own = isinstance(written.default, str | PurePath) and Way.JSON not in there
        its_own = its_own or hasattr(written.default, "get_secret_value")
        default = MISSING if written.default is Written.empty or its_own else as_json(written.default)
        text = said.parameters.get(written.name, "") or notes.get(written.name, "")
        file = wanted is not None and wanted.file and "format" in _one(there.get(Way.FORM, {}))
        parameters.append(Parameter(written.name, required, text, file, there or {Way.FORM: {}}, default))
    signature = takes.signature
    returned = Written.empty if signature is None else returned_by(function, signature, names)
    answer = answer_of(returned, function, schemas[Way.ANSWER])
    answer.text = said.returns
    answer.contents = {media_type: sound(schema) for media_type, schema in answer.contents.items()}
    defs = {way: {key: sound(schema) for key, schema in made.defs.items()} for way, made in schemas.items()}
    return Description(name, said.summary, said.text, parameters, further, answer, defs)


_CALLS = (Way.JSON, Way.FORM, Way.BASE64)


def _names_of(function: Callable[..., Any]) -> dict[str, Any]:
    names: dict[str, Any] = getattr(function, "__globals__", {})
    return names


def _notes(function: Callable[..., Any], takes: binding.Takes, names: dict[str, Any]) -> dict[str, str]:
    """What Annotated says of parameters in words: a text, or something that has one."""
    found: dict[str, str] = {}
    if takes.signature is not None:
        for name, annotation in annotations_of(function, takes.signature, names).items():
            if typing.get_origin(annotation) is typing.Annotated:
                for note in typing.get_args(annotation)[1:]:
                    text = note if isinstance(note, str) else _words_of(note)
                    if text:
                        found[name] = text
    return found


def _words_of(note: object) -> str:
    """Of pydantic's Field, msgspec's Meta, typing_extensions' Doc, Typer's Option."""
    for attribute in ("description", "documentation", "help"):
        text = getattr(note, attribute, None)
        if isinstance(text, str):
            return text
    return ""


def _without_none(schema: Schema | None) -> Schema | None:
    """A null counts as left out, so that a parameter as a whole cannot be one."""
    if schema is None or "anyOf" not in schema:
        return schema
    rest = [one for one in schema["anyOf"] if one != {"type": "null"}]
    return rest[0] if len(rest) == 1 else schema | {"anyOf": rest}


def _one(schema: Schema) -> Schema:
    """What a list has, or the first of a union, or the schema itself."""
    if schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        return _one(schema["items"])
    members = schema.get("anyOf")
    if members:
        return next((one for one in map(_one, members) if "format" in one), {})
    return schema if schema.get("format") == "binary" else {}


def _is_simple(schema: Schema, within: bool = False) -> bool:
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return all(_is_simple(one, within) for one in schema[union])
    if "$ref" in schema or schema.get("type") == "object":
        return False
    if schema.get("type") == "array":
        items = schema.get("items")
        return not within and isinstance(items, dict) and bool(items) and _is_simple(items, within=True)
    return True
