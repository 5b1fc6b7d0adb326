"""examples/sentiment in a real browser: a page sends the adaptor that lies beside it, and shows what it says."""

from __future__ import annotations

import pytest
from harness import Server, wait_until

pytest.importorskip("selenium", reason="package python3-selenium")
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

# /examples/ as in conf/nginx.conf, with a stand-in for the model.
CONF = """
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location = /examples/sentiment/sentiment.py { alias {dir}/sentiment.py; }
    location /examples/ { root {root}; charset utf-8; }
}
"""
STAND_IN = """
def run(request, text: str):
    if not text.isascii():
        raise ValueError("ASCII alone")
    return {"text": text, "is": "kind" if "nice" in text else "unkind", "chance": 0.75}
"""


def ask(server: Server, browser: webdriver.Chrome, text: str) -> str:
    """By keyboard."""
    (server.dir / "sentiment.py").write_text(STAND_IN)
    browser.get(f"{server.url}/examples/sentiment/")
    field = browser.find_element(By.TAG_NAME, "textarea")
    field.clear()
    field.send_keys(text, Keys.TAB, Keys.ENTER)
    said = browser.find_element(By.CSS_SELECTOR, "[role=status]")
    wait_until(lambda: said.text not in ("", "…"), "an answer", 30)
    return said.text


def test_it_says_what_the_adaptor_says(server: Server, browser: webdriver.Chrome) -> None:
    assert ask(server, browser, "How nice; 5 & 6 + 7") == "kind, by 75 %"
    assert ask(server, browser, "two\nlines") == "unkind, by 75 %"


def test_it_says_why_a_call_failed(server: Server, browser: webdriver.Chrome) -> None:
    assert "ValueError: ASCII alone" in ask(server, browser, "naïve")


def test_it_fits_a_narrow_screen(server: Server, browser: webdriver.Chrome) -> None:
    size = {"width": 375, "height": 812, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert "ValueError" in ask(server, browser, "ä" + "x" * 200)
        assert browser.execute_script("return document.documentElement.scrollWidth") == 375
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
