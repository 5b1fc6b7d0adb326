"""examples/bark in a real browser: it is heard while it is made. The model is a stand-in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from asking import wait_access
from harness import ROOT, Server, wait_until
from standing_in import CODE, SAMPLE_RATE, SPEAKERS, StandIn, duration, pitch, samples
from standing_in import CONF as CONF  # which the fixture "server" reads

pytest.importorskip("selenium", reason="package python3-selenium")
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select

# Listens in between, and remembers the loudest that it has heard.
LISTEN = """
const connect = AudioNode.prototype.connect;
let ear = null;
AudioNode.prototype.connect = function(to, ...more) {
  if (to !== this.context.destination) return connect.call(this, to, ...more);
  ear ??= this.context.createAnalyser();
  connect.call(ear, to);
  return connect.call(this, ear);
};
window.loudest = 0;
setInterval(() => {
  if (!ear) return;
  const wave = new Float32Array(ear.fftSize);
  ear.getFloatTimeDomainData(wave);
  loudest = Math.max(loudest, ...wave.map(Math.abs));
}, 20);
"""


@pytest.fixture(scope="module", autouse=True)
def stand_in(server: Server) -> StandIn:
    return StandIn(server)


class Page:
    """The page, as a person uses it."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser

    def data(self, name: str) -> str:
        return self.browser.find_element(By.TAG_NAME, "main").get_attribute(f"data-{name}") or ""

    @property
    def made(self) -> float:
        """Seconds of sound that have come."""
        return float(self.data("made") or 0)

    @property
    def heard(self) -> float:
        """Seconds of sound that have been played."""
        return float(self.data("heard") or 0)

    @property
    def classes(self) -> list[str]:
        """Of the sentences."""
        found: list[str] = self.browser.execute_script(
            "return [...document.querySelectorAll('#text span')].map(span => span.className)"
        )
        return found

    def press(self) -> None:
        self.browser.find_element(By.TAG_NAME, "button").click()

    def speak(self, text: str, speaker: str | None = None) -> None:
        box = self.browser.find_element(By.TAG_NAME, "textarea")
        box.clear()
        box.send_keys(text)
        if speaker:
            Select(self.browser.find_element(By.TAG_NAME, "select")).select_by_value(speaker)
        self.press()

    def wait_state(self, state: str) -> None:
        try:
            wait_until(lambda: self.data("state") == state, f"the state {state}", 30)
        except TimeoutError as error:
            said = self.browser.find_element(By.ID, "answer").text
            raise AssertionError(f"{error}, not {self.data('state')}:\n{said}") from None

    @property
    def link(self) -> WebElement:
        """To the whole, once it is there."""
        return self.browser.find_element(By.CSS_SELECTOR, "a[download]")

    def download(self, directory: Path) -> bytes:
        """What the link gives."""
        self.browser.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(directory)}
        )
        self.link.click()
        file = directory / "bark.wav"
        wait_until(lambda: file.exists() and file.stat().st_size, "the download")  # an empty one holds its place
        return file.read_bytes()


@pytest.fixture
def page(server: Server, browser: webdriver.Chrome) -> Page:
    browser.get_log("browser")
    browser.get(f"{server.url}/examples/bark/bark.html")
    return Page(browser)


def seconds(*sentences: str) -> float:
    """How long they take to say."""
    return round(sum(map(duration, sentences)) / SAMPLE_RATE, 2)


def test_speech_is_heard_while_it_is_made(page: Page, stand_in: StandIn, tmp_path: Path) -> None:
    page.browser.execute_script(LISTEN)
    texts = ["Well, hello there!", "This is second.", "It waits at gate middle.", "The end."]
    gate = stand_in.gate("middle")
    page.speak(" ".join(texts))
    gate.wait_reached()
    wait_until(lambda: page.made == seconds(*texts[:2]), "the first two")
    wait_until(lambda: page.classes == ["heard", "heard"], "the first two to be heard")
    assert page.heard == page.made
    assert page.browser.execute_script("return loudest") > 0.2
    assert page.data("state") == "speaking"
    assert not page.link.is_displayed()
    gate.open()
    wait_until(lambda: page.made == seconds(*texts), "the rest")
    page.wait_state("done")
    assert page.heard == page.made
    assert page.classes == ["heard"] * 4
    assert len(samples(page.download(tmp_path))) == sum(map(duration, texts))
    assert page.browser.get_log("browser") == []


