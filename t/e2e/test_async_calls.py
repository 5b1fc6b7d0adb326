"""Asynchronous calls: many of them without a thread, side by side on one event loop, and what one may do to another."""

import base64
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asking import Answer, Asking, leave, wait_text
from gate import ASYNC, PAUSE, STUCK, Fifo, Gate
from harness import Server, wait_until

CONF = """
owt_zone results 1m;
owt_cache results;
owt_instance default { threads 1; queue 4; grace 30s; }
server { listen 127.0.0.1:{port}; location / { owt; } }
"""

SERVER = """
owt_instance default {{ {} }}
server { listen 127.0.0.1:{port}; location / { owt; } }
"""


def conf(*lines: str) -> str:
    return SERVER.replace("{{ {} }}", "{ " + " ".join(lines) + " }")


# Holds the only thread.
HOLD = f"def run(_, gate):\n    pause(gate)\n    return 'done'\n{PAUSE}"

# A stream that has begun, goes on at its gate, and leans on what a loop offers.
STREAM = """
import asyncio, pathlib
async def tick():
    while True:
        await asyncio.sleep(0.002)
async def letters():
    for letter in "abc":
        yield letter
async def run(_, gate):
    ticking = asyncio.create_task(tick())
    inner = letters()
    yield await anext(inner)
    while not pathlib.Path(gate).exists():
        await asyncio.sleep(0.002)
    yield await asyncio.to_thread(lambda: "thread,")
    async for letter in inner:
        yield letter
    yield str(ticking.cancel())
"""

ECHO = "async def run(_, name): return name\n"


class Busy:
    """The server's only thread runs a call; known coroutines need none."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._gate = Gate(directory, "busy")
        self._asked = Asking(server, HOLD, gate=str(self._gate))
        self._gate.wait_reached()

    def end(self) -> None:
        self._gate.open()
        assert self._asked.answer().text == "done"

    def __enter__(self) -> "Busy":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def know(server: Server, code: str, **fields: object) -> None:
    """Its first call, which loads it on a thread."""
    assert Asking(server, code, **fields).answer().status == 200


@pytest.fixture
def other(server: Server, tmp_path: Path) -> Iterator[None]:
    """Another caller's stream: it has begun, and goes on as if nothing had been."""
    gate = Gate(tmp_path, "other")
    asked = Asking(server, STREAM, gate=str(gate))
    assert asked.read(1) == b"a"
    yield
    gate.open()
    answer = asked.answer()
    assert (answer.whole, answer.text) == (True, "thread,bcTrue")


# ---- without a thread ---------------------------------------------------------------------------------------------------


def test_known_coroutines_need_no_thread(server: Server, tmp_path: Path) -> None:
    know(server, ECHO, name="")
    with Busy(server, tmp_path):
        asked = [Asking(server, ECHO, name=f"n{i}") for i in range(50)]
        assert [one.answer().text for one in asked] == [f"n{i}" for i in range(50)]


