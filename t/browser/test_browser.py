"""What pages make a real browser ask for: a page of this server runs code, no other does, and a link is asked about."""

from __future__ import annotations

import hashlib
import html
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from harness import SLOW, Server, wait_until

pytest.importorskip("selenium", reason="package python3-selenium")
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

CONF = """
owt_instance default { threads 1; }
large_client_header_buffers 4 64k;
log_format attack "$arg_attack $status";
log_format who "$request_method $uri $arg_attack $status $remote_user";
server {
    listen 127.0.0.1:{port};
    access_log attacks.log attack;
    location / { owt; }
    location /pages/ { alias {dir}/pages/; }
    location /named/ { owt; owt_allow host evil.test; }
    location /any/ {
        access_log any.log who;
        owt;
        owt_allow origin *;
        owt_auth alice:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8;
    }
    location /undeclared/ {
        proxy_pass http://127.0.0.1:{port}/;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_hide_header Document-Policy;
    }
    location /allowed/ { owt; owt_allow origin http://evil.test:{port2}; }
    location /login/ {
        owt;
        owt_allow origin http://evil.test:{port2};
        owt_auth alice:5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8;
    }
}
server {
    listen 127.0.0.1:{port2};
    location / { alias {dir}/pages/; }
}
"""

# Each attack asks for code that leaves a file of the attack's name behind, and settles when the browser is done with it.
ATTACKS = """
const code = name => `def run(request, **fields):
    open(${JSON.stringify(ran + '/' + name)}, 'a').write('x')
    return 'ran'
`;
const url = name => `${target}/?attack=${name}&code=${encodeURIComponent(code(name))}`;
const font = name => new FontFace('font-' + name, `url("${url(name)}")`).load();
const styled = (name, css) => {
  document.body.append(Object.assign(document.createElement('style'), {textContent: css}));
  return fetched(name);
};
// Until something by that name has been asked for.
const fetched = name => new Promise(settle => {
  const look = () => performance.getEntriesByType('resource').some(entry => entry.name.includes(`attack=${name}&`));
  const again = setInterval(() => { if (look()) { clearInterval(again); settle('fetched'); } }, 20);
});
const open_url = name => `${target}/?attack=${name}`;
const json = name => JSON.stringify({code: code(name)});

function element(tag, attributes) {
  const made = Object.assign(document.createElement(tag), attributes);
  const done = new Promise(settle => { made.onload = made.onerror = made.onloadeddata = event => settle(event.type); });
  document.body.append(made);
  return done;
}
function form(name, attributes, fields) {
  const frame = document.createElement('iframe');
  frame.name = 'frame-' + name;
  document.body.append(frame);
  const made = Object.assign(document.createElement('form'), {target: frame.name}, attributes);
  for (const [field, value] of Object.entries(fields)) {
    made.append(Object.assign(document.createElement('textarea'), {name: field, value}));
  }
  document.body.append(made);
  return new Promise(settle => { frame.onload = () => settle('load'); made.submit(); });
}
function event_of(source, ...names) {
  return new Promise(settle => names.forEach(name => source.addEventListener(name, () => settle(name))));
}

const attacks = {
  image: name => element('img', {src: url(name)}),
  script: name => element('script', {src: url(name)}),
  module: name => element('script', {src: url(name), type: 'module'}),
  style: name => element('link', {rel: 'stylesheet', href: url(name)}),
  preload: name => element('link', {rel: 'preload', as: 'image', href: url(name)}),
  prefetch: name => element('link', {rel: 'prefetch', href: url(name)}),
  iframe: name => element('iframe', {src: url(name)}),
  object: name => element('object', {data: url(name)}),
  embed: name => element('embed', {src: url(name)}),
  video: name => element('video', {src: url(name)}),
  audio: name => element('audio', {src: url(name)}),
  'input-image': name => element('input', {type: 'image', src: url(name)}),
  font,
  'css-image': name => styled(name, `body { background: url("${url(name)}"); }`),
  'css-import': name => styled(name, `@import url("${url(name)}");`),
  'form-get': name => form(name, {action: target + '/', method: 'get'}, {attack: name, code: code(name)}),
  'form-post': name => form(name, {action: open_url(name), method: 'post'}, {code: code(name)}),
  'form-multipart': name =>
    form(name, {action: open_url(name), method: 'post', enctype: 'multipart/form-data'}, {code: code(name)}),
  'form-text': name =>
    form(name, {action: open_url(name), method: 'post', enctype: 'text/plain'}, {[json(name).slice(0, -1) + ', "a": "']: '"}'}),
  'form-post-query': name => form(name, {action: url(name), method: 'post'}, {}),
  'fetch': name => fetch(url(name)),
  'fetch-no-cors': name => fetch(url(name), {mode: 'no-cors', credentials: 'include'}),
  'fetch-post': name => fetch(open_url(name), {mode: 'no-cors', method: 'POST', body: new URLSearchParams({code: code(name)})}),
  'fetch-json': name =>
    fetch(open_url(name), {method: 'POST', body: json(name), headers: {'Content-Type': 'application/json'}}),
  'fetch-text': name => fetch(open_url(name), {mode: 'no-cors', method: 'POST', body: json(name)}),
  'fetch-no-referrer': name => fetch(url(name), {mode: 'no-cors', referrerPolicy: 'no-referrer'}),
  'fetch-keepalive': name => fetch(url(name), {mode: 'no-cors', keepalive: true}),
  xhr: name => {
    const request = new XMLHttpRequest();
    const done = event_of(request, 'loadend');
    request.open('GET', url(name));
    request.send();
    return done;
  },
  beacon: name => navigator.sendBeacon(open_url(name), json(name)),
  'event-source': name => event_of(new EventSource(url(name)), 'open', 'error'),
  'web-socket': name => event_of(new WebSocket(url(name).replace(/^http/, 'ws')), 'open', 'error'),
  worker: name => event_of(new Worker(url(name)), 'message', 'error'),
  'service-worker': name => navigator.serviceWorker.register(url(name), {scope: '/'}),
};

const settled = {};
for (const [name, attack] of Object.entries(attacks)) {
  new Promise(settle => settle(attack(name))).then(
    result => { settled[name] = String(result); }, error => { settled[name] = String(error); });
}
"""

