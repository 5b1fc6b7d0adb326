"""What each block makes of value and keyword arguments, without a server."""

import io
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from owt import pipe
from owt.summat import Adaptor, Nullary, PassKWs, Pipe


def run(made, **kwargs):
    """The value and the keyword arguments that a pipe ends with, without ``__last__`` among these."""
    value, rest = made(**kwargs)
    rest.pop("__last__", None)
    return value, rest


class Trace(Adaptor):
    """Keeps nothing but what the test gave it: a list of what came."""

    def __init__(self, seen):
        self.seen = seen

    def call(self, /, *, __last__, **kwargs):
        self.seen.append((__last__, kwargs))
        return PassKWs(kwargs)


NOTHING = Nullary()

# ---- functions, constants, branches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("block", ["f", "cast", "exec"])
@pytest.mark.parametrize(
    ("fn", "kwargs", "args"),
    [
        (lambda *a, **k: (a, k), {"__last__": 1}, ((1,), {})),
        (lambda *a, **k: (a, k), {"a": 1}, ((), {"a": 1})),
        (lambda *a, **k: (a, k), {}, ((), {})),
        (lambda *a, **k: (a, k), {"__last__": 1, "a": 2}, ((), {"a": 2, "__last__": 1})),
        (lambda a: a, {"__last__": 1, "a": 2}, 2),
        (lambda a, __last__: (a, __last__), {"__last__": 1, "a": 2}, (2, 1)),
        (lambda _: _, {}, NOTHING),
        (lambda _ignored: "x", {}, "x"),
        (lambda _, b=1: b, {}, 1),
        (dict, {"a": 1}, {"a": 1}),
        # what takes no value by position gets it by keyword, or not at all
        (lambda **k: k, {"__last__": 1}, {"__last__": 1}),
        (lambda **k: k, {"__last__": 1, "a": 2}, {"a": 2, "__last__": 1}),
        (lambda **k: k, {}, {}),
        (lambda *, __last__: __last__, {"__last__": 1}, 1),
        (lambda *, a=3: a, {"__last__": 1}, 3),
        (lambda: "x", {"__last__": 1}, "x"),
        (lambda: "x", {"__last__": 1, "a": 2}, "x"),
    ],
)
def test_how_functions_are_called(block, fn, kwargs, args):
    got = []

    def spy(*a, **k):
        got.append(fn(*a, **k))
        return got[0]

    spy.__wrapped__ = fn
    value, rest = run(getattr(pipe(), block)(spy), **kwargs)
    assert got == [args]
    if block == "exec":
        assert (value, rest) == (kwargs.pop("__last__", NOTHING), kwargs)
    else:
        assert (value, rest) == (args, {})


def test_a_function_that_needs_a_value_says_so_where_none_came():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        pipe().clear().f(lambda x: x)()


@pytest.mark.parametrize("block", ["f", "cast", "exec", "map", "foldl1"])
def test_no_function_is_refused_when_the_pipe_is_built(block):
    with pytest.raises(TypeError, match="a function is needed here, not str: 'x'"):
        getattr(pipe(), block)("x")


def test_const_clear_identity():
    assert run(pipe().const(1), a=2, __last__=0) == (1, {})
    assert run(pipe().const(None), a=2) == (None, {})
    assert run(pipe().clear(), a=2, __last__=0) == (NOTHING, {})
    assert pipe().clear().done()(a=2, __last__=0) is None
    assert run(pipe().identity(), a=2, __last__=0) == (0, {"a": 2})
    assert run(pipe().identity(), a=2) == (NOTHING, {"a": 2})


def test_cond():
    seen = []
    made = pipe().cond(pipe().to(Trace(seen)).f(lambda **_: "yes"), pipe().const("no"))
    assert run(made, __last__=[1], a=2) == ("yes", {})
    assert seen == [([1], {"a": 2})]
    assert run(made, __last__=[], a=2) == ("no", {})
    assert run(made, a=2) == ("no", {})
    # A branch that passes things on does so.
    assert run(pipe().cond(pipe().identity(), pipe().kwargs(b=1)), __last__=0, a=2) == (0, {"a": 2, "b": 1})