def test_known_streams_need_no_thread(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    gate.open()
    know(server, STREAM, gate=str(gate))
    later = Gate(tmp_path, "later")
    with Busy(server, tmp_path):
        asked = [Asking(server, STREAM, gate=str(later)) for _ in range(20)]
        assert [one.read(1) for one in asked] == [b"a"] * 20
        later.open()
        assert {one.answer().text for one in asked} == {"thread,bcTrue"}


def test_arguments_that_are_json_are_read_on_the_loop(server: Server, tmp_path: Path) -> None:
    know(server, ECHO, name="")
    with Busy(server, tmp_path):
        assert Asking(server, ECHO, kwargs='{"name": "a"}').answer().text == "a"
        code_b64 = base64.b64encode(ECHO.encode()).decode()
        kwargs_b64 = base64.b64encode(b'{"name": "b"}').decode()
        assert server.get("/", params={"code_b64": code_b64, "kwargs_b64": kwargs_b64}).text == "b"


def test_arguments_that_are_code_are_evaluated_on_a_thread(server: Server, tmp_path: Path) -> None:
    code = f"{PAUSE}\nasync def run(_, name): return name\n"
    know(server, code, name="")
    gate = Gate(tmp_path)
    asked = Asking(server, code, kwargs=f"{{'name': pause({str(gate)!r})}}")
    gate.wait_reached()
    know(server, code, name="not held up")
    gate.open()
    assert asked.answer().text == ""


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({}, 400, "missing: name"),
        ({"name": "a", "other": 1}, 400, "not taken: other"),
        ({"name": "a", "fn_name": "none"}, 400, "no function 'none'"),
        ({"name": "a", "fn_name": "fails"}, 500, "ZeroDivisionError"),
        ({"name": "a", "fn_name": "leaves"}, 500, "SystemExit"),
        ({"name": "a", "fn_name": "aborts"}, 404, "Not Found"),
        ({"name": "a", "fn_name": "cannot"}, 500, "object, which cannot be sent"),
        ({"name": "a", "fn_name": "cancels"}, 500, "CancelledError"),
        ({"name": "a", "fn_name": "cancelled"}, 500, "Cancelled"),
        ({"name": "a", "fn_name": "plain"}, 200, "plain a"),
        ({"name": "a", "fn_name": "returns"}, 200, "returned a"),
        ({"name": "a", "fn_name": "number"}, 200, "None"),
    ],
)
def test_all_ends_are_as_on_a_thread(server: Server, fields: dict[str, object], status: int, text: str) -> None:
    code = """
import asyncio, owt
from werkzeug.exceptions import abort
async def run(_, name): return name
async def fails(_, name): 1 / 0
async def leaves(_, name): raise SystemExit
async def aborts(_, name): abort(404)
async def cannot(_, name): return object()
async def cancels(_, name): raise asyncio.CancelledError
async def cancelled(_, name): raise owt.Cancelled
def plain(_, name): return f"plain {name}"
def returns(_, name): return plain_async(name)
async def plain_async(name): return f"returned {name}"
async def number(_, name): return str((await asyncio.sleep(0)))
"""
    for _ in range(3):
        answer = Asking(server, code, **fields).answer()
        assert (answer.status, text in answer.text) == (status, True), answer.text


def test_a_function_of_that_name_may_be_another_one_day(server: Server) -> None:
    code = """
import importlib, sys
n = globals().get("n", 0) + 1
if n == 1:
    async def run(_): return "async"
else:
    def run(_): return "plain"
def again(_):
    importlib.reload(sys.modules[__name__])
"""
    assert [Asking(server, code).answer().text for _ in range(3)] == ["async"] * 3
    know(server, code, fn_name="again")
    assert [Asking(server, code).answer().text for _ in range(3)] == ["plain"] * 3


def test_each_has_its_own_context_and_number(server: Server) -> None:
    code = """
import asyncio, contextvars, threading
v = contextvars.ContextVar("v", default="unset")
async def run(request, name):
    before = v.get()
    v.set(name)
    print("printed by", name)
    await asyncio.sleep(0)
    return f"{before} {v.get()} {request.args.get('q')} {threading.current_thread().name}"
"""
    know(server, code, name="")
    asked = [Asking(server, code, f"/?q={i}", name=f"n{i}") for i in range(5)]
    assert [one.answer().text for one in asked] == [f"unset n{i} {i} owt-asyncio" for i in range(5)]
    numbers = {server.wait_log(rf"\*(\d+) owt: printed by n{i}$")[1] for i in range(5)}
    assert len(numbers) == 5


def test_flask_is_there(server: Server) -> None:
    code = "from flask import request, jsonify\nasync def run(_): return jsonify(request.args)\n"
    for i in range(3):
        assert Asking(server, code, f"/?a={i}").answer().text == f'{{"a":"{i}"}}\n'


def test_results_are_kept(server: Server, tmp_path: Path) -> None:
    code = f"""
async def run(_, name):
    with open({str(tmp_path / "runs")!r}, "a") as runs:
        runs.write(name)
    return name
"""
    for name in "a", "b", "b", "a", "b":
        answer = Asking(server, code, f"/{name}", name=name, use_cache=True).answer()
        assert answer.text == name
    assert (tmp_path / "runs").read_text() == "ab"


