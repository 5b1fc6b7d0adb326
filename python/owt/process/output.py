"""What adaptors print and log, as lines in nginx's error log with the connection's number."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import Any

from owt.process import borrowed

#: nginx's levels.
ERROR, WARN, NOTICE, INFO, DEBUG = 4, 5, 6, 7, 8

#: What a terminal that shows the log would obey: C0 but for the tab, DEL, C1.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}

#: Longer lines (in characters) come in pieces.
MAX_LINE = 8 * 1024


def _write_nowhere(level: int, connection: int, text: str) -> None:
    pass


#: Writes a line to the error log: level, connection (0 for none), text.
write_line: Callable[[int, int, str], None] = _write_nowhere

#: By level, by request (or by thread, where no call runs) and by the thread that prints: threads of a call print at the
#: same time, and nobody waits for a lock that Cancelled has left behind.
_Line = tuple[int, object, int]
#: Lines that have not ended yet.
partial: dict[_Line, str] = {}
#: When each of them was begun, or last shown (seconds of time.monotonic).
_shown: dict[_Line, float] = {}

#: By whom something is said, for those who are told: beside stdout (0) and stderr (1).
_LOGGING = 2

#: Characters of what a call has written, the last ones, that are told with its exit,
MAX_SAID = 8 * 1024
#: and the pieces that these are kept in.
MAX_PIECES = 64

#: Seconds after which a line that has not ended is shown as far as it has come, if it goes on.
PATIENCE = 2.0


def install(write: Callable[[int, int, str], None]) -> None:
    """Sends this process's stdout, stderr and log records to the error log, line by line."""
    global write_line
    write_line = write
    borrowed.install(NoInput(), LogStream(INFO, 1), LogStream(WARN, 2))
    handler = LogHandler()
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.INFO)
    logging.basicConfig = _basic_config(logging.basicConfig, handler)


def leave_to_stderr() -> None:
    """In a child that an adaptor forked, where nobody reads the server's own log: lines go to descriptor 2."""
    global write_line
    write_line = _write_to_stderr
    partial.clear()


