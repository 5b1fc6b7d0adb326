"""Several Pythons in one nginx, each with its own library and its own bridge; and what is said where one is missing.

The system's Python is always there. OWT_PYTHONS names others, separated by ":", each a directory as python_home takes
it; for each `make bridge PYTHON=DIR/bin/python3` has been run.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import Asking, wait_text
from gate import ASYNC, PAUSE, Gate
from harness import BUILD, NGINX, PRELOAD, ROOT, SLOW, Server, linked_in, terminal, wait_until
from virtualenvs import bare, packages_of

HOMES = ["/usr", *filter(None, os.environ.get("OWT_PYTHONS", "").split(":"))]
#: The Pythons by their place in the configuration.
EACH = pytest.mark.parametrize("python", range(len(HOMES)), ids=HOMES)
NAMES = ["port", *(f"port{number}" for number in range(2, len(HOMES) + 1))]


def conf() -> str:
    """One instance for each of HOMES, on a port of its own."""
    return "".join(
        f"owt_instance python{number} {{ threads 2; grace 2s; python_home {home}; }}\n"
        f"server {{ listen 127.0.0.1:{{{NAMES[number]}}}; owt_instance python{number}; location / {{ owt; }} }}\n"
        for number, home in enumerate(HOMES)
    )


CONF = conf()


def ask(server: Server, python: int, code: str, **fields: object) -> Any:
    answer = Asking(server, code, port=server.port_of(NAMES[python]), **fields).answer()
    assert answer.status == 200, answer.text
    return json.loads(answer.body)


def said_by(home: str, code: str) -> Any:
    """What the interpreter itself prints as JSON."""
    command = [f"{home}/bin/python3", "-I", "-c", code]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


WHICH = "[sys.version, sys.prefix, sysconfig.get_config_var('SOABI'), getattr(sys, '_is_gil_enabled', lambda: True)()]"


# ---- all of them at once ---------------------------------------------------------------------------------------------


@EACH
def test_an_instance_runs_its_own_python(server: Server, python: int) -> None:
    told = ask(server, python, f"import sys, sysconfig\ndef run(_): return {WHICH}")
    assert told == said_by(HOMES[python], f"import json, sys, sysconfig; print(json.dumps({WHICH}))")


@EACH
def test_its_library_is_the_only_one_in_the_process(server: Server, python: int) -> None:
    code = """
import re
def run(_):
    return sorted(set(re.findall(r"/\\S*libpython3\\.\\S+", open("/proc/self/maps").read())))
"""
    (library,) = ask(server, python, code)
    wanted = said_by(HOMES[python], "import json, sysconfig; print(json.dumps(sysconfig.get_config_var('INSTSONAME')))")
    assert Path(library).name == wanted
    if HOMES[python] != "/usr":
        base = said_by(HOMES[python], "import json, sys; print(json.dumps(sys.base_prefix))")
        assert Path(library).is_relative_to(Path(base).resolve())


@EACH
def test_its_extension_modules_load(server: Server, python: int) -> None:
    code = """
import ctypes, decimal, hashlib, json, lzma, sqlite3, ssl, zlib
def run(_):
    return [ssl.OPENSSL_VERSION.split()[0], sqlite3.connect(":memory:").execute("select 6 * 7").fetchone()[0]]
"""
    assert ask(server, python, code) == ["OpenSSL", 42]


@EACH
def test_a_child_is_of_the_same_python(server: Server, python: int) -> None:
    code = """
import multiprocessing, sys

def version(_):
    return sys.version

def run(_):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return [sys.version, *pool.map(version, [0])]
"""
    own, childs = ask(server, python, code)
    assert own == childs


@EACH
def test_types_are_converted_and_forms_read(server: Server, python: int) -> None:
    done = server.curl(
        "/",
        *("--form-string", "code=def run(_, n: int, file: bytes): return {'n': n + 1, 'size': len(file)}"),
        *("--form-string", "n=1", "-F", f"file=@{ROOT}/LICENSE"),
        url=f"http://127.0.0.1:{server.port_of(NAMES[python])}",
    )
    assert json.loads(done.stdout) == {"n": 2, "size": (ROOT / "LICENSE").stat().st_size}


@EACH
def test_a_stream_comes_as_it_is_made(server: Server, python: int, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    code = f"def run(_, gate):\n    yield 'one'\n    pause(gate)\n    yield 'two'\n{PAUSE}"
    asked = Asking(server, code, port=server.port_of(NAMES[python]), gate=str(gate))
    assert asked.read(3) == b"one"
    gate.open()
    assert asked.answer().text == "two"


@EACH
def test_asynchronous_calls_share_a_loop(server: Server, python: int, tmp_path: Path) -> None:
    """More of them than there are threads."""
    gates = [Gate(tmp_path, f"gate{number}") for number in range(4)]
    waiting = [Asking(server, ASYNC, port=server.port_of(NAMES[python]), gate=str(gate)) for gate in gates]
    for gate in gates:
        gate.wait_reached()
    for gate in gates:
        gate.open()
    assert [asked.answer().text for asked in waiting] == ["done"] * 4


@EACH
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_call_ends_when_its_client_leaves(server: Server, python: int, kind: str, tmp_path: Path) -> None:
    pause = "time.sleep(0.001)" if kind == "def" else "await asyncio.sleep(0.001)"
    code = f"""
import asyncio, pathlib, time
{kind} run(_, began, ended):
    try:
        while True:
            pathlib.Path(began).write_text("began")
            {pause}
    except BaseException as error:
        pathlib.Path(ended).write_text(type(error).__name__)
        raise
