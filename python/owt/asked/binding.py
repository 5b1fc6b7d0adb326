"""How a call's keyword arguments fit a function, decided once for each set of names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, NoReturn

from werkzeug.sansio.request import Request as AnyRequest

from owt.asked.annotations import Default, dependencies_of, fields_of, hidden_by, signature_of, unannotated
from owt.asked.wanted import Misfit, without_endpoint
from owt.process.refusal import Refusal

if TYPE_CHECKING:
    from owt.asked.wanted import Wanted

#: The keyword that stands for a single value without a name.
LAST = "__last__"

#: Calls function with the request, if it takes it, and with the keyword arguments, which it may
#: change. Raises Refusal (400) where these do not fit.
Plan = Callable[[Callable[..., Any], Any, dict[str, Any]], Any]

_REQUEST = object()
_Parameters = list[Parameter]


@dataclass(slots=True)
class Takes:
    """What a function takes: its signature, if it has one; that of what it wraps without saying so; what
    its annotations want, by the parameters' names."""

    signature: Signature | None
    hidden: Signature | None = None
    wanted: dict[str, Wanted] = field(default_factory=dict)
    #: What makes defaults that Python does not know as such.
    defaults: dict[str, Default] = field(default_factory=dict)
    #: What FastAPI would call for a parameter.
    depends: dict[str, Any] = field(default_factory=dict)


def taken_by(function: Callable[..., Any], names: dict[str, Any]) -> Takes:
    """Looks at a function once; names are the endpoint's, in which annotations may be text."""
    signature = signature_of(function)
    if signature is None:
        return Takes(None)
    hidden = hidden_by(function, signature)
    signature, fields, defaults = fields_of(signature)
    takes = Takes(signature, None if hidden is None else signature_of(hidden), defaults=defaults)
    takes.depends = dependencies_of(function, signature, names)
    for one, its in ((hidden, takes.hidden), (function, signature)):
        if one is not None and its is not None and any(p.annotation is not p.empty for p in its.parameters.values()):
            from owt.asked.convert import wanted_by  # and msgspec, which others do without

            takes.wanted |= wanted_by(one, its, names, fields if one is function else {})
    return takes


def plan(takes: Takes, name: str, names: tuple[str, ...]) -> Plan:
    """The plan for calling a function that takes this, known to clients by name, with these keywords."""
    if takes.signature is None:
        return keywords_only
    return _Binder(takes, takes.signature, name, names).plan()


def request_first(function: Callable[..., Any], request: Any, kwargs: dict[str, Any]) -> Any:
    """The plan for ``run(request, **kwargs)``."""
    return function(request, **kwargs)


def keywords_only(function: Callable[..., Any], request: Any, kwargs: dict[str, Any]) -> Any:
    """The plan for ``run(**kwargs)``."""
    return function(**kwargs)


