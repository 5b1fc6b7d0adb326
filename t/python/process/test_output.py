import logging
import os
import subprocess
import sys

import fake_owt
import pytest
from owt.process import output

PROGRAM = """
import sys
sys.path[:0] = {path!r}
import fake_owt
from owt.engine import runtime
runtime.start()
sys.__stdout__.write("ready\\n")
{body}
runtime.stop(5)
for line in fake_owt.bridge.lines:
    sys.__stdout__.write(repr(line) + "\\n")
"""


def process(body, tmp_path):
    """The log's lines of a process of its own: start() changes what a process has only one of."""
    program = PROGRAM.format(path=sys.path, body=body)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "OWT_DIR": str(tmp_path)},
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return [eval(line) for line in done.stdout.splitlines()[1:]]


def run(source):
    return f"""
call = fake_owt.Call({source!r})
result = runtime.run(call, call.code_id, "run", {{}}, None)
assert call.status in (None, 200), call.text
"""


def test_print_and_logging(tmp_path):
    source = """
import logging, sys
def run():
    print("a", "b")
    print("c\\n\\nd", end="")
    print("e", file=sys.stderr)
    sys.stdout.buffer.write(b"f\\n")
    print("10%\\r20%\\r", end="")
    logging.info("at once")
    logging.debug("unseen")
    logging.basicConfig(level=logging.DEBUG)
    logging.debug("seen, at nginx's debug level")
    logging.info("seen")
    logging.error("bad")
    assert not sys.stdout.isatty() and sys.stdout.fileno() == 1
"""
    assert process(run(source), tmp_path) == [
        (7, 7, "a b"),
        (7, 7, "c"),
        (5, 7, "e"),
        (7, 7, "df"),
        (7, 7, "INFO:root:at once"),
        (8, 7, "DEBUG:root:seen, at nginx's debug level"),
        (7, 7, "INFO:root:seen"),
        (4, 7, "ERROR:root:bad"),
        (7, 7, "20%"),
    ]


def test_signals(tmp_path):
    source = """
import signal
def run():
    signal.signal(1, signal.SIG_IGN)
"""
    lines = process(run(source).replace("(None, 200)", "(500,)"), tmp_path)
    assert any("ValueError: SIGHUP is nginx's" in text for _, _, text in lines)


def test_stop_is_bounded_and_runs_atexit(tmp_path):
    source = """
import asyncio, atexit, concurrent.futures, threading, time
def run():
    atexit.register(print, "atexit")
    threading.Thread(target=time.sleep, args=(60,)).start()
    pool = concurrent.futures.ThreadPoolExecutor()
    pool.submit(time.sleep, 60)
async def later():
    try:
        await asyncio.sleep(60)
    finally:
        print("finally")
"""
    body = run(source) + 'runtime.run(call, call.code_id, "later", {}, None)\nimport time, os\ntime.sleep(0.1)\n'
    body += "began = time.monotonic()\nruntime.stop(3)\nassert time.monotonic() - began < 4\n"
    body += "for line in fake_owt.bridge.lines:\n    sys.__stdout__.write(repr(line) + '\\n')\n"
    body += "sys.__stdout__.flush()\nos._exit(0)"
    assert [text for _, _, text in process(body, tmp_path)] == ["finally", "atexit"]


def test_long_lines_come_in_pieces(log):
    output.LogStream(7, 1).write("x" * 20000 + "\n")
    assert [len(text) for _, _, text in log] == [8192, 8192, 3616]


def test_hidden_tracebacks(call, log):
    made = fake_owt.Call("def run(): raise OSError('secret')")
    made.show_traceback = False
    done = call(made=made)
    assert "secret" not in done.text
    id = done.text.split()[5].rstrip(":")
    assert any(text.startswith(id) and "secret" in text for _, _, text in log)


def test_chained_tracebacks_are_cut(call):
    done = call("def f(): {}['a']\ndef run():\n try: f()\n except KeyError as e: raise OSError('b') from e")
    assert done.text.count("Traceback (most recent call last)") == 2
    assert "direct cause" in done.text
    assert "owt/engine/runtime.py" not in done.text


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.CRITICAL])
def test_levels(level):
    assert output._level(level) == {10: 8, 20: 7, 30: 5, 50: 4}[level]


def test_a_line_that_goes_on_is_shown_as_far_as_it_has_come(tmp_path):
    source = """
import sys
def run():
    from owt.process import output
    output.PATIENCE = 0
    for part in ("10%", "20%", "30%"):
        sys.stderr.write(f"\\r{part}")
    sys.stderr.write("\\n")
"""
    assert process(run(source), tmp_path) == [(5, 7, "10%"), (5, 7, "20%"), (5, 7, "30%"), (5, 7, "30%")]


def test_threads_of_a_call_print_lines_of_their_own(tmp_path):
    source = """
import threading
def run():
    print("a", end="")
    other = threading.Thread(target=print, args=("b",))
    other.start()
    other.join()
    print("c")
    last = threading.Thread(target=print, args=("d",), kwargs={"end": ""})
    last.start()
    last.join()
"""
    assert process(run(source), tmp_path) == [(7, 7, "b"), (7, 7, "ac"), (7, 7, "d")]


def test_of_what_is_said_the_end_is_kept(call, monkeypatch):
    monkeypatch.setattr(output, "MAX_SAID", 100)
    said = []

    class Request:
        _call = None

    one = Request()
    for number in range(1000):
        output._keep(one, f"{number}\n", 0)
        said.append(f"{number}\n")
    assert len(vars(one)["_said"]) <= output.MAX_PIECES
    assert output.said(one) == "".join(said)[-100:]


def test_streams_are_what_they_are_however_often_they_are_looked_at(tmp_path):
    source = """
import sys
def run():
    kinds = {type(getattr(sys, "stdin"))}
    for _ in range(1000):
        kinds.add(type(sys.stdin))
    print(*sorted(kind.__name__ for kind in kinds))
    try:
        sys.nothing
    except AttributeError as error:
        print(error)
"""
    assert process(run(source), tmp_path) == [(7, 7, "NoInput"), (7, 7, "module 'sys' has no attribute 'nothing'")]