"""
    port = server.port_of(NAMES[python])
    asked = Asking(server, code, port=port, began=str(tmp_path / "began"), ended=str(tmp_path / "ended"))
    wait_text(tmp_path / "began")
    asked.leave()
    assert wait_text(tmp_path / "ended") in ("Cancelled", "CancelledError")


@EACH
def test_a_call_is_cancelled_while_another_imports(server: Server, python: int, tmp_path: Path) -> None:
    """An import is not interrupted, and the call ends once it is over."""
    (tmp_path / "slow_to_import.py").write_text(
        f"import pathlib, time\npathlib.Path({str(tmp_path / 'began')!r}).write_text('began')\n"
        f"while not pathlib.Path({str(tmp_path / 'go')!r}).exists():\n    time.sleep(0.001)\n"
        "whole = True\n"
    )
    code = """
import pathlib, sys, time
def run(_, folder):
    sys.path.insert(0, folder)
    try:
        import slow_to_import
        while True:
            time.sleep(0.001)
    finally:
        sys.path.remove(folder)
        pathlib.Path(folder, "ended").write_text(str(getattr(sys.modules.pop("slow_to_import", None), "whole", False)))
"""
    asked = Asking(server, code, port=server.port_of(NAMES[python]), folder=str(tmp_path))
    wait_text(tmp_path / "began")
    before = server.access_log.count("\n")
    asked.leave()
    wait_until(lambda: server.access_log.count("\n") > before, "the client's end")
    ask(
        server, python, "import time\ndef run(_):\n    time.sleep(0.05)\n    return 0"
    )  # the supervisor has had its chance
    (tmp_path / "go").touch()
    assert wait_text(tmp_path / "ended") == "True"


def test_an_endpoint_is_known_to_all_by_its_hash(server: Server) -> None:
    """One directory of sources; the compiled ones lie side by side."""
    code = "import sys\ndef run(_): return [sys.version_info[1], __name__]\n"
    answers = [ask(server, 0, code)]
    name = answers[0][1].removeprefix("owt.endpoint.")
    code_id = name.replace("_", ":", 1)
    for python in range(len(HOMES)):
        client = server.client(f"http://127.0.0.1:{server.port_of(NAMES[python])}")
        minor, same = client.get("/", params={"code_id": code_id}).json()
        assert same == answers[0][1]
        assert minor == said_by(HOMES[python], "import sys; print(sys.version_info[1])")


@EACH
def test_a_crash_is_one_instances_alone(start: Callable[..., Server], python: int) -> None:
    server = start(CONF)
    pid = "import os\ndef run(_): return os.getpid()"
    before = [ask(server, number, pid) for number in range(len(HOMES))]
    server.expect("exited on signal")
    crash = "import ctypes\ndef run(_): ctypes.string_at(0)"
    assert Asking(server, crash, port=server.port_of(NAMES[python])).answer_or_none() is None
    after = [ask(server, number, pid) for number in range(len(HOMES))]
    assert [number for number in range(len(HOMES)) if before[number] != after[number]] == [python]
    server.wait_log("Fatal Python error: Segmentation fault")


def test_a_reload_keeps_each_its_python(start: Callable[..., Server], tmp_path: Path) -> None:
    server = start(CONF)
    which = f"import os, sys, sysconfig\ndef run(_): return [os.getpid(), *{WHICH}]"
    before = [ask(server, python, which) for python in range(len(HOMES))]
    gate = Gate(tmp_path)
    code = f"import sys\ndef run(_, gate):\n    pause(gate)\n    return [sys.version]\n{PAUSE}"
    running = [Asking(server, code, port=server.port_of(name), gate=str(gate)) for name in NAMES[:1]]
    gate.wait_reached()
    server.signal("reload")
    after = [ask(server, python, which) for python in range(len(HOMES))]
    gate.open()
    assert json.loads(running[0].answer().body) == [before[0][1]]
    assert [one[1:] for one in before] == [one[1:] for one in after]
    assert not {one[0] for one in before} & {one[0] for one in after}


def test_a_bridge_that_a_python_has_installed_comes_first(start: Callable[..., Server], tmp_path: Path) -> None:
    """As pip does it: the package, and the bridge in it."""
    home = bare(tmp_path / "venv")
    site = packages_of(home)
    shutil.copytree(ROOT / "python/owt", site / "owt", ignore=shutil.ignore_patterns("__pycache__"))
    bridge = said_by("/usr", "import json, sysconfig; print(json.dumps(sysconfig.get_config_var('SOABI')))")
    shutil.copy(BUILD / f"python/_bridge.{bridge}.so", site / "owt")
    server = start(
        f"owt_instance default {{ python_home {home}; }}\nserver {{ listen 127.0.0.1:{{port}}; location / {{ owt; }} }}"
    )
    code = """
import owt, re
def run(_):
    return [owt.__file__, *sorted(set(re.findall(r"/\\S*_bridge\\S*", open("/proc/self/maps").read())))]
