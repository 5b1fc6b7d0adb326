"""What mypy makes of a program that uses an installed owt, of which it sees nothing but the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "python/owt"

#: Has no errors only if owt has types: else there is nothing to ignore, and no type to assert.
PROGRAM = """\
from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

from owt import Cancelled, pipe, shell
from owt.client import Answer, CallError, Client
from owt.lib.shell import CommandFailed
from owt.server import Server, ServerError
from owt.summat import Adaptor, KeepKWs, Pipe, Result


class Upper(Adaptor[str]):
    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return KeepKWs(__last__.upper())


def ask(code: str | Path) -> bytes:
    with Server(threads=1) as server:
        address, port = server.sing()
        assert_type((address, port), tuple[str, int])
        try:
            with Client(f"{address}:{port}").call(code, {"name": "owt"}) as answer:
                assert_type(answer, Answer)
                return b"".join(answer) + answer.text().encode()
        except CallError as error:
            assert_type(error.status, int)
        except (ServerError, Cancelled):
            pass
        except CommandFailed as error:
            return error.stderr
    return shell("true")


assert_type(pipe().const("a").f(str.upper), Pipe[str])
assert_type(pipe().const(1).f(lambda n: n + 1), Pipe[int])
assert_type(pipe().const("a").to(Upper()).f(len).done()(), int)

pipe().const(1).f(str.upper)  # type: ignore[arg-type]
Client(9876)  # type: ignore[arg-type]
Server(thread=1)  # type: ignore[call-arg]
from owt import shel  # type: ignore[attr-defined]
"""


def test_a_program_that_uses_an_installed_owt_is_checked(tmp_path):
    """A path that is no MYPYPATH is one of installed packages, which have types only if they say so."""
    shutil.copytree(PACKAGE, tmp_path / "installed/owt", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "program.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.stdout, done.stderr) == ("Success: no issues found in 1 source file\n", "")