class _Binder:
    def __init__(self, takes: Takes, signature: Signature, name: str, names: tuple[str, ...]) -> None:
        self.takes = takes
        self.signature = signature
        self.name = name
        self.names = names
        self.given = set(names)
        parameters = list(signature.parameters.values())
        self.extras = any(p.kind is Parameter.VAR_KEYWORD for p in parameters)
        self.request: Parameter | None = None
        self.first = _first(takes, parameters)
        if self.first is not None and _takes_request(self.first, self.given):
            self.request = parameters.pop(0)
        self.parameters = [p for p in parameters if p.kind not in _VARIADIC]

    def plan(self) -> Plan:
        target = self._target()
        bound = self.given - {LAST} if target else self.given
        known = {p.name for p in self.parameters}
        missing = [
            p.name for p in self.parameters if p.default is Parameter.empty and p.name not in bound and p is not target
        ]
        surplus = sorted(bound - known)
        if self.extras:
            clash = self.request is not None and self.request.kind is _EITHER
            surplus = [name for name in surplus if clash and name == self._request_name()]
        if needs := [p for p in self.parameters if p.name not in bound and p.name in self.takes.depends]:
            return self._depending(needs[0])
        if missing or surplus:
            return self._refusing(missing, surplus)
        call = self._calling(target)
        left = {
            name: make for name, make in self.takes.defaults.items() if name not in bound and name in self._by_name()
        }
        if left:
            call = _filling(call, left)
        if hint := self._hint():
            call = _hinting(call, *hint)
        wanted = self._wanted(target)
        return self._converting(wanted, call) if wanted else call

    def _hint(self) -> tuple[str, tuple[type, ...]] | None:
        """What to say, and of which failures, about what has been guessed."""
        first = self.first
        if self.request is not None and _library(self.request.annotation) in ("starlette", "fastapi"):
            name = self.request.name
            text = (
                f"{name} is Werkzeug's Request, not Starlette's: {name}.path, .args, .headers, .cookies, .get_json(),"
                " none of which is awaited."
            )
            return text, (AttributeError, TypeError)
        if first is None or means_request(first.name):
            return None
        if first.kind is Parameter.VAR_POSITIONAL:
            text = (
                f"{describe(self.name, self.signature)} got its arguments by their names, and no request: *args does"
                " not tell what is wanted. A wrapper tells it with @functools.wraps(...)."
            )
            return text, (TypeError, IndexError)
        if self.request is None or first.annotation is not Parameter.empty:
            return None
        text = (
            f"{first.name} was given the request, because no argument {first.name} came: send it as a field or"
            " in kwargs. (A parameter that is meant for the request is best called request.)"
        )
        return text, (object,)

    def _wanted(self, target: Parameter | None) -> dict[str, Wanted]:
        """What is to be converted, by the names of what came."""
        found: dict[str, Wanted] = {}
        own = {p.name for p in self.parameters}
        others = tuple(
            p.name
            for signature in (self.takes.hidden, self.signature)
            if signature is not None
            for p in signature.parameters.values()
            if p.kind is Parameter.VAR_KEYWORD
        )
        hidden = set(self.takes.hidden.parameters) if self.takes.hidden is not None else set()
        for name in self.names:
            known = target.name if name == LAST and target is not None else name
            for parameter in (known,) if known in own or known in hidden else others:
                if parameter in self.takes.wanted:
                    found[name] = self.takes.wanted[parameter]
                    break
        return found

    def _converting(self, wanted: dict[str, Wanted], call: Plan) -> Plan:
        steps = [(name, one.step()) for name, one in wanted.items()]
        several = [name for name, one in wanted.items() if one.many]

        def converted(function: Callable[..., Any], request: Any, kwargs: dict[str, Any]) -> Any:
            if several and (repeated := request._call.repeated):
                _gather(repeated, several, kwargs)
            misfits: list[str] | None = None
            for name, convert in steps:
                try:
                    kwargs[name] = convert(kwargs[name])
                except (Misfit, RecursionError) as error:
                    misfit = error if isinstance(error, Misfit) else Misfit("less", "what is nested too deeply")
                    about = misfit.about("the value without a name" if name == LAST else name)
                    misfits = [*(misfits or ()), about]
            if misfits:
                text = f"These arguments do not fit {describe(self.name, self.signature)}: {'; '.join(misfits)}."
                raise Refusal(400, "bad-arguments", _where(request, text))
            return call(function, request, kwargs)

        return converted

    def _depending(self, parameter: Parameter) -> Plan:
        wanted = self.takes.depends[parameter.name]
        its = getattr(wanted, "__name__", "the dependency")
        text = (
            f"{parameter.name} of {self.name} is what only FastAPI can make, Depends({its}): call {its}()"
            f" within {self.name}, with arguments that {self.name} takes."
        )

        def refuse(function: Callable[..., Any], request: Any, kwargs: dict[str, Any]) -> NoReturn:
            raise Refusal(400, "bad-arguments", text)

        return refuse

    def _by_name(self) -> set[str]:
        return {p.name for p in self.parameters if p.kind is not Parameter.POSITIONAL_ONLY}

    def _with(self, name: str) -> str:
        return f"..., {name}" if self.signature.parameters else name

    def _target(self) -> Parameter | None:
        """The parameter that the single value goes to if not to one of its own name."""
        if LAST not in self.given or any(p.name == LAST for p in self.parameters):
            return None
        free = [p for p in self.parameters if p.name not in self.given]
        required = [p for p in free if p.default is Parameter.empty]
        if required:
            return required[0] if len(required) == 1 else None
        if self.extras:
            return None
        if len(free) == 1:
            return free[0]
        if not free and self.request is not None and self._may_do_without():
            displaced, self.request = self.request, None
            self.parameters.insert(0, displaced)
            return displaced
        return None

    def _may_do_without(self) -> bool:
        """Whether the first parameter got the request only because nothing else was there for it."""
        first = self.request
        return (
            first is not None
            and first.name != "request"
            and first.annotation is Parameter.empty
            and first.kind is not Parameter.VAR_POSITIONAL
        )

    def _request_name(self) -> str:
        return self.request.name if self.request is not None else ""

    def _calling(self, target: Parameter | None) -> Plan:
        positional: list[object] = [_REQUEST] if self.request is not None else []
        waiting: list[object] = []
        for parameter in self.parameters:
            if parameter.kind is not Parameter.POSITIONAL_ONLY:
                continue
            if parameter is target:
                positional += [*waiting, _Take(LAST)]
            elif parameter.name in self.given:
                positional += [*waiting, _Take(parameter.name)]
            else:
                waiting.append(parameter.default)
                continue
            waiting = []
        by_name = target is not None and target.kind is not Parameter.POSITIONAL_ONLY
        if not by_name and positional in ([], [_REQUEST]):
            return request_first if positional else keywords_only

        def bound(function: Callable[..., Any], request: Any, kwargs: dict[str, Any]) -> Any:
            arguments = [
                request if source is _REQUEST else kwargs.pop(source) if type(source) is _Take else source
                for source in positional
            ]
            if by_name and target is not None:
                kwargs[target.name] = kwargs.pop(LAST)
            return function(*arguments, **kwargs)

        return bound

    def _refusing(self, missing: list[str], surplus: list[str]) -> Plan:
        text = f"These arguments do not fit {describe(self.name, self.signature)}:"
        what: list[str] = []
        if LAST in surplus:
            surplus.remove(LAST)
            free = any(p.name not in self.given for p in self.parameters)
            what.append(
                "which parameter the value without a name is meant for is not clear"
                if free
                else "a value without a name came, and no parameter is free for it"
            )
        if missing:
            what.append(f"missing: {', '.join(missing)}")
        if surplus:
            what.append(f"not taken: {', '.join(n if n.isidentifier() else repr(n) for n in surplus)}")
        text += f" {'; '.join(what)}."
        if "request" in missing:
            text += " The request is given to the first parameter, def run(request, ...)."
        if within := self._within(missing, surplus):
            text += within
        elif missing != ["request"] and missing:
            text += " Send each argument under its parameter's name, as a field or in kwargs."
        if not all(map(str.isidentifier, surplus)):
            text += (
                " A name with other signs may be what came after an & in a form or a query: curl --data-urlencode"
                " encodes that."
            )
        elif surplus and not missing and not self.extras:
            text += (
                f" A parameter of that name takes it, {self.name}({self._with(surplus[0])}), and **others takes what"
                " else comes; the request has it as well."
            )

        def refuse(function: Callable[..., Any], request: Any, kwargs: dict[str, Any]) -> NoReturn:
            raise Refusal(400, "bad-arguments", _where(request, text))

        return refuse

    def _within(self, missing: list[str], surplus: list[str]) -> str:
        """Where what FastAPI takes for the only object's own fields belongs."""
        wanted = self.takes.wanted.get(missing[0]) if len(missing) == 1 and surplus else None
        if wanted is None or not wanted.text.endswith("(a JSON object)"):
            return ""
        fields = ", ".join(f'"{name}": ...' for name in surplus[:3]) + (", ..." if len(surplus) > 3 else "")
        return f' What belongs to {missing[0]} is sent within it: {{"{missing[0]}": {{{fields}}}}}.'


