"""The Model Context Protocol through the front door, with the official SDK as the client."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import ROOT, SLOW, Server, wait_until
from PIL import Image
from virtualenvs import virtualenv

MAIN = "worker_processes 2;"
CONF = """
server {
    listen 127.0.0.1:{port};
    server_name mcp.example;
    location = /mcp { owt_mcp {dir}/api; }
    location = /open { owt_mcp {dir}/api; owt_allow origin https://page.example; }
    location = /code { owt_mcp; owt; }
    location = /both { owt_mcp {dir}/api; owt; owt_traceback on; }
    location = /examples { owt_mcp {root}/examples/publish; }
    location = /login { owt_mcp {dir}/api; owt_auth alice:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b; }
}
"""

FILES = {
    "add.py": 'def run(a: int, b: int = 1) -> int:\n    """Adds two numbers."""\n    return a + b\n',
    "sub/rows.py": (
        "from typing import TypedDict\n"
        "class Row(TypedDict):\n    n: int\n"
        "def run(n: int = 2) -> list[Row]:\n    return [{'n': i} for i in range(n)]\n"
    ),
    "picture.py": (
        "from PIL import Image\n"
        "def run() -> Image.Image:\n    return Image.new('RGB', (3, 2))\n"
    ),
    "fails.py": "def run():\n    raise ValueError('a secret')\n",
    "later.py": "import asyncio\nasync def run(n: int) -> int:\n    await asyncio.sleep(0)\n    return n + 1\n",
    "broken.py": "def run(:\n",
    "batched.py": "from owt import batch\n@batch\ndef run(xs: list[int]) -> list[int]: return [2 * x for x in xs]\n",
    "flasked.py": "from flask import jsonify\ndef run(n: int): return jsonify(n=n)\n",
    "files.py": "from pathlib import Path\ndef run(a: Path) -> Path:\n    return a\n",
    "endless.py": (
        "import json\nfrom pathlib import Path\n"
        "def run(request, started: str, ended: str):\n"
        "    Path(started).write_text(str(json.loads(request.get_data())['id']))\n"
        "    try:\n"
        "        while True:\n            yield 'on'\n"
        "    finally:\n        Path(ended).touch()\n"
    ),
}  # fmt: skip

ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def server() -> Any:
    server = Server(CONF, main=MAIN)
    for name, text in FILES.items():
        path = server.dir / "api" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (server.dir / "api" / "words.py").write_text((ROOT / "examples/publish/words.py").read_text())
    with server:
        yield server


def client(server: Server, python: Path, mode: str, directory: Path, *more: str, path: str = "/mcp") -> Any:
    command = [python, ROOT / "t/e2e/mcp_client.py", server.url + path, mode, directory, *more]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120 * SLOW)
    assert done.returncode == 0, done.stderr[-5000:]
    return json.loads(done.stdout.splitlines()[-1])


# The SDK's current minor release and the one before, and the last one of its 1.x, which knows no later revision
# than 2025-11-25.
SDKS = [("mcp>=2.3,<2.4", "auto"), ("mcp>=2.3,<2.4", "legacy"), ("mcp>=2.2,<2.3", "auto"), ("mcp>=2.2,<2.3", "legacy")]
SDKS += [("mcp>=1.30,<1.31", "legacy")]


@pytest.mark.parametrize(("requirement", "mode"), SDKS)
def test_the_official_client(server: Server, tmp_path: Path, requirement: str, mode: str) -> None:
    seen = client(server, virtualenv("mcp", requirement), mode, tmp_path)
    assert set(seen["tools"]) == {
        "add",
        "sub_rows",
        "picture",
        "fails",
        "later",
        "words",
        "endless",
        "batched",
        "flasked",
        "files",
    }
    assert seen["tools"]["add"]["description"] == "Adds two numbers."
    assert seen["tools"]["add"]["inputSchema"]["required"] == ["a"]
    if requirement.startswith("mcp>=2"):
        assert seen["version"] == ("2026-07-28" if mode == "auto" else "2025-11-25")
    assert seen["add"] == {"content": [{"type": "text", "text": "3"}], "structured": None, "error": False}
    assert seen["wrong"]["error"]
    assert "a wants int" in seen["wrong"]["content"][0]["text"]
    listed = [{"n": 0}, {"n": 1}]
    assert seen["rows"]["structured"] == (listed if mode == "auto" else {"result": listed})
    (picture,) = seen["picture"]["content"]
    assert (picture["type"], picture["mimeType"]) == ("image", "image/png")
    assert Image.open(io.BytesIO(base64.b64decode(picture["data"]))).size == (3, 2)
    assert seen["fails"]["error"]
    assert "secret" not in str(seen["fails"]), "tracebacks are for the error log"
    assert seen["later"]["content"][0]["text"] == "2"
    assert seen["words"]["content"] == [{"type": "text", "text": "one two three "}]
    assert seen["progress"] == [[1, None, "one "], [2, None, "two "], [3, None, "three "]]
    assert seen["cancelled"]


def test_logins(server: Server, tmp_path: Path) -> None:
    python = virtualenv("mcp", SDKS[0][0])
    secret = base64.b64encode(b"alice:secret").decode()
    seen = client(server, python, "auto", tmp_path, f"Authorization: Basic {secret}", path="/login")
    assert seen["add"]["content"][0]["text"] == "3"
    assert post(server, "/login", message("tools/list")).status_code == 401


def test_run_python_is_behind_the_guard(server: Server, tmp_path: Path) -> None:
    python = virtualenv("mcp", SDKS[0][0])
    seen = client(server, python, "auto", tmp_path, path="/code")
    assert set(seen["tools"]) == {"run_python"}
    assert seen["run_python"]["structured"] == {"n": 42}
    assert "run_python" in client(server, python, "legacy", tmp_path, path="/both")["tools"]
    assert "run_python" not in client(server, python, "auto", tmp_path)["tools"]


def test_the_sdk_as_it_is_written_down(server: Server) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "doc/mcp.md").read_text(), re.DOTALL)
    code = code.replace("http://localhost:9876/mcp", f"{server.url}/examples")
    python = virtualenv("mcp", SDKS[0][0])
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60 * SLOW)
    assert done.stdout.splitlines() == [
        "['letters', 'primes', 'repeat', 'thumbnail', 'tune', 'words']",
        "[{'letter': 'l', 'count': 2, 'share': 0.4}]",
    ], done.stderr


# ---- by hand


def message(method: str, id: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def post(server: Server, path: str, body: Any, **headers: str) -> httpx.Response:
    sent = ACCEPT | {name.replace("_", "-"): value for name, value in headers.items()}
    return server.post(path, json=body, headers=sent)


def test_pages_from_elsewhere(server: Server) -> None:
    listing = message("tools/list")
    assert post(server, "/mcp", listing).status_code == 200
    assert post(server, "/mcp", listing, Origin=server.url).status_code == 200
    assert post(server, "/mcp", listing, Origin="https://page.example").status_code == 403
    assert post(server, "/mcp", listing, Origin="null").status_code == 403
    assert post(server, "/mcp", listing, Host="rebound.example").status_code in (403, 421)
    assert post(server, "/open", listing, Origin="https://page.example").status_code == 200
    assert post(server, "/code", listing, Origin="https://page.example").status_code == 403
    assert post(server, "/code", listing).status_code == 200


def test_other_methods(server: Server) -> None:
    for method in ("GET", "DELETE"):
        answer = server.client().request(method, "/mcp", headers=ACCEPT)
        assert answer.status_code == 405, method
        assert "POST" in answer.headers["Allow"]
    assert post(server, "/mcp", message("tools/list"), Accept="application/json").status_code == 406
    assert post(server, "/mcp", message("tools/list"), MCP_Protocol_Version="1999-01-01").status_code == 400


def test_what_a_request_carries_is_nothing_of_owt_s(server: Server) -> None:
    """Neither fields nor parameters choose what runs."""
    code = "def run(): return 'foreign'"
    body = message("tools/list") | {"code": code, "fn_name": "run", "kwargs": "1"}
    answer = post(server, f"/code?code={code}", body)
    assert "foreign" not in answer.text
    assert answer.json()["result"]["tools"][0]["name"] == "run_python"


def test_all_that_a_function_may_be(server: Server) -> None:
    def call(name: str, **arguments: Any) -> Any:
        answer = post(server, "/mcp", message("tools/call", name=name, arguments=arguments))
        lines = [line for line in answer.text.splitlines() if line.startswith(("data: ", "{"))]
        return json.loads(lines[-1].removeprefix("data: "))["result"]

    assert call("batched", xs=4)["content"][0]["text"] == "8"
    (resource,) = call("files", a="data:application/zip;base64,AAEC")["content"]
    assert (resource["type"], resource["resource"]["mimeType"]) == ("resource", "application/zip")
    assert base64.b64decode(resource["resource"]["blob"]) == b"\0\1\2"
    made = call("flasked", n=1)
    assert made["isError"] or made["structuredContent"] == {"n": 1}, made


def test_progress_comes_as_it_is_made(server: Server) -> None:
    call = message("tools/call", name="words", arguments={"text": "a b", "pause": 0.2}, _meta={"progressToken": 1})
    with server.client().stream("POST", "/mcp", json=call, headers=ACCEPT) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        events = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    assert [event["params"]["message"] for event in events[:-1]] == ["a ", "b "]
    assert events[-1]["result"]["content"] == [{"type": "text", "text": "a b "}]


def test_who_leaves_ends_the_call(server: Server, tmp_path: Path) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    arguments = {"started": str(started), "ended": str(ended)}
    call = message("tools/call", name="endless", arguments=arguments)
    http = server.client()
    with pytest.raises(httpx.ReadTimeout):
        http.post("/mcp", json=call, headers=ACCEPT, timeout=httpx.Timeout(10, read=0.5))
    http.close()
    wait_until(ended.exists, "the call to end")


def test_a_changed_function_is_another_tool(server: Server) -> None:
    path = server.dir / "api" / "changing.py"
    path.write_text("def run(a: int): return 1\n")

    def properties() -> set[str]:
        tools = post(server, "/mcp", message("tools/list")).json()["result"]["tools"]
        return next((set(tool["inputSchema"]["properties"]) for tool in tools if tool["name"] == "changing"), set())

    wait_until(lambda: properties() == {"a"}, "the tool")
    path.write_text("def run(b: int): return 1\n")
    wait_until(lambda: properties() == {"b"}, "the changed tool")
    path.unlink()
    wait_until(lambda: properties() == set(), "the tool to go")
