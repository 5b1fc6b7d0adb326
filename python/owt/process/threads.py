"""What becomes of a call whose own thread dies of an exception.

The exception is logged with the call's number, and told to the client should the call fail. A call that waits for what
the thread was to put into a queue would wait for ever: it fails at once.
"""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from owt.process import borrowed, failure, output
from owt.process.context import Cancelled, call_threads

if TYPE_CHECKING:
    from owt.process.request import Request

#: So many threads' failures are told with a call's.
MAX_TOLD = 3

_GET = (queue.Queue.get.__code__, threading.Condition.wait.__code__)


class ThreadFailed(RuntimeError):
    """Raised in a call that waits for a thread which has died of an exception."""

    def __init__(self) -> None:
        super().__init__(
            "the call waits for items of a queue, without a timeout, and the thread that was to put them there is dead"
        )


def install() -> None:
    """From now on this is what becomes of threads that die of an exception."""
    threading.excepthook = _died


def _died(args: threading.ExceptHookArgs) -> None:
    error = args.exc_value
    if error is None or isinstance(error, SystemExit | Cancelled):
        return
    request = borrowed.owner()
    name = args.thread.name if args.thread is not None else "a thread"
    inner = _after(error.__traceback__, threading.__file__)
    text = f"Exception in thread {name}:\n{failure.describe(error.with_traceback(inner), '')}"
    output.write(output.ERROR, 0 if request is None else request._call.connection, text.rstrip("\n"))
    if request is None:
        return
    told: list[str] = request.__dict__.setdefault("_failed_threads", [])
    if len(told) < MAX_TOLD:
        told.append(text)
    if not any(_lives_on(thread, request) for thread in threading.enumerate()):
        for held in _queues(inner):
            _wake(request, held)


def _after(trace: TracebackType | None, file: str) -> TracebackType | None:
    """The traceback without threading's own frames at its begin."""
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename == file:
        trace = trace.tb_next
    return trace


def _lives_on(thread: threading.Thread, request: Request) -> bool:
    """Whether this is another thread that the call has started."""
    noted = getattr(thread, "_owt_owner", None)
    return noted is not None and noted() is request and thread is not threading.current_thread()


def _queues(trace: TracebackType | None) -> list[queue.Queue[Any]]:
    """Those that the dead thread had at hand: in its variables, or in objects there, as a streamer is."""
    found = {id(item): item for frame in _frames(trace) for item in _at_hand(frame) if isinstance(item, queue.Queue)}
    return list(found.values())


def _frames(trace: TracebackType | None) -> Iterator[FrameType]:
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _at_hand(frame: FrameType) -> Iterator[object]:
    """What is a module's own is left out: others may put something there."""
    for value in frame.f_locals.values():
        yield value
        with contextlib.suppress(Exception):
            yield from vars(value).values()


def _wake(request: Request, items: queue.Queue[Any]) -> None:
    """Ends the call if it waits for an item without a timeout.

    It cannot go on without the queue's lock, so that the exception comes to nothing else.
    """
    import ctypes

    with items.mutex:
        if items._qsize():
            return
        frames = sys._current_frames()
        for ident in call_threads & frames.keys():
            if _waits_for(frames[ident], items) and _runs(frames[ident], request):
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(ThreadFailed))
        items.not_empty.notify_all()


def _runs(frame: FrameType | None, request: Request) -> bool:
    """Whether this thread runs that call, whose request the engine has as a variable."""
    while frame is not None:
        if frame.f_locals.get("request") is request:
            return True
        frame = frame.f_back
    return False


def _waits_for(frame: FrameType, items: queue.Queue[Any]) -> bool:
    get, wait = _GET
    if frame.f_code is not wait:
        return False
    outer = frame.f_back
    if outer is None or outer.f_code is not get:
        return False
    names = outer.f_locals
    return names["self"] is items and names["block"] and names["timeout"] is None
