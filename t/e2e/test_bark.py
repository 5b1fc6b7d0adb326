"""examples/bark, with a stand-in for the model: what its adaptor answers and what its scripts do."""

from __future__ import annotations

import base64
import http.server
import json
import re
import subprocess
import threading
import wave
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from asking import Asking, leave
from harness import ROOT, Server, wait_until
from standing_in import CODE, CONF, SPEAKERS, StandIn, duration, pitch, samples
from virtualenvs import packages_of

BARK = ROOT / "examples/bark"
EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module", autouse=True)
def stand_in(server: Server) -> StandIn:
    return StandIn(server)


def ask(server: Server, text: str, **fields: object) -> Asking:
    return Asking(server, CODE, "/bark", text=text, **fields)


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([BARK / name, *map(str, arguments)], capture_output=True, timeout=60)


# ---- the adaptor -----------------------------------------------------------------------------------------------------


def test_speech_is_a_wav_that_grows_by_sentences(server: Server, stand_in: StandIn) -> None:
    gate = stand_in.gate("growing")
    asked = ask(server, "Hello there. Wait at gate growing. Bye.")
    first = asked.read(44 + 2 * duration("Hello there."))
    assert asked.response.headers["Content-Type"] == "audio/wav"
    assert asked.response.headers["Vary"] == "Accept"
    gate.wait_reached()
    assert len(samples(first)) == duration("Hello there.")
    assert not any("Bye." in line for line in stand_in.journal)
    gate.open()
    rest = asked.answer()
    assert rest.whole
    whole = samples(first + rest.body)
    assert len(whole) == sum(map(duration, ("Hello there.", "Wait at gate growing.", "Bye.")))
    assert abs(whole).max() > 8000


def test_speakers_sound_different(server: Server) -> None:
    heard = [pitch(samples(server.run(CODE, text="One two three.", speaker=speaker).content)) for speaker in SPEAKERS]
    default = pitch(samples(server.run(CODE, text="One two three.").content))
    assert abs(heard[0] - heard[1]) > 100
    assert default == heard[0]


def test_who_accepts_events_gets_them(server: Server) -> None:
    answer = server.post("/bark", json={"code": CODE, "text": "One. And two."}, headers=EVENTS)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Vary"] == "Accept"
    *events, done, end = answer.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    spoken = [json.loads(event.removeprefix("data: ")) for event in events]
    assert [(event["number"], event["of"], event["text"]) for event in spoken] == [(1, 2, "One."), (2, 2, "And two.")]
    sounds = [samples(base64.b64decode(event["wav"])) for event in spoken]
    assert [len(sound) for sound in sounds] == [duration("One."), duration("And two.")]


def test_long_sentences_are_spoken_in_pieces_that_fit(server: Server, stand_in: StandIn) -> None:
    before = len(stand_in.journal)
    server.run(CODE, text="a long story, " * 40 + "the end.")
    spoken = [line.removeprefix("begin ") for line in stand_in.journal[before:] if line.startswith("begin ")]
    assert len(spoken) > 2
    assert max(map(len, spoken)) <= 200
    assert " ".join(spoken) == "a long story, " * 40 + "the end."


def test_nothing_to_say_is_a_wav_without_samples(server: Server) -> None:
    assert len(samples(server.run(CODE, text="  ").content)) == 0


def test_unknown_speakers_are_refused(server: Server) -> None:
    answer = server.run(CODE, text="Hello.", speaker="v3/me")
    assert answer.status_code == 400
    assert answer.text.startswith("Bark has no speaker 'v3/me': there are v2/en_speaker_0 to")


def test_the_library_has_an_adaptor(server: Server) -> None:
    answer = server.run("from owt.lib.bark import run", text="One. Two.", speaker=SPEAKERS[1])
    assert answer.headers["Content-Type"] == "audio/wav"
    assert len(samples(answer.content)) == duration("One.") + duration("Two.")


def test_the_models_are_loaded_once(start: Callable[..., Server]) -> None:
    server = start(CONF)
    stand_in = StandIn(server)
    gate = stand_in.gate("one")
    asked = [
        ask(server, "Wait at gate one."),
        ask(server, "Second."),
        Asking(server, CODE + "\n# other\n", text="Third."),
    ]
    gate.wait_reached()
    gate.open()
    assert all(one.answer().whole for one in asked)
    assert server.run(CODE, text="Fourth.").status_code == 200
    assert stand_in.journal.count("load") == 1
    assert len([line for line in stand_in.journal if line.startswith("end ")]) == 4


