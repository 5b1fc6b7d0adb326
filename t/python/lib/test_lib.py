"""owt.lib, without a server."""

import base64
import contextlib
import io
import subprocess
import sys
import threading
import time
import wave
from itertools import islice

import numpy
import pytest
from owt import Cancelled
from owt.lib import audio, bark, encoding, stream, tts


def heard(data):
    """The channels, the sample rate and the samples of a WAV."""
    with wave.open(io.BytesIO(data)) as file:
        assert file.getsampwidth() == 2
        pcm = file.readframes(1 << 20)
        return file.getnchannels(), file.getframerate(), numpy.frombuffer(pcm, "<i2").tolist()


def test_importing_imports_nothing_heavy():
    code = """
import sys
from owt.lib import audio, bark, encoding, stream, tts
b"".join(audio.wav([[0.0]], 8000))
print([name for name in ("numpy", "bark", "torch", "nltk", "soundfile") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


# ---- stream ----------------------------------------------------------------------------------------------------------


def test_events():
    assert stream.event(text="a\nb", n=1) == 'data: {"text": "a\\nb", "n": 1}\n\n'
    assert stream.done() == "data: [DONE]\n\n"
    assert stream.event(score=numpy.float32(0.5), mean=float("nan")) == 'data: {"score": 0.5, "mean": null}\n\n'
    with pytest.raises(TypeError, match=r"answer\['data'\] is bytes.*base64_buf"):
        stream.event(data=b"")


def test_a_response_ends_in_done_once():
    def count(n, done=False):
        yield from (stream.event(i=i) for i in range(n))
        if done:
            yield stream.done()

    chunks, headers = stream.response(count, 2)
    assert headers == {"Content-Type": "text/event-stream"}
    assert list(chunks) == [stream.event(i=0), stream.event(i=1), stream.done()]
    assert list(stream.response(count, n=1, done=True)[0]) == [stream.event(i=0), stream.done()]
    assert list(stream.response(count, 0)[0]) == [stream.done()]


def test_a_response_of_what_has_been_called():
    def events(*texts):
        yield from map(str, texts)

    assert list(stream.response(events(1, 2))[0]) == ["1", "2", stream.done()]
    assert list(stream.response(["a"])[0]) == ["a", stream.done()]


def test_an_asynchronous_response_ends_in_done_once():
    import asyncio

    async def count(n):
        for i in range(n):
            yield stream.event(i=i)

    async def collect(chunks):
        return [chunk async for chunk in chunks]

    assert asyncio.run(collect(stream.response(count, 1)[0])) == [stream.event(i=0), stream.done()]


def test_closing_a_response_closes_its_generator():
    closed = []

    def events():
        try:
            yield stream.event()
            yield stream.event()
        finally:
            closed.append(True)

    chunks, _ = stream.response(events)
    next(chunks)
    chunks.close()
    assert closed


# ---- audio -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "samples",
    [
        [0, 0.5, -0.5, 1, -1],
        numpy.array([0, 0.5, -0.5, 1, -1]),
        numpy.array([0, 0.5, -0.5, 1, -1], "float16"),
        numpy.array([0, 16384, -16384, 32767, -32767], "int16"),
        numpy.array([0, 16384, -16384, 32767, -32767], ">i2"),
        numpy.array([0, 16384, -16384, 32767, -32767], "int32") << 16,
        iter([0.0, 0.5, -0.5, 1.0, -1.0]),
    ],
    ids=["list", "float64", "float16", "int16", "big-endian", "int32", "iterator"],
)
def test_samples_become_pcm(samples):
    assert numpy.frombuffer(audio.pcm16(samples), "<i2").tolist() == [0, 16384, -16384, 32767, -32767]


@pytest.mark.parametrize("make", [list, numpy.array])
def test_samples_are_clipped(make):
    loud = make([1.5, -7.0, float("inf"), float("-inf"), float("nan")])
    assert numpy.frombuffer(audio.pcm16(loud), "<i2").tolist() == [32767, -32767, 32767, -32767, 0]


def test_pcm_stays_as_it_is():
    assert audio.pcm16(b"\1\2") == b"\1\2"


def test_other_arrays_are_refused():
    with pytest.raises(TypeError, match="int64"):
        audio.pcm16(numpy.array([1, 2]).astype("int64"))


@pytest.mark.parametrize(("dtype", "samples"), [("int32", [-(1 << 31), 0, 1 << 30]), ("uint8", [0, 128, 192])])
def test_arrays_as_wav_files_hold_them(dtype, samples):
    array = numpy.array(samples).astype(dtype)
    assert numpy.frombuffer(audio.pcm16(array), "<i2").tolist() == [-32768, 0, 16384]


def test_two_channels_are_seen():
    stereo = numpy.zeros((5, 2), "float32")
    wav = base64.b64decode(encoding.base64_wav(stereo, 8000))
    assert int.from_bytes(wav[22:24], "little") == 2
    assert len(wav) == 44 + 5 * 2 * 2


def test_a_wav_grows():
    chunks = audio.wav(([n / 4] * 3 for n in range(3)), 24000)
    first = next(chunks)
    assert heard(first) == (1, 24000, [0, 0, 0])
    assert first[4:8] == first[40:44] == b"\xff\xff\xff\xff"
    second = next(chunks)
    assert heard(first + second) == (1, 24000, [0] * 3 + [8192] * 3)
    assert len(next(chunks)) == 6
    assert next(chunks, None) is None


def test_a_wav_may_be_empty():
    assert list(audio.wav([], 8000)) == [audio.header(8000)]


def test_a_wav_that_fails_at_once_has_not_begun():
    def fails():
        raise ValueError("no sound")
        yield

    with pytest.raises(ValueError, match="no sound"):
        next(audio.wav(fails(), 8000))


def test_a_wav_is_made_as_it_is_asked_for():
    made = []

    def chunks():
        for n in range(10):
            made.append(n)
            yield [0.0]

    list(islice(audio.response(chunks(), 8000)[0], 2))
    assert made == [0, 1]


def test_two_channels():
    frames = numpy.array([[0.0, 1.0], [0.5, -1.0]])
    assert heard(b"".join(audio.wav([frames], 48000, channels=2))) == (2, 48000, [0, 32767, 16384, -32767])


def test_the_header_is_what_wave_writes():
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(2)
        made.setsampwidth(2)
        made.setframerate(44100)
        made.writeframes(bytes(40))
    assert file.getvalue() == audio.header(44100, 2, 10) + bytes(40)


def test_a_wav_has_an_end():
    with pytest.raises(ValueError, match="more than a WAV holds"):
        audio.header(8000, frames=1 << 31)


# ---- encoding --------------------------------------------------------------------------------------------------------


def test_base64_of_buffers(tmp_path):
    (tmp_path / "file").write_bytes(b"\0\xffowt")
    buf = io.BytesIO(b"\0\xffowt")
    buf.read()
    with (tmp_path / "file").open("rb") as file:
        for source in (b"\0\xffowt", bytearray(b"\0\xffowt"), memoryview(b"\0\xffowt"), buf, file):
            assert encoding.base64_buf(source) == "AP9vd3Q="


def test_base64_of_a_wav_says_its_length():
    data = base64.b64decode(encoding.base64_wav(numpy.array([0.0, 0.5]), 16000))
    assert heard(data) == (1, 16000, [0, 16384])
    with wave.open(io.BytesIO(data)) as file:
        assert file.getnframes() == 2


# ---- tts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("  One\n line.\tTwo.  ", ["One line.", "Two."]),
        ('"Is it so?" she asked. "Yes!" He left.', ['"Is it so?" she asked.', '"Yes!"', "He left."]),
        ("He left... then came back… Late.", ["He left... then came back…", "Late."]),
        ("Mr. Smith met Dr. Jones at 3.14 p.m. on Monday.", ["Mr. Smith met Dr. Jones at 3.14 p.m. on Monday."]),
        ("J. R. R. Tolkien, J.S. Bach. So do I. No. See No. 5.", None),
        ("Title\n\nText of\ntwo lines", ["Title", "Text of two lines"]),
        ("这是第一句。这是第二句！好吗？", ["这是第一句。", "这是第二句！", "好吗？"]),
        ("हम हैं। तुम हो।", ["हम हैं।", "तुम हो।"]),
        ("Wait... ... !", ["Wait..."]),
        ("", []),
        (" \n ?! ", []),
    ],
)
def test_sentences(text, expected):
    if expected is None:
        expected = ["J. R. R. Tolkien, J.S. Bach.", "So do I.", "No.", "See No. 5."]
    assert tts.sentences(text) == expected


@pytest.mark.parametrize("run", [".", "!", "…", "。", "。」", ")", ". ", " ", "\n", "\n ", "Mr. ", "Mr.\t", ".)"])
def test_time_goes_with_the_length_of_a_text(run):
    """So long that work which went with its square would not end."""
    text = f"First. {run * (1 << 20)}"
    assert len(" ".join(tts.sentences(text))) <= len(text)
    assert all(len(piece) <= 200 for piece in tts.sentences(f"x{text}", longest=200))


def test_long_sentences_are_cut_where_they_pause():
    text = "One, two, three; four 1,000 five: six seven eight nine ten eleven. Short."
    pieces = tts.sentences(text, longest=20)
    assert pieces == ["One, two, three;", "four 1,000 five:", "six seven eight nine", "ten eleven.", "Short."]
    assert all(len(piece) <= 20 for piece in tts.sentences("a" * 50 + ", b" * 50, longest=20))
    assert tts.sentences("一二三，四五六，七八九。", longest=5) == ["一二三，", "四五六，", "七八九。"]


def test_over_sentences_makes_each_batch_when_it_is_asked_for():
    made = []

    def fn(batch):
        made.append(batch)
        return len(batch)

    results = tts.over_sentences("A b. C d. E f.", fn, batch_size=2)
    assert made == []
    assert next(results) == 2
    assert made == [["A b.", "C d."]]
    assert list(results) == [1]
    assert made[1] == ["E f."]
    assert list(tts.over_sentences("A b. C d.", tuple)) == [("A b.",), ("C d.",)]


def test_over_sentences_wants_a_batch():
    with pytest.raises(ValueError, match="at least one"):
        list(tts.over_sentences("A.", list, batch_size=0))


# ---- bark ------------------------------------------------------------------------------------------------------------


def wait_taken(lock):
    """Until another thread has the lock."""
    deadline = time.monotonic() + 30
    while lock.acquire(blocking=False):
        lock.release()
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_who_waits_comes_before_who_wants_another_turn():
    turns = []
    other = threading.Thread(target=bark._alone, args=[lambda: turns.append("other")])

    def first():
        turns.append("first")
        other.start()
        wait_taken(bark._next)

    bark._alone(first)
    bark._alone(lambda: turns.append("again"))
    other.join()
    assert turns == ["first", "other", "again"]


def test_work_that_fails_gives_its_turn_up():
    with pytest.raises(ZeroDivisionError):
        bark._alone(lambda: 1 / 0)
    done = threading.Thread(target=bark._alone, args=[lambda: None])
    done.start()
    done.join(30)
    assert not done.is_alive()


class Interrupted:
    """A lock whose every use ends in tick(), as cancelling may strike at the end of any call."""

    def __init__(self, tick):
        self.lock = threading.RLock()
        self.tick = tick

    def acquire(self, timeout):
        taken = self.lock.acquire(timeout=timeout)
        self.tick()
        return taken

    def release(self):
        try:
            self.lock.release()
        finally:
            self.tick()


@pytest.mark.parametrize("stop", range(1, 7))
def test_who_is_cancelled_at_any_time_leaves_no_lock_behind(monkeypatch, stop):
    ticks = []

    def tick():
        ticks.append(True)
        if len(ticks) == stop:
            raise Cancelled

    locks = [Interrupted(tick), Interrupted(tick)]
    monkeypatch.setattr(bark, "_next", locks[0])
    monkeypatch.setattr(bark, "_model", locks[1])
    with pytest.raises(Cancelled) if stop < 6 else contextlib.nullcontext():
        bark._alone(tick)
    for lock in locks:
        with pytest.raises(RuntimeError):
            lock.lock.release()
