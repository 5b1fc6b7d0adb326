"""Who may run code here: what each client, host name, page and front gets, and that who is refused runs nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from harness import SLOW, Server, certificate, wait_until

ALICE = f"alice:{hashlib.sha256(b'open sesame').hexdigest()}"
BOB = f"bob:{hashlib.sha256(b'b:o:b').hexdigest()}"
CAROL = f"carol:{hashlib.sha256('Zürich'.encode()).hexdigest()}"

# One thread runs the calls in turn. Every location runs what it is asked to, if the guard lets it.
CONF = f"""
owt_instance default {{ threads 1; }}
client_max_body_size 2g;
large_client_header_buffers 4 64k;
server {{
    listen 127.0.0.1:{{port}};
    listen unix:{{dir}}/owt.sock;
    server_name gpu.example.com *.wild.example ~^re\\. _;
    root {{dir}};

    location / {{ owt; }}
    location /remote/ {{ owt; owt_allow remote; }}
    location /links/ {{ owt; owt_allow links; }}
    location /host/ {{ owt; owt_allow host lab.example 192.0.2.7; }}
    location /origin/ {{ owt; owt_allow origin https://app.example http://tool.example:8080; }}
    location /off/ {{ owt; owt_guard off; }}
    location /old/ {{ owt; owt_allow http10; }}
    location /strict/ {{ owt; owt_guard strict; }}
    location /elsewhere {{ return 200 plain; }}

    # Ways by which a request comes to code.
    location /any/ {{ owt; satisfy any; allow 127.0.0.1; deny all; }}
    location /if/ {{ owt; if ($request_uri ~ code) {{ set $seen 1; }} }}
    location /if-proxy/ {{ owt; if ($request_uri ~ code) {{ proxy_pass http://127.0.0.1:{{port6}}; }} }}
    location /excepted/ {{ owt; limit_except POST {{ deny 192.0.2.1; }} }}
    location /try/ {{ try_files /none /run?$args; }}
    location /named/ {{ try_files /none @run; }}
    location /rewritten/ {{ rewrite ^ /run last; }}
    location /error/ {{ error_page 404 = /run?$args; return 404; }}
    location /error-named/ {{ error_page 404 = @run; return 404; }}
    location /accel/ {{ proxy_pass http://127.0.0.1:{{port2}}; }}
    location @run {{ owt; }}
    location = /internal {{ internal; owt; }}

    # And by subrequests of a location that is nobody's business.
    location /ssi/ {{ ssi on; ssi_value_length 4k; default_type text/html; }}
    location /mirrored/ {{ mirror /run; try_files /pages/page.html =404; }}
    location /judged/ {{ set $question $args; auth_request /judge; try_files /pages/page.html =404; }}
    location = /judge {{ rewrite ^ /run?$question?; }}
    location /ssi-login/ {{ ssi on; ssi_value_length 4k; default_type text/html; }}
    location /mirrored-login/ {{ mirror /login/; try_files /pages/page.html =404; }}
    location /judged-login/ {{ set $question $args; auth_request /judge-login; try_files /pages/page.html =404; }}
    location = /judge-login {{ rewrite ^ /login/?$question?; }}

    # Fronts of the same owt on a unix socket.
    location /front/ {{
        owt_guard on;
        proxy_http_version 1.1;
        proxy_pass http://unix:{{dir}}/owt.sock:/;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
    }}
    location /appending/ {{
        proxy_http_version 1.1;
        proxy_pass http://unix:{{dir}}/owt.sock:/;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
    location /forgetful/ {{
        proxy_http_version 1.0;
        proxy_pass http://unix:{{dir}}/owt.sock:/;
        proxy_set_header Host $http_host;
    }}
    location /plain-tcp/ {{ proxy_pass http://127.0.0.1:{{port}}/; proxy_http_version 1.0; }}
    location /named-tcp/ {{ proxy_pass http://127.0.0.1:{{port}}/; include {{root}}/conf/owt_params; }}
    location /renamed/ {{
        proxy_pass http://backend/;
        proxy_http_version 1.1;
        proxy_set_header X-Forwarded-For $remote_addr;
    }}
    location /socket/ {{ owt; owt_allow remote; }}

    # Logins.
    location /login/ {{ owt; owt_auth {ALICE}; }}
    location /logins/ {{ owt; owt_auth {ALICE} {BOB}; owt_auth {CAROL}; }}
    location /login-or-local/ {{ owt; owt_auth {ALICE}; satisfy any; allow 127.0.0.1; deny all; }}
    location /login-or-nobody/ {{ owt; owt_auth {ALICE}; satisfy any; deny all; }}
    location /login-origin/ {{ owt; owt_auth {ALICE}; owt_allow origin https://app.example; }}
    location /login-any-origin/ {{ owt; owt_auth {ALICE}; owt_allow origin *; }}
    location /basic/ {{ owt; owt_allow remote; auth_basic owt; auth_basic_user_file {{dir}}/htpasswd; }}
}}
upstream backend {{ server unix:{{dir}}/owt.sock; }}
server {{
    listen 127.0.0.1:{{port2}};
    location / {{ add_header X-Accel-Redirect /internal?$args; return 200; }}
}}
server {{
    listen 127.0.0.1:{{port6}};
    return 200 proxied;
}}
server {{
    listen 127.0.0.1:{{port3}} ssl http2;
    ssl_certificate {{cert}};
    ssl_certificate_key {{key}};
    location / {{ owt; }}
}}
server {{
    listen 127.0.0.1:{{port4}} proxy_protocol;
    location / {{ owt; }}
    location /real/ {{ owt; set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol; }}
}}
server {{
    listen 127.0.0.1:{{port5}};
    owt_auth {ALICE};
    owt_allow host lab.example;
    location / {{ owt; }}
    location /other/ {{ owt; owt_auth {BOB}; }}
    location /inner/ {{ owt; location /inner/most/ {{ owt; }} }}
    location /allows/ {{ owt; owt_allow links; }}
    location /plain {{ root {{dir}}/pages; try_files /page.html =404; }}
}}
"""

CLIENTS = {
    "remote": {"X-Forwarded-For": "10.9.9.9"},
    "rebound": {"Host": "evil.example"},
    "page": {"Origin": "https://evil.example"},
    "image": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "prefetch": {"Sec-Purpose": "prefetch"},
}

LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

# Over plain HTTP, to a name that is not this machine's, browsers say no more of themselves.
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/120"}

# By which fronts say for whom they ask, and others that they add.
CLIENT_HEADERS = [
    *("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "CF-Connecting-IP", "True-Client-IP"),
    *("Fastly-Client-IP", "X-Original-Forwarded-For", "X-Azure-ClientIP", "X-Envoy-External-Address", "Client-IP"),
]
FRONT_HEADERS = [
    *("Via", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Context"),
    *("CF-Ray", "CDN-Loop", "X-Varnish", "X-Amz-Cf-Id", "X-Original-Host", "X-Scheme", "Tailscale-User-Login"),
]

hostile = pytest.mark.parametrize("headers", CLIENTS.values(), ids=CLIENTS)


Headers = dict[str, str] | list[tuple[str, str]] | None


class Trap:
    """Code that leaves a file behind when it is run."""

    def __init__(self, server: Server, file: Path) -> None:
        self._server = server
        self._file = file
        self.code = f"def run(request):\n    open({str(file)!r}, 'a').write('x')\n    return 'ran'\n"
        self.query = urlencode({"code": self.code})

    @property
    def sprung(self) -> bool:
        # There is one thread: what came before this call has run.
        assert self._server.run("def run(): return 'after'").text == "after"
        return self._file.exists()

    def get(self, path: str = "/", headers: Headers = None, client: httpx.Client | None = None) -> httpx.Response:
        """Asks for it by a link."""
        ask: Callable[..., httpx.Response] = (client or self._server).get
        return ask(f"{path}?{self.query}", headers=headers)

    def post(self, path: str = "/", headers: Headers = None) -> httpx.Response:
        return self._server.post(path, data={"code": self.code}, headers=headers)

    def is_refused(self, answer: httpx.Response, status: int = 403) -> bool:
        """Asserts it; so that it can be seen what came instead."""
        assert answer.status_code == status, answer.text
        assert "ran" not in answer.text.split()
        assert not self.sprung
        return True


@pytest.fixture
def trap(server: Server, tmp_path: Path) -> Trap:
    return Trap(server, tmp_path / "sprung")


@pytest.fixture(scope="module", autouse=True)
def files(server: Server) -> None:
    pages = server.dir / "pages"
    pages.mkdir()
    (pages / "page.html").write_text("a page")
    for name, target in (("ssi", "/run"), ("ssi-login", "/login/")):
        (server.dir / name).mkdir()
        (server.dir / name / "page.html").write_text(f'<!--# include virtual="{target}?$args" -->')
    command = ["openssl", "passwd", "-5", "-salt", "saltsalt", "slow hash"]
    digest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert digest.startswith("$5$")
    (server.dir / "htpasswd").write_text(f"dave:{digest}\n")


def raw(server: Server, text: str | bytes, port: int | None = None, host: str = "127.0.0.1") -> tuple[int, str]:
    """What comes back for these bytes until the server closes: status and all the rest."""
    with socket.create_connection((host, port or server.port), timeout=10 * SLOW) as client:
        client.sendall(text.encode() if isinstance(text, str) else text)
        received = b""
        while block := client.recv(65536):
            received += block
    head, _, body = received.decode(errors="replace").partition("\r\n\r\n")
    return int(head.split()[1]), head + "\n" + body


def request_line(trap: Trap, *headers: str, target: str = "/", version: str = "HTTP/1.1") -> str:
    return "\r\n".join([f"GET {target}?{trap.query} {version}", *headers, "Connection: close", "", ""])


def own(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


# ---- programs on this machine ----------------------------------------------------------------------------------------


def test_a_program_on_this_machine_runs_code(trap: Trap) -> None:
    assert trap.get().text == "ran"
    assert trap.post().text == "ran"
    assert trap.sprung


def test_curl_runs_code(server: Server, trap: Trap) -> None:
    assert server.curl("/", "--form-string", f"code={trap.code}").stdout == "ran"


def test_a_program_s_own_origin_and_referer_do_no_harm(server: Server, trap: Trap) -> None:
    assert trap.post(headers={"Origin": own(server), "Referer": own(server) + "/x?y"}).text == "ran"


# ---- 1. remote clients -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "x-forwarded-FOR"])
@pytest.mark.parametrize(
    "value",
    [
        *("10.9.9.9", "127.0.0.1, 10.9.9.9", "10.9.9.9, 127.0.0.1", "10.9.9.9:1234", "[2001:db8::1]:80"),
        *("unknown", "localhost", "127.1", "0177.0.0.1", "127.0.0.1.evil.example", "", ",", "127.0.0.1,", "[::1"),
        *("::ffff:10.9.9.9", "0.0.0.0", "127.0.0.1 10.9.9.9", "127.0.0.1;10.9.9.9", "::1%eth0"),
    ],
)
def test_a_front_that_names_another_machine_is_refused(trap: Trap, name: str, value: str) -> None:
    answer = trap.get(headers={name: value})
    assert trap.is_refused(answer)
    assert "owt_allow remote;" in answer.text
    assert "owt_auth " in answer.text


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP"])
@pytest.mark.parametrize(
    "value", ["127.0.0.1", "127.9.8.7", "::1", "[::1]", "::ffff:127.0.0.1", "unix:", "127.0.0.1, ::1", "127.0.0.1:80"]
)
def test_a_front_that_names_this_machine_passes(trap: Trap, name: str, value: str) -> None:
    assert trap.get(headers={name: value}).text == "ran"


@pytest.mark.parametrize(
    "value",
    [
        *("for=10.9.9.9", 'for="[2001:db8::1]:4711"', "for=unknown", "for=_hidden", "by=127.0.0.1", "", "127.0.0.1"),
        "for=127.0.0.1, for=10.9.9.9",
        "for=127.0.0.1;for=10.9.9.9",
        'for="127.0.0.1, for=10.9.9.9',
        "For = 127.0.0.1",
        'for="127.0.0.1\\", for=10.9.9.9"',
    ],
)
def test_a_forwarded_header_that_names_another_machine_is_refused(trap: Trap, value: str) -> None:
    answer = trap.get(headers={"Forwarded": value})
    assert trap.is_refused(answer)
    assert "owt_allow remote;" in answer.text


@pytest.mark.parametrize(
    "value", ["for=127.0.0.1", 'For="[::1]:80";proto=http;by=10.1.1.1', "for=127.0.0.1, for=127.0.0.2"]
)
def test_a_forwarded_header_that_names_this_machine_passes(trap: Trap, value: str) -> None:
    assert trap.get(headers={"Forwarded": value}).text == "ran"


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP"])
@pytest.mark.parametrize("values", [("127.0.0.1", "10.9.9.9"), ("10.9.9.9", "127.0.0.1")])
def test_each_of_several_headers_counts(trap: Trap, name: str, values: tuple[str, str]) -> None:
    assert trap.is_refused(trap.get(headers=[(name, value) for value in values]))


def test_owt_allow_remote_lets_others_in(trap: Trap) -> None:
    assert trap.get("/remote/", headers=CLIENTS["remote"]).text == "ran"


@pytest.mark.parametrize(("who", "status"), [("rebound", 421), ("page", 403), ("image", 403), ("prefetch", 403)])
def test_owt_allow_remote_lets_nothing_else_in(trap: Trap, who: str, status: int) -> None:
    assert trap.is_refused(trap.get("/remote/", headers=CLIENTS[who] | CLIENTS["remote"]), status)


def test_a_unix_socket_without_x_forwarded_for_is_refused(server: Server, trap: Trap) -> None:
    client = server.client("http://localhost", transport=httpx.HTTPTransport(uds=f"{server.dir}/owt.sock"))
    answer = trap.get(client=client)
    assert trap.is_refused(answer)
    assert "include owt_params;" in answer.text
    assert "owt_allow remote;" in answer.text


@pytest.mark.parametrize("header", ["X-Real-IP", "Forwarded"])
def test_no_other_header_stands_for_x_forwarded_for_on_a_unix_socket(server: Server, trap: Trap, header: str) -> None:
    client = server.client("http://localhost", transport=httpx.HTTPTransport(uds=f"{server.dir}/owt.sock"))
    value = "for=127.0.0.1" if header == "Forwarded" else "127.0.0.1"
    assert trap.is_refused(trap.get(headers={header: value}, client=client))


def test_a_unix_socket_may_be_opened_to_programs(server: Server, trap: Trap) -> None:
    client = server.client("http://localhost", transport=httpx.HTTPTransport(uds=f"{server.dir}/owt.sock"))
    assert trap.get("/socket/", client=client).text == "ran"


def test_a_guarded_front_passes_on_what_it_lets_in(trap: Trap) -> None:
    assert trap.get("/front/").text == "ran"


@hostile
def test_a_guarded_front_refuses_by_itself(server: Server, trap: Trap, headers: dict[str, str]) -> None:
    before = len(server.access_log)
    assert trap.is_refused(trap.get("/front/", headers=headers), 421 if "Host" in headers else 403)
    wait_until(lambda: "ran" in server.access_log[before:], "the request to be logged")
    asked = [line for line in server.access_log[before:].splitlines() if "ran" in line]
    assert len(asked) == 1  # and not a second time, behind it


def test_a_guarded_front_adds_no_header_twice(server: Server) -> None:
    answer = server.run("def run(): return 1", path="/front/")
    for name in ("X-Content-Type-Options", "Cross-Origin-Resource-Policy", "Referrer-Policy", "Cache-Control"):
        assert len(answer.headers.get_list(name)) == 1, name


def test_a_guarded_front_shows_the_page_that_asks(trap: Trap) -> None:
    answer = trap.get("/front/", headers=LINK)
    assert trap.is_refused(answer, 200)
    assert "data-href=" in answer.text


@hostile
def test_an_unguarded_front_is_guarded_at_the_back(trap: Trap, headers: dict[str, str]) -> None:
    assert trap.is_refused(trap.get("/appending/", headers=headers), 421 if "Host" in headers else 403)


def test_a_front_that_appends_passes_for_this_machine(trap: Trap) -> None:
    assert trap.get("/appending/").text == "ran"


def test_a_client_s_claim_does_not_help_it_through_a_front(trap: Trap) -> None:
    # As from 10.9.9.9 by way of a front that appends: the claim comes first.
    assert trap.is_refused(trap.get("/appending/", headers={"X-Forwarded-For": "127.0.0.1, 10.9.9.9"}))


def test_a_front_that_says_nothing_of_its_client_is_refused(trap: Trap) -> None:
    answer = trap.get("/forgetful/")
    assert trap.is_refused(answer)
    assert "include owt_params;" in answer.text


def test_a_plain_proxy_pass_opens_nothing(trap: Trap) -> None:
    answer = trap.get("/plain-tcp/")
    assert trap.is_refused(answer)
    assert "\n    include owt_params;\n" in answer.text
    assert "\n    owt_allow http10;\n" in answer.text


def test_a_proxy_pass_with_owt_params_passes_for_this_machine(server: Server, trap: Trap) -> None:
    assert trap.is_refused(trap.get("/named-tcp/", headers=CLIENTS["remote"]))
    assert trap.get("/named-tcp/").text == "ran"


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/0.9"])
@pytest.mark.parametrize("headers", [[], ["Connection: keep-alive"], ["User-Agent: ApacheBench/2.3", "Accept: */*"]])
def test_http_1_0_is_refused(server: Server, trap: Trap, version: str, headers: list[str]) -> None:
    status, _ = raw(server, request_line(trap, "Host: localhost", *headers, version=version))
    assert status in (400, 403, 505)  # nginx has it that HTTP/0.9 has no name
    assert not trap.sprung


@pytest.mark.parametrize("claim", ["X-Forwarded-For", "X-Real-IP", "X-Client-IP"])
@pytest.mark.parametrize("path", ["/plain-tcp/", "/forgetful/"])
def test_a_client_s_claim_does_not_help_it_through_a_front_that_says_nothing(trap: Trap, path: str, claim: str) -> None:
    answer = trap.get(path, headers={claim: "127.0.0.1"})
    assert trap.is_refused(answer)
    assert "\n    include owt_params;\n" in answer.text


@pytest.mark.parametrize("named", ["X-Forwarded-For: 127.0.0.1", "X-Real-IP: ::1", "Forwarded: for=127.0.0.1"])
def test_http_1_0_is_not_believed_what_it_says(server: Server, trap: Trap, named: str) -> None:
    status, answer = raw(server, request_line(trap, "Host: localhost", named, version="HTTP/1.0"))
    assert (status, trap.sprung) == (403, False), answer


def test_owt_allow_http10_lets_such_programs_in(server: Server, trap: Trap) -> None:
    line = request_line(trap, "Host: localhost", version="HTTP/1.0", target="/old/")
    assert raw(server, line)[0] == 200
    assert trap.sprung


@pytest.mark.parametrize("more", ["X-Forwarded-For: 10.9.9.9", "Via: 1.0 front", "Host: evil.example"])
def test_owt_allow_http10_lets_nothing_else_in(server: Server, trap: Trap, more: str) -> None:
    headers = [more] if more.startswith("Host") else ["Host: localhost", more]
    status, _ = raw(server, request_line(trap, *headers, version="HTTP/1.0", target="/old/"))
    assert status in (403, 421)
    assert not trap.sprung


@pytest.mark.parametrize("path", ["/login/", "/remote/"])
def test_http_1_0_passes_where_remote_clients_do(server: Server, trap: Trap, path: str) -> None:
    login = f"Authorization: {basic('alice', 'open sesame')['Authorization']}"
    status, _ = raw(server, request_line(trap, "Host: localhost", login, version="HTTP/1.0", target=path))
    assert (status, trap.sprung) == (200, True)


@pytest.mark.parametrize("name", CLIENT_HEADERS)
@pytest.mark.parametrize("value", ["10.9.9.9", "", "127.0.0.1, 10.9.9.9", "unknown", "2001:db8::1"])
def test_every_header_that_names_a_client_counts(trap: Trap, name: str, value: str) -> None:
    answer = trap.get(headers={name: value})
    assert trap.is_refused(answer)
    assert name.lower() in answer.text.lower()
    assert trap.get(headers={name: "127.0.0.1"}).text == "ran"


@pytest.mark.parametrize("name", FRONT_HEADERS)
def test_a_front_that_gives_itself_away_has_to_name_its_client(trap: Trap, name: str) -> None:
    answer = trap.get(headers={name: "127.0.0.1"})
    assert trap.is_refused(answer)
    assert "\n    include owt_params;\n" in answer.text
    assert trap.get(headers={name: "127.0.0.1", "X-Forwarded-For": "127.0.0.1"}).text == "ran"
    assert trap.get("/remote/", headers={name: "x"}).text == "ran"


def test_a_front_that_renames_the_host_is_told(trap: Trap) -> None:
    answer = trap.get("/renamed/")
    assert trap.is_refused(answer, 421)
    assert "owt_allow host backend;" in answer.text


@pytest.mark.parametrize("source", ["TCP4 127.0.0.1 127.0.0.1 1 2", "TCP6 ::1 ::1 1 2", "TCP4 127.4.5.6 127.0.0.1 1 2"])
@pytest.mark.parametrize("path", ["/", "/real/"])
def test_the_proxy_protocol_lets_this_machine_in(server: Server, trap: Trap, source: str, path: str) -> None:
    text = f"PROXY {source}\r\n" + request_line(trap, "Host: localhost", target=path)
    status, answer = raw(server, text, server.port_of("port4"))
    assert status == 200, answer
    assert trap.sprung


@pytest.mark.parametrize("source", ["TCP4 10.9.9.9 127.0.0.1 1 2", "TCP6 2001:db8::1 ::1 1 2", "UNKNOWN"])
def test_the_source_of_the_proxy_protocol_is_the_client(server: Server, trap: Trap, source: str) -> None:
    text = f"PROXY {source}\r\n" + request_line(trap, "Host: localhost")
    status, answer = raw(server, text, server.port_of("port4"))
    assert status == 403
    assert "owt_allow remote;" in answer
    assert not trap.sprung


def test_the_address_that_realip_sets_is_the_client(server: Server, trap: Trap) -> None:
    text = "PROXY TCP4 10.9.9.9 127.0.0.1 1 2\r\n" + request_line(trap, "Host: localhost", target="/real/")
    status, answer = raw(server, text, server.port_of("port4"))
    assert (status, "10.9.9.9" in answer) == (403, True)
    assert not trap.sprung


# ---- other addresses of this machine ---------------------------------------------------------------------------------


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def both(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Takes IPv4 and IPv6 by one socket."""
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with Server(
        "owt_instance default { threads 1; }\n"
        "server { listen [::]:{port} ipv6only=off; location / { owt; } location /remote/ { owt; owt_allow remote; } }"
    ) as server:
        yield server


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "127.0.0.2", "[::ffff:127.0.0.1]"])
def test_every_loopback_address_is_this_machine(both: Server, tmp_path: Path, host: str) -> None:
    client = both.client(f"http://{host}:{both.port}")
    assert Trap(both, tmp_path / "sprung").get(client=client).text == "ran"


def test_a_loopback_origin_in_ipv6_is_its_own(both: Server, tmp_path: Path) -> None:
    client = both.client(f"http://[::1]:{both.port}")
    trap = Trap(both, tmp_path / "sprung")
    assert trap.get(headers={"Origin": f"http://[::1]:{both.port}"}, client=client).text == "ran"
    assert trap.get(headers={"Origin": f"http://[0:0::1]:{both.port}"}, client=client).text == "ran"


def outer_address() -> str | None:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("2001:db8::1", 9))
        except OSError:
            pass
        else:
            return f"[{probe.getsockname()[0]}]"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def test_an_outer_address_of_this_machine_is_not_loopback(both: Server, tmp_path: Path) -> None:
    address = outer_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    trap = Trap(both, tmp_path / "sprung")
    client = both.client(f"http://{address}:{both.port}")
    answer = trap.get(client=client)
    assert trap.is_refused(answer)
    assert address.strip("[]") in answer.text
    # Where remote clients may come, the connection's own address is a name of this server; another machine's is not.
    assert trap.get("/remote/", client=client).text == "ran"
    assert trap.get("/remote/", headers={"Host": "[2001:db8::7]"}, client=client).status_code == 421


# ---- 2. Host ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.0.1:1234", "127.5.6.7", "localhost", "LOCALHOST:80", "localhost.", "a.b.localhost"),
        *("[::1]", "[::1]:9876", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "gpu.example.com", "GPU.Example.COM:99"),
    ],
)
def test_this_server_answers_to_its_names(trap: Trap, host: str) -> None:
    assert trap.get(headers={"Host": host}).text == "ran"


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil-localhost", "xlocalhost"),
        "localhost6",
        "localhost.localdomain",
        "a.wild.example",
        "wild.example",
        "re.x",
        "gpu.example.com.evil.example",
        *("10.1.2.3", "192.168.0.1", "[2001:db8::1]"),
    ],
)
def test_any_other_name_is_refused_with_the_line_that_would_add_it(trap: Trap, host: str) -> None:
    answer = trap.get(headers={"Host": host})
    assert trap.is_refused(answer, 421)
    assert f"\n    owt_allow host {host};\n" in answer.text


@pytest.mark.parametrize("host", ["0.0.0.0", "0.0.0.0:80", "[::]", "[::]:80", "[::ffff:0.0.0.0]", "[0:0:0:0:0:0:0:0]"])
def test_the_address_of_no_machine_is_refused(trap: Trap, host: str) -> None:
    answer = trap.get(headers={"Host": host})
    assert trap.is_refused(answer, 421)
    assert "owt_allow host 0" not in answer.text


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1.1", "0", "_"])
def test_other_spellings_of_addresses_are_refused(trap: Trap, host: str) -> None:
    assert trap.is_refused(trap.get(headers={"Host": host}), 421)


def test_a_host_that_nginx_itself_may_refuse(trap: Trap) -> None:
    """Newer ones do."""
    answer = trap.get(headers={"Host": "~^re"})
    assert answer.status_code == 400 or trap.is_refused(answer, 421)


@pytest.mark.parametrize("host", ["evil.example;owt_guard", "a{b", "<b>x</b>", 'x"y', "ev*l.example", "x" * 300])
def test_no_host_puts_words_into_the_configuration(trap: Trap, host: str) -> None:
    answer = trap.get(headers={"Host": host})
    assert answer.status_code in (400, 421)
    assert "owt_allow host" not in answer.text
    assert not trap.sprung


@pytest.mark.parametrize("headers", [["Host:"], ["Host: "], ["Host: :80"]])
def test_an_empty_host_is_refused(server: Server, trap: Trap, headers: list[str]) -> None:
    status, _ = raw(server, request_line(trap, *headers))
    assert status in (400, 421)
    assert not trap.sprung


def test_http_1_0_without_a_host_is_refused(server: Server, trap: Trap) -> None:
    status, answer = raw(server, request_line(trap, version="HTTP/1.0", target="/old/"))
    assert (status, "Host" in answer) == (421, True)
    assert not trap.sprung


def test_http_0_9_is_refused(server: Server, trap: Trap) -> None:
    with server.connect() as client:
        client.sendall(f"GET /?{trap.query}\r\n".encode())
        text = b"".join(iter(lambda: client.recv(65536), b""))
    assert b"ran" not in text.split()
    assert not trap.sprung


@pytest.mark.parametrize("hosts", [("localhost", "evil.example"), ("evil.example", "localhost")])
def test_two_hosts_are_not_better_than_one(server: Server, trap: Trap, hosts: tuple[str, str]) -> None:
    status, _ = raw(server, request_line(trap, *(f"Host: {host}" for host in hosts)))
    assert status in (400, 421)
    assert not trap.sprung


@pytest.mark.parametrize("authority", ["evil.example", "localhost@evil.example", "localhost:80@evil.example"])
def test_an_absolute_request_line_names_the_host(server: Server, trap: Trap, authority: str) -> None:
    status, _ = raw(server, request_line(trap, "Host: localhost", target=f"http://{authority}/"))
    assert status in (400, 421)
    assert not trap.sprung


def test_an_absolute_request_line_with_a_name_of_this_server_passes(server: Server, trap: Trap) -> None:
    status, _ = raw(server, request_line(trap, "Host: localhost", target="http://localhost/"))
    assert status == 200
    assert trap.sprung


# What nginx 1.22 cuts off as a port; its later releases refuse it by themselves.
CUT = [
    *("localhost:80@evil.example", "localhost:abc", "localhost:", "localhost:80.evil.example", "localhost:99999"),
    *("localhost:80:80", "localhost.:80@evil.example", "127.0.0.1:x", "127.0.0.1:80@evil.example"),
    *("[::1].evil.example", "[::1]evil.example", "[::1]@evil.example", "[::1]:80@evil.example", "[::1]:"),
    *("gpu.example.com:80@evil.example", "gpu.example.com:evil"),
]


@pytest.mark.parametrize("host", CUT)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_a_host_counts_whole(server: Server, trap: Trap, host: str, version: str) -> None:
    status, answer = raw(server, request_line(trap, f"Host: {host}", version=version, target="/old/"))
    assert status in (400, 421)
    assert not trap.sprung
    assert "owt_allow host" not in answer


@pytest.mark.parametrize("authority", CUT)
def test_an_absolute_request_line_counts_whole(server: Server, trap: Trap, authority: str) -> None:
    for host in ("localhost", authority):
        status, _ = raw(server, request_line(trap, f"Host: {host}", target=f"http://{authority}/"))
        assert status in (400, 421)
    assert not trap.sprung


@pytest.mark.parametrize(
    "target", ["http://localhost/", "http://LOCALHOST:80/", "http://localhost:1", "http://[::1]:1/"]
)
def test_an_absolute_request_line_and_a_host_have_to_agree(server: Server, trap: Trap, target: str) -> None:
    same = re.match("http://([^/?]*)", target)
    assert same
    assert raw(server, request_line(trap, "Host: evil.example", target=target))[0] == 421
    assert raw(server, request_line(trap, "Host: 127.0.0.1", target=target))[0] == 421
    assert not trap.sprung
    assert raw(server, request_line(trap, f"Host: {same[1]}", target=target))[0] == 200
    assert trap.sprung


@pytest.mark.parametrize("path", ["/ssi/page.html", "/judged/"])
def test_a_subrequest_is_judged_by_the_whole_host(server: Server, trap: Trap, path: str) -> None:
    for target, host in ((path, "localhost:80@evil.example"), (f"http://localhost{path}", "localhost:x")):
        status, answer = raw(server, request_line(trap, f"Host: {host}", target=target))
        assert "ran" not in answer.split()
        assert status != 200 or "ssi" in path
    assert not trap.sprung
    assert raw(server, request_line(trap, "Host: localhost", target=f"http://localhost{path}"))[0] == 200
    assert trap.sprung


def test_owt_allow_host_adds_names(trap: Trap) -> None:
    for host in ("lab.example", "LAB.example:8080", "192.0.2.7"):
        assert trap.get("/host/", headers={"Host": host}).text == "ran", host
    assert trap.get("/host/", headers={"Host": "a.lab.example"}).status_code == 421
    assert trap.get("/", headers={"Host": "lab.example"}).status_code == 421


def test_a_name_that_owt_allow_host_adds_makes_an_own_origin(trap: Trap) -> None:
    headers = {"Host": "lab.example:81", "Origin": "http://lab.example:81"}
    assert trap.get("/host/", headers=headers).text == "ran"
    assert trap.get("/host/", headers=headers | {"Origin": "http://lab.example"}).status_code == 403


# ---- HTTP/2 over TLS -------------------------------------------------------------------------------------------------


def ask_h2(server: Server, headers: list[tuple[str, str]], path: str) -> tuple[int, bytes]:
    """A GET with these header fields after :method, :scheme and :path, as they are: status and body."""
    port = server.port_of("port3")
    context = ssl.create_default_context(cafile=str(certificate()[0]))
    context.set_alpn_protocols(["h2"])
    config = h2.config.H2Configuration(
        header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
    )
    connection = h2.connection.H2Connection(config=config)
    connection.initiate_connection()
    connection.send_headers(1, [(":method", "GET"), (":scheme", "https"), (":path", path), *headers], end_stream=True)
    status, body = 0, b""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10 * SLOW) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(connection.data_to_send())
        while block := client.recv(65536):
            for event in connection.receive_data(block):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return status, body
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    return 0, b""
            client.sendall(connection.data_to_send())
    return status, body


def test_the_authority_of_http_2_is_the_host(server: Server, trap: Trap) -> None:
    port = server.port_of("port3")
    assert ask_h2(server, [(":authority", f"localhost:{port}")], f"/?{trap.query}") == (200, b"ran")


@pytest.mark.parametrize(
    "headers",
    [
        [(":authority", "evil.example")],
        [("host", "evil.example")],
        [(":authority", "evil.example"), ("host", "localhost")],
        [],
    ],
)
def test_another_authority_is_refused(server: Server, trap: Trap, headers: list[tuple[str, str]]) -> None:
    status, body = ask_h2(server, headers, f"/?{trap.query}")
    assert status in (0, 400, 421)
    assert not trap.sprung


@pytest.mark.parametrize("authority", CUT)
@pytest.mark.parametrize("name", [":authority", "host"])
def test_an_authority_counts_whole(server: Server, trap: Trap, authority: str, name: str) -> None:
    status, _ = ask_h2(server, [(name, authority)], f"/?{trap.query}")
    assert status in (0, 400, 421)
    assert not trap.sprung


def test_an_authority_and_another_host_are_not_better_than_one(server: Server, trap: Trap) -> None:
    headers = [(":authority", "localhost"), ("host", "evil.example"), ("origin", "https://evil.example")]
    status, _ = ask_h2(server, headers, f"/?{trap.query}")
    assert status in (0, 400, 403, 421)
    assert not trap.sprung


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://localhost:{port}", 200),
        ("https://LOCALHOST:{port}", 200),
        ("http://localhost:{port}", 403),
        ("https://localhost", 403),
        ("https://127.0.0.1:{port}", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ],
)
def test_over_tls_the_own_origin_is_https(server: Server, trap: Trap, origin: str, status: int) -> None:
    port = server.port_of("port3")
    headers = [(":authority", f"localhost:{port}"), ("origin", origin.format(port=port))]
    assert ask_h2(server, headers, f"/?{trap.query}")[0] == status
    assert trap.sprung == (status == 200)


@hostile
def test_http_2_is_guarded_as_http_1_1_is(server: Server, trap: Trap, headers: dict[str, str]) -> None:
    fields = {":authority" if name == "Host" else name.lower(): value for name, value in headers.items()}
    authority = [(":authority", "localhost")] if "Host" not in headers else []
    status, _ = ask_h2(server, authority + list(fields.items()), f"/?{trap.query}")
    assert status == (421 if "Host" in headers else 403)
    assert not trap.sprung


# ---- 3. Sec-Fetch-Site -----------------------------------------------------------------------------------------------


def fetch(site: str, mode: str = "cors", dest: str = "empty") -> dict[str, str]:
    return {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}


@pytest.mark.parametrize(("mode", "dest"), [("cors", "empty"), ("navigate", "document"), ("no-cors", "empty")])
def test_a_page_of_this_server_runs_code(trap: Trap, mode: str, dest: str) -> None:
    assert trap.get(headers=fetch("same-origin", mode, dest)).text == "ran"
    assert trap.post(headers=fetch("same-origin", mode, dest)).text == "ran"


ELEMENTS = [
    *(("no-cors", dest) for dest in ("image", "script", "style", "audio", "video", "track", "manifest", "report")),
    *(("cors", dest) for dest in ("image", "font", "script", "audio", "video", "json")),
    *(("navigate", dest) for dest in ("iframe", "frame", "embed", "object", "fencedframe")),
    *(("same-origin", dest) for dest in ("worker", "sharedworker", "serviceworker", "track", "image")),
    *(("websocket", "websocket"), ("no-cors", "xslt"), ("no-cors", ""), ("no-cors", "unheard-of")),
]


@pytest.mark.parametrize(("mode", "dest"), ELEMENTS)
def test_no_element_of_an_own_page_runs_code_that_its_url_brings(
    server: Server, trap: Trap, mode: str, dest: str
) -> None:
    headers = fetch("same-origin", mode, dest)
    answer = trap.get(headers=headers)
    assert trap.is_refused(answer)
    assert "code_id" in answer.text and "fetch()" in answer.text
    b64 = base64.b64encode(trap.code.encode()).decode()
    for query in ({"code_b64": b64}, {"a": "1", "code": trap.code}):
        assert trap.is_refused(server.get("/", params=query, headers=headers))
    assert trap.is_refused(server.post(f"/?{trap.query}", data={"a": "1"}, headers=headers))
    for path in ("/links/", "/remote/", "/origin/"):
        assert trap.is_refused(trap.get(path, headers=headers))


@pytest.mark.parametrize(("mode", "dest"), ELEMENTS)
def test_an_element_of_an_own_page_calls_code_by_its_hash(server: Server, trap: Trap, mode: str, dest: str) -> None:
    code = "def run(_, name='x'): return f'Hello, {name}'"
    assert server.run(code).status_code == 200
    url = f"/?code_id=sha256:{hashlib.sha256(code.encode()).hexdigest()}"
    headers = fetch("same-origin", mode, dest)
    assert server.get(f"{url}&name=owt", headers=headers).text == "Hello, owt"
    # But evaluates nothing.
    spring = f"open({str(trap._file)!r}, 'w').close()"
    kwargs = base64.b64encode(spring.encode()).decode()
    for more in (f"kwargs={quote(spring)}", f"kwargs_b64={quote(kwargs)}", f"k%77args={quote(spring)}"):
        assert trap.is_refused(server.get(f"{url}&{more}", headers=headers))
        assert trap.is_refused(server.get(f"/?{more}&{url[2:]}", headers=headers))


@pytest.mark.parametrize(
    "header",
    [
        ("Accept", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"),
        ("Accept", "text/css,*/*;q=0.1"),
        ("Accept", "video/webm,video/ogg,*/*;q=0.5"),
        ("Range", "bytes=0-"),
    ],
)
@pytest.mark.parametrize("whose", ["Referer", "Origin"])
def test_nor_without_sec_fetch_as_far_as_it_can_be_told(
    server: Server, trap: Trap, header: tuple[str, str], whose: str
) -> None:
    headers = BROWSER | {whose: own(server)} | dict([header])
    answer = trap.get(headers=headers)
    assert trap.is_refused(answer)
    assert "code_id" in answer.text
    assert trap.post(headers=headers).text == "ran"
    del headers["User-Agent"]
    assert trap.get(headers=headers).text in ("ran", "r")  # a program's; with Range, a part


@pytest.mark.parametrize("headers", [fetch("same-origin", "no-cors"), BROWSER])
def test_a_ping_runs_nothing(server: Server, trap: Trap, headers: dict[str, str]) -> None:
    headers = headers | {"Origin": own(server), "Ping-To": "https://evil.example/", "Content-Type": "text/ping"}
    assert trap.is_refused(server.post(f"/?{trap.query}", content="PING", headers=headers))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "weird", "", "Same-Origin ,", "same-origin, none"])
@pytest.mark.parametrize(
    ("mode", "dest"),
    [
        ("no-cors", "image"),
        ("no-cors", "script"),
        ("cors", "empty"),
        ("navigate", "iframe"),
        ("navigate", "embed"),
        ("navigate", "object"),
        ("navigate", "frame"),
        ("websocket", "websocket"),
        ("same-origin", "document"),
        ("navigate", ""),
        ("", "document"),
    ],
)
def test_a_page_elsewhere_is_refused(trap: Trap, site: str, mode: str, dest: str) -> None:
    answer = trap.get(headers=fetch(site, mode, dest))
    assert trap.is_refused(answer)
    assert "owt_allow origin http" in answer.text


@pytest.mark.parametrize("site", ["weird", "", "same-origin,"])
def test_a_navigation_from_a_site_of_no_known_kind_is_refused(trap: Trap, site: str) -> None:
    assert trap.is_refused(trap.get(headers=fetch(site, "navigate", "document")))


@pytest.mark.parametrize("sites", [("same-origin", "cross-site"), ("cross-site", "same-origin")])
def test_two_sites_are_not_better_than_one(trap: Trap, sites: tuple[str, str]) -> None:
    assert trap.is_refused(trap.get(headers=[("Sec-Fetch-Site", site) for site in sites]))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
@pytest.mark.parametrize("send", [Trap.get, Trap.post])
def test_a_navigation_that_posts_is_refused(
    server: Server, trap: Trap, site: str, send: Callable[..., httpx.Response]
) -> None:
    headers = fetch(site, "navigate", "document") | {"Origin": "https://evil.example"}
    assert trap.is_refused(trap.post(f"/?{trap.query}", headers=headers))
    assert trap.is_refused(trap.post("/", headers=headers))


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PROPFIND"])
def test_a_navigation_with_another_method_runs_nothing(server: Server, trap: Trap, method: str) -> None:
    answer = server.client().request(method, f"/?{trap.query}", headers=LINK)
    assert answer.status_code in (403, 405)
    assert not trap.sprung


# ---- the page that asks ----------------------------------------------------------------------------------------------


def is_the_page_that_asks(answer: httpx.Response) -> bool:
    return answer.status_code == 200 and 'class="run"' in answer.text and "data-href=" in answer.text


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_link_that_carries_code_is_asked_about(trap: Trap, site: str) -> None:
    answer = trap.get(headers=fetch(site, "navigate", "document"))
    assert is_the_page_that_asks(answer)
    assert trap.code in html.unescape(answer.text)
    assert "'x'" not in answer.text
    assert not trap.sprung


@pytest.mark.parametrize("name", ["code", "c%6Fde", "%63%6f%64%65"])
def test_no_spelling_of_the_parameter_escapes_the_question(server: Server, trap: Trap, name: str) -> None:
    answer = server.get(f"/?x=1&{name}={quote(trap.code)}", headers=LINK)
    assert is_the_page_that_asks(answer)
    assert not trap.sprung


def test_code_b64_and_its_arguments_are_shown_decoded(server: Server) -> None:
    query = {"code_b64": base64.b64encode(b"def run(a):\n    return '<&>'\n").decode()}
    query["kwargs_b64"] = base64.b64encode(b"{'a': '<script>'}").decode()
    answer = server.get("/?" + urlencode(query), headers=LINK)
    assert is_the_page_that_asks(answer)
    assert "return &#39;&lt;&amp;&gt;&#39;" in answer.text
    assert "{&#39;a&#39;: &#39;&lt;script&gt;&#39;}" in answer.text
    assert "'<script>'" not in answer.text


def test_code_that_is_kept_is_shown(server: Server, trap: Trap) -> None:
    kept = "def run():\n    return 'kept 4711'\n"
    server.run(kept)
    name = hashlib.sha256(kept.encode()).hexdigest()
    answer = server.get(f"/?code_id=sha256:{name}", headers=LINK)
    assert is_the_page_that_asks(answer)
    assert "kept 4711" in answer.text
    answer = server.get(f"/?code_id=sha256:{'0' * 64}", headers=LINK)
    assert is_the_page_that_asks(answer)
    assert "0" * 64 in answer.text


def test_the_button_asks_for_the_same_url(server: Server, trap: Trap) -> None:
    path = f"//evil.example/x%20y?{trap.query}&a=%22%3E%3Cb%3E"
    status, answer = raw(
        server,
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n"
        "Sec-Fetch-Dest: document\r\nConnection: close\r\n\r\n",
    )
    assert status == 200
    target = re.search(r'data-href="([^"]*)"', answer)
    assert target
    reference = html.unescape(target[1])
    assert reference == f"/.{path}"
    assert not trap.sprung


def test_the_page_that_asks_cannot_be_framed_or_kept(trap: Trap) -> None:
    headers = trap.get(headers=LINK).headers
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert all(len(headers.get_list(name)) == 1 for name in headers)


def test_a_broken_link_is_not_asked_about(server: Server) -> None:
    answer = server.get("/?code_b64=!!!", headers=LINK)
    assert answer.status_code == 400


def test_a_link_without_code_goes_on(server: Server) -> None:
    answer = server.get("/?a=1", headers=LINK)
    assert answer.status_code == 400
    assert "code" in answer.text
    assert server.get("/?code=", headers=LINK).status_code == 400


def test_owt_allow_links_runs_them_at_once(trap: Trap) -> None:
    assert trap.get("/links/", headers=LINK).text == "ran"


def test_owt_allow_links_lets_nothing_else_in(trap: Trap) -> None:
    for headers in (fetch("cross-site", "no-cors", "image"), fetch("cross-site", "navigate", "iframe")):
        assert trap.is_refused(trap.get("/links/", headers=headers))
    assert trap.is_refused(trap.post("/links/", headers=LINK | {"Origin": "https://evil.example"}))
    assert trap.is_refused(trap.get("/links/", headers=LINK | {"Sec-Purpose": "prefetch"}))
    assert trap.is_refused(trap.get("/links/", headers=LINK | {"Host": "evil.example"}), 421)


# ---- guesses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Purpose": "prefetch"},
        {"Sec-Purpose": "prefetch;prerender"},
        {"Sec-Purpose": "prefetch;anonymous-client-ip"},
        {"Purpose": "prefetch"},
        {"X-Moz": "prefetch"},
    ],
)
@pytest.mark.parametrize("site", ["same-origin", "cross-site", "none"])
def test_nothing_runs_on_a_guess(trap: Trap, headers: dict[str, str], site: str) -> None:
    assert trap.is_refused(trap.get(headers=fetch(site, "navigate", "document") | headers))


# ---- 4. Origin and Referer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1", "https://127.0.0.1:{port}"),
        *("http://localhost:{port}", "http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:{port}@evil.example"),
        *("http://evil.example:{port}", "http://127.0.0.1:{port}/", "127.0.0.1:{port}", "", "file://", "http://"),
        *("http://127.0.0.1:{port} https://evil.example", "chrome-extension://abcdef", "HTTP://127.0.0.1:{port}x"),
    ],
)
@pytest.mark.parametrize("send", [Trap.get, Trap.post])
def test_a_foreign_origin_is_refused(
    server: Server, trap: Trap, origin: str, send: Callable[..., httpx.Response]
) -> None:
    answer = send(trap, headers={"Origin": origin.format(port=server.port)})
    assert trap.is_refused(answer)


@pytest.mark.parametrize("origin", ["https://evil.example", "http://evil.example:8080", "chrome-extension://abcdef"])
def test_the_refusal_names_the_line_that_would_allow_the_origin(trap: Trap, origin: str) -> None:
    assert f"\n    owt_allow origin {origin};\n" in trap.post(headers={"Origin": origin}).text


def test_origin_null_is_told_what_to_do(trap: Trap) -> None:
    answer = trap.post(headers={"Origin": "null"})
    assert "owt_allow origin http" in answer.text
    assert "owt_allow origin null" not in answer.text


@pytest.mark.parametrize(
    "origin", ["https://evil.example; owt_guard off", "https://a{b", "https://<b>", "https://*.example", "https://a\\b"]
)
def test_no_origin_puts_words_into_the_configuration(trap: Trap, origin: str) -> None:
    answer = trap.post(headers={"Origin": origin})
    assert trap.is_refused(answer)
    assert f"owt_allow origin {origin}" not in answer.text


def test_two_origins_are_not_better_than_one(server: Server, trap: Trap) -> None:
    for pair in ((own(server), "https://evil.example"), ("https://evil.example", own(server))):
        assert trap.is_refused(trap.post(headers=[("Origin", origin) for origin in pair]))


@pytest.mark.parametrize(
    "referer",
    [
        *("https://evil.example/", "http://127.0.0.1:{port}.evil.example/", "http://127.0.0.1:{port}@evil.example/"),
        *("http://127.0.0.1:1/", "https://127.0.0.1:{port}/", "http://evil.example/http://127.0.0.1:{port}/", "x"),
        *("//127.0.0.1:{port}/", "http://evil.example?http://127.0.0.1:{port}", "http:\\\\127.0.0.1:{port}\\"),
    ],
)
def test_a_foreign_referer_is_refused(server: Server, trap: Trap, referer: str) -> None:
    assert trap.is_refused(trap.get(headers={"Referer": referer.format(port=server.port)}))


@pytest.mark.parametrize("names", [["Referer"], ["Origin"], ["Origin", "Referer"]])
def test_an_own_page_passes_without_sec_fetch(server: Server, trap: Trap, names: list[str]) -> None:
    values = {"Referer": own(server) + "/page?x=y#z", "Origin": own(server)}
    headers = {name: values[name] for name in names}
    assert trap.post(headers=headers).text == "ran"
    assert trap.get(headers=headers | BROWSER).text == "ran"


def test_a_browser_that_does_not_say_for_whom_is_refused(trap: Trap) -> None:
    answer = trap.get(headers=BROWSER)
    assert trap.is_refused(answer)
    assert "owt_allow origin" in answer.text


@pytest.mark.parametrize("agent", [BROWSER, {}])
def test_a_browser_s_link_without_sec_fetch_is_asked_about(trap: Trap, agent: dict[str, str]) -> None:
    assert is_the_page_that_asks(trap.get(headers=agent | {"Upgrade-Insecure-Requests": "1"}))
    assert not trap.sprung


def test_a_browser_s_link_from_another_page_is_asked_about(trap: Trap) -> None:
    headers = BROWSER | {"Upgrade-Insecure-Requests": "1", "Referer": "https://evil.example/"}
    assert is_the_page_that_asks(trap.get(headers=headers))
    assert not trap.sprung


def test_a_browser_s_own_link_without_sec_fetch_runs(server: Server, trap: Trap) -> None:
    headers = BROWSER | {"Upgrade-Insecure-Requests": "1", "Referer": own(server) + "/page"}
    assert trap.get(headers=headers).text == "ran"


def test_a_form_of_another_page_without_sec_fetch_is_refused(trap: Trap) -> None:
    headers = BROWSER | {"Upgrade-Insecure-Requests": "1", "Origin": "http://evil.example"}
    assert trap.is_refused(trap.post(headers=headers))


# ---- 6. CORS ---------------------------------------------------------------------------------------------------------

APP = {"Origin": "https://app.example"}
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, x-my-own"}


def words(answer: httpx.Response, name: str) -> set[str]:
    return {word.strip().lower() for value in answer.headers.get_list(name) for word in value.split(",")}


@pytest.mark.parametrize("origin", ["https://app.example", "http://tool.example:8080"])
@pytest.mark.parametrize("more", [{}, fetch("cross-site")])
def test_an_allowed_origin_runs_code_and_reads_the_answer(trap: Trap, origin: str, more: dict[str, str]) -> None:
    answer = trap.post("/origin/", headers={"Origin": origin} | more)
    assert answer.text == "ran"
    assert answer.headers.get_list("Access-Control-Allow-Origin") == [origin]
    assert "origin" in words(answer, "Vary")
    assert "Cross-Origin-Resource-Policy" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    [
        *("http://app.example", "https://app.example:8443", "https://app.example.evil.example", "https://xapp.example"),
        *("http://tool.example", "https://evil.example", "null", "https://a.app.example"),
    ],
)
def test_only_the_exact_origin_is_allowed(trap: Trap, origin: str) -> None:
    answer = trap.post("/origin/", headers={"Origin": origin})
    assert trap.is_refused(answer)
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "origin" in words(answer, "Vary")
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_an_allowed_origin_reads_errors_too(server: Server) -> None:
    for code, status in (("def run(: pass", 400), ("def run(): 1/0", 500)):
        answer = server.post("/origin/", data={"code": code}, headers=APP)
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"


def test_answers_vary_by_origin_whoever_asks(server: Server) -> None:
    assert "origin" in words(server.run("def run(): return 1", path="/origin/"), "Vary")
    assert "origin" not in words(server.run("def run(): return 1"), "Vary")


def test_an_adaptor_s_vary_is_added_to(server: Server) -> None:
    answer = server.run("def run(): return 'x', {'Vary': 'Accept-Language'}", path="/origin/")
    assert {"origin", "accept-language"} <= words(answer, "Vary")


def test_a_preflight_of_an_allowed_origin_is_answered(server: Server, trap: Trap) -> None:
    answer = server.client().options(f"/origin/?{trap.query}", headers=APP | PREFLIGHT | fetch("cross-site"))
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert {"get", "post"} <= words(answer, "Access-Control-Allow-Methods")
    assert {"content-type", "x-my-own"} <= words(answer, "Access-Control-Allow-Headers")
    assert "origin" in words(answer, "Vary")
    assert "Cross-Origin-Resource-Policy" not in answer.headers
    assert not trap.sprung


@pytest.mark.parametrize("path", ["/", "/origin/"])
def test_any_other_preflight_is_a_405(server: Server, trap: Trap, path: str) -> None:
    headers = {"Origin": "https://evil.example"} | PREFLIGHT
    answer = server.client().options(f"{path}?{trap.query}", headers=headers)
    assert trap.is_refused(answer, 405)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["Allow"]


@pytest.mark.parametrize("headers", [{}, APP, APP | fetch("cross-site")])
def test_options_that_is_no_preflight_is_a_405(server: Server, trap: Trap, headers: dict[str, str]) -> None:
    assert trap.is_refused(server.client().options(f"/origin/?{trap.query}", headers=headers), 405)


def test_a_preflight_s_headers_are_told_back_only_if_they_are_names(server: Server) -> None:
    asked = APP | PREFLIGHT | {"Access-Control-Request-Headers": "a, <b>"}
    answer = server.client().options("/origin/", headers=asked)
    assert "Access-Control-Allow-Headers" not in answer.headers


def test_owt_allow_origin_lets_nothing_else_in(trap: Trap) -> None:
    assert trap.is_refused(trap.post("/origin/", headers=APP | CLIENTS["remote"]))
    assert trap.is_refused(trap.post("/origin/", headers=APP | CLIENTS["rebound"]), 421)
    assert trap.is_refused(trap.post("/origin/", headers=APP | CLIENTS["prefetch"]))
    assert trap.is_refused(trap.get("/origin/", headers=fetch("cross-site", "no-cors", "image")))


def test_a_preflight_passes_a_login(server: Server, trap: Trap) -> None:
    asked = APP | PREFLIGHT | {"Access-Control-Request-Headers": "authorization"}
    answer = server.client().options("/login-origin/", headers=asked)
    assert answer.status_code == 204
    assert "authorization" in words(answer, "Access-Control-Allow-Headers")
    answer = trap.post("/login-origin/", headers=APP)
    assert trap.is_refused(answer, 401)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert trap.post("/login-origin/", headers=APP | basic("alice", "open sesame")).text == "ran"


# What no page can send before its browser has asked.
ASKED = [{"Content-Type": "application/json"}, {"Content-Type": "Application/JSON; charset=utf-8"}, {"X-Owt": "1"}]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("more", [{}, fetch("cross-site"), fetch("same-site")])
def test_any_origin_may_be_allowed_to_those_who_log_in(
    trap: Trap, server: Server, asked: dict[str, str], more: dict[str, str]
) -> None:
    headers = {"Origin": "https://evil.example"} | asked | more
    body = json.dumps({"code": trap.code}) if "Content-Type" in asked else urlencode({"code": trap.code})
    headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
    answer = server.post("/login-any-origin/", content=body, headers=headers)
    assert trap.is_refused(answer, 401)
    answer = server.post("/login-any-origin/", content=body, headers=headers | basic("alice", "open sesame"))
    assert answer.text == "ran"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "http://127.0.0.1:1", "http://a.127.0.0.1.example"])
