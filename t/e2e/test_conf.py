"""What nginx.conf may say, what it says wrong, and the Python that it sets up."""

import json
import os
import re
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from asking import Asking, wait_text
from gate import PAUSE, Gate
from harness import Server, wait_until
from virtualenvs import bare

LOCATION = "server { listen 127.0.0.1:{port}; location / { owt; } }\n"

PID = "import os\ndef run(_): return os.getpid()\n"
WAIT = f"def run(_, gate):\n    pause(gate)\n    return 'done'\n{PAUSE}"


def instance(*lines: str) -> str:
    return "owt_instance default {\n" + "\n".join(lines) + "\n}\n" + LOCATION


def located(*lines: str) -> str:
    return "server {\nlisten 127.0.0.1:{port};\nlocation / {\nowt;\n" + "\n".join(lines) + "\n}\n}\n"


def published(*lines: str) -> str:
    return "server {\nlisten 127.0.0.1:{port};\nlocation / {\n" + "\n".join(lines) + "\n}\n}\n"


def ask(server: Server, code: str, **fields: Any) -> Any:
    """What an adaptor returns, as JSON."""
    answer = Asking(server, code, **fields).answer()
    assert answer.status == 200, answer.text
    return json.loads(answer.body)


@pytest.fixture
def check() -> Iterator[Callable[[str], subprocess.CompletedProcess[str]]]:
    """nginx -t with this as the inside of its http block."""
    with ExitStack() as stack:

        def check(http: str) -> subprocess.CompletedProcess[str]:
            server = Server(http)
            stack.callback(server.close)
            done = server.test_conf()
            done.args = server.conf.splitlines()
            return done

        yield check


# ---- mistakes -------------------------------------------------------------------------------------------------------

