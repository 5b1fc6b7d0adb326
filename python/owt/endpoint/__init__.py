"""An endpoint is a file: ``sha256_<64 hex digits>.py`` in owt_dir, imported as ``owt.endpoint.<stem>``.

This is the package of all endpoints. It imports them in any process that has OWT_DIR in its
environment when the first is asked for, so that their classes pickle and ``multiprocessing`` finds
them in its children.
"""

from __future__ import annotations

import linecache
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import owt
from owt.endpoint import children, loading
from owt.endpoint.source import compile_source, decode

PREFIX = f"{__name__}.sha256_"
#: What the modules of files begin with that have a path of their own, see ``files``.
FILE_PREFIX = f"{__name__}.file:"

#: Is given each endpoint's module, its source and whether loading it was what imported Flask, before
#: anybody else sees the module. The server registers its endpoints so; other processes need not.
on_load: Callable[[ModuleType, bytes, bool], None] | None = None

#: Is given each endpoint's module before its source runs, once that has been compiled.
before_run: Callable[[ModuleType], None] | None = None

#: Is told of each endpoint that is dropped.
on_discard: Callable[[str], None] | None = None


_directory = ""


def directory() -> str:
    """owt_dir, absolute: as the environment had it when first asked. KeyError where it does not tell it."""
    global _directory
    if not _directory:
        _directory = os.environ["OWT_DIR"]
    return _directory


def path_of(code_id: str) -> str:
    """The file that holds, or would hold, the source with this SHA-256 (64 hex digits). What is published is known by
    its own path.
    """
    return code_id if code_id.startswith("/") else f"{directory()}/sha256_{code_id}.py"


class Loader(SourceFileLoader):
    """Loads an endpoint's file: any of the three ways to write an adaptor, after the prelude."""

    source = b""
    expression = False

    def get_data(self, path: str) -> bytes:
        data = super().get_data(path)
        if path == self.path:
            self.source = data
        return data

    def get_source(self, fullname: str) -> str:
        """The text, as inspect and tracebacks ask for it. Raises ImportError if it is gone."""
        try:
            return decode(self.get_data(self.path))
        except (OSError, UnicodeDecodeError) as error:
            raise ImportError(f"the source of {fullname} is gone: {error}", name=fullname) from error

    def source_to_code(  # type: ignore[override]
        self, data: bytes, path: str, *, _optimize: int = -1
    ) -> CodeType:
        code, self.expression = compile_source(data, path)
        return code

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        # What an expression compiles to depends on the names that the pipeline has today.
        if not self.expression:
            super().set_data(path, data, _mode=_mode)

    def exec_module(self, module: ModuleType) -> None:
        """As the import system wants it: module lies in ``sys.modules`` already.

        If another thread loads this endpoint it is that one's module which is there in the end.
        """
        name = module.__name__
        waiting = True
        while waiting:
            with loading.Claim(name) as other:
                if other is not None:
                    waiting = other.wait()
                    continue
                known = globals().get(name.rpartition(".")[2], module)
                sys.modules[name] = known
                if known is module:
                    self.run(module)
                return

    def run(self, module: ModuleType) -> None:
        """Runs the source in module, whose load the calling thread has claimed."""
        source = self.get_data(self.path)
        code = self.get_code(module.__name__)
        assert code is not None
        namespace = vars(module)
        namespace.update({name: getattr(owt, name) for name in owt.__all__})
        _show_lines(self.path, source)
        self.begins(module)
        had_flask = "flask" in sys.modules
        if on_load is None:
            children.end_with_parent()
        with children.as_far_as_needed():
            exec(code, namespace)
        self.ended(module, source, not had_flask and "flask" in sys.modules)

    def begins(self, module: ModuleType) -> None:
        """The source is about to run in module."""
        if before_run is not None:
            before_run(module)

    def ended(self, module: ModuleType, source: bytes, imported_flask: bool) -> None:
        """The source has run in module."""
        if on_load is not None:
            on_load(module, source, imported_flask)


def load(code_id: str) -> ModuleType:
    """Loads an endpoint whose load the calling thread has claimed: what importing it does, without importlib's lock.

    Raises ModuleNotFoundError if its file is not there, and whatever running the source raises.
    """
    name = PREFIX + code_id
    spec = Finder.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(f"{path_of(code_id)} is not there", name=name)
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        assert isinstance(spec.loader, Loader)
        spec.loader.run(module)
    except BaseException:
        if sys.modules.get(name) is module:
            del sys.modules[name]
        raise
    globals()[f"sha256_{code_id}"] = module
    return module


def _show_lines(path: str, source: bytes) -> None:
    """Keeps the source for tracebacks and inspect, though the file may be pruned meanwhile."""
    lines = [line + "\n" for line in decode(source).removesuffix("\n").split("\n")]
    linecache.cache[path] = (len(source), None, lines, path)


class Finder:
    """Finds endpoints' modules for the import system."""

    _name = re.compile(re.escape(PREFIX) + "([0-9a-f]{64})")

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of an endpoint whose file is there, else None."""
        if name.startswith(FILE_PREFIX):
            from owt.endpoint import files

            return files.find_spec(name)
        match = cls._name.fullmatch(name)
        if match is None:
            return None
        try:
            file = path_of(match[1])
        except KeyError:
            return None
        if not Path(file).exists():
            return None
        spec = loading.Spec(name, Loader(name, file), origin=file)
        spec.has_location = True
        return spec


def discard(code_id: str) -> None:
    """Drops a loaded endpoint's module. Calls that still run in it keep what they use."""
    if on_discard is not None:
        on_discard(code_id)
    stem = f"sha256_{code_id}"
    sys.modules.pop(PREFIX + code_id, None)
    globals().pop(stem, None)
    linecache.cache.pop(path_of(code_id), None)


def after_fork() -> None:
    """In a forked child: what other threads were loading it may load itself."""
    for name in loading.after_fork():
        sys.modules.pop(name, None)
    children.after_fork()


sys.meta_path.append(Finder)
