"""Who serves while processes come and go: nobody waits for a reload, a replacement or a crash where others could serve."""

import ctypes
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from asking import Asking
from gate import PAUSE, Gate
from harness import LIBC, Server, children, title, wait_until

PID = "import os\ndef run(_): return os.getpid()\n"
WAIT = f"def run(_, gate):\n    pause(gate)\n    return 'done'\n{PAUSE}"
STREAM = f"def run(_, gate):\n    yield 'begun'\n    pause(gate)\n    yield ',done'\n{PAUSE}"


class Model:
    """A module to preload, which is not done as long as its door is shut."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._shut = directory / "shut"
        (directory / "model.py").write_text(
            "import os, pathlib, time\n"
            "here = pathlib.Path(__file__).parent\n"
            "(here / f'loads-{os.getpid()}').touch()\n"
            "while (here / 'shut').exists(): time.sleep(0.002)\n"
            "if (here / 'broken').exists(): 1 / 0\n"
            "if (here / 'deadly').exists(): os.abort()\n"
        )

    @property
    def lines(self) -> str:
        return f"python_path {self.directory}; preload model;"

    def shut(self) -> None:
        self._shut.touch()

    def open(self) -> None:
        self._shut.unlink()

    def turn(self, what: str) -> None:
        """broken or deadly, from now on."""
        (self.directory / what).touch()

    def loads(self) -> set[int]:
        """The processes that have come to it, and live."""
        pids = {int(file.name.removeprefix("loads-")) for file in self.directory.glob("loads-*")}
        return {pid for pid in pids if title(pid)}


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model(tmp_path)


def ask_pid(server: Server, port: str = "port") -> int:
    answer = Asking(server, PID, port=server.port_of(port)).answer()
    assert answer.status == 200, answer.text
    return int(answer.body)


def wait_gone(server: Server, *pids: int) -> None:
    wait_until(lambda: not any(title(pid) for pid in pids), f"the end of {pids}", 20)


def reload(server: Server) -> None:
    """Tells the master, and does not wait for anything."""
    os.kill(server.master, signal.SIGHUP)


def wait_loading(model: Model, *before: int) -> set[int]:
    """Until other processes than those are preloading."""
    return wait_until(lambda: model.loads() - set(before), "a new process")


@contextmanager
def master_stopped(server: Server) -> Iterator[None]:
    """Signals that the master gets meanwhile come to it all at once."""
    os.kill(server.master, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.master, signal.SIGCONT)


# ---- reload ---------------------------------------------------------------------------------------------------------

FRONT = """
owt_instance a {{ threads 4; {lines} }}
upstream a {{ server unix:{{dir}}/owt_temp/a.sock; }}
server {{ listen unix:{{dir}}/owt_temp/a.sock backlog=8; owt_instance a; location / {{ owt; }} }}
server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://a; include {{root}}/conf/owt_params; }} }}
"""
DEFAULT = """
owt_instance default {{ threads 4; {lines} }}
server {{ listen 127.0.0.1:{{port}} {listen}; location / {{ owt; }} location /plain {{ return 200 plain; }} }}
"""


def default(*lines: str, listen: str = "") -> str:
    return DEFAULT.format(lines=" ".join(lines), listen=listen)


def start_named(start: Callable[..., Server], http: str, **options: object) -> Server:
    server = start(http, **options)
    if "owt_instance a" in http:
        wait_until(lambda: server.workers_of("a"), "the instance's worker")
    return server


CONFS = {
    "an instance behind its socket": FRONT,
    "an instance": "owt_instance a {{ {lines} }}\n"
    "server {{ listen 127.0.0.1:{{port}}; owt_instance a; location / {{ owt; }} }}\n",
    "the ordinary workers": DEFAULT.replace("{listen}", ""),
}


@pytest.mark.parametrize("mutex", ["accept_mutex on;", "accept_mutex off;"])
@pytest.mark.parametrize("conf", CONFS)
def test_while_a_reload_preloads_the_old_process_serves(
    start: Callable[..., Server], model: Model, conf: str, mutex: str
) -> None:
    server = Server(CONFS[conf].format(lines=model.lines), main="worker_processes 2;" if mutex[13:] == "on;" else "")
    file = server.dir / "nginx.conf"
    file.write_text(file.read_text().replace("events { }", f"events {{ {mutex} }}"))
    with server:
        before = {ask_pid(server)} | model.loads()
        model.shut()
        reload(server)
        wait_loading(model, *before)
        # More than the socket's backlog takes.
        with ThreadPoolExecutor(6) as pool:
            pids = set(pool.map(lambda _: ask_pid(server), range(40)))
        assert pids <= before
        model.open()
        wait_until(lambda: ask_pid(server) not in before, "the new process")
        wait_gone(server, *before)


def test_a_process_that_waits_says_so(start: Callable[..., Server], model: Model) -> None:
    server = start_named(start, FRONT.format(lines=model.lines))
    old = ask_pid(server)
    model.shut()
    reload(server)
    wait_until(lambda: title(old) == "nginx: worker process (owt a) serves until its successor does", "its title")
    server.wait_log(r"\[notice\].*this process serves until one of the new configuration does")
    model.open()
    wait_gone(server, old)


def test_a_call_of_an_old_process_ends_after_its_successor_has_opened(
    start: Callable[..., Server], model: Model, tmp_path: Path
) -> None:
    server = start(default(model.lines))
    gate = Gate(tmp_path)
    asked = Asking(server, STREAM, gate=str(gate))
    gate.wait_reached()
    (old,) = server.workers()
    server.signal("reload")
    assert ask_pid(server) != old
    assert "shutting down" in title(old)
    gate.open()
    assert asked.answer().text == "begun,done"
    wait_gone(server, old)


def test_a_preload_that_never_succeeds_costs_nothing(start: Callable[..., Server], model: Model) -> None:
    server = start_named(start, FRONT.format(lines=model.lines))
    old = ask_pid(server)
    model.turn("broken")
    for _ in range(3):
        offset = len(server.error_log)
        reload(server)
        server.wait_log("preload model failed", after=offset)
        assert ask_pid(server) == old
    model.directory.joinpath("broken").unlink()
    server.signal("reload")
    assert ask_pid(server) in server.workers_of("a")
    wait_gone(server, old)
    wait_until(lambda: len(children(server.master)) == 2, "the end of all others")


def test_a_preload_that_ends_its_process_costs_nothing(start: Callable[..., Server], model: Model) -> None:
    server = start_named(start, FRONT.format(lines=model.lines))
    server.expect("exited on signal 6")
    old = ask_pid(server)
    model.turn("deadly")
    reload(server)
    server.wait_log("ended before they were ready: Python starts in 2 s")
    assert ask_pid(server) == old
    model.directory.joinpath("deadly").unlink()
    wait_until(lambda: ask_pid(server) != old, "the new process", 20)
    wait_gone(server, old)


@pytest.mark.parametrize("how", ["quit", "stop"])
def test_the_end_of_all_is_no_reload(start: Callable[..., Server], model: Model, how: str) -> None:
    server = start_named(start, FRONT.format(lines=model.lines))
    old = ask_pid(server)
    model.shut()
    for _ in range(2):
        before = model.loads()
        reload(server)
        wait_loading(model, *before)
    assert ask_pid(server) == old
    server.signal(how)
    assert not title(old)


def test_the_end_of_all_comes_when_no_new_process_is_there_to_hear_of_it(
    start: Callable[..., Server], model: Model
) -> None:
    server = start("owt_instance a {" + model.lines + "}\nserver { listen 127.0.0.1:{port}; owt_instance a; location / { owt; } }\n",
                   main="worker_processes 0;", hooks=True)  # fmt: skip
    server.expect("exited on signal 9")
    old = ask_pid(server)
    model.shut()
    reload(server)
    (new,) = wait_loading(model, old)
    wait_until(lambda: "serves until" in title(old), "the old process to wait")
    with master_stopped(server):
        os.kill(new, signal.SIGKILL)
        os.kill(server.master, signal.SIGQUIT)
    server.wait_exit()
    assert not title(old)


def test_a_process_that_is_told_by_signal_serves_on(start: Callable[..., Server], model: Model) -> None:
    """The master sends one where its channel is full."""
    server = start_named(start, FRONT.format(lines=model.lines))
    old = ask_pid(server)
    with channel_full(server, old):
        model.shut()
        reload(server)
        wait_loading(model, old)
        wait_until(lambda: pending(old, signal.SIGQUIT), "the signal")
    server.wait_log(rf"{old}#.*signal 3 \(SIGQUIT\) received from {server.master}")
    assert ask_pid(server) == old
    model.open()
    wait_until(lambda: ask_pid(server) != old, "the new process")
    wait_gone(server, old)


def pending(pid: int, number: signal.Signals) -> bool:
    masks = [line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "Pnd" in line]
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


@contextmanager
def channel_full(server: Server, worker: int) -> Iterator[None]:
    """The worker stands still, and nothing more fits into the master's channel to it."""
    pidfd_getfd, so_peercred = 438, socket.SO_PEERCRED
    pidfd = os.pidfd_open(server.master)
    os.kill(worker, signal.SIGSTOP)
    try:
        found = []
        for file in Path(f"/proc/{server.master}/fd").iterdir():
            if not str(file.readlink()).startswith("socket:"):
                continue
            fd = LIBC.syscall(pidfd_getfd, pidfd, int(file.name), 0)
            if fd < 0:
                pytest.skip(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
            one = socket.socket(fileno=fd)
            if one.family == socket.AF_UNIX and not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                found.append(one)
        # All of them: which of them leads to the worker the kernel does not tell. What is sent is no command.
        for one in found:
            assert struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, so_peercred, 12))[0] == server.master
            with suppress(BlockingIOError):
                while True:
                    one.send(bytes(32), socket.MSG_DONTWAIT)
        yield
    finally:
        os.close(pidfd)
        os.kill(worker, signal.SIGCONT)


