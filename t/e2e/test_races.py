"""What happens at the worst moment: threads are held at src/call/hooks.hpp while the client leaves, the time runs out or
nginx reloads and quits. There is one thread, so what one call leaves behind on it the next would feel."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asking import Asking, leave, wait_access, wait_text
from gate import PAUSE, Gate
from harness import Hold, Server, wait_until

HOOKS = True

CONF = """
owt_stream_buffer 64k;
owt_instance default { threads 1; }
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /brief { owt; owt_timeout 200ms; }
    location /plain { return 200 plain; }
}
"""

ECHO = "def run(_, file):\n    open(file, 'a').write('ran')\n    return 'echo'\n"

# Ends by itself, once it may.
WAIT = f"import pathlib\ndef run(_, gate, end):\n    pause(gate)\n    {{}}\n{PAUSE}"

# Fills the buffer; its end takes more than one bytecode.
FLOOD = f"""
import pathlib
def run(_, file, gate=None):
    try:
        while True:
            yield "x" * (1 << 20)
    finally:
        if gate:
            pause(gate)
        for _ in range(1000):
            pass
        pathlib.Path(file).write_text("closed")
{PAUSE}
"""

ASYNC = """
import asyncio, pathlib
async def run(_, file):
    try:
        pathlib.Path(file + ".begun").touch()
        await asyncio.sleep(1000)
    finally:
        pathlib.Path(file).write_text("ended")
"""


@pytest.fixture
def come_round(server: Server, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Waits until the supervisor has seen to all that came before."""
    file = tmp_path / "come-round"
    other = Asking(server, ASYNC, file=str(file))
    wait_until(Path(f"{file}.begun").exists, "an asynchronous call")

    def come_round() -> None:
        other.leave()
        assert wait_text(file) == "ended"

    yield come_round
    other.leave()


@pytest.fixture
def beside(server: Server, tmp_path: Path) -> "Next":
    return Next(server, tmp_path)


class Next:
    """The call that the thread runs next: an interrupt that was meant for the one before would show."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._server = server
        self._gate = Gate(directory, "next")
        self._asked: Asking | None = None

    def ask(self) -> None:
        code = WAIT.format("return 'unharmed'")
        self._asked = Asking(self._server, code, gate=str(self._gate), end="")

    def wait_begun(self) -> None:
        self._gate.wait_reached()

    def end(self) -> None:
        self._gate.open()
        assert self._asked
        assert self._asked.answer().text == "unharmed"


def part(server: Server, asked: Asking, how: str) -> None:
    """The client has had enough, or the server."""
    if how == "left":
        leave(server, asked)
    else:
        assert asked.answer().status == 504


PATHS = {"left": "/", "timeout": "/brief"}
parted = pytest.mark.parametrize("how", PATHS)


# ---- client gone, or time out -----------------------------------------------------------------------------------------


@parted
def test_a_call_that_has_left_the_queue_does_not_run(server: Server, tmp_path: Path, beside: Next, how: str) -> None:
    with server.hold("popped") as hold:
        asked = Asking(server, ECHO, PATHS[how], file=str(tmp_path / "ran"))
        hold.wait_reached()
        part(server, asked, how)
    beside.ask()
    beside.wait_begun()
    beside.end()
    assert not (tmp_path / "ran").exists()


@parted
def test_a_call_in_the_queue_does_not_run(server: Server, tmp_path: Path, how: str) -> None:
    with server.hold("popped") as hold:
        first = Asking(server, ECHO, file=str(tmp_path / "first"))
        hold.wait_reached()
        second = Asking(server, ECHO, PATHS[how], file=str(tmp_path / "second"))
        assert server.get("/plain").text == "plain"
        part(server, second, how)
    assert first.answer().text == "echo"
    assert Asking(server, ECHO, file=str(tmp_path / "third")).answer().text == "echo"
    assert not (tmp_path / "second").exists()


@parted
def test_an_answer_on_its_way_is_dropped(server: Server, tmp_path: Path, beside: Next, how: str) -> None:
    with server.hold("before_answer") as hold:
        asked = Asking(server, ECHO, PATHS[how], file=str(tmp_path / "ran"))
        hold.wait_reached()
        part(server, asked, how)
        beside.ask()
    beside.wait_begun()
    beside.end()
    assert (tmp_path / "ran").exists()


def test_an_interrupt_that_comes_after_the_answer_does_not_reach_the_next_call(
    server: Server, tmp_path: Path, beside: Next, come_round: Callable[[], None]
) -> None:
    with server.hold("before_answer") as before_answer, server.hold("ran") as ran:
        asked = Asking(server, ECHO, file=str(tmp_path / "ran"))
        before_answer.wait_reached()
        leave(server, asked)
        before_answer.release()
        ran.wait_reached()
        come_round()  # so the thread has been interrupted by now
        beside.ask()
    beside.wait_begun()
    beside.end()


def test_an_interrupt_that_comes_late_does_not_reach_the_next_call(
    server: Server, tmp_path: Path, beside: Next, come_round: Callable[[], None]
) -> None:
    gate = Gate(tmp_path)
    with server.hold("deliver") as hold:
        asked = Asking(server, WAIT.format("return 'done'"), gate=str(gate), end="")
        gate.wait_reached()
        leave(server, asked)
        hold.wait_reached()
        gate.open()
        beside.ask()
        beside.wait_begun()
    come_round()
    beside.end()


@pytest.mark.parametrize(
    "end",
    [
        "return 'done'",
        "1 / 0",
        "return pathlib.Path(end)",
        "return open(end, 'rb')",
        "return (letter for letter in 'stream')",
        "return object()",
        "raise SystemExit",
    ],
)
def test_no_end_that_nobody_waits_for_does_harm(
    server: Server, tmp_path: Path, beside: Next, come_round: Callable[[], None], end: str
) -> None:
    (tmp_path / "end").write_text("a file")
    gate = Gate(tmp_path)
    worker = server.workers()[0]
    with server.hold("deliver") as hold:
        asked = Asking(server, WAIT.format(end), gate=str(gate), end=str(tmp_path / "end"))
        gate.wait_reached()
        leave(server, asked)
        hold.wait_reached()
        gate.open()
        beside.ask()
        beside.wait_begun()
    come_round()
    beside.end()
    files = [link.readlink() for link in Path(f"/proc/{worker}/fd").iterdir() if link.is_symlink()]
    assert tmp_path / "end" not in files


def test_a_coroutine_that_nobody_waits_for_is_not_begun(
    server: Server, tmp_path: Path, beside: Next, come_round: Callable[[], None]
) -> None:
    code = f"""{PAUSE}