@pytest.mark.parametrize("more", [{}, fetch("cross-site"), fetch("same-site")])
@pytest.mark.parametrize(
    "type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "text/plain;charset=x"],
)
def test_the_password_that_a_browser_sends_by_itself_is_not_the_page_s(
    trap: Trap, server: Server, origin: str, more: dict[str, str], type: str
) -> None:
    """As fetch() does with credentials, from a page of another port: the question was not asked."""
    headers = {"Origin": origin, "Content-Type": type} | more | basic("alice", "open sesame")
    multipart = f'--b\r\nContent-Disposition: form-data; name="code"\r\n\r\n{trap.code}\r\n--b--\r\n'
    bodies = {"t": json.dumps({"code": trap.code}), "a": urlencode({"code": trap.code}), "m": multipart}
    answer = server.post("/login-any-origin/", content=bodies[type[0]], headers=headers)
    assert trap.is_refused(answer)
    assert "Content-Type: application/json" in answer.text and "X-Owt: 1" in answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == "*"  # so that its script can read that
    assert trap.is_refused(trap.get("/login-any-origin/", headers=headers))


def test_own_pages_need_not_ask_where_any_origin_is_allowed(server: Server, trap: Trap) -> None:
    login = basic("alice", "open sesame")
    for more in ({}, fetch("same-origin"), fetch("same-origin", "navigate", "document")):
        assert trap.post("/login-any-origin/", headers={"Origin": own(server)} | more | login).text == "ran"