# Each is wrong in its line that ends in HERE; what nginx says about it.
HERE = " # here"
MISTAKES = {
    "owt in http": ("owt;" + HERE, '"owt" directive is not allowed here'),
    "owt in server": ("server {\nowt;" + HERE + "\n}", '"owt" directive is not allowed here'),
    "owt with a value": ("server {\nlocation / {\nowt on;" + HERE + "\n}\n}", "number of arguments"),
    "timeout: none": (located("owt_timeout;" + HERE), "number of arguments"),
    "timeout: no time": (located("owt_timeout soon;" + HERE), "wants a time"),
    "timeout: negative": (located("owt_timeout -1s;" + HERE), "wants a time"),
    "timeout: zero": (located("owt_timeout 0;" + HERE), "wants a time"),
    "timeout: two": (located("owt_timeout 1s 2s;" + HERE), "number of arguments"),
    "timeout: twice": (located("owt_timeout 1s;", "owt_timeout 2s;" + HERE), "duplicate"),
    "timeout: twice, off": (located("owt_timeout off;", "owt_timeout off;" + HERE), "duplicate"),
    "stream buffer: no size": (located("owt_stream_buffer much;" + HERE), "invalid value"),
    "stream buffer: negative": (located("owt_stream_buffer -1;" + HERE), "invalid value"),
    "stream buffer: twice": (located("owt_stream_buffer 1m;", "owt_stream_buffer 2m;" + HERE), "duplicate"),
    "console: neither": (located("owt_console maybe;" + HERE), 'must be "on" or "off"'),
    "console: twice": (located("owt_console on;", "owt_console on;" + HERE), "duplicate"),
    "traceback: neither": (located("owt_traceback maybe;" + HERE), 'must be "on" or "off"'),
    "traceback: twice": (located("owt_traceback on;", "owt_traceback on;" + HERE), "duplicate"),
    "dir in a location": (located("owt_dir here;" + HERE), "not allowed here"),
    "dir: twice": ("owt_dir a;\nowt_dir b;" + HERE + "\n" + LOCATION, "duplicate"),
    "dir: none": ("owt_dir;" + HERE + "\n" + LOCATION, "number of arguments"),
    "instance without a name": ("owt_instance {" + HERE + "\n}\n" + LOCATION, "number of arguments"),
    "instance default twice": ("owt_instance default { }\nowt_instance default {" + HERE + "\n}\n" + LOCATION, "duplicate"),
    "instance in a location": (located("owt_instance default {" + HERE, "}"), "not allowed here"),
    "unknown line": (instance("thread 1;" + HERE), r'"thread".*unknown: known are processes, spare, threads, '),
    "a block": (instance("threads {" + HERE, "}"), r'unexpected "{"'),
    "threads: none": (instance("threads;" + HERE), "wants"),
    "threads: no number": (instance("threads many;" + HERE), "wants numbers from 1 to "),
    "threads: zero": (instance("threads 0;" + HERE), "wants numbers from 1 to "),
    "threads: negative": (instance("threads -1;" + HERE), "wants numbers from 1 to "),
    "threads: too many": (instance("threads 1000000;" + HERE), "wants numbers from 1 to "),
    "threads: overflow": (instance("threads 99999999999999999999999;" + HERE), "wants numbers from 1 to "),
    "threads: three": (instance("threads 1 2 3;" + HERE), "wants one number or two"),
    "threads: fewer at most": (instance("threads 8 4;" + HERE), "not less than the first"),
    "threads: twice": (instance("threads 1;", "threads 2;" + HERE), "duplicate"),
    "queue: zero": (instance("queue 0;" + HERE), "wants one number from 1 to "),
    "queue: twice": (instance("queue 1;", "queue 2;" + HERE), "duplicate"),
    "max_calls: zero": (instance("max_calls 0;" + HERE), "wants one number from 1 to "),
    "max_calls: twice": (instance("max_calls 1;", "max_calls 2;" + HERE), "duplicate"),
    "grace: zero": (instance("grace 0;" + HERE), "wants a time"),
    "grace: no time": (instance("grace period;" + HERE), "wants a time"),
    "grace: twice": (instance("grace 1s;", "grace 1s;" + HERE), "duplicate"),
    "endpoints: none": (instance("endpoints 0;" + HERE), "wants one number from 1 to 1000000"),
    "idle: no time": (instance("idle long;" + HERE), "wants a time, as in"),
    "idle: zero": (instance("idle 0;" + HERE), "wants a time, as in"),
    "env: $index with spare": (instance("spare 1; env GPU=$index;" + HERE), r"\$index does not go with \"spare\""),
    "max_rss: no size": (instance("max_rss big;" + HERE), "wants one size or two"),
    "max_rss: hard below soft": (instance("max_rss 2g 1g;" + HERE), "not less than the first"),
    "max_rss: no second size": (instance("max_rss 2g lots;" + HERE), "wants one size or two"),
    "max_rss: zero": (instance("max_rss 0;" + HERE), "wants one size or two"),
    "max_rss: twice": (instance("max_rss 1g;", "max_rss 2g;" + HERE), "duplicate"),
    "env: no value": (instance("env NAME;" + HERE), "wants NAME=value, not NAME in"),
    "env: no name": (instance("env =value;" + HERE), "wants NAME=value"),
    "env: none": (instance("env;" + HERE), "wants"),
    "preload: none": (instance("preload;" + HERE), "wants"),
    "preload: a statement": (instance('preload "import json";' + HERE), 'wants names of modules.*not "import json"'),
    "preload: its words": (instance("preload import json;" + HERE), 'wants names of modules.*not "import"'),
    "preload: with a comma": (instance("preload json,csv;" + HERE), 'wants names of modules.*not "json,csv"'),
    "preload: a file": (instance("preload /srv/model.py;" + HERE), 'wants names of modules.*not "/srv/model.py"'),
    "python_path: none": (instance("python_path;" + HERE), "wants"),
    "python_home: none": (instance("python_home;" + HERE), "wants"),
    "python_home: two": (instance("python_home /a /b;" + HERE), "wants one directory"),
    "python_home: not there": (instance("python_home /not/there;" + HERE), r"no directory /not/there.*python3 -m venv"),
    "python_home: no Python": (instance("python_home /etc;" + HERE), "/etc has no bin/python3"),
    "file: not there": (published("owt_file /not/there.py;" + HERE), "/not/there.py is not there: name a file of Python"),
    "file: a directory": (published("owt_file /usr;" + HERE), "/usr is no file"),
    "file: none": (published("owt_file;" + HERE), "number of arguments"),
    "file: no function": (published("owt_file {root}/examples/echo/echo.py 1run;" + HERE), '"1run" is no function'),
    "file: two functions": (published("owt_file {root}/examples/echo/echo.py run walk;" + HERE), "wants a file, and"),
    "file: in a server": ("server {\nowt_file /x.py;" + HERE + "\n}", "not allowed here"),
    "file beside owt": (located("owt_file {root}/examples/echo/echo.py;" + HERE), "give each its own"),
    "owt beside a file": (published("owt_file {root}/examples/echo/echo.py;", "owt;" + HERE), "give each its own"),
    "file: twice": (
        published("owt_file {root}/examples/echo/echo.py;", "owt_file {root}/examples/echo/echo.py;" + HERE),
        "give each its own",
    ),
    "root beside a file": (
        published("owt_file {root}/examples/echo/echo.py;", "owt_root {root}/examples;" + HERE),
        "give each its own",
    ),
    "root: not there": (published("owt_root /not/there;" + HERE), "/not/there is not there: name a directory"),
    "root: a file": (published("owt_root {root}/LICENSE;" + HERE), "is no directory"),
    "root: two": (published("owt_root /usr /tmp;" + HERE), 'and perhaps "lazy"'),
    "root: an exact location": (
        "server {\nlocation = /a {\nowt_root /usr;" + HERE + "\n}\n}",
        "what follows the location's own",
    ),
    "root: a pattern": ("server {\nlocation ~ /a {\nowt_root /usr;" + HERE + "\n}\n}", "what follows the location"),
    "root: a name": ("server {\nlocation @a {\nowt_root /usr;" + HERE + "\n}\n}", "what follows the location's own"),
    "mcp: not there": (published("owt_mcp /not/there;" + HERE), "/not/there is not there: name a directory"),
    "mcp: nothing": (published("owt_mcp;" + HERE), "has nothing to offer"),
    "mcp beside root": (published("owt_root /usr;", "owt_mcp /usr;" + HERE), "give each its own"),
    "keep: neither": (published("owt_root /usr;", "owt_keep maybe;" + HERE), 'must be "on" or "off"'),
    "keep: nowhere": (published("owt_keep on;", "owt_root /usr;" + HERE), "has nowhere to keep results"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_line(
    check: Callable[[str], subprocess.CompletedProcess[str]], mistake: str
) -> None:
    http, told = MISTAKES[mistake]
    done = check(http)
    assert done.returncode != 0
    lines = [number for number, line in enumerate(done.args, 1) if line.endswith(HERE)]
    (error,) = [line for line in done.stderr.splitlines() if "[emerg]" in line]
    assert re.search(told, error)
    assert error.endswith(f"/nginx.conf:{lines[0]}")


def test_the_confs_that_are_right_are_right(check: Callable[[str], subprocess.CompletedProcess[str]]) -> None:
    http = (
        "owt_timeout off; owt_stream_buffer 64k; owt_traceback off; owt_dir sources;\n"
        "owt_instance default { threads 1; queue 1; grace 100ms; max_calls 1; max_rss 1g; endpoints 1; idle 30m; env A=b C=d I=$index; env E=; }\n"
        "server { listen 127.0.0.1:{port}; owt_timeout 1m; location / { owt; owt_timeout 1s; owt_stream_buffer 1m; }\n"
        "location /file { owt_file {root}/examples/echo/echo.py lazy; } location /f { owt_file {root}/examples/echo/echo.py run; }\n"
        "location /root { owt_root {root}/examples lazy; if ($args) { return 204; } limit_except GET { deny all; } }\n"
        "location /mcp { owt_mcp {root}/examples lazy; } location /any { owt; owt_mcp; } location /other { owt_mcp; owt; } }"
    )
    done = check(http)
    assert done.returncode == 0, done.stderr


def test_a_configuration_without_http_is_right() -> None:
    server = Server(LOCATION)
    conf = server.dir / "nginx.conf"
    conf.write_text(conf.read_text().partition("http {")[0])
    done = server.test_conf()
    server.close()
    assert done.returncode == 0, done.stderr


def test_a_reload_with_a_mistake_leaves_all_as_it_was(start: Callable[..., Server]) -> None:
    server = start(LOCATION)
    server.expect(r"\[emerg\].*threads")
    worker = ask(server, PID)
    server.write_conf(instance("threads none;"))
    with pytest.raises(RuntimeError, match="threads"):
        server.signal("reload")
    assert ask(server, PID) == worker


def test_a_reload_takes_new_settings(start: Callable[..., Server]) -> None:
    server = start(instance("env NAME=old;"))
    code = "import os\ndef run(_): return [os.environ['NAME']]\n"
    assert ask(server, code) == ["old"]
    server.write_conf(instance("env NAME=new;"))
    server.signal("reload")
    assert ask(server, code) == ["new"]


# ---- inheritance ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"), [("/", 504), ("/inherits", 504), ("/off", 200), ("/longer", 200), ("/nested/in", 504)]
)
def test_owt_timeout_is_inherited(start: Callable[..., Server], path: str, status: int) -> None:
    server = start(
        "owt_timeout 150ms;\n"
        "server { listen 127.0.0.1:{port}; location / { owt; }\n"
        "    location /inherits { owt; } location /off { owt; owt_timeout off; }\n"
        "    location /longer { owt; owt_timeout 10s; }\n"
        "    location /nested { owt_timeout 100ms; location /nested/in { owt; } } }"
    )
    code = "import time\ndef run(_):\n    for _ in range(50): time.sleep(0.01)\n"
    assert Asking(server, code, path).answer().status == status


def test_owt_traceback_is_inherited(start: Callable[..., Server]) -> None:
    server = start(
        "owt_traceback off;\n"
        "server { listen 127.0.0.1:{port}; location / { owt; } location /shown { owt; owt_traceback on; } }"
    )
    hidden, shown = (Asking(server, "def run(_): return 1 / 0", path).answer() for path in ("/", "/shown"))
    assert [hidden.status, shown.status] == [500, 500]
    assert "ZeroDivisionError" not in hidden.text
    assert "ZeroDivisionError" in shown.text
    (error_id,) = re.findall(r"\b[0-9a-f]{8}\b", hidden.text)
    server.wait_log(rf"\[error\].*{error_id} ZeroDivisionError")


def test_owt_stream_buffer_is_inherited(start: Callable[..., Server], tmp_path: Path) -> None:
    """A generator ends without its client where all that it yields fits in."""
    server = start("owt_stream_buffer 64m;\nserver { listen 127.0.0.1:{port}; location / { owt; } }")
    code = """
import pathlib
def run(_, file):
    for _ in range(32):
        yield b"x" * (1 << 20)
    pathlib.Path(file).write_text("over")
"""
    asked = Asking(server, code, receive=4096, file=str(tmp_path / "end"))
    assert wait_text(tmp_path / "end") == "over"
    assert len(asked.answer().body) == 32 << 20


# ---- Python's set-up ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def virtualenv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One without pip, made by the Python that runs the tests, which is the one that owt is built with."""
    home = bare(tmp_path_factory.mktemp("venv"))
    return home


def test_python_home_is_a_virtualenv(start: Callable[..., Server], virtualenv: Path) -> None:
    server = start(instance(f"python_home {virtualenv};"))
    prefix, base, executable = ask(
        server, "import sys\ndef run(_): return [sys.prefix, sys.base_prefix, sys.executable]"
    )
    assert prefix == str(virtualenv)
    assert base == "/usr"
    assert Path(executable).parent == virtualenv / "bin"


def test_an_adaptor_in_a_virtualenv_finds_its_packages_and_owts_own(
    start: Callable[..., Server], virtualenv: Path
) -> None:
    site = next((virtualenv / "lib").glob("python3.*/site-packages"))
    (site / "of_the_virtualenv.py").write_text("name = 'venv'\n")
    server = start(instance(f"python_home {virtualenv};"))
    code = """
import of_the_virtualenv, owt, sys, werkzeug
def run(request, site):
    home = owt.__file__.rpartition("/owt/")[0]
    return [of_the_virtualenv.name, request.path, sys.path.index(site) < sys.path.index(home)]
"""
    assert ask(server, code, site=str(site)) == ["venv", "/", True]


def test_a_child_of_a_virtualenv_is_in_it(start: Callable[..., Server], virtualenv: Path) -> None:
    server = start(instance(f"python_home {virtualenv};"))
    code = """
import subprocess, sys
def run(_):
    return [subprocess.run([sys.executable, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True).stdout]
"""
    assert ask(server, code) == [f"{virtualenv}\n"]


def test_python_home_is_relative_to_the_prefix(start: Callable[..., Server], virtualenv: Path) -> None:
    server = Server(instance("python_home venv;"))
    (server.dir / "venv").symlink_to(virtualenv)
    with server:
        assert ask(server, "import sys\ndef run(_): return [sys.prefix]") == [f"{server.dir}/venv"]


def test_env_is_set_before_python_starts(start: Callable[..., Server]) -> None:
    server = start(instance("env PYTHONPYCACHEPREFIX=/tmp/elsewhere;"))
    assert ask(server, "import sys\ndef run(_): return [sys.pycache_prefix]") == ["/tmp/elsewhere"]


def test_env_takes_any_value(start: Callable[..., Server]) -> None:
    server = start(instance("""env A=1 "B=two words";""", "env C=d=e;", "env F=;", "env G=naïve;"))
    code = "import os\ndef run(_): return [os.environ[name] for name in 'ABCFG']"
    assert ask(server, code) == ["1", "two words", "d=e", "", "naïve"]


def test_env_reaches_c_libraries_and_children(start: Callable[..., Server]) -> None:
    server = start(instance("env NAME=value;"))
    code = """
import ctypes, subprocess
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
def run(_): return [libc.getenv(b"NAME").decode(), subprocess.check_output("echo $NAME", shell=True, text=True)]
"""
    assert ask(server, code) == ["value", "value\n"]


def test_text_is_utf8_without_a_locale(start: Callable[..., Server]) -> None:
    server = start(LOCATION)
    code = "import locale, sys\ndef run(_): return [sys.flags.utf8_mode, sys.getfilesystemencoding()]"
    assert ask(server, code) == [1, "utf-8"]


@pytest.mark.parametrize(("inherited", "mode"), [(0, 0o644), (0o027, 0o640)])
def test_what_adaptors_write_is_not_everybodys(
    start: Callable[..., Server], tmp_path: Path, inherited: int, mode: int
) -> None:
    """nginx as a daemon has no umask."""
    before = os.umask(inherited)
    try:
        server = start(LOCATION)
    finally:
        os.umask(before)
    code = "import os, pathlib\ndef run(_, file):\n    pathlib.Path(file).touch()\n    return [os.stat(file).st_mode]"
    assert ask(server, code, file=str(tmp_path / "made")) == [stat.S_IFREG | mode]


def test_python_path_comes_first(start: Callable[..., Server], tmp_path: Path) -> None:
    server = Server(instance(f"python_path {tmp_path} lib;", "python_path /another;"))
    (tmp_path / "colorsys.py").write_text("mine = True\n")  # of a name that Python's own library has
    with server:
        code = "import colorsys, sys\ndef run(_): return [colorsys.mine, sys.path[:3]]"
        assert ask(server, code) == [True, [str(tmp_path), f"{server.dir}/lib", "/another"]]


def test_modules_are_preloaded_in_order(start: Callable[..., Server], tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.py").write_text(
            f"import pathlib\nwith open({str(tmp_path / 'order')!r}, 'a') as f: f.write('{name} ')"
        )
    server = start(instance(f"python_path {tmp_path};", "preload one two;", "preload three;"))
    assert ask(server, "import sys\ndef run(_): return ['three' in sys.modules]") == [True]
    assert (tmp_path / "order").read_text() == "one two three "


# ---- owt_dir --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("directive", "place"), [("", "owt_temp"), ("owt_dir sources;", "sources"), ("owt_dir {dir}/abs;", "abs")]
)
def test_owt_dir_is_the_workers_alone(start: Callable[..., Server], directive: str, place: str) -> None:
    server = start(f"{directive}\n{LOCATION}")
    ask(server, PID)
    directory = server.dir / place
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert len(list(directory.glob("sha256_*.py"))) == 1


