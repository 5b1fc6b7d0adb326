"""Whatever a client sends to what is published, and wherever it puts it: nothing is compiled, evaluated or imported.

An audit hook counts what Python compiles, executes and imports once the door is open. OWT_REQUESTS says how many
hostile requests are tried.
"""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Iterator

import pytest
from harness import Server

CONF = """
owt_zone results 8m;
owt_instance default { preload audited; python_path {dir}/modules; threads 4; }
server {
    listen 127.0.0.1:{port};
    location /api/ { owt_root api; }
    location /kept/ { owt_root api; owt_cache results; owt_keep on; }
    location = /one { owt_file api/echo.py; }
    location = /two { owt_file api/typed.py; owt_traceback on; client_body_buffer_size 1k; }
}
"""

AUDITED = """
import sys

seen = []
counts = False
_ours = {"compile", "exec", "import", "marshal.loads", "pickle.find_class", "open", "os.exec", "subprocess.Popen"}

def _hook(event, arguments):
    if counts and event in _ours:
        # What owt itself tries after a failure: whether somebody's hook raises.
        if event in ("compile", "exec") and arguments[0] is None or event == "import" and arguments[0] == "owt":
            return
        if event == "open" and (arguments[0] == "/dev/null" or not isinstance(arguments[0], str)):
            return
        seen.append(f"{event}: {str(arguments)[:300]}")

sys.addaudithook(_hook)
"""

FILES = {
    "modules/audited.py": AUDITED,
    "api/echo.py": "def run(request, **fields): return {name: str(value) for name, value in fields.items()}\n",
    "api/typed.py": "def run(a: int, code: str = '', kwargs: dict = {}, fn_name: list[str] = []): return [a, code, kwargs]\n",
    "api/one.py": "def run(code): return code\n",
    "api/later.py": "async def run(request, code='', **rest): return code\n",
    "api/stream.py": "def run(code='', kwargs=''):\n    yield str(code)\n    yield str(kwargs)\n",
    "api/pipeline.py": "pipe().kwarg('code').f(str)\n",
    "api/audit.py": (
        "import audited\ndef run(counts: bool):\n    audited.counts = counts\n    seen, audited.seen[:] = list(audited.seen), []\n"
        "    return seen\n"
    ),
}

NAMES = [
    "code",
    "code_b64",
    "code_id",
    "fn_name",
    "kwargs",
    "kwargs_b64",
    "use_cache",
    "cache_kwargs",
    "cache_key_override",
    "a",
    "name",
    "__last__",
    "request",
    "self",
    "__class__",
    "run",
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(CONF)
    for name, text in FILES.items():
        (server.dir / name).parent.mkdir(exist_ok=True)
        (server.dir / name).write_text(text)
    with server:
        yield server


class Fuzzer:
    """Requests with owt's parameters in every place; what they would do if they were run leaves a file."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.client = server.client()
        self.random = random.Random(seed)
        self.mark = server.dir / "pwned"
        touch = f"open({str(self.mark)!r}, 'w')"
        codes = [
            f"def run(*a, **k): {touch}",
            f"{touch}",
            f"lambda *a, **k: {touch}",
            f"path().f(lambda _: {touch})",
            f"__import__('os').system('touch {self.mark}')",
            f"import antigravity; {touch}",
        ]
        expressions = [
            f"{{'a': {touch}}}",
            f"[{touch}]",
            f"dict(a={touch})",
            "{'a': 1}",
            "(1, 2)",
            "9**9",
            "a.b.c",
            "{",
        ]
        plain = [
            "",
            "1",
            "true",
            "maybe",
            "run",
            "speak",
            "sha256:" + "0" * 64,
            "\u00fc",
            "x" * 3000,
            "__import__",
            "'",
        ]
        texts = codes + expressions + plain
        self.texts = texts + [base64.b64encode(text.encode()).decode() for text in codes + expressions]

    def text(self) -> str:
        return self.random.choice(self.texts)

    def value(self, depth: int = 0) -> object:
        kind = self.random.randrange(10 if depth < 3 else 6)
        if kind < 4:
            return self.text()
        if kind < 6:
            return self.random.choice([None, True, False, 0, 1.5, -(10**30)])
        if kind < 8:
            return [self.value(depth + 1) for _ in range(self.random.randrange(3))]
        return {self.random.choice(NAMES): self.value(depth + 1) for _ in range(self.random.randrange(3))}

    def fields(self) -> list[tuple[str, str]]:
        return [(self.random.choice(NAMES), self.text()) for _ in range(self.random.randrange(5))]

    def send(self) -> int:
        """One request; the answer's status."""
        pick = self.random.choice
        target = pick(
            ["/api/echo", "/api/typed", "/api/one", "/api/later", "/api/stream", "/api/pipeline", "/api/none"]
        )
        target = pick([target, target, target.replace("/api/", "/kept/"), "/one", "/two"])
        query = self.fields() if self.random.random() < 0.6 else []
        options: dict[str, object] = {"params": query}
        kind = self.random.randrange(7)
        if kind == 0:
            options["data"] = dict(self.fields())
        elif kind == 1:
            options["json"] = {name: self.value() for name in self.random.sample(NAMES, self.random.randrange(6))}
        elif kind == 2:
            options["content"] = json.dumps(self.value()).encode()
            options["headers"] = {"Content-Type": pick(["application/json", "text/plain", "x/y+json", ""])}
        elif kind == 3:
            options["files"] = [(name, (None, text)) for name, text in self.fields()] or None
        elif kind == 4:
            options["files"] = [(name, (f"{name}.py", text.encode())) for name, text in self.fields()] or None
        elif kind == 5:
            options["content"] = self.text().encode()
            options["headers"] = {"Content-Type": pick(["text/x-python", "application/x-www-form-urlencoded", "a/b"])}
        method = "GET" if kind == 6 else "POST"
        return self.client.request(method, target, **options).status_code  # type: ignore[arg-type]


def test_nothing_that_is_sent_is_run(server: Server) -> None:
    count = int(os.environ.get("OWT_REQUESTS", "3000"))
    fuzzer = Fuzzer(server, 1)
    for _ in range(300):  # after which everything of owt's own has been imported
        fuzzer.send()
    server.get("/api/audit?counts=yes")
    fuzzer = Fuzzer(server, 2)
    statuses: dict[int, int] = {}
    for _ in range(count):
        status = fuzzer.send()
        statuses[status] = statuses.get(status, 0) + 1
    seen = server.get("/api/audit?counts=no").json()
    assert not fuzzer.mark.exists()
    assert not seen, "\n".join(seen[:20])
    assert set(statuses) <= {200, 400, 404, 415, 500}, statuses
    assert statuses[200] > count / 20, statuses


def test_the_hook_sees_what_is_run(server: Server) -> None:
    """Else there would be nothing to see above."""
    server.get("/api/audit?counts=yes")
    path = server.dir / "api/fresh.py"
    path.write_text("import colorsys\ndef run(): return eval('1 + 1')\n")
    assert server.get("/api/fresh").text == "2"
    seen = " ".join(server.get("/api/audit?counts=no").json())
    assert "compile" in seen
    assert "exec" in seen
    assert "colorsys" in seen
