"""Stand-ins for models, and adaptors that call them: what is expensive is not Python."""

import json
import os
from pathlib import Path

import peers
from peers import HERE, Peer, Tools

# What a library keeps per thread, and is slow where it is cold: here memory that has to come into the processor's cache.
SMALL = """\
import threading, time, zlib

class Scratch(threading.local):
    def __init__(self):
        self.block = bytes(range(256)) * 5120

scratch = Scratch()

def model():
    return zlib.crc32(scratch.block)

def run(request, name, calls=0):
    began = time.perf_counter()
    for _ in range(calls):
        model()
    if calls:
        return str(calls / (time.perf_counter() - began))
    model()
    return f"Hello, {name}!"
"""

_PREDICT = """\
import time

def predict(names):
    time.sleep(0.002 + 0.00005 * len(names))
    return [f"Hello, {name}!" for name in names]
"""

_BATCHED = f"""\
from owt import batch
{_PREDICT}
run = batch(max_size=32, max_wait=0.002)(lambda name: predict(name))
"""

# As one writes it who knows asyncio.
_BY_HAND = f"""\
import asyncio
from concurrent.futures import ThreadPoolExecutor
{_PREDICT}
pool = ThreadPoolExecutor(1)
waiting = []
full = asyncio.Event()
worker = None

async def work():
    global worker
    loop = asyncio.get_running_loop()
    while waiting:
        if len(waiting) < 32:
            full.clear()
            timer = loop.call_later(0.002, full.set)
            await full.wait()
            timer.cancel()
        batch, waiting[:32] = waiting[:32], []
        results = await loop.run_in_executor(pool, predict, [name for name, _ in batch])
        for (_, future), result in zip(batch, results):
            if not future.done():
                future.set_result(result)
    worker = None

async def run(request, name):
    global worker
    future = asyncio.get_running_loop().create_future()
    waiting.append((name, future))
    if len(waiting) == 32:
        full.set()
    if worker is None:
        worker = asyncio.create_task(work())
    return await future
"""


def _owt(name: str, title: str, source: str) -> Peer:
    return Peer(name, title, peers.owt().command, json.dumps({"code": source, "name": "owt"}))


SMALL_PEER = _owt("small", "owt, a small model, default threads", SMALL)
BATCHED_PEER = _owt("batched", "owt, batch()", _BATCHED)
BY_HAND_PEER = _owt("by-hand", "owt, a batching adaptor written by hand", _BY_HAND)


def litserve() -> Peer | None:
    """LitServe, of the Python that OWT_BENCH_LITSERVE names (bin/python of a virtualenv that has it)."""
    python = os.environ.get("OWT_BENCH_LITSERVE", "")
    if not python:
        return None

    def command(_tools: Tools, _directory: Path, port: int) -> list[str]:
        return [python, str(HERE / "apps/batching.py"), str(port)]

    return Peer("litserve", "LitServe", command, json.dumps({"name": "owt"}), b'"Hello, owt!"')
