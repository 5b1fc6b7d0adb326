"""What a function says about its parameters: annotations as objects, those that are text too."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import Parameter, Signature
from typing import Any


def signature_of(function: Callable[..., Any]) -> Signature | None:
    """The signature as ``inspect`` finds it; None if there is none to be found."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return None
    except Exception:  # from 3.14 on, what an annotation raises
        return _signature_as_written(function)


def _signature_as_written(function: Callable[..., Any]) -> Signature | None:
    if sys.version_info < (3, 14):
        return None
    try:
        forward = import_module("annotationlib").Format.FORWARDREF
        return inspect.signature(function, annotation_format=forward)
    except Exception:
        return None


#: Makes a parameter's default anew for each call.
Default = Callable[[], Any]


def fields_of(signature: Signature) -> tuple[Signature, dict[str, Any], dict[str, Default]]:
    """What defaults say that are pydantic's Field(...), or FastAPI's Query, Form, File, Body.

    The signature with the defaults that they mean; by the parameter's name the fields that have constraints, and what
    makes their defaults.
    """
    kind = getattr(sys.modules.get("pydantic.fields"), "FieldInfo", None)
    found = [p for p in signature.parameters.values() if kind is not None and isinstance(p.default, kind)]
    if not found:
        return signature, {}, {}
    parameters, fields, defaults = dict(signature.parameters), {}, {}
    for parameter in found:
        field: Any = parameter.default
        default = field.default
        if field.default_factory is not None:
            defaults[parameter.name], default = field.default_factory, ...
            shown: Any = parameter.default
        elif default is ... or type(default).__name__ in _UNDEFINED:
            shown = Parameter.empty
        else:
            defaults[parameter.name], shown = (lambda made=default: made), default
        parameters[parameter.name] = parameter.replace(default=shown)
        if is_constraint(field):
            fields[parameter.name] = _without_default(field)
    # In any order: for FastAPI parameters with a default may come before those without.
    made = Signature(
        list(parameters.values()),
        return_annotation=signature.return_annotation,
        __validate_parameters__=False,
    )
    return made, fields, defaults


_UNDEFINED = ("UndefinedType", "PydanticUndefinedType")


def is_constraint(field: Any) -> bool:
    """Whether one of pydantic's fields says more of a value than a default and words."""
    old = getattr(field, "get_constraints", None)
    return bool(old() if old is not None else field.metadata)


def _without_default(field: Any) -> Any:
    """In Annotated a field must not have one."""
    made = copy.copy(field)
    undefined = getattr(sys.modules["pydantic.fields"], "Undefined", None)
    made.default = undefined if undefined is not None else sys.modules["pydantic_core"].PydanticUndefined
    made.default_factory = None
    return made


def annotations_of(function: Callable[..., Any], signature: Signature, names: dict[str, Any]) -> dict[str, Any]:
    """Each annotated parameter's annotation. That of ``**kwargs`` is there under its own name.

    One that is text is evaluated where the function was defined, else in names, the endpoint's. What
    cannot be resolved is left out.
    """
    written = {
        parameter.name: parameter.annotation
        for parameter in signature.parameters.values()
        if parameter.annotation is not Parameter.empty and parameter.kind is not Parameter.VAR_POSITIONAL
    }
    if not written:
        return written
    home = getattr(_innermost(function), "__globals__", names)
    resolved = {name: _resolve(annotation, home, names) for name, annotation in written.items()}
    return {name: annotation for name, annotation in resolved.items() if annotation is not Parameter.empty}


def dependencies_of(function: Callable[..., Any], signature: Signature, names: dict[str, Any]) -> dict[str, Any]:
    """By the parameters' names what FastAPI would call for them: Depends(...), as a default or in Annotated."""
    if "fastapi.params" not in sys.modules:
        return {}
    found: dict[str, Any] = {}
    annotations = annotations_of(function, signature, names)
    for parameter in signature.parameters.values():
        notes = getattr(annotations.get(parameter.name), "__metadata__", ())
        for note in (parameter.default, *notes):
            if type(note).__module__ == "fastapi.params" and type(note).__name__ in ("Depends", "Security"):
                found[parameter.name] = getattr(note, "dependency", None)
    return found


