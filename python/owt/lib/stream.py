"""Server-sent events whose data is JSON and whose last is ``data: [DONE]``.

The format is the HTML standard's (https://html.spec.whatwg.org/multipage/server-sent-events.html), the closing word a
convention of model servers: a client that sees it knows that nothing was cut off.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any

from owt.answer import jsons
from owt.answer.cannot import CannotSend


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
    generator: Callable[..., Iterable[str] | AsyncIterable[str]], *args: Any, **kwargs: Any
) -> tuple[Iterator[str] | AsyncIterator[str], dict[str, str]]:
    """What an adaptor returns to stream the events that ``generator(*args, **kwargs)`` yields.

    ``done()`` follows them unless the generator yields it itself.
    """
    events = generator(*args, **kwargs)
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