"""
    answer = Asking(server, code).answer()
    assert json.loads(answer.body) == [f"{site}/owt/__init__.py", f"{site}/owt/_bridge.{bridge}.so"], answer.text


def test_an_instance_may_change_its_python_in_a_reload(start: Callable[..., Server], tmp_path: Path) -> None:
    one = "server { listen 127.0.0.1:{port}; location / { owt; } }"
    server = start(one)
    prefix = "import sys\ndef run(_): return sys.prefix.encode()"
    assert Asking(server, prefix).answer().text == "/usr"
    subprocess.run([f"{HOMES[-1]}/bin/python3", "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    server.write_conf(f"owt_instance default {{ python_home {tmp_path}/venv; }}\n{one}")
    server.signal("reload")
    assert Asking(server, prefix).answer().text == f"{tmp_path}/venv"


# ---- as conda lays them out -----------------------------------------------------------------------------------------


@pytest.fixture
def conda(tmp_path: Path) -> Path:
    """A prefix with the system's Python in it, whose program has all of Python in itself and says that there is no
    library, though one lies beside it."""
    program = Path("/usr/bin/python3").resolve()
    if b"libpython3" in subprocess.run(["ldd", program], capture_output=True, check=True).stdout:
        pytest.skip(f"{program} needs its library itself")
    answer = (
        "import json, sysconfig, os; v = sysconfig.get_config_vars(); print(json.dumps([os.path.dirname(os.__file__),"
    )
    answer += " sysconfig._get_sysconfigdata_name(), v['LIBDIR'], v['MULTIARCH'], v['INSTSONAME']]))"
    stdlib, data, libdir, multiarch, library = said_by("/usr", answer)
    home = tmp_path / "conda"
    (home / "bin").mkdir(parents=True)
    shutil.copy(program, home / "bin" / program.name)
    (home / "bin/python3").symlink_to(program.name)
    own = home / "lib" / Path(stdlib).name
    own.mkdir(parents=True)
    for entry in Path(stdlib).iterdir():
        (own / entry.name).symlink_to(entry)
    (own / "EXTERNALLY-MANAGED").unlink(missing_ok=True)
    (own / f"{data}.py").unlink()
    said = f"from _real import build_time_vars\nbuild_time_vars |= dict(Py_ENABLE_SHARED=0, LIBDIR={str(home / 'lib')!r})\n"
    (own / f"{data}.py").write_text(said)
    (own / "_real.py").symlink_to(Path(stdlib, f"{data}.py"))
    shutil.copy(
        Path(libdir, library) if Path(libdir, library).exists() else Path(libdir, multiarch, library), home / "lib"
    )
    return home


def test_a_library_that_is_denied_is_found(start: Callable[..., Server], conda: Path) -> None:
    code = """
import re, sys, sysconfig
def run(_):
    maps = open("/proc/self/maps").read()
    return [sys.prefix, sysconfig.get_config_var("Py_ENABLE_SHARED"), *sorted(set(re.findall(r"/\\S*libpython\\S+", maps)))]
"""
    server = start(f"owt_instance default {{ python_home {conda}; }}\n{LOCATION}")
    (library,) = (conda / "lib").glob("libpython3.*.so.*")
    assert json.loads(Asking(server, code).answer().body) == [str(conda), 0, str(library)]


def test_a_prefix_without_a_library_is_told(told: Callable[..., str], conda: Path) -> None:
    """And of a library elsewhere, of the same version, nothing is made."""
    (library,) = (conda / "lib").glob("libpython3.*.so.*")
    library.unlink()
    said = told(conda)
    assert "comes without its library" in said
    assert said.endswith('build this Python with "./configure --enable-shared"')


def test_a_virtualenv_of_such_a_prefix(start: Callable[..., Server], conda: Path, tmp_path: Path) -> None:
    subprocess.run([conda / "bin/python3", "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    server = start(f"owt_instance default {{ python_home {tmp_path}/venv; }}\n{LOCATION}")
    code = "import sys\ndef run(_): return [sys.prefix, sys.base_prefix]"
    assert json.loads(Asking(server, code).answer().body) == [str(tmp_path / "venv"), str(conda)]


# ---- what the module knows of Python ---------------------------------------------------------------------------------


def test_the_module_is_linked_to_no_python() -> None:
    program = NGINX if linked_in() else str(BUILD / "ngx_http_owt_module.so")
    assert "libpython" not in subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout


def test_a_worker_without_owt_loads_no_python(start: Callable[..., Server]) -> None:
    server = start("server { listen 127.0.0.1:{port}; return 200 plain; }")
    (worker,) = server.workers()
    assert "libpython" not in Path(f"/proc/{worker}/maps").read_text()


# ---- what is said while the configuration is read --------------------------------------------------------------------

LOCATION = "server { listen 127.0.0.1:{port}; location / { owt; } }"


FATAL = "Fatal Python error: no codec;"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
#: Runs the command that follows in a terminal of its own.
IN_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


class Fake:
    """A Python's directory, with an interpreter that answers as it is told."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "bin").mkdir(parents=True)
        bridge = next((BUILD / "python").glob("_bridge.*.so"))
        self.answer = {
            "version": "3.11.2",
            "implementation": "cpython",
            "prefix": str(home),  # a virtualenv's
            "base_prefix": "/opt/python",
            "soabi": bridge.name.split(".")[1],
            "library": "/opt/python/lib/libpython3.11.so.1.0",
            "bridge": "",
            "installer": "pip",
            "foreign": "",
            "old": "",
            "wanted": "",
        }
        self.answers()

    def answers(self, **fields: str) -> None:
        self.answer |= fields
        values = " ".join(map(shlex.quote, self.answer.values()))
        self.runs(f"printf 'hello\\n\\0owt\\0'; printf '%s\\0' {values}")

    def runs(self, script: str) -> None:
        python = self.home / "bin/python3"
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path / "python")


@pytest.fixture
def told() -> Iterator[Callable[..., str]]:
    """What nginx -t says of this python_home; empty if it has nothing against it."""
    servers = []

    def check(home: object, more: str = "", env: dict[str, str] | None = None) -> str:
        server = Server(f"owt_instance default {{\npython_home {home};\n}}\n{more}{LOCATION}", env=env)
        servers.append(server)
        done = server.test_conf()
        emerg = [line for line in done.stderr.splitlines() if "[emerg]" in line]
        assert bool(emerg) == (done.returncode != 0), done.stderr
        if not emerg:
            return ""
        place = 1 + server.conf.splitlines().index(f"python_home {home};")
        found = re.fullmatch(rf'.*"python_home" in "owt_instance": (.*) in \S+/nginx\.conf:{place}', emerg[0])
        assert found, emerg
        return found[1]

    yield check
    for server in servers:
        server.close()


def test_a_python_that_answers_well_is_taken(fake: Fake, told: Callable[..., str]) -> None:
    assert told(fake.home) == ""


def test_a_directory_that_is_not_there(told: Callable[..., str], tmp_path: Path) -> None:
    there = tmp_path / "there"
    assert told(there) == f'there is no directory {there}: make a virtualenv there with "python3 -m venv {there}"'


