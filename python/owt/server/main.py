"""owt-server: becomes an nginx that runs owt."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import tempfile
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from owt.server.conf import Settings, conf, spelled
from owt.server.errors import ServerError
from owt.server.nginx import Nginx
from owt.server.places import activated, free_port, names, own_python, private, reachable, resolve
from owt.server.watch import watch_over

_DESCRIPTION = """\
Run owt until Ctrl-C, without knowing nginx: writes a configuration and becomes nginx. Adaptors run as you, with your
environment and your rights, also those of other users of this machine: --auth keeps them out, and lets others in.
With --publish nobody sends any: callers get your functions alone.
"""

_EPILOG = """\
examples:
  owt-server                                    # on http://localhost:9876
  owt-server --port 8000 --threads 2 -v         # -v shows what adaptors print
  owt-server --venv ~/venvs/speech              # with the packages of a virtualenv
  owt-server --address 0.0.0.0 --host gpu1 --tls cert.pem key.pem \\
      --auth me:$(printf %s "$password" | sha256sum | cut -d' ' -f1)
  owt-server --publish ~/functions              # forms for them at http://localhost:9876/api/
  owt-server --print-conf > nginx.conf          # from there on with nginx itself

environment:
  OWT_ADDRESS, OWT_PORT, OWT_AUTH (logins, separated by spaces), VIRTUAL_ENV: where the option is not given
"""


def _parser() -> ArgumentParser:
    env = os.environ
    parser = ArgumentParser(
        "owt-server", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--address",
        default=env.get("OWT_ADDRESS") or "localhost",
        help="where to listen: localhost (both loopback addresses), or an address of this machine",
    )
    parser.add_argument("--port", type=int, default=env.get("OWT_PORT") or "9876", help="9876; 0 is any that is free")
    parser.add_argument(
        "--auth",
        action="append",
        metavar="USER:SHA256",
        help="a login: user, and the SHA-256 of the password; repeatable",
    )
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which clients may ask for this machine; repeatable",
    )
    parser.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="pages from there, as https://app.example, may run code here; repeatable",
    )
    parser.add_argument("--timeout", default="", metavar="TIME", help="end calls without output for so long, as 30s")
    parser.add_argument("--cache-max", default="16m", metavar="SIZE", help="the largest result that is kept (16m)")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), type=_there, help="serve https with these files")
    parser.add_argument("--threads", type=int, default=8, metavar="N", help="calls that run at a time (8)")
    parser.add_argument(
        "--venv",
        type=_path,
        default=SUPPRESS,
        metavar="DIR",
        help="the virtualenv of adaptors: the activated one, or the one that pip has put this program into",
    )
    parser.add_argument(
        "--publish",
        type=_there,
        metavar="DIR",
        help="instead of any code that is sent, run functions from here: /api/speak calls run() of DIR/speak.py, /api/"
        " lists them with forms, /mcp has them for agents; at an address that others reach, anybody may call them",
    )
    parser.add_argument(
        "--dir", type=_path, help="for sources, uploads and the access log (in the temporary directory)"
    )
    parser.add_argument("--module", metavar="FILE", help="the module, if it is neither built nor installed here")
    parser.add_argument("--nginx", metavar="FILE", help="the nginx to run")
    parser.add_argument("-v", "--verbose", action="store_true", help="show what adaptors print, and nginx's doings")
    parser.add_argument("--print-conf", action="store_true", help="print the configuration, start nothing")
    return parser


def _path(text: str) -> Path | None:
    return Path(text).absolute() if text else None


def _there(text: str) -> Path:
    """Where an empty word, as of a shell's variable that is not set, must not stand for none."""
    if not text:
        raise ArgumentTypeError("is empty: name a directory or a file")
    return Path(text).absolute()


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns only where nothing is to be started: an exit status, which is not 0 if it cannot be."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except ServerError as error:
        print(f"owt-server: {error}", file=sys.stderr)
        return 1


def _run(options: Namespace) -> int:
    nginx = Nginx(options.nginx, options.module)
    addresses = resolve(options.address)
    port = options.port if options.print_conf and options.port else free_port(addresses, options.port)
    settings = Settings(
        addresses,
        port,
        auth=options.auth or os.environ.get("OWT_AUTH", "").split(),
        hosts=[*options.host, *names(options.address)],
        threads=options.threads,
        origins=options.allow_origin,
        timeout=options.timeout,
        cache_max=options.cache_max,
        path=options.publish or Path.cwd(),
        publish=options.publish,
        venv=options.venv if "venv" in options else activated() or own_python(),
        tls=(options.tls[0], options.tls[1]) if options.tls else None,
        level="info" if options.verbose else "warn",
    )
    # Without a login every user of this machine may send code anyway.
    folder: Path = options.publish or Path.cwd()
    if (options.publish or settings.auth) and folder.stat().st_mode & stat.S_IWOTH:
        remedy = f"chmod o-w {shlex.quote(str(folder))}" if options.publish else "start in another directory"
        print(
            f"owt-server: every user of this machine can put files into {folder}, and they run as you: {remedy}",
            file=sys.stderr,
        )
    text = conf(nginx, settings)
    if options.print_conf:
        sys.stdout.buffer.write(os.fsencode(text))
        return 0
    name = f"owt-{os.geteuid()}-{options.address}-{port}".replace("/", "_")
    directory = private(options.dir or Path(tempfile.gettempdir()) / name)
    (directory / "nginx.conf").write_bytes(os.fsencode(text))  # paths may be no UTF-8
    scheme = "https" if settings.tls else "http"
    url = f"{scheme}://{spelled(reachable(addresses), port)}{'/api/' if settings.publish else ''}"
    command = nginx.command(directory)
    pid_file = directory / "nginx.pid"
    pid_file.unlink(missing_ok=True)
    ready = f"owt-server: {url}, until Ctrl-C; files in {directory}\n"
    watch_over(pid_file, ready, (reachable(addresses), port))
    os.execv(command[0], command)
