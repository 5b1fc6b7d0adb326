"""Published functions as tools of the Model Context Protocol: their names, their schemas, and what becomes of a call.

Also ``run_python``, where any code may run.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import inspect
import json
import mimetypes
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from io import BytesIO
from threading import get_ident
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote_to_bytes

from werkzeug.datastructures import FileStorage, Headers

from owt.answer import chunks, foreign
from owt.answer.cannot import mimetype_of
from owt.answer.response import File, Later, Stream, coerce
from owt.asked.wanted import shown
from owt.endpoint import loaded
from owt.process import borrowed, failure
from owt.process.refusal import Refusal
from owt.published import answers
from owt.published.describe import Description, Parameter, describe, described_if_possible
from owt.published.schema import MISSING, Schema, Way, misfit

if TYPE_CHECKING:
    from owt.process.request import Request
    from owt.published.catalog import Catalog, Published

Object = dict[str, Any]

RUN_PYTHON = "run_python"

#: Of one field only, so that it is plain what came of it, where a result has to be an object.
RESULT = "result"


# ---- names


def name_of(published: Published) -> str:
    """What a function is called as a tool: of letters, digits, ``_`` and ``-``, 64 at most, as models take names."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", published.name)[:64]


def named(catalog: Catalog) -> Iterator[tuple[str, Published]]:
    """All functions by names that are theirs alone; those whose own name is one come first to it. Loads nothing."""
    found = list(catalog)
    found.sort(key=lambda one: name_of(one) != one.name)
    taken = {RUN_PYTHON} if catalog.runs_code else set()
    for published in found:
        name, number = name_of(published), 1
        while name in taken:
            number += 1
            name = f"{name_of(published)[:60]}_{number}"
        taken.add(name)
        yield name, published


# ---- what there is


def definitions(catalog: Catalog, *, any_json: bool) -> list[Object]:
    """The tools for ``tools/list``. any_json: structured content may be any JSON, not an object alone."""
    made = []
    if catalog.runs_code:
        made.append(_RUN_PYTHON)
    for name, published in named(catalog):
        one = described_if_possible(published)
        arguments = None if one is None else one.arguments(Way.BASE64)
        if one is None or arguments is None:
            continue
        tool: Object = {"name": name, "title": one.title}
        if text := description_of(one):
            tool["description"] = text
        tool["inputSchema"] = one.with_defs(arguments, Way.BASE64)
        output = output_of(one, any_json=any_json)
        if output is not None:
            tool["outputSchema"] = output
        tool["annotations"] = {"title": one.title}
        made.append(tool)
    return made


def description_of(one: Description) -> str:
    """What a model is told of a function."""
    returns = f"Returns: {one.answer.text}" if one.answer.text else ""
    return "\n\n".join(part for part in (one.summary, one.text, returns) if part)


def output_of(one: Description, *, any_json: bool) -> Schema | None:
    """The schema of the structured content, where the function's annotation tells it."""
    if list(one.answer.contents) not in ([answers.JSON], [answers.LINES]):
        return None
    schema = next(iter(one.answer.contents.values()))
    if not schema:
        return None
    if one.answer.streams:
        schema = {"type": "array", "items": schema}
    whole: Schema = _numbers_may_be_null(one.with_defs(schema, Way.ANSWER))
    if any_json:
        return whole
    defs = whole.pop("$defs", None)
    reference = str(whole.get("$ref", "")).rpartition("/")[2]
    plain: Schema = (defs or {}).get(reference, whole)
    if plain.get("type") != "object":
        plain = {"type": "object", "properties": {RESULT: whole}, "required": [RESULT]}
    return plain if defs is None else plain | {"$defs": defs}


def _numbers_may_be_null(schema: Any) -> Any:
    """NaN and infinities are null in JSON."""
    if isinstance(schema, dict):
        made = {key: _numbers_may_be_null(value) for key, value in schema.items()}
        return made | {"type": ["number", "null"]} if made.get("type") == "number" else made
    return [_numbers_may_be_null(item) for item in schema] if isinstance(schema, list) else schema