@pytest.mark.parametrize("home", ["~/venv", "$HOME/venv", '""'])
def test_what_only_a_shell_understands(told: Callable[..., str], home: str) -> None:
    assert told(home) == "wants the whole path of a directory, as /opt/venv: nginx knows nothing of ~ and $HOME"


@pytest.mark.parametrize("inner", ["bin", "bin/python3", "pyvenv.cfg", "lib/python3.11/site-packages"])
def test_what_lies_in_a_virtualenv_is_not_the_virtualenv(fake: Fake, told: Callable[..., str], inner: str) -> None:
    (fake.home / "pyvenv.cfg").touch()
    (fake.home / "lib/python3.11/site-packages").mkdir(parents=True)
    what = "has no bin/python3" if (fake.home / inner).is_dir() else "is no directory"
    assert told(fake.home / inner) == (
        f'{fake.home / inner} {what}: what it lies in is meant, "python_home {fake.home};"'
    )


def test_the_interpreter_of_a_python_that_is_no_virtualenv(told: Callable[..., str]) -> None:
    assert told("/usr/bin/python3").endswith('what it lies in is meant, "python_home /usr;"')


def test_a_command_is_typed_as_it_is_told(told: Callable[..., str], tmp_path: Path) -> None:
    there = tmp_path / "it's a Python"
    command = told(f'"{there}"').split('"')[1]
    subprocess.run([*shlex.split(command), "--without-pip"], check=True)
    assert told(f'"{there}"') == ""


def test_an_empty_directory(told: Callable[..., str], tmp_path: Path) -> None:
    assert told(tmp_path).endswith(f'has no bin/python3: make a virtualenv there with "python3 -m venv {tmp_path}"')


def test_nobody_is_told_to_make_a_virtualenv_over_what_is_there(told: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    assert "has no bin/python3" in (said := told(tmp_path)) and "venv " not in said


def test_a_virtualenv_whose_python_is_gone(told: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "pyvenv.cfg").touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to("/opt/gone/bin/python3")
    assert told(tmp_path).endswith(f'make the virtualenv again with "python3 -m venv --clear {tmp_path}"')


def test_a_conda_environment_without_python(told: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    assert told(tmp_path).endswith(f'"conda install -p {tmp_path} python"')


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo first; echo it has no libc >&2; exit 1", "it has no libc"),
        ("printf 'Fatal Python error: no codec\\nCurrent thread:\\n  <no Python frame>\\n' >&2; exit 1", FATAL),
        ("printf '\\0owt\\0half\\0'", ""),
        ("exit 0", ""),
        ("kill -SEGV $$", ""),
    ],
)
def test_an_interpreter_that_does_not_run(fake: Fake, told: Callable[..., str], script: str, said: str) -> None:
    fake.runs(script)
    assert told(fake.home).startswith(f"{fake.home}/bin/python3 does not run: {said}")


def test_an_interpreter_that_may_not_be_run(fake: Fake, told: Callable[..., str]) -> None:
    (fake.home / "bin/python3").chmod(0o644)
    said = told(fake.home)
    command = f"chmod a+rx {fake.home}/bin/python3"
    assert f'does not run: Permission denied: "{command}" lets it in' in said.replace(", for root", "")


@AS_ROOT
@pytest.mark.parametrize("linked", [False, True])
def test_a_directory_that_the_user_of_calls_may_not_enter(linked: bool) -> None:
    """As root's home, where uv may have put the Python of a virtualenv that lies elsewhere."""
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    server = None
    try:
        folder.chmod(0o755)
        real = Fake(folder / "of root" / "python").home
        (folder / "of root").chmod(0o700)
        home = real
        if linked:
            home = folder / "venv"
            (home / "bin").mkdir(parents=True)
            (home / "bin/python3").symlink_to("python")
            (home / "bin/python").symlink_to("../../of root/python/bin/python3")
        server = Server(f'owt_instance default {{ python_home "{home}"; }}\n{LOCATION}')
        path = server.dir / "nginx.conf"
        path.write_text(path.read_text().replace("user root;", "user nobody nogroup;"))
        said = server.test_conf().stderr
        found = re.search(r'Permission denied, for nobody: "(.*?)" lets it in', said)
        assert found, said
        assert f'try "runuser -u nobody -- {shlex.quote(f"{home}/bin/python3")} -I -c' in said
        (real / "bin/python3").write_text('#!/bin/sh\nexec /usr/bin/python3 "$@"\n')
        subprocess.run(found[1], shell=True, check=True, cwd=home / "bin")
        done = server.test_conf()
        assert done.returncode == 0, done.stderr
    finally:
        if server:
            server.close()
        shutil.rmtree(folder)


@pytest.mark.parametrize("version", ["2.7.18", "3.9.18", "3.10.13", "4.0.0"])
def test_a_python_that_owt_does_not_run(fake: Fake, told: Callable[..., str], version: str) -> None:
    fake.answers(version=version, library="")
    said = told(fake.home)
    assert said.endswith(
        f"is Python {version}, and owt runs 3.11 and newer: make it anew with one of these,"
        f' "python3.11 -m venv --clear {fake.home}"'
    )


def test_an_old_python_that_is_no_virtualenv(fake: Fake, told: Callable[..., str]) -> None:
    fake.answers(version="3.10.13", prefix="/opt/python", library="")
    assert told(fake.home).endswith('make a virtualenv with one of these, "python3.11 -m venv DIR"')


def test_another_implementation(fake: Fake, told: Callable[..., str]) -> None:
    fake.answers(implementation="pypy", soabi="pypy311-pp73", library="")
    assert "is pypy, and owt runs CPython" in told(fake.home)


@pytest.mark.parametrize(
    ("base", "command"),
    [
        ("/usr", '"apt-get install libpython3.12"'),
        ("/home/me/.pyenv/versions/3.12.1", '"PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install --force 3.12.1"'),
        ("/opt/python", '"./configure --enable-shared"'),
    ],
)
def test_a_python_without_its_library(fake: Fake, told: Callable[..., str], base: str, command: str) -> None:
    fake.answers(version="3.12.1", base_prefix=base, library="")
    assert "comes without its library, libpython3.12.so" in (said := told(fake.home)) and command in said


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """Debian's packages are not in it."""
    return bare(tmp_path / "venv")