def unannotated(signature: Signature) -> Signature:
    """The signature for people to read: of ``Annotated`` the type alone, and text as it was written."""
    parameters = [one.replace(annotation=_Bare.of(one.annotation)) for one in signature.parameters.values()]
    returned = _Bare.of(signature.return_annotation)
    return Signature(parameters, return_annotation=returned, __validate_parameters__=False)


class _Bare:
    """What stands for an annotation in a signature that is shown."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    @classmethod
    def of(cls, annotation: Any) -> Any:
        if annotation is Parameter.empty:
            return annotation
        if isinstance(annotation, str):
            return cls(_without_notes(annotation))
        if typing.get_origin(annotation) is typing.Annotated:
            return cls(inspect.formatannotation(typing.get_args(annotation)[0]))
        return annotation


def _without_notes(text: str) -> str:
    """An annotation that is text, without what Annotated adds."""
    if "Annotated[" not in text:
        return text
    try:
        return ast.unparse(_Notes().visit(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError):
        return text


class _Notes(ast.NodeTransformer):
    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        name = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        return node.slice.elts[0] if name == "Annotated" and isinstance(node.slice, ast.Tuple) else node


def returned_by(function: Callable[..., Any], signature: Signature, names: dict[str, Any]) -> Any:
    """The annotation of what a function returns, as those of its parameters; Parameter.empty if there is none."""
    if signature.return_annotation is Signature.empty:
        return Parameter.empty
    return _resolve(signature.return_annotation, getattr(_innermost(function), "__globals__", names), names)


def _resolve(annotation: Any, home: dict[str, Any], names: dict[str, Any]) -> Any:
    def holder() -> None: ...

    for scope in (home, names):
        holder.__annotations__ = {"_": annotation}
        try:
            return typing.get_type_hints(holder, scope, include_extras=True)["_"]
        except Exception:  # whatever evaluating text may raise
            continue
    return Parameter.empty


def _innermost(function: Any) -> Any:
    """What was defined with ``def``, below decorators, partial(), methods and classes."""
    for _ in range(100):
        if isinstance(function, functools.partial | functools.partialmethod):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif isinstance(function, type):
            made = (getattr(function, name) for name in ("__init__", "__new__"))
            function = next((f for f in made if hasattr(f, "__globals__")), None)
        elif not isinstance(function, types.FunctionType) and isinstance(_call_of(function), types.FunctionType):
            function = _call_of(function)
        else:
            break
    return function


def _call_of(instance: object) -> object:
    return getattr(type(instance), "__call__", None)  # noqa: B004 - which it is, not whether there is one


def hidden_by(function: Callable[..., Any], signature: Signature) -> Callable[..., Any] | None:
    """What a wrapper that takes ``*args`` and says nothing of what it wraps (no functools.wraps) most likely calls.

    That is the one function in its closure, or among the attributes of a callable object. None where
    there is none, or more than one.
    """
    first = next(iter(signature.parameters.values()), None)
    if first is None or first.kind is not Parameter.VAR_POSITIONAL:
        return None
    found = {id(value): value for value in _within(function) if _is_function(value)}
    return next(iter(found.values())) if len(found) == 1 else None


def _within(function: Any) -> Iterator[Any]:
    function = getattr(function, "__func__", function)
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # nothing is in it yet
            continue
    if not isinstance(function, type | types.FunctionType):
        yield from getattr(function, "__dict__", {}).values()


def _is_function(value: object) -> bool:
    return isinstance(value, types.FunctionType | types.MethodType | functools.partial)


def stands_for(annotation: Any) -> Any:
    """What a type alias stands for, with the arguments that it was given; None for what is none."""
    if type(annotation).__name__ == "TypeAliasType":
        return annotation.__value__
    alias: Any = typing.get_origin(annotation)
    if type(alias).__name__ != "TypeAliasType":
        return None
    if not all(isinstance(one, typing.TypeVar) for one in alias.__type_params__):
        return typing.Any  # one of them stands for several types
    value = alias.__value__
    given = dict(zip(alias.__type_params__, typing.get_args(annotation), strict=False))
    if value in alias.__type_params__:
        return given.get(value, value)
    parameters = getattr(value, "__parameters__", ())
    return value[tuple(given.get(one, one) for one in parameters)] if parameters else value
