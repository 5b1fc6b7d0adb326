"""What is looked at now and then, on one thread that lives while there is something to look at."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from contextvars import Context

#: Each is called now and then, and says after how many seconds it wants to be called again; None: when somebody wakes
#: the thread.
Chore = Callable[[], float | None]

_chores: list[Chore] = []
_changed = threading.Condition()
_runs = False
_woken = False


def add(chore: Chore) -> None:
    """From now on, after ``wake``."""
    with _changed:
        if chore not in _chores:
            _chores.append(chore)


def wake() -> None:
    """There may be something to do. Not while an object is finalized, which may happen anywhere."""
    global _runs, _woken
    with _changed:
        _woken = True
        if _runs:
            _changed.notify()
            return
        _runs = True
    try:
        # It is no call's own.
        Context().run(threading.Thread(target=_run, name="owt-chores", daemon=True).start)
    except RuntimeError:  # the system gives none: who wakes it next tries again
        with _changed:
            _runs = False


def _run() -> None:
    global _runs, _woken
    while True:
        with _changed:
            _woken = False
            chores = list(_chores)
        pauses = [pause for chore in chores if (pause := _do(chore)) is not None]
        with _changed:
            if _woken:
                continue
            if not pauses:
                _runs = False
                return
            end = time.monotonic() + min(pauses)
            while not _woken and (left := end - time.monotonic()) > 0:
                _changed.wait(min(left, threading.TIMEOUT_MAX))


def _do(chore: Chore) -> float | None:
    try:
        return chore()
    except Exception:
        logging.getLogger(__name__).exception("what is to be let go now and then is not")
        return None


def _after_fork() -> None:
    """In a child: the thread is not there."""
    global _changed, _runs
    _changed = threading.Condition()
    _runs = False


os.register_at_fork(after_in_child=_after_fork)
