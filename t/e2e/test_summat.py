"""Pipelines that come with a request: every block, errors, many calls at a time, commands and their end."""

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from asking import Asking, leave, wait_text
from gate import Gate
from harness import Server, wait_until

CONF = """
owt_instance default { threads 8; env OF_THE_INSTANCE=yes; }
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /brief/ { owt; owt_timeout 300ms; }
    location /hidden/ { owt; owt_traceback off; }
}
"""


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# ---- every block -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "path", "fields", "answer"),
    [
        ("f(lambda name: 'hi ' + name)", "/", {"name": "owt"}, "hi owt"),
        ("pipe().f(lambda x: x + 1)", "/", {"kwargs": "5"}, "6"),
        ("f(lambda a, __last__: a + __last__)", "/", {"kwargs": "{'a': 1, '__last__': 2}"}, "3"),
        ("path().last().cast(int).f(lambda x: x + 1)", "/some/path/5", {}, "6"),
        ("exec(lambda name: print(name)).kwarg('name')", "/", {"name": "owt"}, "owt"),
        ("const([1, 2]).f(sum)", "/", {"ignored": 1}, "3"),
        ("const(None)", "/", {}, ""),
        ("clear().f(lambda _: 'no kwargs')", "/", {"x": 1, "y": 2}, "no kwargs"),
        ("clear()", "/", {"x": 1}, ""),
        ("identity()", "/", {"kwargs": "'test'"}, "test"),
        (
            "path().ix(0).cast(int).f(lambda x: x > 10).cond(pipe().const('more'), pipe().const('less'))",
            "/15",
            {},
            "more",
        ),
        (
            "path().ix(0).cast(int).f(lambda x: x > 10).cond(pipe().const('more'), pipe().const('less'))",
            "/5",
            {},
            "less",
        ),
        ("path().last().fork(pipe().f(len), pipe().const('right')).cast(str)", "/test", {}, "(4, 'right')"),
        ("kwargs(x=1, y=2).f(lambda x, y, z: x + y + z)", "/", {"x": 0, "z": 4}, "6"),
        ("kwarg('a')", "/", {"a": "x", "b": "y"}, "x"),
        ("path().ix(0).input().f(lambda name, __last__: __last__ + name)", "/hi-", {"name": "owt"}, "hi-owt"),
        ("query().get('a')", "/?a=1&a=2&b=3", {}, "1"),
        ("query()", "/?a=1&a=2&b=%C3%BC", {}, r'{"a":"1","b":"\u00fc"}'),
        ("query()", "/", {}, "{}"),
        ("json().get('extra')", "/", {"extra": "text"}, "text"),
        ("path()", "/", {}, '[""]'),
        ("path()", "/a/b%20c/?d", {}, '["a","b c"]'),
        ("importing('math').path().map(float).map(lambda x: math.sqrt(x))", "/4/9", {}, "[2.0,3.0]"),
        ("installing('werkzeug').const('there')", "/", {}, "there"),
        ("pipe().shell()", "/", {"kwargs": "'echo $0'"}, "bash"),
        ("shell().f(lambda out: out.decode().upper())", "/", {"kwargs": "'echo x'"}, "X"),
        ("bytes()", "/", {"kwargs": "'ü'"}, "ü"),
        ("path().map(lambda x: x[::-1]).foldl1(lambda x, y: x + y)", "/some/path", {}, "emoshtap"),
        ("map(len)", "/", {"kwargs": '["a", "bc"]'}, "[1,2]"),
        ("foldl(lambda acc, x: acc + x, 0).f(str)", "/", {"kwargs": "[1, 2, 3, 4, 5]"}, "15"),
        ("ix(1)", "/", {"kwargs": '["a", "b", "c"]'}, "b"),
        ("last()", "/", {"kwargs": '["a", "b", "c"]'}, "c"),
        ("get('a')", "/", {"kwargs": '{"__last__": {"a": 1}}'}, "1"),
        ("to(type(pipe().const(1))().const('x'))", "/", {}, "x"),
        ("f(lambda n: (f'{i},' for i in range(n)))", "/", {"n": 3}, "0,1,2,"),
    ],
)
def test_blocks(server: Server, code: str, path: str, fields: dict[str, Any], answer: str) -> None:
    got = server.run(code, path, **fields)
    assert (got.status_code, got.text.strip()) == (200, answer)


