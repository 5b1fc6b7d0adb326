"""What newcomers get wrong, and what the answer says of it."""

import importlib.util
import os
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from owt.endpoint import advice
from owt.process import failure, installed

FORM = "application/x-www-form-urlencoded"
#: Python needs the spaces round the + that curl -d sends as it is.
PLUS = "code=def run(a): return int(a) + int(a)&a=1"


@pytest.fixture(autouse=True)
def advised(monkeypatch):
    """As the server does when it starts."""
    monkeypatch.setattr(failure, "advise", advice.advise)


@pytest.mark.parametrize(
    ("source", "status", "name"),
    [
        ("examples/echo/echo.py", 500, "examples/echo/echo.py"),
        ("echo.py", 500, "echo.py"),
        ("/tmp/echo.py\n", 400, "/tmp/echo.py"),
        ("./my-echo.py", 400, "./my-echo.py"),
        ("@echo.py", 400, "echo.py"),
        ("C:\\code\\echo.py", 400, "C:\\code\\echo.py"),
    ],
)
def test_the_name_of_a_file_in_place_of_what_is_in_it(call, source, status, name):
    done = call(source)
    assert done.status == status
    assert done.text.endswith(f"With an @ curl sends that: -F code=@{name}\n")


def test_what_another_program_has_pickled(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    source = "import pickle\nclass Model: pass\ndef run(): return pickle.loads(b'c__main__\\nModel\\n.')"
    done = call(source)
    assert "attribute 'Model'" in done.text
    assert "import __main__; __main__.NAME = NAME" in done.text
    done = call(
        source.replace("def run(): ", "def run():\n    import __main__\n    __main__.Model = Model\n    ") + ".__name__"
    )
    assert done.text == "Model"


@pytest.mark.parametrize(
    ("brings", "command"),
    [
        ("pip", "'{home}/bin/python3' -m pip install"),
        ("uv", "uv pip install --python '{home}'"),
    ],
)
def test_what_brings_a_missing_module_is_there(call, monkeypatch, tmp_path, brings, command):
    """Virtualenvs of uv have no pip; bin/pip, where one was copied, is another's. What is to be typed is for a shell."""
    home = tmp_path / "my venv"
    (home / "bin").mkdir(parents=True)
    (home / "bin/pip").touch()
    monkeypatch.setattr(sys, "prefix", str(home))
    monkeypatch.setattr(sys, "executable", str(home / "bin/python3"))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: brings == "pip" or None if name == "pip" else find(name, *a)
    )
    monkeypatch.setattr(installed, "is_another_pythons", lambda: False)
    said = call("import nowhere_at_all\ndef run(): pass").text
    assert f"is not in this server's virtualenv {home} " in said
    assert f"To add what provides it: {command.format(home=home)} PACKAGE;" in said


def test_a_python_that_is_neither_a_virtualenv_nor_the_systems(call, monkeypatch, tmp_path):
    """As of conda, or of uv's own: pip brings packages into it, and the system's packages have nothing to do with it."""
    for name in ("prefix", "base_prefix"):
        monkeypatch.setattr(sys, name, str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: True)
    said = call("import nowhere_at_all\ndef run(): pass").text
    assert f"({tmp_path}). To add what provides it: {sys.executable} -m pip install PACKAGE. " in said


