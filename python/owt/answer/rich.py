"""Objects that show themselves as notebooks let them: ``_repr_png_`` and its like, and figures."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from owt.answer import jsons

if TYPE_CHECKING:
    from owt.process.request import Request

Show = Callable[[], bytes | str | None]

# The first one that an object has is sent where the client has no preference.
_METHODS = {
    "_repr_png_": "image/png",
    "_repr_svg_": "image/svg+xml",
    "_repr_jpeg_": "image/jpeg",
    "_repr_html_": "text/html",
    "_repr_pdf_": "application/pdf",
    "_repr_markdown_": "text/markdown",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
}
_FIGURE = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}


def show(value: object, request: Request) -> tuple[str, bytes | str] | None:
    """The content type and body, as the client's Accept prefers; None if value shows nothing.

    Where the client accepts none of what there is, it gets the first.
    """
    offers = _offers(value)
    while offers:
        best = request.accept_mimetypes.best_match(offers) if len(offers) > 1 else None
        mimetype = best or next(iter(offers))
        body = offers.pop(mimetype)()
        if body is not None:
            if mimetype.startswith("text/") or mimetype == "image/svg+xml":
                mimetype += "; charset=utf-8"
            return mimetype, body
    return None


def _offers(value: object) -> dict[str, Show]:
    if isinstance(value, type):
        return {}
    if _is_figure(value):
        return {mimetype: _Figure(value, format) for format, mimetype in _FIGURE.items()}
    offers: dict[str, Show] = {}
    if hasattr(type(value), "_repr_mimebundle_"):
        made: Any = value._repr_mimebundle_()  # type: ignore[attr-defined]
        bundle = made[0] if isinstance(made, tuple) else made
        for mimetype, data in (bundle or {}).items():
            offers[mimetype] = _Shown(data, mimetype)
    for method, mimetype in _METHODS.items():
        if mimetype not in offers and hasattr(type(value), method):
            offers[mimetype] = _Method(value, method, mimetype)
    # Plain text alone is no rich object's answer: it is what repr() gives.
    return {} if offers.keys() == {"text/plain"} else offers


def _is_figure(value: object) -> bool:
    matplotlib = sys.modules.get("matplotlib.figure")
    return matplotlib is not None and isinstance(value, matplotlib.Figure)


class _Figure:
    def __init__(self, figure: Any, format: str) -> None:
        self.figure = figure
        self.format = format

    def __call__(self) -> bytes:
        file = io.BytesIO()
        self.figure.savefig(file, format=self.format)
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None:
            # pyplot keeps every figure that it made until it is told that it is done with.
            pyplot.close(self.figure)
        return file.getvalue()


class _Method:
    def __init__(self, value: object, method: str, mimetype: str) -> None:
        self.value = value
        self.method = method
        self.mimetype = mimetype

    def __call__(self) -> bytes | str | None:
        data = getattr(self.value, self.method)()
        if isinstance(data, tuple):  # with metadata
            data = data[0]
        return None if data is None else _Shown(data, self.mimetype)()


class _Shown:
    def __init__(self, data: object, mimetype: str) -> None:
        self.data = data
        self.mimetype = mimetype

    def __call__(self) -> bytes | str:
        data = self.data
        if isinstance(data, bytes | bytearray | memoryview):
            return bytes(data)
        if isinstance(data, str):
            # Notebooks' documents hold binary formats as base64.
            return base64.b64decode(data) if _is_binary(self.mimetype) else data
        return jsons.dumps(data)


def _is_binary(mimetype: str) -> bool:
    main = mimetype.partition("/")[0]
    if main in ("image", "audio", "video"):
        return not mimetype.endswith("+xml")
    return mimetype in ("application/pdf", "application/octet-stream")
