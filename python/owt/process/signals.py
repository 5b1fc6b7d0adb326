"""``signal.signal`` for adaptors, which share the process with nginx."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Container
from typing import Any


def guard(reserved: Container[int]) -> None:
    """Makes ``signal.signal`` raise ValueError for the reserved signals; others work as ever, and so do all of them in
    children of this process, to which nginx's mean nothing."""
    original = signal.signal
    worker = os.getpid()

    @functools.wraps(original)
    def guarded(signalnum: Any, handler: Any) -> Any:
        if int(signalnum) in reserved and os.getpid() == worker:
            name = signal.Signals(signalnum).name
            raise ValueError(f"{name} is nginx's in this process: a handler for it cannot be set")
        return original(signalnum, handler)

    signal.signal = guarded