import pathlib
async def begin(file):
    pathlib.Path(file).touch()
def run(_, gate, file):
    pause(gate)
    return begin(file)
"""
    gate, offset = Gate(tmp_path), len(server.error_log)
    with server.hold("deliver") as hold:
        asked = Asking(server, code, gate=str(gate), file=str(tmp_path / "begun"))
        gate.wait_reached()
        leave(server, asked)
        hold.wait_reached()
        gate.open()
        beside.ask()
        beside.wait_begun()
    come_round()
    beside.end()
    assert not (tmp_path / "begun").exists()
    assert "never awaited" not in server.error_log[offset:]


def test_an_asynchronous_call_that_ended_before_it_is_cancelled(
    server: Server, tmp_path: Path, beside: Next, come_round: Callable[[], None]
) -> None:
    code = """
import asyncio, pathlib
async def run(_, gate):
    pathlib.Path(gate + ".reached").touch()
    while not pathlib.Path(gate).exists():
        await asyncio.sleep(0.002)
    pathlib.Path(gate + ".over").write_text("over")
"""
    gate = Gate(tmp_path)
    with server.hold("deliver") as hold:
        asked = Asking(server, code, gate=str(gate))
        gate.wait_reached()
        leave(server, asked)
        hold.wait_reached()
        gate.open()
        assert wait_text(tmp_path / "gate.over") == "over"
    come_round()
    beside.ask()
    beside.wait_begun()
    beside.end()


# ---- a writer that waits --------------------------------------------------------------------------------------------


def test_a_writer_that_is_about_to_wait_ends_once(server: Server, tmp_path: Path, beside: Next) -> None:
    with server.hold("write_waits") as hold:
        asked = Asking(server, FLOOD, receive=4096, file=str(tmp_path / "end"))
        hold.wait_reached()
        leave(server, asked)
    assert wait_text(tmp_path / "end") == "closed"
    beside.ask()
    beside.wait_begun()
    beside.end()


def test_an_interrupt_that_comes_before_the_writer_has_noticed(
    server: Server, tmp_path: Path, beside: Next, come_round: Callable[[], None]
) -> None:
    """Nothing of its end is left out."""
    code = """
import pathlib
from werkzeug import Response
def flood():
    while True:
        yield "x" * (1 << 20)
def run(_, file):
    response = Response(flood())
    response.call_on_close(lambda: pathlib.Path(file).write_text("closed"))
    return response
