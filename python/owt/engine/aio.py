"""Asynchronous adaptors: one event loop in a thread of its own, one task for each call.

Calls come to it from the threads that have begun them; those of functions that are known to be
asynchronous come straight from nginx, many at a time. A loop that an adaptor blocks is left to itself:
calls that come later get another, and in the end those that it holds up are broken off.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import _owt

from owt.answer import chunks, foreign, stream
from owt.answer.chunks import Framing
from owt.answer.response import Answer, Chunk, Later, Stream, coerce
from owt.asked import uploads
from owt.endpoint import loaded
from owt.engine import loop as loops
from owt.engine import pulse
from owt.engine.loop import SharedLoop
from owt.models import batch
from owt.process import borrowed, failure, output
from owt.process.context import Cancelled, frames_stand_still
from owt.process.refusal import SHORT_OF_DESCRIPTORS, Refusal, no_descriptors

if TYPE_CHECKING:
    from _owt import Call

    from owt.process.request import Request


@dataclass(slots=True, eq=False)
class Pending:
    """A call whose function has returned something asynchronous.

    answer is that; name what the function is called; files its temporary files, to be removed when it is
    over; finalize (if any) has the last word on what answer gives; finish (if any) is to be called in the
    call's context when it is over, with the exception that ended it or None.
    """

    call: Call
    request: Request
    endpoint: loaded.Endpoint
    name: str
    answer: Later | Stream
    files: list[str]
    finalize: Callable[[Answer, Request], Answer] | None = None
    finish: Callable[[BaseException | None], object] | None = None
    room: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    error: BaseException | None = None
    loop: Loop | None = None
    #: What its task is to run in.
    context: Context | None = None
    #: It has come to its loop, and stays there.
    begun: bool = False
    #: Its loop has come round to cancelling it.
    told: bool = False
    #: Its loop did not come round, and its client has been told.
    lost: bool = False

    def discard(self) -> None:
        """Closes what nobody will run, without a word about coroutines never awaited."""
        if isinstance(self.answer, Later) and asyncio.iscoroutine(self.answer.value):
            self.answer.value.close()


class Loop(SharedLoop):
    """A loop with its calls. What is said here of it is guarded by _lock."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: set[Pending] = set()
        self.thread = threading.Thread(target=_serve, args=(self,), name="owt-asyncio", daemon=True)
        #: It did not come round for too long.
        self.lost = False
        #: The process has been told so.
        self.counted = False


#: What a call is told whose loop is lost.
LOST = (
    "Another call blocks the event loop that this one ran on, so that it cannot go on: try again. (A coroutine that"
    " computes, or waits without await, belongs in asyncio.to_thread(), or in a plain function.)"
)
#: So many calls begin on the loop before others have their turn.
BATCH = 64
#: So long (seconds) tasks have to end that outlive the calls on a loop that was blocked.
LAST = 1.0
#: Longer texts of ``kwargs`` (in characters) are not read on the loop.
MAX_TEXT = 16 * 1024

#: Runs a call up to what its function returns: ``runtime.run`` without a context.
run_call: Callable[..., Any]

_lock = threading.Lock()
_loop: Loop | None = None  # of the calls to come
_all: set[Loop] = set()
_pending: dict[Call, Pending] = {}
_stopping = False


def start(run: Callable[..., Any]) -> None:
    """Once, before any adaptor is there. run is what run_call will be."""
    global run_call
    run_call = run
    loops.guard()


def announce(code_id: str, fn_name: str) -> None:
    """This function of an endpoint is asynchronous: nginx hands its calls to the loop from now on."""
    with _lock:
        if _stopping:
            return
        _running_loop()
    _owt.asynchronous(code_id, fn_name)


def loop_of_calls() -> asyncio.AbstractEventLoop:
    """The loop of the calls to come. Raises Refusal (503) while the server stops."""
    with _lock:
        if _stopping:
            raise _stops()
        return _running_loop()


def submit(pending: Pending, context: Context) -> None:
    """Hands a call over to the event loop, where its task runs in context (which nobody may be in).

    Raises Cancelled if nobody waits for it any more, Refusal (503) while the server stops. Where there
    are too many asynchronous calls, it has been refused.
    """
    call = pending.call
    detached = False
    try:
        with _lock:
            if _stopping:
                raise _stops()
            loop = _enter(pending, _running_loop(), context)
        detached = call.detach()
        if detached:
            loop.call_soon_threadsafe(_begin, pending)
        else:
            _give_up(pending, context)
    except BaseException as error:
        pending.error = error
        _give_up(pending, context)
        if detached:
            call.release()
        raise


