"""Calls that another request may end: ``notifications/cancelled`` of MCP's revisions until 2025-11-25.

There the request that cancels comes by itself, and any worker may get it. So each running call that can be cancelled
listens at an abstract socket of its own, whose name is made of its session, which only its client knows. What has the
name ends the call. In later revisions a client just leaves, which ends calls anyhow.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import os
import select
import socket
import struct
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any, TypeVar

from owt.endpoint import loading
from owt.process.context import Cancelled

T = TypeVar("T")

#: Seconds between two looks at whether a thread may be interrupted by now.
_LOOK = 0.05


class Ended(Exception):
    """The call has been cancelled by its client, who wants no answer to it any more."""


class Running:
    """A call, as long as it runs. ``with`` makes it known by session and id; without a session it cannot be cancelled.

    What the call does goes through ``step`` or ``wait``, which alone are interrupted. They raise Ended then.
    """

    def __init__(self, session: str, id: object) -> None:
        self._name = _name(session, id) if session else b""
        self._lock = threading.Lock()
        self._cancelled = False
        self._thread = 0  # that is in a step
        self._task: asyncio.Future[Any] | None = None
        self.socket: socket.socket | None = None
        self._over = threading.Event()

    def __enter__(self) -> Running:
        if self._name:
            self.socket = _listen(self._name, self)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self.socket is not None:
            _forget(self.socket)
            self.socket = None

    def __del__(self) -> None:
        self.__exit__()  # what was to run it has never begun

    def step(self, work: Callable[[], T]) -> T:
        """Does work, on the calling thread. Raises Ended if the call is cancelled, before or meanwhile."""
        try:
            try:
                with self._lock:
                    if self._cancelled:
                        raise Ended
                    self._thread = threading.get_ident()
                return work()
            finally:
                self._leave()
        except Cancelled:
            self._leave()  # which it may have interrupted
            if self._cancelled:
                raise Ended from None
            raise

    def _leave(self) -> None:
        with self._lock:
            if self._thread:
                self._thread = 0
                if self._cancelled:
                    _interrupt(threading.get_ident(), None)

    async def wait(self, work: Awaitable[T]) -> T:
        """Awaits work. Raises Ended as ``step`` does."""
        task = asyncio.ensure_future(work)
        with self._lock:
            self._task = task
            if self._cancelled:
                task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            if self._cancelled:
                raise Ended from None
            task.cancel()
            raise
        finally:
            self._task = None

    def cancel(self) -> None:
        """Ends it, as far as it can be interrupted. From any thread."""
        with self._lock:
            if self._cancelled or self._over.is_set():
                return
            self._cancelled = True
            task = self._task
            in_step = self._thread != 0
        if task is not None:
            task.get_loop().call_soon_threadsafe(task.cancel)
        if in_step:
            Context().run(threading.Thread(target=self._end_step, name="owt-cancel", daemon=True).start)

    def _end_step(self) -> None:
        """Interrupts the step, once no import or load is in it that would be left half done."""
        while not self._over.is_set():
            with self._lock:
                if not self._thread:
                    return
                frame = sys._current_frames().get(self._thread)
                if not _imports(frame):
                    _interrupt(self._thread, Cancelled)
                    return
                del frame
            self._over.wait(_LOOK)


def _imports(frame: Any) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_code.co_filename == loading.__file__:
            return True
        frame = frame.f_back
    return False


def _interrupt(thread: int, kind: type[BaseException] | None) -> None:
    """Raises kind in a thread, at its next bytecode; None takes back what has not been raised yet."""
    raised = ctypes.py_object() if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


def cancel(session: str, id: object) -> None:
    """Ends the call of a session that has this id, in whatever process it runs; if none does, nothing happens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.sendto(b"cancel", _name(session, id))
        except OSError:
            return  # it has ended by itself


def _name(session: str, id: object) -> bytes:
    return b"\0owt-mcp-" + hashlib.sha256(f"{session}\0{id!r}".encode()).hexdigest()[:40].encode()


# ---- the sockets of this process, all looked at by one thread

#: Taken where calls are finalized, too, which may be anywhere.
_lock = threading.RLock()
_calls: dict[int, weakref.ref[Running]] = {}
_poll: select.epoll | None = None
_pid = 0


def _listen(name: bytes, running: Running) -> socket.socket | None:
    """Has the call listen at this name; None where it cannot."""
    global _poll, _pid
    try:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    except OSError:
        return None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        made.bind(name)
        with _lock:
            if _poll is None or _pid != os.getpid():
                _poll, _pid = select.epoll(), os.getpid()
                _calls.clear()
                Context().run(threading.Thread(target=_serve, args=(_poll,), name="owt-mcp", daemon=True).start)
            _calls[made.fileno()] = weakref.ref(running)
            _poll.register(made.fileno(), select.EPOLLIN)
    except (OSError, RuntimeError):  # a client that has two calls of one id, or no descriptor, or no thread
        _forget(made)
        return None
    return made


def _forget(made: socket.socket) -> None:
    with _lock:
        _calls.pop(made.fileno(), None)
        made.close()  # and with it goes its place in the poll


def _serve(poll: select.epoll) -> None:
    while True:
        for fd, _ in poll.poll():
            with _lock:
                known = _calls.get(fd)
                found = None if known is None else known()
                trusted = found is not None and found.socket is not None and _is_ours(found.socket)
            if found is not None and trusted:
                found.cancel()
            del found


def _is_ours(receiver: socket.socket) -> bool:
    """Takes what has come, and tells whether it came from a process of this user."""
    try:
        _, notes, _, _ = receiver.recvmsg(16, socket.CMSG_SPACE(struct.calcsize("3i")))
    except OSError:
        return False
    for level, kind, data in notes:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return bool(struct.unpack("3i", data)[1] == os.geteuid())
    return False
