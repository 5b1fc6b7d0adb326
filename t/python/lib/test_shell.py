"""owt.lib.shell: commands, their variables, and their end."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import owt
import pytest
from fake_owt import Call
from owt import Cancelled, pipe, shell
from owt.lib.shell import CommandFailed, run
from owt.process.context import current
from owt.process.request import Request
from owt.summat import Pipe


def wait_until(look, timeout=30):
    """Looks until there is something true to see, and returns it."""
    deadline = time.monotonic() + timeout
    while not (seen := look()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return seen


def pid_in(file: Path) -> int:
    """The number that a command writes to a file, as soon as it has."""
    return int(wait_until(lambda: file.exists() and file.read_text().endswith("\n") and file.read_text()))


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_stdout_as_bytes():
    assert shell(r"printf '\xff\0%s' a") == b"\xff\0a"
    assert shell(b"echo bytes") == b"bytes\n"
    assert shell("") == b""
    assert run("echo adaptor") == run(cmd="echo adaptor") == b"adaptor\n"


def test_it_is_bash():
    assert shell("a=(x y); echo ${a[1]} $0") == b"y bash\n"


def test_stdin_is_empty():
    assert shell("cat; echo end") == b"end\n"


def test_more_output_than_a_pipe_holds():
    assert len(shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2")) == 3000000


def test_variables_are_never_read_as_bash(tmp_path):
    text = f"'; touch {tmp_path}/hole; $(touch {tmp_path}/hole) `touch {tmp_path}/hole` \n ü \""
    assert shell('printf %s "$text"', text=text) == text.encode()
    assert list(tmp_path.iterdir()) == []


def test_variables_of_all_types():
    given = {"number": 1, "real": 1.5, "raw": b"\xff", "path": Path("/x"), "none": None, "command": "c", "self": "s"}
    made = shell('printf %s "$number $real $raw $path ${none-unset} $command $self"', **given)
    assert made == b"1 1.5 \xff /x unset c s"


@pytest.mark.parametrize(
    "name", ["PATH", "LD_PRELOAD", "BASH_ENV", "IFS", "_", "https_proxy", "a b", "a=b", "é", "", "1a", "a-b"]
)
def test_names_that_steer_programs_are_no_variables(name):
    with pytest.raises(ValueError, match="cannot be a variable"):
        shell("true", **{name: "x"})


@pytest.mark.parametrize("value", [[], {}, object()])
def test_values_that_are_no_text_are_no_variables(value):
    with pytest.raises(TypeError, match="'x' cannot be a variable of the command: it is no text but"):
        shell("true", x=value)


def test_a_command_is_text():
    with pytest.raises(TypeError, match="a command is text, not list"):
        shell(["echo"])


def test_other_statuses_raise_with_stderr():
    with pytest.raises(CommandFailed) as caught:
        shell("echo out; echo 'what went wrong' >&2; exit 3")
    error = caught.value
    assert str(error) == "the command ended with status 3: what went wrong"
    assert (error.returncode, error.stdout, error.stderr) == (3, b"out\n", b"what went wrong\n")
    with pytest.raises(CommandFailed, match="status 1: it wrote nothing to stderr"):
        shell("false")
    with pytest.raises(CommandFailed, match=r"status 1: \\xff"):
        shell(r"printf '\xff' >&2; false")
    with pytest.raises(CommandFailed, match=r"was ended by signal 9 \(Killed\)"):
        shell("kill -9 $$")


def test_stderr_of_a_success_is_written_to_stderr(capsys):
    assert shell("echo out; echo warning >&2") == b"out\n"
    assert capsys.readouterr().err == "warning\n"


# ---- as a block -----------------------------------------------------------------------------------------------------


def test_block():
    assert pipe().const("echo hi").shell()() == (b"hi\n", {"__last__": b"hi\n"})
    assert pipe().shell().done()(__last__='printf %s "$name"', name="$x") == b"$x"
    assert pipe().const('printf %s "$name"').input().shell().done()(name="owt") == b"owt"
    for value in (["ls"], 5, None):
        with pytest.raises(TypeError, match=r"shell\(\) needs a command as text, not"):
            pipe().const(value).shell()()
    with pytest.raises(TypeError, match="not nothing"):
        pipe().shell()()
    with pytest.raises(CommandFailed, match="no such luck") as caught:
        pipe().const("echo no such luck >&2; false").shell()()
    assert caught.value.__notes__ == ["stage 2, shell(): CommandFailed"]


def test_without_a_command_it_begins_a_pipeline():
    made = shell()
    assert isinstance(made, Pipe)
    assert made.f(bytes.decode).done()(__last__="echo hi") == "hi\n"
    assert "shell" in owt.__all__


def test_a_terse_pipeline_may_begin_with_it(call):
    assert call("shell().f(bytes.decode)", text='"echo hi"').text == "hi\n"
    assert call("from owt.lib.shell import run", kwargs={"cmd": "echo hi"}).text == "hi\n"


# ---- its end --------------------------------------------------------------------------------------------------------


@pytest.fixture
def cancelled(log):
    """A call that runs function in a thread as an adaptor's to_thread does: start it, cancel it, see how it ended."""

    class Running:
        def __init__(self, function):
            self.call = Call()
            self.ends = []
            self.thread = threading.Thread(target=self._run, args=(function,))
            self.thread.start()

        def _run(self, function):
            request = Request.__new__(Request)
            request._call = self.call
            current.set(request)
            try:
                self.ends.append(function())
            except BaseException as error:
                self.ends.append(error)

        def cancel(self):
            self.call.cancelled = True
            self.thread.join(30)
            return self.ends[0]

    return Running


