"""What Python has once in a process and a call may want for itself: ``sys.stdin``, ``stdout`` and ``stderr``, and the
recursion limit.

What a call assigns to one of the streams, as ``contextlib.redirect_stdout`` does, is its own: other calls neither print
into it nor lose theirs. The limit is everybody's, and is put back when nobody wants another any more. A thread that a
call starts belongs to the call; what other threads change is theirs until they end.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from owt.process.context import current

if TYPE_CHECKING:
    from owt.process.request import Request

STREAMS = ("stdin", "stdout", "stderr")

#: The process's own, by name.
streams: dict[str, Any] = {}

#: The requests of calls that have changed something, by identity.
changed: set[int] = set()

_threads = threading.local()
#: Until the first call comes, what is assigned is everybody's.
_settled = False
_set_limit: Callable[[int], None] = sys.setrecursionlimit
_limit = 0
#: Of those that have set the recursion limit and have not ended.
_limits: dict[int, int] = {}


class Changes:
    """What one call or thread has changed. Lives as long as its request or thread, should nobody end it before."""

    __slots__ = ("owner", "streams")

    def __init__(self, owner: int) -> None:
        self.owner = owner
        self.streams: dict[str, Any] = {}

    def end(self) -> None:
        """Gives back what was borrowed; what is left in a buffer of the call's own goes where it was to go."""
        for stream in list(self.streams.values()):
            flush = getattr(stream, "flush", None)
            if flush is not None:
                with contextlib.suppress(Exception):
                    flush()
        self.streams.clear()
        changed.discard(self.owner)
        if _limits.pop(id(self), None) is not None and not _limits:
            with contextlib.suppress(RecursionError):
                _set_limit(_limit)

    def __del__(self) -> None:
        self.end()


class _Current:
    """What C's print() and input() find as a stream: leads on to that of the call, whichever that is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        stream = _stream(self._name)
        if stream is None and attribute in ("write", "flush"):
            return _ignore
        return getattr(stream, attribute)


def _ignore(*_: object) -> None:
    pass


class _Borrowed:
    """A stream as an attribute of ``sys``."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, module: ModuleType | None, owner: type) -> Any:
        return self if module is None else _stream(self._name)

    def __set__(self, module: ModuleType, stream: Any) -> None:
        if not _settled and owner() is None:
            streams[self._name] = stream
            return
        mine = _changes(make=True)
        assert mine is not None
        if stream is streams[self._name] or isinstance(stream, _Current):
            mine.streams.pop(self._name, None)
        else:
            mine.streams[self._name] = stream

    def __delete__(self, module: ModuleType) -> None:
        self.__set__(module, None)


class _Sys(ModuleType):
    """``sys`` where each call has its own standard streams."""

    stdin = _Borrowed("stdin")
    stdout = _Borrowed("stdout")
    stderr = _Borrowed("stderr")

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        # What copies or pickles modules knows them by their exact type.
        return __import__, ("sys",)


def install(stdin: Any, stdout: Any, stderr: Any) -> None:
    """These are the process's own streams from now on. Once, before anything else of the package looks at them."""
    streams.update(stdin=stdin, stdout=stdout, stderr=stderr)
    for name in STREAMS:
        vars(sys)[name] = _Current(name)
    sys.__class__ = _Sys
    sys.setrecursionlimit = _set_recursion_limit
    threading.Thread.start = _noting_the_owner(threading.Thread.start)  # type: ignore[assignment]


def settle() -> None:
    """Calls may come: from here on what is assigned is the call's own."""
    global _settled, _limit
    _settled = True
    _limit = sys.getrecursionlimit()


def owner() -> Request | None:
    """The request of the call that runs here, or that has started this thread, as long as somebody has it."""
    request = current.get(None)
    if request is None:
        thread = threading._active.get(threading.get_ident())  # type: ignore[attr-defined]
        noted = getattr(thread, "_owt_owner", None)
        request = None if noted is None else noted()
    return request


def _noting_the_owner(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(start)
    def noting(self: threading.Thread) -> None:
        request = owner()
        if request is not None:
            # Not the request itself, which may be large, while the thread may last.
            self._owt_owner = weakref.ref(request)  # type: ignore[attr-defined]
        start(self)

    return noting


def end(request: Request) -> None:
    """The call is over."""
    mine = request.__dict__.pop("_changes", None)
    if mine is not None:
        mine.end()


def recursion_limit() -> int:
    """The recursion limit that this call, or this thread, has set; 0 if it has not."""
    mine = _changes()
    return 0 if mine is None else _limits.get(id(mine), 0)


def _changes(make: bool = False) -> Changes | None:
    mine: Changes | None
    request = owner()
    if request is not None:
        mine = request.__dict__.get("_changes")
        if mine is None and make:
            mine = request.__dict__["_changes"] = Changes(id(request))
            changed.add(id(request))
        return mine
    mine = getattr(_threads, "changes", None)
    if mine is None and make:
        mine = _threads.changes = Changes(0)
    return mine


def _stream(name: str) -> Any:
    mine = _changes()
    if mine is not None and name in mine.streams:
        return mine.streams[name]
    return streams[name]


def _set_recursion_limit(limit: int, /) -> None:
    """As Python documents it; the limit lasts as long as the call."""
    _set_limit(limit)
    if _settled:
        mine = _changes(make=True)
        assert mine is not None
        _limits[id(mine)] = limit