def test_an_instance_of_another_name_takes_over_its_sockets(start: Callable[..., Server], model: Model) -> None:
    conf = "owt_instance {name} {{ {lines} }}\nserver {{ listen 127.0.0.1:{{port}}; owt_instance {name}; location / {{ owt; }} }}\n"
    server = start(conf.format(name="a", lines=model.lines))
    old = ask_pid(server)
    model.shut()
    server.write_conf(conf.format(name="b", lines=model.lines))
    reload(server)
    wait_loading(model, old)
    assert ask_pid(server) == old
    model.open()
    wait_until(lambda: ask_pid(server) in server.workers_of("b"), "the new process")
    wait_gone(server, old)


def test_an_instance_that_is_no_more_ends_at_once(start: Callable[..., Server], model: Model) -> None:
    conf = "server {{ listen 127.0.0.1:{{port2}}; location / {{ owt; }} }}\nowt_instance default {{ {lines} }}\n"
    server = start(FRONT.format(lines="") + conf.format(lines=model.lines))
    (old,) = wait_until(lambda: server.workers_of("a"), "the instance's worker")
    before = {old, *server.workers_of("default")}
    model.shut()
    server.write_conf(conf.format(lines=model.lines))
    reload(server)
    wait_loading(model, *before)
    wait_gone(server, old)
    model.open()


