"""How far a call is, for those who have asked for events: by owt.progress(), and by tqdm's bars as they are."""

from __future__ import annotations

import functools
import json
import math
import operator
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
    """As JSON has it; NumPy's and tensors' too. What is no finite number is nothing that JSON could say."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        text = f"owt.progress(done, total=None, text='') wants numbers, and {value!r} came"
        raise type(error)(text) from None
    return number if math.isfinite(number) else None


def install() -> None:
    """From now on tqdm's bars tell how far they are, as soon as somebody has imported it."""
    when_imported("tqdm.std", _watch)


def _watch(module: Any) -> None:
    bar = getattr(module, "tqdm", None)
    if bar is not None and not hasattr(bar.display, "_owt"):
        bar.display = _telling(bar.display)


def _telling(display: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(display)
    def telling(bar: Any, *arguments: Any, **named: Any) -> Any:
        result = display(bar, *arguments, **named)
        request = borrowed.owner()
        if request is not None and request._call.events and _is_outermost(bar, request):
            progress(bar.n, bar.total, (bar.desc or "").removesuffix(": "))
        return result

    telling._owt = True  # type: ignore[attr-defined]
    return telling


def _is_outermost(bar: Any, request: Request) -> bool:
    """Of bars within bars the first one says how far the call is."""
    bars: list[weakref.ref[Any]] = request.__dict__.setdefault("_bars", [])
    # A bar that is closed is disabled, and then shown once more.
    bars[:] = [ref for ref in bars if (other := ref()) is bar or (other is not None and not other.disable)]
    if not any(ref() is bar for ref in bars):
        bars.append(weakref.ref(bar))
    return bars[0]() is bar
