"""examples/callers in a real browser: a page of this server plays what an adaptor makes, while it is made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import SLOW, Server, wait_until

pytest.importorskip("selenium", reason="package python3-selenium")
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

# /examples/ as in conf/nginx.conf.
CONF = """
large_client_header_buffers 4 64k;
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /examples/ {
        root    {root};
        charset utf-8;
    }
}
"""


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-proxy-server"):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    driver.set_page_load_timeout(20 * SLOW)
    yield driver
    driver.quit()


def ask(browser: webdriver.Chrome, text: str) -> None:
    field = browser.find_element(By.NAME, "text")
    browser.execute_script("arguments[0].value = arguments[1]", field, text)
    browser.find_element(By.TAG_NAME, "button").click()


def audio(browser: webdriver.Chrome, what: str) -> object:
    return browser.execute_script(f"return document.querySelector('audio').{what}")


def test_the_page_plays_what_the_adaptor_makes(server: Server, browser: webdriver.Chrome) -> None:
    browser.get(f"{server.url}/examples/callers/")
    ask(browser, "o " * 5000)
    wait_until(lambda: audio(browser, "currentTime"), f"sound ({audio(browser, 'error')})", 20)
    # It plays before all has come: for that, half an hour of sound would have to lie somewhere.
    assert '"GET /?' not in server.access_log


def test_the_page_shows_that_a_call_failed(server: Server, browser: webdriver.Chrome) -> None:
    browser.get(f"{server.url}/examples/callers/")
    ask(browser, "50%")
    wait_until(lambda: audio(browser, "error"), "the audio element's error", 20)
    wait_until(lambda: 'text=50%25 HTTP/1.1" 400 ' in server.access_log, "the call in the access log")
    told = browser.find_element(By.CSS_SELECTOR, "[role=alert]")
    wait_until(lambda: told.text.startswith("No Morse code here for '%', '0', '5'"), "what is wrong")
