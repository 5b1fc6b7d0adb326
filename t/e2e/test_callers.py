"""examples/callers: the same call from several languages. Those whose compiler is not installed are skipped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import wave
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from harness import BUILD, ROOT, SLOW, Server

CONF = """
owt_instance default { threads 2; }
server {
    listen 127.0.0.1:{port};
    location / { owt; }
}
"""

CALLERS = ROOT / "examples/callers"

# What is run, after what has been compiled; and the program that this takes, with its package.
COMMANDS = {
    "shell": (["./call.sh"], [], "curl"),
    "python": (["/usr/bin/python3", "call.py"], [], "/usr/bin/python3"),
    "node": (["node", "call.mjs"], [], "node (package nodejs)"),
    "go": (["{built}"], ["go", "build", "-o", "{built}", "call.go"], "go (package golang-go)"),
    "haskell": (
        ["{built}"],
        ["ghc", "-v0", "-outputdir", "{built}.objects", "-o", "{built}", "call.hs"],
        "ghc (packages ghc and libghc-http-client-dev)",
    ),
}

# Far more sound than fits into all buffers on the way.
LONG = "o" * 10_000

Caller = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(scope="module", params=COMMANDS)
def caller(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Caller:
    """Starts a caller with these arguments."""
    command, build, needed = COMMANDS[request.param]
    if not shutil.which(needed.partition(" ")[0]):
        pytest.skip(f"{needed} is not installed: make examples installs it")
    built = str(tmp_path_factory.mktemp(request.param) / "call")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "GOCACHE": str(BUILD / "go"), "GOFLAGS": ""}
    if build:
        words = [word.format(built=built) for word in build]
        done = subprocess.run(words, cwd=CALLERS, env=environment, capture_output=True, text=True, timeout=300 * SLOW)
        assert done.returncode == 0, done.stderr

    def call(*arguments: str) -> subprocess.Popen[bytes]:
        words = [word.format(built=built) for word in command]
        return subprocess.Popen(
            [*words, *arguments], cwd=CALLERS, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    return call


def samples(sound: bytes) -> bytes:
    """What the WAV plays; its header tells no length."""
    with wave.open(BytesIO(sound)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 1, 8000)
        return file.readframes(len(sound))


def test_a_caller_gets_the_sound_of_its_text(server: Server, caller: Caller) -> None:
    sound, errors = caller(server.url, "Owt is").communicate(timeout=60 * SLOW)
    assert not errors
    played = samples(sound)
    # In dits: a dash is 3, a dot 1, a pause within a letter 1, after a letter 2 more, a space 3 and 2 more.
    letters = [(3 + 1) * 3, 1 + 1 + (3 + 1) * 2, 3 + 1, 3, (1 + 1) * 2, (1 + 1) * 3]
    assert len(played) == 480 * sum(letter + 2 for letter in letters)
    assert {played[0], played[3 * 480 + 10]} == {128}
    assert max(played[: 3 * 480]) > 200


def test_a_caller_fails_if_the_call_does(server: Server, caller: Caller) -> None:
    process = caller(server.url, "50%")
    output, errors = process.communicate(timeout=60 * SLOW)
    assert process.returncode != 0
    # http-client shows the beginning of the body only.
    assert b"No Morse code here for" in output + errors


def test_a_caller_hands_on_what_has_come_and_fails_if_no_more_comes(
    start: Callable[..., Server], caller: Caller
) -> None:
    server = start(CONF)
    server.expect(r"\[alert\].*exited on signal 9")
    process = caller(server.url, LONG)
    assert process.stdout
    assert process.stdout.read(4) == b"RIFF"
    # Nothing is in the log before nginx has sent the whole, and nobody has room for that.
    assert "POST" not in server.access_log
    for worker in server.workers():
        os.kill(worker, signal.SIGKILL)
    process.communicate(timeout=60 * SLOW)
    assert process.returncode not in (0, None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"text": "50%"}, "No Morse code here for '%', '0', '5': send letters from a to z and spaces.\n"),
        ({"text": "Zoë"}, "No Morse code here for 'ë': send letters from a to z and spaces.\n"),
        ({"text": "a\nb"}, "No Morse code here for '\\n': send letters from a to z and spaces.\n"),
        ({"text": 5}, "text wants str"),
        ({"text": ["sos"]}, "text wants str"),
        ({}, "missing: text"),
    ],
)
def test_what_has_no_morse_code(server: Server, arguments: dict[str, object], told: str) -> None:
    answer = server.run((CALLERS / "morse.py").read_text(), **arguments)
    assert answer.status_code == 400
    assert told in answer.text


def test_owt_without_a_caller(server: Server) -> None:
    done = subprocess.run(
        [ROOT / "bin/owt", "--address", server.url, "--file", CALLERS / "morse.py", "--arg", "text", "sos"],
        capture_output=True,
        timeout=60 * SLOW,
    )
    assert done.returncode == 0, done.stderr
    assert len(samples(done.stdout)) == 480 * (8 + 14 + 8)


def test_every_caller_is_in_the_list() -> None:
    files = {path.name for path in CALLERS.iterdir() if path.stem in ("call", "index")}
    readme = Path(CALLERS / "README.md").read_text()
    assert len(files) == len(COMMANDS) + 1
    assert not {name for name in files if f"| [{name}]({name}) |" not in readme}
