"""``keep``: a thing that is loaded once in a process, whatever adaptor asks for it, and let go when idle.

The name alone says what it is, as a key does in a dictionary. What keeps it in use is the call that has asked for it,
until that ends; in a thread without a call it is the thread. Whoever still holds a thing that was let go holds the very
one that the next who asks is given again, so that there are never two of them (of objects that can be referred to
weakly: most can, lists and dictionaries cannot).
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
import weakref
from collections.abc import Callable, Hashable
from contextlib import suppress
from contextvars import Context, ContextVar
from threading import get_ident
from time import monotonic
from types import CodeType, NoneType
from typing import Any, TypeVar

from owt.models import circles
from owt.models.twins import twin
from owt.process import chores, loads, memory, output, waiting
from owt.process.context import Cancelled, current, frames_stand_still

T = TypeVar("T")

#: How long (seconds) a thing is kept after its last use if who asks for it does not say so; None: until memory is
#: short.
default_idle: float | None = None

#: What uses a thing in this context if it is neither a call nor a thread.
user: ContextVar[object] = ContextVar("owt.user")

#: How often (seconds) an idle time is looked after while a thing is in use.
LOOK = 1.0
#: How long (seconds) the thread that looks after that waits for the end of what it has dropped.
PATIENCE = 1.0


class _Thing:
    """A thing that is kept, or is being loaded."""

    __slots__ = (
        "__weakref__",
        "code",
        "done",
        "error",
        "idle",
        "load",
        "name",
        "others",
        "ready",
        "thread",
        "used",
        "users",
        "value",
    )

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.value: Any = None
        #: For who would wait for it in a circle.
        self.load = circles.Work()
        self.ready = False
        self.thread = get_ident()
        self.done = threading.Event()
        self.error: BaseException | None = None
        #: Of what has loaded it, and of what would have and does not look alike.
        self.code: CodeType | None = None
        self.others: set[CodeType] = set()
        self.idle: float | None = None
        self.used = monotonic()
        #: By identity, until they are gone.
        self.users: dict[int, weakref.ref[object]] = {}

    def use(self) -> None:
        """By what runs here."""
        self.used = monotonic()
        who = _who()
        if who is None:
            return
        key = id(who)
        known = self.users.get(key)
        if known is None or known() is not who:
            mine = weakref.ref(self)

            def gone(reference: weakref.ref[object]) -> None:
                # Wherever that happens: takes no lock.
                thing = mine()
                if thing is not None and thing.users.get(key) is reference:
                    del thing.users[key]
                    thing.used = monotonic()

            self.users[key] = weakref.ref(who, gone)


_lock = threading.RLock()
_things: dict[Hashable, _Thing] = {}
_let_go: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()


def keep(name: Hashable, load: Callable[[], T], *, idle: float | None = None) -> T:
    """The thing with this name: what ``load()`` returned to the first who asked, in this process.

    Others that ask while it is loaded wait. If load raises, that is raised to all of them, and the next who asks tries
    again. It is dropped ``idle`` seconds after its last use, as the last who asked said it (else after ``idle`` of the
    server's ``owt_instance``, if that has such a line), or when memory is short; never while a call runs that has asked
    for it. Two loads under one name are taken for the same: put into the name whatever makes a difference, as in
    ``keep(("whisper", size, device), load)``.

    Raises TypeError for a load that is asynchronous (on an event loop, ``await asyncio.to_thread(keep, name, load)``
    lets others go on), that yields, or wants arguments; RuntimeError where a load waits for itself.
    """
    if not callable(load):
        raise TypeError(
            f"keep({_shown(name)}, ...) wants the function that loads it, and got {_short(load)}, which has been loaded"
            " already: keep(name, load), without parentheses, or keep(name, lambda: load(...))"
        )
    if inspect.iscoroutinefunction(load):
        raise TypeError(
            f"keep({_shown(name)}, ...) wants a plain function, and {_name_of(load)} is async: from a coroutine,"
            f" await asyncio.to_thread(keep, name, lambda: asyncio.run({_name_of(load)}()))"
        )
    if inspect.isgeneratorfunction(load) or inspect.isasyncgenfunction(load):
        raise TypeError(f"keep({_shown(name)}, ...): {_name_of(load)} yields: have it return what is to be kept")
    if idle is not None and (not isinstance(idle, int | float) or not idle >= 0):
        raise ValueError(f"keep({_shown(name)}, ..., idle={idle!r}): idle is a number of seconds, or None")
    try:
        hash(name)
    except TypeError as error:
        raise TypeError(
            f"keep({_shown(name)}, ...): the name is a key, as in a dictionary: a str, or a tuple of such ({error})"
        ) from None
    while True:
        with _lock:
            thing = _things.get(name)
            if thing is None:
                thing = _Thing(name)
                again = _let_go.pop(name, None)
                _things[name] = thing
                if again is not None:
                    thing.value = again
                    thing.ready = True
                    thing.done.set()
                    thing.code = _code(load)
                mine = not thing.ready
            elif not thing.ready and thing.thread == get_ident():
                raise RuntimeError(f"keep({_shown(name)}, ...): its load asks for it again")
            else:
                mine = False
            if thing.ready:
                thing.use()
                thing.idle = default_idle if idle is None else idle
                value: T = thing.value
                if thing.code is not None:
                    _compare(thing, load)
                if thing.idle is not None:
                    chores.wake()
                return value
        if mine:
            return _load(thing, load, default_idle if idle is None else idle)
        _wait(thing)


def _load(thing: _Thing, load: Callable[[], T], idle: float | None) -> T:
    number = loads.begins()
    started = monotonic()
    try:
        value = _loaded(thing, load)
        code = _code(load)
        with _lock:
            thing.code = code
            thing.value = value
            thing.ready = True
            thing.idle = idle
            thing.use()
        output.write(output.INFO, 0, f"{_called(thing)}: loaded in {monotonic() - started:.2f} s")
        if idle is not None:
            chores.wake()
        return value
    except BaseException as error:
        with _lock:
            thing.error = error
            _forget(thing)
        raise
    finally:
        thing.done.set()
        loads.ends(number)


def _loaded(thing: _Thing, load: Callable[[], T]) -> T:
    run = circles.Run(thing.load)
    try:
        with circles.waits_for(thing.load, ""):
            before = circles.here.set(run)
            try:
                value = load()
            finally:
                run.over = True
                circles.here.reset(before)
    except Exception as error:
        if not (inspect.isroutine(load) or isinstance(load, type | functools.partial)):  # a model may be called as well
            error.add_note(
                f"keep({_shown(thing.name)}, ...) has called what it was given, {_short(load)}. Where that is the"
                " model: keep(name, load), without parentheses, or keep(name, lambda: load(...))"
            )
        elif isinstance(error, TypeError) and (begun := error.__traceback__) is not None and begun.tb_next is None:
            called = f"keep({_shown(thing.name)}, lambda: {_name_of(load)}(...))"
            error.add_note(f"keep calls it without arguments: {called}")
        raise
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError(
            f"keep({_shown(thing.name)}, ...): the load returned a coroutine, which nobody has awaited: asyncio.run()"
            " it"
        )
    return value


def _name_of(load: object) -> str:
    return getattr(load, "__name__", "load")


def _short(value: object) -> str:
    """What it is; a model's own text may have thousands of lines."""
    return repr(value) if isinstance(value, str | int | float | NoneType) else f"a value of type {type(value).__name__}"


def _wait(thing: _Thing) -> None:
    """Until it is loaded. Raises what its load raised; RuntimeError if the load in turn waits for what runs here."""
    with circles.waits_for(
        thing.load, f"{_called(thing)}: its load waits for what is being loaded here, or for a batch that runs here"
    ):
        waiting.until(thing.done)
    # One that was broken off has not failed: somebody else may load.
    if thing.error is not None and not issubclass(type(thing.error), Cancelled):
        raise twin(thing.error)


def _who() -> object | None:
    """What a thing is in use by as long as it is there; None where that would be for ever."""
    here = user.get(None)
    if here is not None:
        return here
    request = current.get(None)
    if request is not None:
        return request
    asyncio: Any = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        task: object | None = asyncio.current_task()
        return task
    thread = threading.current_thread()
    return None if thread is threading.main_thread() else thread


# ---- two loads under one name


def _code(load: Any) -> CodeType | None:
    try:
        code = getattr(load, "__code__", None)
    except Exception:  # whatever an object of an adaptor's raises
        return None
    return code if isinstance(code, CodeType) else None


def _compare(thing: _Thing, load: Callable[[], object]) -> None:
    """Logs, once, that what is kept comes from another function than this, which is easily overlooked."""
    code = _code(load)
    if code is None or code is thing.code or code in thing.others or len(thing.others) > 100:
        return
    thing.others.add(code)
    assert thing.code is not None
    if (code.co_code, code.co_names, _plain(code)) != (thing.code.co_code, thing.code.co_names, _plain(thing.code)):
        output.write(
            output.WARN,
            0,
            f"{_called(thing)}: what is kept was loaded by {_place(thing.code)}; {_place(code)} differs, and gets"
            " it all the same: the name alone says what it is",
        )


def _plain(code: CodeType) -> list[object]:
    """Constants without what says where the source lies."""
    return [(one.co_code, one.co_names) if isinstance(one, CodeType) else one for one in code.co_consts]


def _place(code: CodeType) -> str:
    return f"{code.co_name} in {code.co_filename.rpartition('/')[2]}, line {code.co_firstlineno}"


# ---- letting go


def count() -> int:
    """How many things there are, those included that are being loaded."""
    return len(_things)


def drop_idle() -> float | None:
    """Drops what has not been used for so long. Seconds until the next look; None if nothing has an idle time."""
    now = monotonic()
    pauses: list[float] = []
    gone: list[_Thing] = []
    late = False
    with _lock:
        for thing in list(_things.values()):
            if not thing.ready or thing.idle is None:
                continue
            left = thing.used + thing.idle - now
            if thing.users:
                late = late or left <= 0
                pauses.append(max(min(thing.idle, LOOK), 0.01))
            elif left > 0:
                pauses.append(left)
            else:
                _drop(thing)
                gone.append(thing)
    if gone:
        called = ", ".join(map(_called, gone))
        thread = threading.Thread(target=_end, args=(gone,), name="owt-let-go", daemon=True)
        del thing
        try:
            Context().run(thread.start)
            thread.join(PATIENCE)
        except RuntimeError:  # the system gives none
            _end(gone)
        output.write(output.INFO, 0, f"dropped as idle: {called}")
    if late and not frames_stand_still:
        # Without a GIL an object whose last reference another thread than its maker drops stays until that runs again.
        memory.dropped()
    return min(pauses, default=None)


def _end(gone: list[_Thing]) -> None:
    """The end of what was dropped, which may be code of an adaptor's that takes long: without the lock."""
    gone.clear()
    memory.collect()


def drop_half() -> int:
    """Drops the half of what is not in use that has not been for the longest time. How many things that were."""
    with _lock:
        unused = sorted((t for t in list(_things.values()) if t.ready and not t.users), key=lambda t: t.used)
        some = unused[: (len(unused) + 1) // 2]
        for thing in some:
            _drop(thing)
    return len(some)


def _drop(thing: _Thing) -> None:
    """With the lock held. The caller holds the thing on until it holds the lock no more: its end may run any code."""
    _forget(thing)
    with suppress(Exception):  # of what cannot be referred to weakly, and whatever its name raises
        _let_go[thing.name] = thing.value


def _forget(thing: _Thing) -> None:
    """It has its name no more. With the lock held."""
    with suppress(Exception):
        if _things.get(thing.name) is thing:
            del _things[thing.name]
            return
    # Its name is not what it was when it was taken in: a class of an adaptor's makes hashes of what changes.
    rest = [(name, other) for name, other in _things.items() if other is not thing]
    _things.clear()
    for name, other in rest:
        with suppress(Exception):
            _things[name] = other


def _called(thing: _Thing) -> str:
    return f"keep({_shown(thing.name)})"


def _shown(name: Hashable) -> str:
    try:
        return repr(name)
    except Exception:  # whatever a class of an adaptor's raises
        return object.__repr__(name)


def _after_fork() -> None:
    """In a child: no other thread holds the lock, waits or loads."""
    global _lock
    _lock = threading.RLock()
    for thing in list(_things.values()):
        if not thing.ready and thing.thread != get_ident():
            _forget(thing)


os.register_at_fork(after_in_child=_after_fork)
chores.add(drop_idle)
