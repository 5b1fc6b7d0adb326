"""From text to code. Also a program: compiles one source, in a process with limits.

CPython's compiler holds the GIL, and there are sources of a megabyte for which it takes minutes, all of
the memory, or its process along. So large ones are compiled apart. Imports nothing but the standard
library: the program begins without this package.
"""

from __future__ import annotations

import ast
import marshal
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Container
from types import CodeType
from typing import Any

#: The global that holds an expression endpoint's value, beside ``run``.
EXPRESSION = "__expression__"

#: Longer sources (in characters) are compiled apart, with so much time (seconds of a processor) and memory
#: (bytes of address space). A megabyte of dense code takes a sixth of that.
MAX_HERE = 32 * 1024
MAX_TIME = 30
MAX_MEMORY = 2 << 30

#: So many parts may the name of an imported module have. What the parser takes for it grows with the square.
MAX_PARTS = 256

_long_name = re.compile(rf"(?:\bimport|\bfrom|,)[\s\\.]*(?:\w+[\s\\]*\.[\s\\]*){{{MAX_PARTS}}}")


def compile_text(text: str, path: str, stages: Container[str]) -> tuple[CodeType, bool]:
    """Compiles an adaptor; True if it is an expression. stages are names that a terse pipeline may begin with.

    Raises SyntaxError, with path as its file name, for whatever Python cannot compile.
    """
    try:
        found = _long_name.search(text)
        if found is not None:
            line = text.count("\n", 0, found.end())
            reason = f"the name of a module has more than {MAX_PARTS} parts"
            raise SyntaxError(reason, (path, line + 1, 1, text.split("\n")[line]))
        tree = _parse_expression(text, path, stages)
        if tree is None:
            return compile(text, path, "exec", dont_inherit=True), False
        return compile(tree, path, "exec", dont_inherit=True), True
    except SyntaxError as error:
        if error.filename is not None:
            raise
        raise SyntaxError(error.msg, (path, 1, 1, None)) from None  # of null bytes, from Python 3.12 on
    except (ValueError, RecursionError, MemoryError, OverflowError, SystemError) as error:
        reason = "too deeply nested or too large to compile"
        if isinstance(error, ValueError):
            reason = str(error) or reason
        raise SyntaxError(reason, (path, 1, 1, None)) from None


def compile_apart(text: str, path: str, stages: list[str]) -> tuple[CodeType, bool]:
    """As ``compile_text``, in a process of its own. OSError where none can be started."""
    command = [sys.executable, "-I", "-S", "-X", "utf8", __file__]
    asked = marshal.dumps((text.encode(errors="surrogatepass"), path, stages))
    done = subprocess.run(command, input=asked, capture_output=True, check=False)
    if done.stderr:
        sys.stderr.write(done.stderr.decode(errors="backslashreplace"))
    if done.returncode == 0:
        kind, *result = marshal.loads(done.stdout)
        if kind == "":
            code, expression = result
            return code, expression
        raise _ERRORS[kind](*result)
    if done.returncode > 0:
        raise OSError(f"{command[0]} cannot compile it and ends with status {done.returncode}")
    reason = f"compiling it takes more than {MAX_TIME} s or {MAX_MEMORY >> 30} GiB, or is too deeply nested"
    if done.returncode == -signal.SIGXCPU:
        reason = f"compiling it takes more than {MAX_TIME} s"
    raise SyntaxError(reason, (path, 1, 1, None))


_ERRORS = {kind.__name__: kind for kind in (SyntaxError, IndentationError, TabError)}


def main() -> None:
    """Compiles what comes from standard input, the other side of ``compile_apart``."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_TIME, MAX_TIME))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    source, path, stages = marshal.loads(sys.stdin.buffer.read())
    answer: tuple[Any, ...]
    try:
        answer = ("", *compile_text(source.decode(errors="surrogatepass"), path, frozenset(stages)))
    except SyntaxError as error:
        answer = (type(error).__name__, *error.args)
    sys.stdout.buffer.write(marshal.dumps(answer))


def _parse_expression(text: str, path: str, stages: Container[str]) -> ast.Module | None:
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
    if leading is not None and leading.id in stages:
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


if __name__ == "__main__":
    main()
