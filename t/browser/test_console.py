"""The console in a real browser: what is written runs when it is told to, and what comes back is seen as it comes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from harness import ROOT, Server, wait_until

pytest.importorskip("selenium", reason="package python3-selenium")
from foreign import attack
from gate import PAUSE, Gate
from page import Page, contrasts, names_of_controls, runs
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

CONF = """
large_client_header_buffers 4 256k;
owt_zone results 1m;
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /kept/ { owt; owt_cache results; }
    location /login/ {
        owt;
        owt_auth alice:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8;
    }
    location = /frame.html { default_type text/html; return 200 "<iframe src='/'></iframe>"; }
}
server {
    listen 127.0.0.1:{port2};
    location / { alias {dir}/pages/; }
}
"""
EXAMPLES = ROOT / "python/owt/console/examples"
HELLO = "def run(request, name):\n    return f'Hello, {name}!'\n"


class Console(Page):
    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        super().__init__(browser)
        browser.get(url)
        self.url = browser.current_url

    def write(self, code: str, *fields: tuple[str, str, str]) -> Console:
        """The code and its fields, each a name, a kind and a value, as the user would enter them."""
        self.browser.execute_script("fill({code: ''}); changed()")
        self.area.click()
        self.browser.execute_script("document.execCommand('insertText', false, arguments[0])", code)
        for name, kind, value in fields:
            self.find(".add").click()
            self.browser.switch_to.active_element.send_keys(name)
            row = self.browser.find_elements(By.CSS_SELECTOR, ".row")[-1]
            row.find_element(By.CSS_SELECTOR, f"option[value={kind}]").click()
            row.find_element(By.CSS_SELECTOR, ".value > *").send_keys(value)
        return self

    @property
    def area(self) -> Any:
        return self.find("#code")

    @property
    def code(self) -> str:
        return self.js("editor.value")  # type: ignore[no-any-return]

    @property
    def log(self) -> str:
        return self.js("document.querySelector('.log pre').textContent")  # type: ignore[no-any-return]

    def start(self) -> Console:
        self.find(".run").click()
        return self

    def run(self) -> str:
        self.start()
        return self.wait()

    def choose(self, example: str) -> Console:
        self.find(f".examples option:nth-child({2 + self.examples.index(example)})").click()
        return self

    @property
    def examples(self) -> list[str]:
        return self.js("[...document.querySelectorAll('.examples option')].slice(1).map(one => one.textContent)")  # type: ignore[no-any-return]


@pytest.fixture
def console(server: Server, browser: webdriver.Chrome) -> Iterator[Any]:
    """Opens a console; at the end the browser must have had nothing to complain about, its policy included."""
    browser.get(f"{server.url}/")
    browser.execute_script("localStorage.clear()")
    made: list[Console] = []

    def opened(path: str = "/") -> Console:
        made.append(Console(browser, server.url + path))
        return made[-1]

    yield opened
    for page in made:
        complaints = [one["message"] for one in page.errors()]
        assert [one for one in complaints if "Failed to load resource: the server responded" not in one] == []
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path)
    yield made
    made.open()


# ---- examples


def test_the_first_thing_seen_runs(console: Any) -> None:
    page = console()
    assert page.code == (EXAMPLES / "hello.py").read_text()
    assert page.state == "Nothing has run yet."
    assert page.run().startswith("Done in")
    assert page.shown.splitlines()[0] == "Hello, owt!"


def test_each_example_runs_and_stands_in_the_menu(console: Any, tmp_path: Path) -> None:
    page = console()
    seen = []
    for example in page.examples:
        page.choose(example)
        seen.append(page.code)
        for upload in page.browser.find_elements(By.CSS_SELECTOR, ".row input[type=file]"):
            (tmp_path / "some.txt").write_text("one two\nthree\n")
            upload.send_keys(str(tmp_path / "some.txt"))
        assert page.run().startswith("Done in"), page.shown
        if example == "An upload":
            assert json.loads(page.find(".shown pre").text) == {"lines": 2, "words": 3, "bytes": 14}
    assert sorted(seen) == sorted(file.read_text() for file in EXAMPLES.glob("*.py"))


def test_what_is_loaded_stays(console: Any) -> None:
    page = console().write((EXAMPLES / "warm.py").read_text() + "# for this test\n")
    assert "loading" in page.run()
    first = page.shown.splitlines()[0]
    page.run()
    assert (first[:6], page.shown[:6]) == ("Call 1", "Call 2")
    assert "loading" not in page.state


# ---- what comes back


def test_text_log_and_progress_as_they_come(console: Any, gate: Gate) -> None:
    page = console().write(
        PAUSE + "import owt\ndef run(_, gate):\n    print('begun')\n    owt.progress(1, 4, 'first')\n"
        "    yield 'one '\n    pause(gate)\n    print('ended')\n    yield 'two'\n",
        ("gate", "text", str(gate)),
    )
    page.start()
    wait_until(lambda: page.shown == "one", "the first word")
    wait_until(lambda: page.log == "begun\n", "what was printed")
    wait_until(lambda: page.find(".progress").text == "1 of 4, first", "progress")
    assert page.js("document.querySelector('progress').value") == 1
    assert page.state.startswith("Running")
    gate.open()
    assert page.wait().startswith("Done in")
    assert page.shown.splitlines()[0] == "one two"
    assert page.log == "begun\nended\n"
    assert not page.find(".progress").is_displayed()


def test_a_line_that_is_printed_over(console: Any) -> None:
    code = "def run(_):\n    for n in (1, 20, 3):\n        print(f'\\r{n} done', end='', flush=True)\n    print('\\nend')\n"
    page = console().write(code)
    page.run()
    assert page.log == "3 done\nend\n"


def test_stop_is_seen_by_the_call(server: Server, console: Any, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    page = console().write(
        "import time\nfrom pathlib import Path\ndef run(_, ended):\n    try:\n        while True:\n"
        "            yield 'on '\n            time.sleep(0.01)\n    finally:\n        Path(ended).touch()\n",
        ("ended", "text", str(ended)),
    )
    for stop in (lambda: page.find(".cancel").click(), lambda: page.find(".add").send_keys(Keys.ESCAPE)):
        page.start()
        wait_until(lambda: page.shown.startswith("on on"), "some of it")
        stop()
        assert page.wait().startswith("Stopped after")
        wait_until(ended.exists, "the call to end")
        ended.unlink()
        assert not page.find(".cancel").is_enabled()


def test_another_run_ends_the_one_before(console: Any, gate: Gate) -> None:
    page = console().write(
        PAUSE + "def run(_, gate):\n    yield 'first'\n    pause(gate)\n", ("gate", "text", str(gate))
    )
    page.start()
    wait_until(lambda: page.shown == "first", "the first run")
    page.write("def run():\n    return 'second'\n")
    assert page.run().startswith("Done")
    assert page.shown.startswith("second")
    assert "Stopped" in page.find(".history").text


def test_pictures_sound_and_video(console: Any) -> None:
    page = console().choose("A picture")
    page.run()
    wait_until(lambda: page.js("document.querySelector('.shown img').naturalWidth") == 300, "the picture")
    assert page.find(".after a").get_attribute("download") == "answer.png"
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><script>document.title=1</script></svg>'
    page.write(f"def run():\n    return {svg!r}, {{'Content-Type': 'image/svg+xml'}}\n").run()
    wait_until(lambda: page.js("document.querySelector('.shown img').naturalWidth") == 40, "the drawing")
    page.write(
        "import io, wave\ndef run():\n    file = io.BytesIO()\n    with wave.open(file, 'wb') as sound:\n"
        "        sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(8000)\n"
        "        sound.writeframes(bytes(8000))\n    return file.getvalue(), {'Content-Type': 'audio/wav'}\n"
    ).run()
    wait_until(lambda: page.js("document.querySelector('.shown audio')?.duration") == 0.5, "the sound")
    page.write("def run():\n    return b'\\0' * 9, {'Content-Type': 'video/mp4'}\n").run()
    assert page.find(".shown video").get_attribute("controls")


def test_tables(console: Any) -> None:
    page = console().write("def run():\n    return [{'a': 1, 'b': '<b>'}, {'a': 2}]\n")
    page.run()
    assert page.rows() == [["a", "b"], ["1", "<b>"], ["2", ""]]
    page.write("def run():\n    return 'a,b\\n1,\"x, \"\"y\"\"\"\\n', {'Content-Type': 'text/csv'}\n").run()
    assert page.rows() == [["a", "b"], ["1", 'x, "y"']]
    page.write("def run():\n    for n in range(3):\n        yield {'n': n}\n").run()
    assert page.rows() == [["n"], ["0"], ["1"], ["2"]]


def test_json_is_laid_out(console: Any) -> None:
    page = console().write("def run():\n    return {'a': [1, None]}\n")
    page.run()
    assert page.find(".shown pre").text == '{\n  "a": [\n    1,\n    null\n  ]\n}'


def answer(page: Console, body: str, kind: str) -> Console:
    """What the page shows of such an answer."""
    page.write(f"def run():\n    return {body!r}, {{'Content-Type': {kind!r}}}\n").run()
    return page


def test_numbers_are_shown_as_they_came(console: Any) -> None:
    page = console()
    assert json.loads(
        answer(page, '{"n": [12345678901234567890, 1.0]}', "application/json").find(".shown pre").text
    ) == {"n": [12345678901234567890, 1.0]}
    assert "1.0" in page.find(".shown pre").text
    answer(page, '[{"n": 12345678901234567890, "f": 1.0}]', "application/json")
    assert page.rows() == [["n", "f"], ["12345678901234567890", "1.0"]]
    answer(page, '{"n": 12345678901234567890}\n', "application/x-ndjson")
    assert page.rows() == [["n"], ["12345678901234567890"]]


def test_columns_of_any_name(console: Any) -> None:
    page = answer(console(), '[{"toString": 1, "__proto__": 2}, {"constructor": null}]', "application/json")
    assert page.rows() == [["toString", "__proto__", "constructor"], ["1", "2"], ["", "", ""]]
    assert answer(page, "a,a,__proto__\n1,2,3\n", "text/csv").rows() == [["a", "a", "__proto__"], ["1", "2", "3"]]
    assert answer(page, 'a\n"x,y\n', "text/csv").rows() == [["a"], ["x,y\n"]], "the quote is not closed"
    answer(page, "x", "constructor")
    assert page.find(".after a").get_attribute("download") == "answer.bin"


def test_a_line_that_is_no_json_is_shown(console: Any) -> None:
    page = answer(console(), '{"a": 1}\nnone <b>\n[2]\n', "application/x-ndjson")
    assert page.state.startswith("Done")
    assert page.rows() == [["a"], ["1"]]
    assert page.find(".shown pre").text == "none <b>\n[2]"


SCRIPTED = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"><script>document.title=1</script></svg>'


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("image/svg+xml", "img"),
        ("image/x+xml", "img"),
        ("audio/x+xml", "audio"),
        ("video/xml", "video"),
        ("text/html", "pre"),
    ],
)
def test_no_part_of_an_answer_is_this_servers_page(console: Any, kind: str, shown: str) -> None:
    """What has a blob's address, and is opened by itself as browsers offer it, runs its scripts in this page's origin."""
    page = console()
    page.browser.execute_script(
        "window.made = []; const real = URL.createObjectURL;"
        "URL.createObjectURL = (blob) => { made.push(blob.type); return real.call(URL, blob); };"
    )
    answer(page, SCRIPTED, kind)
    assert page.js("window.made") == ["application/octet-stream"]
    if shown != "pre":
        assert page.find(f".shown {shown}").get_attribute("src").startswith("data:image/svg+xml;base64,")
    assert page.find(".after a").get_attribute("href").startswith("blob:")


def test_parts_of_a_film_are_no_pages_either(console: Any) -> None:
    body = f"--frame\r\nContent-Type: image/svg+xml\r\n\r\n{SCRIPTED}\r\n--frame--\r\n"
    page = answer(console(), body, "multipart/x-mixed-replace; boundary=frame")
    assert page.find(".shown img").get_attribute("src").startswith("data:image/svg+xml;base64,")
    wait_until(lambda: page.js("document.querySelector('.shown img').naturalWidth") == 40, "the drawing")


def test_no_text_holds_the_page_up(console: Any) -> None:
    """A hundred thousand of anything are looked at once each."""
    page = console()
    for text in ("'\\u2028'", "'\\r'", "'\\r\\n'", "'x'"):
        assert page.js(f"overprinted({text}.repeat(200_000) + 'end').endsWith('end')")
    assert page.js("overprinted('a\\rb\\r\\rc\\r\\nd\\r')") == "c\nd\r"
    assert page.js("parameters('\\n'.repeat(300_000), 'run')") is None
    assert page.js("gist('\"\"\"' + ' '.repeat(300_000))") == '"""'
    assert page.js('gist(\'""" Says it. """\\ndef run(): pass\')') == "Says it."


