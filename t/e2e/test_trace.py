"""traceparent (W3C Trace Context): what a call asks others for belongs to the trace of whoever has asked for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from harness import Server, wait_until

CONF = """
log_format traced "$request_uri $status trace=$owt_trace_id";
access_log traced.log traced;
owt_instance model { }
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /brief/ { owt; owt_timeout 300ms; }
    location /model/ { proxy_pass http://unix:{dir}/model.sock:/; include {root}/conf/owt_params; }
}
server { listen unix:{dir}/model.sock; owt_instance model; location / { owt; } }
"""

ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
TRACE = f"00-{ID}-{PARENT}-01"

#: Is asked by the others, and says what it was told.
INNER = "lambda request: [request.headers.get('traceparent'), request.headers.get('tracestate')]"

CLIENTS = {
    "urllib": """
import json, urllib.request
def ask(url, headers):
    return json.load(urllib.request.urlopen(urllib.request.Request(url, headers=headers)))
""",
    "http.client": """
import http.client, json, urllib.parse
def ask(url, headers):
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    try:
        for _ in range(2):  # on one connection
            connection.request("GET", "/?" + parts.query, headers=headers)
            answer = json.load(connection.getresponse())
        return answer
    finally:
        connection.close()
""",
    "requests": """
import requests
session = requests.Session()
def ask(url, headers):
    return session.get(url, headers=headers).json()
""",
    "requests, imported late": """
def ask(url, headers):
    import requests
    return requests.get(url, headers=headers).json()
""",
    "httpx": """
import httpx
def ask(url, headers):
    return httpx.get(url, headers=headers).json()
""",
    "httpx, asynchronous": """
import httpx
async def run(_, url, headers={}):
    async with httpx.AsyncClient() as client:
        return (await client.get(url, headers=headers)).json()
""",
    "aiohttp": """
import aiohttp
async def run(_, url, headers={}):
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return await answer.json()
""",
    "a thread": """
import json, queue, threading, urllib.request
def ask(url, headers):
    answers = queue.Queue()
    def work():
        answers.put(json.load(urllib.request.urlopen(urllib.request.Request(url, headers=headers))))
    threading.Thread(target=work).start()
    return answers.get()
""",
    "owt's own": """
import json, urllib.parse
from owt.client import Client
def ask(url, headers):
    parts = urllib.parse.urlsplit(url)
    code = urllib.parse.parse_qs(parts.query)["code"][0]
    return json.loads(Client(parts.netloc).call(code, headers=headers).text())