def test_only_the_first_name_of_a_chain_is_the_pipelines(server: Server) -> None:
    answer = server.run("path().cond(const('more'), const('less'))")
    assert (answer.status_code, "NameError: name 'const' is not defined" in answer.text) == (500, True)


def test_the_last_value_may_be_asynchronous(server: Server) -> None:
    later = "async def later(name): return f'hi {name}'\nrun = pipe().f(later)"
    stream = "async def stream(name):\n    yield 'hi '\n    yield name\nrun = pipe().f(stream)"
    assert [server.run(code, name="owt").text for code in (later, stream)] == ["hi owt", "hi owt"]


def test_a_stage_of_ones_own(server: Server) -> None:
    code = """
from owt.summat import Adaptor, KeepKWs

class Greet(Adaptor[str]):
    def call(self, /, *, __last__, name, **kwargs):
        return KeepKWs(f"{__last__} {name}")

run = pipe().const("hi").input().to(Greet()).f(lambda __last__, name: f"{__last__}, {name}")
"""
    assert server.run(code, name="owt").text == "hi owt, owt"


def test_a_stage_alone_is_an_endpoint(server: Server) -> None:
    code = """
from owt.summat import Adaptor, KeepKWs

class Greet(Adaptor[str]):
    def call(self, /, *, name, **kwargs):
        return KeepKWs(f"hi {name}")

run = Greet()
"""
    answer = server.run(code, name="owt", token="secret")
    assert answer.text == "hi owt"
    assert "secret" not in str(answer.headers)
    answer = server.run(code, fn_name="Greet", name="owt")
    assert (answer.status_code, "Greet()" in answer.text) == (400, True)


# ---- the request -----------------------------------------------------------------------------------------------------


def test_json_with_the_code_in_it(server: Server) -> None:
    """What is no parameter of owt's stays out of the keyword arguments, and is reached so."""
    body = {"code_b64": b64("f(lambda **kwargs: sorted(kwargs)).json()"), "extra": [1, {"a": None}]}
    assert server.post(json=body).json() == body


def test_json_with_the_code_in_the_query(server: Server) -> None:
    query = {"code": "json().get('a')"}
    assert server.post(params=query, json={"a": "b"}).text == "b"
    assert server.post(params=query, content=b'{"a": "b"}', headers={"Content-Type": "text/plain"}).text == "b"
    assert server.post(params={"code": "json().ix(0)"}, content=b'["b"]').text == "b"


def test_json_of_a_body_on_disk(server: Server) -> None:
    """nginx spools what is longer than client_body_buffer_size."""
    text = "x" * 200_000
    assert server.run("json().get('text').f(len)", text=text).text == "200000"


def test_json_twice_in_a_call(server: Server) -> None:
    assert server.run("fork(pipe().json().get('a'), pipe().json().get('a')).cast(list)", a="b").json() == ["b", "b"]


@pytest.mark.parametrize(
    "body",
    [
        {"content": b""},
        {"content": b"{"},
        {"content": b'{"a": 1} b'},
        {"content": b'"\xff"'},
        {"data": {"a": "b"}},
        {"files": {"a": b"b"}},
    ],
)
def test_json_of_what_is_none(server: Server, body: dict[str, Any]) -> None:
    answer = server.post(params={"code": "json()"}, **body)
    assert answer.status_code == 400
    assert answer.text.startswith("json(): the request's body is not JSON: ")
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_json_beside_flask(server: Server) -> None:
    code = "from flask import request\nrun = pipe().json().f(lambda body: [body['a'], request.json['a']])"
    assert server.run(code, a="b").json() == ["b", "b"]


