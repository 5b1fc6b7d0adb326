"""HTTP/2 over TLS."""

import hashlib
import json
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
from asking import wait_text
from gate import ASYNC, PAUSE, Gate
from harness import Server, certificate, wait_until

CONF = """
owt_stream_buffer 64k;
owt_instance default { queue 200; }
client_max_body_size 16m;
ssl_certificate {cert};
ssl_certificate_key {key};
server {
    listen 127.0.0.1:{port} ssl http2;
    location / { owt; }
    location /brief { owt; owt_timeout 200ms; }
    location /late { proxy_pass http://unix:{dir}/nobody.sock; proxy_request_buffering off; proxy_http_version 1.1;
                     error_page 502 = @owt; }
    location @owt { owt; }
}
"""

ECHO = "def run(request, name): return f'Hello, {name}!'"

STREAM = f"def run(_, gate):\n    yield 'begun,'\n    pause(gate)\n    yield 'done'\n{PAUSE}"

# What each says at its end, by the name of the function.
ENDS = """
import asyncio, owt, pathlib, time
def running(_, file):
    try:
        pathlib.Path(file + ".begun").touch()
        while True:
            time.sleep(0.001)
    except owt.Cancelled:
        pathlib.Path(file).write_text("ended")
async def coroutine(_, file):
    try:
        pathlib.Path(file + ".begun").touch()
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        pathlib.Path(file).write_text("ended")
        raise
def streaming(_, file):
    try:
        while True:
            yield "x"
            pathlib.Path(file + ".begun").touch()
            time.sleep(0.001)
    finally:
        pathlib.Path(file).write_text("ended")
def flood(_, file):
    try:
        while True:
            yield "x" * 65536
            pathlib.Path(file + ".begun").touch()
    finally:
        pathlib.Path(file).write_text("ended")
async def async_flood(_, file):
    try:
        while True:
            yield "x" * 65536
            pathlib.Path(file + ".begun").touch()
    finally:
        pathlib.Path(file).write_text("ended")
"""

E = TypeVar("E", bound=h2.events.Event)


class Client:
    """A connection whose streams can be looked at and reset one by one."""

    def __init__(self, server: Server, *, reads: bool = True) -> None:
        """One that does not read lets each stream's window run full."""
        context = ssl.create_default_context(cafile=str(certificate()[0]))
        context.set_alpn_protocols(["h2"])
        self.socket = context.wrap_socket(server.connect(), server_hostname="localhost")
        self._reads = reads
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._events: list[h2.events.Event] = []
        self._flush()

    def _flush(self) -> None:
        self.socket.sendall(self._h2.data_to_send())

    def ask(self, code: str, path: str = "/", **fields: object) -> int:
        """Sends a call; its stream."""
        stream = self.begin(path)
        self.send(stream, json.dumps({"code": code, **fields}).encode(), end=True)
        return stream

    def begin(self, path: str, *headers: tuple[str, str]) -> int:
        """Sends the head of a call."""
        stream = int(self._h2.get_next_available_stream_id())
        head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        self._h2.send_headers(stream, [*head, ("content-type", "application/json"), *headers])
        self._flush()
        return stream

    def send(self, stream: int, data: bytes, *, end: bool) -> None:
        """Sends some of a body, as the server makes room for it."""
        while data:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room == 0:
                self._receive()
                continue
            self._h2.send_data(stream, data[:room])
            data = data[room:]
            self._flush()
        if end:
            self._h2.end_stream(stream)
            self._flush()

    def reset(self, stream: int) -> None:
        self._h2.reset_stream(stream, 8)  # CANCEL
        self._flush()

    def wait(self, stream: int, kind: type[E]) -> E:
        """The next event of this kind on the stream."""
        while True:
            for event in self._events:
                if isinstance(event, kind) and event.stream_id == stream:
                    self._events.remove(event)
                    return event
            self._receive()

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        assert data, "the server has closed the connection"
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.DataReceived) and self._reads:
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self._events.append(event)
        self._flush()

    def status(self, stream: int) -> int:
        return int(dict(self.wait(stream, h2.events.ResponseReceived).headers)[":status"])

    def read(self, stream: int) -> str:
        """The stream's next piece."""
        return bytes(self.wait(stream, h2.events.DataReceived).data).decode()

    def rest(self, stream: int) -> str:
        """All that is left until the stream's proper end."""
        self.wait(stream, h2.events.StreamEnded)
        data = [e for e in self._events if isinstance(e, h2.events.DataReceived) and e.stream_id == stream]
        return "".join(e.data.decode() for e in data)

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    client = Client(server)
    yield client
    client.close()


