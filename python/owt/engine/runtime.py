"""What nginx's worker calls: the start, each call, the end. The other side is src/bindings.cpp."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from contextvars import Context
from functools import partial
from importlib import import_module, invalidate_caches
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any

import _owt

from owt import endpoint
from owt.answer import foreign, stream
from owt.answer.response import HTML, Answer, File, Later, Stream, Whole, coerce
from owt.asked import arguments, form, uploads
from owt.endpoint import advice, loaded
from owt.engine import aio, flasks, letting_go, shutdown
from owt.models import batch
from owt.process import borrowed, damage, failure, figures, finalizers, loads, output, progress, signals, threads, trace
from owt.process.context import call_threads, current, ends, frames_stand_still
from owt.process.refusal import Refusal
from owt.process.request import Request
from owt.published import door

if TYPE_CHECKING:
    from _owt import Call

_Result = Whole | aio.Pending | None
_Parked = tuple[Request, dict[str, Any]]

_new = Request.__new__
_endpoints = loaded.endpoints
_running = loaded.running
_unfinished = output.partial
_kept = uploads.kept
_changed = borrowed.changed


def start() -> None:
    """Readies the interpreter. Once, on Python's main thread, before anything else."""
    endpoint.directory()  # from the environment, which is anybody's later on
    tempfile.gettempdir()
    output.install(_owt.log)
    threads.install()
    finalizers.install(_owt.unraisable)
    figures.install()
    progress.install()
    trace.install()
    figures.of_adaptor = loaded.figures_of_running
    signals.guard(frozenset(_owt.reserved_signals()))
    endpoint.on_load = loaded.register
    failure.advise = advice.advise
    endpoint.on_discard = _owt.forget
    loads.begins, loads.ends = _owt.load_begins, _owt.load_ends
    loaded.announce = aio.announce
    loaded.tell = _owt.has
    aio.start(_run_call)
    batch.loop_of_calls = aio.loop_of_calls
    letting_go.start()
    os.register_at_fork(after_in_child=_in_child)
    import_module("werkzeug.test")  # runs WSGI callables


def _in_child() -> None:
    _owt.after_fork_in_child()
    output.leave_to_stderr()
    uploads.kept.clear()  # they are the parent's
    endpoint.after_fork()


def preload(module: str) -> None:
    """Imports a module before the first call; raises what importing it raises, with what to do about it."""
    invalidate_caches()  # another attempt may find what the last one did not
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if said := advice.of_preload(error):
            error.add_note(said)
        raise


def preloaded() -> None:
    """All modules are preloaded: what is there now stays, and no collection looks at it any more."""
    borrowed.settle()
    damage.remember()
    gc.collect()
    gc.freeze()


def publish(published: list[tuple[Any, ...]]) -> None:
    """Loads what locations publish; each as (kind, path, function, prefix, lazy, runs_code). Once, before the first
    call.
    """
    door.open_door(published)


def thread_started(index: int) -> None:
    """Names the calling thread, which will run calls."""
    threading.current_thread().name = f"owt-{index}"
    call_threads.add(get_ident())
    if _owt.part_directory():
        borrowed.apart()


def thread_ended() -> None:
    """The calling thread will run no more calls, and ends."""
    call_threads.discard(get_ident())
    _running.pop(get_ident(), None)
    # It is none of threading's own, so that threading would not notice (before Python 3.13).
    threading.current_thread()._delete()  # type: ignore[attr-defined]


def run(
    call: Call,
    code_id: str,
    fn_name: str,
    kwargs: dict[str, Any],
    kwargs_text: str | list[str] | None,
    parked: _Parked | None = None,
) -> Whole | None:
    """Runs one call on the thread of the caller.

    code_id is 64 hex digits, or empty where a multipart form has yet to be read; kwargs is the call's
    own; kwargs_text the text of ``kwargs`` or ``kwargs_b64``, a long one in a list that it is taken from;
    parked what was read of a form before the call was parked. The answer, if it is complete and has headers
    that need no check; None if it went, or will go, through call. Raises Cancelled.
    """
    context = Context()
    result = context.run(_run, call, code_id, fn_name, kwargs, kwargs_text, parked)
    if type(result) is aio.Pending:
        try:
            aio.submit(result, context)
        except Refusal as refusal:
            refusal.tell(call)
        return None
    return result  # type: ignore[return-value]


