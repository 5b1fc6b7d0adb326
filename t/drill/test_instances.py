"""A hundred thousand calls on two instances while nginx is reloaded and a third is killed, over and over: `make drill`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event, Lock

from harness import Server, wait_until

CONF = """
owt_instance a { threads 4; queue 1000; preload json; }
owt_instance b { processes 2; threads 4; queue 1000; preload json; }
owt_instance victim { threads 2; }
upstream b { server unix:{dir}/owt_temp/b.sock; }
server { listen 127.0.0.1:{port}; owt_instance a; location / { owt; } }
server { listen unix:{dir}/owt_temp/b.sock; owt_instance b; location / { owt; } }
server { listen 127.0.0.1:{port2}; location / { proxy_pass http://b; include {root}/conf/owt_params; } }
server { listen 127.0.0.1:{port3}; owt_instance victim; location / { owt; } }
"""
CALLS = 100_000
CLIENTS = 4  # for each of the three
RELOADS = KILLS = 20
CODE = "def run(_, n: int):\n    yield 'n is '\n    yield f'<{n}>'\n"


class Load:
    """Clients that call until there are enough calls, each on a connection of its own; `failed` are those that went wrong."""

    def __init__(self, port: int, enough: Callable[[], bool]) -> None:
        self.done = 0
        self.failed: list[str] = []
        self._address = ("127.0.0.1", port)
        self._enough = enough
        self._numbers = count()
        self._lock = Lock()

    def client(self) -> None:
        while not self._enough():
            number = next(self._numbers)
            body = json.dumps({"code": CODE, "n": number})
            head = f"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            try:
                with socket.create_connection(self._address, timeout=120) as connection:
                    connection.sendall((head + body).encode())
                    answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
            except OSError as error:
                answer = repr(error)
            whole = answer.startswith("HTTP/1.1 200 ") and answer.endswith(f"<{number}>\r\n0\r\n\r\n")
            with self._lock:
                self.done += 1
                if not whole:
                    self.failed.append(answer)


def test_reloads_and_crashes_of_another_cost_no_call() -> None:
    with Server(CONF) as server, ThreadPoolExecutor(3 * CLIENTS) as pool:
        server.expect("exited on signal 9")
        stop = Event()

        def enough() -> bool:
            return stop.is_set() or a.done + b.done >= CALLS

        a = Load(server.port_of("port"), enough)
        b = Load(server.port_of("port2"), enough)
        victim = Load(server.port_of("port3"), enough)
        clients = [pool.submit(load.client) for load in (a, b, victim) for _ in range(CLIENTS)]
        try:
            for i in range(RELOADS + KILLS):
                share = CALLS * (i + 1) // (RELOADS + KILLS + 1)
                wait_until(lambda: a.done + b.done >= share or a.failed or b.failed, f"{share} calls", 600)  # noqa: B023
                if i % 2:
                    for pid in wait_until(lambda: server.workers_of("victim"), "somebody to kill"):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                else:
                    server.signal("reload")
            for client in clients:
                client.result()
        finally:
            stop.set()
        assert (a.failed, b.failed) == ([], [])
        assert a.done + b.done >= CALLS
        assert victim.failed  # those that it was running as it was killed
        assert victim.done > len(victim.failed)
        assert "[crit]" not in server.error_log
