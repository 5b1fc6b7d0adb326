"""Who may run code: the guard and owt_auth where nginx calls them, and what answers say to browsers."""

import hashlib
import subprocess
from collections.abc import Callable

import pytest
from harness import Server

LOGIN = f"ann:{hashlib.sha256(b'secret').hexdigest()}"

CONF = f"""
server {{
    listen 127.0.0.1:{{port}};
    listen 127.0.0.1:{{port2}} proxy_protocol;
    listen unix:{{dir}}/owt.sock;
    server_name known.example;
    ssi on;
    location / {{ owt; }}
    location /login/ {{ owt; owt_auth {LOGIN}; }}
    location /any/ {{ owt; owt_auth {LOGIN}; satisfy any; deny all; }}
    location /near/ {{ owt; owt_auth {LOGIN}; satisfy any; allow 127.0.0.1; deny all; }}
    location /remote/ {{ owt; owt_allow remote; }}
    location /friends/ {{ owt; owt_allow host friend.example; owt_allow origin https://app.example; }}
    location /links/ {{ owt; owt_allow links; }}
    location /open/ {{ owt; owt_guard off; }}
    location /front/ {{ proxy_pass http://unix:{{dir}}/owt.sock:/; proxy_set_header X-Forwarded-For $remote_addr;
                        proxy_http_version 1.1;
                        proxy_set_header Host $http_host; owt_guard on; }}
    location /careless/ {{ proxy_pass http://unix:{{dir}}/owt.sock:/; proxy_set_header Host $http_host; }}
    location /inner {{ internal; owt; }}
    location /sub {{ auth_request /inner; empty_gif; }}
    location /if/ {{ owt; if ($args ~ code) {{ set $x 1; }} }}
    location /authed/ {{ owt; owt_auth {LOGIN}; }}
    location /pub {{ auth_request /authed/; empty_gif; }}
    location /asks {{ rewrite ^ /inner?code=lambda:1 last; }}
    location /judged {{ auth_request /asks; empty_gif; }}
    location /passing/ {{ owt; if ($arg_away) {{ proxy_pass http://127.0.0.1:{{port3}}; }} }}
    location /most/ {{ owt; limit_except POST {{ deny 192.0.2.1; }} }}
    location /redirect {{ rewrite ^ /inner?$args last; }}
    location /missing {{ error_page 404 = /inner; return 404; }}
}}
server {{
    listen 127.0.0.1:{{port3}};
    return 200 "passed on";
}}
"""

CODE = {"code": "lambda: 'ran'"}
NAVIGATION = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def test_this_machine_s_programs_run_code(server: Server) -> None:
    assert server.post("/", data=CODE).text == "ran"


@pytest.mark.parametrize(
    ("headers", "status", "line"),
    [
        ({"Host": "evil.example"}, 421, "owt_allow host evil.example;"),
        ({"Host": "127.0.0.1.evil.example"}, 421, "owt_allow host"),
        ({"Host": "0.0.0.0"}, 421, ""),
        ({"X-Forwarded-For": "192.0.2.1"}, 403, "owt_auth"),
        ({"X-Forwarded-For": "127.0.0.1, 192.0.2.1"}, 403, "owt_allow remote;"),
        ({"X-Real-IP": "what"}, 403, "owt_allow remote;"),
        ({"Forwarded": "for=192.0.2.1"}, 403, "owt_allow remote;"),
        ({"Origin": "http://evil.example"}, 403, "owt_allow origin http://evil.example;"),
        ({"Origin": "null"}, 403, ""),
        ({"Referer": "http://evil.example/page"}, 403, ""),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "owt_allow origin"),
        ({"Sec-Fetch-Site": "same-site"}, 403, ""),
        ({"Sec-Fetch-Site": "unheard-of"}, 403, ""),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Purpose": "prefetch"}, 403, ""),
    ],
)
def test_others_are_refused_and_told_what_would_let_them_in(
    server: Server, headers: dict[str, str], status: int, line: str
) -> None:
    answer = server.post("/", data=CODE, headers=headers)
    assert (answer.status_code, line in answer.text) == (status, True), answer.text
    assert "ran" not in answer.text.split()


@pytest.mark.parametrize("path", ["/redirect", "/missing", "/sub", "/if/"])
def test_no_way_through_nginx_gets_round_the_guard(server: Server, path: str) -> None:
    done = server.get(path, params=CODE, headers={"Host": "evil.example"})
    assert done.status_code in (403, 421, 500)
    assert "ran" not in done.text.split()


