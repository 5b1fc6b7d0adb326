"""What becomes of a cancellation that comes while a finalizer runs.

Python lets no exception out of ``__del__``, of a weak reference's callback, or of a callback of the garbage collector:
sys.unraisablehook is told, and the call would go on. It is cancelled once more.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

    Hook = Callable[[UnraisableHookArgs], object]


def install(instead: Callable[[Hook, UnraisableHookArgs], object]) -> None:
    """From now on ``instead`` is told, with the hook that was told so far. It is not written in Python, where a
    Cancelled could meet it, too.
    """
    sys.unraisablehook = functools.partial(instead, sys.unraisablehook)
