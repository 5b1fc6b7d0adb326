"""Files that nginx sends by itself: what an adaptor returns as a path or as an open file."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from pathlib import Path

from owt.process.refusal import Refusal


def open_path(path: Path) -> tuple[int, str]:
    """A descriptor of the file, and its name.

    Raises OSError if it cannot be opened, Refusal (500) if it is not a regular file.
    """
    # A FIFO would keep the open waiting for its other end.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise Refusal(500, "cannot-send", f"{path} cannot be sent: it is {kind}.")
    except BaseException:
        os.close(fd)
        raise
    return fd, path.name


def open_again(value: object) -> tuple[int, str] | None:
    """A descriptor of the regular file that value has open, and its name; None if it has none.

    What was written to it is flushed. ValueError if it is closed.
    """
    file = getattr(value, "file", None) if _is_temporary(value) else value
    if isinstance(file, tempfile.SpooledTemporaryFile):
        file.rollover()
        file = file._file  # type: ignore[attr-defined]
    raw = file.buffer if isinstance(file, io.TextIOWrapper) else file
    if isinstance(raw, io.BufferedReader | io.BufferedWriter | io.BufferedRandom):
        raw = raw.raw
    if not isinstance(raw, io.FileIO) or not isinstance(file, io.IOBase):
        return None
    if file.writable():
        file.flush()
    if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        return None
    name = Path(raw.name).name if isinstance(raw.name, str) else ""
    return _reopen(raw.fileno()), name


def _is_temporary(value: object) -> bool:
    return isinstance(value, tempfile._TemporaryFileWrapper)


def _reopen(fd: int) -> int:
    """A descriptor for reading, also where the file was opened for writing only."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return os.dup(fd)
