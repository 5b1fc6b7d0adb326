"""Models in a process: kept once, called in batches, let go when idle or when memory is short."""

import http.client
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from asking import Asking, leave, wait_text
from gate import PAUSE, Gate
from harness import PRELOAD, Server, gives_memory_back, has_gil, wait_until

CONF = """
owt_instance default { threads 4; }
server { listen 127.0.0.1:{port}; location / { owt; } location /brief { owt; owt_timeout 100ms; } }
"""

MB = 1 << 20
#: The "weights" of the adaptors here.
SIZE = 60 * MB

PID = "import os\ndef run(_): return os.getpid()\n"
WEIGHTS = f"weights = bytearray({SIZE})\ndef run(_): return len(weights)\n"
KEPT = f"from owt import keep\ndef run(_): return id(keep('weights', lambda: bytearray({SIZE})))\n"


def one_process(*lines: str) -> str:
    """A server whose process is as these lines say."""
    return (
        f"owt_instance default {{ {' '.join(lines)} }}\nserver {{ listen 127.0.0.1:{{port}}; location / {{ owt; }} }}\n"
    )


def rss(pid: int) -> int:
    """Resident memory, in bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def pid_of(server: Server) -> int:
    return int(server.run(PID).text)


# ---- keep


def test_a_kept_thing_is_there_once_whoever_asks(start: Callable[..., Server]) -> None:
    server = start(one_process())
    pid = pid_of(server)
    before = rss(pid)
    first = server.run(KEPT)
    assert first.status_code == 200
    assert server.run(KEPT + "# another adaptor\n").text == first.text
    later = KEPT.replace("def run", "async def run")
    assert server.run(later).text == first.text
    if not PRELOAD:
        assert SIZE * 0.9 < rss(pid) - before < SIZE * 1.5


def test_a_load_that_fails_is_told_and_tried_again(server: Server, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\nfrom owt import keep\n"
        "def run(_, file): return keep('file ' + file, lambda: Path(file).read_text())\n"
    )
    file = tmp_path / "weights"
    assert "FileNotFoundError" in server.run(code, file=str(file)).text
    file.write_text("loaded")
    assert server.run(code, file=str(file)).text == "loaded"


def test_a_load_goes_on_when_its_client_leaves(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = (
        "from owt import keep\n"
        "def load(gate):\n    pause(gate)\n    return 'loaded once'\n"
        "def run(_, gate, name): return keep(name, lambda: load(gate))\n" + PAUSE
    )
    first = Asking(server, code, gate=str(gate), name="slow")
    gate.wait_reached()
    second = Asking(server, code, gate=str(tmp_path / "nobody"), name="slow")
    leave(server, first)
    gate.open()
    assert second.answer().text == "loaded once"


def test_who_waits_for_a_load_may_leave(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = (
        "from owt import keep\nimport pathlib\n"
        "def load(gate):\n    pause(gate)\n    return 'loaded'\n"
        "def run(_, gate, file):\n"
        "    pathlib.Path(file).write_text('asks')\n"
        "    try:\n        return keep('waited for', lambda: load(gate))\n"
        "    finally:\n        pathlib.Path(file).write_text('left')\n" + PAUSE
    )
    first = Asking(server, code, gate=str(gate), file=str(tmp_path / "first"))
    gate.wait_reached()
    second = Asking(server, code, gate=str(gate), file=str(tmp_path / "second"))
    wait_until(lambda: wait_text(tmp_path / "second") == "asks", "the second call")
    leave(server, second)
    wait_until(lambda: wait_text(tmp_path / "second") == "left", "its end")
    gate.open()
    assert first.answer().text == "loaded"


@gives_memory_back
def test_an_idle_thing_goes_and_its_memory(start: Callable[..., Server]) -> None:
    server = start(one_process())
    code = f"from owt import keep\ndef run(_): keep('weights', lambda: [bytearray({SIZE})], idle=0.2)\n"
    pid = pid_of(server)
    before = rss(pid)
    server.run(code)
    server.wait_log(r"\[info\].*dropped as idle: keep\('weights'\)")
    assert rss(pid) - before < SIZE / 2


def test_what_is_kept_for_ever_keeps_nothing_else(server: Server) -> None:
    code = "from owt import keep\ndef run(_, name, idle: float): return keep(name, lambda: name, idle=idle)\n"
    assert server.run(code, name="for ever", idle="inf").text == "for ever"
    assert server.run(code, name="long", idle="1e12").text == "long"
    assert server.run(code, name="short", idle="0.05").text == "short"
    server.wait_log(r"dropped as idle: keep\('short'\)")


def test_what_a_stream_has_asked_for_stays(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(one_process())
    gate = Gate(tmp_path)
    code = (
        "from owt import keep\n"
        "def run(_, gate, name):\n"
        "    weights = keep(name, lambda: [1], idle=0.05)\n"
        "    yield 'begun,'\n    pause(gate)\n    yield str(keep(name, lambda: [2]) is weights)\n" + PAUSE
    )
    stream = Asking(server, code, gate=str(gate), name="used")
    gate.wait_reached()
    server.run("from owt import keep\ndef run(_): keep('not used', lambda: 1, idle=0.2)\n")
    server.wait_log(r"dropped as idle: keep\('not used'\)")
    gate.open()
    assert stream.answer().text == "begun,True"
    assert "keep('used')" not in "\n".join(line for line in server.error_log.splitlines() if "dropped" in line)


USES = {
    "a failure": "def run(_):\n    get()\n    1 / 0",
    "Flask": "from flask import abort\ndef run(_):\n    get()\n    abort(404)",
    "a stream": "def run(_):\n    yield get()",
    "async": "async def run(_):\n    return get()",
    "async, a failure": "async def run(_):\n    get()\n    1 / 0",
    "async, a stream": "async def run(_):\n    yield get()",
    "asyncio's threads": "import asyncio\nasync def run(_):\n    return await asyncio.to_thread(get)",
    "a pool": (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def run(_):\n    with ThreadPoolExecutor(1) as pool:\n        return pool.submit(get).result()"
    ),
    "a batch": "from owt import batch\n@batch(max_wait=0)\ndef run(requests): return [get() for _ in requests]",
    "async, a batch": (
        "from owt import batch\n@batch(max_wait=0)\nasync def run(requests): return [get() for _ in requests]"
    ),
    "a producer": "from owt.lib import stream\ndef run(_): return stream.produced(lambda put: put(get()))",
}


@pytest.mark.parametrize("use", USES)
def test_a_use_ends_with_its_call_without_a_collection(server: Server, use: str) -> None:
    before = len(server.error_log)
    code = f"import gc\nfrom owt import keep\ngc.disable()\ndef get(): return keep({use!r}, lambda: 'it', idle=0.05)\n"
    server.run(code + USES[use])
    server.wait_log(f"dropped as idle: .*{re.escape(repr(use))}", after=before)


# ---- endpoints


@gives_memory_back
@pytest.mark.parametrize("line", ["endpoints 2;", "max_rss 160m;"])
def test_ten_edits_of_an_adaptor_do_not_take_ten_times_its_memory(start: Callable[..., Server], line: str) -> None:
    server = start(one_process(line))
    pid = pid_of(server)
    before = most = rss(pid)
    for edit in range(10):
        assert server.run(f"{WEIGHTS}# edit {edit}\n").text == str(SIZE)
        most = max(most, rss(pid))
        if line.startswith("max_rss") and most > 160 * MB:
            wait_until(lambda: rss(pid) < 160 * MB, "memory to be let go")
    assert most - before < 3 * SIZE + 10 * MB
    assert pid_of(server) == pid


def test_an_endpoint_that_runs_is_not_dropped(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(one_process("endpoints 1;"))
    kinds = {
        "stream": "def run(_, gate):\n    yield 'begun,'\n    pause(gate)\n    yield str(len(loads))\n" + PAUSE,
        "plain": "def run(_, gate):\n    pause(gate)\n    return str(len(loads))\n" + PAUSE,
        "async": (
            "import asyncio, pathlib\nasync def run(_, gate):\n    pathlib.Path(gate + '.reached').touch()\n"
            "    while not pathlib.Path(gate).exists():\n        await asyncio.sleep(0.002)\n    return str(len(loads))\n"
        ),
        "thread": (
            "import threading\n"
            "def run(_, gate):\n"
            "    thread = threading.Thread(target=pause, args=(gate,))\n    thread.start()\n    return 'left alone'\n"
            + PAUSE
        ),
    }
    if not has_gil():
        del kinds["thread"]  # nobody sees what others run there
    for kind, code in kinds.items():
        gate = Gate(tmp_path, kind)
        file = tmp_path / f"{kind}.loads"
        code = f"loads = [open({str(file)!r}, 'a').write('x')]\n{code}"
        call = Asking(server, code, gate=str(gate))
        gate.wait_reached()
        for other in range(3):
            assert server.run(f"def run(_): return {other}").text == str(other)
        open_gate = tmp_path / f"{kind} open"
        open_gate.touch()
        again = Asking(server, code, gate=str(open_gate))
        assert again.answer().status == 200
        gate.open()
        assert call.answer().status == 200
        assert file.read_text() == "x", f"{kind}: loaded anew"


@gives_memory_back
def test_idle_endpoints_go_and_with_the_last_one_the_process(start: Callable[..., Server]) -> None:
    server = start(one_process("idle 500ms;"))
    pid = pid_of(server)
    server.run(WEIGHTS)
    server.wait_log(r"\[info\].*dropped as idle: \d endpoint")
    server.wait_log(r"\[notice\].*is to be replaced: it has been idle, and nothing is loaded in it any more")
    wait_until(lambda: pid not in server.workers(), "the process to leave")
    wait_until(server.workers, "another one")
    blank = pid_of(server)
    assert blank != pid
    assert "[error]" not in server.error_log


def test_a_call_keeps_its_endpoint_and_the_process(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(one_process("idle 100ms;"))
    gate = Gate(tmp_path)
    call = Asking(server, f"def run(_, gate):\n    pause(gate)\n    return 'done'\n{PAUSE}", gate=str(gate))
    gate.wait_reached()
    server.run("def run(_): return 1")
    server.wait_log(r"dropped as idle: 1 endpoint")
    gate.open()
    assert call.answer().text == "done"


def test_what_is_called_stays_though_others_go(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(one_process("idle 400ms;"))
    file = tmp_path / "loads"
    code = f"open({str(file)!r}, 'a').write('x')\ndef run(_): return 1\n"
    server.run("def run(_): return 2")
    wait_until(lambda: server.run(code).status_code == 200 and "dropped as idle" in server.error_log, "the other to go")
    server.run(code)
    assert file.read_text() == "x"


@gives_memory_back
def test_short_memory_costs_what_is_idle_before_it_costs_the_process(start: Callable[..., Server]) -> None:
    server = start(one_process("max_rss 200m;"))
    pid = pid_of(server)
    keeping = f"from owt import keep\ndef run(_, name): return len(keep(name, lambda: bytearray({SIZE})))\n"
    for name in range(3):
        server.run(keeping, name=str(name))
    server.wait_log(r"\[notice\].*memory was short, \d+ MiB: dropped .* that were idle")
    assert rss(pid) < 200 * MB
    assert pid_of(server) == pid
    hoard = f"import sys\ndef run(_): sys.hoard = bytearray({250 * MB})\n"
    server.run(hoard)
    server.wait_log(r"\[notice\].*is to be replaced: max_rss is exceeded")
    wait_until(lambda: pid not in server.workers(), "the process to leave")


@gives_memory_back
def test_a_machine_short_of_memory_costs_what_is_idle(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 200000 kB\n")
    server = start(one_process(), main="env OWT_ROOT;", hooks=True, env={"OWT_ROOT": str(tmp_path)})
    pid = pid_of(server)
    gate = Gate(tmp_path)
    used = Asking(
        server,
        f"def run(_, gate):\n    pause(gate)\n    return len(weights)\n{PAUSE}weights = bytearray({SIZE})",
        gate=str(gate),
    )
    gate.wait_reached()
    for edit in range(2):
        server.run(f"{WEIGHTS}# {edit}\n")
    server.wait_log(r"\[notice\].*memory was short, \d+ MiB: dropped \d endpoints")
    assert rss(pid) < 160 * MB
    gate.open()
    assert used.answer().text == str(SIZE)
    assert pid_of(server) == pid


def test_index_is_the_number_of_the_process(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text(
        f"import os, pathlib\npathlib.Path({str(tmp_path)!r}, os.environ['GPU']).write_text(os.environ['ALL'])\n"
    )
    start(
        f"owt_instance model {{ processes 3; env GPU=cuda$index ALL=$index,$index; python_path {tmp_path}; preload told; }}\n"
        "server { listen 127.0.0.1:{port}; owt_instance model; location / { owt; } }"
    )
    for number in range(3):
        assert wait_text(tmp_path / f"cuda{number}") == f"{number},{number}"


# ---- batch

BATCHED = """
from owt import batch

