"""The published files that this process has loaded: loaded at the start or by their first call, loaded anew when they
change, withdrawn when they go.

A file that has changed is a new endpoint. Until that is loaded the old one answers, and if it cannot be loaded the
old one goes on to; the error log says so, once for each change. Calls that run in an old one end there.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import _owt

from owt import endpoint
from owt.endpoint import files, loaded, loading, store
from owt.process import borrowed, failure, memory, output
from owt.process.refusal import Refusal, is_short_of_descriptors, no_descriptors
from owt.published import places
from owt.published.places import Place, Signature

if TYPE_CHECKING:
    from _owt import Call

#: At most so often (seconds) is it looked whether files have changed.
PAUSE = 1.0
#: What was written less than so long ago (seconds), or is not there, may be about to be written.
SETTLE = 0.2
#: So many changed files are loaded at the same time.
LOADERS = 4

#: What callers hear who may not see why.
HIDDEN = "The function cannot be loaded. Error id {}: why stands in the server's error log."
NOT_PUBLISHED = "No function is published under this name."


@dataclass(slots=True, eq=False)
class File:
    """A file that is published, or was, and how it stands here."""

    path: str
    #: The directory that publishes it, which it must not leave; None if it is named itself.
    root: str | None
    functions: set[str]
    lazy: bool
    #: As it was when it was last loaded, or could not be.
    seen: Signature | None = None
    #: It could not be loaded as it was then.
    failed: Signature | None = None
    version: str = ""


_files: dict[str, File] = {}
#: The directories, and whether what they publish is lazy.
_roots: dict[str, bool] = {}
_missing: set[str] = set()
_retired: list[loaded.Endpoint] = []
_waiting: deque[File] = deque()
_queued: set[str] = set()
_loaders = 0
_lock = threading.Lock()


def publish(published: Iterable[Place]) -> None:
    """Loads what is published, but for what is lazy, and looks after it from now on. What fails is logged. Once."""
    loaded.load_file = _load_for
    loaded.discard_file = _discarded
    for place in published:
        if place.kind == "file":
            file = _files.setdefault(place.path, File(place.path, None, set(), place.lazy))
            file.functions.add(place.function)
            file.lazy = file.lazy and place.lazy
        elif place.path:
            _roots[place.path] = _roots.get(place.path, True) and place.lazy
    for root in _roots:
        for path in places.scan(root):
            _known(path, root)
    for file in list(_files.values()):
        if not file.lazy:
            _apart(partial(_renew, file, settle=False))
    Context().run(threading.Thread(target=_watch, name="owt-published", daemon=True).start)


def load(path: str) -> loaded.Endpoint:
    """The endpoint of a published file, loaded if it is not. Raises Refusal (404) if nothing is published at path, and
    whatever loading it raises.
    """
    return loaded.found_or_loaded(path, lambda: _load(_find(path)), path)


def has_failed(path: str) -> bool:
    """Whether the file could not be loaded, and has not changed since."""
    file = _files.get(path)
    return file is not None and file.failed is not None and file.failed == places.look(path, file.root)


# ---- one file


def _known(path: str, root: str) -> File:
    lazy = _roots[root]
    with _lock:
        file = _files.setdefault(path, File(path, root, {"run"}, lazy))
        file.lazy = file.lazy and lazy
    return file


def _find(path: str) -> File:
    """The file, if it is published. Raises Refusal (404)."""
    file = _files.get(path)
    if file is None:
        root = max((root for root in _roots if places.name_in(root, path) is not None), key=len, default=None)
        if root is None or places.look(path, root) is None:
            raise _not_published()
        file = _known(path, root)
    if places.look(path, file.root) is None:
        raise _not_published()
    return file


def _not_published() -> Refusal:
    return Refusal(404, "not-published", NOT_PUBLISHED)


def _load_for(call: Call, path: str) -> loaded.Endpoint:
    """Loads a file that a call asks for, whose load the calling thread has claimed. ``loaded.load_file``."""
    file = _find(path)
    try:
        return _load(file)
    except FileNotFoundError:
        raise _not_published() from None
    except Refusal as refusal:
        raise Refusal(500, "not-loaded", refusal.detail) from None
    except (SyntaxError, OSError) as error:
        if is_short_of_descriptors(error):
            raise no_descriptors() from None
        if _is_in(error, path):
            raise  # of the source's own
        text = failure.log(call, error, path, HIDDEN)
        raise Refusal(500, "not-loaded", text) from None


def _is_in(error: BaseException, path: str) -> bool:
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            return True
        trace = trace.tb_next
    return False


def _load(file: File) -> loaded.Endpoint:
    """Loads the file as it is now, and has that answer. The calling thread has claimed it.

    Raises whatever loading it raises.
    """
    source, file.seen = places.read(file.path)
    version = files.version_of(source)
    there = loaded.endpoints.get(file.path)
    if there is not None and version == file.version:
        return there  # it has been touched
    with suppress(Refusal):  # only the processes that it starts might want it
        store.keep(version, source, loaded.endpoints)
    file.failed = file.seen
    module, imported_flask = files.load(file.path, source)
    made = loaded.Endpoint(module, source, imported_flask, path=file.path, stays=not file.lazy)
    try:
        for function in file.functions:
            made.function(function)
    except BaseException:
        files.discard(module)
        raise
    file.failed = None
    _replace(file, made, version)
    return made


def _replace(file: File, made: loaded.Endpoint, version: str) -> None:
    """Calls that come from now on go to what has just been loaded."""
    old = loaded.endpoints.get(file.path)
    _owt.changes(file.path)
    file.version = version
    loaded.take_in(made)
    _announce(made)
    _owt.answers(file.path, version)
    if old is not None:
        _retired.append(old)


def _announce(made: loaded.Endpoint) -> None:
    """Which of the file's functions are asynchronous may be others now."""
    _owt.replaced(made.code_id)
    for name, function in list(made.functions.items()):
        if function.asynchronous:
            loaded.announce(made.code_id, name)


