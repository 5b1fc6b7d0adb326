"""What Python has once in a process and a call may want for itself: ``sys.stdin``, ``stdout`` and ``stderr``; the
recursion limit and others of ``sys``, the timeout of sockets, what traces new threads; the working directory and the
umask.

What a call assigns to one of the streams, as ``contextlib.redirect_stdout`` does, is its own: other calls neither print
into it nor lose theirs. Limits, timeout and tracing are everybody's, and are put back when nobody wants others any
more. So are directory and umask among those that share them: each thread that runs calls has its
own, if the kernel lets it, and the threads that it starts share them. A thread that a call starts belongs to the call;
what other threads change is theirs until they end.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from owt.process.context import current
from owt.process.imported import when_imported

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


class _Setting:
    """One of the whole process; somebody may want it otherwise for a while."""

    def __init__(self, module: ModuleType, change: str, look: str) -> None:
        self.module = module
        self.name = change
        self.change: Callable[..., Any] = getattr(module, change)
        self.look: Callable[[], Any] = getattr(module, look)
        self.usual: Any = None
        #: Of those that have set it and have not ended.
        self.wanted: dict[int, Any] = {}

    def install(self) -> None:
        """The function that sets it is as Python documents it; what it sets lasts as long as the call."""

        @functools.wraps(self.change)
        def change(*arguments: Any, **named: Any) -> Any:
            if not _settled or not (arguments or named):
                return self.change(*arguments, **named)
            mine = _changes(make=True)
            assert mine is not None
            before = self.wanted.get(id(mine), self.usual)
            # Noted first: who puts back what is usual meanwhile sees it.
            self.wanted[id(mine)] = [*arguments, *named.values()][0]
            try:
                return self.change(*arguments, **named)
            except BaseException:
                self.wanted[id(mine)] = before
                raise

        setattr(self.module, self.name, change)

    def end(self, mine: int) -> None:
        """Who wanted it otherwise ends."""
        if mine in self.wanted:
            del self.wanted[mine]
            if not self.wanted:
                with contextlib.suppress(RecursionError):
                    self.change(self.usual)
                    for value in list(self.wanted.values())[-1:]:  # who came meanwhile
                        self.change(value)


_settings = [
    _Setting(module, change, look)
    for module, change, look in (
        (sys, "setrecursionlimit", "getrecursionlimit"),
        (sys, "set_int_max_str_digits", "get_int_max_str_digits"),
        (sys, "setswitchinterval", "getswitchinterval"),
        (socket, "setdefaulttimeout", "getdefaulttimeout"),
        (threading, "stack_size", "stack_size"),
        (threading, "settrace", "gettrace"),
        (threading, "setprofile", "getprofile"),
    )
    if hasattr(module, change)  # not all of them in the first releases of Python 3.11
]


class Wishes(NamedTuple):
    """What an adaptor's top level has set, for its calls; None where it has set nothing."""

    settings: tuple[tuple[_Setting, Any], ...]
    directory: str | None
    umask: int | None


_chdir, _fchdir, _umask = os.chdir, os.fchdir, os.umask
_directory = "/"
_mask = 0o022
#: Of those that have another directory or umask and have not ended, where no thread has its own.
_everywhere: set[int] = set()


class Changes:
    """What one call or thread has changed. Lives as long as its request or thread, should nobody end it before."""

    __slots__ = ("directory", "owner", "streams", "there", "umask")

    def __init__(self, owner: int) -> None:
        self.owner = owner
        self.streams: dict[str, Any] = {}
        #: Those who share the directory and the umask that it has changed.
        self.there: set[int] | None = None
        self.directory = False
        self.umask: int | None = None

    def end(self) -> None:
        """Gives back what was borrowed; what is left in a buffer of the call's own goes where it was to go."""
        for stream in list(self.streams.values()):
            # Whatever an adaptor takes for a stream, and an exit() in it: the rest has to be done.
            with contextlib.suppress(BaseException):
                flush = getattr(stream, "flush", None)
                if flush is not None:
                    flush()
        self.streams.clear()
        changed.discard(self.owner)
        for setting in _settings:
            if setting.wanted:
                setting.end(id(self))
        there, self.there = self.there, None
        if there is not None:
            there.discard(id(self))
            # A thread of an adaptor's own is hardly known any more.
            if not there and (self.owner == 0 or there is _there()):
                _umask(_mask)
                with contextlib.suppress(OSError):
                    _chdir(_directory)

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


