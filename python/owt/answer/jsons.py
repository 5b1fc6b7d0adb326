"""Values as JSON, byte for byte as Flask's default provider writes an answer."""

from __future__ import annotations

import dataclasses
import json
from datetime import date
from decimal import Decimal
from uuid import UUID

from werkzeug.http import http_date


def _default(value: object) -> object:
    if isinstance(value, date):
        return http_date(value)
    if isinstance(value, Decimal | UUID):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    html = getattr(value, "__html__", None)
    if html is not None:
        return str(html())
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=_default)


def dumps(value: object) -> str:
    """Compact JSON, keys sorted, ended by a newline. TypeError for what has no JSON."""
    return _encoder.encode(value) + "\n"
