"""The pipeline: stages one after the other, written as a chain of method calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from owt.summat.adaptor import LAST, Adaptor, Nullary, Passthrough, Result
from owt.summat.functional import Const, F
from owt.summat.sources import Path

#: The keyword arguments that the running call began with; pipes within pipes have the same.
original_kwargs: ContextVar[Mapping[str, Any]] = ContextVar("owt.summat.kwargs")


class Pipe(Adaptor):
    """Stages in their order. Immutable: each method returns a new, longer pipe.

    Calling a pipe with keyword arguments runs it and gives the last value and the keyword arguments
    that remain, as any stage does; so a pipe is a stage too.
    """

    __slots__ = ("_kwargs_cls", "_stages")

    def __init__(self, kwargs_cls: Callable[..., Any] = dict, stages: tuple[Adaptor, ...] = ()) -> None:
        self._kwargs_cls = kwargs_cls
        self._stages = stages

    def to(self, adaptor: Adaptor) -> Pipe:
        """adaptor is the next stage. TypeError for anything but an Adaptor."""
        if not isinstance(adaptor, Adaptor):
            raise TypeError(f"to() takes an Adaptor, not {type(adaptor).__name__}: for a function there is f()")
        return Pipe(self._kwargs_cls, (*self._stages, adaptor))

    def f(self, fn: Callable[..., Any]) -> Pipe:
        """Calls fn with the value alone, or else with the keyword arguments; keeps its result only."""
        return self.to(F(fn))

    def const(self, value: Any) -> Pipe:
        """The value, whatever came before."""
        return self.to(Const(value))

    def path(self) -> Pipe:
        """The segments of the request's path, a list of str; ``/`` is ``[""]``."""
        return self.to(Path())

    def done(self) -> Callable[..., Any]:
        """A plain function of keyword arguments that returns the last value, None if there is none.

        It ignores positional arguments, the request among them.
        """

        def run(*_: Any, **kwargs: Any) -> Any:
            value, _rest = self(**kwargs)
            return None if isinstance(value, Nullary) else value

        return run

    def call(self, *, __last__: Any, **kwargs: Any) -> Result:
        token = None
        if original_kwargs.get(None) is None:
            token = original_kwargs.set(_with_last(__last__, dict(kwargs)))
        try:
            return self._run(__last__, kwargs)
        finally:
            if token is not None:
                original_kwargs.reset(token)

    def _run(self, value: Any, kwargs: dict[str, Any]) -> Result:
        made = self._kwargs_cls(**kwargs)
        kwargs = _with_last(value, dict(made if isinstance(made, Mapping) else vars(made)))
        for number, stage in enumerate(self._stages, 1):
            try:
                value, kwargs = stage(**kwargs)
            except Exception as error:
                error.add_note(f"in stage {number}, {stage!r}, of {self!r}")
                raise
        return Passthrough(value, kwargs)

    def __repr__(self) -> str:
        start = "pipe()" if self._kwargs_cls is dict else f"pipe({self._kwargs_cls.__name__})"
        return ".".join((start, *map(repr, self._stages)))


def _with_last(value: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(value, Nullary):
        kwargs[LAST] = value
    return kwargs


def pipe(kwargs_cls: Callable[..., Any] = dict) -> Pipe:
    """An empty pipeline. It starts with the call's keyword arguments, made by ``kwargs_cls(**kwargs)``
    (a TypedDict, a dataclass), and with the call's ``__last__`` as value, if it has one."""
    return Pipe(kwargs_cls)
