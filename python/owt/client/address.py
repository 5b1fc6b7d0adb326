"""Where a server is: a host and port, a URL, or a unix socket."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import SplitResult, urlsplit

#: Where owt listens unless told otherwise.
PORT = 9876
UNIX = "unix:"


class Address:
    """``host``, ``host:port``, ``http://host[:port][/path]``, ``https://...`` or ``unix:/path``.

    ValueError, whose text is for the user, if it is none of these.
    """

    def __init__(self, text: str) -> None:
        self.socket = ""  #: the path of the unix socket
        if text.startswith(UNIX):
            self.socket = text.removeprefix(UNIX)
            text = "http://localhost"
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            port = parts.port
        except ValueError as error:
            raise _wrong(text, str(error)) from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _wrong(text, "a host is missing, or the scheme is neither http nor https")
        if parts.username is not None or parts.query or parts.fragment:
            raise _wrong(text, "user, password, query and fragment do not belong here")
        if port is None and "://" not in text:
            parts = parts._replace(netloc=f"{parts.netloc.rstrip(':')}:{PORT}")
        self._parts: SplitResult = parts

    def __str__(self) -> str:
        """For messages: what is connected to."""
        return f"{UNIX}{self.socket}" if self.socket else self._parts.netloc

    def target(self, path: str) -> str:
        """The request target for a path below this address; a query in it stays."""
        return self._parts.path.rstrip("/") + "/" + path.removeprefix("/")

    def url(self, path: str) -> str:
        """The whole URL; of a unix socket the part that curl wants beside --unix-socket."""
        return f"{self._parts.scheme}://{self._parts.netloc}{self.target(path)}"

    def connection(self, timeout: float | None = None) -> http.client.HTTPConnection:
        """A connection, not yet opened. https trusts what Python does; SSL_CERT_FILE names other authorities.

        TimeoutError comes of it where it waits longer than so many seconds for anything.
        """
        if self.socket:
            return _UnixConnection(self.socket, timeout)
        assert self._parts.hostname
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(self._parts.hostname, self._parts.port, timeout=timeout)
        return http.client.HTTPConnection(self._parts.hostname, self._parts.port, timeout=timeout)

    @property
    def headers(self) -> dict[str, str]:
        """What the server has to be told: who comes over a unix socket says that it is no proxy for others."""
        return {"X-Forwarded-For": UNIX} if self.socket else {}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _wrong(text: str, why: str) -> ValueError:
    return ValueError(
        f"{text!r} is no address ({why}); an address is host:port, http://host:port/path, https://... or unix:/path"
    )
