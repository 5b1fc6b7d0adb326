"""The sites that are shipped in conf/, as they stand but for addresses and directories: an instance behind owt_params,
and TLS with a login."""

import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from urllib.parse import urlencode

import pytest
from asking import Asking, wait_text
from gate import ASYNC, PAUSE, Gate
from harness import NGINX, PRELOAD, ROOT, Server, certificate, wait_until

PID = "import os\ndef run(_): return os.getpid()\n"
STREAM = f"def run(_, gate):\n    yield 'begun,'\n    pause(gate)\n    yield 'done'\n{PAUSE}"
PASSWORD = "correct horse battery staple"


def site(name: str) -> str:
    """A file of conf/ for harness.Server. Clients come to {port}, over TLS to {port2}."""
    command = [ROOT / ".ci/site", NGINX, ROOT / "conf" / name]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text = re.sub(r"listen \[::\]:.*\n", "", text).replace("#listen [::1]:9876;", "listen 127.0.0.1:{port2} ssl http2;")
    for shipped, here in {
        "127.0.0.1:9876": "127.0.0.1:{port}",
        "listen 443": "listen 127.0.0.1:{port}",
        "/var/lib/nginx/owt": "{dir}/owt",
        "/run/owt": "{dir}/run",
        "/var/log/nginx": "{dir}",
        "/etc/ssl/certs/owt.pem": "{cert}",
        "/etc/ssl/private/owt.key": "{key}",
        "owt.example.org": "localhost owt.example.org",
    }.items():
        text = text.replace(shipped, here)
    return text


def served(http: str) -> Server:
    """A server whose conf directory has what /etc/nginx would."""
    server = Server(site("owt.conf") + http)
    (server.dir / "owt_params").write_bytes((ROOT / "conf" / "owt_params").read_bytes())
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    (server.dir / "owt_logins").write_text(f"owt_auth alice:{digest};\n")
    return server


CERTIFICATE = "ssl_certificate {cert};\nssl_certificate_key {key};\n"
INSTANCES = CERTIFICATE + site("instances.conf")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served(INSTANCES) as server:
        wait_until(lambda: server.workers_of("model"), "the model's worker")
        yield server


def model(server: Server, code: str, path: str = "/model/", **fields: object) -> Asking:
    return Asking(server, code, path, **fields)


# ---- an instance behind a proxy -------------------------------------------------------------------------------------


def test_the_model_and_quick_calls_have_processes_of_their_own(server: Server) -> None:
    assert int(model(server, PID).answer().text) in server.workers_of("model")
    assert int(model(server, PID, "/").answer().text) in server.workers_of("default")


def test_only_nginx_comes_to_the_socket(server: Server) -> None:
    assert (server.dir / "run" / "model.sock").is_socket()
    assert (server.dir / "run").stat().st_mode & 0o777 == (0o710 if os.geteuid() == 0 else 0o700)


