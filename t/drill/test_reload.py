"""What calls feel of reloads whose new processes take three seconds to preload, and of processes that are replaced:
`make drill`. It prints what it measured; failures, and a client that waited as long as a preload takes, decide."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, Server, wait_until

PRELOAD = 3.0  # seconds
CONF = """
owt_instance a {{ threads 4; {lines} }}
owt_instance b {{ threads 4; {lines} }}
upstream b {{ server unix:{{dir}}/owt_temp/b.sock; }}
server {{ listen 127.0.0.1:{{port}}; owt_instance a; location / {{ owt; }} }}
server {{ listen unix:{{dir}}/owt_temp/b.sock; owt_instance b; location / {{ owt; }} }}
server {{ listen 127.0.0.1:{{port2}}; location / {{ proxy_pass http://b; include {{root}}/conf/owt_params; }} }}
"""
PORTS = {"directly": "port", "through nginx's proxy": "port2"}
CALL = {"code": "def run(_, name): return f'Hello, {name}!'\n", "name": "owt"}


def wrk(port: int, seconds: int) -> dict[str, Any]:
    """Connections that call one after the other, a new one for each call; how long the calls took, and how many failed."""
    command = ["wrk", "-t", "1", "-c", "2", "-d", f"{seconds}s", "--timeout", "60s", "-H", "Connection: close"]
    done = subprocess.run(
        [*command, "-s", ROOT / "t/bench/post.lua", f"http://127.0.0.1:{port}/", "--", json.dumps(CALL)],
        capture_output=True,
        text=True,
        check=True,
    )
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def under_load(server: Server, seconds: int, disturb: Callable[[], None]) -> dict[str, dict[str, Any]]:
    with ThreadPoolExecutor(2) as pool:
        runs = {how: pool.submit(wrk, server.port_of(port), seconds) for how, port in PORTS.items()}
        while not all(run.done() for run in runs.values()):
            disturb()
    return {how: run.result() for how, run in runs.items()}


def rest() -> None:
    """To look all the time would cost the calls theirs."""
    time.sleep(0.1)


def test_nobody_waits_for_a_preload(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "slow.py").write_text(f"import time\ntime.sleep({PRELOAD})\n")
    preload = f"python_path {tmp_path}; preload slow;"
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    with Server(CONF.format(lines=preload)) as server:
        wait_until(lambda: ready(server) == 2, "the first processes", 60)
        rows["no reload"] = under_load(server, 20, rest)
        reloads = 0

        def reload() -> None:
            nonlocal reloads
            if ready(server) == 2 * (reloads + 1):
                os.kill(server.master, signal.SIGHUP)
                reloads += 1
            rest()

        seen = under_load(server, 80, reload)
        rows[f"{reloads} reloads"] = seen
    with Server(CONF.format(lines=preload + " spare 1; max_calls 2000;")) as server:
        wait_until(lambda: ready(server) == 2, "the first processes", 60)
        rows["replaced every 2000 calls, with a spare one"] = under_load(server, 20, rest)
        assert server.error_log.count("is to be replaced") > 2
    with capsys.disabled():
        print(
            f"\n{f'with a preload of {PRELOAD:.0f} s':44} {'':24} {'calls':>7} {'failed':>6}      p50       p99   longest"
        )
        for case, seen in rows.items():
            for how, run in seen.items():
                times = [f"{1000 * run[what]:6.2f} ms" for what in ("p50", "p99", "longest")]
                ratio = f"p99: {run['p99'] / rows['no reload'][how]['p99']:.1f}x"
                print(f"{case:44} {how:24} {run['requests']:7} {failures(run):6}", *times, "", ratio)
    for seen in rows.values():
        for run in seen.values():
            assert failures(run) == 0
            assert run["longest"] < PRELOAD


def ready(server: Server) -> int:
    """How many processes have come to be."""
    return server.error_log.count("is ready,")


def failures(run: dict[str, Any]) -> int:
    failed: int = run["failed"] + run["bad"]
    return failed
