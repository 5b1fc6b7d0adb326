"""How the process ends: its interpreter is never finalized, since threads may still run in it."""

from __future__ import annotations

import atexit
import logging
import threading
import time

from owt.engine import aio


def run(seconds: float) -> None:
    """Does in so many seconds at most what Python does at exit: async tasks, threads, atexit functions."""
    deadline = time.monotonic() + seconds
    aio.stop(seconds / 2)
    # Whatever hangs hangs there, and the process goes without it.
    worker = threading.Thread(target=_exit, args=(deadline,), name="owt-exit", daemon=True)
    worker.start()
    worker.join(max(0.0, deadline - time.monotonic()))


def _exit(deadline: float) -> None:
    # Executors' threads end only when told so; these functions tell them and wait.
    for callback in reversed(getattr(threading, "_threading_atexits", ())):
        _bounded(callback, deadline)
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join(_share(deadline))
    atexit._run_exitfuncs()


def _bounded(callback: object, deadline: float) -> None:
    def call() -> None:
        try:
            callback()  # type: ignore[operator]
        except BaseException:
            logging.getLogger(__name__).exception("a function to be called at exit failed")

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(_share(deadline))


def _share(deadline: float) -> float:
    """Half of the time that is left (seconds), so that what comes next has its chance."""
    return max(0.0, deadline - time.monotonic()) / 2
