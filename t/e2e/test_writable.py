"""The write guard: outside the directories named, an adaptor and its children can only read."""

import ctypes
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import LANDLOCK_CREATE_RULESET, LIBC, Server, has_landlock, wait_until

if not has_landlock():
    pytest.skip("this kernel has no Landlock", allow_module_level=True)

CONF = """
owt_instance default { threads 2; writable {dir}/data; }
client_max_body_size 0;
client_body_buffer_size 16k;
server {
    listen 127.0.0.1:{port};
    location / { owt; }
}
"""

TRY = """
import errno, os, subprocess, threading

def attempt(action):
    try:
        action()
        return "done"
    except OSError as error:
        return errno.errorcode[error.errno]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(CONF)
    (server.dir / "data").mkdir()
    with server:
        yield server


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """Not among the log's neighbours, which nginx may write to."""
    (tmp_path / "file").write_text("precious")
    return tmp_path


def attempts(server: Server, precious: Path, *actions: str) -> Any:
    body = "".join(f"        attempt(lambda: {action}),\n" for action in actions)
    code = f"{TRY}\nDIR = {str(server.dir)!r}\nPRECIOUS = {str(precious)!r}\ndef run(_):\n    return [\n{body}    ]\n"
    answer = server.run(code)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_named_directories_can_be_written_to(server: Server, precious: Path) -> None:
    done = attempts(
        server,
        precious,
        "open(DIR + '/data/a', 'w').write('x')",
        "os.mkdir(DIR + '/data/sub')",
        "os.rename(DIR + '/data/a', DIR + '/data/sub/b')",
        "os.truncate(DIR + '/data/sub/b', 0)",
        "os.symlink('b', DIR + '/data/sub/c')",
        "os.remove(DIR + '/data/sub/b')",
    )
    assert done == ["done"] * 6


def test_all_else_can_only_be_read(server: Server, precious: Path) -> None:
    done = attempts(
        server,
        precious,
        "open(PRECIOUS + '/file').read()",
        "open(PRECIOUS + '/file', 'a')",
        "open(PRECIOUS + '/new', 'w')",
        "os.remove(PRECIOUS + '/file')",
        "os.truncate(PRECIOUS + '/file', 0)",
        "os.mkdir(PRECIOUS + '/sub')",
        "os.rename(PRECIOUS + '/file', DIR + '/data/file')",
        "os.symlink('file', PRECIOUS + '/link')",
        "os.rmdir(PRECIOUS)",
        "open('/etc/owt-was-here', 'w')",
    )
    assert done == ["done"] + ["EACCES"] * 9
    assert (precious / "file").read_text() == "precious"


def test_threads_and_children_are_bound_too(server: Server, precious: Path) -> None:
    code = """
import multiprocessing, subprocess, threading

def write(path):
    try:
        open(path, "w")
        return "written"
    except PermissionError:
        return "refused"

def run(_, file):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(write(file)))
    thread.start()
    thread.join()
    shell = subprocess.run(["sh", "-c", 'rm -rf "$(dirname "$0")"', file], capture_output=True, text=True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        child = pool.apply(write, (file,))
    return [seen[0], "Permission denied" in shell.stderr, child]
"""
    path = precious / "file"
    answer = server.run(code, file=str(path))
    assert answer.status_code == 200, answer.text
    assert answer.json() == ["refused", True, "refused"]
    assert path.read_text() == "precious"


def test_what_programs_expect_to_be_writable_is(server: Server, precious: Path) -> None:
    done = attempts(
        server,
        precious,
        "open('/dev/null', 'w').write('x')",
        "open('/proc/self/comm', 'w').write('x')",
        "__import__('multiprocessing').Lock()",
        "__import__('tempfile').TemporaryFile().write(b'x')",
        "subprocess.run(['sh', '-c', 'mktemp && echo x > /dev/null'], check=True, stdout=subprocess.DEVNULL)",
    )
    assert done == ["done"] * 5


def test_uploads_that_nginx_spools_to_a_file_arrive(server: Server) -> None:
    code = "def run(request): return [len(request.data)]"
    answer = server.post("/", params={"code": code}, content=b"x" * 1_000_000)
    assert answer.json() == [1_000_000]


def test_logs_can_be_rotated(server: Server) -> None:
    log, old = server.dir / "error.log", server.dir / "error.log.1"
    log.rename(old)
    server.signal("reopen")
    wait_until(lambda: log.exists() and "reopening logs" in old.read_text(), "the new log")

    def logged() -> bool:
        server.run("def run(_): print('to the new log')")
        return "to the new log" in log.read_text()

    wait_until(logged, "a line in the new log")
    old.write_text(old.read_text() + log.read_text())
    old.replace(log)
    server.signal("reopen")


def test_reload_keeps_the_guard(server: Server, precious: Path) -> None:
    server.signal("reload")
    assert attempts(server, precious, "open(PRECIOUS + '/new', 'w')", "open(DIR + '/data/new', 'w')") == [
        "EACCES",
        "done",
    ]


def test_a_directory_that_is_not_there_is_a_config_error() -> None:
    server = Server(CONF)
    done = server.test_conf()
    server.close()
    assert done.returncode != 0
    assert f'"writable" in "owt_instance": {server.dir}/data is no directory' in done.stderr
    assert "nginx.conf:" in done.stderr


def without_landlock() -> None:
    """Has the kernel know no Landlock, for this process and what it starts (seccomp(2))."""

    def instruction(code: int, jt: int, jf: int, k: int) -> bytes:
        return struct.pack("HBBI", code, jt, jf, k)

    load, equal, answer = 0x20, 0x15, 0x06
    program = b"".join(
        [
            instruction(load, 0, 0, 0),
            instruction(equal, 0, 1, LANDLOCK_CREATE_RULESET),
            instruction(answer, 0, 0, 0x00050000 | 38),  # SECCOMP_RET_ERRNO, ENOSYS
            instruction(answer, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
        ]
    )
    buffer = ctypes.create_string_buffer(program)
    filters = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    assert LIBC.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert LIBC.prctl(22, 2, ctypes.create_string_buffer(filters), 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def test_a_kernel_without_landlock_is_a_config_error() -> None:
    server = Server(CONF)
    (server.dir / "data").mkdir()
    done = subprocess.run(
        server.command("-t"),
        capture_output=True,
        text=True,
        env=server.environment(),
        preexec_fn=without_landlock,
        check=False,
    )
    server.close()
    assert done.returncode != 0
    assert "this kernel offers no Landlock (Function not implemented)" in done.stderr
