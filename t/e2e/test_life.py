"""The life of a call and of the process it runs in: queued, running, streaming, cancelled; reload, quit, crash."""

import http.client
import json
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from asking import Answer, Asking, leave, wait_access, wait_text
from gate import ASYNC, PAUSE, STUCK, Fifo, Gate
from harness import HOLDS_SIGNALS, PRELOAD, SLOW, Server, wait_until

CONF = """
owt_stream_buffer 64k;
owt_instance default { threads 4; }
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /plain { return 200 plain; }
    location /brief { owt; owt_timeout 200ms; }
    location /second { owt; owt_timeout 1s; }
}
"""

WAIT = "def run(_, gate):\n    pause(gate)\n    return 'done'\n" + PAUSE

# Waits for ever, and says how that ended.
BUSY = """
import owt, pathlib, time
def run(request, file):
    try:
        pathlib.Path(file + ".begun").touch()
        while True:
            time.sleep(0.001)
    except owt.Cancelled:
        pathlib.Path(file).write_text(f"Cancelled, {request.cancelled}")
        raise
"""

# A stream that has begun and then waits for a gate.
STREAM = f"""
def run(_, gate):
    yield "begun,"
    pause(gate)
    yield "done"
{PAUSE}
"""

ASYNC_STREAM = """
import asyncio, pathlib
async def run(_, gate):
    yield "begun,"
    pathlib.Path(gate + ".reached").touch()
    while not pathlib.Path(gate).exists():
        await asyncio.sleep(0.002)
    yield "done"
"""

KINDS = {"running": WAIT, "streaming": STREAM, "async": ASYNC, "async streaming": ASYNC_STREAM}

WITHOUT_GIL = f"def run(_, fifo): return stuck(fifo)\n{STUCK}"
WITH_GIL = f"def run(_, fifo): return stuck(fifo, 'PyDLL')\n{STUCK}"

PID = "import os\ndef run(_): return os.getpid()\n"


def instance(*lines: str) -> str:
    """A server whose process is as these lines say."""
    return (
        f"owt_instance default {{ {' '.join(lines)} }}\n"
        "server { listen 127.0.0.1:{port}; location / { owt; } location /plain { return 200 plain; } }\n"
    )


def ask_pid(server: Server) -> int:
    return int(Asking(server, PID).answer().body)


def wait_gone(server: Server, worker: int) -> None:
    wait_until(lambda: worker not in server.workers(leaving=True), f"the end of worker {worker}")


def hammer(server: Server, stop: Event, code: str = PID) -> list[Answer]:
    """Calls one after the other, each on a connection of its own."""
    answers = []
    while not stop.is_set():
        answers.append(Asking(server, code).answer())
    return answers


# ---- the queue ------------------------------------------------------------------------------------------------------


