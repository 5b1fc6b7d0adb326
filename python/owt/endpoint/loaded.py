"""The endpoints that this process has loaded: found, loaded on demand, bounded in number."""

from __future__ import annotations

import linecache
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import isasyncgenfunction, iscoroutinefunction
from threading import get_ident
from time import monotonic
from traceback import format_exception_only
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any

import owt
from owt import endpoint
from owt.asked import arguments, binding
from owt.asked.annotations import signature_of
from owt.endpoint import advice, loading, store
from owt.endpoint.compiling import EXPRESSION
from owt.models.batch import Batched
from owt.process import borrowed, figures, memory
from owt.process.context import call_threads, frames_stand_still
from owt.process.refusal import Refusal
from owt.summat import Adaptor

if TYPE_CHECKING:
    from _owt import Call

#: So many endpoints stay loaded; beyond that the least recently used ones are dropped, those that run excepted.
most = 64
#: So many characters of a line are shown on either side of a syntax error.
NEAR = 200
#: So many plans are remembered for a function; callers with ever new names start anew.
MAX_PLANS = 256

_names_code = re.compile("(?:^|&)code=")


def _nobody(code_id: str, fn_name: str) -> None:
    pass


def _nothing() -> None:
    pass


def _no_endpoint(gone: Endpoint) -> None:
    pass


def _publishes_nothing(call: Call, path: str) -> Endpoint:
    raise NotImplementedError


def _untold(code_id: str) -> None:
    pass


#: Loads what is published at a path, which the calling thread has claimed. Raises Refusal, and what loading it raises.
load_file: Callable[[Call, str], Endpoint] = _publishes_nothing

#: Is told of each function that is asynchronous, by its endpoint and its name.
announce: Callable[[str, str], None] = _nobody
#: Is told of what is published and has been let go.
discard_file: Callable[[Endpoint], None] = _no_endpoint
#: Is told of each endpoint that has been loaded.
tell: Callable[[str], None] = _untold
#: Is called when an endpoint has been loaded.
taken_in: Callable[[], None] = _nothing


class Function:
    """A function of an endpoint, and how calls with this or that set of arguments bind to it."""

    __slots__ = ("asynchronous", "fn", "name", "plans", "takes")

    def __init__(self, name: str, fn: Callable[..., Any], names: dict[str, Any]) -> None:
        self.name = name
        self.fn = fn
        self.takes = binding.taken_by(fn, names)
        self.plans: dict[tuple[str, ...], binding.Plan] = {}
        #: Calling it does nothing yet: it is a coroutine function or an asynchronous generator function.
        self.asynchronous = iscoroutinefunction(fn) or isasyncgenfunction(fn)

    def plan(self, names: tuple[str, ...]) -> binding.Plan:
        """Decides and remembers how keyword arguments with these names bind."""
        if len(self.plans) >= MAX_PLANS:
            self.plans.clear()
        made = self.plans[names] = binding.plan(self.takes, self.name, names)
        return made


