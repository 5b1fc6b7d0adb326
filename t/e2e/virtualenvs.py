"""Virtualenvs, empty ones and such with what Debian has not, for tests of how owt gets along with it. Those that have
something stay in build/venvs.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import ROOT

VENVS = ROOT / "build" / "venvs"


def bare(home: Path) -> Path:
    """A new virtualenv of the system's Python, which has no packages, nor pip."""
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", home], check=True)
    return home


def packages_of(home: Path) -> Path:
    """Where a virtualenv has its packages."""
    (found,) = home.glob("lib/python3*/site-packages")
    return found


def virtualenv(name: str, *requirements: str) -> Path:
    """The Python of a virtualenv that has these packages; skips the test where they are not to be had."""
    home = VENVS / f"{name}-{hashlib.sha256(repr(requirements).encode()).hexdigest()[:8]}"
    VENVS.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "complete").exists():
            _make(home, requirements)
    return home / "bin" / "python"


def _make(home: Path, requirements: tuple[str, ...]) -> None:
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run(["/usr/bin/python3", "-m", "venv", str(home)], check=True, timeout=300)
    install = [str(home / "bin" / "pip"), "--quiet", "--disable-pip-version-check", "install", *requirements]
    done = subprocess.run(install, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        shutil.rmtree(home, ignore_errors=True)
        pytest.skip(f"{', '.join(requirements)} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    (home / "complete").touch()