# What needs no script of its own in a page, and carries code in its URL.
ELEMENTS = {
    *("image", "script", "module", "style", "preload", "iframe", "object", "embed", "video", "audio", "input-image"),
    *("font", "css-image", "css-import", "form-get", "form-post-query", "worker", "service-worker"),
}

# Those that a browser sends wherever the page is from; others it holds back from some.
SENT = {
    *("image", "script", "style", "iframe", "form-get", "form-post", "form-multipart", "form-text", "form-post-query"),
    *("fetch-no-cors", "fetch-post", "fetch-text", "fetch-no-referrer", "beacon", "event-source", "web-socket"),
    *("audio", "input-image", "css-image", "css-import"),
}

# What the server's own page runs: what a script asks for.
OWN = {
    *("form-post", "form-multipart", "form-text", "fetch", "fetch-no-cors", "fetch-post", "fetch-json", "fetch-text"),
    *("fetch-no-referrer", "fetch-keepalive", "xhr", "beacon", "event-source", "web-socket"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(CONF) as server:
        (server.dir / "pages").mkdir()
        yield server


class Attacker:
    """A page of attacks, and what became of them."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._server = server
        self.ran_in = directory / "ran"
        self.ran_in.mkdir()
        self._logged = len(self._log())

    def page(self, target: str) -> str:
        values = f"const target = {json.dumps(target)}, ran = {json.dumps(str(self.ran_in))};"
        return f"<!DOCTYPE html><title>attacks</title><body><script>{values}{ATTACKS}</script></body>"

    def write_page(self, target: str, name: str = "attacks.html") -> Path:
        file = self._server.dir / "pages" / name
        file.write_text(self.page(target))
        return file

    def _log(self) -> str:
        file = self._server.dir / "attacks.log"
        return file.read_text() if file.exists() else ""

    @property
    def statuses(self) -> dict[str, set[int]]:
        """Of the attacks that have come to the server."""
        found: dict[str, set[int]] = {}
        for line in self._log()[self._logged :].splitlines():
            name, status = line.split()
            if name != "-":
                found.setdefault(name, set()).add(int(status))
        return found

    @property
    def ran(self) -> set[str]:
        # There is one thread: what came before this call has run.
        assert self._server.run("def run(): return 'after'").text == "after"
        return {file.name for file in self.ran_in.iterdir()}

    def wait_settled(self, browser: webdriver.Chrome) -> dict[str, str]:
        count = browser.execute_script("return Object.keys(attacks).length")
        settled: dict[str, str] = {}

        def all_settled() -> bool:
            settled.update(browser.execute_script("return settled"))
            return len(settled) == count

        try:
            wait_until(all_settled, "the attacks to settle", 15)
        except TimeoutError:
            names = browser.execute_script("return Object.keys(attacks)")
            raise AssertionError(f"unsettled: {set(names) - set(settled)}; {settled}") from None
        return settled


@pytest.fixture
def attacker(server: Server, tmp_path: Path) -> Attacker:
    return Attacker(server, tmp_path)


# ---- pages -----------------------------------------------------------------------------------------------------------


def test_a_page_of_this_server_runs_code(server: Server, browser: webdriver.Chrome, attacker: Attacker) -> None:
    attacker.write_page("")
    browser.get(f"{server.url}/pages/attacks.html")
    settled = attacker.wait_settled(browser)
    wait_until(lambda: attacker.ran >= OWN, f"all to run but {OWN - attacker.ran} ({settled})", 5)
    assert attacker.ran == OWN
    assert {name: attacker.statuses[name] for name in {"prefetch", *ELEMENTS}} == {
        name: {403} for name in {"prefetch", *ELEMENTS}
    }


def test_elements_of_this_server_s_page_call_code_by_its_hash(
    server: Server, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    code = f"def run(_, attack):\n    open({str(tmp_path)!r} + '/' + attack, 'w').close()\n    return attack\n"
    assert server.run(code, attack="sent").text == "sent"
    code_id = f"sha256:{hashlib.sha256(code.encode()).hexdigest()}"
    (server.dir / "pages" / "by-hash.html").write_text(
        f"<!DOCTYPE html><title>by hash</title><body><script>const ran = '', target = '';{ATTACKS}</script></body>".replace(
            "&code=${encodeURIComponent(code(name))}", f"&code_id={code_id}"
        )
    )
    browser.get(f"{server.url}/pages/by-hash.html")
    wanted = ELEMENTS - {"form-get"}  # whose field is the code

    def called() -> set[str]:
        return {file.name for file in tmp_path.iterdir()}

    wait_until(lambda: called() >= wanted, f"all to run but {wanted - called()}")


def test_over_plain_http_to_a_name_pictures_styles_and_sound_run_nothing(
    server: Server, browser: webdriver.Chrome, attacker: Attacker
) -> None:
    """There browsers do not say what for, but these can be told by what they accept."""
    attacker.write_page("/named")
    browser.get(f"http://evil.test:{server.port}/pages/attacks.html")
    settled = attacker.wait_settled(browser)
    told = {"image", "style", "preload", "video", "audio", "input-image", "css-image", "css-import"}
    wait_until(
        lambda: attacker.statuses.keys() >= told | {"fetch"}, f"{told - attacker.statuses.keys()} ({settled})", 5
    )
    assert {name: attacker.statuses[name] for name in told} == {name: {403} for name in told}
    assert not attacker.ran & told
    assert {"fetch", "fetch-json", "xhr"} <= attacker.ran


PING = """
const link = document.body.appendChild(document.createElement('a'));
link.href = '#followed';
link.ping = arguments[0];
link.click();
"""


def test_following_a_link_runs_nothing_by_its_ping(
    server: Server, browser: webdriver.Chrome, attacker: Attacker
) -> None:
    (server.dir / "pages" / "plain.html").write_text("<!DOCTYPE html><title>plain</title>")
    browser.get(f"{server.url}/pages/plain.html")
    code = quote(f"def run(_, **fields): open({str(attacker.ran_in / 'ping')!r}, 'w')")
    browser.execute_script(PING, f"/?attack=ping&code={code}")
    wait_until(lambda: "ping" in attacker.statuses, "the ping")
    assert attacker.statuses["ping"] == {403}
    assert not attacker.ran


def holds(attacker: Attacker, browser: webdriver.Chrome) -> None:
    """Asserts that the attacks of the page that is shown are sent and run nothing."""
    settled = attacker.wait_settled(browser)
    wait_until(lambda: attacker.statuses.keys() >= SENT, f"{SENT - attacker.statuses.keys()} ({settled})", 5)
    assert not attacker.ran
    refused = {403, 405, 421, 499}  # 499: the browser does not wait for what it may not read
    assert {name: seen for name, seen in attacker.statuses.items() if not seen <= refused} == {}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.test"])
def test_a_page_of_another_server_runs_nothing(
    server: Server, browser: webdriver.Chrome, attacker: Attacker, host: str
) -> None:
    attacker.write_page(server.url)
    browser.get(f"http://{host}:{server.port_of('port2')}/attacks.html")
    holds(attacker, browser)


def test_a_name_that_an_attacker_gives_to_this_machine_runs_nothing(
    server: Server, browser: webdriver.Chrome, attacker: Attacker
) -> None:
    attacker.write_page("")
    browser.get(f"http://evil.test:{server.port}/pages/attacks.html")
    holds(attacker, browser)
    assert attacker.statuses["form-post"] == {421}


def test_a_file_runs_nothing(server: Server, browser: webdriver.Chrome, attacker: Attacker) -> None:
    browser.get(attacker.write_page(server.url).as_uri())
    holds(attacker, browser)


def test_a_data_url_runs_nothing(server: Server, browser: webdriver.Chrome, attacker: Attacker) -> None:
    browser.get("data:text/html," + quote(attacker.page(server.url)))
    holds(attacker, browser)


def test_a_sandboxed_frame_of_this_server_s_page_runs_nothing(
    server: Server, browser: webdriver.Chrome, attacker: Attacker
) -> None:
    attacker.write_page(server.url)
    (server.dir / "pages" / "outer.html").write_text(
        '<!DOCTYPE html><iframe sandbox="allow-scripts allow-forms allow-popups" src="attacks.html"></iframe>'
    )
    browser.get(f"{server.url}/pages/outer.html")
    browser.switch_to.frame(0)
    holds(attacker, browser)


# ---- pages that are allowed ------------------------------------------------------------------------------------------

FETCH = """
const done = arguments[arguments.length - 1];
fetch(arguments[0], {method: 'POST', body: JSON.stringify({code: "def run(): return 'ran'"}), headers: arguments[1]})
  .then(async answer => done([answer.status, await answer.text()]), error => done([0, String(error)]));
"""


def test_an_allowed_origin_reads_what_it_runs(server: Server, browser: webdriver.Chrome) -> None:
    (server.dir / "pages" / "plain.html").write_text("<!DOCTYPE html><title>plain</title>")
    as_json = {"Content-Type": "application/json"}
    browser.get(f"http://evil.test:{server.port_of('port2')}/plain.html")
    assert browser.execute_async_script(FETCH, f"{server.url}/allowed/", as_json) == [200, "ran"]
    assert browser.execute_async_script(FETCH, f"{server.url}/", as_json)[0] == 0
    login = as_json | {"Authorization": "Basic YWxpY2U6cGFzc3dvcmQ="}
    assert browser.execute_async_script(FETCH, f"{server.url}/login/", login) == [200, "ran"]
    assert browser.execute_async_script(FETCH, f"{server.url}/login/", as_json)[0] == 401
    browser.get(f"http://localhost:{server.port_of('port2')}/plain.html")
    assert browser.execute_async_script(FETCH, f"{server.url}/allowed/", as_json)[0] == 0


# Each with the password that the browser remembers, if it sends it.
REMEMBERED = """
const [done, where, ran] = [arguments[arguments.length - 1], arguments[0], arguments[1]];
const code = name => `def run(_, **fields): open(${JSON.stringify(ran + '/' + name)}, 'w'); return 'ran'`;
const ask = (name, options, url = `${where}?attack=${name}`) =>
  fetch(url, {credentials: 'include', method: 'POST', ...options}).then(answer => answer.status, String);
const form = name => { const made = new FormData(); made.append('code', code(name)); return made; };
Promise.all([
  ask('text', {body: JSON.stringify({code: code('text')})}),
  ask('urlencoded', {body: new URLSearchParams({code: code('urlencoded')})}),
  ask('multipart', {body: form('multipart')}),
  ask('get', {method: 'GET'}, `${where}?attack=get&code=${encodeURIComponent(code('get'))}`),
  ask('no-cors', {mode: 'no-cors', body: new URLSearchParams({code: code('no-cors')})}),
  ask('json', {headers: {'Content-Type': 'application/json'}, body: JSON.stringify({code: code('json')})}),
  ask('header', {headers: {'X-Owt': '1'}, body: new URLSearchParams({code: code('header')})}),
  ask('own', {headers: {'X-Owt': '1', Authorization: 'Basic YWxpY2U6cGFzc3dvcmQ='}, credentials: 'omit',
              body: new URLSearchParams({code: code('own')})}),
]).then(done);
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_page_of_another_port_does_not_run_code_with_the_password_that_the_browser_remembers(
    server: Server, browser: webdriver.Chrome, tmp_path: Path, host: str
) -> None:
    (server.dir / "pages" / "plain.html").write_text("<!DOCTYPE html><title>plain</title>")
    # The user logs in; from then on the browser sends the password by itself.
    browser.get(f"http://alice:password@{host}:{server.port}/any/?attack=login")
    browser.get(f"http://{host}:{server.port_of('port2')}/plain.html")
    seen = browser.execute_async_script(REMEMBERED, f"http://{host}:{server.port}/any/", str(tmp_path))
    log = (server.dir / "any.log").read_text()
    assert "POST /any/ text 403 alice" in log, log  # it did
    assert "POST /any/ urlencoded 403 alice" in log
    assert server.run("def run(): return 'after'").text == "after"
    assert {file.name for file in tmp_path.iterdir()} == {"own"}, seen
    assert seen[-1] == 200


# ---- the page that asks ----------------------------------------------------------------------------------------------

LIVE = """
const done = arguments[0], run = document.querySelector('.run');
const look = () => { if (run.hasAttribute('href')) done(performance.now()); };
new MutationObserver(look).observe(run, {attributes: true});
look();
setTimeout(() => done(`inert; focus: ${document.hasFocus()}, hidden: ${document.hidden}`), 10000);
"""


def live_after(browser: webdriver.Chrome) -> float:
    """How many milliseconds after the navigation the button came to life; waits for that."""
    found = browser.execute_async_script(LIVE)
    assert not isinstance(found, str), found
    return float(found)


class Link:
    """A URL that carries code."""

    def __init__(self, server: Server, directory: Path) -> None:
        self._server = server
        self._file = directory / "ran"
        self.code = (
            f"def run(request, name='<b>&'):\n    open({str(self._file)!r}, 'a').write('x')\n    return 'ran ' + name\n"
        )
        self.url = f"{server.url}/some/where?code={quote(self.code)}&name=Zo%C3%AB"

    @property
    def times(self) -> int:
        """That it has run."""
        assert self._server.run("def run(): return 'after'").text == "after"
        return len(self._file.read_text()) if self._file.exists() else 0

    def write_page(self, attributes: str = "") -> None:
        (self._server.dir / "pages" / "link.html").write_text(
            f'<!DOCTYPE html><title>link</title><a href="{html.escape(self.url)}" {attributes}>click</a>'
        )


@pytest.fixture
def link(server: Server, tmp_path: Path) -> Link:
    return Link(server, tmp_path)


def button(browser: webdriver.Chrome) -> WebElement:
    """Of the page that asks, which has to be the one that is shown."""
    wait_until(lambda: browser.find_elements(By.CSS_SELECTOR, ".run"), "the page that asks")
    return browser.find_element(By.CSS_SELECTOR, ".run")


def asks(browser: webdriver.Chrome, link: Link) -> bool:
    run = button(browser)
    assert run.text == "Run"
    assert link.code.strip() in browser.find_element(By.TAG_NAME, "pre").text
    assert "name = Zoë" in browser.find_element(By.TAG_NAME, "main").text
    assert link.times == 0
    return True


def runs(browser: webdriver.Chrome, link: Link) -> bool:
    """Asserts that the page runs the code, once, when it is told to."""
    assert live_after(browser) >= 1000
    assert link.times == 0
    button(browser).click()
    wait_until(lambda: browser.find_element(By.TAG_NAME, "body").text == "ran Zoë", "the answer")
    assert link.times == 1
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "evil.test"])
def test_a_link_from_another_site_is_asked_about(
    server: Server, browser: webdriver.Chrome, link: Link, host: str
) -> None:
    link.write_page()
    browser.get(f"http://{host}:{server.port_of('port2')}/link.html")
    browser.find_element(By.LINK_TEXT, "click").click()
    assert asks(browser, link)
    assert runs(browser, link)


