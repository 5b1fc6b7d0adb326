"""examples/digits in a real browser: what a hand draws on the page is recognised."""

from __future__ import annotations

import math

import pytest
from harness import Server, wait_until

pytest.importorskip("selenium", reason="package python3-selenium")
pytest.importorskip("sklearn", reason="package python3-sklearn")
from selenium import webdriver
from selenium.webdriver.common.by import By

# /examples/ as in conf/nginx.conf; at the second port nothing answers the drawing.
CONF = """
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /examples/ { root {root}; charset utf-8; }
}
server {
    listen 127.0.0.1:{port2};
    location = /digits { return 503 "come back later"; }
    location /examples/ { root {root}; charset utf-8; }
}
"""

Stroke = list[tuple[float, float]]


def arc(x: float, y: float, wide: float, high: float, begin: float, end: float) -> Stroke:
    """Around (x, y), from one angle to another in degrees, clockwise from the right."""
    angles = [math.radians(begin + (end - begin) * step / 12) for step in range(13)]
    return [(x + wide * math.cos(angle), y + high * math.sin(angle)) for angle in angles]


# In a square with sides of 1, from its top left.
STROKES: dict[int, list[Stroke]] = {
    0: [arc(0.5, 0.5, 0.3, 0.45, -90, 270)],
    1: [[(0.32, 0.25), (0.55, 0.05), (0.53, 0.95)]],
    2: [arc(0.5, 0.3, 0.28, 0.25, -170, 30) + [(0.22, 0.92), (0.8, 0.9)]],
    3: [arc(0.45, 0.28, 0.28, 0.22, -150, 90) + arc(0.45, 0.72, 0.32, 0.24, -90, 140)],
    4: [[(0.55, 0.05), (0.2, 0.62), (0.85, 0.6)], [(0.64, 0.35), (0.6, 0.97)]],
    5: [[(0.35, 0.06), (0.3, 0.45), *arc(0.47, 0.68, 0.3, 0.26, -110, 140)], [(0.35, 0.06), (0.75, 0.05)]],
    6: [[(0.65, 0.05), (0.4, 0.3), *arc(0.5, 0.7, 0.26, 0.25, 180, 540)]],
    7: [[(0.2, 0.08), (0.8, 0.06), (0.42, 0.95)]],
    8: [arc(0.5, 0.27, 0.22, 0.2, 90, 450) + arc(0.5, 0.72, 0.28, 0.24, -90, 270)],
    9: [[*arc(0.48, 0.3, 0.24, 0.24, 0, -360), (0.68, 0.5), (0.6, 0.95)]],
}


class Page:
    """The page, as a person uses it."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser
        self.canvas = browser.find_element(By.ID, "drawing")

    def draw(self, digit: int, size: float = 240, x: float = 0, y: float = 0) -> None:
        """In a square of that size around (x, y), seen from the middle of the canvas."""
        for stroke in STROKES[digit]:
            self.add([(x + (a - 0.5) * size, y + (b - 0.5) * size) for a, b in stroke])

    def add(self, stroke: Stroke) -> None:
        """In pixels from the middle of the canvas."""
        first, *others = [(round(x), round(y)) for x, y in stroke]
        pointer = webdriver.ActionChains(self.browser, duration=10)
        pointer.move_to_element_with_offset(self.canvas, *first).click_and_hold()
        for point in others:
            pointer.move_to_element_with_offset(self.canvas, *point)
        pointer.release().perform()

    @property
    def state(self) -> str:
        return self.browser.find_element(By.TAG_NAME, "main").get_attribute("data-state") or ""

    @property
    def answer(self) -> str:
        """Once it has come; empty if the call failed."""
        wait_until(lambda: self.state in ("done", "failed"), "an answer", 60)
        return self.browser.find_element(By.ID, "digit").text

    @property
    def chances(self) -> list[float]:
        """In percent."""
        items = self.browser.find_elements(By.TAG_NAME, "li")
        return [float((item.get_attribute("data-chance") or "").rstrip("%") or "nan") for item in items]

    @property
    def seen(self) -> int:
        """How many of the 64 pixels that the model saw have ink."""
        pixels = "document.querySelector('#seen').getContext('2d').getImageData(0, 0, 8, 8).data"
        count: int = self.browser.execute_script(f"return {pixels}.filter((alpha, at) => at % 4 == 3 && alpha).length")
        return count

    def clear(self) -> None:
        self.browser.find_element(By.TAG_NAME, "button").click()


@pytest.fixture
def page(server: Server, browser: webdriver.Chrome) -> Page:
    browser.get_log("browser")
    browser.get(f"{server.url}/examples/digits/")
    return Page(browser)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_drawn_is_recognised(page: Page, scheme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    answers = {}
    for digit in STROKES:
        page.draw(digit)
        answers[digit] = page.answer
        page.clear()
    assert {digit: answer for digit, answer in answers.items() if answer != str(digit)} == {}
    assert page.browser.get_log("browser") == []


def test_small_and_aside(page: Page) -> None:
    for digit in (0, 2, 3, 4, 7):
        page.draw(digit, size=130, x=-60, y=70)
        assert page.answer == str(digit)
        page.clear()


def test_the_page_tells_how_sure_it_is(page: Page) -> None:
    page.draw(0)
    assert page.answer == "0"
    assert page.chances[0] == max(page.chances) > 50
    assert sum(page.chances) == pytest.approx(100, abs=1)
    assert 10 < page.seen < 60
    page.clear()
    assert (page.state, page.seen) == ("", 0)
    assert all(map(math.isnan, page.chances))
    assert not page.browser.find_element(By.ID, "digit").text


def test_each_stroke_is_a_new_question(page: Page) -> None:
    page.draw(1)
    assert page.answer == "1"
    page.add([(0, -110), (-90, 40), (60, 40)])
    wait_until(lambda: page.answer == "4", "the 1 to become a 4")


def test_a_failure_is_shown(server: Server, browser: webdriver.Chrome) -> None:
    browser.get(f"http://127.0.0.1:{server.port_of('port2')}/examples/digits/")
    page = Page(browser)
    page.draw(1)
    assert page.answer == ""
    assert page.state == "failed"
    assert browser.find_element(By.CSS_SELECTOR, "[role=status]").text == "come back later"