class Endpoint:
    """A loaded adaptor."""

    __slots__ = (
        "called",
        "code_id",
        "figures",
        "flask",
        "functions",
        "globals",
        "module",
        "path",
        "stays",
        "texts",
        "uses_flask",
        "wishes",
    )

    def __init__(
        self, module: ModuleType, source: bytes, imported_flask: bool, *, path: str = "", stays: bool = False
    ) -> None:
        #: The module of what is published at path, which is then its id; it knows of no other versions.
        self.module = module if path else None
        #: It is not let go, whatever else needs its room.
        self.stays = stays
        self.code_id = path or module.__name__.removeprefix(endpoint.PREFIX)
        self.path = endpoint.path_of(self.code_id)
        #: When it was called last.
        self.called = monotonic()
        self.globals: dict[str, Any] = vars(module)
        self.functions: dict[str, Function] = {}
        self.texts: arguments.Texts = {}
        self.uses_flask = imported_flask or b"flask" in source
        #: What its top level has set for its calls.
        self.wishes = borrowed.wishes()
        #: What it has made with pyplot.
        self.figures = figures.made()
        #: Its Flask application, made when the first call needs it.
        self.flask: Any = None

    def function(self, name: str) -> Function:
        """The function that clients call name. Raises Refusal (400) if there is none."""
        is_expression = EXPRESSION in self.globals
        if is_expression and name != "run":
            raise _no_function(f"The adaptor is an expression, whose only function is run; it has no {name!r}.")
        value = self.globals.get(name)
        if name not in self.globals or (name in owt.__all__ and value is getattr(owt, name)):
            if self.module is not None:
                raise Refusal(500, "no-such-function", _NOT_IN_FILE.format(name))
            raise _no_function(f"The adaptor has no function {name!r}. {self._instead(name)}")
        if isinstance(value, Adaptor):
            value = Adaptor.done(value)
        elif isinstance(value, Batched):
            value = value.later
        elif isinstance(value, type) and issubclass(value, Adaptor):
            raise _no_function(f"{name!r} is a class of stages; it has to be an instance: {value.__name__}().")
        if not callable(value):
            what = "The adaptor is an expression whose value" if is_expression else f"{name!r}"
            text = f"{what} is of type {type(value).__name__}: it has to be a callable or a pipeline."
            if is_expression and value is None:
                text += " An answer is returned, not printed: def run(): return ..."
            elif is_expression:
                text += " To answer with that value, put lambda: in front of the expression."
            raise _no_function(text)
        if _is_application(value):
            value = _serving(value)
        elif said := _other_entry(name, value):
            raise Refusal(500 if self.module is not None else 400, "no-such-function", said)
        made = self.functions[name] = Function(name, value, self.globals)
        if made.asynchronous:
            announce(self.code_id, name)
        return made

    def _instead(self, wanted: str) -> str:
        flask = getattr(sys.modules.get("flask"), "Flask", ())
        for name, value in list(self.globals.items()):
            if isinstance(value, flask):
                return f"It has a Flask application: fn_name={name} serves that, and so does a line run = {name}."
        there = list(self._public())
        if len(there) == 1:
            return f"Its functions: {there[0]}. Name it {wanted}, or send fn_name={there[0]} too."
        if there:
            return f"Its functions: {', '.join(there)}. fn_name says which one to call; without it, run is called."
        return (
            "Its functions: none. What a call is to do has to be in one, def run(): ..., and what that returns is the"
            " answer; what is printed goes to the server's error log."
        )

    def _public(self) -> Iterable[str]:
        for name, value in list(self.globals.items()):
            if (
                not name.startswith("_")
                and (callable(value) or isinstance(value, Adaptor))
                and getattr(value, "__module__", None) == self.globals["__name__"]
            ):
                yield name


def _is_application(value: Callable[..., Any]) -> bool:
    """Whether a callable is meant as a WSGI application: the names of what it takes say so."""
    if hasattr(type(value), "wsgi_app"):  # Flask's
        return True
    signature = signature_of(value)
    return signature is not None and list(signature.parameters)[1:] == ["start_response"]


#: A file of which owt_root wants run, or owt_file what it has been told.
_NOT_IN_FILE = (
    "The file that is published here has no function {0!r}. A line {0} = NAME at its end makes it the one called NAME;"
    " owt_file FILE NAME; publishes that as it is. Files that others import, and nobody calls, have names that begin"
    " with _."
)


def _other_entry(name: str, value: Any) -> str:
    """What else programs begin with, that cannot be called with arguments, and what can; empty for a function."""
    signature = signature_of(value)
    if signature is not None and list(signature.parameters)[:3] == ["scope", "receive", "send"]:
        return (
            f"{name!r} is an ASGI application, as FastAPI's and Starlette's are, and owt serves WSGI ones. Functions"
            f" that it is made of are called by their own names: a line run = NAME at the end, instead of {name}."
        )
    for base in type(value).__mro__:
        package = base.__module__.partition(".")[0]
        if package == "typer" and base.__name__ == "Typer":
            return (
                f"{name!r} is Typer's, which reads a command line. Functions of its commands are called by their own"
                " names: a line run = NAME at the end."
            )
        if package in ("click", "typer") and base.__name__ in ("BaseCommand", "Command"):
            return (
                f"{name!r} is a command of click, which reads a command line. The function that it is made of can be"
                f" called: a line run = {name}.callback at the end. Its options have no defaults then but those that"
                " the function itself has."
            )
    return ""


def _serving(application: Callable[..., Any]) -> Callable[..., Any]:
    """A function that answers with what the application does; fields are the application's own."""

    def serve(request: Any, **_: Any) -> Any:
        if request._call.published:
            _mount(request)
        return application

    return serve


def _mount(request: Any) -> None:
    """Where an application is published is its root, as WSGI has it: the rest of the path is its own."""
    (kind, _path, _function, prefix, *_), name = request._call.publication()
    place = prefix.rstrip("/") + (f"/{name}" if kind == "root" else "")
    root = place.encode().decode("latin-1")
    environ = request.environ
    path = environ["PATH_INFO"]
    if root and (path == root or path.startswith(f"{root}/")):
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = root, path[len(root) :] or "/"


def _no_function(detail: str) -> Refusal:
    return Refusal(400, "no-such-function", detail)


#: By code id. Every call looks here, and takes no lock for it; who puts something in or takes it out holds _lock.
endpoints: dict[str, Endpoint] = {}
#: What each thread that serves calls runs, or ran last, by the thread's identity.
running: dict[int, Endpoint] = {}
#: What detached calls run.
detached: dict[Any, Endpoint] = {}

