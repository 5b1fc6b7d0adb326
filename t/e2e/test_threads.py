"""The pool's threads: which one is woken, when there are more of them, and when Python itself cannot be had."""

import hashlib
import os
import pwd
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from asking import Asking
from gate import PAUSE, STUCK, Fifo, Gate
from harness import PRELOAD, Server, has_gil, wait_until

WAIT = "def run(_, gate):\n    pause(gate)\n    return 'done'\n" + PAUSE
PID = "import os\ndef run(_): return os.getpid()\n"
THREADS = "import threading\ndef run(_): return sum(t.name.startswith('owt-') for t in threading.enumerate())\n"


def instance(*lines: str) -> str:
    return (
        f"owt_instance default {{ {' '.join(lines)} }}\n"
        "server { listen 127.0.0.1:{port}; location / { owt; } location /plain { return 200 plain; } }\n"
    )


def count(server: Server) -> int:
    return int(Asking(server, THREADS).answer().body)


# ---- which one ------------------------------------------------------------------------------------------------------


def test_the_thread_that_fell_asleep_last_is_woken_first(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 8;"))
    gates = [Gate(tmp_path, str(i)) for i in range(8)]
    calls = [Asking(server, WAIT, gate=str(gate)) for gate in gates]
    for gate in gates:
        gate.wait_reached()
    for gate, call in zip(gates, calls, strict=True):
        gate.open()
        assert call.answer().text == "done"
    code = "import threading\ndef run(_): return threading.current_thread().name"
    # An answer is there before its thread has fallen asleep, so that the next call may wake the one before.
    assert len({Asking(server, code).answer().text for _ in range(20)}) <= 2


# ---- how many -------------------------------------------------------------------------------------------------------

# Asks this server for itself, one less deep each time.
CHAIN = """
import json, urllib.request
def run(_, url, code_id, depth):
    if depth == 0:
        return "bottom"
    fields = {"code_id": code_id, "kwargs": {"url": url, "code_id": code_id, "depth": depth - 1}}
    ask = urllib.request.Request(url, json.dumps(fields).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(ask, timeout=60) as answer:
        return answer.read().decode()
"""


def chain(server: Server, depth: int) -> Asking:
    code_id = "sha256:" + hashlib.sha256(CHAIN.encode()).hexdigest()
    return Asking(server, CHAIN, kwargs={"url": server.url, "code_id": code_id, "depth": depth})


def test_calls_that_call_this_server_get_their_answers(start: Callable[..., Server]) -> None:
    server = start(instance("threads 2 64;"))
    calls = [chain(server, 1) for _ in range(8)]
    assert [call.answer().text for call in calls] == ["bottom"] * 8


def test_a_chain_of_calls_is_as_long_as_there_may_be_threads(start: Callable[..., Server]) -> None:
    server = start(instance("threads 2 16;"))
    assert chain(server, 13).answer().text == "bottom"


def test_threads_that_wait_do_not_hold_up_the_rest(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 2 4;", "queue 1;"), hooks=True)  # idle threads end sooner there
    gates = [Gate(tmp_path, str(i)) for i in range(3)]
    calls = []
    for gate in gates:
        calls.append(Asking(server, WAIT, gate=str(gate)))
        gate.wait_reached()
    assert count(server) == 4
    for gate, call in zip(gates, calls, strict=True):
        gate.open()
        assert call.answer().text == "done"
    wait_until(lambda: count(server) == 2, "idle threads to end")


@pytest.mark.parametrize("line", ["threads 1;", "threads 1 1;"])
def test_one_thread_is_exactly_one(start: Callable[..., Server], tmp_path: Path, line: str) -> None:
    server = start(instance(line))
    gate = Gate(tmp_path)
    first = Asking(server, WAIT, gate=str(gate))
    gate.wait_reached()
    second = Asking(server, THREADS)
    third = Asking(server, "import time\ndef run(_): return str(time.monotonic())")
    assert server.get("/plain").text == "plain"
    assert not second.answered
    assert not third.answered
    gate.open()
    assert [first.answer().text, second.answer().text] == ["done", "1"]


COMPUTES = {
    "with the GIL": "while not path.exists():\n        sum(range(1000))",
    "without it": "while not path.exists():\n        hashlib.pbkdf2_hmac('sha256', b'x', b'y', 20000)",
}


@pytest.mark.parametrize("how", COMPUTES)
def test_threads_that_compute_are_no_reason_for_more(start: Callable[..., Server], tmp_path: Path, how: str) -> None:
    server = start(instance("threads 2 8;"))
    code = f"""
import hashlib, pathlib
def run(_, gate):
    pathlib.Path(gate + ".reached").touch()
    path = pathlib.Path(gate)
    {COMPUTES[how]}
    return "done"
"""
    gates = [Gate(tmp_path, str(i)) for i in range(2)]
    calls = [Asking(server, code, gate=str(gate)) for gate in gates]
    for gate in gates:
        gate.wait_reached()
    last = Asking(server, THREADS)
    # Had it been due, it would be there: some calls that wait have got their threads meanwhile.
    other = start(instance("threads 1 3;"))
    assert chain(other, 2).answer().text == "bottom"
    assert not last.answered
    for gate in gates:
        gate.open()
    assert [call.answer().text for call in calls] == ["done"] * 2
    assert last.answer().text == "2"


def test_the_queue_is_what_waits_beside_what_threads_are_about_to_take(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    for i in range(5):
        # Whose threads are idle: one that has answered needs a moment to be so again.
        server = start(instance("threads 8;", "queue 1;"))
        gates = [Gate(tmp_path, f"{i}-{j}") for j in range(9)]
        calls = [Asking(server, WAIT, gate=str(gate)) for gate in gates]
        # Any eight: a call that has waited for the load may find all threads taken by others.
        wait_until(lambda gates=gates: sum(gate.reached for gate in gates) == 8, "eight adaptors")
        for gate in gates:
            gate.open()
        assert [call.answer().status for call in calls] == [200] * 9


# ---- a thread that is lost ------------------------------------------------------------------------------------------


def test_a_warm_model_outlives_a_client_that_leaves_too_early(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(instance("threads 1;", "grace 100ms;"))
    code = f"""
model = object()
def run(_, fifo=None):
    if fifo:
        stuck(fifo)
    return str(id(model))
{STUCK}"""
    warm = Asking(server, code).answer().text
    fifo = Fifo(tmp_path)
    asked = Asking(server, code, fifo=str(fifo))
    fifo.wait_reached()
    asked.leave()
    server.wait_log(r"\(1 of 8 lost\)")
    assert Asking(server, code).answer().text == warm
    fifo.let_go()
    server.wait_log("came back")
    assert Asking(server, code).answer().text == warm


def test_a_process_that_answers_at_once_is_not_taken_for_stuck(start: Callable[..., Server], tmp_path: Path) -> None:
    """Its heartbeat may come before the watchdog waits for one, and in an idle process no other follows."""
    server = start(instance("threads 2;", "grace 100ms;"), hooks=True)
    worker = int(Asking(server, PID).answer().body)
    fifo = Fifo(tmp_path)
    asked = Asking(server, f"def run(_, fifo): stuck(fifo)\n{STUCK}", fifo=str(fifo))
    fifo.wait_reached()
    with server.hold("pinged") as pinged:
        asked.leave()
        pinged.wait_reached()
        fifo.let_go()
        server.wait_log("came back")
    time.sleep(1.5)  # the heartbeat is due after one second, and what is looked for is that nothing happens
    assert "Python cannot be had" not in server.error_log
    assert int(Asking(server, PID).answer().body) == worker


# ---- Python is held up for good -------------------------------------------------------------------------------------

ENDLESS = {
    "in the arguments' text": {"code": "lambda x: 1", "kwargs": "9**9**9"},
    "in a pattern": {"code": "import re\ndef run(_): return str(re.match(r'(a+)+$', 'a' * 40 + 'b'))"},
    "in a call": {"code": "def run(_): return str(sum(range(10**12)))"},
    "in a coroutine": {"code": "async def run(_): return str(10 ** 10**9)"},
    "at the top level of an expression": {"code": "str(pow(7, 9**9)) and (lambda: 1)"},
    "at the top level of a module": {"code": "import re\nre.match(r'(a+)+$', 'a' * 40 + 'b')\ndef run(_): pass"},
}

# Without a GIL others go on, until they are to stand still all at once.
COLLECT = "import gc, pathlib\ndef run(_, file):\n    pathlib.Path(file).touch()\n    gc.collect()\n"


@pytest.mark.parametrize("where", ENDLESS)
def test_who_never_lets_python_go_costs_the_process(start: Callable[..., Server], tmp_path: Path, where: str) -> None:
    if PRELOAD and "top level" in where:
        pytest.skip("a sanitizer takes longer than the process has for its last words")
    server = start(
        instance("threads 4;", "grace 200ms;"), main="worker_shutdown_timeout 60s;", hooks="top level" in where
    )
    worker = int(Asking(server, PID).answer().body)
    fields = dict(ENDLESS[where])
    before = processor_time(worker)
    stuck = Asking(server, fields.pop("code"), **fields)
    waiting = []
    wait_until(lambda: computes(worker, before), "it to be in C")
    if not has_gil():
        waiting.append(Asking(server, COLLECT, file=str(tmp_path / "collects")))
        wait_until((tmp_path / "collects").exists, "a collection")
    waiting += [Asking(server, PID) for _ in range(3)]
    assert server.get("/plain").text == "plain"
    stuck.leave()
    server.wait_log("Python cannot be had", 20)
    answers = [call.answer() for call in waiting]
    assert {answer.status for answer in answers} <= {503, 200}
    wait_until(lambda: worker not in server.workers(leaving=True), "the process to be replaced", 30)
    assert int(Asking(server, PID).answer().body) != worker


def processor_time(pid: int) -> dict[str, int]:
    """Of each thread, in hundredths of a second (proc(5))."""
    stats = {task.name: (task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()}
    return {thread: sum(map(int, stat.rpartition(")")[2].split()[11:13])) for thread, stat in stats.items()}


def computes(pid: int, before: dict[str, int]) -> bool:
    """Whether a thread has done so for half a second."""
    return any(used - before.get(thread, 0) >= 50 for thread, used in processor_time(pid).items())


# ---- no threads to be had -------------------------------------------------------------------------------------------


def test_fewer_threads_than_wanted_are_enough(start: Callable[..., Server]) -> None:
    """The kernel's limit does not bind root, so the workers are nobody's."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to be somebody else")
    account = pwd.getpwnam("nobody")
    server = Server(instance("threads 200 400;"), main="user nobody nogroup;")
    conf = server.dir / "nginx.conf"
    conf.write_text(conf.read_text().replace("user root;", ""))
    for directory in (server.dir, Path(tempfile.gettempdir())):
        directory.chmod(directory.stat().st_mode | 0o111)
    taken = sum(count_threads(pid) for pid in processes_of(account.pw_uid))
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (taken + 20, hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
    try:
        told = server.wait_log(r"\[error\].*gives this process (\d+) of 200 threads: raise the limit")
        assert 1 <= int(told[1]) < 20
        assert [Asking(server, "def run(_): return 'fine'").answer().text for _ in range(5)] == ["fine"] * 5
    finally:
        server.close()


def processes_of(uid: int) -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if path.exists() and path.stat().st_uid == uid]


def count_threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").glob("*")))
