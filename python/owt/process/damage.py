"""What one adaptor may do to the interpreter that no other call can live with: found once a call has failed, put right
where that can be done. What cannot be put right costs the process.

Nothing here trusts ``builtins``, which may be what is broken.
"""

from __future__ import annotations

import importlib  # noqa: F401 - with its parts
import os
import sys
from typing import Any

from owt.process.refusal import SHORT_OF_DESCRIPTORS

_PACKAGE = __name__.partition(".")[0]
#: What loads an adaptor.
_LOADER = f"{__file__.rpartition('/process/')[0]}/endpoint/loaded.py"
#: What the name of every adaptor's file begins with.
_ADAPTOR = "/sha256_"

_ids: tuple[int, ...] = ()
#: Whose names all code calls, most of it without knowing; and what they were.
_namespaces: list[dict[str, Any]] = [
    vars(sys.modules[name])
    for name in ("builtins", "importlib", "importlib._bootstrap", "importlib._bootstrap_external")
]
_functions: list[dict[str, Any]] = []
_modules: dict[str, Any] = {}
_finders: dict[str, list[Any]] = {}
_callable, _type, _list, _getattr, _zip = callable, type, list, getattr, zip
_BaseException = BaseException
_sys = sys
_getuid, _getgid, _geteuid, _getegid = os.getuid, os.getgid, os.geteuid, os.getegid
_audit = sys.audit


def remember() -> None:
    """Notes how the interpreter is before the first call."""
    global _ids
    _ids = _whose()
    _functions[:] = [{name: value for name, value in names.items() if callable(value)} for names in _namespaces]
    _modules.update(sys.modules)
    for name in ("meta_path", "path_hooks", "path"):
        _finders[name] = list(getattr(sys, name))


def repair(error: BaseException, path: str) -> str:
    """After a call of the adaptor whose file is at path has failed: puts back what is missing or broken.

    What is beyond repair, for the log; empty if nothing is.
    """
    if not _functions:
        return ""  # nothing has been noted
    _repair_functions(error, path)
    why = _repair_imports()
    if _whose() != _ids:
        why = "an adaptor has changed the process's user or group"
    return why or _probe()


def is_others(error: BaseException, path: str) -> bool:
    """Whether loading the adaptor at path failed before its first line, which is not its own doing."""
    if isinstance(error, OSError) and error.errno in SHORT_OF_DESCRIPTORS:
        return False
    files = []
    trace = error.__traceback__
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return _LOADER in files and path not in files


def _whose() -> tuple[int, ...]:
    return _getuid(), _geteuid(), _getgid(), _getegid()


def _repair_functions(error: BaseException, path: str) -> None:
    for names, noted in _zip(_namespaces, _functions):
        for name, value in noted.items():
            now = names.get(name)
            if now is not value and (not _callable(now) or _is_to_blame(now, error, path)):
                names[name] = value


def _is_to_blame(replacement: Any, error: BaseException, path: str) -> bool:
    """Whether a call failed in a function that another adaptor has put in this one's place."""
    code = _getattr(replacement, "__code__", None)
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is code:
            return code.co_filename != path and _ADAPTOR in code.co_filename
        trace = trace.tb_next
    return False


def _repair_imports() -> str:
    for name, noted in _finders.items():
        now: Any = _sys.__dict__.get(name)
        if _type(now) is not _list:
            now = _sys.__dict__[name] = []
        missing = [one for one in noted if one not in now]
        if missing:
            now.extend(missing)
            _sys.path_importer_cache.clear()  # who found nothing meanwhile
    modules = _sys.modules
    if "sys" in modules and "builtins" in modules and _PACKAGE in modules:
        return ""
    for name, module in _modules.items():
        modules.setdefault(name, module)
    return "an adaptor has emptied sys.modules"


def _probe() -> str:
    try:
        _audit("import", _PACKAGE, None, _sys.path, _sys.meta_path, _sys.path_hooks)
        _audit("open", os.devnull, "r", 0)
        _audit("compile", None, None)
        _audit("exec", None)
    except _BaseException:
        return "an audit hook of an adaptor's raises, and there is no taking it back"
    return ""
