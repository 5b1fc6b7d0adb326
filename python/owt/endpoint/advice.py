"""What an error alone does not say: how to get a module that is missing, that an argument came as text, that code was
not sent as it was meant.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import linecache
import os
import re
import shlex
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType, TracebackType
from typing import Any

from werkzeug.datastructures import FileStorage

from owt import endpoint
from owt.endpoint.source import stages
from owt.process import installed

#: How Python's json, and others like it, refuse a value.
_NO_JSON = "is not JSON serializable"
#: How Python refuses a relative import where there is no package.
_IS_RELATIVE = "attempted relative import"
#: What is there in notebooks alone.
_OF_NOTEBOOKS = {"get_ipython": "leave the line out.", "display": "return what is to be shown."}
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
    if isinstance(error, ImportError | AttributeError) and (said := _replaced(error)):
        return said
    if isinstance(error, ImportError) and _IS_RELATIVE in str(error):
        return _relative_import(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _beside(error) or _missing_module(error.name)
    if isinstance(error, TypeError) and str(error).endswith(_NO_JSON):
        return (
            "json.dumps() does not know it. Return the value itself, alone or in a dict or a list: answers are made"
            " JSON with NumPy's, pandas' and torch's values, dates, sets, Enums and dataclasses in them.\n"
        )
    if isinstance(error, NameError) and error.name and error.name in stages():
        return f"{error.name}() begins a pipeline. In a module, write pipe().{error.name}(...).\n"
    if isinstance(error, NameError) and error.name in _OF_NOTEBOOKS:
        return f"{error.name}() is a notebook's, and not there elsewhere: {_OF_NOTEBOOKS[error.name]}\n"
    if isinstance(error, NameError):
        return _file_meant(error)
    for part, text in _WORDS.get(type(error), ()):
        if part in str(error):
            return f"{text}\n"
    if isinstance(error, TypeError | AttributeError) and "str" in str(error) and (said := _came_as_text(error)):
        return said
    return _environment(error) or _written(error) + _not_found(error) or _as_it_came(error) or _missing_file(error)


def of_preload(error: ModuleNotFoundError) -> str:
    """Where what is to be imported before the first call may come from; empty if there is nothing to say."""
    return _missing_module(error.name, of_adaptor=False).rstrip() if error.name else ""


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

_PICKLED = (
    "It was pickled by a program that defined it itself. Put it into a module that both import; or define it here, and"
    " say before it is read: import __main__; __main__.NAME = NAME"
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
            "A thread has no request of its own: read what it needs before it starts, and give it that. What is batched"
            " takes a list of them, as its first parameter, requests.",
        ),
    ),
    AttributeError: (
        ("on <module '__main__'", _PICKLED),
        ("module '__main__' has no attribute", _PICKLED),  # CPython 3.14
    ),
    EOFError: (
        (
            "reading a line",
            "Nobody types where the server runs: let run take an argument, def run(name), and send it as a field.",
        ),
    ),
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


def _not_found(error: BaseException) -> str:
    """What a shell had no program for. dash says it in other words than bash."""
    if getattr(error, "returncode", 0) != _NO_PROGRAM:
        return ""
    said = getattr(error, "stderr", None) or getattr(error, "stdout", None) or b""
    text = said if isinstance(said, str) else bytes(said).decode(errors="replace")
    found = re.search(r"^[\w/]+: (?:(?:line )?\d+: )?([^\s/:]+): (?:command )?not found$", text, re.MULTILINE)
    if found is None or shutil.which(found[1]):
        return ""
    return _missing_program(found[1])


#: A shell's status.
_NO_PROGRAM = 127


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
    return ""


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
            for name in _names(frame):
                if name in frame.f_locals:
                    yield name, frame.f_locals[name]
            return


def _is_adaptors(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith((endpoint.PREFIX, endpoint.FILE_PREFIX))


def _names(frame: FrameType) -> tuple[str, ...]:
    """Of the arguments."""
    code = frame.f_code
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _missing_module(name: str, of_adaptor: bool = True) -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.prefix == sys.base_prefix and sys.prefix == "/usr":
        return (
            f"{name!r} is not in this server's Python {version} ({sys.prefix}, the system's own). To add it: install"
            " the system's package for it; or make a virtualenv (python3 -m venv --system-site-packages DIR),"
            " install it there, and start the server with it: python_home DIR; in its owt_instance, or"
            f" owt-server --venv DIR.{_OWN}\n"
        )
    if sys.prefix == sys.base_prefix:
        return (
            f"{name!r} is not in this server's Python {version} ({sys.prefix}). To add what provides it:"
            f" {_installs()} PACKAGE.{_linked()}{_OWN}\n"
        )
    missing = f"{name!r} is not in this server's virtualenv {sys.prefix} (Python {version})"
    if installed.is_another_pythons():
        return f"{missing}, which has been made again with another Python since. For that one, {installed.RELOAD}.\n"
    itself = "; or let the adaptor do so, once: pipe().installing('PACKAGE').importing(...)" if of_adaptor else ""
    return f"{missing}. To add what provides it: {_installs()} PACKAGE{itself}.{_linked()}{_OWN}\n"


def _linked() -> str:
    """That what is missing may have come by a file which Python reads when it starts."""
    links = ", ".join(path.name for path in installed.new_path_files())
    return (
        f" If `pip install -e` has brought it since this process began ({links}), {installed.RELOAD}." if links else ""
    )


def _installs() -> str:
    """The command that brings packages into this Python. uv makes virtualenvs without pip; and one that has been moved
    or copied has a bin/pip of the one before.
    """
    if importlib.util.find_spec("pip"):
        return f"{shlex.quote(sys.executable)} -m pip install"
    return f"uv pip install --python {shlex.quote(sys.prefix)}"


def _replaced(error: ImportError | AttributeError) -> str:
    """That a package has been upgraded meanwhile, of which this process has the old one, or parts of both."""
    names = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    if error.name and isinstance(error, ImportError):
        names.append(error.name)
    elif isinstance(error, AttributeError):
        names.append(error.obj.__name__ if isinstance(error.obj, ModuleType) else type(error.obj).__module__)
    said = installed.replaced({name.partition(".")[0] for name in names})
    return f"{said}\n" if said else ""


def _word(text: str) -> str:
    """As nginx reads it in its configuration."""
    return text if _PLAIN.fullmatch(text) else '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


_PLAIN = re.compile(r"[^\s;{}\"'\\#$]+")


def _relative_import(error: ImportError) -> str:
    """What to write in an adaptor, which is part of no package; a package's own modules know better."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if _is_adaptors(frame)]
    if not frames:
        return ""
    frame, line = frames[-1]
    home, package = _home_of(frame)
    found = _RELATIVE.fullmatch(linecache.getline(frame.f_code.co_filename, line).strip())
    written = ""
    if found is not None:
        above = package[: len(package) - len(found[1]) + 1]
        module = ".".join([*above, found[2]] if found[2] else above)
        written = f": from {module} import {found[3]}" if module else f": import {found[3]}"
    return (
        "An adaptor, and what is published, is part of no package: write the module's whole name"
        f"{written}. It is found by python_path {_word(str(home))}; in the server's owt_instance.\n"
    )


