"""What has become of a Python's packages since this process has begun: what is imported stays as it was."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

#: What has to be typed for what is new to be found.
RELOAD = "reload nginx (nginx -s reload), or start owt-server again"

_began = time.time()


def _folders() -> list[Path]:
    """Where this Python has packages."""
    return [Path(folder) for folder in sys.path if folder.endswith(("/site-packages", "/dist-packages"))]


def is_newer(path: Path) -> bool:
    """Whether a file has come since. Not by when it was written: uv makes links to what it has long had."""
    try:
        return path.stat().st_ctime >= _began
    except OSError:
        return False


def new_path_files() -> list[Path]:
    """Those by which ``pip install -e`` says where a package lies. Python reads them when it starts, and not again."""
    return [path for folder in _folders() for path in sorted(folder.glob("*.pth")) if is_newer(path)]


def is_another_pythons() -> bool:
    """Whether this virtualenv has been made again with another Python, for whose version alone it has packages."""
    import sysconfig

    return sys.prefix != sys.base_prefix and not Path(sysconfig.get_path("purelib")).is_dir()


def versions(distribution: str, modules: Iterable[str] = ()) -> tuple[str, str] | None:
    """Which version of a package's modules this process has, and which has been installed since, if they are two.

    None also for what has not been imported, or does not say its version.
    """
    from importlib import metadata

    from packaging.version import InvalidVersion, Version

    try:
        found = metadata.distribution(distribution)
        there = Version(found.version)
    except (metadata.PackageNotFoundError, InvalidVersion):
        return None
    for name in modules or (found.read_text("top_level.txt") or distribution.replace("-", "_")).split():
        loaded = getattr(sys.modules.get(name), "__version__", None)
        with suppress(InvalidVersion):
            if isinstance(loaded, str) and _has_changed(name) and Version(loaded) != there:
                return loaded, found.version
    return None


def replaced(modules: Iterable[str]) -> str:
    """Which of these modules are of a version that is no longer the one installed, in words; empty if none is."""
    changed = sorted(name for name in modules if _has_changed(name))
    if not changed:
        return ""
    from importlib import metadata

    brought_by = metadata.packages_distributions()
    for name in changed:
        for distribution in brought_by.get(name, ()):
            if both := versions(distribution, [name]):
                of = "" if name == distribution else f"{name} of "
                return (
                    f"This process has imported {of}{distribution} {both[0]}, in whose place {both[1]} has been"
                    f" installed since. For the new one to be imported, {RELOAD}."
                )
    return ""


def _has_changed(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    return isinstance(file, str) and is_newer(Path(file))