@pytest.fixture(scope="module")
def web(server: Server) -> httpx.Client:
    return server.client(f"https://127.0.0.1:{server.port}", http2=True)


def test_echo(web: httpx.Client) -> None:
    answer = web.post("/", json={"code": ECHO, "name": "owt"})
    assert answer.text == "Hello, owt!"
    assert answer.http_version == "HTTP/2"


def test_the_adaptor_sees_a_secure_request(web: httpx.Client) -> None:
    code = "def run(request): return [request.is_secure, request.host_url, request.environ['SERVER_PROTOCOL']]"
    port = web.base_url.port
    assert web.post("/", json={"code": code}).json() == [True, f"https://127.0.0.1:{port}/", "HTTP/2.0"]


def test_headers_of_an_answer_are_small_letters(web: httpx.Client) -> None:
    answer = web.post("/", json={"code": "def run(_): return 'x', {'X-Answer': 'yes'}"})
    assert (b"x-answer", b"yes") in answer.headers.raw


def test_head_has_the_length_and_no_body(web: httpx.Client) -> None:
    params = {"code": ECHO, "name": "owt"}
    answer = web.head("/", params=params)
    assert answer.headers["content-length"] == str(len("Hello, owt!"))
    assert answer.content == b""
    assert web.get("/", params=params).text == "Hello, owt!"


def test_upload(web: httpx.Client) -> None:
    code = "import hashlib\ndef run(request): return hashlib.sha256(request.data).hexdigest()"
    body = bytes(range(256)) * (8 << 10)
    answer = web.post("/", params={"code": code}, content=body)
    assert answer.text == hashlib.sha256(body).hexdigest()


def test_upload_of_a_form(web: httpx.Client) -> None:
    files = {
        "code": ("echo.py", b"def run(_, image): return str(len(image.read()))"),
        "image": ("a.png", bytes(1 << 20)),
    }
    assert web.post("/", files=files).text == str(1 << 20)


def test_a_large_answer_is_complete(web: httpx.Client) -> None:
    answer = web.post("/", json={"code": "def run(_):\n    for i in range(64): yield bytes([i]) * 65536\n"})
    assert answer.content == b"".join(bytes([i]) * 65536 for i in range(64))


