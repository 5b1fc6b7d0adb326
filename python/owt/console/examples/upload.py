"""An upload, under a name of its own while the call runs."""

from pathlib import Path


def run(request, file: Path):
    data = file.read_bytes()
    lines = data.count(b"\n")
    return {"lines": lines, "words": len(data.split()), "bytes": len(data)}