_RUN_PYTHON: Object = {
    "name": RUN_PYTHON,
    "title": "Run Python",
    "description": (
        "Runs Python on the server. The code defines a function run, which is called with kwargs, and whose return"
        " value is the answer: text, a dict or list (JSON), a picture (PIL, Matplotlib), sound (rate, samples); what it"
        " yields comes as progress. The module's top level runs once and stays loaded: the same code again finds what"
        " it has loaded. What is printed is not seen. Example: def run(n: int): return sum(range(n))"
    ),
    "inputSchema": {
        "type": "object",
        "properties": {
            "code": {"type": "string", "description": "a Python module with a function run, or a lambda"},
            "kwargs": {"type": "object", "description": "arguments for the function", "default": {}},
            "fn_name": {"type": "string", "description": "the function to call", "default": "run"},
        },
        "required": ["code"],
        "additionalProperties": False,
    },
    "annotations": {"title": "Run Python", "readOnlyHint": False, "destructiveHint": True, "openWorldHint": True},
}


# ---- a call


class Tool:
    """What a name stands for, ready to be called."""

    def __init__(self, file: str, function: loaded.Function, description: Description | None) -> None:
        #: Where its source lies, for tracebacks.
        self.file = file
        self.function = function
        self.description = description

    def call(self, request: Request, arguments: Object) -> object:
        """Calls it; what it returns. Raises Refusal (400) for arguments that do not fit, and whatever it raises."""
        given = {name: value for name, value in arguments.items() if value is not None}
        if self.description is not None:
            for parameter in self.description.parameters:
                if parameter.name in given:
                    given[parameter.name] = _with_files(parameter, given[parameter.name])
        names = tuple(given)
        plan = self.function.plans.get(names) or self.function.plan(names)
        found = loaded.endpoints.get(self.file)
        if found is not None:
            loaded.running[get_ident()] = found
            if found.wishes:
                borrowed.wish(found.wishes)
        try:
            return plan(self.function.fn, request, given)
        except Exception as error:
            value = foreign.raised(error, request)
            if value is None:
                raise
            return value


def find(catalog: Catalog, name: str, arguments: Object) -> tuple[Tool, Object] | None:
    """The tool of this name and what to call it with; None if there is none. Raises what loading it raises."""
    if name == RUN_PYTHON and catalog.runs_code:
        return _python(arguments)
    published = catalog.find(name)
    if published is None or name_of(published) != name:
        published = next((one for there, one in named(catalog) if there == name), None)
    if published is None:
        return None
    description = describe(published)
    return Tool(published.file, published.prepared(), description), arguments


def _python(arguments: Object) -> tuple[Tool, Object]:
    wrong = [name for name in arguments if name not in ("code", "kwargs", "fn_name")]
    code, kwargs, fn_name = arguments.get("code"), arguments.get("kwargs") or {}, arguments.get("fn_name") or "run"
    if wrong or not isinstance(code, str) or not isinstance(kwargs, dict) or not isinstance(fn_name, str):
        raise Refusal(400, "bad-arguments", f"{RUN_PYTHON} wants code (text), kwargs (an object) and fn_name (text).")
    source = code.encode(errors="surrogatepass")
    found = _loaded(hashlib.sha256(source).hexdigest(), source)
    return Tool(found.path, found.functions.get(fn_name) or found.function(fn_name), None), kwargs


def _loaded(code_id: str, source: bytes) -> loaded.Endpoint:
    """The endpoint with this source, loaded if it is not."""
    return loaded.found_or_loaded(code_id, lambda: loaded.load_source(code_id, source), "The code")


def _with_files(parameter: Parameter, value: Any) -> Any:
    """An argument as a form would have sent it: base64 as files, where files are wanted."""
    schema = parameter.schemas.get(Way.BASE64, {})
    if isinstance(value, list) and schema.get("type") == "array":
        item = schema.get("items", {})
        return [_file(parameter.name, item, one) if isinstance(one, str) else one for one in value]
    return _file(parameter.name, schema, value) if isinstance(value, str) else value