def test_a_package_of_the_same_name_is_told(venv: Path, told: Callable[..., str]) -> None:
    """PyPI has one, which would come before owt's."""
    (packages_of(venv) / "owt").mkdir()
    assert told(venv) == ""  # what an uninstalled package may leave behind is none
    (packages_of(venv) / "owt/__init__.py").touch()
    assert told(venv).endswith(
        f" has a package owt that is another's, {packages_of(venv) / 'owt'}: \"uv pip uninstall --python"
        f' {venv}/bin/python3 owt" takes it away'
    )


def test_packages_that_are_too_old_are_told(venv: Path, told: Callable[..., str]) -> None:
    """They would come before those that owt brings. What is old enough stands in pyproject.toml."""
    project = tomllib.loads((ROOT / "python/pyproject.toml").read_text())["project"]
    least = {name: version for name, _, version in (one.partition(">=") for one in project["dependencies"]) if version}
    assert least

    def have(versions: dict[str, str]) -> None:
        for name, version in versions.items():
            for of_before in packages_of(venv).glob(f"{name.lower()}-*.dist-info"):
                shutil.rmtree(of_before)
            (info := packages_of(venv) / f"{name.lower()}-{version}.dist-info").mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")

    have({name: f"{version}.0rc1" for name, version in least.items()})
    assert told(venv) == ""
    have({name: version + "0.1" for name, version in least.items()})
    assert told(venv) == ""
    have(dict.fromkeys(least, "0.9.9"))
    wanted = " ".join(f"'{name}>={version}'" for name, version in least.items())
    assert told(venv).endswith(
        f" has {', '.join(f'{name} 0.9.9' for name in least)}, which is too old for owt:"
        f' "uv pip install --python {venv}/bin/python3 {wanted}" brings what it wants'
    )


@pytest.mark.parametrize("installer", ["pip", "uv", ""])
def test_a_python_without_a_bridge(fake: Fake, told: Callable[..., str], installer: str) -> None:
    """Beside the module is where one is looked for."""
    if linked_in():
        pytest.skip("a program has no bridges beside it")
    fake.answers(version="3.12.1", soabi="cpython-312-fantasia", installer=installer)
    assert told(fake.home) == (
        f"owt has no bridge to {fake.home}/bin/python3, Python 3.12.1, which would be"
        f' {BUILD}/python/_bridge.cpython-312-fantasia.so: "make bridge PYTHON={fake.home}/bin/python3"'
        " in owt's source tree makes it"
    )


@pytest.mark.parametrize(
    ("installer", "command"),
    [
        ("pip", "{python} -m pip install ./python"),
        ("uv", "uv pip install --python {python} ./python"),
        ("", "make bridge PYTHON={python} && make install"),
    ],
)
def test_a_python_without_a_bridge_is_told_by_an_installed_module(
    fake: Fake, installer: str, command: str, tmp_path: Path
) -> None:
    if linked_in() or PRELOAD:
        pytest.skip("there is no module, or the sanitizer's library is needed")
    shutil.copy(BUILD / "ngx_http_owt_module.so", tmp_path)
    fake.answers(soabi="cpython-312-fantasia", installer=installer)
    (tmp_path / "nginx.conf").write_text(
        f"load_module {tmp_path}/ngx_http_owt_module.so; {'user root; ' * (os.geteuid() == 0)}pid nginx.pid; events {{}}\n"
        f"http {{ access_log off; owt_dir sources; owt_instance default {{ python_home {fake.home}; }}"
        " server { listen 127.0.0.1:1; location / { owt; } } }"
    )
    done = subprocess.run(
        [NGINX, "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", "stderr"], capture_output=True, text=True
    )
    assert f'"{command.format(python=fake.home / "bin/python3")}" in owt\'s source tree makes it' in done.stderr


@pytest.mark.parametrize(
    ("installer", "command"),
    [("pip", "{python} -m pip install ./python"), ("uv", "uv pip install --python {python} ./python")],
)
def test_a_bridge_of_another_release(
    fake: Fake, told: Callable[..., str], installer: str, command: str, tmp_path: Path
) -> None:
    """As pip has left it in that Python."""
    bridge = tmp_path / "_bridge.so"
    own = next((BUILD / "python").glob("_bridge.*.so")).read_bytes()
    bridge.write_bytes(re.sub(rb"owt bridge [0-9.]+-", b"owt bridge 0.0.1-", own))
    fake.answers(bridge=str(bridge), installer=installer)
    said = told(fake.home)
    assert f"{bridge}, is of another release of owt: " in said
    assert said.endswith(f'"{command.format(python=fake.home / "bin/python3")}" in owt\'s source tree makes it anew')


def test_a_file_that_is_no_bridge(fake: Fake, told: Callable[..., str]) -> None:
    fake.answers(bridge="/bin/sh")
    assert "/bin/sh, is no bridge of owt" in told(fake.home)


def test_a_foreign_python_in_nginx(fake: Fake, told: Callable[..., str], tmp_path: Path) -> None:
    """As of another module, which would have been linked to it."""
    if PRELOAD:
        pytest.skip("the sanitizer has LD_PRELOAD for itself")
    foreign = tmp_path / "libforeign.so"
    source = "void Py_InitializeFromConfig(void) {}"
    subprocess.run(["cc", "-shared", "-fPIC", "-xc", "-", "-o", foreign], input=source, text=True, check=True)
    assert f"nginx has loaded {foreign} already" in told(fake.home, env={"LD_PRELOAD": str(foreign)})


