"""An adaptor's failure: its traceback for the client and for the error log."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from owt.process import output, trace
from owt.process.context import current, failed_threads, hint
from owt.process.refusal import is_short_of_descriptors, why_no_descriptors

if TYPE_CHECKING:
    from _owt import Call

HIDDEN = "The adaptor failed. Error id {}: its traceback is in the server's error log."
HIDDEN_PUBLISHED = "The function failed. Error id {}: its traceback is in the server's error log."

#: Characters of a traceback that are sent and logged; of a longer one the middle is left out.
MAX_LENGTH = 64 * 1024


def _no_advice(error: BaseException) -> str:
    return ""


#: What is added to the traceback of a failure.
advise: Callable[[BaseException], str] = _no_advice

#: Modules that exit when they do not take an argument; and those that do so for commands too, which they run.
_PARSERS = frozenset(("argparse", "optparse"))
_COMMANDS = frozenset(("click", "rich_click", "typer"))

_PACKAGE = f"{Path(__file__).parents[1]}/"
_LIBRARY = _PACKAGE + "lib/"


def refuse(call: Call, error: BaseException, path: str) -> None:
    """Answers with 500: the traceback of the adaptor whose file is at path, if the client may see it.

    With 400 and the usage where a parser of command lines did not take what it was given.
    """
    text = log(call, error, path)
    if is_usage(error):
        call.refuse(400, "usage", (call.show_traceback and said_before(error)) or text)
    else:
        call.refuse(500, "adaptor-failed", text)


def log(call: Call, error: BaseException, path: str, hidden: str = "") -> str:
    """Logs the traceback, each line marked with the error's id; what to tell the client: hidden, or that the adaptor
    failed, with that id, if the client may not see it.
    """
    text = describe(error, path)
    if help := hint(error):
        text += f"\n{help}\n"
    id = os.urandom(4).hex()
    for line in text.split("\n"):
        if line:
            output.write(output.ERROR, call.connection, f"{id} {line}")
    if noted := trace.note(call):
        output.write(output.ERROR, call.connection, f"{id}{noted}")
    if not call.show_traceback:
        return (hidden or (HIDDEN_PUBLISHED if call.published else HIDDEN)).format(id)
    if said := said_before(error):
        text += f"\nBefore it exited it had written:\n{said}"
    return text + failed_threads(call)


def said_before(error: BaseException) -> str:
    """What the running call had written when it exited; empty where it did not exit."""
    request = current.get(None)
    if request is None or not _is_exit(error):
        return ""
    return output.said(request)


def is_usage(error: BaseException) -> bool:
    """Whether this is how argparse, optparse or click (with its kin) exit when they do not take what they are given."""
    if not _is_exit(error):
        return False
    try:
        if error.code != 2:  # type: ignore[attr-defined]
            return False
        modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    except BaseException:  # its own attributes
        return False
    packages = [module.partition(".")[0] for module in modules]
    return not _PARSERS.isdisjoint(packages) or not _COMMANDS.isdisjoint(packages[-1:])


def _is_exit(error: BaseException) -> bool:
    """Whatever its ``__class__`` does."""
    return issubclass(type(error), SystemExit)


def describe(error: BaseException, path: str) -> str:
    """The traceback from the adaptor's first frame on, without frames of owt and of the import system.

    Chained exceptions and groups are kept. Lone surrogates are written with backslashes.
    """
    try:
        if is_short_of_descriptors(error):
            error.add_note(why_no_descriptors())
        shown = traceback.TracebackException.from_exception(error, compact=True)
        _cut(shown, path)
        text = "".join(shown.format())
    except BaseException as failure:  # what the exception has of its own may do anything, exit() included
        text = f"{type(error).__name__} (showing its traceback raised {type(failure).__name__})\n"
    if len(text) > MAX_LENGTH:
        text = f"{text[: MAX_LENGTH // 2]}\n...\n{text[-MAX_LENGTH // 2 :]}"
    with contextlib.suppress(BaseException):
        text += advise(error)
    return text.encode(errors="backslashreplace").decode()


def message(error: BaseException) -> str:
    """The exception's text, whatever its ``__str__`` does."""
    try:
        return str(error).encode(errors="backslashreplace").decode()
    except BaseException:
        return "<its text cannot be had>"


def _cut(shown: traceback.TracebackException, path: str) -> None:
    frames = list(shown.stack)
    for index, frame in enumerate(frames):
        if frame.filename == path:
            frames = frames[index:]
            break
    shown.stack[:] = [frame for frame in frames if not _is_ours(frame.filename)]
    linked = [shown.__cause__, shown.__context__, *(getattr(shown, "exceptions", None) or ())]
    for other in linked:
        if other is not None:
            _cut(other, path)


def _is_ours(filename: str) -> bool:
    if filename.startswith("<frozen importlib"):
        return True
    return filename.startswith(_PACKAGE) and not filename.startswith(_LIBRARY)