_DATA = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.ASCII)


def _file(name: str, schema: Schema, text: str) -> Any:
    wants = schema.get("contentEncoding") == "base64"
    also = any(one.get("contentEncoding") == "base64" for one in schema.get("anyOf", ()))
    url = _DATA.match(text) if wants or also else None
    if url is None and not wants:
        return text
    try:
        if url is None:
            content, media_type = base64.b64decode(text, validate=True), ""
        elif url[2].endswith(";base64"):
            content, media_type = base64.b64decode(text[url.end() :], validate=True), url[1]
        else:
            content, media_type = unquote_to_bytes(text[url.end() :]), url[1]
    except (binascii.Error, ValueError):
        raise Refusal(
            400, "bad-arguments", f"{name} wants a file as base64, or as a data: URL, and {shown(text)} came."
        ) from None
    suffix = mimetypes.guess_extension(media_type) or ""
    return FileStorage(BytesIO(content), f"{name}{suffix}", name, headers=Headers({"Content-Type": media_type}))


def prefer_pictures(request: Request) -> None:
    """What may be answered in several ways is to be what models look at: a picture, else JSON. The Accept header is
    about MCP's own messages.
    """
    request.environ["HTTP_ACCEPT"] = "image/png, application/json;q=0.9, text/*;q=0.5, */*;q=0.1"
    request.__dict__.pop("accept_mimetypes", None)


# ---- what comes of it


