"""The zone and those who wait for a result, at the worst moment: see src/call/hooks.hpp."""

import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
from asking import Asking, leave
from gate import PAUSE, Gate
from harness import Server, wait_until

ZONE = """
owt_zone results 1m;
owt_zone other 1m;
server {
    listen 127.0.0.1:{port};
    location / { owt; owt_cache results; }
    location /other { owt; owt_cache other; }
    location /brief { owt; owt_cache results; owt_timeout 200ms; }
    location /plain { return 200 plain; }
}
"""

ONE_THREAD = "owt_instance default { threads 1; queue 1; }\n" + ZONE


def fresh(source: str) -> str:
    return f"# {uuid.uuid4()}\n{source}"


ONCE = "import uuid\ndef run(_, **kwargs):\n    return uuid.uuid4().hex\n"


def cached(server: Server, source: str, path: str = "/") -> httpx.Response:
    with server.client() as client:  # who is killed closes connections
        return client.post(path, json={"code": source, "use_cache": True})


def status(answer: httpx.Response) -> str:
    return answer.headers["cache-status"]


def test_a_worker_killed_in_mid_change(start: Callable[..., Server]) -> None:
    """Whoever takes the lock next finds the flag, empties the zone and goes on; other zones keep what they have."""
    server = start(ZONE, main="worker_processes 2;", hooks=True)
    kept, elsewhere, lost = fresh(ONCE), fresh(ONCE), fresh(ONCE)
    first, other = cached(server, kept), cached(server, elsewhere, "/other")
    before = set(server.workers())
    with server.hold("zone_change") as hold:
        asked = Asking(server, lost, use_cache=True)
        hold.wait_reached()
        killed = wait_until(lambda: next((pid for pid in before if _in_hook(pid)), 0), "a worker in the hook")
        server.expect("exited on signal 9")
        server.expect('shared memory zone "results" was locked by')
        os.kill(killed, signal.SIGKILL)
        assert not asked.answer_or_none()
    server.wait_log(r'\[alert\].*zone "results" was locked by')
    wait_until(lambda: len(server.workers()) == 2 and killed not in server.workers(), "another worker")
    again = cached(server, kept)
    server.wait_log(r'\[notice\].*a process has ended while it changed the zone "results": its results are forgotten')
    assert again.text != first.text
    assert status(again) == "owt; fwd=miss; stored"
    assert cached(server, kept).text == again.text
    assert cached(server, elsewhere, "/other").text == other.text
    for i in range(50):
        big = fresh(f"def run(_): return '{i}' * 50000")
        assert [status(cached(server, big)) for _ in range(2)] == ["owt; fwd=miss; stored", "owt; hit"]
    assert "[crit]" not in server.error_log


def test_it_is_emptied_once(start: Callable[..., Server]) -> None:
    """By the next locker, also when that one is killed in its turn."""
    server = start(ZONE, main="worker_processes 1;", hooks=True)
    server.expect("exited on signal 9")
    server.expect('shared memory zone "results" was locked by')
    for _ in range(3):
        with server.hold("zone_change") as hold:
            asked = Asking(server, fresh(ONCE), use_cache=True)
            hold.wait_reached()
            (worker,) = server.workers()
            os.kill(worker, signal.SIGKILL)
            assert not asked.answer_or_none()
        wait_until(lambda worker=worker: server.workers() and worker not in server.workers(), "another worker")
    source = fresh(ONCE)
    assert cached(server, source).text == cached(server, source).text
    assert server.error_log.count("its results are forgotten") == 3


def test_a_change_survives_a_reload(start: Callable[..., Server]) -> None:
    """The old worker ends its change after the new ones have come."""
    server = start(ZONE, hooks=True)
    source = fresh(ONCE)
    with server.hold("zone_change") as hold:
        asked = Asking(server, source, use_cache=True)
        hold.wait_reached()
        old = server.workers()
        os.kill(server.master, signal.SIGHUP)
        wait_until(lambda: len(server.workers()) > len(old), "the new worker")
    first = asked.answer()
    assert first.whole
    wait_until(lambda: cached(server, source).text == first.text, "the result")
    assert "forgotten" not in server.error_log


def _in_hook(pid: int) -> bool:
    """Whether the worker's event loop sleeps, and not in epoll_wait()."""
    return Path(f"/proc/{pid}/syscall").read_text().split()[0] == str(CLOCK_NANOSLEEP)


CLOCK_NANOSLEEP = 230 if os.uname().machine == "x86_64" else 115


# ---- those who wait ---------------------------------------------------------------------------------------------------

GATED = fresh(
    "import uuid\ndef run(_, gate, file):\n    with open(file, 'a') as out:\n        out.write('ran ')\n"
    f"    pause(gate)\n    return uuid.uuid4().hex\n{PAUSE}"
)


class Crowd:
    """Calls that are the same, of which one runs."""

    def __init__(self, server: Server, directory: Path) -> None:
        self.server = server
        self.source = fresh(GATED)
        self.gate = Gate(directory)
        self.file = directory / "runs"

    def ask(self, path: str = "/") -> Asking:
        fields = {"use_cache": True, "gate": str(self.gate), "file": str(self.file)}
        asked = Asking(self.server, self.source, path, **fields)
        assert self.server.get("/plain").text == "plain"
        return asked

    @property
    def runs(self) -> int:
        return self.file.read_text().count("ran") if self.file.exists() else 0


