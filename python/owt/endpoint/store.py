"""The sources in owt_dir: written once, checked whenever trusted, pruned by age and size."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Container
from pathlib import Path

from owt.endpoint import directory, path_of
from owt.process.refusal import SHORT_OF_DESCRIPTORS, Refusal, no_descriptors

#: A source that has not been loaded for so long (seconds) is removed,
MAX_AGE = 30 * 24 * 3600
#: and the oldest ones while all, with their compiled code, are larger than this (bytes).
MAX_SIZE = 256 << 20
#: At most so often (seconds) does a process look for sources to remove.
PRUNE_PAUSE = 60
#: A load is noted in the file's access time, but not twice within so long (seconds).
TOUCH_PAUSE = 3600

_prune_lock = threading.Lock()
_pruned_at = -float(PRUNE_PAUSE)
_file = re.compile(r"sha256_([0-9a-f]{64})\.(?:py|.*\.pyc)")
_temporary = ".new-"


def keep(code_id: str, source: bytes, loaded: Container[str] = ()) -> None:
    """Sees to it that the source's file is there and whole. loaded are ids that pruning spares.

    Raises Refusal (500) if it cannot be written.
    """
    path = Path(path_of(code_id))
    try:
        if _read(path) == source:
            _touch(path)
            return
        # A damaged file is replaced, never missing: others may be about to import it.
        _remove_compiled(path)
        _write(path, source)
    except OSError as error:
        if error.errno in SHORT_OF_DESCRIPTORS:
            raise no_descriptors() from None
        raise Refusal(
            500,
            "cannot-store",
            f"The adaptor cannot be stored as {path}: {error.strerror or error}. The server needs room"
            f" and permission to write in {directory()}, which the directive owt_dir names.",
        ) from None
    prune(loaded)


def require(code_id: str) -> None:
    """Raises Refusal (404) unless the source with this id is there. A damaged file is removed."""
    path = Path(path_of(code_id))
    try:
        source = _read(path)
    except OSError as error:
        if error.errno in SHORT_OF_DESCRIPTORS:
            raise no_descriptors() from None
        raise Refusal(
            500,
            "cannot-read",
            f"The adaptor's file {path} cannot be read: {error.strerror or error}."
            " The directive owt_dir names its directory.",
        ) from None
    if source is not None:
        if hashlib.sha256(source).hexdigest() == code_id:
            _touch(path)
            return
        _remove(code_id)
    raise Refusal(
        404,
        "code-not-found",
        f"The server does not have the code sha256:{code_id} (any more): send the code itself,"
        " as code or code_b64, once; then its code_id works.",
    )


def prune(loaded: Container[str] = ()) -> None:
    """Removes what is too old or too much, unless that has just been done. Never fails."""
    global _pruned_at
    with _prune_lock:
        if time.monotonic() - _pruned_at < PRUNE_PAUSE:
            return
        _pruned_at = time.monotonic()
    now = time.time()
    sources: dict[str, tuple[float, int]] = {}
    compiled: dict[str, int] = {}
    for entry in _entries():
        try:
            stat = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        match = _file.fullmatch(entry.name)
        if match is None:
            if entry.name.startswith(_temporary) and now - stat.st_mtime > TOUCH_PAUSE:
                _unlink(Path(entry.path))
        elif entry.name.endswith(".py"):
            sources[match[1]] = max(stat.st_atime, stat.st_mtime), stat.st_size
        else:
            compiled[match[1]] = compiled.get(match[1], 0) + stat.st_size
    total = sum(size for _, size in sources.values()) + sum(compiled.values())
    for code_id, (used, size) in sorted(sources.items(), key=lambda item: item[1]):
        if now - used < MAX_AGE and total <= MAX_SIZE:
            break
        if code_id not in loaded:
            _remove(code_id)
            total -= size + compiled.get(code_id, 0)
    for code_id in compiled.keys() - sources.keys():
        _remove(code_id)


def _entries() -> list[os.DirEntry[str]]:
    entries = []
    # Sources last: what has been compiled from one that came meanwhile is not mistaken for an orphan's.
    for folder in (Path(directory()) / "__pycache__", Path(directory())):
        with contextlib.suppress(OSError), os.scandir(folder) as found:
            entries += list(found)
    return entries


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, source: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=_temporary, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(source)
        temporary.replace(path)
    except BaseException:
        _unlink(temporary)
        raise


def _touch(path: Path) -> None:
    """Notes the use in the access time: the modification time says whether compiled code is current."""
    with contextlib.suppress(OSError):
        stat = path.stat()
        now = time.time_ns()
        if now - stat.st_atime_ns > TOUCH_PAUSE * 1_000_000_000:
            os.utime(path, ns=(now, stat.st_mtime_ns))


def _remove(code_id: str) -> None:
    """Removes a source and what was compiled from it, as far as they are there."""
    path = Path(path_of(code_id))
    _unlink(path)
    _remove_compiled(path)


def _remove_compiled(path: Path) -> None:
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        _unlink(compiled)


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
