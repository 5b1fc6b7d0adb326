"""``batch``: calls that come at the same time become one call of a function that takes lists.

A plain function runs on a thread of its own, always the same while it is in use, so that what libraries keep per thread
stays warm; a coroutine function on the event loop. There is one batch of a function at a time, and the next is gathered
meanwhile.
"""

from __future__ import annotations

import asyncio
import functools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext, suppress
from contextvars import Context
from inspect import Parameter, Signature
from types import FunctionType
from typing import Any, overload

from owt.models import circles, keep, lists
from owt.models.twins import twin
from owt.process import waiting

#: A thread that runs batches ends when none has come for so long (seconds).
IDLE = 30.0

_Function = Callable[..., Any]
_Row = tuple[Any, ...]


@overload
def batch(fn: _Function, /, max_size: int = 32, max_wait: float = 0.002) -> Batched: ...


@overload
def batch(max_size: int = 32, max_wait: float = 0.002) -> Callable[[_Function], Batched]: ...


def batch(*given: Any, **named: Any) -> Batched | Callable[[_Function], Batched]:
    """Decorates a function that takes lists, one for each parameter, and returns a list; callers pass one item.

    A batch has at most ``max_size`` items, and its first one waits at most ``max_wait`` seconds for others. The call
    blocks its thread until its result is there; from a coroutine it is awaited. As an endpoint's function it holds no
    thread meanwhile. An exception among the results is raised to the caller whose item it stands for, one that the
    function raises to all of the batch. A default value stands for an item that was not given.

    ``@batch``, ``@batch(max_size=8)``, ``batch(predict, max_size=8)``: without a function it is a decorator. Raises
    TypeError for what cannot be called with lists: a generator function, ``*args``, ``**kwargs``, no parameters at all.
    """
    decorates = not given or isinstance(given[0], int | float)
    try:
        bound = _SIZES.bind(*given[not decorates :], **named)
    except TypeError as error:
        raise TypeError(f"batch(fn{str(_SIZES).replace('(', ', ')} {error}") from None
    bound.apply_defaults()
    max_size, max_wait = bound.arguments["max_size"], bound.arguments["max_wait"]
    if not isinstance(max_size, int) or max_size < 1:
        raise ValueError(f"batch(max_size={max_size!r}): max_size is how many items a batch has at most, 1 or more")
    if not isinstance(max_wait, int | float) or not max_wait >= 0:
        raise ValueError(f"batch(max_wait={max_wait!r}): max_wait is a number of seconds, as 0.002")
    if decorates:
        return functools.partial(Batched, max_size=max_size, max_wait=max_wait)
    return Batched(given[0], max_size, max_wait)


_SIZES = Signature(
    [
        Parameter("max_size", Parameter.POSITIONAL_OR_KEYWORD, default=32),
        Parameter("max_wait", Parameter.POSITIONAL_OR_KEYWORD, default=0.002),
    ]
)


_BY_A_CALL: AbstractContextManager[None] = nullcontext()

#: All there are: for when their loop is blocked, or the process is forked.
_all: weakref.WeakSet[Batched] = weakref.WeakSet()


