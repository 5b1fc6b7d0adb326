"""The words of a WAV recording, recognised by PocketSphinx with its model of US English.

With a grammar (in JSGF, https://www.w3.org/TR/jsgf/) it listens for what that allows, and errs far less.
"""

import math
import threading
import wave

import numpy as np
from pocketsphinx import Pocketsphinx
from scipy.signal import resample_poly
from werkzeug.datastructures import FileStorage

RATE = 16_000  # hertz, of the sound that the model was made from

decoder = Pocketsphinx()  # loaded by the first call; the next ones find it warm
turn = threading.Lock()  # it listens to one recording at a time


def run(request, recording: FileStorage, grammar: str = ""):
    try:
        sound = samples(recording)
    except (wave.Error, EOFError, ValueError) as error:
        return f"Send a WAV with 16-bit samples: {error}.\n", 400, TEXT
    with turn:
        if grammar:
            decoder.set_jsgf_string("grammar", grammar)
        decoder.set_search("grammar" if grammar else "_default")
        decoder.start_utt()
        # As one utterance: so nothing depends on what was heard before.
        decoder.process_raw(sound, False, True)
        decoder.end_utt()
        return f"{decoder.hypothesis()}\n", TEXT


TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def samples(recording: FileStorage) -> bytes:
    """One channel of 16-bit samples at RATE."""
    with wave.open(recording.stream, "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"these have {8 * file.getsampwidth()}")
        rate, channels = file.getframerate(), file.getnchannels()
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, channels)
    common = math.gcd(RATE, rate)
    heard = resample_poly(frames.mean(axis=1), RATE // common, rate // common)
    return heard.clip(-32768, 32767).astype("<i2").tobytes()
