"""The Model Context Protocol: what comes of messages. That real clients get along with it is tried in t/e2e."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import pytest
from fake_owt import wait_until
from owt.process.context import Cancelled, current
from owt.published import cancelling, mcp
from PIL import Image
from small_catalog import Catalog
from werkzeug.exceptions import abort
from werkzeug.wrappers import Response

MODERN = "2026-07-28"
LEGACY = "2025-11-25"


@dataclass
class Point:
    x: float
    y: float = 0.0


class Row(TypedDict):
    n: int


def add(a: int, b: int = 1) -> int:
    """Adds two numbers.

    Args:
        a: the first one
    """
    return a + b


def move(point: Point) -> Point:
    return Point(point.x + 1, point.y)


def rows(n: int = 2) -> list[Row]:
    return [{"n": i} for i in range(n)]


def lying() -> Point:
    return {"x": "text"}  # type: ignore[return-value]


def not_a_number() -> Point:
    return Point(float("nan"))


def picture() -> Image.Image:
    return Image.new("RGB", (3, 2))


def sound() -> tuple[int, np.ndarray]:
    return 8000, np.zeros(4)


def size(picture: Image.Image, others: list[Path] = []) -> list:  # noqa: B006
    return [*picture.size, *(one.suffix for one in others), *(one.read_text() for one in others)]


def count(n: int = 3) -> Iterator[dict]:
    for i in range(n):
        yield {"i": i}


def words() -> Iterator[str]:
    yield "one "
    yield "two"


def tune() -> Iterator[tuple[int, np.ndarray]]:
    yield 8000, np.zeros(4)
    yield 8000, np.zeros(4)


def film() -> Iterator[Image.Image]:
    yield Image.new("RGB", (1, 1))
    yield Image.new("RGB", (2, 2))


def breaks() -> Iterator[str]:
    yield "so far"
    raise ValueError("no further")


def fails() -> None:
    raise ValueError("no such thing")


def missing() -> None:
    abort(404, "not here")


async def missing_later() -> int:
    abort(404, "not there")


def missing_words() -> Iterator[str]:
    abort(404, "nowhere")
    yield "never"


async def missing_later_words() -> AsyncIterator[str]:
    abort(404, "gone")
    yield "never"


def pixels() -> np.ndarray:
    return np.zeros((2, 3, 3), np.uint8)


def frame() -> pd.DataFrame:
    return pd.DataFrame({"n": [1]})


def raw() -> bytes:
    return b"\0\1"


async def later(n: int = 1) -> int:
    await asyncio.sleep(0)
    return n + 1


async def later_words() -> AsyncIterator[str]:
    yield "one "
    await asyncio.sleep(0)
    yield "two"


FUNCTIONS = {
    function.__name__: function
    for function in (
        add,
        move,
        rows,
        lying,
        not_a_number,
        picture,
        sound,
        size,
        count,
        words,
        tune,
        film,
        breaks,
        fails,
    )
} | {
    "sub__deep": add,
    "missing": missing,
    "missing_later": missing_later,
    "missing_words": missing_words,
    "missing_later_words": missing_later_words,
    "raw": raw,
    "pixels": pixels,
    "frame": frame,
    "later": later,
    "later_words": later_words,
}


class Client:
    """Sends messages; headers may be changed, None takes one away."""

    def __init__(self, ask: Any, catalog: Catalog, version: str) -> None:
        self.ask = ask
        self.catalog = catalog
        self.version = version

    def post(self, message: Any, path: str = "/mcp", method: str = "POST", **changed: str | None) -> Any:
        headers: dict[str, str | None] = {
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "MCP-Protocol-Version": self.version,
        }
        if self.version == MODERN and isinstance(message, dict):
            headers["Mcp-Method"] = message.get("method")
            headers["Mcp-Name"] = message.get("params", {}).get("name")
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        sent = {name: value for name, value in headers.items() if value is not None}
        return mcp.answer(self.ask(path, method, sent, body), self.catalog)  # type: ignore[arg-type]

    def message(self, method: str, params: dict[str, Any] | None = None, id: Any = 1) -> dict[str, Any]:
        params = dict(params or {})
        if self.version == MODERN:
            meta = {mcp._PROTOCOL: MODERN, mcp._CAPABILITIES: {}, **params.get("_meta", {})}
            params["_meta"] = meta
        return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}

    def result(self, method: str, params: dict[str, Any] | None = None) -> Any:
        answer = self.post(self.message(method, params))
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return json.loads(answer.get_data())["result"]

    def call(self, name: str, /, **arguments: Any) -> Any:
        made = self.post(self.message("tools/call", {"name": name, "arguments": arguments}))
        if isinstance(made, Response):
            return json.loads(made.get_data())["result"]
        return events(made)[-1]["result"]

    def told(self, name: str, /, **arguments: Any) -> list[Any]:
        """All events of a call that wants to hear of progress."""
        params = {"name": name, "arguments": arguments, "_meta": {"progressToken": "t"}}
        return events(self.post(self.message("tools/call", params)))


def events(made: Any) -> list[Any]:
    stream, headers = made
    assert headers["Content-Type"] == "text/event-stream"
    if hasattr(stream, "__anext__"):

        async def gather() -> list[str]:
            return [event async for event in stream]

        texts = asyncio.run(gather())
    else:
        texts = list(stream)
    assert texts.pop(0) == ""  # the head goes out before
    assert all(text.startswith("event: message\ndata: ") and text.endswith("\n\n") for text in texts)
    return [json.loads(text.removeprefix("event: message\ndata: ")) for text in texts]


@pytest.fixture
def catalog() -> Catalog:
    return Catalog(**FUNCTIONS)


@pytest.fixture(params=[MODERN, LEGACY])
def client(request: Any, ask: Any, catalog: Catalog) -> Client:
    return Client(ask, catalog, request.param)


@pytest.fixture
def modern(ask: Any, catalog: Catalog) -> Client:
    return Client(ask, catalog, MODERN)


@pytest.fixture
def legacy(ask: Any, catalog: Catalog) -> Client:
    return Client(ask, catalog, LEGACY)


# ---- what there is


def test_tools(client: Client) -> None:
    found = {tool["name"]: tool for tool in client.result("tools/list")["tools"]}
    assert set(found) == {name.replace("__", "_") for name in FUNCTIONS}
    assert found["add"] == {
        "name": "add",
        "title": "Adds two numbers",
        "description": "Adds two numbers.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "a": {"type": "integer", "description": "the first one"},
                "b": {"type": "integer", "default": 1},
            },
            "required": ["a"],
            "additionalProperties": False,
        },
        "annotations": {"title": "Adds two numbers"},
    }
    assert found["move"]["inputSchema"]["$defs"]["Point"]["required"] == ["x"]
    assert found["size"]["inputSchema"]["properties"]["picture"]["contentEncoding"] == "base64"


def test_what_comes_back_is_described(modern: Client, legacy: Client) -> None:
    now = {tool["name"]: tool.get("outputSchema") for tool in modern.result("tools/list")["tools"]}
    then = {tool["name"]: tool.get("outputSchema") for tool in legacy.result("tools/list")["tools"]}
    assert now["rows"]["type"] == "array"
    assert then["rows"]["properties"]["result"]["type"] == "array"
    assert then["rows"]["required"] == ["result"]
    assert now["move"]["$ref"] == "#/$defs/Point"
    assert then["move"]["type"] == "object", "until 2025-11-25 it has to be an object"
    assert then["move"]["properties"]["x"] == {"type": ["number", "null"]}, "NaN is null"
    assert now["add"] is now["picture"] is now["words"] is None


def test_names_that_models_take(ask: Any) -> None:
    catalog = Catalog(**{"a__b": add, "a_b": add, "ä": add, "x" * 70: add})
    catalog.runs_code = True
    catalog.published.append(type(catalog.published[0])("run_python", lambda: add))
    client = Client(ask, catalog, LEGACY)
    names = [tool["name"] for tool in client.result("tools/list")["tools"]]
    assert sorted(names) == sorted(["run_python", "a_b", "a_b_2", "_", "x" * 64, "run_python_2"])
    assert all(client.call(name, a=1)["content"][0]["text"] == "2" for name in names if name != "run_python")


def test_run_python_is_there_where_code_may_run(client: Client, catalog: Catalog) -> None:
    assert "error" in json.loads(client.post(client.message("tools/call", {"name": "run_python"})).get_data())
    catalog.runs_code = True
    assert client.result("tools/list")["tools"][0]["name"] == "run_python"
    code = "def run(n: int): return {'n': n + 1}\ndef other(): return 'other'"
    made = client.call("run_python", code=code, kwargs={"n": "2"})
    assert made["structuredContent"] == {"n": 3}
    assert client.call("run_python", code=code, fn_name="other")["content"] == [{"type": "text", "text": "other"}]
    for wrong in ({}, {"code": 1}, {"code": code, "kwargs": [1]}, {"code": code, "more": 1}):
        made = client.call("run_python", **wrong)
        assert (made["isError"], made["content"][0]["text"][:16]) == (True, "run_python wants")
    broken = client.call("run_python", code="def run(:\n")
    assert broken["isError"]
    assert "def run(:" in broken["content"][0]["text"]
    assert "ValueError: no" in client.call("run_python", code="raise ValueError('no')")["content"][0]["text"]


# ---- calls


def test_text(client: Client) -> None:
    made = client.call("add", a=1, b=2)
    assert made["content"] == [{"type": "text", "text": "3"}]
    assert made["isError"] is False
    assert ("resultType" in made) == (client.version == MODERN)


def test_arguments_are_converted(client: Client) -> None:
    assert client.call("add", a="1", b=None)["content"][0]["text"] == "2", "a null counts as left out"
    made = client.call("add", a="x", c=1)
    assert made["isError"]
    assert client.call("add", a="x")["content"][0]["text"].endswith("a wants int (a whole number), and 'x' came.")


def test_json(client: Client) -> None:
    made = client.call("move", point={"x": 1})
    assert made["structuredContent"] == {"x": 2.0, "y": 0.0}
    assert json.loads(made["content"][0]["text"]) == made["structuredContent"]
    listed = client.call("rows")["structuredContent"]
    assert listed == ([{"n": 0}, {"n": 1}] if client.version == MODERN else {"result": [{"n": 0}, {"n": 1}]})


def test_what_the_annotation_does_not_say_is_an_error(client: Client) -> None:
    made = client.call("lying")
    assert made["isError"]
    assert made["content"][0]["text"] == "run returned what its annotation does not say: it has no y."
    assert client.call("not_a_number")["structuredContent"] == {"x": None, "y": 0.0}


def test_pictures_and_sound(client: Client) -> None:
    (made,) = client.call("picture")["content"]
    assert (made["type"], made["mimeType"]) == ("image", "image/png")
    assert Image.open(io.BytesIO(base64.b64decode(made["data"]))).size == (3, 2)
    (made,) = client.call("pixels")["content"]
    assert made["type"] == "image", "of what can be a picture and JSON, a model looks at the picture"
    assert client.call("frame")["content"] == [{"type": "text", "text": '[{"n":1}]'}]
    (made,) = client.call("sound")["content"]
    assert (made["type"], made["mimeType"]) == ("audio", "audio/wav")
    (made,) = client.call("raw")["content"]
    assert made["type"] == "resource"
    assert base64.b64decode(made["resource"]["blob"]) == b"\0\1"


def test_files(client: Client) -> None:
    png = io.BytesIO()
    Image.new("RGB", (5, 4)).save(png, "PNG")
    data = base64.b64encode(png.getvalue()).decode()
    assert json.loads(client.call("size", picture=data)["content"][0]["text"]) == [5, 4]
    others = ["data:text/plain;base64,aGk=", "data:text/plain,a%20b"]
    text = client.call("size", picture=f"data:image/png;base64,{data}", others=others)["content"][0]["text"]
    assert json.loads(text) == [5, 4, ".txt", ".txt", "hi", "a b"]
    assert "picture wants a file as base64" in client.call("size", picture="???")["content"][0]["text"]


def test_streams_without_progress(client: Client) -> None:
    assert client.call("words")["content"] == [{"type": "text", "text": "one two"}]
    items = client.call("count")["structuredContent"]
    assert items == (
        [{"i": 0}, {"i": 1}, {"i": 2}] if client.version == MODERN else {"result": [{"i": 0}, {"i": 1}, {"i": 2}]}
    )
    wav = base64.b64decode(client.call("tune")["content"][0]["data"])
    assert wav[40:44] == (16).to_bytes(4, "little"), "its length is known by now"
    (last,) = client.call("film")["content"]
    assert Image.open(io.BytesIO(base64.b64decode(last["data"]))).size == (2, 2)


def test_yields_are_progress(client: Client) -> None:
    *told, last = client.told("count")
    assert [one["method"] for one in told] == ["notifications/progress"] * 3
    assert [one["params"] for one in told] == [
        {"progressToken": "t", "progress": i + 1, "message": f'{{"i":{i}}}'} for i in range(3)
    ]
    assert last["id"] == 1
    assert [one["params"]["message"] for one in client.told("film")[:-1]] == ["picture 1", "picture 2"]
    assert isinstance(
        client.post(
            client.message("tools/call", {"name": "add", "arguments": {"a": 1}, "_meta": {"progressToken": 1}})
        ),
        Response,
    )


def test_failures(client: Client) -> None:
    made = client.call("fails")
    assert made["isError"]
    assert "ValueError: no such thing" in made["content"][0]["text"]
    assert "not here" in client.call("missing")["content"][0]["text"]
    assert client.call("missing")["isError"]
    for name, said in (("missing_later", "not there"), ("missing_words", "nowhere"), ("missing_later_words", "gone")):
        for made in (client.call(name), client.told(name)[-1]["result"]):
            assert made["isError"]
            assert said in made["content"][0]["text"]
            assert "Traceback" not in made["content"][0]["text"]
    for last in (client.call("breaks"), client.told("breaks")[-1]["result"]):
        assert last["isError"]
        assert last["content"][0]["text"] == "so far"
        assert "ValueError: no further" in last["content"][1]["text"]


def test_asynchronous_tools(client: Client) -> None:
    assert client.call("later", n=2)["content"][0]["text"] == "3"
    assert client.call("later_words")["content"][0]["text"] == "one two"
    assert [one["params"]["message"] for one in client.told("later_words")[:-1]] == ["one ", "two"]


def test_a_tool_that_is_none(client: Client) -> None:
    error = json.loads(client.post(client.message("tools/call", {"name": "none"})).get_data())["error"]
    assert error == {"code": -32602, "message": "Unknown tool: none"}


def test_a_tool_that_does_not_load(client: Client) -> None:
    def load() -> Any:
        raise ValueError("at the top")

    client.catalog.published[0].load = load
    assert "add" not in {tool["name"] for tool in client.result("tools/list")["tools"]}
    assert "ValueError: at the top" in client.call("add", a=1)["content"][0]["text"]


def test_the_end_of_the_call_passes_and_a_tool_that_says_so_has_failed(client: Client) -> None:
    ended = []

    def run() -> None:
        current.get()._call.cancelled = bool(ended)
        raise Cancelled

    client.catalog.published[0].load = lambda: run
    context = copy_context()
    context.run(current.set, client.ask("/mcp", "POST", {}, b""))
    assert context.run(client.call, "add")["isError"]
    ended.append(True)
    with pytest.raises(Cancelled):
        context.run(client.call, "add")


@pytest.mark.parametrize("kind", [Cancelled, GeneratorExit, SystemExit, KeyboardInterrupt])
def test_whatever_a_stream_raises_its_client_is_told(client: Client, kind: type[BaseException]) -> None:
    def run() -> Iterator[str]:
        yield "begun"
        raise kind

    client.catalog.published[0].load = lambda: run
    assert client.call("add")["isError"]
    params = {"name": "add", "arguments": {}, "_meta": {"progressToken": 1}}
    told = events(client.post(client.message("tools/call", params)))
    assert told[0]["params"]["message"] == "begun"
    assert told[-1]["result"]["isError"]


def test_a_batch_has_its_bounds(ask: Any) -> None:
    client = Client(ask, Catalog(**FUNCTIONS), "2025-03-26")
    ping = client.message("ping")
    assert len(json.loads(client.post([ping] * mcp._MOST).get_data())) == mcp._MOST
    refused = client.post([ping] * (mcp._MOST + 1))
    assert refused.status_code == 400
    assert "at most" in refused.get_data(as_text=True)


def test_a_token_is_text_or_a_number(client: Client) -> None:
    for token in (True, None, [], {}, 1.5):
        params = {"name": "count", "arguments": {}, "_meta": {"progressToken": token}}
        assert isinstance(client.post(client.message("tools/call", params)), Response)


def test_a_call_may_be_finalized_where_another_is_taken_in() -> None:
    running = cancelling.Running("session", 1).__enter__()
    with cancelling._lock:
        running.__exit__()
    assert not cancelling._calls


# ---- the transport


def status(answer: Response) -> tuple[int, Any]:
    body = answer.get_data(as_text=True)
    return answer.status_code, json.loads(body)["error"]["code"] if body.startswith("{") else body


def test_what_is_no_message_for_it(client: Client) -> None:
    ping = client.message("tools/list")
    for method in ("GET", "DELETE", "PUT"):
        answer = client.post(ping, method=method)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert client.post(ping, Content_Type="text/plain").status_code == 415
    assert client.post(ping, Accept="application/json").status_code == 406
    assert client.post(ping, Accept="text/event-stream").status_code == 406
    assert client.post(ping, Accept="*/*").status_code == 200
    assert status(client.post(b"{", Mcp_Method=None)) == (400, -32700)
    assert status(client.post(b"1", Mcp_Method=None)) == (400, -32600)
    assert status(client.post({"jsonrpc": "1.0", "id": 1, "method": "ping"})) == (400, -32600)
    assert status(client.post({"jsonrpc": "2.0", "id": True, "method": "ping"})) == (400, -32600)
    assert status(client.post({"jsonrpc": "2.0", "id": 1})) == (400, -32600)
    assert status(client.post([ping])) == (400, -32600), "batches have gone with 2025-06-18"


def test_versions(client: Client) -> None:
    answer = client.post(client.message("tools/list"), MCP_Protocol_Version="2031-01-01")
    assert status(answer) == (400, -32022)
    data = json.loads(answer.get_data())["error"]["data"]
    assert data["requested"] == "2031-01-01"
    assert data["supported"][:2] == [MODERN, LEGACY]


def test_notifications(client: Client) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    answer = client.post(note, Mcp_Method=None)
    assert (answer.status_code, answer.get_data()) == (202, b"")
    response = client.post({"jsonrpc": "2.0", "id": 1, "result": {}}, Mcp_Method=None)
    assert response.status_code == (400 if client.version == MODERN else 202)


def test_methods_that_are_none(modern: Client, legacy: Client) -> None:
    for method in ("resources/list", "initialize", "ping"):
        assert status(modern.post(modern.message(method))) == (404, -32601)
    assert status(legacy.post(legacy.message("resources/list"))) == (200, -32601)
    assert status(legacy.post(legacy.message("server/discover"))) == (200, -32601)
    assert legacy.result("ping") == {}


def test_discovery(modern: Client) -> None:
    made = modern.result("server/discover")
    assert made["supportedVersions"][:2] == [MODERN, LEGACY]
    assert made["capabilities"] == {"tools": {}}
    assert made["resultType"] == "complete"
    assert made["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "owt"
    listed = modern.result("tools/list")
    assert (listed["resultType"], listed["cacheScope"]) == ("complete", "private")
    assert listed["ttlMs"] >= 0


def test_headers_say_what_the_body_does(modern: Client) -> None:
    call = modern.message("tools/call", {"name": "add", "arguments": {"a": 1}})
    for changed in (
        {"Mcp_Method": None},
        {"Mcp_Method": "tools/list"},
        {"Mcp_Name": None},
        {"Mcp_Name": "move"},
        {"Mcp_Name": "=?base64?bW92ZQ==?="},
        {"Mcp_Name": "=?base64?%?="},
        {"MCP_Protocol_Version": None},
        {"MCP_Protocol_Version": LEGACY},
    ):
        assert status(modern.post(call, **changed)) == (400, -32020), changed  # type: ignore[arg-type]
    assert modern.post(call, Mcp_Name="=?base64?YWRk?=").status_code == 200
    other = modern.message("tools/list", {"_meta": {mcp._PROTOCOL: LEGACY}})
    assert status(modern.post(other)) == (400, -32020)
    for meta in ({}, {mcp._PROTOCOL: MODERN}):
        bare = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
        assert status(modern.post(bare)) == (400, -32602)


def test_the_handshake(legacy: Client) -> None:
    for wanted, got in ((LEGACY, LEGACY), ("2025-06-18", "2025-06-18"), ("2024-11-05", LEGACY), (MODERN, LEGACY)):
        params = {"protocolVersion": wanted, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        answer = legacy.post(legacy.message("initialize", params), MCP_Protocol_Version=None)
        result = json.loads(answer.get_data())["result"]
        assert (result["protocolVersion"], result["capabilities"]) == (got, {"tools": {}})
        assert len(answer.headers["Mcp-Session-Id"]) >= 32


def test_batches_of_the_revision_that_has_them(legacy: Client) -> None:
    messages = [
        legacy.message("ping", id="a"),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        legacy.message("tools/call", {"name": "count", "_meta": {"progressToken": 1}}, id=2),
        legacy.message("none", id=3),
        7,
    ]
    for version in (None, "2025-03-26"):
        answer = legacy.post(messages, MCP_Protocol_Version=version)
        made = json.loads(answer.get_data())
        assert [one["id"] for one in made] == ["a", 2, 3, None]
        assert made[1]["result"]["isError"] is False
    assert legacy.post(messages[1:2], MCP_Protocol_Version=None).status_code == 202
    assert status(legacy.post([], MCP_Protocol_Version=None)) == (400, -32600)


# ---- cancelling, until 2025-11-25


def cancel(legacy: Client, session: str, id: Any) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}
    assert legacy.post(note, Mcp_Session_Id=session).status_code == 202


def run_until_cancelled(
    ask: Any, function: Any, session: str, token: str | None = None
) -> tuple[threading.Thread, list[Any]]:
    """A call on a thread of its own, and what comes of it."""
    made: list[Any] = []
    client = Client(ask, Catalog(slow=function), LEGACY)
    params = {"name": "slow", "_meta": {"progressToken": token} if token else {}}

    def run() -> None:
        answer = client.post(client.message("tools/call", params, id=5), Mcp_Session_Id=session)
        made.append(answer if isinstance(answer, Response) else events(answer))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, made


def test_a_session_cancels_its_own_calls(ask: Any, legacy: Client) -> None:
    begun, ended = threading.Event(), []

    def slow() -> None:
        begun.set()
        try:
            while True:
                pass
        finally:
            ended.append(True)

    thread, made = run_until_cancelled(ask, slow, "mine")
    assert begun.wait(5)
    for session, id in (("other", 5), ("mine", 6), ("mine", "5")):
        cancel(legacy, session, id)
    assert thread.is_alive()
    cancel(legacy, "mine", 5)
    thread.join(5)
    assert (made[0].status_code, ended) == (202, [True])
    assert not cancelling._calls


def test_a_stream_is_cancelled_between_and_in_its_steps(ask: Any, legacy: Client) -> None:
    begun = threading.Event()

    def slow() -> Iterator[str]:
        yield "one"
        begun.set()
        while True:
            yield "more"

    thread, made = run_until_cancelled(ask, slow, "mine", token="t")
    assert begun.wait(5)
    cancel(legacy, "mine", 5)
    thread.join(5)
    assert made[0][0]["params"]["message"] == "one"
    assert all("id" not in event for event in made[0]), "no answer to what nobody waits for"
    assert not cancelling._calls


def test_an_asynchronous_call_is_cancelled(ask: Any, legacy: Client) -> None:
    begun, ended = threading.Event(), []

    async def slow() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    thread, made = run_until_cancelled(ask, slow, "mine")
    assert begun.wait(5)
    cancel(legacy, "mine", 5)
    thread.join(5)
    assert (made, ended) == ([[]], [True])


def test_what_has_ended_is_forgotten(legacy: Client) -> None:
    message = legacy.message("tools/call", {"name": "count", "_meta": {"progressToken": 1}})
    legacy.post(message, Mcp_Session_Id="mine")  # its stream is never begun
    wait_until(lambda: not cancelling._calls)
    cancel(legacy, "mine", 1)


# ---- anything


def test_no_message_breaks_it(ask: Any, catalog: Catalog) -> None:
    """What is no message is told so; nothing that comes as JSON is a failure of owt's own."""
    catalog.runs_code = True
    random = Random(7)
    scalars: list[Any] = [
        None,
        True,
        -1,
        1.5,
        10**400,
        "",
        "add",
        "run_python",
        "tools/call",
        "2.0",
        "\ud800",
        "\0",
        [],
        {},
    ]
    names = [
        "jsonrpc",
        "id",
        "method",
        "params",
        "name",
        "arguments",
        "_meta",
        "progressToken",
        "code",
        "kwargs",
        "a",
        "result",
    ]
    methods = ["tools/call", "tools/list", "initialize", "ping", "server/discover", "notifications/cancelled"]

    def anything(depth: int = 3) -> Any:
        if depth == 0 or random.random() < 0.3:
            return random.choice(scalars)
        if random.random() < 0.2:
            return [anything(depth - 1) for _ in range(random.randrange(3))]
        return {random.choice(names): anything(depth - 1) for _ in range(random.randrange(4))}

    for turn in range(3000):
        client = Client(ask, catalog, random.choice([MODERN, LEGACY, "2025-03-26"]))
        message: Any = {"jsonrpc": "2.0", "id": turn, "method": random.choice(methods), "params": anything()}
        if random.random() < 0.5:
            params = {
                "name": random.choice(["add", "run_python", "count"]),
                "arguments": anything(),
                "_meta": anything(1),
            }
            wanted = {"name": str, "arguments": object, "_meta": dict}
            message = client.message(
                "tools/call", {key: one for key, one in params.items() if isinstance(one, wanted[key])}
            )
        if random.random() < 0.3:
            message[random.choice(list(message))] = anything()
        if random.random() < 0.1:
            message = [message, anything()]
        body = json.dumps(message).encode()
        method, name = ("", "") if isinstance(message, list) else (message.get("method"), (message.get("params") or {}))
        name = name.get("name") if isinstance(name, dict) else ""
        headers = {
            "Mcp_Method": method if isinstance(method, str) else None,
            "Mcp_Name": name if isinstance(name, str) else None,
        }
        headers = {key: value if value and value.isascii() else None for key, value in headers.items()}
        made = client.post(body, **headers)
        if isinstance(made, Response):
            assert made.status_code < 500
            if made.get_data():
                json.loads(made.get_data())
        else:
            assert events(made)[-1]["jsonrpc"] == "2.0"
