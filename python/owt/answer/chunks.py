"""What a function yields, as the chunks of one answer; the first one decides what the others have to be.

Text and bytes go out as they are, what is JSON becomes lines (or events, or one array, as the content type says),
pictures the parts of ``multipart/x-mixed-replace``, and ``(rate, samples)`` a WAV that grows.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from owt.answer import jsons, pictures, sound
from owt.answer.cannot import CannotSend, named
from owt.answer.plain import NoJson, is_iterator, plain
from owt.answer.response import HTML, OCTETS, Chunk, Pairs, Stream, typed

_TEXT = (str, bytes, bytearray, memoryview)


class Framing(ABC):
    """Makes chunks of what one stream yields."""

    #: What is yielded, for errors.
    kind: str
    #: Making a chunk takes longer than an event loop should be held up.
    slow = False

    def __init__(self, stream: Stream, headers: Pairs) -> None:
        self._stream = stream
        #: Those of the stream, with the content type that fits.
        self.headers = headers

    @abstractmethod
    def encode(self, item: Any) -> Chunk:
        """The chunk for what was yielded. Raises CannotSend if it is of another kind than the first."""

    def end(self) -> Chunk:
        """What follows the last chunk."""
        return ""

    def _said(self) -> str:
        return f"{self._stream.name} yielded"

    def _mixed(self, item: object) -> CannotSend:
        what = f"{named(item)}{_line(self._stream)}, after {self.kind}"
        return CannotSend(f"{self._said()} {what}: all have to be of the kind of the first one")


def begin(stream: Stream, first: object) -> Framing:
    """The framing for a stream whose first item this is. Raises CannotSend if it cannot be streamed."""
    if isinstance(first, _TEXT):
        if stream.mimetype == "text/event-stream":
            return _Events(stream, stream.headers)
        return _Text(stream, typed(stream.headers, HTML if isinstance(first, str) else OCTETS))
    if sound.is_sound(first):
        sound.need_wav(stream.mimetype, f"{stream.name} yielded")
        return _Sound(stream, typed(stream.headers, (("Content-Type", "audio/wav"),)))
    if _is_picture(first):
        return _pictures(stream, first)
    if _is_data(first):
        made = {"text/event-stream": _Events, "application/json": _Array}.get(stream.mimetype, _Lines)
        return made(stream, typed(stream.headers, (("Content-Type", "application/x-ndjson"),)))
    text = f"{stream.name} yielded {named(first)}{_line(stream)}, which cannot be streamed: "
    if is_iterator(first):
        raise CannotSend(f"{text}yield from it")
    raise CannotSend(
        f"{text}yield str, bytes, dicts (or what else is a JSON object or array: they become lines of JSON),"
        " pictures, or (rate, samples)"
    )


class _Text(Framing):
    kind = "text or bytes"

    def encode(self, item: Any) -> Chunk:
        if type(item) is bytes:
            return item
        if isinstance(item, _TEXT):
            return _text(item)
        raise self._mixed(item)


class _Lines(Framing):
    kind = "JSON"

    def encode(self, item: Any) -> Chunk:
        return self._json(item)

    def _json(self, item: object) -> str:
        if type(item) is not dict and not _is_data(item):
            raise self._mixed(item)
        return jsons.dumps(item, self._said())


class _Events(_Lines):
    """JSON as events; text as it is."""

    kind = "events"

    def encode(self, item: Any) -> Chunk:
        if isinstance(item, _TEXT):
            return _text(item)
        return f"data: {self._json(item)}\n"


class _Array(_Lines):
    before = "["

    def encode(self, item: Any) -> Chunk:
        before, self.before = self.before, ","
        return f"{before}{self._json(item).rstrip()}\n"

    def end(self) -> Chunk:
        return "]\n"


class _Sound(Framing):
    kind = "sound"

    def __init__(self, stream: Stream, headers: Pairs) -> None:
        super().__init__(stream, headers)
        self.form: tuple[int, int] | None = None

    def encode(self, item: Any) -> Chunk:
        if not sound.is_sound(item):
            raise self._mixed(item)
        rate, channels, pcm = sound.parts(item, self._said())
        if self.form is None:
            self.form = rate, channels
            return sound.header(rate, channels) + pcm
        if self.form != (rate, channels):
            raise CannotSend(
                f"{self._said()} sound at {rate} Hz on {channels} channels{_line(self._stream)}, after sound at"
                f" {self.form[0]} Hz on {self.form[1]}: one WAV has one rate and number of channels"
            )
        return pcm


class _Pictures(Framing):
    """Parts of one type, each sent with the head of the next one: until then browsers do not show it.

    At the end the last picture fills the part that is open.
    """

    kind = "pictures"
    slow = True

    def __init__(self, stream: Stream, headers: Pairs, boundary: str, type: str) -> None:
        super().__init__(stream, headers)
        self.type = type
        self.boundary = boundary
        self.last = b""

    def encode(self, item: Any) -> Chunk:
        if not _is_picture(item):
            raise self._mixed(item)
        figure = pictures.figure_of(item)
        if figure is not None:
            data = pictures.figure(figure)[self.type]()
        else:
            data = pictures.encode(pictures.image_of(item), self.type)
        head = f"\r\n--{self.boundary}\r\nContent-Type: {self.type}\r\n\r\n".encode()
        before = b"" if self.last else head[2:]
        self.last = data
        return before + data + head

    def end(self) -> Chunk:
        return self.last + f"\r\n--{self.boundary}--\r\n".encode()


def _pictures(stream: Stream, first: object) -> _Pictures:
    type = "image/png" if pictures.figure_of(first) is not None else pictures.type_of(pictures.image_of(first))
    if not stream.content_type:
        headers = typed(stream.headers, (("Content-Type", f"{_MIXED}; boundary=frame"),))
        return _Pictures(stream, headers, "frame", type)
    boundary = re.search(r";\s*boundary=\"?([^\";\s]+)", stream.content_type)
    if not stream.mimetype.startswith("multipart/") or boundary is None:
        raise CannotSend(
            f"{stream.name} yielded {named(first)} with the Content-Type {stream.content_type}: pictures that are"
            f" yielded are parts of {_MIXED}; boundary=frame, which they get without one; or return a single picture"
        )
    return _Pictures(stream, stream.headers, boundary[1], type)


_MIXED = "multipart/x-mixed-replace"


def _is_picture(item: object) -> bool:
    return pictures.is_image(item) or pictures.is_picture(item) or pictures.figure_of(item) is not None


def _is_data(item: object) -> bool:
    """Whether something is a JSON object or array."""
    if isinstance(item, dict | list | tuple | Mapping):
        return True
    if isinstance(item, str | int | float) or item is None or is_iterator(item):
        return False
    try:
        return isinstance(plain(item), dict | list | tuple)
    except NoJson:
        return False


def _text(item: str | bytes | bytearray | memoryview) -> Chunk:
    if type(item) is str:
        return item if item.isascii() else item.encode()
    return item.encode() if isinstance(item, str) else bytes(item)


def _line(stream: Stream) -> str:
    """Where the generator is."""
    chunks: Any = stream.chunks
    frame = getattr(chunks, "gi_frame", None) or getattr(chunks, "ag_frame", None)
    return f" (line {frame.f_lineno}, in {frame.f_code.co_name})" if frame is not None else ""