def test_each_python_is_asked_once(fake: Fake, told: Callable[..., str], tmp_path: Path) -> None:
    fake.runs(f'echo asked >> {tmp_path}/log; exec /usr/bin/python3 "$@"')
    more = (
        f"owt_instance more {{ python_home {fake.home}; }}\n"
        "server { listen 127.0.0.1:{port2}; owt_instance more; location / { owt; } }\n"
    )
    assert told(fake.home, more) == ""
    assert (tmp_path / "log").read_text() == "asked\n"


def test_a_python_that_nobody_needs_is_not_asked() -> None:
    server = Server("server { listen 127.0.0.1:{port}; return 200 plain; }")
    try:
        trace = (
            subprocess.run(
                ["strace", "-f", "-qq", "-e", "trace=execve", *server.command("-t")],
                capture_output=True,
                text=True,
                env=server.environment(),
            )
            if shutil.which("strace")
            else None
        )
        assert trace is None or "python" not in trace.stderr
    finally:
        server.close()


@pytest.fixture
def others() -> Iterator[Path]:
    """A directory for everybody, in which another user may write too."""
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def nginx_t_for_another(conf: str, user: str = "user nobody nogroup;", **more: Any) -> subprocess.CompletedProcess[str]:
    """What root's nginx -t says where calls run as somebody else."""
    server = Server(conf)
    try:
        path = server.dir / "nginx.conf"
        path.write_text(path.read_text().replace("user root;", user))
        command = [*more.pop("before", []), *server.command("-t")]
        options: dict[str, Any] = {"env": server.environment()} | more
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60 * SLOW, **options)
    finally:
        server.close()


@AS_ROOT
def test_an_interpreter_is_run_by_the_user_whom_calls_run_as(others: Path) -> None:
    """Who may write to a virtualenv does not become root by it."""
    Fake(others / "python").runs(f'id -un > {others}/who; exec /usr/bin/python3 "$@"')
    done = nginx_t_for_another(f"owt_instance default {{ python_home {others}/python; }}\n{LOCATION}")
    assert done.returncode == 0, done.stderr
    assert (others / "who").read_text() == "nobody\n"


@AS_ROOT
def test_an_interpreter_is_never_run_by_root_for_want_of_a_user(others: Path) -> None:
    """The line that names the user comes last, and the account that nginx has by default is not there."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        pytest.skip("no namespace of its own for /etc/passwd")
    Fake(others / "python").runs(f'id -u > {others}/who; exec /usr/bin/python3 "$@"')
    files = {"passwd": "root:x:0:0:root:/root:/bin/sh\n", "group": "root:x:0:\n", "nsswitch.conf": "passwd: files\n"}
    for name, text in files.items():
        (others / name).write_text(text)
    binds = "".join(f"mount --bind {others}/{name} /etc/{name} && " for name in files)
    done = nginx_t_for_another(
        f"owt_instance default {{ python_home {others}/python; }}\n{LOCATION}",
        user="",
        before=["unshare", "-m", "sh", "-c", binds + 'exec "$@"', "sh"],
    )
    assert 'getpwnam("' in done.stderr, done.stderr  # here nginx itself wants one, in the end
    assert (others / "who").read_text() == "65534\n"


@AS_ROOT
def test_an_interpreter_of_others_sees_nothing_of_roots(others: Path) -> None:
    """Neither what the shell's environment says, nor files that are named from where the shell is."""
    Fake(others / "python").runs(f'env > {others}/env; pwd > {others}/cwd; exec /usr/bin/python3 "$@"')
    conf = f"owt_instance default {{ python_home {others}/python; }}\n{LOCATION}"
    env = {**os.environ, "PASSWORD": "secret", "LC_ALL": "C.UTF-8", "HOME": "/root"}
    done = nginx_t_for_another(conf, env=env, cwd=others)
    assert done.returncode == 0, done.stderr
    seen = dict(line.split("=", 1) for line in (others / "env").read_text().splitlines())
    assert "PASSWORD" not in seen and "HOME" not in seen
    assert seen["LC_ALL"] == "C.UTF-8" and seen["PATH"]
    assert (others / "cwd").read_text() == "/\n"


@AS_ROOT
def test_an_interpreter_of_others_has_no_terminal(others: Path) -> None:
    """Into root's it could type commands."""
    for end in terminal():
        os.close(end)
    Fake(others / "python").runs(
        f'if (: < /dev/tty); then echo has; else echo none; fi > {others}/tty 2>&1; exec /usr/bin/python3 "$@"'
    )
    conf = f"owt_instance default {{ python_home {others}/python; }}\n{LOCATION}"
    done = nginx_t_for_another(conf, before=["/usr/bin/python3", "-c", IN_TERMINAL])
    assert done.returncode == 0, done.stdout + done.stderr
    assert (others / "tty").read_text().endswith("none\n")


@AS_ROOT
def test_calls_of_others_have_no_terminal() -> None:
    """Where root has started nginx in the foreground, which Ctrl-C ends all the same."""
    server = Server(LOCATION)
    screen, end = terminal()
    nginx = None
    try:
        server.dir.chmod(0o755)
        path = server.dir / "nginx.conf"
        path.write_text(path.read_text().replace("user root;", "user nobody nogroup;"))
        command = ["setsid", "--ctty", *server.command()]
        nginx = subprocess.Popen(command, stdin=end, stdout=end, stderr=end, env=server.environment())
        wait_until(lambda: server.curl("/?code=lambda%20_:%20'up'").stdout == "up", "nginx to start", 20)
        code = """
import os
def run():
    try:
        os.open("/dev/tty", os.O_RDWR)
    except OSError as error:
        return [os.getpid(), os.getuid(), error.strerror]
"""
        worker, uid, why = json.loads(Asking(server, code).answer().body)
        assert uid != 0 and why == "No such device or address"
        os.write(screen, b"\x03")
        nginx.wait(30 * SLOW)
        wait_until(lambda: not Path(f"/proc/{worker}").exists(), "the worker's end")
    finally:
        if nginx is not None and nginx.poll() is None:
            nginx.terminate()
            nginx.wait()
        os.close(screen)
        os.close(end)
        server.close()