def test_what_is_refused_is_not_read(server: Server) -> None:
    """A body that never comes does not keep the refusal waiting."""
    with server.connect() as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 421 ")


def test_a_page_that_asks_is_no_yes_for_auth_request(server: Server) -> None:
    assert server.get("/judged").status_code == 200
    answer = server.get("/judged", headers=NAVIGATION)
    assert answer.status_code == 403


def test_an_if_block_keeps_a_handler_of_its_own(server: Server) -> None:
    assert server.get("/passing/", params={**CODE, "away": "1"}).text == "passed on"


def test_limit_except_goes_on_running_code(server: Server) -> None:
    assert server.get("/most/", params=CODE).text == "ran"
    assert server.get("/most/", params=CODE, headers={"Host": "evil.example"}).status_code == 421


def test_own_pages_and_names_pass(server: Server) -> None:
    for headers in (
        {"Sec-Fetch-Site": "same-origin", "Origin": server.url},
        {"Host": "localhost"},
        {"Host": "app.localhost"},
        {"Host": "known.example"},
        {"X-Forwarded-For": "127.0.0.1"},
    ):
        assert server.post("/", data=CODE, headers=headers).text == "ran"


def test_a_link_gets_a_page_that_asks(server: Server) -> None:
    answer = server.get("/", params={"code": "lambda: '<ran>'"}, headers=NAVIGATION)
    assert answer.status_code == 200
    assert "&lt;ran&gt;" in answer.text and "<ran>" not in answer.text
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_a_link_runs_where_links_are_allowed(server: Server) -> None:
    assert server.get("/links/", params=CODE, headers=NAVIGATION).text == "ran"


def test_allowed_hosts_and_origins_pass(server: Server) -> None:
    assert server.post("/friends/", data=CODE, headers={"Host": "friend.example"}).text == "ran"
    origin = {"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"}
    answer = server.post("/friends/", data=CODE, headers=origin)
    assert answer.text == "ran"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert "Origin" in answer.headers["Vary"]
    asked = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = server._client.options("/friends/", headers=asked)
    assert preflight.status_code == 204
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert preflight.headers["Access-Control-Allow-Headers"] == "content-type"
    assert server._client.options("/", headers=asked).status_code in (403, 405)


def test_remote_and_off_open_up(server: Server) -> None:
    assert server.post("/remote/", data=CODE, headers={"X-Forwarded-For": "192.0.2.1"}).text == "ran"
    assert server.post("/open/", data=CODE, headers={"Host": "evil.example"}).text == "ran"


def test_a_login_is_needed_and_enough(server: Server) -> None:
    refused = server.post("/login/", data=CODE)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert "owt_auth" in refused.text
    assert server.post("/login/", data=CODE, auth=("ann", "wrong")).status_code == 401
    assert server.post("/login/", data=CODE, auth=("bob", "secret")).status_code == 401
    assert server.post("/login/", data=CODE, headers={"Authorization": "Basic %%%"}).status_code == 401
    assert server.post("/login/", data=CODE, auth=("ann", "secret")).text == "ran"
    elsewhere = {"X-Forwarded-For": "192.0.2.1"}
    assert server.post("/login/", data=CODE, auth=("ann", "secret"), headers=elsewhere).text == "ran"


def test_a_login_does_not_replace_the_guard(server: Server) -> None:
    foreign = {"Origin": "http://evil.example"}
    assert server.post("/login/", data=CODE, auth=("ann", "secret"), headers=foreign).status_code == 403


def test_subrequests_need_a_login_too(server: Server) -> None:
    assert server.get("/pub", params=CODE).status_code == 401
    # Let in, where auth_request brings no code along.
    assert server.get("/pub", params=CODE, auth=("ann", "secret")).status_code == 500


def test_satisfy_any(server: Server) -> None:
    assert server.post("/any/", data=CODE).status_code == 401
    assert server.post("/any/", data=CODE, auth=("ann", "secret")).text == "ran"
    assert server.post("/near/", data=CODE).text == "ran"
    assert server.post("/near/", data=CODE, headers={"Host": "evil.example"}).status_code == 421


def test_a_unix_socket_wants_to_know_for_whom_the_front_asks(server: Server) -> None:
    assert server.post("/front/", data=CODE).text == "ran"
    refused = server.post("/careless/", data=CODE)
    assert refused.status_code == 403
    assert "X-Forwarded-For" in refused.text


