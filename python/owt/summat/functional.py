"""Blocks that work on values: functions, constants."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from owt.summat.adaptor import LAST, Adaptor, DropKWs, Nullary, Result


class Caller:
    """Calls a function as the stages do that take one.

    A value alone is passed by position, else everything by keyword, the value as ``__last__`` only if
    the signature takes that.
    """

    __slots__ = ("fn", "takes_last")

    def __init__(self, fn: Callable[..., Any]) -> None:
        if not callable(fn):
            raise TypeError(f"a function is needed here, not {type(fn).__name__}: {fn!r}")
        self.fn = fn
        try:
            parameters = inspect.signature(fn).parameters
        except (ValueError, TypeError):
            self.takes_last = False
        else:
            self.takes_last = LAST in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())

    def __call__(self, last: Any, kwargs: dict[str, Any]) -> Any:
        if isinstance(last, Nullary):
            return self.fn(**kwargs)
        if not kwargs:
            return self.fn(last)
        if self.takes_last:
            return self.fn(**kwargs, __last__=last)
        return self.fn(**kwargs)

    def __repr__(self) -> str:
        return getattr(self.fn, "__qualname__", None) or repr(self.fn)


class F(Adaptor):
    """``f(fn)``: calls fn; its result is the value, and no keyword arguments remain."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = Caller(fn)

    def call(self, *, __last__: Any, **kwargs: Any) -> Result:
        return DropKWs(self.fn(__last__, kwargs))

    def __repr__(self) -> str:
        return f"f({self.fn!r})"


class Const(Adaptor):
    """``const(v)``: v, whatever came."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def call(self, *, __last__: Any, **kwargs: Any) -> Result:
        return DropKWs(self.value)

    def __repr__(self) -> str:
        return f"const({self.value!r})"
