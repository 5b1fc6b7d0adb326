"""What one adaptor may not do to another inside one process: to its descriptors, to what Python has once in a process,
and to the children of others."""

import itertools
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from asking import Asking
from gate import PAUSE, Gate
from harness import HOLDS_SIGNALS, PRELOAD, Server, child_has_threads, children, has_landlock, wait_until

CONF = """
client_body_buffer_size 1k;
client_max_body_size 10m;
owt_instance default { threads 8; env SECRET=kept; }
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /plain { return 200 plain; }
    location /front/ { proxy_pass http://127.0.0.1:{port}/; proxy_http_version 1.1; proxy_set_header Connection ""; }
}
"""

ONE = "owt_instance default { threads 4; }\nserver { listen 127.0.0.1:{port}; location / { owt; } }\n"

PID = "import os\ndef run(_): return os.getpid()\n"
ECHO = "def run(_, name='owt'): return f'Hello, {name}!'\n"

LIBC = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def numbers(what):
    \"\"\"Of the descriptors whose target begins so.\"\"\"
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink("/proc/self/fd/" + name).startswith(what):
                found.append(int(name))
        except OSError:
            pass
    return sorted(found)
"""

_count = itertools.count()


def fresh(code: str) -> str:
    """The same as a source that has not been loaded yet."""
    return f"{code}\n# {next(_count)}\n"


def run(server: Server, code: str, **fields: object) -> httpx.Response:
    answer = server.run(fresh(code), **fields)
    assert answer.status_code == 200, answer.text
    return answer


def standard(server: Server, pid: int | None = None) -> list[str]:
    """What 0, 1 and 2 of the worker are."""
    return [str(Path(f"/proc/{pid or server.workers()[0]}/fd/{number}").readlink()) for number in range(3)]


def ask_pid(server: Server) -> int:
    return int(Asking(server, PID).answer().text)


@pytest.fixture
def whole(server: Server) -> Iterator[None]:
    """Neither the process nor its descriptors 0 to 2 are others afterwards, and it serves as before."""
    before = server.workers(), standard(server)
    yield
    assert (server.workers(), standard(server)) == before
    assert run(server, ECHO, name="you").text == "Hello, you!"
    assert run(server, "async def run(_): return 'later'").text == "later"


# ---- descriptors ----------------------------------------------------------------------------------------------------

INSTANCES = """
owt_instance one { }
owt_instance two { processes 2; }
server { listen 127.0.0.1:{port}; location / { owt; } }
server { listen 127.0.0.1:{port2}; owt_instance one; location / { owt; } }
server { listen 127.0.0.1:{port3}; owt_instance two; location / { owt; } }
server { listen 127.0.0.1:{port4} reuseport; location / { owt; } }
"""

HOLDS = """
import ctypes, os, re
def run(_, shut=False):
    listens = {}
    for line in open("/proc/net/tcp").readlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            listens.setdefault(fields[9], int(fields[1].partition(":")[2], 16))
    held = []
    for name in os.listdir("/proc/self/fd"):
        try:
            inode = re.match(r"socket:\\[(.*)\\]", os.readlink("/proc/self/fd/" + name))
        except OSError:
            continue
        if inode and inode[1] in listens:
            held.append(listens[inode[1]])
            if shut:
                ctypes.CDLL(None).shutdown(int(name), 2)
    return sorted(held)
"""


OVER_THE_THREE = [
    "sys.stdout = open(sys.stdout.fileno(), mode='w', encoding='utf-8', buffering=1); print('secret')",
    "sys.stderr = os.fdopen(2, 'w', 1); print('secret', file=sys.stderr)",
    "open(1, 'w').write('secret')",
    "open(0).read(0)",
    "open(True, 'w').write('secret')",
    "io.open(1, 'wb', 0).write(b'secret')",
    "_io.open(file=1, mode='w').write('secret')",
    "io.FileIO(1, 'w').write(b'secret')",
    "io.FileIO(file=1, mode='w', closefd=True).write(b'secret')",
    "io.FileIO.__init__(io.FileIO.__new__(io.FileIO), 1, 'w')",
    "type('Mine', (io.FileIO,), {})(1, 'w').write(b'secret')",
    "Own(1).write(b'secret')",
    "open('anything', 'w', opener=lambda path, flags: 1).write('secret')",
    "open(Number(), 'w').write('secret')",
    "open(1, 'w', closefd=False).write('secret')",
    "tempfile.TemporaryFile().write(b'mine')",
    'exec(\'with open(1, "w") as file: file.write("secret")\')',
    "sys.stdin.close(), sys.stdout.close(), sys.stderr.close(), sys.__stdout__.close()",
]


@pytest.mark.parametrize("action", OVER_THE_THREE)
@pytest.mark.usefixtures("whole")
def test_files_over_the_three_are_copies(server: Server, action: str) -> None:
    code = f"""
import _io, gc, io, os, sys, tempfile
class Own(io.FileIO):
    def __init__(self, fd): super().__init__(fd, "w")
class Number:
    def __index__(self): return 1
def run():
    {action}
    gc.collect()
