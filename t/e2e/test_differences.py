"""doc/adaptors.md, compared with a Flask server that runs code: what is said there is so."""

from __future__ import annotations

import re

import pytest
from harness import ROOT, Server

CONF = """
owt_zone results 1m;
server {
    listen 127.0.0.1:{port};
    location / { owt; owt_cache results; }
}
"""

SECTION = (ROOT / "doc/adaptors.md").read_text().partition("\n## Compared with a Flask server that runs code\n")[2]
ROWS = re.findall(r"^\| (`.*) \| (\d+.*) \|$", SECTION, re.M)
POINTS = re.findall(r"^- \*\*(.*?):?\*\*", SECTION, re.M)

# What is in a row's answer beside its status and what stands there in code.
ALSO = {
    "b64encode": "NameError: name 'base64' is not defined",
    "request.path": "NameError: name 'request' is not defined",
    "nan": '{"b":1,"a":null}\n',
    '"no", 404': '["no",404]\n',
    "1 / 0": "line 1, in run",
    "exit 3": "ended with status 3",
    "sys.exit": "SystemExit: no",
    "name): return name": "missing: name",
    "fn_name": "an expression, whose only function is run",
    "foldl": "foldl",
}


def test_there_are_rows_and_points() -> None:
    assert len(ROWS) == SECTION.count("\n| `") > 10
    assert set(POINTS) == set(TOLD)


@pytest.mark.parametrize(("sent", "answer"), ROWS)
def test_a_row(server: Server, sent: str, answer: str) -> None:
    code, _, fields = sent.partition(", with ")
    source = "\n".join(re.findall(r"`(.*?)`", code))
    given = dict(field.split("=") for field in re.findall(r"`(.*?)`", fields))
    told, _, _ = answer.partition(":")
    got = server.run(source, **given)
    assert got.status_code == int(told.split()[0]), got.text
    for text in re.findall(r"`(.*?)`", told):
        if "/" in text:
            assert got.headers["Content-Type"] == text
        else:
            assert got.text.rstrip() == text
            got = server.run(source, **given)  # what stands there next is told by the next call
    also = [text for part, text in ALSO.items() if part in sent]
    assert all(text in got.text for text in also), got.text


def who_is_answered(server: Server) -> None:
    call = {"json": {"code": "lambda: 'ran'"}}
    assert server.post("/", **call).text == "ran"
    own = server.post("/", **call, headers={"Origin": server.url})
    assert own.text == "ran"
    foreign = server.post("/", **call, headers={"Origin": "https://other.example"})
    assert foreign.status_code == 403
    renamed = server.post("/", **call, headers={"Host": "other.example"})
    assert renamed.status_code == 421
    for answer in (own, foreign, renamed):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def a_pasted_link(server: Server) -> None:
    typed = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-User": "?1"}
    for site in ("none", "cross-site"):
        shown = server.get("/", params={"code": "lambda: 'r' + 'an'"}, headers={**typed, "Sec-Fetch-Site": site}).text
        assert "Run this Py" in shown and "&#39;r&#39; + &#39;an&#39;" in shown.replace("'", "&#39;")
        assert "ran" not in re.sub(r"<style.*?</style>", "", shown, flags=re.S).replace("'r' + 'an'", "")


def results_that_are_kept(server: Server) -> None:
    count = "count = [0]\ndef run(_):\n    count[0] += 1\n    return f'{count[0]} of NAME'\n"
    first, second = count.replace("NAME", "a"), count.replace("NAME", "b")
    assert [server.run(first, "/kept", use_cache=True).text for _ in range(2)] == ["1 of a"] * 2
    assert server.run(second, "/kept", use_cache=True).text == "1 of b"
    assert server.run(first, "/kept", use_cache="false").text == "2 of a"


def code_is_never_run_to_guess(server: Server) -> None:
    code = "count = [0]\ndef run(name):\n    count[0] += 1\n    raise TypeError(f'call {count[0]}')\n"
    assert [server.run(code, name="x").text.rstrip().rpartition(" ")[2] for _ in range(2)] == ["1", "2"]


TOLD = {
    "Who is answered": who_is_answered,
    "A pasted link": a_pasted_link,
    "Results that are kept": results_that_are_kept,
    "Code is never run to guess": code_is_never_run_to_guess,
}


@pytest.mark.parametrize("point", TOLD)
def test_a_point(server: Server, point: str) -> None:
    TOLD[point](server)
