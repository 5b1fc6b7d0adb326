"""examples/chat in a real browser, with a stand-in for the model: what is typed is answered, word by word."""

from __future__ import annotations

import json

import pytest
from gate import Gate
from harness import Server, wait_until

pytest.importorskip("selenium", reason="package python3-selenium")
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

# /examples/ as in conf/nginx.conf; at the second port nothing answers.
CONF = """
owt_instance default {
    threads 4;
    python_path {root}/t/stand_in/chat;
    env CHAT_STAND_IN={dir};
    env CHAT_MODEL=with-a-template;
}
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /examples/ { root {root}; charset utf-8; }
}
server {
    listen 127.0.0.1:{port2};
    location = /chat { return 503 "come back later"; }
    location /examples/ { root {root}; charset utf-8; }
}
"""


class Page:
    """The page, as a person uses it."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser
        self.field = browser.find_element(By.TAG_NAME, "textarea")

    def type(self, *keys: str) -> None:
        self.field.send_keys(*keys)

    @property
    def state(self) -> str:
        return self.browser.find_element(By.TAG_NAME, "main").get_attribute("data-state") or ""

    def wait(self, state: str) -> None:
        wait_until(lambda: self.state == state, f"the page to be {state}, which is {self.state}", 20)

    @property
    def said(self) -> list[str]:
        return [item.text.strip() for item in self.browser.find_elements(By.TAG_NAME, "li")]


@pytest.fixture
def page(server: Server, browser: webdriver.Chrome) -> Page:
    (server.dir / "journal").unlink(missing_ok=True)
    browser.get_log("browser")
    browser.get(f"{server.url}/examples/chat/")
    return Page(browser)


def journal(server: Server) -> list[dict[str, object]]:
    file = server.dir / "journal"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_what_is_typed_is_answered(server: Server, page: Page) -> None:
    page.type("hello", Keys.ENTER)
    page.wait("idle")
    wait_until(lambda: len(page.said) == 2, "an answer")
    assert page.said == ["hello", "<user> hello <says>"]
    assert page.field.get_property("value") == ""
    page.type("more", Keys.SHIFT, Keys.ENTER, Keys.NULL, "lines", Keys.ENTER)
    wait_until(lambda: len(page.said) == 4 and page.state == "idle", "another answer")
    assert page.said[2] == "more\nlines"
    assert page.said[3] == "<user> hello <assistant> <user> hello <says>  <user> more\nlines <says>"
    assert page.browser.get_log("browser") == []


def test_words_are_shown_as_they_come(server: Server, page: Page) -> None:
    gate = Gate(server.dir)
    page.type("one gate two", Keys.ENTER)
    gate.wait_reached()
    wait_until(lambda: page.said[-1] == "<user> one", "what has come so far")
    assert page.state == "speaking"
    gate.open()
    page.wait("idle")
    assert page.said == ["one gate two", "<user> one gate two <says>"]


@pytest.mark.parametrize("how", ["Escape", "the button", "start over"])
def test_an_answer_can_be_stopped(server: Server, page: Page, how: str) -> None:
    page.type("ever", Keys.ENTER)
    page.wait("speaking")
    start_over, send = page.browser.find_elements(By.TAG_NAME, "button")
    assert send.text == "Stop"
    if how == "Escape":
        page.type(Keys.ESCAPE)
    else:
        (send if how == "the button" else start_over).click()
    page.wait("idle")
    wait_until(lambda: journal(server)[-1] == {"ended": "stopped"}, "the model to stop")
    assert send.text == "Send"
    assert len(page.said) == (0 if how == "start over" else 2)
    page.type("again", Keys.ENTER)
    wait_until(lambda: page.said[-1].endswith("<user> again <says>") and page.state == "idle", "another answer")
    assert (page.said[-1] == "<user> again <says>") == (how == "start over")


def test_a_model_that_fails_is_shown(server: Server, page: Page) -> None:
    page.type("then fails", Keys.ENTER)
    page.wait("failed")
    assert page.said[:2] == ["then fails", "<user> then"]
    assert "RuntimeError: no room for another word" in page.said[2]
    page.type("again", Keys.ENTER)
    wait_until(lambda: page.said[-1].endswith("<user> again <says>") and page.state == "idle", "another answer")


def test_a_refusal_is_shown(server: Server, browser: webdriver.Chrome) -> None:
    browser.get(f"http://127.0.0.1:{server.port_of('port2')}/examples/chat/")
    page = Page(browser)
    page.type("hello", Keys.ENTER)
    page.wait("failed")
    assert page.said == ["hello", "come back later"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [340, 1000])
def test_everything_is_in_sight(page: Page, scheme: str, width: int) -> None:
    """On a phone too, and legible in both schemes (WCAG's contrast of 4.5)."""
    page.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    size = {"width": width, "height": 600, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.type("a" * 300, Keys.ENTER)
        wait_until(lambda: len(page.said) == 2 and page.state == "idle", "an answer")
        assert page.browser.execute_script("return document.documentElement.scrollWidth") <= width
        box = page.field.rect
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        for selector in ("li.user", "li.assistant", "header p", "h1", "header button", "form button"):
            assert page.browser.execute_script(CONTRAST, selector) >= 4.5, selector
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


CONTRAST = """
function luminance(color) {
  return color.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
}
let element = document.querySelector(arguments[0]);
const ink = luminance(getComputedStyle(element).color);
const color = one => getComputedStyle(one).backgroundColor;
while (element.parentElement && color(element) === 'rgba(0, 0, 0, 0)') element = element.parentElement;
const paper = luminance(color(element));
return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
"""
