"""Arguments as people write and send them, by curl and by browsers' forms."""

import io
import os
import re
import shlex
import wave
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from harness import ROOT, Server, wait_until

CONF = """
client_max_body_size 64m;
client_body_buffer_size 16k;
owt_instance default { env TMPDIR={dir}/uploads; }
server {
    listen 127.0.0.1:{port};
    location / { owt; }
}
"""

# ---- the table of doc/adaptors.md ------------------------------------------------------------------------------------

PRELUDE = """
import enum
import numpy as np
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, BinaryIO, Literal
from uuid import UUID
from msgspec import Meta
from PIL.Image import Image
from werkzeug.datastructures import FileStorage

class Color(enum.Enum): RED = "red"

@dataclass
class Point:
    x: int
    y: int = 0
"""


def rows() -> list[tuple[str, str, str]]:
    """What the table says: the parameter, the arguments of curl, what the function gets or a status."""
    text = (ROOT / "doc/adaptors.md").read_text()
    table = re.search(r"^\| you write \|.*\n\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table
    found = []
    for line in table[1].splitlines():
        cells = re.split(r"(?<!\\) \|(?: |$)", line.removeprefix("| ").replace("| |", "|  |"))
        write, send, get = (cell.strip().strip("`").replace("\\|", "|") for cell in cells[:3])
        found.append((write, send, get))
    return found


ROWS = rows()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files that the table sends."""
    image = pytest.importorskip("PIL.Image")
    numpy = pytest.importorskip("numpy")
    made = tmp_path_factory.mktemp("files")
    (made / "notes.txt").write_text("some notes\n")
    image.new("RGB", (3, 2), "red").save(made / "photo.png")
    numpy.save(made / "data.npy", numpy.array([1, 2]))
    return made


@pytest.fixture(autouse=True)
def uploads(server: Server) -> Path:
    made = server.dir / "uploads"
    made.mkdir(exist_ok=True)
    return made


def test_the_table_is_there() -> None:
    assert len(ROWS) > 40
    assert {get for _, _, get in ROWS} >= {"3", "400", "['a', 'b']"}


@pytest.mark.parametrize(("write", "send", "get"), ROWS, ids=[" ".join(row[:2]) for row in ROWS])
def test_what_is_written_and_sent_gives_what_the_page_says(
    server: Server, files: Path, uploads: Path, write: str, send: str, get: str
) -> None:
    name = re.split(r"\W", write.lstrip("*"))[0]
    code = f"{PRELUDE}\ndef run({write}):\n    return repr({name})\n"
    (files / "code.py").write_text(code)
    words = [re.sub(r"=@", f"=@{files}/", word) for word in shlex.split(send)]
    if "--json" in words:
        at = words.index("--json") + 1
        words[at] = '{"code": ' + _json(code) + ", " + words[at].removeprefix("{")
    elif "-d" in words:
        words += ["--data-urlencode", f"code@{files}/code.py"]
    else:
        words += ["-F", f"code=<{files}/code.py"]
    done = server.curl("/", *words, "-w", "\n%{http_code}")
    body, _, status = done.stdout.rpartition("\n")
    if get == "400":
        assert status == "400", body
        assert f"{name} wants " in body or f"{name}.x wants " in body
    else:
        assert status == "200", body
        assert re.fullmatch(".*".join(map(re.escape, get.split("..."))), body), body
    assert not list(uploads.iterdir())


def _json(text: str) -> str:
    import json

    return json.dumps(text)


# ---- every way to send it --------------------------------------------------------------------------------------------

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SHOW = "def run(request, n: int = 0, cut: bool = True, tags: list[int] = ()): return repr((n, cut, tags))"


def test_every_place_is_the_same(server: Server) -> None:
    text = str(httpx.QueryParams([("code", SHOW), ("n", "3"), ("cut", "no"), ("tags", "1"), ("tags", "2")]))
    parts = [(name, (None, value)) for name, value in httpx.QueryParams(text).multi_items()]
    spooled = text + "&tags=" + "+" * 20_000 + "3"
    answers = [
        server.get(f"/?{text}"),
        server.post(content=text, headers=FORM),
        server.post(files=parts),
        server.run(SHOW, n="3", cut="no", tags=["1", 2]),
        server.run(SHOW, n=3, cut=False, tags="[1, 2]"),
        server.run(SHOW, kwargs="{'n': '3', 'cut': 0, 'tags': (1, '2')}"),
        server.run(SHOW, kwargs={"n": 3.0, "cut": "off", "tags": [1, 2]}),
    ]
    assert [answer.text for answer in answers] == ["(3, False, [1, 2])"] * len(answers)
    assert server.post(content=spooled, headers=FORM).text == "(3, False, [1, 2, 3])"


def test_the_first_of_the_repeated_is_kept_where_one_is_wanted(server: Server) -> None:
    assert server.post(content=f"code={SHOW}&n=1&n=2&cut=0&cut=1", headers=FORM).text == "(1, False, ())"


def test_a_thousand_fields_of_one_name(server: Server) -> None:
    pairs = "&".join(["code=def run(t: list[int]): return sum(t)", *[f"t={i}" for i in range(1000)]])
    assert server.post(content=pairs, headers=FORM).text == str(sum(range(1000)))
    assert server.post(content=pairs + "&t=1", headers=FORM).status_code == 400


def test_a_browsers_form(server: Server) -> None:
    """Unchecked boxes are left out, empty fields are empty, a file field without a file is a part without a name."""
    source = (
        "from pathlib import Path\n"
        "def run(n: int | None, text: str, agree: bool = False, photo: Path | None = None, more: list[bytes] = ()):\n"
        "    return repr((n, text, agree, photo, more))"
    )
    head = 'Content-Disposition: form-data; name="{}"'
    blank = head + '; filename=""\r\nContent-Type: application/octet-stream'
    parts = [(head.format("code"), source), (head.format("n"), ""), (head.format("text"), ""),
             (blank.format("photo"), ""), (blank.format("more"), "")]  # fmt: skip
    for agree in (False, True):
        sent = [*parts, (head.format("agree"), "on")] if agree else parts
        body = "".join(f"--b\r\n{part}\r\n\r\n{content}\r\n" for part, content in sent) + "--b--\r\n"
        answer = server.post(content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
        assert answer.text == f"(None, '', {agree}, None, [])"


def test_several_files_of_one_name(server: Server) -> None:
    two = [("f", ("a", b"1")), ("f", ("b", b"2"))]
    assert server.post(
        files=[("code", (None, "def run(request, f): return [x.filename for x in f]")), *two]
    ).json() == ["a", "b"]
    answer = server.post(files=[("code", (None, "def run(request, f: bytes): 1/0")), *two])
    assert answer.status_code == 400
    assert "f wants bytes (a file, or text), and 2 files came" in answer.text


# ---- libraries that take files ---------------------------------------------------------------------------------------


def test_what_failed_with_an_upload(server: Server) -> None:
    sound = io.BytesIO()
    with wave.open(sound, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(8000)
        made.writeframes(b"\0\0" * 80)
    for content in (sound.getvalue(), sound.getvalue() + b"\0" * 1_000_000):
        for annotation, expression in [
            ("BinaryIO", "wave.open(upload).getnframes()"),
            ("Path", "wave.open(str(upload)).getnframes()"),
            ("Path", "wave.open(open(upload, 'rb')).getnframes()"),
            ("bytes", "wave.open(io.BytesIO(upload)).getnframes()"),
            ("BinaryIO", "wave.open(open(upload.fileno(), 'rb', closefd=False)).getnframes()"),
            (
                "BinaryIO",
                "wave.open(io.BytesIO(subprocess.run('cat', stdin=upload, capture_output=True).stdout)).getnframes()",
            ),
        ]:
            code = f"import io, subprocess, wave\nfrom pathlib import Path\nfrom typing import BinaryIO\ndef run(upload: {annotation}): return {expression}"
            answer = server.post(files={"code": (None, code), "upload": ("a.wav", content)})
            assert answer.text == "80", answer.text


def test_an_open_file_is_an_answer(server: Server) -> None:
    code = "from typing import BinaryIO\ndef run(f: BinaryIO): return f"
    for content in (b"", b"small", b"large" * 300_000):
        assert server.post(files={"code": (None, code), "f": ("a.txt", content)}).content == content


# ---- how long a Path lives -------------------------------------------------------------------------------------------

LIVES = """
import asyncio, threading
from pathlib import Path

def whole(f: Path): return str(f.exists())
def fails(f: Path): raise RuntimeError(str(f.exists()))
def sent(f: Path): return f
def stream(f: Path):
    yield "begun "
    yield f.read_text()
async def later(f: Path):
    await asyncio.sleep(0)
    return str(f.exists())
async def streams_later(f: Path):
    yield "begun "
    await asyncio.sleep(0)
    yield f.read_text()
def hangs(f: Path):
    yield "begun\\n"
    try:
        while True:
            yield ""
            threading.Event().wait(0.01)
    finally:
        print("file", f.exists())
async def hangs_later(f: Path):
    yield "begun\\n"
    try:
        await asyncio.Event().wait()
    finally:
        print("file", f.exists())
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("whole", "True"),
        ("fails", "RuntimeError: True"),
        ("sent", "content"),
        ("stream", "begun content"),
        ("later", "True"),
        ("streams_later", "begun content"),
    ],
)
def test_a_path_is_there_for_its_call_alone(server: Server, uploads: Path, name: str, text: str) -> None:
    answer = server.post(files={"code": (None, LIVES), "fn_name": (None, name), "f": ("a.txt", b"content")})
    assert text in answer.text
    wait_until(lambda: not list(uploads.iterdir()), "the file to go")