def test_query_has_owts_own_parameters(server: Server) -> None:
    answer = server.get(params={"code": "query().f(sorted)", "extra": "1"})
    assert answer.json() == ["code", "extra"]


def test_the_request_is_read_when_the_call_runs(server: Server) -> None:
    """The pipe is built by the first call only."""
    code = "fork(pipe().path().last(), pipe().query().get('q')).cast(list)"
    answers = [server.run(code, f"/{i}?q={i * 2}").json() for i in range(3)]
    assert answers == [["0", "0"], ["1", "2"], ["2", "4"]]


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("files")
    root = top / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub/in.txt").write_text("in")
    (root / "inner").symlink_to("sub/in.txt")
    (top / "secret.txt").write_text("secret")
    (root / "outer").symlink_to(top / "secret.txt")
    (root / "up").symlink_to("..")
    return root


@pytest.mark.parametrize("name", ["sub/in.txt", "inner", "sub/../inner", "up/root/inner"])
def test_open_a_file(server: Server, root: Path, name: str) -> None:
    answer = server.run(f"kwarg('name').open({str(root)!r})", name=name)
    assert (answer.status_code, answer.text) == (200, "in")
    assert answer.headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "name", ["../secret.txt", "sub/../../secret.txt", "{top}/secret.txt", "outer", "up/secret.txt"]
)
def test_open_no_file_outside(server: Server, root: Path, name: str) -> None:
    answer = server.run(f"kwarg('name').open({str(root)!r})", name=name.format(top=root.parent))
    assert answer.status_code == 500
    assert "PermissionError: [Errno 13] outside of " in answer.text
    assert f"stage 2, open({str(root)!r}): PermissionError" in answer.text


def test_open_what_a_url_names(server: Server, root: Path) -> None:
    code = f"path().f('/'.join).open({str(root)!r})"
    assert server.curl("/sub/in.txt", "--form-string", f"code={code}").stdout == "in"
    outside = server.curl("/%2e%2e%2fsecret.txt", "--path-as-is", "--form-string", f"code={code}")
    assert "secret" not in outside.stdout.replace("secret.txt", "")


# ---- modules ---------------------------------------------------------------------------------------------------------


def test_importing_binds_for_later_stages(server: Server) -> None:
    code = """
run = (
    pipe()
    .importing("json", "os.path", "base64 as b")
    .path()
    .f(lambda p: json.dumps(p))
    .f(lambda x: [json.loads(x), os.path.sep, b.b16encode(b"a").decode()])
)
"""
    assert server.run(code, "/some/path").json() == [["some", "path"], "/", "61"]


def test_importing_calls_callables(server: Server) -> None:
    code = """
calls = []
run = pipe().importing(lambda: calls.append("called")).f(lambda a: [a, *calls])
"""
    assert server.run(code, a="b").json() == ["b", "called"]
    assert server.run(code, a="c").json() == ["c", "called", "called"]


def test_importing_in_one_adaptor_is_not_seen_in_another(server: Server) -> None:
    assert server.run("importing('fractions').f(lambda: str(fractions.Fraction(1, 2)))").text == "1/2"
    assert "name 'fractions' is not defined" in server.run("f(lambda: fractions)").text


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_an_error_names_block_and_stage(server: Server) -> None:
    answer = server.run("json().identity().get('extra')")
    assert answer.status_code == 500
    assert answer.text == "KeyError: 'extra'\nstage 3, get('extra'): KeyError\n"
    server.wait_log(r"\[error\].* stage 3, get\('extra'\): KeyError")


def test_an_error_shows_the_senders_lines_and_the_stage(server: Server) -> None:
    code = "def broken(x):\n    return x / 0\n\nrun = pipe().const(1).fork(\n    pipe().f(broken),\n    pipe())\n"
    lines = server.run(code).text.splitlines()
    assert lines[1].endswith("line 2, in broken") and lines[2].strip() == "return x / 0"
    assert lines[-3:] == [
        "ZeroDivisionError: division by zero",
        "stage 1, f(broken): ZeroDivisionError",
        "stage 2, fork(pipe().f(broken), pipe()): ZeroDivisionError",
    ]


