"""installing(): wheels made here, pip without a network, and a real virtualenv shared by two processes."""

import fcntl
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from asking import Asking, leave
from harness import Server, wait_until
from virtualenvs import bare, virtualenv

CONF = """
owt_instance default {
    threads     4;
    python_home %(home)s;
    env         PIP_NO_INDEX=1 PIP_FIND_LINKS=%(wheels)s PIP_LOG=%(home)s/pip.log;
}
server {
    listen 127.0.0.1:{port};
    location / { owt; }
}
"""

SYSTEM = "server { listen 127.0.0.1:{port}; location / { owt; } }"


def make_wheel(directory: Path, name: str, version: str = "1.0", requires: str = "") -> Path:
    """A wheel of one module that knows its version."""
    file = directory / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    if requires:
        metadata += f"Requires-Dist: {requires}\n"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"{name}.py", f"version = {version!r}\n")
        wheel.writestr(f"{info}/METADATA", metadata)
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return file


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("wheels")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtualenv with pip, of the Python that owt is built with."""
    home = tmp_path_factory.mktemp("venv")
    subprocess.run(["/usr/bin/python3", "-m", "venv", str(home)], check=True)
    return home


@pytest.fixture(scope="module")
def server(home: Path, wheels: Path) -> Iterator[Server]:
    conf = CONF % {"home": home, "wheels": wheels}
    with Server(conf, main="worker_processes 2;") as server:
        yield server


def use(package: object, module: str) -> str:
    """An adaptor that installs package and tells module's version and who it is."""
    return (
        f"installing({str(package)!r}).importing({module!r}, 'os')"
        f".f(lambda **_: f'{{{module}.version}} {{os.getpid()}}')"
    )


def version(server: Server, package: object, module: str) -> str:
    answer = server.run(use(package, module))
    assert answer.status_code == 200, answer.text
    return answer.text.split()[0]


def pip_runs(home: Path, package: str) -> int:
    """How often pip has installed it, by either way to write its name."""
    log = home / "pip.log"
    return (
        len(re.findall(f"Successfully installed {package.replace('_', '[-_]')}", log.read_text()))
        if log.exists()
        else 0
    )


def test_a_requirement(server: Server, wheels: Path, home: Path) -> None:
    make_wheel(wheels, "owt_plain", "1.0")
    make_wheel(wheels, "owt_plain", "2.0")
    assert version(server, "owt_plain<2", "owt_plain") == "1.0"
    assert (home / f"lib/python3.{sys.version_info[1]}/site-packages/owt_plain.py").exists()
    server.wait_log(r"\[info\].* Successfully installed owt[-_]plain-1\.0")


def test_what_it_requires_comes_with_it(server: Server, wheels: Path) -> None:
    make_wheel(wheels, "owt_needed")
    make_wheel(wheels, "owt_needing", requires="owt_needed")
    assert version(server, "owt-needing", "owt_needing") == "1.0"
    assert server.run("import owt_needed\ndef run(): return owt_needed.version").text == "1.0"


def test_a_path(server: Server, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "owt_path")
    assert version(server, wheel, "owt_path") == "1.0"
    # Once in a process, which this connection stays with.
    wheel.unlink()
    assert version(server, wheel, "owt_path") == "1.0"


def test_a_url(server: Server, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "owt_url")
    assert version(server, wheel.as_uri(), "owt_url") == "1.0"
    named = make_wheel(tmp_path, "owt_named")
    assert version(server, f"owt_named @ {named.as_uri()}", "owt_named") == "1.0"


def test_several_and_all_passes_on(server: Server, wheels: Path) -> None:
    make_wheel(wheels, "owt_first")
    make_wheel(wheels, "owt_second")
    code = "installing('owt_first', 'owt_second>=1').importing('owt_first', 'owt_second').f(lambda a, __last__: [a, __last__])"
    assert server.run(code, kwargs='{"a": 1, "__last__": 2}').json() == [1, 2]


def test_what_satisfies_is_left_alone(server: Server, wheels: Path, home: Path) -> None:
    wheel = make_wheel(wheels, "owt_there")
    assert version(server, "owt_there", "owt_there") == "1.0"
    wheel.unlink()
    for requirement in ("owt_there", "owt-there", "Owt.There >= 0.5, < 2", "owt_there; python_version > '3'"):
        for _ in range(4):  # some of them in the other process
            answer = Asking(server, use(requirement, "owt_there")).answer()
            assert (answer.status, answer.text.split()[0]) == (200, "1.0")
    answer = server.run("installing(\"owt_nowhere; python_version < '3'\").const('not needed')")
    assert answer.text == "not needed"
    assert pip_runs(home, "owt_there") == 1


def test_many_calls_install_once(server: Server, wheels: Path, home: Path) -> None:
    make_wheel(wheels, "owt_once")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: Asking(server, use("owt_once", "owt_once")).answer(), range(16)))
    assert {(answer.status, answer.text.split()[0]) for answer in answers} == {(200, "1.0")}
    assert pip_runs(home, "owt_once") == 1


