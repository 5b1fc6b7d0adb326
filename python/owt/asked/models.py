"""pydantic's models and constraints, for adaptors that have imported it: it converts these itself."""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any

from werkzeug.datastructures import FileStorage

from owt.asked.annotations import is_constraint
from owt.asked.containers import Many
from owt.asked.wanted import Misfit, Wanted, is_blank, name_of, shown, text_of

_MAKERS = ("pydantic", "pydantic_core", "annotated_types", "pydantic_settings")


def is_pydantic(annotation: Any) -> bool:
    """Whether a class, or a constraint in Annotated, is one that pydantic reads."""
    if "pydantic" not in sys.modules:
        return False
    if isinstance(annotation, type):
        return any(
            hasattr(annotation, name)
            for name in ("__get_pydantic_core_schema__", "__pydantic_validator__", "__get_validators__")
        )
    field = getattr(sys.modules.get("pydantic.fields"), "FieldInfo", ())
    if isinstance(annotation, field) and type(annotation).__module__.partition(".")[0] == "fastapi":
        return is_constraint(annotation)  # Form(...) says where a value comes from, mostly
    return type(annotation).__module__.partition(".")[0] in _MAKERS


class Model(Wanted):
    """shape is what the annotation would be without pydantic: it says how text is read."""

    __slots__ = ("annotation", "shape", "validate")

    def __init__(self, annotation: Any, shape: Wanted | None, is_object: bool) -> None:
        shown = typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation
        super().__init__(f"{name_of(shown)}{' (a JSON object)' if is_object else ''}")
        self.annotation = annotation
        self.validate = _validator(annotation)
        self.shape = shape
        self.many = shape is not None and shape.many

    def __call__(self, value: Any) -> Any:
        if isinstance(value, FileStorage):
            value = text_of(value, self)
        if isinstance(value, str) and (read := _read(value)) is not None:
            value = read
        try:
            return self.validate(value)
        except ValueError as error:
            raise self.explain(error, value) from None

    def argument(self, value: Any) -> Any:
        if isinstance(self.shape, Many) and not isinstance(value, list):
            if is_blank(value):
                value = []
            elif isinstance(value, FileStorage):
                value = text_of(value, self)
            if not (isinstance(value, str) and isinstance(_read(value), list)) and not isinstance(value, list):
                value = [value]
        return self(value)

    def explain(self, error: ValueError, value: object) -> Misfit:
        """What pydantic complains of, the first of each place."""
        try:
            said = error.errors()  # type: ignore[attr-defined]
            reasons = []
            for one in said[:5]:
                where = ".".join(str(step) for step in one["loc"] if step != "__root__")
                reasons.append(f"{where}: {one['msg']}" if where else str(one["msg"]))
            reason = "; ".join(reasons)
        except Exception:
            reason = str(error)
        return Misfit(f"{self.text} ({reason})", shown(value))


def _read(text: str) -> Any:
    """A text that is a JSON object or array, as that; else None."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    return None


def _validator(annotation: Any) -> Callable[[Any], Any]:
    pydantic: Any = sys.modules["pydantic"]
    if hasattr(pydantic, "TypeAdapter"):
        validate: Callable[[Any], Any] = pydantic.TypeAdapter(annotation).validate_python
        return validate
    return lambda value: pydantic.parse_obj_as(annotation, value)  # before version 2


def is_object(kind: Any) -> bool:
    """Whether pydantic makes it of a JSON object."""
    return isinstance(kind, type) and (
        hasattr(kind, "model_fields") or hasattr(kind, "__fields__") or issubclass(kind, Mapping)
    )
