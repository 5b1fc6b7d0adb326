"""owt_status: what runs is seen whatever it does, and can be ended; by people of this machine, and by no foreign page."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from asking import Asking
from gate import ASYNC, PAUSE, Gate
from harness import ROOT, SLOW, Server, children, wait_until

HOOKS = True
CONF = """
owt_instance default { threads 2; }
owt_instance model { threads 1 1; grace 2s; }
proxy_http_version 1.1;
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /front/ { proxy_pass http://127.0.0.1:{port2}/; include {root}/conf/owt_params; }
    location /owt/ { owt_status; }
    location = /metrics { owt_status metrics; }
    location = /healthz { owt_status health; }
    location /login/ {
        owt_status;
        owt_auth alice:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8;
    }
}
server {
    listen 127.0.0.1:{port2};
    owt_instance model;
    location / { owt; }
    location /slow/ { owt; }
}
"""

ECHO = "def run(_, name='owt'): return f'Hello, {name}!'\n"
STREAM = PAUSE + "def run(_, gate):\n    yield 'begun'\n    pause(gate)\n    yield 'ended'\n"
WAIT = PAUSE + "def run(_, gate):\n    pause(gate)\n    return 'done'\n"


def state(server: Server, path: str = "/owt/state") -> dict[str, Any]:
    answer = server.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def calls(server: Server) -> list[dict[str, Any]]:
    return state(server)["calls"]  # type: ignore[no-any-return]


def one_call(server: Server, **what: object) -> dict[str, Any]:
    """The only call, once it is as what says."""

    def look() -> dict[str, Any] | None:
        found = calls(server)
        return found[0] if len(found) == 1 and what.items() <= found[0].items() else None

    found = wait_until(look, f"one call with {what}")
    assert found is not None
    return found


def quiet(server: Server) -> None:
    wait_until(lambda: not calls(server), "all calls to end")


def delete(server: Server, path: str, **headers: str) -> httpx.Response:
    return server.client().delete(path, headers=headers)


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    parser = pytest.importorskip("prometheus_client.parser", reason="package python3-prometheus-client")
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"twice: {sample}"
            found[key] = sample.value
    return found


def metric(server: Server, name: str, **labels: str) -> float:
    answer = server.get("/owt/metrics")
    assert answer.status_code == 200
    return samples(answer.text).get((name, frozenset(labels.items())), 0)


class Form:
    """A call of model by a form, that has been sent."""

    def __init__(self, server: Server, code: str, **fields: str) -> None:
        parts = {"code": code, **fields}
        text = "".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts.items()
        )
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port_of("port2"), timeout=30 * SLOW)
        self._connection.request("POST", "/", text + "--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"})

    def read(self) -> bytes:
        body = self._connection.getresponse().read()
        self._connection.close()
        return body

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Open at the end, whatever happens: nothing is left waiting there."""
    made = Gate(tmp_path)
    yield made
    made.open()


@pytest.fixture(autouse=True)
def _quiet(server: Server) -> Iterator[None]:
    wait_until(lambda: state(server)["ready"], "all to be ready")
    yield
    if server.running:
        quiet(server)


# ---- what there is to see --------------------------------------------------------------------------------------------


def test_a_call_is_seen_while_it_is_there(server: Server, gate: Gate) -> None:
    asked = Asking(server, WAIT, "/slow/x", port=server.port_of("port2"), fn_name="run", gate=str(gate))
    gate.wait_reached()
    seen = one_call(server, state="running")
    (pid,) = server.workers_of("model")
    assert seen["pid"] == pid
    assert re.fullmatch(rf"{pid}-\d+", seen["id"])
    assert (seen["instance"], seen["location"], seen["function"]) == ("model", "/slow/", "run")
    assert re.fullmatch("[0-9a-f]{16}", seen["endpoint"])
    assert seen["connection"] > 0
    assert seen["endpoint"] in [one["endpoint"] for one in state(server)["endpoints"]]
    wait_until(lambda: calls(server)[0]["age"] > seen["age"], "it to get older")

    queued = Asking(server, ECHO, port=server.port_of("port2"))
    wait_until(lambda: len(calls(server)) == 2, "another one")
    assert [call["state"] for call in calls(server)] == ["running", "queued"]
    (process,) = (one for one in state(server)["processes"] if one["instance"] == "model")
    assert (process["running"], process["queued"], process["state"]) == (1, 1, "ready")
    assert metric(server, "owt_calls_running", instance="model") == 1
    assert metric(server, "owt_calls_queued", instance="model") == 1

    gate.open()
    assert asked.answer().text == "done"
    assert queued.answer().text == "Hello, owt!"
    quiet(server)
    (process,) = (one for one in state(server)["processes"] if one["instance"] == "model")
    assert (process["running"], process["queued"]) == (0, 0)
    assert process["rss"] > 1 << 20
    assert process["endpoints"] >= 2


