"""What is changed in others' modules as soon as somebody imports them. Who imports none pays nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_changes: dict[str, Callable[[Any], None]] = {}


def when_imported(name: str, change: Callable[[Any], None]) -> None:
    """Calls change with the module of this name: now, if it is there, and whenever it is imported (anew)."""
    if not _changes:
        sys.meta_path.insert(0, _Finder())
    _changes[name] = change
    module = sys.modules.get(name)
    if module is not None:
        change(module)


class _Finder(MetaPathFinder):
    """Sees the modules when they are imported, whoever does so."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _changes:
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
        _changes[module.__name__](module)