def test_each_chunk_passes_as_it_comes(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    asking = model(server, STREAM, gate=str(gate))
    assert asking.read(6) == b"begun,"
    gate.open()
    answer = asking.answer()
    assert (answer.whole, answer.text) == (True, "done")


def curl_https(server: Server, *arguments: str) -> "subprocess.Popen[bytes]":
    url = f"https://localhost:{server.port_of('port2')}/model/"
    command = ["curl", "-q", "-sSN", "--noproxy", "*", "--http2", "--cacert", str(certificate()[0]), url, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_each_chunk_passes_over_http2(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with curl_https(server, "--json", json.dumps({"code": STREAM, "gate": str(gate)})) as curl:
        assert curl.stdout
        assert os.read(curl.stdout.fileno(), 100) == b"begun,"
        gate.open()
        assert curl.stdout.read() == b"done"
        assert curl.wait() == 0


def test_a_stream_that_breaks_off_is_seen_to_fail(server: Server) -> None:
    server.expect("upstream prematurely closed")
    code = "def run(_):\n    yield 'begun'\n    1 / 0\n"
    answer = model(server, code).answer()
    assert (answer.status, answer.body, answer.whole) == (200, b"begun", False)
    with curl_https(server, "--json", json.dumps({"code": code})) as curl:
        assert curl.communicate()[0] == b"begun"
        assert curl.wait() != 0


BUSY = """
import pathlib, time
def run(_, file):
    try:
        pathlib.Path(file + ".begun").touch()
        while True:
            time.sleep(0.001)
    except BaseException as error:
        pathlib.Path(file).write_text(type(error).__name__)
        raise
"""


def test_a_client_that_leaves_cancels_the_call(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "end"
    asking = model(server, BUSY, file=str(file))
    wait_until(Path(f"{file}.begun").exists, "the call")
    asking.leave()
    assert wait_text(file) == "Cancelled"


def test_a_client_that_leaves_over_http2_cancels_the_call(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "end"
    with curl_https(server, "--json", json.dumps({"code": BUSY, "file": str(file)})) as curl:
        wait_until(Path(f"{file}.begun").exists, "the call")
        curl.terminate()
    assert wait_text(file) == "Cancelled"


def test_a_file_has_ranges_and_an_etag(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(bytes(range(256)) * 4096)
    body = {"code": "import pathlib\ndef run(_, file): return pathlib.Path(file)\n", "file": str(file)}
    whole = server.post("/model/", json=body)
    assert whole.content == file.read_bytes()
    part = server.post("/model/", json=body, headers={"Range": "bytes=100000-100999"})
    assert part.status_code == 206
    assert part.content == file.read_bytes()[100000:101000]
    # RFC 9110: only GET and HEAD are conditional.
    same = server.get("/model/", params=body, headers={"If-None-Match": whole.headers["ETag"]})
    assert same.status_code == 304


SIZE = 1 << 30
RSS = re.compile(r"^VmRSS:\s+(\d+) kB", re.MULTILINE)


def rss(pid: int) -> int:
    found = RSS.search(Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) << 10


def test_an_upload_is_held_in_nobodys_memory(server: Server, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    with upload.open("wb") as file:
        file.truncate(SIZE)
    code = "def run(request):\n    n = 0\n    while chunk := request.stream.read(1 << 20):\n        n += len(chunk)\n    return n\n"
    pids = [*server.workers_of("model"), *server.workers_of("default")]
    model(server, PID).answer()
    before = [rss(pid) for pid in pids]
    query = ["-G", "--data-urlencode", f"code={code}"]
    made = server.curl("/model/", *query, "-o", "/dev/null", "-w", "%{url_effective}")
    assert made.returncode == 0
    done = server.curl("", "-T", str(upload), "-X", "POST", url=made.stdout)
    assert done.stdout == str(SIZE)
    # A sanitizer keeps what has been freed.
    assert PRELOAD or all(rss(pid) - was < 32 << 20 for pid, was in zip(pids, before, strict=True))


def test_a_long_url_passes(server: Server) -> None:
    query = urlencode({"code": "def run(_, text): return len(text)", "text": "x" * 200_000})
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:  # httpx makes none
        connection.request("GET", f"/model/?{query}")
        assert connection.getresponse().read() == b"200000"


def test_refusals_and_errors_pass(server: Server) -> None:
    server.expect(r"\[error\]")
    failed = server.run("def run(_): 1 / 0", "/model/")
    assert failed.status_code == 500
    assert "ZeroDivisionError" in failed.text
    assert server.run("def run(_: 1", "/model/").status_code == 400
    assert server.post("/model/", json={"code_id": "sha256:" + "0" * 64}).status_code == 404


def test_the_front_decides_who_may_ask(server: Server) -> None:
    def asked(**headers: str) -> int:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return server.post("/model/", json={"code": PID}, headers=headers).status_code

    assert asked() == 200
    assert asked(X_Forwarded_For="192.0.2.7") == 403
    assert asked(Origin="http://evil.example") == 403
    assert asked(Host="evil.example") == 421
    assert asked(Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors") == 403
    direct = server.curl("/", "--unix-socket", f"{server.dir}/run/model.sock", "--json", json.dumps({"code": PID}))
    assert "include owt_params;" in direct.stdout


def test_a_front_that_forgets_owt_params_opens_nothing() -> None:
    bare = INSTANCES.replace("include owt_params;", "")
    with served(bare) as server:
        refused = server.post("/model/", json={"code": PID})
        assert refused.status_code == 403
        assert "include owt_params;" in refused.text


def test_a_front_may_have_a_name_and_an_address_of_its_own() -> None:
    """What it is called by need not be said again to the instance."""
    named = INSTANCES.replace("listen 127.0.0.1:{port};", "listen 127.0.0.1:{port};\n    server_name owt.example.org;")
    with served(named) as server:
        asked = server.curl(
            "/model/", "--resolve", f"owt.example.org:{server.port}:127.0.0.1", "--json", json.dumps({"code": PID}),
            url=f"http://owt.example.org:{server.port}",
        )  # fmt: skip
        assert int(asked.stdout) in server.workers_of("model")


def test_a_login_in_the_fronts_server_needs_the_instances_word() -> None:
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    login = INSTANCES.replace("owt_cache  results;\n\n    location /  ", f"owt_auth alice:{digest};\n    location /  ")
    assert login != INSTANCES
    remote = {"X-Forwarded-For": "192.0.2.7"}
    with served(login) as server:
        refused = server.post("/model/", json={"code": PID}, headers=remote, auth=("alice", PASSWORD))
        assert refused.status_code == 403
        assert "where the unix socket is listened on:\n\n    owt_allow remote;\n" in refused.text
    with served(login.replace("owt_instance model;", "owt_instance model;\n    owt_allow remote;")) as server:
        told = server.post("/model/", json={"code": PID}, headers=remote, auth=("alice", PASSWORD))
        assert told.status_code == 200
        assert server.post("/model/", json={"code": PID}, headers=remote).status_code == 401


def test_a_page_of_an_https_front_is_the_instances_too(server: Server) -> None:
    """Of a browser that sends no Sec-Fetch-Site."""
    own = f"https://localhost:{server.port_of('port2')}"

    def asked(origin: str) -> str:
        with curl_https(server, "--json", json.dumps({"code": PID}), "-H", f"Origin: {origin}") as curl:
            return curl.communicate()[0].decode()

    assert int(asked(own)) in server.workers_of("model")
    assert "owt_allow origin" in asked("https://evil.example")


def test_a_login_at_the_front_is_the_instances_too() -> None:
    digest = hashlib.sha256(PASSWORD.encode()).hexdigest()
    with served(f"owt_auth alice:{digest};\n{INSTANCES}") as server:
        remote = {"X-Forwarded-For": "192.0.2.7"}
        assert server.post("/model/", json={"code": PID}, headers=remote).status_code == 401
        told = server.post("/model/", json={"code": PID}, headers=remote, auth=("alice", PASSWORD))
        assert int(told.text) in server.workers_of("model")


def test_no_call_through_the_front_fails_during_reloads(tmp_path: Path) -> None:
    with served(INSTANCES) as server:
        stop = Event()

        def hammer() -> list[int]:
            seen = []
            while not stop.is_set():
                seen.append(model(server, "def run(_): return 'x' * 1000").answer().status)
            return seen

        with ThreadPoolExecutor(4) as pool:
            futures = [pool.submit(hammer) for _ in range(4)]
            try:
                for _ in range(5):
                    server.signal("reload")
            finally:
                stop.set()
        seen = [status for future in futures for status in future.result()]
        assert set(seen) == {200}


def test_only_the_calls_of_a_process_that_dies_fail() -> None:
    with served(INSTANCES) as server:
        server.expect("exited on signal 9|prematurely closed|reset by peer")
        before = int(model(server, PID).answer().text)
        gate = Gate(server.dir)
        quick = Asking(server, ASYNC, gate=str(gate))
        gate.wait_reached()
        broken = model(server, "import os, signal\ndef run(_): os.kill(os.getpid(), signal.SIGKILL)\n")
        assert broken.answer().status == 502
        # The spare process steps in.
        assert int(model(server, PID).answer().text) != before
        gate.open()
        assert quick.answer().text == "done"


# ---- TLS and a login ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls_server() -> Iterator[Server]:
    with served(site("tls.conf")) as server:
        yield server


def ask_tls(server: Server, *arguments: str) -> tuple[str, str]:
    """Status and body for somebody elsewhere."""
    done = server.curl(
        "/", "--cacert", str(certificate()[0]), "-w", "\n%{http_code} %{http_version}",
        "--json", json.dumps({"code": "def run(_): return 'hello'"}), *arguments,
        url=f"https://localhost:{server.port}",
    )  # fmt: skip
    body, _, end = done.stdout.rpartition("\n")
    assert done.returncode == 0, done.stderr
    status, version = end.split()
    assert version == "2"
    return status, body


def test_a_login_over_tls_runs_code(tls_server: Server) -> None:
    assert ask_tls(tls_server, "-u", f"alice:{PASSWORD}", "-H", "X-Forwarded-For: 192.0.2.7") == ("200", "hello")


@pytest.mark.parametrize("login", ["", "alice:wrong", f"bob:{PASSWORD}", f"alice:{PASSWORD} "])
def test_no_other_runs_any(tls_server: Server, login: str) -> None:
    status, body = ask_tls(tls_server, *(["-u", login] if login else []))
    assert status == "401"
    assert "hello" not in body


def test_the_lines_that_make_a_login_make_one() -> None:
    """Those in the head of tls.conf."""
    lines = re.findall(r"^#   (.*)", (ROOT / "conf" / "tls.conf").read_text(), re.MULTILINE)
    server = served(site("tls.conf"))
    script = "\n".join(lines[:2]).replace("/etc/nginx/owt_logins", str(server.dir / "owt_logins"))
    made = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    with server:
        assert ask_tls(server, "-u", f"alice:{made.stdout.strip()}") == ("200", "hello")


def test_without_logins_nothing_starts() -> None:
    server = served(site("tls.conf"))
    try:
        (server.dir / "owt_logins").unlink()
        done = server.test_conf()
        assert done.returncode != 0
        assert "owt_logins" in done.stderr
    finally:
        server.close()


# ---- the simple site ------------------------------------------------------------------------------------------------


def test_the_site_runs_adaptors() -> None:
    with served(site("site.conf").replace("listen 127.0.0.1:{port2} ssl http2;", "")) as server:
        assert server.run("def run(_): return 'hello'").text == "hello"
        os.kill(server.master, signal.SIGHUP)
        assert server.run("def run(_): return 'hello'").text == "hello"
        log = server.dir / "owt.log"
        wait_until(lambda: '"POST / HTTP/1.1" 200' in log.read_text(), "the calls to be logged")


# ---- what is installed beside them ----------------------------------------------------------------------------------


@pytest.fixture
def installed(start: Callable[..., Server], tmp_path: Path) -> Server:
    """With what stands above http { } where owt is installed, as a user of nginx's own."""
    main = site("mod-http-owt.conf").replace("load_module modules/ngx_http_owt_module.so;", "")
    return start(site("owt.conf") + SITE, main=main)


SITE = site("site.conf").replace("listen 127.0.0.1:{port2} ssl http2;", "")


def test_what_adaptors_print_is_in_owts_own_log(installed: Server) -> None:
    installed.run("def run(_): print('aho' + 'y')")
    wait_until(lambda: " ahoy" in (installed.dir / "owt-error.log").read_text(), "what the adaptor prints")


def test_adaptors_have_a_home_to_write_to_and_programs(installed: Server) -> None:
    code = """
        import os, shutil
        from pathlib import Path
        def run():
            cache = Path(os.environ["XDG_CACHE_HOME"]) / "model"
            cache.mkdir(parents=True)
            (Path.home() / "file").touch()
            return [str(cache.relative_to(Path.home())), shutil.which("sh") is not None]
    """
    assert installed.run(textwrap.dedent(code)).json() == ["cache/model", True]


def test_without_ipv6_the_sites_start() -> None:
    """A line that nginx cannot listen on keeps all its sites from starting."""
    for name in ("site.conf", "instances.conf", "published.conf"):
        assert not re.search(r"^\s*listen \[::", (ROOT / "conf" / name).read_text(), re.MULTILINE)


def test_http2_is_said_as_this_nginx_wants_it(tmp_path: Path) -> None:
    said = {}
    for version in ("1.22.1", "1.25.0", "1.25.1", "1.26.3", "1.31.5"):
        nginx = tmp_path / version
        nginx.write_text(f"#!/bin/sh\necho 'nginx version: nginx/{version} (Distribution)' >&2\n")
        nginx.chmod(0o755)
        command = [ROOT / ".ci/site", nginx, ROOT / "conf/tls.conf"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        said[version] = re.findall(r"listen .*;|http2 .*;", text)
    old, new = said["1.22.1"], said["1.31.5"]
    assert old == ["listen 443 ssl http2;", "listen [::]:443 ssl http2;"]
    assert new == ["listen 443 ssl;", "listen [::]:443 ssl;", "http2 on;"]
    assert [said[version] for version in ("1.25.0", "1.25.1", "1.26.3")] == [old, new, new]


def test_no_warning_is_given() -> None:
    server = served(site("tls.conf"))
    try:
        assert "[warn]" not in server.test_conf().stderr
    finally:
        server.close()


# ---- published.conf -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published_server() -> Iterator[Server]:
    server = served(CERTIFICATE + site("published.conf").replace("/srv/api", "{dir}/api"))
    (server.dir / "api").mkdir()
    with server:
        yield server


LOGIN = ("-u", f"alice:{PASSWORD}")
STATUS = ("-o", "/dev/null", "-w", "%{http_code}")


def put(server: Server, name: str, text: str, *arguments: str) -> str:
    source = server.dir / "source.py"
    source.write_text(text)
    return server.curl(f"/files/{name}", "-T", str(source), *STATUS, *arguments).stdout


def test_put_publishes_and_delete_withdraws(published_server: Server) -> None:
    server = published_server
    assert server.curl("/api/speak", *STATUS).stdout == "404"
    assert put(server, "speak.py", "def run(text): return text * 2\n", *LOGIN) == "201"
    assert server.curl("/api/speak", "-d", "text=hey").stdout == "heyhey"
    assert server.curl("/api/speak", "-d", "text=hey", "-H", "X-Forwarded-For: 192.0.2.7").stdout == "heyhey"
    assert put(server, "speak.py", "def run(text): return text * 3\n", *LOGIN) == "204"
    wait_until(lambda: server.curl("/api/speak", "-d", "text=hey").stdout == "heyheyhey", "the new version")
    assert put(server, "sub/deep.py", "def run(): return 'deep'\n", *LOGIN) == "201"
    assert server.curl("/api/sub/deep").stdout == "deep"
    assert "text * 3" in server.curl("/files/speak.py", *LOGIN).stdout
    assert server.curl("/files/speak.py", "-X", "DELETE", *LOGIN, *STATUS).stdout == "204"
    wait_until(lambda: server.curl("/api/speak", *STATUS).stdout == "404", "it to be withdrawn")


def test_only_who_has_a_login_publishes(published_server: Server) -> None:
    server = published_server
    source = "def run(): return 'foreign'\n"
    assert put(server, "other.py", source) == "401"
    assert put(server, "other.py", source, "-u", "alice:guess") == "401"
    page = ("-H", "Sec-Fetch-Site: cross-site", "-H", "Origin: https://page.example")
    assert put(server, "other.py", source, *LOGIN, *page) == "403"
    assert put(server, "other.py", source, *LOGIN, "-H", "Host: rebound.example") == "421"
    assert server.curl("/files/other.py", *STATUS).stdout == "401"
    assert server.curl("/api/other", *STATUS).stdout == "404"
    assert put(server, "..%2fother.py", source, *LOGIN) in ("403", "404", "405")
    assert not (server.dir / "other.py").exists()
