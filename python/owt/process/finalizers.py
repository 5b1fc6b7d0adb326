"""What becomes of a cancellation that comes while a finalizer runs.

Python lets no exception out of ``__del__``, of a weak reference's callback, or of a callback of the garbage collector:
sys.unraisablehook is told, and the call would go on. It is cancelled once more.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from owt.process.context import Cancelled

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


def install(again: Callable[[], None]) -> None:
    """From now on ``again`` is called, on the thread where it happened, when a Cancelled has been raised in vain."""
    sys.unraisablehook = functools.partial(_raised_in_vain, again, sys.unraisablehook)


def _raised_in_vain(
    again: Callable[[], None], hook: Callable[[UnraisableHookArgs], object], unraisable: UnraisableHookArgs
) -> None:
    if issubclass(unraisable.exc_type, Cancelled):
        again()
    else:
        hook(unraisable)