def test_progress_without_bounds(console: Any) -> None:
    page = console().write("import owt\ndef run():\n    owt.progress(1, 10**400, 'far ' * 1000)\n    return 'done'\n")
    assert page.run().startswith("Done")


def test_markup_is_shown_and_runs_nothing(server: Server, browser: webdriver.Chrome) -> None:
    """In a frame of no origin. What the browser then says is that it has blocked what was to be blocked."""
    page = Console(browser, f"{server.url}/").write(
        'def run():\n    return \'<h1 style="color: rgb(1, 2, 3)">A page</h1><script>top.document.title = 1</script>'
        '<img src=x onerror="top.document.title = 2">\'\n'
    )
    assert page.run().startswith("Done")
    frame = page.find(".shown iframe")
    assert frame.get_attribute("sandbox") == ""
    browser.switch_to.frame(frame)
    heading = browser.find_element(By.TAG_NAME, "h1")
    assert (heading.text, heading.value_of_css_property("color")) == ("A page", "rgba(1, 2, 3, 1)")
    browser.switch_to.default_content()
    assert browser.title.startswith("127.0.0.1")
    assert page.find(".shown details pre").get_attribute("textContent").startswith("<h1 style")
    browser.get_log("browser")


def test_downloads(console: Any) -> None:
    page = console().write(
        "def run():\n    return b'\\0\\1\\2', {'Content-Disposition': 'attachment; filename=\"x.dat\"'}\n"
    )
    page.run()
    assert page.find(".after a").get_attribute("download") == "x.dat"
    assert page.shown.endswith("application/octet-stream, 3 bytes")
    assert console().write("def run():\n    pass\n").run().endswith("the answer is empty")
    page = console().write("def run():\n    return 'gone', 410\n")
    assert "status 410" in page.run()
    assert page.shown.startswith("gone")


