"""The three ways to write an adaptor: a module, an expression, a terse pipeline."""

from __future__ import annotations

import ast
import io
from types import CodeType

import owt
from owt.summat import Pipe

#: The global that holds an expression endpoint's value, beside ``run``.
EXPRESSION = "__expression__"


def decode(source: bytes) -> str:
    """An adaptor's text, with its lines ended by newlines.

    It is UTF-8 whatever its coding line says: it came as text, and the line is about a file that the
    sender may have. Raises UnicodeDecodeError.
    """
    return io.IncrementalNewlineDecoder(None, translate=True).decode(source.decode("utf-8-sig"))


def compile_source(source: bytes, path: str) -> tuple[CodeType, bool]:
    """Compiles an adaptor; True if it is an expression.

    An expression ``e`` compiles to a module that says ``run = e``. Line numbers are the sender's.
    Raises SyntaxError, with path as its file name, for whatever Python cannot compile.
    """
    try:
        text = decode(source)
        tree = _parse_expression(text, path)
        if tree is None:
            return compile(text, path, "exec", dont_inherit=True), False
        return compile(tree, path, "exec", dont_inherit=True), True
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        reason = str(error) or "too deeply nested or too large to compile"
        raise SyntaxError(reason, (path, 1, 1, None)) from None


def _parse_expression(text: str, path: str) -> ast.Module | None:
    try:
        tree = ast.parse(f"(\n{text}\n)", path, "eval")
    except SyntaxError:
        return None
    # Whatever begins at our own parenthesis is not what was sent: nothing, "a, b" or "a), (b".
    if tree.body.lineno < 2:
        return None
    ast.increment_lineno(tree, -1)
    value = tree.body
    leading = _leading_call(value)
    if leading is not None and is_stage(leading.id):
        start = ast.Call(ast.Name("pipe", ast.Load()), [], [])
        stage = ast.Attribute(start, leading.id, ast.Load())
        for node in (start, start.func, stage):
            ast.copy_location(node, leading)
        value = _replace(value, leading, stage)
    targets: list[ast.expr] = [ast.Name(name, ast.Store()) for name in ("run", EXPRESSION)]
    for target in targets:
        target.lineno = target.end_lineno = value.lineno
        target.col_offset = target.end_col_offset = value.col_offset
    assign = ast.copy_location(ast.Assign(targets, value), value)
    return ast.Module([assign], [])


def is_stage(name: str) -> bool:
    """Whether a terse pipeline may begin with this name.

    A name that the prelude binds means itself; Python's own names (``map``, ``open``) do not.
    """
    return not name.startswith("_") and name not in owt.__all__ and callable(getattr(Pipe, name, None))


def _leading_call(node: ast.expr) -> ast.Name | None:
    """The ``a`` of ``a(...).b(...).c``, if it is a name that is called."""
    while True:
        if isinstance(node, ast.Attribute):
            node = node.value
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                return node.func
            node = node.func
        else:
            return None


def _replace(tree: ast.expr, old: ast.Name, new: ast.expr) -> ast.expr:
    node = tree
    while True:
        if isinstance(node, ast.Attribute):
            node = node.value
        elif isinstance(node, ast.Call):
            if node.func is old:
                node.func = new
                return tree
            node = node.func
        else:
            raise AssertionError("the leading call is on this path")
