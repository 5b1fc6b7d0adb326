"""What people bring along: Flask's ways, logging, a module that is not there."""

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import ROOT, Server

Starts = Callable[..., Server]

CONF = """
server {
    listen 127.0.0.1:{port};
    listen unix:{dir}/owt.sock;
    location / { owt; }
    location /hidden { owt; owt_traceback off; }
}
server {
    listen 127.0.0.1:{port2} ssl;
    ssl_certificate {cert};
    ssl_certificate_key {key};
    location / { owt; }
}
"""

# ---- Flask ----------------------------------------------------------------------------------------------------------

AFTER = """
from flask import after_this_request, Response
def mark():
    @after_this_request
    def add(response):
        response.headers["X-After"] = "yes"
        response.set_cookie("seen", "1")
        return response
def text():
    mark()
    return "text"
def tuple_():
    mark()
    return {"a": 1}, 201, {"X-Own": "1"}
def stream():
    mark()
    return (part for part in ("a", "b"))
def response():
    mark()
    return Response("own", status=202)
def file():
    import pathlib
    mark()
    return pathlib.Path(__file__)
async def later():
    mark()
    return "later"
"""


@pytest.mark.parametrize(
    ("function", "status", "body"),
    [
        ("text", 200, "text"),
        ("tuple_", 201, '{"a":1}\n'),
        ("stream", 200, "ab"),
        ("response", 202, "own"),
        ("file", 200, AFTER),
        ("later", 200, "later"),
    ],
)
def test_after_this_request(server: Server, function: str, status: int, body: str) -> None:
    answer = server.run(AFTER, fn_name=function)
    assert (answer.status_code, answer.text) == (status, body)
    assert answer.headers["X-After"] == "yes"
    assert answer.headers["Set-Cookie"].startswith("seen=1;")


def test_after_this_request_may_answer_by_itself(server: Server) -> None:
    code = """
from flask import after_this_request, jsonify
def run():
    @after_this_request
    def instead(response):
        return jsonify(instead=response.get_data(as_text=True))
    return "text"
"""
    answer = server.run(code)
    assert answer.json() == {"instead": "text"}
    assert answer.headers["Content-Type"] == "application/json"


JSONIFY = """
import dataclasses, datetime, decimal, enum, json, pathlib, uuid
import numpy as np
import pandas as pd
from flask import jsonify
@dataclasses.dataclass
class Point: x: int = 1
class Color(enum.Enum): RED = "red"
def run(): return {}
"""


@pytest.mark.parametrize(
    ("returned", "body"),
    [
        ("jsonify(t=datetime.datetime(2024, 2, 29))", '{"t":"Thu, 29 Feb 2024 00:00:00 GMT"}'),
        ("jsonify(b=1, a=decimal.Decimal('1.50'), c=uuid.UUID(int=1))", None),
        ("jsonify(v=np.float32(0.5), n=np.int64(3), b=np.bool_(True))", '{"b":true,"n":3,"v":0.5}'),
        ("jsonify(np.array([[1.5, np.nan]]))", "[[1.5,null]]"),
        (
            "jsonify([datetime.date(2024, 2, 29), np.datetime64('2024-02-29')])",
            '["Thu, 29 Feb 2024 00:00:00 GMT","2024-02-29"]',
        ),
        ("jsonify(pd.Series([0.5, None]))", "[0.5,null]"),
        ("jsonify(Color.RED, {3}, pathlib.Path('/a'), Point())", '["red",[3],"/a",{"x":1}]'),
        ("(jsonify(v=np.arange(2)), 201)", '{"v":[0,1]}'),
    ],
)
def test_jsonify_knows_what_answers_may_hold(server: Server, returned: str, body: str | None) -> None:
    answer = server.run(JSONIFY.replace("{}", returned))
    assert answer.status_code == (201 if "201" in returned else 200), answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert body is None or answer.text == f"{body}\n"


def test_jsonify_says_what_it_cannot_make(server: Server) -> None:
    answer = server.run(JSONIFY.replace("{}", "jsonify(v={'a': object()})"))
    assert answer.status_code == 500
    assert "TypeError: Object of type object is not JSON serializable: jsonify was given" in answer.text