_lock = threading.Lock()


def figures_of_running() -> figures.Figures | None:
    """What the top level of the adaptor that this thread runs has made with pyplot."""
    found = running.get(threading.get_ident())
    return None if found is None else found.figures


def load(call: Call, code_id: str, rest: tuple[Any, dict[str, Any]]) -> Endpoint | None:
    """Loads the endpoint. None if another thread does already: then the call waits for that, without a
    thread, and ``runtime.run`` gets it and rest again.

    Raises Refusal where the source is not known (404), is not Python (400), cannot be stored (500) or where
    too many calls wait already (503), Cancelled if nobody waits for the call any more once it is loaded,
    and whatever the adaptor's top level raises.
    """
    running.pop(get_ident(), None)  # which it ran before
    with loading.Claim(endpoint.PREFIX + code_id) as other:
        if other is None:
            found = endpoints.get(code_id) or _load(call, code_id)
        elif call.wait_for_load(other.number, rest):
            return None
        else:
            raise Refusal(
                503,
                "queue-full",
                "The endpoint is being loaded, and as many calls wait for that as the line queue of the server's"
                " owt_instance allows: try again in a second.",
            )
    call.check()
    return found


def _load(call: Call, code_id: str) -> Endpoint:
    started = time.perf_counter()
    if call.published:
        try:
            return load_file(call, code_id)
        finally:
            call.loaded(time.perf_counter() - started)
    try:
        return load_source(code_id, call.code, partial(_form, call))
    finally:
        call.loaded(time.perf_counter() - started)


def load_source(code_id: str, source: bytes, form: Callable[[], bytes] = bytes) -> Endpoint:
    """Loads the endpoint with this source, or if that is empty with the one that is stored, whose load the calling
    thread has claimed. form gives the urlencoded form that it came in. Raises as ``load`` does.
    """
    if source:
        store.keep(code_id, source, endpoints)
    else:
        store.require(code_id)
    try:
        while True:
            module = endpoint.load(code_id)
            found = endpoints.get(code_id)
            if found is not None:
                return found
            # Dropped at once by others that needed the room.
            if sys.modules.get(module.__name__) is module:
                endpoint.discard(code_id)
    except SyntaxError as error:
        if error.filename == endpoint.path_of(code_id):
            text = _describe(error) + advice.of_sending(source.decode(errors="replace"), form())
            raise Refusal(400, "syntax-error", text) from None
        raise


def _describe(error: SyntaxError) -> str:
    """The error with its line and a caret, as Python shows it; of a long line what is near."""
    if error.text is not None and len(error.text) > 2 * NEAR:
        at = max(0, (error.offset or 1) - NEAR)
        error.text = error.text[at : at + 2 * NEAR]
        error.offset = (error.offset or 1) - at
        error.end_offset = error.end_lineno = None
    shown = "".join(format_exception_only(type(error), error))
    return f"The adaptor is not Python:\n{shown}{advice.advise_syntax(error)}"


def _form(call: Call) -> bytes:
    """The urlencoded form or query that the parameters came in, as it came; empty if they came otherwise."""
    environ = call.environ()
    query = environ.get("QUERY_STRING", "")
    if _names_code.search(query):
        return query.encode("latin-1")
    urlencoded = environ.get("CONTENT_TYPE", "").lower().startswith("application/x-www-form-urlencoded")
    body = call.body() if urlencoded else b""
    return b"" if body.lstrip().startswith(b"{") else body


def found_or_loaded(code_id: str, load: Callable[[], Endpoint], what: str) -> Endpoint:
    """The endpoint, loaded by load if it is not there, once for all threads that ask for it; what is its name in a
    message. For who waits on a thread of his own. Raises Refusal where it would wait for itself, and what load raises.
    """
    while True:
        found = endpoints.get(code_id)
        if found is not None:
            return found
        with loading.Claim(endpoint.PREFIX + code_id) as other:
            if other is None:
                return endpoints.get(code_id) or load()
            if not other.wait():
                raise Refusal(500, "not-loaded", f"{what} is being loaded, and waits for itself.")


def forget_failed(code_id: str) -> None:
    """Lets go of what showing a failed load's traceback needed."""
    if code_id not in endpoints:
        linecache.cache.pop(endpoint.path_of(code_id), None)


def register(module: ModuleType, source: bytes, imported_flask: bool) -> None:
    """Takes in an endpoint that has just been loaded; others may have to make room."""
    take_in(Endpoint(module, source, imported_flask))