def test_a_pasted_url_is_asked_about(browser: webdriver.Chrome, link: Link) -> None:
    browser.get(link.url)
    assert asks(browser, link)
    assert runs(browser, link)


def test_a_link_of_this_server_s_page_runs(server: Server, browser: webdriver.Chrome, link: Link) -> None:
    link.write_page()
    browser.get(f"{server.url}/pages/link.html")
    browser.find_element(By.LINK_TEXT, "click").click()
    wait_until(lambda: browser.find_element(By.TAG_NAME, "body").text == "ran Zoë", "the answer")
    assert link.times == 1


@pytest.mark.parametrize("attributes", ['target="_blank"', 'target="_blank" rel="opener"', 'target="w"'])
def test_a_window_that_another_page_opens_is_asked_about(
    server: Server, browser: webdriver.Chrome, link: Link, attributes: str
) -> None:
    link.write_page(attributes)
    browser.get(f"http://evil.test:{server.port_of('port2')}/link.html")
    browser.find_element(By.LINK_TEXT, "click").click()
    wait_until(lambda: len(browser.window_handles) == 2, "the window")
    browser.switch_to.window(browser.window_handles[1])
    assert asks(browser, link)
    assert browser.execute_script("return window.opener") is None


def test_a_script_gets_no_hold_of_the_window_it_opens(server: Server, browser: webdriver.Chrome, link: Link) -> None:
    (server.dir / "pages" / "opens.html").write_text(
        f"<!DOCTYPE html><button onclick='window.opened = window.open({json.dumps(link.url)})'>open</button>"
    )
    browser.get(f"http://evil.test:{server.port_of('port2')}/opens.html")
    first = browser.current_window_handle
    browser.find_element(By.TAG_NAME, "button").click()
    wait_until(lambda: len(browser.window_handles) == 2, "the window")
    browser.switch_to.window(next(handle for handle in browser.window_handles if handle != first))
    assert asks(browser, link)
    browser.switch_to.window(first)
    assert wait_until(lambda: browser.execute_script("return opened.closed"), "the tie to be cut")


