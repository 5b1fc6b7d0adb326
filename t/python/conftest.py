"""The package without nginx: a stand-in for the module _owt, and calls that remember their answers."""

import hashlib
import json
import sys
import threading
import types
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "python"))

fake = types.ModuleType("_owt")
fake.lines = []
fake.log = lambda level, connection, text: fake.lines.append((level, connection, text))
fake.reserved_signals = lambda: [1, 2]
fake.after_fork_in_child = lambda: None
sys.modules["_owt"] = fake


class Call:
    """A call as the bridge offers it, whose outbox is a list."""

    def __init__(self, source="", environ=None, body=b""):
        self.connection = 7
        self.cancelled = False
        self.show_traceback = True
        self.code = source.encode()
        self.code_id = hashlib.sha256(self.code).hexdigest()
        self._environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "h", "SERVER_PORT": "80"}
        self._environ.update(environ or {})
        self._body = body
        self.status = None
        self.type = ""
        self.headers = {}
        self.chunks = []
        self.ended = ""
        self.full_after = None
        self.released = threading.Event()
        self.released.set()

    def environ(self):
        return dict(self._environ)

    def body(self):
        return self._body

    def body_fd(self):
        return -1

    def loaded(self, seconds):
        pass

    def read_form(self, form):
        self.form = form
        fields = dict(form)
        self.code = fields.pop("code").encode()
        return hashlib.sha256(self.code).hexdigest(), fields.pop("fn_name", "run"), fields, None

    def refuse(self, status, type, detail):
        if self.status is None:
            self.status, self.type, self.chunks, self.ended = status, type, [detail], "refused"

    def respond(self, status, headers, body):
        if any("\n" in value for _, value in headers):
            raise ValueError("a header holds a control character")
        self.status, self.headers, self.chunks, self.ended = status, dict(headers), [body], "whole"

    def send_file(self, status, headers, fd, name):
        with open(fd, "rb") as file:
            self.respond(status, headers, file.read())
        self.name = name

    def start(self, status, headers):
        self.status, self.headers = status, dict(headers)

    def write(self, chunk):
        from owt import Cancelled

        if self.cancelled:
            raise Cancelled
        self.chunks.append(chunk)

    def offer(self, chunk):
        self.chunks.append(chunk)
        return not self.cancelled and self.full_after != len(self.chunks)

    def finish(self):
        self.ended = "finished"

    def abort(self):
        self.ended = "aborted"

    def detach(self):
        self.released.clear()

    def release(self):
        self.released.set()

    @property
    def text(self):
        return "".join(c if isinstance(c, str) else c.decode() for c in self.chunks)

    @property
    def json(self):
        return json.loads(self.text)


@pytest.fixture(autouse=True)
def owt_dir(tmp_path, monkeypatch):
    """A fresh owt_dir, a log without lines, no endpoints."""
    monkeypatch.setenv("OWT_DIR", str(tmp_path))
    fake.lines.clear()
    from owt import endpoint, loaded

    monkeypatch.setattr(endpoint, "on_load", loaded.register)
    for code_id in list(loaded.endpoints):
        del loaded.endpoints[code_id]
        endpoint.discard(code_id)
    return tmp_path


@pytest.fixture
def log(monkeypatch):
    """The error log's lines: (level, connection, text)."""
    from owt import output

    monkeypatch.setattr(output, "write_line", fake.log)
    return fake.lines


@pytest.fixture
def call(log):
    """Runs source in a call and returns the call, its answer in it."""
    from owt import runtime

    def run(source="", fn_name="run", kwargs=None, text=None, code_id=None, made=None, **options):
        made = made or Call(source, **options)
        result = runtime.run(made, made.code_id if code_id is None else code_id, fn_name, kwargs or {}, text)
        if result is not None:
            made.respond(*result)
        assert made.released.wait(5)
        return made

    return run
