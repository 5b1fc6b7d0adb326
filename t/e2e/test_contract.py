"""What an adaptor may rely on: how it is loaded, what it is given, and what it may do in its process."""

import base64
import hashlib
import json
import stat
import textwrap
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from gate import PAUSE, Gate
from harness import PRELOAD, Server, child_has_threads, wait_until

CONF = """
client_body_buffer_size 16k;
client_max_body_size 256m;
owt_instance default { threads 8; }
server {
    listen 127.0.0.1:{port};
    location / { owt; add_header X-Connection $connection always; }
}
"""


def code_of(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def run(server: Server, text: str, **fields: object) -> httpx.Response:
    """Calls an adaptor that is indented as the test is."""
    return server.run(code_of(text), **fields)


def code_id(code: str) -> str:
    return f"sha256:{hashlib.sha256(code.encode()).hexdigest()}"


def at_once(calls: Iterable[Callable[[], Any]]) -> list[Any]:
    """What the calls return, made at the same time."""
    calls = list(calls)
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


class Asked:
    """A request that has been sent on a connection of its own and whose answer has yet to be read."""

    def __init__(self, server: Server, code: str, **fields: object) -> None:
        body = json.dumps({"code": code, **fields}).encode()
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket = server.connect()
        self.socket.sendall(head.encode() + body)

    def answer(self) -> str:
        """The status and the body of an answer that is not chunked."""
        with self.socket, self.socket.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
        return f"{head.split()[1].decode()} {body.decode()}"

    def leave(self) -> None:
        self.socket.close()


# ---- 1. binding ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "arguments", "text"),
    [
        ("def run(_): return 'ok'", {}, "ok"),
        ("def run(): return 'ok'", {}, "ok"),
        ("def run(request): return request.path", {}, "/"),
        ("def run(anything): return anything.path", {}, "/"),
        ("def run(request, name): return request.path + name", {"name": "x"}, "/x"),
        ("def run(r, *, name): return r.path + name", {"name": "x"}, "/x"),
        ("def run(request, /, name): return request.path + name", {"name": "x"}, "/x"),
        ("def run(name: str): return name", {"name": "x"}, "x"),
        ("def run(name): return name", {"name": "x"}, "x"),
        ("def run(text=''): return text or 'none'", {}, "none"),
        ("def run(text=''): return text or 'none'", {"text": "x"}, "x"),
        ("def run(request=None): return request.path", {}, "/"),
        ("def run(request=None, n=1): return f'{request.path}{n}'", {"n": 2}, "/2"),
        ("def run(x, y): return f'{x}{y}'", {"x": 1, "y": 2}, "12"),
        ("def run(x, y): return f'{x.path}{y}'", {"y": 2}, "/2"),
        ("def run(**kwargs): return str(kwargs)", {"a": 1}, "{'a': 1}"),
        ("def run(request, **kwargs): return request.path + str(kwargs)", {"a": 1}, "/{'a': 1}"),
        ("def run(*args): return str(args)", {}, "()"),
        ("def run(a, b, /, c): return f'{a}{b}{c}'", {"c": 3, "b": 2, "a": 1}, "123"),
        ("def run(request, a, /, *, b=2): return f'{a}{b}'", {"a": 1}, "12"),
        ("def run(*, a): return str(a)", {"a": 1}, "1"),
        ("def run(request: 'Request', a): return request.path + a", {"a": "x"}, "/x"),
        ("from werkzeug.wrappers import Request\ndef run(r: Request): return r.path", {}, "/"),
        ("from flask import Request\ndef run(r: Request): return r.path", {}, "/"),
        ("from __future__ import annotations\ndef run(name: str): return name", {"name": "x"}, "x"),
        ("lambda name: name", {"name": "x"}, "x"),
        ("lambda: 'ok'", {}, "ok"),
        ("lambda _: 'ok'", {}, "ok"),
        ("lambda request, name='n': request.path + name", {}, "/n"),
        ("import functools\nrun = functools.partial(lambda a, b: f'{a}{b}', b=2)", {"a": 1}, "12"),
        ("class C:\n    def go(self, a): return str(a)\nrun = C().go", {"a": 1}, "1"),
        ("class C:\n    def __call__(self, a): return str(a)\nrun = C()", {"a": 1}, "1"),
        ("class C:\n    @staticmethod\n    def go(_): return 'ok'\nrun = C.go", {}, "ok"),
        ("run = dict", {"a": 1}, '{"a":1}\n'),
    ],
)
def test_arguments_bind_as_the_signature_says(server: Server, code: str, arguments: dict[str, Any], text: str) -> None:
    answer = server.run(code, **arguments)
    assert (answer.status_code, answer.text) == (200, text)


def test_a_decorated_function_binds_as_what_it_wraps(server: Server) -> None:
    answer = run(
        server,
        """
        import functools
        def loud(fn):
            @functools.wraps(fn)
            def wrapper(*args, **kwargs):
                return fn(*args, **kwargs).upper()
            return wrapper

        @loud
        def run(request, name): return request.path + name
        """,
        name="x",
    )
    assert answer.text == "/X"