class Batched:
    """What ``batch`` makes of a function."""

    #: The same for the event loop: a coroutine function.
    later: Callable[..., Coroutine[Any, Any, Any]]

    def __init__(self, fn: _Function, max_size: int, max_wait: float) -> None:
        if isinstance(fn, Batched):
            raise TypeError(f"{fn} is batched already")
        functools.update_wrapper(self, fn)
        self._fn = fn
        self._name: str = getattr(fn, "__name__", type(fn).__name__)
        self._sizes = max_size, max_wait
        self._whole = lists.signature(fn, self._name)
        parameters = list(self._whole.parameters.values())
        self._names = [p.name for p in parameters]
        self._by_name = [p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY]
        self._by_place = len(self._names) - len(self._by_name)
        self._only_by_place = sum(p.kind is Parameter.POSITIONAL_ONLY for p in parameters)
        self._asynchronous = lists.is_asynchronous(fn)
        self._queue = _Queue(max_size, max_wait)
        _all.add(self)
        self._task: asyncio.Task[None] | None = None
        self.__signature__ = lists.for_one(fn, self._whole)
        self.later = self._make_later()
        weakref.finalize(self, self._queue.close).atexit = False

    def _make_later(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        @functools.wraps(self._fn)
        async def later(*args: Any, **kwargs: Any) -> Any:
            return await self._await(self._row(args, kwargs))

        later.__signature__ = self.__signature__  # type: ignore[attr-defined]
        return later

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        row = self._row(args, kwargs)
        if asyncio._get_running_loop() is not None:
            return self._await(row)
        item = _Blocked(row)
        with self._waited_for():
            self._put(item)
            return item.wait()

    def __get__(self, instance: object, owner: type | None = None) -> Batched:
        """As a method: each instance has batches of its own."""
        if instance is None:
            return self
        methods = _methods_of(instance)
        made = methods.get(self) if methods is not None else None
        if made is None:
            with _binding:
                methods = _methods_of(instance)
                if methods is None:
                    methods = _give_methods(instance, self._name)
                made = methods.get(self)
                if made is None:
                    made = methods[self] = Batched(self._fn.__get__(instance, owner), *self._sizes)
        return made

    def __reduce__(self) -> str | tuple[Any, ...]:
        if not isinstance(self._fn, FunctionType):
            return Batched, (self._fn, *self._sizes)
        # Found by its name, as the function would be.
        name: str = self.__qualname__  # type: ignore[attr-defined]
        return name

    def __repr__(self) -> str:
        return f"<batched {self._name}{self.__signature__}>"

    def _row(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Row:
        """One item for each parameter. TypeError if they do not fit."""
        given = len(args)
        if given + len(kwargs) == len(self._names) and self._only_by_place <= given <= self._by_place:
            with suppress(KeyError):
                return args + tuple([kwargs[name] for name in self._names[given:]])
        try:
            bound = self._whole.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._name}{self.__signature__}: {error}") from None
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    async def _await(self, row: _Row) -> Any:
        item = _Awaited(row)
        with self._waited_for():
            self._put(item)
            return await item.future

    def _waited_for(self) -> AbstractContextManager[None]:
        """By another batch, or by a load."""
        if circles.here.get() is None:
            return _BY_A_CALL
        return circles.waits_for(
            self._queue.work,
            f"{self._name} is batched, and called within a batch or a load that its batches wait for: it would wait for"
            " itself",
        )

    def _put(self, item: _Item) -> None:
        if self._queue.put(item):
            self._send()

    def leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing that waits is served on this loop any more."""
        if self._queue.leave(loop):
            self._send()

    def _send(self) -> None:
        """Somebody who serves."""
        context = Context()  # neither is any call's own
        try:
            if self._asynchronous:
                # Not the caller's, which ends with its asyncio.run(), while others' items are in the batch.
                loop = self._queue.loop = loop_of_calls()
                loop.call_soon_threadsafe(self._begin, loop, context=context)
            else:
                arguments = weakref.ref(self), self._queue
                context.run(threading.Thread(target=_serve, args=arguments, name="owt-batch", daemon=True).start)
        except BaseException as error:
            self._queue.fail(error, [])
            raise

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._task = loop.create_task(self._serve_later(), context=Context())

    async def _serve_later(self) -> None:
        items: list[_Item] = []
        mine = asyncio.current_task()
        assert mine is not None
        try:
            while items := await self._queue.take_later():
                with _Batch(self._queue.work):
                    await self._run_later(items, mine)
        except BaseException as error:
            self._queue.fail(error, items, mine.get_loop())
            raise
        finally:
            if self._task is mine:
                self._task = None

    async def _run_later(self, items: list[_Item], task: asyncio.Task[None]) -> None:
        columns = self._columns(items)
        process = os.getpid()
        try:
            results: list[Any] = lists.results(self._name, await self._fn(*columns[0], **columns[1]), len(items))
        except GeneratorExit:
            raise  # nobody runs it any more
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and task.cancelling():
                raise
            results = [error, *(twin(error) for _ in items[1:])]
        finally:
            _end_fork(process)
        self._settle(items, results)

    def _run(self, items: list[_Item]) -> None:
        """On the thread for that."""
        columns = self._columns(items)
        process = os.getpid()
        with _Batch(self._queue.work):
            try:
                results: list[Any] = lists.results(self._name, self._fn(*columns[0], **columns[1]), len(items))
            except BaseException as error:
                results = [error, *(twin(error) for _ in items[1:])]
            finally:
                _end_fork(process)
        self._settle(items, results)

    def _columns(self, items: list[_Item]) -> tuple[list[list[Any]], dict[str, list[Any]]]:
        columns = [list(column) for column in zip(*[item.row for item in items], strict=True)]
        by_place = columns[: self._by_place]
        return by_place, dict(zip(self._by_name, columns[self._by_place :], strict=True))

    def _settle(self, items: list[_Item], results: list[Any]) -> None:
        loops: dict[asyncio.AbstractEventLoop, list[tuple[_Awaited, Any]]] = {}
        for item, result in zip(items, results, strict=True):
            if isinstance(item, _Awaited):
                loops.setdefault(item.loop, []).append((item, result))
            else:
                item.settle(result)
        for loop, pairs in loops.items():
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(_settle_all, pairs)


# ---- items


class _Item:
    """What one caller has passed, and its way back to it."""

    __slots__ = ("at", "row")
    loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, row: _Row) -> None:
        self.row = row
        self.at = time.monotonic()

    @property
    def gone(self) -> bool:
        """Nobody waits for it any more."""
        raise NotImplementedError

    def settle(self, result: Any) -> None:
        """Hands over a result, or an exception to be raised."""
        raise NotImplementedError


class _Blocked(_Item):
    """Its caller is a thread that waits."""

    __slots__ = ("_done", "_gone", "_result")

    def __init__(self, row: _Row) -> None:
        super().__init__(row)
        self._done = threading.Event()
        self._gone = False

    @property
    def gone(self) -> bool:
        return self._gone

    def settle(self, result: Any) -> None:
        if not self._done.is_set():
            self._result = result
            self._done.set()

    def wait(self) -> Any:
        """The result, once it is there. Raises what was settled, or Cancelled."""
        try:
            waiting.until(self._done)
        except BaseException:
            self._gone = True
            raise
        if issubclass(type(self._result), BaseException):  # by its type: its class may raise where it is asked
            raise self._result
        return self._result


class _Awaited(_Item):
    """Its caller is a coroutine."""

    __slots__ = ("future", "loop")
    loop: asyncio.AbstractEventLoop

    def __init__(self, row: _Row) -> None:
        super().__init__(row)
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()

    @property
    def gone(self) -> bool:
        return self.future.done()

    def settle(self, result: Any) -> None:
        """On its loop."""
        if self.future.done():
            return
        kind = type(result)
        if issubclass(kind, StopIteration | asyncio.CancelledError | GeneratorExit):
            self.future.set_exception(RuntimeError(f"the batch raised {kind.__name__}"))
        elif issubclass(kind, BaseException):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


def _settle_all(pairs: list[tuple[_Awaited, Any]]) -> None:
    for item, result in pairs:
        item.settle(result)


# ---- methods


class _Methods(dict["Batched", "Batched"]):
    """The batched methods of an instance, in its ``__dict__``; a copy of it, or a pickle, has none of them."""

    def __init__(self, owner: object = None) -> None:
        super().__init__()
        self.owner = owner

    def __deepcopy__(self, memo: object) -> _Methods:
        return _Methods()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Methods, ()


_METHODS = "_owt_batched"
_binding = threading.RLock()


def _methods_of(instance: Any) -> _Methods | None:
    found = getattr(instance, "__dict__", {}).get(_METHODS)
    return found if isinstance(found, _Methods) and found.owner is instance else None


def _give_methods(instance: Any, name: str) -> _Methods:
    methods = _Methods(instance)
    if isinstance(instance, type):
        setattr(instance, _METHODS, methods)
    elif isinstance(space := getattr(instance, "__dict__", None), dict):
        space[_METHODS] = methods  # past a __setattr__ that allows nothing
    else:
        raise TypeError(
            f"{name} is batched, and {type(instance).__name__} has __slots__, which leave no room for the batches of an"
            f" instance: add '__dict__' to them, or have one predict = batch(instance.method) of a method that is not"
            " batched"
        )
    return methods


# ---- batches and those who wait for one


class _Batch(circles.Run):
    """Stands for a batch that runs, for what it uses and whom it waits for. ``with`` says where it does."""

    __slots__ = ("_tokens",)

    def __enter__(self) -> None:
        self._tokens = keep.user.set(self), circles.here.set(self)

    def __exit__(self, *_: object) -> None:
        self.over = True
        with suppress(ValueError):  # a coroutine that nobody runs any more is closed in any context
            keep.user.reset(self._tokens[0])
            circles.here.reset(self._tokens[1])


class _Queue:
    """The items that wait, and whether somebody serves them."""

    def __init__(self, max_size: int, max_wait: float) -> None:
        self.max_size = max_size
        self.max_wait = max_wait
        self._closed = False
        self.renew()

    def renew(self) -> None:
        """Nothing waits, and nobody serves; in a child that was forked, not any more."""
        self.items: deque[_Item] = deque()
        #: For who would wait for it in a circle.
        self.work = circles.Work()
        #: Where batches of a coroutine function run.
        self.loop: asyncio.AbstractEventLoop | None = None
        self._changed = threading.Condition()
        self._served = False
        #: Told that a batch is full, on its loop.
        self._full: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def put(self, item: _Item) -> bool:
        """Takes in an item. True if somebody has to be sent who serves it."""
        with self._changed:
            self.items.append(item)
            if not self._served or self._is_lost():
                self._served = True
                self.loop = self._full = None  # who is sent says where
                return True
            waits = len(self.items)
            if waits == self.max_size and self._full is not None:
                self._full[0].call_soon_threadsafe(self._full[1].set)
            elif waits in (1, self.max_size):
                self._changed.notify()
        return False

    def leave(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Nothing that waits is served on this loop any more. True if somebody has to be sent who serves elsewhere."""
        with self._changed:
            if not self._served or self.loop is not loop:
                return False
            self.loop = self._full = None
            self._served = bool(self.items)
            return self._served

    def _is_lost(self) -> bool:
        """The loop that serves does not come round any more, as another call blocks it; or it has ended."""
        return self.loop is not None and (getattr(self.loop, "lost", False) or self.loop.is_closed())

    def close(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def take(self) -> list[_Item]:
        """The next batch, waited for; none if the thread is to end."""
        with self._changed:
            while True:
                while not self.items:
                    if self._closed or not (self._changed.wait(IDLE) or self.items):
                        self._served = False
                        return []
                end = self.items[0].at + self.max_wait
                while len(self.items) < self.max_size and (left := end - time.monotonic()) > 0:
                    self._changed.wait(min(left, threading.TIMEOUT_MAX))
                if taken := self._take():
                    return taken

    async def take_later(self) -> list[_Item]:
        """The same on a loop; none as soon as none is there."""
        loop = asyncio.get_running_loop()
        while True:
            with self._changed:
                if self.loop is not loop:
                    return []  # it had been blocked, and another serves now
                if not self.items:
                    self._served = False
                    return []
                left = self.items[0].at + self.max_wait - time.monotonic()
                if len(self.items) >= self.max_size or left <= 0:
                    if taken := self._take():
                        return taken
                    continue
                full = asyncio.Event()
                self._full = loop, full
            timer = loop.call_later(left, full.set)
            try:
                await full.wait()
            finally:
                timer.cancel()
                if self.loop is loop:
                    self._full = None

    def _take(self) -> list[_Item]:
        taken: list[_Item] = []
        while self.items and len(taken) < self.max_size:
            item = self.items.popleft()
            if not item.gone:
                taken.append(item)
        return taken

    def fail(self, error: BaseException, items: list[_Item], loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Nobody serves any more, for this reason; or on this loop."""
        with self._changed:
            if loop is None or loop is self.loop:
                items = [*items, *self.items]
                self.items.clear()
                self._served = False
        for item in items:
            if isinstance(item, _Awaited):
                with suppress(RuntimeError):
                    item.loop.call_soon_threadsafe(item.settle, twin(error))
            else:
                why = RuntimeError(f"what runs the batches has ended: {type(error).__name__}")
                why.__cause__ = error
                item.settle(why)


def _serve(reference: weakref.ref[Batched], queue: _Queue) -> None:
    """Runs batches, and keeps the function alive only while it does."""
    items: list[_Item] = []
    try:
        while items := queue.take():
            batched = reference()
            if batched is None:
                return  # and who waited is gone too
            Context().run(batched._run, items)
            items = []
            del batched
    except BaseException as error:
        queue.fail(error, items)
        raise


# ---- where coroutine functions run

_own: list[asyncio.AbstractEventLoop] = []
_own_lock = threading.Lock()


def _own_loop() -> asyncio.AbstractEventLoop:
    with _own_lock:
        if not _own:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="owt-batch", daemon=True).start()
            _own.append(loop)
        return _own[0]


#: The loop that coroutine functions run on.
loop_of_calls: Callable[[], asyncio.AbstractEventLoop] = _own_loop


def leave(loop: asyncio.AbstractEventLoop) -> None:
    """It is the loop of calls no more, as one of them blocks it: what waits for a batch there is served on another."""
    for batched in list(_all):
        batched.leave(loop)


# ---- processes that are forked


def _end_fork(process: int) -> None:
    """Ends a child that a batch has forked, and that has come to the batch's end: it is no server."""
    if os.getpid() != process:
        os._exit(0)


def _after_fork() -> None:
    """In a child: no thread runs batches, none a loop, and none holds a lock."""
    global loop_of_calls, _binding, _own_lock
    _binding, _own_lock = threading.RLock(), threading.Lock()
    _own.clear()
    loop_of_calls = _own_loop
    for batched in list(_all):
        batched._queue.renew()


os.register_at_fork(after_in_child=_after_fork)
