"""examples/chat: with a stand-in for transformers what the adaptor does of itself, with the real one what it says."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from asking import Asking, leave
from gate import Gate
from harness import ROOT, SLOW, Server, wait_until

CONF = """
owt_instance default {
    threads 4;
    python_path {root}/t/stand_in/chat;
    env CHAT_STAND_IN={dir};
    env CHAT_MODEL=some-model;
}
server {
    listen 127.0.0.1:{port};
    location / { owt; }
}
"""

CHAT = ROOT / "examples/chat"
CODE = (CHAT / "chat.py").read_text()


def journal(server: Server) -> list[dict[str, object]]:
    """See t/stand_in/chat/transformers.py."""
    file = server.dir / "journal"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def texts(answer: httpx.Response) -> list[str]:
    """Of an answer that is complete."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/event-stream"
    *events, done, end = answer.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: "))["text"] for event in events]


# ---- the adaptor -----------------------------------------------------------------------------------------------------


def test_words_come_as_they_are_said(server: Server) -> None:
    gate = Gate(server.dir)
    asked = Asking(server, CODE, text="one gate two")
    first = b'data: {"text": "user: "}\n\ndata: {"text": "one "}\n\n'
    assert asked.read(len(first)) == first
    gate.wait_reached()
    gate.open()
    rest = asked.answer()
    assert rest.whole
    assert rest.text.endswith('data: {"text": "two\\nassistant: "}\n\ndata: [DONE]\n\n')
    assert journal(server)[-1] == {"ended": "ended"}


@pytest.mark.parametrize("model", ["plain", "with-a-template"])
def test_what_was_said_before_is_in_mind(start: Callable[..., Server], model: str) -> None:
    server = start(CONF.replace("some-model", model))
    history = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "a"}]
    said = "".join(texts(server.run(CODE, text="b", history=history)))
    expected = {
        "plain": "system: be brief\nuser: a\nuser: b\nassistant: ",
        "with-a-template": "<system> be brief <user> a <user> b <says> ",
    }
    assert said == expected[model]
    # As a field of a form it is JSON.
    form = {"code": CODE, "text": "b", "history": json.dumps(history)}
    assert "".join(texts(server.post("/", data=form))) == said


def test_the_beginning_of_a_long_chat_is_forgotten(server: Server) -> None:
    server.run(CODE, text=" ".join(map(str, range(100))), most=30)
    told = journal(server)[-2]
    heard = told["heard"]
    assert isinstance(heard, list)
    assert (told["most"], len(heard), heard[0], heard[-1]) == (20, 20, "80", "99\nassistant:")


def test_how_it_is_to_speak(server: Server) -> None:
    server.run(CODE, text="a", temperature="0.5", most="8")
    told = journal(server)[-2]
    assert (told["temperature"], told["do_sample"], told["most"], told["pad_token_id"]) == (0.5, True, 8, 7)
    server.run(CODE, text="a", temperature=0, most=8)
    told = journal(server)[-2]
    assert ("temperature" in told, told["do_sample"]) == (False, False)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"text": "a", "temperature": -1}, "temperature is from 0 to 10, most is 1 or more tokens.\n"),
        ({"text": "a", "most": 0}, "temperature is from 0 to 10"),
        ({"text": "a", "most": 1.5}, "most wants int"),
        ({"text": "a", "temperature": "warm"}, "temperature wants float"),
        ({"text": "a", "history": [{"role": "god", "content": "x"}]}, "history[0].role wants one of"),
        ({"text": "a", "history": "x"}, "history[0] wants Message"),
        ({}, "missing: text"),
    ],
)
def test_what_makes_no_sense(server: Server, fields: dict[str, object], told: str) -> None:
    answer = server.run(CODE, **fields)
    assert (answer.status_code, told in answer.text) == (400, True), answer.text


def test_who_leaves_ends_what_is_said(server: Server) -> None:
    asked = Asking(server, CODE, text="ever", most=8)
    assert asked.read(30)
    leave(server, asked)
    wait_until(lambda: journal(server)[-1] == {"ended": "stopped"}, "the model to stop")


def test_a_model_that_fails_is_heard_of(server: Server) -> None:
    done = server.curl("/", "--json", json.dumps({"code": CODE, "text": "then fails", "most": 8}))
    assert done.returncode == 18
    assert done.stdout.startswith('data: {"text": "user: "}\n\ndata: {"text": "then "}\n\nevent: error\n')
    assert "data: RuntimeError: no room for another word\n" in done.stdout
    assert texts(server.run(CODE, text="again", most=8))


def test_the_script(server: Server) -> None:
    done = subprocess.run([CHAT / "chat.sh", server.url, 'it\'s "so"'], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, 'user: it\'s "so"\nassistant: \n'), done.stderr
    done = subprocess.run([CHAT / "chat.sh", server.url, "fails"], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert (done.stdout, "no room for another word" in done.stderr) == ("user: ", True)


# ---- with a real model -----------------------------------------------------------------------------------------------

VENV = os.environ.get("OWT_TRANSFORMERS", "")
real = pytest.mark.skipif(not VENV, reason="OWT_TRANSFORMERS names no virtualenv with transformers and torch")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of tiny.py."""
    made = tmp_path_factory.mktemp("tiny")
    subprocess.run([f"{VENV}/bin/python", CHAT / "tiny.py", made], check=True, timeout=600 * SLOW)
    return made


@pytest.fixture
def speaking(start: Callable[..., Server], tiny: Path) -> Server:
    conf = CONF.replace("python_path {root}/t/stand_in/chat;", f"python_home {VENV};")
    return start(conf.replace("some-model", str(tiny)))


SAID = {
    "Hello!": "Hello! I am a very small model, and I was made on this machine.",
    "Who are you?": "A GPT-2 of two layers. My tokens are bytes: ä, ☃ and all.",
}


@real
def test_a_model_says_what_it_has_learned(speaking: Server) -> None:
    for text, answer in SAID.items():
        said = texts(speaking.run(CODE, text=text, temperature=0, most=100))
        assert "".join(said) == answer
        assert len(said) > 5
    done = subprocess.run([CHAT / "chat.sh", speaking.url, "Hello!"], capture_output=True, text=True, timeout=60 * SLOW)
    assert done.returncode == 0, done.stderr


@real
def test_a_model_stops_when_its_listener_leaves(speaking: Server) -> None:
    """That one thread is free for another call is seen of the four that answer."""
    for _ in range(8):
        asked = Asking(speaking, CODE, text="x", temperature=5, most=200)
        assert asked.read(10)
        leave(speaking, asked)
    code = "import threading\ndef run(): return [thread.name for thread in threading.enumerate()]"
    wait_until(lambda: "(generate)" not in speaking.run(code).text, "the threads to end")
    assert "".join(texts(speaking.run(CODE, text="Hello!", temperature=0, most=100))) == SAID["Hello!"]


@real
def test_a_real_model_that_fails_is_heard_of(speaking: Server) -> None:
    code = CODE.replace('"max_new_tokens": most,', '"max_new_tokens": most, "repetition_penalty": -1.0,')
    answer = speaking.run(code, text="Hello!", most=100)
    assert answer.status_code == 500
    assert "ThreadFailed" in answer.text
    assert "penalty" in answer.text