def test_an_owt_dir_that_has_been_removed_is_made_again(start: Callable[..., Server]) -> None:
    server = start(f"owt_dir sources;\n{LOCATION}")
    (server.dir / "sources").rmdir()
    ask(server, PID)
    assert stat.S_IMODE((server.dir / "sources").stat().st_mode) == 0o700


def test_an_owt_dir_that_is_none_is_a_clear_500(start: Callable[..., Server]) -> None:
    server = start(f"owt_dir sources;\n{LOCATION}")
    (server.dir / "sources").rmdir()
    (server.dir / "sources").touch()
    answer = Asking(server, PID).answer()
    assert answer.status == 500
    assert f"{server.dir}/sources" in answer.text
    assert "owt_dir" in answer.text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_owt_dir_is_a_clear_500_until_there_is_room(start: Callable[..., Server], small_disk: Path) -> None:
    server = start(f"owt_dir {small_disk};\n{LOCATION}")
    rubbish = small_disk / "rubbish"
    rubbish.write_bytes(bytes(64 << 10))
    answer = Asking(server, PID).answer()
    assert answer.status == 500
    assert str(small_disk) in answer.text
    assert "No space left on device" in answer.text
    rubbish.unlink()
    ask(server, PID)


def test_a_read_only_owt_dir_is_a_clear_500_for_new_code(start: Callable[..., Server], small_disk: Path) -> None:
    server = start(f"owt_dir {small_disk};\n{LOCATION}")
    worker = ask(server, PID)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    answer = Asking(server, WAIT).answer()
    assert answer.status == 500
    assert str(small_disk) in answer.text
    assert "Read-only file system" in answer.text
    assert ask(server, PID) == worker  # what is there already goes on working