""",
}

RUN = "\ndef run(_, url, headers={}):\n    return ask(url, headers)\n"


@pytest.fixture(scope="module")
def inner(server: Server) -> Iterator[str]:
    yield str(server.client().build_request("GET", f"{server.url}/", params={"code": INNER}).url)


def ask(server: Server, client: str, path: str = "/", **fields: object) -> list[str | None]:
    code = CLIENTS[client]
    if "run(" not in code:
        code += RUN
    headers = fields.pop("traced", {"traceparent": TRACE, "tracestate": "a=1,b=2"})
    answer = server.post(path, json={"code": code, **fields}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_an_adaptor_sees_its_trace(server: Server) -> None:
    answer = server.post(json={"code": INNER}, headers={"traceparent": TRACE, "tracestate": "a=1"})
    assert answer.json() == [TRACE, "a=1"]


@pytest.mark.parametrize("client", CLIENTS)
def test_what_a_call_asks_for_belongs_to_its_trace(server: Server, inner: str, client: str) -> None:
    parent, state = ask(server, client, url=inner)
    assert parent is not None
    found = re.fullmatch(rf"00-{ID}-([0-9a-f]{{16}})-01", parent)
    assert found and found[1] not in (PARENT, "0" * 16)  # a step of its own
    assert state == "a=1,b=2"
    again, _ = ask(server, client, url=inner)
    assert again != parent


@pytest.mark.parametrize("client", CLIENTS)
def test_without_a_trace_nothing_is_said(server: Server, inner: str, client: str) -> None:
    assert ask(server, client, url=inner, traced={}) == [None, None]


@pytest.mark.parametrize("client", [one for one in CLIENTS])
def test_a_trace_that_the_adaptor_names_is_left_alone(server: Server, inner: str, client: str) -> None:
    other = f"00-{'a' * 32}-{'b' * 16}-00"
    assert ask(server, client, url=inner, headers={"Traceparent": other}) == [other, None]


@pytest.mark.parametrize(
    "bad", ["00-0-0-0", TRACE + "-more", TRACE.upper(), f"00-{'0' * 32}-{PARENT}-01", "ff" + TRACE[2:]]
)
def test_what_is_no_trace_is_ignored(server: Server, inner: str, bad: str) -> None:
    assert ask(server, "urllib", url=inner, traced={"traceparent": bad}) == [None, None]
    assert ask(server, "urllib", url=inner, traced=[("traceparent", TRACE), ("traceparent", TRACE)]) == [None, None]


def test_flags_of_a_later_version(server: Server, inner: str) -> None:
    """Only those that are known go on."""
    parent, _ = ask(server, "urllib", url=inner, traced={"traceparent": f"cc-{ID}-{PARENT}-ff-more"})
    assert parent and parent.startswith(f"00-{ID}-") and parent.endswith("-01")


def test_through_an_instances_proxy(server: Server, inner: str) -> None:
    parent, _ = ask(server, "urllib", "/model/", url=inner)
    assert parent and parent.startswith(f"00-{ID}-")


def test_calls_at_the_same_time_have_traces_of_their_own(server: Server, inner: str) -> None:
    """A connection that is kept between calls carries each one's."""
    for n in range(1, 5):
        id = f"{n:032x}"
        parent, _ = ask(server, "requests", url=inner, traced={"traceparent": f"00-{id}-{PARENT}-00"})
        assert parent and parent[:36] == f"00-{id}-" and parent.endswith("-00")


def test_commands_get_it_as_variables(server: Server) -> None:
    code = 'def run(): return shell(\'printf "%s %s" "$TRACEPARENT" "$TRACESTATE"\')'
    answer = server.post(json={"code": code}, headers={"traceparent": TRACE, "tracestate": "a=1"})
    assert re.fullmatch(rf"00-{ID}-[0-9a-f]{{16}}-01 a=1", answer.text)
    assert server.run(code).text == " "


def test_it_is_logged(server: Server) -> None:
    traced = {"traceparent": TRACE}
    log = server.dir / "traced.log"
    assert server.post("/?a", json={"code": "lambda: 1"}, headers=traced).status_code == 200
    assert server.post("/model/?b", json={"code": "lambda: 1"}, headers=traced).status_code == 200
    assert server.post("/?c", json={"code": "lambda: 1"}).status_code == 200
    assert server.post("/?d", json={"code": "lambda: 1"}, headers={"traceparent": "none"}).status_code == 200
    wanted = {f"/?a 200 trace={ID}", f"/model/?b 200 trace={ID}", "/?c 200 trace=-", "/?d 200 trace=-"}
    wait_until(lambda: wanted <= set(log.read_text().splitlines()), "the last of them to be logged")


@pytest.mark.parametrize(
    ("code", "path", "line"),
    [
        ("lambda: 1 / 0", "/", r"[0-9a-f]{8}"),
        ("def run():\n    yield 'x'\n    1 / 0", "/", r"[0-9a-f]{8}"),
        ("lambda: {'a': b'x'}", "/", r"JSON has no bytes: .*"),
        ("import time\ndef run():\n    while True: time.sleep(0.01)", "/brief/", r"it is cancelled"),
    ],
)
def test_failures_are_logged_with_it(server: Server, code: str, path: str, line: str) -> None:
    after = len(server.error_log)
    server.post(path, json={"code": code}, headers={"traceparent": TRACE}) if "yield" not in code else server.curl(
        path, "-H", f"traceparent: {TRACE}", "--form-string", f"code={code}"
    )
    server.wait_log(rf"owt: .*{line}, trace: {ID}(,|$)", after=after)


def test_failures_without_one_are_logged_as_ever(server: Server) -> None:
    after = len(server.error_log)
    assert server.run("lambda: 1 / 0").status_code == 500
    assert "trace:" not in server.error_log[after:]
