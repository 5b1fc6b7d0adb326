"""How a call's keyword arguments fit a function, decided once for each set of names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any, NoReturn

from werkzeug.sansio.request import Request as AnyRequest

from owt.process.refusal import Refusal

#: The keyword that stands for a single value without a name.
LAST = "__last__"

#: Calls function with the request, if it takes it, and with the keyword arguments, which it may
#: change. Raises Refusal (400) where these do not fit.
Plan = Callable[[Callable[..., Any], Any, dict[str, Any]], Any]

_REQUEST = object()
_Parameters = list[Parameter]


def signature_of(function: Callable[..., Any]) -> Signature | None:
    """The signature as ``inspect`` finds it; None if there is none to be found."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return None


def plan(signature: Signature | None, name: str, names: tuple[str, ...]) -> Plan:
    """The plan for calling a function with this signature, known to clients by name, with these keywords."""
    if signature is None:
        return keywords_only
    return _Binder(signature, name, names).plan()


def request_first(function: Callable[..., Any], request: Any, kwargs: dict[str, Any]) -> Any:
    """The plan for ``run(request, **kwargs)``."""
    return function(request, **kwargs)


def keywords_only(function: Callable[..., Any], request: Any, kwargs: dict[str, Any]) -> Any:
    """The plan for ``run(**kwargs)``."""
    return function(**kwargs)


class _Binder:
    def __init__(self, signature: Signature, name: str, names: tuple[str, ...]) -> None:
        self.signature = signature
        self.name = name
        self.given = set(names)
        parameters = list(signature.parameters.values())
        self.extras = any(p.kind is Parameter.VAR_KEYWORD for p in parameters)
        self.request: Parameter | None = None
        if parameters and _takes_request(parameters[0], self.given):
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
        if missing or surplus:
            return self._refusing(missing, surplus)
        return self._calling(target)

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
            what.append(f"not taken: {', '.join(surplus)}")
        text += f" {'; '.join(what)}."
        if missing:
            text += " Send each argument under its parameter's name, as a field or in kwargs."

        def refuse(function: Callable[..., Any], request: Any, kwargs: dict[str, Any]) -> NoReturn:
            raise Refusal(400, "bad-arguments", text)

        return refuse


class _Take(str):
    """The name of a keyword argument to pass by position."""


_EITHER = Parameter.POSITIONAL_OR_KEYWORD
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_POSITIONAL = (Parameter.POSITIONAL_ONLY, _EITHER, Parameter.VAR_POSITIONAL)


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


def describe(name: str, signature: Signature) -> str:
    """The signature as text, ``run(request, name)``; short also where defaults are long."""
    try:
        text = f"{name}{signature}"
    except Exception:  # a default's __repr__
        text = f"{name}({', '.join(signature.parameters)})"
    return text if len(text) <= 500 else f"{text[:500]}..."