def test_a_load_that_fails_is_told_and_tried_again(start: Callable[..., Server]) -> None:
    server = start(CONF)
    stand_in = StandIn(server)
    (stand_in.directory / "no-weights").touch()
    answer = server.run(CODE, text="Hello.")
    assert answer.status_code == 500
    assert "OSError: the weights cannot be had" in answer.text
    (stand_in.directory / "no-weights").unlink()
    assert server.run(CODE, text="Hello.").status_code == 200
    assert stand_in.journal.count("load") == 2


def test_without_the_package_the_answer_says_what_to_install(start: Callable[..., Server]) -> None:
    server = start(re.sub(".*python_path.*\n", "", CONF))
    answer = server.run(CODE, text="Hello.")
    assert answer.status_code == 500
    assert "this Python has no package bark: install https://github.com/suno-ai/bark into a virtualenv" in answer.text


def test_callers_take_turns_by_sentences(server: Server, stand_in: StandIn) -> None:
    one, two = stand_in.gate("turns"), stand_in.gate("two")
    before = len(stand_in.journal)
    first = ask(server, "Take gate turns. Then this.")
    one.wait_reached()
    second = ask(server, "Now gate two. And that.")
    wait_until(lambda: "begin Take gate turns." in stand_in.journal, "the first caller")
    one.open()
    two.wait_reached()
    two.open()
    whole = [samples(asked.answer().body) for asked in (first, second)]
    assert len(whole[0]) == duration("Take gate turns.") + duration("Then this.")
    assert len(whole[1]) == duration("Now gate two.") + duration("And that.")
    journal = stand_in.journal[before:]
    assert len(journal) == 8
    for begin, end in zip(journal[::2], journal[1::2], strict=True):
        assert begin.replace("begin ", "end ") == end


def test_who_leaves_ends_the_work(server: Server, stand_in: StandIn) -> None:
    gate = stand_in.gate("leaving")
    asked = ask(server, "Come in. Stop at gate leaving. Never said.")
    asked.read(44)
    gate.wait_reached()
    leave(server, asked)
    wait_until(lambda: "Cancelled Stop at gate leaving." in stand_in.journal, "the end of the work")
    assert server.run(CODE, text="Next.").status_code == 200
    assert not any("Never said." in line for line in stand_in.journal)


def test_who_leaves_while_another_speaks_stops_waiting(server: Server, stand_in: StandIn) -> None:
    code = """
from owt.lib import bark

def run(text):
    print("waits")
    try:
        yield bark.speak(text).tobytes()
    finally:
        print("has left")
"""
    gate = stand_in.gate("busy")
    speaking = ask(server, "Busy at gate busy.")
    gate.wait_reached()
    offset = len(server.error_log)
    waiting = Asking(server, code, text="Not said.")
    server.wait_log("waits", after=offset)
    leave(server, waiting)
    server.wait_log("has left", after=offset)
    assert "end Busy at gate busy." not in stand_in.journal
    gate.open()
    assert speaking.answer().whole
    assert server.run(CODE, text="The next one.").status_code == 200
    assert not any("Not said." in line for line in stand_in.journal)


def test_a_failure_in_mid_speech_cuts_it_off(server: Server) -> None:
    answer = ask(server, "It begins. Then fail now.").answer()
    assert (answer.status, answer.whole) == (200, False)
    assert len(samples(answer.body)) == duration("It begins.")
    assert ask(server, "Please fail now.").answer().status == 500


def test_a_failure_in_mid_events_is_told(server: Server) -> None:
    told = b""
    asked = {"code": CODE, "text": "Go. Now fail now."}
    calling = server.client().stream("POST", "/", json=asked, headers=EVENTS)
    with calling as answer, pytest.raises(httpx.RemoteProtocolError):
        for chunk in answer.iter_raw():
            told += chunk
    assert told.startswith(b'data: {"number": 1')
    assert told.endswith(b"event: error\ndata: RuntimeError: the model failed\n\n")


