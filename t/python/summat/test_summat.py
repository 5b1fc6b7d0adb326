from dataclasses import dataclass

import pytest
from owt import pipe
from owt.summat import Adaptor, DropKWs, KeepKWs, Nullary, PassKWs, Passthrough


class Stage(Adaptor):
    def __init__(self, result):
        self.result = result

    def call(self, *, __last__, **kwargs):
        return self.result


@pytest.mark.parametrize(
    ("result", "value", "kwargs"),
    [
        (KeepKWs(1), 1, {"a": 2, "__last__": 1}),
        (DropKWs(1), 1, {"__last__": 1}),
        (PassKWs({"b": 3}), 0, {"b": 3, "__last__": 0}),
        (PassKWs({"b": 3, "__last__": 4}), 4, {"b": 3, "__last__": 4}),
        (Passthrough(), 0, {"a": 2, "__last__": 0}),
        (Passthrough(5, {"c": 6}), 5, {"c": 6, "__last__": 5}),
        (DropKWs(Nullary()), Nullary(), {}),
    ],
)
def test_result_kinds(result, value, kwargs):
    assert Stage(result)(a=2, __last__=0) == (value, kwargs)
    assert pipe().to(Stage(result))(a=2, __last__=0) == (value, kwargs)


def test_f():
    assert pipe().f(lambda: 1)() == (1, {"__last__": 1})
    assert pipe().f(lambda a: a).done()(object(), a=1) == 1
    assert pipe().f(lambda x: x + 1).done()(__last__=1) == 2
    both = pipe().const(1).to(Stage(PassKWs({"a": 2})))
    assert both.f(lambda a: a).done()() == 2
    assert both.f(lambda **kw: kw).done()() == {"a": 2, "__last__": 1}


def test_pipes_are_stages_and_keep_nothing():
    inner = pipe().f(lambda x: x + 1)
    outer = pipe().const(1).to(inner).to(inner)
    assert [outer.done()(), outer.done()()] == [3, 3]
    assert pipe().done()(a=1) is None


@pytest.mark.parametrize("slots", [False, True])
def test_kwargs_cls(slots):
    @dataclass(slots=slots)
    class Arguments:
        a: int
        b: int = 2

    assert pipe(Arguments).f(lambda a, b: a + b).done()(a=1) == 3


def test_errors_name_block_and_stage():
    def broken(value):
        raise KeyError(value)

    with pytest.raises(KeyError) as caught:
        pipe().const(1).f(broken)()
    assert caught.value.__notes__ == ["stage 2, f(test_errors_name_block_and_stage.<locals>.broken): KeyError"]
    with pytest.raises(TypeError, match=r"call\(\) returned a int"):
        pipe().to(Stage(5))()
    with pytest.raises(TypeError, match="there is f"):
        pipe().to(len)
    with pytest.raises(RuntimeError, match="no request here"):
        pipe().path()()
