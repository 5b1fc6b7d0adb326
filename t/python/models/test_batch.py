"""batch: one item in, one result out, and lists in between."""

import asyncio
import copy
import dataclasses
import gc
import inspect
import os
import pickle
import signal
import sys
import threading
import weakref
from collections import UserDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import Annotated, Optional

import pytest
from fake_owt import Call, wait_until
from owt import Cancelled, batch
from owt.models import batch as batches
from owt.models import keep as keeping
from owt.models.batch import Batched
from owt.process.context import current
from owt.process.request import Request

EVER = 3600.0


def gathered(fn, *items):
    """What callers get who come at the same time, exceptions included."""

    async def run():
        return await asyncio.gather(*[fn(item) for item in items], return_exceptions=True)

    return asyncio.run(run())


def test_items_become_a_batch_whether_awaited_or_waited_for():
    sizes = []

    @batch(max_size=4, max_wait=EVER)
    def double(xs):
        sizes.append(len(xs))
        return [2 * x for x in xs]

    assert gathered(double, 1, 2, 3, 4) == [2, 4, 6, 8]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(double, [1, 2, 3, 4])) == [2, 4, 6, 8]
    assert sizes == [4, 4]


def test_a_coroutine_function_is_batched_on_the_loop():
    loops = []

    @batch(max_size=3, max_wait=EVER)
    async def double(xs):
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return [2 * x for x in xs]

    assert gathered(double, 1, 2, 3) == [2, 4, 6]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(double, [1, 2, 3])) == [2, 4, 6]
    assert len(loops) == 2
    assert len(set(loops)) == 1, "a loop of callers, which ends with them"


def test_who_is_alone_waits_no_longer_than_said():
    for wait in (0, 0.001):
        assert batch(max_size=9, max_wait=wait)(lambda xs: xs)(1) == 1


def test_one_batch_at_a_time_and_the_next_is_gathered_meanwhile():
    begun, go = threading.Event(), threading.Event()
    seen = []

    @batch(max_size=8, max_wait=0)
    def slow(xs):
        seen.append(list(xs))
        begun.set()
        go.wait()
        return xs

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(slow, 0)
        begun.wait()
        rest = [pool.submit(slow, n) for n in (1, 2, 3)]
        wait_until(lambda: len(slow._queue.items) >= 3)
        go.set()
        assert [f.result(5) for f in (first, *rest)] == [0, 1, 2, 3]
    assert [len(xs) for xs in seen] == [1, 3]


def test_the_thread_stays_the_same():
    threads = set()

    @batch(max_wait=0)
    def where(xs):
        threads.add(threading.get_ident())
        return xs

    for _ in range(5):
        where(1)
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_parameters_by_place_and_by_name_and_left_out():
    @batch(max_size=4, max_wait=EVER)
    def both(a, b=7, *, c="c"):
        return [(x, y, z) for x, y, z in zip(a, b, c, strict=True)]

    async def run():
        return await asyncio.gather(both(1), both(1, 2), both(b=3, a=1), both(1, c=4, b=2))

    assert asyncio.run(run()) == [(1, 7, "c"), (1, 2, "c"), (1, 3, "c"), (1, 2, 4)]
    with pytest.raises(TypeError, match=r"both\(a, b=7, \*, c='c'\): missing a required argument: 'a'"):
        both()
    with pytest.raises(TypeError, match="unexpected keyword argument 'd'"):
        both(1, d=2)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_exception_among_the_results_is_its_callers(asynchronous):
    def plain(xs):
        return [ValueError(f"no {x}") if x == 2 else x for x in xs]

    async def later(xs):
        return plain(xs)

    one, two, three = gathered(batch(max_size=3, max_wait=EVER)(later if asynchronous else plain), 1, 2, 3)
    assert (one, str(two), three) == (1, "no 2", 3)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_exception_is_raised_to_all(asynchronous):
    def plain(xs):
        raise ValueError("none")

    async def later(xs):
        plain(xs)

    errors = gathered(batch(max_size=3, max_wait=EVER)(later if asynchronous else plain), 1, 2, 3)
    assert [str(error) for error in errors] == ["none"] * 3
    assert len({id(error) for error in errors}) == 3
    assert all("plain" in str(inspect.getinnerframes(error.__traceback__)) for error in errors)


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        ([1], "returned 1 result for 2 items: return a list with one result for each of the 2 items"),
        (([1, 2], [3, 4], [5, 6]), "returned 3 results for 2 items: return a list with one result for each of the 2"),
        (([1, 2], [3, 4], [5, 6]), "list(zip(*results)) has one for each item"),
        ([[1, 2]], "it holds one that has 2: return results[0]"),
        (UserDict(a=1, b=2), "returned UserDict: return a list"),
        ("ab", "returned str: return a list"),
        ({1: 2, 3: 4}, "returned dict: return a list"),
        (None, "returned NoneType: return a list"),
        (5, "returned int: return a list"),
        ((x for x in "ab"), "returned a generator: a batch is answered whole"),
        ([iter("a"), (x for x in "b")], "returned a generator for one item: what is batched does not stream"),
    ],
)
def test_what_is_no_list_of_results(returned, what):
    @batch(max_size=2, max_wait=EVER)
    def predict(xs):
        return returned

    told = str(gathered(predict, 1, 2)[1])
    assert told.startswith("predict is batched, and returned")
    assert what in told


