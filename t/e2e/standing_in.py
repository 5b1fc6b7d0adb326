"""A server whose Bark is the stand-in of t/stand_in."""

from __future__ import annotations

import io
import wave

import numpy
from gate import Gate
from harness import ROOT, Server

CONF = """
owt_instance default {
    threads 4;
    python_path {root}/t/stand_in;
    env BARK_STAND_IN={dir}/bark;
}
large_client_header_buffers 4 256k;
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /examples/ { root {root}; charset utf-8; }
}
"""

CODE = (ROOT / "examples/bark/bark.py").read_text()
SAMPLE_RATE = 24_000
SPEAKERS = ("v2/en_speaker_6", "v2/de_speaker_3")


class StandIn:
    """What the stand-in does, and gates to stop it at."""

    def __init__(self, server: Server) -> None:
        self.directory = server.dir / "bark"
        self.directory.mkdir()

    @property
    def journal(self) -> list[str]:
        """See t/stand_in/bark."""
        file = self.directory / "journal"
        return file.read_text().splitlines() if file.exists() else []

    def gate(self, name: str) -> Gate:
        """Where a sentence that says `gate NAME` waits."""
        return Gate(self.directory, name)


def duration(text: str) -> int:
    """How many samples a sentence has."""
    return int(len(text) * 0.04 * SAMPLE_RATE)


def samples(wav: bytes) -> numpy.ndarray:
    """Those of a WAV, whose form is checked."""
    with wave.open(io.BytesIO(wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, SAMPLE_RATE)
        return numpy.frombuffer(file.readframes(len(wav)), "<i2")


def pitch(sound: numpy.ndarray) -> float:
    """The strongest frequency, in hertz."""
    return float(numpy.argmax(numpy.abs(numpy.fft.rfft(sound))) * SAMPLE_RATE / len(sound))
