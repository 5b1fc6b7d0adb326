"""The part that turns tokens into sound."""

import numpy as np

from .generation import ALLOWED_PROMPTS, SAMPLE_RATE, generate_text_semantic


def pitch(speaker):
    """Hertz."""
    return 220 + 20 * sorted(ALLOWED_PROMPTS).index(speaker) if speaker else 200


def text_to_semantic(text, history_prompt=None, temp=0.7, silent=False):
    return generate_text_semantic(text, history_prompt=history_prompt, temp=temp, silent=silent)


def semantic_to_waveform(semantic_tokens, history_prompt=None, temp=0.7, silent=False, output_full=False):
    assert not output_full, "not stood in for"
    times = np.arange(int(len(semantic_tokens) * 0.04 * SAMPLE_RATE)) / SAMPLE_RATE
    # Syllables, so that it looks and sounds a little like speech.
    loudness = 0.15 + 0.35 * np.sin(np.pi * times / 0.2) ** 2
    fade = np.clip(np.minimum(times, times[::-1]) / 0.02, 0, 1)
    return (np.sin(2 * np.pi * pitch(history_prompt) * times) * loudness * fade).astype(np.float32)


def generate_audio(text, history_prompt=None, text_temp=0.7, waveform_temp=0.7, silent=False, output_full=False):
    tokens = text_to_semantic(text, history_prompt, text_temp, silent)
    return semantic_to_waveform(tokens, history_prompt, waveform_temp, silent, output_full)
