"""Flask around a call, for adaptors that use it: ``request``, ``jsonify``, ``render_template_string``."""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owt.endpoint import directory
from owt.process.request import Request

if TYPE_CHECKING:
    from flask import Flask
    from flask.ctx import RequestContext

    from owt.endpoint.loaded import Endpoint

_lock = threading.Lock()


def push(endpoint: Endpoint, request: Request) -> RequestContext | None:
    """Enters a Flask request context for request, which becomes Flask's own as well.

    Its ``pop`` has to be called in the same contextvars context. None where Flask is not installed.
    """
    try:
        app = _app(endpoint)
    except ImportError:
        return None  # the adaptor mentions Flask and does not use it
    from flask.ctx import RequestContext

    both: Any = request
    both.__class__ = _request_class()
    both.json_module = app.json
    context = RequestContext(app, request.environ, request=both)
    context.push()
    # No route of the application leads here, which Flask keeps in mind: with their frames these exceptions would hold
    # the request, uploads and all, until that cycle is collected.
    error: BaseException | None = both.routing_exception
    while error is not None:
        error.__traceback__ = None
        error = error.__context__
    return context


def _app(endpoint: Endpoint) -> Flask:
    if endpoint.flask is None:
        from flask import Flask

        with _lock:
            if endpoint.flask is None:
                endpoint.flask = Flask(str(endpoint.globals["__name__"]), root_path=_root())
    app: Flask = endpoint.flask
    return app


def _root() -> str:
    """Where Flask looks for templates and static files: the working directory, if there is one."""
    try:
        return str(Path.cwd())
    except OSError:
        return directory()


@cache
def _request_class() -> type[Request]:
    import flask

    class FlaskRequest(Request, flask.Request):
        """The request as Flask extends it; one body for both, read once."""

    FlaskRequest.__name__ = FlaskRequest.__qualname__ = "Request"
    return FlaskRequest
