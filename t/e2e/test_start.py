"""nginx starts with the module, runs an adaptor each way that one can be sent, reloads and quits."""

import base64
from collections.abc import Callable
from pathlib import Path

from harness import Server

CONF = """
server {
    listen 127.0.0.1:{port};
    location / { owt; }
}
"""

ECHO = 'def run(request, name):\n    return f"Hello, {name}!"\n'


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_multipart_form(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "echo.py"
    file.write_text(ECHO)
    done = server.curl("/hello", "-F", f"code=@{file}", "--form-string", "name=owt")
    assert done.stdout == "Hello, owt!"


def test_json(server: Server) -> None:
    done = server.curl(
        "/hello", "--json", '{"code": "def run(request, name): return f\'Hello, {name}!\'", "name": "owt"}'
    )
    assert done.stdout == "Hello, owt!"


def test_query(server: Server) -> None:
    arguments = [f"code_b64={b64(ECHO)}", f"kwargs_b64={b64(repr({'name': 'owt'}))}"]
    done = server.curl("/hello", "-G", *(word for text in arguments for word in ("--data-urlencode", text)))
    assert done.stdout == "Hello, owt!"


def test_urlencoded_form(server: Server) -> None:
    assert server.post("/hello", data={"code": ECHO, "name": "owt"}).text == "Hello, owt!"


def test_the_code_is_loaded_once(server: Server) -> None:
    code = "import os\nn = 0\ndef run(_):\n    global n\n    n += 1\n    return [os.getpid(), n]\n"
    first, second = server.run(code).json(), server.run(code).json()
    assert first[0] in server.workers()
    assert second == [first[0], first[1] + 1]


def test_a_failure_names_its_line(server: Server) -> None:
    answer = server.run("def run(_):\n    return 1 / 0\n")
    assert answer.status_code == 500
    assert "return 1 / 0" in answer.text
    assert "line 2" in answer.text
    assert "ZeroDivisionError" in answer.text


def test_print_goes_to_the_error_log(server: Server) -> None:
    server.run("def run(_): print('ahoy', 1)")
    server.wait_log(r"\[info\].* ahoy 1")


def test_reload(start: Callable[..., Server]) -> None:
    server = start(CONF)
    worker = server.run("import os\ndef run(_): return [os.getpid()]").json()
    server.signal("reload")
    assert server.run("import os\ndef run(_): return [os.getpid()]").json() != worker
    assert server.run(ECHO, name="owt").text == "Hello, owt!"


def test_quit_and_start_again(start: Callable[..., Server]) -> None:
    server = start(CONF)
    assert server.run(ECHO, name="owt").text == "Hello, owt!"
    server.signal("quit")
    server.start()
    assert server.run(ECHO, name="owt").text == "Hello, owt!"
    server.signal("stop")


def test_quit_at_once(start: Callable[..., Server]) -> None:
    """Before Python is up."""
    start(CONF).signal("quit")


def test_an_unused_module_does_nothing(start: Callable[..., Server]) -> None:
    server = start("server { listen 127.0.0.1:{port}; return 200 plain; }")
    assert server.get().text == "plain"


def test_nginx_t_starts_no_python_of_its_own() -> None:
    """It asks the interpreter, which tells its version and goes."""
    server = Server(CONF, env={"PYTHONVERBOSE": "1"})
    done = server.test_conf()
    server.close()
    assert done.returncode == 0
    assert "import " not in done.stderr