"""
    with server.hold("write_waits") as hold:
        asked = Asking(server, code, receive=4096, file=str(tmp_path / "end"))
        hold.wait_reached()
        leave(server, asked)
        come_round()
    assert wait_text(tmp_path / "end") == "closed"
    beside.ask()
    beside.wait_begun()
    beside.end()


def test_an_interrupt_that_comes_after_the_writer_has_noticed(
    server: Server, tmp_path: Path, beside: Next, come_round: Callable[[], None]
) -> None:
    """Its `finally` runs to its end."""
    gate = Gate(tmp_path)
    with server.hold("deliver") as hold:
        asked = Asking(server, FLOOD, receive=4096, file=str(tmp_path / "end"), gate=str(gate))
        asked.read(1)
        leave(server, asked)
        hold.wait_reached()
        gate.wait_reached()
    come_round()
    gate.open()
    assert wait_text(tmp_path / "end") == "closed"
    beside.ask()
    beside.wait_begun()
    beside.end()


def test_an_interrupt_for_a_writer_does_not_reach_the_next_call(
    server: Server, tmp_path: Path, beside: Next, come_round: Callable[[], None]
) -> None:
    with server.hold("deliver") as hold:
        asked = Asking(server, FLOOD, receive=4096, file=str(tmp_path / "end"))
        asked.read(1)
        leave(server, asked)
        hold.wait_reached()
        assert wait_text(tmp_path / "end") == "closed"
        beside.ask()
        beside.wait_begun()
    come_round()
    beside.end()


def test_room_that_comes_before_the_writer_waits_is_not_missed(server: Server) -> None:
    code = "def run(_):\n    for _ in range(3):\n        yield 'x' * 100000\n"
    with server.hold("write_waits") as hold:
        asked = Asking(server, code)
        hold.wait_reached()
        assert asked.read(100000) == b"x" * 100000  # nginx has sent all there is
    answer = asked.answer()
    assert answer.whole
    assert len(answer.body) == 200000


def test_a_stream_times_out_while_its_writer_is_held(server: Server, tmp_path: Path, beside: Next) -> None:
    code = FLOOD.replace("1 << 20", "1 << 17")
    with server.hold("write_waits") as hold:
        asked = Asking(server, code, "/brief", file=str(tmp_path / "end"))
        hold.wait_reached()
        answer = asked.answer()
        assert not answer.whole
        assert len(answer.body) == 1 << 17
    assert wait_text(tmp_path / "end") == "closed"
    beside.ask()
    beside.wait_begun()
    beside.end()


# ---- reload, quit, stop ---------------------------------------------------------------------------------------------

BIG = "def run(_, file):\n    for _ in range(20):\n        yield 'x' * 100000\n"

PLACES = {"popped": ECHO, "before_answer": ECHO, "ran": ECHO, "write_waits": BIG}
places = pytest.mark.parametrize("place", PLACES)


def ask_at(server: Server, hold: Hold, place: str, directory: Path) -> Asking:
    asked = Asking(server, PLACES[place], file=str(directory / "ran"))
    hold.wait_reached()
    return asked


def assert_complete(asked: Asking, place: str) -> None:
    answer = asked.answer()
    assert answer.whole
    assert answer.text == ("x" * 2_000_000 if place == "write_waits" else "echo")


@places
def test_a_reload_lets_a_call_finish(start: Callable[..., Server], tmp_path: Path, place: str) -> None:
    server = start(CONF, hooks=True)
    worker = server.workers()[0]
    with server.hold(place) as hold:
        asked = ask_at(server, hold, place, tmp_path)
        server.signal("reload")
        assert Asking(server, ECHO, file=str(tmp_path / "other")).answer().text == "echo"
    assert_complete(asked, place)
    wait_until(lambda: worker not in server.workers(leaving=True), "the end of the old worker")


@places
def test_quit_lets_a_call_finish(start: Callable[..., Server], tmp_path: Path, place: str) -> None:
    server = start(CONF, hooks=True)
    worker = server.workers()[0]
    with server.hold(place) as hold:
        asked = ask_at(server, hold, place, tmp_path)
        os.kill(server.master, signal.SIGQUIT)
        wait_until(lambda: worker not in server.workers(), "the worker to leave")
    assert_complete(asked, place)
    server.wait_exit()


@places
def test_stop_waits_for_nothing(start: Callable[..., Server], tmp_path: Path, place: str) -> None:
    server = start(CONF, hooks=True)
    with server.hold(place) as hold:
        asked = ask_at(server, hold, place, tmp_path)
        os.kill(server.master, signal.SIGTERM)
        server.wait_exit(2)
    asked.leave()


def test_stop_does_not_wait_for_an_interrupt(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(CONF, hooks=True)
    gate = Gate(tmp_path)
    with server.hold("deliver") as hold:
        asked = Asking(server, WAIT.format("return 'done'"), gate=str(gate), end="")
        gate.wait_reached()
        asked.leave()
        hold.wait_reached()
        os.kill(server.master, signal.SIGTERM)
        server.wait_exit(2)


def test_a_client_leaves_a_worker_that_quits(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(CONF, hooks=True)
    with server.hold("popped") as hold:
        asked = Asking(server, ECHO, "/left", file=str(tmp_path / "ran"))
        hold.wait_reached()
        worker = server.workers()[0]
        os.kill(server.master, signal.SIGQUIT)
        wait_until(lambda: worker not in server.workers(), "the worker to leave")
        asked.leave()
        wait_access(server, '"POST /left HTTP/1.1" 499')
    server.wait_exit()
    assert not (tmp_path / "ran").exists()