def test_a_cancelled_call_ends_all_that_its_command_started(cancelled, tmp_path):
    files = [tmp_path / name for name in ("bash", "child", "background")]
    command = (
        f"sh -c 'echo $$ > {files[1]}; sleep 1000' & sh -c 'echo $$ > {files[2]}; exec sleep 1000' &"
        f" echo $$ > {files[0]}; wait"
    )
    running = cancelled(lambda: shell(command))
    pids = [pid_in(file) for file in files]
    assert isinstance(running.cancel(), Cancelled)
    wait_until(lambda: all(map(gone, pids)))


def test_a_command_may_clean_up(cancelled, tmp_path, monkeypatch):
    monkeypatch.setattr("owt.summat.bash._PATIENCE", 60)
    file, end = tmp_path / "pid", tmp_path / "end"
    running = cancelled(lambda: shell(f"trap 'echo cleaned > {end}; exit' TERM; echo $$ > {file}; sleep 1000 & wait"))
    pid_in(file)
    assert isinstance(running.cancel(), Cancelled)
    assert end.read_text() == "cleaned\n"


def test_a_command_that_ignores_sigterm_is_killed(cancelled, tmp_path, monkeypatch):
    monkeypatch.setattr("owt.summat.bash._PATIENCE", 0.1)
    file = tmp_path / "pid"
    running = cancelled(lambda: shell(f"trap '' TERM; echo $$ > {file}; while :; do sleep 1000; done"))
    pid = pid_in(file)
    assert isinstance(running.cancel(), Cancelled)
    wait_until(lambda: gone(pid))


def test_a_command_that_ended_gets_no_signal(monkeypatch):
    killed = []
    monkeypatch.setattr(os, "killpg", lambda *a: killed.append(a))
    assert shell("true") == b""
    assert killed == []


def test_cancelled_while_it_begins(monkeypatch, tmp_path):
    """The exception may come at any bytecode, also when the process has just been made."""
    popen, begun, ends = subprocess.Popen, threading.Event(), []
    go_on = threading.Event()

    def slow(*args, **kwargs):
        begun.set()
        assert go_on.wait(30)
        ends.append(popen(*args, **kwargs))
        return ends[0]

    monkeypatch.setattr(subprocess, "Popen", slow)

    def interrupted(*_):
        assert begun.wait(30)
        go_on.set()
        raise Cancelled

    monkeypatch.setattr("owt.process.waiting._abandoned", interrupted)
    with pytest.raises(Cancelled):
        shell("exec sleep 1000")
    assert ends[0].wait(30) == -signal.SIGTERM


def test_cancelled_before_it_begins(monkeypatch):
    begun = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: begun.append(a))

    def nobody_waits(work):
        threads.append(work)
        raise Cancelled

    threads = []
    monkeypatch.setattr("owt.summat.bash.apart", nobody_waits)
    with pytest.raises(Cancelled):
        shell("true")
    assert threads[0]()[0] == -signal.SIGTERM
    assert begun == []


def test_from_a_thread_of_asyncio():
    assert asyncio.run(asyncio.to_thread(shell, "echo hi")) == b"hi\n"
