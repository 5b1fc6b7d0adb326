"""Bytes as text, for what has to travel in JSON."""

from __future__ import annotations

import base64
from typing import Any

from owt.lib import audio


def base64_buf(buf: Any) -> str:
    """Bytes, or all that a BytesIO holds, or the rest of another binary file, as base64."""
    if hasattr(buf, "getvalue"):
        buf = buf.getvalue()
    elif hasattr(buf, "read"):
        buf = buf.read()
    return base64.b64encode(buf).decode()


def base64_wav(arr: Any, sampling_rate: int, channels: int | None = None) -> str:
    """Samples (see `audio.pcm16`), sampling_rate of them a second and channel, as base64 of a whole WAV.

    Without channels, an array of two dimensions, (frames, channels), says itself how many there are; else it is one.
    """
    if channels is None:
        shape: tuple[int, ...] = getattr(arr, "shape", ())
        channels = shape[1] if len(shape) == 2 else 1
    pcm = audio.pcm16(arr)
    return base64_buf(audio.header(sampling_rate, channels, len(pcm) // (2 * channels)) + pcm)