def test_ordinary_workers_without_python_wait_for_those_with_it(start: Callable[..., Server], model: Model) -> None:
    server = start("server { listen 127.0.0.1:{port}; location / { return 200 old; } }\n")
    model.shut()
    server.write_conf(default(model.lines))
    reload(server)
    wait_loading(model)
    assert server.client().get("/plain").text == "old"
    model.open()
    wait_until(lambda: server.client().get("/plain").text == "plain", "the new process")


def test_a_configuration_without_http_may_come_and_go(start: Callable[..., Server]) -> None:
    server = start(default())
    old = ask_pid(server)
    conf = server.dir / "nginx.conf"
    text = conf.read_text()
    conf.write_text(text[: text.index("http {")])
    reload(server)
    wait_gone(server, old)
    conf.write_text(text)
    reload(server)
    wait_until(lambda: server._up() and server.workers(), "nginx to serve again")
    assert ask_pid(server) in server.workers()


def test_a_new_process_that_is_killed_at_once_costs_nothing(start: Callable[..., Server], model: Model) -> None:
    """One that dies while nginx reloads is started again, and told to quit with the old ones."""
    server = start(default(model.lines), main="worker_processes 3;")
    server.expect("exited on signal 9")
    wait_until(lambda: server.error_log.count("ready,") == 3, "the workers")
    before = set(server.workers())
    model.shut()
    for _ in range(3):
        known = set(children(server.master))
        reload(server)
        wait_until(lambda: set(children(server.master)) - known, "a new process")  # noqa: B023
        victim = min(before)
        before.remove(victim)
        os.kill(victim, signal.SIGKILL)
        wait_gone(server, victim)
        if not before:
            break
        assert ask_pid(server) in before
        if len(before) == 1:
            break
    model.open()
    wait_until(lambda: ask_pid(server) not in before, "the new process")
    wait_gone(server, *before)