def test_a_burst_of_streams_is_taken_in(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf(), main="worker_rlimit_nofile 5000;")
    server.write_conf(conf().replace("server {", "server { client_header_timeout 60s;"))
    gate = Gate(tmp_path)
    gate.open()
    know(server, STREAM, gate=str(gate))
    later = Gate(tmp_path, "later")
    asked = [Asking(server, STREAM, gate=str(later)) for _ in range(400)]
    assert {one.read(1) for one in asked} == {b"a"}
    later.open()
    assert {one.answer().text for one in asked} == {"thread,bcTrue"}


# ---- how many -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["coroutine", "returned"])
def test_more_than_async_are_refused(start: Callable[..., Server], tmp_path: Path, way: str) -> None:
    server = start(conf("async 3;", "threads 2;"))
    code = ASYNC if way == "coroutine" else f"{ASYNC}\nwaits = run\ndef run(_, gate): return waits(_, gate)\n"
    gates = [Gate(tmp_path, f"gate{i}") for i in range(4)]
    asked = [Asking(server, code, gate=str(gate)) for gate in gates[:3]]
    for gate in gates[:3]:
        gate.wait_reached()
    for _ in range(2):
        refused = Asking(server, code, gate=str(gates[3])).answer()
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert "asynchronous" in refused.text
        assert not gates[3].reached
    leave(server, asked[0])
    gates[1].open()
    assert asked[1].answer().text == "done"
    again = wait_until(lambda: _accepted(server, code, gates[3]), "room for another")
    gates[2].open()
    gates[3].open()
    assert asked[2].answer().text == "done"
    assert again.answer().text == "done"
    for _ in range(5):
        # Their places are free a moment after their answers have been read.
        assert wait_until(lambda: _taken(server, code, gates[3]), "room for another").text == "done"


def _accepted(server: Server, code: str, gate: Gate) -> Asking | None:
    asked = Asking(server, code, gate=str(gate))
    wait_until(lambda: asked.answered or gate.reached, "an answer or a call")
    return asked if gate.reached else None


def _taken(server: Server, code: str, open_gate: Gate) -> Answer | None:
    """What a call gives; None if there is no room for it."""
    answer = Asking(server, code, gate=str(open_gate)).answer()
    return answer if answer.status != 503 else None


# ---- what one call may ask of the loop -----------------------------------------------------------------------------------


