"""keep: loaded once, shared, waited for, let go when nobody uses it."""

import gc
import sys
import threading
import traceback
import types
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from datetime import timedelta

import pytest
from fake_owt import Call, bridge, wait_until
from owt import Cancelled, keep
from owt.models import keep as keeping
from owt.process import chores, loads
from owt.process.context import call_threads, current
from owt.process.request import Request


class Thing:
    pass


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A time that passes when a test says so; nothing is kept at first, and nobody but the test looks after it."""
    now = [1000.0]
    monkeypatch.setattr(keeping, "monotonic", lambda: now[0])
    monkeypatch.setattr(chores, "wake", lambda: None)
    yield now
    keeping._things.clear()


def waiting():
    """How many threads wait for a load."""
    frames = [frame for first in sys._current_frames().values() for frame, _ in traceback.walk_stack(first)]
    return sum(frame.f_code is keeping._wait.__code__ for frame in frames)


def request():
    made = Request.__new__(Request)
    made._call = Call()
    return made


def in_call(work, made=None):
    """Runs work as a call of its own would."""

    def run():
        current.set(made or request())
        return work()

    return Context().run(run)


def test_loads_once_whoever_asks():
    loads = []
    first = in_call(lambda: keep("a", lambda: loads.append(1) or Thing()))
    second = in_call(lambda: keep("a", lambda: loads.append(2) or Thing()))
    assert first is second
    assert loads == [1]
    assert keep(("a", 1), Thing) is not first


def test_others_wait_for_a_load_and_get_the_same():
    begun, go = threading.Event(), threading.Event()

    def load():
        begun.set()
        go.wait()
        return Thing()

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(keep, "a", load)
        begun.wait()
        others = [pool.submit(keep, "a", load) for _ in range(2)]
        wait_until(lambda: waiting() >= 2)
        go.set()
        assert {id(f.result(5)) for f in (first, *others)} == {id(first.result())}


def test_a_load_that_fails_fails_for_all_that_waited_and_is_tried_again():
    begun, go = threading.Event(), threading.Event()

    def load():
        begun.set()
        go.wait()
        raise OSError(2, "no weights")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(keep, "a", load)
        begun.wait()
        second = pool.submit(keep, "a", load)
        wait_until(waiting)
        go.set()
        errors = [f.exception(5) for f in (first, second)]
    assert [str(error) for error in errors] == ["[Errno 2] no weights"] * 2
    assert errors[0] is not errors[1]
    assert keep("a", lambda: "loaded") == "loaded"


def test_a_load_is_not_interrupted(monkeypatch):
    seen = []
    monkeypatch.setattr(loads, "begins", lambda: seen.append("begins") or 7)
    monkeypatch.setattr(loads, "ends", lambda load: seen.append(load))
    keep("a", lambda: seen.append("loads"))
    with pytest.raises(ZeroDivisionError):
        keep("b", lambda: 1 / 0)
    assert seen == ["begins", "loads", 7, "begins", 7]


def test_who_waits_leaves_with_its_client(monkeypatch):
    begun, go = threading.Event(), threading.Event()
    made = request()

    def load():
        begun.set()
        go.wait()
        return Thing()

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(keep, "a", load)
        begun.wait()
        waits = pool.submit(in_call, lambda: keep("a", load), made)
        wait_until(waiting)
        made._call.cancelled = True
        with pytest.raises(Cancelled):
            waits.result(5)
        assert not waiting()
        go.set()
        assert first.result(5)
    assert not call_threads


def test_a_load_that_waits_for_itself_is_an_error():
    with pytest.raises(RuntimeError, match="asks for it again"):
        keep("a", lambda: keep("a", Thing))
    a, b = threading.Event(), threading.Event()

    def load_a():
        a.set()
        b.wait()
        return keep("b", Thing)

    def load_b():
        b.set()
        a.wait()
        wait_until(waiting)
        return keep("a", Thing)

    with ThreadPoolExecutor(2) as pool:
        errors = [f.exception(5) for f in (pool.submit(keep, "a", load_a), pool.submit(keep, "b", load_b))]
    assert any("waits for what is being loaded here" in str(error) for error in errors)
    assert keep("a", Thing)


def test_idle_things_go_and_what_is_used_stays(clock):
    made = request()
    alive = weakref.ref(in_call(lambda: keep("a", Thing, idle=10), made))
    clock[0] += 100
    assert keeping.drop_idle() == keeping.LOOK
    assert alive() is not None
    clock[0] += 1
    del made
    assert keeping.drop_idle() == 10  # since the call has ended
    clock[0] += 9
    assert keeping.drop_idle() == 1
    assert alive() is not None
    clock[0] += 1
    assert keeping.drop_idle() is None
    assert alive() is None
    assert keeping.count() == 0


def test_what_is_part_of_a_cycle_is_freed(clock):
    class Cyclic:
        def __init__(self):
            self.me = self

    alive = weakref.ref(in_call(lambda: keep("a", Cyclic, idle=1)))
    clock[0] += 1
    gc.disable()
    try:
        keeping.drop_idle()
        assert alive() is None
    finally:
        gc.enable()


def test_the_last_who_asks_says_how_long(clock, monkeypatch):
    in_call(lambda: keep("a", Thing, idle=10))
    in_call(lambda: keep("a", Thing))
    assert keeping.drop_idle() is None
    monkeypatch.setattr(keeping, "default_idle", 5)
    in_call(lambda: keep("a", Thing))
    assert keeping.drop_idle() == 5


def test_who_holds_what_was_let_go_holds_what_the_next_gets(clock):
    held = in_call(lambda: keep("a", Thing, idle=1))
    clock[0] += 2
    keeping.drop_idle()
    assert keeping.count() == 0
    assert in_call(lambda: keep("a", Thing)) is held


def test_a_thread_without_a_call_uses_it_until_it_ends(clock):
    go = threading.Event()
    asked = threading.Event()

    def work():
        keep("a", Thing, idle=1)
        asked.set()
        go.wait()

    thread = threading.Thread(target=work)
    thread.start()
    asked.wait()
    clock[0] += 10
    keeping.drop_idle()
    assert keeping.count() == 1
    go.set()
    thread.join()
    del thread
    gc.collect()
    clock[0] += 10
    keeping.drop_idle()
    assert keeping.count() == 0


def test_half_goes_first_what_was_used_last_stays(clock):
    made = request()
    for name in "abc":
        in_call(lambda name=name: keep(name, Thing))
        clock[0] += 1
    in_call(lambda: keep("used", Thing), made)
    assert keeping.drop_half() == 2
    assert set(keeping._things) == {"c", "used"}
    assert keeping.drop_half() == 1
    assert keeping.drop_half() == 0
    assert set(keeping._things) == {"used"}


def test_a_gpus_cache_is_emptied(clock, monkeypatch):
    emptied = []
    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(empty_cache=lambda: emptied.append(1)))
    monkeypatch.setitem(sys.modules, "torch", torch)
    in_call(lambda: keep("a", Thing, idle=0))
    keeping.drop_idle()
    assert emptied == [1]


def test_another_load_under_the_same_name_is_told_once(log):
    def load():
        return 1

    def same():
        return 1

    def other():
        return 2

    for one in (load, same, other, other):
        assert keep("a", one) == 1
    told = [text for level, _, text in bridge.lines if level == 5]
    assert len(told) == 1
    assert "loaded by load in test_keep.py" in told[0]
    assert "the name alone says what it is" in told[0]


def test_what_cannot_be_kept():
    async def load():
        pass

    def yields():
        yield Thing()

    class Weights:
        def __repr__(self):
            return "a thousand lines"

    def sized(size):
        return Thing()

    with pytest.raises(TypeError, match=r"wants a plain function.*asyncio\.to_thread\(keep, name, lambda"):
        keep("a", load)
    with pytest.raises(TypeError, match=r"returned a coroutine, which nobody has awaited"):
        keep("a", lambda: load())
    for wrong, what in ((None, "None"), ("b", "'b'"), (Weights(), "a value of type Weights")):
        with pytest.raises(TypeError, match=f"got {what}, which has been loaded already: keep\\(name, load\\)"):
            keep("a", wrong)
    with pytest.raises(TypeError, match="yields yields: have it return what is to be kept"):
        keep("a", yields)
    with pytest.raises(TypeError, match="missing 1 required positional argument") as raised:
        keep("a", sized)
    assert "keep calls it without arguments: keep('a', lambda: sized(...))" in raised.value.__notes__
    assert len(raised.value.__notes__) == 1

    class Model:
        def __call__(self, text):
            return text

    with pytest.raises(TypeError) as raised:
        keep("a", Model())
    assert "has called what it was given, a value of type Model. Where that is the model" in raised.value.__notes__[0]
    with pytest.raises(ZeroDivisionError) as failed:
        keep("a", lambda: 1 / 0)
    assert not hasattr(failed.value, "__notes__")
    with pytest.raises(TypeError, match=r"keep\(\['a'\], ...\): the name is a key.*a tuple of such"):
        keep(["a"], Thing)
    for idle in (-1, "30m", float("nan"), timedelta(1)):
        with pytest.raises(ValueError, match="idle is a number of seconds"):
            keep("a", Thing, idle=idle)


# ---- what an adaptor may keep that others must not feel


class Name:
    """A key whose hash, or representation, is not to be relied on."""

    def __init__(self, hashes=None):
        self.hashes = hashes

    def __hash__(self):
        if self.hashes is not None:
            self.hashes.append(0)
            return len(self.hashes)
        return 1

    def __repr__(self):
        raise SystemError("no words")


def test_others_go_though_somebodys_name_is_not_to_be_relied_on(clock):
    keep(Name([]), Thing, idle=1)
    keep(Name(), Thing, idle=1)
    keep("good", Thing, idle=2)
    clock[0] += 3
    in_no_context(keeping.drop_idle)
    assert not keeping._things
    keep(Name([]), Thing)
    keep("good", Thing)
    while keeping.drop_half():
        pass
    assert not keeping._things


def in_no_context(work):
    """Where nothing is in use by who asked before: the thread of these tests has ended, as it were."""
    for thing in keeping._things.values():
        thing.users.clear()
    del thing
    return work()


def test_the_end_of_a_thing_may_ask_for_others(clock):
    ends = threading.Event()

    class Ends:
        def __del__(self):
            thread = threading.Thread(target=keep, args=("other", Thing))
            thread.start()
            thread.join(30)
            if not thread.is_alive():
                ends.set()

    for drop in (keeping.drop_idle, keeping.drop_half):
        keep("ends", Ends, idle=1)
        clock[0] += 3
        in_no_context(drop)
        assert ends.wait(30)
        ends.clear()
        keeping._things.clear()


def test_an_end_that_takes_long_holds_up_nobody(clock, monkeypatch):
    monkeypatch.setattr(keeping, "PATIENCE", 0.0)
    go, ended = threading.Event(), threading.Event()

    class Ends:
        def __del__(self):
            go.wait(30)
            ended.set()

    keep("ends", Ends, idle=1)
    clock[0] += 3
    in_no_context(keeping.drop_idle)
    assert not ended.is_set()
    go.set()
    assert ended.wait(30)


def test_a_load_that_is_broken_off_is_taken_up_by_who_waits():
    begun, go = threading.Event(), threading.Event()

    def broken_off():
        begun.set()
        go.wait(30)
        raise Cancelled

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(keep, "a", broken_off)
        begun.wait(30)
        second = pool.submit(keep, "a", lambda: "loaded")
        wait_until(waiting)
        go.set()
        assert isinstance(first.exception(30), Cancelled)
        assert second.result(30) == "loaded"


@pytest.mark.parametrize("idle", [float("inf"), 1e12])
def test_an_idle_time_may_be_for_ever(idle, monkeypatch):
    looked = threading.Event()
    monkeypatch.undo()
    chores.add(lambda: looked.set() or idle)
    keep("ever", Thing, idle=idle)
    chores.wake()
    assert looked.wait(30)
    looked.clear()
    chores.wake()
    assert looked.wait(30)
    keeping._things.clear()
    chores._chores.pop()
    chores.wake()
    wait_until(lambda: not chores._runs)