def test_a_virtualenv_set_up_as_the_readme_says(start: Callable[..., Server], tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    options = ["--without-pip", "--system-site-packages"]  # the stand-in needs no more than NumPy
    subprocess.run(["/usr/bin/python3", "-m", "venv", *options, venv], check=True)
    package = packages_of(venv)
    (package / "bark").symlink_to(ROOT / "t/stand_in/bark")
    (block,) = re.findall(r"^```nginx\n(.*?)^```", (BARK / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    conf = block.replace("/opt/venvs/bark", str(venv)).replace("/var/cache/bark", str(tmp_path))
    conf = conf.replace("    env ", f"    env BARK_STAND_IN={tmp_path};\n    env ")
    server = start(re.sub(r"owt_instance default \{.*?\n\}\n", conf, CONF, flags=re.DOTALL))
    assert len(samples(server.run(CODE, text="Hello.").content)) == duration("Hello.")
    where = "import os, bark\ndef run(): return [bark.__file__, os.environ['SUNO_USE_SMALL_MODELS']]"
    assert server.run(where).json() == [str(package / "bark/__init__.py"), "True"]


# ---- the scripts -----------------------------------------------------------------------------------------------------


def test_bark_sh_saves_a_wav_that_knows_its_length(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "out.wav"
    text = '@Home: "it\'s" 100% \\n so.\nTwo\t& a half.'
    done = script("bark.sh", server.url, text, file)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    with wave.open(str(file)) as saved:
        expected = duration('@Home: "it\'s" 100% \\n so.') + duration("Two & a half.")
        assert saved.getnframes() == expected
    data = file.read_bytes()
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert int.from_bytes(data[40:44], "little") == len(data) - 44


def test_bark_sh_takes_a_speaker(server: Server, tmp_path: Path) -> None:
    heard = []
    for speaker in SPEAKERS:
        script("bark.sh", server.url, "One two three.", tmp_path / "out.wav", speaker).check_returncode()
        heard.append(pitch(samples((tmp_path / "out.wav").read_bytes())))
    assert heard[0] != heard[1]


def test_bark_sh_writes_as_it_comes(server: Server, stand_in: StandIn) -> None:
    gate = stand_in.gate("piped")
    command = [BARK / "bark.sh", server.url, "Hello. Now gate piped.", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        begun = process.stdout.read(44 + 2 * duration("Hello."))
        gate.wait_reached()
        assert len(samples(begun)) == duration("Hello.")
        gate.open()
        assert len(process.stdout.read()) == 2 * duration("Now gate piped.")
    assert process.returncode == 0


def test_bark_sh_shows_errors_and_saves_nothing(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "out.wav"
    done = script("bark.sh", server.url, "Hello.", file, "nobody")
    assert done.returncode != 0
    assert b"Bark has no speaker 'nobody'" in done.stderr
    assert not file.exists()


def test_bark_sh_leaves_what_was_there_if_it_fails(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "precious.wav"
    file.write_text("precious")
    assert script("bark.sh", server.url, "Hello.", file, "nobody").returncode != 0
    assert file.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [file]


def test_bark_sh_removes_what_broke_off(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "out.wav"
    done = script("bark.sh", server.url, "It begins. Then fail now.", file)
    assert done.returncode == 18  # curl: partial file
    assert b"RIFF" not in done.stderr
    assert not file.exists()


def test_bark_sh_asks_for_the_result_to_be_kept_by_text_and_speaker(tmp_path: Path) -> None:
    asked = []

    class Recorder(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_error(503)

    with http.server.HTTPServer(("127.0.0.1", 0), Recorder) as recorder:
        answering = threading.Thread(target=recorder.handle_request)
        answering.start()
        script("bark.sh", f"http://127.0.0.1:{recorder.server_port}", "Hello.", tmp_path / "out.wav")
        answering.join()
    arguments = {"text": "Hello.", "speaker": SPEAKERS[0], "use_cache": True, "cache_kwargs": True}
    assert asked == [{"code": CODE.rstrip("\n")} | arguments] or asked == [{"code": CODE} | arguments]


def test_a_url_carries_the_page_its_script_and_the_adaptor(server: Server) -> None:
    done = script("bark_construct_url.sh", server.url)
    assert done.returncode == 0, done.stderr
    url = done.stdout.decode().splitlines()[-1]
    assert url.startswith(f"{server.url}/bark?code_b64=")
    assert len(url) < 64 * 1024
    answer = server.client().get(url)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = answer.text
    assert page.startswith("<!DOCTYPE html>")
    assert CODE in page
    assert (BARK / "bark.js").read_text() in page
    assert "src=" not in page


def test_the_curl_line_gets_that_page(server: Server) -> None:
    line = script("bark_construct_curl.sh", server.url).stdout.decode()
    done = subprocess.run(["sh", "-euc", line], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    url = script("bark_construct_url.sh", server.url).stdout.decode().strip()
    assert done.stdout == server.client().get(url).text


@pytest.mark.parametrize("name", ["bark_construct_url.sh", "bark_construct_curl.sh"])
def test_the_url_is_the_quick_start_s_by_default(name: str) -> None:
    assert "http://localhost:9876/bark?code_b64=" in script(name).stdout.decode()


def test_the_files_of_the_page_are_served(server: Server) -> None:
    for name, kind in {"bark.html": "text/html", "bark.js": "application/javascript", "bark.py": "text/plain"}.items():
        answer = server.get(f"/examples/bark/{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith(kind)
        assert answer.content == (BARK / name).read_bytes()