sizes = []

@batch(max_size=8, max_wait={wait})
{kind}def predict(xs: list[int]):
    sizes.append(len(xs))
    return [x * x for x in xs]

def seen(_):
    return sizes
"""


@contextmanager
def clients(server: Server, count: int) -> Iterator[Callable[..., list[str]]]:
    """So many at a time, each with its connection: asks with each of these fields, and gives the answers."""

    def ask(body: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        yield lambda code, **fields: list(
            pool.map(ask, [json.dumps({"code": code, **fields, "x": x}) for x in range(count)])
        )


@pytest.mark.parametrize(
    "run",
    [
        "run = batch(predict, max_size=4, max_wait=20)",
        "run = batch(max_size=4, max_wait=20)(predict)",
        "class Model:\n    predict = batch(lambda self, x: predict(x), 4, 20)\n"
        "model = Model()\ndef run(_, x): return model.predict(int(x))",
        "import asyncio\n@batch(max_size=4, max_wait=20)\nasync def later(xs): return predict(xs)\n"
        "async def main(x): return await later(x)\n"
        "def run(_, x: int): return asyncio.run(main(x))",
    ],
)
def test_the_ways_to_write_a_batch(server: Server, run: str) -> None:
    code = f"from owt import batch\ndef predict(x: list[int]): return [n * n + 100 * len(x) for n in x]\n{run}\n"
    with clients(server, 4) as ask:
        assert ask(code) == ["400", "401", "404", "409"]


@pytest.mark.parametrize("kind", ["", "async "])
@pytest.mark.parametrize(
    "run",
    [
        "run = predict",
        "def run(_, x: int): return predict(x)",
        "async def run(_, x: int): return await predict(x)",
    ],
)
def test_calls_become_batches(server: Server, kind: str, run: str) -> None:
    count = 4 if run.startswith("def") else 16  # as many as there are threads
    code = BATCHED.format(kind=kind, wait=5).replace("max_size=8", f"max_size={count}") + run.replace("x: int", "x")
    if run == "run = predict":
        code = (
            code.replace("xs: list[int]", "x: list[int]")
            .replace("xs", "x")
            .replace("[x * x for x in x]", "[n * n for n in x]")
        )
    server.run(code, fn_name="seen")
    with clients(server, count) as ask:
        answers = ask(code)
    assert answers == [str(n * n) for n in range(count)]
    assert server.run(code, fn_name="seen").json() == [count]


def test_a_batched_endpoint_holds_no_thread(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(one_process("threads 1;"))
    gate = Gate(tmp_path)
    code = (
        "from owt import batch\n"
        "@batch(max_size=20, max_wait=0)\n"
        "def run(requests, gate):\n    pause(gate[0])\n    return [len(gate)] * len(gate)\n" + PAUSE
    )
    calls = [Asking(server, code, gate=str(gate))]
    gate.wait_reached()
    calls += [Asking(server, code, gate=str(gate)) for _ in range(10)]
    assert server.run("def run(_): return 'the only thread is free'").text == "the only thread is free"
    gate.open()
    assert {call.answer().status for call in calls} == {200}


def test_a_client_that_leaves_is_left_out(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = (
        "from owt import batch\nseen = []\n"
        "@batch(max_size=8, max_wait=0)\n"
        "def run(gate, n):\n    seen.append(n)\n    pause(gate[0])\n    return n\n"
        "def what(_): return seen\n" + PAUSE
    )
    first = Asking(server, code, gate=str(gate), n=1)
    gate.wait_reached()
    second = Asking(server, code, gate=str(gate), n=2)
    leave(server, second)
    third = Asking(server, code, gate=str(gate), n=3)
    gate.open()
    assert [call.answer().text for call in (first, third)] == ["1", "3"]
    assert 2 not in [n for batch in server.run(code, fn_name="what").json() for n in batch]


def test_errors_of_a_batch_and_of_one_item(server: Server) -> None:
    code = (
        "from owt import batch\nfrom flask import abort\n"
        "def one(x):\n"
        "    if x == 1: return ValueError('not one')\n"
        "    return x\n"
        "@batch(max_size=2, max_wait=5)\n"
        "def run(x): return [one(n) for n in x]\n"
        "@batch(max_wait=0)\n"
        "def all(x): raise RuntimeError('the whole batch')\n"
        "@batch(max_wait=0)\n"
        "def less(x): return []\n"
        "@batch(max_wait=0)\n"
        "def stream(x): return [(c for c in 'abc') for _ in x]\n"
    ).replace("from flask import abort\n", "")
    with clients(server, 2) as ask:
        fine, wrong = ask(code)
    assert fine == "0"
    assert "ValueError: not one" in wrong
    assert "RuntimeError: the whole batch" in server.run(code, fn_name="all", x=1).text
    assert "less is batched, and returned 0 results for 1 item: " in server.run(code, fn_name="less", x=1).text
    assert "what is batched does not stream" in server.run(code, fn_name="stream", x=1).text


def test_a_batch_in_time_or_a_504(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = (
        "from owt import batch\n@batch(max_wait=0)\ndef run(gate):\n    pause(gate[0])\n    return ['late']\n" + PAUSE
    )
    assert server.run(code, path="/brief", gate=str(gate)).status_code == 504
    gate.open()


# ---- produced


def test_a_producer_ends_when_the_client_goes(server: Server, tmp_path: Path) -> None:
    for kind in (
        "def run(_, file): return stream.produced(lambda put: generate(put, file))",
        "def run(_, file):\n    for word in stream.produced(lambda put: generate(put, file)):\n        yield word",
        "async def run(_, file):\n"
        "    async for word in stream.produced(lambda put: generate(put, file)):\n        yield word",
    ):
        code = (
            "import pathlib, owt\nfrom owt.lib import stream\n"
            "def generate(put, file):\n"
            "    try:\n        while True:\n            put('word ')\n"
            "    except owt.Cancelled:\n        pathlib.Path(file).write_text('stopped')\n        raise\n" + kind
        )
        file = tmp_path / f"end{len(kind)}"
        call = Asking(server, code, file=str(file))
        assert call.read(5) == b"word "
        call.leave()
        assert wait_text(file) == "stopped"


def test_what_ends_a_thread_is_logged_with_its_calls_number(server: Server) -> None:
    code = (
        "import threading\n"
        "def work(): raise ValueError('on its own')\n"
        "def run(_):\n    threading.Thread(target=work, name='helper').start()\n    print('started it')\n"
    )
    server.run(code)
    number = server.wait_log(r"\*(\d+) .*started it")[1]
    server.wait_log(rf"\[error\].*\*{number} owt: Exception in thread helper:")
    server.wait_log(rf"\[error\].*\*{number} owt: ValueError: on its own")


def test_what_a_producer_prints_and_raises_is_its_calls(server: Server) -> None:
    code = (
        "from owt.lib import stream\n"
        "def generate(put):\n    print('from the producer')\n    put('begun')\n    raise ValueError('side thread')\n"
        "def run(_): return stream.produced(generate)\n"
    )
    call = Asking(server, code)
    answer = call.answer()
    assert answer.text == "begun"
    assert not answer.whole
    number = server.wait_log(r"\*(\d+) .*from the producer")[1]
    server.wait_log(rf"\*{number} .*ValueError: side thread")
