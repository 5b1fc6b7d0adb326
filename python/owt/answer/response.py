"""What an adaptor returns, as an answer: a whole one, a file or a stream."""

from __future__ import annotations

import inspect
import io
import operator
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response

from owt.answer import files, foreign, jsons, rich, sound, wsgi
from owt.answer.cannot import CannotSend, mimetype_of, named
from owt.answer.pictures import is_encoded
from owt.process import figures

if TYPE_CHECKING:
    from owt.process.request import Request

HTML = (("Content-Type", "text/html; charset=utf-8"),)
OCTETS = (("Content-Type", "application/octet-stream"),)
JSON = (("Content-Type", "application/json"),)
WAV = (("Content-Type", "audio/wav"),)
NOTHING: tuple[tuple[str, str], ...] = ()
#: The bridge knows these by their identity.
OWN = (HTML, OCTETS, JSON, WAV, NOTHING)

#: Header fields in their order.
Pairs = Sequence[tuple[str, str]]
Whole = tuple[int, Pairs, bytes | str]
Chunk = bytes | str


@dataclass(slots=True)
class File:
    """A regular file, open as fd (to be closed by whoever takes this), whose type comes from name."""

    status: int
    headers: Pairs
    fd: int
    name: str


@dataclass(slots=True)
class Stream:
    """An answer whose chunks come one by one; close (if any) is to be called at the end."""

    status: int
    headers: Pairs
    chunks: Iterator[object] | AsyncIterator[object]
    close: Callable[[], object] | None = None
    #: What the function is called that returned it.
    name: str = "run"

    @property
    def mimetype(self) -> str:
        """The type that its headers give it, without parameters; empty if they do not."""
        return mimetype_of(self.content_type)

    @property
    def content_type(self) -> str:
        """The same as it was given."""
        return next((value for name, value in self.headers if name.lower() == "content-type"), "")


@dataclass(slots=True)
class Later:
    """A value to be awaited on the event loop, then coerced."""

    value: Awaitable[object]


Answer = Whole | File | Stream | Later


def coerce(value: object, request: Request, name: str = "run") -> Answer:
    """The answer that value, returned by the function with this name, stands for.

    Raises Refusal (500) for what cannot be sent, and whatever rendering the value raises.
    """
    kind = type(value)
    if kind is str:
        return 200, HTML, _text(value)  # type: ignore[arg-type]
    if kind is bytes:
        return 200, OCTETS, value  # type: ignore[return-value]
    if kind is dict or kind is list:
        return 200, JSON, jsons.dumps(value, f"{name} returned")
    if kind is tuple:
        return _from_tuple(value, request, name)  # type: ignore[arg-type]
    if value is None:
        # As notebooks do: plt.plot(...), plt.show() and nothing more shows the figure.
        value = figures.current(request)
    return _from_object(value, request, name)


def _from_tuple(value: tuple[Any, ...], request: Request, name: str) -> Answer:
    status: object = None
    headers: object = None
    if sound.is_sound(value):
        return 200, WAV, sound.wav(value, f"{name} returned")  # type: ignore[arg-type]
    if len(value) == 3:
        body, status, headers = value
    elif len(value) == 2 and isinstance(value[1], (*_HEADERS, type(None))):
        body, headers = value
    elif len(value) == 2:
        body, status = value
    else:
        raise CannotSend(
            f"{name} returned a tuple of {len(value)}: a tuple is (body, status), (body, headers) or"
            " (body, status, headers); return a list for JSON"
        )
    code = None if status is None else _status(status, name, body)
    more = [] if headers is None else _pairs(headers, name)
    if sound.is_sound(body):
        sound.need_wav(_content_type(more), f"{name} returned")
        answer: Answer = (200, WAV, sound.wav(body, f"{name} returned"))
    elif type(body) is tuple:
        raise CannotSend(f"{name} returned a tuple within a tuple, which cannot be sent: return a list for JSON")
    elif isinstance(body, str | bytes | dict | list):
        answer = coerce(body, request, name)
    else:
        answer = _from_object(body, request, name, _content_type(more))
    if isinstance(answer, Later):
        _discard(answer.value)
        raise CannotSend(f"{name} returned an awaitable within a tuple: await it first")
    return _amend(answer, code, more)


#: Nobody means JSON by these.
_NOT_JSON = ("image/", "audio/", "video/", "text/csv", "application/pdf")


def _content_type(headers: list[tuple[str, str]]) -> str:
    return next((mimetype_of(value) for name, value in headers if name.lower() == "content-type"), "")


def _discard(value: object) -> None:
    if inspect.iscoroutine(value):
        value.close()  # without a word about coroutines never awaited


