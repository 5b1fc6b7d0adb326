"""One step from an object towards what JSON knows: objects, arrays, text, numbers, true, false, null.

Libraries that nobody has imported are not imported for this: what they make cannot be there.
"""

from __future__ import annotations

import dataclasses
import json
import numbers
import os
import sys
from array import array
from collections import UserString, deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set, ValuesView
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from math import isfinite
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from owt.answer import tables
from owt.answer.cannot import library


class NoJson(TypeError):
    """There is no JSON for this value."""


class Fields(dict[str, Any]):
    """What an object holds, by the names of its attributes."""


def plain(value: Any) -> Any:
    """What stands for value in JSON, or is nearer to that. NoJson where nothing does.

    Not for what JSON has already: str, int, float, bool, None, dict, list, tuple. An iterator is used up.
    """
    kind = type(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, type | bytes | bytearray | memoryview):
        raise NoJson
    if hasattr(kind, "__json__"):
        return value.__json__()
    for base in kind.__mro__:
        make = _BY_TYPE.get(base) or _BY_LIBRARY.get(library(base))
        made = NotImplemented if make is None else make(value)
        if made is not NotImplemented:
            return made
    if dataclasses.is_dataclass(value):
        return _fields(value, [field.name for field in dataclasses.fields(value)])
    if hasattr(kind, "__attrs_attrs__"):
        return _fields(value, [attribute.name for attribute in kind.__attrs_attrs__])
    if hasattr(kind, "_repr_json_"):
        made = value._repr_json_()
        return made[0] if type(made) is tuple else made  # with metadata
    if hasattr(kind, "__html__"):
        return str(value.__html__())
    return _by_protocol(value, kind)


