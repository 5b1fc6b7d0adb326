"""What is answered by objects of others: exceptions that say a status, and responses of Starlette and FastAPI."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from werkzeug.exceptions import HTTPException

from owt.answer.cannot import CannotSend, named

if TYPE_CHECKING:
    from owt.process.request import Request


def raised(error: Exception, request: Request) -> object:
    """What to answer with where an adaptor raised that: abort(404), Starlette's and FastAPI's HTTPException.

    None for any other exception.
    """
    kind = type(error)  # whatever its __class__ says, or does
    known = cast(Any, error)
    if issubclass(kind, HTTPException):
        return known.get_response(request.environ)
    if not issubclass(kind, getattr(sys.modules.get("starlette.exceptions"), "HTTPException", ())):
        return None
    headers = dict(known.headers or {})
    if known.status_code in (204, 304):
        return b"", known.status_code, headers
    if type(known).__module__.partition(".")[0] == "fastapi":
        return {"detail": known.detail}, known.status_code, headers
    return str(known.detail), known.status_code, {"Content-Type": "text/plain; charset=utf-8", **headers}


def is_starlette(value: object) -> bool:
    """Whether value is a Response of Starlette, and so of FastAPI."""
    return isinstance(value, getattr(sys.modules.get("starlette.responses"), "Response", ()))


def unwrap(response: Any, said: str) -> tuple[object, int, list[tuple[str, str]]]:
    """Body, status and headers: what an adaptor could have returned instead. CannotSend where that is not all."""
    if getattr(response, "background", None) is not None:
        raise CannotSend(
            f"{said} {named(response)} with background tasks, which nobody would run: start a thread, or yield the"
            " answer and go on after it"
        )
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
    body: object = getattr(response, "body", b"") or None
    if hasattr(response, "body_iterator"):
        body = response.body_iterator
    elif hasattr(response, "path"):
        body = Path(response.path)
        headers = [(name, value) for name, value in headers if name not in ("content-length", "etag", "last-modified")]
    return body, response.status_code, headers
