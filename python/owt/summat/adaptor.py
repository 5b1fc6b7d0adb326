"""A stage of a pipeline, and what it can say about value and keyword arguments for the next one."""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any, Generic, TypeVar

LAST = "__last__"

#: The keyword arguments that the running call began with; pipes within pipes have the same.
original_kwargs: ContextVar[Mapping[str, Any]] = ContextVar("owt.summat.kwargs")

#: What a stage makes.
V = TypeVar("V", covariant=True)

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 100
#: A stage's argument as text, short, whatever its ``__repr__`` does.
show = _repr.repr


def show_function(fn: object) -> str:
    """A function by its name, anything else as ``show`` does."""
    return getattr(fn, "__qualname__", None) or show(fn)


def need_function(fn: Callable[..., Any]) -> None:
    """TypeError for what cannot be called."""
    if not callable(fn):
        raise TypeError(f"a function is needed here, not {type(fn).__name__}: {show(fn)}")


class Nullary:
    """No value: what comes before the first stage that makes one, and after ``clear()``."""

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Nullary)

    def __hash__(self) -> int:
        return hash(Nullary)

    def __repr__(self) -> str:
        return "Nullary()"


@dataclass(frozen=True, slots=True)
class KeepKWs:
    """A new value; the keyword arguments pass on."""

    value: Any


@dataclass(frozen=True, slots=True)
class DropKWs:
    """A new value and no keyword arguments."""

    value: Any


@dataclass(frozen=True, slots=True)
class PassKWs:
    """These keyword arguments instead; the value passes on unless they have a ``__last__``."""

    kwargs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Passthrough:
    """Value and keyword arguments pass on, or the ones given here do."""

    value: Any = None
    kwargs: Mapping[str, Any] | None = None


#: What ``Adaptor.call`` returns.
Result = KeepKWs | DropKWs | PassKWs | Passthrough


class Adaptor(ABC, Generic[V]):
    """A stage that makes a V. Subclasses say in ``call`` what it does; it keeps nothing of a call in itself.

    Calling a stage with keyword arguments, ``__last__`` among them if there is a value, gives the next
    value and the next keyword arguments, with the value as their ``__last__``.
    """

    @abstractmethod
    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        """Does the stage's work. ``__last__`` is the previous value, Nullary() if there is none."""

    def __call__(self, /, **kwargs: Any) -> tuple[V, dict[str, Any]]:
        last = kwargs.pop(LAST, _NOTHING)
        result = self.call(__last__=last, **kwargs)
        if isinstance(result, KeepKWs):
            return _next(result.value, kwargs)
        if isinstance(result, DropKWs):
            return _next(result.value, {})
        if isinstance(result, PassKWs):
            kwargs = dict(result.kwargs)
            return _next(kwargs.pop(LAST, last), kwargs)
        if isinstance(result, Passthrough):
            if result.kwargs is None:
                return _next(last, kwargs)
            kwargs = dict(result.kwargs)
            kwargs.pop(LAST, None)
            return _next(result.value, kwargs)
        raise TypeError(
            f"{self!r}: call() returned a {type(result).__name__}; it has to return KeepKWs, DropKWs,"
            " PassKWs or Passthrough"
        )

    def done(self) -> Callable[..., V]:
        """A plain function of keyword arguments that returns the last value, None if there is none.

        It ignores positional arguments, the request among them.
        """

        def run(*_: Any, **kwargs: Any) -> Any:
            token = original_kwargs.set(kwargs)
            try:
                value, _rest = self(**kwargs)
            finally:
                original_kwargs.reset(token)
            return None if isinstance(value, Nullary) else value

        run.__signature__ = _KEYWORDS  # type: ignore[attr-defined]
        return run

    def __repr__(self) -> str:
        """The stage as it is written in a pipeline."""
        return f"{type(self).__name__.lower()}()"


_NOTHING = Nullary()
#: What a stage wants of its callers.
_KEYWORDS = Signature([Parameter("kwargs", Parameter.VAR_KEYWORD)])


def _next(value: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    if not isinstance(value, Nullary):
        kwargs[LAST] = value
    return value, kwargs


def with_last(value: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """kwargs, to which the value is added as ``__last__`` if there is one."""
    return _next(value, kwargs)[1]


def need_adaptor(made: object, where: str) -> None:
    """TypeError for anything but an Adaptor, as the argument of the method called where."""
    if not isinstance(made, Adaptor):
        raise TypeError(f"{where} takes an Adaptor, not {type(made).__name__}: for a function there is f()")
