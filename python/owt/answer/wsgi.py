"""Which callables are WSGI applications, and running them."""

from __future__ import annotations

import inspect
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Response

from owt.answer.cannot import named

if TYPE_CHECKING:
    from owt.process.request import Request


def is_application(value: object) -> bool:
    """Whether value can be called as WSGI does: it wants exactly two arguments by position, under whatever names.

    Models are callables too: those that take anything (``*args``) are none, and neither are classes.
    """
    if not callable(value) or isinstance(value, type):
        return False
    if hasattr(type(value), "wsgi_app"):  # Flask's
        return True
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return False
    if any(p.kind is Parameter.KEYWORD_ONLY and p.default is Parameter.empty for p in parameters):
        return False
    places = [p for p in parameters if p.kind in _BY_PLACE]
    if len(places) >= 2 and places[1].name == "start_response":
        return True
    return len([p for p in places if p.default is Parameter.empty]) == 2


_BY_PLACE = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def run(application: Any, request: Request, said: str) -> Response:
    """The application's response. What it raises says why it was called at all; said is what that begins with."""
    try:
        # A form has been read already, to find the adaptor in it; the application reads it once more.
        request.environ["wsgi.input"].seek(0)
        return Response.from_app(application, request.environ)
    except Exception as error:
        error.add_note(f"{said} {named(application)}, which was called as WSGI is, with (environ, start_response)")
        raise
