"""Whether event loops come round: each that has calls is asked for a sign now and then."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import _owt

#: A loop has so long at least (seconds) to give its sign.
LEAST = 1.0

Loop = TypeVar("Loop", bound=asyncio.AbstractEventLoop)


class Pulse(Generic[Loop]):
    """Asks loops once in a period, which is the instance's ``grace``.

    asked gives the loops to be asked; late is told of one that has given no sign for so many periods.
    Its thread runs while there is somebody to ask.
    """

    def __init__(self, asked: Callable[[], list[Loop]], late: Callable[[Loop, int], None]) -> None:
        self.period = LEAST
        self._asked = asked
        self._late = late
        self._lock = threading.Lock()
        self._runs = False

    def wake(self) -> None:
        """There may be somebody to ask."""
        with self._lock:
            if self._runs:
                return
            self._runs = True
        self.period = max(LEAST, _owt.grace())
        threading.Thread(target=self._run, name="owt-pulse", daemon=True).start()

    def _run(self) -> None:
        asked: set[Loop] = set()  # and not heard of since
        missed: dict[Loop, int] = {}
        while loops := self._loops():
            for loop in loops:
                if loop not in asked:
                    missed[loop] = 0
                    asked.add(loop)
                    loop.call_soon_threadsafe(asked.discard, loop)
                    continue
                missed[loop] = missed.get(loop, 0) + 1
                try:
                    self._late(loop, missed[loop])
                except Exception:
                    logging.getLogger(__name__).exception("a loop that is late cannot be dealt with")
            time.sleep(self.period)

    def _loops(self) -> list[Loop]:
        with self._lock:
            loops = self._asked()
            self._runs = bool(loops)
            return loops