def test_a_preflight_of_any_origin_is_answered_without_a_password(server: Server, trap: Trap) -> None:
    asked = {"Origin": "http://127.0.0.1:1", **PREFLIGHT, "Access-Control-Request-Headers": "authorization,x-owt"}
    answer = server.client().options("/login-any-origin/", headers=asked | fetch("same-site"))
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"  # which no browser takes for a yes to its passwords
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert {"authorization", "x-owt"} == words(answer, "Access-Control-Allow-Headers")


def test_any_origin_does_not_mean_forms_which_bring_the_password_by_themselves(trap: Trap) -> None:
    for more in (fetch("cross-site", "navigate", "document"), {"Upgrade-Insecure-Requests": "1"}):
        headers = {"Origin": "https://evil.example"} | basic("alice", "open sesame") | more
        assert trap.is_refused(trap.post("/login-any-origin/", headers=headers))


# ---- 7. logins -------------------------------------------------------------------------------------------------------


def test_the_right_password_runs_code(trap: Trap) -> None:
    assert trap.get("/login/", headers=basic("alice", "open sesame")).text == "ran"


@pytest.mark.parametrize("who", [("alice", "Open sesame"), ("alice", ""), ("alice", ALICE[6:]), ("", "open sesame")])
def test_a_wrong_password_runs_nothing(trap: Trap, who: tuple[str, str]) -> None:
    answer = trap.get("/login/", headers=basic(*who))
    assert trap.is_refused(answer, 401)
    assert [value.split()[0] for value in answer.headers.get_list("WWW-Authenticate")] == ["Basic"]
    assert "owt_auth" in answer.text


