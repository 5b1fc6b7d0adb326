"""The request that an adaptor sees: Werkzeug's, built when it is first looked at."""

from __future__ import annotations

import os
import sys
import threading
from io import BytesIO
from typing import TYPE_CHECKING, Any

import werkzeug.wrappers

if TYPE_CHECKING:
    from _owt import Call

#: So many fields may a form have. The same as in src/call/intake.cpp.
MAX_FIELDS = 1000

_building = threading.RLock()


class Request(werkzeug.wrappers.Request):
    """Werkzeug's Request over the environment that nginx gives, with ``cancelled`` added.

    It is made by ``__new__`` alone and given ``_call``; what only looking at it would need is left out
    until then. May be used from any thread, once its call is over too.
    """

    _call: Call
    #: What to add to what is said of an error of this call, and of which kinds of them.
    _hint = ""
    _hint_for: tuple[type, ...] = (object,)

    # nginx's client_max_body_size is the limit; of fields there are as many as elsewhere.
    max_form_memory_size = None
    max_form_parts = MAX_FIELDS

    @property
    def cancelled(self) -> bool:
        """The client has gone, the time is up or the server quits: nobody waits for the answer."""
        return self._call.cancelled

    def __getattr__(self, name: str) -> Any:
        # Reached only for what is not there: anything before the request is built.
        if name == "_call" or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self._build()
        return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        if "environ" in self.__dict__:
            return super().__repr__()
        return f"<{type(self).__name__} of connection {self._call.connection}>"

    def _build(self) -> None:
        with _building:
            if "environ" not in self.__dict__:
                environ = make_environ(self._call)
                self.__dict__["environ"] = environ
                # In its own environment the request would be part of a cycle, and keep its uploads open until that is
                # collected.
                super().__init__(environ, populate_request=False)


def make_environ(call: Call) -> dict[str, Any]:
    """A WSGI environment (PEP 3333). A body that nginx spooled is read from its file, not copied."""
    environ: dict[str, Any] = dict(call.environ())
    fd = call.body_fd()
    https = environ.get("HTTPS", "").lower() in ("on", "1")
    environ["wsgi.version"] = (1, 0)
    environ["wsgi.url_scheme"] = environ.get("REQUEST_SCHEME") or ("https" if https else "http")
    environ["wsgi.input"] = os.fdopen(fd, "rb") if fd >= 0 else BytesIO(call.body())
    environ["wsgi.input_terminated"] = True
    environ["wsgi.errors"] = sys.stderr
    environ["wsgi.multithread"] = True
    environ["wsgi.multiprocess"] = True
    environ["wsgi.run_once"] = False
    return environ