class Turn:
    """Has the virtualenv to itself, as another process that installs."""

    def __init__(self, home: Path) -> None:
        self._file = (home / ".owt-installing").open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._inode = (home / ".owt-installing").stat().st_ino

    def wait_wanted(self) -> None:
        """Until somebody waits for it."""
        wait_until(lambda: any(self._waits(line) for line in self._locks()), "a process that wants to install")

    def _locks(self) -> list[str]:
        return Path("/proc/locks").read_text().splitlines()

    def _waits(self, line: str) -> bool:
        return " -> FLOCK" in line and line.split()[-3].endswith(f":{self._inode}")

    def release(self) -> None:
        self._file.close()


def test_processes_take_turns(server: Server, wheels: Path, home: Path) -> None:
    make_wheel(wheels, "owt_turns")
    turn = Turn(home)
    asked = Asking(server, use("owt_turns", "owt_turns"))
    turn.wait_wanted()
    assert pip_runs(home, "owt_turns") == 0
    turn.release()
    answer = asked.answer()
    assert (answer.status, answer.text.split()[0]) == (200, "1.0")


def test_what_another_process_has_installed_meanwhile_is_there(server: Server, wheels: Path, home: Path) -> None:
    wheel = make_wheel(wheels, "owt_meanwhile")
    turn = Turn(home)
    asked = Asking(server, use("owt_meanwhile", "owt_meanwhile"))
    turn.wait_wanted()
    subprocess.run([home / "bin/pip", "install", "--no-index", str(wheel)], check=True, capture_output=True)
    wheel.unlink()
    turn.release()
    answer = asked.answer()
    assert (answer.status, answer.text.split()[0]) == (200, "1.0")


def test_a_client_that_goes_does_not_break_it_off(server: Server, wheels: Path, home: Path) -> None:
    wheel = make_wheel(wheels, "owt_left")
    turn = Turn(home)
    asked = Asking(server, use("owt_left", "owt_left"))
    turn.wait_wanted()
    leave(server, asked)
    turn.release()
    wait_until(lambda: pip_runs(home, "owt_left"), "pip to install it", 60)
    wheel.unlink()
    assert version(server, "owt_left", "owt_left") == "1.0"


def test_what_pip_says_is_told_and_tried_again(server: Server, wheels: Path) -> None:
    answer = server.run(use("owt_late", "owt_late"))
    assert answer.status_code == 500
    assert "InstallFailed: pip ended with status 1:" in answer.text
    assert "No matching distribution found for owt_late" in answer.text
    assert answer.text.endswith("stage 1, installing('owt_late'): InstallFailed\n")
    make_wheel(wheels, "owt_late")
    assert version(server, "owt_late", "owt_late") == "1.0"


def test_pips_options_are_no_packages(server: Server) -> None:
    answer = server.run("installing('--index-url=https://example.org', 'x')")
    assert answer.status_code == 500
    assert "ValueError: installing() takes packages, not pip's option" in answer.text


def test_without_a_virtualenv(start: Callable[..., Server]) -> None:
    server = start(SYSTEM)
    answer = server.run("installing('owt_nowhere')")
    assert answer.status_code == 500
    assert "InstallFailed: packages are installed into a virtualenv" in answer.text
    assert "owt_instance default { python_home DIR; }" in answer.text
    # What is there needs none.
    assert server.run("installing('Werkzeug >= 2').const('there')").text == "there"


def test_a_virtualenv_without_pip(start: Callable[..., Server], tmp_path: Path) -> None:
    bare(tmp_path)
    server = start(f"owt_instance default {{ python_home {tmp_path}; }}\n{SYSTEM}")
    answer = server.run("installing('owt_nowhere')")
    assert f"run `{tmp_path}/bin/python3 -m ensurepip`" in answer.text


def test_a_virtualenv_that_cannot_be_written(start: Callable[..., Server], home: Path, tmp_path: Path) -> None:
    server = start(f"owt_instance default {{ python_home {home}; writable {tmp_path}; }}\n{SYSTEM}")
    answer = server.run("installing('owt_nowhere')")
    assert f"InstallFailed: the virtualenv {home} cannot be written (Permission denied)" in answer.text


def test_by_uv_where_there_is_no_pip(start: Callable[..., Server], wheels: Path, tmp_path: Path) -> None:
    """As in a virtualenv that uv has made; it has no index and no home of its own to look into."""
    uv = virtualenv("uv", "uv==0.9.5").with_name("uv")
    home = tmp_path / "venv"
    subprocess.run([uv, "venv", "--quiet", "--no-config", "--python", "/usr/bin/python3", home], check=True)
    make_wheel(wheels, "owt_by_uv")
    server = start(
        f"owt_instance default {{ python_home {home}; env PATH={uv.parent} UV_OFFLINE=1 UV_FIND_LINKS={wheels}"
        f" UV_CACHE_DIR={tmp_path}/cache; }}\n{SYSTEM}"
    )
    assert version(server, "owt-by-uv", "owt_by_uv") == "1.0"
    (installed,) = home.glob("lib/python3.*/site-packages/owt_by_uv-1.0.dist-info/INSTALLER")
    assert installed.read_text().strip() == "uv"
    answer = server.run(use("owt-is-nowhere", "owt_is_nowhere"))
    assert answer.status_code == 500 and "uv ended with status" in answer.text
