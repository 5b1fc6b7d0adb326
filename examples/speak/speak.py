"""Speech by eSpeak NG, sentence by sentence: a WAV that can be played while it grows."""

import io
import subprocess
import wave

from owt.lib import audio, tts

RATE = 22_050  # hertz, of all of eSpeak's own voices


def run(request, text: str, voice: str = "en-us", words_per_minute: int = 160):
    command = ["espeak-ng", "--stdout", "-b", "1", "-v", voice, "-s", str(words_per_minute)]

    def spoken(sentences: list[str]) -> bytes:
        done = subprocess.run(command, input=" ".join(sentences).encode(), capture_output=True)
        if done.returncode:
            raise RuntimeError(done.stderr.decode().strip())
        with wave.open(io.BytesIO(done.stdout)) as sound:
            return sound.readframes(sound.getnframes())

    return audio.response(tts.over_sentences(text, spoken), RATE)
