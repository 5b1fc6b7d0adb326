"""A command for bash, which ends when its call does."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from owt.process import trace
from owt.process.waiting import apart

if TYPE_CHECKING:
    from subprocess import Popen

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


def bash(command: str | bytes, variables: dict[str, Any]) -> bytes:
    """Runs ``bash -c command`` and returns its standard output; see ``owt.lib.shell.shell``.

    Raises CommandFailed, TypeError and ValueError as that does.
    """
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
    # As OpenTelemetry's programs look for it.
    traced = trace.current()
    for name, value in traced.headers() if traced is not None else ():
        environment[name.upper()] = value
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
