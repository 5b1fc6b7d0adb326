"""A stand-in for the module _owt, and calls that remember their answers."""

import hashlib
import json
import os
import sys
import threading
import time
import types
from collections import deque

bridge = types.ModuleType("_owt")
bridge.lines = []
bridge.log = lambda level, connection, text: bridge.lines.append((level, connection, text))
bridge.reserved_signals = lambda: [1, 2]
bridge.after_fork_in_child = lambda: None
bridge.load_begins = lambda: 0
bridge.unraisable = lambda hook, raised: hook(raised)
bridge.stack_of = lambda thread: ""
bridge.load_ends = lambda load: None
bridge.waiting = []
bridge.grace = lambda: 10.0
bridge.part_directory = lambda: False
bridge.loop_came_back = lambda: None
bridge.functions = set()
bridge.asynchronous = lambda *function: bridge.functions.add(function)
bridge.forget = lambda code_id: None
bridge.replaced = lambda code_id: None
bridge.versions = {}
bridge.answers = lambda file, version: bridge.versions.update({file: version})
bridge.changes = lambda file: bridge.versions.pop(file, None)
bridge.has = lambda code_id: None
bridge.queue = deque()
bridge.take = lambda: bridge.queue.popleft() if bridge.queue else None
bridge.fd = os.eventfd(0, os.EFD_NONBLOCK)
bridge.queue_fd = lambda: bridge.fd
bridge.failures = []
bridge.failed = lambda: bridge.failures.append("")
bridge.endpoints = lambda: 64
bridge.idle = lambda: 0.0
bridge.trim = lambda: None
bridge.relieved = lambda helped: bridge.failures.append(helped)
bridge.retire = lambda why: bridge.failures.append(why)
sys.modules["_owt"] = bridge


def wait_until(look):
    """Looks until it is so, for five seconds at most."""
    deadline = time.monotonic() + 5
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Call:
    """A call as the bridge offers it, whose outbox is a list."""

    def __init__(self, source="", environ=None, body=b""):
        self.connection = 7
        self.cancelled = False
        self.show_traceback = True
        self.published = False
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
        self.looks_later = False
        self.key_has_arguments = False
        self.parked = None
        self.repeated = {}
        self.events = False
        self.trace_id = ""
        self.said = []
        self.progresses = []
        self.problem = None
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
        fields = dict(reversed(form))
        names = [name for name, _ in form]
        self.repeated = {
            name: [text for other, text in form if other == name] for name in fields if names.count(name) > 1
        }
        self.code = fields.pop("code").encode()
        return hashlib.sha256(self.code).hexdigest(), fields.pop("fn_name", "run"), fields, None

    def park(self, further, rest):
        self.parked = further, rest

    def refuse(self, status, type, detail):
        if self.status is None:
            self.status, self.type, self.chunks, self.ended = status, type, [detail], "refused"

    def respond(self, status, headers, body):
        if any("\n" in value for _, value in headers):
            raise ValueError("a header holds a control character")
        self.status, self.headers, self.chunks, self.ended = status, dict(headers), [body], "whole"

    def send_file(self, status, headers, fd, name):
        with os.fdopen(fd, "rb") as file:
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

    def abort(self, status=0, type="", detail=""):
        self.ended = "aborted"
        if self.events and status:
            self.problem = status, type, detail

    def say(self, by, text, at_once):
        if self.events:
            self.said.append((by, text if isinstance(text, str) else text.decode(), at_once))

    def progress(self, json):
        if self.events:
            self.progresses.append(json)

    def check(self):
        from owt import Cancelled

        if self.cancelled:
            raise Cancelled

    def wait_for_load(self, load, rest):
        self.released.clear()
        bridge.waiting.append((self, load, rest))
        return True

    def detach(self):
        self.released.clear()
        return True

    def release(self):
        self.released.set()

    @property
    def text(self):
        return "".join(c if isinstance(c, str) else c.decode() for c in self.chunks)

    @property
    def json(self):
        return json.loads(self.text)
