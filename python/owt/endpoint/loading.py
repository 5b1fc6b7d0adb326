"""Which endpoints are being loaded, by which thread, and who waits for that.

An endpoint's source runs under this lock of its own and not under importlib's: threads that it starts,
and pools that pickle its functions by name, find its module in ``sys.modules`` as far as it has come.
"""

from __future__ import annotations

import threading
from collections.abc import Container
from importlib.machinery import ModuleSpec
from threading import get_ident
from types import TracebackType

from owt.process import loads
from owt.process.context import call_threads


class Load:
    """A load in progress."""

    __slots__ = ("_ended", "number", "strangers", "thread")

    def __init__(self, number: int) -> None:
        self.number = number
        self.thread = get_ident()
        #: Threads that cannot be the source's own, and have to wait for its end.
        self.strangers: Container[int | None] = call_threads or frozenset(t.ident for t in threading.enumerate())
        self._ended = threading.Event()

    def wait(self) -> bool:
        """Until it has ended. False, at once, if it waits in turn for what the calling thread loads."""
        me = get_ident()
        with _lock:
            step: Load | None = self
            while step is not None:
                if step.thread == me:
                    return False
                step = _waiting.get(step.thread)
            _waiting[me] = self
        try:
            self._ended.wait()
        finally:
            with _lock:
                del _waiting[me]
        return True

    def end(self) -> None:
        """Lets those go on who wait."""
        self._ended.set()


_lock = threading.Lock()
_loads: dict[str, Load] = {}  # by the module's name
_waiting: dict[int, Load] = {}  # by the thread that waits


class Claim:
    """``with Claim(name) as other``: the calling thread is to load the module if other is None.

    Else other is the load by another thread, in progress when it was looked for. Nothing interrupts
    what stands in the block.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._number = 0
        self._load: Load | None = None

    def __enter__(self) -> Load | None:
        self._number = loads.begins()
        with _lock:
            other = _loads.get(self._name)
            if other is None:
                self._load = _loads[self._name] = Load(self._number)
            elif other.thread == get_ident():
                other = None  # it reloads itself
        return other

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._load is not None:
            with _lock:
                del _loads[self._name]
            self._load.end()
        loads.ends(self._number)


class Spec(ModuleSpec):
    """A spec whose module importlib hands out at once while it loads, but to strangers, who wait."""

    @property
    def parent(self) -> str:
        """None: what an endpoint imports is not relative to owt's own package."""
        return ""

    @property
    def _initializing(self) -> bool:
        load = _loads.get(self.name)
        if load is not None and load.thread != get_ident() and get_ident() in load.strangers:
            number = loads.begins()
            load.wait()
            loads.ends(number)
        return False

    @_initializing.setter
    def _initializing(self, value: bool) -> None:
        pass  # importlib's own lock is not ours


def after_fork() -> list[str]:
    """In a child: loads of threads that are not there any more are none. The names of their modules."""
    global _lock
    _lock = threading.Lock()
    _waiting.clear()
    gone = [name for name, load in _loads.items() if load.thread != get_ident()]
    for name in gone:
        del _loads[name]
    return gone
