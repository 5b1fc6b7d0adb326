"""Responses of Starlette and FastAPI, which adaptors return that were written for those."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from owt.answer.cannot import CannotSend, named


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
