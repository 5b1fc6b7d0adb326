"""Flask around a call, for adaptors that use it: ``request``, ``jsonify``, ``render_template_string``."""

from __future__ import annotations

import contextlib
import hmac
import os
import tempfile
import threading
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from owt.answer import jsons
from owt.answer.cannot import CannotSend
from owt.answer.response import Answer, Later, from_response
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


def finalize(context: RequestContext, answer: Answer, request: Request) -> Answer:
    """The answer as Flask's ``after_request`` functions and its session make it (``Flask.process_response``)."""
    # Flask counts a look at context.session as the adaptor's, from 3.1.3 on.
    session: Any = vars(context)["_session" if "_session" in vars(context) else "session"]
    touched = getattr(session, "accessed", False) or getattr(session, "modified", False)
    wanted = touched or context._after_request_functions or context.app.after_request_funcs
    if isinstance(answer, Later) or not wanted:
        return answer
    status, headers = answer[:2] if isinstance(answer, tuple) else (answer.status, answer.headers)
    body = answer[2] if isinstance(answer, tuple) else None
    response = context.app.response_class(body, status=status, headers=list(headers))
    if not any(name.lower() == "content-type" for name, _ in headers):
        del response.headers["Content-Type"]
    final = context.app.process_response(response)
    if isinstance(answer, tuple) or final is not response or final.response:
        return from_response(final, request)
    answer.status = final.status_code
    answer.headers = [(name, value) for name, value in final.headers if name.lower() != "content-length"]
    return answer


def _app(endpoint: Endpoint) -> Flask:
    if endpoint.flask is None:
        from flask import Flask

        with _lock:
            if endpoint.flask is None:
                app = Flask(str(endpoint.globals["__name__"]), root_path=_root())
                app.secret_key = _secret(endpoint.code_id)
                app.json.default = partial(_to_json, app.json.default)  # type: ignore[attr-defined]
                endpoint.flask = app
    made: Flask = endpoint.flask
    return made


def _to_json(flasks: Callable[[Any], Any], value: Any) -> Any:
    """What ``jsonify`` does not know by itself: as an answer's JSON has it."""
    try:
        return flasks(value)
    except TypeError as error:
        try:
            return jsons.simple(value, "jsonify was given")
        except CannotSend as reason:
            raise TypeError(f"{error}: {reason}") from None


def _secret(code_id: str) -> bytes:
    """Signs the sessions of one adaptor, in all processes and after a restart: from a secret that lies in owt_dir."""
    file = Path(directory(), "flask-secret")
    with contextlib.suppress(FileExistsError):
        fd, name = tempfile.mkstemp(prefix=".new-", dir=directory())
        with os.fdopen(fd, "wb") as new:
            new.write(os.urandom(32))
        try:
            os.link(name, file)
        finally:
            Path(name).unlink()
    return hmac.digest(file.read_bytes(), code_id.encode(), "sha256")


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
