"""What a process lets go, and what it does not."""

import gc
import sys
import threading
import types
import weakref

import pytest
from fake_owt import bridge, wait_until
from owt import endpoint
from owt.endpoint import loaded
from owt.engine import letting_go, runtime
from owt.models import keep as keeping
from owt.process import chores, memory


@pytest.fixture(autouse=True)
def still(monkeypatch):
    """Nothing is let go but by the test."""
    monkeypatch.setattr(chores, "wake", lambda: None)
    monkeypatch.setattr(endpoint, "before_run", loaded.make_room)
    loaded.endpoints.clear()
    keeping._things.clear()
    bridge.failures.clear()


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    for module in (loaded, runtime):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])
    return now


def there():
    return list(loaded.endpoints)


def test_what_was_not_called_for_so_long_goes(call, clock):
    a, b = (call(f"def run(): return '{name}'").code_id for name in "ab")
    assert loaded.drop_idle(10) == 0
    clock[0] += 9
    call("def run(): return 'b'")
    assert loaded.drop_idle(10) == 0
    clock[0] += 1
    assert loaded.drop_idle(10) == 1
    assert there() == [b]
    assert endpoint.PREFIX + a not in sys.modules
    clock[0] += 8
    assert loaded.drop_idle(10) == 0
    clock[0] += 1
    assert loaded.drop_idle(10) == 1
    assert loaded.count() == 0


def test_what_is_called_all_the_time_stays_though_it_is_always_the_last(call, clock):
    for _ in range(10):
        call("def run(): return 'a'")
        assert loaded.drop_idle(2) == 0
        clock[0] += 1


def test_room_is_made_before_the_source_runs(call, monkeypatch):
    monkeypatch.setattr(loaded, "most", 1)
    first = call("weights = type('Weights', (), {})()\ndef run(): return 'a'")
    alive = weakref.ref(loaded.endpoints[first.code_id].globals["weights"])
    monkeypatch.setattr(memory, "_took", 0.0)
    monkeypatch.setattr(sys, "seen", lambda: alive(), raising=False)
    gc.disable()
    try:
        answer = call("import sys\nleft = sys.seen()\ndef run(): return str(left)")
    finally:
        gc.enable()
    assert answer.text == "None"


def test_a_source_that_is_no_python_costs_nobody_its_place(call, monkeypatch):
    monkeypatch.setattr(loaded, "most", 1)
    first = call("def run(): return 'a'")
    assert call("def run(:").status == 400
    assert there() == [first.code_id]


def test_what_another_thread_runs_is_not_dropped(call):
    running, go = threading.Event(), threading.Event()
    sys.meeting = running, go
    code = "import sys\ndef run():\n    sys.meeting[0].set()\n    sys.meeting[1].wait()\n    return 'a'"
    thread = threading.Thread(target=call, args=(code,))
    thread.start()
    try:
        running.wait()
        call("def run(): return 'b'")
        assert loaded.drop_half() == 1
        assert loaded.drop_half() == 0
        assert loaded.count() == 1
    finally:
        go.set()
        thread.join()
        del sys.meeting
    assert loaded.drop_half() == 1


def test_calls_go_on_while_it_is_looked_what_may_go(call):
    class Watched(loaded.Endpoint):
        @property
        def stays(self):
            call("def run(): return 'b'")
            return False

    for name in "abc":
        call(f"def run(): return '{name}'")
    for code_id, one in list(loaded.endpoints.items()):
        watched = loaded.endpoints[code_id] = object.__new__(Watched)
        for slot in set(loaded.Endpoint.__slots__) - {"stays"}:
            setattr(watched, slot, getattr(one, slot))
    assert loaded.drop_half() == 2


def test_looking_who_runs_leaves_nothing_behind(call):
    class Mine:
        pass

    mine = Mine()
    alive = weakref.ref(mine)
    call("def run(): return 'a'")
    gc.disable()
    try:
        loaded.drop_half()
        del mine
        assert alive() is None
    finally:
        gc.enable()


def test_a_class_that_typing_remembers_goes(call):
    code = "import typing\nclass C: pass\nmine = typing.Optional[C]\ndef run(c: typing.List[C] = None): return 'a'"
    answer = call(code)
    alive = weakref.ref(loaded.endpoints[answer.code_id].globals["C"])
    loaded.drop_half()
    memory.collect()
    assert alive() is None


def test_memory_is_short_until_it_is_not(call, monkeypatch):
    sizes = iter([900, 900, 900, 300, 300])
    monkeypatch.setattr(memory, "resident", lambda: next(sizes))
    monkeypatch.setattr(memory, "collect", lambda: None)
    for name in "abcd":
        call(f"def run(): return '{name}'")
    keeping.keep("thing", list)
    letting_go._relieve(500)
    assert bridge.failures == [True]
    assert loaded.count() == 1  # two, then one of the two that are left
    assert keeping.count() == 0


def test_memory_is_short_and_nothing_can_be_let_go(monkeypatch):
    monkeypatch.setattr(memory, "resident", lambda: 900)
    letting_go.relieve(500)
    wait_until(lambda: bridge.failures == [False])


def test_an_empty_process_that_has_served_is_replaced(call, clock, monkeypatch):
    monkeypatch.setattr(letting_go, "_idle", 10.0)
    monkeypatch.setattr(loaded, "ever", False)
    assert letting_go._drop_idle() is None
    assert not bridge.failures
    call("def run(): return 'a'")
    assert letting_go._drop_idle() == 2.5
    clock[0] += 20
    keeping.keep("thing", list)
    assert letting_go._drop_idle() == 2.5
    assert not bridge.failures
    clock[0] += 20
    letting_go._drop_idle()
    assert loaded.count() == 0
    assert not bridge.failures
    keeping.drop_half()
    letting_go._drop_idle()
    assert bridge.failures == ["it has been idle, and nothing is loaded in it any more"]


def test_collections_in_quick_succession_are_put_off(monkeypatch):
    collected = []
    now = [1000.0]
    monkeypatch.setattr(memory, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(memory, "resident", lambda: 0)
    monkeypatch.setattr(memory.gc, "collect", lambda: collected.append(now.append(now.pop() + 0.1)))
    monkeypatch.setattr(memory, "_ended", 0.0)
    memory.dropped()
    assert len(collected) == 1
    memory.dropped()
    assert len(collected) == 1
    assert memory.settle() == pytest.approx(2.0)
    now[0] += 2.1
    assert memory.settle() is None
    assert len(collected) == 2
    assert memory.settle() is None
    memory.dropped()
    monkeypatch.setattr(memory, "resident", lambda: memory.MUCH)
    memory.dropped()
    assert len(collected) == 3


def test_what_is_not_wanted_goes_once_it_does_not_run(call):
    running, go = threading.Event(), threading.Event()
    sys.meeting = running, go
    code = "import sys\ndef run():\n    sys.meeting[0].set()\n    sys.meeting[1].wait()\n    return 'not wanted'"
    other = call("def run(): return 'wanted'")
    thread = threading.Thread(target=call, args=(code,))
    thread.start()
    try:
        running.wait()
        (code_id,) = (one for one in there() if one != other.code_id)
        letting_go.drop(code_id[:16])
        assert letting_go._drop_unwanted() == letting_go.AGAIN
        assert len(there()) == 2
    finally:
        go.set()
        thread.join()
        del sys.meeting
    assert letting_go._drop_unwanted() is None
    assert there() == [other.code_id]
    letting_go.drop("0" * 16)
    assert letting_go._drop_unwanted() is None
    assert there() == [other.code_id]