def test_a_stream_is_seen_as_one(server: Server, gate: Gate) -> None:
    asked = Asking(server, STREAM, gate=str(gate))
    assert asked.read(5) == b"begun"
    assert one_call(server)["state"] == "streaming"
    gate.open()
    assert asked.answer().body == b"ended"


def test_an_asynchronous_call_is_seen(server: Server, gate: Gate) -> None:
    asked = Asking(server, ASYNC, gate=str(gate))
    gate.wait_reached()
    assert one_call(server)["state"] == "running"
    gate.open()
    assert asked.answer().text == "done"


def test_a_load_is_seen(server: Server, gate: Gate) -> None:
    before = metric(server, "owt_load_duration_seconds_count", instance="default")
    asked = Asking(server, f"{PAUSE}\npause({str(gate)!r})\n{ECHO}")
    gate.wait_reached()
    assert one_call(server)["state"] == "loading"
    gate.open()
    assert asked.answer().text == "Hello, owt!"
    wait_until(
        lambda: metric(server, "owt_load_duration_seconds_count", instance="default") == before + 1,
        "the load to be counted",
    )


def test_what_nobody_waits_for_any_more_is_seen_until_it_has_ended(server: Server, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    asked = Asking(server, "def run(_, fifo): return open(fifo).read()\n", fifo=str(fifo))
    one_call(server, state="running")
    asked.leave()
    one_call(server, state="ending")
    fifo.open("w").close()
    quiet(server)


def test_a_form_is_known_once_it_has_been_read(server: Server, gate: Gate) -> None:
    """The loop does not read it: a thread of Python's does, and says what it is."""
    asked = Form(server, WAIT.replace("def run", "def other"), fn_name="other", gate=str(gate))
    gate.wait_reached()
    seen = one_call(server, state="running")
    assert seen["function"] == "other"
    assert re.fullmatch("[0-9a-f]{16}", seen["endpoint"])
    gate.open()
    assert asked.read() == b"done"


STUCK = """
import ctypes, os
def run(_, fifo):
    place = ctypes.create_string_buffer(1)
    ctypes.PyDLL(None).read(os.open(fifo, os.O_RDWR), place, 1)  # with the GIL
    return "done"
"""


def test_a_process_whose_python_is_stuck_shows_and_is_shown(server: Server, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    try:
        asked = Asking(server, STUCK, fifo=str(fifo))
        call = one_call(server, state="running", instance="default")
        wait_until(lambda: Path(f"/proc/{call['pid']}/task").exists() and _waits(call["pid"], fifo), "it to be stuck")
        assert state(server)["ready"]
        assert metric(server, "owt_calls_running", instance="default") == 1
        # The client need not wait for Python.
        assert delete(server, f"/owt/calls/{call['id']}").status_code == 202
        assert asked.answer().status == 500
        assert one_call(server)["state"] == "ending"
    finally:
        os.write(writer, b"x")
        os.close(writer)


def _waits(pid: int, fifo: Path) -> bool:
    """Whether a process has opened it."""
    links = (str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink())
    return str(fifo) in links


def test_the_lists_are_there_by_themselves(server: Server) -> None:
    wait_until(lambda: server.get("/owt/calls").json() == [], "the end of all calls")
    assert {one["instance"] for one in server.get("/owt/processes").json()} == {"default", "model"}
    assert isinstance(server.get("/owt/endpoints").json(), list)
    assert server.get("/owt").status_code == 301
    page = server.get("/owt/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Cache-Control"] == "no-store"
    assert server.get("/owt/?code=def+run():+...").text == page.text
    assert server.get("/owt/nothing").status_code == 404
    for path, allow in (("/owt/", "GET, HEAD"), ("/owt/calls", "GET, HEAD"), ("/owt/calls/1-2", "DELETE")):
        refused = server.post(path) if allow != "DELETE" else server.get(path)
        assert (refused.status_code, refused.headers["Allow"]) == (405, allow)
    assert server.client().head("/owt/state").status_code == 200


# ---- numbers ---------------------------------------------------------------------------------------------------------


def counted(server: Server, status: str, location: str = "/") -> float:
    return metric(server, "owt_calls_total", instance="default", location=location, status=status)


def test_calls_are_counted_by_how_they_end(server: Server, gate: Gate) -> None:
    wanted = {"2xx": 2, "3xx": 1, "4xx": 1, "5xx": 1, "aborted": 1, "cancelled": 1}
    before = {status: counted(server, status) for status in wanted}
    assert server.run(ECHO).status_code == 200
    assert server.run("def run(_): return 'x', 204").status_code == 204
    assert server.run("def run(_): return '', 302, {'Location': '/'}").status_code == 302
    assert server.run("def run(_): return 'x', 418").status_code == 418
    assert server.run("def run(_): 1 / 0").status_code == 500
    assert not Asking(server, "def run(_):\n    yield 'x' * 10\n    1 / 0\n").answer().whole
    left = Asking(server, WAIT, gate=str(gate))
    gate.wait_reached()
    left.leave()
    gate.open()
    wait_until(
        lambda: {status: counted(server, status) - before[status] for status in wanted} == wanted,
        "all of them to be counted",
    )


def test_what_prometheus_reads(server: Server) -> None:
    server.run(ECHO)
    server.run(ECHO, path="/front/")
    answer = server.get("/owt/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert server.get("/metrics").status_code == 200
    found = samples(answer.text)
    names = {name for name, _ in found}
    assert names >= {
        "owt_calls_total",
        "owt_calls_running",
        "owt_calls_queued",
        "owt_call_duration_seconds_bucket",
        "owt_call_duration_seconds_sum",
        "owt_call_duration_seconds_count",
        "owt_load_duration_seconds_bucket",
        "owt_processes",
        "owt_process_resident_memory_bytes",
        "owt_process_start_time_seconds",
        "owt_process_calls_running",
        "owt_process_lost_threads",
        "owt_process_endpoints",
    }
    assert {dict(labels).get("instance") for _, labels in found} == {"default", "model"}
    assert not re.search("[0-9a-f]{16}", answer.text)
    # Each histogram counts what the counter does, and grows from bucket to bucket.
    for (name, labels), value in found.items():
        if name == "owt_calls_total":
            assert found["owt_call_duration_seconds_count", labels] == value
            buckets = {
                dict(more)["le"]: number
                for (other, more), number in found.items()
                if other == "owt_call_duration_seconds_bucket" and more >= labels
            }
            assert buckets["+Inf"] == value
            numbers = [buckets[bound] for bound in sorted(buckets, key=float)]
            assert numbers == sorted(numbers)
    memory = [value for (name, _), value in found.items() if name == "owt_process_resident_memory_bytes"]
    assert all(value > 1 << 20 for value in memory)


def test_numbers_go_on_after_a_reload(start: Callable[..., Server]) -> None:
    server = start(CONF)
    for _ in range(3):
        server.run(ECHO)
    wait_until(lambda: counted(server, "2xx") == 3, "the calls to be counted")
    server.signal("reload")
    wait_until(lambda: state(server)["ready"], "the new ones to be ready")
    server.run(ECHO)
    wait_until(lambda: counted(server, "2xx") == 4, "the fourth call to be counted")


# ---- health ----------------------------------------------------------------------------------------------------------


def test_health_says_who_is_missing(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "slow_one.py").write_text(
        f"import pathlib, time\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists():\n    time.sleep(0.01)\n"
    )
    server = start(
        CONF.replace("grace 2s;", f"grace 2s; python_path {tmp_path}; preload slow_one;").replace(
            "owt_instance default { threads 2; }", ""
        )
    )
    for path in ("/owt/health", "/healthz"):
        answer = server.get(path)
        assert (answer.status_code, answer.text) == (
            503,
            "not ready: no process of model serves calls: 1 is starting\n",
        )
    answer = server.get("/owt/health", headers={"Accept": "application/json"})
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "wrong": "no process of model serves calls: 1 is starting"}
    (tmp_path / "go").touch()
    wait_until(lambda: server.get("/owt/health").status_code == 200, "health")
    assert server.get("/owt/health").text == "ready\n"
    assert server.get("/healthz", headers={"Accept": "application/json"}).json() == {"ready": True}


def test_health_is_good_while_the_old_serve(start: Callable[..., Server], tmp_path: Path) -> None:
    slow = tmp_path / "slow_one.py"
    slow.write_text("")
    server = start(CONF.replace("grace 2s;", f"grace 2s; python_path {tmp_path}; preload slow_one;"))
    wait_until(lambda: server.get("/owt/health").status_code == 200, "health")
    slow.write_text(
        f"import pathlib, time\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists():\n    time.sleep(0.01)\n"
    )
    os.kill(server.master, signal.SIGHUP)
    wait_until(lambda: len(server.workers_of("model")) == 2, "the new one beside the old")
    wait_until(
        lambda: {"starting", "retiring"}
        <= {one["state"] for one in state(server)["processes"] if one["instance"] == "model"},
        "both to be seen",
    )
    assert server.get("/owt/health").status_code == 200
    (tmp_path / "go").touch()
    wait_until(lambda: len(server.workers_of("model", leaving=True)) == 1, "the old one to go")
    assert server.get("/owt/health").status_code == 200


# ---- who may see it --------------------------------------------------------------------------------------------------

FOREIGN = {"Origin": "http://evil.test", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
REMOTE = {"X-Forwarded-For": "203.0.113.5"}


def test_a_foreign_page_neither_reads_nor_ends_anything(server: Server, gate: Gate) -> None:
    asked = Asking(server, WAIT, gate=str(gate))
    gate.wait_reached()
    call = one_call(server)
    for view in ("", "state", "calls", "processes", "endpoints", "metrics"):
        assert server.get(f"/owt/{view}", headers=FOREIGN).status_code == 403
        assert server.get(f"/owt/{view}", headers=REMOTE).status_code == 403
        assert server.get(f"/owt/{view}", headers={"Host": "evil.test"}).status_code == 421
    framed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    assert server.get("/owt/", headers=framed).status_code == 403
    for path in (f"/owt/calls/{call['id']}", f"/owt/endpoints/{call['endpoint']}"):
        assert delete(server, path, **FOREIGN).status_code == 403
        assert delete(server, path, **REMOTE).status_code == 403
        assert delete(server, path, Origin="null").status_code == 403
        assert delete(server, path, Host="evil.test").status_code == 421
        preflight = {**FOREIGN, "Access-Control-Request-Method": "DELETE"}
        assert server.client().options(path, headers=preflight).status_code == 405
    assert one_call(server)["state"] == "running"
    gate.open()
    assert asked.answer().text == "done"


def test_health_is_open_and_nothing_else(server: Server) -> None:
    for path in ("/owt/health", "/healthz"):
        assert server.get(path, headers=REMOTE).status_code == 200
        assert server.get(path, headers={"Host": "gpu1.example"}).status_code == 200
        answer = server.get(path, headers=FOREIGN)
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert server.get("/metrics", headers=REMOTE).status_code == 403


def test_a_login_is_asked_for_whatever_is_shown(server: Server) -> None:
    for view in ("", "state", "health", "calls/1-1"):
        assert server.get(f"/login/{view}").status_code == 401
    assert server.get("/login/health", auth=("alice", "password")).status_code == 200


# ---- an end to it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", ["port", "port2"], ids=["in the same process", "in another"])
def test_a_call_is_stopped(server: Server, gate: Gate, port: str) -> None:
    asked = Asking(server, WAIT, port=server.port_of(port), gate=str(gate))
    gate.wait_reached()
    call = one_call(server)
    failed = sum(one["failed"] for one in state(server)["processes"])
    told = delete(server, f"/owt/calls/{call['id']}")
    assert (told.status_code, told.text) == (202, f"{call['id']} is told to end.\n")
    answer = asked.answer()
    assert answer.status == 500
    assert "stopped by whoever looks after this server" in answer.text
    quiet(server)
    assert sum(one["failed"] for one in state(server)["processes"]) == failed
    again = delete(server, f"/owt/calls/{call['id']}")
    assert again.status_code == 404
    server.wait_log("the call is stopped, as its server's status was told")


def test_a_stream_is_stopped_and_breaks_off(server: Server, gate: Gate) -> None:
    before = counted(server, "cancelled")
    asked = Asking(server, STREAM, gate=str(gate))
    assert asked.read(5) == b"begun"
    assert delete(server, f"/owt/calls/{one_call(server)['id']}").status_code == 202
    assert not asked.answer().whole
    wait_until(lambda: counted(server, "cancelled") == before + 1, "it to be counted")


def test_an_asynchronous_call_is_stopped(server: Server, gate: Gate) -> None:
    asked = Asking(server, ASYNC, gate=str(gate))
    gate.wait_reached()
    assert delete(server, f"/owt/calls/{one_call(server)['id']}").status_code == 202
    assert asked.answer().status == 500


def test_a_queued_call_is_stopped_before_it_runs(server: Server, gate: Gate, tmp_path: Path) -> None:
    port = server.port_of("port2")
    first = Asking(server, WAIT, port=port, gate=str(gate))
    gate.wait_reached()
    ran = tmp_path / "ran"
    second = Asking(server, "def run(_, ran): open(ran, 'w').close()\n", port=port, ran=str(ran))
    wait_until(lambda: [call["state"] for call in calls(server)] == ["running", "queued"], "the queue")
    assert delete(server, f"/owt/calls/{calls(server)[1]['id']}").status_code == 202
    assert second.answer().status == 500
    gate.open()
    assert first.answer().text == "done"
    assert not ran.exists()


def test_what_there_is_not_cannot_be_stopped(server: Server) -> None:
    for name in ("1-1", f"{server.workers_of('model')[0]}-999999"):
        assert delete(server, f"/owt/calls/{name}").status_code == 404
    for name in ("x", "1", "1-", "-1", "1-0", "%00"):
        assert delete(server, f"/owt/calls/{name}").status_code in (400, 404)
    assert delete(server, "/owt/endpoints/0123456789abcdef").status_code == 404
    for name in ("0123", "x" * 64, "0123456789abcdef-", "0" * 65):
        assert delete(server, f"/owt/endpoints/{name}").status_code == 400


def test_an_endpoint_is_dropped_in_all_processes(server: Server, gate: Gate) -> None:
    code = "times = [0]\ndef run(_):\n    times[0] += 1\n    return str(times[0])\n# dropped\n"
    ports = ["/", "/front/"]
    for path in ports:
        assert [server.run(code, path=path).text for _ in range(2)] == ["1", "2"]
    code_id = hashlib.sha256(code.encode()).hexdigest()
    (endpoint,) = (one for one in state(server)["endpoints"] if one["endpoint"] == code_id[:16])
    assert len(endpoint["pids"]) == 2
    assert delete(server, f"/owt/endpoints/{code_id}").status_code == 202
    wait_until(lambda: code_id[:16] not in str(state(server)["endpoints"]), "it to be dropped")
    assert [server.run(code, path=path).text for path in ports] == ["1", "1"]


def test_an_endpoint_that_runs_is_dropped_once_that_has_ended(server: Server, gate: Gate) -> None:
    asked = Asking(server, WAIT + "# runs\n", gate=str(gate))
    gate.wait_reached()
    endpoint = one_call(server)["endpoint"]
    assert delete(server, f"/owt/endpoints/{endpoint}").status_code == 202
    gate.open()
    assert asked.answer().text == "done"
    wait_until(lambda: endpoint not in str(state(server)["endpoints"]), "it to be dropped")


# ---- from a shell ----------------------------------------------------------------------------------------------------


def owt(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "bin/owt"), *arguments, "--address", f"127.0.0.1:{server.port}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_owt_ps_and_stop(server: Server, gate: Gate) -> None:
    none = owt(server, "ps")
    assert (none.returncode, none.stdout.split()) == (
        0,
        ["ID", "STATE", "FOR", "FUNCTION", "LOCATION", "INSTANCE", "ENDPOINT"],
    )
    asked = Asking(server, WAIT, "/slow/", port=server.port_of("port2"), gate=str(gate))
    gate.wait_reached()
    lines = owt(server, "ps").stdout.splitlines()
    assert len(lines) == 2
    name, told, _, function, location, instance, endpoint = lines[1].split()
    assert (told, function, location, instance) == ("running", "run", "/slow/", "model")
    (call,) = json.loads(owt(server, "ps", "--json").stdout)
    assert (call["id"], call["endpoint"]) == (name, endpoint)
    stopped = owt(server, "stop", name)
    assert (stopped.returncode, stopped.stdout) == (0, f"{name} is told to end.\n")
    assert asked.answer().status == 500
    quiet(server)
    again = owt(server, "stop", name, "x")
    assert again.returncode == 1
    assert "No call of this id runs" in again.stderr
    assert "A call's id is as calls shows it" in again.stderr


def test_owt_ps_says_where_it_has_asked_in_vain(server: Server, start: Callable[..., Server]) -> None:
    login = owt(server, "ps", "--path", "/login")
    assert login.returncode == 1
    assert "--auth USER:PASSWORD" in login.stderr
    assert owt(server, "ps", "--path", "/login", "--auth", "alice:password").returncode == 0
    elsewhere = owt(server, "ps", "--path", "/")
    assert elsewhere.returncode == 1
    assert elsewhere.stderr
    plain = start("server { listen 127.0.0.1:{port}; location / { return 200 hello; } }")
    assert "is no location with owt_status: --path names it" in owt(plain, "ps").stderr
    gone = subprocess.run([str(ROOT / "bin/owt"), "ps", "--address", "127.0.0.1:1"], capture_output=True, text=True)
    assert (gone.returncode, gone.stderr) == (1, "owt: cannot reach 127.0.0.1:1: Connection refused\n")
    command = [str(ROOT / "bin/owt"), "ps"]
    env = {**os.environ, "OWT_ADDRESS": "127.0.0.1", "OWT_PORT": "1"}
    guessed = subprocess.run(command, env=env, capture_output=True, text=True)
    assert guessed.returncode == 1
    assert "cannot reach 127.0.0.1:1: Connection refused" in guessed.stderr
    assert "--address HOST:PORT, or OWT_PORT" in guessed.stderr


def test_a_command_behind_its_options_is_told_its_place() -> None:
    for command in ("ps", "stop"):
        done = subprocess.run([ROOT / "bin/owt", "--address", "a:1", command], capture_output=True, text=True)
        assert done.returncode == 2
        assert f"{command} comes first: owt {command}" in done.stderr
    url = [ROOT / "bin/owt", "--arg", "word", "ps", "--run", "lambda word: word", "--url"]
    assert "word=ps" in subprocess.run(url, capture_output=True, text=True).stdout, "it may be an argument's value"


# ---- what is published -----------------------------------------------------------------------------------------------


def test_what_is_published_is_seen_by_its_name(start: Callable[..., Server], tmp_path: Path, gate: Gate) -> None:
    (tmp_path / "api/sub").mkdir(parents=True)
    (tmp_path / "api/sub/slow.py").write_text(WAIT)
    server = start(
        "server { listen 127.0.0.1:{port}; location /owt/ { owt_status; } "
        f"location /api/ {{ owt_root {tmp_path}/api; }} }}"
    )
    with ThreadPoolExecutor(1) as clients:
        asked = clients.submit(server.get, f"/api/sub/slow?gate={gate}")
        gate.wait_reached()
        assert one_call(server)["function"] == "sub/slow"
        gate.open()
        assert asked.result().text == "done"


# ---- a process that was killed in the middle of it -------------------------------------------------------------------

HELD = ["publish_call", "show_call", "publish_name", "end_call", "count"]


@pytest.mark.parametrize("held", HELD)
def test_a_process_is_killed_in_the_middle_of_a_write(server: Server, held: str) -> None:
    server.expect(r"exited on signal 9")
    (victim,) = server.workers_of("model")
    with server.hold(held) as hold:
        asked = Form(server, ECHO)
        hold.wait_reached()
        # It can be read while somebody is in the middle of writing, and nothing of it is half.
        for call in calls(server):
            assert call["function"] == "run" and call["location"] == "/" and call["age"] < 100
        samples(server.get("/owt/metrics").text)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in [one["pid"] for one in state(server)["processes"]], "it to be gone")
    asked.close()
    assert not calls(server)
    # Where it was held at the call's end, the answer may have gone out already, and counts.
    before = metric(server, "owt_calls_total", instance="model", location="/", status="2xx")
    wait_until(lambda: state(server)["ready"], "its successor")
    assert Form(server, ECHO).read() == b"Hello, owt!"
    quiet(server)
    wait_until(
        lambda: metric(server, "owt_calls_total", instance="model", location="/", status="2xx") == before + 1,
        "the successor's call to be counted",
    )
    (process,) = (one for one in state(server)["processes"] if one["instance"] == "model")
    assert (process["running"], process["queued"], process["state"]) == (0, 0, "ready")


def test_a_process_is_killed_while_it_says_who_it_is(server: Server) -> None:
    server.expect(r"exited on signal 9")
    known = [one["pid"] for one in state(server)["processes"]]
    (first,) = server.workers_of("model")
    with server.hold("publish_process") as hold:
        os.kill(first, signal.SIGKILL)
        hold.wait_reached()
        (second,) = (pid for pid in children(server.master) if pid not in known)  # its title comes later
        assert second not in [one["pid"] for one in state(server)["processes"]]
        assert server.get("/owt/health").status_code == 503
        os.kill(second, signal.SIGKILL)
    wait_until(lambda: state(server)["ready"], "the third")
    assert Form(server, ECHO).read() == b"Hello, owt!"


def test_who_is_killed_after_an_order_was_given(server: Server, gate: Gate) -> None:
    """The order is for a call of a process that is no more, and reaches no other's."""
    server.expect(r"exited on signal 9")
    (victim,) = server.workers_of("model")
    asked = Asking(server, WAIT, port=server.port_of("port2"), gate=str(gate))
    gate.wait_reached()
    call = one_call(server)
    os.kill(victim, signal.SIGSTOP)
    assert delete(server, f"/owt/calls/{call['id']}").status_code == 202
    os.kill(victim, signal.SIGKILL)
    asked.answer_or_none()
    wait_until(lambda: state(server)["ready"], "its successor")
    gate.open()
    for _ in range(3):
        assert Form(server, ECHO).read() == b"Hello, owt!"


# ---- configuration ---------------------------------------------------------------------------------------------------


def test_without_a_master_there_is_one_process(start: Callable[..., Server]) -> None:
    class Single(Server):
        def workers(self, leaving: bool = False) -> list[int]:
            return [self.master] if self.running else []

    conf = "server { listen 127.0.0.1:{port}; location / { owt; } location /owt/ { owt_status; } }"
    with Single(conf, main="master_process off;") as server:
        wait_until(lambda: state(server)["ready"], "it to be ready")
        assert server.run(ECHO).text == "Hello, owt!"
        (process,) = state(server)["processes"]
        assert (process["pid"], process["state"]) == (server.master, "ready")
        wait_until(lambda: counted(server, "2xx") == 1, "the call to be counted")


@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("location /owt { owt_status; }", "has to end in a slash"),
        ("location = /owt/ { owt_status; }", "has to end in a slash"),
        ("location ~ /owt/ { owt_status; }", "has to end in a slash"),
        ("location /owt/ { owt_status all; }", '"all" is neither "metrics" nor "health"'),
        ("location /owt/ { owt_status; owt_status; }", "is duplicate"),
        ("location /owt/ { owt; owt_status; }", "both owt and owt_status"),
        ("location /owt/ { owt_status; owt; }", "both owt and owt_status"),
    ],
)
def test_what_the_configuration_may_not_say(location: str, complaint: str) -> None:
    server = Server("server { listen 127.0.0.1:{port}; " + location + " }", hooks=True)
    done = server.test_conf()
    server.close()
    assert done.returncode != 0
    assert complaint in done.stderr


def test_it_needs_no_python(start: Callable[..., Server]) -> None:
    server = start("server { listen 127.0.0.1:{port}; location /owt/ { owt_status; } }")
    assert server.get("/owt/health").text == "ready\n"
    (process,) = state(server)["processes"]
    assert process["state"] == "ready"
    assert time.time() - process["started"] < 100