def test_a_virtualenv_made_again_with_another_python(call, monkeypatch, tmp_path):
    """It is full, perhaps, and of no use to this one."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: f"{tmp_path}/lib/python3.1/site-packages")
    said = call("import nowhere_at_all\ndef run(): pass").text
    assert said.endswith(
        ", which has been made again with another Python since. For that one, reload nginx (nginx -s reload), or start"
        " owt-server again.\n"
    )


@pytest.mark.parametrize("before", [True, False])
def test_what_has_been_installed_to_be_edited(call, monkeypatch, tmp_path, before):
    """By a .pth file, which Python has not read if it began before that."""
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "__editable__.mine-1.0.pth").write_text(str(tmp_path / "src"))
    monkeypatch.syspath_prepend(str(packages))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(installed, "is_another_pythons", lambda: False)
    monkeypatch.setattr(installed, "_began", time.time() + (3600 if before else -3600))
    monkeypatch.setattr(installed, "_folders", lambda: [packages])  # this machine's own may be new too
    said = call("import mine\ndef run(): pass").text
    since = "If `pip install -e` has brought it since this process began (__editable__.mine-1.0.pth), reload nginx"
    assert (since in said) is not before


@pytest.fixture
def upgraded(monkeypatch, tmp_path):
    """A package that this process has imported as 1.0, in whose place there is 2.0 by now."""
    packages = tmp_path / "site-packages"
    info = packages / "my_lib-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lib\nVersion: 2.0\n")
    (info / "RECORD").write_text("mylib/__init__.py,,\nmylib/new.py,,\n")
    (info / "top_level.txt").write_text("mylib\n")
    (packages / "mylib").mkdir()
    (packages / "mylib/__init__.py").write_text("__version__ = '1.0'\nclass Thing: pass\n")
    monkeypatch.syspath_prepend(str(packages))
    import mylib  # type: ignore[import-not-found]

    (packages / "mylib/__init__.py").write_text("__version__ = '2.0'\nadded = 1\n")
    (packages / "mylib/new.py").write_text("from mylib import added")
    monkeypatch.setattr(installed, "_began", 0.0)
    yield mylib
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylib"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "source",
    [
        "import mylib\ndef run(): return mylib.added",
        "from mylib import added\ndef run(): return added",
        "import mylib\ndef run(): return mylib.Thing().added",
        "def run():\n    import mylib.new",
        "def run():\n    import mylib.gone",
    ],
)
def test_what_has_been_upgraded_since_it_was_imported(call, upgraded, source):
    said = call(source).text
    assert said.endswith(
        "This process has imported mylib of my-lib 1.0, in whose place 2.0 has been installed since. For the new one to"
        " be imported, reload nginx (nginx -s reload), or start owt-server again.\n"
    )


def test_what_has_not_been_upgraded_is_not_blamed(call, upgraded, monkeypatch):
    source = "import mylib\ndef run(): return mylib.nothing"
    for version in ("2.0", "2.0.0", "unknown"):
        upgraded.__version__ = version
        assert "in whose place" not in call(source).text
    upgraded.__version__ = "1.0"
    monkeypatch.setattr(installed, "_began", time.time() + 3600)  # it was as odd when the process began
    assert "in whose place" not in call(source).text


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    "source",
    [
        "import subprocess\ndef run(): subprocess.run(['my-program'])",
        "import subprocess\ndef run(): subprocess.run('my-program -x', shell=True, check=True, capture_output=True)",
        "from owt.lib.shell import shell\ndef run(): shell('my-program -x')",
    ],
)
def test_a_program_of_the_virtualenv(call, monkeypatch, tmp_path, source, there):
    """nginx's PATH does not lead there, nor anywhere."""
    monkeypatch.delenv("PATH", raising=False)
    home = tmp_path / "my venv"
    (home / "bin").mkdir(parents=True)
    if there:
        (home / "bin/my-program").touch()
    monkeypatch.setattr(sys, "prefix", str(home))
    said = call(source).text
    told = (
        f'It is {home}/bin/my-program: write that, or env "PATH={home}/bin:{os.defpath}";'
        if there
        else f"To add a directory: env PATH=DIR:{os.defpath};"
    )
    assert said.endswith(
        f"no program 'my-program' in the PATH of this server ({os.defpath}). {told} in the server's owt_instance.\n"
    )


@pytest.mark.parametrize("source", ["echo", "ech.oh", "import echo; echo.py", "nothing.py()", "def run(:\n    a.py"])
def test_other_names_are_no_files(call, source):
    assert "-F code=@" not in call(source).text


