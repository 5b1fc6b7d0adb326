"""Parameters in a multipart form. What the fields mean is decided where it is for every kind of body."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from owt.asked import multipart
from owt.process.refusal import Refusal

if TYPE_CHECKING:
    from _owt import Call

    from owt.process.request import Request

#: Fields of owt's own: sent as a file, they are read as text.
_OWN = frozenset(
    (
        "code",
        "code_b64",
        "code_id",
        "fn_name",
        "kwargs",
        "kwargs_b64",
        "use_cache",
        "cache_kwargs",
        "cache_key_override",
        "events",
    )
)


def _own(call: Call) -> frozenset[str]:
    """A published function has its fields for itself."""
    return frozenset() if call.published else _OWN


def read(call: Call, request: Request) -> tuple[str, str, dict[str, Any], str | None]:
    """The code's id, the function's name, the keyword arguments and the text of ``kwargs``.

    File parts are keyword arguments as FileStorage (several of one name: a list), unless the code came
    as ``code_b64``. Raises Refusal (400, or 413 for a form of too many parts).
    """
    fields, files = multipart.parse(request)
    own = _own(call)
    for name, file in files:
        if name in own:
            try:
                fields.append((name, file.read().decode()))
            except UnicodeDecodeError as error:
                raise multipart.not_text(name, where=f" at byte {error.start}") from None
            file.seek(0)
    try:
        code_id, fn_name, kwargs, text = call.read_form(fields)
    except ValueError as error:
        raise Refusal(400, "bad-parameters", str(error)) from None
    if call.published or not any(name == "code_b64" and value for name, value in fields):
        _add_files(files, kwargs, call)
    return code_id, fn_name, kwargs, text


def _add_files(files: multipart.Files, kwargs: dict[str, Any], call: Call) -> None:
    """Files that have one name are a list, with the texts of that name before them."""
    own = _own(call)
    by_name: dict[str, list[Any]] = {}
    for name, file in files:
        if name not in own:
            by_name.setdefault(name, []).append(file)
    for name, found in by_name.items():
        if name in kwargs:
            found = [*((call.repeated or {}).get(name) or [kwargs[name]]), *found]
        kwargs[name] = found if len(found) > 1 else found[0]


def digest(request: Request) -> str:
    """A SHA-256 of the files among the arguments, with their names and types; empty if there are none."""
    total = None
    own = _own(request._call)
    for name, file in request.files.items(multi=True):
        if name not in own:
            content = hashlib.sha256()
            while block := file.read(1 << 20):
                content.update(block)
            file.seek(0)
            total = total or hashlib.sha256()
            total.update(repr((name, list(file.headers), content.digest())).encode(errors="backslashreplace"))
    return total.hexdigest() if total else ""