@pytest.mark.parametrize("value", ["np.float32(.5)", "np.arange(3)", "{1}", "pd.Timestamp(0)"])
def test_what_json_does_not_know_is_told_with_advice(server: Server, value: str) -> None:
    answer = server.run(JSONIFY.replace("{}", f"json.dumps(dict(v={value}))"))
    assert answer.status_code == 500
    assert "is not JSON serializable\n" in answer.text
    assert "\njson.dumps() does not know it. Return the value itself" in answer.text  # from 3.14 on not the next line
    assert server.run(JSONIFY.replace("{}", f"dict(v={value})")).status_code == 200


def test_a_session_lasts_from_call_to_call(server: Server) -> None:
    code = """
from flask import session
def run():
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])
"""
    client = server.client()
    assert [client.post("/", json={"code": code}).text for _ in range(3)] == ["1", "2", "3"]
    assert server.run(code).text == "1"
    server.signal("reload")
    assert client.post("/", json={"code": code}).text == "4"
    client.cookies.set("session", "forged", domain="127.0.0.1")


def test_who_does_not_touch_the_session_sets_no_cookie(server: Server) -> None:
    answer = server.run("from flask import request\ndef run(): return request.path")
    assert "Set-Cookie" not in answer.headers
    assert "Vary" not in answer.headers


# ---- words ----------------------------------------------------------------------------------------------------------


def test_logging_reaches_the_log(server: Server) -> None:
    code = """
import logging
log = logging.getLogger("mine")
def run(_):
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)(f"a word at {level}")
"""
    assert server.run(code).status_code == 200
    for level, name in (("info", "INFO"), ("warn", "WARNING"), ("error", "ERROR")):
        server.wait_log(rf"\[{level}\].*{name}:mine:a word at")
    assert "a word at debug" not in server.error_log


def test_logging_within_a_coroutine(server: Server) -> None:
    code = "import logging\nasync def run(_, n):\n    logging.warning(f'number {n}')\n    return n"
    assert [server.run(code, n=str(n)).text for n in range(3)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "code", ["import no_such_thing\ndef run(): pass", "def run():\n    from no_such_thing import x"]
)
def test_a_missing_module_is_told_with_the_ways_to_get_it(server: Server, code: str) -> None:
    answer = server.run(code)
    assert answer.status_code == 500
    assert re.search(
        r"ModuleNotFoundError: No module named 'no_such_thing'\n'no_such_thing' is not in this", answer.text
    )
    assert "python_home DIR;" in answer.text
    assert "owt-server --venv DIR" in answer.text
    assert "python_path DIR;" in answer.text


def test_a_block_in_a_module_is_led_on(server: Server) -> None:
    answer = server.run("installing('numpy')\ndef run(): pass")
    assert "NameError: name 'installing' is not defined" in answer.text
    assert "write pipe().installing(...)" in answer.text


# ---- exits -----------------------------------------------------------------------------------------------------------

PARSES = """
import argparse
def run(words: list[str]):
    parser = argparse.ArgumentParser(prog="count")
    parser.add_argument("n", type=int)
    return [parser.parse_args(words).n]
"""
OPTIONS = """
import optparse
def run(words: list[str]):
    parser = optparse.OptionParser(prog="count")
    parser.add_option("-n", type="int")
    return [parser.parse_args(words)[0].n]
"""
CLICKS = """
import click
@click.command("count")
@click.argument("n", type=int)
def count(n): print(n)
def run(words: list[str]): count(words)
"""
HELPS = """
import argparse, sys
class Helpful(argparse.ArgumentParser):
    def error(self, message):
        print("not so:", message, file=sys.stderr)
        self.print_help()
        sys.exit(2)
def run(words: list[str]):
    parser = Helpful(prog="count")
    parser.add_argument("n", type=int)
    parser.parse_args(words)
"""


@pytest.mark.parametrize(
    ("code", "words", "told"),
    [
        (PARSES, ["x"], "usage: count [-h] n\ncount: error: argument n: invalid int value: 'x'\n"),
        (PARSES, [], "usage: count [-h] n\ncount: error: the following arguments are required: n\n"),
        (PARSES, ["1", "2"], "usage: count [-h] n\ncount: error: unrecognized arguments: 2\n"),
        (OPTIONS, ["-n", "x"], "Usage: count [options]\n\ncount: error: option -n: invalid integer value: 'x'\n"),
        (CLICKS, ["x"], "Error: Invalid value for 'N': 'x' is not a valid integer.\n"),
        (CLICKS, [], "Error: Missing argument 'N'.\n"),
        (HELPS, ["x"], "not so: argument n: invalid int value: 'x'\nusage: count [-h] n\n"),
    ],
)
def test_the_usage_of_a_parser_is_a_400(server: Server, code: str, words: list[str], told: str) -> None:
    answer = server.run(code, words=words)
    assert answer.status_code == 400, answer.text
    assert told in answer.text
    assert "Traceback" not in answer.text
    server.wait_log("SystemExit: 2")
    hidden = server.run(code, "/hidden", words=words)
    assert hidden.status_code == 400
    assert "error log" in hidden.text and "count" not in hidden.text