# ---- spare processes ------------------------------------------------------------------------------------------------


def test_a_spare_process_stands_by(start: Callable[..., Server]) -> None:
    server = start(
        "owt_instance a { processes 2; spare 2; }\nowt_instance default { spare 1; }\n"
        "server { listen 127.0.0.1:{port}; owt_instance a; location / { owt; } }\n"
        "server { listen 127.0.0.1:{port2}; location / { owt; } }\n"
    )
    for name, most in {"a": 4, "default": 2}.items():
        wait_until(lambda: len(server.workers_of(name)) == most, f"{most} processes of {name}")  # noqa: B023
    wait_until(lambda: sum("is spare" in title(pid) for pid in server.workers()) == 3, "three spare ones")
    with ThreadPoolExecutor(10) as pool:
        for port, most in {"port": 2, "port2": 1}.items():
            pids = set(pool.map(lambda _: ask_pid(server, port), range(50)))  # noqa: B023
            assert len(pids) <= most
            assert not any("is spare" in title(pid) for pid in pids)


SPARES = {
    "an instance": "owt_instance a {{ spare 1; {lines} }}\n"
    "server {{ listen 127.0.0.1:{{port}}; owt_instance a; location / {{ owt; }} location /plain {{ return 200 plain; }} }}\n",
    "the ordinary workers": "owt_instance default {{ spare 1; {lines} }}\n"
    "server {{ listen 127.0.0.1:{{port}}; location / {{ owt; }} location /plain {{ return 200 plain; }} }}\n",
}


def wait_spare(server: Server) -> int:
    return wait_until(lambda: [pid for pid in server.workers() if "is spare" in title(pid)], "a spare process")[0]


@pytest.mark.parametrize("mutex", ["accept_mutex on;", "accept_mutex off;"])
@pytest.mark.parametrize("conf", SPARES)
def test_a_spare_process_steps_in_for_one_that_dies(
    start: Callable[..., Server], model: Model, conf: str, mutex: str
) -> None:
    server = Server(SPARES[conf].format(lines=model.lines))
    file = server.dir / "nginx.conf"
    file.write_text(file.read_text().replace("events { }", f"events {{ {mutex} }}"))
    with server:
        server.expect("exited on signal 9")
        for _ in range(3):
            old, spare = ask_pid(server), wait_spare(server)
            model.shut()
            os.kill(old, signal.SIGKILL)
            assert ask_pid(server) == spare  # its successor is not ready
            model.open()


def test_a_spare_process_steps_in_for_one_that_no_other_comes_after(start: Callable[..., Server]) -> None:
    """nginx gives up a worker that ends with status 2."""
    server = start(SPARES["an instance"].format(lines=""))
    server.expect("fatal code 2")
    old, spare = ask_pid(server), wait_spare(server)
    asked = Asking(server, "import ctypes\ndef run(_): ctypes.CDLL(None)._exit(2)")
    wait_gone(server, old)
    asked.leave()
    assert ask_pid(server) == spare


@pytest.mark.parametrize("conf", SPARES)
def test_a_spare_process_steps_in_for_one_that_is_replaced(
    start: Callable[..., Server], model: Model, tmp_path: Path, conf: str
) -> None:
    server = start(SPARES[conf].format(lines=f"max_calls 2; threads 4; {model.lines}"))
    spare = wait_spare(server)
    gate = Gate(tmp_path)
    stream = Asking(server, STREAM, gate=str(gate))
    gate.wait_reached()
    model.shut()
    old = ask_pid(server)  # its last call, while the stream goes on
    assert server.client().get("/plain").text == "plain"
    assert ask_pid(server) == spare
    gate.open()
    assert stream.answer().text == "begun,done"
    wait_gone(server, old)
    model.open()
    wait_spare(server)


def test_a_process_waits_for_a_spare_one_that_is_not_ready(
    start: Callable[..., Server], model: Model, tmp_path: Path
) -> None:
    server = start(SPARES["an instance"].format(lines=f"max_calls 1; {model.lines}"))
    server.expect("exited on signal 9")
    old, spare = wait_until(lambda: server.workers_of("a")[1:] and server.workers_of("a"), "two processes")
    spare = wait_spare(server)
    (old,) = set(server.workers_of("a")) - {spare}
    model.shut()
    os.kill(spare, signal.SIGKILL)
    wait_loading(model, old, spare)
    for _ in range(3):
        assert ask_pid(server) == old
    model.open()
    wait_until(lambda: ask_pid(server) != old, "the new process")
    wait_gone(server, old)