def test_hidden_tracebacks_hide_the_stage_too(server: Server) -> None:
    answer = server.run("json().get('extra')", "/hidden/")
    assert answer.status_code == 500
    assert "stage" not in answer.text


def test_what_is_wrong_with_a_chain_is_said_when_it_is_loaded(server: Server) -> None:
    answer = server.run("path().ix('a').get('b')")
    assert answer.status_code == 500
    assert "path().ix('a').get('b')" in answer.text
    assert "TypeError: 'str' object cannot be interpreted as an integer" in answer.text


def test_abort_in_a_stage_is_an_answer(server: Server) -> None:
    code = "from werkzeug.exceptions import abort\nrun = pipe().f(lambda: abort(404))"
    assert server.run(code).status_code == 404


# ---- many calls at a time --------------------------------------------------------------------------------------------


def test_calls_do_not_mix(server: Server) -> None:
    """All are in the middle of the same pipe at the same time, and each ends with its own."""
    count = 8
    code = f"""
import threading
all_there = threading.Barrier({count})

run = (
    pipe()
    .kwargs(b=1)
    .exec(lambda **_: all_there.wait(60))
    .fork(pipe().kwarg("a"), pipe().path().last())
    .foldl(lambda acc, x: acc.append(x) or acc, [])
    .exec(lambda _: all_there.wait(60))
    .input()
    .f(lambda __last__, a: [*__last__, a])
)
"""

    def ask(i: int) -> Any:
        return json.loads(Asking(server, code, f"/{i}", a=i).answer().body)

    with ThreadPoolExecutor(count) as pool:
        assert list(pool.map(ask, range(count))) == [[i, str(i), i] for i in range(count)]


# ---- commands --------------------------------------------------------------------------------------------------------

#: A command that says who it is and then waits for ever, as does its child.
FOREVER = 'sh -c "echo \\$\\$ > \\"$file.child\\"; sleep 1000; true" & echo $$ > "$file"; wait'


def pid_in(file: Path) -> int:
    return int(wait_until(lambda: (text := wait_text(file)).endswith("\n") and text, f"a number in {file}"))


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_gone(*pids: int) -> None:
    wait_until(lambda: all(map(is_gone, pids)), f"the end of the processes {pids}")


def test_a_command_has_the_keyword_arguments_and_the_instances_variables(server: Server, tmp_path: Path) -> None:
    code = "const('printf %s \"$name $OF_THE_INSTANCE\"').input().shell()"
    name = f"$(touch {tmp_path}/hole); \"'`"
    answer = server.run(code, name=name)
    assert (answer.status_code, answer.text) == (200, f"{name} yes")
    assert list(tmp_path.iterdir()) == []
    answer = server.run(code, PATH="/tmp")
    assert "ValueError: 'PATH' cannot be a variable of the command" in answer.text


def test_bytes_come_as_they_are(server: Server) -> None:
    answer = server.run("const(r\"printf '\\xff\\0'\").shell()")
    assert (answer.content, answer.headers["Content-Type"]) == (b"\xff\0", "application/octet-stream")


def test_a_failing_command_is_told_with_its_stderr(server: Server) -> None:
    answer = server.run("const('echo out; echo what went wrong >&2; exit 3').shell()")
    assert answer.status_code == 500
    assert "owt.lib.shell.CommandFailed: the command ended with status 3: what went wrong\n" in answer.text
    assert answer.text.endswith("stage 2, shell(): CommandFailed\n")


def test_stderr_of_a_success_is_logged(server: Server) -> None:
    assert server.run("def run(): return shell('echo out; echo a warning >&2')").text == "out\n"
    server.wait_log(r"\[warn\].* a warning")


def test_the_librarys_module_is_an_adaptor(server: Server) -> None:
    assert server.run("from owt.lib.shell import run", cmd="echo hi").text == "hi\n"