def test_a_parser_that_takes_what_it_is_given(server: Server) -> None:
    assert server.run(PARSES, words=["3"]).json() == [3]
    assert server.run(OPTIONS, words=["-n", "3"]).json() == [3]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sys\ndef run(): sys.exit('no such speaker')", "SystemExit: no such speaker\n"),
        ("import sys\ndef run():\n print('50%\\rwhole', file=sys.stderr)\n sys.exit(2)", "had written:\nwhole\n"),
        ("import argparse\ndef run():\n argparse.ArgumentParser(prog='p').print_help()\n exit(0)", "usage: p [-h]"),
        ("import argparse\ndef run(): argparse.ArgumentParser(prog='p').parse_args(['-h'])", "usage: p [-h]"),
        ("import logging\ndef run():\n logging.error('no weights')\n exit(1)", "ERROR:root:no weights\n"),
        ("import sys\nasync def run():\n print('awaited')\n sys.exit(1)", "had written:\nawaited\n"),
        ("print('at the top')\nexit(1)", "had written:\nat the top\n"),
        ("def run():\n print('x' * 100_000)\n print('the end')\n exit(1)", "xxx\nthe end\n"),
    ],
)
def test_who_exits_tells_the_client_what_was_said(server: Server, code: str, told: str) -> None:
    answer = server.run(code)
    assert answer.status_code == 500
    assert "SystemExit" in answer.text
    assert told in answer.text
    assert len(answer.text) < 20_000


def test_what_others_say_is_not_told(server: Server) -> None:
    assert server.run("def run(): print('a secret'); return 'ok'").text == "ok"
    told = server.run("def run(): exit(1)").text
    assert "written" not in told and "secret" not in told
    told = server.run("def run():\n    print('mi' + 'ne')\n    1 / 0").text
    assert "mine" not in told


def test_an_exit_within_events(server: Server) -> None:
    code = """
import sys
def events():
    yield "data: 1\\n\\n"
    print("no more", file=sys.stderr)
    sys.exit(1)
def run(): return events(), {"Content-Type": "text/event-stream"}
"""
    done = server.curl("/", "--json", json.dumps({"code": code}))
    assert "event: error\ndata: SystemExit: 1\ndata: no more\n" in done.stdout


# ---- threads ---------------------------------------------------------------------------------------------------------

WORKS = """
import threading
def work(): {}["weights"]
def run(request, then=""):
    thread = threading.Thread(target=work, name="worker")
    thread.start(); thread.join()
    return {"": lambda: "ok", "fails": lambda: 1 / 0, "cannot": lambda: object(), "exits": lambda: exit(1)}[then]()
"""


def test_a_threads_exception_is_logged_with_the_number_of_its_call(server: Server) -> None:
    number = server.run("def run(request): return str(request._call.connection)").text
    assert server.run(WORKS).text == "ok"
    server.wait_log(rf"\[error\].*\*{number} owt: Exception in thread worker:$")
    server.wait_log(rf"\[error\].*\*{number} owt: KeyError: 'weights'$")
    assert "threading.py" not in server.error_log[server.seen :]


@pytest.mark.parametrize(
    ("then", "own"),
    [("fails", "ZeroDivisionError"), ("cannot", "object, which cannot be sent"), ("exits", "SystemExit: 1")],
)
def test_a_call_that_fails_tells_what_its_thread_died_of(server: Server, then: str, own: str) -> None:
    answer = server.run(WORKS, then=then)
    assert answer.status_code == 500
    first, _, second = answer.text.partition("A thread of this call had failed before:\n")
    assert own in first
    assert re.match(r"Exception in thread worker:\nTraceback [^\0]*\nKeyError: 'weights'\n", second)
    if then == "fails":
        assert "KeyError" not in server.run(WORKS, "/hidden", then=then).text
    assert "KeyError" not in server.run("def run(): 1 / 0").text