@pytest.mark.parametrize(
    "options",
    [
        {"environ": {"CONTENT_TYPE": FORM}, "body": PLUS.encode()},
        {"environ": {"CONTENT_TYPE": f"{FORM}; charset=utf-8"}, "body": PLUS.encode()},
        {"environ": {"QUERY_STRING": "code=lambda:1+1"}},
    ],
)
def test_a_form_that_was_not_encoded(call, options):
    done = call("def run(a): return int(a)   int(a)", **options)
    assert (done.status, done.type) == (400, "syntax-error")
    assert done.text.endswith("--data-urlencode; --form-string sends text as it is.\n")


@pytest.mark.parametrize(
    "options",
    [
        {"environ": {"CONTENT_TYPE": FORM}, "body": b"code=def+run%28%3A&a=1"},
        {"environ": {"CONTENT_TYPE": FORM}, "body": b"code=def run(:"},
        {"environ": {"CONTENT_TYPE": FORM}, "body": b' {"code": "def run(: + &"}'},
        {"environ": {"CONTENT_TYPE": "application/json"}, "body": b'{"code": "def run(: + &"}'},
        {"environ": {"CONTENT_TYPE": FORM, "QUERY_STRING": "code=def+run%28%3A&a=1"}, "body": PLUS.encode()},
    ],
)
def test_a_form_that_was_encoded_is_not_blamed(call, options):
    done = call("def run(:", **options)
    assert (done.status, done.type) == (400, "syntax-error")
    assert "--data-urlencode" not in done.text


@pytest.mark.parametrize(
    ("source", "text", "kind"),
    [
        ("def run(n): return n + 1", "3", "int"),
        ("def run(request, n): return [0] * n", "3", "int"),
        ("def run(n): return round(n)", "0.5", "float"),
        ("lambda n: n + 1", "3", "int"),
        ("def run(n):\n    return n['a']", '{"a": 1}', "dict"),
        ("def run(n):\n    import math\n    return math.floor(sum(n))", "[1, 2]", "list"),
        ("def run(*, n): return n.keys()", "{}", "dict"),
        ("async def run(n): return n + 1", "3", "int"),
    ],
)
def test_what_came_as_text_and_was_to_be_something_else(call, source, text, kind):
    done = call(source, kwargs={"n": text})
    assert done.status == 500
    assert done.text.endswith(
        f"n came as text, {text!r}, as fields do unless an annotation says what they are: def run(n: {kind}).\n"
    )


@pytest.mark.parametrize(
    ("source", "kwargs"),
    [
        ("def run(n): return n + 1", {"n": "word"}),
        ("def run(n: str): return n + 1", {"n": "3"}),
        ("def run(n): return '' + 1", {"n": 3}),
        ("def run(n): raise ValueError('str')", {"n": "3"}),
        ("def run(n): return n + 1", {"n": "null"}),
        ("def other(n): return n + 1\ndef run(): return len(5)", {}),
    ],
)
def test_other_mistakes_with_text_are_shown_as_they_are(call, source, kwargs):
    done = call(source, kwargs=kwargs)
    assert done.status == 500
    assert "came as text" not in done.text


def test_a_name_where_a_file_was_wanted(call):
    done = call("def run(file): return file.read()", kwargs={"file": "photo.png"})
    assert done.status == 500
    assert done.text.endswith("file came as text, 'photo.png'. A file is sent with an @: -F file=@PATH\n")


def test_a_file_of_the_clients(call):
    done = call("def run(): return open('data.csv').read()")
    assert done.status == 500
    assert (
        f"It was looked for in {Path.cwd()}, where the server runs. Send the file along, -F file=@data.csv" in done.text
    )
    assert "looked for" not in call("def run(): return open('/nowhere/data.csv').read()").text


