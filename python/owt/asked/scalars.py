"""Single values: numbers, texts, times, choices. Text becomes them as people write them in forms."""

from __future__ import annotations

import datetime
import decimal
import enum
import numbers
import operator
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
from werkzeug.datastructures import FileStorage

from owt.asked.wanted import Misfit, Wanted, content_of, name_of, shown, text_of

_BAD = (ValueError, TypeError, OverflowError, ArithmeticError)
#: What msgspec raises: for half of a surrogate pair, which JSON can spell, it is UnicodeError.
_MISFITS = (msgspec.ValidationError, UnicodeError)


class Scalar(Wanted):
    """Of a file, its text is taken."""

    __slots__ = ()

    def __call__(self, value: Any) -> Any:
        if isinstance(value, FileStorage):
            return self.from_text(text_of(value, self))
        if isinstance(value, str):
            return self.from_text(value)
        return self.from_value(value)

    def from_text(self, text: str) -> Any:
        raise self.misfit(text)

    def from_value(self, value: Any) -> Any:
        raise self.misfit(value)


class Nothing(Scalar):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("None", strict=type(None), same=(type(None),))

    def from_text(self, text: str) -> None:
        if text.strip() not in ("", "null", "None"):
            raise self.misfit(text)

    def from_value(self, value: Any) -> None:
        if value is not None:
            raise self.misfit(value)


class Int(Scalar):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("int (a whole number)", strict=int, same=(int,))

    def __call__(self, value: Any) -> Any:
        kind = type(value)
        if kind is int:
            return value
        if kind is str:
            try:
                return int(value)
            except ValueError:
                pass
        return super().__call__(value)

    def from_text(self, text: str) -> int:
        try:
            return int(text)
        except ValueError:
            pass
        try:  # 3.0, of a slider
            return msgspec.convert(text.strip(), int, strict=False)
        except _MISFITS:
            raise self.misfit(text) from None

    def from_value(self, value: Any) -> int:
        if isinstance(value, bool):
            raise self.misfit(value)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        try:  # NumPy's
            return operator.index(value)
        except TypeError:
            raise self.misfit(value) from None


class Float(Scalar):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("float (a number)", strict=float, same=(float,))

    def __call__(self, value: Any) -> Any:
        kind = type(value)
        if kind is float:
            return value
        if kind is str:
            try:
                return float(value)
            except ValueError:
                pass
        return super().__call__(value)

    def from_value(self, value: Any) -> float:
        if isinstance(value, bool) or not hasattr(type(value), "__float__"):
            raise self.misfit(value)
        try:
            return float(value)
        except _BAD:
            raise self.misfit(value) from None


class Bool(Scalar):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("bool (true or false, 1 or 0, yes or no, on or off)", strict=bool, same=(bool,))

    def __call__(self, value: Any) -> Any:
        if type(value) is str and (known := _WORDS.get(value)) is not None:
            return known
        return super().__call__(value)

    def from_text(self, text: str) -> bool:
        value = _WORDS.get(text)
        if value is None:
            value = _WORDS.get(text.strip().lower())
            if value is None:
                raise self.misfit(text)
        return value

    def from_value(self, value: Any) -> bool:
        if isinstance(value, bool) or (type(value) is int and value in (0, 1)):
            return bool(value)
        if type(value).__name__ in ("bool_", "bool") and type(value).__module__ == "numpy":
            return bool(value)
        raise self.misfit(value)


_WORDS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


class Str(Scalar):
    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("str (text)", strict=str, same=(str,))

    def __call__(self, value: Any) -> Any:
        return value if type(value) is str else super().__call__(value)

    def from_text(self, text: str) -> str:
        return text


