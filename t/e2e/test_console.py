"""owt_console: a browser that opens a location with owt and brings no code gets a page; everybody else what they got."""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from harness import BUILD, ROOT, Server, linked_in

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"}
#: As Chromium and Firefox send it when somebody types the address, and when a page elsewhere links there.
TYPED = {**BROWSER, "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
LINKED = {**TYPED, "Sec-Fetch-Site": "cross-site"}
FRAMED = {**LINKED, "Sec-Fetch-Dest": "iframe"}
CONF = """
map $http_x_none $code { default "lambda: 'configured'"; }
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /off/ { owt; owt_console off; }
    location /off/on/ { owt; owt_console on; }
    location /open/ { owt; owt_guard off; }
    location /api/ { owt_root {root}/examples/publish; }
    location /agents/ { owt; owt_mcp; }
    location = /configured { rewrite ^ /inner?code=$code last; }
    location = /inner { internal; owt; }
    location /login/ {
        owt;
        owt_auth alice:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8;
    }
    location /if/ { owt; if ($arg_off) { set $a 1; } }
    location /fetched/ { auth_request /; alias {dir}/; }
}
"""
PAGE = b"<!DOCTYPE html>"


def is_page(answer: httpx.Response) -> bool:
    return answer.status_code == 200 and "script-src 'sha256-" in answer.headers.get("Content-Security-Policy", "")


@pytest.mark.parametrize("headers", [BROWSER, TYPED, LINKED, {"Accept": "text/html"}], ids=str)
@pytest.mark.parametrize("path", ["/", "/some/path", "/?name=owt", "/?code=", "/open/", "/if/?off=1", "/off/on/"])
def test_a_browser_gets_the_page(server: Server, headers: dict[str, str], path: str) -> None:
    answer = server.get(path, headers=headers)
    assert is_page(answer)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.content.startswith(PAGE)
    assert answer.content.endswith(b"</html>\n")


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "",
        "text/*",
        "text/plain, text/html",
        "text/html;q=0.5, */*;q=0.8",
        "text/html;q=0, */*",
        "text/html;q=x",
        "application/json, text/html",
        "application/xhtml+xml, */*;q=0.8",
        "image/avif,image/webp,*/*;q=0.8",
        "text/htmlx, */*;q=0.1",
    ],
)
def test_who_does_not_prefer_html_gets_the_error(server: Server, accept: str | None) -> None:
    headers = {} if accept is None else {"Accept": accept}
    with httpx.Client(base_url=server.url) as client:
        del client.headers["Accept"]
        answer = client.get("/", headers=headers)
    assert (answer.status_code, is_page(answer)) == (400, False)
    assert "No code came with this request" in answer.text
    assert "Accept" in answer.headers["Vary"]


def test_curl_gets_the_error(server: Server) -> None:
    done = server.curl("/", "-i")
    assert done.stdout.startswith("HTTP/1.1 400 Bad Request")
    assert "curl 127.0.0.1:" in done.stdout


def test_who_brings_code_gets_its_answer(server: Server) -> None:
    for query in ("code=lambda: 'ran'", "code_b64=bGFtYmRhOiAncmFuJw==", "c%6fde=lambda: 'ran'"):
        assert server.get(f"/?{query}", headers=BROWSER).text == "ran"
    assert server.get("/?code_id=sha256:00", headers=BROWSER).status_code == 400
    assert server.post("/", data={"code": "lambda: 'ran'"}, headers=BROWSER).text == "ran"


def test_who_sends_a_body_is_no_browser_that_opens_a_page(server: Server) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", **BROWSER}
    answer = httpx.request("GET", server.url, content="code=lambda: 'ran'", headers=form)
    assert answer.text == "ran"
    answer = httpx.request("GET", server.url, content=iter([b"code=lambda: 'ran'"]), headers=form)
    assert answer.text == "ran"
    assert server.post("/", headers=BROWSER).status_code == 400
    answer = httpx.request("PUT", server.url, headers=BROWSER)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD, POST")


