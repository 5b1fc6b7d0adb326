"""Pictures that a generator yields, in a real browser: each is shown before the next one is made."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import quote

import pytest
from harness import Server, wait_until

pytest.importorskip("selenium", reason="package python3-selenium")
pytest.importorskip("PIL", reason="package python3-pil")
from gate import PAUSE, Gate
from selenium import webdriver

CONF = """
large_client_header_buffers 4 256k;
server {
    listen 127.0.0.1:{port};
    location / { owt; }
    location = /page { default_type text/html; return 200 "<!DOCTYPE html><img>"; }
}
"""

CODE = """
from PIL import Image
{kind} run(request, gate):
    yield Image.new({mode!r}, (8, 8), "red")
    {wait}pause{call}
    yield Image.new({mode!r}, (8, 8), "blue")
"""

PIXEL = """
const image = document.images[0];
if (!image.naturalWidth) return null;
const canvas = document.createElement("canvas");
const context = canvas.getContext("2d");
context.drawImage(image, 0, 0);
return [...context.getImageData(4, 4, 1, 1).data].map(value => value > 127).join();
"""
RED, BLUE = "true,false,false,true", "false,false,true,true"
LOADED = "return document.images[0].complete && performance.getEntriesByType('resource').some(e => e.name.includes('/frames'))"


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])  # JPEG, PNG
@pytest.mark.parametrize("asynchronous", [False, True])
def test_each_picture_is_shown_before_the_next_is_made(
    server: Server, browser: webdriver.Chrome, tmp_path: Path, mode: str, asynchronous: bool
) -> None:
    gate = Gate(tmp_path)
    words = {"kind": "async def", "wait": "await __import__('asyncio').to_thread(", "call": ", gate)"}
    if not asynchronous:
        words = {"kind": "def", "wait": "", "call": "(gate)"}
    code = CODE.format(mode=mode, **words) + PAUSE + "def known(): pass\n"
    server.run(code, fn_name="known")  # a picture's URL names code that is known, and carries none
    code_id = hashlib.sha256(code.encode()).hexdigest()
    browser.get(f"{server.url}/page")
    url = f"/frames?code_id=sha256:{code_id}&gate={quote(str(gate))}"
    browser.execute_script("document.images[0].src = arguments[0]", url)
    wait_until(lambda: browser.execute_script(PIXEL) == RED, "the first picture")
    gate.wait_reached()
    gate.open()
    wait_until(lambda: browser.execute_script(LOADED), "the end")
    wait_until(lambda: browser.execute_script(PIXEL) == BLUE, "the last picture, which stays")
