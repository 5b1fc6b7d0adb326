"""Blocks that run programs."""

from __future__ import annotations

import builtins
from typing import Any

from owt.summat.adaptor import Adaptor, DropKWs, Result
from owt.summat.bash import bash
from owt.summat.values import kind


class Shell(Adaptor[builtins.bytes]):
    """``shell()``: runs the value by ``bash -c``; its standard output is the value, and no keyword arguments remain.

    Keyword arguments are environment variables of the command, as ``owt.shell`` takes them. Raises what
    that raises.
    """

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        if not isinstance(__last__, str | bytes):
            raise TypeError(f"shell() needs a command as text, not {kind(__last__)}")
        return DropKWs(bash(__last__, kwargs))
