"""stream.produced: what a thread puts is yielded, and it ends when nobody reads."""

import asyncio
import threading
from contextvars import Context

import pytest
from fake_owt import Call, wait_until
from owt import Cancelled
from owt.lib import stream
from owt.process.context import current
from owt.process.request import Request


def threads():
    return [t for t in threading.enumerate() if t.name == "owt-produced"]


def gone():
    for thread in threads():
        thread.join(5)
    return not threads()


async def read(produced):
    return [item async for item in produced]


def test_yields_what_is_put():
    def fn(put):
        for n in range(100):
            put(n)

    assert list(stream.produced(fn)) == list(range(100))
    assert asyncio.run(read(stream.produced(fn))) == list(range(100))
    assert gone()


def test_what_puts_nothing_but_yields_is_told():
    def yields(put):
        yield 1

    async def later(put):
        pass

    for wrong, what in ((None, "not called yet, got None"), (yields, "yields yields"), (later, "later is async")):
        with pytest.raises(TypeError, match=what):
            stream.produced(wrong)
    with pytest.raises(TypeError, match="returned a generator, which nobody runs: a generator streams as it is"):
        list(stream.produced(lambda put: yields(put)))
    assert gone()


def test_raises_what_it_raises_after_what_came_before():
    def fn(put):
        put(1)
        raise ValueError("no more")

    items = stream.produced(fn)
    assert next(items) == 1
    with pytest.raises(ValueError, match="no more"):
        next(items)
    with pytest.raises(StopIteration):
        next(items)

    async def run():
        later = stream.produced(fn)
        assert await anext(later) == 1
        with pytest.raises(ValueError, match="no more"):
            await anext(later)

    asyncio.run(run())
    assert gone()


def test_a_reader_that_leaves_ends_it():
    ended = []

    def fn(put):
        try:
            while True:
                put(1)
        except Cancelled:
            ended.append("Cancelled")
            raise

    items = stream.produced(fn)
    next(items)
    items.close()
    assert gone()

    def forwards():
        yield from stream.produced(fn)

    outer = forwards()
    next(outer)
    outer.close()
    assert gone()
    forgotten = stream.produced(fn)
    next(forgotten)
    del forgotten
    assert gone()
    assert ended == ["Cancelled"] * 3


def test_it_waits_for_who_reads():
    put_so_far = []

    def fn(put):
        for n in range(1000):
            put(n)
            put_so_far.append(n)

    items = stream.produced(fn)
    next(items)
    wait_until(lambda: len(put_so_far) >= stream.ROOM)
    assert len(put_so_far) <= stream.ROOM + 1
    items.close()
    assert gone()


def test_it_belongs_to_its_call():
    request = Request.__new__(Request)
    request._call = Call()
    seen = []

    def fn(put):
        seen.append(current.get())
        put(1)
        request._call.cancelled = True
        with pytest.raises(Cancelled):
            put(2)

    def run():
        current.set(request)
        return list(stream.produced(fn))

    assert Context().run(run) == [1]
    assert seen == [request]


def test_nothing_starts_before_it_is_read():
    items = stream.produced(lambda put: put(1))
    assert not threads()
    items.close()
    assert list(items) == []
    with pytest.raises(TypeError, match=r"fn\(put\)"):
        stream.produced(None)


def test_as_an_answer(call):
    code = """
from owt.lib import stream
def run(request, n):
    def fn(put):
        for i in range(n):
            put(f"{i},")
    return stream.produced(fn)
"""
    assert call(code, kwargs={"n": 3}).text == "0,1,2,"
    code = """
from owt.lib import stream
def run(request):
    for item in stream.produced(lambda put: put("a")):
        yield item * 2
"""
    assert call(code).text == "aa"