"""
    others = [server.connect() for _ in range(5)]
    for _ in range(3):
        run(server, code)
        others.append(server.connect())
    for other in others:
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(100)
        other.close()


@pytest.mark.usefixtures("whole")
def test_at_the_top_of_two_adaptors(server: Server) -> None:
    code = "import sys\nsys.stdout = open(sys.stdout.fileno(), mode='w', encoding='utf-8', buffering=1)\n" + ECHO
    with ThreadPoolExecutor(4) as pool:
        for answer in pool.map(lambda _: run(server, code.replace("return", "print('secret'); return")), range(12)):
            assert answer.text == "Hello, owt!"


def test_a_file_over_the_three_has_its_name(server: Server) -> None:
    assert run(server, "def run():\n    with open(1, 'w') as f: return [f.name, f.fileno() > 2]").json() == [1, True]


CLOSING = [
    "os.close(1)",
    "os.close(fd=0)",
    "posix.close(2)",
    "os.closerange(0, 3)",
    "os.closerange(2, 1 << 30)",
    "os.closerange(3, 1000)",
    "posix.closerange(-10, 10_000)",
    "os.dup2(opened, 1)",
    "os.dup2(opened, fd2=2, inheritable=False)",
    "posix.dup2(opened, 0)",
    "os.login_tty(opened)",
    "_socket.close(1)",
    "captured(1)",
    "_pyio.open(1, 'w').close()",
    "multiprocessing.connection.Connection(1, readable=False).close()",
    "os.execv('/bin/true', ['true'])",
    "os.execvp('true', ['true'])",
    "os.execle('/bin/true', 'true', {})",
]


@pytest.mark.parametrize("action", CLOSING)
@pytest.mark.usefixtures("whole")
def test_the_servers_own_are_not_closed(server: Server, action: str) -> None:
    code = f"""
import _pyio, _socket, multiprocessing.connection, os, posix
from os import close as captured
def run():
    opened = os.open("/dev/null", os.O_RDWR)
    try:
        {action}
    except OSError as error:
        return str(error)
    finally:
        os.close(opened)
"""
    assert "the server" in run(server, code).text


EVERYTHING = """
import os, socket
def run(way):
    ways = {
        "close": os.close,
        "dup2": lambda fd: os.dup2(null, fd),
        "dup": lambda fd: os.close(os.dup(fd)),
        "open": lambda fd: open(fd, "rb", 0).close(),
        "socket": lambda fd: socket.socket(fileno=fd).close(),
        "fromfd": lambda fd: socket.fromfd(fd, socket.AF_INET, socket.SOCK_STREAM).close(),
    }
    null = os.open("/dev/null", os.O_RDWR)
    refused = []
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        fd = int(name)
        if fd in (0, 1, 2, null):
            continue
        try:
            target = os.readlink("/proc/self/fd/" + name)
            ways[way](fd)
        except OSError as error:
            if "the server" in str(error):
                refused.append(target)
    os.close(null)
    return refused
"""


@pytest.mark.parametrize("way", ["close", "dup2", "dup", "open", "socket", "fromfd"])
def test_nothing_that_nginx_has_open_can_be_had(start: Callable[..., Server], tmp_path: Path, way: str) -> None:
    server = start(CONF)
    worker = ask_pid(server)
    with server.connect() as kept, server.connect() as sending:
        kept.sendall(b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"plain" in kept.recv(4096)
        # A body that nginx spools, halfway.
        sending.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n" + b"x" * 10000)
        wait_until(lambda: "/body/" in targets(worker), "the body's file")
        gate = Gate(tmp_path)
        front = Asking(
            server, f"def run(_, gate):\n    pause(gate)\n    return 'done'\n{PAUSE}", "/front/", gate=str(gate)
        )
        gate.wait_reached()
        refused = run(server, EVERYTHING, way=way).json()
        kinds = {re.sub(r"\d+", "N", Path(target).name.split(" ")[0]) for target in refused}
        wanted = {"error.log", "access.log"}
        wanted |= {"socket:[N]"} if way not in ("open",) else {"socket:[N]"}
        assert wanted <= kinds, kinds
        assert sum(target.startswith("anon_inode:[event") for target in refused) >= 3
        assert sum(target.startswith("socket:") for target in refused) >= 6
        assert sum("/body/" in target for target in refused) == 1
        gate.open()
        assert front.answer().text == "done"
        kept.sendall(b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"plain" in kept.recv(4096)
        sending.sendall(b"x" * 10000)
        assert b"400" in sending.recv(4096)
    assert ask_pid(server) == worker
    server.signal("reopen")
    server.wait_log("reopening logs")
    assert run(server, ECHO).text == "Hello, owt!"


def targets(pid: int) -> str:
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except OSError:
            continue
    return "\n".join(found)


@pytest.mark.usefixtures("whole")
def test_what_python_has_opened_is_closed_as_ever(server: Server) -> None:
    code = """
import os, socket, tempfile
def run(request):
    opened = [*os.pipe(), os.open("/dev/null", os.O_RDWR), tempfile.mkstemp()[0], os.dup(1), os.eventfd(0)]
    opened += [one.detach() for one in socket.socketpair()] + [socket.create_server(("127.0.0.1", 0)).detach()]
    opened.append(os.dup(request.stream.fileno()))
    os.dup2(opened[0], opened[1])
    open(opened.pop(), "rb").close()
    socket.socket(fileno=opened.pop()).close()
    for fd in opened:
        os.close(fd)
    low = os.open("/dev/null", os.O_RDWR)
    high = os.dup(low)
    os.close(low)
    os.closerange(high, high + 1)
    return [fd for fd in (*opened, low, high) if os.path.exists(f"/proc/self/fd/{fd}")]
"""
    for _ in range(3):
        answer = server.post("/", params={"code": fresh(code)}, content=b"x" * 100_000)
        assert answer.text.strip() == "[]", answer.text


@pytest.mark.usefixtures("whole")
def test_children_are_free(server: Server) -> None:
    code = """
