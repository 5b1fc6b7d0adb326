"""The clock is set while results are kept: they age by another one. A library in between stands for whoever sets it."""

from __future__ import annotations

import email.utils
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from harness import PRELOAD, Server, wait_until

CONF = """
owt_zone z 1m;
server { listen 127.0.0.1:{port}; location / { owt; owt_cache z; } }
"""

DAYS = 24 * 3600

# The wall clock, as many seconds off as the file says.
CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static char path[4096];
__attribute__((constructor)) static void remember(void) {
    const char* given = getenv("OWT_CLOCK");
    snprintf(path, sizeof path, "%s", given ? given : "");
}
static long shift(void) {
    long seconds = 0;
    FILE* file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%ld", &seconds) != 1) seconds = 0;
        fclose(file);
    }
    return seconds;
}
int gettimeofday(struct timeval* now, void* zone) {
    int (*real)(struct timeval*, void*) = (int (*)(struct timeval*, void*))dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(now, zone);
    now->tv_sec += shift();
    return result;
}
int clock_gettime(clockid_t clock, struct timespec* now) {
    int (*real)(clockid_t, struct timespec*) = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += shift();
    return result;
}
time_t time(time_t* out) {
    struct timeval now;
    gettimeofday(&now, NULL);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""


class Clock:
    """What nginx takes for the time."""

    def __init__(self, file: Path, server: Server) -> None:
        self._file = file
        self._server = server

    def set(self, seconds: int) -> None:
        """So many seconds off, as nginx has noticed when this returns."""
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self._file)

        def noticed() -> bool:
            date = email.utils.parsedate_to_datetime(self._server.get("/").headers["Date"]).timestamp()
            return abs(date - time.time() - seconds) < DAYS / 2

        wait_until(noticed, "nginx to see the time")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if PRELOAD:
        pytest.skip("a sanitizer has to be preloaded alone")
    source, library = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    with Server(CONF, env={"LD_PRELOAD": str(library), "OWT_CLOCK": str(tmp_path / "clock")}) as server:
        yield server


@pytest.fixture
def clock(server: Server, tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock", server)


def ask(server: Server, seconds: int) -> httpx.Response:
    """A result that may be kept for so long."""
    code = f"def run(_): return 'x', {{'Cache-Control': 'max-age={seconds}'}}"
    return server.run(code, use_cache=True)


def is_hit(answer: httpx.Response) -> bool:
    return answer.headers["Cache-Status"] == "owt; hit"


@pytest.mark.parametrize("days", [-5, 5])
def test_an_age_is_none_of_the_clock_s(server: Server, clock: Clock, days: int) -> None:
    assert not is_hit(ask(server, 3 * DAYS))
    before = time.monotonic()
    clock.set(days * DAYS)
    answer = ask(server, 3 * DAYS)
    assert is_hit(answer)
    assert 0 <= int(answer.headers["Age"]) <= time.monotonic() - before + 2


def test_a_clock_that_is_set_back_makes_no_result_immortal(server: Server, clock: Clock) -> None:
    ask(server, 2)
    clock.set(-5 * DAYS)
    wait_until(lambda: not is_hit(ask(server, 2)), "the result to be too old")


def test_what_comes_later_replaces_what_was_kept_when_it_was_later(server: Server, clock: Clock) -> None:
    code = "import os\ndef run(_): return os.urandom(8).hex()"
    first = server.run(code, use_cache=True)
    clock.set(-5 * DAYS)
    renewed = server.post("/", json={"code": code, "use_cache": True}, headers={"Cache-Control": "no-cache"})
    assert renewed.text != first.text
    kept = server.run(code, use_cache=True)
    assert (is_hit(kept), kept.text) == (True, renewed.text)
