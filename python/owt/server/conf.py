"""The text of nginx.conf. conf/nginx.conf, which has the reasons, is its model."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from owt.server.errors import ServerError
from owt.server.nginx import Nginx
from owt.server.places import no_python_in

_AUTH = re.compile(r"[^:\s]+:[0-9a-fA-F]{64}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[0-9]+[a-zA-Z]{0,2}")
#: Not for adaptors: logins, nginx's own, and what belongs to the shell.
_KEPT_BACK = frozenset(("OWT_AUTH", "OWT_PASSWORD", "NGINX", "_", "SHLVL", "PWD", "OLDPWD"))


@dataclass(frozen=True)
class Settings:
    """What the conf says. ServerError where that would be refused, or would refuse everybody."""

    listen: Sequence[str]  #: IP addresses
    port: int
    auth: Sequence[str] = ()  #: ``user:sha256``
    hosts: Sequence[str] = ()  #: names by which it may be asked for, beside its addresses
    threads: int = 8
    origins: Sequence[str] = ()  #: of pages elsewhere whose scripts may run code here
    timeout: str = ""  #: nginx's time, as ``30s``, without output; empty: none
    cache_max: str = "16m"  #: nginx's size of the largest result that is kept
    path: Path | None = None  #: a directory whose modules adaptors may import
    publish: Path | None = None  #: a directory whose functions are called, and nothing that a client sends
    venv: Path | None = None
    tls: tuple[Path, Path] | None = None  #: certificate and key
    level: str = "warn"  #: of the error log, which is stderr

    def __post_init__(self) -> None:
        for auth in self.auth:
            if not _AUTH.fullmatch(auth):
                raise ServerError(
                    f"{auth.partition(':')[0]!r}: a login is user:sha256, with the password's SHA-256 in 64 hex digits:"
                    " printf %s PASSWORD | sha256sum"
                )
        for name, value in (("timeout", self.timeout), ("cache-max", self.cache_max)):
            if value and not _NUMBER.fullmatch(value):
                raise ServerError(f"--{name} {value!r}: give it as nginx writes it, as 30s for a time, 16m for a size")
        for path in (self.publish, self.path, self.venv):
            try:
                str(path).encode()
            except UnicodeEncodeError:
                raise ServerError(
                    f"the path {os.fsencode(str(path))!r} is no UTF-8, which Python's modules want: rename it, or"
                    " start in another directory"
                ) from None
        if self.publish and not self.publish.is_dir():
            raise ServerError(
                f"--publish {self.publish}: is no directory; it takes one with files of Python, of which each has a"
                " function run"
            )
        if self.venv and (wrong := no_python_in(self.venv)):
            raise ServerError(wrong)
        if self.publish and self.origins:
            raise ServerError(
                "--allow-origin is for pages that send code, and with --publish none is taken: --print-conf writes a"
                " configuration, and there `owt_allow origin` in location /api/ lets such a page call"
            )
        remote = [address for address in self.listen if not ip_address(address).is_loopback]
        if remote and not self.auth and not self.publish:
            raise ServerError(
                f"{remote[0]} can be reached from other machines, and without a login owt refuses everybody who comes"
                " from there, as it runs any code that it is sent: give --auth user:sha256, or listen on localhost,"
                " or --publish a directory whose functions anybody may call"
            )


def conf(nginx: Nginx, settings: Settings) -> str:
    """Relative paths begin at nginx's prefix."""
    main = [
        "# Relative paths begin at a directory of one's own: mkdir -m 700 DIR && nginx -p DIR -c $PWD/nginx.conf",
        "daemon off;",
        *([f"load_module {quoted(nginx.module)};"] if nginx.module else []),
        "pid nginx.pid;",
        f"error_log stderr {settings.level};",
        *(["user root;"] if os.geteuid() == 0 else []),  # adaptors run as who starts this
        *(f"env {name};" for name in sorted(os.environ) if _NAME.fullmatch(name) and name not in _KEPT_BACK),
    ]
    http = [
        *([f"include {quoted(nginx.mime_types)};"] if nginx.mime_types else []),
        "default_type text/plain;",
        "sendfile on;",
        *(f"{kind}_temp_path {kind.split('_')[-1]};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")),
        "owt_dir sources;",
        "client_max_body_size 1g;",
        "client_body_buffer_size 1m;",
        "large_client_header_buffers 4 256k;",
        "send_timeout 60s;",
        "# Without the query, which may hold code, arguments and secrets.",
        """log_format owt '$remote_addr - $remote_user [$time_local] "$request_method $uri $server_protocol" '""",
        """               '$status $body_bytes_sent $request_time "$http_user_agent"';""",
        "access_log access.log owt;",
        "owt_zone results 64m;",
        "owt_cache results;",
        f"owt_cache_max {settings.cache_max};",
        *([f"owt_timeout {settings.timeout};"] if settings.timeout else []),
    ]
    instance = [f"threads {settings.threads}{' 64' if settings.threads == 8 else ''};"]
    if settings.venv:
        instance.append(f"python_home {quoted(settings.venv)};")
    if settings.path:
        instance.append(f"python_path {quoted(settings.path)};")
    server = [f"listen {spelled(address, settings.port)}{' ssl' * bool(settings.tls)};" for address in settings.listen]
    if settings.tls:
        server += [f"ssl_certificate {quoted(settings.tls[0])};", f"ssl_certificate_key {quoted(settings.tls[1])};"]
    server += [f"owt_auth {quoted(auth)};" for auth in settings.auth]
    server += [f"owt_allow host {quoted(host)};" for host in settings.hosts]
    server += [f"owt_allow origin {quoted(origin)};" for origin in settings.origins]
    server += [*(_published(settings.publish) if settings.publish else ["location / { owt; }"])]
    server.append("location /owt/ { owt_status; }")
    blocks = [*http, *_block("owt_instance default", instance), *_block("server", server)]
    return "\n".join(
        [*main, "worker_shutdown_timeout 1h;", "events { worker_connections 1024; }", *_block("http", blocks), ""]
    )


def _published(directory: Path) -> list[str]:
    return [
        "absolute_redirect off;",  # this server may have another name or port for who asks
        "location = / { return 302 /api/; }",
        'location / { return 404 "This server runs no code that it is sent. Its functions: /api/\\n"; }',
        f"location /api/ {{ owt_root {quoted(directory)}; }}",
        f"location = /mcp {{ owt_mcp {quoted(directory)}; }}",
    ]


def _block(head: str, lines: Sequence[str]) -> list[str]:
    return [f"{head} {{", *(f"    {line}" for line in lines), "}"]


def spelled(address: str, port: int) -> str:
    """An address with its port, as nginx and URLs have it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def quoted(text: object) -> str:
    """A word of nginx's configuration, whatever is in it."""
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
