"""owt ps and owt stop: what runs on a server, and an end to it. Asks a location with owt_status."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from urllib.parse import quote

from owt.client.address import PORT, Address
from owt.client.answer import PROBLEM, Answer, CallError, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: What comes first on the line.
COMMANDS = ("ps", "stop")

_EPILOG = """\
examples:
  owt ps
  owt stop 4711-12
  owt ps --address gpu1:9876 --auth me --json | jq -r .[].id

The server needs a location with owt_status; in the configurations that come with owt it is /owt/. A call that is
stopped gets an answer that says so; its function gets owt.Cancelled where it is next in Python.
"""


def parser() -> ArgumentParser:
    made = ArgumentParser("owt", formatter_class=RawDescriptionHelpFormatter, epilog=_EPILOG)
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    ps = commands.add_parser("ps", help="show the calls that there are", description="Show the calls that there are.")
    ps.add_argument("--json", action="store_true", help="as the server has it")
    stop = commands.add_parser("stop", help="end calls", description="End calls.")
    stop.add_argument("id", nargs="+", metavar="ID", help="of a call, as owt ps shows it")
    for command in (ps, stop):
        command.add_argument("--address", help=f"where the server is (localhost:{PORT})")
        command.add_argument("--path", default="/owt/", help="of its location with owt_status (/owt/)")
        command.add_argument(
            "--auth", metavar="USER[:PASSWORD]", help="a login; OWT_AUTH and OWT_PASSWORD as for calls"
        )
        command.add_argument("--timeout", type=float, metavar="SECONDS", help="give up after so long (for ever)")
    return made


class Status:
    """A location with owt_status. Each method raises CallError if the server does not do it, OSError if it cannot be
    reached."""

    def __init__(self, address: Address, path: str, headers: dict[str, str], timeout: float | None) -> None:
        self._address = address
        self._path = path.rstrip("/") + "/"
        self._headers = headers
        self._timeout = timeout

    def calls(self) -> list[dict[str, Any]]:
        """The calls that there are, the oldest first."""
        answer = self._ask("GET", "calls")
        found = answer.json() if answer.headers.get_content_type() == "application/json" else None
        if not isinstance(found, list):
            raise CallError(
                f"{self._path} of this server is no location with owt_status: --path names it", answer.status
            )
        return found

    def stop(self, call: str) -> str:
        """Tells a call to end. What the server says."""
        return self._ask("DELETE", f"calls/{quote(call, safe='')}").text().strip()

    def _ask(self, method: str, what: str) -> Answer:
        headers = {"User-Agent": "owt", "X-Owt": "1", **self._address.headers, **self._headers}
        headers |= {"Accept": f"{PROBLEM}, */*;q=0.9", "Connection": "close"}
        answer = ask(self._address, self._timeout, method, self._path + what, headers)
        if not answer.ok:
            raise answer.error()
        return answer


def table(calls: list[dict[str, Any]]) -> str:
    """The calls as lines with a heading; names that are anybody's have no control characters."""
    rows = [("ID", "STATE", "FOR", "FUNCTION", "LOCATION", "INSTANCE", "ENDPOINT")]
    rows += [
        (
            _plain(call.get("id")),
            _plain(call.get("state")),
            _span(float(call.get("age") or 0)),
            _plain(call.get("function")),
            _plain(call.get("location")),
            _plain(call.get("instance")),
            _plain(call.get("endpoint")),
        )
        for call in calls
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _plain(value: object) -> str:
    text = "".join(character if character.isprintable() else "?" for character in str(value or ""))
    return text or "-"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f}s"
    if seconds < 7200:
        return f"{seconds / 60:.0f}m"
    return f"{seconds / 3600:.0f}h"
