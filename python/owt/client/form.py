"""What a call sends: fields of text, and files. Encoded as a query, a form, or a multipart form."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

from owt.client.answer import CallError

TYPE_CHECKING = False  # typing itself would cost a fifth of the start
if TYPE_CHECKING:
    from typing import IO

#: Files are read and sent in pieces of so many bytes.
_PIECE = 1 << 16


class Upload:
    """A file that goes along as an argument: its path, or its content with a name."""

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        """OSError if the file cannot be read. What has no length, a pipe or a file of /proc, is read at once."""
        self.path = path
        if content is None and not (path.is_file() and path.stat().st_size):
            content = path.read_bytes()
        self._content = content
        self.size = len(content) if content is not None else path.stat().st_size

    def open(self) -> IO[bytes]:
        return BytesIO(self._content) if self._content is not None else self.path.open("rb")


class Form:
    """Fields in the order sent: a name, and text as bytes or an Upload."""

    def __init__(self, fields: list[tuple[str, bytes | Upload]]) -> None:
        self.fields = fields
        self.has_uploads = any(isinstance(value, Upload) for _, value in fields)

    @property
    def size(self) -> int:
        """Bytes of the values, before encoding."""
        return sum(value.size if isinstance(value, Upload) else len(value) for _, value in self.fields)

    def query(self) -> str:
        """Also the body of a form. ValueError if there are files."""
        if self.has_uploads:
            raise ValueError("a file needs a POST: a URL has no room for it")
        return urlencode(self.fields)

    def body(self) -> tuple[str, int, Iterator[bytes]]:
        """The content type, the length in bytes, and the body in pieces."""
        if self.has_uploads:
            return self._multipart()
        text = self.query().encode()
        return "application/x-www-form-urlencoded", len(text), iter([text])

    def _multipart(self) -> tuple[str, int, Iterator[bytes]]:
        boundary = f"owt-{os.urandom(16).hex()}"
        heads = [_head(boundary, name, value) for name, value in self.fields]
        end = f"--{boundary}--\r\n".encode()
        length = sum(map(len, heads)) + self.size + len(b"\r\n") * len(heads) + len(end)

        def pieces() -> Iterator[bytes]:
            for head, (_, value) in zip(heads, self.fields, strict=True):
                yield head
                if isinstance(value, Upload):
                    yield from _read(value)
                else:
                    yield value
                yield b"\r\n"
            yield end

        return f"multipart/form-data; boundary={boundary}", length, pieces()


def _head(boundary: str, name: str, value: bytes | Upload) -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_quote(name)}"'
    if isinstance(value, Upload):
        head += f'; filename="{_quote(value.path.name)}"\r\nContent-Type: application/octet-stream'
    return os.fsencode(f"{head}\r\n\r\n")


def _quote(text: str) -> str:
    """As browsers do: https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data"""
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")


def _read(upload: Upload) -> Iterator[bytes]:
    """As many bytes as were announced; CallError if the file has become shorter."""
    left = upload.size
    with upload.open() as file:
        while left:
            piece = file.read(min(_PIECE, left))
            if not piece:
                raise CallError(f"{upload.path} has become shorter while it was sent")
            left -= len(piece)
            yield piece
