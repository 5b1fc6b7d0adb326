"""Loading an endpoint: who waits for it, who leaves meanwhile, and what its top level may do."""

import hashlib
import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asking import Asking, leave, wait_access, wait_text
from gate import PAUSE, STUCK, Fifo, Gate
from harness import Server, child_has_threads, title, wait_until

CONF = """
client_max_body_size 32m;
owt_instance default { threads 4; grace 30s; }
server { listen 127.0.0.1:{port}; location / { owt; } }
"""

SERVER = """
owt_instance default {{ {} }}
server { listen 127.0.0.1:{port}; location / { owt; } location /brief { owt; owt_timeout 100ms; } }
"""

PID = "import os\ndef run(_): return os.getpid()\n"

# Loads until its gate is open.
SLOW = f"""{PAUSE}
with open(GATE + ".loads", "a") as log:
    log.write("load\\n")
pause(GATE)
def run(_, name="warm"): return name
def ends_in_c(_, fifo): return stuck(fifo)
{STUCK}"""

# Runs on the event loop, and ends when its gate is open, whoever has left.
DEAF = """
import asyncio, pathlib
async def run(_, gate):
    pathlib.Path(gate + ".reached").touch()
    while not pathlib.Path(gate).exists():
        try:
            await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            pass
    return "done"
"""


def conf(*lines: str) -> str:
    return SERVER.replace("{{ {} }}", "{ " + " ".join(lines) + " }")


def slow(gate: Gate) -> str:
    return SLOW.replace("GATE", repr(str(gate)))


def loads(gate: Gate) -> int:
    return Path(f"{gate}.loads").read_text().count("load")


class Grace:
    """Sees a grace pass that begins now: a call that is cancelled after another is overdue after it, too."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._server, self._directory = server, directory
        opened = Gate(directory, "opened")
        opened.open()
        assert Asking(server, DEAF, gate=str(opened)).answer().text == "done"

    def wait(self) -> None:
        gate = Gate(self._directory, f"grace-{len(self._server.error_log)}")
        asked = Asking(self._server, DEAF, gate=str(gate))
        gate.wait_reached()
        offset = len(self._server.error_log)
        asked.leave()
        self._server.wait_log("did not end within", after=offset)
        gate.open()


# ---- a load that takes longer than its clients wait -------------------------------------------------------------------


def test_a_load_is_not_lost_though_its_client_leaves(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 1;", "grace 100ms;"))
    worker = int(Asking(server, PID).answer().text)
    grace = Grace(server, tmp_path)
    gate = Gate(tmp_path)
    first = Asking(server, slow(gate))
    gate.wait_reached()
    leave(server, first)
    grace.wait()
    second = Asking(server, slow(gate))
    leave(server, second)
    third = Asking(server, slow(gate))
    grace.wait()
    gate.open()
    assert third.answer().text == "warm"
    assert loads(gate) == 1
    assert "written off" not in server.error_log
    assert int(Asking(server, PID).answer().text) == worker


def test_a_load_goes_on_after_owt_timeout(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 1;", "grace 100ms;"))
    grace = Grace(server, tmp_path)
    gate = Gate(tmp_path)
    answer = Asking(server, slow(gate), "/brief").answer()
    assert (answer.status, "Loading goes on" in answer.text) == (504, True)
    grace.wait()
    gate.open()
    assert Asking(server, slow(gate)).answer().text == "warm"
    assert loads(gate) == 1
    assert "written off" not in server.error_log


def test_who_waits_for_a_load_gets_a_504_that_says_so(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 2;", "grace 100ms;"))
    gate = Gate(tmp_path)
    first = Asking(server, slow(gate))
    gate.wait_reached()
    assert "Loading goes on" in Asking(server, slow(gate), "/brief").answer().text
    gate.open()
    assert first.answer().text == "warm"


def test_a_call_that_is_stuck_after_its_load_is_written_off(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 2;", "grace 100ms;"))
    gate, fifo = Gate(tmp_path), Fifo(tmp_path)
    asked = Asking(server, slow(gate), fn_name="ends_in_c", fifo=str(fifo))
    gate.wait_reached()
    gate.open()
    fifo.wait_reached()
    asked.leave()
    server.wait_log("written off")


def test_a_load_within_a_call_is_let_alone_too(start: Callable[..., Server], tmp_path: Path) -> None:
    """And the call learns of its end after that."""
    server = start(conf("threads 2;", "grace 200ms;"))
    grace = Grace(server, tmp_path)
    gate = Gate(tmp_path)
    code = slow(gate)
    keep = Asking(server, code)
    gate.wait_reached()
    name = "owt.endpoint.sha256_" + hashlib.sha256(code.encode()).hexdigest()
    importing = f"""