def test_threads_that_end_as_they_should_are_no_failure(server: Server) -> None:
    code = """
import sys, threading
def run():
    thread = threading.Thread(target=sys.exit, args=["left"])
    thread.start(); thread.join()
    1 / 0
"""
    assert "A thread" not in server.run(code).text


STREAMER = """
import threading
from queue import LifoQueue, Queue

class Streamer:  # as TextIteratorStreamer of transformers is
    def __init__(self): self.text_queue, self.stop, self.timeout = Queue(), object(), None
    def put(self, text): self.text_queue.put(text, timeout=self.timeout)
    def __iter__(self): return self
    def __next__(self):
        value = self.text_queue.get(timeout=self.timeout)
        if value is self.stop: raise StopIteration
        return value

def generate(streamer, words, temperature):
    for word in words:
        streamer.put(word)
    streamer.put(str(1 / temperature))
    streamer.put(streamer.stop)

def run(words: list[str], temperature, kind=""):
    streamer = Streamer()
    threading.Thread(target=generate, kwargs=dict(streamer=streamer, words=words, temperature=temperature)).start()
    if kind == "events":
        return (f"data: {word}\\n\\n" for word in streamer), {"Content-Type": "text/event-stream"}
    return "".join(streamer) if kind == "text" else streamer

def queue(kind):
    results = {"plain": Queue, "lifo": LifoQueue}[kind]()
    threading.Thread(target=lambda: results.put(1 / 0)).start()
    return results.get()
"""


def test_a_call_that_waits_for_a_thread_that_died_fails(server: Server) -> None:
    answer = server.run(STREAMER, words=["a", "b"], temperature=0.5)
    assert (answer.status_code, answer.text) == (200, "ab2.0")
    for kind in ("", "text"):
        answer = server.run(STREAMER, words=[], temperature="0.5", kind=kind)
        assert answer.status_code == 500
        assert "ThreadFailed: the call waits for items of a queue" in answer.text
        assert "TypeError: unsupported operand type(s) for /: 'int' and 'str'" in answer.text
    for fields in ({"fn_name": "queue", "kind": "plain"}, {"fn_name": "queue", "kind": "lifo"}):
        answer = server.run(STREAMER, **fields)
        assert (answer.status_code, "ZeroDivisionError" in answer.text) == (500, True)
    # The threads are free again, and what they waited for is whole.
    assert [server.run(STREAMER, words=["a"], temperature=1).text for _ in range(20)] == ["a1.0"] * 20


def test_a_stream_that_waits_for_a_thread_that_died_breaks_off(server: Server) -> None:
    done = server.curl("/", "--json", json.dumps({"code": STREAMER, "words": ["a"], "temperature": "x"}))
    assert (done.returncode, done.stdout) == (18, "a")
    fields = {"code": STREAMER, "words": ["a"], "temperature": "x", "kind": "events"}
    done = server.curl("/", "--json", json.dumps(fields))
    assert done.returncode == 18
    assert done.stdout.startswith("data: a\n\nevent: error\ndata: ThreadFailed: ")
    assert "\ndata: TypeError: unsupported operand" in done.stdout


def test_a_call_goes_on_that_another_thread_may_still_help(server: Server) -> None:
    code = """
import threading
from queue import Queue
def run():
    results, go = Queue(), threading.Event()
    def helps():
        go.wait()
        results.put("helped")
    def dies(results):
        raise ValueError
    threading.Thread(target=helps).start()
    dead = threading.Thread(target=dies, args=[results])
    dead.start()
    threading.Thread(target=lambda: (dead.join(), go.set())).start()
    return results.get()
"""
    assert server.run(code).text == "helped"


# ---- the running server ---------------------------------------------------------------------------------------------

SING = """
from owt.server import Server
def run():
    address, port = Server.sing()
    return [address, port, Server.sing().address, Server.sing().port, Server.sing().url]
"""


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}", "localhost"])
def test_the_running_server_is_where_the_call_came(server: Server, host: str) -> None:
    host = host.format(port=server.port)
    answer = server.post("/", json={"code": SING}, headers={"Host": host})
    address, _, port = host.rpartition(":") if host[-1].isdigit() else (host, "", "80")
    address = address.strip("[]")
    url = f"http://{host}" if host[-1].isdigit() else f"http://{host}:80"
    assert answer.json() == [address, int(port), address, int(port), url]


