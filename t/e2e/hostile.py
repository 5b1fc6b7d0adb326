"""Requests that must run nothing, made by chance: each kind by a generator that knows why, and who asks them."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from harness import SLOW, Server

ALICE = f"alice:{hashlib.sha256(b'open sesame').hexdigest()}"
PASSWORD = "Basic " + base64.b64encode(b"alice:open sesame").decode()

# One thread, so that what came before a call has run.
CONF = f"""
owt_instance default {{ threads 1; }}
large_client_header_buffers 4 64k;
keepalive_requests 100000;
server {{
    listen 127.0.0.1:{{port}};
    listen unix:{{dir}}/owt.sock;
    server_name gpu.example.com;
    location / {{ owt; }}
    location /strict/ {{ owt; owt_guard strict; }}
    location /old/ {{ owt; owt_allow http10; }}
    location /links/ {{ owt; owt_allow links; }}
    location /origin/ {{ owt; owt_allow origin https://app.example; }}
    location /login/ {{ owt; owt_auth {ALICE}; }}
    location /any/ {{ owt; owt_auth {ALICE}; owt_allow origin *; }}
}}
server {{
    listen 127.0.0.1:{{port2}};
    proxy_http_version 1.0;
    location / {{ proxy_pass http://127.0.0.1:{{port}}; }}
    location /forgetful/ {{ proxy_pass http://unix:{{dir}}/owt.sock:/; proxy_set_header Host $http_host; }}
}}
"""

# What the code returns if it is run, beside leaving a file behind.
SPRUNG = "it has run"

NAMING = [
    *("X-Forwarded-For", "X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "CF-Connecting-IP", "CF-Connecting-IPv6"),
    *("True-Client-IP", "Fastly-Client-IP", "Fly-Client-IP", "DO-Connecting-IP", "X-Original-Forwarded-For"),
    *("X-Azure-ClientIP", "X-Envoy-External-Address", "Client-IP", "X-Remote-IP", "X-Originating-IP", "X-ProxyUser-IP"),
]
SIGNS = [
    *("Via", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-User"),
    *("CF-Ray", "CF-Visitor", "CDN-Loop", "X-Varnish", "X-Amz-Cf-Id", "X-Original-Host", "X-Scheme", "Front-End-Https"),
]
ELSEWHERE = [
    *("10.9.9.9", "192.168.0.1:80", "[2001:db8::1]", "2001:db8::1", "::ffff:10.9.9.9", "0.0.0.0", "::", "unknown"),
    *("localhost", "127.1", "0177.0.0.1", "2130706433", "127.0.0.1.evil.example", "_hidden", "", ",", "127.0.0.1,"),
    *("127.0.0.1 10.9.9.9", "127.0.0.1;10.9.9.9", "[::1", "::1%lo", "127.0.0.256", "127.0.0.1:x", "unix:/x", "-"),
]
SITES = ["cross-site", "same-site", "none", "weird", "same-origin,", "Same-Origin", "same-origin, none", "cross-origin"]
MODES = ["navigate", "no-cors", "cors", "same-origin", "websocket", "", "weird"]
DESTS = [
    *("image", "script", "style", "font", "audio", "video", "track", "iframe", "frame", "embed", "object", "manifest"),
    *("worker", "sharedworker", "serviceworker", "report", "xslt", "json", "websocket", "fencedframe", "", "weird"),
]
FOREIGN = [
    *("https://evil.example", "http://localhost", "http://localhost:1", "https://localhost:{port}", "null", "file://"),
    *("http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:{port}@evil.example", "http://localhost:{port}/", ""),
    *("http://127.0.0.1:{port} https://evil.example", "chrome-extension://abc", "HTTP://127.0.0.1:{port}", "http://"),
    *("http://a.localhost:{port}", "http://[::1]:{port}", "//127.0.0.1:{port}", "127.0.0.1:{port}", "*"),
]
AGENTS = ["Mozilla/5.0 (X11; Linux x86_64) Chrome/120", "curl/8.1", "", "python-requests/2.31"]

# What this server answers to: a host or host:port in full, however lenient one is.
KNOWN = re.compile(
    r"(([a-z0-9_-]+\.)*localhost\.?|gpu\.example\.com\.?|127(\.[0-9]{1,3}){3}\.?|\[[0-9a-f:.]*\])(:[0-9]{1,5})?",
    re.IGNORECASE,
)


@dataclass
class Attempt:
    """A request, and whether it may be answered with the page that asks."""

    request: bytes
    port: str = "port"  # as the configuration calls it; or the path of a unix socket
    asks: bool = False
    closes: bool = False  # what comes after it is not HTTP: each has a connection of its own


Maker = Callable[["Chance"], Attempt]


class Chance:
    """Makes requests by chance, the same ones each time, for one server."""

    def __init__(self, seed: int, server: Server, trap: Path) -> None:
        self.random = random.Random(seed)
        self.port = server.port
        self.socket = f"{server.dir}/owt.sock"
        self.code = f"def run(*_, **fields):\n    open({str(trap)!r}, 'a').write('x')\n    return {SPRUNG!r}\n"

    def one(self, *of: str) -> str:
        return self.random.choice(of)

    def cased(self, name: str) -> str:
        return self.one(name, name.lower(), name.upper(), name.title())

    def foreign(self) -> str:
        return self.one(*FOREIGN).format(port=self.port)

    def query(self) -> str:
        """That brings the code, in one of its spellings."""
        code64 = base64.b64encode(self.code.encode()).decode()
        field = self.one(
            f"code={quote(self.code)}",
            f"c%6Fd%65={quote(self.code)}",
            f"code_b64={quote(code64)}",
            f"code_b64={code64.rstrip('=').replace('+', '-').replace('/', '_')}",
        )
        return self.one(field, f"a=1&{field}", f"{field}&use_cache=yes&x=%00", f"&&{field}&")

    def body(self) -> tuple[str, str]:
        """The code in a body: its type and text."""
        kind = self.one("application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data")
        if kind == "multipart/form-data":
            part = f'--b\r\nContent-Disposition: form-data; name="code"\r\n\r\n{self.code}\r\n--b--\r\n'
            return f"{kind}; boundary=b", part
        if kind == "application/x-www-form-urlencoded":
            return kind, urlencode({"code": self.code})
        return kind, json.dumps({"code": self.code})

    def request(
        self,
        *headers: tuple[str, str],
        path: str = "/",
        host: str | None = "localhost",
        version: str = "HTTP/1.1",
        method: str = "",
        target: str = "",
        in_query: bool | None = None,
    ) -> bytes:
        """One that runs the code, but for what is in these."""
        method = method or self.one("GET", "POST")
        fields = list(headers)
        if host is not None:
            fields.insert(0, ("Host", host))
        content = ""
        if in_query or method != "POST" or (in_query is None and self.random.random() < 0.5):
            path = f"{path}?{self.query()}"
        else:
            type, content = self.body()
            fields.append(("Content-Type", type))
        if method == "POST":
            fields.append(("Content-Length", str(len(content.encode()))))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return f"{method} {target}{path} {version}\r\n{head}\r\n{content}".encode("latin-1")

    def agent(self) -> list[tuple[str, str]]:
        agent = self.one(*AGENTS)
        return [("User-Agent", agent)] if agent else []


# ---- kinds -----------------------------------------------------------------------------------------------------------


def clients_elsewhere(chance: Chance) -> Attempt:
    value = chance.one(*ELSEWHERE)
    name = chance.one(*NAMING)
    kind = chance.random.randrange(4)
    if kind == 0:
        quoted = chance.one(value, f'"{value}"')
        value = chance.one(f"for={quoted}", f"for=127.0.0.1, for={quoted}", f"proto=http;for={quoted}", f"by={value}")
        headers = [(chance.cased("Forwarded"), value)]
    elif kind == 1:
        headers = [(chance.cased(name), "127.0.0.1"), (chance.cased(name), value)]
        chance.random.shuffle(headers)
    elif kind == 2:
        headers = [(chance.cased(name), chance.one(f"127.0.0.1, {value}", f"{value}, ::1"))]
    else:
        headers = [(chance.cased(name), value), (chance.one("X-Forwarded-For", "X-Real-IP"), "127.0.0.1")]
        if name in ("X-Forwarded-For", "X-Real-IP") or not value:
            headers.pop()
    path = chance.one("/", "/strict/", "/old/", "/links/", "/origin/")
    return Attempt(chance.request(*headers, *chance.agent(), path=path, version=chance.one("HTTP/1.1", "HTTP/1.0")))


def fronts_that_name_nobody(chance: Chance) -> Attempt:
    kind = chance.random.randrange(4)
    claims = [("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "::1"), ("Forwarded", "for=127.0.0.1")]
    claim = [chance.random.choice(claims)] if chance.random.random() < 0.5 else []
    if kind == 0:
        return Attempt(chance.request((chance.cased(chance.one(*SIGNS)), chance.one("127.0.0.1", "x", "1.1 front"))))
    if kind == 1:
        return Attempt(chance.request(*claim, *chance.agent(), version="HTTP/1.0"))
    if kind == 2:
        claim = [one for one in claim if one[0] != "X-Forwarded-For"]
        return Attempt(chance.request(*claim, *chance.agent()), chance.socket)
    return Attempt(chance.request(*claim, *chance.agent(), path=chance.one("/", "/forgetful/")), "port2")


def _strange_host(chance: Chance) -> str:
    own = ["localhost", "127.0.0.1", "[::1]", "gpu.example.com", "a.localhost", "[0:0:0:0:0:0:0:1]", "LOCALHOST."]
    parts = [
        ":80",
        ":",
        "@",
        ".",
        ".evil.example",
        "evil.example",
        ":x",
        "@evil.example",
        ":80@evil.example",
        "%00",
        "]",
    ]
    parts += [":99999", ":-1", ",", ";", "%2e", "..", "[", "_", "6", "-", "\xe9", "\t", "'", '"', "\\", "#", "?", "*"]
    while True:
        pieces = [chance.one(*own)] + [chance.one(*parts) for _ in range(chance.random.randrange(1, 4))]
        if chance.random.random() < 0.4:
            chance.random.shuffle(pieces)
        host = "".join(pieces)
        if not KNOWN.fullmatch(host.strip()):
            return host


def hosts_of_others(chance: Chance) -> Attempt:
    host = chance.one(
        _strange_host(chance), _strange_host(chance), _strange_host(chance), "evil.example", "0.0.0.0", "[::]", "127.1"
    )
    kind = chance.random.randrange(4)
    if kind == 0 and not re.search("[?#]", host):  # which would end it
        target = f"http://{host}"
        return Attempt(chance.request(target=target, host=chance.one("localhost", host)), closes=True)
    if kind == 1:
        known = chance.one("localhost", "127.0.0.1:80")
        return Attempt(chance.request(("Host", host), host=chance.one(known, host)), closes=True)
    if kind == 2:
        return Attempt(chance.request(host=host, target=f"http://{chance.one('localhost', '127.0.0.1')}"), closes=True)
    version = chance.one("HTTP/1.1", "HTTP/1.0")
    return Attempt(
        chance.request(("X-Forwarded-For", "127.0.0.1"), host=chance.one(host, host, ""), version=version), closes=True
    )


def _fetch(site: str, mode: str, dest: str) -> list[tuple[str, str]]:
    return [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", dest)]


def pages_elsewhere(chance: Chance) -> Attempt:
    mode, dest = chance.one(*MODES), chance.one("empty", "document", *DESTS)
    site = chance.one(*SITES)
    while (mode, dest) == ("navigate", "document") and site in SITES[:3]:
        mode = chance.one(*MODES)
    headers = _fetch(site, mode, dest)
    if chance.random.random() < 0.3:
        headers.append(("Sec-Fetch-Site", chance.one("same-origin", site)))
    if chance.random.random() < 0.6:
        headers.append(("Origin", chance.foreign()))
    if chance.random.random() < 0.3:
        headers.append(("Referer", chance.one(chance.foreign(), f"http://localhost:{chance.port}/")))
    path = chance.one("/", "/strict/", "/links/", "/origin/")
    return Attempt(chance.request(*headers, *chance.agent(), path=path))


def links_elsewhere(chance: Chance) -> Attempt:
    headers = [*_fetch(chance.one(*SITES[:3]), "navigate", "document"), ("Upgrade-Insecure-Requests", "1")]
    if chance.random.random() < 0.3:
        headers = [("User-Agent", AGENTS[0]), ("Upgrade-Insecure-Requests", "1")]
    if chance.random.random() < 0.5:
        headers.append(("Referer", "https://wiki.example/page"))
    path = chance.one("/", "/strict/", "//evil.example/", "/origin/", "/%22%3E%3Cscript%3E/")
    return Attempt(chance.request(*headers, path=path, method="GET"), asks=True)


def pages_that_say_little(chance: Chance) -> Attempt:
    headers = chance.agent()
    kind = chance.random.randrange(3)
    if kind == 0:
        headers.append(("Origin", chance.foreign()))
        headers.append(("Referer", chance.one(chance.foreign(), f"http://localhost:{chance.port}/")))
    elif kind == 1:
        own = f"http://localhost:{chance.port}"
        headers += [("Origin", own), ("Origin", chance.foreign())]
        chance.random.shuffle(headers)
    else:
        referer = chance.foreign().removesuffix("/")
        headers.append(("Referer", referer if referer != f"http://localhost:{chance.port}" else "x"))
    host = f"localhost:{chance.port}"
    return Attempt(chance.request(*headers, path=chance.one("/", "/links/", "/strict/", "/origin/"), host=host))


def elements_of_own_pages(chance: Chance) -> Attempt:
    own = f"http://localhost:{chance.port}"
    if chance.random.random() < 0.7:
        headers = _fetch("same-origin", chance.one(*MODES), chance.one(*DESTS))
        method = chance.one("GET", "POST", "GET")
    else:
        accept = chance.one("image/avif,image/webp,*/*;q=0.8", "image/*", "text/css,*/*;q=0.1", "video/webm,*/*;q=0.5")
        headers = [("User-Agent", AGENTS[0]), ("Referer", f"{own}/page"), ("Accept", accept)]
        method = "GET"
    path = chance.one("/", "/links/", "/strict/", "/origin/")
    return Attempt(chance.request(*headers, path=path, method=method, host=f"localhost:{chance.port}", in_query=True))


def guesses(chance: Chance) -> Attempt:
    guess = chance.random.choice(
        [
            ("Sec-Purpose", "prefetch"),
            ("Sec-Purpose", "prefetch;prerender"),
            ("Purpose", "Prefetch"),
            ("X-Moz", "prefetch"),
            ("Ping-To", "https://evil.example/"),
        ]
    )
    site = chance.one("same-origin", *SITES[:3])
    headers = chance.random.choice([[], _fetch(site, "navigate", "document"), _fetch(site, "no-cors", "empty")])
    return Attempt(chance.request((chance.cased(guess[0]), guess[1]), *headers, path=chance.one("/", "/links/")))


def passwords_that_browsers_remember(chance: Chance) -> Attempt:
    origin = chance.one("https://evil.example", f"http://localhost:{chance.port + 1}", "http://localhost")
    headers = [("Origin", origin), ("Authorization", PASSWORD), ("X-Requested-With", "app")]
    if chance.random.random() < 0.6:
        headers += _fetch(chance.one("same-site", "cross-site"), chance.one("cors", "no-cors", "navigate"), "empty")
    while True:
        request = chance.request(*headers, path=chance.one("/any/", "/login/"), host=f"localhost:{chance.port}")
        if b"\r\nContent-Type: application/json" not in request:
            return Attempt(request)


def wrong_logins(chance: Chance) -> Attempt:
    user = chance.one("alice", "Alice", "bob", "", "alice\0", "alice:", "alice ")
    password = chance.one("open sesam", "", ALICE[6:], "Open sesame", "open sesame ", ":open sesame")
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    value = chance.one(
        *(
            f"Basic {pair}",
            f"basic {pair}",
            f"Basic {pair}=",
            f"Bearer {PASSWORD[6:]}",
            PASSWORD[6:],
            "Basic",
            "Basic ",
        ),
        *(f"Digest {pair}", f"Basic{PASSWORD[6:]}", f"Basic {PASSWORD[6:]} x", "Basic " + "A" * 4000, f"X {PASSWORD}"),
    )
    return Attempt(chance.request(("Authorization", value), path=chance.one("/login/", "/any/")))


def redirects(chance: Chance) -> Attempt:
    headers = chance.random.choice([[], [("Accept", "*/*")], [("Sec-Fetch-Mode", "cors")], [("Accept-Encoding", "br")]])
    agent = [("User-Agent", chance.one(*AGENTS[1:]))]
    return Attempt(chance.request(*headers, *agent, path="/strict/", in_query=True))


def bodies_that_are_none(chance: Chance) -> Attempt:
    """Cut off, or bytes by chance: no protocol of owt's."""
    noise = chance.random.randbytes(chance.random.randrange(1, 400))
    type, text = chance.body()
    starts = [
        b"{",
        b"[",
        b"code=%",
        b"--b\r\n",
        b'--b\r\nContent-Disposition: form-data; name="code"\r\n\r\n',
        b"\xef\xbb\xbf{",
    ]
    body = chance.random.choice(
        [
            noise,
            chance.random.choice(starts) + b"\xff" + noise,
            text.encode()[: chance.random.randrange(len(text) // 2)] + b"\xff\0",
        ]
    )
    type = chance.one(
        type, "application/json", "multipart/form-data", "multipart/form-data; boundary=", "", "\xff/\xfe"
    )
    length = f"Content-Type: {type}\r\nContent-Length: {len(body)}\r\n\r\n".encode("latin-1")
    return Attempt(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + length + body)


def heads_that_are_none(chance: Chance) -> Attempt:
    """Against the rules of HTTP, with a request from elsewhere behind, that a gap in the rules would let in."""
    inner = chance.request(host="evil.example", method="GET")
    size = len(inner)
    start = "POST /nowhere HTTP/1.1\r\nHost: evil.example\r\n"
    head = chance.one(
        f"{start}Content-Length: {size}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"{start}Content-Length: 0\r\nContent-Length: {size}\r\n\r\n",
        f"{start}Content-Length: -{size}\r\n\r\n",
        f"{start}Content-Length: {size}, 0\r\n\r\n",
        f"{start}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        f"{start}Transfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n",
        f"{start}Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n",
        f"{start}Transfer-Encoding: chunked\r\n\r\n{'F' * 17}\r\n",
        f"{start}Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        f"{start}Content-Length: 0\r\n\r\n",
        f"{start}Content-Length : {size}\r\n\r\n",
        f"{start} Host: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\0.evil.example\r\n\r\n",
        "GET / HTTP/1.1\nHost: evil.example\n\n",
        "GET /\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        f"GET /{'a' * 70000} HTTP/1.1\r\n\r\n",
        f"GET / HTTP/1.1\r\nX: {'a' * 70000}\r\n\r\n",
        "\r\n\r\n\r\n",
    )
    noise = chance.random.randbytes(chance.random.randrange(40)) if chance.random.random() < 0.2 else b""
    return Attempt(head.encode("latin-1") + noise + inner, closes=True)


KINDS: dict[str, Maker] = {
    kind.__name__.replace("_", " "): kind
    for kind in (
        *(clients_elsewhere, fronts_that_name_nobody, hosts_of_others, pages_elsewhere, links_elsewhere),
        *(pages_that_say_little, elements_of_own_pages, guesses, passwords_that_browsers_remember, wrong_logins),
        *(redirects, bodies_that_are_none, heads_that_are_none),
    )
}


# ---- asking ----------------------------------------------------------------------------------------------------------


class Asker:
    """Sends attempts, on connections that are kept while the server keeps them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._kept: dict[str, socket.socket] = {}

    def _connect(self, port: str) -> socket.socket:
        if port.startswith("/"):
            made = socket.socket(socket.AF_UNIX)
            made.connect(port)
        else:
            made = self._server.connect(self._server.port_of(port))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.settimeout(30 * SLOW)
        return made

    def ask(self, attempt: Attempt) -> bytes:
        """All that comes back: of this request, or until the server closes."""
        connection = self._kept.pop(attempt.port, None) if not attempt.closes else None
        connection = connection or self._connect(attempt.port)
        received = b""
        try:
            connection.sendall(attempt.request)
            if attempt.closes:
                connection.shutdown(socket.SHUT_WR)
            while True:
                block = connection.recv(1 << 16)
                received += block
                head, end, body = received.partition(b"\r\n\r\n")
                length = re.search(rb"\r\nContent-Length: (\d+)", head)
                if not block:
                    break
                if not attempt.closes and end and length and len(body) >= int(length[1]):
                    if b"Connection: keep-alive" in head:
                        self._kept[attempt.port] = connection
                        return received
                    break
        except (ConnectionResetError, BrokenPipeError):
            pass  # what was refused is not read to its end
        connection.close()
        return received

    def close(self) -> None:
        for connection in self._kept.values():
            connection.close()


STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3}) ", re.MULTILINE)


def is_held(attempt: Attempt, answer: bytes) -> bool:
    """The server has refused it, whatever came along, or asks; and nothing has broken."""
    statuses = [int(status) for status in STATUS.findall(answer)]
    if SPRUNG.encode() in answer.replace(f"return '{SPRUNG}'".encode(), b"").replace(
        b"return &#39;it has run&#39;", b""
    ):
        return False
    if attempt.asks:
        return statuses == [200] and b"data-href=" in answer
    # nginx closes what is no HTTP at all without a word. HTTP/0.9 has no statuses.
    return all(400 <= status < 500 or status in (501, 505) for status in statuses)


def attack(server: Server, trap: Path, kind: str, count: int, seed: int = 0) -> Iterator[tuple[Attempt, bytes]]:
    """Tries so many of a kind; yields those that were not held, with what came back."""
    chance = Chance(seed, server, trap)
    asker = Asker(server)
    try:
        for _ in range(count):
            attempt = KINDS[kind](chance)
            answer = asker.ask(attempt)
            if trap.exists() or not is_held(attempt, answer):
                yield attempt, answer
                trap.unlink(missing_ok=True)
    finally:
        asker.close()
    # There is one thread: what came before this call has run.
    assert server.run("def run(): return 'after'").text == "after"
    if trap.exists():
        yield attempt, b"ran, some time"
