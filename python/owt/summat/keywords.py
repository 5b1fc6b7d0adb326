"""Blocks that work on the keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from owt.summat.adaptor import LAST, Adaptor, DropKWs, Nullary, PassKWs, Result, original_kwargs, show


class Kwargs(Adaptor[Any]):
    """``kwargs(**defaults)``: adds the keyword arguments that did not come; the value passes on.

    A default ``__last__`` is the value where there is none.
    """

    def __init__(self, defaults: Mapping[str, Any]) -> None:
        self.defaults = dict(defaults)

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        merged = {**self.defaults, **kwargs}
        if not isinstance(__last__, Nullary):
            merged[LAST] = __last__
        return PassKWs(merged)

    def __repr__(self) -> str:
        return f"kwargs({', '.join(f'{name}={show(value)}' for name, value in self.defaults.items())})"


class Kwarg(Adaptor[Any]):
    """``kwarg(name)``: the keyword argument of this name is the value, and none remain. KeyError without it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return DropKWs(kwargs[self.name])

    def __repr__(self) -> str:
        return f"kwarg({show(self.name)})"


class Input(Adaptor[Any]):
    """``input()``: the keyword arguments that the call began with instead of those that came.

    The value passes on, unless the call began with one.
    """

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return PassKWs(original_kwargs.get({}))
