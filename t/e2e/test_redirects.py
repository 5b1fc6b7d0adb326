"""A foreign server redirects programs here, with code in the URL: most do not say so, and then only strictness helps."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from harness import SLOW, Server, wait_until

CONF = """
owt_instance default { threads 1; }
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /strict/ { owt; owt_guard strict; }
}
server {
    listen 127.0.0.1:{port2};
    location /302/ { return 302 http://127.0.0.1:{port}$arg_to?$args; }
    location /307/ { return 307 http://127.0.0.1:{port}$arg_to?$args; }
    location /308/ { return 308 http://127.0.0.1:{port}$arg_to?$args; }
}
"""

# Programs that follow redirects, as those do that fetch packages, feeds and previews.
PROGRAMS: dict[str, tuple[str, list[str]]] = {
    "curl": ("curl", ["-qsSL", "--noproxy", "*"]),
    "wget": ("wget", ["--no-config", "--no-proxy", "--content-on-error", "-qO-"]),
    "urllib": (
        sys.executable,
        ["-c", "import sys, urllib.request as u; print(u.build_opener(u.ProxyHandler({})).open(sys.argv[1]).read())"],
    ),
    "node": (
        "node",
        ["-e", "fetch(process.argv[1]).then(answer => answer.text()).then(console.log)"],
    ),
}


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    return tmp_path / "ran"


def foreign(server: Server, ran: Path, kind: str, to: str) -> str:
    """A URL of the foreign server; it redirects to one here that leaves the file behind."""
    code = f"def run(_, **fields): open({str(ran)!r}, 'a').write('x'); return 'ran'"
    query = urlencode({"to": to, "code": code}, safe="/")
    return f"http://127.0.0.1:{server.port_of('port2')}/{kind}/?{query}"


def has_run(server: Server, ran: Path) -> bool:
    # There is one thread: what came before this call has run.
    assert server.run("def run(): return 'after'").text == "after"
    return ran.exists()


def follow(program: str, url: str) -> None:
    command, arguments = PROGRAMS[program]
    if not shutil.which(command):
        pytest.skip(f"{command} is not installed")
    subprocess.run([command, *arguments, url], capture_output=True, timeout=60 * SLOW)


programs = pytest.mark.parametrize("program", PROGRAMS)


@programs
def test_a_program_s_redirect_cannot_be_told_from_its_own_wish(server: Server, ran: Path, program: str) -> None:
    """As the security page says."""
    follow(program, foreign(server, ran, "302", "/"))
    assert has_run(server, ran)


@programs
@pytest.mark.parametrize("kind", ["302", "307", "308"])
def test_strictness_keeps_redirects_out(server: Server, ran: Path, program: str, kind: str) -> None:
    follow(program, foreign(server, ran, kind, "/strict/"))
    wait_until(lambda: "GET /strict/?to=" in server.access_log, "the request to be logged")
    assert not has_run(server, ran)


@pytest.mark.parametrize("kind", ["307", "308"])
def test_strictness_keeps_out_what_is_posted_again(server: Server, ran: Path, kind: str) -> None:
    curl = ["curl", "-qsSL", "--noproxy", "*", "--data-binary", "mine"]
    for to in ("/", "/strict/"):
        ran.unlink(missing_ok=True)
        done = subprocess.run([*curl, foreign(server, ran, kind, to)], capture_output=True, text=True)
        assert has_run(server, ran) == (to == "/"), done.stdout
    assert "X-Owt: 1" in done.stdout


def test_a_program_that_says_where_it_was_sent_from_is_refused(server: Server, ran: Path) -> None:
    """Go's http.Client does, and curl with --referer ';auto'."""
    curl = ["curl", "-qsSL", "--noproxy", "*", "--referer", ";auto"]
    done = subprocess.run([*curl, foreign(server, ran, "302", "/")], capture_output=True, text=True)
    assert "owt_allow origin" in done.stdout
    assert not has_run(server, ran)


@pytest.mark.parametrize(
    "call",
    [
        lambda url, query: httpx.get(f"{url}/strict/?{query}", headers={"X-Owt": "1"}, trust_env=False).text,
        lambda url, query: httpx.post(f"{url}/strict/", data={"code": "lambda: 'ran'"}, trust_env=False).text,
        lambda url, query: subprocess.run(
            ["curl", "-qsS", "--noproxy", "*", "-H", "X-Owt: 1", "-G", f"{url}/strict/", "--data", query],
            capture_output=True,
            text=True,
        ).stdout,
    ],
)
def test_what_is_meant_runs_strictly_too(server: Server, call: Callable[[str, str], str]) -> None:
    assert call(server.url, urlencode({"code": "lambda: 'ran'"})) == "ran"