def test_a_frame_is_no_list_of_its_columns():
    pandas = pytest.importorskip("pandas")

    @batch(max_size=2, max_wait=EVER)
    def predict(xs):
        return pandas.DataFrame({"x": xs, "y": xs})

    assert "returned DataFrame: return a list" in str(gathered(predict, 1, 2)[0])
    assert str(gathered(predict, 1, 2)[0]).endswith('its rows, as frame.to_dict("records")')


@pytest.mark.parametrize(
    "make",
    [
        lambda fn: batch(fn, 2, EVER),
        lambda fn: batch(fn, max_size=2, max_wait=EVER),
        lambda fn: batch(fn, 2, max_wait=EVER),
        lambda fn: batch(2, EVER)(fn),
        lambda fn: batch(max_wait=EVER, max_size=2)(fn),
    ],
)
def test_the_ways_to_say_how_large_it_is(make):
    predict = make(tuple_of)
    assert predict._sizes == (2, EVER)
    assert gathered(predict, 1, 2) == [1, 2]


def test_what_it_does_not_take_is_told_with_what_it_takes():
    for wrong in (lambda: batch(tuple_of, batch_size=8), lambda: batch(tuple_of, 1, 2, 3)):
        with pytest.raises(TypeError, match=r"^batch\(fn, max_size=32, max_wait=0.002\) "):
            wrong()
    for wait in (None, "2ms", float("nan")):
        with pytest.raises(ValueError, match="max_wait is a number of seconds, as 0.002"):
            batch(max_wait=wait)
    with pytest.raises(TypeError, match="put it under @classmethod"):
        batch(classmethod(tuple_of))


@pytest.mark.parametrize("wait", [1e12, float("inf")])
def test_a_batch_may_wait_until_it_is_full(wait):
    assert gathered(batch(tuple_of, 2, wait), 1, 2) == [1, 2]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(batch(tuple_of, 2, wait), [1, 2])) == [1, 2]


def test_any_sequence_will_do():
    assert gathered(batch(max_size=2, max_wait=EVER)(tuple_of), 1, 2) == [1, 2]


def tuple_of(xs):
    return tuple(xs)


def test_what_yields_is_refused():
    def generator(xs):
        yield from xs

    async def later(xs):
        yield xs

    for one in (generator, later):
        with pytest.raises(TypeError, match="yields, and what is batched does not stream"):
            batch(one)


def test_what_cannot_be_called_with_lists_is_refused():
    for one in (lambda *xs: xs, lambda **xs: xs, lambda: 1):
        with pytest.raises(TypeError, match="one list for each parameter"):
            batch(one)
    with pytest.raises(TypeError, match="batched already"):
        batch(batch(tuple_of))
    with pytest.raises(ValueError, match="max_size=0"):
        batch(max_size=0)
    with pytest.raises(ValueError, match="max_wait=-1"):
        batch(max_wait=-1)
    with pytest.raises(TypeError, match="got 'predict'"):
        batch(max_size=2)("predict")