def test_the_running_server_by_tls_and_by_a_unix_socket(server: Server) -> None:
    secure = f"https://localhost:{server.port_of('port2')}"
    told = server.client(secure).post("/", json={"code": SING}).json()
    assert told[1:] == [server.port_of("port2"), "localhost", server.port_of("port2"), secure]
    done = server.curl(
        "/",
        *["--unix-socket", f"{server.dir}/owt.sock", "-H", "X-Forwarded-For: unix:", "-H", "X-Forwarded-Proto: https"],
        *["--data-urlencode", f"code={SING}"],
        url="http://localhost",
    )
    assert json.loads(done.stdout)[4] == "https://localhost:443", done.stderr


def test_the_running_server_can_be_asked_by_the_call(server: Server) -> None:
    code = """
import threading, urllib.request
from owt.server import Server
found = []
def run(inner):
    thread = threading.Thread(target=lambda: found.append(Server.sing().port))
    thread.start(); thread.join()
    with urllib.request.urlopen(Server.sing().url, data=b"code=" + inner.encode()) as answer:
        return [found.pop(), answer.read().decode()]
"""
    assert server.run(code, inner="lambda:'inner'").json() == [server.port, "inner"]


def test_no_server_runs_in_a_process_of_its_own(server: Server) -> None:
    code = """
import subprocess, sys
def run(place: str):
    code = f"import sys; sys.path[:0] = [{place!r}]; from owt.server import Server; Server.sing()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr
"""
    told = server.run(code, place=str(ROOT / "python")).text
    assert "no call of owt runs here" in told
    assert "with Server() as server" in told


@pytest.mark.parametrize(
    "code",
    [
        "from owt.lib import shell\ndef run(): return shell.run('echo $((1 + 1))')",
        "from owt.lib.shell import run",
        "def run(): return shell.run('echo $((1 + 1))')",
        "from owt import shell\nrun = shell.run",
        "shell.run",
    ],
)
def test_shell_run_is_a_function(server: Server, code: str) -> None:
    fields = {} if "def run" in code else {"cmd": "echo $((1 + 1))"}
    assert server.run(code, **fields).text == "2\n"


# ---- Flask's and FastAPI's ways ---------------------------------------------------------------------------------------

APPLICATION = """
from flask import Flask, jsonify, request
app = Flask(__name__)
@app.route("/form", methods=["POST"])
def form(): return jsonify(name=request.form["name"], size=len(request.files["file"].read()))
@app.route("/json", methods=["POST"])
def json(): return jsonify(name=request.json["name"])
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.input"].read()[:4]]
"""


@pytest.mark.parametrize("size", [3, 3_000_000])
def test_an_application_reads_the_form_that_it_came_in(start: Starts, size: int) -> None:
    server = start("client_max_body_size 8m; server { listen 127.0.0.1:{port}; location / { owt; } }")
    for name, code in (("app", APPLICATION), ("run", APPLICATION + "run = app")):
        files = {"code": ("", code), "fn_name": ("", name), "name": ("", "a"), "file": ("a.bin", b"x" * size)}
        assert server.post("/form", files=files).json() == {"name": "a", "size": size}


def test_an_application_may_be_called_by_its_name(server: Server) -> None:
    assert server.run(APPLICATION, "/json", fn_name="app", name="a").json() == {"name": "a"}
    assert server.run(APPLICATION, fn_name="application", name="a").text.startswith('{"co')
    assert "fn_name=app serves that" in server.run(APPLICATION, name="a").text


RAISES = """
from starlette.exceptions import HTTPException
def run(status: int): raise HTTPException(status, detail="no such item", headers={"X-Hint": "b"})
async def later(status: int): raise HTTPException(status, detail="no such item", headers={"X-Hint": "b"})
"""


@pytest.mark.parametrize("function", ["run", "later"])
def test_starlettes_exceptions_have_their_status(server: Server, function: str) -> None:
    pytest.importorskip("starlette")
    answer = server.run(RAISES, fn_name=function, status=404)
    assert (answer.status_code, answer.text, answer.headers["X-Hint"]) == (404, "no such item", "b")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert server.run(RAISES, fn_name=function, status=304).status_code == 304


