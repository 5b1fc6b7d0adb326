"""owt: calls an adaptor from a shell."""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from owt.client.address import PORT, Address
from owt.client.answer import Answer, CallError
from owt.client.call import Call, authorization
from owt.client.form import Upload
from owt.client.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from owt.client.status import Status

_FAILED, _INTERRUPTED, _PIPE_CLOSED = 1, 130, 141  # 128 + SIGINT, 128 + SIGPIPE, as shells count

#: What the server knows of a password, alone or with further logins behind it.
_HASH = re.compile(r"[0-9a-fA-F]{64}(\s.*)?", re.DOTALL)

_DESCRIPTION = "Run Python on an owt server. What it returns goes to standard output as it arrives."

_EPILOG = """\
examples:
  owt --run 'lambda name: f"Hello, {name}!"' --arg name owt
  owt --file thumbnail.py --arg image @cat.png --kwargs '{"width": 64}' > small.png
  owt --address gpu1:9876 --auth me --file speak.py --arg text 'Now then' | aplay
  owt --code 'def run(_): return "ok"' --url          # a link, to be opened in a browser of this machine

  owt ps                  shows the calls that there are, owt stop ID ends one: see owt ps --help

The address is host:port (9876 if the port is left out), a URL with http or https, or unix:/path. For https,
SSL_CERT_FILE names authorities beside the system's. The exit status is 0 if the call succeeds, 1 if it fails or
its answer breaks off (standard error says why, with the traceback), 2 if this line makes no sense.

environment:
  OWT_ADDRESS, OWT_PORT   where --address is not given
  OWT_AUTH                user:password, where --auth is not given; a login of the server's, which has a hash
                          for the password, needs OWT_PASSWORD
  OWT_PASSWORD            the password of OWT_AUTH's user, or of an --auth without one
"""


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        "owt", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
    )
    code = parser.add_mutually_exclusive_group(required=True)
    code.add_argument("--file", metavar="PATH", help="the adaptor is in this file; - is standard input")
    code.add_argument("--code", metavar="TEXT", help="the adaptor's text")
    code.add_argument("--run", metavar="EXPRESSION", help="a function or a pipeline, as one expression")
    parser.add_argument(
        "--kwargs", metavar="TEXT", default="", help="the arguments: JSON, or a Python expression for the server"
    )
    parser.add_argument(
        "--arg",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="an argument that is text, or with @PATH for its value a file (@- is standard input); repeatable",
    )
    parser.add_argument("--fn-name", metavar="NAME", default="", help="the function to call (run)")
    parser.add_argument("--address", help=f"where the server is (localhost:{PORT})")
    parser.add_argument("--path", default="/", help="path and query of the URL (/)")
    parser.add_argument("--method", choices=["GET", "POST"], help="POST, or GET with all in the query")
    parser.add_argument("--header", action="append", default=[], metavar="'NAME: VALUE'", help="repeatable")
    parser.add_argument("--auth", metavar="USER[:PASSWORD]", help="a login, see OWT_PASSWORD")
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="give up when the server says nothing for so long (for ever)"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--url", action="store_true", help="print the call as a URL, do not call")
    instead.add_argument("--curl", action="store_true", help="print the call as a line for curl, do not call")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    _open_what_is_closed()
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] in (["ps"], ["stop"]):
        return _look_after(given)
    parser = _parser()
    if command := _misplaced(given):
        parser.error(f"{command} comes first: owt {command} [OPTIONS], see owt {command} --help")
    options = _parse(parser, given)
    if isinstance(options, int):
        return options
    try:
        address = Address(_address(options.address))
        auth = _auth(options.auth)
        code, call = _call(options, auth)
        if options.url:
            if address.socket:
                raise ValueError("a unix socket has no URL")
            return _put(os.fsencode(f"{address.url(call.target(call.form()))}\n"))
        if options.curl:
            from owt.client.curl import curl_line

            return _put(os.fsencode(f"{curl_line(address, call, auth, code)}\n"))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    try:
        try:
            answer = call.send(address)
        except OSError as error:
            return _unreachable(address, error, options.address is None)
        if not answer.ok:
            raise answer.error()
        return _write(answer)
    except CallError as error:
        return _tell(error)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _misplaced(arguments: list[str]) -> str:
    """ps or stop, where it stands behind options and nothing is to be called."""
    if any(word.startswith(("--f", "--c", "--r", "-h", "--h")) for word in arguments):
        return ""
    return next((word for word in arguments if word in ("ps", "stop")), "")


def _parse(parser: ArgumentParser, arguments: list[str]) -> Namespace | int:
    """An exit status if the help could not be written."""
    try:
        return parser.parse_args(arguments)
    except SystemExit:
        _put(b"")  # the help may be in a buffer
        raise
    except OSError as error:
        return _cannot_write(error)


