"""What is looked at now and then: while somebody wants it, on one thread, whatever else goes wrong."""

import threading

import pytest
from fake_owt import wait_until
from owt.process import chores


@pytest.fixture(autouse=True)
def none_but_mine(monkeypatch):
    wait_until(lambda: not chores._runs)
    monkeypatch.setattr(chores, "_chores", [])


def test_each_says_when_it_is_to_be_called_again():
    called = []
    pauses = iter([0.0, 0.001, None])
    chores.add(lambda: called.append(threading.current_thread().name) or next(pauses))
    chores.wake()
    wait_until(lambda: len(called) == 3 and not chores._runs)
    assert called == ["owt-chores"] * 3


def test_it_is_woken_while_it_waits():
    called = []
    chores.add(lambda: called.append(1) or (3600.0 if len(called) < 3 else None))
    chores.wake()
    wait_until(lambda: len(called) == 1)
    chores.wake()
    wait_until(lambda: len(called) == 2)
    chores.wake()
    wait_until(lambda: not chores._runs)


def test_it_is_woken_however_long_it_was_to_wait():
    called = []
    chores.add(lambda: called.append(1) or (float("inf") if len(called) < 2 else None))
    chores.wake()
    wait_until(lambda: len(called) == 1)
    chores.wake()
    wait_until(lambda: not chores._runs)
    assert len(called) == 2


def test_one_that_fails_is_told_and_the_others_go_on(caplog):
    called = threading.Event()
    chores.add(lambda: 1 / 0)
    chores.add(called.set)
    chores.wake()
    assert called.wait(5)
    wait_until(lambda: not chores._runs)
    assert "ZeroDivisionError" in caplog.text


def test_no_thread_is_no_failure(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    called = threading.Event()
    chores.add(called.set)
    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", start)
        chores.wake()
    assert not chores._runs
    chores.wake()
    assert called.wait(5)
