"""The parameter events: what becomes of a call is told as it happens."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from asking import Asking, leave, wait_text
from gate import PAUSE, Gate
from harness import PRELOAD, ROOT, Server, minor_version, wait_until

CONF = """
owt_zone results 4m;
owt_stream_buffer 64k;
client_max_body_size 32m;
gzip_types text/event-stream;
owt_instance model { }
server {
    listen 127.0.0.1:{port};
    owt_cache results;
    location / { owt; }
    location /zip/ { owt; gzip on; gzip_min_length 1; gzip_proxied any; }
    location /brief/ { owt; owt_timeout 500ms; }
    location /quick/ { owt; owt_keepalive 100ms; }
    location /silent/ { owt; owt_keepalive 0; owt_timeout 500ms; }
    location /quiet/ { owt; owt_traceback off; }
    location /login/ { owt; owt_auth alice:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b; }
    location /passed/ { proxy_pass http://unix:{dir}/model.sock; include {root}/conf/owt_params; }
    location = /counted { owt_file {dir}/counted.py; }
    location = /shown { owt_file {dir}/counted.py; owt_traceback on; }
    location = /mcp { owt_mcp {dir}/tools; owt_keepalive 100ms; }
    location /owt/ { owt_status; }
}
server { listen unix:{dir}/model.sock; owt_instance model; location / { owt; } }
"""

COUNTED = '''
def run(events: int = 3):
    """What owt's own parameter is called elsewhere is a field like others here."""
    print("counting")
    for n in range(events):
        yield f"{n}\\n"
'''


SLOW_TOOLS = """
import asyncio, pathlib
async def run(gate: str) -> str:
    while not pathlib.Path(gate).exists():
        await asyncio.sleep(0.002)
    return "done"
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(CONF)
    (server.dir / "counted.py").write_text(COUNTED)
    (server.dir / "tools").mkdir()
    (server.dir / "tools/slow.py").write_text(SLOW_TOOLS)
    with server:
        yield server


class Event(NamedTuple):
    id: int
    name: str
    data: dict[str, Any]


def events_of(text: str) -> list[Event]:
    """What a stream of events holds, each of owt's own form; comments are left out."""
    assert text.endswith("\n\n") or not text
    events = []
    for block in text.split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if lines:
            id, event, data = lines
            made = id.removeprefix("id: "), event.removeprefix("event: "), data.removeprefix("data: ")
            events.append(Event(int(made[0]), made[1], json.loads(made[2])))
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    return events


def tell(server: Server, code: str, path: str = "/", **fields: object) -> list[Event]:
    """The events of a call."""
    answer = Asking(server, code, path, events=True, **fields).answer()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream"), answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Accel-Buffering"] == "no"
    assert answer.whole
    return events_of(answer.text)


def body_of(events: list[Event]) -> bytes:
    parts = [event.data for event in events if event.name == "output"]
    return b"".join(part["text"].encode() if "text" in part else base64.b64decode(part["base64"]) for part in parts)


def said_in(events: list[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "log")


def names(events: list[Event]) -> list[str]:
    return [event.name for event in events]


def one(events: list[Event], name: str) -> dict[str, Any]:
    (found,) = [event.data for event in events if event.name == name]
    return found


# ---- output ----------------------------------------------------------------------------------------------------------

PICTURE = """
import PIL.Image
def run():
    return PIL.Image.new("RGB", (3, 2), "red")
"""

ANSWERS = {
    "text": "lambda: 'Hello, Zoë!'",
    "nothing": "lambda: None",
    "bytes": "lambda: b'\\xff\\x00' + b'x' * 100",
    "utf-8 as bytes": "lambda: 'Zoë'.encode()",
    "json": "lambda: {'a': [1, None], 'ä': 'ö'}",
    "status": "lambda: ('made', 201, {'X-Mine': 'a', 'Content-Type': 'text/plain'})",
    "headers of one name": "lambda: ('x', 200, [('X-Mine', 'a'), ('X-Mine', 'b')])",
    "latin-1": "lambda: ('Zoë'.encode('latin-1'), {'Content-Type': 'text/plain; charset=latin-1'})",
    "not what it says": "lambda: (b'a\\xffb', {'Content-Type': 'text/plain'})",
    "a control character": "lambda: 'a\\r\\nb\\x00\\x1b[0m\\u2028\\u2029'",
    "large": "lambda: 'Zoë ✓ 𝄞 ' * 100_000",
    "large bytes": "import random\nrun = lambda: random.Random(1).randbytes(500_000)",
    "generator": "def run():\n    yield 'a'\n    yield 'b'",
    "an empty generator": "def run():\n    return\n    yield",
    "ndjson": "def run():\n    yield {'a': 1}\n    yield {'a': 2}",
    "async": "async def run(): return 'later'",
    "async generator": "async def run():\n    yield 'a'\n    yield 'ö'",
    "events of its own": "def run():\n    def each():\n        yield {'a': 1}\n"
    "    return each(), {'Content-Type': 'text/event-stream'}",
    "batch": "from owt import batch\nrun = batch(lambda n: [2 * one for one in n])",
    "keep": "from owt import keep\nimport threading\nrun = lambda: keep('seven', lambda: 7)",
    "flask": "import flask\napp = flask.Flask(__name__)\n@app.route('/')\ndef run(): return 'from Flask', 202",
    "werkzeug": "import werkzeug.wrappers as w\nrun = lambda: w.Response(iter(['a', 'b']), content_type='text/plain')",
    "wsgi": "def run(environ, start_response):\n    start_response('418 Teapot', [('X-A', 'b')])\n    return [b'tea']",
    "file": "import pathlib\nrun = lambda: pathlib.Path('/usr/share/common-licenses/GPL-3')",
    "a file that is empty": "import tempfile\nfile = tempfile.NamedTemporaryFile()\nrun = lambda: file",
    "picture": PICTURE,
    "pictures": PICTURE.replace("return", "yield"),
    "sound": "import numpy\nrun = lambda: (8000, numpy.zeros(100, numpy.int16))",
    "table": "import pandas\nrun = lambda: pandas.DataFrame({'a': [1, 2]})",
}

FIELDS = {"batch": {"n": 4}}


@pytest.mark.parametrize("kind", ANSWERS)
def test_the_output_is_the_answer(server: Server, kind: str) -> None:
    fields = FIELDS.get(kind, {})
    plain = Asking(server, ANSWERS[kind], **fields).answer()
    events = tell(server, ANSWERS[kind], **fields)
    assert body_of(events) == plain.body
    begun, done = one(events, "start"), one(events, "done")
    assert begun["status"] == done["status"] == plain.status
    assert begun["type"] == done["type"] == (plain.headers["Content-Type"] or "")
    for name, value in begun["headers"].items():
        assert ", ".join(plain.headers.get_all(name)) == value
    assert done["ms"].keys() == {"queue", "load", "run"}
    outputs = names(events).count("output")
    assert names(events) == ["start", *["output"] * outputs, "done"]


def test_text_is_split_between_characters_only(server: Server) -> None:
    code = "def run():\n    for byte in 'aöz✓𝄞'.encode():\n        yield bytes([byte])"
    code = code.replace("def run():", "def each():") + "\ndef run(): return each(), {'Content-Type': 'text/plain'}"
    events = tell(server, code)
    assert "".join(event.data["text"] for event in events if event.name == "output") == "aöz✓𝄞"


def test_a_character_that_never_ends_is_bytes(server: Server) -> None:
    events = tell(server, "lambda: ('ö'.encode()[:1] * 1, {'Content-Type': 'text/plain'})")
    assert body_of(events) == b"\xc3"
    assert "base64" in one(events, "output")


def test_each_chunk_comes_as_it_is_yielded(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    asking = Asking(
        server,
        f"def run(_, gate):\n    yield 'a'\n    pause(gate)\n    yield 'b'\n{PAUSE}",
        events=True,
        gate=str(gate),
    )
    gate.wait_reached()
    begun = b""
    while b'{"text": "a"}\n\n' not in begun:
        begun += asking.read(1)
    gate.open()
    assert names(events_of(begun.decode() + asking.answer().text)) == ["start", "output", "output", "done"]


def test_headers_that_come_twice_are_one(server: Server) -> None:
    assert one(tell(server, ANSWERS["headers of one name"]), "start")["headers"] == {"X-Mine": "a, b"}


# ---- what is printed -------------------------------------------------------------------------------------------------

PRINTS = """
import logging, sys, threading
def run():
    print("to", "stdout")
    print("to stderr", file=sys.stderr)
    logging.warning("logged")
    logging.info("at\\x1b[0m info")
    thread = threading.Thread(target=print, args=("from a thread",))
    thread.start()
    thread.join()
    print("lone \\ud800 surrogate")
    print("without end", end="")
"""


@pytest.mark.parametrize("code", [PRINTS, PRINTS.replace("def", "async def")], ids=["plain", "async"])
def test_what_a_call_prints_is_told_and_logged(server: Server, code: str) -> None:
    events = tell(server, code)
    told = [
        "to stdout\n",
        "to stderr\n",
        "WARNING:root:logged\nINFO:root:at\x1b[0m info\n",
        "from a thread\nlone \\ud800 surrogate\nwithout end",
    ]
    assert said_in(events) == "".join(told)
    by = "".join({"stdout": "o", "stderr": "e", "logging": "l"}[e.data["stream"]] for e in events if e.name == "log")
    assert re.sub(r"(.)\1+", r"\1", by) == "oelo"
    for line in ("to stdout", "to stderr", "WARNING:root:logged", "from a thread", "without end"):
        server.wait_log(f"owt: {line}")


def test_loading_is_told_too(server: Server) -> None:
    assert said_in(tell(server, "print('loading')\ndef run(): print('running')")) == "loading\nrunning\n"


POOLED = (
    """
import asyncio, threading, owt
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
def job(name):
    print("job of", name)
    owt.progress(1, 1, name)
def run(_, name, gate=""):
    pool.submit(job, name).result()
    if gate:
        pause(gate)
async def later(_, name, gate=""):
    await asyncio.get_running_loop().run_in_executor(pool, job, name)
    if gate:
        await asyncio.to_thread(pause, gate)
def failing(_):
    pool.submit(int, "x").result()
"""
    + PAUSE
)


@pytest.mark.parametrize("function", ["run", "later"])
def test_jobs_of_a_pool_are_told_to_who_submits_them(server: Server, tmp_path: Path, function: str) -> None:
    """Whoever's call has started the pool's thread, and runs on."""
    gate = Gate(tmp_path)
    code = f"{POOLED}# {function}"
    first = Asking(server, code, events=True, fn_name=function, name="first", gate=str(gate))
    gate.wait_reached()
    second = tell(server, code, fn_name=function, name="second")
    gate.open()
    for events, name in (events_of(first.answer().text), "first"), (second, "second"):
        assert said_in(events) == f"job of {name}\n"
        assert [event.data["text"] for event in events if event.name == "progress"] == [name]
    assert "process/borrowed.py" not in one(tell(server, code, fn_name="failing"), "error")["detail"]


def test_other_calls_are_not_told(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    asking = Asking(server, f"def run(_, gate):\n    pause(gate)\n{PAUSE}", events=True, gate=str(gate))
    gate.wait_reached()
    assert server.run("print('of another')\ndef run(): print('call')").status_code == 200
    assert said_in(tell(server, "def run(): print('my own')")) == "my own\n"
    gate.open()
    assert said_in(events_of(asking.answer().text)) == ""


def test_a_line_that_was_flushed_is_told(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = f"def run(_, gate):\n    print('half', end='', flush=True)\n    pause(gate)\n    print(' a line')\n{PAUSE}"
    asking = Asking(server, code, events=True, gate=str(gate))
    begun = b""
    while b'"half"' not in begun:
        begun += asking.read(1)
    gate.open()
    assert said_in(events_of(begun.decode() + asking.answer().text)) == "half a line\n"


def test_what_was_redirected_is_not_told(server: Server) -> None:
    code = "import contextlib, io\ndef run():\n    with contextlib.redirect_stdout(io.StringIO()):\n        print('no')"
    assert said_in(tell(server, code)) == ""


# ---- how it ends -----------------------------------------------------------------------------------------------------


def test_a_failure_is_told(server: Server) -> None:
    events = tell(server, "def run():\n    print('before')\n    return 1 / 0")
    assert names(events) == ["log", "error"]
    plain = server.post(
        "/", json={"code": "def run():\n    print('before')\n    return 1 / 0"}, headers={"Accept": "application/json"}
    )
    assert one(events, "error") == plain.json()
    assert "ZeroDivisionError" in one(events, "error")["detail"]


def test_a_failure_after_output_is_told_with_its_traceback(server: Server) -> None:
    for code in ("def run():", "async def run():"):
        events = tell(server, f"{code}\n    yield 'a'\n    1 / 0")
        assert names(events) == ["start", "output", "error"]
        problem = one(events, "error")
        assert (problem["status"], problem["type"]) == (500, "urn:owt:adaptor-failed")
        assert problem["detail"].startswith("Traceback") and "line 3" in problem["detail"]


def test_events_of_its_own_that_fail_have_no_error_of_their_own(server: Server) -> None:
    code = "def each():\n    yield {'a': 1}\n    1 / 0\ndef run(): return each(), {'Content-Type': 'text/event-stream'}"
    events = tell(server, code)
    assert body_of(events) == b'data: {"a":1}\n\n'
    assert names(events)[-1] == "error"


LOGS = (
    "import logging, warnings\ndef run():\n    print('printed')\n    warnings.warn('warned')\n    try:\n        1 / 0\n"
)
LOGS += "    except ZeroDivisionError:\n        logging.exception('logged')\n    return 'done'"


def test_what_is_logged_is_for_whom_tracebacks_are(server: Server) -> None:
    """It may hold them, and paths, and what others have sent."""
    assert "Traceback" in said_in(tell(server, LOGS))
    assert names(tell(server, LOGS, "/quiet/")) == ["start", "output", "done"]
    server.wait_log("owt: ZeroDivisionError")


@pytest.mark.parametrize("code", ["def run(): 1 / 0", "def run():\n    yield 'a'\n    1 / 0"])
def test_tracebacks_are_for_whom_they_are_elsewhere(server: Server, code: str) -> None:
    detail = one(tell(server, code, "/quiet/"), "error")["detail"]
    assert "The adaptor failed. Error id" in detail and "Zero" not in detail


def test_what_cannot_be_sent_is_told(server: Server) -> None:
    assert "cannot be made JSON" in one(tell(server, "lambda: {'a': b'x'}"), "error")["detail"]


@pytest.mark.parametrize("length", [3, 5])
def test_a_length_that_is_wrong(server: Server, length: int) -> None:
    code = "def each():\n    yield 'abcd'\ndef run(): return each(), {'Content-Length': '%d'}"
    events = tell(server, code % length)
    assert body_of(events) == b"abcd"[:length]
    assert names(events)[-1] == ("done" if length < 4 else "error")


def test_a_call_that_gives_nothing_in_time(server: Server) -> None:
    for path in ("/brief/", "/silent/"):
        events = tell(
            server, "import time\ndef run():\n    print('begun')\n    while True:\n        time.sleep(0.01)", path
        )
        assert names(events) == ["log", "error"]
        assert one(events, "error")["status"] == 504


def test_what_is_printed_counts_as_output(server: Server) -> None:
    code = (
        "import time\ndef run():\n    for n in range(8):\n        print(n)\n        time.sleep(0.1)\n    return 'done'"
    )
    assert names(tell(server, code, "/brief/"))[-1] == "done"
    plain = Asking(server, code, "/brief/").answer()
    assert plain.status == 504


def test_a_call_that_is_stopped(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    asking = Asking(server, f"def run(_, gate):\n    pause(gate)\n{PAUSE}", events=True, gate=str(gate))
    gate.wait_reached()
    (call,) = (one for one in server.get("/owt/calls").json() if one["state"] == "running")
    assert server.client().delete(f"/owt/calls/{call['id']}").status_code == 202
    problem = one(events_of(asking.answer().text), "error")
    assert (problem["status"], problem["type"]) == (500, "urn:owt:stopped")


# ---- refusals --------------------------------------------------------------------------------------------------------

REFUSED = {
    "no code": (400, {"fn_name": "run"}),
    "a value that is none": (400, {"code": "lambda: 1", "events": "perhaps"}),
    "no bool": (400, {"code": "lambda: 1", "events": [1]}),
    "a syntax error": (400, {"code": "def"}),
    "an unknown id": (404, {"code_id": "sha256:" + "0" * 64}),
    "no such function": (400, {"code": "lambda: 1", "fn_name": "other"}),
    "no such argument": (400, {"code": "lambda: 1", "x": 1}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_is_a_plain_answer(server: Server, what: str) -> None:
    status, fields = REFUSED[what]
    for accept, kind in (("application/json", "application/problem+json"), ("*/*", "text/plain; charset=utf-8")):
        answer = server.post("/", json={"events": True, **fields}, headers={"Accept": accept})
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, kind)


def test_refused_before_anything_is_read(server: Server) -> None:
    body = {"code": "lambda: 1", "events": True}
    assert server.post("/login/", json=body).status_code == 401
    assert server.post("/", json=body, headers={"Origin": "https://elsewhere.example"}).status_code == 403
    coded = server.post("/", content=gzip.compress(json.dumps(body).encode()), headers={"Content-Encoding": "gzip"})
    assert coded.status_code == 415


def test_a_refusal_after_something_was_told_is_told(server: Server) -> None:
    events = tell(server, "print('loading')\ndef run(_, x): pass")
    assert names(events) == ["log", "error"]
    assert one(events, "error")["status"] == 400


# ---- how it is asked for ---------------------------------------------------------------------------------------------


def told(answer: httpx.Response) -> list[Event]:
    assert answer.headers["Content-Type"] == "text/event-stream", answer.text
    return events_of(answer.text)


def test_every_place_of_parameters(server: Server) -> None:
    code = "lambda: 'x'"
    for answer in (
        server.get("/", params={"code": code, "events": "yes"}),
        server.post("/", params={"code": code, "events": "1"}, content=b"its own"),
        server.post("/", data={"code": code, "events": "on"}),
        server.post("/", json={"code": code, "events": "true"}),
        server.post("/", json={"code": code, "events": 1}),
        server.post("/", data={"events": "yes"}, files={"code": code.encode()}),
        server.post("/", data={"code": code, "more": "x" * 20_000_000, "kwargs": "{}", "events": "yes"}),
        server.post("/", json={"code": code}, headers={"Prefer": "respond-async, Events"}),
        server.post("/", data={"x": ""}, files={"code": b"lambda x: 'x'"}, headers={"Prefer": "events"}),
    ):
        if answer.status_code == 400:
            assert "not taken: more" in answer.text
            continue
        events = told(answer)
        assert body_of(events) == b"x"
        applied = answer.headers.get("Preference-Applied")
        assert applied == ("events" if "Prefer" in answer.request.headers else None)


def test_who_does_not_ask_is_not_told(server: Server) -> None:
    for fields in ({}, {"events": False}, {"events": None}, {"events": "no"}):
        assert server.run("lambda: 'x'", **fields).text == "x"
    answer = server.post("/", json={"code": "lambda: 'x'", "events": False}, headers={"Prefer": "events"})
    assert answer.text == "x" or told(answer)
    answer = server.post("/", json={"code": "lambda: 'x'"}, headers={"Accept": "text/event-stream"})
    assert answer.text == "x"


def test_a_published_function_has_the_field_for_itself(server: Server) -> None:
    assert server.get("/counted", params={"events": "2"}).text == "0\n1\n"
    assert server.get("/counted", headers={"Accept": "text/event-stream"}).text == "0\n1\n2\n"
    for answer in (
        server.get("/counted", params={"events": "2"}, headers={"Prefer": "events"}),
        server.post("/counted", json={"events": 2}, headers={"Prefer": "events"}),
        server.post("/counted", files={"events": (None, "2")}, headers={"Prefer": "events"}),
    ):
        assert said_in(told(answer)) == ""  # what it prints is its author's business
        assert body_of(told(answer)) == b"0\n1\n"
    answer = server.post("/shown", json={"events": 2}, headers={"Prefer": "events"})
    assert (said_in(told(answer)), body_of(told(answer))) == ("counting\n", b"0\n1\n")


def test_a_spooled_body(server: Server) -> None:
    """Whose parameters a Python thread reads."""
    answer = server.post("/", json={"code": "lambda more: len(more)", "more": "x" * 20_000_000, "events": True})
    assert body_of(told(answer)) == b"20000000"


def test_head(server: Server) -> None:
    answer = server.client().head("/", params={"code": "def run():\n    print('x')\n    return 'y'", "events": "yes"})
    assert (answer.status_code, answer.headers["Content-Type"], answer.text) == (200, "text/event-stream", "")


def test_who_reconnects_is_not_run_again(server: Server, tmp_path: Path) -> None:
    query = {"code": f"open({str(tmp_path / 'ran')!r}, 'a').write('x')\ndef run(): pass", "events": "yes"}
    assert names(told(server.get("/", params=query)))[-1] == "done"
    again = server.get("/", params={**query, "code": query["code"] + "\n"}, headers={"Last-Event-ID": "2"})
    assert (again.status_code, again.text) == (204, "")
    assert (tmp_path / "ran").read_text() == "x"
    assert server.get("/", params={"code": "lambda: 1"}, headers={"Last-Event-ID": "2"}).text == "1"


# ---- ways ------------------------------------------------------------------------------------------------------------

LIVES = f"""
import owt
def run(_, gate):
    print("begun")
    owt.progress(1, 2)
    yield "a"
    pause(gate)
    yield "b"
{PAUSE}"""


def test_compressed(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    body = {"code": LIVES, "events": True, "gate": str(gate)}
    with server.client().stream("POST", "/zip/", json=body, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        text = ""
        for part in answer.iter_text():
            text += part
            if '{"text": "a"}' in text:  # before the end
                gate.open()
    assert body_of(events_of(text)) == b"ab"


def test_through_an_instances_proxy(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    asking = Asking(server, LIVES, "/passed/", events=True, gate=str(gate))
    begun = b""
    while b'{"text": "a"}\n\n' not in begun:
        begun += asking.read(1)
    gate.open()
    events = events_of(begun.decode() + asking.answer().text)
    assert said_in(events) == "begun\n" and body_of(events) == b"ab" and names(events)[-1] == "done"


# ---- readers ---------------------------------------------------------------------------------------------------------

#: Says in a file that it was cancelled.
RUNS = """
import asyncio, owt, pathlib, time
def plain(_, file):
    try:
        while True:
            print("x")
            time.sleep(0.001)
    except owt.Cancelled:
        pathlib.Path(file).write_text("cancelled")
        raise
def generator(_, file):
    try:
        while True:
            yield "x"
            time.sleep(0.001)
    finally:
        pathlib.Path(file).write_text("cancelled")
async def later(_, file):
    try:
        while True:
            print("x")
            await asyncio.sleep(0.001)
    finally:
        pathlib.Path(file).write_text("cancelled")
"""


@pytest.mark.parametrize("function", ["plain", "generator", "later"])
def test_a_reader_who_leaves_cancels_the_call(server: Server, function: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    asking = Asking(server, RUNS, events=True, fn_name=function, file=str(file))
    asking.read(100)
    leave(server, asking)
    assert wait_text(file) == "cancelled"


FLOOD = """
import pathlib, resource
def rss():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
def run(_, lines: int, file):
    for n in range(100):
        print("y" * 99)
    before = rss()
    for n in range(lines):
        print("x" * 99)
    pathlib.Path(file).write_text(str(rss() - before))
    yield "end"
"""


def test_who_does_not_read_holds_up_no_print(server: Server, tmp_path: Path) -> None:
    """Nor memory: what is left out is counted."""
    file = tmp_path / "file"
    asking = Asking(server, FLOOD, events=True, receive=4096, lines=200_000, file=str(file))
    grown = int(wait_text(file, 60))  # it has printed all of it
    assert server.run("lambda: 'another'").text == "another"
    if not PRELOAD:
        assert grown < 16 << 20  # of 20 MB, whose lines wait for the error log too
    events = events_of(asking.answer().text)
    missing = sum(event.data.get("missing", 0) for event in events)
    assert missing > 10_000_000
    assert len(said_in(events)) + missing == 100 * 200_100
    assert body_of(events) == b"end" and names(events)[-1] == "done"


def test_who_reads_slowly_holds_up_the_generator(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "file"
    code = "import pathlib\ndef run(_, file):\n    for n in range(1000):\n        yield 'x' * 10_000\n"
    code += "        pathlib.Path(file).write_text(str(n))"
    asking = Asking(server, code, events=True, receive=4096, file=str(file))
    asking.read(100)
    seen = ""

    def rests() -> bool:
        nonlocal seen
        before, seen = seen, wait_text(file)
        server.run("import time\ndef run(): time.sleep(0.2)")
        return seen == before

    wait_until(rests, "the generator to be held up")
    assert int(seen) < 900
    text = asking.answer().text
    assert text.count('"text": "xxx') > 100 and text.rstrip().rpartition("event: ")[2].startswith("done")
    assert text.count("x" * 100) > 0 and sum(len(e.data["text"]) for e in _outputs(text)) > 9_000_000


def _outputs(rest: str) -> list[Event]:
    """Of a stream whose first bytes are missing."""
    blocks = [block.split("\n") for block in rest.split("\n\n")[1:-1]]
    made = [Event(int(id[4:]), event[7:], json.loads(data[6:])) for id, event, data in blocks]
    return [event for event in made if event.name == "output"]


def test_a_large_answer_for_a_slow_reader_is_whole(server: Server) -> None:
    asking = Asking(server, "lambda: 'Zoë ✓ 𝄞 ' * 300_000", events=True, receive=4096)
    assert body_of(events_of(asking.answer().text)).decode() == "Zoë ✓ 𝄞 " * 300_000


def test_many_at_once(server: Server) -> None:
    code = "def run(n: int):\n    for i in range(50):\n        print(n, i)\n        yield f'{n} {i},'"

    def call(n: int) -> None:
        events = tell(server, code, n=n)
        assert said_in(events) == "".join(f"{n} {i}\n" for i in range(50))
        assert body_of(events).decode() == "".join(f"{n} {i}," for i in range(50))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(call, range(40)))


# ---- kept results ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
def test_a_kept_result_is_told(server: Server, first: bool) -> None:
    code = f"import os\ndef run():\n    print('ran')\n    yield os.urandom(8).hex()\n    yield 'ö'  # {first}"
    kept = {"code": code, "use_cache": True}
    made = server.post(json={**kept, "events": first})
    body = body_of(told(made)) if first else made.content
    assert "fwd=miss" in made.headers["Cache-Status"]
    again = server.post(json={**kept, "events": True})
    assert again.headers["Cache-Status"] == "owt; hit"
    assert names(told(again)) == ["start", "output", "done"]
    assert body_of(told(again)) == body
    assert one(told(again), "start")["type"] == "text/html; charset=utf-8"
    plain = server.post(json=kept)
    assert (plain.content, plain.headers["Cache-Status"]) == (body, "owt; hit")


def test_a_failure_is_not_kept(server: Server) -> None:
    kept = {"code": "def run():\n    yield 'a'\n    1 / 0", "use_cache": True, "events": True}
    for _ in range(2):
        answer = server.post(json=kept)
        assert "hit" not in answer.headers["Cache-Status"]
        assert names(told(answer)) == ["start", "output", "error"]


def test_another_calls_result_is_told(server: Server, tmp_path: Path) -> None:
    """Calls that are the same wait for the first one's."""
    gate = Gate(tmp_path)
    code = f"def run(gate):\n    print('ran')\n    pause(gate)\n    return 'kept'\n{PAUSE}"
    fields = {"events": True, "use_cache": True, "cache_kwargs": True, "gate": str(gate)}
    first = Asking(server, code, **fields)
    gate.wait_reached()
    second = Asking(server, code, **fields)
    gate.open()
    assert body_of(events_of(first.answer().text)) == body_of(events_of(second.answer().text)) == b"kept"


def test_a_kept_result_for_head(server: Server) -> None:
    query = {"code": "lambda: 'head'", "use_cache": "yes", "events": "yes"}
    assert body_of(told(server.get(params=query))) == b"head"
    answer = server.client().head("/", params=query)
    assert (answer.status_code, answer.headers["Content-Type"], answer.text) == (200, "text/event-stream", "")
    assert answer.headers["Cache-Status"] == "owt; hit"


# ---- silence ---------------------------------------------------------------------------------------------------------

COMMENT = b": keep-alive\n\n"


def comments_elsewhere(server: Server, tmp_path: Path) -> None:
    """Until another stream has got some, and this one would have."""
    gate = Gate(tmp_path, "elsewhere")
    asking = Asking(server, LIVES, "/quick/", events=True, gate=str(gate))
    seen = b""
    while seen.count(COMMENT) < 3:
        seen += asking.read(1)
    gate.open()
    asking.answer()


def test_silence_is_broken(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    asking = Asking(server, LIVES, "/quick/", events=True, gate=str(gate))
    begun = b""
    while begun.count(COMMENT) < 3:
        begun += asking.read(1)
    gate.open()
    events = events_of((begun + asking.answer().body).decode())
    assert body_of(events) == b"ab" and names(events)[-1] == "done"


def test_silence_is_broken_while_an_endpoint_loads(server: Server, tmp_path: Path) -> None:
    """A refusal that comes after that is told."""
    gate = Gate(tmp_path)
    asking = Asking(server, f"{PAUSE}\npause({str(gate)!r})\ndef run(_, x): pass", "/quick/", events=True)
    assert asking.read(len(COMMENT)) == COMMENT
    gate.open()
    (event,) = events_of(asking.answer().body.decode().replace(COMMENT.decode(), ""))
    assert (event.name, event.data["status"]) == ("error", 400)


def test_a_line_that_nobody_ends_is_told_in_silence(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = f"def run(_, gate):\n    print('half', end='')\n    pause(gate)\n{PAUSE}"
    asking = Asking(server, code, "/quick/", events=True, gate=str(gate))
    begun = b""
    while b'"half"' not in begun:
        begun += asking.read(1)
    gate.open()
    assert said_in(events_of((begun + asking.answer().body).decode())) == "half"


def test_silence_of_an_adaptors_own_events_is_broken_between_lines(server: Server, tmp_path: Path) -> None:
    for first, broken in (("data: a\\n\\n", True), ("data: a\\n", True), ("data: a", False)):
        gate = Gate(tmp_path, f"gate{first}")
        code = f"def each(gate):\n    yield '{first}'\n    pause(gate)\n    yield '{first}'\n"
        code += f"def run(_, gate): return each(gate), {{'Content-Type': 'text/event-stream'}}\n{PAUSE}"
        sent = first.replace("\\n", "\n").encode()
        asking = Asking(server, code, "/quick/", gate=str(gate))
        assert asking.read(len(sent)) == sent
        if broken:
            assert asking.read(2 * len(COMMENT)) == 2 * COMMENT
        else:
            comments_elsewhere(server, tmp_path)
        gate.open()
        assert asking.answer().body.replace(COMMENT, b"") == sent


def test_silence_of_a_tool_is_broken(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    params = {"name": "slow", "arguments": {"gate": str(gate)}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
    with server.client().stream("POST", "/mcp", json=body, headers=headers) as answer:
        text = ""
        for part in answer.iter_text():
            text += part
            if text.count(COMMENT.decode()) == 3:
                gate.open()
    (event,) = text.replace(COMMENT.decode(), "").split("\n\n")[:-1]
    told = json.loads(event.removeprefix("event: message\ndata: "))
    assert told["result"]["content"] == [{"type": "text", "text": "done"}]


def test_other_answers_are_left_alone(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    asking = Asking(server, f"def run(_, gate):\n    yield 'a\\n'\n    pause(gate)\n{PAUSE}", "/quick/", gate=str(gate))
    assert asking.read(2) == b"a\n"
    comments_elsewhere(server, tmp_path)
    gate.open()
    assert asking.answer().body == b""


# ---- progress --------------------------------------------------------------------------------------------------------


def progress_in(events: list[Event]) -> list[dict[str, Any]]:
    return [event.data for event in events if event.name == "progress"]


def test_progress_of_a_fast_loop_is_told_now_and_then(server: Server) -> None:
    code = "import owt, time\ndef run():\n    begin = time.monotonic()\n    for n in range(100_000):\n"
    code += "        owt.progress(n, 100_000, 'counting')\n    return {'seconds': time.monotonic() - begin}"
    events = tell(server, code)
    told = progress_in(events)
    assert told[0]["done"] < 99_999
    assert told[-1] == {"done": 99_999, "total": 100_000, "text": "counting"}
    assert [one["done"] for one in told] == sorted(one["done"] for one in told)
    assert len(told) <= 3 + 10 * json.loads(body_of(events))["seconds"]


def test_the_last_word_does_not_wait_for_another(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = "import owt\ndef run(_, gate):\n    owt.progress(1)\n    owt.progress(2)\n    owt.progress(3)\n"
    asking = Asking(server, f"{code}    pause(gate)\n{PAUSE}", events=True, gate=str(gate))
    begun = b""
    while b'"done": 3' not in begun:
        begun += asking.read(1)
    assert b'{"done": 3, "total": null, "text": ""}' in begun + asking.read(40)
    gate.open()
    asking.answer()


def test_progress_elsewhere_is_nothing(server: Server) -> None:
    code = "import owt\ndef run():\n    owt.progress(1, 2)\n    return 'done'"
    assert server.run(code).text == "done"
    here = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    done = subprocess.run(
        ["/usr/bin/python3", "-c", "import owt; owt.progress(1, 2); print('fine')"],
        env=here,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.parametrize("value", ["'x'", "None", "[]"])
def test_progress_wants_numbers(server: Server, value: str) -> None:
    answer = server.run(f"import owt\ndef run(): owt.progress({value})")
    assert answer.status_code == 500 and "owt.progress" in answer.text


def test_progress_that_json_has_no_number_for(server: Server) -> None:
    code = "import owt, numpy\ndef run(): owt.progress(numpy.int64(3), float('inf'), 'ö')"
    assert progress_in(tell(server, code)) == [{"done": 3, "total": None, "text": "ö"}]


TQDM = """
from tqdm import tqdm
import threading
def run(_, hold=False):
    for n in tqdm(range(3), desc="outer", mininterval=0):
        for m in tqdm(range(4), desc="inner", mininterval=0, leave=False):
            pass
    return "done"
"""


@pytest.mark.parametrize(
    "code",
    [
        TQDM,
        TQDM.replace("from tqdm import tqdm\n", "").replace("hold=False):", "hold=False):\n    from tqdm import tqdm"),
        TQDM.replace("def run", "async def run"),
        TQDM.replace("from tqdm import", "from tqdm.auto import"),
    ],
    ids=["top level", "within", "async", "auto"],
)
def test_bars_tell_how_far_they_are(server: Server, code: str) -> None:
    events = tell(server, code)
    assert progress_in(events)[-1] == {"done": 3, "total": 3, "text": "outer"}
    assert {one["text"] for one in progress_in(events)} == {"outer"}
    assert "outer: 100%" in said_in(events) and "inner:" in said_in(events)
    assert server.run(code).text == "done"


@pytest.mark.parametrize("odd", ["total = 10**5000", "total = fractions.Fraction(10**400, 3)", "n = [1]", "desc = 5"])
def test_a_bar_fails_no_call_by_being_told(server: Server, odd: str) -> None:
    code = f"import fractions\nfrom tqdm import tqdm\ndef run():\n    bar = tqdm(total=3)\n    bar.{odd}\n    bar.display('x')\n"
    assert body_of(tell(server, f"{code}    bar.n, bar.total, bar.desc = 0, 3, ''\n    return 'done'")) == b"done"


ANOTHER_BAR = """
import threading
from tqdm import tqdm
def run():
    thread = threading.Thread(target=list, args=(tqdm(range(3), mininterval=0),))
    thread.start()
    thread.join(10)
    return str(thread.is_alive())
"""


def test_a_bar_that_fails_holds_up_no_other(server: Server) -> None:
    """tqdm has one lock for all bars of a process."""
    failing = "from tqdm import tqdm\nclass Bar(tqdm):\n    def display(self, *_, **__): 1 / 0\n"
    failing += "def run(how):\n    Bar.get_lock()\n    bar = object.__new__(Bar)\n    bar.disable = False\n"
    failing += "    try:\n        bar.refresh(**how)\n    finally:\n        bar.disable = True"
    for how in ({}, {"lock_args": [True, 1]}, {"nolock": True}):
        assert "ZeroDivisionError" in server.run(failing, how=how).text
    assert body_of(tell(server, TQDM.replace("range(3)", "range(2)"), hold=True)) == b"done"
    assert server.run(ANOTHER_BAR).text == "False"


def test_bars_of_clients_who_leave_hold_up_no_other(server: Server) -> None:
    """Wherever in tqdm the call's cancellation comes."""
    code = (
        "from tqdm import tqdm\ndef run():\n    for n in tqdm(range(10**9), mininterval=0, miniters=1):\n        pass"
    )
    for _ in range(40):
        asking = Asking(server, code, events=True)
        asking.read(100)
        leave(server, asking)
    wait_until(lambda: server.get("/owt/calls").json() == [], "the calls to end")
    assert server.run(ANOTHER_BAR).text == "False"


another_context = pytest.mark.skipif(
    minor_version() >= 12, reason="CPython passes a lock made for forks, as tqdm's is, to no spawned process"
)


@pytest.mark.parametrize("how", ["fork", pytest.param("spawn", marks=another_context)])
def test_bars_of_processes(server: Server, how: str) -> None:
    code = "import multiprocessing\nfrom tqdm.contrib import concurrent\ndef run(_, how):\n"
    code += "    multiprocessing.set_start_method(how, force=True)\n"
    code += "    return concurrent.process_map(abs, range(-3, 0), max_workers=1)"
    assert server.run(code, how=how).json() == [3, 2, 1]


def test_bars_of_calls_at_the_same_time(server: Server) -> None:
    """tqdm numbers all bars of a process; each call has its own outermost one."""

    def call(n: int) -> None:
        code = TQDM.replace("range(3)", f"range({n})")
        assert progress_in(tell(server, code))[-1] == {"done": n, "total": n, "text": "outer"}

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(call, range(5, 21)))
