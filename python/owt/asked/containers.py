"""Lists, tuples, sets, dicts and what is put together of them, down to their items.

A repeated field comes as a list. What comes alone where a list is wanted is a list of one; text is
read as JSON. Where msgspec means the same, it converts all at once; what it does not take is gone
through item by item, which forgives more and knows what to say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from werkzeug.datastructures import FileStorage

from owt.asked.wanted import Misfit, Wanted, is_blank, read_json, shown, text_of


class Container(Wanted):
    """quick is how msgspec does it, if it does: decided when first used, since types may refer to themselves."""

    __slots__ = ("annotation", "decided", "quick")

    def __init__(self, text: str, annotation: Any, parts: list[Wanted | None]) -> None:
        super().__init__(text)
        self.annotation = annotation
        self.parts = parts
        self.quick: Callable[[Any], Any] | None = None
        self.decided = False
        self.strict = annotation

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str | FileStorage):
            value = self.read(value)
        if not self.decided:
            if _means_the_same(self):
                self.quick = by_msgspec(self.annotation)
            self.decided = True
        if self.quick is not None:
            try:
                return self.quick(value)
            except Exception:  # besides its ValidationError whatever it meets in what is no JSON
                pass
        return self.walk(value)

    def read(self, value: str | FileStorage) -> Any:
        """What a text or a file says as JSON."""
        if isinstance(value, FileStorage):
            if self.file:
                raise self.misfit(value)
            value = text_of(value, self)
        return read_json(value, self)

    def walk(self, value: Any) -> Any:
        """What is in the value, converted one by one. Not called with text."""
        raise NotImplementedError

    def listed(self, value: Any) -> list[Any]:
        """The items of what has some."""
        if _is_many(value):
            with contextlib.suppress(TypeError):  # an array of no dimension says so only now
                return list(value)
        raise self.misfit(value)


def by_msgspec(annotation: Any) -> Callable[[Any], Any]:
    """What converts to the annotation, strictly. msgspec looks at one anew each time, but knows its structs."""
    box: Any = msgspec.defstruct("Argument", [("value", annotation)], array_like=True)
    convert = msgspec.convert
    return lambda value: convert((value,), box).value


def _means_the_same(wanted: Container) -> bool:
    """Whether msgspec converts to the annotation, and all within it, as is done here."""
    seen: set[int] = set()
    waiting: list[Wanted | None] = [wanted]
    while waiting:
        part = waiting.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        if part.strict is None:
            return False
        waiting += part.parts
    try:
        msgspec.json.Decoder(wanted.annotation)
    except Exception:  # it knows no such type
        return False
    return True


def convert(wanted: Wanted | None, value: Any, step: str) -> Any:
    """An item as wanted; step leads to it."""
    if wanted is None or type(value) in wanted.same:
        return value
    try:
        return wanted(value)
    except Misfit as misfit:
        raise misfit.inside(step) from None


class Many(Container):
    """list, set, frozenset, deque, tuple[X, ...] and their abstract kin; make makes it of a list."""

    __slots__ = ("item", "make")

    def __init__(
        self, text: str, annotation: Any, item: Wanted | None, make: Callable[[list[Any]], Any] | None
    ) -> None:
        super().__init__(text, annotation, [item])
        self.item = item
        self.make = make
        self.many = True
        self.file = item is None or item.file

    def argument(self, value: Any) -> Any:
        if type(value) is list and not self.file:
            return self(value)
        if isinstance(value, FileStorage):
            if is_blank(value):
                return self.walk([])
            if self.file:
                return self.walk([value])
            value = text_of(value, self)
        if isinstance(value, str):
            if value.lstrip().startswith("["):
                try:
                    read = read_json(value, self)
                except Misfit:
                    read = None
                if isinstance(read, list):
                    return self(read)
            return self.one(value)
        if isinstance(value, list):
            return self([item for item in value if not is_blank(item)] if self.file else value)
        return self(value) if _is_many(value) else self.one(value)

    def one(self, value: Any) -> Any:
        """A list of one."""
        try:
            return self.made([convert(self.item, value, "[0]")], value)
        except Misfit as misfit:
            if isinstance(value, str) and "," in value and not misfit.where.strip("[0]"):
                raise Misfit(f"{misfit.wants}, {_HOW_MANY}", misfit.came, misfit.where) from None
            raise

    def walk(self, value: Any) -> Any:
        item = self.item
        values = self.listed(value)
        if item is None:
            return self.made(values, value)
        return self.made([convert(item, one, f"[{index}]") for index, one in enumerate(values)], value)

    def made(self, items: list[Any], value: object) -> Any:
        if self.make is None:
            return items
        try:
            return self.make(items)
        except (TypeError, ValueError) as error:  # unhashable
            raise Misfit(f"{self.text} ({error})", shown(value)) from None


_HOW_MANY = "several as so many fields or as a JSON array"


def _is_many(value: object) -> bool:
    if type(value) is list:
        return True
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | bytearray | Mapping | FileStorage)


class Fixed(Container):
    """tuple[X, Y]: so many items, each of its type."""

    __slots__ = ()

    def __init__(self, text: str, annotation: Any, items: list[Wanted | None]) -> None:
        super().__init__(f"{text} ({_HOW_MANY})", annotation, items)
        self.many = True
        self.file = any(item is None or item.file for item in items)

    def argument(self, value: Any) -> Any:
        alone = not _is_many(value) and not (isinstance(value, str) and value.lstrip().startswith("["))
        return self.walk([value]) if alone and len(self.parts) == 1 else self(value)

    def walk(self, value: Any) -> Any:
        values = self.listed(value)
        if len(values) != len(self.parts):
            raise Misfit(f"{self.text}: {len(self.parts)} items", f"{len(values)}")
        return tuple(
            convert(item, one, f"[{index}]") for index, (item, one) in enumerate(zip(self.parts, values, strict=True))
        )


class Table(Container):
    """dict and its kin; make makes it of a dict."""

    __slots__ = ("item", "key", "make")

    def __init__(
        self,
        text: str,
        annotation: Any,
        key: Wanted | None,
        item: Wanted | None,
        make: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__(f"{text} (a JSON object)", annotation, [key, item])
        self.key = key
        self.item = item
        self.make = make

    def walk(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise self.misfit(value)
        made = {
            convert(self.key, key, f"[{shown(key)}]"): convert(self.item, item, f"[{shown(key)}]")
            for key, item in value.items()
        }
        return made if self.make is None else self.make(made)


class Field:
    """A field of a record: what it wants, and whether it may be left out."""

    __slots__ = ("required", "wanted")

    def __init__(self, wanted: Wanted | None, required: bool) -> None:
        self.wanted = wanted
        self.required = required


class Record(Container):
    """dataclass, TypedDict, NamedTuple: fields by name, which make takes. Others that come are left out.

    A NamedTuple may come as a JSON array too.
    """

    __slots__ = ("fields", "kind", "make", "ordered")

    def __init__(self, text: str, kind: type, make: Callable[..., Any], ordered: bool = False) -> None:
        super().__init__(f"{text} (a JSON object)", kind, [])
        self.kind = kind
        self.make = make
        self.ordered = ordered
        self.fields: dict[str, Field] = {}
        if make is not dict:
            self.same = (kind,)

    def set_fields(self, fields: dict[str, Field]) -> None:
        """Fields are known last: they may be of the record's own type."""
        self.fields = fields
        self.parts += [field.wanted for field in fields.values()]

    def __call__(self, value: Any) -> Any:
        return value if type(value) in self.same or self.is_one(value) else super().__call__(value)

    def is_one(self, value: Any) -> bool:
        return self.make is not dict and isinstance(value, self.kind)

    def walk(self, value: Any) -> Any:
        if self.ordered and isinstance(value, list | tuple) and len(value) <= len(self.fields):
            value = dict(zip(self.fields, value, strict=False))
        if not isinstance(value, Mapping):
            raise self.misfit(value)
        values = {}
        for name, field in self.fields.items():
            if name in value:
                values[name] = convert(field.wanted, value[name], f".{name}")
            elif field.required:
                raise Misfit(field.wanted.text if field.wanted else "a value", "nothing", f".{name}")
        try:
            return self.make(**values)
        except (ValueError, TypeError) as error:  # what __post_init__ checks
            raise Misfit(f"{self.text} ({error})", shown(value)) from None