import os, subprocess, sys
def run():
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(0)
            os.dup2(os.open("/dev/null", os.O_RDWR), 1)
            open(1, "w").close()
            os.closerange(0, 100)
            status = 7
        finally:
            os._exit(status)
    forked = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    child = os.fork()
    if child == 0:
        os.execv("/bin/sh", ["sh", "-c", "exit 2"])
    replaced = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    asked = subprocess.run(["sh", "-c", "read x; echo $? 2>&1 >&3; exit 5"], preexec_fn=lambda: os.dup2(1, 3), pass_fds=[3])
    return [forked, replaced, asked.returncode]
"""
    assert run(server, code).json() == [7, 2, 5]


def test_a_socket_with_a_low_number_is_not_served(start: Callable[..., Server]) -> None:
    """C can close anything: a client whose socket gets such a number is turned away."""
    server = start(CONF)
    server.expect("close|epoll_ctl")
    worker, before = ask_pid(server), standard(server)
    code = f"""{LIBC}
import socket
def run(_, number, there):
    with socket.socket() as client:
        libc.close(number)
        client.connect(("127.0.0.1", there))
        client.sendall(b"GET /plain HTTP/1.0\\r\\n\\r\\n")
        try:
            return client.recv(100).decode()
        except ConnectionError:
            return ""
        finally:
            os.write(number, b"secret")
"""
    for number in (1, 0, 2):
        seen = len(server.error_log)
        text = Asking(server, fresh(code), number=number, there=server.port).answer().text
        assert text == "" or ("plain" in text and "secret" not in text)
        server.wait_log(r"\[error\].*(std(in|out|err)).*put back", after=seen)
        assert standard(server) == before
    assert ask_pid(server) == worker


def test_an_upstream_socket_with_a_low_number_is_not_used(start: Callable[..., Server]) -> None:
    server = start(CONF)
    worker, before = ask_pid(server), standard(server)
    # The call's own connection has been accepted before the number is free: what gets it is the front's upstream.
    code = f"""{LIBC}
import http.client
def run(_, port):
    client = http.client.HTTPConnection("127.0.0.1", port)
    client.request("GET", "/plain")
    client.getresponse().read()
    libc.close(1)
    client.request("GET", "/front/plain")
    return str(client.getresponse().status)
"""
    line = run(server, code, port=server.port).text
    assert "500" in line or "200" in line
    server.wait_log(r"\[error\].*put back")
    assert standard(server) == before
    assert ask_pid(server) == worker


VITAL = [
    ("anon_inode:[eventpoll]", "[:1]"),
    ("anon_inode:[eventfd]", ""),
    ("socket:", ""),
    ("", "[3:200]"),
]


@pytest.mark.skipif(bool(PRELOAD), reason="the sanitizer watches descriptors itself")
@pytest.mark.parametrize(("what", "which"), VITAL)
def test_a_process_that_has_lost_its_descriptors_is_replaced(
    start: Callable[..., Server], what: str, which: str
) -> None:
    server = start(CONF)
    server.expect("Bad file descriptor|Invalid argument|epoll")
    worker = ask_pid(server)
    code = f"{LIBC}\ndef run(_):\n    for fd in [n for n in numbers({what!r}) if n > 2]{which}: libc.close(fd)\n"
    asked = Asking(server, code)
    wait_until(lambda: set(server.workers()) - {worker}, "another process")
    asked.leave()
    assert ask_pid(server) != worker
    wait_until(lambda: worker not in children(server.master), "the old one's end")
    assert server.error_log.count("[alert]") < 100


@pytest.mark.skipif(bool(PRELOAD), reason="the sanitizer watches descriptors itself")
def test_a_listening_socket_that_was_shut_down_listens_again(start: Callable[..., Server]) -> None:
    server = start(CONF)
    server.expect("Invalid argument")
    assert Asking(server, HOLDS, shut=True).answer().text.strip() == f"[{server.port}]"
    server.wait_log("Invalid argument")
    wait_until(lambda: serves(server), "the socket")
    server.signal("reload")
    assert run_once(server, ECHO).text == "Hello, owt!"
    assert server.error_log.count("[alert]") < 100


def serves(server: Server) -> bool:
    try:
        return Asking(server, ECHO).answer().status == 200
    except OSError:
        return False


def run_once(server: Server, code: str, **fields: object):
    return Asking(server, fresh(code), **fields).answer()


def test_a_process_has_no_socket_of_others(start: Callable[..., Server]) -> None:
    server = start(INSTANCES, main="worker_processes 2;")
    ports = {name: server.port_of(name) for name in ("port", "port2", "port3", "port4")}
    for _ in range(2):
        for name, own in (("port", {"port", "port4"}), ("port2", {"port2"}), ("port3", {"port3"})):
            answer = Asking(server, HOLDS, port=ports[name]).answer()
            assert answer.text.strip() == str(sorted(ports[one] for one in own)).replace(" ", ""), name
        server.signal("reload")
    for port in ports.values():
        assert Asking(server, ECHO, port=port).answer().text == "Hello, owt!"


# ---- children -------------------------------------------------------------------------------------------------------

STARTING = {
    "system": "os.system(command)",
    "popen": "os.popen(command).close()",
    "posix_spawn": "wait(os.posix_spawn('/bin/sh', ['sh', '-c', command], os.environ))",
    "posix_spawnp": "wait(os.posix_spawnp('sh', ['sh', '-c', command], {}))",
    "spawnv": "os.spawnv(os.P_WAIT, '/bin/sh', ['sh', '-c', command])",
    "subprocess": "subprocess.run(command, shell=True)",
    "close_fds": "subprocess.run(command, shell=True, close_fds=False)",
    "close_fds_named": "subprocess.Popen(command, shell=True, close_fds=0).wait()",
    "preexec": "subprocess.run(command, shell=True, close_fds=False, preexec_fn=print)",
    "fork": "fork(command)",
    "C": "ctypes.CDLL(None).system(command.encode())",
}


@pytest.mark.parametrize("way", STARTING)
def test_programs_inherit_nothing(server: Server, tmp_path: Path, way: str) -> None:
    code = f"""
