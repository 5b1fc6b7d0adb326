"""A page of another site, which frames one of the server's and asks it for things."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness import Server, wait_until

if TYPE_CHECKING:
    from selenium import webdriver


def attack(server: Server, browser: webdriver.Chrome, framed: str, *tries: str) -> str:
    """What becomes of its tries (promises, in JavaScript), the last of which is to see what it frames: of each the first
    letter, f if it had what it wanted, r if not. The server's port2 serves what is in its directory pages.
    """
    pages = server.dir / "pages"
    pages.mkdir(exist_ok=True)
    listed = "".join(f"{one},\n" for one in tries)
    (pages / "attack.html").write_text(
        f"""<!DOCTYPE html><title>waiting</title><iframe src="{framed}"></iframe><script>
        const tries = [
          {listed}
          new Promise(settle => {{ const frame = document.querySelector('iframe');
            frame.addEventListener('load', () => settle(!!frame.contentDocument)); }})
            .then(seen => seen || Promise.reject()),
        ];
        Promise.allSettled(tries).then(all => {{ document.title = all.map(one => one.status[0]).join(''); }});
        </script>"""
    )
    browser.get(f"http://evil.test:{server.port_of('port2')}/attack.html")
    wait_until(lambda: browser.title != "waiting", "all to be tried")
    return browser.title