def test_a_cancelled_item_is_left_out():
    seen = []

    @batch(max_size=3, max_wait=EVER)
    def predict(xs):
        seen.append(xs)
        return xs

    async def run():
        one, two = (asyncio.ensure_future(predict(n)) for n in (1, 2))
        await asyncio.sleep(0)
        two.cancel()
        three = asyncio.ensure_future(predict(3))
        return await asyncio.gather(one, two, three, return_exceptions=True)

    one, two, three = asyncio.run(asyncio.wait_for(run(), 5))
    assert (one, type(two), three) == (1, asyncio.CancelledError, 3)
    assert seen == [[1, 3]]


def test_a_thread_that_leaves_is_left_out():
    begun, go = threading.Event(), threading.Event()
    seen = []

    @batch(max_size=8, max_wait=0)
    def predict(xs):
        seen.append(list(xs))
        begun.set()
        go.wait()
        return xs

    request = Request.__new__(Request)
    request._call = Call()

    def call():
        current.set(request)
        return predict(2)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(predict, 1)
        begun.wait()
        second = pool.submit(Context().run, call)
        wait_until(lambda: predict._queue.items)
        request._call.cancelled = True
        with pytest.raises(Cancelled):
            second.result(5)
        third = pool.submit(predict, 3)
        wait_until(lambda: len(predict._queue.items) >= 2)
        go.set()
        assert (first.result(5), third.result(5)) == (1, 3)
    assert seen == [[1], [3]]


def test_calling_itself_is_an_error():
    @batch(max_wait=0)
    def predict(xs):
        return [predict(x) for x in xs]

    with pytest.raises(RuntimeError, match="would wait for itself"):
        predict(1)


def test_as_a_method_each_instance_has_its_own():
    class Model:
        def __init__(self, factor):
            self.factor = factor

        @batch(max_wait=0)
        def predict(self, xs):
            return [self.factor * x for x in xs]

    two, three = Model(2), Model(3)
    assert (two.predict(1), three.predict(1)) == (2, 3)
    assert two.predict is two.predict


def test_what_is_copied_or_pickled_is_another_instance():
    model = Scale(2)
    assert model.predict(1) == model.own(1) == 2
    for make in (copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))):
        other = make(model)
        other.factor = 3
        assert (model.predict(1), other.predict(1)) == (2, 3)
        assert (model.predict(1), other.predict(1)) == (2, 3)
    for make in (copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))):
        other = make(model)
        other.factor = 3
        assert (model.own(1), other.own(1)) == (2, 3)


class Scale:
    def __init__(self, factor):
        self.factor = factor
        self.own = batch(self.scaled, max_wait=0)

    def scaled(self, xs):
        return [self.factor * x for x in xs]

    @batch(max_wait=0)
    def predict(self, xs):
        return self.scaled(xs)


def test_methods_are_told_apart_whatever_their_names():
    class Base:
        one = batch(lambda self, xs: [1 for _ in xs], max_wait=0)
        two = batch(lambda self, xs: [2 for _ in xs], max_wait=0)

        @batch(max_wait=0)
        def predict(self, xs):
            return [2 * x for x in xs]

    class Special(Base):
        @batch(max_wait=0)
        def predict(self, xs):
            return [super(Special, self).predict(x) + 1 for x in xs]

    assert (Base().one(0), Base().two(0)) == (1, 2)
    special = Special()
    assert (special.one(0), special.two(0), special.predict(1)) == (1, 2, 3)


def test_where_an_instance_has_no_room():
    @dataclasses.dataclass(slots=True)
    class Slots:
        @batch
        def predict(self, xs):
            return xs

    with pytest.raises(TypeError, match="predict is batched, and Slots has __slots__"):
        Slots().predict(1)

    @dataclasses.dataclass(frozen=True)
    class Frozen:
        @batch(max_wait=0)
        def predict(self, xs):
            return xs

    assert Frozen().predict(1) == 1


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="there a class method calls it, and it cannot know")
def test_as_a_class_method_each_class_has_its_own():
    class Two:
        factor = 2

        @classmethod
        @batch(max_wait=0)
        def predict(cls, xs):
            return [cls.factor * x for x in xs]

    class Three(Two):
        factor = 3

    assert (Two.predict(1), Three.predict(1), Two.predict(1)) == (2, 3, 2)