def _look_after(arguments: list[str]) -> int:
    """owt ps, owt stop."""
    from owt.client.status import Status, parser, table

    made = parser()
    options = _parse(made, arguments)
    if isinstance(options, int):
        return options
    try:
        auth = _auth(options.auth)
        address = Address(_address(options.address))
    except ValueError as error:
        made.error(str(error))
    status = Status(address, options.path, authorization(auth) if auth else {}, options.timeout)
    try:
        if options.command == "stop":
            return max(_stop(status, call) for call in options.id)
        calls = status.calls()
        if options.json:
            import json

            return _put(f"{json.dumps(calls, indent=2)}\n".encode())
        return _put(table(calls).encode())
    except CallError as error:
        return _tell(error)
    except OSError as error:
        return _unreachable(address, error, options.address is None)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _stop(status: Status, call: str) -> int:
    try:
        return _put(f"{status.stop(call)}\n".encode())
    except CallError as error:
        return _tell(error)


def _call(options: Namespace, auth: str) -> tuple[Upload | None, Call]:
    code = None
    if options.file is not None:
        code = _upload(options.file)
        with code.open() as file:
            source = file.read()
    else:
        source = os.fsencode(options.code if options.run is None else _expression(options.run))
    fields = [(name, _value(text)) for name, text in options.arg]
    headers = authorization(auth) if auth else {}
    for line in options.header:
        name, colon, value = line.partition(":")
        if not colon:
            raise ValueError(f"--header wants 'Name: value', not {line!r}")
        headers[name.strip()] = value.strip()
    method = "GET" if options.url else options.method or "POST"
    return code, Call(
        *(source, options.kwargs, fields),
        method=method,
        path=options.path,
        fn_name=options.fn_name,
        headers=headers,
        timeout=options.timeout,
    )


def _expression(text: str) -> str:
    """ValueError unless text is one: then a mistake shows before anything is sent."""
    try:
        compile(f"(\n{text}\n)", "--run", "eval", dont_inherit=True)
    except SyntaxError as error:
        raise ValueError(f"--run takes one expression ({error.msg}); --code takes statements") from None
    return text


def _value(text: str) -> bytes | Upload:
    return _upload(text[1:]) if text[:1] == "@" else os.fsencode(text)


def _upload(path: str) -> Upload:
    if path != "-":
        return Upload(Path(path))
    try:
        return Upload(Path("-"), sys.stdin.buffer.read())
    except OSError as error:
        raise ValueError(f"standard input cannot be read: {error.strerror}") from None


def _address(given: str | None) -> str:
    if given is not None:
        return given
    address = os.environ.get("OWT_ADDRESS") or "localhost"
    port = os.environ.get("OWT_PORT")
    if not port or "://" in address or address.startswith("unix:"):
        return address
    return f"[{address}]:{port}" if address.count(":") > 1 and address[0] != "[" else f"{address}:{port}"


def _unreachable(address: Address, error: OSError, guessed: bool) -> int:
    said = f"owt: cannot reach {address}: {error.strerror or error}"
    if guessed and isinstance(error, ConnectionRefusedError) and not address.socket:
        said += "; if a server runs at another port or host, say so by --address HOST:PORT, or OWT_PORT"
    print(said, file=sys.stderr)
    return _FAILED


def _auth(given: str | None) -> str:
    """``user:password``; empty without a login. OWT_AUTH may be the server's, with a hash for a password."""
    user, _, password = (given if given is not None else os.environ.get("OWT_AUTH", "")).partition(":")
    if not user:
        return ""
    if given is None or not password:
        known = os.environ.get("OWT_PASSWORD")
        if not known and _HASH.fullmatch(password):
            raise ValueError(
                f"OWT_AUTH has the hash of {user}'s password, as the server wants it: the password itself belongs in"
                " OWT_PASSWORD, or in --auth USER:PASSWORD"
            )
        password = known or password
    if not password:
        raise ValueError(f"no password for {user}: --auth USER:PASSWORD, or OWT_PASSWORD in the environment")
    return f"{user}:{password}"


def _open_what_is_closed() -> None:
    """What the shell has closed (``<&-``) is there again, and fails when it is used: no socket gets its number.

    Nobody can be told what would go to standard error.
    """
    for name, flags in (("stdin", os.O_WRONLY), ("stdout", os.O_RDONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), "r" if name == "stdin" else "w"))


def _write(answer: Answer) -> int:
    progress = Progress(answer.length)
    with answer:
        try:
            for chunk in answer:
                if status := _put(chunk):
                    return status
                progress.add(len(chunk))
        finally:
            progress.end()
    return 0


def _put(chunk: bytes) -> int:
    """Not 0, but the exit status, if standard output takes no more."""
    try:
        sys.stdout.buffer.write(chunk)
        sys.stdout.flush()
    except OSError as error:
        return _cannot_write(error)
    return 0


def _cannot_write(error: OSError) -> int:
    # What is left in the buffer must not fail again when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return _PIPE_CLOSED
    print(f"owt: cannot write what comes: {error.strerror}", file=sys.stderr)
    return _FAILED


def _tell(error: CallError) -> int:
    """A problem is for the reader; any other body is the adaptor's, and goes where its answers go."""
    head, line, last = str(error).rpartition("\n")
    if error.body and not error.type:
        _put(error.body)
        head = line = ""
    if error.status == 401:
        last += ": --auth USER:PASSWORD says who asks"
    print(f"{head}{line}owt: {last}", file=sys.stderr)
    return _FAILED