def test_a_spare_process_of_an_old_configuration_ends_at_once(start: Callable[..., Server], model: Model) -> None:
    server = start(SPARES["an instance"].format(lines=model.lines))
    old, spare = ask_pid(server), wait_spare(server)
    model.shut()
    reload(server)
    wait_gone(server, spare)
    assert ask_pid(server) == old
    model.open()
    wait_gone(server, old)
    assert ask_pid(server) in server.workers_of("a")


@pytest.mark.parametrize("how", ["quit", "stop"])
def test_spare_processes_end_with_the_others(start: Callable[..., Server], how: str) -> None:
    server = start(SPARES["an instance"].format(lines=""))
    wait_spare(server)
    server.signal(how)


def test_a_spare_process_needs_sockets_that_workers_share() -> None:
    server = Server(
        "owt_instance default {\nspare 1;\n}\n"
        "server { listen 127.0.0.1:{port} reuseport; location / { owt; } }\n"
    )  # fmt: skip
    try:
        done = server.test_conf()
        assert done.returncode != 0
        assert '"reuseport" of "listen 127.0.0.1:' in done.stderr
        assert "leave out one of the two" in done.stderr
    finally:
        server.close()


def test_ordinary_workers_without_python_have_no_spare(start: Callable[..., Server]) -> None:
    server = start(
        "owt_instance default { spare 3; }\nserver { listen 127.0.0.1:{port}; location / { return 200 plain; } }\n"
    )
    assert server.get("/").text == "plain"
    assert len(server.workers()) == 1


# ---- replacement without one ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["", "reuseport"])
@pytest.mark.parametrize("mutex", ["accept_mutex on;", "accept_mutex off;"])
def test_a_stream_does_not_keep_others_waiting(
    start: Callable[..., Server], tmp_path: Path, mutex: str, listen: str
) -> None:
    main = "worker_processes 2;" if listen else ""
    server = Server(default("max_calls 3;", listen=listen), main=main)
    file = server.dir / "nginx.conf"
    file.write_text(file.read_text().replace("events { }", f"events {{ {mutex} }}"))
    with server:
        gates = [Gate(tmp_path, str(i)) for i in range(2)]
        first, second = (Asking(server, STREAM, gate=str(gate)) for gate in gates)
        for gate in gates:
            gate.wait_reached()
        pids = [ask_pid(server) for _ in range(8)]
        for _ in range(10):
            assert server.client().get("/plain").text == "plain"
            pids.append(ask_pid(server))
        for gate in gates:
            gate.open()
        for asked in (first, second):
            assert asked.answer().text == "begun,done"
        wait_until(lambda: ask_pid(server) not in pids, "another process", 20)


