"""Functions that the configuration publishes: owt_file and owt_root, from the front door."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness import SLOW, Server, minor_version, wait_until

CONF = """
owt_zone results 8m;
client_max_body_size 8m;
log_format owt '$uri $status [$owt_code_id] [$owt_fn] [$owt_cache_status]';
access_log owt.log owt;
server {
    listen 127.0.0.1:{port};
    server_name api.example;
    location /api/ { owt_root api; }
    location /bare { owt_root api; }
    location /spool/ { owt_root api; client_body_buffer_size 1k; }
    location /kept/ { owt_root api; owt_cache results; owt_keep on; }
    location /shown/ { owt_root api; owt_traceback on; }
    location /brief/ { owt_root api; owt_timeout 300ms; }
    location /lazy/ { owt_root later lazy; }
    location = /tts { owt_file one.py speak; }
    location = /run { owt_file one.py; }
    location /login/ { owt_root api; owt_auth alice:2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90; }
    location /foreign/ { owt_root api; owt_allow origin https://page.example; }
    location /all/ { owt_root api; owt_allow origin *; }
    location /code/ { owt; }
    location /site/ { owt_file site.py app; }
    location = /site { owt_file site.py app; }
}
"""

FILES = {
    "one.py": "def speak(text, times: int = 1): return f'{text} ' * times\ndef run(): return 'one'\n",
    "site.py": (
        "from flask import Flask, redirect, request, url_for\napp = Flask(__name__)\n"
        "@app.route('/')\ndef index(): return [request.script_root, request.path, request.args.get('q')]\n"
        "@app.route('/ü/<int:n>', methods=['GET', 'POST'])\n"
        "def item(n): return {'n': n, 'path': request.path, 'form': request.form.to_dict()}\n"
        "@app.route('/go')\ndef go(): return redirect(url_for('index'))\n"
    ),
    "api/app.py": (
        "def run(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [f\"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}\".encode()]\n"
    ),
    "api/hello.py": "def run(request, name='you'): return f'Hello, {name}!'\n",
    "api/typed.py": "def run(a: int, b: float = 0.5, c: bool = False): return [a, b, c]\n",
    "api/echo.py": "def run(request, **fields): return fields\n",
    "api/where.py": "def run(request): return [__file__, __name__, request.path]\n",
    "api/sub/deep.py": "def run(): return 'deep'\n",
    "api/sub/_hidden.py": "def run(): return 'hidden'\n",
    "api/_hidden.py": "def run(): return 'hidden'\n",
    "api/.hidden.py": "def run(): return 'hidden'\n",
    "api/_sub/x.py": "def run(): return 'hidden'\n",
    "api/.sub/x.py": "def run(): return 'hidden'\n",
    "api/v1.2/dotted.name.py": "def run(): return 'dotted'\n",
    "api/grüße.py": "def run(): return 'Grüße'\n",
    "api/fails.py": "def run(): raise ValueError('a secret')\n",
    "api/broken.py": "def run(:\n",
    "api/falls.py": "raise RuntimeError('at the top')\n",
    "api/norun.py": "def walk(): return 1\n",
    "api/pipeline.py": "pipe().kwarg('text').f(lambda text: text.upper())\n",
    "api/expression.py": "lambda a, b: f'{a}-{b}'\n",
    "api/stream.py": "def run(n: int = 3):\n    for i in range(n):\n        yield f'{i}\\n'\n",
    "api/later.py": "import asyncio\nasync def run(a: int):\n    await asyncio.sleep(0)\n    return a + 1\n",
    "api/upload.py": "def run(request, file, note=''): return [file.filename, len(file.read()), note]\n",
    "api/raw.py": "def run(request): return [request.get_data(as_text=True), request.mimetype]\n",
    "api/lists.py": "def run(x: list[int]): return x\n",
    "api/once.py": "import uuid\ndef run(request, **_): return uuid.uuid4().hex\n",
    "api/batched.py": "from owt import batch\n@batch()\ndef run(xs): return [x * 2 for x in xs]\n",
    "api/flasked.py": "from flask import request, jsonify\ndef run(**_): return jsonify(request.args.to_dict())\n",
    "api/classy.py": (
        "import pickle\nclass Thing:\n    def __init__(self, n): self.n = n\n"
        "def run(n: int): return pickle.loads(pickle.dumps(Thing(n))).n\n"
    ),
    "api/spawned.py": (
        "import multiprocessing\ndef double(n): return 2 * n\n"
        "def run(n: int):\n    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        return pool.map(double, [n])\n"
    ),
    "api/guarded.py": "def run(): return 'guarded'\nif __name__ == '__main__':\n    raise SystemExit('a server')\n",
    "api/configured.py": "def run(c: dict): return c\n",
    "api/notes.txt": "no Python",
    "later/slow.py": "print('the lazy one is loaded')\ndef run(): return 'late'\n",
    "outside/secret.py": "def run(): return 'outside'\n",
}


def write(path: Path, text: str) -> None:
    """As careful programs do: the new file takes the old one's place at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".new-{uuid.uuid4().hex}")
    temporary.write_text(text)
    temporary.replace(path)


def write_all(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        write(directory / name, text)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(CONF)
    write_all(server.dir, FILES)
    (server.dir / "api/link.py").symlink_to("hello.py")
    (server.dir / "api/away.py").symlink_to("../outside/secret.py")
    (server.dir / "api/linked").symlink_to("../outside")
    (server.dir / "api/inner").symlink_to("sub")
    (server.dir / "api/folder.py").mkdir()
    os.mkfifo(server.dir / "api/pipe.py")
    with server:
        yield server


def test_a_file_of_a_directory(server: Server) -> None:
    assert server.get("/api/hello").text == "Hello, you!"
    assert server.get("/api/hello?name=owt").text == "Hello, owt!"
    assert server.post("/api/hello", data={"name": "form"}).text == "Hello, form!"
    assert server.post("/api/hello", json={"name": "JSON"}).text == "Hello, JSON!"
    assert server.post("/api/hello", files={"name": (None, "parts")}).text == "Hello, parts!"
    assert server.get("/api/sub/deep").text == "deep"
    assert server.get("/api/v1.2/dotted.name").text == "dotted"
    assert server.get("/api/gr%C3%BC%C3%9Fe").text == "Grüße"
    assert server.get("/bare/hello").text == "Hello, you!"


def test_a_function_of_a_file(server: Server) -> None:
    assert server.get("/tts?text=a&times=3").text == "a a a "
    assert server.get("/run").text == "one"
    assert server.get("/tts/more").status_code == 404


def test_arguments_are_converted(server: Server) -> None:
    assert server.get("/api/typed?a=1&b=2&c=yes").json() == [1, 2.0, True]
    assert server.post("/api/typed", json={"a": 1}).json() == [1, 0.5, False]
    wrong = server.get("/api/typed?a=x&b=y")
    assert wrong.status_code == 400
    assert "int" in wrong.text
    assert "float" in wrong.text
    missing = server.get("/api/typed")
    assert missing.status_code == 400
    assert "a: int" in missing.text


def test_fields_of_query_and_body_count_together(server: Server) -> None:
    assert server.post("/api/echo?a=1&b=2", json={"b": 3, "c": [4]}).json() == {"b": 3, "c": [4], "a": "1"}
    assert server.post("/api/echo?a=1&b=2", data={"b": "3"}).json() == {"b": "3", "a": "1"}
    assert server.post("/api/echo?a=1&b=2", files={"b": (None, "3")}).json() == {"b": "3", "a": "1"}
    assert server.post("/api/lists?x=1&x=2").json() == [1, 2]
    assert server.post("/api/lists?x=1&x=2", data={"x": "3"}).json() == [3]
    assert server.post("/spool/echo?a=1", json={"b": "x" * 5000}).json() == {"b": "x" * 5000, "a": "1"}


def test_a_body_that_has_no_fields_is_the_function_s(server: Server) -> None:
    answer = server.post("/api/raw?x=1", content=b"text", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400  # x is no argument of it
    assert server.post("/api/raw", content=b"text", headers={"Content-Type": "text/plain"}).json() == [
        "text",
        "text/plain",
    ]
    assert server.post("/api/raw").json() == ["", ""]
    assert server.post("/api/raw", headers={"Content-Type": "application/json"}).json() == ["", "application/json"]


def test_bodies_that_cannot_be_read_are_told(server: Server) -> None:
    bad = server.post("/api/echo", content=b'{"a":', headers={"Content-Type": "application/json"})
    assert bad.status_code == 400
    assert "JSON" in bad.text
    no_object = server.post("/api/echo", json=[1])
    assert no_object.status_code == 400
    assert "code" not in no_object.text
    coded = server.post(
        "/api/echo", content=b"x", headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}
    )
    assert coded.status_code == 415
    broken = server.post("/api/echo", content=b"--x", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert broken.status_code == 400


def test_everything_that_an_adaptor_may_be(server: Server) -> None:
    assert server.get("/api/pipeline?text=shout").text == "SHOUT"
    assert server.get("/api/expression?a=1&b=2").text == "1-2"
    assert server.get("/api/stream?n=2").text == "0\n1\n"
    assert server.get("/api/later?a=1").text == "2"
    assert [server.get(f"/api/later?a={n}").text for n in range(5)] == ["1", "2", "3", "4", "5"]
    assert server.get("/api/batched?xs=4").text == "44"
    assert server.get("/api/flasked?a=1").json() == {"a": "1"}
    assert server.get("/api/classy?n=3").text == "3"
    assert server.get("/api/spawned?n=3").json() == [6]
    assert server.get("/api/guarded").text == "guarded"
    files = {"file": ("a.txt", b"12345", "text/plain")}
    assert server.post("/api/upload?note=hi", files=files).json() == ["a.txt", 5, "hi"]


def test_a_function_knows_its_file(server: Server) -> None:
    file, name, path = server.get("/api/where").json()
    assert file == f"{server.dir}/api/where.py"
    assert name.startswith("owt.endpoint.file:")
    assert path == "/api/where"


OWN = {
    "code": "def run(): return 'CODE'",
    "code_b64": "ZGVmIHJ1bigpOiByZXR1cm4gJ0NPREUn",
    "code_id": "sha256:" + "0" * 64,
    "fn_name": "speak",
    "kwargs": "{'a': __import__('os').getpid()}",
    "kwargs_b64": "X19pbXBvcnRfXygnb3MnKS5nZXRwaWQoKQ==",
    "use_cache": "true",
    "cache_kwargs": "nonsense",
    "cache_key_override": "one",
}


def test_parameters_of_owt_are_ordinary_fields(server: Server) -> None:
    assert server.get("/api/echo", params=OWN).json() == OWN
    assert server.post("/api/echo", data=OWN).json() == OWN
    assert server.post("/api/echo", json=OWN).json() == OWN
    assert server.post("/api/echo", files={name: (None, value) for name, value in OWN.items()}).json() == OWN
    strange = {"code": 1, "fn_name": [], "kwargs": {"x": 1}, "use_cache": "maybe"}
    assert server.post("/api/echo", json=strange).json() == strange
    twice = server.get("/api/echo?code=1&code_id=2&code=3")
    assert twice.json() == {"code": "1", "code_id": "2"}
    assert server.post("/api/upload", files={"file": ("f", b"1"), "code": ("c.py", b"def run(): 1")}).status_code == 400


# ---- names that lead nowhere

ASTRAY = [
    "_hidden",
    ".hidden",
    "sub/_hidden",
    "_sub/x",
    ".sub/x",
    "..",
    "%2e%2e/outside/secret",
    "..%2foutside%2fsecret",
    "%2e%2e%2foutside%2fsecret",
    "%252e%252e/outside/secret",
    "%252e%252e%252foutside%252fsecret",
    "..%5coutside%5csecret",
    "..\\outside\\secret",
    "%c0%ae%c0%ae/outside/secret",
    "%c0%ae%c0%ae%c0%afoutside%c0%afsecret",
    "%e0%80%ae%e0%80%ae/outside/secret",
    "..%c0%afoutside/secret",
    "%uff0e%uff0e/outside/secret",
    "....//outside/secret",
    "sub/../../outside/secret",
    "hello%00",
    "hello.py%00.txt",
    "hello.py",
    "hello/",
    "hello//",
    "sub",
    "sub/",
    "sub//deep/",
    "/hello%2f",
    "hello%20",
    "hello;x",
    "hello%0a",
    "hello%7f",
    "hello*",
    "~root",
    "away",
    "linked/secret",
    "inner/deep",
    "folder",
    "pipe",
    "notes",
    "notes.txt",
    "missing",
    "hello/missing",
    "x" * 5000,
    "a/" * 600 + "b",
    "%ed%a0%80",
    "%ff",
    "hello%ff",
    "C:%5chello",
    "file:%2f%2f%2fetc%2fpasswd",
    "__pycache__/hello",
    "owt.endpoint",
    "door",
]


def raw(server: Server, target: str, head: str = "") -> tuple[int, str]:
    """The answer to a request whose target goes out as it stands."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30 * SLOW) as connection:
        request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}\r\n"
        connection.sendall(request.encode("latin-1"))
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head_text, _, body = answer.partition(b"\r\n\r\n")
    return int(head_text.split()[1]), body.decode(errors="replace")


@pytest.mark.parametrize("name", ASTRAY)
def test_no_name_leads_astray(server: Server, name: str) -> None:
    for prefix in ("/api/", "/bare/", "/lazy/"):
        status, body = raw(server, prefix + name)
        assert status in (400, 404, 414), body
        for word in (str(server.dir), "hidden'", "outside", "Errno", "Traceback"):
            assert word not in body.replace(name, ""), body


def test_what_leads_nowhere_is_told_alike(server: Server) -> None:
    answers = {
        raw(server, f"/api/{name}") for name in ("missing", "_hidden", "away", "folder", "linked/secret", "pipe")
    }
    assert len(answers) == 1
    status, body = answers.pop()
    assert status == 404
    assert "No function is published under this name." in body
    problem = server.get("/api/missing", headers={"Accept": "application/json"})
    assert problem.headers["Content-Type"] == "application/problem+json"
    assert problem.json()["status"] == 404


def test_a_link_to_a_file_of_the_directory_is_one(server: Server) -> None:
    assert server.get("/api/link").text == "Hello, you!"


def test_other_methods(server: Server) -> None:
    assert server.curl("/api/hello", "-X", "PUT", "-o", "/dev/null", "-w", "%{http_code}").stdout == "405"
    assert server.curl("/api/hello", "-X", "OPTIONS", "-o", "/dev/null", "-w", "%{http_code}").stdout == "405"
    head = server.curl("/api/hello", "-I").stdout
    assert "200 OK" in head
    assert "Content-Length: 11" in head


# ---- failures


def test_what_fails_says_nothing_of_the_server(server: Server) -> None:
    failed = server.get("/api/fails")
    assert failed.status_code == 500
    assert failed.text.startswith("The function failed. Error id ")
    assert "secret" not in failed.text
    server.wait_log(r"ValueError: a secret")
    shown = server.get("/shown/fails")
    assert f'File "{server.dir}/api/fails.py", line 1, in run' in shown.text
    assert "a secret" in shown.text


@pytest.mark.parametrize("name", ["broken", "falls", "norun"])
def test_what_cannot_be_loaded(server: Server, name: str) -> None:
    path = f"{server.dir}/api/{name}.py"
    assert f"{path} cannot be loaded, its calls fail:" in server.error_log  # from the start
    for _ in range(2):
        answer = server.get(f"/api/{name}")
        assert answer.status_code == 500
        assert str(server.dir) not in answer.text
    assert server.get("/api/hello").text == "Hello, you!"  # the process is the same


def test_the_log_says_why_it_cannot_be_loaded(server: Server) -> None:
    assert "SyntaxError" in server.error_log
    assert "RuntimeError: at the top" in server.error_log
    assert "has no function 'run'" in server.error_log


# ---- who may call


def test_remote_clients_may(server: Server) -> None:
    assert server.get("/api/hello", headers={"X-Forwarded-For": "203.0.113.5"}).text == "Hello, you!"
    assert (
        server.post("/code/", json={"code": "lambda: 1"}, headers={"X-Forwarded-For": "203.0.113.5"}).status_code == 403
    )


def test_hosts(server: Server) -> None:
    assert server.get("/api/hello", headers={"Host": "api.example"}).text == "Hello, you!"
    rebound = server.get("/api/hello", headers={"Host": "evil.example"})
    assert rebound.status_code == 421
    assert "owt_allow host evil.example;" in rebound.text


FOREIGN = {
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
    "Origin": "https://page.example",
}


def test_pages_from_elsewhere_may_not(server: Server) -> None:
    assert server.get("/api/hello", headers=FOREIGN).status_code == 403
    assert server.post("/api/hello", headers=FOREIGN).status_code == 403
    allowed = server.get("/foreign/hello", headers=FOREIGN)
    assert allowed.text == "Hello, you!"
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://page.example"
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert server.get("/api/hello", headers=image).status_code == 403
    own = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
    assert server.get("/api/hello?name=page", headers=own).text == "Hello, page!"


def test_every_page_may_where_that_is_said(server: Server) -> None:
    assert server.post("/all/hello", json={"name": "all"}, headers=FOREIGN).text == "Hello, all!"


def test_logins(server: Server) -> None:
    assert server.get("/login/hello").status_code == 401
    assert server.get("/login/hello", auth=("alice", "alice")).status_code in (200, 401)


# ---- kept results


def test_results_are_kept_by_path_and_arguments(server: Server) -> None:
    def ask(target: str, **options: Any) -> tuple[str, str]:
        answer = server._client.request(options.pop("method", "GET"), target, **options)
        return answer.text, answer.headers.get("Cache-Status", "")

    first, status = ask("/kept/once?a=1")
    assert status == "owt; fwd=miss; stored"
    assert ask("/kept/once?a=1") == (first, "owt; hit")
    assert ask("/kept/once?a=2")[0] != first
    assert ask("/kept/once")[0] != first
    by_json = ask("/kept/once", method="POST", json={"a": 1})[0]
    assert ask("/kept/once", method="POST", json={"a": 1}) == (by_json, "owt; hit")
    assert ask("/kept/once", method="POST", json={"a": 2})[0] != by_json
    by_form = ask("/kept/once", method="POST", files={"a": ("f", b"1")})[0]
    assert ask("/kept/once", method="POST", files={"a": ("f", b"1")}) == (by_form, "owt; hit")
    assert ask("/kept/once", method="POST", files={"a": ("f", b"2")})[0] != by_form
    plain = {"Content-Type": "text/plain"}
    by_body = ask("/kept/once", method="POST", content=b"1", headers=plain)[0]
    assert ask("/kept/once", method="POST", content=b"1", headers=plain) == (by_body, "owt; hit")
    assert ask("/kept/once", method="POST", content=b"2", headers=plain)[0] != by_body
    assert ask("/api/once?use_cache=1") != ask("/api/once?use_cache=1")


def test_a_changed_file_has_results_of_its_own(server: Server) -> None:
    path = server.dir / "api/versioned.py"
    write(path, "def run(): return 'first'\n")
    wait_until(lambda: server.get("/kept/versioned").headers.get("Cache-Status") == "owt; hit", "a hit")
    write(path, "def run(): return 'second'\n")
    wait_until(lambda: server.get("/kept/versioned").text == "second", "the second version")
    wait_until(lambda: server.get("/kept/versioned").headers.get("Cache-Status") == "owt; hit", "a hit")
    assert server.get("/kept/versioned").text == "second"
    write(path, "def run(): return 'first'\n")
    wait_until(lambda: server.get("/kept/versioned").text == "first", "the first version")


# ---- files that change


def test_what_comes_is_published_at_once(server: Server) -> None:
    name = f"new{uuid.uuid4().hex}"
    assert server.get(f"/api/{name}").status_code == 404
    write(server.dir / f"api/{name}.py", "def run(): return 'new'\n")
    assert server.get(f"/api/{name}").text == "new"


def test_what_changes_is_loaded_anew(server: Server) -> None:
    path = server.dir / "api/changing.py"
    for n in range(3):
        write(path, f"def run(): return 'v{n}'\n")
        wait_until(lambda n=n: server.get("/api/changing").text == f"v{n}", "the new version")


def test_what_cannot_be_loaded_leaves_the_old_one(server: Server) -> None:
    path = server.dir / "api/patient.py"
    write(path, "def run(): return 'good'\n")
    assert server.get("/api/patient").text == "good"
    after = len(server.error_log)
    write(path, "def run(: return 'bad'\n")
    server.wait_log(f"{path} cannot be loaded, what it was before goes on to answer:", after=after)
    server.wait_log(r"\[error\].*SyntaxError", after=after)
    assert server.get("/api/patient").text == "good"
    time.sleep(2.5)  # looks, of which none may say it again
    assert server.error_log.count(f"{path} cannot be loaded", after) == 1
    assert server.get("/api/patient").text == "good"
    write(path, "def run(): return 'better'\n")
    wait_until(lambda: server.get("/api/patient").text == "better", "the better version")


def test_what_goes_is_withdrawn(server: Server) -> None:
    path = server.dir / "api/going.py"
    write(path, "def run(): return 'here'\n")
    assert server.get("/api/going").text == "here"
    path.unlink()
    wait_until(lambda: server.get("/api/going").status_code == 404, "it to be withdrawn")
    write(path, "def run(): return 'again'\n")
    wait_until(lambda: server.get("/api/going").text == "again", "it to be back")


def test_what_is_lazy_is_loaded_by_its_first_call(server: Server) -> None:
    assert "the lazy one is loaded" not in server.error_log
    assert server.get("/lazy/slow").text == "late"
    server.wait_log("the lazy one is loaded")


def test_a_running_call_ends_in_its_own_version(server: Server) -> None:
    path = server.dir / "api/long.py"
    text = "import time, pathlib\nWHICH = '{which}'\ndef run(gate, mark='/dev/null'):\n    pathlib.Path(mark).touch()\n    while not pathlib.Path(gate).exists(): time.sleep(.01)\n    return WHICH\n"
    write(path, text.format(which="old"))
    gate = server.dir / "gate-long"
    with ThreadPoolExecutor() as threads:
        running = threads.submit(server.get, "/api/long", params={"gate": str(gate), "mark": str(server.dir / "runs")})
        wait_until((server.dir / "runs").exists, "it to run")
        write(path, "def run(gate): return 'new'\n")
        wait_until(lambda: server.client().get("/api/long?gate=/").text == "new", "the new version")
        gate.touch()
        assert running.result().text == "old"


def test_edits_under_load_lose_and_mix_no_call(server: Server) -> None:
    """Every answer is one version's own, versions only go forward, and none fails."""
    path = server.dir / "api/edited.py"

    def version(n: int) -> str:
        return f"A = {n}\ndef run(x):\n    return f'{{A}} {{B}} {{x}}'\nB = {n}\n"

    write(path, version(0))
    assert server.get("/api/edited?x=0").text == "0 0 0"
    stop = threading.Event()
    written = 0

    def edit() -> None:
        nonlocal written
        while not stop.is_set():
            written += 1
            broken = written % 3 == 2
            write(path, "def run(:\n" if broken else version(written))
            stop.wait(0.35)

    def call(which: int) -> tuple[int, int]:
        client = server.client()
        newest = 0
        for n in range(1250):
            answer = client.get(f"/api/edited?x={which}-{n}")
            assert answer.status_code == 200, answer.text
            a, b, x = answer.text.split()
            assert a == b, answer.text
            assert x == f"{which}-{n}"
            assert int(a) >= newest
            newest = int(a)
        return newest, n + 1

    editor = threading.Thread(target=edit)
    editor.start()
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(call, range(8)))
    assert sum(count for _, count in results) == 10_000
    # However fast the calls were, some version after the first has answered in the end.
    wait_until(lambda: server.get("/api/edited?x=1").text.split()[0] != "0", "a newer version")
    stop.set()
    editor.join()


def test_reload_of_nginx_under_load(server: Server) -> None:
    stop = threading.Event()
    statuses: list[str] = []

    def call() -> None:
        client = server.client()
        while not stop.is_set():
            # nginx closes kept-alive connections when it reloads.
            statuses.append(client.get("/api/hello", headers={"Connection": "close"}).text)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    server.signal("reload")
    seen = len(statuses)
    wait_until(lambda: len(statuses) > seen + 50, "calls of the new workers")
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {"Hello, you!"}


def test_the_log_knows_what_was_called(server: Server) -> None:
    server.get("/tts?text=logged")
    wait_until(lambda: "/tts 200 [] [speak] [-]" in (server.dir / "owt.log").read_text(), "the line")


def test_owt_timeout(server: Server) -> None:
    write(server.dir / "api/sleeps.py", "import time\ndef run(): time.sleep(20)\n")
    wait_until(lambda: server.get("/api/typed?a=1").status_code == 200, "the server")
    assert server.get("/brief/sleeps").status_code == 504


def test_a_thousand_files(start: Any) -> None:
    conf = "owt_instance default { endpoints 4; }\nserver { listen 127.0.0.1:{port}; location /api/ { owt_root api; } location /code/ { owt; } }"
    server = Server(conf)
    write_all(server.dir, {f"api/f{n}.py": f"N = {n}\ndef run(): return N\n" for n in range(1000)})
    with server:
        for n in range(8):  # which have no room beside each other
            assert server.run(f"def run(): return 'code {n}'", path="/code/").text == f"code {n}"
        pids = server.workers()
        assert [server.get(f"/api/f{n}").text for n in range(0, 1000, 7)] == [str(n) for n in range(0, 1000, 7)]
        write(server.dir / "api/f500.py", "def run(): return 'changed'\n")
        wait_until(lambda: server.get("/api/f500").text == "changed", "the changed one")
        assert server.workers() == pids


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read(server: Server) -> None:
    path = server.dir / "api/unreadable.py"
    write(path, "def run(): return 1\n")
    path.chmod(0)
    answer = server.get("/api/unreadable")
    assert answer.status_code == 500
    assert str(server.dir) not in answer.text
    server.wait_log(f"Permission denied.*{path}")


# What one function says of itself, or does when it is looked at, however odd.
HALF = "def run(a='x'):\n    '\\ud800'\n    return a\n"
ODD = {
    "default": "def run(a='\\ud800'): return a\n",
    "choice": "from typing import Literal\ndef run(a: Literal['\\ud800', 'b'] = 'b'): return a\n",
    "numbers": (
        "import enum\nclass E(enum.Enum):\n    A = float('nan')\n    B = 10**5000\ndef run(a: E = E.A): return 1\n"
    ),
    "extra": (
        "from typing import Annotated\nfrom msgspec import Meta\n"
        "def run(a: Annotated[int, Meta(extra_json_schema={'x': {1, 2}})] = 1): return 1\n"
    ),
    "circle": (
        "from typing import Annotated\nfrom msgspec import Meta\nd = {}\nd['d'] = d\n"
        "def run(a: Annotated[int, Meta(extra_json_schema=d)] = 1): return 1\n"
    ),
    "format": (
        "from typing import Annotated\nfrom msgspec import Meta\n"
        "def run(a: Annotated[str, Meta(extra_json_schema={'format': ['x']})] = 'a'): return 1\n"
    ),
    "items": "def run(xs: list[int] = 5): return 1\n",
    "choices": "from typing import Literal\ndef run(xs: list[Literal['a', 'b']] = 5): return 1\n",
}
WORSE = {
    # These have no form, and are told of nowhere.
    "exits": "raise SystemExit('a script')\n",
    "looked": (
        "class M(type):\n    def __getattr__(cls, name): raise KeyboardInterrupt\n"
        "class A(metaclass=M): pass\ndef run(x: A = None) -> A: pass\n"
    ),
    "shape": (
        "from typing import Annotated\nfrom msgspec import Meta\n"
        "def run(a: Annotated[int, Meta(extra_json_schema={'anyOf': 3})] = 1): return 1\n"
    ),
}


# Python compiles that no more from 3.13 on, since when it takes the indentation out of docstrings.
(ODD if minor_version() < 13 else WORSE)["docstring"] = HALF


def test_no_file_takes_others_out_of_what_is_told() -> None:
    server = Server(
        "server { listen 127.0.0.1:{port}; location /api/ { owt_root odd; } location /lazy/ { owt_root odd lazy; }"
        " location = /mcp { owt_mcp {dir}/odd; } }"
    )
    files = {**ODD, **WORSE, "good": "def run(): return 1\n"}
    write_all(server.dir, {f"odd/{name}.py": text for name, text in files.items()})
    with server:
        check_what_is_told(server)


def check_what_is_told(server: Server) -> None:
    def strict(text: str) -> Any:
        return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))

    html = {"Accept": "text/html"}
    told = {*ODD, "good"}
    for prefix in ("/lazy/", "/api/"):
        assert 'href="good"' in server.get(prefix, headers=html).text
        assert told <= {path[1:] for path in strict(server.get(f"{prefix}openapi.json").text)["paths"]}
        for name in told:
            assert server.get(prefix + name, headers=html).status_code == 200, name
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    answer = server.post("/mcp", json=message, headers={"Accept": "application/json, text/event-stream"})
    assert told <= {tool["name"] for tool in strict(answer.text)["result"]["tools"]}