def test_a_loop_of_callers_may_end_before_others_have_theirs():
    begun, go = threading.Event(), threading.Event()

    @batch(max_size=1, max_wait=0)
    async def predict(xs):
        if xs == ["slow"]:
            begun.set()
            await asyncio.to_thread(go.wait)
        return xs

    async def one(x):
        return await predict(x)

    async def leave():
        task = asyncio.create_task(one("slow"))
        await asyncio.to_thread(begun.wait)
        task.cancel()

    asyncio.run(leave())
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(asyncio.run, one("quick"))
        wait_until(lambda: predict._queue.items)
        go.set()
        assert other.result(5) == "quick"


@pytest.mark.parametrize(
    ("written", "one"),
    [
        (list[int], int),
        (list[int], int),
        (tuple[int, ...], int),
        (Optional[list[int]], int | None),  # noqa: UP007 - as it is still written
        (list[int] | None, int | None),
        ("list[int] | None", int | None),
        (Annotated[list[int], "all"], int),
        (list[Annotated[int, "one"]], Annotated[int, "one"]),
        (int, int),
        (str, str),
        (list, inspect.Parameter.empty),
        (dict[str, int], inspect.Parameter.empty),
        (list[int] | list[str], inspect.Parameter.empty),
        ("list[later]", "later"),
    ],
)
def test_what_is_said_of_one_item(written, one):
    def predict(xs):
        return xs

    predict.__annotations__["xs"] = written
    assert inspect.signature(batch(predict)).parameters["xs"].annotation == one


def test_it_looks_like_a_function_of_one_item():
    @batch
    def predict(texts: list[str], n: "list[int]" = 3, more=None) -> list[float]:
        """What it does."""

    assert str(inspect.signature(predict)) == "(texts: str, n: int = 3, more=None) -> float"
    assert inspect.signature(predict.later) == inspect.signature(predict)
    assert inspect.iscoroutinefunction(predict.later)
    assert predict.__doc__ == "What it does."
    assert predict.__name__ == "predict"
    assert pickle.loads(pickle.dumps(named)) is named


@batch
def named(xs):
    return xs


def test_a_function_nobody_has_goes_and_its_thread_with_it():
    @batch(max_wait=0)
    def predict(xs):
        return [threading.current_thread() for _ in xs]

    thread = predict(1)
    alive = weakref.ref(predict)
    del predict
    gc.collect()
    thread.join(5)
    assert alive() is None
    assert not thread.is_alive()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_batch_uses_what_is_kept_only_while_it_runs(asynchronous):
    class Weights:
        pass

    def predict(xs):
        keeping.keep("weights", Weights)
        assert len(keeping._things["weights"].users) == 1
        return xs

    async def later(xs):
        return predict(xs)

    batched = batch(max_wait=0)(later if asynchronous else predict)
    assert batched(1) == 1
    wait_until(lambda: not keeping._things["weights"].users)
    keeping.drop_half()


def test_as_an_endpoints_function(call):
    code = """
from owt import batch

@batch(max_wait=0)
def run(requests: list, texts: list[str], n: list[int] = 1):
    return [f"{type(r).__name__} {t * k}" for r, t, k in zip(requests, texts, n)]
"""
    assert call(code, kwargs={"texts": "ab", "n": "2"}).text == "Request abab"
    assert call(code, kwargs={"texts": "ab"}).text == "Request ab"
    refused = call(code, kwargs={"texts": "ab", "n": "many"})
    assert refused.status == 400
    assert "n wants int" in refused.text
    assert call("run = batch(lambda x: [1 / 0])", kwargs={"x": "1"}).status == 500
    assert "does not stream" in call("@batch\ndef run(xs):\n    yield 1").text


# ---- what a function may do that others, or its next callers, must not feel


