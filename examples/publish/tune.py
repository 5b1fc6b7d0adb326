"""A tune as it is made: sound that streams."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

RATE = 24000
NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]


def frequency(note: str) -> float:
    """Of A4 it is 440 Hz."""
    found = re.fullmatch(r"([A-G]#?)(\d)", note.strip())
    if found is None:
        raise ValueError(f"{note!r} is no note: C4, F#5, A3 are")
    return 440.0 * 2 ** ((NAMES.index(found[1]) - 9) / 12 + int(found[2]) - 4)


def run(
    notes: list[str] = ["E4", "D4", "C4", "D4", "E4", "E4", "E4"],  # noqa: B006 - nobody changes it
    seconds: Annotated[float, Meta(ge=0.05, le=2)] = 0.3,
    wave: Literal["soft", "organ", "square"] = "soft",
) -> Iterator[tuple[int, np.ndarray]]:
    """Plays notes, one after the other.

    Args:
        notes: as C4 (the middle one), F#5, A3
        seconds: how long each note is
        wave: how it sounds
    """
    time = np.arange(int(RATE * seconds)) / RATE
    fade = np.minimum(1, np.minimum(time, seconds - time) / 0.02)
    for note in notes:
        turns = 2 * np.pi * frequency(note) * time
        if wave == "square":
            samples = 0.3 * np.sign(np.sin(turns))
        elif wave == "organ":
            samples = sum(np.sin(turns * part) / part for part in (1, 2, 3, 4)) * 0.3
        else:
            samples = 0.5 * np.sin(turns)
        yield RATE, samples * fade
