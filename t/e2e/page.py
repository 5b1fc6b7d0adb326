"""Pages of owt's own in a browser, which show answers and offer calls as text: the console, and forms of what is
published."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from harness import wait_until

if TYPE_CHECKING:
    from selenium import webdriver


class Page:
    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser
        browser.get_log("browser")

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def wait(self) -> str:
        wait_until(
            lambda: self.state.split(" ")[0] in ("Done", "Refused", "Failed", "Cancelled", "Stopped"), "an answer", 30
        )
        return self.state

    @property
    def state(self) -> str:
        return self.find(".state").text

    @property
    def shown(self) -> str:
        text = self.find(".shown").text
        return "\n".join(line.strip() for line in text.splitlines())

    def js(self, script: str) -> Any:
        return self.browser.execute_script(f"return {script}")

    def rows(self) -> list[list[str]]:
        return self.js(
            "[...document.querySelectorAll('.shown tr')].map(row => [...row.cells].map(cell => cell.textContent))"
        )

    def copy(self, language: str) -> str:
        self.find(f"[data-copy={language}]").click()
        return self.find(".copies pre").text

    def errors(self) -> list[Any]:
        return [entry for entry in self.browser.get_log("browser") if "favicon" not in entry["message"]]


def command_of(language: str, text: str, directory: Path) -> list[str]:
    if language == "curl":
        return ["bash", "-euc", text.replace("curl ", "curl -sS ", 1)]
    name = {"javascript": "call.mjs", "python": "call.py"}[language]
    (directory / name).write_text(text)
    return ["node" if language == "javascript" else sys.executable, name]


def node_version() -> tuple[int, ...]:
    """Node's; skips the test where there is none."""
    if shutil.which("node") is None:
        pytest.skip("package nodejs")
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(number) for number in told.strip().removeprefix("v").split("."))


def runs(language: str, text: str, directory: Path) -> str:
    if language == "javascript":
        node_version()
    command = command_of(language, text, directory)
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, text + done.stderr
    return done.stdout


def names_of_controls(page: Page) -> dict[str, list[str]]:
    """What a screen reader calls them, by their roles."""
    page.browser.execute_cdp_cmd("Accessibility.enable", {})
    found: dict[str, list[str]] = {}
    for node in page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]:
        if not node.get("ignored"):
            found.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", "").strip())
    return found


def contrasts(page: Page) -> float:
    """The least contrast between text and what is behind it, as WCAG 2 counts it."""
    return page.js("""(() => {
        const part = (value) => value <= 10.31475 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4;
        const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
        const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
        const behind = (node) => {
            for (; node; node = node.parentElement) {
                const color = numbers(getComputedStyle(node).backgroundColor);
                if (color.length === 3 || color[3] === 1) return color;
            }
            return [255, 255, 255];
        };
        const texts = [...document.querySelectorAll('main *')].filter(
            (node) => [...node.childNodes].some((one) => one.nodeType === 3 && one.data.trim()) && !node.closest(':disabled'));
        return Math.min(...texts.map((node) => {
            const [a, b] = [light(numbers(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
            return (a + 0.05) / (b + 0.05);
        }));
    })()""")
