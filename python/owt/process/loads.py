"""The begin and the end of a load, of an endpoint or of what is kept: the server lets nothing interrupt it."""

from __future__ import annotations

from collections.abc import Callable


def _begins() -> int:
    return 0


def _ends(load: int) -> None:
    pass


#: Told that the calling thread begins to load, and gives the load's number, and that it has ended. Other processes
#: than the server's need not be told.
begins: Callable[[], int] = _begins
ends: Callable[[int], None] = _ends
