"""What the running call is, and how it ends early. Imports nothing, so that everything may import it."""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _owt import Call

    from owt.process.request import Request


class Cancelled(BaseException):
    """Raised in an adaptor whose caller has gone, whose time is up or whose server quits.

    A BaseException, so that ``except Exception`` does not swallow it. Clean up in ``finally``.
    """

    __module__ = "owt"


#: The request of the call that runs here. Each call has a context of its own.
current: ContextVar[Request] = ContextVar("owt.request")

#: The threads that run calls, by identity: Cancelled comes to them by itself, as soon as it may.
call_threads: set[int] = set()

#: A thread stands still while another has Python, which may look at its frames. Without a GIL none may.
frames_stand_still: bool = getattr(sys, "_is_gil_enabled", lambda: True)()


def current_request() -> Request:
    """The request of the running call; RuntimeError where no call runs, in a thread of one's own too."""
    try:
        return current.get()
    except LookupError:
        raise RuntimeError(
            "no request here: owt serves no call in this thread or process; read what you need"
            " from the request before starting a thread"
        ) from None


def ends(call: Call, error: BaseException) -> bool:
    """Whether that is the call's cancellation: an adaptor may raise Cancelled for reasons of its own."""
    return issubclass(type(error), Cancelled) and call.cancelled


def ends_the_call(error: BaseException) -> bool:
    """Whether that is the cancellation of the call that runs here, and not about what it looks at."""
    request = current.get(None)
    return request is not None and ends(request._call, error)


def hint(error: BaseException | None = None) -> str:
    """What may help to understand a failure of the running call, which error tells of; mostly nothing."""
    request = current.get(None)
    # By its type: its class may lie, or raise where it is asked.
    if request is None or not issubclass(type(error), request._hint_for):
        return ""
    return request._hint


def failed_threads(call: Call) -> str:
    """What threads of the running call have died of, to be told with its own failure; mostly nothing."""
    request = current.get(None)
    if request is None or not call.show_traceback:
        return ""
    failures: list[str] = request.__dict__.get("_failed_threads", [])
    return "".join(f"\nA thread of this call had failed before:\n{text}" for text in failures)
