import threading
import time

import fake_owt
from owt.engine import aio, runtime


def test_coroutine_and_stream(call):
    assert (
        call(
            "import asyncio\nasync def run(name: str):\n await asyncio.sleep(0)\n return name", kwargs={"name": "a"}
        ).text
        == "a"
    )
    done = call("async def run():\n yield 'a'\n yield 'b'")
    assert (done.chunks, done.ended) == (["a", "b"], "finished")
    assert call("async def run(): return (c for c in 'ab')").chunks == ["a", "b"]
    assert call("async def run(): return {'a': 1}, 201").status == 201
    assert call("async def run(): return {1: object()}").type == "cannot-send"


def test_failures(call, log):
    assert "ZeroDivisionError" in call("async def run(): 1/0").text
    assert "SystemExit" in call("async def run(): exit()").text
    assert "CancelledError" in call("import asyncio\nasync def run(): raise asyncio.CancelledError").text
    done = call("async def run():\n yield 'a'\n 1/0")
    assert (done.chunks, done.ended) == (["a"], "aborted")
    assert call("async def run(): return 'still here'").text == "still here"


SLOW = """
import asyncio
ended = []
async def run():
    try:
        yield 'a'
        await asyncio.sleep(60)
    finally:
        ended.append(1)
def ask(): return ended
"""


def test_cancelling_runs_finally(call):
    made = fake_owt.Call(SLOW)
    runtime.run(made, made.code_id, "run", {}, None)
    while not made.chunks:
        time.sleep(0.001)
    made.cancelled = True
    runtime.cancel(made)
    assert made.released.wait(5)
    assert call(code_id=made.code_id, fn_name="ask").json == [1]


def test_cancelled_before_it_began(call, log):
    made = fake_owt.Call(SLOW.replace("yield", "await asyncio.sleep(0);"))
    call(made=made, fn_name="ask")
    made.cancelled = True
    runtime.run(made, made.code_id, "run", {}, None)
    assert made.released.wait(5)
    assert call(code_id=made.code_id, fn_name="ask").json == []
    assert not any("never awaited" in text for _, _, text in log)


def test_backpressure(call):
    made = fake_owt.Call("async def run():\n for c in 'abcd': yield c")
    made.full_after = 2
    runtime.run(made, made.code_id, "run", {}, None)
    assert not made.released.wait(0.1)
    assert made.chunks == ["a", "b"]
    runtime.resume(made)
    assert made.released.wait(5)
    assert made.chunks == ["a", "b", "c", "d"]


def test_each_call_has_its_own_context(call, log):
    source = """
import asyncio, contextvars
v = contextvars.ContextVar('v', default='unset')
async def run(name: str):
    before = v.get()
    v.set(name)
    print('from', name)
    await asyncio.sleep(0.01)
    return before + v.get()
"""
    made = [fake_owt.Call(source) for _ in range(3)]
    for number, one in enumerate(made):
        one.connection = number
        runtime.run(one, one.code_id, "run", {"name": f"n{number}"}, None)
    assert all(one.released.wait(5) for one in made)
    assert [one.text for one in made] == [f"unsetn{n}" for n in range(3)]


def test_one_thread(call):
    call("async def run(): return 'x'")
    assert [t.name for t in threading.enumerate()].count("owt-asyncio") == 1
    assert not aio._pending
