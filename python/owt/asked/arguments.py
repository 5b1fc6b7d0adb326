"""The text of ``kwargs`` and ``kwargs_b64``: JSON, else a Python expression, else a plain value."""

from __future__ import annotations

import ast
import json
from types import CodeType
from typing import Any

from owt.asked.binding import LAST
from owt.process.context import Cancelled
from owt.process.refusal import Refusal

_FILE = "<kwargs>"
_MAX_TEXTS = 256
_MAX_LENGTH = 16 * 1024  # characters of a text that is worth remembering

#: What an endpoint remembers of such texts: compiled expressions, and None for those that are none.
#: JSON is not remembered: reading it gives fresh objects and is the first thing tried.
Texts = dict[str, CodeType | None]


def merge(text: str, kwargs: dict[str, Any], names: dict[str, Any], texts: Texts) -> None:
    """Adds the arguments that text stands for to kwargs; they win over what is there.

    Expressions are evaluated in names, the endpoint's globals, whenever a call comes. Raises
    Refusal (400) if that fails or gives a dict that has other keys than text.
    """
    value = _evaluate(text, names, texts)
    if isinstance(value, str):
        value = _read_again(value)
    if not isinstance(value, dict):
        kwargs[LAST] = value
        return
    for key in value:
        if not isinstance(key, str):
            raise _refusal(f"its key {key!r} is not a str, so it names no argument")
    kwargs.update(value)


def _evaluate(text: str, names: dict[str, Any], texts: Texts) -> object:
    try:
        code = texts[text]
    except KeyError:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            code = _compile(text)
            if len(text) <= _MAX_LENGTH:
                if len(texts) >= _MAX_TEXTS:
                    texts.clear()
                texts[text] = code
    if code is None:
        return text
    try:
        return eval(code, names)
    except Cancelled:
        raise
    except BaseException as error:
        if isinstance(error, NameError) and _raised_here(error):
            return text
        raise _refusal(f"evaluating it raised {type(error).__name__}: {error}") from None


def _compile(text: str) -> CodeType | None:
    try:
        code: CodeType = compile(text.strip(), _FILE, "eval", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    return code


def _raised_here(error: NameError) -> bool:
    """Whether the unknown name stands in the expression itself, not in a function that it calls."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and traceback.tb_frame.f_code.co_filename == _FILE


def _read_again(text: str) -> object:
    """A text that is the text of a dict stands for that; else for itself."""
    value: object
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(text.strip())
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return text
    return value if isinstance(value, dict) else text


def _refusal(what: str) -> Refusal:
    return Refusal(
        400,
        "bad-kwargs",
        f"The arguments in kwargs or kwargs_b64 cannot be used: {what}. Send a JSON object or a"
        " Python expression whose value is a dict, or one value.",
    )