def test_bytes_are_what_was_sent(console: Any) -> None:
    page = console().write("def run():\n    yield bytes(range(256))\n    yield 'ä€😀'.encode() * 1000\n")
    page.run()
    sent = bytes(range(256)) + "ä€😀".encode() * 1000
    got = page.browser.execute_async_script(
        "const done = arguments[0]; const reader = new FileReader(); reader.onload = () => done(reader.result);"
        "reader.readAsDataURL(new Blob(running.answer.pieces));"
    )
    assert base64.b64decode(got.partition(",")[2]) == sent


def test_an_answer_of_megabytes(console: Any) -> None:
    page = console().write("def run():\n    return 'x' * 5_000_000 + 'end', {'Content-Type': 'text/plain'}\n")
    assert page.run().startswith("Done")
    assert page.find(".after").text.endswith("5.0 MB")
    assert page.js("document.querySelector('.shown pre').textContent") == "x" * 199_997 + "end"
    assert "This is the end of it." in page.find(".shown").text
    page.write("def run():\n    for n in range(30_000):\n        print('line', n)\n").run()
    assert page.log.endswith("line 29998\nline 29999\n")
    assert len(page.log) <= 200_000


def complaint(code: str) -> str:
    """What this Python says of its syntax: newer ones guess what was meant."""
    with pytest.raises(SyntaxError) as raised:
        compile(code, "code", "exec")
    return traceback.format_exception_only(raised.value)[-1].strip()


def test_errors_mark_the_line(console: Any) -> None:
    page = console().write(
        "import json\n\ndef load(text):\n    return json.loads(text)\n\ndef run(_):\n    yield 'so far'\n    yield load('{')\n"
    )
    assert page.run().endswith("500 Internal Server Error")
    alert = page.find("[role=alert].problem").text
    assert alert.startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert 'File "code.py", line 4, in load' in alert
    assert page.shown.startswith("so far")
    assert [one.get_attribute("textContent") for one in page.browser.find_elements(By.CSS_SELECTOR, ".failed")] == [
        "    return json.loads(text)"
    ]
    buttons = page.browser.find_elements(By.CSS_SELECTOR, ".problem button")
    assert [one.text for one in buttons] == ["Line 4", "Line 8"]
    buttons[1].click()
    assert page.js("editor.area.selectionStart") == page.code.index("    yield load")
    page.area.send_keys("#")
    assert not page.browser.find_elements(By.CSS_SELECTOR, ".failed")
    code = "def run():\n    retrun 1\n"
    said = page.write(code).run()
    assert said.startswith("Refused after") and said.endswith(": 400 Bad Request")
    assert page.find(".failed").get_attribute("textContent") == "    retrun 1"
    assert page.find(".problem strong").text == complaint(code)
    page.write(HELLO, ("nam", "text", "x")).run()
    assert "missing: name; not taken: nam" in page.find(".problem").text


def test_a_process_that_ends(server: Server, console: Any, gate: Gate) -> None:
    page = console().write(
        PAUSE + "import os\ndef run(gate):\n    yield 'so far'\n    pause(gate)\n    os._exit(3)\n",
        ("gate", "text", str(gate)),
    )
    page.start()
    wait_until(lambda: page.shown == "so far", "the first word")
    gate.open()
    assert page.wait().startswith("Failed")
    assert page.shown.startswith("so far\nThe answer broke off")
    assert "ERR_INCOMPLETE_CHUNKED_ENCODING" in page.errors()[0]["message"]
    server.expect("exited with code 3")


