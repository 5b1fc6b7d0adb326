"""Commands for bash, which end when their call does.

``from owt.lib.shell import run`` is an adaptor: it runs the command that it is sent as ``cmd``.
"""

from __future__ import annotations

from typing import Any, overload

from owt.summat import Pipe, pipe
from owt.summat.bash import CommandFailed, bash

__all__ = ["CommandFailed", "run", "shell"]

CommandFailed.__module__ = __name__  # as who catches it knows it


@overload
def shell() -> Pipe[bytes]: ...


@overload
def shell(command: str | bytes, /, **variables: Any) -> bytes: ...


def shell(command: str | bytes | None = None, /, **variables: Any) -> bytes | Pipe[bytes]:
    """Runs ``bash -c command`` and returns its standard output.

    variables (str, bytes, paths, numbers; None is left out) are environment variables of the command,
    to be used as ``"$name"``: so their text is never read as bash. Standard input is empty. What a
    command that succeeds writes to stderr goes to the server's log. If the call is cancelled, bash and
    what it has started get SIGTERM, and SIGKILL two seconds later.

    Without a command it is ``pipe().shell()``, so that a terse pipeline may begin with it.

    Raises CommandFailed if the status is not 0, TypeError for a command that is not text and for a
    variable of another type, ValueError for a name that does not fit.
    """
    if command is None:
        return pipe().shell()
    if not isinstance(command, str | bytes):
        raise TypeError(f"a command is text, not {type(command).__name__}")
    return bash(command, variables)


def run(cmd: str) -> bytes:
    """An adaptor: what the command writes to its standard output."""
    return shell(cmd)


# Adaptors find the function under the module's name.
shell.run = run  # type: ignore[attr-defined]
