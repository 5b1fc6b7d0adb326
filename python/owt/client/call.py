"""One call: what is sent, and in which form.

A server that has seen an adaptor runs it by its hash. So the hash alone is sent first, and the source
only to a server that answers that it does not have it. Then the arguments go twice: therefore this is
done only where the source is larger than they are, so that an upload is never sent in vain.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from owt.client.address import Address
from owt.client.answer import PROBLEM, Answer, ask
from owt.client.form import Form, Upload

#: What the server takes as its own: no argument can be sent as a field of such a name.
RESERVED = frozenset(
    (
        "code",
        "code_b64",
        "code_id",
        "fn_name",
        "kwargs",
        "kwargs_b64",
        "use_cache",
        "cache_kwargs",
        "cache_key_override",
        "events",
    )
)

#: How a call goes over the wire, which no header of the user's can change.
_OWN_HEADERS = frozenset(("Connection", "Content-Length", "Content-Type", "Transfer-Encoding"))

_TOKEN = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_NOT_FOUND = "urn:owt:code-not-found"


class Call:
    """An adaptor's source and its arguments, for one server.

    kwargs is the text of the arguments, JSON or a Python expression; fields are arguments of their
    own: text, or files. What a URL cannot hold is escaped in path. ValueError if an argument has a
    name that is the server's, if method is GET and there are files, or if a header cannot be sent.
    timeout is how many seconds the server may say nothing, None for ever.
    """

    def __init__(
        self,
        source: bytes,
        kwargs: str = "",
        fields: list[tuple[str, bytes | Upload]] | None = None,
        *,
        method: str = "POST",
        path: str = "/",
        fn_name: str = "",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> None:
        if timeout is not None and not 0 < timeout <= 1e9:
            raise ValueError(f"a timeout is a number of seconds, more than 0, not {timeout:g}")
        self.timeout = timeout
        arguments = list(fields or [])
        for name, _ in arguments:
            if name in RESERVED:
                raise ValueError(f"{name!r} is a parameter of the server's: send this argument within kwargs")
        if kwargs:
            arguments.insert(0, ("kwargs", os.fsencode(kwargs)))
        if fn_name:
            arguments.insert(0, ("fn_name", os.fsencode(fn_name)))
        self.source = source
        self.method = method
        self.path = quote(path, safe="%/:?[]@!$&'()*+,;=~")
        self.headers = {name.title(): value for name, value in (headers or {}).items()}
        for name, value in self.headers.items():
            if not value.isprintable() or not value.isascii() or not _TOKEN.fullmatch(name):
                raise ValueError(f"no header for HTTP: {name!r}: {value!r}")
            if name in _OWN_HEADERS:
                raise ValueError(
                    f"the header {name} is the call's own, as it says how code and arguments are sent; for a body of"
                    " your own use curl, with the code in the query (--url, or --curl, shows it)"
                )
        self._arguments = arguments
        if method == "GET":
            self.form().query()

    def form(self, by_hash: bool = False) -> Form:
        code = ("code_id", self._code_id()) if by_hash else ("code", self.source)
        return Form([code, *self._arguments])

    def target(self, form: Form) -> str:
        """The path, with the form as its query if this is a GET."""
        if self.method != "GET":
            return self.path
        return f"{self.path}{'&' if '?' in self.path else '?'}{form.query()}"

    def _code_id(self) -> bytes:
        return b"sha256:" + hashlib.sha256(self.source).hexdigest().encode()

    def send(self, address: Address) -> Answer:
        """Raises CallError if no answer comes, and what connecting raises (OSError)."""
        if self._may_go_by_hash():
            answer = self._send(address, self.form(by_hash=True))
            if answer.status != 404 or answer.headers.get_content_type() != PROBLEM:
                return answer
            error = answer.error()
            if error.type != _NOT_FOUND:
                raise error
        return self._send(address, self.form())

    def _may_go_by_hash(self) -> bool:
        least = max(len(self._code_id()), Form(self._arguments).size)
        # With an Accept of one's own a refusal may come as text, whose kind cannot be told.
        return len(self.source) > least and "Accept" not in self.headers

    def _send(self, address: Address, form: Form) -> Answer:
        # A refusal as JSON has a type that a program can tell apart. Accept leaves the rest to the adaptor.
        # X-Owt: no redirect has brought the URL here. For a server with owt_guard strict.
        headers = {"User-Agent": "owt", "X-Owt": "1", **address.headers, **self.headers, "Connection": "close"}
        headers["Accept"] = f"{PROBLEM}, {self.headers.get('Accept', '*/*;q=0.9')}"
        body = None
        if self.method != "GET":
            headers["Content-Type"], length, body = form.body()
            headers["Content-Length"] = str(length)
        return ask(address, self.timeout, self.method, self.target(form), headers, body)


class Client:
    """A server to call. Safe to use from several threads."""

    def __init__(self, address: str = "localhost:9876", *, auth: str = "", timeout: float | None = None) -> None:
        """address as for Address; auth is ``user:password``; timeout is how many seconds the server may say nothing.

        ValueError if address is none.
        """
        self.address = Address(address)
        self._timeout = timeout
        self._headers = authorization(auth) if auth else {}

    def call(
        self,
        code: str | Path,
        kwargs: Mapping[str, object] | str = "",
        *,
        method: str = "POST",
        path: str = "/",
        fn_name: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Calls an adaptor; returns its answer as soon as the head of it has come.

        code is the source, or the path of a file that holds it. kwargs are the arguments: values are
        sent as JSON; a Path as the file that it names, bytes and open files (from where they are) as
        files too; or a Python expression as text, which the server evaluates. Raises CallError if the
        call fails, OSError if the server cannot be reached or a file not read, TypeError for values
        that JSON does not have.
        """
        if not isinstance(code, str | Path):
            raise TypeError(
                f"an adaptor is its source, as str, or the Path of a file, not {type(code).__name__}; of a function"
                " that needs nothing else inspect.getsource(...) is the source, whose name goes as fn_name"
            )
        source = code.read_bytes() if isinstance(code, Path) else code.encode()
        uploads: list[tuple[str, bytes | Upload]] = []
        if not isinstance(kwargs, str):
            import json

            rest: dict[str, object] = {}
            for name, value in kwargs.items():
                upload = _upload(name, value)
                if upload is not None:
                    uploads.append((name, upload))
                else:
                    rest[name] = value
            kwargs = json.dumps(rest, default=_plain) if rest else ""
        headers = self._headers | dict(headers or {})
        call = Call(
            *(source, kwargs, uploads),
            method=method,
            path=path,
            fn_name=fn_name,
            headers=headers,
            timeout=self._timeout,
        )
        answer = call.send(self.address)
        if not answer.ok:
            raise answer.error()
        return answer


def _upload(name: str, value: object) -> Upload | None:
    """The argument as a file, if it is one; what has no name of its own gets the argument's."""
    if isinstance(value, Path):
        return Upload(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return Upload(Path(name), bytes(value))
    read = getattr(value, "read", None)
    if not callable(read):
        return None
    content = read()
    named = getattr(value, "name", None)
    path = Path(named) if isinstance(named, str) else Path(name)
    return Upload(path, content.encode() if isinstance(content, str) else content)


def _plain(value: object) -> object:
    """What JSON knows instead of a value of NumPy, pandas or datetime."""
    for method in ("tolist", "isoformat"):
        made = getattr(value, method, None)
        if callable(made):
            return made()
    raise TypeError(
        f"an argument of type {type(value).__name__} cannot be sent: send what is JSON (dict, list, str, numbers), or a"
        " file, as a Path, bytes or an open file; kwargs may also be a Python expression, as text"
    )


def authorization(auth: str) -> dict[str, str]:
    """The header for HTTP Basic authentication (RFC 7617) with ``user:password``."""
    from base64 import b64encode

    return {"Authorization": f"Basic {b64encode(auth.encode()).decode()}"}
