"""From an annotation to what it wants: decided once for a signature, asked for every call."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import enum
import inspect
import numbers
import operator
import os
import types
import typing
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

import msgspec

from owt.asked import models, uploads
from owt.asked.annotations import annotations_of, stands_for
from owt.asked.containers import Either, Field, Fixed, Many, Record, Struct, Table, by_msgspec
from owt.asked.scalars import PLAIN, Bytes, Instance, Made, Member, Nothing, Number, OneOf, Str
from owt.asked.wanted import Misfit, Wanted, name_of, shown


def wanted_by(
    function: Callable[..., Any], signature: Signature, names: dict[str, Any], fields: dict[str, Any]
) -> dict[str, Wanted]:
    """What each annotated parameter of a function wants; names are the endpoint's, fields pydantic's of parameters.

    What no conversion is known for is left out: it gets what came, as it came.
    """
    annotations = annotations_of(function, signature, names)
    for name in fields.keys() & annotations.keys():
        annotations[name] = operator.getitem(typing.Annotated, (annotations[name], fields[name]))  # type: ignore[call-overload]
    found = {name: wanted(value) for name, value in annotations.items()}
    return {name: one for name, one in found.items() if one is not None}


def wanted(annotation: Any) -> Wanted | None:
    """What an annotation wants; None where that is whatever came."""
    try:
        return _Builder().build(annotation)
    except Exception:  # annotations may be anything, and fail in any way when looked at
        return None


class Checked(Wanted):
    """Annotated[..., msgspec.Meta(...)]: msgspec checks what has been made."""

    __slots__ = ("annotation", "below", "quick")

    def __init__(self, annotation: Any, below: Wanted) -> None:
        super().__init__(below.text, strict=annotation)
        self.annotation = annotation
        self.quick = by_msgspec(annotation)
        self.parts.append(below)
        self.below = below
        self.many = below.many
        self.file = below.file

    def __call__(self, value: Any) -> Any:
        return self.check(self.below(value), value)

    def argument(self, value: Any) -> Any:
        return self.check(self.below.argument(value), value)

    def check(self, made: Any, value: object) -> Any:
        try:
            return self.quick(made)
        except (msgspec.ValidationError, UnicodeError):
            pass
        try:
            return msgspec.convert(made, self.annotation)
        except (msgspec.ValidationError, UnicodeError) as error:  # in words that know of no box
            said = str(error).removeprefix("Expected ").replace("`", "")
            raise Misfit(said, shown(value)) from None


class _Builder:
    """records are those that are being built: types may refer to themselves."""

    def __init__(self) -> None:
        self.records: dict[Any, Record] = {}

    def build(self, annotation: Any) -> Wanted | None:
        annotation = _plain(annotation)
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            return self.annotated(annotation)
        if origin is typing.Union or isinstance(annotation, types.UnionType):
            return self.either(annotation)
        if origin is typing.Literal:
            values = typing.get_args(annotation)
            simple = all(type(value) in (int, str) for value in values)
            return OneOf(values, strict=annotation if simple else None)
        if annotation is None or (isinstance(annotation, type) and annotation in PLAIN):
            return PLAIN[annotation]()
        return self.generic(annotation, origin) if origin is not None else self.of_class(annotation)

    def annotated(self, annotation: Any) -> Wanted | None:
        base, *notes = typing.get_args(annotation)
        below = self.build(base)
        if any(models.is_pydantic(note) for note in notes):
            return models.Model(annotation, below, models.is_object(base))
        checks = [note for note in notes if isinstance(note, msgspec.Meta)]
        if below is None or not checks:
            return below
        checked: Any = operator.getitem(typing.Annotated, (base, *checks))  # type: ignore[call-overload]
        msgspec.json.Decoder(checked)  # where the check makes no sense: TypeError
        return Checked(checked, below)

    def either(self, annotation: Any) -> Wanted | None:
        members = [self.build(one) for one in typing.get_args(annotation)]
        known = [member for member in members if member is not None]
        if len(known) < len(members):
            return None
        rest = [member for member in known if not isinstance(member, Nothing)]
        return Either(_either_text(rest, len(rest) < len(known)), annotation, rest, len(rest) < len(known))

    def generic(self, annotation: Any, origin: Any) -> Wanted | None:
        arguments = typing.get_args(annotation)
        if origin is typing.IO:
            return self.of_class(typing.TextIO if arguments[0] is str else typing.BinaryIO)
        if origin is os.PathLike:
            return self.of_class(origin)
        if _is_array(origin):
            dtype = typing.get_args(arguments[1])[:1] if len(arguments) > 1 else ()
            return uploads.Array(annotation, dtype[0] if dtype and isinstance(dtype[0], type) else None)
        if models.is_pydantic(origin):
            return models.Model(annotation, None, models.is_object(origin))
        if origin is tuple:
            return self.of_tuple(annotation, arguments) if annotation is not typing.Tuple else self.of_class(tuple)  # noqa: UP006
        return self.container(annotation, origin, arguments) or self.of_class(origin)

    def of_tuple(self, annotation: Any, arguments: tuple[Any, ...]) -> Wanted:
        if len(arguments) == 2 and arguments[1] is ...:
            return Many(name_of(annotation), annotation, self.build(arguments[0]), tuple)
        return Fixed(name_of(annotation), annotation, [self.build(one) for one in arguments])

    def container(self, annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Wanted | None:
        parts = [self.build(one) for one in arguments]
        made: Wanted
        if origin in _MANY:
            make, same = _MANY[origin]
            made = Many(name_of(annotation), annotation, parts[0] if parts else None, make)
        elif origin in _TABLES:
            make, same = _TABLES[origin]
            key, item = parts if len(parts) == 2 else (None, None)
            made = Table(name_of(annotation), annotation, key, item, make)
        else:
            return None
        if not same:
            made.strict = None
        return made

    def of_class(self, kind: Any) -> Wanted | None:
        if isinstance(kind, types.ModuleType):  # from PIL import Image
            kind = getattr(kind, "Image", None) if kind.__name__ == "PIL.Image" else None
        if not isinstance(kind, type):
            return None
        if kind is tuple:
            return Many("tuple", tuple, None, tuple)
        for made in (self.container(kind, kind, ()), uploads.as_file(kind)):
            if made is not None:
                return made
        if _is_array(kind):
            return uploads.Array(kind, None)
        if (kind.__module__, kind.__qualname__) == ("PIL.Image", "Image"):
            return uploads.Image(kind)
        if models.is_pydantic(kind):
            return models.Model(kind, None, models.is_object(kind))
        return self.record(kind) or self.subclass(kind)

    def record(self, kind: type) -> Wanted | None:
        if kind in self.records:
            return self.records[kind]
        if issubclass(kind, msgspec.Struct) or hasattr(kind, "__attrs_attrs__"):
            return Struct(name_of(kind), kind)
        if typing.is_typeddict(kind):
            return self.fill(Record(name_of(kind), kind, dict), _typed_dict_fields(kind))
        if issubclass(kind, tuple) and hasattr(kind, "_fields"):
            defaults: dict[str, Any] = getattr(kind, "_field_defaults", {})
            return self.fill(
                Record(name_of(kind), kind, kind, ordered=True),
                {name: (_hints(kind).get(name), name not in defaults) for name in kind._fields},
            )
        if dataclasses.is_dataclass(kind):
            made = self.fill(Record(name_of(kind), kind, kind), _parameters(kind))
            if not kind.__dataclass_params__.init or any(  # type: ignore[attr-defined]
                isinstance(hint, dataclasses.InitVar) for hint in _hints(kind).values()
            ):
                made.strict = None
            return made
        return None

    def fill(self, record: Record, fields: dict[str, tuple[Any, bool]]) -> Record:
        self.records[record.kind] = record
        record.set_fields(
            {
                name: Field(None if hint is None else self.build(hint), required)
                for name, (hint, required) in fields.items()
            }
        )
        return record

    def subclass(self, kind: type) -> Wanted | None:
        if issubclass(kind, enum.Enum):
            return Member(kind) if kind.__members__ else Instance(kind)
        if kind in _ABSTRACT_NUMBERS:
            return self.build(_ABSTRACT_NUMBERS[kind])
        if issubclass(kind, numbers.Number):
            return Number(kind)
        if issubclass(kind, str):
            return Made(kind, Str())
        if issubclass(kind, bytes):
            return Made(kind, Bytes())
        for base in (list, set, frozenset, dict, tuple):
            if issubclass(kind, base):
                below = self.of_class(base)
                return None if below is None else Made(kind, below)
        return Instance(kind) if _is_concrete(kind) else None


def _plain(annotation: Any) -> Any:
    """The annotation without what says nothing of values: NewType, TypeVar, Required, type aliases."""
    while True:
        if isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, typing.TypeVar):
            annotation = annotation.__bound__ or typing.Any
        elif typing.get_origin(annotation) in _QUALIFIERS:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, dataclasses.InitVar):
            annotation = annotation.type
        elif (meant := stands_for(annotation)) is not None:
            annotation = meant
        else:
            return annotation


_QUALIFIERS = {typing.Required, typing.NotRequired, typing.Final, typing.ClassVar} | (
    {typing.ReadOnly} if hasattr(typing, "ReadOnly") else set()
)

#: What makes each of a list or dict (None: nothing does), and whether msgspec converts to it.
_MANY: dict[Any, tuple[Callable[[Any], Any] | None, bool]] = {
    list: (None, True),
    set: (set, True),
    frozenset: (frozenset, True),
    collections.deque: (collections.deque, False),
    collections.abc.Sequence: (None, True),
    collections.abc.MutableSequence: (None, True),
    collections.abc.Collection: (None, True),
    collections.abc.Set: (set, True),
    collections.abc.MutableSet: (set, True),
    collections.abc.Iterable: (None, False),
    collections.abc.Reversible: (None, False),
    collections.abc.Container: (None, False),
}
_TABLES: dict[Any, tuple[Callable[[Any], Any] | None, bool]] = {
    dict: (None, True),
    collections.abc.Mapping: (None, True),
    collections.abc.MutableMapping: (None, True),
    collections.OrderedDict: (collections.OrderedDict, False),
    collections.Counter: (collections.Counter, False),
    collections.defaultdict: (lambda made: collections.defaultdict(None, made), False),
}
_ABSTRACT_NUMBERS: dict[type, Any] = {
    numbers.Number: int | float | complex,
    numbers.Complex: int | float | complex,
    numbers.Real: int | float,
    numbers.Rational: int,
    numbers.Integral: int,
}


def _either_text(members: list[Wanted], none: bool) -> str:
    return " or ".join([*(member.text for member in members), *(["None"] if none else [])])


def _is_array(kind: Any) -> bool:
    return (getattr(kind, "__module__", ""), getattr(kind, "__qualname__", "")) == ("numpy", "ndarray")


def _is_concrete(kind: type) -> bool:
    """Whether instances are of the class, and not only like it."""
    abstract = kind.__module__ in ("builtins", "typing", "types", "abc", "collections.abc", "typing_extensions")
    return not abstract and not getattr(kind, "_is_protocol", False)


def _hints(kind: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:
        return {}  # nothing is known of its fields


def _typed_dict_fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    hints = _hints(kind)
    fields = {}
    for name in hints or sorted(kind.__required_keys__ | kind.__optional_keys__):
        hint = hints.get(name)
        says = typing.get_origin(hint)
        required = says is typing.Required or (says is not typing.NotRequired and name in kind.__required_keys__)
        fields[name] = (hint, required)
    return fields


def _parameters(kind: type) -> dict[str, tuple[Any, bool]]:
    """What a dataclass is made of, InitVar fields among them."""
    hints = _hints(kind)
    return {
        parameter.name: (hints.get(parameter.name), parameter.default is Parameter.empty)
        for parameter in inspect.signature(kind).parameters.values()
    }
