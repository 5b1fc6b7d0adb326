"""owt_instance: workers of their own, beside the ordinary ones."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from asking import Asking
from gate import PAUSE, Gate
from harness import HOME, PRELOAD, Server, children, has_gil, has_landlock, title, wait_until
from virtualenvs import bare

PID = "import os\ndef run(_): return os.getpid()\n"
WAIT = f"def run(_, gate):\n    pause(gate)\n    return 'done'\n{PAUSE}"

BOTH = """
owt_instance default {{ threads 4; }}
owt_instance model {{ threads 1; {model} }}
owt_instance quick {{ processes 2; threads 2; {quick} }}
server {{ listen 127.0.0.1:{{port}} {listen}; location / {{ owt; }} }}
server {{ listen 127.0.0.1:{{port2}}; owt_instance model; location / {{ owt; }} }}
server {{ listen 127.0.0.1:{{port3}}; owt_instance quick; location / {{ owt; }} }}
"""
landlock = pytest.mark.skipif(not has_landlock(), reason="this kernel has no Landlock")
NAMES = {"default": "port", "model": "port2", "quick": "port3"}


def both(model: str = "", quick: str = "", listen: str = "") -> str:
    return BOTH.format(model=model, quick=quick, listen=listen)


@pytest.fixture
def start(start: Callable[..., Server]) -> Callable[..., Server]:
    """As everywhere, and the workers that the conf of this file names have their names."""

    def start_named(http: str, **options: Any) -> Server:
        server = start(http, **options)
        names = set(re.findall(r"owt_instance (\w+) \{", http)) - {"default"}
        wait_until(lambda: all(server.workers_of(name) for name in names), f"workers of {names}")
        return server

    return start_named


def ask(server: Server, instance: str, code: str = PID, **fields: Any) -> Any:
    """What an adaptor returns as JSON, on a connection of its own."""
    answer = Asking(server, code, port=server.port_of(NAMES[instance]), **fields).answer()
    assert answer.status == 200, answer.text
    return json.loads(answer.body)


def wait_workers(server: Server, **counts: int) -> None:
    wait_until(lambda: {name: len(server.workers_of(name)) for name in counts} == counts, f"workers: {counts}")


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """These processes stand still meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def check_partition(server: Server) -> None:
    """Nobody but its own workers answers on an instance's socket."""
    for name in NAMES:
        own = server.workers_of(name)
        others = [other for other in NAMES if other != name]
        with stopped(own):
            waiting = [Asking(server, PID, port=server.port_of(NAMES[name])) for _ in range(5)]
            for other in others * 5:
                assert ask(server, other) in server.workers_of(other)
            assert not any(asking.answered for asking in waiting)
        assert {int(asking.answer().text) for asking in waiting} <= set(own)


# ---- processes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("main", ["worker_processes 1;", "worker_processes 3;", "worker_processes auto;"])
def test_workers_are_counted_and_named(start: Callable[..., Server], main: str) -> None:
    server = start(both(), main=main)
    ordinary = {"1": 1, "3": 3, "auto": os.cpu_count() or 1}[main.split()[1][:-1]]
    wait_workers(server, default=ordinary, model=1, quick=2)
    (model,) = server.workers_of("model")
    assert title(model) == "nginx: worker process (owt model)"
    assert title(server.workers_of("default")[0]) == "nginx: worker process"
    assert ask(server, "model") == model


@pytest.mark.parametrize("mutex", ["accept_mutex on;", "accept_mutex off;"])
@pytest.mark.parametrize("listen", ["", "reuseport"])
@pytest.mark.parametrize("main", ["worker_processes 2;", "worker_processes auto; worker_cpu_affinity auto;"])
def test_a_socket_is_served_by_its_instance_alone(
    start: Callable[..., Server], main: str, listen: str, mutex: str
) -> None:
    server = Server(both(listen=listen), main=main)
    conf = server.dir / "nginx.conf"
    conf.write_text(conf.read_text().replace("events { }", f"events {{ {mutex} }}"))
    with server:
        wait_workers(server, default=2 if "2" in main else os.cpu_count() or 1, model=1, quick=2)
        check_partition(server)


