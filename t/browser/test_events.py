"""A stream of events that fails says why, and a page gets to read it before the answer breaks off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import SLOW, Server

pytest.importorskip("selenium", reason="package python3-selenium")
from selenium import webdriver

CONF = """
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location /pages/ { alias {dir}/pages/; }
}
"""

EVENTS = """
def events(number):
    yield f"data: {number}\\n\\n"
    raise ValueError(f"no more of {number}")
def run(number):
    return events(number), {"Content-Type": "text/event-stream"}
"""

# What each of so many streams has said before it broke off.
PAGE = """<!doctype html><title>events</title><script>
const url = number => '/?number=' + number + '&code=' + encodeURIComponent(code);
function by_source(number) {
  return new Promise(settle => {
    const said = [];
    const source = new EventSource(url(number));
    source.onmessage = event => said.push(event.data);
    source.addEventListener('error', event => {
      if (event.data !== undefined) {
        said.push(event.data);
      } else {
        source.close();
        settle(said);
      }
    });
  });
}
async function by_fetch(number) {
  const reader = (await fetch(url(number))).body.pipeThrough(new TextDecoderStream()).getReader();
  let said = '';
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      said += part.value;
    }
    return ['it ended properly'];
  } catch {
    return said.split('\\n').filter(line => line.startsWith('data: ')).map(line => line.slice(6));
  }
}
</script>"""

MANY = 6


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with Server(CONF) as server:
        (server.dir / "pages").mkdir()
        (server.dir / "pages" / "events.html").write_text(PAGE)
        yield f"http://localhost:{server.port}/pages/events.html"


@pytest.mark.parametrize("how", ["by_source", "by_fetch"])
def test_a_page_reads_why_a_stream_of_events_failed(browser: webdriver.Chrome, page: str, how: str) -> None:
    browser.set_script_timeout(60 * SLOW)
    browser.get(page)
    script = f"""
        const settle = arguments[arguments.length - 1];
        window.code = arguments[0];
        Promise.all([...Array({MANY}).keys()].map({how})).then(settle, error => settle(String(error)));
    """
    said = browser.execute_async_script(script, EVENTS)
    assert said == [[str(number), f"ValueError: no more of {number}"] for number in range(MANY)]
