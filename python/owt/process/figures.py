"""pyplot's figures: each call has its own.

pyplot keeps the figures that it makes, and the one it draws on, for the whole process: the second call of an adaptor
that draws and saves would draw over what the first one drew, two calls at once on one figure. So what pyplot keeps is
kept with the call, and goes with it. Figures of an adaptor's top level are there in each of its calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from owt.process.borrowed import owner
from owt.process.imported import when_imported

if TYPE_CHECKING:
    from owt.process.request import Request

#: pyplot's managers of figures, by number; the one drawn on is the last.
Figures = OrderedDict[Any, Any]

_MODULE = "matplotlib._pylab_helpers"

#: Of threads and modules that belong to no call.
_nobodys: Figures = OrderedDict()


def _none() -> Figures | None:
    return None


#: The figures that the running adaptor's top level has made.
of_adaptor: Callable[[], Figures | None] = _none


def install() -> None:
    """Once, before anybody imports Matplotlib."""
    when_imported(_MODULE, _part)


def made() -> Figures | None:
    """What the call has had pyplot make so far; taken from it."""
    request = owner()
    return None if request is None else request.__dict__.pop("_figures", None)


def current(request: Request) -> Any:
    """The figure that the call has drawn on last by pyplot, and not closed; None if there is none."""
    mine: Figures | None = request.__dict__.get("_figures")
    if not mine:
        return None
    return next(reversed(mine.values())).canvas.figure


def _mine() -> Figures:
    request = owner()
    if request is None:
        return _nobodys
    mine: Figures | None = request.__dict__.get("_figures")
    if mine is None:
        mine = request.__dict__["_figures"] = OrderedDict(of_adaptor() or ())
    return mine


class _PerCall:
    """In the place of pyplot's dict: leads on to that of the call."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_mine(), name)

    def __getitem__(self, number: object) -> Any:
        return _mine()[number]

    def __setitem__(self, number: object, manager: object) -> None:
        _mine()[number] = manager

    def __delitem__(self, number: object) -> None:
        del _mine()[number]

    def __contains__(self, number: object) -> bool:
        return number in _mine()

    def __iter__(self) -> Iterator[Any]:
        return iter(_mine())

    def __reversed__(self) -> Iterator[Any]:
        return reversed(_mine())

    def __len__(self) -> int:
        return len(_mine())


def _part(module: Any) -> None:
    keeper = getattr(module, "Gcf", None)
    if isinstance(getattr(keeper, "figs", None), OrderedDict):
        keeper.figs = _PerCall()  # type: ignore[union-attr]