RECIPES = {
    "cancel all": """
tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
for task in tasks:
    task.cancel()
await asyncio.gather(*tasks, return_exceptions=True)
return len(tasks)
""",
    "cancel its own": """
mine = [asyncio.create_task(asyncio.sleep(100)) for _ in range(3)]
tasks = asyncio.all_tasks(asyncio.get_running_loop()) - {asyncio.current_task()}
assert tasks == set(mine)
for task in tasks:
    task.cancel()
assert all(map(lambda e: isinstance(e, asyncio.CancelledError), await asyncio.gather(*tasks, return_exceptions=True)))
""",
    "cancel as asyncio.run does": """
from asyncio import runners
loop = asyncio.get_running_loop()
try:
    runners._cancel_all_tasks(loop)
except (RuntimeError, asyncio.CancelledError):
    pass
""",
    "stop": "asyncio.get_running_loop().stop()\nawait asyncio.sleep(0.01)\n",
    "stop from outside": """
loop = asyncio.get_running_loop()
def stop():
    for _ in range(20):
        loop.call_soon_threadsafe(loop.stop)
        time.sleep(0.001)
await asyncio.to_thread(stop)
""",
    "close": """
loop = asyncio.get_running_loop()
for close in (loop.close, lambda: asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop)):
    try:
        close()
    except RuntimeError:
        pass
def closing():
    for _ in range(20):
        loop.call_soon_threadsafe(loop.stop)
        try:
            loop.close()
        except RuntimeError:
            pass
await asyncio.to_thread(closing)
""",
    "run": """
try:
    asyncio.run(asyncio.sleep(0))
except RuntimeError as error:
    assert "running event loop" in str(error)
else:
    assert False
""",
    "run until complete": """
try:
    asyncio.get_event_loop().run_until_complete(asyncio.sleep(0))
except RuntimeError:
    pass
""",
    "an exception handler": """
seen = []
loop = asyncio.get_running_loop()
loop.set_exception_handler(lambda loop, context: seen.append(context["message"]))
loop.call_soon(lambda: 1 / 0)
async def fails(): 1 / 0
task = asyncio.create_task(fails())
await asyncio.sleep(0.01)
del task
gc.collect()
await asyncio.sleep(0.01)
assert len(seen) == 2, seen
assert loop.get_exception_handler() is not None
""",
    "an executor": """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1, "mine")
loop = asyncio.get_running_loop()
loop.set_default_executor(pool)
assert (await asyncio.to_thread(lambda: threading.current_thread().name)).startswith("mine")
await loop.shutdown_default_executor()
try:
    await asyncio.to_thread(int)
except RuntimeError:
    pass
else:
    assert False
""",
    "an executor that is shut down by itself": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(1) as pool:
    asyncio.get_running_loop().set_default_executor(pool)
    await asyncio.to_thread(int)
""",
    "no executor any more": "await asyncio.get_running_loop().shutdown_default_executor()\n",
    "no asynchronous generators any more": "await asyncio.get_running_loop().shutdown_asyncgens()\n",
    "a task factory": """
loop = asyncio.get_running_loop()
made = []
def factory(loop, coro, **options):
    made.append(1)
    return asyncio.Task(coro, loop=loop, **options)
loop.set_task_factory(factory)
await asyncio.create_task(asyncio.sleep(0))
assert made == [1] and loop.get_task_factory() is factory
""",
    "a task factory that is none": "asyncio.get_running_loop().set_task_factory(lambda *_, **__: 1 / 0)\n",
    "debugging": "asyncio.get_running_loop().set_debug(True)\nawait asyncio.sleep(0.01)\n",
    "another loop": "asyncio.set_event_loop(asyncio.new_event_loop())\nawait asyncio.sleep(0.01)\n",
    "an exit in a task": """
async def leave(): raise SystemExit(3)
task = asyncio.create_task(leave())
await asyncio.sleep(0.01)
""",
    "an exit in a callback": "asyncio.get_running_loop().call_soon(exit)\nawait asyncio.sleep(0.01)\n",
    "a group that fails": """
async def fails(): raise ValueError
tasks = [asyncio.create_task(fails()), asyncio.create_task(asyncio.sleep(100))]
await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
for task in asyncio.all_tasks() - {asyncio.current_task()}:
    task.cancel()
""",
}


@pytest.mark.usefixtures("other")
@pytest.mark.parametrize("name", RECIPES)
def test_what_a_call_does_with_the_loop_is_its_own_affair(server: Server, name: str) -> None:
    body = "\n".join(f"    {line}" for line in RECIPES[name].strip().splitlines())
    code = f"# {name}\nimport asyncio, gc, threading, time\nasync def run(_):\n{body}\n    return 'went well'\n"
    answer = Asking(server, code).answer()
    assert (answer.status, answer.text) == (200, "0" if name == "cancel all" else "went well")
    assert Asking(server, ECHO, name="after it").answer().text == "after it"


def test_background_tasks_last_as_long_as_the_loop(server: Server, tmp_path: Path) -> None:
    code = """
import asyncio, pathlib
async def wait(file):
    while not pathlib.Path(file).exists():
        await asyncio.sleep(0.002)
    pathlib.Path(file + ".seen").write_text("seen")
tasks = set()
async def run(_, file):
    tasks.add(asyncio.create_task(wait(file)))
"""
    know(server, code, file=str(tmp_path / "file"))
    (tmp_path / "file").touch()
    assert wait_text(tmp_path / "file.seen") == "seen"


# ---- a loop that is blocked ---------------------------------------------------------------------------------------------


BLOCK = f"async def run(_, fifo): return stuck(fifo)\n{STUCK}"

EVENTS = """
import asyncio
async def events():
    yield "data: begun\\n\\n"
    await asyncio.sleep(1000)
def run(_): return events(), {"Content-Type": "text/event-stream"}
"""

LOOPS = "import threading\ndef run(_): return sum(thread.name == 'owt-asyncio' for thread in threading.enumerate())\n"


@pytest.mark.parametrize("client", ["leaves", "stays"])
def test_a_lost_loop_breaks_off_its_calls(start: Callable[..., Server], tmp_path: Path, client: str) -> None:
    server = start(conf("threads 2;", "grace 100ms;"))
    know(server, ECHO, name="")
    worker = server.workers()
    streams = [Asking(server, STREAM, gate=str(tmp_path / "never")) for _ in range(3)]
    assert [one.read(1) for one in streams] == [b"a"] * 3
    events = Asking(server, EVENTS)
    assert events.read(13) == b"data: begun\n\n"
    waiting = Asking(server, ASYNC, gate=str(tmp_path / "never"))
    wait_until((tmp_path / "never.reached").exists, "the coroutine that waits")
    fifo = Fifo(tmp_path)
    blocking = Asking(server, BLOCK, fifo=str(fifo))
    fifo.wait_reached()
    queued = [Asking(server, ECHO, name=f"n{i}") for i in range(3)]  # for whichever loop takes them
    if client == "leaves":
        blocking.leave()
    assert [one.answer().whole for one in streams] == [False] * 3
    broken = events.answer()
    assert (broken.whole, "event: error\ndata: Another call blocks" in broken.text) == (False, True)
    refused = waiting.answer()
    assert (refused.status, "blocks the event loop" in refused.text) == (503, True)
    assert [one.answer().text for one in queued] == ["n0", "n1", "n2"]
    server.wait_log(r"\[error\].*the event loop is blocked.*5 calls on it broken off")
    assert Asking(server, ECHO, name="later").answer().text == "later"
    fifo.let_go()
    if client == "stays":
        assert blocking.answer().text == "back"
    server.wait_log("came round and ends")
    wait_until(lambda: Asking(server, LOOPS).answer().text == "1", "the old loop's end")
    assert server.workers() == worker


BATCHED = """
import asyncio, pathlib
@batch(max_size=1)
async def predict(gates):
    if gates == [""]:
        return ["done"]
    pathlib.Path(gates[0] + ".reached").touch()
    while not pathlib.Path(gates[0]).exists():
        await asyncio.sleep(0.002)
    return ["gone on"]
def run(gate): return predict(gate)
"""


def test_nobody_waits_for_a_batch_on_a_loop_that_is_blocked(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 3;", "grace 100ms;"))
    know(server, BATCHED, gate="")
    gate = Gate(tmp_path)
    runs = Asking(server, BATCHED, gate=str(gate))
    gate.wait_reached()
    fifo = Fifo(tmp_path)
    blocking = Asking(server, BLOCK, fifo=str(fifo))
    fifo.wait_reached()
    assert Asking(server, BATCHED, gate="").answer().text == "done"
    server.wait_log(r"\[error\].*the event loop is blocked")
    fifo.let_go()
    assert blocking.answer().text == "back"
    broken = runs.answer()
    assert (broken.status, "what runs the batches has ended" in broken.text) == (500, True)


def test_a_loop_that_comes_round_in_time_loses_nobody(start: Callable[..., Server], tmp_path: Path) -> None:
    """Calls that come meanwhile get another loop."""
    server = start(conf("threads 2;", "grace 1s;"))
    know(server, ECHO, name="")
    gate = Gate(tmp_path)
    stream = Asking(server, STREAM, gate=str(gate))
    assert stream.read(1) == b"a"
    fifo = Fifo(tmp_path)
    blocking = Asking(server, BLOCK, fifo=str(fifo))
    fifo.wait_reached()
    assert Asking(server, ECHO, name="meanwhile").answer().text == "meanwhile"
    fifo.let_go()
    assert blocking.answer().text == "back"
    gate.open()
    answer = stream.answer()
    assert (answer.whole, answer.text) == (True, "thread,bcTrue")
    wait_until(lambda: Asking(server, LOOPS).answer().text == "1", "the old loop's end")
    assert Asking(server, ECHO, name="after it").answer().text == "after it"


def test_lost_loops_that_come_back_do_not_count(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 2;", "grace 100ms;"))
    worker = server.workers()
    for i in range(10):
        fifo = Fifo(tmp_path, f"fifo{i}")
        blocking = Asking(server, BLOCK, fifo=str(fifo))
        fifo.wait_reached()
        offset = len(server.error_log)
        blocking.leave()
        server.wait_log("the event loop is blocked", after=offset)
        fifo.let_go()
        server.wait_log("came round", after=offset)
    assert server.workers() == worker


def test_who_leaves_before_the_loop_has_taken_the_call_never_runs(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 2;", "grace 30s;"))
    code = "import pathlib\nasync def run(_, file): pathlib.Path(file).touch()\n"
    know(server, code, file=str(tmp_path / "known"))
    fifo = Fifo(tmp_path)
    blocking = Asking(server, BLOCK, fifo=str(fifo))
    fifo.wait_reached()
    asked = Asking(server, code, file=str(tmp_path / "left"))
    leave(server, asked)
    last = Asking(server, code, file=str(tmp_path / "last"))
    fifo.let_go()
    assert last.answer().status == 200
    assert blocking.answer().text == "back"
    assert not (tmp_path / "left").exists()


@pytest.mark.parametrize("name", ["SIGQUIT", "SIGTERM", "reload"])
def test_the_end_of_the_process(start: Callable[..., Server], tmp_path: Path, name: str) -> None:
    server = start(conf("threads 2;", "grace 30s;"))
    know(server, ECHO, name="")
    gate, fifo = Gate(tmp_path), Fifo(tmp_path)
    stream = Asking(server, STREAM, gate=str(gate))
    assert stream.read(1) == b"a"
    blocking = Asking(server, BLOCK, fifo=str(fifo))
    fifo.wait_reached()
    queued = Asking(server, ECHO, name="queued")
    wait_until(lambda: server.access_log.count("\n") == 1, "the first call's end")
    if name == "SIGTERM":
        os.kill(server.master, signal.SIGTERM)
        server.wait_exit(5)
        for asked in stream, blocking, queued:
            asked.leave()
        return
    if name == "reload":
        server.signal("reload")
        assert Asking(server, ECHO, name="new").answer().text == "new"
    else:
        os.kill(server.master, signal.SIGQUIT)
        wait_until(lambda: not _listens(server), "the door to close")
    fifo.let_go()
    gate.open()
    assert stream.answer().text == "thread,bcTrue"
    assert (blocking.answer().text, queued.answer().text) == ("back", "queued")
    if name == "SIGQUIT":
        server.wait_exit()


def _listens(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
    except OSError:
        return False
    return True


POLICY = """
import asyncio
{}
async def run():
    child = await asyncio.create_subprocess_exec("echo", "hello", stdout=asyncio.subprocess.PIPE)
    return (await child.communicate())[0]
"""


@pytest.mark.parametrize(
    "others",
    [
        "",
        # As uvloop.install() does it, whose policy knows nobody who looks after children.
        """
class Policy(asyncio.events.BaseDefaultEventLoopPolicy if hasattr(asyncio.events, "BaseDefaultEventLoopPolicy")
             else asyncio.events._BaseDefaultEventLoopPolicy):
    def _loop_factory(self):
        return asyncio.SelectorEventLoop()
asyncio.set_event_loop_policy(Policy())
""",
    ],
    ids=["own", "another's"],
)
def test_processes_under_a_policy(start: Callable[..., Server], others: str) -> None:
    """It is the whole process's, and each call's; a call in a thread has loops by it."""
    server = start(CONF)
    assert Asking(server, POLICY.format(others)).answer().text == "hello\n"
    assert Asking(server, POLICY.format("")).answer().text == "hello\n"
    in_a_thread = POLICY.format("") + "start = run\ndef run(): return asyncio.run(start())"
    assert Asking(server, in_a_thread).answer().text == "hello\n"
