import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from owt import endpoint
from owt.endpoint import loaded, store


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("lambda: 'x'", "x"),
        ("# a comment\n  lambda: 'x' # another", "x"),
        ("path().f(lambda p: p[-1])", "b"),
        ("path()\n.f(lambda p: p[-1])\n", "b"),
        ("pipe().path().f(lambda p: p[0])", "a"),
        ("pipe().const('x').done()", "x"),
        ("const('x').f(str.upper)", "X"),
        ("from __future__ import annotations\nrun = pipe().const('x')", "x"),
        ("def run(): return 'x'", "x"),
        ("'''Doc.'''\nimport os\nrun = lambda: os.sep", "/"),
    ],
)
def test_three_ways(call, source, answer):
    done = call(source, environ={"PATH_INFO": "/a/b"})
    assert (done.status, done.text) == (200, answer)


@pytest.mark.parametrize(
    ("source", "fn_name", "type", "part"),
    [
        ("def run(:\n  pass", "run", "syntax-error", "line 1"),
        ("x = 1\ny = = 2", "run", "syntax-error", "y = = 2\n        ^"),
        ("a\0b", "run", "syntax-error", "null bytes"),
        ("(" * 5000, "run", "syntax-error", "line 1"),
        ("def f(): pass\ndef _g(): pass\nimport os", "run", "no-such-function", "Its functions: f."),
        ("run = 5", "run", "no-such-function", "int"),
        ("42", "run", "no-such-function", "value is of type int"),
        ("lambda: 1", "go", "no-such-function", "'go'"),
        ("def run(): pass", "pipe", "no-such-function", "'pipe'"),
        ("", "run", "no-such-function", "none"),
    ],
)
def test_not_an_adaptor(call, source, fn_name, type, part):
    done = call(source or " ", fn_name)
    assert (done.status, done.type) == (400, type), done.text
    assert part in done.text


CODINGS = [
    "# coding: nope\n",
    "# -*- coding: latin-1 -*-\n",
    "#!/usr/bin/python3\n# vim: set fileencoding=cp1252 :\n",
    "# coding: ascii\n",
    "# coding: utf-16\n",
    "# coding: utf-7\n",
    "# coding: rot13\n",
    "# coding: hex\n",
    "# coding: unicode_escape\n",
    "\ufeff# coding: latin-1\n",
    "\ufeff",
    "# coding: utf-8\r\n",
]


@pytest.mark.parametrize("line", CODINGS)
@pytest.mark.parametrize("code", ["lambda: 'Zoë 🦉 +AGE-'", "def run(): return 'Zoë 🦉 +AGE-'"])
def test_source_is_utf8_whatever_it_says_of_itself(call, line, code):
    done = call(line + code)
    assert (done.status, done.text) == (200, "Zoë 🦉 +AGE-")


@pytest.mark.parametrize("line", CODINGS)
def test_what_fails_is_shown_as_it_was_sent(call, line):
    done = call(f"{line}def run():\n    1 / 0  # Zoë\n")
    assert done.status == 500
    assert "    1 / 0  # Zoë\n" in done.text
    assert f"line {line.count(chr(10)) + 2}, in run" in done.text
    done = call(f"{line}def run(: # Zoë\n")
    assert (done.status, done.type) == (400, "syntax-error")
    assert "def run(: # Zoë" in done.text


def test_inspect_and_the_loader_show_it_as_it_was_sent(call):
    source = """# coding: latin-1
import inspect, sys
def owl():
    "Zoë"
def run(_):
    return [inspect.getsource(owl), inspect.getsource(sys.modules[__name__]), __spec__.loader.get_source(__name__)]
"""
    done = call(source)
    assert json.loads(done.text) == ['def owl():\n    "Zoë"\n', source, source]


def test_another_process_reads_it_as_utf8_too(call):
    done = call("# coding: latin-1\nOWL = 'Zoë 🦉'\ndef run(): return __name__")
    assert done.status == 200
    for _ in ("from its source", "from what has been compiled of it"):
        command = [sys.executable, "-c", f"import {done.text} as m; print(ascii(m.OWL))"]
        environment = {**os.environ, "PYTHONPATH": str(Path(store.__file__).parents[2])}
        shown = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert shown.stdout.strip() == ascii("Zoë 🦉")