@pytest.mark.parametrize(
    ("code", "arguments", "text"),
    [
        ("def run(n): return str(n * 2)", {}, "10"),
        ("def run(n=1): return str(n * 2)", {}, "10"),
        ("def run(n: int): return str(n * 2)", {}, "10"),
        ("def run(n, /): return str(n * 2)", {}, "10"),
        ("def run(request, n): return f'{request.path}{n}'", {}, "/5"),
        ("def run(request, a, b): return f'{a}{b}'", {"a": 1}, "15"),
        ("def run(request, a, b): return f'{a}{b}'", {"b": 1}, "51"),
        ("def run(request, a, b=7): return f'{a}{b}'", {}, "57"),
        ("def run(request, *, a): return f'{a}'", {}, "5"),
        ("def run(request, __last__): return str(__last__)", {}, "5"),
        ("def run(**kwargs): return str(kwargs)", {}, "{'__last__': 5}"),
        ("lambda n: n * 2", {}, "10"),
        ("import math\nrun = math.factorial", {}, "120"),
    ],
)
def test_a_single_value_binds_to_the_only_free_parameter(
    server: Server, code: str, arguments: dict[str, Any], text: str
) -> None:
    answer = server.run(code, kwargs="5", **arguments)
    assert (answer.status_code, answer.text) == (200, text)


@pytest.mark.parametrize(
    ("code", "arguments", "signature"),
    [
        ("def run(request, a): pass", {}, "run(request, a)"),
        ("def run(request, a): pass", {"b": 1}, "run(request, a)"),
        ("def run(request, a): pass", {"a": 1, "b": 1}, "run(request, a)"),
        ("def run(): pass", {"a": 1}, "run()"),
        ("def run(*, a: int = 1): pass", {"b": 1}, "run(*, a: int = 1)"),
        ("def run(request, a, b): pass", {"kwargs": "5"}, "run(request, a, b)"),
        ("def run(): pass", {"kwargs": "5"}, "run()"),
        ("def run(request, a): pass", {"a": 1, "kwargs": "5"}, "run(request, a)"),
        ("def other(x, y): pass", {"fn_name": "other", "x": 1}, "other(x, y)"),
    ],
)
def test_what_does_not_fit_is_shown_the_signature(
    server: Server, code: str, arguments: dict[str, Any], signature: str
) -> None:
    answer = server.run(code, **arguments)
    assert answer.status_code == 400
    assert signature in answer.text


def test_an_annotation_that_is_no_requests_keeps_the_request_away(server: Server) -> None:
    answer = server.run("def run(name: str): return name")
    assert answer.status_code == 400
    assert "name" in answer.text


# ---- 2. three ways to write code -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "lambda name: f'{name}!'",
        "  lambda name: f'{name}!'",
        "\n\n# what it does\nlambda name: \\\n    f'{name}!'\n",
        "lambda name: (\n    name\n)\n+ '!'\n",
        "(lambda mark: lambda name: name + mark)('!')",
        "'{name}!'.format",
        "pipe().f(lambda name: name + '!')",
        "pipe() \\\n  .f(lambda name: name) \\\n  .f(lambda text: text + '!')",
        "pipe()\n  .f(lambda name: name)\n  .f(lambda text: text + '!')",
        "f(lambda name: name + '!')",
        "f(lambda name: name).f(lambda text: text + '!')",
        "def run(name): return name + '!'",
        "run = lambda name: name + '!'",
        "run = pipe().f(lambda name: name + '!')",
        "import os; run = lambda name: name + '!'",
        "mark = '!'\nrun = lambda name: name + mark\nrun",
    ],
)
def test_code_is_an_expression_a_pipeline_or_a_module(server: Server, code: str) -> None:
    answer = server.run(code, name="owt")
    assert (answer.status_code, answer.text) == (200, "owt!")


def test_a_terse_pipeline_reads_the_request(server: Server) -> None:
    assert server.run("path().f(lambda p: p[1])", "/a/b").text == "b"


def test_a_terse_pipeline_may_begin_with_a_value(server: Server) -> None:
    assert server.run("const([1, 2]).f(sum)").text == "3"


def test_an_unfinished_pipeline_is_a_function_of_a_module_too(server: Server) -> None:
    assert server.run("first = pipe().const('1')\nrun = first.f(lambda x: x + '2')").text == "12"


@pytest.mark.parametrize("code", ["1 + 1", "'text'", "None"])
def test_an_expression_that_nobody_can_call_is_refused(server: Server, code: str) -> None:
    answer = server.run(code)
    assert answer.status_code == 400
    assert "callable" in answer.text


def test_an_expression_has_no_other_function(server: Server) -> None:
    answer = server.run("lambda: 1", fn_name="other")
    assert answer.status_code == 400
    assert "other" in answer.text