@pytest.mark.parametrize("who", ["mallory", "Alice", "alice ", "alice\0", "bob"])
def test_an_unknown_user_gets_the_same_answer(trap: Trap, who: str) -> None:
    answer = trap.get("/login/", headers=basic(who, "open sesame"))
    assert trap.is_refused(answer, 401)
    assert answer.text == trap.get("/login/", headers=basic("alice", "no")).text


def test_nobody_gets_the_same_answer(trap: Trap) -> None:
    answer = trap.get("/login/")
    assert trap.is_refused(answer, 401)
    assert answer.text == trap.get("/login/", headers=basic("alice", "no")).text


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic",
        "Basic =",
        "Basic ====",
        "Basic !!!!",
        "Basic YWxpY2U=",
        "Bearer YWxpY2U6b3BlbiBzZXNhbWU=",
        *("YWxpY2U6b3BlbiBzZXNhbWU=", "BasicYWxpY2U6b3BlbiBzZXNhbWU=", "Basic YWxp Y2U6b3BlbiBzZXNhbWU=", "Basic Og=="),
        *("Basic " + "A" * 30000, "Digest username=alice", "Basic YWxpY2U6b3BlbiBzZXNhbWU=x", "Negotiate x"),
    ],
)
def test_a_malformed_login_is_none(trap: Trap, value: str) -> None:
    assert trap.is_refused(trap.get("/login/", headers={"Authorization": value}), 401)


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "Basic "])
def test_the_scheme_is_any_case(trap: Trap, scheme: str) -> None:
    token = base64.b64encode(b"alice:open sesame").decode()
    assert trap.get("/login/", headers={"Authorization": f"{scheme} {token}"}).text == "ran"