def test_the_button_is_inert_for_a_second(browser: webdriver.Chrome, link: Link) -> None:
    browser.get(link.url)
    run = button(browser)
    if browser.execute_script("return performance.now()") < 1000:
        assert run.get_attribute("href") is None
        browser.execute_script("arguments[0].click()", run)
    assert 1000 <= live_after(browser) < 3000 * SLOW
    assert browser.current_url == link.url
    assert link.times == 0


FRAGMENTS = [
    "#:~:text=Nothing%20has%20run%20yet",
    "#:~:text=To%20leave%20it%20so&text=close%20this%20page",
    "#:~:text=the%20last%20line",
]


@pytest.mark.parametrize("fragment", FRAGMENTS)
@pytest.mark.parametrize("where", ["/", "/undeclared/"])
def test_no_link_shows_the_page_from_its_end(
    server: Server, browser: webdriver.Chrome, tmp_path: Path, fragment: str, where: str
) -> None:
    """Neither in browsers that know Document-Policy, nor in others."""
    code = "def run(): pass\n" + "# one more line\n" * 300 + "# the last line"
    url = f"{server.url}{where}?code={quote(code)}{fragment}"
    pages = server.dir / "pages"
    (pages / "from.html").write_text(f'<!DOCTYPE html><a href="{html.escape(url)}">click</a>')
    (pages / "long.html").write_text(
        f"<!DOCTYPE html><pre>{code}</pre><p>Run <span>Nothing has run yet. To leave it so, close this page.</span>"
    )
    browser.get(f"{server.url}/pages/long.html{fragment}")
    wait_until(lambda: browser.execute_script("return scrollY") > 1000, "a page without such care to be scrolled")
    for _ in range(2):
        browser.get(f"http://localhost:{server.port_of('port2')}/from.html")
        browser.find_element(By.LINK_TEXT, "click").click()
        live_after(browser)
        assert browser.execute_script("return scrollY") == 0
        assert browser.execute_script("return document.querySelector('.run').getBoundingClientRect().top") > 1000
    browser.get("about:blank")
    browser.get(url)
    live_after(browser)
    assert browser.execute_script("return scrollY") == 0
    # And the user scrolls as ever.
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.END)
    wait_until(lambda: browser.execute_script("return scrollY") > 1000, "the page to scroll")
    if where == "/":
        browser.refresh()
        live_after(browser)
        assert browser.execute_script("return scrollY") == 0