@AS_ROOT
def test_a_bridge_is_read_by_the_user_whom_calls_run_as(others: Path) -> None:
    """What processes could not load is told, and whoever names it has nothing opened by root."""
    fake = Fake(others / "python")
    bridge = others / "_bridge.so"
    shutil.copy(next((BUILD / "python").glob("_bridge.*.so")), bridge)
    bridge.chmod(0o600)
    fake.answers(bridge=str(bridge))
    conf = f"owt_instance default {{ python_home {fake.home}; }}\n{LOCATION}"
    done = nginx_t_for_another(conf)
    assert f'cannot be read: Permission denied, for nobody: "chmod a+r {bridge}" lets it in' in done.stderr
    bridge.chmod(0o644)
    assert nginx_t_for_another(conf).returncode == 0


def test_a_bridge_that_is_no_file_is_not_waited_for(fake: Fake, told: Callable[..., str], tmp_path: Path) -> None:
    pipe = tmp_path / "_bridge.so"
    os.mkfifo(pipe)
    fake.answers(bridge=str(pipe))
    assert f"{pipe}, is no bridge of owt" in told(fake.home)
    fake.answers(bridge="/dev/zero")
    assert "/dev/zero, is no bridge of owt" in told(fake.home)
    with (tmp_path / "large").open("wb") as large:
        large.truncate(1 << 40)
    fake.answers(bridge=str(tmp_path / "large"))
    assert f"{tmp_path}/large, is no bridge of owt" in told(fake.home)


@pytest.mark.parametrize("where", ["printed", "answered"])
def test_what_an_interpreter_says_is_nothing_that_a_terminal_obeys(
    fake: Fake, told: Callable[..., str], where: str
) -> None:
    if where == "printed":
        fake.runs("printf '\\033]0;title\\007red'; exit 1")
    else:
        fake.answers(implementation="\x1b]0;title\x07red")
    assert r"\x1b]0;title\x07red" in told(fake.home)


def test_what_an_interpreter_says_is_nothing_that_a_shell_obeys(fake: Fake, told: Callable[..., str]) -> None:
    """The command is there to be copied."""
    fake.answers(old="Werkzeug 1.0", wanted="Werkzeug>=2.2 x;id")
    assert "-m pip install 'Werkzeug>=2.2' 'x;id'\"" in told(fake.home)


def test_only_the_beginning_of_a_long_complaint_is_shown(fake: Fake, told: Callable[..., str]) -> None:
    fake.runs("head -c 1000000 /dev/zero | tr '\\0' x")
    assert re.search("does not run: x{500} \\.\\.\\.; try", told(fake.home))


def test_a_server_can_be_stopped_whatever_has_become_of_its_python(start: Callable[..., Server], fake: Fake) -> None:
    fake.runs('exec /usr/bin/python3 "$@"')
    server = start(f"owt_instance default {{ python_home {fake.home}; }}\n{LOCATION}")
    server.expect("Python did not start|exited on signal")  # it is not what it says: see below
    (fake.home / "bin/python3").unlink()
    assert server.test_conf().returncode != 0
    subprocess.run(server.command("-s", "quit"), check=True, env=server.environment(), timeout=60)
    server.wait_exit()


def test_the_interpreter_inherits_nothing(fake: Fake, told: Callable[..., str], tmp_path: Path) -> None:
    fake.runs(f'ls /proc/self/fd > {tmp_path}/open; exec /usr/bin/python3 "$@"')
    assert told(fake.home) == ""
    assert set((tmp_path / "open").read_text().split()) <= {"0", "1", "2", "3", "10"}  # ls's own directory, sh's script


def test_a_python_that_changes_behind_the_configuration_is_told(start: Callable[..., Server], tmp_path: Path) -> None:
    """A process that starts later does not run with the packages of another Python."""
    home = bare(tmp_path / "venv")
    server = start(f"owt_instance default {{ python_home {home}; }}\n{LOCATION}")
    server.expect("Python did not start|exited on signal")
    assert Asking(server, "def run(_): return 'ok'").answer().text == "ok"
    (home / "pyvenv.cfg").unlink()
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_log(rf"Python did not start: {home}/bin/python3 had {home} for its sys\.prefix")
    (home / "pyvenv.cfg").write_text("home = /usr/bin\n")


def test_a_virtualenv_made_again_with_another_python_is_told(start: Callable[..., Server], tmp_path: Path) -> None:
    """It has its place still, and that one's packages: who goes on finds none."""
    home = bare(tmp_path / "venv")
    server = start(f"owt_instance default {{ python_home {home}; }}\n{LOCATION}")
    assert Asking(server, "def run(_): return 'ok'").answer().text == "ok"
    packages = packages_of(home)
    version = packages.parent.name.removeprefix("python")
    packages.parent.rename(packages.parent.with_name("python3.99"))
    missing = Asking(server, "import nowhere_at_all\ndef run(_): pass").answer().text
    assert f"virtualenv {home} (Python {version}), which has been made again with another Python since." in missing


@EACH
def test_a_home_in_the_environment_is_not_its(start: Callable[..., Server], python: int) -> None:
    """PYTHONHOME is another Python's: of a shell from which the server was started."""
    code = "import json, os, sys\ndef run(_): return [sys.prefix, os.environ.get('PYTHONHOME')]"
    prefix = said_by(HOMES[python], "import json, sys; print(json.dumps(sys.prefix))")
    server = start(f"owt_instance default {{ python_home {HOMES[python]}; env PYTHONHOME=/nowhere; }}\n{LOCATION}")
    assert json.loads(Asking(server, code).answer().body) == [prefix, None]


