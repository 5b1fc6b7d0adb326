"""Sending an answer from the thread that runs the call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from owt.answer import chunks
from owt.answer.cannot import CannotSend, named
from owt.answer.chunks import Framing
from owt.answer.response import Chunk, File, Stream, Whole, typed
from owt.process import failure
from owt.process.context import ends, failed_threads
from owt.process.refusal import Refusal

if TYPE_CHECKING:
    from _owt import Call


def send(call: Call, answer: Whole | File) -> None:
    """Sends an answer that is complete. Refusal (500) if its headers cannot be sent."""
    try:
        if isinstance(answer, File):
            call.send_file(answer.status, answer.headers, answer.fd, answer.name)
        else:
            call.respond(*answer)
    except ValueError as error:
        raise unsendable(error) from None


def run(call: Call, stream: Stream, path: str) -> None:
    """Sends chunk by chunk. What fails before the first one is raised; what fails later ends the answer."""
    items = cast("Iterator[object]", stream.chunks)
    framing: Framing | None = None
    try:
        try:
            first = next(items)
        except StopIteration as stop:
            send(call, empty(stream, stop.value))
            return
        framing, piece = begin(call, stream, first)
        call.write(piece)
        for item in items:
            piece = framing.encode(item)
            if piece:
                call.write(piece)
        finish(call, framing, call.write)
    except BaseException as error:
        if framing is None or ends(call, error):
            raise
        fail(call, stream, error, path, call.write)
    finally:
        for close in (getattr(items, "close", None), stream.close):
            if close is not None:
                _close(call, close, path)


def begin(call: Call, stream: Stream, first: object) -> tuple[Framing, Chunk]:
    """Begins the answer, knowing the first item, and makes its chunk. Refusal (500) if one of them cannot be sent."""
    framing = chunks.begin(stream, first)
    piece = framing.encode(first)
    start(call, stream, framing)
    return framing, piece


def start(call: Call, stream: Stream, framing: Framing) -> None:
    """Sends the head. Refusal (500) if its headers cannot be sent."""
    stream.headers = framing.headers
    try:
        call.start(stream.status, stream.headers)
    except ValueError as error:
        raise unsendable(error) from None


def finish(call: Call, framing: Framing, write: Callable[[Chunk], object]) -> None:
    """Ends an answer as it should."""
    last = framing.end()
    if last:
        write(last)
    call.finish()


def empty(stream: Stream, returned: object = None) -> Whole:
    """The answer of a stream without chunks. CannotSend if its generator has returned what would be lost."""
    if returned is not None:
        raise CannotSend(
            f"{stream.name} is a generator, as it has a yield, and returned {named(returned)} without a yield: yield"
            " that, or put what yields into a function of its own and return what that one returns"
        )
    return stream.status, typed(stream.headers, ()), b"[]\n" if stream.mimetype == "application/json" else b""


def fail(call: Call, stream: Stream, error: BaseException, path: str, write: Callable[[Chunk], object]) -> None:
    """Ends an answer that has begun so that the client sees it fail."""
    text = failure.log(call, error, path)
    if call.events:
        call.abort(500, "adaptor-failed", text)
        return
    if call.show_traceback:
        text = f"{type(error).__name__}: {failure.message(error)}\n"
        text += failure.said_before(error) + failed_threads(call)
    tell(stream, text, write)
    call.abort()


def tell(stream: Stream, text: str, write: Callable[[Chunk], object]) -> None:
    """Says in an answer that has begun what is wrong, where its type has a way to say it."""
    if stream.mimetype == "text/event-stream":
        lines = "".join(f"data: {line}\n" for line in text.splitlines())
        write(f"event: error\n{lines}\n")


def unsendable(error: ValueError) -> Refusal:
    """What the bridge says about a head that it does not take, as an answer."""
    return Refusal(500, "cannot-send", f"The adaptor's answer cannot be sent: {error}.")


def _close(call: Call, close: Callable[[], object], path: str) -> None:
    try:
        close()
    except BaseException as error:
        if ends(call, error):
            raise
        failure.log(call, error, path)
