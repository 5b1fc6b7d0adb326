"""The words of a WAV recording, a line for what is said between two pauses, by PocketSphinx for US English.

With a grammar (in JSGF, https://www.w3.org/TR/jsgf/) it listens for what that allows, and errs far less.
"""

import contextlib
import math
import threading
import wave
from collections.abc import Iterator

import numpy as np
from pocketsphinx import Pocketsphinx
from scipy.signal import resample_poly
from werkzeug.datastructures import FileStorage

RATE = 16_000  # hertz, of the sound that the model was made from
FRAME = RATE // 50  # samples
PAUSE = 15  # frames
TEXT = {"Content-Type": "text/plain; charset=utf-8"}

decoder = Pocketsphinx()  # loaded by the first call; the next ones find it warm
turn = threading.Lock()  # it listens to one at a time


def run(request, recording: FileStorage, grammar: str = ""):
    try:
        sound = samples(recording)
    except (wave.Error, EOFError, ValueError) as error:
        return f"Send a WAV with 16-bit samples: {error}.\n", 400, TEXT
    heard = (words(utterance, grammar) for utterance in utterances(sound))
    return (f"{line}\n" for line in heard if line), TEXT


def words(utterance: np.ndarray, grammar: str) -> str:
    with turn:
        with contextlib.suppress(RuntimeError):  # of a caller who left in the middle of one
            decoder.end_utt()
        if grammar:
            decoder.set_jsgf_string("grammar", grammar)
        decoder.set_search("grammar" if grammar else "_default")
        decoder.start_utt()
        # All at once: so nothing depends on what was heard before.
        decoder.process_raw(utterance.tobytes(), False, True)
        decoder.end_utt()
        return decoder.hypothesis()


def samples(recording: FileStorage) -> np.ndarray:
    """One channel of 16-bit samples at RATE."""
    with wave.open(recording.stream, "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"these have {8 * file.getsampwidth()}")
        rate, channels = file.getframerate(), file.getnchannels()
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, channels)
    common = math.gcd(RATE, rate)
    return resample_poly(frames.mean(axis=1), RATE // common, rate // common).clip(-32768, 32767).astype("<i2")


def utterances(sound: np.ndarray) -> Iterator[np.ndarray]:
    """The sound, cut in the middle of each pause; nothing if it is silent."""
    frames = sound[: len(sound) // FRAME * FRAME].reshape(-1, FRAME)
    loudness = np.abs(frames.astype(float)).mean(axis=1)
    loud = np.flatnonzero(loudness > 0.02 * loudness.max(initial=0))
    if loud.size:
        last = np.flatnonzero(np.diff(loud) > PAUSE)
        yield from np.split(sound, (loud[last] + loud[last + 1]) // 2 * FRAME)