def _withdraw(file: File) -> None:
    """The file has gone, and so does what answers in its name."""
    gone = loaded.endpoints.get(file.path)
    file.seen, file.version = None, ""
    _owt.changes(file.path)
    loaded.withdraw(file.path)
    _owt.forget(file.path)
    if gone is not None:
        _retired.append(gone)
        output.write(output.NOTICE, 0, f"{file.path} has gone, and is not published any more")


def _discarded(gone: loaded.Endpoint) -> None:
    """A lazy file's endpoint has made room for others. ``loaded.discard_file``."""
    _owt.changes(gone.path)
    _owt.forget(gone.path)
    assert gone.module is not None
    files.discard(gone.module)
    file = _files.get(gone.path)
    if file is not None:
        file.version = ""


# ---- what changes


def _watch() -> None:
    while True:
        time.sleep(PAUSE)
        try:
            _look()
            _drop_retired()
        except Exception as error:
            output.write(output.ERROR, 0, f"looking after what is published failed: {failure.describe(error, '')}")


def _look() -> None:
    """Has loaded anew what has changed since the last look, loads what has come, withdraws what has gone."""
    found: dict[str, Signature] = {}
    away = {root for root in _roots if not _is_there(root)}
    for root in _roots.keys() - away:
        for path, signature in places.scan(root).items():
            found[path] = signature
            _known(path, root)
    missing: list[File] = []
    for file in list(_files.values()):
        if file.root in away:
            continue  # whose directory is about to be put there anew, or its file system to be mounted
        now = found.get(file.path) if file.root is not None else places.look(file.path)
        if now is None:
            missing.append(file)
        elif now != file.seen and not (file.lazy and file.path not in loaded.endpoints):
            _renew_soon(file)
    if missing:
        time.sleep(SETTLE)  # some editors put the new one there when the old one has gone
        for file in missing:
            if places.look(file.path, file.root) is None:
                _withdraw(file)
                if file.root is not None:
                    _files.pop(file.path, None)  # what the configuration names may come back


def _is_there(root: str) -> bool:
    there = Path(root).is_dir()
    if there:
        _missing.discard(root)
    elif root not in _missing:
        _missing.add(root)
        output.write(output.ERROR, 0, f"{root} is not there: what it has published goes on to answer")
    return there


def _renew_soon(file: File) -> None:
    global _loaders
    with _lock:
        if file.path in _queued:
            return
        _queued.add(file.path)
        _waiting.append(file)
        if _loaders >= LOADERS:
            return
        _loaders += 1
    try:
        Context().run(threading.Thread(target=_work, name="owt-loader", daemon=True).start)
    except RuntimeError:  # the system gives none: at the next look
        with _lock:
            _loaders -= 1
            _waiting.clear()
            _queued.clear()


def _work() -> None:
    global _loaders
    while True:
        with _lock:
            if not _waiting:
                _loaders -= 1
                return
            file = _waiting.popleft()
        try:
            _apart(partial(_renew, file, settle=True))
        finally:
            with _lock:
                _queued.discard(file.path)


def _apart(work: Callable[[], None]) -> None:
    """Runs work to its end on a thread of its own, as what a source changes of its thread is nobody else's."""

    def run() -> None:
        if _owt.part_directory():
            borrowed.apart()
        work()

    thread = threading.Thread(target=run, name="owt-load", daemon=True)
    Context().run(thread.start)
    thread.join()


def _renew(file: File, *, settle: bool) -> None:
    """Loads what the file has become, if it can be loaded; else says so in the error log."""
    now = places.look(file.path, file.root)
    while settle and now is not None and 0 <= (age := time.time() - places.written_at(now)) < SETTLE:
        time.sleep(SETTLE - age)
        now = places.look(file.path, file.root)
    file.seen = now
    lines = files.lines_of(file.path)
    with loading.Claim(endpoint.PREFIX + file.path) as other:
        if other is not None:
            return  # a call has come before
        before = file.path in loaded.endpoints
        try:
            _load(file)
        except FileNotFoundError:
            return  # the next look says so
        except BaseException as error:
            _say(file, error, before)
            files.show_lines(file.path, lines)


def _say(file: File, error: BaseException, before: bool) -> None:
    then = "what it was before goes on to answer" if before else "its calls fail"
    output.write(output.ERROR, 0, f"{file.path} cannot be loaded, {then}:")
    text = error.detail if isinstance(error, Refusal) else failure.describe(error, file.path)
    for line in text.split("\n"):
        if line:
            output.write(output.ERROR, 0, line)


def _drop_retired() -> None:
    if not _retired:
        return
    idle = loaded.idle_among(_retired)
    for one in idle:
        _retired.remove(one)
        assert one.module is not None
        files.discard(one.module)
    if idle:
        del one
        idle.clear()
        memory.collect()
