"""The Model Context Protocol over HTTP: revision 2026-07-28, in which each request stands for itself, and those before
with their handshake, from 2025-03-26 to 2025-11-25.

https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http and, for the others,
https://modelcontextprotocol.io/specification/2025-11-25/basic/transports. Nothing is remembered from one request to the
next: a session is a number that the client brings along, by which it may cancel what it has called. From where requests
may come is decided before, by nginx's side.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response

from owt.answer.response import Later, Stream
from owt.process.context import Cancelled, ends_the_call
from owt.published import cancelling, tools
from owt.published.cancelling import Ended, Running

if TYPE_CHECKING:
    from owt.process.request import Request
    from owt.published.catalog import Catalog

Object = dict[str, Any]
Headers = dict[str, str]

#: Each request stands for itself.
MODERN = ("2026-07-28",)
#: They begin with ``initialize``. The last one is what a client gets that asks for another.
LEGACY = ("2025-03-26", "2025-06-18", "2025-11-25")
#: Where no header tells the revision; it alone has batches.
UNSAID = "2025-03-26"

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022

_STATUS = {
    PARSE_ERROR: 400,
    INVALID_REQUEST: 400,
    INVALID_PARAMS: 400,
    HEADER_MISMATCH: 400,
    UNSUPPORTED_VERSION: 400,
    METHOD_NOT_FOUND: 404,
}

_META = "io.modelcontextprotocol/"
_SERVER = {"name": "owt", "title": "owt", "version": "1"}
_EVENTS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
#: So many messages a batch may have: each may ask for the list of all tools.
_MOST = 50
#: For so many milliseconds clients need not ask again which tools there are.
_FRESH = 5000


class Fault(Exception):
    """A JSON-RPC error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.error: Object = {"code": code, "message": message}
        if data is not None:
            self.error["data"] = data


def answer(request: Request, catalog: Catalog) -> Any:
    """The answer to a request to the endpoint: a Response, or a generator of events with its headers."""
    if request.method != "POST":
        return _refused(
            405, "MCP wants POST: here is no stream of events to open, and no session to end.", Allow="POST"
        )
    if request.mimetype != "application/json":
        return _refused(415, "MCP wants Content-Type: application/json.")
    if not all(_accepts(request, media_type) for media_type in ("application/json", "text/event-stream")):
        return _refused(406, "MCP wants Accept: application/json, text/event-stream.")
    try:
        message = json.loads(request.get_data())
    except (ValueError, RecursionError):
        return _response(_error(None, Fault(PARSE_ERROR, "The body is no JSON.")), 400)
    version = request.headers.get("MCP-Protocol-Version", "")
    if version and version not in MODERN + LEGACY:
        return _response(_error(_id_of(message), _unsupported(version)), 400)
    if version in MODERN or _PROTOCOL in _meta_of(message):
        return _Modern(request, catalog).answer(message)
    return _Legacy(request, catalog, version or UNSAID).answer(message)


def _accepts(request: Request, media_type: str) -> bool:
    return bool(request.accept_mimetypes[media_type] > 0)


def _refused(status: int, text: str, **headers: str) -> Response:
    return Response(text + "\n", status, content_type="text/plain; charset=utf-8", headers=headers)


def _response(body: object, status: int = 200, headers: Headers | None = None) -> Response:
    return Response(_json(body), status, content_type="application/json", headers=headers)


_json = json.JSONEncoder(separators=(",", ":")).encode


def _error(id: object, fault: Fault) -> Object:
    return {"jsonrpc": "2.0", "id": id, "error": fault.error}


def _id_of(message: object) -> object:
    id = message.get("id") if isinstance(message, dict) else None
    return id if isinstance(id, str | int) and not isinstance(id, bool) else None


def _meta_of(message: object) -> Object:
    params = message.get("params") if isinstance(message, dict) else None
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta if isinstance(meta, dict) else {}


def _unsupported(version: object) -> Fault:
    data = {"supported": [*reversed(MODERN), *reversed(LEGACY)], "requested": version}
    return Fault(UNSUPPORTED_VERSION, "Unsupported protocol version", data)


_PROTOCOL = f"{_META}protocolVersion"
_CAPABILITIES = f"{_META}clientCapabilities"


@dataclass
class _Asked:
    """A request of JSON-RPC."""

    id: str | int
    method: str
    params: Object


