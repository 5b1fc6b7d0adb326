"""Files of a form as what libraries take: a path, bytes, an open file, an image, an array."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TextIO

from werkzeug.datastructures import FileStorage

from owt.asked.wanted import Misfit, Wanted, content_of, is_blank, name_of, read_json, shown, text_of
from owt.process.context import current_request

if TYPE_CHECKING:
    from owt.process.request import Request

_HOW = "sent as a file of a form: curl -F NAME=@FILE"
_MAX_SUFFIX = 100  # characters
_SMALL = 500 * 1024  # bytes, as Werkzeug has it

#: The temporary files of running calls.
kept: dict[Request, list[str]] = {}


class Upload(Wanted):
    """A file as an instance of kind, which open makes of it."""

    __slots__ = ("kind", "open")

    def __init__(self, kind: Any, open: Callable[[FileStorage], Any], what: str = "a file") -> None:
        super().__init__(f"{name_of(kind)} ({what}, {_HOW})")
        self.kind = kind
        self.open = open
        self.file = True

    def __call__(self, value: Any) -> Any:
        if isinstance(value, FileStorage):
            if is_blank(value) and self.kind is not FileStorage:
                raise self.misfit(value)
            return self.open(value)
        if isinstance(value, self.kind):
            return value
        raise self.misfit(value)


class Opened(Upload):
    """An open file: whatever can be read passes, if no text came."""

    __slots__ = ()

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, FileStorage) and hasattr(value, "read"):
            return value
        return super().__call__(value)


class Image(Upload):
    """PIL.Image.Image, read whole."""

    __slots__ = ()

    def __init__(self, kind: Any) -> None:
        super().__init__(kind, self.read, "an image")

    def read(self, file: FileStorage) -> Any:
        pillow: Any = sys.modules["PIL.Image"]
        file.stream.seek(0)
        try:
            image = pillow.open(file.stream)
            image.load()
        except pillow.UnidentifiedImageError:
            raise Misfit(f"{self.text} of a kind that Pillow knows", shown(file)) from None
        except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
            raise Misfit(f"{self.text}; {error}", shown(file)) from None
        return image


#: With what .npy, .npz and pickles begin; pickles are refused by numpy, with a reason.
_NUMPYS = (b"", b"\x93", b"P", b"\x80")


class Array(Wanted):
    """numpy.ndarray: a .npy file, or numbers as JSON; of dtype, if that is given."""

    __slots__ = ("dtype",)

    def __init__(self, annotation: Any, dtype: Any) -> None:
        super().__init__(f"{name_of(annotation)} (a .npy file, {_HOW}; or numbers as JSON)")
        self.dtype = dtype
        self.file = True

    def __call__(self, value: Any) -> Any:
        numpy: Any = sys.modules["numpy"]
        if isinstance(value, FileStorage):
            array = self.load(numpy, value)
        elif isinstance(value, numpy.ndarray):
            array = value
        else:
            array = self.build(numpy, read_json(value, self) if isinstance(value, str) else value)
        if self.dtype is None or array.dtype == self.dtype:
            return array
        try:
            return array.astype(self.dtype, casting="same_kind")
        except TypeError as error:
            raise Misfit(f"{self.text}; {error}", shown(value)) from None

    def load(self, numpy: Any, file: FileStorage) -> Any:
        file.stream.seek(0)
        if file.stream.read(1) not in _NUMPYS:
            raise Misfit(f"{self.text}; of a picture: PIL.Image.Image, then numpy.asarray(...) of it", shown(file))
        file.stream.seek(0)
        try:
            if file.stream.read(4) in _PICTURES:
                how = "a picture is taken by PIL.Image.Image, and numpy.asarray() makes an array of that"
                raise Misfit(f"{self.text}; {how}", shown(file))
            file.stream.seek(0)
            array = numpy.load(file.stream, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise Misfit(f"{self.text}; {error}", shown(file)) from None
        if not isinstance(array, numpy.ndarray):
            raise Misfit(f"{self.text}, not an archive of several", shown(file))
        return array

    def build(self, numpy: Any, value: Any) -> Any:
        if not isinstance(value, list | tuple | int | float | complex | numpy.generic):
            raise self.misfit(value)
        try:
            array = numpy.array(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise Misfit(f"{self.text}; {error}", shown(value)) from None
        if array.dtype.kind not in "biufc":
            raise self.misfit(value)
        return array


#: How PNG, JPEG and GIF begin.
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff\xe0", b"\xff\xd8\xff\xe1", b"\xff\xd8\xff\xdb", b"GIF8")


def stored(file: FileStorage) -> Path:
    """The file under a name in the file system, with its suffix; gone when the call is over."""
    request = current_request()
    suffix = PurePath((file.filename or "").replace("\\", "/").replace("\0", "")).suffix
    fd, name = tempfile.mkstemp(prefix="owt-upload-", suffix=suffix if len(suffix) <= _MAX_SUFFIX else "")
    kept.setdefault(request, []).append(name)
    with os.fdopen(fd, "wb") as copy:
        file.stream.seek(0)
        shutil.copyfileobj(file.stream, copy, 1 << 20)
        file.stream.seek(0)
    return Path(name)


def end(request: Request) -> None:
    """The call is over, and with it its files."""
    try:
        remove(kept.get(request, []))
    finally:
        kept.pop(request, None)


def remove(names: list[str]) -> None:
    """Removes what is still there of temporary files."""
    try:
        _unlink(names)
    except BaseException:  # Cancelled comes when it likes
        _unlink(names)
        raise


def _unlink(names: list[str]) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108 - nothing that imports or allocates


def opened(file: FileStorage) -> io.BufferedReader:
    """The file as ``open(..., "rb")`` has it: libraries ask for its mode, its descriptor, a position of its own."""
    return os.fdopen(_descriptor(file), "rb")


def text_opened(file: FileStorage) -> io.TextIOWrapper:
    """The file as ``open()`` has it, which has to be UTF-8."""
    text_of(file, _TEXT)  # what is not is said now, not when it is read
    return os.fdopen(_descriptor(file), encoding="utf-8")


def _descriptor(file: FileStorage) -> int:
    """What is large lies in a temporary file already, which is opened once more; what is small stays in memory."""
    size = file.stream.seek(0, os.SEEK_END) or file.stream.tell()
    file.stream.seek(0)
    if size > _SMALL:
        with contextlib.suppress(io.UnsupportedOperation):  # some BytesIO, of a FileStorage that an adaptor has made
            return os.open(f"/proc/self/fd/{file.stream.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
    fd = os.memfd_create("owt-upload", os.MFD_CLOEXEC)
    try:
        os.pwrite(fd, content_of(file), 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


_TEXT = Wanted("text (a file that is UTF-8)")


def as_file(kind: Any) -> Wanted | None:
    """What a class wants that is made of uploads; None for any other class."""
    if kind is FileStorage:
        return Upload(kind, lambda file: file)
    if kind in (Path, type(Path()), os.PathLike):
        return Upload(kind, stored)
    if kind in _TEXTS:
        return Opened(kind, text_opened)
    if kind in _STREAMS:
        return Opened(kind, opened)
    if kind in _RAW:
        return Opened(kind, lambda file: io.FileIO(_descriptor(file)))
    if kind is io.StringIO:
        return Opened(kind, lambda file: io.StringIO(text_of(file, _TEXT)))
    if kind is io.BytesIO:
        return Opened(kind, lambda file: io.BytesIO(content_of(file)))
    if kind is tempfile.SpooledTemporaryFile:
        return Opened(kind, lambda file: file.stream)
    if any(base.__module__ == "starlette.datastructures" and base.__name__ == "UploadFile" for base in _bases(kind)):
        return Upload(kind, lambda file: _starlettes(kind, file))
    return None


def _bases(kind: Any) -> tuple[type, ...]:
    return getattr(kind, "__mro__", ())


def _starlettes(kind: Any, file: FileStorage) -> Any:
    """Starlette's and FastAPI's UploadFile, for adaptors that were written for those: ``await file.read()``."""
    headers = sys.modules["starlette.datastructures"].Headers(dict(file.headers.items()))
    file.stream.seek(0)
    return kind(file=file.stream, filename=file.filename, headers=headers)


_TEXTS = (io.TextIOBase, io.TextIOWrapper, TextIO)
_STREAMS = (io.IOBase, io.BufferedIOBase, io.BufferedReader, IO, BinaryIO)
_RAW = (io.RawIOBase, io.FileIO)