def test_batches_that_wait_for_each_other_are_told():
    @batch(max_wait=0)
    def first(xs):
        return [second(x) for x in xs]

    @batch(max_wait=0)
    def second(xs):
        return [first(x) for x in xs]

    @batch(max_wait=0)
    async def third(xs):
        return await asyncio.gather(*map(fourth, xs))

    @batch(max_wait=0)
    async def fourth(xs):
        return [await third(x) for x in xs]

    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="would wait for itself"):
        pool.submit(first, 1).result(30)
    assert "would wait for itself" in str(gathered(third, 1)[0])


def test_a_load_and_a_batch_that_wait_for_each_other_are_told():
    @batch(max_wait=0)
    def predict(xs):
        return [keeping.keep("model of predict", load) for _ in xs]

    def load():
        return predict(1)

    with ThreadPoolExecutor(1) as pool:
        for begin in (lambda: keeping.keep("model of predict", load), lambda: predict(1)):
            with pytest.raises(RuntimeError, match="waits for what is being loaded|would wait for itself"):
                pool.submit(begin).result(30)


def test_what_a_batch_has_started_may_call_it_when_the_batch_is_over():
    over = threading.Event()
    later = []

    @batch(max_wait=0)
    def predict(xs):
        if not later:
            context = copy_context()
            later.append(pool.submit(context.run, lambda: over.wait(30) and predict(2)))
        return xs

    with ThreadPoolExecutor(1) as pool:
        assert predict(1) == 1
        over.set()
        assert later[0].result(30) == 2


class Unmade(Exception):
    """Cannot be copied, and ends the thread that tries."""

    def __copy__(self):
        raise SystemExit


class Liar(list):
    """Has another length than it says."""

    def __len__(self):
        return 1


class Endless(BaseException):
    def __repr__(self):
        raise SystemExit

    __str__ = __repr__


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, Endless])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_whatever_a_batch_raises_the_next_one_runs(kind, asynchronous):
    fails = [True, False]

    def work(xs):
        if fails.pop(0):
            raise kind
        return xs

    async def later(xs):
        return work(xs)

    predict = batch(max_wait=0)(later if asynchronous else work)

    async def called(x):
        try:
            return await predict(x)
        except BaseException as error:
            return type(error)

    async def run():
        return [await asyncio.wait_for(called(1), 30), await asyncio.wait_for(called(2), 30)]

    failed, found = asyncio.run(run())
    assert issubclass(failed, BaseException)
    assert found == 2


@pytest.mark.parametrize("broken", [lambda: Liar([1, 2, 3]), lambda: Unmade("x")])
def test_what_cannot_be_handed_over_is_an_error_and_the_next_batch_runs(broken):
    answers = [broken, None]

    @batch(max_size=2, max_wait=EVER)
    def predict(xs):
        answer = answers.pop(0)
        if answer is None:
            return xs
        made = answer()
        if isinstance(made, Exception):
            raise made
        return made

    with ThreadPoolExecutor(2) as pool:
        failed = [f.exception(30) for f in [pool.submit(predict, 1), pool.submit(predict, 2)]]
        assert all(isinstance(one, Exception | SystemExit) for one in failed)
        assert sorted(pool.map(predict, [1, 2])) == [1, 2]


def test_a_batch_thread_that_dies_leaves_nobody_waiting(monkeypatch):
    predict = batch(max_wait=0)(lambda xs: xs)
    settle = Batched._settle
    fails = [True]

    def once(self, items, results):
        if fails:
            fails.pop()
            raise MemoryError
        settle(self, items, results)

    monkeypatch.setattr(Batched, "_settle", once)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(RuntimeError, match="MemoryError"):
            pool.submit(predict, 1).result(30)
        assert pool.submit(predict, 2).result(30) == 2


class Loop(asyncio.SelectorEventLoop):
    """As those of calls are."""

    lost = False


@contextmanager
def loop_of_calls(monkeypatch):
    """A loop that the batches of coroutine functions run on, on a thread of its own."""
    loop = Loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    monkeypatch.setattr(batches, "loop_of_calls", lambda: loop)
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(30)
    loop.close()