def _stops() -> Refusal:
    return Refusal(503, "stopping", "The server is stopping: try again.")


def _give_up(pending: Pending, context: Context) -> None:
    """It does not come to its loop."""
    pending.discard()
    context.run(_finish, pending)
    _leave(pending)


def cancel(call: Call) -> None:
    """Cancels a detached call's task. From any thread."""
    pending = _pending.get(call)
    if pending is not None and pending.loop is not None:
        pending.loop.call_soon_threadsafe(_cancel, pending)


def resume(call: Call) -> None:
    """There is room for more of a detached call's output. From any thread."""
    pending = _pending.get(call)
    if pending is not None and pending.loop is not None:
        pending.loop.call_soon_threadsafe(pending.room.set)


def overdue(call: Call) -> bool:
    """A detached call has not ended in time after it was cancelled.

    True if that is because its loop does not come round, which then is lost, and has not been before.
    """
    pending = _pending.get(call)
    if pending is None or pending.told or pending.loop is None:
        return False
    loop = pending.loop
    _lose(loop, "the event loop is blocked")
    with _lock:
        first = not loop.counted
        loop.counted = True
    return first


def stop(seconds: float) -> None:
    """Cancels all tasks, waits for their ends, at most so many seconds, and takes no new ones."""
    global _stopping
    deadline = time.monotonic() + seconds
    with _lock:
        _stopping = True
        running = list(_all)
    drained = [asyncio.run_coroutine_threadsafe(_drain(loop, seconds * 0.9), loop) for loop in running]
    for loop, end in zip(running, drained, strict=True):
        try:
            end.result(max(0.0, deadline - time.monotonic()))
        except Exception:
            output.write(output.WARN, 0, "asynchronous calls did not end in time")
        loop.call_soon_threadsafe(loop.stop)


# ---- loops


def _running_loop() -> Loop:
    """That of the calls to come. With the lock held."""
    global _loop
    if _loop is None:
        try:
            _loop = Context().run(_new_loop)  # it is no call's own
        except OSError as error:
            if error.errno in SHORT_OF_DESCRIPTORS:
                raise no_descriptors() from None
            raise
        _all.add(_loop)
    return _loop


def _new_loop() -> Loop:
    loop = Loop()
    loop.add_reader(_owt.queue_fd(), _take, loop)
    loop.thread.start()
    return loop


def _serve(loop: Loop) -> None:
    if _owt.part_directory():
        borrowed.apart()
    asyncio.set_event_loop(loop)
    while True:
        try:
            loop.run_forever()
        except BaseException:
            # A task of an adaptor's own raised SystemExit or KeyboardInterrupt: not everybody's end.
            logging.getLogger(__name__).exception("a task tried to stop the event loop")
        if _stopping:
            return
        if _is_left(loop):
            rest = loop.create_task(_cancel_tasks(loop, LAST))  # batches tell those who wait for them
            while not rest.done():
                with suppress(BaseException):  # it may have been stopped twice; and whatever those tasks raise
                    loop.run_until_complete(rest)
            loop.end()
            return


def _is_left(loop: Loop) -> bool:
    """Whether the loop, which had been blocked, has ended all its calls, and gets no more."""
    with _lock:
        left = loop is not _loop and not loop.calls
        if left:
            _all.discard(loop)
        return left


def _replace(loop: Loop) -> None:
    """Calls that come from now on get another loop, and so do those that have not begun."""
    global _loop
    with _lock:
        if loop is not _loop or _stopping:
            return
        _loop = None
        other = _running_loop()
        moved = [pending for pending in loop.calls if not pending.begun]
        loop.calls.difference_update(moved)
        other.calls.update(moved)
        for pending in moved:
            pending.loop = other
    for pending in moved:
        other.call_soon_threadsafe(_begin, pending)
    batch.leave(loop)


