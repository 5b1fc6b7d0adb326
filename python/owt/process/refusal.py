"""A call that cannot be served, and what to tell its client."""

from __future__ import annotations

import errno
import resource
from typing import TYPE_CHECKING

from owt.process import output, trace
from owt.process.context import failed_threads, hint

if TYPE_CHECKING:
    from _owt import Call


#: What C says when a process, or the machine, has as many files open as it may.
SHORT_OF_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE))

# Of the exception itself: a class of an adaptor's may have a property of that name, which may raise.
_number_of = vars(OSError)["errno"].__get__


class Refusal(Exception):
    """Ends a call with an error answer; never seen by an adaptor.

    status is the HTTP status, type a short name for programs (``no-such-function``), detail the text
    that says what is wrong and what to do about it.
    """

    def __init__(self, status: int, type: str, detail: str) -> None:
        super().__init__(status, type, detail)
        self.status = status
        self.type = type
        self.detail = detail

    def tell(self, call: Call) -> None:
        """Answers the call with this error; the error log gets to know of those that are no client's fault."""
        # Names in the text may come from JSON, which can spell lone surrogates.
        detail = self.detail.encode(errors="backslashreplace").decode()
        if self.status >= 500:
            if help := hint():
                detail += f" {help}"
            output.write(output.ERROR, call.connection, detail + trace.note(call))
            detail += failed_threads(call)
        call.refuse(self.status, self.type, detail)


def is_short_of_descriptors(error: BaseException) -> bool:
    """Whether it failed for that, whatever its class says of itself."""
    return issubclass(type(error), OSError) and _number_of(error) in SHORT_OF_DESCRIPTORS


def no_descriptors() -> Refusal:
    """A 503 for what fails because the process has no descriptor left."""
    return Refusal(503, "no-descriptors", f"The call cannot run: {why_no_descriptors()}.")


def why_no_descriptors() -> str:
    """What is short then, and what to do about it."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (
        f"the server's process has no descriptor left, all {limit} are files and connections that are open. Adaptors"
        " should close theirs (with open(...) as file); worker_rlimit_nofile in nginx's configuration raises the limit"
    )