def test_no_process_starts_in_a_virtualenv_made_again_with_another_python(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    """It would find none of the packages."""
    home = bare(tmp_path / "venv")
    server = start(f"owt_instance default {{ python_home {home}; }}\n{LOCATION}")
    server.expect("cannot start|exited on signal|exited with code")
    assert Asking(server, "def run(_): return 'ok'").answer().text == "ok"
    program = (home / "bin/python3").resolve()
    other = tmp_path / "python3.99"
    shutil.copy(program, other)
    (home / "bin/python3").unlink()
    (home / "bin/python3").symlink_to(other)
    os.kill(server.workers()[0], signal.SIGKILL)
    server.wait_log(
        rf"{home}/bin/python3 was {program} when nginx read its configuration, and is {other} now:"
        ' "nginx -s reload" asks it anew'
    )
    server.signal("reload")
    assert Asking(server, "def run(_): return 'ok'").answer().text == "ok"


def test_a_bridge_that_ends_its_process_keeps_no_processor_busy(start: Callable[..., Server], fake: Fake) -> None:
    """As one that was cut off when the disk was full: it is loaded before there is a Python that could wait."""
    own = next((BUILD / "python").glob("_bridge.*.so")).read_bytes()
    bridge = fake.home / "_bridge.so"
    bridge.write_bytes(own[: own.index(b"owt bridge ") + 100])
    where = "import json, sysconfig as s; print(json.dumps([s.get_config_var(n) for n in ('LIBDIR', 'INSTSONAME')]))"
    fake.answers(bridge=str(bridge), library="/".join(said_by("/usr", where)))
    server = start(
        f"owt_instance cut {{ python_home {fake.home}; }}\nserver {{ listen 127.0.0.1:{{port}}; return 200 plain; }}\n"
        "server { listen 127.0.0.1:{port2}; owt_instance cut; location / { owt; } }"
    )
    server.expect("exited on signal|exited with code|cannot start")
    told = f"a process dies that loads .* and {bridge}"
    wait_until(lambda: len(re.findall(told, server.error_log)) > 1, "a second attempt")
    assert server.error_log.count("exited on signal") == 1


# ---- what is said while a bridge is made -----------------------------------------------------------------------------


def test_a_python_that_is_not_there_is_told_by_make() -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "bridge", "PYTHON=/nowhere/python3"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "PYTHON=/nowhere/python3: there is no such program" in done.stderr


def test_a_bridge_to_a_python_whose_path_has_a_space(tmp_path: Path) -> None:
    """As of a project of uv's somewhere below "My Projects"."""
    home = bare(tmp_path / "my project")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", "-n", "bridge", f"PYTHON={home}/bin/python3"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    shown = [line for line in done.stdout.splitlines() if ".ci/python.py" in line]
    assert shown and all(f"'{home}/bin/python3' -I .ci/python.py" in line for line in shown)
    name = subprocess.run(
        ["make", "-s", "--eval=shown: ; @echo '$(soabi)'", "shown", command[-1]],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert name.stdout.startswith("cpython-"), name


def test_flags_are_words_of_a_shell(tmp_path: Path) -> None:
    """What is fetched lies in the source tree, whose path may have a space."""
    folder = tmp_path / "it's a tree"
    command = [
        "/usr/bin/python3",
        "-Ic",
        "import runpy, sys; sys.prefix = sys.argv.pop(1); "
        "print(runpy.run_path('.ci/python.py')['flags'](__import__('pathlib').Path(sys.argv[1])))",
    ]
    done = subprocess.run([*command, "/elsewhere", folder], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{folder}/pybind11/include" in shlex.split(done.stdout)


@pytest.mark.parametrize("brings", ["uv", ""])
def test_what_fetches_packages_where_there_is_no_pip(tmp_path: Path, brings: str) -> None:
    """Pythons of uv's virtualenvs have none, and Debian's need not."""
    if brings:
        (tmp_path / "uv").write_text('#!/bin/sh\necho "$@"\n')
        (tmp_path / "uv").chmod(0o755)
    code = (
        "import importlib.util, os, pathlib, runpy, shutil, sys; find, which = importlib.util.find_spec, shutil.which;"
        " importlib.util.find_spec = lambda name: None if name in ('pip', 'pybind11', 'werkzeug') else find(name);"
        " shutil.which = lambda name: None if name.startswith('/usr/bin/pip') else which(name);"
        " sys.base_prefix = '/elsewhere'; os.environ['PATH'] = sys.argv[1];"
        " runpy.run_path('.ci/python.py')['fetch'](pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run(["/usr/bin/python3", "-Ic", code, tmp_path], cwd=ROOT, capture_output=True, text=True)
    if brings:
        assert f"pip --quiet install --require-hashes --no-deps --target {tmp_path} -r" in done.stdout
        assert done.stdout.rstrip().endswith("--python /usr/bin/python3"), done
    else:
        assert done.stderr.endswith("and pip or uv to fetch them: apt-get install python3-pip\n")


def test_a_python_without_headers_is_told_by_make(tmp_path: Path) -> None:
    """In one line, and not by the compiler."""
    (tmp_path / "sysconfig.py").write_text("def get_path(name): return '/nowhere'\n")
    code = f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); sys.argv = ['', 'check', '.'];"
    code += f" runpy.run_path({str(ROOT / '.ci/python.py')!r}, run_name='__main__')"
    done = subprocess.run(["/usr/bin/python3", "-Sc", code], capture_output=True, text=True)
    assert re.fullmatch(
        r"/usr/bin/python3, Python \S+, has no Python\.h in /nowhere: apt-get install \S+-dev\n", done.stderr
    )


def test_the_files_of_a_bridge_are_not_programs() -> None:
    for bridge in (BUILD / "python").glob("_bridge.*.so"):
        assert stat.S_IMODE(bridge.stat().st_mode) == 0o644
        exported = subprocess.run(["nm", "-D", "--defined-only", bridge], capture_output=True, text=True, check=True)
        assert [line.split()[-1] for line in exported.stdout.splitlines()] == ["owt_bridge"]