class _Server:
    """What all revisions have in common."""

    #: Structured content may be any JSON.
    any_json = True

    def __init__(self, request: Request, catalog: Catalog) -> None:
        self.request = request
        self.catalog = catalog

    @staticmethod
    def asked(message: object) -> _Asked | None:
        """The request that a message is; None for a notification, or an answer to what nobody has asked.

        Raises Fault for anything else.
        """
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            raise Fault(INVALID_REQUEST, "The body is no JSON-RPC message.")
        params = message.get("params", {})
        if "method" not in message:
            if "result" in message or "error" in message:
                return None
            raise Fault(INVALID_REQUEST, "The message has no method.")
        if not isinstance(message["method"], str) or not isinstance(params, dict):
            raise Fault(INVALID_REQUEST, "A method is text, and its params are an object.")
        if "id" not in message:
            return None
        id = _id_of(message)
        if id is None:
            raise Fault(INVALID_REQUEST, "An id is text or a whole number.")
        return _Asked(id, message["method"], params)  # type: ignore[arg-type]

    def finished(self, result: Object) -> Object:
        """A result as this revision has it."""
        return result

    def response(self, asked: _Asked, result: Object, headers: Headers | None = None) -> Response:
        return _response({"jsonrpc": "2.0", "id": asked.id, "result": self.finished(result)}, headers=headers)

    def tools(self) -> Object:
        return {"tools": tools.definitions(self.catalog, any_json=self.any_json)}

    def call(self, asked: _Asked, session: str = "") -> Any:
        """The answer to tools/call. Raises Fault for what is no such request."""
        name, arguments = asked.params.get("name"), asked.params.get("arguments")
        if not isinstance(name, str) or not isinstance(arguments, dict | None):
            raise Fault(INVALID_PARAMS, "tools/call wants a name, and arguments as an object.")
        return _Call(self, asked, Running(session, asked.id)).answer(name, arguments or {})


class _Modern(_Server):
    """2026-07-28: no handshake, and headers that say what the body does."""

    def answer(self, message: object) -> Any:
        try:
            asked = self.asked(message)
            if asked is None:
                if isinstance(message, dict) and "method" not in message:
                    raise Fault(INVALID_REQUEST, "Nobody has asked for an answer.")
                return Response(status=202)
            self.check(asked)
            return self.result(asked)
        except Fault as fault:
            return _response(_error(_id_of(message), fault), _STATUS.get(fault.error["code"], 200))

    def check(self, asked: _Asked) -> None:
        """Raises Fault for what the request does not tell as it should."""
        meta = asked.params.get("_meta")
        if not isinstance(meta, dict) or not all(name in meta for name in (_PROTOCOL, _CAPABILITIES)):
            raise Fault(INVALID_PARAMS, f"params._meta has to hold {_PROTOCOL} and {_CAPABILITIES}.")
        self.check_header("MCP-Protocol-Version", meta[_PROTOCOL])
        self.check_header("Mcp-Method", asked.method)
        if asked.method == "tools/call" and isinstance(asked.params.get("name"), str):
            self.check_header("Mcp-Name", asked.params["name"])
        if meta[_PROTOCOL] not in MODERN:
            raise _unsupported(meta[_PROTOCOL])

    def check_header(self, name: str, value: object) -> None:
        came = self.request.headers.get(name)
        if came is None:
            raise Fault(
                HEADER_MISMATCH, f"Header mismatch: there is no {name}, which has to be {value!r} as in the body"
            )
        if _plain(came) != value:
            raise Fault(HEADER_MISMATCH, f"Header mismatch: {name} is {came!r}, and the body says {value!r}")

    def result(self, asked: _Asked) -> Any:
        fresh = {"ttlMs": _FRESH, "cacheScope": "private"}
        if asked.method == "server/discover":
            versions = [*reversed(MODERN), *reversed(LEGACY)]
            return self.response(asked, {"supportedVersions": versions, "capabilities": {"tools": {}}, **fresh})
        if asked.method == "tools/list":
            return self.response(asked, {**self.tools(), **fresh})
        if asked.method == "tools/call":
            return self.call(asked)
        raise Fault(METHOD_NOT_FOUND, f"There is no method {asked.method} here.")

    def finished(self, result: Object) -> Object:
        return {"resultType": "complete", **result, "_meta": {f"{_META}serverInfo": _SERVER}}