_RELATIVE = re.compile(r"from\s+(\.+)\s*([\w.]+)?\s*\bimport (.+)")


def _home_of(frame: FrameType) -> tuple[str, list[str]]:
    """The directory in which an adaptor, or the package that it lies in, would be found, and that package's names."""
    if not _has_place(frame):
        return "DIR", []
    home = Path(frame.f_code.co_filename).parent
    package: list[str] = []
    while (home / "__init__.py").is_file():
        package.insert(0, home.name)
        home = home.parent
    return str(home), package


def _has_place(frame: FrameType) -> bool:
    """Whether its file lies where somebody has put it."""
    return str(frame.f_globals.get("__name__")).startswith(endpoint.FILE_PREFIX)


def _beside(error: ModuleNotFoundError) -> str:
    """Where a module is that lies beside the file that wants it; Python does not look there by itself."""
    name = str(error.name)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if _is_adaptors(frame)]
    if not frames or not _has_place(frames[-1]):
        return ""
    home = Path(frames[-1].f_code.co_filename).parent
    if not (home / f"{name}.py").is_file() and not (home / name).is_dir():
        return ""
    return (
        f"{name}{'.py' if (home / f'{name}.py').is_file() else ''} lies beside the file, where Python does not look by"
        f" itself. It is found by python_path {_word(str(home))}; in the server's owt_instance.\n"
    )


def _send_file(name: str) -> str:
    return f"The code is the name of a file, not what is in it. With an @ curl sends that: -F code=@{name}\n"


def _file_meant(error: NameError) -> str:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not frames or frames[-1].f_code.co_name != "<module>":
        return ""
    found = _FILE.fullmatch("".join(linecache.getlines(frames[-1].f_code.co_filename)), endpos=_MAX_NAME)
    return _send_file(found[1]) if found else ""


def _missing_file(error: BaseException) -> str:
    name = error.filename if isinstance(error, FileNotFoundError) else None
    if not isinstance(name, str) or not name or Path(name).is_absolute():
        return ""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    starting = [frame for frame in frames if frame.f_globals.get("__name__") == "subprocess"]
    if starting:
        # It may be the directory that was to be its own.
        if "/" in name or starting[-1].f_locals.get("cwd") == name or shutil.which(name):
            return ""
        return _missing_program(name)
    return (
        f"It was looked for in {Path.cwd()}, where the server runs. Send the file along, -F file=@{name} for"
        " def run(file: Path), or write its whole path.\n"
    )


def _missing_program(name: str) -> str:
    path = os.environ.get("PATH", os.defpath)
    own = Path(sys.prefix, "bin", name)
    where = f" It is {own}: write that, or" if own.is_file() else " To add a directory:"
    first = own.parent if own.is_file() else "DIR"
    return (
        f"There is no program {name!r} in the PATH of this server ({path}).{where} env"
        f" {_word(f'PATH={first}:{path}')}; in the server's owt_instance.\n"
    )


def _came_as_text(error: TypeError | AttributeError) -> str:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        texts = _plain_texts(frame)
        for name, value in texts:
            if isinstance(error, AttributeError) and error.obj is value and error.name in _OF_FILES:
                return f"{name} came as text, {_short(value)}. A file is sent with an @: -F {name}=@PATH\n"
        if meant := [(name, _short(value), kind) for name, value in texts if (kind := _meant(value))]:
            came = "; ".join(f"{name} came as text, {value}" for name, value, _ in meant)
            declared = ", ".join(f"{name}: {kind}" for name, _, kind in meant)
            return f"{came}, as fields do unless an annotation says what they are: def run({declared}).\n"
    return ""


def _plain_texts(frame: FrameType) -> list[tuple[str, str]]:
    """The arguments that are text, and not said to be, if this is the frame of an endpoint's function."""
    code, names = frame.f_code, frame.f_globals
    function = names.get("run" if code.co_name == "<lambda>" else code.co_name)
    if not _is_adaptors(frame) or getattr(function, "__code__", None) is not code:
        return []
    values = [(name, frame.f_locals.get(name)) for name in _names(frame) if name not in function.__annotations__]
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
