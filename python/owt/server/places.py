"""Which addresses and which port to listen on, a directory that is nobody else's, and the Python that runs this."""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import socket
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from owt.server.errors import ServerError

_LOCALHOST = ("127.0.0.1", "::1")
#: Of a socket in /proc/net/tcp.
_LISTEN = "0A"


def resolve(host: str) -> list[str]:
    """The IP addresses that host stands for. ServerError if they are not this machine's.

    ``localhost`` is both loopback addresses, as far as this machine has them.
    """
    if host == "localhost":
        return [address for address in _LOCALHOST if _is_ours(address)]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ServerError(f"{host!r} is no address: {error.strerror}") from None
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    for address in addresses:
        if not _is_ours(address):
            raise ServerError(f"{address} is no address of this machine: `ip address` shows those that are")
    return addresses


def names(host: str) -> list[str]:
    """Those by which clients may ask for it, beside its addresses: host itself, unless it is an address."""
    try:
        ip_address(host)
    except ValueError:
        return [host] if host != "localhost" else []
    return []


def free_port(addresses: Sequence[str], port: int, how: str = "--port {}") -> int:
    """The port, if it is free on all the addresses; for 0 one that is. ServerError if it is not.

    how is what to type to have another one.
    """
    if not 0 <= port < 1 << 16:
        raise ServerError(f"{port} is no port: from 1 to 65535, or 0 for any that is free")
    if port:
        _try(addresses, port, how)
        return port
    while True:
        with _bind(addresses[0], 0) as probe:
            chosen: int = probe.getsockname()[1]
        try:
            _try(addresses, chosen, how)
            return chosen
        except ServerError:
            continue  # free on the first address, taken on another


def reachable(addresses: Sequence[str]) -> str:
    """Where this machine finds who listens on these addresses."""
    return {"0.0.0.0": _LOCALHOST[0], "::": _LOCALHOST[1]}.get(addresses[0], addresses[0])


def _is_ours(address: str) -> bool:
    try:
        _bind(address, 0).close()
    except OSError:
        return False
    return True


def _try(addresses: Sequence[str], port: int, how: str) -> None:
    for address in addresses:
        try:
            _bind(address, port).close()
        except OSError as error:
            if error.errno == errno.EACCES:
                raise ServerError(f"port {port} is for root: choose one from 1024, as {how.format(9876)}") from None
            raise ServerError(
                f"port {port} of {address} is taken by {_holder(port)}, or choose another port:"
                f" {how.format(_free_from(addresses, port))}"
            ) from None


def _free_from(addresses: Sequence[str], port: int) -> int:
    """The next one that is free."""
    other: int
    for other in (*range(port + 1, 1 << 16), *range(1024, port)):
        with suppress(OSError):
            for address in addresses:
                _bind(address, other).close()
            return other
    return 0


def _holder(port: int) -> str:
    """Who listens on the port, as far as the kernel tells, and what to do about it."""
    listening = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                _, local, _, state, _, _, _, owner, _, inode, *_ = line.split()
                if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                    listening[f"socket:[{inode}]"] = int(owner)
    for process in sorted(int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()):
        with suppress(OSError):
            if any(str(fd.readlink()) in listening for fd in Path(f"/proc/{process}/fd").iterdir()):
                name = Path(f"/proc/{process}/comm").read_text().strip()
                return f"{name} (process {process}): end that, as `kill {process}` does"
    for uid in listening.values():
        return f"a program of the user {_user(uid)}, who may end that"
    return "another program: end that"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _bind(address: str, port: int) -> socket.socket:
    """As nginx does."""
    probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if probe.family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind((address, port))
    except OSError:
        probe.close()
        raise
    return probe


def private(directory: Path) -> Path:
    """Makes a directory with mode 0700, if it is not there. ServerError if somebody else could get at it."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ServerError(f"cannot make the directory {directory}: {error.strerror}; --dir names another") from None
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ServerError(f"{directory} has to be a directory of yours with mode 0700; --dir names another")
    return directory


def activated() -> Path | None:
    """The virtualenv that a shell or uv has activated. ServerError if it is gone, or may not be reached."""
    named = os.environ.get("VIRTUAL_ENV", "")
    if not named:
        return None
    home = Path(named).absolute()
    try:
        gone = not stat.S_ISDIR(home.stat().st_mode)
    except PermissionError:
        raise ServerError(no_python_in(home)) from None
    except OSError:
        gone = True
    if gone:
        raise ServerError(
            f"VIRTUAL_ENV, which names the activated virtualenv, is {named}, and there is no such directory:"
            f" `deactivate` or `unset VIRTUAL_ENV`, or make it anew, `python3 -m venv {shlex.quote(named)}`"
        )
    return home


def no_python_in(home: Path) -> str:
    """Why a directory has no Python, for who knows no nginx, which would name a line of its configuration; empty if it
    has one, or if nginx is to say what is wrong.
    """
    python = home / "bin/python3"
    try:
        python.stat()
    except PermissionError:
        return (
            f"the Python of {home} is {os.path.realpath(python)}, where you may not go: make a virtualenv of your own,"
            " with a Python that you may run, `/usr/bin/python3 -m venv DIR`"
        )
    except OSError:
        if python.is_symlink():
            return ""
    else:
        return ""
    for outer in (home.parent, home.parent.parent):
        if (outer / "pyvenv.cfg").exists():
            return f"{home} is no virtualenv, but lies in one: --venv {shlex.quote(str(outer))}"
    if not home.exists():
        return f"there is no virtualenv {home}: `python3 -m venv {shlex.quote(str(home))}` makes one"
    return f"{home} is no virtualenv, as it has no bin/python3: --venv wants one, or a Python's own directory"


def own_python() -> Path | None:
    """The Python that this runs in, if this package has been installed there with its bridge, as pip does it."""
    return Path(sys.prefix) if any(found for folder in folders() for found in folder.glob("_bridge.*.so")) else None


def folders() -> list[Path]:
    """Where this package lies: installed to be edited (``pip install -e``) it is in two places, the bridge in one."""
    return [Path(folder).resolve() for folder in sys.modules[__name__.partition(".")[0]].__path__]