import importlib, pathlib, owt, sys, time, traceback
def run(_, file, name="{name}"):
    try:
        pathlib.Path(file + ".begun").touch()
        importlib.import_module(name)
        while True: time.sleep(0.001)
    except owt.Cancelled as error:
        places = {{frame.name for frame in traceback.extract_tb(error.__traceback__)}}
        pathlib.Path(file).write_text(f"{{hasattr(sys.modules[name], 'run')}} {{places}}")
"""
    asked = Asking(server, importing, file=str(tmp_path / "end"))
    wait_until((tmp_path / "end.begun").exists, "the call")
    leave(server, asked)
    grace.wait()
    gate.open()
    assert wait_text(tmp_path / "end") == "True {'run'}"
    assert keep.answer().text == "warm"
    assert "written off" not in server.error_log


# ---- who waits for a load ---------------------------------------------------------------------------------------------


def test_who_waits_for_a_load_holds_no_thread(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 2;"))
    gate = Gate(tmp_path)
    code = slow(gate)
    first = Asking(server, code, name="first")
    gate.wait_reached()
    waiting = [Asking(server, code, name=f"n{i}") for i in range(5)]
    assert Asking(server, PID).answer().status == 200
    gate.open()
    assert first.answer().text == "first"
    assert [asked.answer().text for asked in waiting] == [f"n{i}" for i in range(5)]
    assert loads(gate) == 1


def test_a_form_is_not_read_again_by_who_waited(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 2;"))
    gate = Gate(tmp_path)
    code = slow(gate).replace('name="warm"): return name', "file): return file.read()")
    (tmp_path / "code.py").write_text(code)
    (tmp_path / "file").write_text("content")
    arguments = ["-F", f"code=<{tmp_path}/code.py", "-F", f"file=@{tmp_path}/file"]
    with ThreadPoolExecutor() as threads:
        answers = [threads.submit(server.curl, "/", *arguments) for _ in range(3)]
        gate.wait_reached()
        assert Asking(server, PID).answer().status == 200
        gate.open()
        assert [answer.result().stdout for answer in answers] == ["content"] * 3


def test_more_than_threads_and_queue_do_not_wait(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 2;", "queue 2;"))
    gate = Gate(tmp_path)
    code = slow(gate)
    asked = [Asking(server, code)]
    gate.wait_reached()
    for _ in range(2 + 2):
        asked.append(Asking(server, code))
        assert Asking(server, PID).answer().status == 200  # so the one before has been put aside
    refused = Asking(server, code).answer()
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert "being loaded" in refused.text
    gate.open()
    assert [one.answer().text for one in asked] == ["warm"] * 5


def test_who_leaves_while_waiting_makes_room(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 2;", "queue 2;"))
    gate = Gate(tmp_path)
    code = slow(gate)
    first = Asking(server, code)
    gate.wait_reached()
    for _ in range(4):
        waiting = Asking(server, code)
        assert Asking(server, PID).answer().status == 200
        leave(server, waiting)
    last = Asking(server, code)
    assert Asking(server, PID).answer().status == 200
    gate.open()
    assert (first.answer().text, last.answer().text) == ("warm", "warm")


@pytest.mark.parametrize("end", ["leaves", "load ends", "both"])
def test_what_happens_while_a_call_is_put_aside(start: Callable[..., Server], tmp_path: Path, end: str) -> None:
    server = start(conf("threads 2;"), hooks=True)
    gate = Gate(tmp_path)
    code = slow(gate)
    first = Asking(server, code)
    gate.wait_reached()
    with server.hold("ran") as hold:
        waiting = Asking(server, code, "/waiting")
        hold.wait_reached()
        if end != "load ends":
            leave(server, waiting)
        if end != "leaves":
            gate.open()
            assert first.answer().text == "warm"
    if end == "load ends":
        assert waiting.answer().text == "warm"
    assert [Asking(server, PID).answer().status for _ in range(3)] == [200] * 3
    gate.open()
    if end == "leaves":
        assert first.answer().text == "warm"
    assert Asking(server, code).answer().text == "warm"
    server.signal("quit")


def test_a_load_that_fails_is_tried_by_the_next_who_waits(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 2;"))
    gate = Gate(tmp_path)
    fails = f"import pathlib\nif len(open({str(gate)!r} + '.loads').read().split()) < 3: raise OSError('not yet')\n"
    code = slow(gate).replace("def run", fails + "def run", 1)
    asked = [Asking(server, code)]
    gate.wait_reached()
    for _ in range(3):
        asked.append(Asking(server, code))
        assert Asking(server, PID).answer().status == 200
    gate.open()
    answers = [one.answer() for one in asked]
    assert sorted(answer.status for answer in answers) == [200, 200, 500, 500]
    assert loads(gate) == 3


def test_quit_and_stop_do_not_wait_for_a_load(start: Callable[..., Server], tmp_path: Path) -> None:
    for name in "quit", "stop":
        server = start(conf("threads 2;"))
        gate = Gate(tmp_path, name)
        asked = [Asking(server, slow(gate))]
        gate.wait_reached()
        asked.append(Asking(server, slow(gate)))
        if name == "quit":
            for one in asked:
                leave(server, one)
        os.kill(server.master, signal.SIGQUIT if name == "quit" else signal.SIGTERM)
        server.wait_exit(10)


# ---- what the top level may do ----------------------------------------------------------------------------------------


POOLS = {
    "Pool": "import multiprocessing\nwith multiprocessing.Pool(2) as pool:\n    table = pool.map(square, range(4))\n",
    "ProcessPoolExecutor": "from concurrent.futures import ProcessPoolExecutor\n"
    "with ProcessPoolExecutor(2) as pool:\n    table = list(pool.map(square, range(4)))\n",
    "context": "import multiprocessing\nwith multiprocessing.get_context('METHOD').Pool(2) as pool:\n"
    "    table = pool.map(square, range(4))\n",
    "executor": "import multiprocessing\nfrom concurrent.futures import ProcessPoolExecutor\n"
    "with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context('METHOD')) as pool:\n"
    "    table = list(pool.map(square, range(4)))\n",
    "process": "import multiprocessing\ncontext = multiprocessing.get_context('METHOD')\n"
    "results = context.SimpleQueue()\ndef put(queue):\n    for n in range(4): queue.put(square(n))\n"
    "child = context.Process(target=put, args=(results,))\nchild.start()\n"
    "table = [results.get() for _ in range(4)]\nchild.join()\n",
    "threads": "import pickle\nfrom concurrent.futures import ThreadPoolExecutor\nclass Item: n = 3\n"
    "with ThreadPoolExecutor(2) as pool:\n"
    "    table = [0, 1, *pool.map(lambda n: n + pickle.loads(pickle.dumps(Item())).n, (1, 6))]\n",
    "thread": "import pickle, threading\ntable = []\ndef work():\n"
    "    table.extend(map(pickle.loads(pickle.dumps(square)), range(4)))\n"
    "thread = threading.Thread(target=work)\nthread.start()\nthread.join()\n",
}
FORK = pytest.param("fork", marks=child_has_threads)
METHODS = [
    *(pytest.param(pool, "", marks=child_has_threads) for pool in ("Pool", "ProcessPoolExecutor")),
    *(("threads", ""), ("thread", "")),
    *(
        pytest.param(pool, method, marks=[child_has_threads] if method == "fork" else [])
        for pool in ("context", "executor", "process")
        for method in ("fork", "spawn", "forkserver")
    ),
]


@pytest.mark.parametrize(("pool", "method"), METHODS)
def test_pools_at_the_top_level(server: Server, pool: str, method: str) -> None:
    """They pickle by name what has been defined so far; children that have to run the source begin no pools."""
    code = f"# {pool}\ndef square(n):\n    return n * n\n{POOLS[pool].replace('METHOD', method)}"
    code += "def run(_):\n    return table\n"
    answer = Asking(server, code).answer()
    assert (answer.status, answer.text) == (200, "[0,1,4,9]\n")


@child_has_threads
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_in_a_call_whose_top_level_has_one(server: Server, method: str) -> None:
    code = f"def square(n):\n    return n * n\n{POOLS['Pool']}"
    code += """