def test_starlettes_uploads(server: Server) -> None:
    pytest.importorskip("starlette")
    code = """
from starlette.datastructures import UploadFile
async def run(file: UploadFile):
    text = await file.read()
    return [file.filename, file.content_type, len(text)]
def several(file: list[UploadFile]): return [one.file.read().decode() for one in file]
"""
    files = [("code", ("", code)), ("file", ("a.txt", b"some", "text/plain")), ("file", ("b.txt", b"more"))]
    assert server.post("/", files=files[:2]).json() == ["a.txt", "text/plain", 4]
    assert server.post("/", files=[*files, ("fn_name", ("", "several"))]).json() == ["some", "more"]
    assert "file wants" in server.run(code, file="text").text


def test_a_field_of_pydantics_is_a_default(server: Server) -> None:
    pytest.importorskip("pydantic")
    code = """
from pydantic import Field
def run(n: int = Field(10, ge=1), name: str = Field(...), seen: list = Field(default_factory=list)):
    seen.append(n)
    return [n, name, seen]
"""
    assert [server.run(code, name="a").json() for _ in range(2)] == [[10, "a", [10]]] * 2
    assert server.run(code, name="a", n="3").json() == [3, "a", [3]]
    assert "missing: name" in server.run(code).text
    assert "n wants int (" in server.run(code, name="a", n="x").text


# ---- what to type instead --------------------------------------------------------------------------------------------

UPLOAD = {"file": ("d.csv", b"a,b\n1,2\n")}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("(file): return open(file).read()", "file is an upload as it came. "),
        ("(file): return open(file.filename).read()", "file: Path a file with a name"),
        ("(file):\n import csv\n return list(csv.reader(file))", "TextIO or BinaryIO an open file"),
        ("(file): return helper(file)\ndef helper(it): return open(it)", "file is an upload as it came. "),
        ("(file: str): return open(file).read()", "file is what is in the file that came, not its name. file: Path"),
        ("(file: bytes): return open(file + b'\\0').read()", "io.BytesIO(file) an open file"),
        ("(): return 1", "not taken: file. A parameter of that name takes it, run(file), and **others takes"),
        ("(request, n=1): return 1", "run(..., file)"),
    ],
)
def test_who_mistakes_an_upload_is_told(server: Server, body: str, told: str) -> None:
    answer = server.post("/", files={"code": ("", f"def run{body}"), **UPLOAD})
    assert answer.status_code in (400, 500)
    assert told in answer.text


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "def run(n, t): return n * t",
            "as fields do unless an annotation says what they are: def run(n: int, t: float).",
        ),
        ("def run(n, t): return 1 + n", "n came as text, "),
        ("def run(n, t): import os; return os.environ['NO_SUCH']", "owt_instance: env NO_SUCH=...;"),
        ("def run(n, t): return input('? ')", "Nobody types where the server runs"),
        ("import asyncio\nasync def run(n, t): asyncio.run(asyncio.sleep(0))", "on an event loop already: await it"),
        ("import asyncio\ndef run(n, t): asyncio.get_running_loop()", "made within async def run()"),
        ("import subprocess as s\ndef run(n, t): s.run('echo no >&2; exit 3', shell=True, check=True)", "status 3."),
        (
            "import subprocess as s\ndef run(n, t):\n s.run('echo no >&2; exit 3', shell=True, check=True, stderr=-1)",
            "It wrote to stderr:\nno\n",
        ),
        ("def run(n, t):\n if n == '2': return {'a': 1}\n yield n", "run is a generator, as it has a yield"),
        ("import subprocess\ndef run(n, t): return subprocess.run('true')", "return what it has written, .stdout"),
        ("import tempfile, pathlib\ndef run(n, t): return pathlib.Path(tempfile.mktemp())", "with block ends"),
        ("def run(n, t): return 'a', {'b': {'c': 1}}", "whose headers have a dict, 'b'"),
        ("import numpy as np\ndef run(n, t): return np.arange(2), np.arange(2)", "whose status is an ndarray"),
        ("import numpy as np\ndef run(n, t): return True, np.zeros(3, np.uint8)", "imencode() returns the second"),
        ("x = 1\ny = 2", "Its functions: none. What a call is to do has to be in one, def run(): ..."),
        ("```python\ndef run(): return 1\n```", "send what is between them"),
        ("!pip install numpy\ndef run(): return 1", "That is a notebook's"),
        ("return 1", "has to be in a function: def run(): ..."),
        ("def run():\n await f()", "Only async def may await"),
    ],
)
def test_a_habit_that_fails_is_told_what_to_type(server: Server, code: str, told: str) -> None:
    answer = server.run(code, n="2", t="0.5")
    assert answer.status_code in (400, 500)
    assert told in answer.text