def test_fork():
    order = []

    def side(name):
        return pipe().exec(lambda **_: order.append(name)).f(lambda a, __last__: (name, a, __last__))

    assert run(pipe().fork(side("l"), side("r")), __last__=1, a=2) == ((("l", 2, 1), ("r", 2, 1)), {})
    assert order == ["l", "r"]
    assert run(pipe().fork(pipe().clear(), pipe().const(0))) == ((None, 0), {})


@pytest.mark.parametrize(
    "build",
    [
        lambda: pipe().cond(len, pipe()),
        lambda: pipe().cond(pipe(), len),
        lambda: pipe().fork(len, pipe()),
        lambda: pipe().fork(pipe(), len),
    ],
)
def test_branches_are_adaptors(build):
    with pytest.raises(TypeError, match=r"(cond|fork)\(\) takes an Adaptor, not builtin_function_or_method"):
        build()


# ---- keyword arguments ----------------------------------------------------------------------------------------------


def test_kwargs():
    assert run(pipe().kwargs(a=1, b=2), b=3, __last__=0) == (0, {"a": 1, "b": 3})
    assert run(pipe().kwargs(a=1)) == (NOTHING, {"a": 1})
    assert run(pipe().kwargs(__last__=5)) == (5, {})
    assert run(pipe().kwargs(__last__=5), __last__=6) == (6, {})


@pytest.mark.parametrize("name", ["self", "value", "last", "fn", "cls", "name", "defaults", "_"])
def test_any_name_is_a_keyword_argument(name):
    assert run(pipe().kwargs(**{name: 1}).kwarg(name)) == (1, {})
    assert pipe().identity().input().kwarg(name).done()("request", **{name: 2}) == 2


def test_kwarg():
    assert run(pipe().kwarg("a"), a=1, b=2, __last__=0) == (1, {})
    with pytest.raises(KeyError, match="'b'"):
        pipe().kwarg("b")(a=1)


def test_input():
    assert run(pipe().clear().input(), a=1) == (NOTHING, {"a": 1})
    assert run(pipe().clear().input(), a=1, __last__=2) == (2, {"a": 1})
    assert run(pipe().const(3).input(), a=1) == (3, {"a": 1})
    assert run(pipe().const(3).input(), a=1, __last__=2) == (2, {"a": 1})
    # In a pipe within a pipe it is the outer call's, in a call of its own that one's.
    assert pipe().clear().to(pipe().input()).kwarg("a").done()(a=1) == 1
    own = pipe().clear().input().kwarg("a").done()
    assert pipe().f(lambda a: own(a=2)).done()(a=1) == 2
    assert pipe().f(lambda a: own(a=2)).input().kwarg("a").done()(a=1) == 1


def test_what_a_stage_does_to_its_keyword_arguments_stays_there():
    def spoil(**kwargs):
        kwargs.clear()

    given = {"a": 1}
    assert run(pipe().exec(spoil).clear().input(), **given) == (NOTHING, {"a": 1})
    assert given == {"a": 1}


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "made"),
    [
        (b"x", b"x"),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        ("ü", "ü".encode()),
        ("", b""),
        ([1, 2], b"\1\2"),
    ],
)
def test_bytes(value, made):
    got, _ = run(pipe().bytes(), __last__=value)
    assert (got, type(got)) == (made, bytes)


def test_bytes_of_files():
    file = io.BytesIO(b"abc")
    file.read(2)
    assert run(pipe().bytes(), __last__=file) == (b"abc", {})
    assert run(pipe().bytes(), __last__=io.StringIO("ü")) == ("ü".encode(), {})


@pytest.mark.parametrize("value", [5, True, None, {}, 1.5, NOTHING])
def test_bytes_of_what_holds_none(value):
    with pytest.raises(TypeError):
        pipe().const(value).bytes()()


