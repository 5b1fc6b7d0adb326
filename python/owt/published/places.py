"""Where what is published lies: the locations' directories and files, and what in them may be called.

A name is a path below a directory without its ``.py``, of parts that do not begin with ``.`` or ``_`` and have
letters, digits, ``_``, ``-`` and ``.`` alone, or what is not ASCII. Directories behind symbolic links have no names; a
link to a file has one if the file lies in the directory too.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".py"

#: What tells that a file has changed: its device, number, size and times.
Signature = tuple[int, int, int, int, int]

_part = re.compile(r"(?![._])[A-Za-z0-9_.\-\u0080-\ud7ff\ue000-\U0010ffff]+")


class Place(NamedTuple):
    """What a location publishes, as the configuration says it; see src/call/publication.hpp."""

    kind: str
    path: str
    function: str
    prefix: str
    lazy: bool
    runs_code: bool


def is_name(name: str) -> bool:
    """Whether something may be published under this name."""
    return all(_part.fullmatch(part) for part in name.split("/"))


def path_of(root: str, name: str) -> str:
    """Where what is called name lies, or would lie."""
    return f"{root.rstrip('/')}/{name}{SUFFIX}"


def name_in(root: str, path: str) -> str | None:
    """What the file at path is called among those of root; None if it can have no name there."""
    start = root.rstrip("/") + "/"
    if not path.startswith(start) or not path.endswith(SUFFIX):
        return None
    name = path[len(start) : -len(SUFFIX)]
    return name if is_name(name) else None


def look(path: str, root: str | None = None) -> Signature | None:
    """The signature of the file at path; None if there is no regular file, or it lies outside of root."""
    try:
        if root is not None:
            real = os.path.realpath(root)
            below = os.path.relpath(os.path.dirname(path), root)  # noqa: PTH120 - as text, nothing looked up
            if os.path.realpath(os.path.dirname(path)) != os.path.normpath(os.path.join(real, below)):  # noqa: PTH118, PTH120
                return None
            if not _is_below(path, real):
                return None
        return _signature(Path(path).stat())
    except (OSError, ValueError):
        return None


def scan(root: str) -> dict[str, Signature]:
    """All files that root publishes, by their paths."""
    found: dict[str, Signature] = {}
    real = os.path.realpath(root)
    directories = [root.rstrip("/") or "/"]
    while directories:
        directory = directories.pop()
        try:
            with os.scandir(directory) as entries:
                listed = list(entries)
        except OSError:
            continue
        for entry in listed:
            if not _part.fullmatch(entry.name):
                continue
            path = f"{directory.rstrip('/')}/{entry.name}"
            try:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(path)
                elif entry.name.endswith(SUFFIX) and (not entry.is_symlink() or _is_below(path, real)):
                    signature = _signature(entry.stat())
                    if signature is not None and entry.name != SUFFIX:
                        found[path] = signature
            except OSError:
                continue
    return dict(sorted(found.items()))


def read(path: str) -> tuple[bytes, Signature]:
    """A regular file's content, and its signature before it was read. Raises OSError."""
    # Opened so that nothing but a regular file holds anybody up.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        signature = _signature(os.fstat(fd))
        if signature is None:
            raise FileNotFoundError(2, "it is no file", path)
        return file.read(), signature


def written_at(signature: Signature) -> float:
    """When the file was last written, in seconds since the epoch."""
    return signature[3] / 1e9


def _is_below(path: str, real_root: str) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(real_root)


def _signature(found: os.stat_result) -> Signature | None:
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
