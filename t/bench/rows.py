"""The numbers that owt has to reach: each section takes its readings and yields a row for each number."""

import base64
import hashlib
import json
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import echo
import load
import measure
import models
import peers
import threads
from peers import BenchError, Peer, Server, Tools

MB = 1e6
GB = 1e9


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    rounds: int = 3
    seconds: int = 3
    warm: int = 1
    connections: list[int] = field(default_factory=lambda: [1, 8, 64])
    downloads: int = 7
    download: float = 2 * GB
    lines: int = 1000
    streams: int = 10_000
    answer: float = 4 * GB
    upload: float = 1 * GB
    calls_before: int = 50_000
    calls: int = 1_000_000


QUICK = Sizes(
    1, 1, 0, downloads=1, download=0.5 * GB, lines=100, streams=500, answer=0.2 * GB, upload=0.1 * GB, calls=100_000
)
LONG = Sizes(rounds=7, seconds=5, warm=3, downloads=15, lines=10_000, calls=5_000_000)


@dataclass(frozen=True)
class Goal:
    """Where a number has to be: below `limit`, or above it."""

    limit: float
    unit: str
    aim: float | None = None
    at_least: bool = False

    def __str__(self) -> str:
        aim = "" if self.aim is None else f", aim {self.aim:g}{self.unit}"
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}{aim}"

    def verdict(self, value: float) -> str:
        if self.aim is not None and self._met(value, self.aim):
            return "pass, aim met"
        return "pass" if self._met(value, self.limit) else "MISS"

    def _met(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound


@dataclass(frozen=True)
class Row:
    """A number, and what it has to be; without a goal it is there for comparison."""

    measure: str
    value: float
    unit: str
    goal: Goal | None = None

    @property
    def verdict(self) -> str:
        return self.goal.verdict(self.value) if self.goal else ""


@dataclass
class Run:
    """One run of the benchmark. Its rows and readings grow as it goes."""

    tools: Tools
    scratch: Path
    sizes: Sizes
    peers: list[Peer]
    rows: list[Row] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    echoes: echo.Echoes = field(default_factory=lambda: echo.Echoes({}))

    def server(self, peer: Peer) -> Server:
        """Starts a peer, for a `with` block."""
        return Server(peer, self.tools, self.scratch)

    def find(self, name: str) -> Peer | None:
        """The peer of that name, if it takes part."""
        return next((peer for peer in self.peers if peer.name == name), None)


@dataclass(frozen=True)
class Ratio:
    """CPU per echo of one peer against another's, or how many times less it is."""

    measure: str
    peer: str
    other: str
    connections: int
    goal: Goal | None = None


ECHO_RATIOS = [
    Ratio("warm echo, 1 thread, 64 connections: CPU per call / nginx+Lua", "owt-1", "lua", 64, Goal(2.5, "x", aim=2)),
    Ratio("warm echo, defaults, 8 connections: CPU per call / nginx+Lua", "owt-8", "lua", 8, Goal(5, "x", aim=3)),
    Ratio(
        "warm echo, 1 thread, 64 connections: CPU per call, times less than uvicorn+Starlette, h11",
        "starlette",
        "owt-1",
        64,
        Goal(6, "x", aim=8, at_least=True),
    ),
    Ratio(
        "warm echo, 1 thread, 64 connections: CPU per call, times less than uvicorn+Starlette, httptools",
        "starlette-c",
        "owt-1",
        64,
    ),
    Ratio(
        "warm echo, 1 thread, 64 connections, code_b64 and kwargs_b64: CPU per call / nginx+Lua", "owt-b64", "lua", 64
    ),
    Ratio("kept result, 64 connections: CPU per call / nginx+Lua", "kept", "lua", 64, Goal(1.5, "x", aim=1.2)),
    Ratio("kept result, 64 connections, code_b64 and kwargs_b64: CPU per call / nginx+Lua", "kept-b64", "lua", 64),
]


def echoes(run: Run) -> Iterator[Row]:
    """All peers side by side."""
    sizes = run.sizes
    with ExitStack() as stack:
        servers = [stack.enter_context(run.server(peer)) for peer in run.peers]
        run.echoes = echo.take(servers, sizes.connections, sizes.rounds, sizes.seconds, sizes.warm)
    for ratio in ECHO_RATIOS:
        if run.find(ratio.peer) and run.find(ratio.other):
            value = run.echoes.ratio(ratio.peer, ratio.other, ratio.connections)
            yield Row(ratio.measure, value, "x", ratio.goal)


UNTYPED = "def run(request, n): return 'Hello, owt!'"
TYPED = "def run(request, n: int): return 'Hello, owt!'"


def binding(run: Run) -> Iterator[Row]:
    """What it costs that an argument has an annotation."""
    asked = [
        peers.adaptor("no annotation", UNTYPED, n=5),
        peers.adaptor("an int", TYPED, n=5),
        peers.adaptor("an int of text", TYPED, n="5"),
    ]
    what = "binding n: int, 1 thread, 64 connections: CPU per call"
    yield from _against_the_first(run, asked, what, Goal(1.3, "x", aim=1.1))


# A JSON object of about 1 kB.
RECORDS = {"records": [{"name": f"record {n}", "score": n / 8, "tags": ["a", "b"], "seen": True} for n in range(16)]}
MADE = f"import json\nvalue = json.loads('{json.dumps(RECORDS)}')\n"
COMPACT = json.dumps(RECORDS, separators=(",", ":")) + "\n"
SORTED = json.dumps(RECORDS, separators=(",", ":"), sort_keys=True) + "\n"
DUMPS = "def run(request): return json.dumps(value, separators=(',', ':')) + chr(10)"
JSONIFY = "from flask import jsonify\ndef run(request): return jsonify(value)"


def answers(run: Run) -> Iterator[Row]:
    """What it costs that an answer is made JSON: by owt, by the adaptor itself, by Flask in the same server."""
    asked = [
        peers.adaptor("a dict", f"{MADE}def run(request): return value", COMPACT.encode()),
        peers.adaptor("json.dumps, sent as text", MADE + DUMPS, COMPACT.encode()),
        peers.adaptor("Flask's jsonify", MADE + JSONIFY, SORTED.encode()),
    ]
    what = f"an answer of {len(COMPACT):,} bytes of JSON, 1 thread, 64 connections: CPU per call"
    yield from _against_the_first(run, asked, what)


THREE = "def run(request, a, b, c): return 'Hello, owt!'"
THREE_TYPED = "def run(request, a: int, b: float, c: bool): return 'Hello, owt!'"


def published(run: Run) -> Iterator[Row]:
    """What it saves that the code is not sent, and what three annotations cost there."""
    code = 'def run(request, name): return f"Hello, {name}!"'
    asked = [peers.adaptor("as code", code, name="owt"), peers.published("published", code, name="owt")]
    what = "the same function, 1 thread, 64 connections: CPU per call"
    yield from _against_the_first(run, asked, what, Goal(1, "x"))
    asked = [
        peers.published("no annotations", THREE, a=1, b=0.5, c=True),
        peers.published("int, float, bool", THREE_TYPED, a=1, b=0.5, c=True),
        peers.published("int, float, bool of text", THREE_TYPED, a="1", b="0.5", c="yes"),
    ]
    what = "published, three fields, 1 thread, 64 connections: CPU per call"
    yield from _against_the_first(run, asked, what)


def _against_the_first(run: Run, asked: list[Peer], what: str, goal: Goal | None = None) -> Iterator[Row]:
    """What the first one takes, and how many times that each of the others does, round by round."""
    if not run.find("owt-1"):
        return
    sizes = run.sizes
    with ExitStack() as stack:
        servers = [stack.enter_context(run.server(peer)) for peer in asked]
        taken = echo.take(servers, [64], sizes.rounds, sizes.seconds, sizes.warm)
    first, *others = asked
    yield Row(f"{what}, {first.name}", 1e6 * taken.median(first.name, 64, "cpu_per_call"), " µs")
    for other in others:
        yield Row(f"{what}, {other.name} / {first.name}", taken.ratio(other.name, first.name, 64), "x", goal)


SPIN = """\
def run(request):
    yield "open\\n"
    while True:
        pass
"""


def hits(run: Run) -> Iterator[Row]:
    """Kept results while Python's threads do something else, all of them."""
    peer = run.find("kept")
    if not peer:
        return
    with run.server(peer) as server:
        load.echo(server, 64, 1)
        idle = [load.echo(server, 64, run.sizes.seconds).rate for _ in range(run.sizes.rounds)]
        with load.held(server, load.post(SPIN), 8):
            busy = [load.echo(server, 64, run.sizes.seconds).rate for _ in range(run.sizes.rounds)]
    yield Row("kept results, 64 connections: calls a second, Python idle", median(idle), "/s")
    yield Row("kept results, 64 connections: calls a second, Python's 8 threads busy", median(busy), "/s")


STREAM = f"""\
def run(request, chunks):
    chunk = b"x" * {load.CHUNK}
    for _ in range(chunks):
        yield chunk
"""


def stream(run: Run) -> Iterator[Row]:
    """Bytes per CPU second of a streamed answer, against Lua's print and flush, in turns."""
    ours, lua = run.find("owt-8"), run.find("lua")
    if not ours or not lua:
        return
    chunks = int(run.sizes.download / load.CHUNK)
    size = chunks * load.CHUNK
    taken: list[tuple[load.Download, load.Download]] = []
    with run.server(ours) as owt_server, run.server(lua) as lua_server:
        for _ in range(run.sizes.downloads):
            mine = load.download(owt_server, load.post(STREAM, chunks=chunks), size)
            theirs = load.download(lua_server, load.get("/stream", chunks=chunks), size)
            taken.append((mine, theirs))
    what = f"streaming {size / GB:.1f} GB in 64 KiB chunks"
    for title, downloads in ("owt", [mine for mine, _ in taken]), ("nginx+Lua", [theirs for _, theirs in taken]):
        rate = median(download.bytes_per_cpu_second for download in downloads)
        yield Row(f"{what}: {title}", rate / MB, " MB per CPU second")
    ratio = median(mine.bytes_per_cpu_second / theirs.bytes_per_cpu_second for mine, theirs in taken)
    yield Row(f"{what}: bytes per CPU second / nginx+Lua", ratio, "x", Goal(0.5, "x", at_least=True))


TICK = """\
import time

def run(request, lines):
    for _ in range(lines):
        yield f"{time.monotonic_ns()}\\n"
        time.sleep(0.003)
"""


def lag(run: Run) -> Iterator[Row]:
    """From the moment before a yield to the moment after the client's read."""
    goals = {50: Goal(0.15, " ms"), 99: Goal(2, " ms")}
    for name, title in ("owt-8", "owt"), ("starlette", "uvicorn+Starlette"):
        peer = run.find(name)
        if not peer:
            continue
        with run.server(peer) as server:
            load.lags(server, load.post(TICK, lines=20))
            lags = load.lags(server, load.post(TICK, lines=run.sizes.lines))
        for percent, goal in goals.items():
            value = lags[len(lags) * percent // 100] * 1e3
            measured = f"yield to client's read, one small chunk, p{percent}: {title}"
            yield Row(measured, value, " ms", goal if title == "owt" else None)


WAIT = """\
import asyncio

async def run(request):
    yield "data: open\\n\\n"
    await asyncio.Event().wait()
"""


def streams(run: Run) -> Iterator[Row]:
    """Memory of many open async streams, called by code_id."""
    if not run.find("owt-8"):
        return
    count = run.sizes.streams
    _allow_open_files(count + 2000)
    request = load.get("/", code_id=_code_id(WAIT))
    with run.server(peers.owt(connections=count + 1000)) as server, load.held(server, load.post(WAIT), 1):
        before = measure.rss(server.pid)
        with load.held(server, request, count) as (opened, seconds):
            grown = measure.rss(server.pid) - before
            if opened != count:
                raise BenchError(f"only {opened} of {count} streams stayed open: {server.log()}")
    yield Row(f"{count:,} open async event streams: memory of each", grown / count / 1e3, " kB", Goal(25, " kB"))
    yield Row(f"{count:,} open async event streams: opened a second, all asked for at once", count / seconds, "/s")


READ = """\
def run(request):
    total = 0
    while part := request.stream.read(1 << 20):
        total += len(part)
    return str(total)
"""


def memory(run: Run) -> Iterator[Row]:
    """How far memory grows beyond what a small transfer needs."""
    if not run.find("owt-8"):
        return
    goal = Goal(32, " MB")

    def answer(server: Server, size: int) -> None:
        load.drain(server, load.post(STREAM, chunks=size // load.CHUNK), size - load.CHUNK)

    def upload(server: Server, size: int) -> None:
        code = base64.b64encode(READ.encode()).decode()
        tail = load.drain(server, load.post_query(size, code_b64=code), upload=size)
        if not tail.endswith(f"\r\n\r\n{size}"):
            raise BenchError(f"{size} bytes were uploaded, the answer is {tail!r}")

    transfers: list[tuple[str, Callable[[Server, int], None], float]] = [
        ("streamed answer", answer, run.sizes.answer),
        ("upload read through request.stream", upload, run.sizes.upload),
    ]
    for title, transfer, size in transfers:
        with run.server(peers.owt()) as server:
            transfer(server, int(32 * MB))
            before = measure.rss(server.pid)
            measure.reset_peak_rss(server.pid)
            transfer(server, int(size))
            grown = measure.peak_rss(server.pid) - before
        yield Row(f"{size / GB:g} GB {title}: memory grows by", grown / MB, " MB", goal)


def calls(run: Run) -> Iterator[Row]:
    """Memory after very many calls. Flat: a leak of a few bytes a call would pass, of one object would not."""
    if not run.find("owt-8"):
        return
    sizes = run.sizes
    deadline = time.monotonic() + sizes.calls / 4000
    done = 0
    with run.server(peers.owt()) as server:
        while done < sizes.calls_before:
            done += load.echo(server, 64, 1).requests
        first, before = done, measure.rss(server.pid)
        while done < sizes.calls and time.monotonic() < deadline:
            done += load.echo(server, 64, 2).requests
        grown = measure.rss(server.pid) - before
    goal = Goal(4, " MB")
    yield Row(f"from call {first:,} to call {done:,}: memory grows by", grown / MB, " MB", goal)


def model(run: Run) -> Iterator[Row]:
    """What stands between a client and a model: threads whose state is cold, and calls that come one by one."""
    if not run.find("owt-8"):
        return
    with run.server(models.SMALL_PEER) as server:
        load.echo(server, 1, 1)
        rates, inside = [], []
        for _ in range(run.sizes.rounds):
            rates.append(load.echo(server, 1, run.sizes.seconds).rate)
            inside.append(load.number(server, load.post(models.SMALL, name="owt", calls=2000)))
    for title, rate in ("over HTTP", median(rates)), ("in process", median(inside)):
        yield Row(f"small model, one client, default threads: calls a second, {title}", rate, "/s")
    shares = [rate / most for rate, most in zip(rates, inside, strict=True)]
    yield Row(
        "small model, one client, default threads, against in process",
        median(shares),
        "x",
        Goal(0.7, "x", at_least=True),
    )
    litserve = models.litserve()
    batching = [models.BATCHED_PEER, models.BY_HAND_PEER, *([litserve] if litserve else [])]
    with ExitStack() as stack:
        servers = [stack.enter_context(run.server(peer)) for peer in batching]
        taken = echo.take(servers, [64], run.sizes.rounds, run.sizes.seconds, 1)
    for peer in batching:
        yield Row(
            f"batches of up to 32, 64 clients: calls a second, {peer.title}", taken.median(peer.name, 64, "rate"), "/s"
        )
    pairs = zip(taken.readings["batched"][64], taken.readings["by-hand"][64], strict=True)
    share = median(mine.rate / theirs.rate for mine, theirs in pairs)
    yield Row("batches, 64 clients: calls a second / by hand", share, "x", Goal(0.9, "x", at_least=True))


COMPUTE = """\
import time

def run(request, name, seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass
    return f"Hello, {name}!"
"""


def neighbours(run: Run) -> Iterator[Row]:
    """Calls that compute in Python and share a GIL: who comes how late."""
    if not run.find("owt-8"):
        return
    short = replace(peers.owt(), echo=json.dumps({"code": COMPUTE, "name": "owt", "seconds": 0.002}))
    with run.server(short) as server:
        load.echo(server, 8, 1)
        taken = [load.echo(server, 8, run.sizes.seconds) for _ in range(run.sizes.rounds)]
    yield Row("calls that compute for 2 ms, 8 clients: a second", median(seen.rate for seen in taken), "/s")
    yield Row(
        "calls that compute for 2 ms, 8 clients: p99 / p50",
        median(seen.p99 / seen.p50 for seen in taken),
        "x",
        Goal(6, "x"),
    )
    with run.server(peers.owt()) as server:
        alone = [load.echo(server, 1, run.sizes.seconds) for _ in range(run.sizes.rounds)]
        with load.held(server, load.post(SPIN), 2):
            beside = [load.echo(server, 1, run.sizes.seconds) for _ in range(run.sizes.rounds)]
    for title, seen in (("alone", alone), ("beside two that compute without end", beside)):
        for name in ("p50", "p99"):
            yield Row(f"echo, 1 client, {title}: {name}", median(getattr(one, name) for one in seen) * 1000, " ms")


def processors(run: Run) -> Iterator[Row]:
    """What a second thread is worth to calls that compute, without a GIL."""
    if not threads.home():
        return
    one, two = threads.computing(1), threads.computing(2)
    ours, plain = [], []
    with run.server(one) as single, run.server(two) as double:
        load.echo(single, 1, 1)
        load.echo(double, 2, 1)
        for _ in range(run.sizes.rounds):
            alone = load.echo(single, 1, run.sizes.seconds).rate
            ours.append(load.echo(double, 2, run.sizes.seconds).rate / alone)
            alone = threads.plain(1, run.sizes.seconds)
            plain.append(threads.plain(2, run.sizes.seconds) / alone)
    what = "calls that compute, no GIL, two threads: calls a second / one thread's"
    yield Row(what, median(ours), "x", Goal(1.5, "x", at_least=True))
    yield Row("the same work, two threads of that Python by itself / one", median(plain), "x")


SECTIONS: dict[str, Callable[[Run], Iterator[Row]]] = {
    "echo": echoes,
    "binding": binding,
    "answers": answers,
    "published": published,
    "hits": hits,
    "stream": stream,
    "lag": lag,
    "streams": streams,
    "memory": memory,
    "calls": calls,
    "model": model,
    "neighbours": neighbours,
    "processors": processors,
}


def _allow_open_files(needed: int) -> None:
    """Servers and clients inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(hard, needed)))
    except ValueError as error:
        raise BenchError(f"{needed} open files are needed, the limit is {hard}") from error


def _code_id(source: str) -> str:
    return "sha256:" + hashlib.sha256(source.encode()).hexdigest()
