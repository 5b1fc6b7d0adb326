"""What comes back: a head, then bytes as they arrive; and what it is when it fails."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Iterator
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from owt.client.address import Address

#: Read at most so many bytes at a time; what has arrived is handed on at once.
_PIECE = 1 << 16

#: Characters of an adaptor's own error that are shown.
_SHOWN = 4000

PROBLEM = "application/problem+json"

TOO_LONG = "the server said nothing for longer than the timeout"


class CallError(Exception):
    """A call that failed; its text says why, with the adaptor's traceback, or the text that it has answered with.

    status is that of the answer, 0 where none came. type is the problem's (RFC 9457), as
    ``urn:owt:code-not-found``; empty where the server sent none. body is what came with the status.
    """

    def __init__(self, text: str, status: int = 0, type: str = "", body: bytes = b"") -> None:
        super().__init__(text)
        self.status = status
        self.type = type
        self.body = body


class Answer:
    """An answer whose head has come. Iterate for the bytes as they arrive, or read them all.

    ``with`` or ``close()`` ends the connection, and with it the call if that still runs.
    """

    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response
        self.status = response.status
        self.reason = response.reason
        self.headers = response.headers
        #: Bytes of the whole body, 0 for HEAD; None where the server does not say.
        self.length = response.length
        self._got = 0

    def __iter__(self) -> Iterator[bytes]:
        """Raises CallError if the answer breaks off."""
        while chunk := self._next():
            self._got += len(chunk)
            yield chunk
        self.close()

    def _next(self) -> bytes:
        left = _PIECE if self.length is None else min(_PIECE, self.length - self._got)
        if not left:
            return b""
        try:
            chunk = self._response.read1(left)
        except TimeoutError as error:
            self.close()
            raise CallError(f"{TOO_LONG}, after {self._got} bytes of the answer", self.status) from error
        except (http.client.HTTPException, OSError) as error:
            raise self._broken() from error
        if not chunk and self.length is not None:
            raise self._broken()
        return chunk

    def _broken(self) -> CallError:
        self.close()
        return CallError(
            f"the answer broke off after {self._got} bytes: the adaptor failed or was stopped, or the server ended;"
            " the traceback is in the server's error log",
            self.status,
        )

    def read(self) -> bytes:
        """The rest of the body. CallError if it breaks off."""
        return b"".join(self)

    def text(self) -> str:
        """The rest of the body as text, in the charset that it came with, else UTF-8."""
        return self.read().decode(self.headers.get_content_charset("utf-8"))

    def json(self) -> Any:
        """The rest of the body as JSON."""
        import json

        return json.loads(self.read())

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def error(self) -> CallError:
        """What an answer that is not ok says; reads its body."""
        body = self.read()
        type, detail = _problem(body) if self.headers.get_content_type() == PROBLEM else ("", "")
        if not type and self.headers.get_content_maintype() == "text":
            detail = body.decode(self.headers.get_content_charset("utf-8"), "replace")[:_SHOWN]
        text = f"the server answered {self.status} {self.reason}".rstrip()
        if "Location" in self.headers:
            text += f", see {self.headers['Location']}"
        return CallError(f"{detail.rstrip()}\n{text}" if detail else text, self.status, type, body)

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def __enter__(self) -> Answer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _problem(body: bytes) -> tuple[str, str]:
    """Type and detail; empty where the body has none."""
    import json

    try:
        problem = json.loads(body)
    except ValueError:
        return "", ""
    if not isinstance(problem, dict):
        return "", ""
    return str(problem.get("type", "")), str(problem.get("detail", ""))


def ask(
    address: Address,
    timeout: float | None,
    method: str,
    target: str,
    headers: dict[str, str],
    body: Iterable[bytes] | None = None,
) -> Answer:
    """Sends a request, and waits for the head of what is answered, seconds of silence at most. Raises CallError if no
    answer comes, and what connecting raises (OSError).
    """
    connection = address.connection(timeout)
    connection.connect()
    try:
        # Who refuses an upload need not read it to its end: the answer says why.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, address.target(target), body, headers)
        return Answer(connection, connection.getresponse())
    except TimeoutError as error:
        connection.close()
        raise CallError(f"{TOO_LONG}, {timeout:g} s") from error
    except (http.client.HTTPException, OSError) as error:
        connection.close()
        raise CallError(f"the server sent no answer: {error or type(error).__name__}") from error
    except BaseException:
        connection.close()
        raise