def _run(
    call: Call,
    code_id: str,
    fn_name: str,
    kwargs: dict[str, Any],
    kwargs_text: str | list[str] | None,
    parked: _Parked | None,
) -> _Result:
    if parked is None:
        request = _new(Request)
        request._call = call
    else:
        request, kwargs = parked
    current.set(request)
    path = ""
    try:
        if not code_id:
            code_id, fn_name, kwargs, kwargs_text = form.read(call, request)
            if call.looks_later:
                call.park(form.digest(request) if call.key_has_arguments else "", (request, kwargs))
                return None
        found = _endpoints.get(code_id)
        if found is None:
            path = endpoint.path_of(code_id)
            found = loaded.load(call, code_id, (request, kwargs))
            if found is None:
                return None
        path = found.path
        if found.wishes:
            borrowed.wish(found.wishes)
        _running[get_ident()] = found
        found.called = monotonic()
        function = found.functions.get(fn_name) or found.function(fn_name)
        if kwargs_text is not None:
            text = kwargs_text.pop() if isinstance(kwargs_text, list) else kwargs_text
            arguments.merge(text, kwargs, found.globals, found.texts, request)
            kwargs_text = None
        if found.uses_flask:
            return _run_in_flask(request, found, function, kwargs)
        names = tuple(kwargs)
        plan = function.plans.get(names) or function.plan(names)
        try:
            value = plan(function.fn, request, kwargs)
        except Exception as error:
            value = foreign.raised(error, request)
            if value is None:
                raise
        if type(value) is str and value.isascii():
            return 200, HTML, value
        kwargs.clear()  # a stream may live long
        return _send(request, found, function, value)
    except Refusal as refusal:
        if refusal.status >= 500:
            _look_for_damage(refusal, path)
        refusal.tell(call)
    except BaseException as error:
        _look_for_damage(error, path)
        if ends(call, error):
            raise
        if damage.is_others(error, path):
            _owt.failed()
        failure.refuse(call, error, path)
        loaded.forget_failed(code_id)
    finally:
        if _changed:
            borrowed.end(request)
        if _unfinished:
            output.end(request)
        if _kept:
            uploads.end(request)
    return None


def _unseen(run: Callable[..., _Result]) -> Callable[..., Any]:
    """As run, for a Python in which nobody can see that a thread is idle: what it ran, it runs no longer."""

    def run_and_leave(*arguments: Any) -> _Result:
        try:
            return run(*arguments)
        finally:
            _running.pop(get_ident(), None)

    return run_and_leave


_run_call: Callable[..., Any] = _run
if not frames_stand_still:
    run, _run_call = _unseen(run), _unseen(_run)


def _look_for_damage(error: BaseException, path: str) -> None:
    """A call has failed: it may be because of what another adaptor has done to the process."""
    why = damage.repair(error, path)
    if why:
        _owt.retire(why)


def _run_in_flask(
    request: Request, found: loaded.Endpoint, function: loaded.Function, kwargs: dict[str, Any]
) -> _Result:
    context = flasks.push(found, request)
    pop = context.pop if context is not None else None
    try:
        names = tuple(kwargs)
        plan = function.plans.get(names) or function.plan(names)
        try:
            value = plan(function.fn, request, kwargs)
        except Exception as error:
            value = foreign.raised(error, request)
            if value is None:
                raise
        finalize = None if context is None else partial(flasks.finalize, context)
        kwargs.clear()
        result = _send(request, found, function, value, finalize)
    except BaseException as error:
        if pop is not None:
            pop(error)
        raise
    if isinstance(result, aio.Pending):
        result.finish = pop
    elif pop is not None:
        pop(None)
    return result


def _send(
    request: Request,
    found: loaded.Endpoint,
    function: loaded.Function,
    value: object,
    finalize: Callable[[Answer, Request], Answer] | None = None,
) -> _Result:
    """Sends what the function returned, or says how it is to be sent."""
    call = request._call
    answer = coerce(value, request, function.name)
    if finalize is not None:
        answer = finalize(answer, request)
    if type(answer) is tuple:
        if type(answer[1]) is tuple:  # one of our own, which need no check
            return answer
        stream.send(call, answer)
    elif isinstance(answer, Later):
        return aio.Pending(call, request, found, function.name, answer, _kept.pop(request, []), finalize)
    elif isinstance(answer, Stream):
        if hasattr(type(answer.chunks), "__anext__"):
            return aio.Pending(call, request, found, function.name, answer, _kept.pop(request, []))
        stream.run(call, answer, found.path)
    else:
        assert isinstance(answer, File)
        stream.send(call, answer)
    return None


def cancel(call: Call) -> None:
    """Nobody waits any more for a detached call."""
    aio.cancel(call)


def overdue(call: Call) -> bool:
    """A detached call has not ended in time after ``cancel``. True if its event loop is lost."""
    return aio.overdue(call)


def resume(call: Call) -> None:
    """There is room again for output of a detached call whose ``offer`` returned False."""
    aio.resume(call)


def relieve(limit: int) -> None:
    """The process has more memory than limit (bytes) and is to let go of what it can, see ``letting_go.relieve``."""
    letting_go.relieve(limit)


def drop(code_id: str) -> None:
    """The endpoint whose code's SHA-256 begins so is not wanted any more, see ``letting_go.drop``."""
    letting_go.drop(code_id)


def stop(seconds: float) -> None:
    """Ends what runs in Python besides calls, as a Python program does at its end; takes at most so long."""
    shutdown.run(seconds)
    output.end_all()
    sys.stdout.flush()
