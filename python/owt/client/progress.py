"""How far a download is, on a terminal's line; nothing at all on anything else."""

from __future__ import annotations

import sys
from time import monotonic

#: Seconds before the first line, and between two.
PAUSE = 0.5


class Progress:
    """Counts bytes. Shows them if they go elsewhere and a person looks at stderr."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._got = 0
        self._begun = self._shown = monotonic()
        self._visible = sys.stderr.isatty() and not sys.stdout.isatty()
        self._drawn = False

    def add(self, count: int) -> None:
        self._got += count
        now = monotonic()
        if self._visible and now - self._shown >= PAUSE:
            self._shown = now
            self._drawn = True
            of = f" of {_size(self._total)}" if self._total is not None else ""
            speed = self._got / (now - self._begun)
            print(f"\r\x1b[K{_size(self._got)}{of}, {_size(speed)}/s", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clears the line."""
        if self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
