"""Where an adaptor and a test wait for each other."""

from __future__ import annotations

import os
import select
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

SIZE = 1 << 20

#: Belongs behind an adaptor that says `stuck(fifo)`, fifo being the text of a Fifo. It writes more than has room there, in
#: one call of C, which nothing reaches; with PyDLL for library it holds the GIL.
STUCK = f"""
def stuck(fifo, library="CDLL"):
    import ctypes
    libc = getattr(ctypes, library)(None)
    libc.fopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(libc.fopen(fifo.encode(), b"w"))
    libc.fwrite(bytes({SIZE}), ctypes.c_size_t(1), ctypes.c_size_t({SIZE}), file)
    libc.fclose(file)
    return "back"
"""


class Fifo:
    """Where an adaptor is stuck in C. That it is can be seen here, and not a moment too soon."""

    def __init__(self, directory: Path, name: str = "fifo") -> None:
        self._file = directory / name
        os.mkfifo(self._file)
        self._fd = os.open(self._file, os.O_RDONLY | os.O_NONBLOCK)

    def __str__(self) -> str:
        return str(self._file)

    def wait_reached(self) -> None:
        wait_until(lambda: select.select([self._fd], [], [], 0)[0], f"an adaptor stuck at {self._file}")

    def let_go(self) -> None:
        """Reads what the adaptor has to write, unless its process ends."""
        os.set_blocking(self._fd, True)
        left = SIZE
        while left and (block := os.read(self._fd, left)):
            left -= len(block)


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
