"""Blocks that read files."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import Any

from owt.summat.adaptor import Adaptor, DropKWs, Result, show
from owt.summat.values import kind


class Open(Adaptor[io.BytesIO]):
    """``open(root_dir)``: the contents of the file that the value names (text, bytes or a path), as BytesIO.

    Without root_dir any file, relative names from the working directory. With it the name is relative
    to root_dir, and nothing outside is read: not by ``..``, an absolute name or a symbolic link
    (PermissionError). OSError if the file cannot be read or is no regular file.
    """

    def __init__(self, root_dir: str | os.PathLike[str] | None = None) -> None:
        self.root_dir = None if root_dir is None else os.fspath(root_dir)

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        if not isinstance(__last__, str | bytes | os.PathLike):
            raise TypeError(f"open() needs a file's name, not {kind(__last__)}")
        return DropKWs(io.BytesIO(self._read(os.fsdecode(__last__))))

    def _read(self, name: str) -> bytes:
        from werkzeug.security import safe_join

        path = name if self.root_dir is None else safe_join(self.root_dir, name)
        if path is None:
            raise self._outside(name)
        # Not blocking: opening a fifo would wait for whoever writes to it.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            # Where the file is that has been opened, whatever links the name went through.
            real = Path(f"/proc/self/fd/{fd}").readlink()
            if self.root_dir is not None and not real.is_relative_to(os.path.realpath(self.root_dir)):
                raise self._outside(name)
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", name)
            with os.fdopen(fd, "rb", closefd=False) as file:
                return self._contents(file, name)
        finally:
            os.close(fd)

    def _contents(self, file: io.BufferedReader, name: str) -> bytes:
        try:
            return file.read()
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from None  # it did not say of which file

    def _outside(self, name: str) -> PermissionError:
        return PermissionError(errno.EACCES, f"outside of {self.root_dir}", name)

    def __repr__(self) -> str:
        return "open()" if self.root_dir is None else f"open({show(self.root_dir)})"