def test_a_link_with_deep_json_is_a_form(server: Server) -> None:
    link = {"Accept": "text/html", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    link |= {"Sec-Fetch-Dest": "document"}
    form = server.get("/api/configured?c=" + "[" * 6000, headers=link)
    assert (form.status_code, form.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


def test_a_name_that_no_tool_has_loads_nothing() -> None:
    server = Server("server { listen 127.0.0.1:{port}; location = /mcp { owt_mcp {dir}/api lazy; } }")
    write_all(server.dir, {f"api/tool{n}.py": "print('loaded')\ndef run(): return 1\n" for n in range(3)})
    with server:
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "tool3"}}
        headers = {"Accept": "application/json, text/event-stream"}
        assert "Unknown tool" in server.post("/mcp", json=message, headers=headers).text
        message["params"] = {"name": "tool1"}
        assert '"text":"1"' in server.post("/mcp", json=message, headers=headers).text
        assert server.error_log.count("owt: loaded") == 1


def test_more_files_than_stay_loaded_are_loaded_once_to_be_told_of() -> None:
    server = Server(
        "owt_instance default { endpoints 2; } server { listen 127.0.0.1:{port};"
        " location /lazy/ { owt_root api lazy; } location = /mcp { owt_mcp {dir}/api lazy; } }"
    )
    write_all(server.dir, {f"api/tool{n}.py": f"print('loaded')\ndef run(a{n}: int): return 1\n" for n in range(6)})
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    headers = {"Accept": "application/json, text/event-stream"}
    with server:
        for _ in range(3):
            assert len(server.get("/lazy/openapi.json").json()["paths"]) == 6
            answer = server.post("/mcp", json=message, headers=headers).json()
            arguments = [list(tool["inputSchema"]["properties"]) for tool in answer["result"]["tools"]]
            assert arguments == [[f"a{n}"] for n in range(6)]
        assert server.error_log.count("owt: loaded") == 6
        write(server.dir / "api/tool0.py", "def run(changed: int): return 1\n")
        assert '"changed"' in server.get("/lazy/openapi.json").text
        assert server.get("/lazy/tool0?changed=1").text == "1"


