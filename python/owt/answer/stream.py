"""Sending an answer from the thread that runs the call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from owt.answer.response import Chunk, File, Stream, Whole, typed
from owt.process import failure
from owt.process.context import Cancelled
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
    chunks = cast("Iterator[object]", stream.chunks)
    started = False
    try:
        for chunk in chunks:
            piece = as_chunk(chunk)
            if not started:
                start(call, stream, chunk)
                started = True
                call.write(piece)
            elif piece:
                call.write(piece)
        if started:
            call.finish()
        else:
            send(call, empty(stream))
    except Cancelled:
        raise
    except BaseException as error:
        if not started:
            raise
        fail(call, stream, error, path, call.write)
    finally:
        for close in (getattr(chunks, "close", None), stream.close):
            if close is not None:
                _close(call, close, path)


def start(call: Call, stream: Stream, first: object) -> None:
    """Begins the answer, knowing its first chunk. Refusal (500) if its headers cannot be sent."""
    stream.headers = stream.head(first)
    try:
        call.start(stream.status, stream.headers)
    except ValueError as error:
        raise unsendable(error) from None


def empty(stream: Stream) -> Whole:
    """The answer of a stream without chunks."""
    return stream.status, typed(stream.headers, ()), b""


def as_chunk(chunk: object) -> Chunk:
    """A chunk as it can be sent; TypeError naming what it is where that is impossible."""
    if type(chunk) is str:
        return chunk if chunk.isascii() else chunk.encode()
    if type(chunk) is bytes:
        return chunk
    if isinstance(chunk, str):
        return str(chunk).encode()
    if isinstance(chunk, bytes | bytearray | memoryview):
        return bytes(chunk)
    raise TypeError(f"a stream's chunks are str or bytes, not {type(chunk).__name__}")


def fail(call: Call, stream: Stream, error: BaseException, path: str, write: Callable[[Chunk], object]) -> None:
    """Ends an answer that has begun so that the client sees it fail."""
    text = failure.log(call, error, path)
    if call.show_traceback:
        text = f"{type(error).__name__}: {failure.message(error)}"
    tell(stream, text, write)
    call.abort()


def tell(stream: Stream, text: str, write: Callable[[Chunk], object]) -> None:
    """Says in an answer that has begun what is wrong, where its type has a way to say it."""
    if _is_event_stream(stream):
        lines = "".join(f"data: {line}\n" for line in text.splitlines())
        write(f"event: error\n{lines}\n")


def unsendable(error: ValueError) -> Refusal:
    """What the bridge says about a head that it does not take, as an answer."""
    return Refusal(500, "cannot-send", f"The adaptor's answer cannot be sent: {error}.")


def _is_event_stream(stream: Stream) -> bool:
    return any(
        name.lower() == "content-type" and value.lower().startswith("text/event-stream")
        for name, value in stream.headers
    )


def _close(call: Call, close: Callable[[], object], path: str) -> None:
    try:
        close()
    except Cancelled:
        raise
    except BaseException as error:
        failure.log(call, error, path)
