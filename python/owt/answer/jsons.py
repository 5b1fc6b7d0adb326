"""Values as JSON (RFC 8259): compact, in their own order, what is not a number as null.

Almost every answer is made by Python's own encoder in C, with a step for what it does not know. What it refuses is
walked through here, item by item: that finds NaN, keys that are no text, and where the trouble is.
"""

from __future__ import annotations

import inspect
import json
import reprlib
from contextlib import suppress
from enum import Enum
from math import isfinite
from typing import Any, NoReturn

from owt.answer.cannot import CannotSend, Path, instead, named
from owt.answer.plain import Fields, NoJson, is_iterator, plain


def dumps(value: object, said: str = "run returned") -> str:
    """Compact JSON in ASCII, ended by a newline. said is what errors begin with.

    Raises CannotSend for what has no JSON, and whatever making JSON of an object raises.
    """
    try:
        return _encode(value) + "\n"
    except MemoryError:
        raise
    except Exception:
        pass  # the walk tells what is wrong, if anything is
    return _encode(simple(value, said)) + "\n"


def simple(value: object, said: str) -> object:
    """The same value as json.dumps takes it: dict, list, str, numbers, true, false and None. Raises as dumps does."""
    return _Walk(value, said).result()


def _default(value: object) -> object:
    if is_iterator(value):  # can be read once, by the walk
        raise NoJson
    return plain(value)


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":"), default=_default).encode


class _Walk:
    """Makes of a value what the encoder takes, or finds what has no JSON."""

    def __init__(self, value: object, said: str) -> None:
        self.value = value
        self.said = said
        self.path = Path()
        #: By identity: what is being walked through, and where that is.
        self.inside: dict[int, int] = {}

    def result(self) -> object:
        try:
            return self._walk(self.value)
        except RecursionError:
            raise CannotSend(
                f"{self._what()}: {self.path.text()} is nested more deeply than Python can follow"
            ) from None

    def _walk(self, value: Any) -> Any:
        # One frame for each level, so that this goes as deep as the encoder does.
        if value is None or isinstance(value, str | bool):
            return value
        if isinstance(value, float):
            return value if isfinite(value) else None
        if isinstance(value, int):
            return value if -_EXACT < value < _EXACT else self._big(value)
        where = self.inside.setdefault(id(value), len(self.path))
        if where != len(self.path):
            self._fail(f"is {self.path.text(where)} again: JSON cannot hold what holds itself")
        if isinstance(value, dict):
            items: dict[Any, Any] = {}
            is_object = isinstance(value, Fields)
            for key, item in list(value.items()):
                self.path.enter(key, is_object)
                items[key if type(key) is str else self._key(key)] = self._walk(item)
                self.path.leave()
            made: Any = items
        elif isinstance(value, list | tuple):
            made = []
            for number, item in enumerate(value):
                if type(item) is float:  # of which there may be millions
                    made.append(item if isfinite(item) else None)
                    continue
                self.path.enter(number)
                made.append(self._walk(item))
                self.path.leave()
        else:
            nearer = self._nearer(value)
            if nearer is value:
                self._refuse(value)
            made = self._walk(nearer)
        self.inside.pop(id(value), None)
        return made

    def _nearer(self, value: object) -> object:
        try:
            return plain(value)
        except NoJson:
            self._refuse(value)
        except RecursionError:
            raise
        except Exception as error:
            error.add_note(f"while JSON was made of {self.path.text()}")
            raise

    def _big(self, value: int) -> int:
        try:
            str(value)
        except ValueError:
            self._fail("is an int of more digits than Python writes: hex(...) is text, and so is what"
                       " sys.set_int_max_str_digits() allows")  # fmt: skip
        return value

    def _key(self, key: Any) -> Any:
        """A key as text, or as what json.dumps spells itself."""
        made = key
        if isinstance(key, Enum) or not isinstance(key, _KEYS):
            with suppress(NoJson):
                made = plain(key)
        if isinstance(made, float) and not isfinite(made):
            return json.dumps(made)
        if isinstance(made, _KEYS):
            return made
        self.path.leave()
        self._fail(
            f"has the key {reprlib.repr(key)}, {named(key)}, and keys of JSON are text: make text of it,"
            " as ','.join(map(str, key)), or return a list of pairs"
        )

    def _refuse(self, value: object) -> NoReturn:
        if inspect.iscoroutine(value):
            value.close()  # it has been told what happens to it
        if not self.path:
            raise CannotSend(f"{self.said} {named(value)}, which cannot be sent: {instead(value)}")
        self._fail(f"is {named(value)}: {instead(value, within_json=True)}")

    def _fail(self, what: str) -> NoReturn:
        raise CannotSend(f"{self._what()}: {self.path.text()} {what}")

    def _what(self) -> str:
        return f"{self.said} {named(self.value)} that cannot be made JSON"


_KEYS = (str, int, float, type(None))
#: No int below needs a look at its number of digits.
_EXACT = 1 << 1000