def _lose(loop: Loop, what: str) -> None:
    """Breaks off the calls on a loop that does not come round, but for that which blocks it."""
    _replace(loop)
    with _lock:
        if loop.lost or loop not in _all:
            return
        loop.lost = True
        stack = _stack_of(loop.thread)
        blocking = loops.request_of(asyncio.current_task(loop))
        calls = [pending for pending in loop.calls if pending.request is not blocking]
    ended = f"{len(calls)} {'call' if len(calls) == 1 else 'calls'} on it"
    output.write(output.ERROR, 0, f"{what}: {ended} broken off, those that come now get another; it is here:\n{stack}")
    for pending in calls:
        pending.lost = True
        pending.call.refuse(503, "loop-lost", LOST)
        if isinstance(pending.answer, Stream) and not pending.call.events:
            stream.tell(pending.answer, LOST, pending.call.offer)
        pending.call.abort(503, "loop-lost", LOST)
    loop.call_soon_threadsafe(_come_round, loop)


def _stack_of(thread: threading.Thread) -> str:
    """With the lock held: it does not end meanwhile."""
    ident = thread.ident or 0
    if not frames_stand_still:
        return _owt.stack_of(ident) or "(where, cannot be seen)\n"
    frame = sys._current_frames().get(ident)
    return "(where, cannot be seen)\n" if frame is None else "".join(traceback.format_stack(frame))


def _come_round(loop: Loop) -> None:
    """A lost loop is there again: what nobody waits for ends."""
    with _lock:
        calls = [pending for pending in loop.calls if pending.lost]
        counted = loop.counted
    for pending in calls:
        _cancel(pending)
    if counted:
        _owt.loop_came_back()
    output.write(output.INFO, 0, "an event loop that had been blocked came round and ends")
    loop.stop()


def _late(loop: Loop, times: int) -> None:
    """A loop has been asked, and has not come round so many times in a row."""
    if times == 1:
        _replace(loop)
    elif times == PATIENCE:
        _lose(loop, f"the event loop is blocked for {times * _pulse.period:.0f} s now")


#: After so many periods without a sign a loop is lost.
PATIENCE = 3

_pulse = pulse.Pulse(lambda: [loop for loop in list(_all) if loop.calls and not loop.lost], _late)


async def _drain(loop: Loop, seconds: float) -> None:
    loop.remove_reader(_owt.queue_fd())
    await _cancel_tasks(loop, seconds)
    await loop.shutdown_asyncgens()


async def _cancel_tasks(loop: Loop, seconds: float) -> None:
    tasks = loops.all_tasks(loop) - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


# ---- calls on a loop


def _enter(pending: Pending, loop: Loop, context: Context) -> Loop:
    """With the lock held."""
    pending.loop = loop
    pending.context = context
    loop.calls.add(pending)
    _pending[pending.call] = pending
    loaded.detached[pending.call] = pending.endpoint
    _pulse.wake()
    return loop


def _leave(pending: Pending) -> None:
    loop = pending.loop
    if loop is None:
        return
    with _lock:
        loop.calls.discard(pending)
        _pending.pop(pending.call, None)
        loaded.detached.pop(pending.call, None)
        left = loop is not _loop and not loop.calls
    if left:
        loop.call_soon_threadsafe(loop.stop)


def _take(loop: Loop) -> None:
    """Calls are there that nginx has handed to the loop."""
    with _lock:
        left = loop is not _loop
    if left:
        loop.remove_reader(_owt.queue_fd())
        return
    for _ in range(BATCH):
        taken = _owt.take()
        if taken is None:
            return
        _start(loop, *taken)


def _start(loop: Loop, call: Call, code_id: str, fn_name: str, kwargs: dict[str, Any], text: str | None) -> None:
    """Runs a call up to its first await. What would have to be loaded or evaluated goes to the threads."""
    found = loaded.endpoints.get(code_id)
    function = None if found is None else found.functions.get(fn_name)
    if function is None or not function.asynchronous or not _is_json(text):
        call.to_threads()
        return
    context = Context()
    try:
        result = context.run(run_call, call, code_id, fn_name, kwargs, text, None)
        if type(result) is Pending:
            with _lock:
                _enter(result, loop, context)
            _begin(result)
            return
        if result is not None:
            call.respond(*result)
    except Cancelled:
        pass
    except BaseException as error:
        failure.refuse(call, error, "")
    call.release()