def test_advice_is_given_to_nobody_else(server: Server) -> None:
    for code in (
        "def run(n): return len(3)",
        "def run(n: int): return n + 'a'",
        "def run(n): return open('/no/such')",
        "def run(n): return {}['a']",
    ):
        last = server.run(code, n="2").text.splitlines()[-1]
        assert re.match(r"\w+Error: ", last), last
    assert server.run("def run(n):\n if n == '2': return\n yield n", n="2").text == ""


def test_what_shows_itself_as_notebooks_ask_for_it(server: Server) -> None:
    code = """
class Table:  # as rich has them
    def _repr_mimebundle_(self, include, exclude, **kwargs): return {"text/html": "<b>a</b>", "text/plain": "a"}
def run(): return Table()
"""
    assert server.run(code).text == "<b>a</b>"


def test_trees_of_lxml_are_no_objects(server: Server) -> None:
    pytest.importorskip("lxml")
    code = "from lxml import etree\ndef run(): return [etree.fromstring('<a x=\"1\"><b/></a>')]"
    assert "lxml.etree.tostring(...) of it" in server.run(code).text


# ---- pyplot ----------------------------------------------------------------------------------------------------------

DRAWS = """
import io, threading
from concurrent.futures import ThreadPoolExecutor
import matplotlib.pyplot as plt

def run(request, times: int = 1):
    for _ in range(times):
        plt.plot([1, 2])
    plt.savefig(io.BytesIO(), format="png")
    return [len(plt.gca().lines), plt.get_fignums()]
async def later(request): return run(request)
def within_threads(request):
    thread = threading.Thread(target=plt.plot, args=[[1, 2]])
    thread.start(); thread.join()
    return run(request)
def shows(request):
    plt.plot([1, 2])
    plt.show()
def saves(request, status: int):
    plt.plot([1, 2])
    return None, status
def closes(request):
    plt.plot([1, 2])
    plt.close()
def holds(request, own: bool, barrier=threading.Barrier(2)):
    plt.plot([1, 2])
    barrier.wait()
    return [len(plt.gca().lines), plt.get_fignums()]
"""


def test_what_a_call_draws_is_its_own(server: Server) -> None:
    pytest.importorskip("matplotlib")
    for function, lines in (("run", 1), ("later", 1), ("within_threads", 2)):
        assert [server.run(DRAWS, fn_name=function).json() for _ in range(3)] == [[lines, [1]]] * 3
    assert server.run(DRAWS + "\n# another", times=2).json() == [2, [1]]


def test_calls_at_once_draw_on_figures_of_their_own(server: Server) -> None:
    pytest.importorskip("matplotlib")
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(
            lambda own: server.client().post("/", json={"code": DRAWS, "fn_name": "holds", "own": own}), (0, 1)
        )
        assert [answer.json() for answer in answers] == [[1, [1]]] * 2


def test_what_is_shown_is_the_answer(server: Server) -> None:
    pytest.importorskip("matplotlib")
    answer = server.run(DRAWS, fn_name="shows")
    assert (answer.headers["Content-Type"], answer.content[:4]) == ("image/png", b"\x89PNG")
    assert server.run(DRAWS, fn_name="saves", status=204).status_code == 204
    assert server.run(DRAWS, fn_name="closes").content == b""
    assert server.run("def run(): pass").content == b""


def test_figures_of_the_top_level_are_there_in_each_call(server: Server) -> None:
    pytest.importorskip("matplotlib")
    code = """
import matplotlib.pyplot as plt
figure, axes = plt.subplots(num="made once")
def run(request):
    plt.cla()
    plt.plot([1, 2])
    return [plt.gcf() is figure, len(axes.lines), plt.get_figlabels()]
"""
    assert [server.run(code).json() for _ in range(3)] == [[True, 1, ["made once"]]] * 3
    assert server.run("import matplotlib.pyplot as plt\ndef run(): return plt.get_figlabels()").json() == []
