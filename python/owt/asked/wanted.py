"""What all conversions share: something wanted, and what is said of a value that is not that."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import Any

from werkzeug.datastructures import FileStorage


class Misfit(Exception):
    """A value is not what is wanted. where leads to it from the argument: ``.sizes[2]``."""

    def __init__(self, wants: str, came: str, where: str = "") -> None:
        super().__init__(wants, came, where)
        self.wants = wants
        self.came = came
        self.where = where

    def inside(self, step: str) -> Misfit:
        """The same, seen from one step further out."""
        return Misfit(self.wants, self.came, step + self.where)

    def about(self, argument: str) -> str:
        """A sentence's part about the argument with this name."""
        return f"{argument}{self.where} wants {self.wants}, and {self.came} came"


class Wanted:
    """What an annotation wants. A call makes a value, as it came, into that, or raises Misfit.

    text says what it wants to who reads an error. same are the types whose values pass as they are.
    many: of a field that is sent more than once it takes all; file: it takes a file as a file. strict
    is the type that msgspec converts to as this does, if it does so for all the parts as well.
    """

    __slots__ = ("file", "many", "parts", "same", "strict", "text")

    def __init__(self, text: str, *, strict: Any = None, same: tuple[type, ...] = ()) -> None:
        self.text = text
        self.strict = strict
        self.same = same
        self.many = False
        self.file = False
        self.parts: list[Wanted | None] = []

    def __call__(self, value: Any) -> Any:
        raise NotImplementedError

    def misfit(self, value: object) -> Misfit:
        """What to raise for a value that is not it."""
        return Misfit(self.text, shown(value))

    def argument(self, value: Any) -> Any:
        """As a call, for a whole argument: what comes alone may stand for a container of one."""
        return self(value)

    def step(self) -> Callable[[Any], Any]:
        """What converts an argument, without a detour."""
        return self.__call__ if type(self).argument is Wanted.argument else self.argument


def text_of(file: FileStorage, wanted: Wanted) -> str:
    """A file's content, where no file but a value is wanted. Raises Misfit if it is not UTF-8."""
    try:
        return content_of(file).decode()
    except UnicodeDecodeError:
        raise Misfit(wanted.text, f"{shown(file)}, which is not UTF-8,") from None


def content_of(file: FileStorage) -> bytes:
    """All of a file, which can be read again afterwards."""
    file.stream.seek(0)
    content = file.stream.read()
    file.stream.seek(0)
    return content


def is_blank(file: object) -> bool:
    """What a browser sends for a file field that nobody has filled in."""
    if not isinstance(file, FileStorage) or file.filename:
        return False
    file.stream.seek(0)
    empty = not file.stream.read(1)
    file.stream.seek(0)
    return empty


def read_json(text: str, wanted: Wanted) -> Any:
    """What a text says as JSON. Raises Misfit if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise wanted.misfit(text) from None


def shown(value: object) -> str:
    """A value for an error text: short, and of a file its name."""
    if isinstance(value, FileStorage):
        return f"the file {value.filename!r}" if value.filename else "an empty file field"
    if isinstance(value, list) and value and all(isinstance(item, FileStorage) for item in value):
        return f"{len(value)} files"
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def name_of(annotation: object) -> str:
    """An annotation as it was written, more or less."""
    return without_endpoint(inspect.formatannotation(annotation))


def without_endpoint(text: str) -> str:
    """The text with names of the endpoint's module as the adaptor calls them."""
    return _endpoint.sub("", text)


_endpoint = re.compile(r"\bowt\.endpoint\.(?:sha256_|file:[^.:]*:)[0-9a-f]{64}\.(?:<locals>\.)?")