def _by_protocol(value: Any, kind: type) -> Any:
    if isinstance(value, Mapping) or (callable(getattr(kind, "keys", None)) and hasattr(kind, "__getitem__")):
        return dict(value)
    if isinstance(value, Set | Sequence | ValuesView):
        return list(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, numbers.Integral) or (hasattr(kind, "__index__") and not hasattr(kind, "shape")):
        return int(value)
    if isinstance(value, numbers.Rational):
        return str(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if hasattr(kind, "tolist"):
        return value.tolist()
    if hasattr(kind, "__array__") and "numpy" in sys.modules:
        return _array(sys.modules["numpy"].asarray(value))
    if is_iterator(value):
        return [item for item in value]
    raise NoJson


def is_iterator(value: object) -> bool:
    """Whether value can be read once only, and is no file."""
    return isinstance(value, Iterator) and not hasattr(type(value), "readable")


def _fields(value: object, names: list[str]) -> Fields:
    return Fields((name, getattr(value, name)) for name in names if hasattr(value, name))


def duration(value: timedelta) -> str:
    """A time span in ISO 8601: ``P1DT7200S``, ``-PT0.5S``."""
    sign, value = ("-", -value) if value < timedelta() else ("", value)
    seconds = f"{value.seconds}.{value.microseconds:06}".rstrip("0").rstrip(".")
    days = f"{value.days}D" if value.days else ""
    return f"{sign}P{days}" + (f"T{seconds}S" if seconds != "0" or not days else "")


# ---- by type ---------------------------------------------------------------------------------------------------------


def _isoformat(value: Any) -> str:
    text: str = value.isoformat()
    return text


#: By exact class, a base's too.
_BY_TYPE: dict[type, Callable[[Any], Any]] = {
    datetime: _isoformat,
    date: _isoformat,
    time: _isoformat,
    timedelta: duration,
    Decimal: str,
    UUID: str,
    PurePath: str,
    UserString: str,
    set: list,
    frozenset: list,
    deque: list,
    range: list,
    array: array.tolist,
    SimpleNamespace: lambda value: Fields(vars(value)),
}

# ---- by library ------------------------------------------------------------------------------------------------------


def _numpy(value: Any) -> Any:
    numpy: Any = sys.modules["numpy"]
    if isinstance(value, numpy.ndarray):
        return _array(value)
    if isinstance(value, numpy.generic):
        return _scalar(value)
    return NotImplemented


def _array(value: Any) -> Any:
    numpy: Any = sys.modules["numpy"]
    kind = value.dtype.kind
    if kind in "biuUO":
        return value.tolist()
    if kind == "f":
        if value.dtype.itemsize > 8:
            value = value.astype("float64")
        items = value.tolist()
        return items if numpy.isfinite(value).all() is numpy.True_ else finite(items)
    return list(value) if value.ndim else value[()]


def _scalar(value: Any) -> Any:
    kind = value.dtype.kind
    if kind == "V" and value.dtype.names:
        return Fields((name, value[name]) for name in value.dtype.names)
    if kind in "mM":
        numpy: Any = sys.modules["numpy"]
        if numpy.isnat(value):
            return None
        return str(value) if kind == "M" else _timedelta64(value)
    if kind == "f":
        return float(value)
    item = value.item()
    if type(item) is type(value):
        raise NoJson
    return item


def _timedelta64(value: Any) -> Any:
    # Months and years have no length, and a number without a unit is one.
    made = value.astype("m8[us]").item() if value.dtype.str[3:] not in ("", "[Y]", "[M]") else None
    return duration(made) if isinstance(made, timedelta) else int(value.astype("i8"))


def finite(items: Any) -> Any:
    """Nested lists of floats in which None stands for those that are not finite."""
    if isinstance(items, list):
        return [finite(item) for item in items]
    return items if items is None or isfinite(items) else None


def _torch(value: Any) -> Any:
    torch: Any = sys.modules["torch"]
    if isinstance(value, torch.Tensor):
        tensor = value.detach()
        if tensor.is_quantized:
            tensor = tensor.dequantize()
        if tensor.layout != torch.strided:
            tensor = tensor.to_dense()
        tensor = tensor.cpu()
        if not tensor.is_floating_point():
            return tensor.tolist()
        tensor = tensor.to(torch.float64)  # of the small types not all can do everything
        items = tensor.tolist()
        return items if torch.isfinite(tensor).all() else finite(items)
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    return NotImplemented


def _pandas(value: Any) -> Any:
    pandas: Any = sys.modules["pandas"]
    if value is pandas.NaT or value is pandas.NA:
        return None
    if isinstance(value, pandas.Timestamp | pandas.Timedelta):
        return value.isoformat()
    if isinstance(value, pandas.Period | pandas.Interval):
        return str(value)
    if tables.is_table(value):
        return tables.records(value)
    if isinstance(value, pandas.Index | pandas.api.extensions.ExtensionArray):
        return list(value)
    return NotImplemented


def _polars(value: Any) -> Any:
    return tables.records(value) if tables.is_table(value) else NotImplemented


def _pyarrow(value: Any) -> Any:
    for name in ("to_pylist", "as_py"):
        if hasattr(type(value), name):
            return getattr(value, name)()
    return NotImplemented


def _pydantic(value: Any) -> Any:
    """A model as its own JSON would have it, by alias as FastAPI does; values that pydantic cannot write stay."""
    kind = type(value)
    if hasattr(kind, "model_dump"):
        try:
            return value.model_dump(mode="json", by_alias=True)
        except (ValueError, TypeError):  # PydanticSerializationError: a NumPy array
            return Fields(value.model_dump(by_alias=True))
    if hasattr(kind, "__fields__") and hasattr(kind, "json"):  # pydantic 1
        try:
            return json.loads(value.json(by_alias=True))
        except (ValueError, TypeError):
            return Fields(value.dict(by_alias=True))
    if hasattr(kind, "unicode_string") or hasattr(kind, "get_secret_value"):  # a URL; a secret, as asterisks
        return str(value)
    return NotImplemented


def _msgspec(value: Any) -> Any:
    msgspec: Any = sys.modules["msgspec"]
    if not isinstance(value, msgspec.Struct):
        return NotImplemented
    ours = (bytes, bytearray, memoryview, datetime, date, time, timedelta, UUID, Decimal)
    return msgspec.to_builtins(value, builtin_types=ours, enc_hook=plain)


def _no_json(value: Any) -> Any:
    raise NoJson


def _sqlite3(value: Any) -> Any:
    return {name: value[name] for name in value.keys()} if hasattr(type(value), "keys") else NotImplemented  # noqa: SIM118


#: By the package that a class, or a base of it, comes from. NotImplemented for what is nothing special.
_BY_LIBRARY: dict[str, Callable[[Any], Any]] = {
    "numpy": _numpy,
    "torch": _torch,
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _pyarrow,
    "pydantic": _pydantic,
    "pydantic_core": _pydantic,
    "msgspec": _msgspec,
    "sqlite3": _sqlite3,
    "lxml": _no_json,  # its elements have keys, those of their attributes
    "ipaddress": str,
    "zoneinfo": str,
}
