"""Stands in for https://github.com/suno-ai/bark, whose weights are gigabytes: the same names, and tones for speech.

Each speaker has a pitch, each character lasts 40 ms. What happens is written to the file `journal` in the directory
that BARK_STAND_IN names. A sentence that says `gate NAME` waits for the file NAME there, as gate.py has it.
"""

from .api import generate_audio, semantic_to_waveform, text_to_semantic
from .generation import SAMPLE_RATE, preload_models

__all__ = ["SAMPLE_RATE", "generate_audio", "preload_models", "semantic_to_waveform", "text_to_semantic"]