# ---- what goes there


def test_each_kind_of_field(console: Any, tmp_path: Path) -> None:
    code = "def run(request, **others):\n    return {name: getattr(one, 'filename', one) for name, one in others.items()}\n"
    (tmp_path / "a b.txt").write_text("x")
    fields = [("t", "text", "a;b\nc"), ("j", "json", '{"n": [1, 12345678901234567890]}')]
    page = console().write(code, *fields)
    page.run()
    assert '"t": "a;b\\nc"' in page.find(".shown pre").text
    with_file = console().write(code, *fields, ("f", "file", str(tmp_path / "a b.txt")))
    with_file.run()
    shown = json.loads(with_file.find(".shown pre").text)
    assert shown["t"] == "a;b\nc"
    assert shown["f"] == "a b.txt"
    assert shown["j"]["n"][0] == 1


def test_a_field_that_is_no_json_is_told(console: Any) -> None:
    page = console().write(HELLO, ("name", "json", "{x"))
    page.start()
    assert page.state == "Nothing has run yet."
    assert page.js("document.querySelector('.row .code').validationMessage").startswith("This is no JSON")


def test_parameters_become_fields(console: Any) -> None:
    page = console().write(
        "from pathlib import Path\n# def run(no)\nasync def run(request, name: str, n: int = 3, file: Path = None, *, on=True,\n"
        "        odd: dict[str, int] = {'a,': 1}, **more):\n    return [name, n]\n"
    )
    asked = [one.text for one in page.browser.find_elements(By.CSS_SELECTOR, ".asks button")]
    assert asked == ["+ name", "+ n", "+ file", "+ on", "+ odd"]
    for name in ("name", "n"):
        page.browser.find_element(By.XPATH, f"//button[text()='+ {name}']").click()
    page.browser.switch_to.active_element.send_keys("7")
    assert [one.text for one in page.browser.find_elements(By.CSS_SELECTOR, ".asks button")] == [
        "+ file",
        "+ on",
        "+ odd",
    ]
    assert page.run().startswith("Done")
    assert json.loads(page.find(".shown pre").text) == ["", 37]


def test_fields_nobody_has_touched_follow_the_code(console: Any) -> None:
    page = console()

    def paste(code: str) -> list[list[str]]:
        page.area.click()
        page.browser.execute_script("document.execCommand('selectAll'); document.execCommand('delete')")
        page.browser.execute_script("document.execCommand('insertText', false, arguments[0])", code)
        return page.js("allRows().map(row => [row.name.value, row.kind.value, row.isFile ? '' : row.input.value])")  # type: ignore[no-any-return]

    assert page.js("allRows().map(row => row.name.value)") == ["name"]
    assert paste("def run(request, text: str, n: int = 3):\n    return [text, n]\n") == [
        ["text", "text", ""],
        ["n", "text", "3"],
    ]
    assert page.run().startswith("Done")
    assert json.loads(page.find(".shown pre").text) == ["", 3]
    assert paste("mine = 1\n") == [["text", "text", ""], ["n", "text", "3"]], "there is no function yet"
    assert paste("def run(picture: bytes):\n    return 'so many'\n") == [["picture", "file", ""]]
    assert paste("def run(request, text):\n    return text\n") == [["text", "text", ""]]
    page.find(".row textarea").send_keys("mine")
    assert paste("def run(request, other):\n    return other\n") == [["text", "text", "mine"]], "it has been touched"