@pytest.mark.parametrize("value", [["a", "b"], ("a", "b"), "ab"])
def test_items(value):
    assert pipe().last().done()(__last__=value) == "b"
    assert pipe().ix(0).done()(__last__=value) == "a"
    assert pipe().ix(-2).done()(__last__=value) == "a"
    with pytest.raises(IndexError):
        pipe().ix(2)(__last__=value)
    with pytest.raises(IndexError):
        pipe().last()(__last__=value[:0])


@pytest.mark.parametrize("block", [pipe().last(), pipe().ix(0)])
@pytest.mark.parametrize(
    ("value", "kind"), [({0: 1}, "dict: for a dict there is get"), (5, "int"), (NOTHING, "nothing")]
)
def test_items_of_what_has_none(block, value, kind):
    with pytest.raises(TypeError, match=rf"(last|ix)\(\) needs a list, not {kind}"):
        pipe().const(value).to(block)()


def test_ix_takes_a_number():
    with pytest.raises(TypeError):
        pipe().ix("0")


def test_get():
    assert pipe().get("a").done()(__last__={"a": 1}) == 1
    assert pipe().get(None).done()(__last__={None: 1}) == 1
    with pytest.raises(KeyError):
        pipe().get("b")(__last__={"a": 1})
    for value, kind in ([1], "list: for a list there is ix"), ("text", "str"), (5, "int"), (NOTHING, "nothing"):
        with pytest.raises(TypeError, match=rf"get\(\) needs a dict, not {kind}"):
            pipe().const(value).get(0)()


def test_map_and_folds():
    assert run(pipe().map(str), __last__=[1, 2], a=3) == (["1", "2"], {})
    assert pipe().map(str).done()(__last__=()) == []
    assert pipe().map(str).done()(__last__=iter([1])) == ["1"]
    assert pipe().foldl(lambda acc, x: f"({acc}{x})", "").done()(__last__=["a", "b"]) == "((a)b)"
    assert pipe().foldl(lambda acc, x: acc, None).done()(__last__=[1]) is None
    assert pipe().foldl(max, 7).done()(__last__=[]) == 7
    assert pipe().foldl1(lambda x, y: f"({x}{y})").done()(__last__=["a", "b", "c"]) == "((ab)c)"
    assert pipe().foldl1(max).done()(__last__=[None]) is None
    with pytest.raises(ValueError, match=r"foldl1\(\) of an empty list"):
        pipe().const([]).foldl1(max)()


@pytest.mark.parametrize("block", [pipe().map(str), pipe().foldl(max, 1), pipe().foldl1(max)])
@pytest.mark.parametrize("value", ["text", b"bytes", {"a": 1}, 5, NOTHING])
def test_what_is_no_list_is_not_walked(block, value):
    with pytest.raises(TypeError, match=r"(map|foldl|foldl1)\(\) needs a list, not"):
        pipe().const(value).to(block)()