import ctypes, os, subprocess
def wait(pid): os.waitpid(pid, 0)
def fork(command):
    pid = os.fork()
    if pid == 0:
        os.execv("/bin/sh", ["sh", "-c", command])
    wait(pid)
def run(_, file):
    command = f"ls -l /proc/self/fd > {{file}}"
    {STARTING[way]}
    return open(file).read()
"""
    gate = Gate(tmp_path)
    with server.connect() as kept, server.connect() as sending, server.connect() as idle:
        kept.sendall(b"GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"plain" in kept.recv(4096)
        sending.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n" + b"x" * 10000)
        wait_until(lambda: "/body/" in targets(server.workers()[0]), "the body's file")
        front = Asking(
            server, f"def run(_, gate):\n    pause(gate)\n    return 'done'\n{PAUSE}", "/front/", gate=str(gate)
        )
        gate.wait_reached()
        listing = run(server, code, file=str(tmp_path / "fds")).text
        inherited = re.findall(r"(\d+) -> (.*)", listing)
        others = [
            target
            for number, target in inherited
            if int(number) > 2 and not target.startswith("/proc/") and not (way == "C" and "/body/" in target)
        ]
        assert len(inherited) >= 3, listing
        assert others == [], listing
        gate.open()
        assert front.answer().text == "done"
        idle.close()


@pytest.mark.parametrize("make", ["os.pipe2(0)", "inheritable()", "(os.dup2(os.open(os.devnull, 1), 200), 200)"])
def test_programs_inherit_what_the_adaptor_wants(server: Server, make: str) -> None:
    code = f"""
import os, subprocess
def inheritable():
    ends = os.pipe()
    os.set_inheritable(ends[1], True)
    return ends
def run():
    ends = {make}
    command = f"test -e /proc/self/fd/{{ends[1]}}"
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", command], os.environ)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), os.waitstatus_to_exitcode(os.system(command))]
    statuses.append(subprocess.run(command, shell=True, pass_fds=[ends[1]]).returncode)
    for end in set(ends):
        os.close(end)
    return statuses
"""
    assert run(server, code).json() == [0, 0, 0]


comes_in_a_child = pytest.mark.skipif(HOLDS_SIGNALS, reason="ThreadSanitizer holds back signals from a forked child")
SIGNALS = [
    pytest.param("multiprocessing.Manager().dict(a=1)['a']", marks=child_has_threads),
    "subprocess.run(['true'], preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL)).returncode + 1",
    *(
        pytest.param(action, marks=comes_in_a_child)
        for action in ("process(signal.SIGTERM)", "process(signal.SIGHUP)", "fork()")
    ),
]


@pytest.mark.parametrize("action", SIGNALS)
@pytest.mark.usefixtures("whole")
def test_signals_are_a_childs_own(server: Server, action: str) -> None:
    code = f"""
import multiprocessing, os, signal, subprocess, time
def child(number, ready):
    signal.signal(number, lambda *_: os._exit(3))
    ready.set()
    while True:
        time.sleep(0.01)
        os.kill(os.getpid(), 0)  # looks for signals: CPython 3.13 tells a child of a thread only where it does
def process(number):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    started = context.Process(target=child, args=(number, ready))
    started.start()
    ready.wait()
    os.kill(started.pid, number)
    started.join()
    return started.exitcode - 2
def fork():
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) + 1
def run():
    return {action}