# ---- processes and event methods ------------------------------------------------------------------------------------


class Single(Server):
    """With master_process off, the one process serves."""

    def workers(self, leaving: bool = False) -> list[int]:
        return [self.master]


def test_without_a_master_one_process_serves(tmp_path: Path) -> None:
    with Single(instance("threads 2;"), main="master_process off;") as server:
        assert ask(server, PID) == server.master
        gate = Gate(tmp_path)
        asked = Asking(server, WAIT, gate=str(gate))
        gate.wait_reached()
        assert ask(server, PID) == server.master
        gate.open()
        assert asked.answer().text == "done"


def test_without_a_master_nothing_replaces_the_process() -> None:
    with Single(instance("max_calls 1;"), main="master_process off;") as server:
        assert [ask(server, PID) for _ in range(3)] == [server.master] * 3
        server.wait_log(r"\[error\].*no master")


def test_two_workers_share_the_work(start: Callable[..., Server]) -> None:
    http = LOCATION.replace("{port}", "{port} reuseport")  # so that the kernel deals connections out
    server = start(http, main="worker_processes 2;")
    pids = {ask(server, PID) for _ in range(64)}
    assert pids == set(server.workers())


def test_two_workers_on_one_socket_refuse_nobody(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(LOCATION, main="worker_processes 2;")
    gates = [Gate(tmp_path, str(i)) for i in range(20)]
    calls = [Asking(server, WAIT, gate=str(gate)) for gate in gates]
    for gate in gates:
        gate.open()
    assert [call.answer().text for call in calls] == ["done"] * len(calls)


def test_new_code_that_comes_to_two_workers_at_once(start: Callable[..., Server]) -> None:
    server = start(LOCATION.replace("{port}", "{port} reuseport"), main="worker_processes 2;")
    for i in range(100):
        calls = [Asking(server, f"def run(_): return {i}\n") for _ in range(12)]
        assert {call.answer().text for call in calls} == {str(i)}


METHODS = [
    "use epoll;",
    "use poll;",
    "accept_mutex on;",
    "accept_mutex on; use poll;",
    "multi_accept on;",
]


@pytest.mark.parametrize("events", METHODS)
@pytest.mark.parametrize("workers", [1, 2])
def test_any_event_method(tmp_path: Path, events: str, workers: int) -> None:
    server = Server(LOCATION, main=f"worker_processes {workers};")
    conf = server.dir / "nginx.conf"

    def configure() -> None:
        server.write_conf(LOCATION, main=f"worker_processes {workers};")
        conf.write_text(conf.read_text().replace("events { }", f"events {{ worker_connections 256; {events} }}"))

    configure()
    if "[emerg]" in server.test_conf().stderr:
        server.close()
        pytest.skip("this nginx has no such method")
    with server:
        assert {ask(server, PID) for _ in range(20)} <= set(server.workers())
        stream = "import time\ndef run(_):\n    for i in range(5):\n        yield str(i)\n        time.sleep(0.01)\n"
        assert Asking(server, stream).answer().text == "01234"
        before = set(server.workers())
        server.signal("reload")
        wait_until(lambda: ask(server, PID) not in before, "the new workers")
        end = tmp_path / "end"
        code = """
import pathlib, time
def run(_, file):
    try:
        while True:
            yield "x"
            time.sleep(0.001)
    finally:
        pathlib.Path(file).write_text("ended")
"""
        asked = Asking(server, code, file=str(end))
        assert asked.read(1) == b"x"
        asked.leave()
        assert wait_text(end) == "ended"
