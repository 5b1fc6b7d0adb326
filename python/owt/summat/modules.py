"""Blocks that bring in Python modules: importing, installing."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from owt.process.installed import RELOAD, versions
from owt.process.waiting import apart
from owt.summat.adaptor import Adaptor, Passthrough, Result, show, show_function

_IMPORT = re.compile(r"\s*(?P<module>\w+(\.\w+)*)(\s+as\s+(?P<name>\w+))?\s*")


class Importing(Adaptor[Any]):
    """``importing(*modules)``: imports modules and calls callables, in their order; all passes on.

    ``"os.path"`` and ``"numpy as np"`` bind the name that an import statement would, in namespace. What
    is callable is called without arguments, each time that the stage runs.
    """

    def __init__(self, modules: Sequence[str | Callable[[], object]], namespace: dict[str, Any]) -> None:
        self.modules = modules
        self.namespace = namespace
        self.steps = [module if callable(module) else self._importer(module) for module in modules]

    def _importer(self, text: str) -> Callable[[], object]:
        match = _IMPORT.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(f'importing() takes names as "numpy" or "numpy as np", and callables, not {show(text)}')
        module, name = match["module"], match["name"]

        def run() -> None:
            found = importlib.import_module(module)
            top = module.partition(".")[0]
            self.namespace[name or top] = found if name else sys.modules[top]

        return run

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        for step in self.steps:
            step()
        return Passthrough()

    def __repr__(self) -> str:
        return f"importing({', '.join(map(show_function, self.modules))})"


class Installing(Adaptor[Any]):
    """``installing(*packages)``: installs them by pip (or uv) into the virtualenv of this process; all passes on.

    A package is what pip takes: a requirement (``"six>=1.16"``), the path of a wheel, an archive or a
    source tree, a URL. A requirement that is satisfied already costs a look; the rest is given to pip
    once in a process. Processes that share the virtualenv take turns. A call that is cancelled
    meanwhile leaves pip alone: the next one finds the package installed.

    Raises InstallFailed with what pip says, and where there is no virtualenv.
    """

    def __init__(self, packages: Sequence[str | os.PathLike[str]]) -> None:
        self.packages = [os.fspath(package) for package in packages]
        for package in self.packages:
            if package.startswith("-"):
                raise ValueError(
                    f"installing() takes packages, not pip's option {package!r}: set it in the environment, as"
                    " env PIP_INDEX_URL=... in owt_instance"
                )

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        if not _installed.issuperset(self.packages):
            apart(self._install)
        return Passthrough()

    def _install(self) -> None:
        with _lock:
            missing = self._missing()
            if missing:
                with _turn():
                    importlib.invalidate_caches()
                    missing = self._missing()  # others may have been at it
                    if missing:
                        _pip(missing)
                        importlib.invalidate_caches()
            _refuse_old(self.packages)
            _installed.update(self.packages)

    def _missing(self) -> list[str]:
        return [p for p in self.packages if p not in _installed and not is_satisfied(p)]

    def __repr__(self) -> str:
        return f"installing({', '.join(map(show, self.packages))})"


class InstallFailed(Exception):
    """What pip says about packages that it could not install, or why it was not asked."""


_lock = threading.Lock()
#: What this process need not look at again.
_installed: set[str] = set()


def is_satisfied(package: str) -> bool:
    """Whether package is a requirement (PEP 508) that what is installed satisfies.

    False for what only pip can tell: extras, paths and URLs.
    """
    from importlib import metadata

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(package)
    except InvalidRequirement:
        return False
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    if requirement.url or requirement.extras:
        return False
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    return requirement.specifier.contains(version, prereleases=True)


def _refuse_old(packages: list[str]) -> None:
    """InstallFailed if this process had imported another version than is wanted and, by now, installed."""
    from packaging.requirements import InvalidRequirement, Requirement

    for package in packages:
        with suppress(InvalidRequirement):
            requirement = Requirement(package)
            loaded, there = versions(requirement.name) or ("", "")
            if loaded and not requirement.specifier.contains(loaded, prereleases=True):
                raise InstallFailed(
                    f"{requirement.name} {there} is installed, as {package!r} wants it, and this process has imported"
                    f" {loaded} already. For the other to be imported, {RELOAD}."
                )


@contextmanager
def _turn() -> Iterator[None]:
    """The virtualenv is this process's to change. InstallFailed where there is none that it may change."""
    import fcntl

    if sys.prefix == sys.base_prefix:
        raise InstallFailed(
            "packages are installed into a virtualenv, and this Python runs in none: make one by"
            " `python3 -m venv DIR` and name it in nginx.conf, `owt_instance default { python_home DIR; }`"
        )
    try:
        file = (Path(sys.prefix) / ".owt-installing").open("w")
    except OSError as error:
        raise InstallFailed(
            f"the virtualenv {sys.prefix} cannot be written ({error.strerror}): let nginx's user own it, and"
            " name it in `writable` if the instance has such a line"
        ) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _pip(packages: list[str]) -> None:
    """By pip; in a virtualenv that has none, as uv makes them, by uv."""
    import subprocess

    command = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", *packages]
    uv = None if importlib.util.find_spec("pip") else _uv()
    if uv:
        command = [uv, "pip", "install", "--python", sys.executable, *packages]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="backslashreplace"
    )
    if done.returncode != 0:
        hint = ""
        if "No module named pip" in done.stdout:
            hint = (
                f"\nIts virtualenv was made without pip: run `{shlex.quote(sys.executable)} -m ensurepip`, or let uv be"
                " found, as by `env PATH=...` in owt_instance."
            )
        raise InstallFailed(
            f"{'uv' if uv else 'pip'} ended with status {done.returncode}:\n{done.stdout.strip()}{hint}"
        )
    print(done.stdout)


def _uv() -> str | None:
    """Where uv is: on PATH, in the virtualenv, or where its installer puts it."""
    import shutil

    path = os.environ.get("PATH", os.defpath)
    places = [path, f"{sys.prefix}/bin", str(Path("~/.local/bin").expanduser()), "/usr/local/bin"]
    return shutil.which("uv", path=os.pathsep.join(places))