def test_a_fold_begins_anew_for_each_call():
    made = pipe().foldl(lambda acc, x: acc.append(x) or acc, []).done()
    assert [made(__last__=[1]), made(__last__=[2])] == [[1], [2]]


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    """A directory with a file, and one beside it that is nobody's business."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "in.txt").write_bytes(b"in")
    (root / "sub/deep.txt").write_bytes(b"deep")
    (root / "inner").symlink_to("sub/deep.txt")
    (root / "dir").symlink_to("sub")
    (tmp_path / "out.txt").write_bytes(b"out")
    (tmp_path / "root-too").mkdir()
    (tmp_path / "root-too/out.txt").write_bytes(b"out")
    (root / "outer").symlink_to("../out.txt")
    (root / "absolute").symlink_to(tmp_path / "out.txt")
    (root / "up").symlink_to("..")
    (root / "chain").symlink_to("up/root/outer")
    os.mkfifo(root / "fifo")
    return root


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("in.txt", b"in"),
        ("./in.txt", b"in"),
        ("sub/deep.txt", b"deep"),
        ("sub/../in.txt", b"in"),
        ("inner", b"deep"),
        ("dir/deep.txt", b"deep"),
        ("up/root/in.txt", b"in"),
        (b"in.txt", b"in"),
        (Path("in.txt"), b"in"),
    ],
)
def test_open_within_root_dir(root, name, contents):
    for directory in (root, str(root), f"{root}/", os.path.relpath(root)):
        value, rest = run(pipe().open(directory), __last__=name, a=1)
        assert (type(value), value.getvalue(), value.tell(), rest) == (io.BytesIO, contents, 0, {})


@pytest.mark.parametrize(
    "name",
    [
        "../out.txt",
        "sub/../../out.txt",
        "../root-too/out.txt",
        "{dir}/out.txt",
        "{dir}/root/in.txt",
        "//etc/passwd",
        "/etc/passwd",
        "..",
        "outer",
        "absolute",
        "up/out.txt",
        "up/root-too/out.txt",
        "chain",
    ],
)
def test_open_never_leaves_root_dir(root, name):
    with pytest.raises(PermissionError, match="outside of"):
        pipe().open(root)(__last__=name.format(dir=root.parent))


def test_root_dir_may_be_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert pipe().open(tmp_path / "link").bytes().done()(__last__="in.txt") == b"in"
    with pytest.raises(PermissionError):
        pipe().open(tmp_path / "link")(__last__="outer")


@pytest.mark.parametrize(
    ("name", "error"),
    [("none", FileNotFoundError), ("", OSError), ("sub", OSError), ("fifo", OSError), ("a\0b", ValueError)],
)
def test_open_what_cannot_be_read(root, name, error):
    for made, value in ((pipe().open(root), name), (pipe().open(), f"{root}/{name}")):
        before = len([*Path("/proc/self/fd").iterdir()])
        with pytest.raises(error) as raised:
            made(__last__=value)
        assert len([*Path("/proc/self/fd").iterdir()]) == before
        if isinstance(raised.value, OSError):
            assert str(raised.value.filename).endswith(name)


def test_open_without_root_dir(root):
    assert pipe().open().bytes().done()(__last__=f"{root}/../out.txt") == b"out"
    assert pipe().open().bytes().done()(__last__=root / "outer") == b"out"
    for value in (5, ["a"], NOTHING, None):
        with pytest.raises(TypeError, match="needs a file's name"):
            pipe().const(value).open()()


def test_root_dir_is_not_left_while_links_change(root):
    """A name is in root_dir in one moment and elsewhere in the next: what is read is never from outside."""
    stop = threading.Event()

    def swap():
        targets = ["sub/deep.txt", "../out.txt"]
        while not stop.is_set():
            targets.reverse()
            (root / "new").symlink_to(targets[0])
            (root / "new").rename(root / "moving")

    (root / "moving").symlink_to("inner")
    thread = threading.Thread(target=swap)
    thread.start()
    got = set()
    try:
        for _ in range(2000):
            try:
                got.add(pipe().open(root).bytes().done()(__last__="moving"))
            except PermissionError:
                got.add("refused")
    finally:
        stop.set()
        thread.join()
    assert b"out" not in got


# ---- importing ------------------------------------------------------------------------------------------------------


def build(expression):
    """An expression as an adaptor's module has it: with globals of its own."""
    names = {"pipe": pipe}
    exec(f"made = {expression}", names)
    return names["made"], names


def test_importing_binds_what_an_import_statement_would():
    made, names = build("pipe().importing('json', 'os.path', 'collections.abc as abc').f(lambda x: json.dumps(x))")
    assert "json" not in names
    assert made.done()(__last__=[1]) == "[1]"
    assert (names["json"], names["os"], names["abc"].__name__) == (json, os, "collections.abc")
    assert "collections" not in names


def test_importing_passes_everything_on():
    made, _ = build("pipe().importing('json')")
    assert run(made, a=1, __last__=2) == (2, {"a": 1})


def test_importing_calls_callables_each_time_and_in_order(tmp_path, monkeypatch):
    calls = []
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "made_for_this_test.py").write_text("import sys\nsys.order.append('module')\n")
    monkeypatch.setattr(sys, "order", calls, raising=False)
    made = pipe().importing(lambda: calls.append("first"), "made_for_this_test", lambda: calls.append("last"))
    assert calls == []
    made()
    made()
    assert calls == ["first", "module", "last", "first", "last"]
    del sys.modules["made_for_this_test"]


