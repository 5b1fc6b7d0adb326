"""Requests as a location gets them."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

from fake_owt import Call


@pytest.fixture
def ask(log: Any) -> Iterator[Callable[..., Any]]:
    """Makes a request the running call's: ask(path, method=..., headers=..., body=...)."""
    from owt.process.context import current
    from owt.process.request import Request

    def ask(
        path: str = "/api/", method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Request:
        path, _, query = path.partition("?")
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "HTTP_HOST": "owt.example:8080",
            "CONTENT_LENGTH": str(len(body)),
        }
        for name, value in (headers or {}).items():
            key = name.upper().replace("-", "_")
            environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
        request = Request.__new__(Request)
        request._call = Call(environ=environ, body=body)
        current.set(request)
        return request

    before = current.set(None)  # type: ignore[arg-type]
    yield ask
    current.reset(before)