def take_in(made: Endpoint) -> None:
    """From now on it answers the calls of its id; others may have to make room."""
    global ever
    with _lock:
        endpoints[made.code_id] = made
        ever = True
        (_staying.add if made.stays else _staying.discard)(made.code_id)
        gone = _drop(_count() - most, spared=made)
    if gone:
        memory.dropped()
    tell(made.code_id)
    taken_in()


# ---- letting go

#: Something has been loaded in this process.
ever = False

#: The ids of those that are not let go.
_staying: set[str] = set()
#: Those among them that are owt's own.
_own: set[str] = set()


def take_in_own(made: Endpoint) -> None:
    """The same for functions of owt's own, which are nothing that the process has loaded."""
    with _lock:
        endpoints[made.code_id] = made
        _staying.add(made.code_id)
        _own.add(made.code_id)


def withdraw(code_id: str) -> None:
    """It answers no more calls. Those that run in it go on."""
    with _lock:
        endpoints.pop(code_id, None)
        _staying.discard(code_id)


def idle_among(some: Iterable[Endpoint]) -> list[Endpoint]:
    """Those of some, which answer no more calls, in which none runs either."""
    some = list(some)
    with _lock:
        busy = _busy(some)
    return [one for one in some if id(one) not in busy]


def make_room(module: ModuleType) -> None:
    """An endpoint is about to run for the first time, and may need the memory of what is dropped for it."""
    with _lock:
        known = module.__name__.removeprefix(endpoint.PREFIX) in endpoints
        gone = _drop(_count() + (0 if known else 1) - most)
    if gone:
        memory.dropped()


def count() -> int:
    """How many endpoints are loaded, owt's own left out."""
    with _lock:
        return _count() + len(_staying) - len(_own)


def drop_idle(idle: float) -> int:
    """Drops what has not been called for so long (seconds), nor been seen here to run."""
    now = monotonic()
    with _lock:
        busy = _busy()
        old = []
        for code_id, one in list(endpoints.items()):
            if id(one) in busy:
                one.called = now
            elif now - one.called >= idle:
                old.append(code_id)
        return _drop(len(old), among=old)


def drop(beginning: str) -> tuple[int, bool]:
    """Drops those whose code id begins so, but for those that run. How many it was, and whether any are left."""
    with _lock:
        wanted = [code_id for code_id in list(endpoints) if code_id.startswith(beginning)]
        gone = _drop(len(wanted), among=wanted)
    return gone, gone < len(wanted)


def drop_half() -> int:
    """Drops the half of what does not run that has not been called for the longest time. How many it was."""
    with _lock:
        busy = _busy()
        idle = [code_id for code_id, one in _by_last_call() if not one.stays and id(one) not in busy]
        return _drop((len(idle) + 1) // 2, among=idle)


def _count() -> int:
    """Those that may have to make room."""
    return len(endpoints) - len(_staying)


def _by_last_call() -> list[tuple[str, Endpoint]]:
    """All of them, the least recently called first."""
    return sorted(list(endpoints.items()), key=lambda item: item[1].called)


def _busy(also: Iterable[Endpoint] = ()) -> set[int]:
    """The endpoints, by identity, that a call runs in, with a thread or without, or any other thread. also are some
    that answer no more calls.
    """
    if not frames_stand_still:  # then a call takes itself out of running, and who else is in one is not known
        return set(map(id, [*list(running.values()), *list(detached.values())]))
    frames = sys._current_frames()
    # A thread for calls that runs no Python has nothing to do; the event loop's always runs, and ran last what it did.
    busy = {id(running[thread]) for thread in frames if thread in running and thread in call_threads}
    busy.update(map(id, list(detached.values())))
    by_globals = {id(one.globals): id(one) for one in [*endpoints.values(), *also]}
    frame: FrameType | None = None
    for frame in frames.values():
        while frame is not None:
            found = by_globals.get(id(frame.f_globals))
            if found is not None:
                busy.add(found)
            frame = frame.f_back
    frames.clear()  # this very frame is among them, and they hold what others work on
    return busy


def _drop(surplus: int, *, spared: Endpoint | None = None, among: Sequence[str] | None = None) -> int:
    """Drops so many of those that do not run, the least recently called first. How many it was. With the lock held."""
    if surplus <= 0:
        return 0
    busy = _busy()
    gone = set()
    for code_id in [code_id for code_id, _ in _by_last_call()] if among is None else among:
        one = endpoints.get(code_id)
        if one is None or one is spared or one.stays or id(one) in busy:
            continue
        del endpoints[code_id]
        if one.module is None:
            endpoint.discard(code_id)
        else:
            discard_file(one)
        gone.add(id(one))
        surplus -= 1
        if surplus <= 0:
            break
    # Threads that are idle keep what they ran last.
    for thread, last in list(running.items()):
        if id(last) in gone:
            running.pop(thread, None)
    return len(gone)