@pytest.mark.parametrize("name", ["", ".json", "json dumps", "from json import dumps", "json as", "a;b", 5])
def test_importing_refuses_what_is_no_module(name):
    with pytest.raises(ValueError, match=r"importing\(\) takes names"):
        pipe().importing(name)


def test_importing_what_is_not_there():
    with pytest.raises(ModuleNotFoundError) as caught:
        pipe().importing("not_there_at_all")()
    assert caught.value.__notes__ == ["stage 1, importing('not_there_at_all'): ModuleNotFoundError"]


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_errors_name_block_and_stage():
    with pytest.raises(KeyError) as caught:
        pipe().const({}).identity().get("extra")()
    assert caught.value.__notes__ == ["stage 3, get('extra'): KeyError"]
    with pytest.raises(KeyError) as caught:
        pipe().cond(pipe(), pipe().const({}).get("extra"))()
    assert caught.value.__notes__ == [
        "stage 2, get('extra'): KeyError",
        "stage 1, cond(pipe(), pipe().const({}).get('extra')): KeyError",
    ]


def test_errors_that_are_raised_again_keep_one_note():
    error = ValueError("the same every time")

    def fail():
        raise error

    for _ in range(3):
        with pytest.raises(ValueError):
            pipe().f(fail)()
    assert len(error.__notes__) == 1


def test_errors_that_take_no_notes_are_the_true_ones():
    class Stubborn(Exception):
        def __setattr__(self, name, value):
            raise AttributeError("frozen")

    def fail():
        raise Stubborn("me")

    with pytest.raises(Stubborn):
        pipe().f(fail)()


def test_a_block_whose_argument_has_no_repr_is_named_all_the_same():
    class Odd:
        def __repr__(self):
            raise RuntimeError("no")

    with pytest.raises(TypeError) as caught:
        pipe().const(Odd()).const([Odd()]).get(Odd())()
    assert caught.value.__notes__[0].startswith("stage 3, get(<Odd instance at")


def test_every_block_is_shown_as_it_is_written():
    made = (
        pipe().f(len).cast(int).exec(print).const("v").clear().identity().cond(pipe(), pipe()).fork(pipe(), pipe())
        .kwargs(a=1).kwarg("a").input().query().json().path().open().open("/srv").importing("os", len).installing("six")
        .shell().bytes().last().ix(-1).get("k").map(len).foldl(max, 0).foldl1(max)
    )  # fmt: skip
    assert repr(made) == (
        "pipe().f(len).cast(int).exec(print).const('v').clear().identity().cond(pipe(), pipe()).fork(pipe(), pipe())"
        ".kwargs(a=1).kwarg('a').input().query().json().path().open().open('/srv').importing('os', len)"
        ".installing('six').shell().bytes().last().ix(-1).get('k').map(len).foldl(max, 0).foldl1(max)"
    )


# ---- many calls at a time -------------------------------------------------------------------------------------------


def test_calls_run_concurrently():
    """Each of many calls waits in the middle until all are there, and each ends with its own."""
    count = 8
    all_there = threading.Barrier(count)

    def meet(*_, **__):
        all_there.wait(30)

    made = (
        pipe()
        .kwargs(b=1)
        .exec(meet)
        .fork(pipe().kwarg("a"), pipe().clear().input().f(lambda **kwargs: sorted(kwargs)))
        .foldl(lambda acc, x: acc.append(x) or acc, [])
        .exec(meet)
        .input()
        .f(lambda __last__, a: (__last__, a))
        .done()
    )
    with ThreadPoolExecutor(count) as pool:
        answers = list(pool.map(lambda a: made(a=a), range(count)))
    assert answers == [([a, ["a"]], a) for a in range(count)]


def test_building_on_a_pipe_leaves_it_alone():
    start = pipe().const(1)
    more = start.f(lambda x: x + 1)
    assert (start.done()(), more.done()(), type(start)) == (1, 2, Pipe)