def _no_attribute(name: str) -> Any:
    """Is there for CPython 3.14, which remembers where in a module's dict a name lies, and then looks past ``_Sys``;
    but not where the module has a ``__getattr__``.
    """
    raise AttributeError(f"module 'sys' has no attribute {name!r}", name=name, obj=sys)


def install(stdin: Any, stdout: Any, stderr: Any) -> None:
    """These are the process's own streams from now on. Once, before anything else of the package looks at them."""
    streams.update(stdin=stdin, stdout=stdout, stderr=stderr)
    for name in STREAMS:
        vars(sys)[name] = _Current(name)
    sys.__class__ = _Sys
    vars(sys)["__getattr__"] = _no_attribute
    for setting in _settings:
        setting.install()
    os.chdir, os.fchdir, os.umask = _moving(_chdir), _moving(_fchdir), _set_umask
    threading.Thread.start = _noting_the_owner(threading.Thread.start)  # type: ignore[assignment]
    when_imported("concurrent.futures.thread", _watch_pools)


def settle() -> None:
    """Calls may come: from here on what is assigned is the call's own."""
    global _settled, _directory, _mask
    _settled = True
    for setting in _settings:
        setting.usual = setting.look()
    with contextlib.suppress(OSError):
        _directory = str(Path.cwd())
    _mask = _umask(0o077)
    _umask(_mask)


def apart() -> None:
    """The calling thread runs calls, and has a directory and a umask of its own."""
    _threads.there = set()


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
        self._owt_there = _there()  # type: ignore[attr-defined]
        start(self)

    return noting


def _watch_pools(module: Any) -> None:
    module.ThreadPoolExecutor.submit = _carrying_the_owner(module.ThreadPoolExecutor.submit)


def _carrying_the_owner(submit: Callable[..., Any]) -> Callable[..., Any]:
    """What a pool does is done for whoever has submitted it, whichever call has started the pool's thread."""

    @functools.wraps(submit)
    def carrying(self: Any, fn: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        if type(self).__module__ == "concurrent.futures.interpreter":
            return submit(self, fn, *arguments, **named)  # another interpreter's threads, who get it pickled
        request = owner()
        noted = None if request is None else weakref.ref(request)
        return submit(self, functools.partial(_do_for, noted, fn), *arguments, **named)

    return carrying


def _do_for(noted: weakref.ref[Request] | None, fn: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
    thread: Any = threading.current_thread()
    before = getattr(thread, "_owt_owner", None)
    thread._owt_owner = noted
    try:
        return fn(*arguments, **named)
    finally:
        thread._owt_owner = before


def end(request: Request) -> None:
    """The call is over."""
    mine = request.__dict__.pop("_changes", None)
    if mine is not None:
        mine.end()


def wishes() -> Wishes | None:
    """What this call has set that others of its adaptor will want as well; None if that is nothing."""
    mine = _changes()
    if mine is None:
        return None
    directory = None
    if mine.directory:
        with contextlib.suppress(OSError):
            directory = str(Path.cwd())
    settings = tuple((one, one.wanted[id(mine)]) for one in _settings if id(mine) in one.wanted)
    made = Wishes(settings, directory, mine.umask)
    return None if made == ((), None, None) else made


def wish(wishes: Wishes) -> None:
    """The running call wants what the top level of its adaptor has set."""
    for setting, value in wishes.settings:
        getattr(setting.module, setting.name)(value)
    if wishes.directory is not None:
        with contextlib.suppress(OSError):  # gone meanwhile
            os.chdir(wishes.directory)
    if wishes.umask is not None:
        os.umask(wishes.umask)


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


def _there() -> set[int]:
    """Who has changed the directory or the umask that the calling thread has."""
    there: set[int] | None = getattr(_threads, "there", None)
    if there is None:
        thread = threading._active.get(threading.get_ident())  # type: ignore[attr-defined]
        there = getattr(thread, "_owt_there", _everywhere)
    return there


def _moved() -> Changes | None:
    """Notes that the calling thread's directory or umask is no more what it was."""
    if not _settled:
        return None
    mine = _changes(make=True)
    assert mine is not None
    mine.there = _there()
    mine.there.add(id(mine))
    return mine


def _moving(change: Callable[..., None]) -> Callable[..., None]:
    """As Python documents it; the directory lasts as long as the call."""

    @functools.wraps(change)
    def moving(*arguments: Any, **named: Any) -> None:
        change(*arguments, **named)
        mine = _moved()
        if mine is not None:
            mine.directory = True

    return moving


@functools.wraps(_umask)
def _set_umask(mask: int, /) -> int:
    before = _umask(mask)
    mine = _moved()
    if mine is not None:
        mine.umask = mask
    return before
