"""Calls that compute, on threads of a Python that has no GIL, beside the same work on threads of that Python by itself."""

import json
import os
import subprocess

from peers import BenchError, Peer, nginx

_WORK = """\
def work(n):
    x = 0
    for i in range(n):
        x += i * i % 7
    return x
"""

_RUN = f"""\
{_WORK}
def run(request, name, n):
    work(n)
    return f"Hello, {{name}}!"
"""

# Prints how often a second so many threads do it together.
_PLAIN = f"""\
import sys, threading, time
{_WORK}
def loop(until, done):
    count = 0
    while time.monotonic() < until:
        work(int(sys.argv[2]))
        count += 1
    done.append(count)

def rate(threads, seconds):
    done, began = [], time.monotonic()
    all = [threading.Thread(target=loop, args=(began + seconds, done)) for _ in range(threads)]
    for thread in all: thread.start()
    for thread in all: thread.join()
    return sum(done) / (time.monotonic() - began)

print(rate(int(sys.argv[1]), float(sys.argv[3])))
"""

#: Some ten milliseconds of work.
SIZE = 150_000


def home() -> str:
    """A virtualenv of a Python without a GIL whose bridge is built, which OWT_BENCH_FREE_THREADED names; or nothing."""
    return os.environ.get("OWT_BENCH_FREE_THREADED", "")


def computing(threads: int) -> Peer:
    """owt with so many threads of that Python; every call computes."""
    command = nginx("owt", "owt", threads=threads, instance=f"python_home {home()};")
    body = json.dumps({"code": _RUN, "name": "owt", "n": SIZE})
    return Peer(f"computing-{threads}", f"owt without a GIL, threads {threads}", command, body)


def plain(threads: int, seconds: int) -> float:
    """How often a second so many threads of that Python do the work together."""
    words = [f"{home()}/bin/python", "-Ic", _PLAIN, str(threads), str(SIZE), str(seconds)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise BenchError(f"{words[0]}: {done.stderr}")
    return float(done.stdout)