def test_a_process_that_serves_on_says_so(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(default("max_calls 2;"))
    gate = Gate(tmp_path)
    asked = Asking(server, STREAM, gate=str(gate))
    gate.wait_reached()
    old = ask_pid(server)
    wait_until(lambda: title(old) == "nginx: worker process serves until what it runs has ended", "its title")
    kept = server.client()
    assert kept.get("/plain").text == "plain"
    gate.open()
    assert asked.answer().text == "begun,done"
    wait_gone(server, old)
    assert kept.get("/plain").text == "plain"


def test_worker_shutdown_timeout_bounds_a_replacement(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(default("max_calls 2;"), main="worker_shutdown_timeout 3s;")
    gate = Gate(tmp_path)
    asked = Asking(server, STREAM, gate=str(gate))
    gate.wait_reached()
    old = ask_pid(server)
    wait_until(lambda: "serves until what it runs" in title(old), "its title")
    assert ask_pid(server) == old
    wait_gone(server, old)
    assert not asked.answer().whole
    assert ask_pid(server) != old


@pytest.mark.parametrize("how", ["reload", "quit", "stop", "SIGQUIT"])
def test_a_process_that_is_being_replaced_obeys(
    start: Callable[..., Server], model: Model, tmp_path: Path, how: str
) -> None:
    """While its door is closed for what runs to end."""
    server = start(default("max_calls 2;", model.lines))
    gate = Gate(tmp_path)
    asked = Asking(server, WAIT, gate=str(gate))
    gate.wait_reached()
    model.shut()
    old = ask_pid(server)
    wait_until(lambda: "shutting down" in title(old), "its title")
    if how == "reload":
        reload(server)
        wait_loading(model, old)
        assert ask_pid(server) == old
        model.open()
        wait_until(lambda: "shutting down" in title(old), "its end")
        gate.open()
        assert asked.answer().text == "done"
    elif how == "SIGQUIT":
        os.kill(old, signal.SIGQUIT)
        gate.open()
        assert asked.answer().text == "done"
        wait_gone(server, old)
        model.open()
        assert ask_pid(server) != old
    elif how == "quit":
        os.kill(server.master, signal.SIGQUIT)
        gate.open()
        assert asked.answer().text == "done"
        server.wait_exit()
    else:
        server.signal("stop")
    wait_gone(server, old)


def test_no_process_is_replaced_while_it_waits_for_its_successor(start: Callable[..., Server], model: Model) -> None:
    """The master would start no other in its place."""
    server = start(default("max_calls 3;", model.lines))
    old = ask_pid(server)
    model.shut()
    reload(server)
    wait_until(lambda: "serves until its successor" in title(old), "the old process to wait")
    assert [ask_pid(server) for _ in range(5)] == [old] * 5
    model.open()
    wait_gone(server, old)


def test_a_process_told_by_who_is_not_its_master_leaves_at_once(start: Callable[..., Server], model: Model) -> None:
    server = start_named(start, FRONT.format(lines=model.lines))
    old = ask_pid(server)
    model.shut()
    reload(server)
    wait_until(lambda: "serves until" in title(old), "the old process to wait")
    os.kill(old, signal.SIGQUIT)
    wait_gone(server, old)
    model.open()


# ---- max_rss --------------------------------------------------------------------------------------------------------


def test_a_slow_preload_over_max_rss_is_not_cut_off(start: Callable[..., Server], model: Model) -> None:
    model.shut()
    server = start(default("max_rss 1m;", model.lines), hooks=True)
    (loading,) = wait_loading(model)
    for _ in range(3):  # it looks at its memory meanwhile
        with server.hold("look") as hold:
            hold.wait_reached()
    model.open()
    server.wait_log(
        r"\[error\].*this process has \d+ bytes before its first call, more than its max_rss: .*replaced beyond"
    )
    for _ in range(3):
        with server.hold("look") as hold:
            hold.wait_reached()
    assert ask_pid(server) == loading
    code = "import sys\ndef run(_):\n    sys.kept = bytearray(b'x') * (400 << 20)\n    return len(sys.kept)\n"
    assert Asking(server, code).answer().text == str(400 << 20)
    wait_until(lambda: ask_pid(server) != loading, "another process")


# ---- a master that is gone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conf", ["a cache", "instances"])
def test_when_the_master_is_killed_the_workers_end_in_order(
    start: Callable[..., Server], tmp_path: Path, conf: str
) -> None:
    http = {
        "a cache": "proxy_cache_path {dir}/cache keys_zone=x:1m;\nserver { listen 127.0.0.1:{port}; location / { owt; } }\n",
        "instances": SPARES["an instance"].format(lines="")
        + "server {{ listen 127.0.0.1:{{port2}}; location / {{ return 204; }} }}\n".format(),
    }[conf]
    with Server(http, main="worker_processes 2;") as server:
        gate = Gate(tmp_path)
        asked = Asking(server, STREAM, gate=str(gate))
        gate.wait_reached()
        others = children(server.master)
        os.kill(server.master, signal.SIGKILL)
        wait_until(lambda: all(refused(server, port) for port in server._ports), "its ports to be free")
        gate.open()
        assert asked.answer().text == "begun,done"
        wait_gone(server, *others)


def refused(server: Server, port: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port_of(port))) != 0


def test_a_master_that_is_killed_in_a_reload_takes_all_along(start: Callable[..., Server], model: Model) -> None:
    server = start_named(start, FRONT.format(lines=model.lines))
    old = ask_pid(server)
    model.shut()
    reload(server)
    wait_loading(model, old)
    wait_until(lambda: "serves until" in title(old), "the old process to wait")
    others = children(server.master)
    os.kill(server.master, signal.SIGKILL)
    wait_gone(server, *others)