"""
    assert run(server, code).text == "1"
    refused = server.run(fresh("import signal\ndef run(): signal.signal(signal.SIGTERM, signal.SIG_IGN)"))
    assert refused.status_code == 500
    assert "nginx's in this process" in refused.text


# ---- what Python has once in a process ------------------------------------------------------------------------------


def damaged(code: str) -> str:
    return f"import builtins, importlib, os, sys\ndef fail(*_, **__): raise RuntimeError('broken by a guest')\ndef run():\n    {code}\n"


DAMAGE = [
    "sys.modules.clear()",
    "sys.meta_path.clear()",
    "sys.path.clear()",
    "sys.path_hooks.clear(); sys.path_importer_cache.clear()",
    "sys.path = None",
    "sys.modules = {}",
    "builtins.len = None",
    "builtins.isinstance = None",
    "builtins.__import__ = fail",
    "builtins.open = fail",
    "del builtins.str",
    "sys.addaudithook(fail)",
    "importlib.import_module = fail",
    "importlib._bootstrap._find_and_load = None",
    "setattr(importlib._bootstrap, '_find_spec', fail)",
]
if os.geteuid() == 0:
    DAMAGE.append("os.setgroups([]); os.setgid(65534); os.setuid(65534)")


@pytest.mark.parametrize("code", DAMAGE)
def test_a_damaged_interpreter_is_put_right_or_replaced(start: Callable[..., Server], code: str) -> None:
    server = start(ONE)
    warm = "def run(_): return 'warm'\n"
    other = "import colorsys\nimport json, textwrap\ndef run(_): return json.dumps([len('abc'), open('/dev/null').read()])\n"
    assert server.run(warm).text == "warm"
    server.run(damaged(code))
    failed = 0
    deadline = time.monotonic() + 60

    def served() -> bool:
        nonlocal failed
        # Of calls that suffer not all are alike, and others go well in between.
        answer = run_once(server, other)
        failed += answer.status != 200
        return answer.status == 200 and answer.text == '[3, ""]'

    wait_until(served, "a call that goes well", 30)
    assert time.monotonic() < deadline
    for _ in range(3):
        assert served()
    assert run_once(server, warm).text == "warm"


@pytest.mark.usefixtures("whole")
def test_adaptors_that_fail_replace_nobody(server: Server) -> None:
    for code in (
        "def run(): raise OSError('mine')",
        "def run(): return object()",
        "def run(): return {'a': object()}",
        "import nothing_of_that_name\ndef run(): pass",
        "1 / 0",
        "class Meta(type): __call__ = 1\nclass A(metaclass=Meta): pass\nrun = A",
        "def run(: pass",
        "import math\nrun = math.sqrt",
        "import builtins\ndef run():\n    builtins.print = lambda *_: 1 / 0\n    try: print()\n    finally: del builtins.print; from functools import partial; import _io",
        "(" * 500,
    ):
        for _ in range(4):
            assert server.run(fresh(code)).status_code in (400, 500)


def test_settings_are_read_once(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(ONE)
    code = f"""
import os, unittest.mock
def run(_, gate):
    with unittest.mock.patch.dict(os.environ, {{}}, clear=True):
        pause(gate)
    os.environ.clear()
    return "cleared"
{PAUSE}"""
    gate = Gate(tmp_path)
    clearing = Asking(server, code, gate=str(gate))
    gate.wait_reached()
    spawns = """
import concurrent.futures, multiprocessing, tempfile
def double(n): return 2 * n
def run(_):
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return [list(pool.map(double, [1, 2])), bool(tempfile.gettempdir())]
"""
    assert run(server, ECHO).text == "Hello, owt!"
    gate.open()
    assert clearing.answer().text == "cleared"
    for _ in range(2):
        assert run(server, ECHO).text == "Hello, owt!"
        assert run(server, spawns).json() == [[2, 4], True]


def test_a_recursion_limit_is_its_calls_own(server: Server) -> None:
    # As in python3, the calls of an adaptor that sets it at its top can go as deep as that.
    deep = (
        "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return n and 1 + f(n - 1)\ndef run(_): return f(20_000)\n"
    )
    deep = fresh(deep)
    limit = "import sys\ndef run(_): return sys.getrecursionlimit()\n"
    usual = run(server, limit).text
    for _ in range(2):
        assert server.run(deep).text == "20000"
        assert run(server, limit).text == usual
        endless = server.run(fresh("def f(x): return max([x], key=f)\ndef run(_): return f(1)\n"))
        assert (endless.status_code, "RecursionError" in endless.text) == (500, True)
    assert (
        run(server, "import sys\ndef run(_):\n    sys.setrecursionlimit(5000)\n    return sys.getrecursionlimit()").text
        == "5000"
    )
    thread = "import sys, threading\ndef run(_):\n    t = threading.Thread(target=sys.setrecursionlimit, args=[9999])\n    t.start(); t.join()\n"
    run(server, thread)
    assert run(server, limit).text == usual
    run(server, "import sys\nasync def run(_): sys.setrecursionlimit(7777)")
    assert run(server, limit).text == usual


def test_a_recursion_limit_stays_while_others_end(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = f"import sys\ndef run(_, gate):\n    sys.setrecursionlimit(4321)\n    pause(gate)\n    return sys.getrecursionlimit()\n{PAUSE}"
    asked = Asking(server, code, gate=str(gate))
    gate.wait_reached()
    run(server, "import sys\ndef run(_): sys.setrecursionlimit(5555)")
    run(server, ECHO)
    gate.open()
    assert asked.answer().text in ("4321", "5555")


# What is put back: how it is changed, how it is seen.
PUT_BACK = [
    ("os.chdir('/usr')", "os.getcwd()"),
    ("os.chdir(path='/usr')", "os.getcwd()"),
    ("os.fchdir(os.open('/usr', os.O_RDONLY))", "os.getcwd()"),
    ("gone()", "os.getcwd()"),
    ("thread(os.chdir, '/usr')", "os.getcwd()"),
    ("os.umask(0o077)", "open('/proc/thread-self/status').read().partition('Umask:')[2].split()[0]"),
    ("socket.setdefaulttimeout(0.25)", "socket.getdefaulttimeout()"),
    ("sys.set_int_max_str_digits(maxdigits=1000)", "sys.get_int_max_str_digits()"),
    ("sys.setswitchinterval(10)", "sys.getswitchinterval()"),
    ("threading.stack_size(1 << 46)", "threading.stack_size()"),
    ("threading.settrace(print)", "threading.gettrace() is None"),
    ("threading.setprofile(print)", "threading.getprofile() is None"),
    ("sys.settrace(fail)", "sys.gettrace() is None"),
    ("sys.setprofile(lambda *_: None)", "sys.getprofile() is None"),
    ("cProfile.Profile().enable()", "sys.getprofile() is None"),
]
CHANGES = """
import cProfile, os, socket, sys, tempfile, threading
def fail(*_): raise RuntimeError("traced by a guest")
def gone():
    directory = tempfile.mkdtemp()
    os.chdir(directory)
    os.rmdir(directory)
