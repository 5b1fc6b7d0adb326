"""Endpoints in the processes that ``multiprocessing`` starts, and the end of these processes."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class _Enough(BaseException):
    """A child has come to where the source would start processes of its own."""


@contextmanager
def as_far_as_needed() -> Iterator[None]:
    """Around the run of a source.

    In a child of ``multiprocessing`` it ends where the source would start a process that runs it anew, as
    the parent's pools need no more of it than stands above them. Else children would start children
    without end.
    """
    process = _multiprocessing()
    if process is None:
        yield
        return
    original = process.BaseProcess.start

    def start(self: Any) -> None:
        from multiprocessing import get_start_method

        method = self._start_method or get_start_method()
        if method != "fork" or process.current_process().daemon:
            raise _Enough
        original(self)

    process.BaseProcess.start = start
    try:
        yield
    except _Enough:
        pass
    finally:
        process.BaseProcess.start = original


def _multiprocessing() -> Any:
    """``multiprocessing.process``, if this is one of its children, or about to become one."""
    process: Any = sys.modules.get("multiprocessing.process")
    if process is None:
        return None
    begins = getattr(process.current_process(), "_inheriting", False)
    return process if begins or process.parent_process() is not None else None


_watching = 0  # the process that watches its parent already


def end_with_parent() -> None:
    """Sees to it that this process, if it is a child of ``multiprocessing``, does not outlive its parent.

    What it is given to do comes through pipes that its siblings hold open as well, so that it would wait
    there for ever.
    """
    global _watching
    process = _multiprocessing()
    if process is None or _watching == os.getpid():
        return
    parent = process.parent_process()
    if parent is None:
        _once_begun()
        return
    _watching = os.getpid()
    try:
        fd = os.pidfd_open(parent.pid)
    except ProcessLookupError:
        os._exit(1)
    except OSError:
        return  # the kernel has no such descriptors
    threading.Thread(target=_wait_and_end, args=(fd,), name="owt-parent", daemon=True).start()


def _wait_and_end(fd: int) -> None:
    end = select.poll()
    end.register(fd, select.POLLIN)
    end.poll()
    os._exit(1)


def after_fork() -> None:
    """In a child that was forked, which may turn out to be one of ``multiprocessing``'s."""
    if "multiprocessing.util" in sys.modules:
        _once_begun()


def _once_begun() -> None:
    global _registered
    if not _registered:
        _registered = True
        from multiprocessing.util import register_after_fork

        register_after_fork(_once_begun, lambda _: end_with_parent())


_registered = False  # a child's own children inherit it


def kill_all() -> None:
    """Ends what ``multiprocessing`` has started in this process and has not ended."""
    process: Any = sys.modules.get("multiprocessing.process")
    for child in list(getattr(process, "_children", ())):
        with suppress(Exception):
            child.kill()
