"""Chromium without a window, for each test file one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from harness import SLOW, Server

if TYPE_CHECKING:
    from selenium import webdriver


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """nginx with the file's CONF."""
    with Server(request.module.CONF) as server:
        yield server


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    # Chromium by itself holds some pages back from this machine. Others do not, and the server must not rely on it.
    options.add_argument("--disable-features=LocalNetworkAccessChecks")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking"),
        *("disable-component-update", "disable-sync", "disable-dev-shm-usage", "no-proxy-server"),
        "disable-audio-output",  # what it plays takes its time, and nobody hears it
        "host-resolver-rules=MAP evil.test 127.0.0.1",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
        "window-size=1000,900",
    ):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    driver.set_page_load_timeout(20 * SLOW)
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """With a single tab."""
    first = chromium.current_window_handle
    yield chromium
    for handle in set(chromium.window_handles) - {first}:
        chromium.switch_to.window(handle)
        chromium.close()
    chromium.switch_to.window(first)
    chromium.get("about:blank")