def test_an_instance_runs_on_any_cpu(start: Callable[..., Server]) -> None:
    server = start(both(), main="worker_processes 1; worker_cpu_affinity 1;")
    code = "import os\ndef run(_): return sorted(os.sched_getaffinity(0))"
    assert ask(server, "default", code) == [0]
    assert ask(server, "model", code) == sorted(os.sched_getaffinity(0))


def test_a_unix_socket_and_a_wildcard_are_an_instances_own(start: Callable[..., Server]) -> None:
    server = start(
        "owt_instance a { }\nowt_instance b { }\n"
        "server { listen unix:{dir}/a.sock; owt_instance a; location / { owt; owt_guard off; } }\n"
        "server { listen *:{port2}; owt_instance b; location / { owt; } }\n"
        "server { listen 127.0.0.1:{port2}; owt_instance b; server_name other; location / { owt; } }\n"
        "server { listen 127.0.0.1:{port}; location / { owt; } }\n"
    )
    found = server.curl("/", "--unix-socket", f"{server.dir}/a.sock", "--json", json.dumps({"code": PID}))
    assert [int(found.stdout)] == server.workers_of("a")
    assert [ask(server, "model")] == server.workers_of("b")


def test_ordinary_workers_need_no_python(start: Callable[..., Server]) -> None:
    server = start(
        "owt_instance a { }\n"
        "server { listen 127.0.0.1:{port2}; owt_instance a; location / { owt; } }\n"
        "server { listen 127.0.0.1:{port}; location / { return 204; } }\n"
    )
    assert [ask(server, "model")] == server.workers_of("a")
    assert server.get("/").status_code == 204
    (ordinary,) = server.workers_of("default")
    sanitizers = 1 if "libtsan" in PRELOAD else 0
    assert len(list(Path(f"/proc/{ordinary}/task").iterdir())) == 1 + sanitizers


ENDS = {
    "SIGKILL": "import os, signal\ndef run(_): os.kill(os.getpid(), signal.SIGKILL)",
    "SIGSEGV": "import ctypes\ndef run(_): ctypes.string_at(0)",
    "_exit 2": "import os\ndef run(_): os._exit(2)",
    "abort": "import os\ndef run(_): os.abort()",
}


@pytest.mark.parametrize("end", [end for end in ENDS if not (PRELOAD and end == "SIGSEGV")])  # which it reports
def test_a_worker_that_ends_is_replaced_in_its_place(start: Callable[..., Server], tmp_path: Path, end: str) -> None:
    server = start(both())
    server.expect(r"\[alert\].*worker process \d+ exited on signal")
    gate = Gate(tmp_path)
    others = [Asking(server, WAIT, port=server.port_of(port), gate=str(gate)) for port in ("port", "port3")]
    gate.wait_reached()
    (before,) = server.workers_of("model")
    others_before = server.workers_of("default") + server.workers_of("quick")
    server.curl("/", "--json", json.dumps({"code": ENDS[end]}), url=f"http://127.0.0.1:{server.port_of('port2')}")
    wait_until(lambda: server.workers_of("model") not in ([], [before]), "another worker")
    assert [ask(server, "model")] == server.workers_of("model")
    check_partition(server)
    gate.open()
    assert [asking.answer().text for asking in others] == ["done", "done"]
    assert server.workers_of("default") + server.workers_of("quick") == others_before


def test_a_worker_killed_right_after_a_reload_is_replaced(start: Callable[..., Server]) -> None:
    server = start(both())
    server.expect(r"\[alert\].*worker process \d+ exited on signal 9")
    for _ in range(3):
        server.signal("reload")
        (before,) = wait_until(lambda: server.workers_of("model"), "the model's worker")
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: before not in children(server.master), "its end")  # noqa: B023
        assert ask(server, "model") not in (0, before)
    wait_workers(server, model=1, quick=2, default=1)
    check_partition(server)


