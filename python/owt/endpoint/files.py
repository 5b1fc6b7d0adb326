"""Endpoints whose files lie where somebody has put them: what the configuration publishes.

Such a file is imported as ``owt.endpoint.file:<its path>:<SHA-256 of its source>``, so that versions of it are
modules apart, and a process that ``multiprocessing`` starts for a call gets the version that the call runs. Nothing
compiled is kept: it would lie beside the file, where Python looks for what it has made of the file itself.
"""

from __future__ import annotations

import hashlib
import linecache
import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import CodeType, ModuleType
from urllib.parse import quote, unquote

from owt import endpoint
from owt.endpoint import loading


class FileLoader(endpoint.Loader):
    """Loads one version of a file."""

    imported_flask = False

    def __init__(self, fullname: str, path: str, source: bytes | None = None) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_data(self, path: str) -> bytes:
        """The source of this version, also when the file has another one by now; else a file as it is."""
        if path != self.path:
            return super().get_data(path)
        if self._source is None:
            self._source = _find(path, self.name.rpartition(":")[2])
        return self._source

    def get_code(self, fullname: str) -> CodeType:
        """Compiles the source."""
        return self.source_to_code(self.get_data(self.path), self.path)

    def begins(self, module: ModuleType) -> None:
        """Nothing has to make room for what the configuration names."""

    def ended(self, module: ModuleType, source: bytes, imported_flask: bool) -> None:
        """Who loads it takes it in."""
        self.imported_flask = imported_flask


def version_of(source: bytes) -> str:
    """What tells a version of a file: the SHA-256 of its source."""
    return hashlib.sha256(source).hexdigest()


def name_of(path: str, version: str) -> str:
    """The name of the module that this version of a file is."""
    return f"{endpoint.FILE_PREFIX}{quote(path).replace('.', '%2E')}:{version}"


def find_spec(name: str) -> ModuleSpec | None:
    """The spec of such a module, for a process that looks for it by its name."""
    path = unquote(name.removeprefix(endpoint.FILE_PREFIX).rpartition(":")[0])
    return _spec(name, path, FileLoader(name, path)) if path.startswith("/") else None


def load(path: str, source: bytes) -> tuple[ModuleType, bool]:
    """Runs a source as the file at path, whose load the calling thread has claimed; True if that imported Flask.

    Raises whatever running it raises.
    """
    name = name_of(path, version_of(source))
    loader = FileLoader(name, path, source)
    module = module_from_spec(_spec(name, path, loader))
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        loader.run(module)
    except BaseException:
        _put_back(name, module, before)
        raise
    return module, loader.imported_flask


def discard(module: ModuleType) -> None:
    """Drops a version that nothing runs any more."""
    _put_back(module.__name__, module, None)


def lines_of(path: str) -> object:
    """What tracebacks show of the file now."""
    return linecache.cache.get(path)


def show_lines(path: str, lines: object) -> None:
    """Has tracebacks show again what ``lines_of`` gave."""
    if lines is None:
        linecache.cache.pop(path, None)
    else:
        linecache.cache[path] = lines  # type: ignore[assignment]


def _put_back(name: str, module: ModuleType, before: ModuleType | None) -> None:
    if sys.modules.get(name) is not module:
        return
    if before is None:
        del sys.modules[name]
    else:
        sys.modules[name] = before


def _spec(name: str, path: str, loader: FileLoader) -> ModuleSpec:
    spec = loading.Spec(name, loader, origin=path)
    spec.has_location = True
    return spec


def _find(path: str, version: str) -> bytes:
    """The source of this version: the file itself, if it still has it, else the copy in owt_dir."""
    for file in (path, endpoint.path_of(version)):
        try:
            source = Path(file).read_bytes()
        except OSError:
            continue
        if version_of(source) == version:
            return source
    raise ImportError(f"{path} has changed, and what it was is gone", path=path)