def test_another_loop_serves_when_one_is_lost(monkeypatch):
    held, go = threading.Event(), threading.Event()
    at_once = [0, 0]  # now, and at most

    @batch(max_size=1, max_wait=0)
    async def predict(xs):
        if xs == ["slow"]:
            held.set()
            go.wait(30)  # it blocks the loop
            return xs
        at_once[0] += 1
        await asyncio.sleep(0)
        at_once[1] = max(at_once)
        at_once[0] -= 1
        return xs

    with ThreadPoolExecutor(5) as pool, loop_of_calls(monkeypatch) as blocked:
        slow = pool.submit(predict, "slow")
        assert held.wait(30)
        blocked.lost = True
        with loop_of_calls(monkeypatch):
            assert list(pool.map(predict, range(4))) == [0, 1, 2, 3]
            go.set()
            assert slow.result(30) == "slow"
            assert gathered(predict, 5) == [5]
    assert at_once[1] == 1


def test_what_waits_where_a_loop_is_blocked_is_served_elsewhere(monkeypatch):
    go, blocks = threading.Event(), threading.Event()
    predict = batch(max_wait=0)(later_of)
    with ThreadPoolExecutor(1) as pool, loop_of_calls(monkeypatch) as blocked:
        blocked.call_soon_threadsafe(lambda: blocks.set() or go.wait(30))
        assert blocks.wait(30)
        one = pool.submit(predict, 1)
        wait_until(lambda: predict._queue.loop is blocked)
        with loop_of_calls(monkeypatch):
            batches.leave(blocked)
            assert one.result(30) == 1
            go.set()


async def later_of(xs):
    return xs


def test_only_one_is_sent_when_a_loop_is_lost():
    queue = batches._Queue(1, 0)
    queue.loop = Loop()
    queue.loop.lost = True
    queue.loop.close()
    queue._served = True
    assert [queue.put(object()) for _ in range(3)] == [True, False, False]


def test_who_waits_for_a_loop_that_is_dropped_is_told(monkeypatch):
    begun = threading.Event()

    @batch(max_size=1, max_wait=0)
    async def predict(xs):
        if xs == ["slow"]:
            begun.set()
            await asyncio.Event().wait()
        return xs

    with ThreadPoolExecutor(1) as pool:
        with loop_of_calls(monkeypatch):
            one = pool.submit(predict, "slow")
            assert begun.wait(30)
        predict._task = None
        gc.collect()
        with pytest.raises(RuntimeError, match="GeneratorExit"):
            one.result(30)
        with loop_of_calls(monkeypatch):
            assert pool.submit(predict, 2).result(30) == 2


def forked(works):
    """Whether work is done in a forked child as it should be."""
    child = os.fork()
    if not child:
        signal.alarm(20)
        os._exit(not works())
    return os.waitpid(child, 0)[1] == 0


def test_a_forked_child_has_batches_of_its_own():
    def processes(xs):
        return [os.getpid() for _ in xs]

    plain = batch(processes, max_wait=0)

    @batch(max_wait=0)
    async def later(xs):
        return processes(xs)

    async def one():
        return await later(1)

    def works():
        return {plain(1), later(1), asyncio.run(one())} == {os.getpid()}

    assert works()
    assert forked(works)


def test_in_a_forked_child_nobody_waits_for_anybody_yet():
    found = []

    @batch(max_wait=0)
    def outer(xs):
        return [inner(x) for x in xs]

    @batch(max_wait=0)
    def inner(xs):
        if xs == ["fork"]:
            # Here outer waits for inner; in the child it does not.
            found.append(forked(lambda: inner("in") == "in" and backwards("in") == "in"))
        return xs

    @batch(max_wait=0)
    def backwards(xs):
        return [outer(x) for x in xs]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(outer, "fork").result(30) == "fork"
    assert found == [True]


def test_a_child_that_a_batch_has_forked_ends_with_it():
    ended = []

    @batch(max_wait=0)
    def predict(xs):
        child = os.fork()
        if child:
            ended.append(os.waitpid(child, 0)[0] == child)
        return xs

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(predict, 1).result(30) == 1
    assert ended == [True]