def test_a_program_that_is_not_there(call):
    done = call("import subprocess\ndef run(): subprocess.run(['no-such-program', 'x'])")
    assert done.status == 500
    assert "There is no program 'no-such-program' in the PATH of this server (" in done.text
    done = call("import subprocess\ndef run(): subprocess.run(['ls'], cwd='nowhere')")
    assert done.status == 500
    assert "There is no program" not in done.text


def test_nobody_types_there(call, monkeypatch):
    monkeypatch.setattr("builtins.input", _nothing)
    done = call("def run(): return input('name? ')")
    assert done.status == 500
    assert "Nobody types where the server runs: let run take an argument" in done.text


def _nothing(prompt=""):
    raise EOFError("EOF when reading a line")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def main(name): return name", "Its functions: main. Name it run, or send fn_name=main too."),
        ("def a(): pass\ndef b(): pass", "Its functions: a, b. fn_name says which one to call; without it, run is"),
        ("if __name__ == '__main__':\n    pass", "none. What a call is to do has to be in one, def run(): ..."),
        ("print('hello')", "An answer is returned, not printed: def run(): return ..."),
        ("1 + 1", "To answer with that value, put lambda: in front of the expression."),
    ],
)
def test_a_program_that_is_no_adaptor(call, source, text):
    done = call(source)
    assert (done.status, done.type) == (400, "no-such-function")
    assert text in done.text


def test_an_upload_is_no_answer(call):
    done = call(
        "def run():\n    from werkzeug.datastructures import FileStorage\n    return FileStorage()\n",
        environ={"HTTP_ACCEPT": "application/json"},
    )
    assert done.status == 500
    assert ".read() are its bytes, .stream is a file" in done.text


def test_what_came_after_an_ampersand(call):
    done = call("lambda a: int(a)", kwargs={"a": "1", " 3": ""})
    assert (done.status, done.type) == (400, "bad-arguments")
    assert "not taken: ' 3'. A name with other signs may be what came after an & in a form" in done.text


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("from .helper import area", "from helper import area"),
        ("from .sub.helper import area as run", "from sub.helper import area as run"),
        ("from . import helper", "import helper"),
        ("from . import store", "import store"),
        ("from .. import owt", "import owt"),
    ],
)
def test_a_relative_import_is_relative_to_nothing(call, line, written):
    done = call(f"{line}\ndef run(): return 1")
    assert done.status == 500
    assert "attempted relative import with no known parent package" in done.text
    assert f"is part of no package: write the module's whole name: {written}. It is found by python_path" in done.text
    assert "owt.endpoint" not in done.text


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("get_ipython().run_line_magic('matplotlib', 'inline')", "is a notebook's, and not there elsewhere: leave the"),
        ("display([1])", "display() is a notebook's, and not there elsewhere: return what is to be shown."),
    ],
)
def test_what_only_notebooks_have(call, code, told):
    for source in (f"{code}\ndef run(): return 1", f"def run():\n    {code}"):
        assert told in call(source).text


# ---- what is called in another way

CLICK = "import click\n@click.command()\n@click.option('--n', default=1)\ndef run(n): return n\n"


def test_a_command_of_click_says_what_to_call(call):
    pytest.importorskip("click")
    for source in (CLICK, CLICK.replace("command", "group")):
        done = call(source, kwargs={"n": "2"})
        assert done.status == 400
        assert "'run' is a command of click" in done.text
        assert "a line run = run.callback at the end" in done.text
    assert call(f"{CLICK}run = run.callback", kwargs={"n": "2"}).text == "2"


@pytest.mark.parametrize(
    "source",
    [
        "async def run(scope, receive, send): ...",
        "class App:\n    async def __call__(self, scope, receive, send): ...\nrun = App()",
        "class App:\n    async def __call__(self, scope, receive, send, more=1): ...\nrun = App().__call__",
    ],
)
def test_an_asgi_application_is_none_that_owt_serves(call, source):
    done = call(source, kwargs={"name": "a"})
    assert (done.status, done.type) == (400, "no-such-function")
    assert "'run' is an ASGI application" in done.text
