"""The page of owt_status: it lives, ends what it is told to, and belongs to nobody else's page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Server, wait_until

pytest.importorskip("selenium", reason="package python3-selenium")
from asking import Asking
from foreign import attack
from gate import PAUSE, Gate
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

CONF = """
owt_instance default { threads 2; }
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /owt/ { owt_status; }
}
server {
    listen 127.0.0.1:{port2};
    location / { alias {dir}/pages/; }
}
"""

WAIT = PAUSE + "def run(_, gate):\n    pause(gate)\n    return 'done'\n"


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    made = Gate(tmp_path)
    yield made
    made.open()


@pytest.fixture
def page(server: Server, browser: webdriver.Chrome) -> webdriver.Chrome:
    browser.get(f"{server.url}/owt/")
    wait_until(lambda: text(browser, "#health") == "ready", "the page to show something")
    return browser


def text(page: webdriver.Chrome, selector: str) -> str:
    found = page.find_elements(By.CSS_SELECTOR, selector)
    return " ".join(one.text for one in found)


def strike(page: webdriver.Chrome, button: WebElement) -> None:
    """By keyboard, until the server has been told: however slow the page is, and whether it has come to rest meanwhile."""

    def told() -> bool:
        if "is told to end" in text(page, "#word"):
            return True
        button.send_keys(Keys.ENTER)
        return False

    wait_until(told, "what the server says")


def complaints(page: webdriver.Chrome) -> list[str]:
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def test_it_shows_a_call_while_it_is_there(server: Server, page: webdriver.Chrome, gate: Gate) -> None:
    assert text(page, "#no-calls") == "None."
    asked = Asking(server, WAIT, gate=str(gate))
    wait_until(lambda: "running" in text(page, "#calls tbody"), "the call")
    assert text(page, "#running") == "1"
    assert "default" in text(page, "#processes tbody")
    assert page.find_elements(By.CSS_SELECTOR, "#endpoints tbody tr")
    gate.open()
    assert asked.answer().text == "done"
    wait_until(lambda: text(page, "#no-calls") == "None.", "the call to be gone")
    assert not complaints(page)


def test_a_call_is_stopped_by_two_strokes_that_are_not_one(server: Server, page: webdriver.Chrome, gate: Gate) -> None:
    asked = Asking(server, WAIT, gate=str(gate))
    button = wait_until(lambda: page.find_elements(By.CSS_SELECTOR, "#calls button"), "its button")[0]
    page.execute_script("arguments[0].click(); arguments[0].click();", button)
    assert button.text == "Really stop?"
    assert not asked.answered
    # By keyboard, and however often the page is brought up to date meanwhile.
    page.find_element(By.TAG_NAME, "body").click()
    wait_until(lambda: button.text == "Stop", "it to come to rest")
    page.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    before = page.execute_script("return document.querySelector('#calls .number + td').previousSibling.textContent")
    wait_until(
        lambda: text(page, "#calls tbody .number") != before and button.text == "Really stop?", "the page to go on"
    )
    assert page.switch_to.active_element == button
    strike(page, button)
    assert asked.answer().status == 500
    wait_until(lambda: "is told to end" in text(page, "#word"), "what the server says")
    wait_until(lambda: text(page, "#no-calls") == "None.", "the call to be gone")
    assert not complaints(page)


def test_the_keyboard_stays_where_it_was(server: Server, page: webdriver.Chrome, gate: Gate) -> None:
    """At the call that is told to end, and when it has gone at the next one."""
    calls = [Asking(server, WAIT, gate=str(gate)) for _ in range(2)]
    wait_until(lambda: len(page.find_elements(By.CSS_SELECTOR, "#calls .act button")) == 2, "both calls to be shown")
    button = page.find_element(By.CSS_SELECTOR, "#calls .act button")
    first, second = text(page, "#calls tbody td.mono:nth-child(7)").split()
    strike(page, button)
    focused = "return document.activeElement.getAttribute('aria-label')"
    wait_until(lambda: page.execute_script(focused) == f"Stop call {second}", f"call {first} to go")
    assert page.find_element(By.ID, "word").text == f"{first} is told to end."
    gate.open()
    assert sorted(call.answer().status for call in calls) == [200, 500]


def test_an_endpoint_is_dropped(server: Server, page: webdriver.Chrome) -> None:
    code = "def run(_): return 'x'\n# to be dropped\n"
    server.run(code)
    button = f"#endpoints button[aria-label$='{hashlib.sha256(code.encode()).hexdigest()[:16]}']"
    found = wait_until(lambda: page.find_elements(By.CSS_SELECTOR, button), "the endpoint")[0]
    found.send_keys(Keys.ENTER)
    # The second stroke counts once some time has passed.
    page.execute_async_script("setTimeout(arguments[0], 500)")
    found.send_keys(Keys.ENTER)
    wait_until(lambda: not page.find_elements(By.CSS_SELECTOR, button), "it to be dropped")


def test_names_are_text(server: Server, page: webdriver.Chrome, gate: Gate) -> None:
    name = "<img id=evil src=x>"
    asked = Asking(server, f"{PAUSE}\npause({str(gate)!r})\ndef run(_): return 'x'\n", fn_name=name)
    wait_until(lambda: name in text(page, "#calls tbody"), "the call")
    assert not page.find_elements(By.ID, "evil")
    gate.open()
    assert asked.answer().status == 400
    assert not complaints(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1100])
def test_it_fits(server: Server, page: webdriver.Chrome, gate: Gate, tmp_path: Path, width: int, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    asked = Asking(server, WAIT, "/a/rather/long/path", gate=str(gate), fn_name="run")
    wait_until(lambda: "running" in text(page, "#calls tbody"), "the call")
    wide = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    outside = page.execute_script(
        "return [...document.querySelectorAll('button')].filter(one => { const {left, right} = "
        "one.getBoundingClientRect(); return left < 0 || right > innerWidth; }).length"
    )
    colour = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    page.save_screenshot(str(tmp_path / f"status-{width}-{scheme}.png"))
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    gate.open()
    assert asked.answer().text == "done"
    assert wide[0] <= wide[1] <= max(width, 400)
    assert not outside
    assert (sum(json.loads(colour.replace("rgb(", "[").replace(")", "]"))) > 384) == (scheme == "light")


def test_no_foreign_page_shows_it_or_asks_it(server: Server, browser: webdriver.Chrome, gate: Gate) -> None:
    asked = Asking(server, WAIT, gate=str(gate))
    gate.wait_reached()
    (call,) = server.get("/owt/calls").json()
    url = f"{server.url}/owt/"
    this = f"'{url}calls/{call['id']}'"
    tried = attack(
        server,
        browser,
        url,
        f"fetch('{url}calls').then(answer => answer.text())",
        f"fetch({this}, {{method: 'DELETE'}})",
        f"fetch({this}, {{method: 'DELETE', mode: 'no-cors'}})",
        f"fetch({this}, {{method: 'POST', mode: 'no-cors'}}).then(() => Promise.reject())",
    )
    assert tried == "rrrrr"
    assert [one["id"] for one in server.get("/owt/calls").json()] == [call["id"]]
    gate.open()
    assert asked.answer().text == "done"
