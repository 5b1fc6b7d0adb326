import math
import struct

RATE = 8000  # samples a second, of one byte each
DIT = 480  # samples
TONE = bytes(128 + round(90 * math.sin(2 * math.pi * 600 / RATE * i)) for i in range(3 * DIT))
REST = bytes([128]) * 3 * DIT
MARKS = {".": TONE[:DIT] + REST[:DIT], "-": TONE + REST[:DIT], " ": REST}
SIGNS = ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.."
LETTERS = dict(zip("abcdefghijklmnopqrstuvwxyz", SIGNS.split(), strict=True)) | {" ": " "}
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
# How long the sound will be is not known yet, so the header says: for ever.
HEADER = struct.pack(
    "<4sI8sIHHIIHH4sI", b"RIFF", 2**32 - 1, b"WAVEfmt ", 16, 1, 1, RATE, RATE, 1, 8, b"data", 2**32 - 1
)


def run(request, text: str):
    """The text in Morse code: a WAV that is made and sent letter by letter."""
    text = text.lower()
    unknown = sorted(set(text) - LETTERS.keys())
    if unknown:
        signs = ", ".join(map(repr, unknown))
        return f"No Morse code here for {signs}: send letters from a to z and spaces.\n", 400, TEXT
    return sound([LETTERS[letter] for letter in text]), {"Content-Type": "audio/wav"}


def sound(letters):
    yield HEADER
    for letter in letters:
        yield b"".join(map(MARKS.get, letter)) + REST[: 2 * DIT]