@pytest.mark.parametrize("who", [("alice", "open sesame"), ("bob", "b:o:b"), ("carol", "Zürich")])
def test_each_of_several_users_has_a_password(trap: Trap, who: tuple[str, str]) -> None:
    assert trap.get("/logins/", headers=basic(*who)).text == "ran"


def test_one_user_s_password_is_not_another_s(trap: Trap) -> None:
    assert trap.is_refused(trap.get("/logins/", headers=basic("bob", "open sesame")), 401)


def test_a_login_lets_remote_clients_in(trap: Trap) -> None:
    headers = basic("alice", "open sesame") | CLIENTS["remote"]
    assert trap.get("/login/", headers=headers).text == "ran"


def test_a_remote_client_without_the_password_runs_nothing(trap: Trap) -> None:
    assert trap.is_refused(trap.get("/login/", headers=CLIENTS["remote"]), 401)


@pytest.mark.parametrize(("who", "status"), [("rebound", 421), ("page", 403), ("image", 403), ("prefetch", 403)])
def test_a_password_does_not_open_to_pages(trap: Trap, who: str, status: int) -> None:
    assert trap.is_refused(trap.get("/login/", headers=CLIENTS[who] | basic("alice", "open sesame")), status)


def test_a_link_is_asked_about_although_the_browser_brings_the_password(trap: Trap) -> None:
    answer = trap.get("/login/", headers=LINK | basic("alice", "open sesame"))
    assert is_the_page_that_asks(answer)
    assert not trap.sprung