#: What is not so where functions are published: there kwargs is a name like others.
_OF_KWARGS = (" or in kwargs", " (an expression in kwargs can)")


def _where(request: Any, text: str) -> str:
    """The text as it holds where the request came."""
    if request._call.published:
        for part in _OF_KWARGS:
            text = text.replace(part, "")
    return text


def _first(takes: Takes, parameters: list[Parameter]) -> Parameter | None:
    """The parameter that may be given the request. ``*args`` is none, but for what a wrapper hands on by it."""
    first = parameters[0] if parameters else None
    if first is not None and first.kind is Parameter.VAR_POSITIONAL and takes.hidden is not None:
        return next(iter(takes.hidden.parameters.values()), None)
    return first


def parameters_of(takes: Takes) -> list[Parameter]:
    """What callers may send: the parameters but for that which is given the request, and for ``*args``."""
    signature = takes.signature
    if signature is not None and takes.hidden is not None:
        signature = takes.hidden
    parameters = [] if signature is None else list(signature.parameters.values())
    first = parameters[0] if parameters else None
    if first is not None and first.kind in _POSITIONAL and _is_meant_for_request(first):
        parameters.pop(0)
    return [p for p in parameters if p.kind is not Parameter.VAR_POSITIONAL]


def _is_meant_for_request(first: Parameter) -> bool:
    """Whether a first parameter gets the request however it is called, or is called as if it should."""
    if first.name == "request":
        return True
    if first.default is not Parameter.empty or not _is_request(first.annotation):
        return False
    return first.annotation is not Parameter.empty or means_request(first.name)


