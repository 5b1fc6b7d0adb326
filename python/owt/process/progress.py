"""How far a call is, for those who have asked for events: by owt.progress(), and by tqdm's bars as they are."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import operator
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, SupportsFloat

from owt.process import borrowed
from owt.process.imported import when_imported

if TYPE_CHECKING:
    from owt.process.request import Request


def progress(done: SupportsFloat, total: SupportsFloat | None = None, text: str = "") -> None:
    """Says that the running call has done so much of total (None: nobody knows how much there is), and in text what
    it does.

    Whoever has asked for the call's ``events`` is told, at most every 100 ms and of the last one in any case; else, and
    where no call runs, nothing happens. May be called as often as there is something to say, from any thread of the
    call. Raises TypeError or ValueError for what is no number.
    """
    told = {"done": _number(done), "total": None if total is None else _number(total), "text": str(text)}
    request = borrowed.owner()
    if request is not None and request._call.events:
        request._call.progress(json.dumps(told))


def _number(value: SupportsFloat) -> int | float | None:
    """As JSON has it; NumPy's and tensors' too. What is no finite number, or larger than any that all readers of JSON
    know, is nothing that can be told.
    """
    try:
        number = float(value)
    except OverflowError:
        return None
    except (TypeError, ValueError) as error:
        text = f"owt.progress(done, total=None, text='') wants numbers, and {value!r} came"
        raise (TypeError if isinstance(error, TypeError) else ValueError)(text) from None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return number if math.isfinite(number) else None


def install() -> None:
    """From now on tqdm's bars tell how far they are, as soon as somebody has imported it."""
    when_imported("tqdm.std", _watch)


def _watch(module: Any) -> None:
    bar = getattr(module, "tqdm", None)
    if bar is not None and not hasattr(bar.display, "_owt"):
        bar.display = _telling(bar.display)
        bar.refresh = _letting_go(bar.refresh)
        if "_lock" not in vars(bar):
            lock = _Lock()
            lock.usual = module.TqdmDefaultWriteLock
            bar.set_lock(lock)


def _telling(display: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(display)
    def telling(bar: Any, *arguments: Any, **named: Any) -> Any:
        result = display(bar, *arguments, **named)
        request = borrowed.owner()
        if request is not None and request._call.events and _is_outermost(bar, request):
            with contextlib.suppress(TypeError, ValueError):  # what the bar itself could show
                progress(bar.n, bar.total, str(bar.desc or "").removesuffix(": "))
        return result

    telling._owt = True  # type: ignore[attr-defined]
    return telling


class _Lock(type(threading.RLock())):  # type: ignore[misc]
    """That of all bars. tqdm's own is two that are taken one after the other, in Python, where Cancelled may come
    between and leave them taken for ever; this one's ``with`` is one step.
    """

    usual: Any

    @property
    def mp_lock(self) -> Any:
        """For processes that a call starts, as tqdm.contrib.concurrent does."""
        self.usual.create_mp_lock()
        return self.usual.mp_lock


def _letting_go(refresh: Callable[..., bool]) -> Callable[..., bool]:
    """tqdm's own would keep the lock of all bars of the process if it is interrupted, as by a client that leaves."""

    @functools.wraps(refresh)
    def letting_go(bar: Any, nolock: bool = False, lock_args: Any = None) -> bool:
        if nolock or bar.disable:
            return refresh(bar, nolock=True)
        if not lock_args:
            with bar._lock:
                return refresh(bar, nolock=True)
        if bar._lock.acquire(*lock_args) is False:
            return False
        try:
            return refresh(bar, nolock=True)
        finally:
            bar._lock.release()

    return letting_go


def _is_outermost(bar: Any, request: Request) -> bool:
    """Of bars within bars the first one says how far the call is."""
    bars: list[weakref.ref[Any]] = request.__dict__.setdefault("_bars", [])
    # A bar that is closed is disabled, and then shown once more.
    bars[:] = [ref for ref in bars if (other := ref()) is bar or (other is not None and not other.disable)]
    if not any(ref() is bar for ref in bars):
        bars.append(weakref.ref(bar))
    return bool(bars) and bars[0]() is bar  # another thread's bars may have come meanwhile
