"""What an error alone does not say: how to get a module that is missing, that an argument came as text, that code was
not sent as it was meant.
"""

from __future__ import annotations

import json
import linecache
import os
import re
import shutil
import sys
from pathlib import Path
from traceback import walk_tb
from types import FrameType

from owt import endpoint
from owt.endpoint.source import stages

#: How Python's json, and others like it, refuse a value.
_NO_JSON = "is not JSON serializable"
#: How input() fails.
_NO_INPUT = "EOF when reading a line"
#: Where modules may lie that are no packages.
_OWN = " Modules of your own are found by python_path DIR; in the server's owt_instance."
#: A source that is the name of a file, perhaps with curl's @ or < before it; and no longer than that.
_FILE = re.compile(r"\s*[@<]?((?:[A-Za-z]:)?[\w.~/\\-]+\.py)\s*")
_MAX_NAME = 1024
#: What no encoder leaves in a form; and what means something else there.
_NEVER_ENCODED = re.compile(rb'[ \n":{}\[\]]')
_CHANGED = re.compile(rb"[+&%]")
#: What is asked of files that are open.
_OF_FILES = frozenset(("filename", "read", "readline", "readlines", "save", "stream"))
#: So long may text be that is looked at for what it could mean; so much of it is shown.
_MAX_TEXT = 10_000
_SHOWN = 40


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
    if isinstance(error, NameError):
        return _file_meant(error)
    if isinstance(error, FileNotFoundError):
        return _missing_file(error)
    if isinstance(error, EOFError) and str(error) == _NO_INPUT:
        return "Nobody types where the server runs: let run take an argument, and send it as a field.\n"
    if isinstance(error, TypeError | AttributeError) and "str" in str(error):
        return _came_as_text(error)
    return ""


def of_sending(source: str, form: bytes) -> str:
    """How a source that is not Python should have been sent, as a line to add to its error; empty if that is fine.

    form is the urlencoded form or query that it came in, as it came; empty if it came otherwise.
    """
    if found := _FILE.fullmatch(source, endpos=_MAX_NAME):
        return _send_file(found[1])
    if _NEVER_ENCODED.search(form) and _CHANGED.search(form):
        return (
            "It was not encoded: in such a form, or a query, + is a space, & begins the next field, and % an escape."
            " curl encodes what comes after --data-urlencode; --form-string sends text as it is.\n"
        )
    return ""


def _missing_module(name: str) -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.prefix == sys.base_prefix:
        return (
            f"{name!r} is not in this server's Python {version} ({sys.prefix}, the system's own). To add it: install"
            " the system's package for it; or make a virtualenv (python3 -m venv --system-site-packages DIR),"
            " install it there, and start the server with it: python_home DIR; in its owt_instance, or"
            f" owt-server --venv DIR.{_OWN}\n"
        )
    return (
        f"{name!r} is not in this server's virtualenv {sys.prefix} (Python {version}). To add what provides it:"
        f" {Path(sys.prefix, 'bin', 'pip')} install PACKAGE; or let the adaptor do so, once:"
        f" pipe().installing('PACKAGE').importing(...).{_OWN}\n"
    )


def _send_file(name: str) -> str:
    return f"The code is the name of a file, not what is in it. With an @ curl sends that: -F code=@{name}\n"


def _file_meant(error: NameError) -> str:
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    if not frames or frames[-1].f_code.co_name != "<module>":
        return ""
    found = _FILE.fullmatch("".join(linecache.getlines(frames[-1].f_code.co_filename)), endpos=_MAX_NAME)
    return _send_file(found[1]) if found else ""


def _missing_file(error: FileNotFoundError) -> str:
    name = error.filename
    if not isinstance(name, str) or not name or Path(name).is_absolute():
        return ""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    starting = [frame for frame in frames if frame.f_globals.get("__name__") == "subprocess"]
    if starting:
        # It may be the directory that was to be its own.
        if "/" in name or starting[-1].f_locals.get("cwd") == name or shutil.which(name):
            return ""
        return f"There is no program {name!r} in the PATH of this server ({os.environ.get('PATH', '')}).\n"
    return (
        f"It was looked for in {Path.cwd()}, where the server runs. Send the file along, -F file=@{name} for"
        " def run(file: Path), or write its whole path.\n"
    )


def _came_as_text(error: TypeError | AttributeError) -> str:
    for frame, _ in walk_tb(error.__traceback__):
        for name, value in _plain_texts(frame):
            if isinstance(error, AttributeError) and error.obj is value and error.name in _OF_FILES:
                return f"{name} came as text, {_short(value)}. A file is sent with an @: -F {name}=@PATH\n"
            if kind := _meant(value):
                return (
                    f"{name} came as text, {_short(value)}, as fields do unless an annotation says what they are:"
                    f" def run({name}: {kind}).\n"
                )
    return ""


def _plain_texts(frame: FrameType) -> list[tuple[str, str]]:
    """The arguments that are text, and not said to be, if this is the frame of an endpoint's function."""
    code, names = frame.f_code, frame.f_globals
    function = names.get("run" if code.co_name == "<lambda>" else code.co_name)
    if not str(names.get("__name__")).startswith(endpoint.PREFIX) or getattr(function, "__code__", None) is not code:
        return []
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    values = [(name, frame.f_locals.get(name)) for name in arguments if name not in function.__annotations__]
    return [(name, value) for name, value in values if isinstance(value, str)]


def _meant(text: str) -> str:
    """The type of what text is as JSON: ``int`` of ``3``. Empty if that is text too, or nothing."""
    try:
        value = json.loads(text) if len(text) <= _MAX_TEXT else None
    except (ValueError, RecursionError):
        return ""
    return type(value).__name__ if isinstance(value, int | float | list | dict) else ""


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
