"""Blocks that work on whatever came: functions, constants, branches."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from owt.summat.adaptor import (
    LAST,
    Adaptor,
    DropKWs,
    Nullary,
    Passthrough,
    Result,
    need_adaptor,
    need_function,
    show,
    show_function,
    with_last,
)

T = TypeVar("T")
U = TypeVar("U")


class Caller:
    """Calls a function as the stages do that take one.

    A value alone is passed by position, else everything by keyword, the value as ``__last__`` only if
    the signature takes that. Where nothing can be passed by position, a value alone goes by keyword too;
    where nothing can be passed at all, nothing is. Where nothing came, a lone parameter whose name begins
    with ``_`` gets Nullary().
    """

    __slots__ = ("fn", "ignores", "keywords_only", "nothing", "takes_last")

    def __init__(self, fn: Callable[..., Any]) -> None:
        need_function(fn)
        self.fn = fn
        self.takes_last = self.ignores = self.keywords_only = self.nothing = False
        try:
            parameters = inspect.signature(fn).parameters
        except (ValueError, TypeError):
            return
        self.takes_last = LAST in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        required = [p for p in parameters.values() if p.default is p.empty and p.kind not in _VARIADIC]
        self.ignores = len(required) == 1 and required[0].kind is not _KEYWORD_ONLY and required[0].name.startswith("_")
        self.keywords_only = all(p.kind in (_KEYWORD_ONLY, p.VAR_KEYWORD) for p in parameters.values())
        self.nothing = not parameters

    def __call__(self, last: Any, kwargs: dict[str, Any]) -> Any:
        if self.nothing:
            return self.fn()
        if not kwargs and not self.keywords_only:
            if not isinstance(last, Nullary) or self.ignores:
                return self.fn(last)
            return self.fn()
        if self.takes_last and not isinstance(last, Nullary):
            return self.fn(**kwargs, __last__=last)
        return self.fn(**kwargs)

    def __repr__(self) -> str:
        return show_function(self.fn)


_KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class F(Adaptor[T]):
    """``f(fn)``: calls fn; its result is the value, and no keyword arguments remain."""

    def __init__(self, fn: Callable[..., T]) -> None:
        self.fn = Caller(fn)

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return DropKWs(self.fn(__last__, kwargs))

    def __repr__(self) -> str:
        return f"{type(self).__name__.lower()}({self.fn!r})"


class Cast(F[T]):
    """``cast(fn)``: ``f`` by the name that reads well with a type."""


class Exec(Adaptor[Any]):
    """``exec(fn)``: calls fn as ``f`` does; value and keyword arguments pass on."""

    def __init__(self, fn: Callable[..., object]) -> None:
        self.fn = Caller(fn)

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        self.fn(__last__, kwargs)
        return Passthrough()

    def __repr__(self) -> str:
        return f"exec({self.fn!r})"


class Const(Adaptor[T]):
    """``const(v)``: v, whatever came; the same object for every call."""

    def __init__(self, value: T) -> None:
        self.value = value

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return DropKWs(self.value)

    def __repr__(self) -> str:
        return f"const({show(self.value)})"


class Clear(Adaptor[Nullary]):
    """``clear()``: neither a value nor keyword arguments."""

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return DropKWs(Nullary())


class Identity(Adaptor[Any]):
    """``identity()``: value and keyword arguments as they came."""

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return Passthrough()


class Cond(Adaptor[T]):
    """``cond(then, else_)``: what then makes of value and keyword arguments if the value is true, else else_."""

    def __init__(self, then: Adaptor[T], else_: Adaptor[T]) -> None:
        need_adaptor(then, "cond()")
        need_adaptor(else_, "cond()")
        self.then = then
        self.else_ = else_

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        branch = self.then if __last__ else self.else_
        return Passthrough(*branch(**with_last(__last__, kwargs)))

    def __repr__(self) -> str:
        return f"cond({self.then!r}, {self.else_!r})"


class Fork(Adaptor[tuple[T, U]]):
    """``fork(left, right)``: what each makes of value and keyword arguments, left first, as a tuple.

    None stands for a side without a value. No keyword arguments remain.
    """

    def __init__(self, left: Adaptor[T], right: Adaptor[U]) -> None:
        need_adaptor(left, "fork()")
        need_adaptor(right, "fork()")
        self.left = left
        self.right = right

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        kwargs = with_last(__last__, kwargs)
        values = (self.left(**kwargs)[0], self.right(**kwargs)[0])
        return DropKWs(tuple(None if isinstance(value, Nullary) else value for value in values))

    def __repr__(self) -> str:
        return f"fork({self.left!r}, {self.right!r})"
