"""The pipeline: stages one after the other, written as a chain of method calls."""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, overload

from owt.summat.adaptor import Adaptor, Nullary, Passthrough, Result, V, need_adaptor, original_kwargs, with_last
from owt.summat.commands import Shell
from owt.summat.files import Open
from owt.summat.functional import Cast, Clear, Cond, Const, Exec, F, Fork, Identity
from owt.summat.keywords import Input, Kwarg, Kwargs
from owt.summat.modules import Importing, Installing
from owt.summat.sources import Json, Path, Query
from owt.summat.values import Bytes, Foldl, Foldl1, Get, Ix, Last, Map

T = TypeVar("T")
U = TypeVar("U")


class Pipe(Adaptor[V]):
    """Stages in their order; V is the type of the last one's value. Immutable: each method returns a new pipe.

    Calling a pipe with keyword arguments runs it and gives the last value and the keyword arguments
    that remain, as any stage does; so a pipe is a stage too. It keeps nothing of a call: calls may run
    concurrently. An exception of a stage gets a note that says which: ``stage 3, get('extra'): KeyError``.
    """

    __slots__ = ("_kwargs_cls", "_stages")

    def __init__(self, kwargs_cls: Callable[..., Any] = dict, stages: tuple[Adaptor[Any], ...] = ()) -> None:
        self._kwargs_cls = kwargs_cls
        self._stages = stages

    def to(self, adaptor: Adaptor[T]) -> Pipe[T]:
        """adaptor is the next stage. TypeError for anything but an Adaptor."""
        need_adaptor(adaptor, "to()")
        return Pipe(self._kwargs_cls, (*self._stages, adaptor))

    # ---- functions and constants -----------------------------------------------------------------

    # Keyword arguments come to fn where there is no value, or none that is known of (Pipe[Any] is a
    # Pipe[Nullary] too): any function may be right. Else it is the value that comes.

    @overload
    def f(self: Pipe[Nullary], fn: Callable[..., T]) -> Pipe[T]: ...

    @overload
    def f(self, fn: Callable[[V], T]) -> Pipe[T]: ...

    def f(self, fn: Callable[..., T]) -> Pipe[T]:
        """The value is what fn returns; no keyword arguments remain.

        A value alone is passed by position; else the keyword arguments are passed by name, and the
        value as ``__last__`` only if fn's signature takes that.
        """
        return self.to(F(fn))

    @overload
    def cast(self: Pipe[Nullary], fn: Callable[..., T]) -> Pipe[T]: ...

    @overload
    def cast(self, fn: Callable[[V], T]) -> Pipe[T]: ...

    def cast(self, fn: Callable[..., T]) -> Pipe[T]:
        """The same as ``f``: ``cast(int)``."""
        return self.to(Cast(fn))

    @overload
    def exec(self: Pipe[Nullary], fn: Callable[..., object]) -> Pipe[V]: ...

    @overload
    def exec(self, fn: Callable[[V], object]) -> Pipe[V]: ...

    def exec(self, fn: Callable[..., object]) -> Pipe[V]:
        """Calls fn as ``f`` does, for its effect; value and keyword arguments pass on."""
        return self.to(Exec(fn))

    def const(self, value: T) -> Pipe[T]:
        """This value, whatever came, and no keyword arguments."""
        return self.to(Const(value))

    def clear(self) -> Pipe[Nullary]:
        """Neither a value nor keyword arguments."""
        return self.to(Clear())

    def identity(self) -> Pipe[V]:
        """Value and keyword arguments as they came."""
        return self.to(Identity())

    def cond(self, then: Adaptor[T], else_: Adaptor[U]) -> Pipe[T | U]:
        """Value and keyword arguments go through then if the value is true, else (or without one) through else_."""
        return self.to(Cond[T | U](then, else_))

    def fork(self, left: Adaptor[T], right: Adaptor[U]) -> Pipe[tuple[T, U]]:
        """Value and keyword arguments go through both, left first; the value is the tuple of theirs.

        None stands for a side without a value. No keyword arguments remain.
        """
        return self.to(Fork(left, right))

    # ---- keyword arguments -----------------------------------------------------------------------

    def kwargs(self, /, **defaults: Any) -> Pipe[Any]:
        """Adds the keyword arguments that did not come; the value passes on.

        A function that comes next is called with the keyword arguments, so the value's type says nothing of it.
        """
        return self.to(Kwargs(defaults))

    def kwarg(self, name: str) -> Pipe[Any]:
        """The value is the keyword argument of this name, and none remain. KeyError if it did not come."""
        return self.to(Kwarg(name))

    def input(self) -> Pipe[Any]:
        """The keyword arguments are those that the call began with; the value passes on, unless it began with one."""
        return self.to(Input())

    # ---- the request -----------------------------------------------------------------------------

    def query(self) -> Pipe[dict[str, str]]:
        """The value is the URL's query, a dict of str, of a repeated field the first; no keyword arguments remain."""
        return self.to(Query())

    def json(self) -> Pipe[Any]:
        """The value is the request's body, read as JSON (400 if it is none); no keyword arguments remain."""
        return self.to(Json())

    def path(self) -> Pipe[list[str]]:
        """The value is the list of the URL's path segments, ``[""]`` for ``/``; no keyword arguments remain."""
        return self.to(Path())

    # ---- files, programs, modules ----------------------------------------------------------------

    def open(
        self: Pipe[str] | Pipe[builtins.bytes] | Pipe[os.PathLike[str]],
        root_dir: str | os.PathLike[str] | None = None,
    ) -> Pipe[io.BytesIO]:
        """The value is the contents of the file that the value names; no keyword arguments remain.

        With root_dir the name is relative to it, and nothing outside of it is read (PermissionError).
        """
        return self.to(Open(root_dir))

    def shell(self: Pipe[str] | Pipe[builtins.bytes]) -> Pipe[builtins.bytes]:
        """The value is the standard output of the value as a command for bash; no keyword arguments remain.

        The command gets them as environment variables: ``const('echo "$name"').input().shell()``. Raises
        ``owt.lib.shell.CommandFailed``, which has stderr, if its status is not 0.
        """
        return self.to(Shell())

    def importing(self, *modules: str | Callable[[], object]) -> Pipe[V]:
        """Imports modules and calls callables (without arguments); value and keyword arguments pass on.

        ``"json"``, ``"os.path"`` and ``"numpy as np"`` bind what an import statement beside this call
        would: a global name, which the functions of later stages see.
        """
        return self.to(Importing(modules, sys._getframe(1).f_globals))

    def installing(self, *packages: str | os.PathLike[str]) -> Pipe[V]:
        """Installs packages into the instance's virtualenv unless they are there; value and keyword arguments pass on.

        A package is a requirement (``"six>=1.16"``), a path or a URL. Raises
        ``owt.summat.modules.InstallFailed`` where there is no virtualenv, and with what pip says.
        """
        return self.to(Installing(packages))

    # ---- looking into the value: no keyword arguments remain -------------------------------------

    def bytes(self) -> Pipe[builtins.bytes]:
        """The value as bytes: text as UTF-8, a BytesIO's or a file's contents. TypeError for what holds none."""
        return self.to(Bytes())

    def last(self: Pipe[Sequence[T]]) -> Pipe[T]:
        """The last item of a sequence. IndexError if it is empty."""
        return self.to(Last())

    def ix(self: Pipe[Sequence[T]], i: int) -> Pipe[T]:
        """Item i of a sequence, from its end if negative. IndexError if there is none."""
        return self.to(Ix(i))

    def get(self: Pipe[Mapping[Any, T]], key: Hashable) -> Pipe[T]:
        """The item of a dict. KeyError if there is none."""
        return self.to(Get(key))

    def map(self: Pipe[Iterable[T]], fn: Callable[[T], U]) -> Pipe[list[U]]:
        """The list of fn(item) for each item."""
        return self.to(Map[U](fn))

    def foldl(self: Pipe[Iterable[T]], fn: Callable[[U, T], U], acc: U) -> Pipe[U]:
        """fn(fn(acc, first), second) and so on; acc for an empty list."""
        return self.to(Foldl(fn, acc))

    def foldl1(self: Pipe[Iterable[T]], fn: Callable[[T, T], T]) -> Pipe[T]:
        """fn(fn(first, second), third) and so on. ValueError for an empty list."""
        return self.to(Foldl1[T](fn))

    # ---- running ---------------------------------------------------------------------------------

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        token = None
        if original_kwargs.get(None) is None:
            token = original_kwargs.set(with_last(__last__, dict(kwargs)))
        try:
            return self._run(__last__, kwargs)
        finally:
            if token is not None:
                original_kwargs.reset(token)

    def _run(self, value: Any, kwargs: dict[str, Any]) -> Result:
        made = self._kwargs_cls(**kwargs)
        kwargs = with_last(value, _items(made))
        for number, adaptor in enumerate(self._stages, 1):
            try:
                value, kwargs = adaptor(**kwargs)
            except Exception as error:
                _note(error, f"stage {number}, {adaptor!r}: {type(error).__name__}")
                raise
        return Passthrough(value, kwargs)

    def __repr__(self) -> str:
        start = "pipe()" if self._kwargs_cls is dict else f"pipe({self._kwargs_cls.__name__})"
        return ".".join((start, *map(repr, self._stages)))


def _items(made: Any) -> dict[str, Any]:
    if is_dataclass(made):
        return {field.name: getattr(made, field.name) for field in fields(made)}
    return dict(made if isinstance(made, Mapping) else vars(made))


def _note(error: Exception, text: str) -> None:
    # Some exceptions take no notes (frozen dataclasses); some are raised again and again.
    with suppress(Exception):
        if text not in getattr(error, "__notes__", ()):
            error.add_note(text)


def pipe(kwargs_cls: Callable[..., Any] = dict) -> Pipe[Any]:
    """An empty pipeline. It starts with the call's keyword arguments, made by ``kwargs_cls(**kwargs)``
    (a TypedDict, a dataclass), and with the call's ``__last__`` as value, if it has one."""
    return Pipe(kwargs_cls)
