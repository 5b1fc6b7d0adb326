"""The pages of what is published, in a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Server, wait_until

pytest.importorskip("selenium", reason="package python3-selenium")
pytest.importorskip("PIL", reason="package python3-pil")
from page import Page, contrasts, names_of_controls, node_version, runs
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

CONF = """
server {
    listen 127.0.0.1:{port};
    location /api/ { owt_root {root}/examples/publish; }
    location /more/ { owt_root {dir}/more; owt_traceback on; }
    location = /page.html { return 200 "<a href='http://localhost:{port}/api/letters?text=%3Cb%3Ehello'>a link</a>"; default_type text/html; }
}
"""

MORE = {
    "fails.py": "def run(n: int = 1):\n    raise ValueError('no such thing')\n",
    "breaks.py": "def run():\n    yield 'so far '\n    raise ValueError('no further')\n",
    "held.py": (
        "import time\nfrom pathlib import Path\n"
        "def run(until: str, fail: bool = False):\n"
        "    yield 'one '\n"
        "    while not Path(until).exists():\n        time.sleep(0.01)\n"
        "    if fail:\n        raise ValueError('no further')\n"
        "    yield 'two '\n"
    ),
    "endless.py": (
        "import time\nfrom pathlib import Path\n"
        "def run(ended: str):\n"
        "    try:\n        while True:\n            yield 'on '\n            time.sleep(0.01)\n"
        "    finally:\n        Path(ended).touch()\n"
    ),
    "page.py": "def run():\n    return '<h1>A page</h1><script>document.title = \"ran\"</script>'\n",
    "film.py": (
        "from PIL import Image\n"
        "def run():\n    for size in (10, 20, 30):\n        yield Image.new('RGB', (size, 5))\n"
    ),
    "csv.py": "def run():\n    return 'a,b\\n1,\"x, \"\"y\"\"\"\\n2,\\n', {'Content-Type': 'text/csv'}\n",
    "frame.py": "import pandas as pd\ndef run():\n    return pd.DataFrame({'word': ['cat', 'dog'], 'n': [1, 2]})\n",
    "empty.py": "def run():\n    pass\n",
    "raw.py": "def run():\n    return b'\\0\\1\\2'\n",
    "types.py": (
        "import datetime, dataclasses\n"
        "from pathlib import Path\nfrom typing import Literal\n"
        "@dataclasses.dataclass\nclass Point:\n    x: float\n    y: float = 0.0\n"
        "def run(request, text: str, big: int, point: Point, day: datetime.date, anything='', at: datetime.time | None = None,\n"
        "        sizes: list[int] = [], tags: list[Literal['a', 'b']] = ['a'], cut: bool = True, note: str | None = None,\n"
        "        files: list[Path] = [], mode: Literal[1, 2] | None = None):\n"
        '    """Takes all.\n\n    Args:\n        text: what is <said>\n    """\n'
        "    return dict(text=text, big=big, point=point, day=day, anything=anything, at=at, sizes=sizes, tags=tags, cut=cut,\n"
        "                note=note, files=[file.read_text() for file in files], mode=mode)\n"
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(CONF)
    (server.dir / "more").mkdir()
    for name, text in MORE.items():
        (server.dir / "more" / name).write_text(text)
    with server:
        yield server


class Form(Page):
    def __init__(self, browser: webdriver.Chrome, server: Server, path: str) -> None:
        super().__init__(browser)
        browser.get(server.url + path)

    def field(self, name: str) -> Any:
        return self.browser.find_element(By.NAME, name)

    def fill(self, **values: str) -> Form:
        for name, value in values.items():
            field = self.field(name)
            if field.get_attribute("type") in ("date", "time"):  # typed as the browser's language has it
                script = (
                    "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
                )
                self.browser.execute_script(script, field, value)
                continue
            if field.tag_name != "select" and field.get_attribute("type") != "file":
                field.clear()
            field.send_keys(value)
        return self

    def run(self) -> str:
        """Presses Run and waits; what the page says of it."""
        self.browser.find_element(By.CSS_SELECTOR, ".run").click()
        return self.wait()


@pytest.fixture
def form(server: Server, browser: webdriver.Chrome) -> Any:
    return lambda path: Form(browser, server, path)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "my photo, 'one'.png"
    Image.new("RGB", (300, 200), "red").save(path)
    return path


# ---- the list


def test_the_list_leads_to_forms(server: Server, browser: webdriver.Chrome) -> None:
    browser.get(f"{server.url}/api/")
    names = [item.text for item in browser.find_elements(By.CSS_SELECTOR, ".functions code")]
    assert {"letters", "primes", "thumbnail", "tune", "words"} <= set(names)
    browser.find_element(By.LINK_TEXT, "openapi.json")
    browser.find_element(By.CSS_SELECTOR, 'a[href="letters"]').click()
    assert browser.find_element(By.TAG_NAME, "h1").text == "letters"
    browser.find_element(By.LINK_TEXT, "All functions").click()
    assert browser.current_url == f"{server.url}/api/"


def test_a_long_list_is_filtered(server: Server, browser: webdriver.Chrome) -> None:
    browser.get(f"{server.url}/more/")
    browser.find_element(By.CSS_SELECTOR, ".filter input").send_keys("takes")
    shown = [item.text for item in browser.find_elements(By.CSS_SELECTOR, ".functions code") if item.is_displayed()]
    assert shown == ["types"]


# ---- what comes back


def test_a_table(form: Any) -> None:
    page = form("/api/letters").fill(text="hello")
    assert page.run().startswith("Done in")
    assert page.rows() == [
        ["letter", "count", "share"],
        ["l", "2", "0.4"],
        ["h", "1", "0.2"],
        ["e", "1", "0.2"],
        ["o", "1", "0.2"],
    ]
    assert page.errors() == []


def test_text_as_it_streams(form: Any, tmp_path: Path) -> None:
    page = form("/more/held").fill(until=str(tmp_path / "go"))
    page.browser.find_element(By.CSS_SELECTOR, ".run").click()
    wait_until(lambda: page.shown == "one", "the first word")
    assert page.state.startswith("Running")
    (tmp_path / "go").touch()
    page.wait()
    assert page.shown.startswith("one two")
    assert page.errors() == []


def test_lines_become_rows(form: Any) -> None:
    page = form("/api/primes").fill(count="3")
    page.run()
    assert page.rows() == [["number", "prime"], ["1", "2"], ["2", "3"], ["3", "5"]]


def test_a_picture_in_and_out(form: Any, photo: Path) -> None:
    page = form("/api/thumbnail").fill(picture=str(photo))
    wait_until(lambda: page.js("document.querySelector('.preview img')?.naturalWidth") == 300, "the preview")
    page.fill(width="32", look="grey")
    assert page.run().startswith("Done")
    wait_until(lambda: page.js("document.querySelector('.shown img').naturalWidth") == 32, "the picture")
    link = page.browser.find_element(By.LINK_TEXT, "Save")
    assert link.get_attribute("download") == "thumbnail.png"
    assert page.errors() == []


def test_sound_plays(form: Any) -> None:
    page = form("/api/tune").fill(notes="C4\nE4", seconds="0.2")
    page.run()
    wait_until(lambda: page.js("document.querySelector('.shown audio').readyState") >= 1, "the sound's length")
    assert page.js("document.querySelector('.shown audio').duration") == pytest.approx(0.4, abs=0.01)
    page.browser.execute_script("document.querySelector('.shown audio').play()")
    wait_until(lambda: page.js("document.querySelector('.shown audio').ended"), "the sound to end")
    assert page.errors() == []


def test_pictures_that_follow_one_another(form: Any) -> None:
    page = form("/more/film")
    page.run()
    wait_until(lambda: page.js("document.querySelector('.shown img').naturalWidth") == 30, "the last picture")
    assert page.errors() == []


def test_csv(form: Any) -> None:
    page = form("/more/csv")
    page.run()
    assert page.rows() == [["a", "b"], ["1", 'x, "y"'], ["2", ""]]


def test_a_data_frame(form: Any) -> None:
    page = form("/more/frame")
    page.run()
    assert page.rows() == [["word", "n"], ["cat", "1"], ["dog", "2"]]


def test_nothing_and_bytes(form: Any) -> None:
    assert form("/more/empty").run().endswith("the answer is empty")
    page = form("/more/raw")
    page.run()
    assert page.shown == "Save\napplication/octet-stream, 3 bytes"
    assert page.browser.find_element(By.LINK_TEXT, "Save").get_attribute("download") == "raw.bin"


def test_markup_is_text_and_a_page_on_demand(form: Any) -> None:
    page = form("/more/page")
    page.run()
    assert page.shown.startswith("<h1>A page</h1><script>")
    page.browser.find_element(By.XPATH, "//button[text()='Show as a page']").click()
    frame = page.browser.find_element(By.TAG_NAME, "iframe")
    assert frame.get_attribute("sandbox") == ""
    page.browser.switch_to.frame(frame)
    assert page.browser.find_element(By.TAG_NAME, "h1").text == "A page"
    assert page.browser.execute_script("return document.title") == ""
    page.browser.switch_to.default_content()


def test_errors(form: Any, tmp_path: Path) -> None:
    page = form("/more/fails")
    assert page.run().startswith("Failed")
    alert = page.browser.find_element(By.CSS_SELECTOR, "[role=alert]").text
    assert alert.startswith("500 Internal Server Error")
    assert "ValueError: no such thing" in alert
    page = form("/api/primes").fill(count="5")
    page.browser.execute_script("document.querySelector('[name=count]').max = 9000")
    page.fill(count="5000")
    assert page.run().startswith("Refused")
    assert "count wants int" in page.browser.find_element(By.CSS_SELECTOR, "[role=alert]").text
    page = form("/more/breaks")
    assert page.run().startswith("Failed")
    assert "The answer broke off" in page.shown
    page = form("/more/held").fill(until=str(tmp_path / "go"))
    page.field("fail").click()
    page.browser.find_element(By.CSS_SELECTOR, ".run").click()
    wait_until(lambda: page.shown == "one", "the first word")
    (tmp_path / "go").touch()
    assert page.wait().startswith("Failed")
    assert page.shown.startswith("one\nThe answer broke off")


def test_cancel(form: Any, tmp_path: Path) -> None:
    for press in (lambda page: page.browser.find_element(By.CSS_SELECTOR, ".cancel").click(),
                  lambda page: page.browser.find_element(By.TAG_NAME, "body").send_keys(Keys.ESCAPE)):  # fmt: skip
        ended = tmp_path / "ended"
        page = form("/more/endless").fill(ended=str(ended))
        page.browser.find_element(By.CSS_SELECTOR, ".run").click()
        wait_until(lambda page=page: page.shown.startswith("on on"), "some of it")  # type: ignore[misc]
        press(page)
        assert page.wait().startswith("Cancelled after")
        wait_until(ended.exists, "the call to end")
        ended.unlink()


# ---- what goes there


def fill_types(page: Form) -> None:
    page.fill(
        text="a 'b' \"c\" \\ $d\nä", big="12345678901234567890", point='{"x": 1.5}', day="2024-02-29", sizes="1\n2"
    )
    page.fill(at="12:30")
    page.browser.find_element(By.CSS_SELECTOR, "input[value=b]").click()
    page.field("cut").click()
    page.browser.find_element(By.CSS_SELECTOR, "[name=mode] option[value='2']").click()


TYPES = {
    "text": "a 'b' \"c\" \\ $d\nä",
    "big": 12345678901234567890,
    "point": {"x": 1.5, "y": 0.0},
    "day": "2024-02-29",
    "anything": "",
    "at": "12:30:00",
    "sizes": [1, 2],
    "tags": ["a", "b"],
    "cut": False,
    "note": None,
    "files": [],
    "mode": 2,
}


def test_each_type_arrives(form: Any, tmp_path: Path) -> None:
    page = form("/more/types")
    fill_types(page)
    assert page.run().startswith("Done"), page.shown
    shown = page.browser.find_element(By.CSS_SELECTOR, ".shown pre").text
    assert '"text": "a \'b\' \\"c\\" \\\\ $d\\nä"' in shown
    assert json.loads(shown) | {"big": 0} == TYPES | {"big": 0}
    one, two = tmp_path / "one.txt", tmp_path / "two.txt"
    one.write_text("1")
    two.write_text("2")
    page.fill(files=f"{one}\n{two}")
    page.run()
    shown = page.browser.find_element(By.CSS_SELECTOR, ".shown pre").text
    assert json.loads(shown) | {"big": 0} == TYPES | {"big": 0, "files": ["1", "2"]}


def test_what_is_missing_or_no_json_is_told_by_the_browser(form: Any) -> None:
    page = form("/more/types").fill(text="a")
    page.browser.find_element(By.CSS_SELECTOR, ".run").click()
    assert page.state == "Nothing has run yet."
    assert page.js("document.querySelector('[name=big]').validity.valueMissing")
    page.fill(big="1", point="{x: 1}", day="2024-02-29")
    page.browser.find_element(By.CSS_SELECTOR, ".run").click()
    assert page.state == "Nothing has run yet."
    assert page.js("document.querySelector('[name=point]').validationMessage").startswith("This is no JSON")


# ---- the same call elsewhere


LANGUAGES = ["curl", "javascript", "python"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_copied_lines_run(form: Any, tmp_path: Path, language: str) -> None:
    page = form("/more/types")
    fill_types(page)
    assert json.loads(runs(language, page.copy(language), tmp_path)) == TYPES


@pytest.mark.parametrize("language", LANGUAGES)
def test_copied_lines_stream(form: Any, tmp_path: Path, language: str) -> None:
    page = form("/api/words").fill(text="äöü ß", pause="0.01")
    assert runs(language, page.copy(language), tmp_path).split() == ["äöü", "ß"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_copied_lines_send_files_and_get_pictures(form: Any, tmp_path: Path, photo: Path, language: str) -> None:
    if language == "javascript" and node_version() < (19, 8):
        pytest.skip("openAsBlob came with Node 19.8")
    shutil.copy(photo, tmp_path)
    page = form("/api/thumbnail").fill(picture=str(photo), width="20")
    out = runs(language, page.copy(language), tmp_path)
    if language == "javascript":
        assert out.startswith("image/png ")
    else:
        assert Image.open(tmp_path / "thumbnail.png").size == (20, 13)


def test_a_file_that_has_yet_to_be_chosen_has_its_place_in_the_call(form: Any) -> None:
    page = form("/api/thumbnail")
    assert "-F picture=@FILE" in page.copy("curl")
    assert 'open("FILE", "rb")' in page.copy("python")
    assert 'openAsBlob("FILE")' in page.copy("javascript")
    assert "files" not in form("/more/types").copy("curl")  # those may be left out


def test_the_button_copies(form: Any) -> None:
    page = form("/api/letters").fill(text="hi")
    page.browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    page.browser.find_element(By.CSS_SELECTOR, ".copy").click()
    wait_until(lambda: page.browser.find_element(By.CSS_SELECTOR, ".copied").text == "Copied", "the copy")
    text = page.browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert text == page.copy("curl") == f'curl {page.browser.current_url} --json \'{{"text": "hi"}}\''


# ---- for everybody


def test_by_keyboard_alone(form: Any) -> None:
    page = form("/api/letters")
    page.field("text").send_keys("aab", Keys.CONTROL, Keys.ENTER)
    page.wait()
    assert page.rows()[1] == ["a", "2", "0.6667"]
    page.browser.find_element(By.ID, "tab-curl").send_keys(Keys.ARROW_RIGHT)
    assert page.js("document.activeElement.dataset.copy") == "javascript"
    assert "fetch(" in page.browser.find_element(By.CSS_SELECTOR, ".copies pre").text
    page.browser.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    page.browser.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert page.js("document.activeElement.dataset.copy") == "python"


@pytest.mark.parametrize("path", ["/more/types", "/api/thumbnail", "/api/tune"])
def test_everything_has_a_name(form: Any, path: str) -> None:
    page = form(path)
    page.run() if path == "/api/tune" else None
    found = names_of_controls(page)
    for role in (
        "textbox",
        "spinbutton",
        "combobox",
        "checkbox",
        "button",
        "tab",
        "Date",
        "InputTime",
        "slider",
        "region",
    ):
        assert all(found.get(role, [])), f"{role}: {found.get(role)}"
    assert {"Run", "Cancel", "Copy"} <= set(found["button"])
    assert found["tab"] == ["curl", "JavaScript", "Python"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(form: Any, scheme: str) -> None:
    page = form("/api/letters")
    page.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    page.fill(text="hello").run()
    assert contrasts(page) >= 4.5
    bright = page.js("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]") > 128
    assert bright == (scheme == "light")


def test_a_phone(form: Any, photo: Path) -> None:
    page = form("/api/thumbnail")
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        page.fill(picture=str(photo), width="1000").run()
        assert page.js("document.documentElement.scrollWidth") == 360
        wait_until(
            lambda: page.js("document.querySelector('.state').getBoundingClientRect().top") < 700, "the answer in view"
        )
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_link_from_elsewhere_fills_the_form_and_calls_nothing(server: Server, browser: webdriver.Chrome) -> None:
    browser.get(f"{server.url}/page.html")
    browser.find_element(By.TAG_NAME, "a").click()
    wait_until(lambda: "/api/letters" in browser.current_url, "the form")
    assert browser.find_element(By.NAME, "text").get_attribute("value") == "<b>hello"
    assert browser.find_element(By.CSS_SELECTOR, ".state").text == "Nothing has run yet."


def test_without_a_script_the_form_calls_all_the_same(form: Any, photo: Path) -> None:
    page = form("/api/thumbnail")
    page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.browser.refresh()
        page.fill(picture=str(photo))
        page.browser.find_element(By.CSS_SELECTOR, ".run").click()
    finally:
        page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    wait_until(lambda: page.js("document.contentType") == "image/png", "the picture alone")