def test_a_reload_changes_instances(start: Callable[..., Server]) -> None:
    server = start(both())
    ports = [server.port_of(port) for port in NAMES.values()]
    server.write_conf(
        "owt_instance quick { processes 3; }\n"
        f"server {{ listen 127.0.0.1:{ports[2]}; owt_instance quick; location / {{ owt; }} }}\n"
        f"server {{ listen 127.0.0.1:{ports[1]}; listen 127.0.0.1:{ports[0]}; location / {{ owt; }} }}\n"
    )
    server.signal("reload")
    wait_workers(server, default=1, quick=3, model=0)
    assert [ask(server, "model")] == server.workers_of("default")
    assert ask(server, "quick") in server.workers_of("quick")


def test_who_shuts_down_keeps_its_name(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(both())
    gate = Gate(tmp_path)
    asking = Asking(server, WAIT, port=server.port_of("port2"), gate=str(gate))
    gate.wait_reached()
    (old,) = server.workers_of("model")
    server.signal("reload")
    wait_until(lambda: title(old) == "nginx: worker process (owt model) is shutting down", "its title")
    gate.open()
    assert asking.answer().text == "done"


@pytest.mark.skipif(bool(PRELOAD), reason="the new nginx is started without the sanitizer's library")
def test_a_binary_upgrade_keeps_instances() -> None:
    """USR2, WINCH and QUIT, as in nginx's manual."""
    server = Server(both(model="preload json;"))
    # A master whose parent waits for it takes itself for the new one, and ignores USR2.
    conf = server.dir / "nginx.conf"
    conf.write_text(conf.read_text().replace("daemon off;", "daemon on;"))
    for name in NAMES.values():
        server.port_of(name)
    subprocess.run(server.command(), check=True, env=server.environment(), stdin=subprocess.DEVNULL)
    pid_file = server.dir / "nginx.pid"
    old = int(wait_until(lambda: pid_file.exists() and pid_file.read_text(), "the master"))
    masters = [old]
    stop = Event()

    def instances(master: int) -> int:
        return sum("(owt " in title(pid) and "shutting" not in title(pid) for pid in children(master))

    try:
        wait_until(lambda: instances(old) == 3, "the workers")
        with ThreadPoolExecutor(3) as pool:
            futures = [pool.submit(hammer, server, name, stop) for name in NAMES]
            try:
                os.kill(old, signal.SIGUSR2)
                wait_until(lambda: pid_file.exists() and pid_file.read_text() not in ("", f"{old}\n"), "a new master")
                new = int(pid_file.read_text())
                masters.append(new)
                wait_until(lambda: instances(new) == 3, "its workers")
                os.kill(old, signal.SIGWINCH)
                wait_until(lambda: children(old) == [new], "the old workers' end")
                os.kill(old, signal.SIGQUIT)
                wait_until(lambda: not title(old), "the old master's end")
                masters.remove(old)
                for name in NAMES:
                    assert ask(server, name) in children(new)
            finally:
                stop.set()
        assert [future.result() for future in futures] == [[], [], []]
    finally:
        for master in masters:
            os.kill(master, signal.SIGQUIT)
            wait_until(lambda: not title(master), "the end", 20)  # noqa: B023
        server.close()


def hammer(server: Server, name: str, stop: Event) -> list[object]:
    """Calls one after the other; what failed."""
    failed: list[object] = []
    while not stop.is_set():
        try:
            answer = Asking(server, PID, port=server.port_of(NAMES[name])).answer()
            if answer.status != 200 or not answer.whole:
                failed.append(answer)
        except OSError as error:
            failed.append(error)
    return failed


def test_without_a_master_one_process_serves_all(tmp_path: Path) -> None:
    server = Server(both(), main="master_process off;")
    with (server.dir / "error.log").open("ab") as log:
        process = subprocess.Popen(
            server.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=server.environment()
        )
    try:
        for port in NAMES.values():
            wait_until(lambda port=port: _connects(server, port), "nginx to listen")
        assert {ask(server, name) for name in NAMES} == {process.pid}
        server.wait_log(r"\[warn\].*one process serves all")
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(20)
        server.close()


def _connects(server: Server, port: str) -> bool:
    try:
        server.connect(server.port_of(port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_without_a_master_instances_alone_are_served() -> None:
    server = Server(
        "owt_instance a { }\nserver { listen 127.0.0.1:{port}; owt_instance a; location / { owt; } }\n",
        main="worker_processes 0;\nmaster_process off;",
    )
    with (server.dir / "error.log").open("ab") as log:
        process = subprocess.Popen(
            server.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=server.environment()
        )
    try:
        wait_until(lambda: _connects(server, "port"), "nginx to listen")
        assert int(Asking(server, PID).answer().text) == process.pid
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(20)
        server.close()


def test_a_process_that_is_full_is_replaced_in_its_place(start: Callable[..., Server]) -> None:
    server = start(both(model="max_calls 3;"))
    (first,) = server.workers_of("model")
    pids = [ask(server, "model") for _ in range(7)]
    assert len(set(pids)) == 3
    assert pids[:3] == [first] * 3
    wait_workers(server, model=1, quick=2, default=1)


# ---- a Python of its own --------------------------------------------------------------------------------------------


def test_each_has_its_own_python(start: Callable[..., Server], tmp_path: Path) -> None:
    home = tmp_path / "venv"
    subprocess.run(["/usr/bin/python3", "-m", "venv", home], check=True)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "only_here.py").write_text("import os\nseen = os.environ['CUDA_VISIBLE_DEVICES']\n")
    lines = f"python_home {home}; python_path {tmp_path}/here; env CUDA_VISIBLE_DEVICES=7; preload only_here;"
    server = start(both(model=lines), main="env CUDA_VISIBLE_DEVICES=0;")
    code = """
import multiprocessing, os, subprocess, sys, threading

def name(_):
    return sys.prefix

def run(_):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (child,) = pool.map(name, [0])
    pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, text=True).stdout
    return [sys.prefix, sys.executable, child, "only_here" in sys.modules, os.environ.get("CUDA_VISIBLE_DEVICES"), pip]
"""
    prefix, executable, child, preloaded, device, pip = ask(server, "model", code)
    assert prefix == child == str(home)
    assert Path(executable).parent == home / "bin"
    assert preloaded
    assert device == "7"
    assert str(home) in pip
    prefix, executable, child, preloaded, device, _ = ask(server, "quick", code)
    assert prefix == child == (HOME or "/usr")
    assert Path(executable).parent == Path(HOME or "/usr") / "bin"
    assert not preloaded
    assert device == "0"
    assert "seen = 7" in ask(server, "model", "import only_here\ndef run(_): return ['seen = ' + only_here.seen]")


def test_each_has_threads_and_a_queue_of_its_own(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(both(model="queue 1;"))
    port = server.port_of("port2")
    gate = Gate(tmp_path)
    running = Asking(server, WAIT, port=port, gate=str(gate))
    gate.wait_reached()
    waiting = Asking(server, PID, port=port)
    # Calls that come one after the other on the same loop: whichever of the two is late finds the queue full.
    refused = Asking(server, PID, port=port)
    wait_until(lambda: waiting.answered or refused.answered, "the refusal")
    assert ask(server, "default") in server.workers_of("default")
    assert ask(server, "quick") in server.workers_of("quick")
    gate.open()
    assert running.answer().text == "done"
    assert {waiting.answer().status, refused.answer().status} == {200, 503}


def test_a_call_stuck_in_c_is_its_instances_alone(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(both(model="grace 100ms;"))
    server.expect(r"\[error\]")
    (before,) = server.workers_of("model")
    held = Asking(
        server,
        "import pathlib\ndef run(_, file):\n    pathlib.Path(file).touch()\n    sum(range(10**12))\n",
        port=server.port_of("port2"),
        file=str(tmp_path / "begun"),
    )
    wait_until((tmp_path / "begun").exists, "the call")
    for name in ("default", "quick"):
        assert ask(server, name) in server.workers_of(name)
    held.leave()
    if not has_gil():  # the others go on, until they are all to stand still
        server.wait_log("written off")
        collects = Asking(server, "import gc\ndef run(_): gc.collect()\n", port=server.port_of("port2"))
    # Python cannot be had there any more, and the process goes.
    wait_until(lambda: server.workers_of("model") not in ([], [before]), "another worker", 20)
    assert ask(server, "model") != before
    if not has_gil():
        assert collects.answer().status == 503


# ---- preload --------------------------------------------------------------------------------------------------------


def test_a_preload_that_fails_costs_the_others_nothing(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(both(model=f"python_path {tmp_path}; preload late;"))
    server.wait_log(r"preload late failed, next attempt in 1 s: (.|\n)*ModuleNotFoundError: No module named 'late'")
    server.wait_log(r"'late' is not in this server's .*python_path DIR; in the server's owt_instance")
    server.wait_log(r"preload late failed, next attempt in 2 s")
    waiting = Asking(server, PID, port=server.port_of("port2"))
    assert ask(server, "default") and ask(server, "quick")
    assert not waiting.answered
    (tmp_path / "late.py").write_text("")
    assert [int(waiting.answer().text)] == server.workers_of("model")


def test_a_preload_that_ends_the_process_is_not_tried_in_a_tight_loop(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    (tmp_path / "deadly.py").write_text(
        f"import os, pathlib\nif not pathlib.Path({str(tmp_path / 'healed')!r}).exists(): os.abort()\n"
    )
    server = start(both(model=f"python_path {tmp_path}; preload deadly;"))
    server.expect(r"\[alert\].*exited on signal 6")
    server.wait_log("ended before they were ready: Python starts in 1 s")
    server.wait_log("ended before they were ready: Python starts in 2 s")
    assert ask(server, "default") and ask(server, "quick")
    (tmp_path / "healed").touch()
    assert [ask(server, "model")] == server.workers_of("model")


def test_no_call_fails_while_a_reload_preloads(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\nif pathlib.Path(__file__).with_name('slowly').exists(): time.sleep(3)\n"
    )
    server = start(both(model=f"python_path {tmp_path}; preload slow;", quick=f"python_path {tmp_path}; preload slow;"))
    before = {name: server.workers_of(name) for name in NAMES}
    (tmp_path / "slowly").touch()
    stop = Event()
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(hammer, server, name, stop) for name in list(NAMES) * 2]
        try:
            server.signal("reload")
            for name in NAMES:
                wait_until(lambda: ask(server, name) not in before[name], f"new workers of {name}")  # noqa: B023
        finally:
            stop.set()
    assert [future.result() for future in futures] == [[]] * 6


def test_a_preload_finds_a_directory_that_is_made_later(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(both(model=f"python_path {tmp_path}/late; preload late;"))
    server.wait_log("preload late failed, next attempt in 1 s")
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "late.py").write_text("")
    assert [ask(server, "model")] == server.workers_of("model")


def test_a_preload_holds_up_nothing_but_owt(start: Callable[..., Server], tmp_path: Path) -> None:
    server = Server(
        f"owt_instance default {{ python_path {tmp_path}; preload late; }}\n"
        "server { listen 127.0.0.1:{port}; location / { owt; } }\n"
        "server { listen 127.0.0.1:{port2}; location / { return 200 plain; } }\n"
    )
    conf = server.dir / "nginx.conf"
    conf.write_text(conf.read_text().replace("events { }", "events { accept_mutex on; }"))
    with server:
        server.wait_log("preload late failed")
        waiting = Asking(server, PID)
        assert server.client(f"http://127.0.0.1:{server.port_of('port2')}").get("/").text == "plain"
        assert not waiting.answered
        (tmp_path / "late.py").write_text("")
        assert [int(waiting.answer().text)] == server.workers_of("default")


def test_a_virtualenv_that_is_gone_is_not_the_systems_python(start: Callable[..., Server], tmp_path: Path) -> None:
    home = bare(tmp_path / "venv")
    server = start(both(model=f"python_home {home};"))
    server.expect(r"\[error\].*Python did not start|exited on signal 9")
    (before,) = server.workers_of("model")
    home.rename(tmp_path / "gone")
    os.kill(before, signal.SIGKILL)
    server.wait_log(rf"Python did not start: {home}/bin/python3: No such file")
    waiting = Asking(server, PID, port=server.port_of("port2"))
    assert ask(server, "default") and ask(server, "quick")
    assert not waiting.answered
    server.wait_log("ended before they were ready: Python starts in 2 s")
    (tmp_path / "gone").rename(home)
    assert [int(waiting.answer().text)] == server.workers_of("model")


@landlock
def test_a_process_that_cannot_start_is_tried_again(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    server = start(both(model=f"writable {tmp_path}/w;"))
    server.expect(r"exited on signal 9")
    (tmp_path / "w").rmdir()
    os.kill(server.workers_of("model")[0], signal.SIGKILL)
    server.wait_log(r'a process of "owt_instance model" cannot start: .*"writable".*No such file')
    assert ask(server, "default") and ask(server, "quick")
    (tmp_path / "w").mkdir()
    assert [ask(server, "model")] == server.workers_of("model")


@landlock
def test_a_process_that_cannot_start_holds_up_no_quit(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    server = start(both(model=f"writable {tmp_path}/w;"))
    server.expect(r"exited on signal 9")
    (tmp_path / "w").rmdir()
    os.kill(server.workers_of("model")[0], signal.SIGKILL)
    server.wait_log("cannot start: ")
    server.signal("quit")


def test_max_rss_below_what_preload_needs_is_an_error(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(both(model="max_rss 1m;"))
    server.wait_log(r"\[error\].*this process of model has \d+ bytes before its first call, more than its max_rss")
    assert [ask(server, "model")] == server.workers_of("model")


# ---- unix sockets ---------------------------------------------------------------------------------------------------

UNIX = """
owt_instance a { }
server { listen unix:{dir}/sockets/a.sock; owt_instance a; location / { owt; owt_guard off; } }
server { listen 127.0.0.1:{port}; location / { owt; } }
"""


def ask_unix(server: Server) -> str:
    found = server.curl("/", "--unix-socket", f"{server.dir}/sockets/a.sock", "--json", json.dumps({"code": PID}))
    return found.stdout


def test_the_directory_of_a_socket_is_made_for_nginx_alone(start: Callable[..., Server]) -> None:
    server = start(UNIX)
    assert (server.dir / "sockets").stat().st_mode & 0o777 == (0o710 if os.geteuid() == 0 else 0o700)
    assert [int(ask_unix(server))] == server.workers_of("a")
    server.signal("reload")
    assert int(ask_unix(server)) in server.workers(leaving=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("late", [False, True])
def test_no_call_puts_anything_where_root_makes_a_socket(late: bool) -> None:
    """Root makes it writable for all by its name, which could have become a link meanwhile."""
    front = "location /a/ { proxy_pass http://unix:{dir}/sockets/a.sock:/; proxy_set_header Host localhost; }"
    server = Server(UNIX.replace("location / { owt; } }", f"{front} location / {{ owt; }} }}"))
    server.dir.chmod(0o711)
    path = server.dir / "nginx.conf"
    conf = path.read_text()
    assert "user root;" in conf
    user = "user nobody nogroup;"
    path.write_text(conf.replace("user root;", "") + user if late else conf.replace("user root;", user))
    with server:
        for change in ["os.unlink(file)", "os.rename(file, file + '.old')", "os.symlink('/etc/passwd', file + '.new')"]:
            code = f"import os\ndef run(_, file): {change}"
            said = Asking(server, code, "/a/", file=f"{server.dir}/sockets/a.sock").answer().text
            assert "PermissionError" in said
        assert [int(ask_unix(server))] == server.workers_of("a")


def test_the_directory_of_a_socket_that_cannot_be_made_is_told() -> None:
    server = Server(UNIX.replace("{dir}/sockets", "{dir}/no/such"))
    said = server.test_conf()
    server.close()
    assert said.returncode == 1
    assert f'mkdir() "{server.dir}/no/such" for a unix socket failed (2: No such file or directory)' in said.stderr


def test_sockets_may_lie_together_and_in_owt_dir(start: Callable[..., Server]) -> None:
    server = start(
        "owt_dir {dir}/here; owt_instance a { } owt_instance b { }\n"
        "server { listen unix:{dir}/here/a.sock; listen unix:{dir}/sockets/a.sock; owt_instance a;"
        " location / { owt; owt_guard off; } }\n"
        "server { listen unix:{dir}/sockets/b.sock; owt_instance b; location / { owt; owt_guard off; } }\n"
        "server { listen 127.0.0.1:{port}; location / { owt; } }\n"
    )
    for name, sockets in {"a": ["here/a", "sockets/a"], "b": ["sockets/b"]}.items():
        for socket in sockets:
            found = server.curl(
                "/", "--unix-socket", f"{server.dir}/{socket}.sock", "--json", json.dumps({"code": PID})
            )
            assert [int(found.stdout)] == server.workers_of(name)


def test_a_socket_that_a_killed_nginx_left_is_removed() -> None:
    server = Server(UNIX)
    server.expect(r"exited on signal 9")
    server.start()
    server._kill()
    assert (server.dir / "sockets" / "a.sock").is_socket()
    assert server.test_conf().returncode == 0
    assert (server.dir / "sockets" / "a.sock").is_socket()  # a test changes nothing
    with server:
        server.wait_log(r"\[notice\].*removing .*/sockets/a.sock, at which nobody listens")
        wait_until(lambda: server.workers_of("a"), "its worker")
        assert [int(ask_unix(server))] == server.workers_of("a")


def test_a_socket_that_somebody_listens_on_is_left(start: Callable[..., Server]) -> None:
    server = start(UNIX)
    other = Server(UNIX.replace("{dir}", str(server.dir)))
    other.expect(r"\[emerg\].*bind")
    done = subprocess.run(other.command(), capture_output=True, text=True, env=other.environment())
    other.close()
    assert done.returncode != 0
    assert "Address already in use" in done.stderr
    assert [int(ask_unix(server))] == server.workers_of("a")


@landlock
def test_what_may_not_write_cannot_remove_a_socket(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    server = start(
        UNIX.replace("owt_instance a { }", f"owt_instance a {{ writable {tmp_path}/w; }}").replace(
            "{dir}/sockets", f"{tmp_path}/sockets"
        )
    )
    socket = tmp_path / "sockets" / "a.sock"
    code = f"import os\ndef run(_): os.unlink({str(socket)!r})"
    refused = server.curl("/", "--unix-socket", str(socket), "--json", json.dumps({"code": code}))
    assert "PermissionError" in refused.stdout
    assert socket.is_socket()


# ---- mistakes -------------------------------------------------------------------------------------------------------

HERE = " # here"
OWN = "server {\nlisten 127.0.0.1:{port2};\nowt_instance a;\nlocation / { owt; }\n}\n"
MISTAKES = {
    "processes of default": (
        "owt_instance default {\nprocesses 2;" + HERE + "\n}\n",
        r'"processes" in "owt_instance": .*worker_processes',
    ),
    "processes: zero": ("owt_instance a {\nprocesses 0;" + HERE + "\n}\n" + OWN, "one number from 1 to "),
    "processes: many": ("owt_instance a {\nprocesses 100000;" + HERE + "\n}\n" + OWN, "one number from 1 to "),
    "processes: twice": ("owt_instance a {\nprocesses 1;\nprocesses 1;" + HERE + "\n}\n" + OWN, "duplicate"),
    "twice": ("owt_instance a {\n}\nowt_instance a {" + HERE + "\n}\n" + OWN, r'"owt_instance a" is duplicate, .*:\d+'),
    "processes: too many together": (
        "owt_instance a {\nprocesses 256;\n}\nowt_instance b {"
        + HERE
        + "\nprocesses 256;\n}\n"
        + OWN
        + OWN.replace("port2", "port3").replace(" a;", " b;"),
        "more than 400 processes together",
    ),
    "a name with a space": ('owt_instance "a b" {' + HERE + "\n}\n", "a name has letters"),
    "an empty name": ('owt_instance "" {' + HERE + "\n}\n", "a name has letters"),
    "unknown": (
        "server {\nlisten 127.0.0.1:{port};\nowt_instance b;" + HERE + "\nlocation / { owt; }\n}\n",
        r'"owt_instance b": no such instance, add "owt_instance b { }" to the http block',
    ),
    "unused": ("owt_instance a {" + HERE + "\n}\n", r'"owt_instance a { }" serves nothing, add "owt_instance a;"'),
    "two in a server": (
        "owt_instance a { }\nowt_instance b { }\nserver {\nowt_instance a;\nowt_instance b;" + HERE + "\n}\n",
        '"owt_instance" directive is duplicate',
    ),
    "a block in a server": ("server {\nowt_instance a {" + HERE + "\n}\n}\n", "not terminated"),
    "a name alone in http": ("owt_instance a;" + HERE + "\n", 'no opening "{"'),
    "in a location": ("server {\nlocation / {\nowt_instance a;" + HERE + "\n}\n}\n", "not allowed here"),
    "a socket of two": (
        "owt_instance a { }\nserver {\nlisten 127.0.0.1:{port};\nlocation / { owt; }\n}\n"
        "server {\nlisten 127.0.0.1:{port};\nserver_name a;\nowt_instance a;" + HERE + "\nlocation / { owt; }\n}\n",
        r'"listen 127.0.0.1:\d+" is one socket for servers of the instances "default" and "a"',
    ),
    "a wildcard's socket": (
        "owt_instance a { }\nserver {\nlisten {port};\nlocation / { owt; }\n}\n"
        "server {\nlisten 127.0.0.1:{port};\nowt_instance a;" + HERE + "\nlocation / { owt; }\n}\n",
        r'"listen 0.0.0.0:\d+" is one socket for servers of the instances "default" and "a"',
    ),
    "reuseport": (
        "owt_instance a { }\nserver {\nlisten 127.0.0.1:{port} reuseport;\nowt_instance a;" + HERE + "\n}\n",
        r'"reuseport" of "listen 127.0.0.1:\d+" is not for servers of an owt_instance',
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_line(mistake: str) -> None:
    http, told = MISTAKES[mistake]
    server = Server(http)
    try:
        done = server.test_conf()
        assert done.returncode != 0
        lines = [number for number, line in enumerate(server.conf.splitlines(), 1) if line.endswith(HERE)]
        (error,) = [line for line in done.stderr.splitlines() if "[emerg]" in line]
        assert re.search(told, error)
        assert error.endswith(f"/nginx.conf:{lines[0]}")
    finally:
        server.close()


def test_a_reload_with_a_mistake_leaves_all_as_it_was(start: Callable[..., Server]) -> None:
    server = start(both())
    server.expect(r"\[emerg\].*serves nothing")
    wait_workers(server, default=1, model=1, quick=2)
    before = server.workers()
    server.write_conf("owt_instance nobody { }\n")
    with pytest.raises(RuntimeError, match="serves nothing"):
        server.signal("reload")
    assert server.workers() == before
    check_partition(server)


def test_the_configuration_is_tested_without_processes() -> None:
    server = Server(both())
    try:
        done = server.test_conf()
        assert done.returncode == 0, done.stderr
    finally:
        server.close()
