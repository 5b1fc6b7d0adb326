"""Bytes and their Content-Type: a PNG from the standard library alone."""

import math
import struct
import zlib


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(size: int, rows: list[bytes]) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b"")


def colour(x: float, y: float) -> bytes:
    height = math.sin(9 * math.hypot(x, y)) + math.sin(7 * math.hypot(x - 1.1, y - 0.4))
    return bytes(round(140 + 100 * math.sin(0.9 * height + phase)) for phase in (0.4, -0.7, -1.6))


def run(request, size: int = 300):
    steps = [step / size for step in range(size)]
    rows = [b"".join(colour(x, y) for x in steps) for y in steps]
    return png(size, rows), {"Content-Type": "image/png"}