def test_an_expression_that_fails_tells_its_line_and_runs_once(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "runs"
    code = f"[\n  open({str(file)!r}, 'a').write('x'),\n  undefined_name,\n][0]\n"
    answer = server.run(code)
    assert answer.status_code == 500
    assert "line 3" in answer.text
    assert "NameError: name 'undefined_name' is not defined" in answer.text
    assert file.read_text() == "x"


def test_a_module_that_fails_runs_once(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "runs"
    answer = server.run(f"with open({str(file)!r}, 'a') as f: f.write('x')\n1 / 0\ndef run(): pass\n")
    assert answer.status_code == 500
    assert "ZeroDivisionError" in answer.text
    assert file.read_text() == "x"


@pytest.mark.parametrize(
    ("code", "line", "shown"),
    [
        ("lambda: 1 +", 1, "lambda: 1 +"),
        ("\n\nlambda x: (x]\n", 3, "lambda x: (x]"),
        ("def run():\n    x = 1\n  y = 2\n", 3, "y = 2"),
        ("def run():\n    return 'é\n", 2, "return 'é"),
        ("def run(:\n    pass\n", 1, "def run(:"),
        ("f(lambda x: x).\n", 1, "f(lambda x: x)."),
        ("x = 1\nreturn x\n", 2, "return x"),
    ],
)
def test_a_syntax_error_shows_its_line_and_a_caret(server: Server, code: str, line: int, shown: str) -> None:
    answer = server.run(code)
    assert answer.status_code == 400
    assert f"line {line}\n" in answer.text
    assert shown in answer.text
    assert "^" in answer.text


def test_a_syntax_error_may_come_from_a_module_that_is_imported(server: Server, tmp_path: Path) -> None:
    """Which is a failure of the adaptor then, not its own syntax."""
    (tmp_path / "owt_bad_syntax.py").write_text("x = = 1\n")
    answer = server.run(f"import sys\nsys.path.append({str(tmp_path)!r})\nimport owt_bad_syntax\ndef run(): pass\n")
    assert answer.status_code == 500
    assert "owt_bad_syntax.py" in answer.text


def test_lines_are_the_senders(server: Server) -> None:
    for before in range(4):
        answer = server.run("\n" * before + "# comment\ndef run():\n    raise KeyError\n")
        assert f"line {before + 3}, in run" in answer.text


def test_lines_of_an_expression_are_the_senders(server: Server) -> None:
    answer = server.run("\n\nlambda: (\n  1 /\n  0\n)\n")
    assert "line 4, in" in answer.text
    assert "1 /" in answer.text


def test_lines_may_end_as_on_windows(server: Server) -> None:
    assert server.run("def run():\r\n    return 'ok'\r\n").text == "ok"
    assert "line 3, in run" in server.run("\r\ndef run():\r\n    raise KeyError\r\n").text


def test_code_may_lack_its_last_newline_and_begin_with_a_mark(server: Server) -> None:
    assert server.run("\ufeffdef run():\n    return 'ok'\n    # end").text == "ok"


def test_code_nested_too_deeply_is_refused(server: Server) -> None:
    answer = server.run("lambda: " + "(" * 5000 + ")" * 5000)
    assert answer.status_code == 400
    assert len(server.workers()) == 1


# ---- 3. an endpoint is a file ----------------------------------------------------------------------------------------


def owt_dir(server: Server) -> Path:
    return server.dir / "owt_temp"


def test_the_source_lies_as_it_came(server: Server) -> None:
    code = "def run():\r\n\treturn 'as it came \u00e9'  \n"
    file = Path(server.run(code.replace("'as it came \u00e9'", "__file__")).text)
    assert file.parent == owt_dir(server)
    assert file.read_bytes() == code.replace("'as it came \u00e9'", "__file__").encode()


def test_only_the_server_can_read_it(server: Server) -> None:
    server.run("def run(): pass")
    assert stat.S_IMODE(owt_dir(server).stat().st_mode) == 0o700


def test_it_is_a_module_whose_name_comes_from_its_hash(server: Server) -> None:
    code = "def run(): return __name__"
    name = server.run(code).text
    assert name.startswith("owt.endpoint.")
    assert code_id(code).removeprefix("sha256:") in name


def test_no_unfinished_files_are_left(server: Server) -> None:
    server.run("def run(): return 'finished'")
    assert {path.suffix for path in owt_dir(server).glob("*") if path.is_file() and path.name != "flask-secret"} == {
        ".py"
    }


def test_classes_pickle(server: Server) -> None:
    answer = run(
        server,
        """
        import dataclasses, pickle
        @dataclasses.dataclass
        class Point:
            x: int
        def run():
            point = pickle.loads(pickle.dumps(Point(3)))
            return [point == Point(3), type(point) is Point]
        """,
    )
    assert answer.json() == [True, True]


def test_the_source_can_be_inspected(server: Server) -> None:
    code = "\ndef helper():\n    return 1\n\ndef run():\n    import inspect\n    return inspect.getsource(helper)\n"
    assert server.run(code).text == "def helper():\n    return 1\n"


def test_a_warm_endpoint_shows_its_source_when_its_file_is_gone(server: Server) -> None:
    code = "def run():\n    raise KeyError  # here it is\n"
    server.run(code)
    for file in owt_dir(server).glob(f"*{code_id(code).removeprefix('sha256:')}*"):
        file.unlink()
    assert "# here it is" in server.run(code).text


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_other_processes_run_the_adaptors_own_functions(server: Server, method: str) -> None:
    code = code_of(
        """
        import multiprocessing, os
        def square(x): return [x * x, os.getpid()]
        def run(method):
            with multiprocessing.get_context(method).Pool(2) as pool:
                done = pool.map(square, range(5))
            return [[x for x, _ in done], os.getpid() in [pid for _, pid in done]]
        """
    )
    assert server.run(code, method=method).json() == [[0, 1, 4, 9, 16], False]


@child_has_threads
def test_a_pool_of_processes_runs_the_adaptors_own_functions(server: Server) -> None:
    answer = run(
        server,
        """
        from concurrent.futures import ProcessPoolExecutor
        def double(x): return 2 * x
        def run():
            with ProcessPoolExecutor(1) as pool:
                return list(pool.map(double, [1, 2]))
        """,
    )
    assert answer.json() == [2, 4]


def test_compiled_code_is_kept(server: Server) -> None:
    cached = Path(server.run("def run():\n    return __cached__\n").text)
    wait_until(cached.exists, str(cached))
    assert cached.is_relative_to(owt_dir(server))


def test_compiled_code_spares_the_next_process_the_compiler(start: Callable[..., Server]) -> None:
    server = start(CONF)
    code = "import os\ndef run(): return __cached__\n"
    cached = Path(server.run(code).text)
    before = cached.stat()
    server.signal("reload")
    assert server.run(code).text == str(cached)
    assert cached.stat().st_ino == before.st_ino


def test_a_code_id_works_after_a_restart(start: Callable[..., Server]) -> None:
    server = start(CONF)
    codes = [
        "def run(name): return f'module {name}'",
        "lambda name: f'lambda {name}'",
        "f(lambda name: f'pipe {name}')",
    ]
    for code in codes:
        server.run(code, name="1")
    server.signal("quit")
    server.start()
    answers = [server.post(json={"code_id": code_id(code), "name": "2"}).text for code in codes]
    assert answers == ["module 2", "lambda 2", "pipe 2"]


def test_a_code_id_works_in_every_worker(start: Callable[..., Server]) -> None:
    server = start(CONF, main="worker_processes 2;")
    code = "import os\ndef run(): return str(os.getpid())"
    seen = {server.run(code).text}

    def everybody() -> bool:
        with httpx.Client() as client:  # a new connection, perhaps to the other
            answer = client.post(server.url, json={"code_id": code_id(code)})
        assert answer.status_code == 200
        seen.add(answer.text)
        return len(seen) == 2

    wait_until(everybody, "answers from both workers")


def test_a_damaged_file_is_not_run(start: Callable[..., Server]) -> None:
    server = start(CONF)
    code = "def run(): return __file__"
    file = Path(server.run(code).text)
    server.signal("quit")
    file.write_text("def run(): return 'evil'")
    server.start()
    assert server.post(json={"code_id": code_id(code)}).status_code == 404
    assert server.run(code).text == str(file)


def test_the_prelude_is_there(server: Server) -> None:
    assert server.run("def run(): return pipe.__module__").text.startswith("owt")


def test_the_prelude_gives_way_to_the_adaptors_own_names(server: Server) -> None:
    assert server.run("def pipe(x): return x\ndef run(): return pipe('mine')").text == "mine"


def test_a_future_import_works(server: Server) -> None:
    code = "'''What it is.'''\nfrom __future__ import annotations\ndef run(a: undefined = 1): return [a, __doc__]\n"
    assert server.run(code).json() == [1, "What it is."]


# ---- 4. warm state ---------------------------------------------------------------------------------------------------


def test_the_top_level_runs_once(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "loads"
    code = f"open({str(file)!r}, 'a').write('x')\ndef run(n): return str(n)\n"
    assert [server.run(code, n=n).text for n in range(5)] == list("01234")
    assert file.read_text() == "x"


def test_globals_stay_warm(server: Server) -> None:
    code = code_of(
        """
        model = None
        def run(word):
            global model
            model = model or []
            model.append(word)
            return model
        """
    )
    assert [server.run(code, word=word).json() for word in "ab"] == [["a"], ["a", "b"]]


def test_other_code_has_other_globals(server: Server) -> None:
    code = "words = []\ndef run(word):\n    words.append(word)\n    return words\n"
    assert server.run(code + "# one\n", word="a").json() == ["a"]
    assert server.run(code + "# two\n", word="b").json() == ["b"]


def test_calls_run_at_the_same_time(server: Server) -> None:
    code = "import threading\nmeet = threading.Barrier(4)\ndef run(): return str(meet.wait(20))\n"
    assert sorted(answer.text for answer in at_once([lambda: server.client().post("/", json={"code": code})] * 4)) == [
        "0",
        "1",
        "2",
        "3",
    ]


def test_an_endpoint_is_loaded_once_for_callers_that_come_together(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    loads = tmp_path / "loads"
    code = f"{PAUSE}\nopen({str(loads)!r}, 'a').write('x')\npause({str(gate)!r})\ndef run(n): return str(n)\n"
    calls = [Asked(server, code, n=0)]
    gate.wait_reached()
    calls += [Asked(server, code, n=n) for n in range(1, 4)]
    # Another endpoint is not held up; once it has answered, the others have been started.
    assert server.run("def run(): return 'meanwhile'").text == "meanwhile"
    gate.open()
    assert [call.answer() for call in calls] == ["200 0", "200 1", "200 2", "200 3"]
    assert loads.read_text() == "x"


def test_a_failing_load_is_not_remembered(server: Server, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    code = f"import os\nif not os.path.exists({str(flag)!r}): raise RuntimeError('not yet')\ndef run(): return 'ok'\n"
    for _ in range(2):
        answer = server.run(code)
        assert answer.status_code == 500
        assert "RuntimeError: not yet" in answer.text
        assert "line 2, in <module>" in answer.text
    flag.touch()
    assert server.run(code).text == "ok"


def test_a_load_ends_though_its_caller_leaves(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    loads = tmp_path / "loads"
    code = f"{PAUSE}\nopen({str(loads)!r}, 'a').write('x')\npause({str(gate)!r})\ndef run(): return 'warm'\n"
    before = len(server.error_log)
    call = Asked(server, code)
    gate.wait_reached()
    call.leave()
    server.wait_log("client prematurely closed connection", after=before)
    gate.open()
    assert server.run(code).text == "warm"
    assert loads.read_text() == "x"


# ---- 5. the request --------------------------------------------------------------------------------------------------


def test_the_request_is_werkzeugs(server: Server) -> None:
    code = code_of(
        """
        import werkzeug
        def run(request):
            return [
                isinstance(request, werkzeug.Request), request.method, request.path, request.args["q"],
                request.headers["X-Word"], request.cookies["c"], request.remote_addr, request.scheme, request.host,
                request.url, request.full_path, request.cancelled,
            ]
        """
    )
    headers = {"X-Word": "w", "Cookie": "c=1", "Host": "localhost:99"}
    assert server.post("/a%20b?q=%C3%BC", json={"code": code}, headers=headers).json() == [
        True,
        "POST",
        "/a b",
        "ü",
        "w",
        "1",
        "127.0.0.1",
        "http",
        "localhost:99",
        "http://localhost:99/a%20b?q=ü",
        "/a b?q=%C3%BC",
        False,
    ]


def test_a_header_that_came_twice_is_a_list(server: Server) -> None:
    code = "def run(request): return request.headers['X-Word']"
    answer = server.post(json={"code": code}, headers=[("X-Word", "a"), ("X-Word", "b")])
    assert [word.strip() for word in answer.text.split(",")] == ["a", "b"]


def test_a_call_that_ignores_the_request_builds_none(start: Callable[..., Server]) -> None:
    server = start(CONF)
    code = code_of(
        """
        import werkzeug.wrappers
        built = 0
        original = werkzeug.wrappers.Request.__init__
        def count(self, *args, **kwargs):
            global built
            built += 1
            original(self, *args, **kwargs)
        werkzeug.wrappers.Request.__init__ = count
        def run(request, look=False):
            before = built
            if look:
                request.path, request.args
            return str(built - before)
        """
    )
    assert [server.run(code, look=look).text for look in (False, True, False)] == ["0", "1", "0"]


def test_a_request_may_be_used_after_its_call(server: Server) -> None:
    code = "kept = []\ndef run(request):\n    kept.append(request)\n    return kept[0].path\n"
    assert [server.run(code, path).text for path in ("/first", "/second")] == ["/first", "/first"]


UPLOAD = 64 << 20
MEASURE = """
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) << 10
def begin():
    import gc
    gc.collect()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return peak()
def drain(stream):
    size = 0
    while chunk := stream.read(1 << 16):
        size += len(chunk)
    return size
"""


def test_a_large_upload_is_read_from_its_file(server: Server) -> None:
    code = MEASURE + "def run(request):\n    before = begin()\n    return [drain(request.stream), peak() - before]\n"
    block = b"x" * (1 << 20)
    client = server.client()
    size, grown = client.post("/", params={"code": code}, content=(block for _ in range(UPLOAD >> 20))).json()
    assert size == UPLOAD
    assert PRELOAD or grown < UPLOAD / 4  # a sanitizer keeps what has been freed


def test_a_large_file_part_is_read_from_a_file(server: Server, tmp_path: Path) -> None:
    code = (
        MEASURE + "def run(request):\n    b = begin()\n    return [drain(request.files['data'].stream), peak() - b]\n"
    )
    file = tmp_path / "data"
    with file.open("wb") as data:
        data.truncate(UPLOAD)
    encoded = base64.urlsafe_b64encode(code.encode()).decode()
    size, grown = json.loads(server.curl(f"/?code_b64={encoded}", "-F", f"data=@{file}").stdout)
    assert size == UPLOAD
    assert PRELOAD or grown < UPLOAD / 4  # a sanitizer keeps what has been freed


def test_flask_works(server: Server) -> None:
    code = code_of(
        """
        from flask import request, jsonify, render_template_string
        def run(word):
            if request.args["how"] == "json":
                return jsonify(path=request.path, word=word)
            return render_template_string("{{ request.path }}: {{ word }}", word="<" + word)
        """
    )
    assert server.run(code, "/p?how=json", word="w").json() == {"path": "/p", "word": "w"}
    assert server.run(code, "/p?how=html", word="w").text == "/p: &lt;w"


def test_flasks_request_is_the_call_s_own(server: Server) -> None:
    code = "import flask\ndef run(request): return str(flask.request._get_current_object() is request)"
    assert server.run(code).text == "True"


def test_flasks_request_has_the_form(server: Server) -> None:
    code = "from flask import request\ndef run(): return [request.form['a'], request.files['f'].read().decode()]"
    assert server.post(params={"code": code}, data={"a": "1"}, files={"f": b"2"}).json() == ["1", "2"]


def test_flask_is_there_where_it_is_imported_late(server: Server) -> None:
    assert server.run("def run(_):\n    from flask import request\n    return request.path\n", "/late").text == "/late"


def test_flask_is_there_where_another_module_imports_it(start: Callable[..., Server]) -> None:
    server = start(
        "owt_instance default { python_path {dir}; }" + CONF.replace("owt_instance default { threads 8; }", "")
    )
    (server.dir / "views.py").write_text("import flask\ndef view():\n    return flask.request.path\n")
    assert server.run("import views\nrun = lambda _: views.view()\n", "/imported").text == "/imported"


def test_flask_is_there_for_a_stream(server: Server) -> None:
    code = "from flask import request\ndef run(_):\n    yield request.path\n    yield request.args['q']\n"
    assert server.run(code, "/p?q=1").text == "/p1"


def test_flask_is_there_for_a_coroutine(server: Server) -> None:
    code = "import asyncio\nfrom flask import request\nasync def run(_):\n    await asyncio.sleep(0)\n    return request.path\n"
    assert server.run(code, "/p").text == "/p"


def test_flask_s_abort_answers(server: Server) -> None:
    answer = server.run("from flask import abort\ndef run(_): abort(404, 'nowhere')")
    assert answer.status_code == 404
    assert "nowhere" in answer.text


# ---- 6. async --------------------------------------------------------------------------------------------------------


def test_a_coroutine_answers(server: Server) -> None:
    code = "import asyncio\nasync def run(name):\n    await asyncio.sleep(0)\n    return {'name': name}\n"
    assert server.run(code, name="owt").json() == {"name": "owt"}


def test_an_async_generator_streams(server: Server) -> None:
    code = "import asyncio\nasync def run(n):\n    for i in range(n):\n        await asyncio.sleep(0)\n        yield f'{i},'\n"
    assert server.run(code, n=4).text == "0,1,2,3,"


def test_a_coroutine_that_fails_is_a_500(server: Server) -> None:
    answer = server.run("import asyncio\nasync def run():\n    await asyncio.sleep(0)\n    raise KeyError('k')\n")
    assert answer.status_code == 500
    assert "line 4, in run" in answer.text
    assert "KeyError: 'k'" in answer.text
    assert "owt/engine/aio" not in answer.text


def test_coroutines_share_one_loop_that_is_none_of_the_threads(server: Server) -> None:
    code = code_of(
        """
        import asyncio, threading
        async def run(n): return [id(asyncio.get_running_loop()), threading.get_ident(), threading.current_thread().name]
        def plain(): return [0, threading.get_ident(), ""]
        """
    )
    seen = {json.dumps(server.run(code + f"# {n}", n=n).json()) for n in range(4)}
    assert len(seen) == 1
    ident = json.loads(seen.pop())[1]
    assert all(server.run(code, fn_name="plain").json()[1] != ident for _ in range(10))


def test_coroutines_need_no_threads(server: Server) -> None:
    code = code_of(
        """
        import asyncio
        come, event, loop = 0, asyncio.Event(), None
        async def run():
            global come
            come += 1
            await event.wait()
            return "released"
        async def release(n):
            while come < n:
                await asyncio.sleep(0.001)
            event.set()
            return "ok"
        """
    )
    calls = [Asked(server, code) for _ in range(40)]  # threads: 8
    assert server.run(code, fn_name="release", n=40).text == "ok"
    assert {call.answer() for call in calls} == {"200 released"}


def test_a_coroutine_whose_caller_leaves_is_cancelled(server: Server, tmp_path: Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    code = code_of(
        f"""
        import asyncio, pathlib
        async def run():
            try:
                pathlib.Path({str(begun)!r}).touch()
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                pathlib.Path({str(ended)!r}).touch()
                raise
        """
    )
    call = Asked(server, code)
    wait_until(begun.exists, "the coroutine")
    call.leave()
    wait_until(ended.exists, "its cancellation")


def test_a_coroutine_may_use_threads_and_processes(server: Server) -> None:
    code = code_of(
        """
        import asyncio
        async def run(request):
            number = await asyncio.to_thread(lambda: 42)
            process = await asyncio.create_subprocess_exec("sh", "-c", "exit 7")
            return [number, await process.wait(), request.path]
        """
    )
    assert server.run(code).json() == [42, 7, "/"]


def test_an_awaitable_is_awaited_wherever_it_comes_from(server: Server) -> None:
    code = "import asyncio\nasync def later(x):\n    await asyncio.sleep(0)\n    return x\nrun = lambda x: later(x)\n"
    assert server.run(code, x="1").text == "1"


# ---- 7. output -------------------------------------------------------------------------------------------------------


def test_print_carries_the_number_of_the_connection(server: Server) -> None:
    for n in range(3):
        answer = server.client().post("/", json={"code": "def run(n): print('number', n)", "n": n})
        server.wait_log(rf"\[info\].* \*{answer.headers['X-Connection']} .*number {n}$")


def test_print_goes_to_the_log_line_by_line(server: Server) -> None:
    answer = server.run("def run(): print('three', 'lines', sep='\\n'); print('un', end=''); print('finished', end='')")
    number = answer.headers["X-Connection"]
    for line in ("three", "lines", "unfinished"):
        server.wait_log(rf"\[info\].* \*{number} .*\b{line}$")


def test_what_is_printed_at_the_same_time_stays_apart(server: Server) -> None:
    code = code_of(
        """
        import threading
        meet = threading.Barrier(3)
        def run(word):
            for part in range(3):
                print(word, end="")
                meet.wait(20)
            print()
        """
    )
    at_once(
        [lambda word=word: server.client().post("/", json={"code": code, "word": word}) for word in ("ox", "yz", "qu")]
    )
    for word in ("ox", "yz", "qu"):
        server.wait_log(rf"\[info\].* \*\d+ .*\b{word * 3}$")


def test_a_stream_prints_with_the_number_of_its_connection(server: Server) -> None:
    answer = server.run("def run(_):\n    yield 'a'\n    print('between chunks')\n    yield 'b'\n")
    server.wait_log(rf"\[info\].* \*{answer.headers['X-Connection']} .*between chunks$")


def test_a_coroutine_prints_with_the_number_of_its_connection(server: Server) -> None:
    code = "import asyncio\nasync def run(_):\n    await asyncio.sleep(0)\n    print('from a coroutine')\n"
    answer = server.run(code)
    server.wait_log(rf"\[info\].* \*{answer.headers['X-Connection']} .*from a coroutine$")


def test_stderr_goes_to_the_log_at_warn(server: Server) -> None:
    answer = server.run("import sys\ndef run(): print('a warning', file=sys.stderr)")
    server.wait_log(rf"\[warn\].* \*{answer.headers['X-Connection']} .*a warning$")


def test_logging_goes_to_the_log(server: Server) -> None:
    answer = server.run("import logging\ndef run(): logging.getLogger('mine').warning('logged %s', 1)")
    server.wait_log(rf" \*{answer.headers['X-Connection']} .*logged 1$")


def test_logging_at_info_goes_to_the_log_once_asked_for(server: Server) -> None:
    code = "import logging\nlogging.basicConfig(level=logging.INFO)\ndef run(): logging.info('informed')"
    answer = server.run(code)
    server.wait_log(rf"\[info\].* \*{answer.headers['X-Connection']} .*informed$")


def test_unprintable_text_is_printed_all_the_same(server: Server) -> None:
    assert server.run("def run(): print('un\\x00print\\ud800able é \\x1b[1m end'); return 'ok'").text == "ok"
    server.wait_log("un.*print.*able.* end")


# ---- 8. exits are contained ------------------------------------------------------------------------------------------

EXITS = [
    "raise SystemExit(3)",
    "import sys; sys.exit()",
    "raise KeyboardInterrupt",
    "raise BaseException('b')",
    "exit()",
]


@pytest.mark.parametrize(
    "exit", [*EXITS, "raise GeneratorExit", "raise StopIteration", "import asyncio; raise asyncio.CancelledError"]
)
@pytest.mark.parametrize(
    "code",
    [
        "def run(_):\n    {}\n",
        "{}\ndef run(_): pass\n",
        "def run(_):\n    {}\n    yield 'x'\n",
        "async def run(_):\n    {}\n",
        "async def run(_):\n    {}\n    yield 'x'\n",
    ],
    ids=["function", "load", "generator", "coroutine", "async generator"],
)
def test_an_exit_is_this_calls_500(server: Server, code: str, exit: str) -> None:
    before = server.workers()
    answer = server.run(code.format(exit))
    assert answer.status_code == 500
    assert "line" in answer.text
    assert server.workers() == before
    assert server.run("async def run(): return 'alive'").text == "alive"


def test_an_exit_in_a_task_of_the_adaptors_leaves_the_loop_alone(server: Server) -> None:
    code = code_of(
        """
        import asyncio
        async def leave(): raise SystemExit(1)
        async def run():
            task = asyncio.create_task(leave())
            await asyncio.wait([task])
            return type(task.exception()).__name__
        """
    )
    before = server.workers()
    assert server.run(code).text == "SystemExit"
    assert server.run("async def run(): return 'alive'").text == "alive"
    assert server.workers() == before


def test_recursion_without_end_is_a_500(server: Server) -> None:
    answer = server.run("def run(_): return run(_)\n")
    assert answer.status_code == 500
    assert "RecursionError" in answer.text


# ---- 9. as in python3 ------------------------------------------------------------------------------------------------


def test_every_subprocess_has_its_true_exit_status(server: Server) -> None:
    code = code_of(
        """
        import subprocess
        def run(n):
            return [subprocess.run(["sh", "-c", f"exit {n}"]).returncode for _ in range(25)]
        """
    )
    answers = at_once([lambda n=n: server.client().post("/", json={"code": code, "n": n}) for n in range(1, 9)])
    assert [answer.json() for answer in answers] == [[n] * 25 for n in range(1, 9)]


def test_os_system_has_its_true_status(server: Server) -> None:
    code = "import os\ndef run(n): return [os.waitstatus_to_exitcode(os.system(f'exit {n}')) for _ in range(10)]"
    answers = at_once([lambda n=n: server.client().post("/", json={"code": code, "n": n}) for n in (0, 3, 7)])
    assert [answer.json() for answer in answers] == [[n] * 10 for n in (0, 3, 7)]


SIGNALS = "['grep', '-E', 'Sig(Blk|Ign)', '/proc/self/status']"


@pytest.mark.parametrize(
    "code",
    [
        f"import subprocess\ndef run(): return subprocess.check_output({SIGNALS})",
        f"import subprocess\ndef run(): return subprocess.check_output({SIGNALS}, close_fds=False)",
        f"import subprocess\ndef run(): return subprocess.check_output({SIGNALS}, preexec_fn=lambda: None)",
        "import os\ndef run(): return os.popen(\"grep -E 'Sig(Blk|Ign)' /proc/self/status\").read()",
        f"import asyncio\nasync def run():\n    p = await asyncio.create_subprocess_exec(*{SIGNALS}, stdout=-1)\n"
        "    return (await p.communicate())[0]",
        f"import subprocess, threading\ndef run():\n    got = []\n"
        f"    t = threading.Thread(target=lambda: got.append(subprocess.check_output({SIGNALS})))\n"
        "    t.start(); t.join()\n    return got[0]",
    ],
    ids=["run", "vfork", "fork", "popen", "asyncio", "thread"],
)
def test_a_child_blocks_and_ignores_no_signal(server: Server, code: str) -> None:
    masks = dict(line.split(":\t") for line in server.run(code).text.split("\n") if line)
    # 32 and 33 are the C library's own: what of them is ignored is inherited from whoever started the tests.
    own = 1 << 31 | 1 << 32
    assert {name: int(mask, 16) & ~own for name, mask in masks.items()} == {"SigBlk": 0, "SigIgn": 0}


def test_sigterm_ends_a_child(server: Server) -> None:
    code = code_of(
        """
        import subprocess
        def run():
            with subprocess.Popen(["sleep", "1000"]) as process:
                process.terminate()
                return str(process.wait(20))
        """
    )
    assert server.run(code).text == "-15"


def test_sigterm_ends_a_forked_child(server: Server) -> None:
    code = code_of(
        """
        import multiprocessing, time
        def run():
            codes = set()
            for _ in range(20):
                process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
                process.start()
                process.terminate()
                process.join(5)
                codes.add(process.exitcode)
                process.kill()
                if codes != {-15}:
                    break
            return str(codes)
        """
    )
    before = server.workers()
    assert server.run(code).text == "{-15}"
    assert server.workers() == before


def test_a_child_has_the_servers_path_and_a_real_python(server: Server) -> None:
    code = "import subprocess, sys\ndef run(): return subprocess.check_output([sys.executable, '-c', 'print(6 * 7)'])"
    assert server.run(code).text == "42\n"


def test_a_child_inherits_no_connection(server: Server) -> None:
    """So that a client sees the end of its own, whatever still runs."""
    assert (
        "socket:"
        not in server.run(
            "import subprocess\ndef run(): return subprocess.check_output('ls -l /proc/self/fd', shell=True, close_fds=False)"
        ).text
    )


def test_a_forked_child_that_returns_does_not_answer(server: Server) -> None:
    code = code_of(
        """
        import os
        def run():
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)
            return "parent" if pid else "child"
        """
    )
    client = server.client(limits=httpx.Limits(max_connections=1))
    before = server.workers()
    for _ in range(5):
        assert client.post("/", json={"code": code}).text == "parent"
    assert server.workers() == before


@pytest.mark.parametrize(
    "child",
    [
        "raise KeyError",
        "raise SystemExit(1)",
        "yield 'child'",
        "print('child', flush=True); yield 'child'; yield 'child'",
        "1 / 0; yield 'child'",
    ],
)
def test_a_forked_child_does_not_stream(server: Server, child: str) -> None:
    code = f"import os\ndef run():\n    pid = os.fork()\n    if not pid:\n        {child}\n    os.waitpid(pid, 0)\n    yield 'parent'\n"
    client = server.client(limits=httpx.Limits(max_connections=1))
    for _ in range(2):
        assert client.post("/", json={"code": code}).text == "parent"


def test_a_forked_child_holds_neither_client_nor_port(server: Server) -> None:
    code = code_of(
        """
        import os, time
        def tcp(pid):
            with open("/proc/net/tcp") as table:
                lines = [line.split() for line in table][1:]
            names = {f"socket:[{line[9]}]" for line in lines}
            found = 0
            for fd in os.listdir(f"/proc/{pid}/fd"):
                try:
                    found += os.readlink(f"/proc/{pid}/fd/{fd}") in names
                except FileNotFoundError:
                    pass  # listdir's own
            return found
        def run():
            read, write = os.pipe()
            pid = os.fork()
            if not pid:
                os.write(write, b"x")
                time.sleep(1000)
            os.read(read, 1)
            try:
                return [tcp(os.getpid()) > 1, tcp(pid)]
            finally:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                os.close(read)
                os.close(write)
        """
    )
    assert server.run(code).json() == [True, 0]


def test_threads_work(server: Server) -> None:
    code = code_of(
        """
        import threading
        def run():
            found = []
            thread = threading.Thread(target=lambda: found.append(threading.current_thread() is threading.main_thread()))
            thread.start()
            thread.join()
            return [*found, threading.main_thread().name, threading.current_thread() is threading.main_thread()]
        """
    )
    assert server.run(code).json() == [False, "MainThread", False]


def test_a_thread_outlives_its_call(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    done = tmp_path / "done"
    code = code_of(
        f"""
        import threading
        def work():
            pause({str(gate)!r})
            open({str(done)!r}, "w").close()
        def run(): threading.Thread(target=work).start()
        """
    )
    assert server.run(code + PAUSE).status_code == 200
    gate.wait_reached()
    gate.open()
    wait_until(done.exists, "the thread's work")


def test_threading_local_lasts_in_a_thread(start: Callable[..., Server]) -> None:
    server = start(CONF.replace("threads 8", "threads 1"))
    code = code_of(
        """
        import threading
        local = threading.local()
        def run():
            local.n = getattr(local, "n", 0) + 1
            return str(local.n)
        """
    )
    assert [server.run(code).text for _ in range(3)] == ["1", "2", "3"]


def test_context_variables_do_not_last(start: Callable[..., Server]) -> None:
    server = start(CONF.replace("threads 8", "threads 1"))
    code = "from contextvars import ContextVar\nv = ContextVar('v', default=0)\ndef run():\n    v.set(v.get() + 1)\n    return str(v.get())\n"
    assert [server.run(code).text for _ in range(3)] == ["1", "1", "1"]


def test_asyncio_run_works(server: Server) -> None:
    code = code_of(
        """
        import asyncio
        async def main():
            process = await asyncio.create_subprocess_exec("sh", "-c", "exit 5")
            await asyncio.sleep(0)
            return await process.wait()
        def run(): return str(asyncio.run(main()))
        """
    )
    assert server.run(code).text == "5"
    assert {answer.text for answer in at_once([lambda: server.client().post("/", json={"code": code})] * 4)} == {"5"}


def test_temporary_files_and_the_home_are_where_they_should_be(server: Server) -> None:
    code = "import tempfile\ndef run():\n    with tempfile.NamedTemporaryFile() as file: return file.name\n"
    assert server.run(code).text.startswith("/")


def test_text_files_are_utf_8(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("é🦉", encoding="utf-8")
    assert server.run(f"def run(): return open({str(file)!r}).read()").text == "é🦉"


@pytest.mark.parametrize(
    "name", ["SIGTERM", "SIGHUP", "SIGQUIT", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGALRM"]
)
def test_a_handler_for_a_signal_of_nginxs_is_refused(server: Server, name: str) -> None:
    answer = server.run(f"import signal\ndef run(): signal.signal(signal.{name}, signal.SIG_IGN)")
    assert answer.status_code == 500
    assert f"ValueError: {name}" in answer.text
    assert "nginx" in answer.text


PRELOADED = """
import signal

refusal = ""
got = []
try:
    signal.signal(signal.SIGTERM, lambda *_: None)
except ValueError as error:
    refusal = str(error)
before = signal.signal(signal.SIGRTMIN + 5, lambda number, frame: got.append(number))
"""


def test_a_preload_may_handle_other_signals(start: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "owt_preloaded.py").write_text(PRELOADED)
    conf = CONF.replace("threads 8;", f"threads 2; python_path {tmp_path}; preload owt_preloaded;")
    server = start(conf)
    code = code_of(
        """
        import signal, owt_preloaded
        def run():
            handler = signal.getsignal(signal.SIGRTMIN + 5)
            return [owt_preloaded.refusal, callable(handler), owt_preloaded.before == signal.SIG_DFL]
        """
    )
    refusal, *rest = server.run(code).json()
    assert "SIGTERM" in refusal
    assert "nginx" in refusal
    assert rest == [True, True]


def test_native_extensions_work(server: Server) -> None:
    code = "import numpy\ndef run(n): return str(int(numpy.arange(n).sum()))"
    answers = at_once([lambda n=n: server.client().post("/", json={"code": code, "n": n}) for n in (10, 100, 1000)])
    assert [answer.text for answer in answers] == ["45", "4950", "499500"]