ASYNC = """
import asyncio
async def run(file, command):
    return await asyncio.to_thread(shell, command, file=file)
"""


@pytest.mark.parametrize(
    "code",
    [
        "run = pipe().kwargs().f(lambda file, command: shell(command, file=file))",
        "kwarg('command').input().shell()",
        "def run(file, command): yield shell(command, file=file)",
        ASYNC,
    ],
    ids=["function", "block", "generator", "async"],
)
def test_a_command_ends_when_its_client_goes(server: Server, tmp_path: Path, code: str) -> None:
    file = tmp_path / "pid"
    asked = Asking(server, code, file=str(file), command=FOREVER)
    pids = pid_in(file), pid_in(tmp_path / "pid.child")
    assert not any(map(is_gone, pids))
    leave(server, asked)
    wait_gone(*pids)
    assert server.run("const('still here').identity()").text == "still here"


OUTPUT_UNTIL_IT_RUNS = """
import asyncio, pathlib
async def run(file, command):
    running = asyncio.create_task(asyncio.to_thread(shell, command, file=file))
    while not all(pathlib.Path(name).exists() for name in (file, file + ".child")):
        yield "."
        await asyncio.sleep(0.01)
    yield await running
"""


def test_a_command_ends_when_its_time_is_up(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    asked = Asking(server, OUTPUT_UNTIL_IT_RUNS, "/brief/", file=str(file), command=FOREVER)
    assert not asked.answer().whole
    wait_gone(pid_in(file), pid_in(tmp_path / "pid.child"))


def test_a_command_ends_when_the_worker_has_to(start: Callable[..., Server], tmp_path: Path) -> None:
    conf = "server { listen 127.0.0.1:{port}; location / { owt; } }"
    server = start(conf, main="worker_shutdown_timeout 100ms;")
    file = tmp_path / "pid"
    asked = Asking(server, "kwarg('command').input().shell()", file=str(file), command=FOREVER)
    pids = pid_in(file), pid_in(tmp_path / "pid.child")
    server.signal("quit")
    wait_gone(*pids)
    asked.leave()


def test_a_command_at_the_top_of_a_module_does_not_end_with_the_call(server: Server, tmp_path: Path) -> None:
    """A load is never cancelled: the next call finds it warm."""
    gate = Gate(tmp_path)
    code = f"""
made = shell('echo x >> "$gate.runs"; touch "$gate.reached"; until [ -e "$gate" ]; do sleep 0.01; done; echo made', gate={str(gate)!r})
def run(): return made
"""
    asked = Asking(server, code)
    gate.wait_reached()
    leave(server, asked)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(server.run, code)
        gate.open()
        assert waiting.result().text == "made\n"
    assert (tmp_path / "gate.runs").read_text() == "x\n"


def test_commands_run_beside_each_other(server: Server, tmp_path: Path) -> None:
    """Each waits for the other's file."""
    code = "kwarg('command').input().shell()"
    command = 'touch "$mine"; until [ -e "$other" ]; do sleep 0.01; done; echo met'
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    asked = [Asking(server, code, command=command, mine=mine, other=other) for mine, other in ((a, b), (b, a))]
    assert [one.answer().text for one in asked] == ["met\n", "met\n"]


def test_no_command_leaves_anything_behind(server: Server) -> None:
    """Neither descriptors nor threads."""
    look = """
import os, threading
def run(): return [len(os.listdir("/proc/self/fd")), threading.active_count()]
"""

    def ends_at(before: list[int]) -> bool:
        return all(now <= then for now, then in zip(server.run(look).json(), before, strict=True))

    server.run("shell()", kwargs="'true'")
    before = server.run(look).json()
    for _ in range(20):
        assert server.run("shell()", kwargs="'true'").status_code == 200
        assert server.run("shell()", kwargs="'false'").status_code == 500
    wait_until(lambda: ends_at(before), f"descriptors and threads as before: {before}")
