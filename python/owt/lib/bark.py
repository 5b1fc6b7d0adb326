"""Speech by Bark (https://github.com/suno-ai/bark), whose package has to be in the instance's Python.

Bark keeps its models, the random state and the settings of PyTorch for the whole process, so this module does too: the
models are loaded once, and one caller speaks at a time, whichever adaptor it came with.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from owt.lib import audio, tts

#: Hertz, of all that Bark makes.
SAMPLE_RATE = 24_000
SPEAKER = "v2/en_speaker_6"
#: Characters that Bark speaks at once. It makes 14 seconds of sound at most, and leaves out what does not fit.
LONGEST = 200

T = TypeVar("T")

# To be had in this order. Only its owner can release an RLock, which is what _alone relies on.
_next = threading.RLock()
_model = threading.RLock()
_loaded = False


def load() -> None:
    """Loads the models unless they are: gigabytes, which Bark downloads when it is used for the first time.

    ImportError if its package is not there.
    """
    if not _loaded:  # else there is nothing to wait for, though somebody may be speaking
        _alone(_load)


def check_speaker(speaker: str) -> None:
    """ValueError for a speaker that Bark does not have."""
    from bark.generation import ALLOWED_PROMPTS  # type: ignore[import]

    if speaker not in ALLOWED_PROMPTS:
        raise ValueError(
            f"Bark has no speaker {speaker!r}: there are v2/en_speaker_0 to v2/en_speaker_9, and as many for de, es,"
            " fr, hi, it, ja, ko, pl, pt, ru, tr and zh"
        )


def speak(text: str, speaker: str = SPEAKER, temperature: float = 0.6) -> Any:
    """What the speaker says, as a NumPy array of floats from -1 to 1, SAMPLE_RATE of them a second.

    Text of more than LONGEST characters may be cut off. A higher temperature makes it less like the last time.
    """

    def made() -> Any:
        _load()
        from bark.api import semantic_to_waveform  # type: ignore[import]
        from bark.generation import generate_text_semantic

        tokens = generate_text_semantic(text, history_prompt=speaker, temp=temperature, min_eos_p=0.05, silent=True)
        return semantic_to_waveform(tokens, history_prompt=speaker, silent=True)

    return _alone(made)


def run(text: str, speaker: str = SPEAKER) -> tuple[Iterator[bytes], dict[str, str]]:
    """The adaptor: a WAV that grows sentence by sentence. ValueError for a speaker that Bark does not have."""
    load()
    check_speaker(speaker)

    def said(batch: list[str]) -> Any:
        return speak(" ".join(batch), speaker)

    return audio.response(tts.over_sentences(text, said, longest=LONGEST), SAMPLE_RATE)


def _load() -> None:
    global _loaded
    if _loaded:
        return
    try:
        from bark.generation import preload_models
    except ModuleNotFoundError as error:
        if error.name != "bark":
            raise
        raise ImportError(
            "this Python has no package bark: install https://github.com/suno-ai/bark into a virtualenv and name that"
            " in owt_instance's python_home"
        ) from None
    preload_models()
    _loaded = True


def _alone(work: Callable[[], T]) -> T:
    """What work returns, nobody else being at it. Who waits comes before whoever wants another turn.

    A caller that has left must be able to stop waiting, so the wait has pauses: owt.Cancelled comes between two
    instructions, right after a lock is taken too. So a lock is released whether it was had or not, and nothing that
    could be interrupted comes before that.
    """
    try:
        try:
            while not _next.acquire(timeout=0.1):
                pass
            while not _model.acquire(timeout=0.1):
                pass
        finally:
            try:  # noqa: SIM105
                _next.release()
            except RuntimeError:
                pass
        return work()
    finally:
        try:  # noqa: SIM105
            _model.release()
        except RuntimeError:
            pass
