"""Commands for bash, which end when their call does.

``from owt.lib.shell import run`` is an adaptor: it runs the command that it is sent as ``cmd``.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from typing import TYPE_CHECKING, Any, overload

from owt.waiting import apart

if TYPE_CHECKING:
    from subprocess import Popen

    from owt.summat import Pipe

#: Seconds from SIGTERM to SIGKILL for a command that nobody waits for any more.
_PATIENCE = 2.0

# POSIX leaves names with lower-case letters to applications (XBD 8.1); programs are steered by the
# others (PATH, LD_PRELOAD, BASH_ENV), and by http_proxy and its like.
_NAME = re.compile(r"(?=.*[a-z])[A-Za-z_][A-Za-z0-9_]*(?<!_proxy)")


class CommandFailed(Exception):
    """A command ended with another status than 0. The message has what it wrote to stderr.

    returncode is the status, or minus the signal that ended it; cmd the command; stdout and stderr
    what it wrote, as bytes.
    """

    def __init__(self, returncode: int, cmd: str | bytes, stdout: bytes, stderr: bytes) -> None:
        super().__init__(returncode, cmd, stdout, stderr)
        self.returncode = returncode
        self.cmd = cmd
        self.stdout = stdout
        self.stderr = stderr

    def __str__(self) -> str:
        if self.returncode < 0:
            how = f"was ended by signal {-self.returncode} ({signal.strsignal(-self.returncode)})"
        else:
            how = f"ended with status {self.returncode}"
        said = self.stderr.decode(errors="backslashreplace").strip()
        return f"the command {how}: {said or 'it wrote nothing to stderr'}"


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
        from owt.summat import pipe

        return pipe().shell()
    if not isinstance(command, str | bytes):
        raise TypeError(f"a command is text, not {type(command).__name__}")
    import sys

    child = _Child(command, _environment(variables))
    try:
        returncode, stdout, stderr = apart(child.run)
    finally:
        child.leave()
    if returncode != 0:
        raise CommandFailed(returncode, command, stdout, stderr)
    if stderr:
        sys.stderr.write(stderr.decode(errors="backslashreplace"))
    return stdout


def run(cmd: str) -> bytes:
    """An adaptor: what the command writes to its standard output."""
    return shell(cmd)


class _Child:
    """A process in a group of its own, which one thread runs and another may end at any time."""

    def __init__(self, command: str | bytes, environment: dict[str, Any]) -> None:
        self._command = command
        self._environment = environment
        self._lock = threading.Lock()
        self._process: Popen[bytes] | None = None
        self._left = False
        self._done = threading.Event()

    def run(self) -> tuple[int, bytes, bytes]:
        """Status, stdout and stderr."""
        import subprocess

        try:
            with self._lock:
                if self._left:
                    return -signal.SIGTERM, b"", b""
                self._process = subprocess.Popen(
                    ["bash", "-c", self._command],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=self._environment,
                    start_new_session=True,
                )
            stdout, stderr = self._process.communicate()
            return self._process.returncode, stdout, stderr
        finally:
            self._done.set()

    def leave(self) -> None:
        """Nobody wants the result any more: ends what still runs, or never begins."""
        with self._lock:
            self._left = True
            if self._process is None:
                return
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._done.is_set():
                return
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return
            self._done.wait(_PATIENCE)


def _environment(variables: dict[str, Any]) -> dict[str, Any]:
    environment: dict[str, Any] = dict(os.environ)
    for name, value in variables.items():
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} cannot be a variable of the command: a name is of letters, digits and _, with a"
                " lower-case letter among them, and does not end in _proxy"
            )
        if value is None:
            continue
        if not isinstance(value, str | bytes | int | float | os.PathLike):
            raise TypeError(f"{name!r} cannot be a variable of the command: it is no text but {type(value).__name__}")
        environment[name] = str(value) if isinstance(value, int | float) else value
    return environment
