"""What a process lets go: endpoints and kept things that have been idle for long, or while memory is short."""

from __future__ import annotations

import threading
from contextvars import Context

import _owt

from owt import endpoint
from owt.endpoint import loaded
from owt.models import keep
from owt.process import chores, memory, output

#: An endpoint that is idle goes at most so many times later than it should, as a part of the time: a quarter.
LOOKS = 4
#: It is looked after at least so often (seconds).
SELDOMMEST = 60.0

#: So much of what may be used at most is in use when memory is not short any more.
ENOUGH = 0.9

#: So often it is seen whether what is to be dropped still runs (seconds).
AGAIN = 1.0

_idle = 0.0
#: What is not wanted any more, by the beginnings of code ids.
_unwanted: dict[str, None] = {}


def start() -> None:
    """Takes up what the instance says. Once."""
    global _idle
    loaded.most = _owt.endpoints()
    endpoint.before_run = loaded.make_room
    memory.trim = _owt.trim
    _idle = _owt.idle()
    keep.default_idle = _idle or None
    chores.add(_drop_unwanted)
    if _idle:
        chores.add(_drop_idle)
        loaded.taken_in = chores.wake


def _drop_idle() -> float | None:
    gone = loaded.drop_idle(_idle)
    if gone:
        output.write(output.INFO, 0, f"dropped as idle: {_endpoints(gone)}")
        memory.collect()
    if loaded.count() or keep.count():
        return min(_idle / LOOKS, SELDOMMEST)
    if loaded.ever:
        # Python frees what it can; the rest (a GPU's context, libraries' pools) goes with the process.
        _owt.retire("it has been idle, and nothing is loaded in it any more")
    return None


def drop(beginning: str) -> None:
    """Drops the endpoints whose code id begins so, each once nothing runs in it. Returns at once."""
    _unwanted[beginning] = None
    chores.wake()


def _drop_unwanted() -> float | None:
    for beginning in list(_unwanted):
        gone, left = loaded.drop(beginning)
        if gone:
            output.write(output.INFO, 0, f"dropped, as the server's status was told: {_endpoints(gone)}")
            memory.collect()
        if not left:
            _unwanted.pop(beginning, None)
    return AGAIN if _unwanted else None


def relieve(limit: int) -> None:
    """Memory is short: lets go of what is idle until the process is well below limit (bytes), or nothing is left.

    Returns at once, and tells ``_owt.relieved`` in the end.
    """
    # Not on a thread that others wait for: what is let go may run code of an adaptor's.
    thread = threading.Thread(target=_relieve, args=(limit,), name="owt-relief", daemon=True)
    Context().run(thread.start)


def _relieve(limit: int) -> None:
    before = memory.resident()
    endpoints = things = 0
    try:
        memory.collect()
        while memory.resident() > limit * ENOUGH:
            some, more = loaded.drop_half(), keep.drop_half()
            if not some and not more:
                break
            endpoints += some
            things += more
            memory.collect()
    finally:
        after = memory.resident()
        output.write(
            output.NOTICE,
            0,
            f"memory was short, {before >> 20} MiB: dropped {_endpoints(endpoints)} and {things}"
            f" kept {'thing' if things == 1 else 'things'} that were idle, {after >> 20} MiB are left",
        )
        _owt.relieved(after <= limit)


def _endpoints(count: int) -> str:
    return f"{count} {'endpoint' if count == 1 else 'endpoints'}"