def thread(*call):
    started = threading.Thread(target=call[0], args=call[1:])
    started.start()
    started.join()
"""


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize(("change", "look"), PUT_BACK)
def test_what_a_call_changes_is_put_back(start: Callable[..., Server], change: str, look: str, kind: str) -> None:
    if "thread(" in change and kind == "async def":
        change = change.replace("thread(", "await asyncio.to_thread(")
    server = start(ONE.replace("threads 4", "threads 1"))
    code = f"import asyncio\n{CHANGES}\n{kind} look(_): return repr({look})\n{kind} run(_): {change}\n"
    usual = server.run(code, fn_name="look").text
    for _ in range(2):
        server.run(code)
        assert server.run(code, fn_name="look").text == usual
        assert run(server, ECHO).text == "Hello, owt!"


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_what_the_top_of_an_adaptor_sets_holds_for_its_calls(server: Server, kind: str) -> None:
    look = f"import os, socket\n{kind} run(_): return [os.getcwd(), socket.getdefaulttimeout(), oct(os.umask(0o22))]\n"
    mine = fresh(look.replace("\n", "\nos.chdir('/usr'); os.umask(0o027); socket.setdefaulttimeout(0.5)\n", 1))
    usual = run(server, look).json()
    for _ in range(3):
        assert server.run(mine).json() == ["/usr", 0.5, "0o27"]
        assert run(server, look).json() == usual


def test_a_working_directory_is_its_calls_own(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(ONE)
    gate = Gate(tmp_path)
    code = f"""
import os, subprocess, threading
def run(_, gate):
    os.chdir("/usr")
    pause(gate)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(os.getcwd()))
    thread.start()
    thread.join()
    return [os.getcwd(), *seen, subprocess.run("pwd", capture_output=True, text=True).stdout.strip()]
{PAUSE}"""
    look = "import os\ndef run(_): return os.getcwd()\n"
    usual = run(server, look).text
    asked = Asking(server, code, gate=str(gate))
    gate.wait_reached()
    assert run(server, look).text == usual
    assert run(server, look.replace("def", "async def")).text == usual
    run(server, "import os\ndef run(_): os.chdir('/var')\n")
    gate.open()
    assert asked.answer().text.strip() == '["/usr","/usr","/usr"]'
    assert run(server, look).text == usual


@pytest.mark.parametrize("name", ["AS", "DATA", "CPU", "FSIZE", "NPROC", "NOFILE"])
@pytest.mark.usefixtures("whole")
def test_the_process_is_not_limited(server: Server, name: str) -> None:
    code = f"""
import os, resource, subprocess
def limit(): resource.setrlimit(resource.RLIMIT_{name}, (100, resource.getrlimit(resource.RLIMIT_{name})[1]))
def run():
    subprocess.run(["true"], preexec_fn=limit)
    now = resource.getrlimit(resource.RLIMIT_{name})
    resource.setrlimit(resource.RLIMIT_{name}, now)
    errors = []
    for limit_it in (
        limit,
        lambda: resource.prlimit(0, resource.RLIMIT_{name}, (100, now[1])),
        lambda: resource.prlimit(os.getpid(), resource.RLIMIT_{name}, (100, now[1])),
    ):
        try:
            limit_it()
        except OSError as error:
            errors.append(str(error))
    return [errors, resource.getrlimit(resource.RLIMIT_{name}) == now]
"""
    errors, same = run(server, code).json()
    assert len(errors) == 3
    assert all("the server's own process" in error for error in errors)
    assert same


# A call is over whatever these do: what its stream and its exception have of their own.
ODD_STREAMS = [
    "def flush(self): exit()",
    "def flush(self): raise KeyboardInterrupt",
    "def __getattr__(self, name): raise RuntimeError(name)",
    "flush = property(lambda self: exit())",
]


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("stream", ODD_STREAMS)
def test_an_odd_stream_ends_with_its_call(start: Callable[..., Server], stream: str, kind: str) -> None:
    server = start(
        "owt_instance default { threads 1; async 2; }\nserver { listen 127.0.0.1:{port}; location / { owt; } }"
    )
    code = fresh(f"import sys\nclass Odd:\n    {stream}\n{kind} run(_):\n    sys.stdout = Odd()\n    return 'done'\n")
    for _ in range(4):
        answer = server.run(code)
        assert (answer.status_code, answer.text) == (200, "done")


ODD_EXCEPTIONS = [
    "__class__ = property(lambda self: exit())",
    "__traceback__ = property(lambda self: exit())",
    "__cause__ = property(lambda self: exit())",
    "errno = property(lambda self: 1 / 0)",
    "def __str__(self): exit()",
]


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("base", ["OSError", "SystemExit"])
@pytest.mark.parametrize("error", [*ODD_EXCEPTIONS, "code = property(lambda self: exit())"])
@pytest.mark.usefixtures("whole")
def test_an_odd_exception_is_its_adaptors_failure(server: Server, error: str, base: str, kind: str) -> None:
    code = fresh(f"class Odd({base}):\n    {error}\n{kind} run(_): raise Odd('mine')\n")
    for _ in range(4):
        answer = server.run(code)
        assert answer.status_code == 500
        assert "Odd" in answer.text


@pytest.mark.usefixtures("whole")
def test_there_is_no_input(server: Server) -> None:
    code = """