def test_owt_auth_is_inherited_and_replaced(server: Server, trap: Trap) -> None:
    client = server.client(f"http://127.0.0.1:{server.port_of('port5')}")
    alice, bob = basic("alice", "open sesame"), basic("bob", "b:o:b")
    for path in ("/", "/inner/", "/inner/most/", "/allows/"):
        assert trap.get(path, client=client).status_code == 401, path
        assert trap.get(path, headers=bob, client=client).status_code == 401, path
        assert trap.get(path, headers=alice, client=client).text == "ran", path
    assert trap.get("/other/", headers=alice, client=client).status_code == 401
    assert trap.get("/other/", headers=bob, client=client).text == "ran"


def test_owt_auth_holds_wherever_it_is_inherited(server: Server) -> None:
    client = server.client(f"http://127.0.0.1:{server.port_of('port5')}")
    assert client.get("/plain").status_code == 401
    assert client.get("/plain", headers=basic("alice", "open sesame")).text == "a page"


def test_owt_allow_is_inherited_and_replaced(server: Server, trap: Trap) -> None:
    client = server.client(f"http://127.0.0.1:{server.port_of('port5')}")
    headers = basic("alice", "open sesame") | {"Host": "lab.example"}
    assert trap.get("/inner/", headers=headers, client=client).text == "ran"
    assert trap.get("/allows/", headers=headers, client=client).status_code == 421