def test_hasty_clicks_begin_the_second_anew(browser: webdriver.Chrome, link: Link) -> None:
    browser.get(link.url)
    run = button(browser)
    lured_until = time.monotonic() + 1.3
    while time.monotonic() < lured_until:
        webdriver.ActionChains(browser, duration=0).move_to_element(run).click().perform()
    if browser.execute_script("return performance.now()") < 2200:  # else the clicks came too slowly
        assert run.get_attribute("href") is None
    assert asks(browser, link)
    assert runs(browser, link)


def test_a_held_key_does_not_run_it(browser: webdriver.Chrome, link: Link) -> None:
    browser.get(link.url)
    live_after(browser)
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.ENTER, Keys.SPACE)
    assert link.times == 0
    webdriver.ActionChains(browser, duration=0).send_keys(Keys.TAB, Keys.ENTER).perform()
    wait_until(lambda: link.times == 1, "the call that the keyboard asks for")


def test_a_page_without_the_focus_stays_inert(browser: webdriver.Chrome, link: Link) -> None:
    browser.get(link.url)
    live_after(browser)
    browser.execute_script("dispatchEvent(new Event('blur'))")
    assert button(browser).get_attribute("href") is None
    browser.execute_script("dispatchEvent(new Event('focus'))")
    assert button(browser).get_attribute("href") is None
    assert runs(browser, link)