import io, sys
def run(_, how):
    if how == "exit":
        exit()
    if how == "wrapped":
        sys.stdin = io.TextIOWrapper(sys.stdin.buffer)
    if how == "detached":
        sys.stdin = io.TextIOWrapper(sys.stdin.detach())
    if how == "given":
        sys.stdin = io.StringIO("typed\\n")
        return input() + sys.stdin.read()
    assert sys.stdin.read() == "" == sys.stdin.readline() and sys.stdin.buffer.read() == b"" and list(sys.stdin) == []
    try:
        return input("question ")
    except EOFError:
        return "EOFError"
"""
    source = fresh(code)
    for how in ("plain", "exit", "plain", "wrapped", "plain", "detached", "plain"):
        answer = server.run(source, how=how)
        assert answer.status_code == 500 if how == "exit" else answer.text == "EOFError", how
    assert server.run(source, how="given").text == "typed"
    assert server.run(source, how="plain").text == "EOFError"


REDIRECTS = [
    "with contextlib.redirect_stdout(io.StringIO()) as mine: inside()",
    "mine = sys.stdout = io.StringIO(); inside(); sys.stdout = sys.__stdout__",
    "mine = io.StringIO(); sys.stdout = mine; inside()",
    "mine = io.StringIO(); p = mock.patch('sys.stdout', mine); p.start(); inside(); p.stop()",
    "mine = io.StringIO(); sys.stdout = Tee(sys.stdout, mine); inside()",
]


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize("redirect", REDIRECTS)
def test_what_a_call_prints_is_its_own(server: Server, tmp_path: Path, redirect: str, threads: bool) -> None:
    code = f"""
import contextlib, io, sys
import threading
from unittest import mock
def thread(fn, text):
    if not {threads}:
        return fn(text)
    started = threading.Thread(target=fn, args=(text,))
    started.start()
    started.join()
class Tee:
    def __init__(self, *streams): self.streams = streams
    def write(self, text):
        for stream in self.streams: stream.write(text)
def run(_, gate):
    def inside():
        thread(print, "before")
        thread(sys.stdout.write, "mine ")
        pause(gate)
        thread(print, "after")
    {redirect}
    return mine.getvalue()
{PAUSE}"""
    gate = Gate(tmp_path)
    asked = Asking(server, fresh(code), gate=str(gate))
    gate.wait_reached()
    seen = len(server.error_log)
    run(server, "def run(_): print('of another')")
    run(server, "async def run(_): print('of a third')")
    server.wait_log("of another", after=seen)
    server.wait_log("of a third", after=seen)
    gate.open()
    assert asked.answer().text == "before\nmine after\n"
    run(server, "def run(_): print('of a fourth')")
    server.wait_log("of a fourth", after=seen)


def test_a_wrapped_stream_prints_in_time_under_its_own_number(server: Server) -> None:
    seen = len(server.error_log)
    wraps = "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)\nprint('top')\ndef run(_):\n    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\n    print('wrapped')\n"
    Asking(server, fresh(wraps)).answer()
    first = server.wait_log(r"\*(\d+) owt: wrapped", after=seen)[1]
    assert server.wait_log(r"\*(\d+) owt: top", after=seen)[1] == first
    Asking(server, fresh("def run(_): print('plain')")).answer()
    assert server.wait_log(r"\*(\d+) owt: plain", after=seen)[1] != first


def test_sys_is_what_it_was_to_libraries(server: Server) -> None:
    code = """
import copy, inspect, io, pickle, sys, types
def run(_):
    assert isinstance(sys, types.ModuleType) and inspect.ismodule(sys) and repr(sys) == "<module 'sys' (built-in)>"
    assert pickle.loads(pickle.dumps(sys)) is sys and copy.deepcopy(sys) is sys
    assert sys.stdout.name == "<stdout>" and sys.stdin.fileno() == 0
    from sys import stdout
    assert stdout is sys.stdout is getattr(sys, "stdout")
    sys.stdout = None
    print("nowhere")
    del sys.stdout
    return "fine"
"""
    assert run(server, code).text == "fine"


# ---- the log --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "action",
    [
        "print(text)",
        "print(text, file=sys.stderr)",
        "print(text, end='')",
        "sys.stdout.buffer.write(text.encode() + b'\\n')",
        "logging.error(text)",
        "warnings.warn(text)",
        "fail(ValueError(text))",
        "fail(type(text[:9], (Exception,), {})())",
        "os._exit(0) if os.fork() == 0 and not print(text) else os.wait()",
    ],
)
def test_a_terminal_can_show_the_log(server: Server, action: str) -> None:
    code = f"""
import logging, os, sys, warnings
def fail(error): raise error
def run(_):
    text = "shown \\x1b[31m\\x00\\x07\\x7f\\x9b2J\\x0b tab\\there \u00e9"
    {action}
