"""What a traceback alone does not say: how to get a module that is missing, how a block is written in a module."""

from __future__ import annotations

import errno
import re
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from werkzeug.datastructures import FileStorage

from owt.endpoint.source import stages

#: How Python's json, and others like it, refuse a value.
_NO_JSON = "is not JSON serializable"


def advise(error: BaseException) -> str:
    """What to do about an adaptor's failure, as lines to add to its traceback; empty if there is nothing to say."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing_module(error.name)
    if isinstance(error, TypeError) and str(error).endswith(_NO_JSON):
        return (
            "json.dumps() does not know it. Return the value itself, alone or in a dict or a list: answers are made"
            " JSON with NumPy's, pandas' and torch's values, dates, sets, Enums and dataclasses in them.\n"
        )
    if isinstance(error, NameError) and error.name and error.name in stages():
        return f"{error.name}() begins a pipeline. In a module, write pipe().{error.name}(...).\n"
    for part, text in _WORDS.get(type(error), ()):
        if part in str(error):
            return f"{text}\n"
    return _environment(error) or _written(error) or _as_it_came(error)


def advise_syntax(error: SyntaxError) -> str:
    """The same for source that is no Python, but something that often stands beside it."""
    line = (error.text or "").strip()
    for begin, text in _LINES:
        if line.startswith(begin):
            return f"{text}\n"
    for said, text in _SAID:
        if said in str(error.msg):
            return f"{text}\n"
    return ""


_LINES: tuple[tuple[str | tuple[str, ...], str], ...] = (
    ("```", "Lines of ``` mark code in a text: send what is between them."),
    (("!", "%"), "That is a notebook's, not Python's: leave it out; subprocess.run(...) runs a command."),
)
_SAID = (
    ("'return' outside function", "What a call is to do has to be in a function: def run(): ..."),
    ("'yield' outside function", "What a call is to do has to be in a function: def run(): ..."),
    ("outside async function", "Only async def may await: async def run(): ..."),
    ("outside function", "What a call is to do has to be in a function: async def run(): ..."),
)

#: What exceptions of a type say, and what to do about it.
_WORDS: dict[type[BaseException], tuple[tuple[str, str], ...]] = {
    RuntimeError: (
        ("cannot be called from a running event loop", "async def run is on an event loop already: await it."),
        ("This event loop is already running", "async def run is on an event loop already: await it."),
        (
            "There is no current event loop",
            "asyncio.run(f()) makes one; async def run(): ... has one, await f() there.",
        ),
        (
            "no running event loop",
            "What needs an event loop is made within async def run(): ..., not at the top and not in a plain function.",
        ),
        (
            "Working outside of request context",
            "A thread has no request of its own: read what it needs before it starts, and give it that.",
        ),
    ),
    EOFError: (("reading a line", "Nobody can be asked by input(): take it as an argument, def run(name): ..."),),
}


def _environment(error: BaseException) -> str:
    if not isinstance(error, KeyError) or not error.args:
        return ""
    *_, (frame, _line) = traceback.walk_tb(error.__traceback__)
    if frame.f_globals.get("__name__") != "os" or frame.f_code.co_name != "__getitem__":
        return ""
    name = error.args[0]
    return (
        f"The server's environment has no {name}: nginx hands nothing of its own on. To add it, in the server's"
        f" owt_instance: env {name}=...;\n"
    )


def _written(error: BaseException) -> str:
    """What a command had to say, which subprocess keeps to itself."""
    if not isinstance(error, subprocess.CalledProcessError) or not error.stderr:
        return ""
    text = error.stderr if isinstance(error.stderr, str) else bytes(error.stderr).decode(errors="replace")
    return f"It wrote to stderr:\n{text[-_MOST_WRITTEN:].rstrip()}\n"


_MOST_WRITTEN = 8000


# ---- arguments as they came ------------------------------------------------------------------------------------------


def _as_it_came(error: BaseException) -> str:
    """Arguments that an adaptor has taken for what no annotation has made of them."""
    if not isinstance(error, TypeError | OSError) and "bytes" not in str(error) and "null byte" not in str(error):
        return ""
    for name, value in _arguments(error.__traceback__):
        if isinstance(value, FileStorage):
            said = str(error)
            if "FileStorage" in said or getattr(error, "filename", None) == value.filename or _NO_TEXT(said):
                return (
                    f"{name} is an upload as it came. An annotation makes of it what is wanted: {name}: Path a file"
                    " with a name, str or bytes what is in it, TextIO or BinaryIO an open file, PIL.Image.Image a"
                    " picture.\n"
                )
        elif isinstance(value, str | bytes) and _is_content(error, value):
            return (
                f"{name} is what is in the file that came, not its name. {name}: Path is a name; io.StringIO({name}) or"
                f" io.BytesIO({name}) an open file.\n"
            )
    numbers = [
        f"{name}: {'int' if value.strip().lstrip('+-').isdecimal() else 'float'}"
        for name, value in _arguments(error.__traceback__)
        if isinstance(value, str) and _NUMBER(value)
    ]
    if isinstance(error, TypeError) and re.search(r"\bstr\b", str(error)) and numbers:
        return (
            "What comes as a field is text until an annotation says what it is: write"
            f" {', '.join(numbers)} among the parameters.\n"
        )
    return ""


_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.IGNORECASE).fullmatch
_NO_TEXT = re.compile(r"should return strings, not bytes|a bytes-like object is required|not 'bytes'").search


def _is_content(error: BaseException, value: str | bytes) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
        lines = "\n" in value if isinstance(value, str) else b"\n" in value
        return bool(error.filename == value) and lines
    return isinstance(error, ValueError) and "embedded null byte" in str(error) and type(value) is bytes


def _arguments(trace: TracebackType | None) -> Iterator[tuple[str, Any]]:
    """The arguments of the adaptor's first function in a traceback, as they are now."""
    for frame, _ in traceback.walk_tb(trace):
        if _is_adaptors(frame) and frame.f_code.co_name != "<module>":
            code = frame.f_code
            for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
                if name in frame.f_locals:
                    yield name, frame.f_locals[name]
            return


def _is_adaptors(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("owt.endpoint.sha256_")


def _missing_module(name: str) -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.prefix == sys.base_prefix:
        return (
            f"{name!r} is not in this server's Python {version} ({sys.prefix}, the system's own). To add it: install"
            " the system's package for it; or make a virtualenv (python3 -m venv --system-site-packages DIR),"
            " install it there, and name the virtualenv in the server's owt_instance: python_home DIR;\n"
        )
    return (
        f"{name!r} is not in this server's virtualenv {sys.prefix} (Python {version}). To add what provides it:"
        f" {Path(sys.prefix, 'bin', 'pip')} install PACKAGE; or let the adaptor do so, once:"
        " pipe().installing('PACKAGE').importing(...).\n"
    )