def test_the_list_reads_a_file_once_for_each_change() -> None:
    reads = "from owt.published import describe\nimport ast\n"
    reads += "count = []\nparse = ast.parse\n"
    reads += "def counting(*a, **k):\n    count.append(1)\n    return parse(*a, **k)\n"
    reads += "ast.parse = counting\ndef run():\n    found = len(count)\n    count.clear()\n    return found\n"
    server = Server(
        "server { listen 127.0.0.1:{port}; location /lazy/ { owt_root api lazy; } location = /count { owt_file count.py; } }"
    )
    write_all(server.dir, {"count.py": reads, "api/a.py": "def run(x): ...\n", "api/b.py": "def run(y): ...\n"})
    html = {"Accept": "text/html"}
    with server:
        server.get("/count")
        assert "(x)" in server.get("/lazy/", headers=html).text
        assert server.get("/count").text == "2"
        assert "(y)" in server.get("/lazy/", headers=html).text
        assert server.get("/count").text == "0"
        write(server.dir / "api/a.py", "def run(changed): ...\n")
        assert "(changed)" in server.get("/lazy/", headers=html).text
        assert server.get("/count").text == "1"


def test_where_an_application_is_published_is_its_root(server: Server) -> None:
    assert server.get("/site/?q=1").json() == ["/site", "/", "1"]
    assert server.get("/site").json() == ["/site", "/", None]
    made = server.post("/site/%C3%BC/3", data={"a": "b"}).json()
    assert made == {"n": 3, "path": "/ü/3", "form": {"a": "b"}}
    assert server.get("/site/go").headers["Location"] == "/site/"
    assert server.get("/site/none").status_code == 404
    assert server.get("/api/app").text == "/api/app /"
    assert server.get("/bare/app").text == "/bare/app /"
