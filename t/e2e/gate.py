"""Where an adaptor and a test wait for each other."""

from __future__ import annotations

from pathlib import Path

from harness import wait_until

#: Belongs behind an adaptor that says `pause(gate)`, gate being the text of a Gate.
PAUSE = """
def pause(gate):
    import pathlib, time
    pathlib.Path(gate + ".reached").touch()
    deadline = time.monotonic() + 120
    while not pathlib.Path(gate).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(gate)
        time.sleep(0.002)
"""

#: Waits at a gate without holding its thread.
ASYNC = """
import asyncio, pathlib
async def run(_, gate):
    pathlib.Path(gate + ".reached").touch()
    while not pathlib.Path(gate).exists():
        await asyncio.sleep(0.002)
    return "done"
"""


class Gate:
    """An adaptor that has come to it is seen there, and goes on once it is opened."""

    def __init__(self, directory: Path, name: str = "gate") -> None:
        self._file = directory / name
        self._reached = directory / f"{name}.reached"

    def __str__(self) -> str:
        return str(self._file)

    @property
    def reached(self) -> bool:
        return self._reached.exists()

    def wait_reached(self) -> None:
        wait_until(lambda: self.reached, f"an adaptor at {self._file}")

    def open(self) -> None:
        self._file.touch()
