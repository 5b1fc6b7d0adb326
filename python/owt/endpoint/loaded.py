"""The endpoints that this process has loaded: found, loaded on demand, bounded in number."""

from __future__ import annotations

import linecache
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from inspect import isasyncgenfunction, iscoroutinefunction
from traceback import format_exception_only
from types import ModuleType
from typing import TYPE_CHECKING, Any

import owt
from owt import endpoint
from owt.asked import arguments, binding
from owt.asked.annotations import signature_of
from owt.endpoint import loading, store
from owt.endpoint.advice import advise_syntax
from owt.endpoint.compiling import EXPRESSION
from owt.process import borrowed, figures
from owt.process.refusal import Refusal
from owt.summat import Adaptor

if TYPE_CHECKING:
    from _owt import Call

#: So many endpoints stay loaded; beyond that the least recently used ones are dropped.
MAX_ENDPOINTS = 1024
#: So many characters of a line are shown on either side of a syntax error.
NEAR = 200
#: So many plans are remembered for a function; callers with ever new names start anew.
MAX_PLANS = 256


def _nobody(code_id: str, fn_name: str) -> None:
    pass


#: Is told of each function that is asynchronous, by its endpoint and its name.
announce: Callable[[str, str], None] = _nobody


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
        "code_id",
        "figures",
        "flask",
        "functions",
        "globals",
        "path",
        "recursion_limit",
        "texts",
        "uses_flask",
    )

    def __init__(self, module: ModuleType, source: bytes, imported_flask: bool) -> None:
        self.code_id = module.__name__.removeprefix(endpoint.PREFIX)
        self.path = endpoint.path_of(self.code_id)
        self.globals: dict[str, Any] = vars(module)
        self.functions: dict[str, Function] = {}
        self.texts: arguments.Texts = {}
        self.uses_flask = imported_flask or b"flask" in source
        #: That its top level has set, for its calls; 0 if it has not.
        self.recursion_limit = borrowed.recursion_limit()
        #: That its top level has made with pyplot.
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
            raise _no_function(f"The adaptor has no function {name!r}. {self._instead()}")
        if isinstance(value, Adaptor):
            value = Adaptor.done(value)
        elif isinstance(value, type) and issubclass(value, Adaptor):
            raise _no_function(f"{name!r} is a class of stages; it has to be an instance: {value.__name__}().")
        if not callable(value):
            what = "The adaptor is an expression whose value" if is_expression else f"{name!r}"
            raise _no_function(f"{what} is of type {type(value).__name__}: it has to be a callable or a pipeline.")
        if _is_application(value):
            value = _serving(value)
        made = self.functions[name] = Function(name, value, self.globals)
        if made.asynchronous:
            announce(self.code_id, name)
        return made

    def _instead(self) -> str:
        flask = getattr(sys.modules.get("flask"), "Flask", ())
        for name, value in list(self.globals.items()):
            if isinstance(value, flask):
                return f"It has a Flask application: fn_name={name} serves that, and so does a line run = {name}."
        there = ", ".join(self._public())
        if there:
            return f"Its functions: {there}. fn_name says which one to call; without it, run is called."
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


def _serving(application: Callable[..., Any]) -> Callable[..., Any]:
    """A function that answers with what the application does; fields are the application's own."""

    def serve(request: Any, **_: Any) -> Any:
        return application

    return serve


def _no_function(detail: str) -> Refusal:
    return Refusal(400, "no-such-function", detail)


#: By code id, the least recently used first.
endpoints: OrderedDict[str, Endpoint] = OrderedDict()
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
    source = call.code
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
            raise Refusal(400, "syntax-error", _describe(error)) from None
        raise
    finally:
        call.loaded(time.perf_counter() - started)


def _describe(error: SyntaxError) -> str:
    """The error with its line and a caret, as Python shows it; of a long line what is near."""
    if error.text is not None and len(error.text) > 2 * NEAR:
        at = max(0, (error.offset or 1) - NEAR)
        error.text = error.text[at : at + 2 * NEAR]
        error.offset = (error.offset or 1) - at
        error.end_offset = error.end_lineno = None
    return "The adaptor is not Python:\n" + "".join(format_exception_only(type(error), error)) + advise_syntax(error)


def forget_failed(code_id: str) -> None:
    """Lets go of what showing a failed load's traceback needed."""
    if code_id not in endpoints:
        linecache.cache.pop(endpoint.path_of(code_id), None)


def register(module: ModuleType, source: bytes, imported_flask: bool) -> None:
    """Takes in an endpoint that has just been loaded; others may have to make room."""
    made = Endpoint(module, source, imported_flask)
    with _lock:
        endpoints[made.code_id] = made
        surplus = len(endpoints) - MAX_ENDPOINTS
        if surplus > 0:
            busy = {id(made), *map(id, list(running.values())), *map(id, list(detached.values()))}
            for old in list(endpoints.values()):
                if surplus <= 0:
                    break
                if id(old) not in busy:
                    del endpoints[old.code_id]
                    endpoint.discard(old.code_id)
                    surplus -= 1