def test_each_speaker_has_a_voice(page: Page, tmp_path: Path) -> None:
    heard = []
    for speaker in SPEAKERS:
        page.speak("One two.", speaker)
        page.wait_state("done")
        directory = tmp_path / str(len(heard))
        directory.mkdir()
        heard.append(pitch(samples(page.download(directory))))
    assert abs(heard[0] - heard[1]) > 100


def test_what_was_said_can_be_played_again(page: Page) -> None:
    page.speak("Once more.")
    page.wait_state("done")
    length = "return document.querySelector('audio').duration"
    wait_until(lambda: page.browser.execute_script(length) == pytest.approx(seconds("Once more.")), "its length")


def test_the_page_asks_for_the_result_to_be_kept_by_text_and_speaker(page: Page) -> None:
    page.browser.execute_script("""
        const {fetch} = window;
        window.fetch = (url, options) => { if (options.body) window.asked = JSON.parse(options.body); return fetch(url, options); };
    """)
    page.speak("Hello.")
    page.wait_state("done")
    asked = page.browser.execute_script("return asked")
    assert asked == {"code": CODE, "text": "Hello.", "speaker": SPEAKERS[0], "use_cache": True, "cache_kwargs": True}


def test_stop_ends_the_work(page: Page, stand_in: StandIn, tmp_path: Path) -> None:
    gate = stand_in.gate("stopping")
    page.speak("This is said. Not past gate stopping. Nor this.")
    gate.wait_reached()
    wait_until(lambda: page.made == seconds("This is said."), "the first")
    page.press()
    page.wait_state("stopped")
    wait_until(lambda: "Cancelled Not past gate stopping." in stand_in.journal, "the end of the work")
    assert len(samples(page.download(tmp_path))) == duration("This is said.")
    page.speak("Again.")
    page.wait_state("done")


def test_who_leaves_the_page_ends_the_work(page: Page, stand_in: StandIn) -> None:
    gate = stand_in.gate("left")
    page.speak("Stop at gate left.")
    gate.wait_reached()
    page.browser.get("about:blank")
    wait_until(lambda: "Cancelled Stop at gate left." in stand_in.journal, "the end of the work")


def test_a_failure_is_shown(page: Page) -> None:
    page.speak("So far. Then fail now.")
    page.wait_state("failed")
    alert = page.browser.find_element(By.CSS_SELECTOR, "[role=alert]")
    assert alert.text in ("RuntimeError: the model failed", "The answer broke off: the server's error log says why.")
    page.speak("Please fail now.")
    page.wait_state("failed")
    assert alert.text.startswith("Traceback")
    assert alert.text.endswith("RuntimeError: the model failed")
    page.speak("Better.")
    page.wait_state("done")
    assert not alert.is_displayed()


def test_a_url_is_a_web_server(server: Server, browser: webdriver.Chrome, stand_in: StandIn, tmp_path: Path) -> None:
    command = [ROOT / "examples/bark/bark_construct_url.sh", server.url]
    url = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    browser.get(url.replace("/bark?", "/some/where?"))
    run = wait_until(lambda: browser.find_elements(By.CSS_SELECTOR, ".run[href]"), "the link to run it")[0]
    assert browser.find_element(By.TAG_NAME, "pre").text.startswith("def run(request):\n    return PAGE\n")
    run.click()
    wait_until(lambda: browser.find_elements(By.TAG_NAME, "textarea"), "the page")
    page = Page(browser)
    gate = stand_in.gate("adhoc")
    page.speak("It came in a URL. It stops at gate adhoc.")
    gate.wait_reached()
    wait_until(lambda: page.heard == seconds("It came in a URL."), "the first")
    gate.open()
    page.wait_state("done")
    expected = duration("It came in a URL.") + duration("It stops at gate adhoc.")
    assert len(samples(page.download(tmp_path))) == expected
    wait_access(server, '"POST /some/where HTTP/1.1" 200')