def test_going_back_asks_again(browser: webdriver.Chrome, link: Link) -> None:
    browser.get(link.url)
    assert runs(browser, link)
    browser.back()
    browser.back()
    browser.get(link.url)
    assert button(browser).text == "Run"
    assert link.times == 1


def test_the_page_that_asks_breaks_none_of_its_own_rules(browser: webdriver.Chrome, link: Link) -> None:
    browser.get_log("browser")
    browser.get(link.url)
    assert asks(browser, link)
    assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []
    assert browser.execute_script("return getComputedStyle(document.querySelector('.run')).opacity") < "1"


def test_code_is_shown_and_not_obeyed(server: Server, browser: webdriver.Chrome) -> None:
    code = "</pre><script>document.title = 'mine'</script><a class=run data-href=/x>Run</a>\n# \u202e evil \u200b\n"
    browser.get(f"{server.url}/?code={quote(code)}&%3Cimg%20src=x%20onerror=document.title='mine'%3E=1")
    assert button(browser).text == "Run"
    assert len(browser.find_elements(By.CSS_SELECTOR, ".run, img, a")) == 1
    assert browser.title != "mine"
    shown = browser.find_element(By.TAG_NAME, "pre").text
    assert "<script>document.title" in shown
    assert "U+202E" in shown
    assert "U+200B" in shown
