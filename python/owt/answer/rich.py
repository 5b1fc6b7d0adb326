"""Objects that show themselves: what notebooks call ``_repr_png_`` and its like, pictures, figures, tables."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from owt.answer import jsons, pictures, tables
from owt.answer.cannot import CannotSend, named

if TYPE_CHECKING:
    from owt.process.request import Request

Show = Callable[[], bytes | str | None]
Shows = dict[str, Show]

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


def show(value: object, request: Request, wanted: str, said: str) -> tuple[str, bytes | str, bool] | None:
    """Content type, body, and whether the client's Accept has chosen; None if value shows nothing.

    wanted is the content type that the adaptor gives it, else empty. Where the client accepts none of what there is,
    it gets the first. said is what errors begin with. Raises CannotSend if the value cannot be what is wanted.
    """
    usual, more = _offers(value)
    if not usual:
        return None
    if wanted:
        made = _make(_ALIASES.get(wanted, wanted), value, usual, more, said)
        return None if made is None else (*made, False)
    choice = len(usual) + len(more) > 1
    while usual:
        accepts = request.accept_mimetypes if choice else None
        mimetype = accepts and (accepts.best_match(usual) or accepts.best_match(more))
        mimetype = mimetype or next(iter(usual))
        body = (usual.pop(mimetype, None) or more.pop(mimetype))()
        if body is not None:
            return _with_charset(mimetype), body, choice
    return None


_ALIASES = {"image/jpg": "image/jpeg", "text/json": "application/json", "application/csv": "text/csv"}


def _make(wanted: str, value: object, usual: Shows, more: Shows, said: str) -> tuple[str, bytes | str] | None:
    """The value as the adaptor wants it."""
    made = usual.get(wanted) or more.get(wanted)
    names = [wanted] if made is not None else []
    if wanted in _ANY:
        names = list(usual)
    elif made is None and _is_data(usual):
        return None  # what is JSON may go by any name
    for name in names:
        body = (usual.get(name) or more[name])()
        if body is not None:
            return name, body
    can = ", ".join([*usual, *more])
    raise CannotSend(
        f"{said} {named(value)} with the Content-Type {wanted}, and it cannot be made into that. It can be {can}"
    )


_ANY = ("application/octet-stream", "application/x-download", "application/force-download")


def _is_data(usual: Shows) -> bool:
    return next(iter(usual)) == "application/json"


def _with_charset(mimetype: str) -> str:
    has_one = mimetype.startswith("text/") or mimetype == "image/svg+xml"
    return f"{mimetype}; charset=utf-8" if has_one else mimetype


def _offers(value: Any) -> tuple[Shows, Shows]:
    """What there is for a client to choose from, the best first; and what it gets only if it wants nothing of that."""
    if isinstance(value, type) or tables.is_lazy(value):
        return {}, {}
    if tables.is_table(value):
        return _of_table(value)
    figure = pictures.figure_of(value)
    if figure is not None:
        shows: Shows = dict(pictures.figure(figure))
        return {name: shows.pop(name) for name in _FOR_FIGURES if name in shows}, shows
    if pictures.is_image(value):
        shows = dict(pictures.image(value))
        return {"image/png": shows.pop("image/png")}, shows
    if pictures.is_picture(value):
        return _of_array(value)
    return _of_notebook(value), {}


_FOR_FIGURES = ("image/png", "image/svg+xml", "application/pdf")


def _of_table(table: Any) -> tuple[Shows, Shows]:
    offers: Shows = {"application/json": lambda: jsons.dumps(table), "text/csv": lambda: tables.csv(table)}
    if tables.is_frame(table):
        offers = {"text/html": _Method(table, "_repr_html_", "text/html"), **offers}
    return offers, {"text/plain": lambda: tables.text(table)}


def _of_array(array: Any) -> tuple[Shows, Shows]:
    """JSON, unless something is wanted that only a picture can be."""
    try:
        shows: Shows = dict(pictures.image(array))
    except ImportError:
        return {}, {}
    json: Shows = {"application/json": lambda: jsons.dumps(array)}
    if array.ndim == 3:
        return {**json, "image/png": shows.pop("image/png")}, shows
    return json, shows


def _of_notebook(value: Any) -> Shows:
    offers: Shows = {}
    if hasattr(type(value), "_repr_mimebundle_"):
        made: Any = value._repr_mimebundle_(include=None, exclude=None)
        bundle = made[0] if isinstance(made, tuple) else made
        for mimetype, data in (bundle or {}).items():
            offers[mimetype] = _Shown(data, mimetype)
    for method, mimetype in _METHODS.items():
        if mimetype not in offers and hasattr(type(value), method):
            offers[mimetype] = _Method(value, method, mimetype)
    if hasattr(type(value), "__html__") and "text/html" not in offers:
        offers["text/html"] = _Method(value, "__html__", "text/html")
    if "text/html" not in offers and hasattr(type(value), "to_html") and offers:
        offers = {"text/html": _Method(value, "to_html", "text/html"), **offers}
    # What only notebooks know comes last. Plain text alone is no rich object's answer: it is what repr() gives.
    offers = dict(sorted(offers.items(), key=lambda offer: offer[0] == "text/plain" or "/vnd." in offer[0]))
    return {} if offers.keys() == {"text/plain"} else offers


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
            return base64.b64decode(data) if _is_binary(self.mimetype) else str(data)
        return jsons.dumps(data)


def _is_binary(mimetype: str) -> bool:
    main = mimetype.partition("/")[0]
    if main in ("image", "audio", "video"):
        return not mimetype.endswith("+xml")
    return mimetype in ("application/pdf", "application/octet-stream")
