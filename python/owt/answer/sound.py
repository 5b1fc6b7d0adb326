"""Sound as 16-bit WAV, and what Gradio and SciPy take for sound: ``(rate, samples)``.

The format is RIFF/WAVE: IBM and Microsoft, Multimedia Programming Interface and Data Specifications 1.0 (1991),
http://www-mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html. Its header wants lengths that nobody knows while
sound is being made. The largest number stands for that, as FFmpeg writes it to a pipe (libavformat/wavenc.c) and
FFmpeg, browsers and most players read it: play what comes.
"""

from __future__ import annotations

import operator
import struct
import sys
from typing import Any

from owt.answer.cannot import CannotSend

LOUDEST = 32767

_HEADER_SIZE = 44
_UNKNOWN = 0xFFFFFFFF
_PCM = 1


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


def array_pcm16(samples: Any) -> bytes:
    """An array as 16-bit little-endian PCM. Floats are from -1 to 1: what lies beyond is clipped, NaN is silence.

    int16 are as they are, int32 and uint8 (whose middle is 128) at that resolution. TypeError for others. Frames come
    first: (frames, channels).
    """
    import numpy

    array = numpy.asarray(samples)
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "f":
        heard = numpy.clip(numpy.nan_to_num(array, posinf=1, neginf=-1), -1, 1)
        array = numpy.rint(heard.astype("float32") * LOUDEST)
    elif (kind, size) == ("i", 4):
        array = array >> 16
    elif (kind, size) == ("u", 1):
        array = (array.astype("int16") - 128) << 8
    elif (kind, size) != ("i", 2):
        raise TypeError(f"samples are floats from -1 to 1, int16, int32 or uint8, not {array.dtype}: convert them")
    return bytes(array.astype("<i2").tobytes())


def is_sound(value: object) -> bool:
    """Whether value is a tuple of a sampling rate and an array, which is neither a status nor headers."""
    if type(value) is not tuple or len(value) != 2 or not _is_array(value[1]):
        return False
    # An array has the method too, for when it holds one number. (True, buffer) is what OpenCV's imencode() returns.
    return hasattr(type(value[0]), "__index__") and not isinstance(value[0], bool) and not _is_array(value[0])


def _is_array(value: object) -> bool:
    kinds = getattr(sys.modules.get("numpy"), "ndarray", ()), getattr(sys.modules.get("torch"), "Tensor", ())
    return isinstance(value, kinds)


def need_wav(mimetype: str, said: str) -> None:
    """CannotSend for sound that is to have another content type than WAV's; said is what the error begins with."""
    if mimetype not in _TYPES:
        raise CannotSend(
            f"{said} (rate, samples), which is sound, with the Content-Type {mimetype}: it is sent as audio/wav;"
            " for another format return its bytes"
        )


def wav(value: tuple[Any, Any], said: str) -> bytes:
    """``(rate, samples)`` as a WAV. said is what errors begin with; CannotSend for what is no sound."""
    rate, channels, pcm = parts(value, said)
    return header(rate, channels, len(pcm) // (2 * channels)) + pcm


def parts(value: tuple[Any, Any], said: str) -> tuple[int, int, bytes]:
    """The rate in hertz, the number of channels, the samples as PCM. CannotSend for what is no sound."""
    rate, samples = operator.index(value[0]), value[1]
    if hasattr(samples, "detach"):  # torch's
        samples = (
            samples.detach().cpu().numpy() if samples.dtype.itemsize > 2 else samples.detach().cpu().float().numpy()
        )
    said = f"{said} (rate, samples), which is sound, with"
    if rate not in _RATES:
        raise CannotSend(f"{said} the rate {rate}: it is in hertz, as 24000; for JSON return a list or a dict")
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= _MOST_CHANNELS):
        raise CannotSend(
            f"{said} samples of the shape {samples.shape}: it is (frames,) or (frames, channels); samples.T turns them"
        )
    try:
        pcm = array_pcm16(samples)
    except TypeError as error:
        raise CannotSend(f"{said} wrong samples: {error}; for JSON return a list or a dict") from None
    return rate, 1 if samples.ndim == 1 else samples.shape[1], pcm


_MOST_CHANNELS = 64
#: By which names WAV goes; none stands for its own.
_TYPES = ("", "audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave", "application/octet-stream")
#: A smaller number is rather what somebody counted.
_RATES = range(1000, 1_000_001)
