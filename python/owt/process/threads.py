"""What becomes of a call whose own thread dies of an exception.

The exception is logged with the call's number, and told to the client should the call fail. A call that waits for what
the thread was to put into a queue would wait for ever: it fails at once.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Set
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from owt.process import borrowed, failure, output
from owt.process.context import Cancelled

if TYPE_CHECKING:
    from owt.process.request import Request

#: So many threads' failures are told with a call's.
MAX_TOLD = 3


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
    threading.current_thread()._owt_owner = None  # type: ignore[attr-defined] # it does nothing more
    told: list[str] = request.__dict__.setdefault("_failed_threads", [])
    if len(told) < MAX_TOLD:
        told.append(text)
    for held in _queues(inner):
        _give_up(request, held)


def _after(trace: TracebackType | None, file: str) -> TracebackType | None:
    """The traceback without threading's own frames at its begin."""
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename == file:
        trace = trace.tb_next
    return trace


def _others(request: Request | None) -> list[threading.Thread]:
    """Threads that the call has started, beside this one, and that may still do something."""
    this = threading.current_thread()
    noted = [(thread, getattr(thread, "_owt_owner", None)) for thread in threading.enumerate() if thread is not this]
    return [thread for thread, owner in noted if owner is not None and owner() is request]


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


def _give_up(request: Request, items: queue.Queue[Any]) -> None:
    """From now on the call fails where it would wait for an item without a timeout, also if it does so already."""
    condition: Any = items.not_empty
    with items.mutex:
        if not hasattr(condition, "_owt_in_vain"):
            condition._owt_in_vain = weakref.WeakSet()
            condition.wait = functools.partial(_wait, condition.wait, condition._owt_in_vain)
        condition._owt_in_vain.add(request)
        condition.notify_all()  # who waits looks whether an item has come, and then waits again


def _wait(wait: Callable[[float | None], bool], in_vain: Set[Request], timeout: float | None = None) -> bool:
    """What a queue calls to wait for an item."""
    if timeout is None and (request := borrowed.owner()) in in_vain and not _others(request):
        raise ThreadFailed
    return wait(timeout)
