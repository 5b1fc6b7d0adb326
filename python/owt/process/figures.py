"""pyplot's figures: each call has its own.

pyplot keeps the figures that it makes, and the one it draws on, for the whole process: the second call of an adaptor
that draws and saves would draw over what the first one drew, two calls at once on one figure. So what pyplot keeps is
kept with the call, and goes with it. Figures of an adaptor's top level are there in each of its calls.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

from owt.process.borrowed import owner

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
    sys.meta_path.insert(0, _Finder())


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


class _Finder(MetaPathFinder):
    """Sees the module that holds the figures when it is imported, whoever does so."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        keeper = getattr(module, "Gcf", None)
        if isinstance(getattr(keeper, "figs", None), OrderedDict):
            keeper.figs = _PerCall()  # type: ignore[union-attr]
