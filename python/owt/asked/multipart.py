"""A multipart form, part by part, as Werkzeug's decoder finds them.

Werkzeug's own parser puts U+FFFD in place of what is not UTF-8, leaves out what it cannot read, and
has limits that differ from version to version. Here what is wrong is said, and nginx limits the size.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import FileStorage, Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from owt.process.refusal import Refusal
from owt.process.request import MAX_FIELDS

if TYPE_CHECKING:
    from owt.process.request import Request

_BLOCK = 64 * 1024  # bytes

Texts = list[tuple[str, str]]
Files = list[tuple[str, FileStorage]]


def parse(request: Request) -> tuple[Texts, Files]:
    """The fields and the files of the request's form, which it has from then on too, in their order.

    Raises Refusal: 400 for what is no form or not in its encoding, 413 for too many parts.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary or not boundary.isascii():
        raise _refusal(
            "it names no boundary: leave its Content-Type to the program that makes the form, as curl -F does"
        )
    source = request.environ["wsgi.input"]
    decoder = MultipartDecoder(boundary.encode(), None, max_parts=MAX_FIELDS)
    parts = _Parts(request)
    try:
        while not decoder.complete:
            decoder.receive_data(source.read(_BLOCK) or None)
            while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
                parts.take(event)
    except RequestEntityTooLarge:
        text = f"The form has more than {MAX_FIELDS} parts. Send them in one, as a list or an object in JSON."
        raise Refusal(413, "too-many-parts", text) from None
    except UnicodeDecodeError as error:  # names are UTF-8 in every browser and in curl
        raise _refusal(f"the head of a part, {error.object[:200]!r}, is not UTF-8") from None
    except ValueError as error:
        what = "it breaks off, its boundary is not the one that its Content-Type names, or a part is malformed"
        raise _refusal(f"{what} ({error})") from None
    multi = request.parameter_storage_class
    request.__dict__.update(form=multi(parts.texts), files=multi(parts.files), stream=io.BytesIO())
    return parts.texts, parts.files


class _Parts:
    def __init__(self, request: Request) -> None:
        self.open = request._get_file_stream
        self.texts: Texts = []
        self.files: Files = []
        self.part: Field | File | None = None
        self.content: Any = None

    def take(self, event: object) -> None:
        if isinstance(event, Field | File):
            if event.name is None:
                raise _refusal("a part of it has no name")
            self.part = event
            if isinstance(event, File):
                self.content = self.open(None, event.headers.get("content-type"), event.filename)
            else:
                self.content = io.BytesIO()
        elif isinstance(event, Data) and self.part is not None:
            self.content.write(event.data)
            if not event.more_data:
                self.finish(self.part)

    def finish(self, part: Field | File) -> None:
        name = _unquoted(part.name)
        if isinstance(part, File):
            self.content.seek(0)
            self.files.append((name, FileStorage(self.content, _unquoted(part.filename), name, headers=part.headers)))
        else:
            self.texts.append((name, _decode(name, self.content.getvalue(), part.headers)))


def _unquoted(name: str) -> str:
    """A name as its sender has it: in a form a quotation mark is %22 (WHATWG HTML, multipart/form-data encoding
    algorithm), which Werkzeug reads from 2.3 on.
    """
    return name.replace("%22", '"')


def _decode(name: str, content: bytes, headers: Headers) -> str:
    """The text of a field: UTF-8, or in the encoding that its part names."""
    encoding = parse_options_header(headers.get("content-type"))[1].get("charset", "utf-8")
    try:
        return content.decode(encoding)
    except (UnicodeError, LookupError) as error:
        where = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
        raise not_text(name, encoding, where) from None


def not_text(name: str, encoding: str = "utf-8", where: str = "") -> Refusal:
    """What to say of a part that is not in the encoding it should be in."""
    shown = "UTF-8" if encoding.lower() in ("utf-8", "utf8") else encoding
    what_to_do = "Save it as UTF-8" if name == "code" else "Text is sent as UTF-8, anything else as a file"
    return _refusal(f"its part {name!r} is not {shown}{where}. {what_to_do}")


def _refusal(what: str) -> Refusal:
    return Refusal(400, "bad-parameters", f"The form cannot be read: {what}.")