def run(_, method):
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        return table + list(pool.map(square, range(4)))
"""
    assert Asking(server, code, method=method).answer().text == "[0,1,4,9,0,1,4,9]\n"


TOP_LEVELS = {
    "dataclass": "from __future__ import annotations\nfrom dataclasses import dataclass, field\n"
    "from typing import ClassVar\n@dataclass\nclass C:\n    a: int = 1\n    b: ClassVar[int] = 2\n"
    "def run(_): return len(C.__dataclass_fields__) == 2 and C().a\n",
    "type hints": "import typing\nclass A: pass\nclass B:\n    a: 'A'\nhints = typing.get_type_hints(B)\n"
    "def run(_): return hints['a'] is A and 1\n",
    "itself": "import sys, importlib\nme = sys.modules[__name__]\nassert importlib.import_module(__name__) is me\n"
    "import pickle\nclass A: pass\nassert type(pickle.loads(pickle.dumps(A()))) is A\ndef run(_): return 1\n",
    "threads that import": "from concurrent.futures import ThreadPoolExecutor\nimport importlib\n"
    "with ThreadPoolExecutor() as pool:\n    done = list(pool.map(importlib.import_module, "
    "['wave', 'sched', 'cmd', 'this', __name__]))\ndef run(_): return len(done) - 4\n",
    "main": "n = 0\nif __name__ == '__main__':\n    n = 5\ndef run(_): return n + 1\n",
    "pickle in a call": "import pickle\ndef f(): return 1\ndef run(_): return pickle.loads(pickle.dumps(f))()\n",
    "reload": "import importlib, sys\nn = globals().get('n', -1) + 1\ndef run(_):\n"
    "    importlib.reload(sys.modules[__name__])\n    return n\n",
    "a module in its place": "import sys, types\nother = types.ModuleType('other')\nother.value = 1\n"
    "sys.modules['other_for_loads'] = other\nimport other_for_loads\ndef run(_): return other_for_loads.value\n",
    "a fork": "import os, sys\npid = os.fork()\nif pid == 0:\n    os._exit(7)\n"
    "status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\ndef run(_): return status - 6\n",
}


@pytest.mark.parametrize("name", TOP_LEVELS)
def test_top_levels(server: Server, name: str) -> None:
    answer = Asking(server, f"{TOP_LEVELS[name]}").answer()
    assert (answer.status, answer.text) == (200, "1")


def test_a_reloaded_endpoint_runs_its_new_functions(server: Server) -> None:
    code = TOP_LEVELS["reload"] + "# once more\n"
    assert [Asking(server, code).answer().text for _ in range(3)] == ["1", "2", "3"]


def name_of(code: str) -> str:
    return "owt.endpoint.sha256_" + hashlib.sha256(code.encode()).hexdigest()


def test_an_endpoint_imports_another(server: Server, tmp_path: Path) -> None:
    """Once that is loaded, and whoever loads it."""
    gate = Gate(tmp_path)
    helper = slow(gate) + "value = 5\n"
    importing = f"from {name_of(helper)} import value\ndef run(_): return value\n"
    first = Asking(server, helper)
    gate.wait_reached()
    second = Asking(server, importing)  # waits for it on its own thread, as an import does
    third = Asking(server, "def run(_): return 'not held up'")
    assert third.answer().text == "not held up"
    assert not second.answered
    gate.open()
    assert (first.answer().text, second.answer().text) == ("warm", "5")
    again = f"import {name_of(helper)} as helper\ndef run(_): return helper.value + 1\n"
    assert Asking(server, again).answer().text == "6"
    assert loads(gate) == 1


def test_an_endpoint_that_is_imported_first_is_called_then(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 4;"))
    gate = Gate(tmp_path)
    helper = slow(gate)
    assert Asking(server, "def run(_): pass").answer().status == 200
    sent = Asking(server, helper.replace("pause(GATE)", ""), "/unknown")  # only stores a file
    gate.wait_reached()
    sent.leave()
    importing = f"import {name_of(helper)} as helper\ndef run(_): return helper.run(None)\n"
    first, second = Asking(server, importing), Asking(server, helper)
    assert Asking(server, PID).answer().status == 200
    gate.open()
    assert (first.answer().text, second.answer().text) == ("warm", "warm")
    assert loads(gate) == 1


# ---- the end of processes that it started -----------------------------------------------------------------------------


CHILDREN = """
import multiprocessing, os, time
def pid(n):
    time.sleep(0.01)
    return os.getpid()
