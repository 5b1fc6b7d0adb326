"""owt.lib as adaptors use it."""

import base64
import io
import json
import wave
from pathlib import Path

import numpy
from asking import Asking, leave, wait_text
from gate import PAUSE, Gate
from harness import Server

CONF = """
owt_instance default { threads 2; }
server {
    listen 127.0.0.1:{port};
    location / { owt; }
}
"""


def test_events_come_one_by_one(server: Server, tmp_path: Path) -> None:
    code = """
from owt.lib import stream

def count(to, gate):
    for n in range(to):
        yield stream.event(n=n)
        if n == 0:
            pause(gate)

def run(to, gate):
    return stream.response(count, to, gate=gate)
"""
    gate = Gate(tmp_path)
    asked = Asking(server, code + PAUSE, to=2, gate=str(gate))
    first = b'data: {"n": 0}\n\n'
    assert asked.read(len(first)) == first
    assert asked.response.headers["Content-Type"] == "text/event-stream"
    gate.open()
    assert asked.answer().body == b'data: {"n": 1}\n\ndata: [DONE]\n\n'


def test_asynchronous_events_end_in_done(server: Server) -> None:
    code = """
import asyncio
from owt.lib import stream

async def count(to):
    for n in range(to):
        await asyncio.sleep(0)
        yield stream.event(n=n)

def run(to: int):
    return stream.response(count, to)
"""
    assert server.run(code, to=1).text == 'data: {"n": 0}\n\ndata: [DONE]\n\n'


def test_events_of_a_failing_generator_do_not_end_in_done(server: Server) -> None:
    code = """
from owt.lib import stream

def count():
    yield stream.event(n=0)
    raise ValueError("no more")

def run():
    return stream.response(count)
"""
    answer = Asking(server, code).answer()
    assert not answer.whole
    assert answer.text == 'data: {"n": 0}\n\nevent: error\ndata: ValueError: no more\n\n'


WAV = """
import numpy
from owt.lib import audio, tts

def run(text, gate, ended):
    def fn(sentences):
        if sentences == ["Three."]:
            pause(gate)
        return numpy.full(len(sentences[0]), 0.5)

    def chunks():
        try:
            yield from tts.over_sentences(text, fn)
        finally:
            open(ended, "w").write("ended")

    return audio.response(chunks(), 8000)
"""


def test_a_wav_can_be_read_while_it_grows(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    asked = Asking(server, WAV + PAUSE, text="One. Two. Three.", gate=str(gate), ended=str(tmp_path / "ended"))
    begun = asked.read(44 + 2 * 8)
    assert asked.response.headers["Content-Type"] == "audio/wav"
    gate.wait_reached()
    with wave.open(io.BytesIO(begun)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 8000)
        assert numpy.frombuffer(file.readframes(100), "<i2").tolist() == [16384] * 8
    gate.open()
    rest = asked.answer()
    assert rest.whole
    assert len(rest.body) == 2 * 6


def test_a_listener_who_leaves_ends_the_generator(server: Server, tmp_path: Path) -> None:
    gate, ended = Gate(tmp_path), tmp_path / "ended"
    asked = Asking(server, WAV + PAUSE, text="One. Two. Three.", gate=str(gate), ended=str(ended))
    asked.read(44)
    gate.wait_reached()
    leave(server, asked)
    assert wait_text(ended) == "ended"


def test_a_wav_that_fails_at_once_is_an_error(server: Server) -> None:
    code = "from owt.lib import audio\ndef run(): return audio.response(iter([['not a number']]), 8000)"
    answer = server.run(code)
    assert answer.status_code == 500
    assert "could not convert string to float" in answer.text


def test_base64_in_json(server: Server) -> None:
    code = """
import io, numpy
from owt.lib import encoding

def run():
    samples = numpy.zeros(10, "float32")
    return {"buf": encoding.base64_buf(io.BytesIO(b"owt")), "wav": encoding.base64_wav(samples, 16000)}
"""
    answer = json.loads(server.run(code).text)
    assert base64.b64decode(answer["buf"]) == b"owt"
    with wave.open(io.BytesIO(base64.b64decode(answer["wav"]))) as file:
        assert (file.getnframes(), file.getframerate()) == (10, 16000)


def test_in_a_pipeline(server: Server) -> None:
    code = "from owt.lib import tts\nrun = pipe().f(lambda text: tts.sentences(text))"
    assert server.run(code, text="One. Two.").json() == ["One.", "Two."]
