"""examples/plot in a real browser: images whose URLs name the code that draws them by its hash."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs, urlsplit

import pytest
from harness import ROOT, Server, wait_until

pytest.importorskip("selenium", reason="package python3-selenium")
pytest.importorskip("matplotlib", reason="package python3-matplotlib")
from selenium import webdriver
from selenium.webdriver.common.by import By

CONF = """
large_client_header_buffers 4 256k;
log_format type "$request_method $uri $status $sent_http_content_type";
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /plot { owt; access_log plots.log type; }
    location /examples/ { root {root}; charset utf-8; }
}
"""

LOADED = "return [...document.images].filter(image => image.complete && image.naturalWidth > 0).length"


def wait_loaded(browser: webdriver.Chrome) -> None:
    """Until all five pictures are there."""
    wait_until(lambda: browser.execute_script(LOADED) == 5, "the pictures", 30)


@pytest.fixture
def page(server: Server, browser: webdriver.Chrome) -> webdriver.Chrome:
    browser.get_log("browser")
    browser.get(f"{server.url}/examples/plot/")
    wait_loaded(browser)
    return browser


def plotted(browser: webdriver.Chrome) -> dict[str, str]:
    """What the large picture's URL carries."""
    url = browser.find_element(By.CSS_SELECTOR, "#plot img").get_attribute("src") or ""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def plot(browser: webdriver.Chrome, y: str) -> None:
    field = browser.find_element(By.NAME, "y")
    field.clear()
    field.send_keys(f"{y}\n")
    assert plotted(browser)["y"] == y


def test_urls_that_name_code_are_pictures(page: webdriver.Chrome, server: Server) -> None:
    code_id = hashlib.sha256((ROOT / "examples/plot/plot.py").read_bytes()).hexdigest()
    assert plotted(page)["code_id"] == f"sha256:{code_id}"
    assert "code" not in plotted(page)
    size = "const image = document.querySelector('#plot img'); return image.naturalWidth / image.naturalHeight"
    assert page.execute_script(size) == pytest.approx(2)
    log = server.dir / "plots.log"
    wait_until(lambda: log.read_text().count("GET") >= 5, "five calls in the access log")
    assert {line for line in log.read_text().splitlines() if "GET" in line} == {
        "GET /plot 200 image/svg+xml; charset=utf-8"
    }
    assert page.get_log("browser") == []


def test_a_formula_that_is_typed(page: webdriver.Chrome) -> None:
    plot(page, "tan(x)")
    wait_loaded(page)
    assert page.find_element(By.CSS_SELECTOR, "main > p a").get_attribute("href") == page.find_element(
        By.CSS_SELECTOR, "#plot img"
    ).get_attribute("src")


def test_a_picture_of_the_gallery(page: webdriver.Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, "nav button").click()
    wait_loaded(page)
    assert (plotted(page)["y"], plotted(page)["start"]) == ("exp(-x**2)", "-3")


def test_the_picture_s_url_is_followed(page: webdriver.Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, "main > p a").click()
    # A page of this server need not ask.
    wait_until(lambda: page.execute_script("return document.contentType") == "image/png", "the picture alone")


def test_a_formula_that_is_none(page: webdriver.Chrome) -> None:
    plot(page, "sin(xx)")
    problem = page.find_element(By.CSS_SELECTOR, "[role=alert]")
    wait_until(problem.is_displayed, "the problem")
    assert problem.text == "NameError: name 'xx' is not defined"
    plot(page, "sin(x)")
    wait_loaded(page)
    wait_until(lambda: not problem.is_displayed(), "the problem to go")


def test_ink_for_dark_paper(page: webdriver.Chrome) -> None:
    for scheme, ink in (("dark", "#e7e7ee"), ("light", "#25252d")):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        wait_until(lambda ink=ink: plotted(page)["ink"] == ink, f"ink for {scheme} paper")  # type: ignore[misc]
        wait_loaded(page)