@pytest.mark.parametrize("name", ["hangs", "hangs_later"])
def test_a_path_goes_with_the_client(server: Server, uploads: Path, name: str) -> None:
    after = len(server.error_log)
    form = {"code": (None, LIVES), "fn_name": (None, name), "f": ("a.txt", b"content")}
    client = server.client()
    with client.stream("POST", "/", files=form) as answer:
        assert next(answer.iter_text()) == "begun\n"
        assert [path.suffix for path in uploads.iterdir()] == [".txt"]
    client.close()
    server.wait_log("file True", after=after)
    wait_until(lambda: not list(uploads.iterdir()), "the file to go")


def test_a_refused_call_leaves_no_file(server: Server, uploads: Path) -> None:
    form = {
        "code": (None, "from pathlib import Path\ndef run(f: Path, n: int): 1/0"),
        "f": ("a", b"x"),
        "n": (None, "x"),
    }
    assert server.post(files=form).status_code == 400
    wait_until(lambda: not list(uploads.iterdir()), "the file to go")


def test_a_child_leaves_its_parents_files(server: Server, uploads: Path) -> None:
    code = (
        "import os\nfrom pathlib import Path\ndef run(f: Path):\n"
        "    pid = os.fork()\n    if pid == 0:\n        raise SystemExit\n"
        "    os.waitpid(pid, 0)\n    return f.read_text()"
    )
    assert server.post(files={"code": (None, code), "f": ("a", b"content")}).text == "content"