@pytest.mark.parametrize("source", ["a, b", "), (", "a), (b", "x for x in y", "# nothing"])
def test_not_an_expression(call, source):
    done = call(source)
    assert done.status in (400, 500)
    assert "an expression" not in done.text


def test_failing_load_shows_the_senders_line_and_is_not_remembered(call, tmp_path):
    flag = tmp_path / "flag"
    source = (
        f"import pathlib\n\nif not pathlib.Path({str(flag)!r}).exists():\n    raise OSError('no')\nrun = lambda: 'x'"
    )
    done = call(source)
    assert done.status == 500
    assert done.text.startswith("Traceback (most recent call last):\n  File ")
    assert "line 4, in <module>\n    raise OSError('no')\nOSError: no\n" in done.text
    assert "importlib" not in done.text
    assert "runtime.py" not in done.text
    flag.touch()
    assert call(source).text == "x"


def test_expression_failing_at_load_shows_its_line(call):
    done = call("pipe(\n).to(5)")
    assert done.status == 500
    assert "line 2" in done.text
    assert "for a function there is f()" in done.text


def test_by_id_and_after_restart(call, owt_dir):
    first = call("def run(): return __name__")
    assert first.text == f"owt.endpoint.sha256_{first.code_id}"
    assert call(code_id=first.code_id).text == first.text
    del loaded.endpoints[first.code_id]
    endpoint.discard(first.code_id)
    assert call(code_id=first.code_id).text == first.text
    (file,) = owt_dir.glob("*.py")
    assert file.read_text() == "def run(): return __name__"
    assert file.stat().st_mode & 0o777 == 0o600


def test_unknown_and_damaged_files(call, owt_dir):
    unknown = call(code_id="0" * 64)
    assert (unknown.status, unknown.type) == (404, "code-not-found")
    done = call("def run(): return 'x'")
    (file,) = owt_dir.glob("*.py")
    del loaded.endpoints[done.code_id]
    endpoint.discard(done.code_id)
    file.write_text("def run(): return 'y'")
    assert call(code_id=done.code_id).status == 404
    assert not file.exists()
    file.write_text("def run(): return 'y'")
    assert call("def run(): return 'x'").text == "x"


def test_a_directory_that_cannot_be_written(call, owt_dir, monkeypatch):
    file = owt_dir / "file"
    file.touch()
    monkeypatch.setattr(endpoint, "_directory", str(file))
    done = call("def run(): return 'x'")
    assert (done.status, done.type) == (500, "cannot-store")
    assert "owt_dir" in done.text


def test_other_processes_import_it(call, owt_dir):
    done = call("import pickle\nclass C: pass\ndef run(): return pickle.dumps(C())")
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer))"
    path = str(Path(store.__file__).parents[2])
    shown = subprocess.run(
        [sys.executable, "-c", program],
        input=done.chunks[0],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    ).stdout.decode()
    assert shown.startswith(f"<owt.endpoint.sha256_{done.code_id}.C object")
    assert type(pickle.loads(done.chunks[0])).__name__ == "C"


def test_least_recently_used_are_dropped(call, monkeypatch):
    monkeypatch.setattr(loaded, "most", 2)
    a, b = (call(f"def run(): return '{n}'") for n in "ab")
    call("def run(): return 'a'")
    call("def run(): return 'c'")
    assert a.code_id in loaded.endpoints
    assert b.code_id not in loaded.endpoints
    assert endpoint.PREFIX + b.code_id not in sys.modules


def test_pruning(call, owt_dir, monkeypatch):
    old, new = (call(f"def run(): return '{n}'") for n in "ab")
    file = Path(endpoint.path_of(old.code_id))
    os.utime(file, (1, 1))
    store.prune()
    assert file.exists()
    monkeypatch.setattr(store, "_pruned_at", -1e9)
    store.prune()
    assert [p.name for p in owt_dir.glob("*.py")] == [f"sha256_{new.code_id}.py"]
    assert not list(owt_dir.glob(f"__pycache__/*{old.code_id}*"))
    assert call("def run(): return 1/0").text.count("return 1/0") == 1