class Result:
    """Gathers what a call gives, and makes MCP's content of it."""

    def __init__(self, tool: Tool, request: Request, *, any_json: bool) -> None:
        self.tool = tool
        self.request = request
        self.any_json = any_json
        self._pieces: list[bytes | str] = []
        self._framing: chunks.Framing | None = None
        self._items = 0

    # A value that is there at once.

    def whole(self, value: object) -> Object | Stream | Later:
        """The result, or what it has yet to come from. Raises Refusal for what cannot be one."""
        answer = coerce(value, self.request, self.tool.function.name)
        if isinstance(answer, Stream | Later):
            return answer
        if isinstance(answer, File):
            with os.fdopen(answer.fd, "rb") as file:
                body: bytes | str = file.read()
            media_type = mimetype_of(_header(answer.headers)) or mimetypes.guess_type(answer.name)[0] or answers.OCTETS
            return self._made(answer.status, media_type, body, answer.name)
        status, headers, body = answer
        return self._made(status, mimetype_of(_header(headers)), body)

    # A value that is yielded piece by piece.

    def add(self, stream: Stream, item: object) -> str:
        """Takes an item that was yielded; what to say of it as progress. Raises Refusal for what cannot be sent."""
        if self._framing is None:
            self._framing = chunks.begin(stream, item)
        piece = self._framing.encode(item)
        self._items += 1
        if self._framing.kind == "pictures":
            return f"picture {self._items}"
        self._pieces.append(piece)
        if self._framing.kind == "sound":
            return f"sound {self._items}"
        return (piece if isinstance(piece, str) else piece.decode(errors="replace")).rstrip("\n")

    def end(self, stream: Stream) -> Object:
        """The result of a stream that has ended."""
        framing: Any = self._framing
        if framing is None:
            return self._made(stream.status, stream.mimetype or "text/plain", "")
        if framing.kind == "pictures":
            return self._made(stream.status, framing.type, framing.last)
        body = b"".join(piece.encode() if isinstance(piece, str) else piece for piece in [*self._pieces, framing.end()])
        if framing.kind == "sound":
            body = _with_length(body)
        return self._made(stream.status, mimetype_of(_header(framing.headers)), body)

    def failed(self, error: BaseException) -> Object:
        """The result of a call that has raised that; what it had yielded stands before."""
        # A coroutine's, or a generator's before it has yielded anything; those of a plain call have been caught.
        if self._framing is None and isinstance(error, Exception) and (value := foreign.raised(error, self.request)):
            made = self.whole(value)
            if isinstance(made, dict):
                return made
        told = isinstance(error, Refusal)
        text = error.detail if told else failure.log(self.request._call, error, self.tool.file)  # type: ignore[attr-defined]
        before: list[Object] = []
        if self._pieces and self._framing is not None and self._framing.kind != "sound":
            gathered = b"".join(piece.encode() if isinstance(piece, str) else piece for piece in self._pieces)
            before = [_text(gathered.decode(errors="replace"))]
        return {"content": [*before, _text(text)], "isError": True}

    def _made(self, status: int, media_type: str, body: bytes | str, name: str = "") -> Object:
        made = self._content(media_type, body, name)
        if status >= 400:
            return made | {"isError": True}
        schema = None
        if self.tool.description is not None:
            schema = output_of(self.tool.description, any_json=self.any_json)
        structured = made.pop("structuredContent", MISSING)
        if structured is MISSING:
            if schema is not None:
                return failed(f"{self.tool.function.name} gave {media_type}, where its annotation says JSON.")
            return made | {"isError": False}
        wraps = schema is not None and schema.get("required") == [RESULT] and not self.any_json
        if wraps and not (isinstance(structured, dict) and list(structured) == [RESULT]):
            structured = {RESULT: structured}
        if schema is not None and (wrong := misfit(schema, structured)):
            return failed(f"{self.tool.function.name} returned what its annotation does not say: {wrong}.")
        if self.any_json or isinstance(structured, dict):
            made["structuredContent"] = structured
        return made | {"isError": False}

    def _content(self, media_type: str, body: bytes | str, name: str) -> Object:
        kind = media_type.partition("/")[0]
        data = body.encode() if isinstance(body, str) else body
        if media_type in (answers.JSON, answers.LINES):
            with suppress(ValueError):
                text = data.decode()
                parsed = json.loads(text) if media_type == answers.JSON else list(map(json.loads, text.splitlines()))
                return {"content": [_text(text.rstrip("\n"))], "structuredContent": parsed}
        if kind in ("image", "audio"):
            return {"content": [{"type": kind, "data": base64.b64encode(data).decode(), "mimeType": media_type}]}
        if not data:
            return {"content": []}
        if kind == "text" or media_type in ("", answers.JSON, answers.LINES) or media_type.endswith(("+xml", "/xml")):
            return {"content": [_text(data.decode(errors="replace"))]}
        name = name or f"{self.tool.function.name}{mimetypes.guess_extension(media_type) or '.bin'}"
        blob = {"uri": f"owt:///{name}", "mimeType": media_type, "blob": base64.b64encode(data).decode()}
        return {"content": [{"type": "resource", "resource": blob}]}


def failed(text: str) -> Object:
    """The result of a call that has failed for a reason that is told in words."""
    return {"content": [_text(text)], "isError": True}


def _text(text: str) -> Object:
    return {"type": "text", "text": text}


def _header(headers: Any) -> str:
    return next((value for name, value in headers if name.lower() == "content-type"), "")


def _with_length(wav: bytes) -> bytes:
    """A WAV that has been made piece by piece, now that its length is known."""
    return wav[:4] + (len(wav) - 8).to_bytes(4, "little") + wav[8:40] + (len(wav) - 44).to_bytes(4, "little") + wav[44:]


def items_of(stream: Stream) -> Iterator[object]:
    """A stream's items, which is closed at the end as one that is sent would be."""
    items = cast("Iterator[object]", stream.chunks)
    try:
        yield from items
    finally:
        for close in (getattr(items, "close", None), stream.close):
            if close is not None:
                close()


async def later_items_of(stream: Stream) -> AsyncIterator[object]:
    """The same of an asynchronous stream."""
    items: Any = stream.chunks
    try:
        async for item in items:
            yield item
    finally:
        if hasattr(items, "aclose"):
            await items.aclose()
        if stream.close is not None:
            stream.close()


def is_later(value: object) -> bool:
    """Whether a value has to be awaited, or yields what has to be."""
    return inspect.isawaitable(value) or hasattr(type(value), "__anext__")