def _from_object(value: object, request: Request, name: str, wanted: str = "") -> Answer:
    """The answer for what coerce has not seen at once; wanted is the content type that it will be given, if any."""
    said = f"{name} returned"
    if value is None:
        return 200, NOTHING, b""
    if isinstance(value, Enum):
        return _from_object(value.value, request, name, wanted)
    if isinstance(value, str):
        return 200, HTML, _text(str(value))
    if isinstance(value, bytes | bytearray | memoryview):
        return 200, OCTETS, bytes(value)
    if isinstance(value, dict | list | tuple | bool):
        return 200, JSON, jsons.dumps(value, said)
    if isinstance(value, Number):
        return 200, HTML, str(value)
    if isinstance(value, Response):
        return from_response(value, request, name)
    if isinstance(value, os.PathLike):
        return File(200, NOTHING, *_open(Path(os.fsdecode(value)), said))
    if isinstance(value, io.BytesIO):
        return 200, OCTETS, value.getvalue()
    if isinstance(value, io.StringIO):
        return 200, HTML, _text(value.getvalue())
    file = files.open_again(value)
    if file is not None:
        return File(200, NOTHING, *file)
    shown = rich.show(value, request, wanted, said)
    if shown is not None:
        mimetype, body, chosen = shown
        headers = (("Content-Type", mimetype), ("Vary", "Accept")) if chosen else (("Content-Type", mimetype),)
        return 200, list(headers), body
    if hasattr(type(value), "__next__") or hasattr(type(value), "__anext__"):
        return Stream(200, NOTHING, value, name=name)  # type: ignore[arg-type]
    if hasattr(type(value), "__await__"):
        return Later(value)  # type: ignore[arg-type]
    if foreign.is_starlette(value):
        return _from_tuple(foreign.unwrap(value, said), request, name)
    if wsgi.is_application(value):
        return from_response(wsgi.run(value, request, said), request, name)
    answer = 200, JSON, jsons.dumps(value, said)
    if wanted.startswith(_NOT_JSON):
        if is_encoded(value):
            raise CannotSend(
                f"{said} an array of bytes in a row with the Content-Type {wanted}, and there is only JSON of it: if"
                " it is encoded already, as by OpenCV's imencode(), return its .tobytes()"
            )
        raise CannotSend(
            f"{said} {named(value)} with the Content-Type {wanted}, and there is only JSON of it."
            " A picture is an image, a figure or an array of uint8, (rows, columns) or (rows, columns, 3); sound is"
            " (rate, samples)"
        )
    return answer


def _open(path: Path, said: str) -> tuple[int, str]:
    try:
        return files.open_path(path)
    except FileNotFoundError:
        raise CannotSend(
            f"{said} the path {path}, and no such file is there (any more): what lies in a temporary directory is gone"
            " when its with block ends, so return what it holds, .read_bytes(), or the file, open(path, 'rb')"
        ) from None


def from_response(response: Response, request: Request, name: str = "run") -> Whole | Stream:
    """The answer that a Werkzeug or Flask Response stands for; a stream unless its body is there."""
    status = _status(response.status_code, name)
    headers = [(name, value) for name, value in response.get_wsgi_headers(request.environ) if name.lower() not in _OURS]
    if response.is_sequence:
        body = response.get_data()
        response.close()
        return status, headers, body
    chunks = iter(response.response) if response.direct_passthrough else response.iter_encoded()
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(OCTETS[0])
    return Stream(status, headers, iter(chunks), response.close, name)


def typed(headers: Pairs, default: tuple[tuple[str, str], ...]) -> Pairs:
    """The headers, with default's content type first if they have none."""
    if not headers:
        return default
    if any(name.lower() == "content-type" for name, _ in headers):
        return headers
    return [*default, *headers]


# What nginx says itself about the connection. (The length of a stream is the adaptor's to say.)
_OURS = frozenset(("connection", "keep-alive", "transfer-encoding", "upgrade"))

_HEADERS = (dict, list, tuple, Headers)


def _text(text: str) -> Chunk:
    """Raises UnicodeEncodeError here, where it is the adaptor's, for a text that has lone surrogates."""
    return text if text.isascii() else text.encode()


def _status(status: object, name: str, body: object = None) -> int:
    try:
        if isinstance(status, str | bytes):
            code = int(status.split()[0])
        elif isinstance(status, bool):
            raise ValueError
        else:
            code = operator.index(status)  # type: ignore[arg-type]
        if 200 <= code <= 599:
            return code
    except (ValueError, TypeError, IndexError):
        pass
    shown = repr(status) if isinstance(status, int | float | str | bytes) else named(status)
    is_sound = hasattr(type(body), "__array__") and isinstance(status, int)
    if isinstance(body, bool) and is_encoded(status):
        advice = "; of what OpenCV's imencode() returns the second, .tobytes()"
    else:
        advice = ", or (rate, samples) for sound" if is_sound else ""
    raise CannotSend(
        f"{name} returned a tuple whose status is {shown}: in (body, status) that is a number from 200 to 599;"
        f" return one of the two, or a list or a dict for JSON{advice}"
    )


def _pairs(headers: object, name: str) -> list[tuple[str, str]]:
    items: Any = headers.items() if isinstance(headers, dict) else headers
    pairs = []
    try:
        for key, value in items:
            if isinstance(value, dict):
                raise CannotSend(
                    f"{name} returned a tuple whose headers have a dict, {str(key)[:40]!r}: in (body, headers) these"
                    " are text; return a list or a dict for JSON"
                )
            values = value if isinstance(value, list | tuple) else (value,)
            pairs += [(str(key), str(one)) for one in values]
    except (TypeError, ValueError):
        raise CannotSend(
            f"{name} returned headers that are neither a dict nor a list of (name, value); return a list for JSON"
        ) from None
    return [(key, value) for key, value in pairs if key.lower() not in _OURS]


def _words(value: str) -> list[str]:
    return [word.strip() for word in value.lower().split(",")]


def _amend(answer: Whole | File | Stream, status: int | None, more: list[tuple[str, str]]) -> Whole | File | Stream:
    """The answer with this status, and with these headers in place of those of the same name."""
    named = {name.lower() for name, _ in more}
    if not any(name.lower() == "vary" and "accept" in _words(value) for name, value in more):
        named.discard("vary")  # it says how the answer was chosen, whatever else it depends on
    if isinstance(answer, tuple):
        old, headers, body = answer
        code = old if status is None else status
        if not more:
            return code, headers, body
        return code, [*(h for h in headers if h[0].lower() not in named), *more], body
    if status is not None:
        answer.status = status
    if more:
        answer.headers = [*(h for h in answer.headers if h[0].lower() not in named), *more]
    return answer
