"""Asynchronous adaptors: one event loop in a thread of its own, one task for each call.

A loop that an adaptor blocks is left to itself, and calls that come later get another.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException

from owt.answer import chunks, stream
from owt.answer.chunks import Framing
from owt.answer.response import Answer, Chunk, Later, Stream, coerce
from owt.asked import uploads
from owt.endpoint import loaded
from owt.process import failure, output
from owt.process.refusal import Refusal

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

    def discard(self) -> None:
        """Closes what nobody will run, without a word about coroutines never awaited."""
        if isinstance(self.answer, Later) and asyncio.iscoroutine(self.answer.value):
            self.answer.value.close()


_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None  # of the calls to come
_loops: dict[Call, asyncio.AbstractEventLoop] = {}  # of those that run
_threads: dict[asyncio.AbstractEventLoop, threading.Thread] = {}
_stopping = False
_pending: dict[Call, Pending] = {}
_told: set[Call] = set()  # whose loop has come round to cancelling them


def submit(pending: Pending, context: Context) -> None:
    """Hands a call over to the event loop, where its task runs in context (which nobody may be in).

    Raises Cancelled if nobody waits for it any more, Refusal (503) while the server stops.
    """
    handed_over = False
    try:
        with _lock:
            loop = _loops[pending.call] = _running_loop()
        pending.call.detach()
        handed_over = True
        loaded.detached[pending.call] = pending.endpoint
        loop.call_soon_threadsafe(_begin, pending, context)
    except BaseException as error:
        pending.error = error
        pending.discard()
        context.run(_finish, pending)
        if handed_over:
            _release(pending.call)
        else:
            _loops.pop(pending.call, None)
        raise


def cancel(call: Call) -> None:
    """Cancels a detached call's task. From any thread."""
    loop = _loops.get(call)
    if loop is not None:
        loop.call_soon_threadsafe(_cancel, call)


def resume(call: Call) -> None:
    """There is room for more of a detached call's output. From any thread."""
    loop = _loops.get(call)
    if loop is not None:
        loop.call_soon_threadsafe(_resume, call)


def overdue(call: Call) -> bool:
    """A detached call has not ended in time after it was cancelled.

    True if that is because its loop does not come round: calls that come from now on get another.
    """
    global _loop
    with _lock:
        loop = _loops.get(call)
        if loop is None or call in _told or loop is not _loop:
            return False
        _loop = None
        thread = _threads[loop]
    frame = sys._current_frames().get(thread.ident or 0)
    stack = "".join(traceback.format_stack(frame)) if frame is not None else "no frame\n"
    text = f"the event loop is blocked, calls that come now get another; it is here:\n{stack}"
    output.write(output.ERROR, call.connection, text)
    return True


def stop(seconds: float) -> None:
    """Cancels all tasks, waits for their ends, at most so many seconds, and takes no new ones."""
    global _stopping
    _stopping = True
    deadline = time.monotonic() + seconds
    with _lock:
        loops = list(_threads)
    drained = [asyncio.run_coroutine_threadsafe(_drain(seconds * 0.9), loop) for loop in loops]
    for loop, end in zip(loops, drained, strict=True):
        try:
            end.result(max(0.0, deadline - time.monotonic()))
        except Exception:
            output.write(output.WARN, 0, "asynchronous calls did not end in time")
        loop.call_soon_threadsafe(loop.stop)


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop
    if _stopping:
        raise Refusal(503, "stopping", "The server is stopping: try again.")
    if _loop is None:
        _loop = asyncio.new_event_loop()
        _threads[_loop] = threading.Thread(target=_serve, args=(_loop,), name="owt-asyncio", daemon=True)
        _threads[_loop].start()
    return _loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while True:
        try:
            loop.run_forever()
        except BaseException:
            # A task of an adaptor's own raised SystemExit or KeyboardInterrupt: not everybody's end.
            logging.getLogger(__name__).exception("a task tried to stop the event loop")
        if _stopping or _is_left(loop):
            return


def _is_left(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop, which had been blocked, has ended all its calls, and gets no more."""
    with _lock:
        left = loop is not _loop and loop not in _loops.values()
        if left:
            _threads.pop(loop, None)
        return left


async def _drain(seconds: float) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
    await asyncio.get_running_loop().shutdown_asyncgens()


def _begin(pending: Pending, context: Context) -> None:
    call = pending.call
    if call.cancelled:
        pending.discard()
        context.run(_end, pending)
        return
    _pending[call] = pending
    pending.task = asyncio.get_running_loop().create_task(_run(pending), name=f"owt-{call.connection}", context=context)
    pending.task.add_done_callback(lambda task: _end(pending), context=context)


def _end(pending: Pending) -> None:
    _pending.pop(pending.call, None)
    pending.discard()
    _finish(pending)
    if output.partial:
        output.end(pending.request)
    _release(pending.call)


def _finish(pending: Pending) -> None:
    if pending.finish is not None:
        try:
            pending.finish(pending.error)
        except Exception as error:
            failure.log(pending.call, error, pending.endpoint.path)
    uploads.remove(pending.files)


def _release(call: Call) -> None:
    loop = _loops.pop(call)
    _told.discard(call)
    loaded.detached.pop(call, None)
    call.release()
    if loop is not _loop:
        loop.call_soon_threadsafe(loop.stop)  # it goes on if it has more


def _cancel(call: Call) -> None:
    if call in _loops:
        _told.add(call)
    pending = _pending.get(call)
    if pending is not None and pending.task is not None:
        pending.task.cancel()


def _resume(call: Call) -> None:
    pending = _pending.get(call)
    if pending is not None:
        pending.room.set()


async def _run(pending: Pending) -> None:
    call = pending.call
    try:
        await _answer(pending)
    except Refusal as refusal:
        refusal.tell(call)
    except BaseException as error:
        pending.error = error
        if isinstance(error, asyncio.CancelledError) and (call.cancelled or _stopping):
            call.abort()
            raise
        failure.refuse(call, error, pending.endpoint.path)


async def _answer(pending: Pending) -> None:
    answer = pending.answer
    while isinstance(answer, Later):
        try:
            value = await answer.value
        except HTTPException as error:
            value = error.get_response(pending.request.environ)
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
            if call.cancelled:
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
        gone = isinstance(error, asyncio.CancelledError) and (call.cancelled or _stopping)
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
