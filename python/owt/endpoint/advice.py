"""What a traceback alone does not say: how to get a module that is missing, how a block is written in a module."""

from __future__ import annotations

import sys
from pathlib import Path

from owt.endpoint.source import stages

#: How Python's json, and others like it, refuse a value.
_NO_JSON = "is not JSON serializable"


def advise(error: BaseException) -> str:
    """What to do about an adaptor's failure, as lines to add to its traceback; empty if there is nothing to say."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing_module(error.name)
    if isinstance(error, TypeError) and str(error).endswith(_NO_JSON):
        return (
            "json.dumps() does not know it. Return the value itself, alone or in a dict or a list: answers are made"
            " JSON with NumPy's, pandas' and torch's values, dates, sets, Enums and dataclasses in them.\n"
        )
    if isinstance(error, NameError) and error.name and error.name in stages():
        return f"{error.name}() begins a pipeline. In a module, write pipe().{error.name}(...).\n"
    return ""


def _missing_module(name: str) -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sys.prefix == sys.base_prefix:
        return (
            f"{name!r} is not in this server's Python {version} ({sys.prefix}, the system's own). To add it: install"
            " the system's package for it; or make a virtualenv (python3 -m venv --system-site-packages DIR),"
            " install it there, and name the virtualenv in the server's owt_instance: python_home DIR;\n"
        )
    return (
        f"{name!r} is not in this server's virtualenv {sys.prefix} (Python {version}). To add what provides it:"
        f" {Path(sys.prefix, 'bin', 'pip')} install PACKAGE; or let the adaptor do so, once:"
        " pipe().installing('PACKAGE').importing(...).\n"
    )
