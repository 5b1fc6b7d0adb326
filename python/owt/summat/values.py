"""Blocks that look into the value: bytes, items, lists. None keeps keyword arguments."""

from __future__ import annotations

import builtins
import io
import operator
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any, TypeVar

from owt.summat.adaptor import Adaptor, DropKWs, Nullary, Result, need_function, show, show_function

T = TypeVar("T")
U = TypeVar("U")


def kind(value: object) -> str:
    """What a value is, in an error's words."""
    return "nothing" if isinstance(value, Nullary) else type(value).__name__


class Bytes(Adaptor[builtins.bytes]):
    """``bytes()``: the value as bytes. Text is encoded as UTF-8, a BytesIO or a file gives its contents.

    TypeError for what holds no bytes; a number does not.
    """

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        value = __last__
        if isinstance(value, io.BytesIO):
            return DropKWs(value.getvalue())
        if callable(getattr(value, "read", None)):
            value = value.read()
        if isinstance(value, str):
            return DropKWs(value.encode())
        if value is None or isinstance(value, int | Nullary | Mapping):
            raise TypeError(f"bytes() needs text, bytes, a BytesIO or a file, not {kind(value)}")
        return DropKWs(builtins.bytes(value))


def _item(value: Any, index: int, block: str) -> Any:
    if isinstance(value, Mapping):
        raise TypeError(f"{block} needs a list, not {kind(value)}: for a dict there is get()")
    if not hasattr(type(value), "__getitem__"):
        raise TypeError(f"{block} needs a list, not {kind(value)}")
    return value[index]


class Last(Adaptor[Any]):
    """``last()``: the last item of a list or another sequence. IndexError for an empty one."""

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return DropKWs(_item(__last__, -1, "last()"))


class Ix(Adaptor[Any]):
    """``ix(i)``: item i of a list or another sequence, from the end if negative. IndexError if there is none."""

    def __init__(self, index: int) -> None:
        self.index = operator.index(index)

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return DropKWs(_item(__last__, self.index, "ix()"))

    def __repr__(self) -> str:
        return f"ix({self.index})"


class Get(Adaptor[Any]):
    """``get(key)``: a dict's item. KeyError if there is none."""

    def __init__(self, key: Hashable) -> None:
        self.key = key

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        value = __last__
        if isinstance(value, Sequence):
            raise TypeError(f"get() needs a dict, not {kind(value)}: for a list there is ix()")
        if not hasattr(type(value), "__getitem__"):
            raise TypeError(f"get() needs a dict, not {kind(value)}")
        return DropKWs(value[self.key])

    def __repr__(self) -> str:
        return f"get({show(self.key)})"


class _OverItems(Adaptor[T]):
    def __init__(self, fn: Callable[..., Any]) -> None:
        need_function(fn)
        self.fn = fn

    def items(self, value: Any) -> Iterable[Any]:
        if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
            raise TypeError(f"{type(self).__name__.lower()}() needs a list, not {kind(value)}")
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__.lower()}({show_function(self.fn)})"


class Map(_OverItems[list[T]]):
    """``map(fn)``: the list of fn(item) for each item of a list or another iterable."""

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return DropKWs([self.fn(item) for item in self.items(__last__)])


class Foldl(_OverItems[T]):
    """``foldl(fn, acc)``: fn(fn(acc, first), second) and so on; acc for an empty list.

    A list, dict, set or bytearray as acc is copied for each call, so that fn may add to it.
    """

    def __init__(self, fn: Callable[..., T], acc: T) -> None:
        super().__init__(fn)
        self.acc = acc

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        acc: Any = self.acc
        if isinstance(acc, list | dict | set | bytearray):
            acc = copy(acc)
        for item in self.items(__last__):
            acc = self.fn(acc, item)
        return DropKWs(acc)

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, {show(self.acc)})"


class Foldl1(_OverItems[T]):
    """``foldl1(fn)``: ``foldl`` that begins with the first item. ValueError for an empty list."""

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        items = iter(self.items(__last__))
        acc: Any = next(items, _NONE)
        if acc is _NONE:
            raise ValueError("foldl1() of an empty list: foldl() takes a value to begin with")
        for item in items:
            acc = self.fn(acc, item)
        return DropKWs(acc)


_NONE = object()
