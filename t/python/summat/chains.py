"""Chains as mypy sees them (`make lint`): what is accepted, and what has to be refused, for else an ignore is unused."""

from __future__ import annotations

import io
import operator
from typing import Any, assert_type

from owt import pipe, shell
from owt.summat import Adaptor, KeepKWs, Nullary, Pipe, Result


class Upper(Adaptor[str]):
    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return KeepKWs(__last__.upper())


class Untyped(Adaptor[Any]):
    def call(self, *, __last__: Any, **kwargs: Any) -> Result:
        return KeepKWs(__last__)


def double(number: int) -> int:
    return 2 * number


# ---- accepted: the type of the value goes along ----------------------------------------------------------------------

assert_type(pipe().f(double), Pipe[int])
assert_type(pipe().cast(int), Pipe[int])
assert_type(pipe().const("a").f(str.upper), Pipe[str])
assert_type(pipe().const(1).f(lambda n: n + 1), Pipe[int])
assert_type(pipe().const("a").cast(int), Pipe[int])
assert_type(pipe().const("a").f(bytes.fromhex).f(len), Pipe[int])
assert_type(pipe().const(1).f(str), Pipe[str])
assert_type(pipe().f(lambda a, b: f"{a}{b}"), Pipe[str])
assert_type(pipe().kwargs(a=1).f(lambda a: str(a)), Pipe[str])
assert_type(pipe().const("x").clear().f(lambda: 1), Pipe[int])
assert_type(pipe().exec(lambda a, b: None), Pipe[Any])
assert_type(pipe().const("x").kwargs(a=1).f(lambda a: [a]), Pipe[list[Any]])
assert_type(pipe().const("x").exec(print), Pipe[str])
assert_type(pipe().const("x").identity(), Pipe[str])
assert_type(pipe().const("x").kwargs(a=1), Pipe[Any])
assert_type(pipe().const("x").clear(), Pipe[Nullary])
assert_type(pipe().path().cond(pipe().const(1), pipe().const("x")), Pipe[int | str])
assert_type(pipe().path().fork(pipe().f(len), pipe().const("x")), Pipe[tuple[int, str]])
assert_type(pipe().kwarg("a"), Pipe[Any])
assert_type(pipe().input(), Pipe[Any])
assert_type(pipe().query(), Pipe[dict[str, str]])
assert_type(pipe().query().get("a"), Pipe[str])
assert_type(pipe().json().get("a").ix(0).last(), Pipe[Any])
assert_type(pipe().path(), Pipe[list[str]])
assert_type(pipe().path().last(), Pipe[str])
assert_type(pipe().path().last().open("/srv"), Pipe[io.BytesIO])
assert_type(pipe().path().last().open().bytes(), Pipe[bytes])
assert_type(pipe().path().ix(-1).importing("json", list).installing("six"), Pipe[str])
assert_type(pipe().const("echo").shell(), Pipe[bytes])
assert_type(pipe().path().map(len), Pipe[list[int]])
assert_type(pipe().path().map(len).foldl1(max), Pipe[int])
assert_type(pipe().path().map(len).foldl(operator.add, 0), Pipe[int])
assert_type(pipe().const("x").to(Upper()), Pipe[str])
assert_type(pipe().to(Untyped()).ix(0), Pipe[Any])
assert_type(pipe().to(pipe().const(1)), Pipe[int])
assert_type(pipe().const(1).done()(), int)
assert_type(shell(), Pipe[bytes])
assert_type(shell("echo", name="x"), bytes)

# ---- refused ---------------------------------------------------------------------------------------------------------

pipe().to(double)  # type: ignore[arg-type]
pipe().f("double")  # type: ignore[call-overload]
pipe().const(1).f(str.upper)  # type: ignore[arg-type]
pipe().const(1).cast(str.upper)  # type: ignore[arg-type]
pipe().const(1).exec(str.upper)  # type: ignore[arg-type]
pipe().const(1).f(lambda: 1)  # type: ignore[misc, arg-type]
pipe().cond(double, pipe())  # type: ignore[arg-type]
pipe().fork(pipe(), double)  # type: ignore[arg-type]
pipe().const(1).ix(0)  # type: ignore[misc]
pipe().const(1).last()  # type: ignore[misc]
pipe().const(1).map(double)  # type: ignore[misc]
pipe().const(1).shell()  # type: ignore[misc]
pipe().path().ix("0")  # type: ignore[arg-type]
pipe().path().get("a")  # type: ignore[misc]
pipe().path().open("/srv")  # type: ignore[misc]
pipe().path().map(double)  # type: ignore[arg-type]
pipe().path().foldl1(double)  # type: ignore[arg-type]
pipe().query().ix(0)  # type: ignore[misc]
pipe().kwargs(1)  # type: ignore[call-arg]
pipe().importing(1)  # type: ignore[arg-type]
pipe().installing(len)  # type: ignore[arg-type]
pipe().nothing()  # type: ignore[attr-defined]
shell(["echo"])  # type: ignore[call-overload]