def test_the_first_leaves_before_it_has_begun(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(ONE_THREAD, hooks=True)
    crowd = Crowd(server, tmp_path)
    with server.hold("popped") as hold:
        first = crowd.ask()
        hold.wait_reached()
        others = [crowd.ask() for _ in range(3)]
        leave(server, first)
    crowd.gate.open()
    assert len({one.answer().text for one in others}) == 1
    assert crowd.runs == 1


def test_the_next_one_leaves_too(start: Callable[..., Server], tmp_path: Path) -> None:
    """The lead goes from one to the next while the only thread is held."""
    server = start(ONE_THREAD, hooks=True)
    crowd = Crowd(server, tmp_path)
    crowd.gate.open()
    with server.hold("popped") as hold:
        asked = [crowd.ask() for _ in range(5)]
        hold.wait_reached()
        for one in asked[:4]:
            leave(server, one)
    assert asked[4].answer().status == 200
    assert crowd.runs == 1


def test_the_first_leaves_with_its_result(start: Callable[..., Server], tmp_path: Path) -> None:
    """It has been made, and nobody was there to have it."""
    server = start(ONE_THREAD, hooks=True)
    crowd = Crowd(server, tmp_path)
    crowd.gate.open()
    with server.hold("before_answer") as hold:
        first = crowd.ask()
        hold.wait_reached()
        others = [crowd.ask() for _ in range(2)]
        leave(server, first)
    assert len({one.answer().text for one in others}) == 1
    assert crowd.runs == 2


def test_the_first_times_out(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(ONE_THREAD, hooks=True)
    crowd = Crowd(server, tmp_path)
    crowd.gate.open()
    with server.hold("popped") as hold:
        first = crowd.ask("/brief")
        hold.wait_reached()
        second = crowd.ask("/brief")
        assert first.answer().status == 504
        assert second.answer().status == 504
    assert crowd.ask("/brief").answer().status == 200


def test_quit_lets_those_who_wait_finish(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(ONE_THREAD, hooks=True)
    crowd = Crowd(server, tmp_path)
    worker = server.workers()[0]
    with server.hold("popped") as hold:
        asked = [crowd.ask() for _ in range(3)]
        hold.wait_reached()
        os.kill(server.master, signal.SIGQUIT)
        wait_until(lambda: worker not in server.workers(), "the worker to leave")
    crowd.gate.open()
    answers = [one.answer() for one in asked]
    assert all(answer.whole for answer in answers)
    assert len({answer.text for answer in answers}) == 1
    server.wait_exit()
    assert crowd.runs == 1


def test_a_form_whose_client_leaves_while_it_is_parsed(start: Callable[..., Server], tmp_path: Path) -> None:
    """It is parsed, and looked for nowhere: nobody waits."""
    server = start(ONE_THREAD, hooks=True)
    file = tmp_path / "ran"
    source = fresh("import pathlib\ndef run(_, file): pathlib.Path(file).touch()\n")
    boundary = "b0undary"
    parts = {"code": source, "use_cache": "1", "file": str(file)}
    body = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in parts.items()
    )
    body += f"--{boundary}--\r\n"
    head = (
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for place in ("popped", "ran"):
        with server.hold(place) as hold, server.connect() as connection:
            connection.sendall((head + body).encode())
            hold.wait_reached()
            before = server.access_log.count("\n")
            connection.close()
            wait_until(lambda before=before: server.access_log.count("\n") > before, "the client's end")
        assert server.run("def run(): return 'next'").text == "next"
        assert not file.exists()


def test_a_silent_stream_holds_up_nobody(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(ZONE, hooks=True)
    gate = Gate(tmp_path)
    code = fresh(
        "import threading\nturn = threading.Lock()\n"
        "def run(_, gate):\n"
        "    first = turn.acquire(blocking=False)\n"
        "    yield 'begun,'\n"
        "    if first: pause(gate)\n"
        f"    yield 'done'\n{PAUSE}"
    )
    leader = Asking(server, code, gate=str(gate), use_cache=True)
    gate.wait_reached()
    assert Asking(server, code, gate=str(gate), use_cache=True).answer().text == "begun,done"
    gate.open()
    assert leader.answer().text == "begun,done"


def test_who_calls_itself_is_answered(start: Callable[..., Server]) -> None:
    """It waits for itself, but not for ever."""
    server = start(ZONE, hooks=True)
    code = fresh(
        "import json, urllib.request\n"
        "def run(_, url, depth: int):\n"
        "    if depth == 0: return 'bottom'\n"
        "    code = open(__file__).read()\n"
        "    body = json.dumps({'code': code, 'url': url, 'depth': depth - 1, 'use_cache': True}).encode()\n"
        "    return urllib.request.urlopen(url, body).read()\n"
    )
    assert Asking(server, code, url=f"{server.url}/", depth=1, use_cache=True).answer().text == "bottom"


def test_a_stream_without_end_holds_up_nobody(start: Callable[..., Server], tmp_path: Path) -> None:
    """Who waits for one gives up some time: within a second, in a module with hooks."""
    server = start(ZONE, hooks=True)
    crowd = Crowd(server, tmp_path)
    crowd.source = fresh(
        "import pathlib, time\ndef run(_, gate, file):\n    with open(file, 'a') as out:\n        out.write('ran ')\n"
        "    while not pathlib.Path(gate).exists():\n        yield 'x'\n        time.sleep(0.02)\n"
    )
    first = crowd.ask()
    assert first.read(1) == b"x"
    others = [crowd.ask() for _ in range(2)]
    wait_until(lambda: crowd.runs == 3, "the others to run")
    crowd.gate.open()
    assert all(one.answer().whole for one in [first, *others])
