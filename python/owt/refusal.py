"""A call that cannot be served, and what to tell its client."""


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