# ---- kwargs and the request ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("{'name': nam}", ["NameError", "name 'nam' is not defined"]),
        ("{'name': 'x'", ["SyntaxError: '{' was never closed"]),
        ("dict(name=user)", ["NameError", "'user'"]),
        ("[user]", ["NameError"]),
        ("(user, 1)", ["NameError"]),
    ],
)
def test_kwargs_that_fail_are_never_data(server: Server, text: str, parts: list[str]) -> None:
    answer = server.post(data={"code": "def run(name): return name", "kwargs": text})
    assert answer.status_code == 400
    assert all(part in answer.text for part in parts), answer.text


def test_kwargs_know_the_request(server: Server) -> None:
    code = "def run(a): return a"
    assert server.get("/some/where", params={"code": code, "kwargs": "{'a': request.path}"}).text == "/some/where"
    flask = "from flask import request\ndef run(a): return a + request.path"
    assert server.get("/x", params={"code": flask, "kwargs": "{'a': request.path}"}).text == "/x/x"


def test_a_request_in_the_place_of_an_argument_is_owned_up(server: Server) -> None:
    for code in ("def run(name): return 'Hello, ' + name", "async def run(name): return 'Hello, ' + name"):
        answer = server.run(code)
        assert answer.status_code == 500
        assert "name was given the request, because no argument name came" in answer.text


def test_a_wrapper_is_called_as_what_it_wraps(server: Server) -> None:
    code = (
        "def deco(f):\n    def wrapper(*args, **kwargs): return f(*args, **kwargs)\n    return wrapper\n"
        "@deco\ndef run({}): return name"
    )
    assert [server.run(code.format(p), name="a").text for p in ("name", "request, name", "_, name")] == ["a"] * 3


# ---- forms, whatever Werkzeug ----------------------------------------------------------------------------------------


def test_a_form_is_as_large_as_nginx_lets_it(server: Server) -> None:
    big = "x" * 5_000_000
    code = "def run(request, text): return [len(text), len(request.form['text'])]"
    assert server.post(files={"code": (None, code), "text": (None, big)}).json() == [len(big)] * 2
    assert server.post(files={"code": (None, f"def run(): return 'ok' # {big}")}).text == "ok"
    assert server.post(files={"code": (None, code), "text": (None, big * 14)}).status_code == 413


@pytest.mark.parametrize("name", ["code", "text", "kwargs"])
def test_what_is_not_utf_8_is_named(server: Server, name: str) -> None:
    fields = {"code": b"def run(text=''): 1/0", "text": b"x", name: b"def run(): 'gr\xfc\xdfe'"}
    answer = server.post(files={key: (None, value) for key, value in fields.items()})
    assert answer.status_code == 400
    assert f"its part '{name}' is not UTF-8 at byte" in answer.text


Starts = Callable[..., Server]


@pytest.mark.skipif("OWT_NEWEST" not in os.environ, reason="OWT_NEWEST names no virtualenv with another Werkzeug")
def test_with_another_werkzeug(start: Starts) -> None:
    """OWT_NEWEST is a virtualenv with the Werkzeug, Flask and pydantic to try."""
    conf = f"client_max_body_size 64m; owt_instance default {{ python_home {os.environ['OWT_NEWEST']}; }}" + (
        "server { listen 127.0.0.1:{port}; location / { owt; } }"
    )
    server = start(conf)
    version = server.run("import importlib.metadata as m\ndef run(): return m.version('werkzeug')").text
    assert version > "2.2.2"
    test_a_form_is_as_large_as_nginx_lets_it(server)
    for name in ("code", "text", "kwargs"):
        test_what_is_not_utf_8_is_named(server, name)
    test_several_files_of_one_name(server)
    test_every_place_is_the_same(server)
