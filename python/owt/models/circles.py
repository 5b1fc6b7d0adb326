"""Who waits for whom among loads and batches, so that what would wait for itself is told so, and does not for ever.

What runs is known by its context: a thread of somebody's own, or of a pool, has none, and what waits there is not seen.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Work:
    """Something that others wait for and that may wait for others: a load, or the batches of a function."""

    __slots__ = ("__weakref__", "awaited")

    def __init__(self) -> None:
        #: What it waits for.
        self.awaited: list[Work] = []


class Run:
    """One time that work is done. What it has started may outlive it, and is no part of it then."""

    __slots__ = ("__weakref__", "over", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.over = False


#: What runs in this context, and whom others wait for.
here: ContextVar[Run | None] = ContextVar("owt.work", default=None)

_lock = threading.Lock()


@contextmanager
def waits_for(work: Work, message: str) -> Iterator[None]:
    """While what runs here waits for work. Raises RuntimeError with the message if work waits for what runs here."""
    mine = running()
    if mine is None:
        yield
        return
    with _lock:
        if _leads(work, mine):
            raise RuntimeError(message)
        mine.awaited.append(work)
    try:
        yield
    finally:
        with _lock:
            mine.awaited.remove(work)


def running() -> Work | None:
    """What others wait for while it runs in this context; None for mere calls."""
    run = here.get()
    return None if run is None or run.over else run.work


def _leads(work: Work, to: Work) -> bool:
    seen: set[int] = set()
    waiting = [work]
    while waiting:
        one = waiting.pop()
        if one is to:
            return True
        if id(one) not in seen:
            seen.add(id(one))
            waiting += one.awaited
    return False


def _after_fork() -> None:
    """In a child: no other thread holds the lock."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
