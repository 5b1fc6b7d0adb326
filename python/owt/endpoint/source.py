"""The three ways to write an adaptor: a module, an expression, a terse pipeline."""

from __future__ import annotations

import io
from functools import cache
from types import CodeType

import owt
from owt.endpoint import compiling
from owt.process.refusal import Refusal
from owt.summat import Pipe


def decode(source: bytes) -> str:
    """An adaptor's text, with its lines ended by newlines.

    It is UTF-8 whatever its coding line says: it came as text, and the line is about a file that the
    sender may have. Raises UnicodeDecodeError.
    """
    return io.IncrementalNewlineDecoder(None, translate=True).decode(source.decode("utf-8-sig"))


def compile_source(source: bytes, path: str) -> tuple[CodeType, bool]:
    """Compiles an adaptor; True if it is an expression.

    An expression ``e`` compiles to a module that says ``run = e``. Line numbers are the sender's.
    Raises SyntaxError, with path as its file name, for whatever Python cannot compile or what would take
    too much; Refusal (500) if a large one cannot be compiled apart.
    """
    try:
        text = decode(source)
    except ValueError as error:
        raise SyntaxError(str(error), (path, 1, 1, None)) from None
    if len(text) <= compiling.MAX_HERE:
        return compiling.compile_text(text, path, stages())
    try:
        return compiling.compile_apart(text, path, sorted(stages()))
    except OSError as error:
        raise Refusal(
            500,
            "cannot-compile",
            f"The adaptor cannot be compiled: it is longer than {compiling.MAX_HERE >> 10} KiB, and the process"
            f" that compiles such sources cannot be started: {error}.",
        ) from None


@cache
def stages() -> frozenset[str]:
    """The names that a terse pipeline may begin with: methods of the pipeline.

    A name that the prelude binds means itself; Python's own names (``map``, ``open``) do not.
    """
    return frozenset(
        name
        for name in dir(Pipe)
        if not name.startswith("_") and name not in owt.__all__ and callable(getattr(Pipe, name))
    )