def means_request(name: str) -> bool:
    """Whether a parameter's name says that it is for the request, or for nothing."""
    return name.startswith("_") or name.lower() in ("r", "rq", "req") or name.lower().endswith("request")


def _hinting(call: Plan, hint: str, kinds: tuple[type, ...]) -> Plan:
    def hinting(function: Callable[..., Any], request: Any, kwargs: dict[str, Any]) -> Any:
        request._hint = _where(request, hint)
        request._hint_for = kinds
        return call(function, request, kwargs)

    return hinting


def _filling(call: Plan, defaults: dict[str, Default]) -> Plan:
    def filling(function: Callable[..., Any], request: Any, kwargs: dict[str, Any]) -> Any:
        for name, make in defaults.items():
            if name not in kwargs:
                kwargs[name] = make()
        return call(function, request, kwargs)

    return filling


def _gather(repeated: dict[str, list[str]], names: list[str], kwargs: dict[str, Any]) -> None:
    """Puts all that came of repeated fields in place of the first."""
    for name in names:
        texts = repeated.get(name)
        if texts and kwargs[name] == texts[0]:
            kwargs[name] = texts


class _Take(str):
    """The name of a keyword argument to pass by position."""


_EITHER = Parameter.POSITIONAL_OR_KEYWORD
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_POSITIONAL = (Parameter.POSITIONAL_ONLY, _EITHER)


def _takes_request(first: Parameter, given: set[str]) -> bool:
    if first.kind not in _POSITIONAL:
        return False
    if first.name == "request":
        return True
    return first.default is Parameter.empty and first.name not in given and _is_request(first.annotation)


def _is_request(annotation: object) -> bool:
    """No annotation, or that of a request: Werkzeug's, Flask's, owt's, or text that names one."""
    if annotation is Parameter.empty:
        return True
    if isinstance(annotation, str):
        return annotation.strip("\"' ").rpartition(".")[2] == "Request"
    return isinstance(annotation, type) and issubclass(annotation, AnyRequest)


def _library(annotation: object) -> str:
    return str(getattr(annotation, "__module__", "")).partition(".")[0]


def describe(name: str, signature: Signature) -> str:
    """The signature as text, ``run(request, name)``, without notes of Annotated; short also where defaults are long."""
    try:
        text = _address.sub("", without_endpoint(f"{name}{unannotated(signature)}"))
    except Exception:  # a default's __repr__
        text = f"{name}({', '.join(signature.parameters)})"
    return text if len(text) <= 500 else f"{text[:500]}..."


#: Where Python shows of an object nothing else.
_address = re.compile(r" at 0x[0-9a-fA-F]+")
