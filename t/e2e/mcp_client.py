"""The official SDK as a client, in a virtualenv of its own: t/e2e/test_mcp.py runs this.

    mcp_client.py URL MODE    MODE is "auto" (the newest revision that both know) or "legacy" (with its handshake)

It prints as JSON what it has seen. The SDK's own 1.x knows only the latter, and has another way to be called.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

NEW = int(version("mcp").partition(".")[0]) >= 2


@asynccontextmanager
async def connected(url: str, mode: str, headers: dict[str, str]) -> Any:
    if NEW:
        import httpx2
        from mcp.client.client import Client
        from mcp.client.streamable_http import streamable_http_client

        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(url, http_client=http), mode=mode) as client,
        ):
            yield client
    else:
        from mcp import ClientSession
        from mcp.client.streamable_http import streamablehttp_client

        async with (
            streamablehttp_client(url, headers=headers) as (read, write, _),
            ClientSession(read, write) as client,
        ):
            await client.initialize()
            yield client


def plain(content: Any) -> list[Any]:
    return [json.loads(one.model_dump_json(by_alias=True, exclude_none=True)) for one in content]


async def called(client: Any, name: str, arguments: dict[str, Any], progress: Any = None) -> dict[str, Any]:
    made = await client.call_tool(name, arguments, progress_callback=progress)
    data = json.loads(made.model_dump_json(by_alias=True))
    return {
        "content": plain(made.content),
        "structured": data.get("structuredContent"),
        "error": data.get("isError"),
    }


async def cancelled(client: Any, started: Path, ended: Path) -> bool:
    """Calls what goes on for ever, and has enough of it."""
    told = asyncio.Event()

    async def progress(*_: Any) -> None:
        told.set()

    call = asyncio.create_task(
        client.call_tool("endless", {"started": str(started), "ended": str(ended)}, progress_callback=progress)
    )
    await asyncio.wait_for(told.wait(), 30)
    if not NEW:  # does not say so by itself
        from mcp import types

        params = types.CancelledNotificationParams(requestId=int(started.read_text()), reason="enough")
        note = types.CancelledNotification(method="notifications/cancelled", params=params)
        await client.send_notification(types.ClientNotification(note))
    call.cancel()
    await asyncio.wait([call])
    for _ in range(600):
        if ended.exists():
            return True
        await asyncio.sleep(0.05)
    return False


async def main(url: str, mode: str, directory: str, *more: str) -> dict[str, Any]:
    headers = dict(one.split(": ", 1) for one in more)
    seen: dict[str, Any] = {"sdk": version("mcp")}
    async with connected(url, mode, headers) as client:
        listed = (await client.list_tools()).tools
        seen["tools"] = {tool.name: json.loads(tool.model_dump_json(by_alias=True)) for tool in listed}
        if "run_python" in seen["tools"]:
            arguments = {"code": "def run(n: int): return {'n': n + 1}", "kwargs": {"n": 41}}
            seen["run_python"] = await called(client, "run_python", arguments)
        if "add" not in seen["tools"]:
            return seen
        seen["version"] = getattr(client, "protocol_version", None)
        seen["add"] = await called(client, "add", {"a": 1, "b": "2"})
        seen["wrong"] = await called(client, "add", {"a": "x"})
        seen["rows"] = await called(client, "sub_rows", {"n": 2})
        seen["picture"] = await called(client, "picture", {})
        seen["fails"] = await called(client, "fails", {})
        seen["later"] = await called(client, "later", {"n": 1})
        steps: list[Any] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            steps.append([done, total, message])

        seen["words"] = await called(client, "words", {"text": "one two three", "pause": 0}, progress)
        seen["progress"] = steps
        seen["cancelled"] = await cancelled(client, Path(directory) / "started", Path(directory) / "ended")
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