class Bytes(Wanted):
    """A file's content; of a text, its UTF-8."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[bytes], Any] = bytes) -> None:
        super().__init__("bytes (a file, or text)", same=(make,) if isinstance(make, type) else ())
        self.make = make
        self.file = True

    def __call__(self, value: Any) -> Any:
        if isinstance(value, FileStorage):
            return self.make(content_of(value))
        if isinstance(value, str):
            try:
                return self.make(value.encode())
            except UnicodeEncodeError:
                raise self.misfit(value) from None
        if isinstance(value, bytes | bytearray | memoryview):
            return value if type(value) in self.same else self.make(bytes(value))
        raise self.misfit(value)


class Parsed(Scalar):
    """Values of one class, which read makes of text; others are taken as msgspec takes them."""

    __slots__ = ("kind", "read")

    def __init__(self, kind: type, read: Callable[[str], Any], hint: str) -> None:
        super().__init__(f"{kind.__name__} ({hint})", strict=kind, same=(kind,))
        self.kind = kind
        self.read = read

    def from_text(self, text: str) -> Any:
        text = text.strip()
        try:
            return self.read(text)
        except _BAD:
            return self.from_value(text)

    def from_value(self, value: Any) -> Any:
        if isinstance(value, self.kind):
            return value
        try:
            if isinstance(value, bool):
                raise self.misfit(value)
            return msgspec.convert(value, self.kind, strict=False)
        except _MISFITS:
            raise self.misfit(value) from None


#: By their classes, what is made anew for each annotation at no cost worth counting.
PLAIN: dict[Any, Callable[[], Wanted]] = {
    None: Nothing,
    type(None): Nothing,
    int: Int,
    float: Float,
    bool: Bool,
    str: Str,
    bytes: Bytes,
    bytearray: lambda: Bytes(bytearray),
    memoryview: lambda: Bytes(memoryview),
    decimal.Decimal: lambda: Parsed(decimal.Decimal, decimal.Decimal, "a number"),
    uuid.UUID: lambda: Parsed(uuid.UUID, uuid.UUID, "as 12345678-1234-5678-1234-567812345678"),
    datetime.datetime: lambda: Parsed(
        datetime.datetime, datetime.datetime.fromisoformat, "as 2024-12-31T23:59, or seconds since 1970"
    ),
    datetime.date: lambda: Parsed(datetime.date, datetime.date.fromisoformat, "as 2024-12-31"),
    datetime.time: lambda: Parsed(datetime.time, datetime.time.fromisoformat, "as 23:59"),
    datetime.timedelta: lambda: Parsed(datetime.timedelta, _no_text, "seconds, or as PT1H30M"),
}


def _no_text(text: str) -> Any:
    raise ValueError(text)


class Made(Wanted):
    """Instances of a subclass, made of what the class below it wants."""

    __slots__ = ("below", "kind")

    def __init__(self, kind: type, below: Wanted) -> None:
        super().__init__(f"{name_of(kind)}, made of {below.text}")
        self.kind = kind
        self.below = below
        self.many = below.many
        self.file = below.file

    def __call__(self, value: Any) -> Any:
        return value if isinstance(value, self.kind) else self.make(self.below, value)

    def argument(self, value: Any) -> Any:
        return value if isinstance(value, self.kind) else self.make(self.below.argument, value)

    def make(self, convert: Callable[[Any], Any], value: Any) -> Any:
        below = convert(value)
        try:
            return self.kind(below)
        except _BAD as error:
            raise Misfit(f"{name_of(self.kind)} ({error})", shown(value)) from None


class Number(Scalar):
    """Other classes of numbers: complex, Fraction, NumPy's."""

    __slots__ = ("kind",)

    def __init__(self, kind: Any) -> None:
        super().__init__(f"{name_of(kind)} (a number)")
        self.kind = kind

    def from_text(self, text: str) -> Any:
        return self.make(text.strip())

    def from_value(self, value: Any) -> Any:
        if isinstance(value, self.kind):
            return value
        if isinstance(value, bool) or not isinstance(value, numbers.Number):
            raise self.misfit(value)
        return self.make(value)

    def make(self, value: Any) -> Any:
        try:
            if issubclass(self.kind, numbers.Integral):
                return self.kind(_int(value))
            return self.kind(value)
        except _BAD:
            raise self.misfit(value) from None


_int = Int()


class OneOf(Scalar):
    """Literal: one of some values, each known by its text."""

    __slots__ = ("texts", "values")

    def __init__(self, values: tuple[Any, ...], text: str = "", strict: Any = None) -> None:
        super().__init__(text or f"one of {', '.join(shown(value) for value in values)}", strict=strict)
        self.values = values
        self.texts: dict[str, Any] = {}
        for value in values:
            self.texts.setdefault(value.name if isinstance(value, enum.Enum) else str(value), value)

    def from_text(self, text: str) -> Any:
        if text in self.texts:
            return self.texts[text]
        for value in self.values:
            if isinstance(value, bool | None):
                try:
                    if (Bool() if isinstance(value, bool) else Nothing())(text) is value:
                        return value
                except Misfit:
                    continue
        if text != text.strip():
            return self.from_text(text.strip())
        raise self.misfit(text)

    def from_value(self, value: Any) -> Any:
        for one in self.values:
            if type(one) is type(value) and one == value:
                return one
        raise self.misfit(value)


class Member(Scalar):
    """An Enum's member, by its value, else by its name."""

    __slots__ = ("kind", "texts")

    def __init__(self, kind: type[enum.Enum]) -> None:
        members: list[enum.Enum] = list(kind)
        few = ", ".join(shown(member.value) for member in members[:20])
        kinds = {type(member.value) for member in members}
        super().__init__(
            f"one of {few}{', ...' if len(members) > 20 else ''} ({name_of(kind)})",
            strict=kind if kinds in ({int}, {str}) and not issubclass(kind, enum.Flag) else None,
        )
        self.kind = kind
        self.texts = {name: member for name, member in kind.__members__.items()}
        self.texts |= {str(member.value): member for member in reversed(members)}

    def from_text(self, text: str) -> Any:
        for form in (text, text.strip()):
            if form in self.texts:
                return self.texts[form]
        try:
            return self.from_value(text)  # as _missing_() has it
        except Misfit:
            pass
        try:
            return self.from_value(int(text))  # flags together
        except _BAD:
            raise self.misfit(text) from None
        except Misfit:
            raise self.misfit(text) from None

    def from_value(self, value: Any) -> Any:
        if isinstance(value, self.kind):
            return value
        try:
            if not isinstance(value, bool) or any(member.value is value for member in self.kind):
                return self.kind(value)
        except _BAD:
            pass
        if isinstance(value, list):  # JSON has no tuples
            for member in self.kind:
                if isinstance(member.value, tuple) and list(member.value) == value:
                    return member
        raise self.misfit(value)


class Instance(Wanted):
    """What only an instance can be: nothing that came as text or JSON."""

    __slots__ = ("kind",)

    def __init__(self, kind: type) -> None:
        name = name_of(kind)
        super().__init__(
            f"an instance of {name}, which text and JSON cannot be (an expression in kwargs can): take what it is"
            " made of, as Path, bytes, str, list or dict, and make it in the function"
        )
        self.kind = kind

    def __call__(self, value: Any) -> Any:
        if isinstance(value, self.kind):
            return value
        raise self.misfit(value)
