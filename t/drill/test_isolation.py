"""What goes wrong in one instance costs the others nothing: `make drill`. It prints what it measured; errors decide."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness import ROOT, Server, wait_until

CONF = """
owt_instance a { threads 4; }
owt_instance b { threads 4; }
owt_instance victim { threads 2; grace 200ms; max_rss 300m; }
upstream b { server unix:{dir}/owt_temp/b.sock; }
server { listen 127.0.0.1:{port}; owt_instance a; location / { owt; } }
server { listen unix:{dir}/owt_temp/b.sock; owt_instance b; location / { owt; } }
server { listen 127.0.0.1:{port2}; location / { proxy_pass http://b; include {root}/conf/owt_params; } }
server { listen 127.0.0.1:{port3}; owt_instance victim; location / { owt; owt_timeout 300ms; } }
"""
ECHO = "def run(_, name): return f'Hello, {name}!'\n"
CALL = {"code": ECHO, "name": "owt"}
SECONDS = 5

FAULTS = {
    "kill -9": "import os, signal\ndef run(_): os.kill(os.getpid(), signal.SIGKILL)\n",
    "segmentation fault": "import ctypes\ndef run(_): ctypes.string_at(0)\n",
    "an endless wait that holds the GIL in C": "import ctypes\ndef run(_): ctypes.PyDLL(None).sleep(3600)\n",
    "a memory hog": "def run(_): return str(len(bytearray(b'x') * (600 << 20)))\n",
    "50 forks that compute": """
import os, time
def run(_):
    for _ in range(50):
        if os.fork() == 0:
            end = time.process_time() + 0.02
            while time.process_time() < end: pass
            os._exit(0)
    for _ in range(50): os.wait()
""",
}


def wrk(port: int) -> dict[str, Any]:
    """Four connections call one after the other; how long the calls took, and how many failed."""
    command = ["wrk", "-t", "1", "-c", "4", "-d", f"{SECONDS}s", "-s", ROOT / "t/bench/post.lua"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/", "--", json.dumps(CALL)], capture_output=True, text=True, check=True
    )
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def under_load(server: Server, disturb: Callable[[], None]) -> dict[str, dict[str, Any]]:
    """What a and b saw, the one directly, the other through nginx's proxy."""
    with ThreadPoolExecutor(2) as pool:
        runs = {name: pool.submit(wrk, server.port_of(port)) for name, port in {"a": "port", "b": "port2"}.items()}
        while not all(run.done() for run in runs.values()):
            disturb()
    return {name: run.result() for name, run in runs.items()}


def failures(seen: dict[str, dict[str, Any]]) -> int:
    return sum(run["failed"] + run["bad"] for run in seen.values())


def call_victim(server: Server, code: str) -> int:
    done = server.curl(
        "/", "--json", json.dumps({"code": code, "name": "owt"}), "-o", "/dev/null", "-w", "%{http_code}",
        url=f"http://127.0.0.1:{server.port_of('port3')}",
    )  # fmt: skip
    return int(done.stdout)


def test_what_goes_wrong_in_one_instance_costs_the_others_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Server(CONF) as server:
        server.expect("exited on signal (9|11)")
        wait_until(lambda: server.workers_of("victim"), "the victim")
        others = [*server.workers_of("a"), *server.workers_of("b"), *server.workers_of("default")]
        for port in ("port", "port2"):
            for _ in range(20):  # wrk makes much of one call that takes long, as the first does
                assert server.client(f"http://127.0.0.1:{server.port_of(port)}").post("/", json=CALL).text
        quiet = under_load(server, lambda: call_victim(server, ECHO) and time.sleep(0.1))
        rows = {"healthy calls": quiet}
        strikes = dict.fromkeys(FAULTS, 0)
        for fault, code in FAULTS.items():

            def strike(fault: str = fault, code: str = code) -> None:
                strikes[fault] += call_victim(server, code) != 503
                time.sleep(0.2)

            rows[fault] = under_load(server, strike)
            assert strikes[fault], fault
            wait_until(lambda: call_victim(server, ECHO) == 200, "the victim to serve again", 60)
        with capsys.disabled():
            print(
                f"\n{'in the third instance':40} {'times':>6} {'calls':>8} {'failed':>7}   p99 of a and b, against healthy"
            )
            for fault, seen in rows.items():
                calls = sum(run["requests"] for run in seen.values())
                p99 = [
                    f"{run['p99'] * 1000:6.2f} ms {run['p99'] / quiet[name]['p99']:4.1f}x" for name, run in seen.items()
                ]
                print(f"{fault:40} {strikes.get(fault, 0):6} {calls:8} {failures(seen):7}  ", "  ".join(p99))
        assert [failures(seen) for seen in rows.values()] == [0] * len(rows)
        assert [*server.workers_of("a"), *server.workers_of("b"), *server.workers_of("default")] == others
