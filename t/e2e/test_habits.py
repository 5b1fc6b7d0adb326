"""What people bring along: Flask's ways, logging, a module that is not there."""

import re

import pytest
from harness import Server

CONF = """
server {
    listen 127.0.0.1:{port};
    location / { owt; }
}
"""

# ---- Flask ----------------------------------------------------------------------------------------------------------

AFTER = """
from flask import after_this_request, Response
def mark():
    @after_this_request
    def add(response):
        response.headers["X-After"] = "yes"
        response.set_cookie("seen", "1")
        return response
def text():
    mark()
    return "text"
def tuple_():
    mark()
    return {"a": 1}, 201, {"X-Own": "1"}
def stream():
    mark()
    return (part for part in ("a", "b"))
def response():
    mark()
    return Response("own", status=202)
def file():
    import pathlib
    mark()
    return pathlib.Path(__file__)
async def later():
    mark()
    return "later"
"""


@pytest.mark.parametrize(
    ("function", "status", "body"),
    [
        ("text", 200, "text"),
        ("tuple_", 201, '{"a":1}\n'),
        ("stream", 200, "ab"),
        ("response", 202, "own"),
        ("file", 200, AFTER),
        ("later", 200, "later"),
    ],
)
def test_after_this_request(server: Server, function: str, status: int, body: str) -> None:
    answer = server.run(AFTER, fn_name=function)
    assert (answer.status_code, answer.text) == (status, body)
    assert answer.headers["X-After"] == "yes"
    assert answer.headers["Set-Cookie"].startswith("seen=1;")


def test_after_this_request_may_answer_by_itself(server: Server) -> None:
    code = """
from flask import after_this_request, jsonify
def run():
    @after_this_request
    def instead(response):
        return jsonify(instead=response.get_data(as_text=True))
    return "text"
"""
    answer = server.run(code)
    assert answer.json() == {"instead": "text"}
    assert answer.headers["Content-Type"] == "application/json"


def test_a_session_lasts_from_call_to_call(server: Server) -> None:
    code = """
from flask import session
def run():
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])
"""
    client = server.client()
    assert [client.post("/", json={"code": code}).text for _ in range(3)] == ["1", "2", "3"]
    assert server.run(code).text == "1"
    server.signal("reload")
    assert client.post("/", json={"code": code}).text == "4"
    client.cookies.set("session", "forged", domain="127.0.0.1")


def test_who_does_not_touch_the_session_sets_no_cookie(server: Server) -> None:
    answer = server.run("from flask import request\ndef run(): return request.path")
    assert "Set-Cookie" not in answer.headers
    assert "Vary" not in answer.headers


# ---- words ----------------------------------------------------------------------------------------------------------


def test_logging_reaches_the_log(server: Server) -> None:
    code = """
import logging
log = logging.getLogger("mine")
def run(_):
    for level in ("debug", "info", "warning", "error"):
        getattr(log, level)(f"a word at {level}")
"""
    assert server.run(code).status_code == 200
    for level, name in (("info", "INFO"), ("warn", "WARNING"), ("error", "ERROR")):
        server.wait_log(rf"\[{level}\].*{name}:mine:a word at")
    assert "a word at debug" not in server.error_log


def test_logging_within_a_coroutine(server: Server) -> None:
    code = "import logging\nasync def run(_, n):\n    logging.warning(f'number {n}')\n    return n"
    assert [server.run(code, n=str(n)).text for n in range(3)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "code", ["import no_such_thing\ndef run(): pass", "def run():\n    from no_such_thing import x"]
)
def test_a_missing_module_is_told_with_the_ways_to_get_it(server: Server, code: str) -> None:
    answer = server.run(code)
    assert answer.status_code == 500
    assert re.search(
        r"ModuleNotFoundError: No module named 'no_such_thing'\n'no_such_thing' is not in this", answer.text
    )
    assert "python_home DIR;" in answer.text


def test_a_block_in_a_module_is_led_on(server: Server) -> None:
    answer = server.run("installing('numpy')\ndef run(): pass")
    assert "NameError: name 'installing' is not defined" in answer.text
    assert "write pipe().installing(...)" in answer.text