def test_satisfy_any_takes_an_address_for_a_password(trap: Trap) -> None:
    assert trap.get("/login-or-local/").text == "ran"
    assert trap.get("/login-or-nobody/", headers=basic("alice", "open sesame")).text == "ran"


@pytest.mark.parametrize("headers", [{}, basic("alice", "wrong"), basic("mallory", "open sesame")])
def test_satisfy_any_without_either_runs_nothing(trap: Trap, headers: dict[str, str]) -> None:
    answer = trap.get("/login-or-nobody/", headers=headers)
    assert answer.status_code in (401, 403)
    assert not trap.sprung


@pytest.mark.parametrize("path", ["/login-or-local/", "/login-or-nobody/"])
@pytest.mark.parametrize(("who", "status"), [("rebound", 421), ("page", 403), ("image", 403), ("prefetch", 403)])
def test_satisfy_any_does_not_open_to_pages(trap: Trap, path: str, who: str, status: int) -> None:
    assert trap.is_refused(trap.get(path, headers=CLIENTS[who] | basic("alice", "open sesame")), status)


def test_auth_basic_with_a_slow_hash_works_beside_owt_allow_remote(trap: Trap) -> None:
    assert trap.is_refused(trap.get("/basic/", headers=CLIENTS["remote"]), 401)
    assert trap.is_refused(trap.get("/basic/", headers=CLIENTS["remote"] | basic("dave", "wrong")), 401)
    assert trap.get("/basic/", headers=CLIENTS["remote"] | basic("dave", "slow hash")).text == "ran"


# ---- by whatever way a request comes to the code ---------------------------------------------------------------------

WAYS = ["/any/", "/if/", "/excepted/", "/try/", "/named/", "/rewritten/", "/error/", "/error-named/", "/accel/"]


@pytest.mark.parametrize("path", WAYS)
def test_a_way_to_the_code_is_open_to_this_machine(trap: Trap, path: str) -> None:
    assert trap.get(path).text == "ran"


def test_an_if_block_may_have_a_handler_of_its_own(trap: Trap) -> None:
    assert trap.get("/if-proxy/").text == "proxied"
    assert trap.is_refused(trap.get("/if-proxy/", headers=CLIENTS["page"]))


@hostile
@pytest.mark.parametrize("path", WAYS)
def test_no_way_leads_around_the_guard(trap: Trap, path: str, headers: dict[str, str]) -> None:
    answer = trap.get(path, headers=headers)
    assert not trap.sprung
    assert answer.status_code in (403, 421)


@pytest.mark.parametrize("path", WAYS)
def test_every_way_asks_about_a_link(trap: Trap, path: str) -> None:
    answer = trap.get(path, headers=LINK)
    assert not trap.sprung
    assert is_the_page_that_asks(answer)


@pytest.mark.parametrize("path", ["/ssi/page.html", "/mirrored/", "/judged/"])
def test_a_subrequest_for_this_machine_runs_code(server: Server, trap: Trap, path: str) -> None:
    answer = trap.get(path)
    assert answer.status_code == 200
    assert answer.text == ("ran" if "ssi" in path else "a page")
    assert trap.sprung


@hostile
@pytest.mark.parametrize("path", ["/ssi/page.html", "/mirrored/", "/judged/"])
def test_no_subrequest_leads_around_the_guard(server: Server, trap: Trap, path: str, headers: dict[str, str]) -> None:
    offset = len(server.error_log)
    answer = trap.get(path, headers=headers)
    server.wait_log("the guard refuses", after=offset)
    assert not trap.sprung
    if "judged" in path:
        assert answer.status_code != 200


@pytest.mark.parametrize("path", ["/ssi/page.html", "/mirrored/", "/judged/"])
def test_a_subrequest_runs_nothing_for_a_link_and_asks_nothing(server: Server, trap: Trap, path: str) -> None:
    """The page that asks is not what was asked for, and no judgement: nobody has looked at the code."""
    answer = trap.get(path, headers=LINK)
    assert not trap.sprung
    assert "data-href=" not in answer.text
    if "judged" in path:
        assert answer.status_code != 200


@pytest.mark.parametrize("path", ["/ssi-login/page.html", "/mirrored-login/", "/judged-login/"])
@pytest.mark.parametrize("headers", [{}, basic("alice", "wrong"), CLIENTS["remote"]], ids=["local", "wrong", "remote"])
def test_no_subrequest_leads_around_a_login(server: Server, trap: Trap, path: str, headers: dict[str, str]) -> None:
    answer = trap.get(path, headers=headers)
    assert not trap.sprung
    if "judged" in path:
        assert answer.status_code != 200


@pytest.mark.parametrize("path", ["/ssi-login/page.html", "/mirrored-login/", "/judged-login/"])
def test_a_subrequest_with_the_password_runs_code(server: Server, trap: Trap, path: str) -> None:
    assert trap.get(path, headers=basic("alice", "open sesame")).status_code == 200
    wait_until(lambda: trap.sprung, "the subrequest to run")


# ---- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"User-Agent": "curl/8"}, {"Sec-Fetch-Mode": "cors", "User-Agent": "node"}])
def test_strictly_a_url_that_names_code_has_to_be_meant(server: Server, trap: Trap, more: dict[str, str]) -> None:
    for answer in (
        trap.get("/strict/", headers=more),
        server.post(f"/strict/?{trap.query}", content="x", headers=more),  # by a 307
        server.client().head(f"/strict/?{trap.query}", headers=more),
    ):
        assert trap.is_refused(answer)
    assert "X-Owt: 1" in trap.get("/strict/", headers=more).text
    assert trap.post("/strict/", headers=more).text == "ran"
    assert trap.get("/strict/", headers=more | {"X-Owt": "1"}).text == "ran"


def test_strictness_asks_no_more_of_pages(server: Server, trap: Trap) -> None:
    assert is_the_page_that_asks(trap.get("/strict/", headers=LINK))
    assert not trap.sprung
    assert trap.get("/strict/", headers=fetch("same-origin", "navigate", "document")).text == "ran"
    assert trap.get("/strict/", headers=fetch("same-origin")).text == "ran"


def test_strictness_opens_nothing(trap: Trap) -> None:
    for headers in CLIENTS.values():
        answer = trap.get("/strict/", headers=headers | {"X-Owt": "1"})
        assert trap.is_refused(answer, 421 if "Host" in headers else 403)


def test_owt_guard_off_guards_nothing(trap: Trap) -> None:
    for headers in CLIENTS.values():
        assert trap.get("/off/", headers=headers).text == "ran"


# ---- 8. headers of every answer --------------------------------------------------------------------------------------

PROTECTION = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("def run(): return 'x'", 200),
        ("def run(): return None", 200),
        ("def run():\n    yield 'x'", 200),
        ("import pathlib, owt\ndef run(): return pathlib.Path(owt.__file__)", 200),
        ("def run(): return 'x', 404", 404),
        ("def run(: pass", 400),
        ("def run(): 1/0", 500),
    ],
)
def test_every_answer_protects_itself(server: Server, code: str, status: int) -> None:
    answer = server.run(code)
    assert answer.status_code == status
    for name, value in PROTECTION.items():
        assert answer.headers.get_list(name) == [value], name


@hostile
def test_every_refusal_protects_itself(trap: Trap, headers: dict[str, str]) -> None:
    answer = trap.get(headers=headers)
    for name, value in PROTECTION.items():
        assert answer.headers.get_list(name) == [value], name


def test_a_login_that_fails_protects_itself(trap: Trap) -> None:
    answer = trap.get("/login/")
    for name, value in PROTECTION.items():
        assert answer.headers.get_list(name) == [value], name


def test_an_adaptor_sets_these_headers_as_it_likes(server: Server) -> None:
    given = {
        "X-Content-Type-Options": "x",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "referrer-policy": "no-referrer",
        "cache-control": "max-age=60",
    }
    answer = server.run(f"def run(): return 'x', {given!r}")
    for name, value in given.items():
        assert answer.headers.get_list(name) == [value], name


def test_a_page_of_nginx_s_own_has_none_of_them(server: Server) -> None:
    assert not PROTECTION.keys() & {name.title() for name in server.get("/elsewhere").headers}


# ---- refusals --------------------------------------------------------------------------------------------------------


@hostile
@pytest.mark.parametrize("more", ["", "Expect: 100-continue\r\n"])
def test_a_refusal_does_not_wait_for_a_body(server: Server, headers: dict[str, str], more: str) -> None:
    fields = "".join(f"{name}: {value}\r\n" for name, value in ({"Host": "localhost"} | headers).items())
    with server.connect() as client:
        client.sendall(
            f"POST / HTTP/1.1\r\n{fields}{more}Content-Type: application/json\r\n"
            f"Content-Length: {1 << 30}\r\n\r\n{{".encode()
        )
        lines = client.makefile("rb")
        # nginx answers Expect before whatever it has to say.
        status = next(line for line in lines if line.startswith(b"HTTP/") and b" 100 " not in line)
    assert status.split()[1] == (b"421" if "Host" in headers else b"403")


def test_a_login_does_not_wait_for_a_body(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"POST /login/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n{")
        assert client.makefile("rb").readline().split()[1] == b"401"


def test_a_refusal_writes_no_body_to_a_file(server: Server) -> None:
    with server.connect() as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nContent-Length: 4000000\r\n\r\n"
            + b"x" * 4000000
        )
        assert client.makefile("rb").readline().split()[1] == b"421"
    assert not list((server.dir / "body").iterdir())
    assert "buffered to a temporary file" not in server.error_log