pool = None
def run(_, method):
    global pool
    pool = multiprocessing.get_context(method).Pool(2)
    return sorted(set(pool.map(pid, range(20), 1)))
"""


@pytest.mark.parametrize("method", [FORK, "spawn", "forkserver"])
@pytest.mark.parametrize("how", ["killed", "replaced", "crashed"])
def test_children_end_with_the_worker(start: Callable[..., Server], method: str, how: str) -> None:
    server = start(conf("threads 2;"))
    pids = json.loads(Asking(server, CHILDREN, method=method).answer().body)
    assert pids
    assert all(title(pid) for pid in pids)
    worker = int(Asking(server, PID).answer().text)
    if how == "killed":
        server.expect(rf"\[alert\].*worker process {worker} exited on signal 9")
        os.kill(worker, signal.SIGKILL)
    elif how == "crashed":
        Asking(server, "import os\ndef run(_): os._exit(3)").answer_or_none()
    else:
        server.signal("reload")
    wait_until(lambda: not any(title(pid) for pid in pids), "the children's end")


@child_has_threads
def test_children_end_with_a_worker_that_loads(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(conf("threads 2;"))
    gate = Gate(tmp_path)
    code = f"{CHILDREN}\npool = multiprocessing.Pool(2)\npids = sorted(set(pool.map(pid, range(20), 1)))\n"
    code += f"import json, pathlib\npathlib.Path({str(tmp_path / 'pids')!r}).write_text(json.dumps(pids))\n"
    asked = Asking(server, code + slow(gate))
    gate.wait_reached()
    pids = json.loads((tmp_path / "pids").read_text())
    server.signal("stop")
    asked.answer_or_none()
    wait_until(lambda: not any(title(pid) for pid in pids), "the children's end")


# ---- sources that would take too much to compile ----------------------------------------------------------------------


BOMBS = {
    "dotted name": ("import a" + ".a" * 100_000, "more than 256 parts"),
    "dotted from": ("from a" + ".a" * 5000 + " import b", "more than 256 parts"),
    "lines": ("import a" + ".\\\n a" * 5000, "more than 256 parts"),
    "parentheses": ("(" * 4_000_000, "too many nested parentheses"),
    "brackets": ("x = " + "[" * 1_000_000, ""),
    "unary": ("x = " + "-" * 1_000_000 + "1", ""),
    "attributes": ("x = a" + ".a" * 500_000, ""),
    "clauses": ("[a" + " for a in b" * 90_000 + "]", ""),
    "digits": ("x = " + "9" * 1_000_000, "Exceeds the limit"),
    "few digits": ("x = " + "9" * 10_000, "Exceeds the limit"),
    "a long line": ("x = 'a" + "b" * 2_000_000, "unterminated string"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_cannot_be_compiled_is_a_400(server: Server, name: str) -> None:
    source, part = BOMBS[name]
    worker = int(Asking(server, PID).answer().text)
    answer = Asking(server, source).answer()
    assert (answer.status, part in answer.text) == (400, True), answer.text[:1000]
    assert "is not Python" in answer.text
    assert len(answer.body) < 2000
    assert int(Asking(server, PID).answer().text) == worker


def test_large_sources_compile(server: Server) -> None:
    numbers = "[" + "1, " * 20_000 + "]"
    assert Asking(server, f"table = {numbers}\ndef run(_): return sum(table)\n").answer().text == "20000"
    assert Asking(server, f"lambda _: sum({numbers})").answer().text == "20000"
    assert Asking(server, f"const({numbers})\n.f(sum)").answer().text == "20000"
    text = "ä" * 1_000_000
    assert Asking(server, f"text = '{text}'\ndef run(_): return len(text)\n").answer().text == "1000000"
    broken = Asking(server, f"table = {numbers}\ndef run(_):\nreturn\n").answer()
    assert (broken.status, "line 3" in broken.text, "IndentationError" in broken.text) == (400, True, True)
    failing = Asking(server, f"table = {numbers}\ndef run(_):\n    return 1 / 0\n").answer()
    assert (failing.status, "line 3, in run\n    return 1 / 0" in failing.text) == (500, True)


# ---- what is left behind ----------------------------------------------------------------------------------------------


LEFT = """
import sys, linecache, inspect
def run(_):
    import owt.endpoint
    mine = __name__.rpartition("_")[2]
    places = {
        "modules": sys.modules, "lines": linecache.cache, "package": vars(owt.endpoint),
        "inspect": inspect.modulesbyfile, "files": inspect._filesbymodname,
    }
    return {
        place: [key for key in held if "sha256_" in str(key) and mine not in str(key)] for place, held in places.items()
    }
"""


def test_what_fails_leaves_nothing_behind(start: Callable[..., Server]) -> None:
    server = start(conf("threads 2;"))
    failing = [
        "1 / 0",
        "def run(:",
        "import no_such_module",
        "raise SystemExit",
        "import inspect, sys\ninspect.getsource(sys.modules[__name__])\n1 / 0",
        "import traceback\ntry: 1 / 0\nexcept ZeroDivisionError: traceback.print_exc()\nraise KeyboardInterrupt",
    ]
    for code in failing:
        assert Asking(server, code).answer().status in (400, 500)
    left = json.loads(Asking(server, LEFT).answer().body)
    assert left == {"modules": [], "lines": [], "package": [], "inspect": [], "files": []}


def test_who_left_before_the_load_ended_leaves_no_context(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = slow(gate)
    asked = Asking(server, code, "/left-before")
    gate.wait_reached()
    asked.leave()
    wait_access(server, '"POST /left-before HTTP/1.1" 499')
    gate.open()
    assert Asking(server, code).answer().text == "warm"