def _is_json(text: str | None) -> bool:
    if text is None:
        return True
    if len(text) > MAX_TEXT:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _begin(pending: Pending) -> None:
    call, context = pending.call, pending.context
    loop = asyncio.get_running_loop()
    assert context is not None
    with _lock:
        if pending.loop is not loop or pending.begun:
            return  # it has been moved
        pending.begun = True
    if call.cancelled:
        pending.discard()
        context.run(_end, pending)
        return
    pending.task = loop.create_task(_run(pending), name=f"owt-{call.connection}", context=context)
    pending.task.add_done_callback(lambda task: _end(pending), context=context)


def _end(pending: Pending) -> None:
    try:
        pending.discard()
        _finish(pending)
        pending.error = None  # whose traceback leads back here
        if borrowed.changed:
            borrowed.end(pending.request)
        if output.partial:
            output.end(pending.request)
    finally:
        # Or the call would never end to the server, and keep one of its places.
        _leave(pending)
        pending.call.release()


def _finish(pending: Pending) -> None:
    if pending.finish is not None:
        try:
            pending.finish(pending.error)
        except BaseException as error:
            failure.log(pending.call, error, pending.endpoint.path)
    uploads.remove(pending.files)


def _cancel(pending: Pending) -> None:
    loop = pending.loop
    if loop is not None and loop is not asyncio.get_running_loop():
        loop.call_soon_threadsafe(_cancel, pending)  # it has been moved
        return
    pending.told = True
    if pending.task is not None:
        pending.task.cancel()


async def _run(pending: Pending) -> None:
    call = pending.call
    try:
        if pending.endpoint.wishes:
            borrowed.wish(pending.endpoint.wishes)  # of this thread now
        await _answer(pending)
    except Refusal as refusal:
        refusal.tell(call)
    except BaseException as error:
        pending.error = error
        if issubclass(type(error), asyncio.CancelledError) and _is_over(pending):
            call.abort()
            raise
        failure.refuse(call, error, pending.endpoint.path)


def _is_over(pending: Pending) -> bool:
    """Nobody waits for it any more."""
    return pending.call.cancelled or pending.lost or _stopping


async def _answer(pending: Pending) -> None:
    answer = pending.answer
    while isinstance(answer, Later):
        try:
            value = await answer.value
        except Exception as error:
            value = foreign.raised(error, pending.request)
            if value is None:
                raise
        coerced = coerce(value, pending.request, pending.name)
        if pending.finalize is not None:
            coerced = pending.finalize(coerced, pending.request)
        if not isinstance(coerced, Later | Stream):
            stream.send(pending.call, coerced)
            return
        answer = coerced
    await _stream(pending, answer)


async def _stream(pending: Pending, answer: Stream) -> None:
    call = pending.call
    path = pending.endpoint.path
    items = answer.chunks
    walk = items if isinstance(items, AsyncIterator) else _walk(items)
    framing: Framing | None = None

    async def offer(piece: Chunk) -> None:
        pending.room.clear()
        if not call.offer(piece):
            if _is_over(pending):
                raise asyncio.CancelledError
            await pending.room.wait()

    try:
        async for item in walk:
            if framing is None:
                begun = chunks.begin(answer, item)
                piece = await _encode(begun, item)
                stream.start(call, answer, begun)
                framing = begun
                await offer(piece)
                continue
            piece = await _encode(framing, item) if framing.slow else framing.encode(item)
            if piece:
                await offer(piece)
        if framing is None:
            stream.send(call, stream.empty(answer))
        else:
            stream.finish(call, framing, call.offer)
    except BaseException as error:
        gone = issubclass(type(error), asyncio.CancelledError) and _is_over(pending)
        if gone or framing is None:
            raise
        pending.error = error
        stream.fail(call, answer, error, path, call.offer)
    finally:
        await _close(call, walk, answer.close, path)


async def _encode(framing: Framing, item: object) -> Chunk:
    """The item's chunk; made on another thread if that takes long."""
    return await asyncio.to_thread(framing.encode, item) if framing.slow else framing.encode(item)


async def _walk(items: Iterator[object]) -> AsyncIterator[object]:
    """A plain iterator's items, others' tasks in between."""
    try:
        for item in items:
            yield item
            await asyncio.sleep(0)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


async def _close(call: Call, walk: Any, close: Callable[[], object] | None, path: str) -> None:
    aclose: Callable[[], Awaitable[object]] | None = getattr(walk, "aclose", None)
    try:
        if aclose is not None:
            await aclose()
        if close is not None:
            close()
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        failure.log(call, error, path)