def _plain(value: str) -> str | None:
    """A header's value, which may be base64; None if it is broken."""
    found = re.fullmatch(r"=\?base64\?(.*)\?=", value)
    if found is None:
        return value
    try:
        return base64.b64decode(found[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


class _Legacy(_Server):
    """Until 2025-11-25: initialize, ping, sessions, notifications that cancel."""

    any_json = False

    def __init__(self, request: Request, catalog: Catalog, version: str) -> None:
        super().__init__(request, catalog)
        self.version = version
        self.session = request.headers.get("Mcp-Session-Id", "")

    def answer(self, message: object) -> Any:
        if isinstance(message, list):
            return self.batch(message)
        try:
            asked = self.asked(message)
            if asked is None:
                self.note(message)
                return Response(status=202)
            return self.result(asked)
        except Fault as fault:
            status = 400 if fault.error["code"] == INVALID_REQUEST else 200
            return _response(_error(_id_of(message), fault), status)

    def batch(self, messages: list[object]) -> Response:
        if self.version != UNSAID:
            fault = Fault(INVALID_REQUEST, f"Revision {self.version} has no batches: send one message at a time.")
            return _response(_error(None, fault), 400)
        if not messages:
            return _response(_error(None, Fault(INVALID_REQUEST, "The batch is empty.")), 400)
        if len(messages) > _MOST:
            fault = Fault(INVALID_REQUEST, f"The batch has {len(messages)} messages: {_MOST} at most.")
            return _response(_error(None, fault), 400)
        answers = []
        for message in messages:
            try:
                asked = self.asked(message)
                if asked is None:
                    self.note(message)
                    continue
                if asked.method == "initialize":
                    raise Fault(INVALID_REQUEST, "initialize is no part of a batch.")
                _meta_of(message).pop("progressToken", None)  # all are answered at once
                made = self.result(asked)
                if not isinstance(made, Response):
                    raise Fault(INTERNAL_ERROR, "This tool is asynchronous, and is not called in a batch.")
                if body := made.get_data(as_text=True):
                    answers.append(json.loads(body))
            except Fault as fault:
                answers.append(_error(_id_of(message), fault))
        return _response(answers) if answers else Response(status=202)

    def note(self, message: object) -> None:
        """A notification."""
        if isinstance(message, dict) and message.get("method") == "notifications/cancelled" and self.session:
            params = message.get("params")
            id = params.get("requestId") if isinstance(params, dict) else None
            if isinstance(id, str | int):
                cancelling.cancel(self.session, id)

    def result(self, asked: _Asked) -> Any:
        if asked.method == "initialize":
            wanted = asked.params.get("protocolVersion")
            version = wanted if wanted in LEGACY else LEGACY[-1]
            made = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": _SERVER}
            return self.response(asked, made, {"Mcp-Session-Id": secrets.token_urlsafe(24)})
        if asked.method == "ping":
            return self.response(asked, {})
        if asked.method == "tools/list":
            return self.response(asked, self.tools())
        if asked.method == "tools/call":
            return self.call(asked, self.session)
        raise Fault(METHOD_NOT_FOUND, f"There is no method {asked.method} here.")


class _Call:
    """A tool's call."""

    def __init__(self, server: _Server, asked: _Asked, running: Running) -> None:
        self.server = server
        self.asked = asked
        self.running = running
        meta = asked.params.get("_meta")
        token = meta.get("progressToken") if isinstance(meta, dict) else None
        self.token = token if isinstance(token, str | int) and not isinstance(token, bool) else None
        self.progress = 0

    def answer(self, name: str, arguments: Object) -> Any:
        """A Response, or events with their headers where there is progress to tell, or what has to be awaited."""
        self.running.__enter__()
        goes_on = False
        try:
            made = self.begun(name, arguments)
            if isinstance(made, tuple):
                result, rest = made
                goes_on = True
                if tools.is_later(rest.value if isinstance(rest, Later) else rest.chunks):
                    return self.later(result, rest), _EVENTS
                if self.token is not None:
                    return self.events(result, rest), _EVENTS
                goes_on = False
                made = self.gathered(result, rest)
            return self.server.response(self.asked, made)
        except Ended:
            return Response(status=202)  # nobody waits for it
        finally:
            if not goes_on:
                self.running.__exit__()

    def begun(self, name: str, arguments: Object) -> Object | tuple[tools.Result, Stream | Later]:
        """Calls the tool: its result, or what that has yet to come from."""
        result: tools.Result | None = None
        tools.prefer_pictures(self.server.request)
        try:
            found = tools.find(self.server.catalog, name, arguments)  # a load is not interrupted
            if found is None:
                raise Fault(INVALID_PARAMS, f"Unknown tool: {name}")
            tool, given = found
            result = tools.Result(tool, self.server.request, any_json=self.server.any_json)
            value = self.running.step(partial(tool.call, self.server.request, given))
            made = self.running.step(partial(result.whole, value))
        except (Ended, Fault):
            raise
        except BaseException as error:
            if ends_the_call(error):
                raise
            return self.failed(result, error)
        return (result, made) if isinstance(made, Stream | Later) else made

    def failed(self, result: tools.Result | None, error: BaseException) -> Object:
        if result is None:  # it could not even be loaded
            result = tools.Result(tools.Tool("", _NOTHING, None), self.server.request, any_json=True)
        return result.failed(error)

    def gathered(self, result: tools.Result, rest: Stream | Later) -> Object:
        """The result of a stream, once it has ended."""
        assert isinstance(rest, Stream)
        items = tools.items_of(rest)
        try:
            while (item := self.running.step(partial(next, items, _END))) is not _END:
                result.add(rest, item)
            return result.end(rest)
        except Ended:
            raise
        except BaseException as error:
            if ends_the_call(error):
                raise
            return result.failed(error)
        finally:
            items.close()  # type: ignore[attr-defined]

    def events(self, result: tools.Result, rest: Stream | Later) -> Iterator[str]:
        """The same, told as it goes on."""
        assert isinstance(rest, Stream)
        items = tools.items_of(rest)
        made: Object | None = None
        try:
            yield _BEGIN
            while made is None:
                told = ""
                try:
                    item = self.running.step(partial(next, items, _END))
                    if item is _END:
                        made = result.end(rest)
                    else:
                        told = self.told(result.add(rest, item))
                except Ended:
                    return
                except BaseException as error:
                    if ends_the_call(error):
                        raise
                    made = result.failed(error)
                if told:
                    yield told
            yield self.last(made)
        finally:
            items.close()  # type: ignore[attr-defined]
            self.running.__exit__()

    async def later(self, result: tools.Result, rest: Stream | Later) -> AsyncIterator[str]:
        """What has to be awaited."""
        made: Any = rest
        items: Any = None
        try:
            yield _BEGIN
            while isinstance(made, Later | Stream):
                told = ""
                try:
                    if isinstance(made, Later):
                        made = result.whole(await self.running.wait(made.value))
                    else:
                        items = items or _each(made)
                        item = await self.running.wait(anext(items, _END))
                        if item is _END:
                            made = result.end(made)
                        else:
                            told = self.told(result.add(made, item))
                except Ended:
                    return
                except BaseException as error:
                    if _is_cancelled(error, self.server.request):
                        raise
                    made = result.failed(error)
                if told and self.token is not None:
                    yield told
            yield self.last(made)
        finally:
            if items is not None:
                await items.aclose()
            self.running.__exit__()

    def told(self, text: str) -> str:
        self.progress += 1
        params = {"progressToken": self.token, "progress": self.progress, "message": text}
        return _event({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})

    def last(self, made: Object) -> str:
        return _event({"jsonrpc": "2.0", "id": self.asked.id, "result": self.server.finished(made)})


_END: Any = object()
#: The head goes out, so that the client is kept alive from then on (owt_keepalive).
_BEGIN = ""


class _Nothing:
    name = "the tool"


_NOTHING: Any = _Nothing()


def _event(message: Object) -> str:
    return f"event: message\ndata: {_json(message)}\n\n"


async def _each(stream: Stream) -> AsyncIterator[object]:
    if hasattr(type(stream.chunks), "__anext__"):
        async for item in tools.later_items_of(stream):
            yield item
    else:
        for item in tools.items_of(stream):
            yield item


def _is_cancelled(error: BaseException, request: Request) -> bool:
    """Whether an asynchronous call ends because nobody waits for it any more."""
    import asyncio

    return issubclass(type(error), asyncio.CancelledError | Cancelled) and bool(request._call.cancelled)