def test_a_full_queue_is_a_503_that_says_when_to_come_again(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 1;", "queue 2;"))
    gate = Gate(tmp_path)
    first = Asking(server, WAIT, gate=str(gate))
    gate.wait_reached()
    others = [Asking(server, PID) for _ in range(3)]
    refused = others.pop().answer()
    gate.open()
    assert refused.status == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert "queue" in refused.text
    assert refused.headers["Content-Type"].startswith("text/plain")
    assert [call.answer().status for call in (first, *others)] == [200, 200, 200]


def test_a_queued_call_whose_client_has_left_never_runs(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 1;"))
    gate, file = Gate(tmp_path), tmp_path / "ran"
    first = Asking(server, WAIT, gate=str(gate))
    gate.wait_reached()
    queued = Asking(server, "import pathlib\ndef run(_, file): pathlib.Path(file).touch()", "/left", file=str(file))
    assert server.get("/plain").text == "plain"  # so the one before is in the queue
    queued.leave()
    wait_access(server, '"POST /left HTTP/1.1" 499')
    gate.open()
    assert first.answer().text == "done"
    assert Asking(server, PID).answer().status == 200
    assert not file.exists()


def test_a_queued_call_that_is_left_makes_room_in_the_queue(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 1;", "queue 1;"))
    gate = Gate(tmp_path)
    first = Asking(server, WAIT, gate=str(gate))
    gate.wait_reached()
    for _ in range(3):
        queued = Asking(server, PID, "/left")
        assert Asking(server, PID).answer().status == 503
        leave(server, queued)
    last = Asking(server, PID)
    gate.open()
    assert [first.answer().status, last.answer().status] == [200, 200]


# ---- the client leaves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
def test_running_python_gets_cancelled_when_the_client_leaves(server: Server, tmp_path: Path, reset: bool) -> None:
    file = tmp_path / "end"
    asked = Asking(server, BUSY, file=str(file))
    wait_until((tmp_path / "end.begun").exists, "the call")
    asked.leave(reset=reset)
    assert wait_text(file) == "Cancelled, True"


# Where Python lets no exception out.
FINALIZERS = {
    "__del__": "class Ends:\n    def __del__(self): pause_bare()\n\ndef end(): Ends()\n",
    "a weak reference": "def end():\n    thing = type('Thing', (), {})()\n"
    "    ref = weakref.ref(thing, lambda _: pause_bare())\n    del thing\n",
    "the collector's callback": "def called(phase, _):\n    if phase == 'stop': pause_bare()\n"
    "def end():\n    gc.callbacks.append(called)\n    try:\n        gc.collect()\n"
    "    finally:\n        gc.callbacks.remove(called)\n",
    "a generator's end": "def held():\n    try:\n        yield\n    finally:\n        pause_bare()\n"
    "def end():\n    generator = held()\n    next(generator)\n    del generator\n",
}


@pytest.mark.parametrize("where", FINALIZERS)
def test_a_cancellation_that_meets_a_finalizer_comes_again(server: Server, tmp_path: Path, where: str) -> None:
    code = f"""
import gc, pathlib, time, weakref
def pause_bare():
    try:
        pathlib.Path(FILE + ".begun").touch()
        while True:
            time.sleep(0.002)
    finally:
        pathlib.Path(FILE + ".swallowed").touch()
{FINALIZERS[where]}
def run(_, file):
    global FILE
    FILE = file
    try:
        end()
        while True:
            time.sleep(0.002)
    finally:
        pathlib.Path(file + ".ended").touch()
"""
    file = tmp_path / "file"
    asked = Asking(server, code, file=str(file))
    wait_until(file.with_suffix(".begun").exists, "the finalizer to begin")
    asked.leave()
    wait_until(file.with_suffix(".swallowed").exists, "the cancellation")
    wait_until(file.with_suffix(".ended").exists, "the call to end")
    assert "was written off" not in server.error_log


def test_a_thread_of_the_adaptors_sees_request_cancelled(server: Server, tmp_path: Path) -> None:
    code = """
import pathlib, threading, time
def run(request, file):
    def watch():
        while not request.cancelled:
            time.sleep(0.001)
        pathlib.Path(file).write_text("seen")
    assert not request.cancelled
    threading.Thread(target=watch).start()
    pathlib.Path(file + ".begun").touch()
    while True:
        time.sleep(0.001)
"""
    asked = Asking(server, code, file=str(tmp_path / "end"))
    wait_until((tmp_path / "end.begun").exists, "the call")
    asked.leave()
    assert wait_text(tmp_path / "end") == "seen"


@pytest.mark.parametrize("size", [1, 1 << 20], ids=["it works", "it waits for the client"])
def test_a_generator_is_closed_on_its_own_thread(server: Server, tmp_path: Path, size: int) -> None:
    code = """
import pathlib, threading, time
def run(_, file, size):
    begun = threading.get_ident()
    try:
        while True:
            yield 'x' * size
            time.sleep(0.001)
    finally:
        pathlib.Path(file).write_text(f"closed {threading.get_ident() == begun}")
"""
    asked = Asking(server, code, receive=4096, file=str(tmp_path / "end"), size=size)
    assert asked.read(1) == b"x"
    asked.leave()
    assert wait_text(tmp_path / "end") == "closed True"


def test_a_generator_that_waits_between_chunks_is_ended_as_well(server: Server, tmp_path: Path) -> None:
    code = """
import owt, pathlib, time
def run(_, file):
    try:
        yield "x"
        while True:
            time.sleep(0.001)
    except owt.Cancelled:
        pathlib.Path(file).write_text("Cancelled")
"""
    asked = Asking(server, code, file=str(tmp_path / "end"))
    assert asked.read(1) == b"x"
    asked.leave()
    assert wait_text(tmp_path / "end") == "Cancelled"


def test_an_async_call_is_cancelled(server: Server, tmp_path: Path) -> None:
    code = """
import asyncio, pathlib
async def run(request, file):
    try:
        pathlib.Path(file + ".begun").touch()
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        pathlib.Path(file).write_text(f"cancelled, {request.cancelled}")
        raise
"""
    asked = Asking(server, code, file=str(tmp_path / "end"))
    wait_until((tmp_path / "end.begun").exists, "the call")
    asked.leave()
    assert wait_text(tmp_path / "end") == "cancelled, True"


@pytest.mark.parametrize("size", [1, 1 << 20], ids=["it works", "it waits for the client"])
def test_an_async_generator_is_closed_on_its_loop(server: Server, tmp_path: Path, size: int) -> None:
    code = """
import asyncio, pathlib
async def run(_, file, size):
    loop = asyncio.get_running_loop()
    try:
        while True:
            yield 'x' * size
            await asyncio.sleep(0.001)
    finally:
        await asyncio.sleep(0)
        pathlib.Path(file).write_text(f"closed {asyncio.get_running_loop() is loop}")
"""
    asked = Asking(server, code, receive=4096, file=str(tmp_path / "end"), size=size)
    assert asked.read(1) == b"x"
    asked.leave()
    assert wait_text(tmp_path / "end") == "closed True"


def test_a_load_goes_on_without_its_client_and_serves_the_next(server: Server, tmp_path: Path) -> None:
    gate, file = Gate(tmp_path), tmp_path / "end"
    code = f"""{PAUSE}
import owt, pathlib, time
with open({str(tmp_path / "loads")!r}, "a") as log:
    log.write("loaded\\n")
pause({str(gate)!r})
def run(_): return "warm"
def wait(_, file):
    try:
        while True:
            time.sleep(0.001)
    except owt.Cancelled:
        pathlib.Path(file).write_text("Cancelled")
"""
    first = Asking(server, code, "/left-in-load", fn_name="wait", file=str(file))
    gate.wait_reached()
    first.leave()
    wait_access(server, '"POST /left-in-load HTTP/1.1" 499')  # the connection is free before the thread is
    second = Asking(server, code)
    gate.open()
    assert second.answer().text == "warm"
    # As soon as the load was over; or the call of the function was never begun.
    assert not file.exists() or file.read_text() == "Cancelled"
    assert Asking(server, code).answer().text == "warm"
    assert (tmp_path / "loads").read_text() == "loaded\n"


def test_a_thread_is_free_again_after_a_load_that_nobody_waits_for(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start(instance("threads 1;", "grace 60s;"))
    gate = Gate(tmp_path)
    code = f"{PAUSE}\nimport time\npause({str(gate)!r})\ndef run(_):\n    while True: time.sleep(0.001)\n"
    first = Asking(server, code)
    gate.wait_reached()
    first.leave()
    gate.open()
    assert ask_pid(server) in server.workers()


def test_an_import_in_a_call_is_not_interrupted(start: Callable[..., Server], tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    (tmp_path / "slow.py").write_text(f"before = 1\n{PAUSE}\npause({str(gate)!r})\nafter = 2\n")
    server = start(instance(f"python_path {tmp_path};"))
    code = "def run(_):\n    import slow\n    return [slow.before, slow.after]\n"
    first = Asking(server, code, "/left-in-import")
    gate.wait_reached()
    first.leave()
    wait_access(server, '"POST /left-in-import HTTP/1.1" 499')
    gate.open()
    assert json.loads(Asking(server, code).answer().body) == [1, 2]


# ---- owt_timeout ----------------------------------------------------------------------------------------------------


def test_no_output_in_time_is_a_504_and_the_call_is_cancelled(server: Server, tmp_path: Path) -> None:
    answer = Asking(server, BUSY, "/brief", file=str(tmp_path / "end")).answer()
    assert answer.status == 504
    assert "owt_timeout" in answer.text
    assert wait_text(tmp_path / "end") == "Cancelled, True"


def test_an_async_call_without_output_in_time_is_a_504(server: Server, tmp_path: Path) -> None:
    assert Asking(server, ASYNC, "/brief", gate=str(tmp_path / "never")).answer().status == 504


def test_a_queued_call_that_does_not_come_to_run_in_time_is_a_504(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(
        "owt_instance default { threads 1; }\n"
        "server { listen 127.0.0.1:{port}; location / { owt; } location /brief { owt; owt_timeout 200ms; } }"
    )
    gate = Gate(tmp_path)
    first = Asking(server, WAIT, gate=str(gate))
    gate.wait_reached()
    assert Asking(server, PID, "/brief").answer().status == 504
    gate.open()
    assert first.answer().text == "done"


@pytest.mark.parametrize("code", [STREAM, ASYNC_STREAM], ids=["generator", "async generator"])
def test_a_stream_that_pauses_too_long_is_aborted(server: Server, tmp_path: Path, code: str) -> None:
    answer = Asking(server, code, "/brief", gate=str(tmp_path / "never")).answer()
    assert answer.status == 200
    assert answer.body == b"begun,"
    assert not answer.whole


def test_each_chunk_gives_a_stream_new_time(server: Server) -> None:
    code = "import time\ndef run(_):\n    for i in range(4):\n        time.sleep(0.4)\n        yield str(i)\n"
    answer = Asking(server, code, "/second").answer()
    assert answer.whole
    assert answer.text == "0123"


def test_time_that_a_slow_client_takes_is_not_the_calls(server: Server) -> None:
    size = 16 << 20
    code = f"def run(_):\n    for _ in range(256): yield bytes({size // 256})\n"
    asked = Asking(server, code, "/brief", receive=4096)
    asked.read(1)
    time.sleep(0.6 * SLOW)  # three times as long as no output may last
    answer = asked.answer()
    assert answer.whole
    assert len(answer.body) == size - 1


# ---- calls that do not end ------------------------------------------------------------------------------------------

# The stack of a thread is written in a signal handler.
signals_come = pytest.mark.skipif(HOLDS_SIGNALS, reason="ThreadSanitizer holds back signals from a thread in C")


@signals_come
def test_a_stuck_thread_is_written_off_and_replaced(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 2;", "grace 200ms;"))
    fifo = Fifo(tmp_path)
    asked = Asking(server, WITHOUT_GIL, fifo=str(fifo))
    fifo.wait_reached()
    asked.leave()
    server.wait_log(r"\[error\].*written off")
    server.wait_log(r"\[error\].*sha256_[0-9a-f]{64}\.py\", line 1 in run")
    gates = [Gate(tmp_path, "one"), Gate(tmp_path, "two")]
    calls = [Asking(server, WAIT, gate=str(gate)) for gate in gates]
    for gate in gates:
        gate.wait_reached()  # both at once: there are two threads
    for gate in gates:
        gate.open()
    assert [call.answer().text for call in calls] == ["done", "done"]


def test_a_lost_thread_that_comes_back_counts_no_more(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 2;", "grace 100ms;"))
    worker = ask_pid(server)
    for i in range(4):
        fifo = Fifo(tmp_path, f"fifo{i}")
        asked = Asking(server, WITHOUT_GIL, fifo=str(fifo))
        fifo.wait_reached()
        offset = len(server.error_log)
        asked.leave()
        server.wait_log(r"\(1 of 8 lost\)", after=offset)
        fifo.let_go()
        server.wait_log("came back", after=offset)
    assert ask_pid(server) == worker


def test_a_worker_that_has_lost_its_threads_is_replaced_and_other_calls_finish(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start(instance("threads 2;", "grace 100ms;"))
    worker = ask_pid(server)
    for i in range(8):
        fifo = Fifo(tmp_path, f"fifo{i}")
        stuck = Asking(server, WITHOUT_GIL, fifo=str(fifo))
        fifo.wait_reached()
        if i == 7:
            gate = Gate(tmp_path)
            other = Asking(server, WAIT, gate=str(gate))
            gate.wait_reached()
        stuck.leave()
        server.wait_log(rf"\({i + 1} of 8 lost\)")
    wait_until(lambda: worker not in server.workers(), "the worker to leave")
    gate.open()
    assert other.answer().text == "done"
    wait_gone(server, worker)
    assert ask_pid(server) != worker


def test_a_coroutine_that_will_not_end_is_logged(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("grace 100ms;"))
    code = """
import asyncio, pathlib
async def run(_, gate):
    pathlib.Path(gate + ".reached").touch()
    while not pathlib.Path(gate).exists():
        try:
            await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            pass
"""
    gate = Gate(tmp_path)
    asked = Asking(server, code, gate=str(gate))
    gate.wait_reached()
    asked.leave()
    server.wait_log(r"\[error\].*CancelledError")
    gate.open()


BLOCK_LOOP = WITHOUT_GIL.replace("def run", "async def run")
ASYNC_PID = "import os\nasync def run(_): return os.getpid()\n"
LOOPS = "import threading\ndef run(_): return sum(thread.name == 'owt-asyncio' for thread in threading.enumerate())\n"


def test_a_blocked_event_loop_is_replaced(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 2;", "grace 100ms;"))
    worker = ask_pid(server)
    fifo = Fifo(tmp_path)
    asked = Asking(server, BLOCK_LOOP, fifo=str(fifo))
    fifo.wait_reached()
    waiting = Asking(server, ASYNC_PID)  # of the same loop
    asked.leave()
    server.wait_log(r"\[error\].*the event loop is blocked(.|\n)*sha256_[0-9a-f]{64}\.py\", line \d+,? in run")
    assert int(waiting.answer().text) == worker  # on another loop
    assert int(Asking(server, ASYNC_PID).answer().text) == worker
    fifo.let_go()
    wait_until(lambda: Asking(server, LOOPS).answer().text == "1", "the old loop's end")


def test_a_worker_that_has_lost_its_loops_is_replaced(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 1;", "grace 100ms;"), main="worker_shutdown_timeout 1s;")
    worker = ask_pid(server)
    fifos = [Fifo(tmp_path, f"fifo{i}") for i in range(8)]
    for fifo in fifos:
        offset = len(server.error_log)
        asked = Asking(server, BLOCK_LOOP, fifo=str(fifo))
        fifo.wait_reached()
        asked.leave()
        server.wait_log("the event loop is blocked", after=offset)
    server.wait_log("is to be replaced: it has lost its threads")
    for fifo in fifos:
        fifo.let_go()
    wait_until(lambda: ask_pid(server) != worker, "another worker")


def test_who_holds_the_gil_in_c_holds_up_python_and_not_nginx(server: Server, tmp_path: Path) -> None:
    fifo = Fifo(tmp_path)
    asked = Asking(server, WITH_GIL, fifo=str(fifo))
    fifo.wait_reached()
    other = Asking(server, PID)
    assert server.get("/plain").text == "plain"
    fifo.let_go()
    assert asked.answer().text == "back"
    assert other.answer().status == 200


@signals_come
def test_who_holds_the_gil_in_c_is_written_off_with_a_stack(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 2;", "grace 200ms;"))
    fifo = Fifo(tmp_path)
    asked = Asking(server, WITH_GIL, fifo=str(fifo))
    fifo.wait_reached()
    asked.leave()
    server.wait_log(r"\[error\](.|\n)*line 1 in run")
    fifo.let_go()
    assert ask_pid(server) in server.workers()


# ---- reload, quit, stop ---------------------------------------------------------------------------------------------


def test_a_reload_loses_no_call_that_runs(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 4;"))
    worker = ask_pid(server)
    gates = {kind: Gate(tmp_path, kind) for kind in KINDS}
    calls = {kind: Asking(server, code, gate=str(gates[kind])) for kind, code in KINDS.items()}
    for gate in gates.values():
        gate.wait_reached()
    server.signal("reload")
    assert ask_pid(server) != worker
    for gate in gates.values():
        gate.open()
    for call in calls.values():
        answer = call.answer()
        assert answer.whole
        assert answer.text.removeprefix("begun,") == "done"
    wait_gone(server, worker)


def test_a_reload_loses_no_call_that_is_queued(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 1;"))
    worker = ask_pid(server)
    gate = Gate(tmp_path)
    first = Asking(server, WAIT, gate=str(gate))
    gate.wait_reached()
    queued = [Asking(server, PID) for _ in range(5)]
    assert server.get("/plain").text == "plain"
    server.signal("reload")
    gate.open()
    assert first.answer().text == "done"
    assert [int(call.answer().body) for call in queued] == [worker] * 5


def test_no_call_is_refused_while_a_reload_preloads(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "pause").write_text("0")
    (tmp_path / "model.py").write_text(
        "import pathlib, time\ntime.sleep(float(pathlib.Path(__file__).with_name('pause').read_text()))\n"
    )
    server = start(instance(f"python_path {tmp_path};", "preload model;"))
    worker = ask_pid(server)
    (tmp_path / "pause").write_text("2")
    stop = Event()
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(hammer, server, stop) for _ in range(4)]
        try:
            server.signal("reload")
            wait_until(lambda: ask_pid(server) != worker, "the new worker")
        finally:
            stop.set()
        answers = [answer for future in futures for answer in future.result()]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_quit_waits_for_calls(start: Callable[..., Server], tmp_path: Path, kind: str) -> None:
    server = start(instance())
    gate = Gate(tmp_path)
    asked = Asking(server, KINDS[kind], gate=str(gate))
    gate.wait_reached()
    worker = server.workers()[0]
    os.kill(server.master, signal.SIGQUIT)
    wait_until(lambda: worker not in server.workers(), "the worker to leave")
    gate.open()
    answer = asked.answer()
    assert answer.whole
    assert answer.text.removeprefix("begun,") == "done"
    server.wait_exit()


ENDS = """
import asyncio, atexit, pathlib, time
def write(file, text):
    pathlib.Path(file).write_text(text)
def running(_, file):
    atexit.register(write, file + ".atexit", "atexit")
    write(file + ".reached", "reached")
    try:
        while True:
            time.sleep(0.001)
    finally:
        write(file, "finally")
def generator(_, file):
    atexit.register(write, file + ".atexit", "atexit")
    try:
        yield "begun"
        write(file + ".reached", "reached")
        while True:
            time.sleep(0.001)
            yield "more"
    finally:
        write(file, "finally")
async def coroutine(_, file):
    atexit.register(write, file + ".atexit", "atexit")
    write(file + ".reached", "reached")
    try:
        await asyncio.sleep(1000)
    finally:
        write(file, "finally")
async def async_generator(_, file):
    atexit.register(write, file + ".atexit", "atexit")
    try:
        yield "begun"
        write(file + ".reached", "reached")
        await asyncio.sleep(1000)
    finally:
        write(file, "finally")
"""


@pytest.mark.parametrize("function", ["running", "generator", "coroutine", "async_generator"])
def test_sigterm_ends_a_call_in_order(start: Callable[..., Server], tmp_path: Path, function: str) -> None:
    server = start(instance())
    file = tmp_path / "end"
    asked = Asking(server, ENDS, fn_name=function, file=str(file))
    wait_text(tmp_path / "end.reached")
    os.kill(server.master, signal.SIGTERM)
    server.wait_exit(2)
    assert file.read_text() == "finally"
    assert (tmp_path / "end.atexit").read_text() == "atexit"
    asked.leave()


@pytest.mark.parametrize("code", [WITHOUT_GIL, WITH_GIL], ids=["without the GIL", "with the GIL"])
def test_sigterm_ends_a_process_that_is_stuck_in_c(start: Callable[..., Server], tmp_path: Path, code: str) -> None:
    server = start(instance())
    fifo = Fifo(tmp_path)
    asked = Asking(server, code, fifo=str(fifo))
    fifo.wait_reached()
    os.kill(server.master, signal.SIGTERM)
    server.wait_exit(2)
    asked.leave()


def test_sigterm_while_a_module_is_being_preloaded(start: Callable[..., Server], tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    (tmp_path / "model.py").write_text(f"{PAUSE}\npause({str(gate)!r})\n")
    server = start(instance(f"python_path {tmp_path};", "preload model;"))
    gate.wait_reached()
    os.kill(server.master, signal.SIGTERM)
    server.wait_exit(2)


def test_a_thread_stuck_with_a_stream_of_c_keeps_no_process(start: Callable[..., Server], tmp_path: Path) -> None:
    """What libraries have written to their own is flushed at the end; this one is locked."""
    server = start(instance())
    fifo = Fifo(tmp_path)
    asked = Asking(server, WITHOUT_GIL, fifo=str(fifo))
    fifo.wait_reached()
    asked.leave()
    server.signal("quit")


def test_atexit_functions_run_when_the_last_call_has_ended(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance())
    code = "import atexit, pathlib\ndef run(_, file): atexit.register(pathlib.Path(file).write_text, 'atexit')\n"
    assert Asking(server, code, file=str(tmp_path / "end")).answer().status == 200
    server.signal("quit")
    assert (tmp_path / "end").read_text() == "atexit"


@pytest.mark.parametrize("how", ["reload", "quit"])
def test_worker_shutdown_timeout_cuts_off_what_still_runs(
    start: Callable[..., Server], tmp_path: Path, how: str
) -> None:
    server = start(instance(), main="worker_shutdown_timeout 200ms;")
    asked = Asking(server, BUSY, file=str(tmp_path / "end"))
    wait_until((tmp_path / "end.begun").exists, "the call")
    worker = server.workers()[0]
    server.signal(how)
    assert wait_text(tmp_path / "end") == "Cancelled, True"
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        asked.answer()
    if how == "reload":
        wait_gone(server, worker)


# ---- crashes --------------------------------------------------------------------------------------------------------


def test_a_killed_worker_is_replaced(start: Callable[..., Server]) -> None:
    server = start(instance())
    server.expect(r"\[alert\].*exited on signal 9")
    worker = ask_pid(server)
    os.kill(worker, signal.SIGKILL)
    assert ask_pid(server) != worker


@pytest.mark.parametrize("status", [0, 1, 2, 3])
def test_os_exit_costs_one_process(start: Callable[..., Server], status: int) -> None:
    server = start(instance())
    worker = ask_pid(server)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        Asking(server, "import os\ndef run(_, status): os._exit(status)\n", status=status).answer()
    wait_until(lambda: set(server.workers()) - {worker}, "a new worker")
    assert ask_pid(server) != worker


@pytest.mark.skipif(bool(PRELOAD), reason="a sanitizer's own report comes first")
def test_a_segmentation_fault_costs_one_process_and_leaves_a_traceback(start: Callable[..., Server]) -> None:
    server = start(instance())
    server.expect(r"\[alert\].*exited on signal 11")
    worker = ask_pid(server)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        Asking(server, "import ctypes\ndef run(_):\n    ctypes.string_at(0)\n").answer()
    assert ask_pid(server) != worker
    server.wait_log("Fatal Python error: Segmentation fault")
    server.wait_log(r'File ".*sha256_[0-9a-f]{64}\.py", line 3 in run')


# ---- processes that are replaced, or have not come up ---------------------------------------------------------------


def test_max_calls_replaces_the_process_and_loses_no_call(start: Callable[..., Server]) -> None:
    server = start(instance("max_calls 5;"))

    def ask_ten(_: int) -> list[Answer]:
        return [Asking(server, PID).answer() for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        answers = [answer for some in pool.map(ask_ten, range(4)) for answer in some]
    assert {answer.status for answer in answers} == {200}
    pids = [int(answer.body) for answer in answers]
    assert len(set(pids)) > 1
    # Connections that a process had accepted before its last call are served as well.
    assert max(map(pids.count, pids)) < 5 + 4 + 1


def test_max_calls_lets_a_long_call_finish(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("max_calls 2;"))
    gate = Gate(tmp_path)
    long = Asking(server, WAIT, gate=str(gate))
    gate.wait_reached()
    worker = ask_pid(server)
    wait_until(lambda: worker not in server.workers(), "the worker to leave")
    gate.open()
    assert long.answer().text == "done"
    assert ask_pid(server) != worker


def test_max_rss_replaces_the_process_and_lets_calls_finish(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("max_rss 150m;"))
    worker = ask_pid(server)
    gate = Gate(tmp_path)
    code = f"def run(_, gate):\n    block = b'x' * (200 << 20)\n    pause(gate)\n    return len(block)\n{PAUSE}"
    big = Asking(server, code, gate=str(gate))
    gate.wait_reached()
    server.wait_log(r"\[notice\].*max_rss")
    wait_until(lambda: worker not in server.workers(), "the worker to leave")
    gate.open()
    assert big.answer().text == str(200 << 20)
    assert ask_pid(server) != worker


def test_a_preload_that_fails_is_logged_and_tried_again(start: Callable[..., Server], tmp_path: Path) -> None:
    module = tmp_path / "model.py"
    module.write_text("import owt\nweights = 1 / 0\n")
    server = start(instance(f"python_path {tmp_path};", "preload model;"))
    asked = Asking(server, "import model\ndef run(_): return model.weights\n")  # waits in the kernel's backlog
    server.wait_log(r"\[error\].*preload model failed")
    server.wait_log(r"\[error\].*model\.py\", line 2")
    server.wait_log(r"\[error\].*ZeroDivisionError")
    module.write_text("weights = 'loaded by now'\n")
    assert asked.answer().text == "loaded by now"


def test_a_preload_that_fails_is_not_tried_in_a_tight_loop(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("raise SystemExit(2)\n")
    server = start(instance(f"python_path {tmp_path};", "preload model;"))
    server.wait_log("SystemExit")
    time.sleep(0.5)
    assert server.error_log.count("preload model failed") == 1
