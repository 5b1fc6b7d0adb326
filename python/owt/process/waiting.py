"""Waiting for what takes long outside Python, in a way that the end of the call interrupts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

from owt.process.context import Cancelled, call_threads, current

T = TypeVar("T")

#: Seconds between two looks at whether anybody still waits. owt.Cancelled comes at a bytecode, and
#: nothing in C that a thread may block in is woken by it.
_LOOK = 0.05


def apart(work: Callable[[], T]) -> T:
    """Runs work on a thread of its own; returns or raises what it does.

    owt.Cancelled ends the waiting at once and leaves the work alone, so that work which must not be
    broken off in the middle is not.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=copy_context().run, args=(run,), name="owt-work", daemon=True).start()
    until(done)
    if errors:
        raise errors[0]
    return results[0]


def until(event: threading.Event) -> None:
    """Waits until the event is set. Raises Cancelled once nobody waits for the running call any more."""
    while not event.wait(_LOOK):
        if _abandoned():
            raise Cancelled


def _abandoned() -> bool:
    """Whether the call has been cancelled and this is no thread that Cancelled comes to by itself.

    So it is in ``asyncio.to_thread`` and its like.
    """
    request = current.get(None)
    return request is not None and request.cancelled and threading.get_ident() not in call_threads