class Struct(Wanted):
    """msgspec's own structs, and attrs' classes, which it knows."""

    __slots__ = ("kind",)

    def __init__(self, text: str, kind: type) -> None:
        super().__init__(f"{text} (a JSON object)", strict=kind, same=(kind,))
        self.kind = kind

    def __call__(self, value: Any) -> Any:
        if isinstance(value, FileStorage):
            value = text_of(value, self)
        if isinstance(value, str):
            value = read_json(value, self)
        try:
            return msgspec.convert(value, self.kind, strict=False)
        except (msgspec.ValidationError, UnicodeError, TypeError, AttributeError) as error:
            raise Misfit(f"{self.text} ({error})", shown(value)) from None


class Either(Wanted):
    """A union. What is of one of its types already is taken as it is; else the first that can be made.

    An empty text, and a file field that nobody filled in, is None where None is allowed and text is not.
    """

    __slots__ = ("kinds", "members", "none", "only")

    def __init__(self, text: str, annotation: Any, members: list[Wanted], none: bool) -> None:
        super().__init__(text, strict=annotation)
        self.members = members
        self.parts += members
        self.none = none
        self.kinds = frozenset(kind for member in members for kind in member.same)
        self.same = (*self.kinds, type(None)) if none else tuple(self.kinds)
        self.many = any(member.many for member in members)
        self.file = any(member.file for member in members)
        self.only = members[0] if len(members) == 1 else None

    def __call__(self, value: Any) -> Any:
        return self.first(value, whole=False)

    def argument(self, value: Any) -> Any:
        if self.only is not None and value and type(value) is str:
            try:
                return self.only(value)
            except Misfit:
                pass
        return self.first(value, whole=True)

    def first(self, value: Any, whole: bool) -> Any:
        if type(value) in self.kinds:
            return value
        members = self.members
        if isinstance(value, str):
            if self.none and value == "":
                return None
        elif value is None:
            if self.none:
                return None
        elif isinstance(value, FileStorage):
            if self.none and is_blank(value):
                return None
            members = sorted(members, key=lambda member: not member.file)
        misfits = []
        for member in members:
            try:
                return member(value)
            except Misfit as misfit:
                misfits.append(misfit)
        if whole and self.many:
            for member in members:
                if member.many:
                    try:
                        return member.argument(value)
                    except Misfit as misfit:
                        misfits.append(misfit)
        if self.none and isinstance(value, str) and value.strip() in ("", "null", "None"):
            return None
        deepest = max(misfits, key=lambda misfit: len(misfit.where))
        if deepest.where:
            raise deepest
        if self.only is not None and misfits[0].wants != self.only.text:
            raise misfits[0]  # it says why
        raise self.misfit(value)
