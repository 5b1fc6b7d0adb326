"""nginx ends when somebody else does: the program that started it, however that ends, or the terminal.

A process of its own waits for that. The kernel's signal to children (PR_SET_PDEATHSIG) would come when the *thread*
ends that started nginx, and a pipe stays open in whatever the program forks.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

#: Seconds that nginx has to end by itself.
GRACE = 15
#: Milliseconds between two looks whether it has written its pid.
LOOK = 20


def end_with_this_program(nginx: int, directory: Path) -> subprocess.Popen[bytes]:
    """For an nginx that leads a process group, with the directory to be removed. The watcher ends when nginx does."""
    fds = os.pidfd_open(os.getpid()), os.pidfd_open(nginx)
    try:
        return subprocess.Popen(
            [sys.executable or "python3", "-IS", __file__, *map(str, fds), str(nginx), str(directory)],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    finally:
        for fd in fds:
            os.close(fd)


def watch_over(pid_file: Path, ready: str, address: tuple[str, int], *, with_parent: bool = False) -> None:
    """For this process, which is about to become nginx: a child says that it is ready, and ends it with the terminal.

    nginx writes its pid_file once it has taken the configuration, and listens; it is ready once it answers whoever
    connects to the address, which takes until its workers have started Python.

    To nginx SIGHUP means: read the configuration again. But a terminal that is closed sends it to every process of the
    foreground's group, so also to a child, who then ends nginx as Ctrl-C does; or, where no shell is in between, to the
    session's leader alone, and the child looks at the terminal. with_parent: the leader may be this process's parent,
    who waits for it. Under nohup it does not end.
    """
    stays = signal.getsignal(signal.SIGHUP) != signal.SIG_DFL
    pid = os.getpid()
    leaders = (pid, os.getppid()) if with_parent else (pid,)
    nginx = os.pidfd_open(pid)
    if not stays:
        signal.signal(signal.SIGHUP, lambda *_: signal.pidfd_send_signal(nginx, signal.SIGTERM))
    if os.fork():
        os.close(nginx)
        return
    try:
        for number in (signal.SIGINT, signal.SIGTERM):  # which may come to the group
            signal.signal(number, signal.SIG_IGN)
        either = select.poll()
        either.register(nginx, select.POLLIN)
        if not stays and os.getsid(0) in leaders:
            with suppress(OSError):  # no terminal
                either.register(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY), 0)  # for POLLHUP
        seen = either.poll(0)
        while not seen and not _is_written(pid_file, pid):
            seen = either.poll(LOOK)
        while not seen and not _answers(address, either):
            seen = either.poll(LOOK)
        if not seen:
            with suppress(OSError):
                os.write(2, os.fsencode(ready))
            seen = either.poll()
        if nginx not in (fd for fd, _ in seen):
            signal.pidfd_send_signal(nginx, signal.SIGTERM)
    finally:
        os._exit(0)


def _answers(address: tuple[str, int], either: select.poll) -> bool:
    """Whether somebody who asks there is answered, whatever the answer; False where either has something to say first.

    Workers accept connections once Python is up. A worker that ends before that leaves the connection to the next one.
    """
    with suppress(OSError), socket.create_connection(address) as one:
        one.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        either.register(one, select.POLLIN)
        try:
            seen = either.poll()
            return [fd for fd, _ in seen] == [one.fileno()] and bool(one.recv(1))
        finally:
            either.unregister(one)
    return False


def _is_written(pid_file: Path, pid: int) -> bool:
    try:
        return pid_file.read_text() == f"{pid}\n"
    except OSError:
        return False


def _watch(program: int, nginx: int, group: int, directory: str) -> None:
    """program and nginx are pidfds, which can be read once the process has ended."""
    ended, _, _ = select.select([program, nginx], [], [])
    if program not in ended:
        return
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(nginx, signal.SIGTERM)
    select.select([nginx], [], [], GRACE)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)  # what adaptors have started included
    import shutil

    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _watch(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
