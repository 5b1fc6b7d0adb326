"""Where a server can be reached: one that this program has started, or the one that a call runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from owt.server.conf import spelled
from owt.server.errors import ServerError

if TYPE_CHECKING:
    from owt.process.request import Request


class _Pair(NamedTuple):
    address: str
    port: int


class Singing(_Pair):
    """An address and a port, also as ``.address`` and ``.port``; ``.url`` has the scheme too, and no path."""

    scheme = "http"

    @property
    def url(self) -> str:
        """As ``http://127.0.0.1:9876``."""
        return f"{self.scheme}://{spelled(self.address, self.port)}"


def here() -> Singing:
    """The server that runs the current call, under the name that its client has asked for. Starts nothing.

    Also in threads that a call has started. ServerError where no call runs.
    """
    # Whoever only starts servers has no need of what calls are made of.
    from owt.process.borrowed import owner

    request = owner()
    if request is None:
        raise ServerError(
            "no call of owt runs here, so there is no running server to name. In an adaptor, write Server.sing() where"
            " a call comes by. In a program, start one: with Server() as server: address, port = server.sing()"
        )
    return _asked_for(request)


def _asked_for(request: Request) -> Singing:
    parts = urlsplit(request.host_url)
    singing = Singing(parts.hostname or request.host, parts.port or {"http": 80, "https": 443}[parts.scheme])
    singing.scheme = parts.scheme
    return singing
