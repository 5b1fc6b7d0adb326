"""The trace that a call belongs to, as its caller says in ``traceparent`` (W3C Trace Context), goes on with requests
that the call makes: by http.client (with urllib and requests), httpx and aiohttp, unless the adaptor says another one.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from owt.process.borrowed import owner
from owt.process.imported import when_imported

if TYPE_CHECKING:
    from _owt import Call


class Trace(NamedTuple):
    """Where a call stands in a trace: its id, whether it is recorded and such, and what tracing systems add."""

    id: str
    flags: str
    state: str

    def headers(self) -> list[tuple[str, str]]:
        """What a request says that goes on with it; each is a step of its own."""
        headers = [("traceparent", f"00-{self.id}-{os.urandom(8).hex()}-{self.flags}")]
        return [*headers, ("tracestate", self.state)] if self.state else headers


def of(call: Call) -> Trace | None:
    """The trace that a call belongs to, if its caller has named one."""
    id = call.trace_id
    if not id:
        return None
    environ = call.environ()
    version, _, _, flags, *_ = environ["HTTP_TRACEPARENT"].split("-")
    if version != "00":  # of what a later one means by its flags only this is known
        flags = f"{int(flags, 16) & 1:02x}"
    return Trace(id, flags, environ.get("HTTP_TRACESTATE", ""))


def note(call: Call) -> str:
    """What a line of the log adds for a call that belongs to a trace."""
    return f", trace: {call.trace_id}" if call.trace_id else ""


def current() -> Trace | None:
    """The trace of the call that runs here, or that this thread belongs to."""
    request = owner()
    if request is None:
        return None
    names = request.__dict__
    if "_trace" not in names:
        names["_trace"] = of(request._call)
    trace: Trace | None = names["_trace"]
    return trace


def install() -> None:
    """From now on requests that calls make carry on their traces."""
    when_imported("http.client", _trace_http_client)
    when_imported("httpx", _trace_httpx)
    when_imported("aiohttp", _trace_aiohttp)


def _around(owner: type, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Once, also for a module that is imported anew."""
    original = getattr(owner, name)
    if not hasattr(original, "_owt"):
        wrapped = functools.wraps(original)(wrap(original))
        wrapped._owt = True  # type: ignore[attr-defined]
        setattr(owner, name, wrapped)


def _trace_http_client(module: Any) -> None:
    connection = module.HTTPConnection

    def begin(original: Callable[..., Any]) -> Callable[..., Any]:
        def putrequest(self: Any, *arguments: Any, **named: Any) -> Any:
            self._owt_traced = False
            return original(self, *arguments, **named)

        return putrequest

    def look(original: Callable[..., Any]) -> Callable[..., Any]:
        def putheader(self: Any, header: Any, *values: Any) -> Any:
            if len(header) == len("traceparent") and header.lower() in ("traceparent", b"traceparent"):
                self._owt_traced = True
            return original(self, header, *values)

        return putheader

    def add(original: Callable[..., Any]) -> Callable[..., Any]:
        def endheaders(self: Any, *arguments: Any, **named: Any) -> Any:
            if not getattr(self, "_owt_traced", True):
                trace = current()
                for name, value in trace.headers() if trace is not None else ():
                    self.putheader(name, value)
            return original(self, *arguments, **named)

        return endheaders

    for name, wrap in (("putrequest", begin), ("putheader", look), ("endheaders", add)):
        _around(connection, name, wrap)


def _trace_httpx(module: Any) -> None:
    def add(original: Callable[..., Any]) -> Callable[..., Any]:
        def send(self: Any, request: Any, *arguments: Any, **named: Any) -> Any:
            _add(request.headers)
            return original(self, request, *arguments, **named)

        return send

    _around(module.Client, "send", add)
    _around(module.AsyncClient, "send", add)


def _trace_aiohttp(module: Any) -> None:
    async def begins(session: Any, context: Any, params: Any) -> None:
        _add(params.headers)

    def add(original: Callable[..., Any]) -> Callable[..., Any]:
        def __init__(self: Any, *arguments: Any, **named: Any) -> None:
            config = module.TraceConfig()
            config.on_request_start.append(begins)
            named["trace_configs"] = [*(named.get("trace_configs") or ()), config]
            original(self, *arguments, **named)

        return __init__

    _around(module.ClientSession, "__init__", add)


def _add(headers: Any) -> None:
    """To a client's headers, whose names have no case."""
    if "traceparent" not in headers:
        trace = current()
        for name, value in trace.headers() if trace is not None else ():
            headers[name] = value