def test_each_chunk_comes_when_it_is_yielded(client: Client, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    stream = client.ask(STREAM, gate=str(gate))
    assert client.status(stream) == 200
    assert client.read(stream) == "begun,"
    gate.open()
    assert client.rest(stream) == "done"


@pytest.mark.parametrize("function", ["running", "coroutine", "streaming", "flood", "async_flood"])
def test_a_reset_stream_cancels_its_call_and_no_other(server: Server, tmp_path: Path, function: str) -> None:
    client = Client(server, reads=False)
    gate = Gate(tmp_path)
    other = client.ask(ASYNC, gate=str(gate))
    gate.wait_reached()
    stream = client.ask(ENDS, fn_name=function, file=str(tmp_path / "end"))
    wait_until((tmp_path / "end.begun").exists, "the call")
    client.reset(stream)
    assert wait_text(tmp_path / "end") == "ended"
    gate.open()
    assert client.status(other) == 200
    client.close()


def test_a_closed_connection_cancels_all_its_calls(server: Server, tmp_path: Path) -> None:
    client = Client(server)
    files = {function: tmp_path / function for function in ("running", "coroutine", "streaming")}
    for function, file in files.items():
        client.ask(ENDS, fn_name=function, file=str(file))
        wait_until(Path(f"{file}.begun").exists, "the call")
    client.close()
    assert [wait_text(file) for file in files.values()] == ["ended"] * 3


def test_a_stream_that_fails_is_reset_and_the_connection_goes_on(client: Client) -> None:
    stream = client.ask("def run(_):\n    yield 'begun'\n    1 / 0\n")
    assert client.read(stream) == "begun"
    assert client.wait(stream, h2.events.StreamReset)
    assert client.rest(client.ask(ECHO, name="owt")) == "Hello, owt!"


def test_a_stream_that_pauses_too_long_is_reset(client: Client, tmp_path: Path) -> None:
    stream = client.ask(STREAM, "/brief", gate=str(tmp_path / "never"))
    assert client.read(stream) == "begun,"
    assert client.wait(stream, h2.events.StreamReset)


def test_a_full_window_holds_up_no_other_stream(server: Server, tmp_path: Path) -> None:
    client = Client(server, reads=False)
    code = "def run(_):\n    while True: yield 'x' * 1024\n"
    flood = client.ask(code)
    client.reset(flood)  # gives back none of the connection's window
    blocked = client.ask("def run(_):\n    yield b''\n    for _ in range(100): yield 'x' * 1024\n")
    assert client.status(client.ask("def run(_): return '', 204")) == 204
    client.reset(blocked)
    client.close()


def test_many_calls_at_once_on_one_connection(client: Client, tmp_path: Path) -> None:
    gates = [Gate(tmp_path, str(i)) for i in range(100)]
    streams = [client.ask(ASYNC, gate=str(gate)) for gate in gates]
    for gate in gates:
        gate.wait_reached()
    for gate in reversed(gates):
        gate.open()
    assert [client.rest(stream) for stream in streams] == ["done"] * 100


def test_many_short_calls_on_one_connection(client: Client) -> None:
    streams = {client.ask(ECHO, name=str(i)): i for i in range(60)}
    assert {client.rest(stream): i for stream, i in streams.items()} == {f"Hello, {i}!": i for i in range(60)}


def curl(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    url = f"https://localhost:{server.port}"
    return server.curl(
        "/", "--http2", "--cacert", str(certificate()[0]), "-w", " HTTP/%{http_version}", *arguments, url=url
    )


def test_curl_speaks_it_too(server: Server) -> None:
    assert curl(server, "--json", json.dumps({"code": ECHO, "name": "owt"})).stdout == "Hello, owt! HTTP/2"


def test_a_reload_lets_a_stream_finish(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with ThreadPoolExecutor() as pool:
        done = pool.submit(curl, server, "--json", json.dumps({"code": STREAM, "gate": str(gate)}))
        gate.wait_reached()
        server.signal("reload")
        gate.open()
        assert done.result().returncode == 0
        assert done.result().stdout == "begun,done HTTP/2"


# ---- a body that a proxy has begun to read ------------------------------------------------------------------------------

LENGTH = "def run(_, text): return str(len(text))"


@pytest.mark.parametrize("declared", [True, False], ids=["with its length", "without"])
@pytest.mark.parametrize("size", [2_000, 1_000_000])
def test_code_whose_second_half_comes_late_runs_whole(
    server: Server, client: Client, size: int, declared: bool
) -> None:
    body = json.dumps({"code": LENGTH, "text": "x" * size}).encode()
    before = len(server.error_log)
    stream = client.begin("/late", *[("content-length", str(len(body)))] * declared)
    client.send(stream, body[:1000], end=False)
    server.wait_log(r"connect\(\) to unix:.*nobody.sock failed", after=before)
    client.send(stream, body[1000:], end=True)
    assert client.status(stream) == 200
    assert client.rest(stream) == str(size)


def test_nothing_runs_for_a_stream_that_is_reset_before_its_second_half(
    server: Server, client: Client, tmp_path: Path
) -> None:
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nrun = lambda: ''\n"
    body = json.dumps({"code": code}).encode()
    before, entries = len(server.error_log), server.access_log.count("/late")
    stream = client.begin("/late")
    client.send(stream, body, end=False)
    server.wait_log(r"connect\(\) to unix:.*nobody.sock failed", after=before)
    client.reset(stream)
    wait_until(lambda: server.access_log.count("/late") > entries, "the end of the request")
    assert not (tmp_path / "ran").exists()


def test_a_stream_of_events_ends_with_the_reason_before_it_breaks_off(client: Client) -> None:
    code = """
def events():
    yield "data: 1\\n\\n"
    raise ValueError("no more")
def run(_):
    return events(), {"Content-Type": "text/event-stream"}
"""
    stream = client.ask(code)
    assert client.status(stream) == 200
    text = ""
    while "no more" not in text:
        text += client.read(stream)
    assert text == "data: 1\n\nevent: error\ndata: ValueError: no more\n\n"
    client.wait(stream, h2.events.StreamReset)


def test_what_becomes_of_a_call_is_told_as_it_happens(server: Server, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    client = Client(server)
    stream = client.ask("print('begun')\n" + STREAM, events=True, gate=str(gate))
    text = ""
    while '{"text": "begun,"}' not in text:
        text += client.wait(stream, h2.events.DataReceived).data.decode()
    gate.open()
    while "event: done" not in text:
        text += client.wait(stream, h2.events.DataReceived).data.decode()
    client.wait(stream, h2.events.StreamEnded)
    assert [line for line in text.splitlines() if "text" in line] == [
        'data: {"text": "begun\\n", "stream": "stdout"}',
        'data: {"status": 200, "type": "text/html; charset=utf-8", "headers": {}}',
        'data: {"text": "begun,"}',
        'data: {"text": "done"}',
        text.splitlines()[-2],
    ]