@pytest.mark.parametrize(
    ("source", "status"),
    [("TCP4 127.0.0.1 127.0.0.1 1 2", b"200"), ("TCP4 192.0.2.1 127.0.0.1 1 2", b"403"), ("UNKNOWN", b"403")],
)
def test_the_source_that_the_proxy_protocol_tells_counts(server: Server, source: str, status: bytes) -> None:
    with server.connect(server.port_of("port2")) as connection:
        request = "GET /?code=lambda:0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        connection.sendall(f"PROXY {source}\r\n{request}".encode())
        assert connection.recv(12) == b"HTTP/1.1 " + status


def test_every_answer_says_what_browsers_may_do_with_it(server: Server) -> None:
    answer = server.post("/", data=CODE)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    own = server.post("/", data={"code": "lambda: ('x', {'Cache-Control': 'max-age=60'})"})
    assert own.headers.get_list("Cache-Control") == ["max-age=60"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("owt_allow;", "invalid number of arguments"),
        ("owt_allow everybody;", "remote"),
        ("owt_allow host;", "host"),
        ("owt_allow origin *;", "owt_auth"),
        ("owt_allow origin app.example;", "app.example"),
        ("owt_auth ann:secret;", "SHA-256"),
        ("owt_auth :0000;", "owt_auth"),
        ("owt_guard maybe;", "owt_guard"),
    ],
)
def test_a_mistake_is_a_config_error(line: str, what: str) -> None:
    server = Server(f"server {{ listen 127.0.0.1:{{port}}; location / {{ owt; {line} }} }}")
    done = server.test_conf()
    server.close()
    assert done.returncode != 0
    assert what in done.stderr and "nginx.conf:" in done.stderr, done.stderr
    assert "secret" not in done.stderr


def test_a_listen_that_others_reach_is_warned_of() -> None:
    for listen, inside, warned in (
        ("{port}", "", True),
        ("[::]:{port}", "", True),
        ("127.0.0.1:{port}", "", False),
        ("{port}", f"owt_auth {LOGIN};", False),
        ("{port}", "owt_allow remote;", False),
    ):
        server = Server(f"server {{ listen {listen}; location / {{ owt; {inside} }} }}")
        done = server.test_conf()
        server.close()
        assert done.returncode == 0, done.stderr
        assert ("[warn]" in done.stderr and "owt_allow remote" in done.stderr) == warned, (listen, inside)


def test_another_machine_is_refused_without_a_login(start: Callable[..., Server]) -> None:
    """A network namespace with an address of its own stands for it."""
    there = ["nsenter", "--net=/run/netns/owt-test"]
    made = subprocess.run(["ip", "netns", "add", "owt-test"], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("network namespaces cannot be made here")
    try:
        for command in (
            "ip link add owt-a type veth peer name owt-b netns owt-test",
            "ip addr add 10.231.7.1/30 dev owt-a",
            "ip link set owt-a up",
            "ip -n owt-test addr add 10.231.7.2/30 dev owt-b",
            "ip -n owt-test link set owt-b up",
        ):
            if subprocess.run(command.split(), capture_output=True).returncode != 0:
                pytest.skip("network namespaces cannot be used here")
        trusting = "location /trusting/ { owt; set_real_ip_from 0.0.0.0/0; real_ip_header X-Real-IP; } location / {"
        server = start(CONF.replace("listen 127.0.0.1:{port};", "listen {port};").replace("location / {", trusting, 1))
        curl = [*there, "curl", "-sS", "--max-time", "20", "--data-urlencode", f"code={CODE['code']}"]
        url = f"http://10.231.7.1:{server.port}"
        refused = subprocess.run([*curl, f"{url}/"], capture_output=True, text=True, check=True)
        assert "owt_auth" in refused.stdout
        refused = subprocess.run(
            [*curl, "-H", "X-Real-IP: 127.0.0.1", f"{url}/trusting/"], capture_output=True, text=True, check=True
        )
        assert "owt_auth" in refused.stdout
        let_in = subprocess.run(
            [*curl, "-u", "ann:secret", f"{url}/login/"], capture_output=True, text=True, check=True
        )
        assert let_in.stdout == "ran"
    finally:
        subprocess.run(["ip", "netns", "delete", "owt-test"], check=False)
