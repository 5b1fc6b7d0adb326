"""Giving memory back: Python keeps what is part of a cycle until a collection happens to run, and modules are."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import typing
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from owt.process import chores

#: Who drops things often collects them together: a collection is put off until the last one was so many times as long
#: ago as it took,
SELDOM = 20
#: unless the process has grown by so much (bytes) since then.
MUCH = 32 << 20


def _keep() -> None:
    pass


#: Hands what C's allocator has free back to the system.
trim: Callable[[], object] = _keep

_lock = threading.Lock()
_ended = 0.0
_took = 0.0
_left = 0  # in use after the last collection
_wanted = False


def resident() -> int:
    """The process's resident memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def collect() -> None:
    """Frees what was dropped, PyTorch's cache of a GPU's memory included."""
    global _ended, _took, _left, _wanted
    with _lock:
        _wanted = False
    started = time.monotonic()
    # Optional[C] and its like are remembered, and with them what the class C comes from.
    for clear in list(getattr(typing, "_cleanups", ())):
        clear()
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        with suppress(Exception):  # there may be no GPU, or the module be half imported
            torch.cuda.empty_cache()
    trim()
    with _lock:
        _ended = time.monotonic()
        _took = _ended - started
        _left = resident()


def dropped() -> None:
    """Something was dropped that may be large: collects it now, or leaves that to ``settle``."""
    global _wanted
    with _lock:
        first = not _wanted
        _wanted = True
        due = _is_due()
    if due:
        collect()
    elif first:
        chores.wake()


def settle() -> float | None:
    """Makes up for what ``dropped`` has put off. Seconds until that is due; None if there is nothing."""
    with _lock:
        if not _wanted:
            return None
        due = _is_due()
        left = _ended + SELDOM * _took - time.monotonic()
    if not due:
        return max(left, 0.01)
    collect()
    return None


def _is_due() -> bool:
    return time.monotonic() - _ended >= SELDOM * _took or resident() - _left >= MUCH


def _after_fork() -> None:
    """In a child: no other thread holds anything."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
chores.add(settle)
