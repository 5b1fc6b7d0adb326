"""What a batched function takes and returns, which are lists; and what one caller passes and gets, of each one item."""

from __future__ import annotations

import collections.abc
import inspect
import re
import typing
from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Optional, Union

_Function = Callable[..., Any]

# ---- what it takes


def signature(fn: _Function, name: str) -> Signature:
    """The signature as it was written. TypeError if fn cannot be called with a list for each parameter."""
    if not callable(fn):
        under = f": put it under @{type(fn).__name__}" if isinstance(fn, classmethod) else ""
        raise TypeError(f"batch(...) decorates a function, got {fn!r}{under}")
    called = getattr(fn, "__call__", None)  # noqa: B004 - an object may be a function too
    for one in (fn, called):
        if inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one):
            raise TypeError(
                f"{name} yields, and what is batched does not stream: return a list with one result for each item, or"
                " stream from a function that is not batched"
            )
    try:
        found = inspect.signature(fn)
    except (TypeError, ValueError):
        raise TypeError(
            f"what {name} takes is not known: wrap it, as in batch(...)(lambda items: {name}(items))"
        ) from None
    variadic = [p for p in found.parameters.values() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if variadic or not found.parameters:
        raise TypeError(
            f"{name}{found} is called with one list for each parameter, so it has to name them (a decorator that"
            " wraps it tells them with @functools.wraps)"
        )
    return found


def is_asynchronous(fn: _Function) -> bool:
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def for_one(fn: _Function, written: Signature) -> Signature:
    """What a caller passes: of a list one item."""
    read = _read(fn, written)
    parameters = [p.replace(annotation=_of_item(p.annotation)) for p in read.parameters.values()]
    return read.replace(parameters=parameters, return_annotation=_of_item(read.return_annotation))


def _read(fn: _Function, written: Signature) -> Signature:
    """The same with annotations that are text as what they stand for; as text where a name is not there, or not yet."""
    if not any(isinstance(p.annotation, str) for p in written.parameters.values()):
        return written
    try:
        return inspect.signature(fn, eval_str=True)
    except Exception:  # whatever the text does
        return written


_LISTS = (
    list,
    collections.abc.Sequence,
    collections.abc.MutableSequence,
    collections.abc.Collection,
    collections.abc.Iterable,
)
#: What nobody takes for a list: it says what an item is.
_ITEMS = (int, float, bool, str, bytes, Path)
_list_text = re.compile(r"\s*(?:\w+\.)*(?:[Ll]ist|Sequence|MutableSequence|Collection|Iterable)\[(.*)\]\s*", re.DOTALL)


def _of_item(annotation: Any) -> Any:
    """The annotation of one item; none if a list does not say what is in it."""
    if isinstance(annotation, str):
        found = _list_text.fullmatch(annotation)
        return found[1] if found is not None else Parameter.empty
    if any(annotation is one for one in _ITEMS):
        return annotation
    inside, origin = typing.get_args(annotation), typing.get_origin(annotation)
    if origin is Annotated:
        return _of_item(inside[0])
    if origin in (Union, UnionType) and NoneType in inside:
        items = {_of_item(one) for one in inside if one is not NoneType}
        item = items.pop() if len(items) == 1 else Parameter.empty
        return item if item is Parameter.empty else Optional[item]  # noqa: UP007 - it may be text
    if origin is tuple and inside[1:] == (...,):
        return inside[0]
    return inside[0] if len(inside) == 1 and origin in _LISTS else Parameter.empty


# ---- what it returns

#: What says of itself how long it is, and holds something else than results, one after the other.
_NO_LISTS = (str, bytes, bytearray, set, frozenset, collections.abc.Mapping)


def results(name: str, returned: Any, count: int) -> list[Any]:
    """As many as there are items. Raises TypeError or ValueError for whatever else the function returned."""
    items = "the item" if count == 1 else f"each of the {count} items"
    wanted = f"return a list with one result for {items}"
    kind = type(returned).__name__
    if _is_stream(returned):
        raise TypeError(f"{name} is batched, and returned a {kind}: a batch is answered whole; {wanted}")
    try:
        if isinstance(returned, _NO_LISTS) or hasattr(returned, "columns"):
            raise TypeError
        len(returned)
        made = list(returned)
    except TypeError:
        raise TypeError(f"{name} is batched, and returned {kind}: {wanted}{_advice(returned)}") from None
    found = len(made)
    if found != count:
        how_many = "1 item" if count == 1 else f"{count} items"
        several = ""
        if all(_length(result) == count for result in made) and found:
            several = (
                f" (each of the {found} has {count}: list(zip(*results)) has one for each item)"
                if found > 1
                else f" (it holds one that has {count}: return results[0])"
            )
        raise ValueError(
            f"{name} is batched, and returned {found} result{'s' * (found != 1)} for {how_many}: {wanted}{several}"
        )
    return [_refuse(name, result) if _is_stream(result) else result for result in made]


def _refuse(name: str, result: Any) -> TypeError:
    kind = type(result).__name__
    return TypeError(
        f"{name} is batched, and returned a {kind} for one item: what is batched does not stream;"
        " return the value itself, or stream from a function that is not batched"
    )


def _is_stream(value: Any) -> bool:
    return inspect.isgenerator(value) or inspect.isasyncgen(value) or inspect.iscoroutine(value)


def _advice(returned: Any) -> str:
    for way in ("to_dicts()", "to_pylist()", 'to_dict("records")'):  # of Polars, Arrow, pandas
        if hasattr(returned, "columns") and hasattr(returned, way.partition("(")[0]):
            return f": its rows, as frame.{way}"
    return ""


def _length(value: Any) -> int:
    """-1 of what has none, or is text."""
    try:
        return -1 if isinstance(value, _NO_LISTS) else len(value)
    except TypeError:
        return -1