"""
    seen = len((server.dir / "error.log").read_bytes())
    server.run(fresh(code))
    server.wait_log(r"shown.*\\x1b\[31m", after=0)
    written = wait_until(
        lambda: (text := (server.dir / "error.log").read_bytes()[seen:]).count(b"shown") and text, "the line"
    )
    assert b"\\x1b[31m\\x00\\x07\\x7f\\x9b2J\\x0b" in written or action.startswith("fail(type")
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", written)
    if "type" not in action:
        assert "tab\there \u00e9".encode() in written


def test_what_preload_says_can_be_shown_as_well(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text("raise ValueError('shown \\x1b[2J\\x00')\n")
    server = start(ONE.replace("threads 4;", f"threads 4; python_path {tmp_path}; preload loud;"))
    server.wait_log(r"shown \\x1b\[2J\\x00")
    assert b"\x1b" not in (server.dir / "error.log").read_bytes()


# ---- the process ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", ["ctypes.CDLL(None)._exit(2)", "ctypes.CDLL(None).exit(2)", "posix._exit(2)", "os._exit(2)"]
)
def test_an_exit_with_2_is_no_end(start: Callable[..., Server], how: str) -> None:
    server = start(ONE)
    server.expect("cannot be respawned")
    for _ in range(2):
        worker = ask_pid(server)
        Asking(server, fresh(f"import ctypes, os, posix\ndef run(_): {how}")).answer_or_none()
        wait_until(lambda: set(server.workers()) - {worker}, "a new process")  # noqa: B023
        assert ask_pid(server) != worker
    server.signal("reload")
    assert ask_pid(server)


def test_an_exit_with_2_after_a_reload(start: Callable[..., Server]) -> None:
    server = start(ONE, main="worker_processes 2;")
    server.expect("cannot be respawned")
    server.signal("reload")
    for _ in range(3):
        Asking(server, fresh("import ctypes\ndef run(_): ctypes.CDLL(None)._exit(2)")).answer_or_none()
        wait_until(lambda: len(server.workers()) == 2, "both processes")
    assert ask_pid(server) in server.workers()


FULL = """
import os
opened = []
def run(_, spare):
    while True:
        try:
            opened.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            break
    for _ in range(spare):
        os.close(opened.pop())
def free(_):
    while opened:
        os.close(opened.pop())
"""


@pytest.mark.skipif(bool(PRELOAD), reason="the sanitizer needs descriptors itself")
def test_descriptors_that_run_out_are_named(start: Callable[..., Server]) -> None:
    server = start(ONE, main="worker_rlimit_nofile 100;")
    source = FULL
    client = server.client()
    warm = {"code": source, "spare": 0}
    assert client.post("/", json=warm).status_code == 200
    for body in (
        {"code": fresh(ECHO)},
        {"code": fresh("async def run(_): return 'x'")},
        {"code_id": "sha256:" + "0" * 64},
    ):
        answer = client.post("/", json=body)
        assert answer.status_code >= 400
        assert "worker_rlimit_nofile" in answer.text, answer.text
        assert "owt_dir" not in answer.text
    assert client.post("/", json={**warm, "fn_name": "free"} | {"spare": None}).status_code == 200
    assert client.post("/", json={"code": fresh(ECHO)}).text == "Hello, owt!"


@pytest.mark.skipif(bool(PRELOAD), reason="the sanitizer needs descriptors itself")
def test_the_door_stays_closed_when_descriptors_were_short(start: Callable[..., Server], tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    (tmp_path / "slow.py").write_text(f"{PAUSE}\npause({str(gate)!r})\n")
    server = start(
        f"owt_instance default {{ python_path {tmp_path}; preload slow; }}\n"
        "server { listen 127.0.0.1:{port}; location / { owt; } }\n"
        "server { listen 127.0.0.1:{port2}; location / { return 200 plain; } }\n",
        main="worker_rlimit_nofile 60;",
    )
    server.expect("accept4")
    gate.wait_reached()
    others = [server.connect(server.port_of("port2")) for _ in range(70)]
    server.wait_log(r"accept4\(\) failed \(24")
    for other in others:
        other.close()

    def plain() -> bool:
        with server.connect(server.port_of("port2")) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return b"plain" in client.recv(4096)

    assert plain()
    waiting = server.connect()
    assert plain()  # the worker has had its chance
    (worker,) = server.workers()
    ours = f"{waiting.getsockname()[1]:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()
    (inode,) = [line.split()[9] for line in lines if line.split()[2].endswith(f":{ours}") and line.split()[3] == "01"]
    assert inode == "0" or f"socket:[{inode}]" not in targets(worker)
    waiting.close()
    gate.open()
    assert Asking(server, ECHO).answer().text == "Hello, owt!"


@pytest.mark.skipif(not has_landlock(), reason="this kernel has no Landlock")
@pytest.mark.parametrize("log", ["/dev/null", "/dev/stdout"])
def test_a_log_that_is_a_device_opens_no_directory(tmp_path: Path, log: str) -> None:
    server = Server(
        f"access_log {log};\nowt_instance default {{ writable {{dir}}/data; }}\n"
        "server { listen 127.0.0.1:{port}; location / { owt; } }\n"
    )
    (server.dir / "data").mkdir()
    with server:
        code = """
import os
def attempt(path):
    try:
        open(path, "w").close()
        return "done"
    except OSError as error:
        return os.strerror(error.errno)
def run(_): return [attempt(path) for path in ("/dev/owt-test", "/dev/null")]
"""
        try:
            assert run(server, code).json() == ["Permission denied", "done"]
            server.signal("reopen")
            server.wait_log("reopening logs")
            assert run(server, ECHO).text == "Hello, owt!"
        finally:
            Path("/dev/owt-test").unlink(missing_ok=True)


def test_nginx_without_standard_streams_says_so(tmp_path: Path) -> None:
    server = Server(ONE)
    try:
        command = " ".join(server.command())
        done = subprocess.run(["sh", "-c", f"exec {command} <&- >&- 2>&-"], env=server.environment(), timeout=30)
        assert done.returncode != 0
        assert "stdin, stdout or stderr closed" in server.error_log
    finally:
        server.expect("stdin, stdout or stderr closed")
        server.close()
