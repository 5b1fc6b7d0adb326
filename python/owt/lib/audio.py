"""Sound as WAV: one header, then 16-bit samples for as long as they come."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

from owt.answer.sound import LOUDEST, array_pcm16, header

__all__ = ["header", "pcm16", "response", "wav"]


def pcm16(samples: Any) -> bytes:
    """Samples as 16-bit little-endian PCM.

    samples is an array (NumPy's, or what turns into one) or an iterable of floats, in which -1 to 1 is the full range
    and what lies beyond is clipped, or an array of int16, int32 or uint8, as WAV files hold them, or bytes that are PCM
    already. Frames come first in an array
    of two dimensions: (frames, channels). What is not a number is silence. TypeError for other types.
    """
    if isinstance(samples, bytes | bytearray):
        return bytes(samples)
    if hasattr(samples, "__array__"):
        return array_pcm16(samples)
    clipped = [max(-1.0, min(1.0, sample)) if sample == sample else 0.0 for sample in map(float, samples)]
    return struct.pack(f"<{len(clipped)}h", *(round(sample * LOUDEST) for sample in clipped))


def wav(chunks: Iterable[Any], sample_rate: int, channels: int = 1) -> Iterator[bytes]:
    """A WAV that grows by each chunk of samples (see `pcm16`), so that it can be played while it is made.

    The header comes with the first chunk, not before: an adaptor that fails to make one has not answered yet.
    """
    head = header(sample_rate, channels)
    for chunk in chunks:
        yield head + pcm16(chunk)
        head = b""
    if head:
        yield head


def response(chunks: Iterable[Any], sample_rate: int, channels: int = 1) -> tuple[Iterator[bytes], dict[str, str]]:
    """What an adaptor returns to stream such a WAV."""
    return wav(chunks, sample_rate, channels), {"Content-Type": "audio/wav"}
