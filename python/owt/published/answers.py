"""How an answer will look, as far as the annotation of what is returned tells: see ``owt.answer.response``."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import io
import numbers
import os
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from inspect import Parameter
from typing import Any

from werkzeug.wrappers import Response

from owt.asked import convert
from owt.asked.annotations import stands_for
from owt.published.schema import Schema, Schemas

HTML = "text/html"
JSON = "application/json"
LINES = "application/x-ndjson"
OCTETS = "application/octet-stream"
CSV = "text/csv"
PICTURES = "multipart/x-mixed-replace"
WAV = "audio/wav"
PNG = "image/png"


@dataclass
class Answer:
    """What comes back: a schema for each content type, the first one for who has no preference.

    No content type is known if there is none here. streams: it comes piece by piece, each of which (a line, a picture)
    the schema is of. empty: it may be nothing at all.
    """

    contents: dict[str, Schema] = field(default_factory=dict)
    streams: bool = False
    empty: bool = False
    #: What the docstring says of it.
    text: str = ""


def answer_of(annotation: Any, function: Callable[..., Any], schemas: Schemas) -> Answer:
    """What a function with this annotation of its return answers with."""
    try:
        return _Answers(_yields(function), schemas).of(annotation)
    except Exception:  # annotations may be anything, and fail in any way when looked at
        return Answer()


def _yields(function: Any) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


class _Answers:
    def __init__(self, yields: bool, schemas: Schemas) -> None:
        #: The function is a generator: then an Iterable is one, too.
        self.yields = yields
        self.schemas = schemas

    def of(self, annotation: Any) -> Answer:
        annotation = _bare(annotation)
        if annotation in (Parameter.empty, Any, object):
            return Answer(streams=self.yields)
        if annotation is None or annotation is type(None):
            return Answer(empty=True)
        origin = typing.get_origin(annotation)
        arguments = typing.get_args(annotation)
        if origin in (typing.Union, types.UnionType):
            return self.one_of([self.of(one) for one in arguments])
        if origin is typing.Literal:
            return self.one_of([self.of(type(value)) for value in arguments])
        kind = origin or annotation
        if kind in _AWAITED:
            return self.of(arguments[-1]) if arguments else Answer()
        if kind in _STREAMS or (self.yields and kind in _ITERABLES):
            return self.stream(_bare(arguments[0]) if arguments else Any)
        if origin is tuple and (pair := self.tuple(arguments)) is not None:
            return pair
        return self.whole(annotation, kind)

    def one_of(self, answers: list[Answer]) -> Answer:
        if any(not answer.contents and not answer.empty for answer in answers):
            return Answer(streams=any(answer.streams for answer in answers))
        made = Answer(streams=any(answer.streams for answer in answers), empty=any(answer.empty for answer in answers))
        for answer in answers:
            for media_type, schema in answer.contents.items():
                there = made.contents.get(media_type)
                made.contents[media_type] = schema if there in (None, schema) else {"anyOf": [there, schema]}
        return made

    def tuple(self, arguments: tuple[Any, ...]) -> Answer | None:
        """(rate, samples), (body, status), (body, headers), (body, status, headers)."""
        if len(arguments) == 2 and arguments[0] is int and _library(arguments[1]) in ("numpy", "torch"):
            return Answer({WAV: {}})
        if len(arguments) in (2, 3) and arguments[1] is not ...:
            return self.of(arguments[0])
        return None

    def stream(self, item: Any) -> Answer:
        kind = typing.get_origin(item) or item
        if item is str or (isinstance(kind, type) and issubclass(kind, str)):
            return Answer({HTML: {"type": "string"}}, streams=True)
        if kind in (bytes, bytearray, memoryview):
            return Answer({OCTETS: {}}, streams=True)
        if _is_picture(kind) or _is_figure(kind):
            return Answer({PICTURES: {}}, streams=True)
        if kind is tuple and self.tuple(typing.get_args(item)) == Answer({WAV: {}}):
            return Answer({WAV: {}}, streams=True)
        schema = self.json(item)
        if schema:
            return Answer({LINES: schema}, streams=True)
        return Answer(streams=True)

    def whole(self, annotation: Any, kind: Any) -> Answer:
        if not isinstance(kind, type):
            return Answer()
        if issubclass(kind, enum.Enum):
            return self.one_of([self.of(each) for each in dict.fromkeys(type(one.value) for one in kind)])
        if issubclass(kind, str) or kind is io.StringIO:
            return Answer({HTML: {"type": "string"}})
        if issubclass(kind, bytes | bytearray | memoryview | io.BytesIO | os.PathLike | io.IOBase) or kind in _FILES:
            return Answer({OCTETS: {}})
        if kind is bool:
            return Answer({JSON: {"type": "boolean"}})
        if issubclass(kind, numbers.Number):
            return Answer({HTML: {"type": "string"}})
        if issubclass(kind, Response):
            return Answer()
        if _is_picture(kind):
            return Answer({PNG: {}})
        if _is_figure(kind):
            return Answer({PNG: {}, "image/svg+xml": {}, "application/pdf": {}})
        if ("numpy", "ndarray") in _bases(kind):  # one of uint8 is a picture for who wants one
            return Answer({JSON: {"type": "array"}, PNG: {}})
        table = _table(kind)
        if table is not None:
            rows = {"type": "array", "items": {"type": "object"} if table else {}}
            return Answer({**({HTML: {"type": "string"}} if table else {}), JSON: rows, CSV: {"type": "string"}})
        schema = self.json(annotation)
        return Answer() if schema is None else Answer({JSON: schema})

    def json(self, annotation: Any) -> Schema | None:
        """The schema of what JSON is made of; None if nothing is known of it."""
        kind = typing.get_origin(annotation) or annotation
        if _library(kind) in ("numpy", "torch"):
            return {"type": "array"} if getattr(kind, "__name__", "") in ("ndarray", "Tensor") else None
        wanted = convert.wanted(annotation)
        schema = None if wanted is None else self.schemas.of(wanted)
        return schema or None


def _bare(annotation: Any) -> Any:
    """Without what Annotated adds, and names for types."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif (meant := stands_for(annotation)) is not None:
            annotation = meant
        elif isinstance(annotation, types.ModuleType) and annotation.__name__ == "PIL.Image":
            annotation = annotation.Image  # as arguments have it
        else:
            return annotation


_AWAITED = (collections.abc.Awaitable, collections.abc.Coroutine)
_STREAMS = (
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
)
_ITERABLES = (collections.abc.Iterable, collections.abc.AsyncIterable)
_FILES = (typing.IO, typing.BinaryIO, typing.TextIO)


def _bases(kind: Any) -> Iterator[tuple[str, str]]:
    """The package and the name of a class and of those it is made from."""
    for base in getattr(kind, "__mro__", ()):
        yield str(base.__module__).partition(".")[0], base.__name__


def _library(annotation: Any) -> str:
    kind = typing.get_origin(annotation) or annotation
    return str(getattr(kind, "__module__", "")).partition(".")[0]


def _is_picture(kind: Any) -> bool:
    return ("PIL", "Image") in _bases(kind)


def _is_figure(kind: Any) -> bool:
    return ("matplotlib", "Figure") in _bases(kind)


def _table(kind: Any) -> bool | None:
    """Whether a class of tables is a frame's; None for any other."""
    for package, name in _bases(kind):
        if package in ("pandas", "polars") and name in ("DataFrame", "Series"):
            return name == "DataFrame"
    return None