def test_a_chosen_file_stays_when_the_code_changes(console: Any, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text("some")
    page = console().choose("An upload")
    page.find(".row input[type=file]").send_keys(str(tmp_path / "some.txt"))
    page.area.click()
    page.browser.execute_script(
        "document.execCommand('selectAll'); document.execCommand('insertText', false, arguments[0])",
        "def run(request, other):\n    return other\n",
    )
    assert page.js("document.querySelector('.row input[type=file]').files.length") == 1


def test_another_function(console: Any) -> None:
    page = console().write("def run():\n    return 1\ndef other():\n    return 'another'\n")
    page.find(".function input").clear()
    page.find(".function input").send_keys("other")
    page.run()
    assert page.shown.startswith("another")


def test_the_adaptor_sees_path_and_query(console: Any) -> None:
    page = console("/some/path?a=1&kwargs={}&b=%26")
    page.write("def run(request):\n    return [request.path, request.args.to_dict()]\n").run()
    assert json.loads(page.find(".shown pre").text) == ["/some/path", {"a": "1", "b": "&"}]


def test_ends_of_lines_and_every_character_arrive(console: Any) -> None:
    code = "def run():\n    '''\n\tü 😀 \\ ` ${x} </script>\n    '''\n    return __file__\n"
    page = console().write(code)
    page.run()
    assert hashlib.sha256(code.encode()).hexdigest() in page.shown


# ---- the editor


def test_keys_of_the_editor(console: Any) -> None:
    page = console().write("")
    page.area.send_keys("def run():", Keys.ENTER, "if 1:", Keys.ENTER, "return 2", Keys.ENTER, Keys.BACKSPACE, "x")
    assert page.code == "def run():\n    if 1:\n        return 2\n    x"
    page.area.send_keys(Keys.CONTROL, "a")
    page.area.send_keys(Keys.TAB)
    assert page.code == "    def run():\n        if 1:\n            return 2\n        x"
    page.area.send_keys(Keys.SHIFT, Keys.TAB)
    page.area.send_keys(Keys.NULL)
    assert page.code == "def run():\n    if 1:\n        return 2\n    x"
    page.area.send_keys(Keys.CONTROL, "z")
    assert page.code.startswith("    def run():"), "what Tab does can be undone"
    # Letter for letter what is under it.
    assert page.js("editor.lines.innerText") == page.code
    page.area.send_keys(Keys.ESCAPE, Keys.TAB)
    assert page.js("document.activeElement !== editor.area")


@pytest.mark.parametrize("width", [375, 1300])
def test_what_is_seen_lies_where_the_text_is(console: Any, width: int) -> None:
    """The caret would stand beside the letters otherwise. What counts is where lines break."""
    page = console()
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    long = "x = " + " + ".join(f"'{word}'" for word in ["a" * 5, "b" * 70, "ü" * 12, "😀" * 9] * 6)
    page.write(f"def run():\n\t{long}   \n    return '''\n{'y' * 300}\n'''" + "\n" * 3)
    heights = page.js(
        "(() => { const {area, lines} = editor; area.style.alignSelf = 'start'; area.style.minHeight = 0;"
        " area.style.height = 0; const found = [area.scrollHeight, lines.offsetHeight]; area.style = ''; return found; })()"
    )
    assert abs(heights[0] - heights[1]) <= 1
    assert page.js("editor.lines.childElementCount") == page.code.count("\n") + 1


def test_colours_are_right_and_change_no_letter(console: Any) -> None:
    page = console()
    source = "\n".join(file.read_text() for file in sorted((ROOT / "python/owt").rglob("*.py"))[:40])[:150_000]
    page.browser.execute_script("editor.value = arguments[0]", source)
    assert page.js("editor.lines.childNodes.length") == source.count("\n") + 1
    assert page.js("[...editor.lines.childNodes].map(one => one.textContent).join('\\n')") == source
    page.browser.execute_script(
        "editor.value = arguments[0]",
        "@deco\nasync def f(a=1.5e3): # '\n    return rb'x\\'' + '''\nif\n''' if a else none",
    )
    spans = page.js("[...editor.lines.querySelectorAll('span')].map(one => [one.className, one.textContent])")
    assert spans == [
        ["name", "@deco"], ["word", "async"], ["word", "def"], ["name", "f"], ["number-literal", "1.5e3"],
        ["comment", "# '"], ["word", "return"], ["string", "rb'x\\''"], ["string", "'''"], ["string", "if"],
        ["string", "'''"], ["word", "if"], ["word", "else"],
    ]  # fmt: skip


def test_what_is_too_large_for_colours(console: Any) -> None:
    page = console()
    page.browser.execute_script("fill({code: arguments[0]})", "x = 1\n" * 50_000 + "def run():\n    return 'large'\n")
    assert page.find(".editor.plain")
    page.run()
    assert page.shown.startswith("large")


# ---- the same call elsewhere

TRICKY = (
    "def run(request, text, n: int, items: list[int] = [1]):\n"
    "    yield f'it\\'s {text} \"{n}\" `${{x}}` \\\\ {items}'\n    yield ' – ü 😀'\n"
)
FIELDS = [("text", "text", "a 'b' \"c\" \\ $d\nä;&=#"), ("n", "text", "3"), ("items", "json", "[4, 5]")]
EXPECTED = 'it\'s a \'b\' "c" \\ $d\nä;&=# "3" `${x}` \\ [4, 5] – ü 😀'


@pytest.mark.parametrize("language", ["curl", "javascript", "python"])
def test_copied_lines_run(server: Server, console: Any, tmp_path: Path, language: str) -> None:
    page = console().write(TRICKY, *FIELDS)
    text = page.copy(language)
    assert page.js("document.querySelector('.copies pre').textContent") in (text, text + "\n")
    out = runs(language, page.js("document.querySelector('.copies pre').textContent"), tmp_path)
    assert out.rstrip("\n") == EXPECTED if language != "javascript" else EXPECTED in out.replace("\n –", " –")


@pytest.mark.parametrize("language", ["curl", "javascript", "python"])
def test_copied_lines_send_files(console: Any, tmp_path: Path, language: str) -> None:
    file = tmp_path / "my file, 'one'.txt"
    file.write_text("one\ntwo\n")
    code = "def run(request, file: bytes, text: str):\n    return f'{len(file)} {text!r} {__file__}'\n"
    page = console().write(code, ("file", "file", str(file)), ("text", "text", "a\nb"))
    out = runs(
        language, page.js(f"(document.querySelector('[data-copy={language}]').click(), copy.textContent)"), tmp_path
    )
    assert out.startswith("8 'a\\nb' ")
    assert hashlib.sha256(code.encode()).hexdigest() in out


@pytest.mark.parametrize("language", ["curl", "javascript", "python"])
def test_copied_lines_save_what_is_no_text(console: Any, tmp_path: Path, language: str) -> None:
    page = console().choose("A picture")
    page.run()
    out = runs(
        language, page.js(f"(document.querySelector('[data-copy={language}]').click(), copy.textContent)"), tmp_path
    )
    if language == "javascript":
        assert out.startswith("image/png ")
    else:
        assert (tmp_path / "answer.png").read_bytes().startswith(b"\x89PNG")


ODD_FIELDS = [
    ("__proto__", "text", "a"), ("toString", "text", "b"), ("constructor", "json", '{"c": null}'), ("a=b", "text", "d"),
    ('%22"', "text", "e"), ("twice", "text", "f"), ("twice", "text", "g"), ("at", "text", "@/etc/passwd"),
    ("$(id)", "text", "`id`"), ("numbers", "json", '{"__proto__": [12345678901234567890, 1.0, 0.5]}'),
]  # fmt: skip
ODD_EXPECTED = {
    "__proto__": "'a'", "toString": "'b'", "constructor": "{'c': None}", "a=b": "'d'", '%22"': "'e'", "twice": "['f', 'g']",
    "at": "'@/etc/passwd'", "$(id)": "'`id`'", "numbers": "{'__proto__': [12345678901234567890, 1.0, 0.5]}",
}  # fmt: skip


@pytest.fixture
def odd(console: Any) -> Console:
    return console().write(  # type: ignore[no-any-return]
        "def run(_, **others):\n    return {name: repr(one) for name, one in others.items()}\n", *ODD_FIELDS
    )


def test_fields_of_every_name_and_number_arrive(odd: Console) -> None:
    odd.run()
    assert json.loads(odd.find(".shown pre").text) == ODD_EXPECTED


@pytest.mark.parametrize("language", ["curl", "javascript", "python"])
def test_copied_lines_send_every_name_and_number(odd: Console, tmp_path: Path, language: str) -> None:
    text = odd.js(f"(document.querySelector('[data-copy={language}]').click(), copy.textContent)")
    assert json.loads(runs(language, text, tmp_path)) == ODD_EXPECTED


def test_copied_links_bring_every_name_and_number(odd: Console) -> None:
    link, page = (
        odd.js(f"(document.querySelector('[data-copy={one}]').click(), copy.textContent)") for one in ("link", "page")
    )
    assert httpx.get(link).json() == ODD_EXPECTED
    odd.browser.get("about:blank")
    again = Console(odd.browser, page)
    wait_until(lambda: again.find(".run").is_enabled(), "the button to come to life")
    again.run()
    assert json.loads(again.find(".shown pre").text) == ODD_EXPECTED


def test_a_file_called_as_curl_calls_its_input(console: Any) -> None:
    assert console().js("['-', '-x', 'a b'].map(atFile)") == ["@./-", "@-x", '@"a b"']


@pytest.mark.parametrize("path", ["/a[1-3]", "/a%7Bb,c%7D", "/a'b", "/a$HOME`id`"])
def test_curl_asks_for_the_very_path(console: Any, tmp_path: Path, path: str) -> None:
    page = console(path).write("def run(request):\n    return request.path\n")
    page.run()
    asked = page.shown.splitlines()[0]
    assert runs("curl", page.copy("curl"), tmp_path) == asked


@pytest.mark.parametrize("path", ["/some/path", "/some/path?a=1"])
def test_the_copied_link_runs(server: Server, console: Any, path: str) -> None:
    page = console(path).write(TRICKY, *FIELDS)
    link = page.js("(document.querySelector('[data-copy=link]').click(), copy.textContent)")
    assert link.startswith(f"{server.url}/some/path?code")
    assert httpx.get(link).text == EXPECTED
    page.browser.get(link)
    assert page.browser.title == "Run this Python?"
    wait_until(lambda: page.browser.find_elements(By.CSS_SELECTOR, ".run[href]"), "the button to come to life")[
        0
    ].click()
    wait_until(lambda: page.browser.title == "", "the answer")
    assert page.browser.find_element(By.TAG_NAME, "body").text == " ".join(EXPECTED.split())


def test_no_link_carries_files(console: Any) -> None:
    page = console().write(HELLO, ("name", "file", str(ROOT / "LICENSE")))
    assert page.copy("link") == page.copy("page") == "A link cannot carry files."


def test_the_button_copies(console: Any) -> None:
    page = console()
    page.browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    page.find(".copy").click()
    wait_until(lambda: page.find(".copied").text == "Copied", "the copy")
    text = page.browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert text == page.js("copy.textContent")
    assert text.startswith(f"curl -N {page.url} --form-string 'code=")


# ---- links that fill it in


def test_a_link_with_code_waits(server: Server, console: Any, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    code = f"from pathlib import Path\ndef run(_, name, n: int):\n    Path({str(mark)!r}).touch()\n    return f'{{name}} {{n + 1}}'\n"
    page = console().write(code, ("name", "text", "ä & b"), ("n", "json", "4"))
    link = page.js("(document.querySelector('[data-copy=page]').click(), copy.textContent)")
    page.browser.execute_script("localStorage.clear(); fill({code: 'mine'}); changed()")
    page.browser.execute_async_script("setTimeout(arguments[0], 400)")  # until the draft has been saved
    page.browser.get("about:blank")
    page.browser.get(link)
    assert page.code == code
    assert "has not run" in page.find(".notice").text
    assert not page.find(".run").is_enabled()
    page.area.send_keys(Keys.CONTROL, Keys.ENTER)
    assert page.state == "Nothing has run yet."
    assert not mark.exists()
    wait_until(page.find(".run").is_enabled, "the button to come to life")
    assert page.run().startswith("Done")
    assert page.shown.startswith("ä & b 5")
    assert mark.exists()
    assert page.browser.current_url == f"{server.url}/"
    page.browser.get("about:blank")
    page.browser.get(link)
    page.find(".notice button").click()
    assert (page.code, page.find(".notice").is_displayed()) == (code, False), "what ran last is the draft"


def test_a_link_does_not_take_what_was_written(server: Server, console: Any) -> None:
    page = console().write("mine = 1\n")
    page.browser.execute_async_script("setTimeout(arguments[0], 400)")
    page.browser.get(f"{server.url}/#code={quote('theirs = 1')}")
    wait_until(lambda: page.code == "theirs = 1", "the link to be opened")
    page.find(".notice button").click()
    assert page.code == "mine = 1\n"
    page.browser.get(f"{server.url}/#code={quote('theirs = 2')}")
    wait_until(lambda: page.code == "theirs = 2", "the link to be opened")
    page.browser.get("about:blank")
    assert console().code == "mine = 1\n"


def test_what_cannot_be_seen_is_spelt_out(server: Server, console: Any) -> None:
    hidden = "x = '\u202e\u200b\U000e0041'\r\ny = 1\n"
    value = quote("a\u2066b")
    page = console(f"/#code={quote(hidden)}&na\u200bme={value}")
    assert page.code == "x = '\\u202e\\u200b\\U000e0041'\ny = 1\n"
    assert "5 characters that cannot be seen" in page.find(".notice").text
    assert page.js("allRows().map(row => [row.name.value, row.input.value])") == [["na\\u200bme", "a\\u2066b"]]
    assert console(f"/#code={quote('ok = 1 # ü 😀 𝒳')}").code == "ok = 1 # ü 😀 𝒳"


def test_in_json_it_is_spelt_as_json_has_it(console: Any) -> None:
    page = console(
        f"/#code=run&kwargs={quote(json.dumps({'a': chr(0xE0041) + chr(0x200B), 'n': 1}, ensure_ascii=False))}"
    )
    assert page.js("allRows().map(row => row.input.value)") == ['"\\udb40\\udc41\\u200b"', "1"]
    assert page.js("values().kwargs.a") == chr(0xE0041) + chr(0x200B)


@pytest.mark.parametrize("kwargs", ["null", "5", "[1]", '"abc"', "{x"])
def test_a_link_whose_kwargs_have_no_names(console: Any, kwargs: str) -> None:
    page = console(f"/#code=def run(): return 1&kwargs={quote(kwargs)}")
    assert page.code == "def run(): return 1"
    assert page.js("allRows().map(row => row.kept)") == [{"name": "kwargs", "kind": "text", "value": kwargs}]
    assert page.find(".notice").is_displayed()


def test_it_spells_out_what_the_page_that_asks_spells_out(server: Server, console: Any) -> None:
    source = (ROOT / "src/guard/confirm.cpp").read_text()
    ranges = [(int(a, 16), int(b, 16)) for a, b in re.findall(r"Range\{(0x\w+),\s+(0x\w+)\}", source)]
    assert len(ranges) > 20
    near = {code for one in ranges for end in one for code in (end - 1, end, end + 1)}
    codes = sorted(near - {-1, 0, 0x0A, 0x0D, 0xFFFD, 0x110000} - set(range(0xD800, 0xE000)))
    page = console()
    here = page.js(f"{json.dumps(codes)}.filter(one => !String.fromCodePoint(one).replace(ODD, ''))")
    browser = {
        "Accept": "text/html",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }
    asked = httpx.get(server.url, params={"code": "".join(map(chr, codes))}, headers=browser).text
    assert "Run this Python?" in asked
    assert here == [int(code, 16) for code in re.findall(r'class="odd">U\+(\w+)<', asked)]


def test_the_button_comes_after_all_of_a_links_code(server: Server, console: Any) -> None:
    page = console(f"/#code={quote('x = 1' + chr(10) * 300 + 'y = 2')}")
    assert page.js("editor.box.scrollHeight <= editor.box.clientHeight + 1")
    assert page.js("run.getBoundingClientRect().top > editor.box.getBoundingClientRect().bottom")


# ---- what is remembered


def test_earlier_runs(server: Server, console: Any) -> None:
    page = console()
    assert not page.find(".history").is_displayed()
    page.write(HELLO, ("name", "text", "one")).run()
    page.write(HELLO, ("name", "text", "two")).run()
    page = console()
    assert page.code == HELLO, "what was written survives"
    assert page.js("allRows()[0].input.value") == "two"
    runs_ = page.browser.find_elements(By.CSS_SELECTOR, ".history li button")
    assert ["name=two" in runs_[0].text, "name=one" in runs_[1].text, len(runs_)] == [True, True, 2]
    runs_[1].click()
    page.run()
    assert page.shown.startswith("Hello, one!")
    assert len(page.browser.find_elements(By.CSS_SELECTOR, ".history li")) == 2, "the same is not remembered twice"
    page.find(".forget").click()
    assert not page.find(".history").is_displayed()
    assert page.js("localStorage.getItem('owt-runs')") is None


def test_an_example_does_not_take_what_was_written(console: Any) -> None:
    page = console().write("mine = 1\n").choose("A table")
    assert "mine = 1" in page.find(".history").text
    assert "not run" in page.find(".history").text


def test_the_history_is_bounded(console: Any) -> None:
    page = console()
    page.browser.execute_script(
        "for (let n = 0; n < 60; n += 1) remember({code: `# ${n}\\n${'x'.repeat(30000)}`, function: 'run', fields: []}, 'Done')"
    )
    assert page.js("runs().length") < 40
    assert page.js("localStorage.getItem('owt-runs').length") <= 1_000_000
    assert page.js("runs()[0].code").startswith("# 59")


JUNK = [
    [None, 1, {}, []],
    [{"at": "x", "code": "a"}, {"at": 1e99, "code": "a"}, {"code": "a"}],
    [{"at": 1, "code": 1}, {"at": 1, "code": None, "fields": [None]}],
    [{"at": 1, "code": "a", "fields": {"a": 1}, "end": {"x": 1}, "function": []}],
    [{"at": 1, "code": "a", "fields": [None, {"name": 5, "kind": "evil", "value": {}}]}],
]


@pytest.mark.parametrize("junk", JUNK, ids=str)
def test_what_others_have_kept_there_is_no_harm(server: Server, console: Any, junk: list[Any]) -> None:
    page = console()
    for draft in (*junk, 5, "abc"):
        page.browser.execute_script(
            "localStorage.setItem('owt-runs', arguments[0]); localStorage.setItem('owt-draft', arguments[1]);"
            "save = () => undefined",
            json.dumps(junk),
            json.dumps(draft),
        )
        page = console()
        assert page.code in ("a", (EXAMPLES / "hello.py").read_text())
        for button in page.browser.find_elements(By.CSS_SELECTOR, ".history li button"):
            button.click()
            assert page.code == "a"
    assert page.write("def run():\n    return 'well'\n").run().startswith("Done")
    assert page.js("runs()[0].code") == "def run():\n    return 'well'\n"


def test_a_browser_that_keeps_nothing(server: Server, console: Any) -> None:
    page = console()
    page.browser.execute_script("Storage.prototype.setItem = () => { throw new Error('full'); }")
    assert page.write(HELLO, ("name", "text", "x")).run().startswith("Done")
    page = console()
    page.browser.execute_script("localStorage.setItem('owt-runs', '{nonsense'); localStorage.removeItem('owt-draft')")
    assert console().run().startswith("Done")


# ---- for everybody


def test_by_keyboard_alone(console: Any) -> None:
    page = console().write("")
    page.area.send_keys("def run(name):", Keys.ENTER, "return name * 2", Keys.ESCAPE, Keys.TAB)
    stops = []
    for _ in range(12):
        active = page.browser.switch_to.active_element
        stops.append(active.text or active.get_attribute("aria-label") or active.get_attribute("type"))
        if stops[-1] == "+ name":
            active.send_keys(Keys.ENTER)
            page.browser.switch_to.active_element.send_keys("ab", Keys.CONTROL, Keys.ENTER)
            break
        active.send_keys(Keys.TAB)
    page.wait()
    assert page.shown.startswith("abab"), stops
    page.find("#tab-curl").send_keys(Keys.ARROW_RIGHT)
    assert page.js("document.activeElement.dataset.copy") == "link"


def test_everything_has_a_name(console: Any) -> None:
    page = console().write(
        "import owt\ndef run(_, name):\n    print(1)\n    owt.progress(1, 2)\n    return 'x'\n", ("name", "text", "x")
    )
    page.run()
    found = names_of_controls(page)
    for role in ("textbox", "combobox", "button", "tab", "region", "log", "progressbar"):
        assert all(found.get(role, [])), f"{role}: {found.get(role)}"
    assert {"Run", "Stop", "Copy", "Add field", "Remove name", "Clear"} <= set(found["button"])
    assert {"Code", "Value of name", "Function"} <= set(found["textbox"])
    assert page.find(".told").get_attribute("role") == "status"
    assert page.js("document.querySelector('.told').textContent").startswith("Done")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_it_fits_and_can_be_read(console: Any, tmp_path: Path, scheme: str, width: int) -> None:
    page = console()
    features = [
        {"name": "prefers-color-scheme", "value": scheme},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 812, "deviceScaleFactor": 1, "mobile": width < 500}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for code in (
        (EXAMPLES / "stream.py").read_text(),
        f"def run():\n    print('{'p' * 200}')\n    raise ValueError('{'q' * 300}')\n",
    ):
        page.write(code, *([("text", "text", "a " * 5), ("pause", "text", "0")] if "pause" in code else []))
        page.run()
        page.copy("page")
        page.browser.save_screenshot(str(tmp_path / f"console-{width}-{scheme}.png"))
        assert page.js("document.documentElement.scrollWidth") <= page.js("innerWidth") == width
        outside = page.js(
            "[...document.querySelectorAll('button, input, select, textarea')].filter(one => { const {left, right} = "
            "one.getBoundingClientRect(); return left < 0 || right > innerWidth; }).map(one => one.outerHTML)"
        )
        assert outside == []
        assert contrasts(page) >= 4.5
        written_over = page.js(
            "[...document.querySelectorAll('.history li')].filter(one => { const [a, b] = ['time', 'small'].map(name => { "
            "const range = document.createRange(); range.selectNodeContents(one.querySelector(name)); "
            "return range.getBoundingClientRect(); }); return a.right > b.left && a.bottom > b.top && b.right > a.left "
            "&& b.bottom > a.top; }).map(one => one.textContent)"
        )
        assert written_over == []
    bright = page.js("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]") > 128
    assert bright == (scheme == "light")
    if width == 375:
        page.browser.execute_script("scrollTo(0, 0)")
        page.start()
        page.wait()
        assert page.js("document.querySelector('.state').getBoundingClientRect().top") < 812, "the answer is in view"


def test_a_login_is_the_browsers(server: Server, console: Any) -> None:
    address = server.url.replace("http://", "http://alice:password@")
    page = Console(console().browser, f"{address}/login/")
    page.write("def run(request):\n    return request.remote_user\n").run()
    assert page.shown.startswith("alice")


# ---- foreign pages


def test_no_foreign_page_shows_it_or_runs_anything(server: Server, browser: webdriver.Chrome, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    code = f"from pathlib import Path\ndef run(): Path({str(ran)!r}).touch()\n"
    url = f"{server.url}/"
    html = "headers: {Accept: 'text/html'}"
    tried = attack(
        server,
        browser,
        f"{url}#code={quote(code)}",
        f"fetch('{url}', {{{html}}}).then(answer => answer.text())",
        f"fetch('{url}', {{{html}, mode: 'no-cors'}})",
        f"fetch('{url}', {{method: 'POST', mode: 'no-cors', body: new URLSearchParams({{code: {json.dumps(code)}}})}})",
    )
    assert tried == "rrrr"
    assert not ran.exists()
    # Nor a page of this server.
    browser.get(f"{server.url}/frame.html")
    browser.switch_to.frame(0)
    assert not browser.find_elements(By.ID, "code")
    browser.switch_to.default_content()
    browser.get_log("browser")


def test_a_foreign_pages_window_cannot_press_run(server: Server, browser: webdriver.Chrome, tmp_path: Path) -> None:
    """It may open the page with its code in it; the page then has no opener, and waits."""
    pages = server.dir / "pages"
    pages.mkdir(exist_ok=True)
    ran = tmp_path / "ran"
    code = f"from pathlib import Path\ndef run(): Path({str(ran)!r}).touch()\n"
    (pages / "open.html").write_text(
        f"<!DOCTYPE html><a target=x rel=opener href='{server.url.replace('127.0.0.1', 'localhost')}/#code={quote(code)}'>go</a>"
    )
    browser.get(f"http://evil.test:{server.port_of('port2')}/open.html")
    browser.find_element(By.TAG_NAME, "a").click()
    wait_until(lambda: len(browser.window_handles) == 2, "the window")
    browser.switch_to.window(browser.window_handles[1])
    wait_until(lambda: browser.find_elements(By.CSS_SELECTOR, ".notice"), "the page")
    assert browser.execute_script("return editor.value") == code
    assert browser.execute_script("return window.opener") is None
    assert browser.find_element(By.CSS_SELECTOR, ".state").text == "Nothing has run yet."
    assert not ran.exists()


def test_it_asks_nothing_of_the_network(server: Server, console: Any) -> None:
    page = console()
    page.run()
    entries = page.js("performance.getEntriesByType('resource').map(one => [one.initiatorType, one.name])")
    assert [one for one in entries if not one[1].startswith(("data:", "blob:"))] == [["fetch", f"{server.url}/"]]


def test_it_is_offered_for_a_kept_result(console: Any) -> None:
    page = console("/kept/").write(
        "import time\ndef run():\n    return str(time.monotonic_ns())\n", ("use_cache", "text", "yes")
    )
    page.run()
    first = page.shown.splitlines()[0]
    page.run()
    assert page.shown.splitlines()[0] == first


def test_without_a_script_it_says_so(server: Server, browser: webdriver.Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(f"{server.url}/")
        assert "needs JavaScript" in browser.find_element(By.TAG_NAME, "noscript").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