def test_a_refusal_is_json_for_who_prefers_it(trap: Trap) -> None:
    answer = trap.get(headers=CLIENTS["remote"] | {"Accept": "application/json"})
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "owt_allow remote;" in json.loads(answer.text)["detail"]


def test_a_refusal_leaves_the_connection_in_order(server: Server, trap: Trap) -> None:
    client = server.client()
    for _ in range(3):
        assert client.post("/", data={"code": trap.code}, headers=CLIENTS["page"]).status_code == 403
        assert client.post("/", data={"code": "def run(): return 'fine'"}).text == "fine"


# ---- configuration ---------------------------------------------------------------------------------------------------


def check(http: str) -> subprocess.CompletedProcess[str]:
    server = Server(http)
    try:
        return server.test_conf()
    finally:
        server.close()


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:{port}", "{port}", "[::]:{port} ipv6only=off", "*:{port}", "127.0.0.1:{port2}; listen {port}"]
)
@pytest.mark.parametrize("lines", ["owt;", "owt; owt_allow links;", "owt_guard on; proxy_pass http://127.0.0.1:1;"])
def test_a_listener_that_others_reach_is_warned_of(listen: str, lines: str) -> None:
    if "[" in listen and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    done = check(f"server {{ listen {listen}; location / {{ {lines} }} }}")
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if "[warn]" in line]
    assert len(warnings) == 1, done.stderr
    assert "owt_auth" in warnings[0]
    assert "owt_allow remote" in warnings[0]
    assert re.search(r"(0\.0\.0\.0|\[::\]):\d+", warnings[0])


@pytest.mark.parametrize(
    "conf",
    [
        "server {{ listen 127.0.0.1:{{port}}; listen unix:{{dir}}/x.sock; location / {{ owt; }} }}",
        "server {{ listen 127.77.1.2:{{port}}; location / {{ owt; }} }}",
        "server {{ listen {{port}}; location / {{ owt; owt_auth {ALICE}; }} }}",
        "server {{ listen {{port}}; owt_allow remote; location / {{ owt; }} }}",
        "server {{ listen {{port}}; location / {{ return 200; }} }} "
        "server {{ listen 127.0.0.1:{{port2}}; location / {{ owt; }} }}",
    ],
)
def test_what_needs_no_warning_gets_none(conf: str) -> None:
    done = check(conf.format(ALICE=ALICE))
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_one_open_location_among_protected_ones_is_warned_of() -> None:
    done = check(
        f"server {{ listen {{port}}; owt_auth {ALICE}; location / {{ owt; }} }}\n"
        "server { listen {port}; server_name b; location / { owt; } }"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("[warn]") == 1


def test_a_guard_that_is_off_where_others_reach_it_is_warned_of() -> None:
    done = check("server { listen {port}; location / { owt; owt_guard off; } }")
    assert done.returncode == 0, done.stderr
    assert "[warn]" in done.stderr
    assert "owt_guard off" in done.stderr


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("owt_allow;", "number of arguments"),
        ("owt_allow everything;", '"remote", "links", "http10", "host name ..." or "origin origin ..."'),
        ("owt_allow remote now;", '"remote"'),
        ("owt_allow links please;", '"links"'),
        ("owt_allow host;", '"host name ..."'),
        ("owt_allow origin;", '"origin origin ..."'),
        ("owt_allow host http://lab.example;", "host alone"),
        ("owt_allow host lab.example:80;", "port"),
        ("owt_allow host *.example;", "'*.example'"),
        ("owt_allow host good.example 127.1;", "'127.1'"),
        ("owt_allow host 0.0.0.0;", "no machine"),
        ('owt_allow host "";', "no host"),
        ("owt_allow origin app.example;", "scheme"),
        ("owt_allow origin https://app.example/;", "path"),
        ("owt_allow origin https://*.example;", "exactly"),
        ("owt_allow origin null;", "null"),
        ("owt_allow origin *;", "owt_auth"),
        ("owt_auth;", "number of arguments"),
        ("owt_auth hunter2;", "colon"),
        ("owt_auth alice:hunter2;", "SHA-256"),
        (f"owt_auth :{'0' * 64};", "user"),
        (f"owt_auth alice:{'0' * 63};", "SHA-256"),
        (f"owt_auth {ALICE} bob;", "colon"),
        (f"owt_auth alice:{hashlib.sha256(b'').hexdigest()};", "empty"),
        ("owt_guard maybe;", "maybe"),
        ("owt_allow http10 please;", '"http10"'),
        ("owt_guard on; owt_guard off;", "duplicate"),
    ],
)
@pytest.mark.parametrize("level", ["http", "server", "location"])
def test_a_mistake_is_told_with_its_line(line: str, complaint: str, level: str) -> None:
    lines = {"http": "", "server": "", "location": ""} | {level: line}
    server = Server(
        f"{lines['http']}\nserver {{\nlisten 127.0.0.1:{{port}};\n{lines['server']}\nlocation / {{\nowt;\n"
        f"{lines['location']}\n}}\n}}\n"
    )
    number = server.conf.splitlines().index(line) + 1
    done = server.test_conf()
    server.close()
    assert done.returncode != 0
    errors = [text for text in done.stderr.splitlines() if "[emerg]" in text]
    assert len(errors) == 1, done.stderr
    assert complaint in errors[0]
    assert errors[0].endswith(f"nginx.conf:{number}")
    assert "hunter2" not in done.stderr  # a password by mistake


def test_any_origin_is_accepted_beside_owt_auth() -> None:
    done = check(f"owt_auth {ALICE}; server {{ listen 127.0.0.1:{{port}}; location / {{ owt; owt_allow origin *; }} }}")
    assert done.returncode == 0, done.stderr


# ---- another machine -------------------------------------------------------------------------------------------------


class Elsewhere(Server):
    """nginx in a network namespace."""

    def __init__(self, namespace: str, http: str) -> None:
        self._namespace = namespace
        super().__init__(http)

    def command(self, *arguments: str) -> list[str]:
        return ["ip", "netns", "exec", self._namespace, *super().command(*arguments)]


class Network:
    """Two machines with a wire between them: 10.213.7.1 serves, 10.213.7.2 asks."""

    def __init__(self) -> None:
        self.here, self.there = f"owt-s{os.getpid()}", f"owt-c{os.getpid()}"

    def __enter__(self) -> Network:
        for namespace in (self.here, self.there):
            self._ip("netns", "add", namespace)
        self._ip("-n", self.here, "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", self.there)
        for namespace, address in ((self.here, "10.213.7.1/24"), (self.there, "10.213.7.2/24")):
            self._ip("-n", namespace, "address", "add", address, "dev", "wire")
            self._ip("-n", namespace, "link", "set", "wire", "up")
            self._ip("-n", namespace, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for namespace in (self.here, self.there):
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True)

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def ask(self, namespace: str, url: str, *arguments: str) -> tuple[int, str]:
        """curl there: status and text."""
        command = ["ip", "netns", "exec", namespace, "curl", "-qsS", "--noproxy", "*", "--max-time", str(10 * SLOW)]
        done = subprocess.run([*command, "-w", "\n%{http_code}", *arguments, url], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        text, _, status = done.stdout.rpartition("\n")
        return int(status), text


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    network = Network()
    try:
        network.__enter__()
    except (OSError, subprocess.CalledProcessError) as error:
        network.__exit__()
        pytest.skip(f"no network namespaces here: {error}")
    yield network
    network.__exit__()


@pytest.fixture(scope="module")
def remote(network: Network) -> Iterator[Server]:
    with Elsewhere(
        network.here,
        f"""
        owt_instance default {{ threads 1; }}
        client_max_body_size 2g;
        server {{
            listen 9876;
            location / {{ owt; }}
            location /login/ {{ owt; owt_auth {ALICE}; }}
            location /allowed/ {{ owt; owt_allow remote; allow 10.213.7.2; deny all; }}
            location /denied/ {{ owt; owt_allow remote; deny 10.213.7.2; }}
            location /either/ {{ owt; satisfy any; allow 10.213.7.2; deny all; }}
        }}
        """,
    ) as server:
        yield server


PAGE = "http://10.213.7.1:9876"
FORM = ["--form-string", "code=def run(): return 'ran'"]


def test_another_machine_is_refused(network: Network, remote: Server) -> None:
    status, text = network.ask(network.there, f"{PAGE}/", *FORM)
    assert status == 403
    assert "10.213.7.2" in text
    assert "owt_allow remote;" in text


def test_this_machine_by_its_outer_address_is_refused(network: Network, remote: Server) -> None:
    assert network.ask(network.here, f"{PAGE}/", *FORM)[0] == 403
    assert network.ask(network.here, "http://127.0.0.1:9876/", *FORM) == (200, "ran")


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For: 127.0.0.1",
        "X-Real-IP: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "Host: localhost",
        "Host: 127.0.0.1",
    ],
)
def test_another_machine_cannot_claim_to_be_this_one(network: Network, remote: Server, header: str) -> None:
    assert network.ask(network.there, f"{PAGE}/", "-H", header, *FORM)[0] == 403


def test_another_machine_passes_with_a_password(network: Network, remote: Server) -> None:
    assert network.ask(network.there, f"{PAGE}/login/", "-u", "alice:open sesame", *FORM) == (200, "ran")
    assert network.ask(network.there, f"{PAGE}/login/", "-u", "alice:wrong", *FORM)[0] == 401
    assert network.ask(network.there, f"{PAGE}/login/", *FORM)[0] == 401


def test_another_machine_with_a_password_still_has_to_know_the_host(network: Network, remote: Server) -> None:
    for host in ("evil.example", "10.213.7.2"):
        arguments = ["-H", f"Host: {host}", "-u", "alice:open sesame", *FORM]
        assert network.ask(network.there, f"{PAGE}/login/", *arguments)[0] == 421


def test_another_machine_passes_where_nginx_allows_it(network: Network, remote: Server) -> None:
    assert network.ask(network.there, f"{PAGE}/allowed/", *FORM) == (200, "ran")
    assert network.ask(network.there, f"{PAGE}/denied/", *FORM)[0] == 403


def test_allow_and_satisfy_alone_do_not_let_another_machine_in(network: Network, remote: Server) -> None:
    status, text = network.ask(network.there, f"{PAGE}/either/", *FORM)
    assert status == 403
    assert "owt_allow remote;" in text