def test_head_is_get_without_the_body(server: Server) -> None:
    get, head = server.get(headers=BROWSER), httpx.head(server.url, headers=BROWSER)
    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "date": ""} == {**get.headers, "date": ""}
    assert httpx.head(server.url).status_code == 400


def test_off(server: Server) -> None:
    answer = server.get("/off/", headers=BROWSER)
    assert answer.status_code == 400
    assert "No code came" in answer.text


def test_other_locations_are_what_they_were(server: Server) -> None:
    assert "Published functions" in server.get("/api/", headers=BROWSER).text
    assert not is_page(server.get("/agents/", headers=BROWSER))
    assert server.get("/configured", headers=BROWSER).text == "configured"
    # A subrequest's page would be taken for a yes.
    assert server.get("/fetched/nginx.conf", headers=BROWSER).status_code == 500
    server.expect("auth request unexpected status: 400")


def test_it_may_be_kept_and_is_asked_for_again(server: Server) -> None:
    first = server.get(headers=BROWSER)
    assert first.headers["Cache-Control"] == "no-cache"
    again = server.get(headers={**BROWSER, "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "Accept" in again.headers["Vary"]
    other = server.get(headers={**BROWSER, "If-None-Match": '"another"'})
    assert other.status_code == 200
    # Nobody's error is the page, whatever it is asked with.
    assert server.get(headers={"If-None-Match": first.headers["ETag"]}).status_code == 400


def test_what_the_page_may_do(server: Server) -> None:
    headers = server.get(headers=BROWSER).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/]+='", policy["script-src"])
    assert policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Document-Policy"] == "force-load-at-top"


def test_it_brings_all_that_it_shows(server: Server) -> None:
    text = server.get(headers=BROWSER).text
    assert not re.findall(r"<!--", text)
    assert set(re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", text.partition("<script>")[0])) == {"data:,"}
    assert not re.findall(r"https?://(?!www\.w3\.org)[\w.-]+", text)


def test_the_guard_stands_before_it(server: Server) -> None:
    assert server.get(headers=FRAMED).status_code == 403
    assert server.get(headers={**BROWSER, "Host": "evil.test"}).status_code == 421
    assert server.get(headers={**BROWSER, "X-Forwarded-For": "203.0.113.7"}).status_code == 403
    assert server.get(headers={**TYPED, "Sec-Purpose": "prefetch"}).status_code == 403
    answer = server.get("/login/", headers=BROWSER)
    assert (answer.status_code, answer.headers["WWW-Authenticate"][:5]) == (401, "Basic")
    assert is_page(server.get("/login/", headers=BROWSER, auth=("alice", "password")))


@pytest.mark.skipif(linked_in(), reason="the module is linked in")
def test_a_file_that_is_missing_is_no_reason_not_to_start(tmp_path: Path) -> None:
    """The module looks for the page beside itself: here beside a copy, whose package lacks some of it."""
    shutil.copy(BUILD / "ngx_http_owt_module.so", tmp_path)
    shutil.copytree(BUILD / "python", tmp_path / "python", symlinks=True)
    (tmp_path / "python/owt").unlink()
    shutil.copytree(ROOT / "python/owt", tmp_path / "python/owt", ignore=shutil.ignore_patterns("console.js"))
    with ExitStack() as stack:
        for console, told in ("on", True), ("off", False):
            server = Server(f"server {{ listen 127.0.0.1:{{port}}; location / {{ owt; owt_console {console}; }} }}")
            stack.callback(server.close)
            conf = (server.dir / "nginx.conf").read_text().replace(f"{BUILD}/", f"{tmp_path}/")
            (server.dir / "nginx.conf").write_text(conf)
            done = server.test_conf()
            assert done.returncode == 0, done.stderr
            assert (f"cannot read {tmp_path}/python/owt/console/console.js" in done.stderr) == told, done.stderr
