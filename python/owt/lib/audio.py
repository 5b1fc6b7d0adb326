"""Sound as WAV: one header, then 16-bit samples for as long as they come.

The format is RIFF/WAVE: IBM and Microsoft, Multimedia Programming Interface and Data Specifications 1.0 (1991),
http://www-mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html. Its header wants lengths that nobody knows while
sound is being made. The largest number stands for that, as FFmpeg writes it to a pipe (libavformat/wavenc.c) and
FFmpeg, browsers and most players read it: play what comes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

_HEADER_SIZE = 44
_UNKNOWN = 0xFFFFFFFF
_PCM = 1
_LOUDEST = 32767


def header(sample_rate: int, channels: int = 1, frames: int | None = None) -> bytes:
    """The 44 bytes before the samples.

    sample_rate is in hertz; a frame is one sample of each channel. None stands for a length that is not known.
    ValueError for a sound that is longer than WAV can say, 4 GiB.
    """
    size = _UNKNOWN if frames is None else frames * channels * 2
    if frames is not None and size > _UNKNOWN - _HEADER_SIZE:
        raise ValueError(f"{frames} frames are more than a WAV holds: send them as several, or as a stream")
    riff = _UNKNOWN if frames is None else _HEADER_SIZE - 8 + size
    layout = struct.pack("<HHIIHH", _PCM, channels, sample_rate, sample_rate * channels * 2, channels * 2, 16)
    return struct.pack("<4sI4s4sI16s4sI", b"RIFF", riff, b"WAVE", b"fmt ", 16, layout, b"data", size)


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
        return _array_pcm16(samples)
    clipped = [max(-1.0, min(1.0, sample)) if sample == sample else 0.0 for sample in map(float, samples)]
    return struct.pack(f"<{len(clipped)}h", *(round(sample * _LOUDEST) for sample in clipped))


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


def _array_pcm16(samples: Any) -> bytes:
    import numpy

    array = numpy.asarray(samples)
    if array.dtype.kind == "f":
        heard = numpy.clip(numpy.nan_to_num(array, posinf=1, neginf=-1), -1, 1)
        array = numpy.rint(heard.astype("float32") * _LOUDEST)
    elif (array.dtype.kind, array.dtype.itemsize) == ("i", 4):
        array = array >> 16
    elif (array.dtype.kind, array.dtype.itemsize) == ("u", 1):
        array = (array.astype(numpy.int16) - 128) << 8
    elif (array.dtype.kind, array.dtype.itemsize) != ("i", 2):
        raise TypeError(f"samples are floats from -1 to 1, int16, int32 or uint8, not {array.dtype}: convert them")
    return bytes(array.astype("<i2").tobytes())