def _write_to_stderr(level: int, connection: int, text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


def write(level: int, connection: int, text: str) -> None:
    """Writes text's lines; empty ones are left out, over-long ones cut in pieces, control characters escaped."""
    if not text.isascii():
        text = text.encode(errors="backslashreplace").decode()
    for line in text.split("\n"):
        if not line.isprintable():
            line = line.translate(_ESCAPES)
        for start in range(0, len(line), MAX_LINE):
            write_line(level, connection, line[start : start + MAX_LINE])


def end(request: object) -> None:
    """Writes what a call has printed without ending the line."""
    _end([line for line in list(partial) if line[1] is request])


def end_all() -> None:
    """Writes whatever has been printed without ending the line."""
    _end(list(partial))


def _end(lines: list[_Line]) -> None:
    for line in sorted(lines, key=_level_of):
        _shown.pop(line, None)
        rest = partial.pop(line, "")
        if rest:
            write(line[0], _connection(line[1]), _visible(rest))


def _level_of(line: _Line) -> int:
    return -line[0]


def said(request: object) -> str:
    """What a call has printed and logged, or the end of it, as a terminal would show it."""
    kept: deque[str] = vars(request).get("_said") or deque()
    text = "".join(kept.copy())[-MAX_SAID:]
    lines = [_visible(line).translate(_ESCAPES) for line in text.split("\n")]
    return "\n".join(lines).encode(errors="backslashreplace").decode()


def _keep(key: object, text: str, by: int, at_once: bool = False) -> None:
    if isinstance(key, int):
        return  # no call's
    call = getattr(key, "_call", None)
    if call is not None and call.events:
        call.say(by, text if text.isascii() else text.encode(errors="backslashreplace"), at_once)
    names = vars(key)
    kept: deque[str] = names.get("_said") or names.setdefault("_said", deque())
    kept.append(text[-MAX_SAID:])
    if len(kept) > MAX_PIECES:  # what other threads say meanwhile comes after it
        kept.appendleft("".join(_taken(kept, MAX_PIECES))[-MAX_SAID:])


def _taken(kept: deque[str], count: int) -> Iterator[str]:
    with contextlib.suppress(IndexError):
        for _ in range(count):
            yield kept.popleft()


def _key() -> object:
    request = borrowed.owner()
    return get_ident() if request is None else request


def _connection(key: object) -> int:
    call = getattr(key, "_call", None)
    return 0 if call is None else int(call.connection)


def _visible(line: str) -> str:
    """What a terminal would show of a line: a carriage return begins it anew (progress bars)."""
    line = line.rstrip("\r")
    return line[line.rfind("\r") + 1 :]


class LogStream(io.TextIOBase):
    """Text that goes to the error log. No terminal; fileno() is the real descriptor, for children."""

    def __init__(self, level: int, fd: int) -> None:
        self._level = level
        self._fd = fd
        self.buffer = _Bytes(self)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """UTF-8; what is not is written with backslashes."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """As Python's own stderr does it."""
        return "backslashreplace"

    @property
    def name(self) -> str:
        """As Python names the stream that this one stands for."""
        return "<stdout>" if self._fd == 1 else "<stderr>"

    def writable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """1 or 2, which children inherit."""
        return self._fd

    def isatty(self) -> bool:
        """False."""
        return False

    def close(self) -> None:
        """Does nothing: the process's other calls go on printing."""

    def detach(self) -> Any:
        """The bytes' side, which programs wrap anew; this one stays as it is."""
        return self.buffer

    def reconfigure(self, **_: object) -> None:
        """Does nothing: programs ask for UTF-8 or for line buffering, and have both."""

    def flush(self) -> None:
        """Who is told what the call prints gets the line as far as it has come; the log gets it when it has ended."""
        request = borrowed.owner()
        if request is not None and request._call.events:
            request._call.say(self._fd - 1, "", True)

    def write(self, text: str) -> int:
        """Takes text; whole lines go to the log at once, the rest when its line or call ends."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        key = self._level, _key(), get_ident()
        _keep(key[1], text, self._fd - 1)
        *lines, rest = (partial.pop(key, "") + text).split("\n")
        if lines:
            _shown.pop(key, None)
            connection = _connection(key[1])
            for line in lines:
                write(self._level, connection, _visible(line))
        if rest:
            if len(rest) > MAX_LINE:
                whole = len(rest) - len(rest) % MAX_LINE
                write(self._level, _connection(key[1]), _visible(rest[:whole]))
                rest = rest[whole:]
            again = rest.rfind("\r", 0, -1)
            partial[key] = rest[again + 1 :]
            now = time.monotonic()
            if now - _shown.setdefault(key, now) >= PATIENCE:
                _shown[key] = now
                write(self._level, _connection(key[1]), _visible(rest))
        return len(text)


class _Bytes(io.BufferedIOBase):
    """``sys.stdout.buffer``: bytes, taken for UTF-8."""

    def __init__(self, text: LogStream) -> None:
        self._text = text

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._text.fileno()

    def close(self) -> None:
        pass

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._text.write(bytes(view).decode(errors="backslashreplace"))
        return view.nbytes


class _NoLock:
    """Stands for a lock where none is needed, and where owt.Cancelled could strike while it is held."""

    def acquire(self, *_: object) -> bool:
        return True

    def release(self) -> None:
        pass

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *_: object) -> None:
        pass


class NoInput(io.TextIOBase):
    """``sys.stdin``: at its end from the start, and never closed."""

    def __init__(self) -> None:
        self.buffer = _NoBytes()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """UTF-8, as if there were any."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """As Python's own stdin does it."""
        return "strict"

    @property
    def name(self) -> str:
        """As Python names it."""
        return "<stdin>"

    def readable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """0, which is /dev/null."""
        return 0

    def isatty(self) -> bool:
        """False."""
        return False

    def read(self, size: int | None = -1, /) -> str:
        """Nothing."""
        return ""

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        """Nothing."""
        return ""

    def close(self) -> None:
        """Does nothing: ``exit()`` in one call is not the end of input for others."""

    def detach(self) -> Any:
        """The bytes' side."""
        return self.buffer

    def reconfigure(self, **_: object) -> None:
        """Does nothing."""


class _NoBytes(io.BufferedIOBase):
    """``sys.stdin.buffer``."""

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 0

    def isatty(self) -> bool:
        return False

    def read(self, size: int | None = -1, /) -> bytes:
        return b""

    def read1(self, size: int = -1, /) -> bytes:
        return b""

    def readinto(self, buffer: Any, /) -> int:
        return 0

    def close(self) -> None:
        pass


class LogHandler(logging.Handler):
    """Log records to nginx's error log, at the level that corresponds to theirs."""

    def createLock(self) -> None:
        """Lines need none."""
        self.lock = _NoLock()  # type: ignore[assignment]

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record's lines."""
        try:
            text = self.format(record)
            key = _key()
            _keep(key, f"{text}\n", _LOGGING)
            for line in text.split("\n"):
                write(_level(record.levelno), _connection(key), line)
        except Exception:
            self.handleError(record)


def _level(levelno: int) -> int:
    if levelno >= logging.ERROR:
        return ERROR
    if levelno >= logging.WARNING:
        return WARN
    return INFO if levelno >= logging.INFO else DEBUG


def _basic_config(original: Callable[..., None], handler: LogHandler) -> Callable[..., None]:
    """``logging.basicConfig`` that sees the root logger as unconfigured while only handler is there.

    It then sets level and format as it would have done, and the records go where they went before,
    unless the caller names another place for them.
    """

    @functools.wraps(original)
    def basic_config(**options: Any) -> None:
        root = logging.getLogger()
        if root.handlers != [handler]:
            original(**options)
            return
        if options.keys().isdisjoint(("filename", "stream", "handlers")):
            options.pop("filemode", None)
            options["handlers"] = [handler]
            handler.setFormatter(None)
        root.removeHandler(handler)
        try:
            original(**options)
        finally:
            if not root.handlers:
                root.addHandler(handler)

    return basic_config
