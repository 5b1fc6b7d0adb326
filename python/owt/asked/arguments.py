"""The text of ``kwargs`` and ``kwargs_b64``: JSON, else a Python expression, else a plain value."""

from __future__ import annotations

import ast
import json
import re
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from owt.asked.binding import LAST
from owt.process import failure
from owt.process.context import Cancelled
from owt.process.refusal import Refusal

_FILE = "<kwargs>"
_MAX_TEXTS = 256
_MAX_LENGTH = 16 * 1024  # characters of a text that is worth remembering

#: What an endpoint remembers of such texts: expressions as functions, and None for those that are none.
#: JSON is not remembered: reading it gives fresh objects and is the first thing tried.
Texts = dict[str, Callable[[object], object] | None]


_decode = msgspec.json.Decoder().decode


def read_json(text: str) -> object:
    """As ``json.loads``, several times as fast for what is JSON by RFC 8259. Raises ValueError, RecursionError."""
    try:
        return _decode(text)
    except Exception:  # Python takes more: NaN, 1e999, halves of surrogate pairs
        return json.loads(text)


def merge(text: str, kwargs: dict[str, Any], names: dict[str, Any], texts: Texts, request: object) -> None:
    """Adds the arguments that text stands for to kwargs; they win over what is there.

    Expressions are evaluated in names, the endpoint's globals, and with request, whenever a call comes.
    Raises Refusal (400) if that fails or gives a dict that has other keys than text.
    """
    value = _evaluate(text, names, texts, request)
    if isinstance(value, str):
        value = _read_again(value)
    if not isinstance(value, dict):
        kwargs[LAST] = value
        return
    for key in value:
        if not isinstance(key, str):
            raise _refusal(f"its key {key!r} is not a str, so it names no argument")
    kwargs.update(value)


def _evaluate(text: str, names: dict[str, Any], texts: Texts, request: object) -> object:
    try:
        function = texts[text]
    except KeyError:
        try:
            return read_json(text)
        except (ValueError, RecursionError):
            function = _function(text, names)
            if len(text) <= _MAX_LENGTH:
                if len(texts) >= _MAX_TEXTS:
                    texts.clear()
                texts[text] = function
    if function is None:
        return text
    try:
        return function(request)
    except Cancelled:
        raise
    except BaseException as error:
        if isinstance(error, NameError) and _raised_here(error) and not _is_code(text):
            return text
        said = f"evaluating it raised {type(error).__name__}: {failure.message(error)}"
        if isinstance(error, NameError) and error.name in ("true", "false", "null"):
            said += " (in an expression they are True, False and None; as JSON it is not valid)"
        raise _refusal(said) from None


def _function(text: str, names: dict[str, Any]) -> Callable[[object], object] | None:
    """The expression as a function of the request; None for a text that is no expression, and does not look it."""
    try:
        expression = compile(text.strip(), _FILE, "eval", ast.PyCF_ONLY_AST, dont_inherit=True)
        compile(expression, _FILE, "eval", dont_inherit=True)  # what may not stand outside of a function
        arguments = ast.arguments(posonlyargs=[], args=[ast.arg("request")], kwonlyargs=[], kw_defaults=[], defaults=[])
        taking = ast.Expression(ast.Lambda(arguments, expression.body))
        code = compile(ast.fix_missing_locations(taking), _FILE, "eval", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        if _is_code(text):
            raise _refusal(f"it is neither JSON nor Python:\n{_said(error)}\n") from None
        return None
    function: Callable[[object], object] = eval(code, names)
    return function


def _is_code(text: str) -> bool:
    """Whether a text can only be meant as an expression, and is none if it fails: no plain value looks like that."""
    return _code.match(text) is not None


_code = re.compile(r"\s*(?:[\[{(]|[^\W\d]\w*\()")


def _said(error: BaseException) -> str:
    """A SyntaxError with its line and a caret, as Python shows it, without the file that there is not."""
    if isinstance(error, SyntaxError):
        return "".join(traceback.format_exception_only(type(error), error)[1:]).rstrip()
    return str(error) or "too deeply nested"


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
        value = read_json(text)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(text.strip())
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return text
    return value if isinstance(value, dict) else text


def _refusal(what: str) -> Refusal:
    what += "" if what.endswith("\n") else ". "
    return Refusal(
        400,
        "bad-kwargs",
        f"The arguments in kwargs or kwargs_b64 cannot be used: {what}Send a"
        " JSON object or a Python expression whose value is a dict, or one value; text that looks like code in quotes.",
    )
