"""Streams: what a thread produces (``produced``), and server-sent events whose data is JSON and whose last is
``data: [DONE]``.

The events' format is the HTML standard's (https://html.spec.whatwg.org/multipage/server-sent-events.html), the closing
word a convention of model servers: a client that sees it knows that nothing was cut off.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, TypeVar

from owt.answer import jsons
from owt.answer.cannot import CannotSend
from owt.process import waiting
from owt.process.context import Cancelled, current

T = TypeVar("T")

#: So many items may wait for who reads them; then put() waits.
ROOM = 16
#: Seconds between two looks of one who waits whether the call has been cancelled: what reads may have been forgotten in
#: a cycle, and not be closed.
LOOK = 0.05


def event(**kwargs: object) -> str:
    """One event: the keyword arguments as a JSON object, made as an answer's is. TypeError for what has no JSON."""
    try:
        return f"data: {json.dumps(jsons.simple(kwargs, 'an event holds'))}\n\n"
    except CannotSend as error:
        raise TypeError(str(error)) from None


def done() -> str:
    """The event that says that all has come."""
    return "data: [DONE]\n\n"


def response(
    generator: Callable[..., Iterable[str] | AsyncIterable[str]] | Iterable[str] | AsyncIterable[str],
    *args: Any,
    **kwargs: Any,
) -> tuple[Iterator[str] | AsyncIterator[str], dict[str, str]]:
    """What an adaptor returns to stream the events that ``generator(*args, **kwargs)`` yields.

    ``done()`` follows them unless the generator yields it itself. A generator that has been called will do as well.
    """
    events = generator(*args, **kwargs) if callable(generator) else generator
    headers = {"Content-Type": "text/event-stream"}
    return (_ended_later(events) if isinstance(events, AsyncIterable) else _ended(events)), headers


def _ended(events: Iterable[str]) -> Iterator[str]:
    last = ""
    for last in events:
        yield last
    if last != done():
        yield done()


async def _ended_later(events: AsyncIterable[str]) -> AsyncIterator[str]:
    last = ""
    async for last in events:
        yield last
    if last != done():
        yield done()


# ---- what a thread produces


def produced(fn: Callable[[Callable[[T], None]], object]) -> Produced[T]:
    """Runs ``fn(put)`` on a thread of its own, and yields what it puts, for code that hands over results by a callback.

    An exception that fn raises is raised here, after what was put before. put waits while 16 items have not been read,
    and raises owt.Cancelled once nobody reads them any more: the client has gone, or the stream was closed. So fn ends
    then, and with it the thread. The thread belongs to the call: ``print`` does, and so does ``request.cancelled``.

    May be iterated with ``for`` and with ``async for``; returned by an endpoint's function it holds no other thread.
    """
    return Produced(fn)


class Produced(Generic[T]):
    """An iterator, a plain one and an asynchronous one, over what a thread puts."""

    def __init__(self, fn: Callable[[Callable[[T], None]], object]) -> None:
        self._channel: _Channel[T] = _Channel()
        if not callable(fn):
            raise TypeError(f"produced(fn) wants a plain function fn(put), not called yet, got {fn!r}")
        if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
            raise TypeError(f"produced(fn) wants a function that calls put, and {_name(fn)} yields: {_STREAMS}")
        if inspect.iscoroutinefunction(fn):
            raise TypeError(
                f"produced(fn) wants a plain function fn(put), and {_name(fn)} is async: what is async yields,"
                " and needs no thread"
            )
        self._fn: Callable[[Callable[[T], None]], object] | None = fn

    def __iter__(self) -> Produced[T]:
        return self

    def __aiter__(self) -> Produced[T]:
        return self

    def __next__(self) -> T:
        self._begin()
        while (found := self._channel.get(StopIteration)) is None:
            ready = threading.Event()
            self._channel.tell(ready.set)
            waiting.until(ready)
        return found[0]

    async def __anext__(self) -> T:
        self._begin()
        while (found := self._channel.get(StopAsyncIteration)) is None:
            ready = asyncio.Event()
            self._channel.tell(partial(_from_elsewhere, asyncio.get_running_loop(), ready.set))
            await ready.wait()
        return found[0]

    def _begin(self) -> None:
        if self._fn is not None:
            fn, self._fn = self._fn, None
            # It may hold what it produces for, but not this: who forgets the stream closes it.
            arguments = (self._channel.run, fn)
            threading.Thread(target=copy_context().run, args=arguments, name="owt-produced", daemon=True).start()

    def close(self) -> None:
        """Nobody reads any more."""
        self._fn = None
        self._channel.close()

    async def aclose(self) -> None:
        """The same."""
        self.close()

    def __del__(self) -> None:
        self.close()


_STREAMS = "a generator streams as it is, return it"


def _name(fn: object) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def _from_elsewhere(loop: asyncio.AbstractEventLoop, tell: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # it has ended
        loop.call_soon_threadsafe(tell)


class _Channel(Generic[T]):
    """What was put and not yet read."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: deque[T] = deque()
        self._tell: Callable[[], object] | None = None
        self._error: BaseException | None = None
        self._over = False
        self._closed = False

    def run(self, fn: Callable[[Callable[[T], None]], object]) -> None:
        """On the thread that produces."""
        error: BaseException | None = None
        try:
            returned = fn(self.put)
            if inspect.isgenerator(returned) or inspect.iscoroutine(returned) or inspect.isasyncgen(returned):
                kind = type(returned).__name__
                raise TypeError(
                    f"produced(fn) wants a function that calls put, and returns when it is done: this one"
                    f" returned a {kind}, which nobody runs: {_STREAMS}"
                )
        except Cancelled:
            pass  # from put(), so that nobody is there to be told
        except BaseException as raised:
            error = raised
        with self._changed:
            self._error, self._over = error, True
            self._ready()

    def put(self, item: T) -> None:
        """Hands over an item; waits while there are many. Raises Cancelled if nobody reads it."""
        request = current.get(None)

        def left() -> bool:
            return self._closed or (request is not None and request.cancelled)

        with self._changed:
            while len(self._items) >= ROOM and not left():
                self._changed.wait(LOOK)
            if left():
                raise Cancelled
            self._items.append(item)
            self._ready()

    def _ready(self) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()

    def get(self, end: type[Exception]) -> tuple[T] | None:
        """The next item; None if there is none yet. Raises what the producer has raised, or end."""
        with self._changed:
            if self._items:
                self._changed.notify()
                return (self._items.popleft(),)
            error, self._error = self._error, None
            if error is not None:
                raise error
            if self._over or self._closed:
                raise end
            return None

    def tell(self, ready: Callable[[], object]) -> None:
        """Calls ready, from any thread, once there is something to get."""
        with self._changed:
            self._tell = ready
            if self._items or self._over or self._closed:
                self._ready()

    def close(self) -> None:
        """Nobody reads any more."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
            self._ready()
