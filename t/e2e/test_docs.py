"""README.md and doc/: what they tell people to type works and gives what they show, and what they point to is there."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import BUILD, ROOT, Server
from virtualenvs import bare

CONF = """
owt_zone results 1m;
server {
    listen 127.0.0.1:{port};
    location / { owt; owt_cache results; }
    location /api/ { owt_root api; }
    location = /mcp { owt_mcp api; }
    location /files/ {
        alias       {dir}/api/;
        dav_methods PUT DELETE;
        owt_guard   on;
        owt_auth    alice:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b;  # secret
    }
    location /owt/ { owt_status; }
}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server(CONF)
    shutil.copytree(ROOT / "examples/publish", server.dir / "api")
    with server:
        yield server


PAGES = [ROOT / "README.md", *sorted((ROOT / "doc").glob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> Iterator[tuple[str, str, str]]:
    """Where each fenced block of the language is (page:line), what it holds, and the text block right after it."""
    for page in PAGES:
        text = page.read_text()
        for block in FENCED.finditer(text):
            if block[1] == language:
                following = FENCED.match(text, block.end() + 2)
                shown = following[2] if following and following[1] == "text" else ""
                yield f"{page.name}:{text.count(chr(10), 0, block.start()) + 1}", block[2], shown


# ---- commands --------------------------------------------------------------------------------------------------------

TYPED = [pytest.param(command, shown, id=place) for place, command, shown in blocks("sh")]
HELLO = [command for place, command, _ in blocks("sh") if place.startswith("README.md:") and "/hello " in command]


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = re.sub(r"\bcurl\b", "curl -sS", command)
    command = re.sub(r"^owt-server\b", f"owt-server --module {BUILD}/ngx_http_owt_module.so", command)
    env = {**os.environ, "PATH": f"{ROOT}/bin:{os.environ['PATH']}", **environment}
    return subprocess.run(["bash", "-euc", command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("command", "shown"), TYPED)
def test_commands_give_what_is_shown_below_them(server: Server, command: str, shown: str) -> None:
    address = f"127.0.0.1:{server.port}"
    done = shell(command.replace("localhost:9876", address), OWT_ADDRESS="127.0.0.1", OWT_PORT=str(server.port))
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout.strip().replace(address, "localhost:9876")
    expected = ".*".join(map(re.escape, shown.strip().split("...")))  # "..." stands for anything
    assert re.fullmatch(expected, told, re.DOTALL), f"shown is:\n{shown}\nbut it gave:\n{told}"


def test_what_is_shown_belongs_to_a_command() -> None:
    assert len(list(blocks("text"))) == len([shown for _, _, shown in blocks("sh") if shown])
    assert not [place for place, _, shown in blocks("sh") if not shown]


@pytest.mark.parametrize("script", sorted((ROOT / "examples/echo").glob("*.sh")), ids=lambda path: path.name)
def test_echo_examples(server: Server, script: object) -> None:
    for name in ("reader", "@/etc/passwd", "%x:y", "12", 'naïve "reader"'):
        done = subprocess.run([str(script), server.url, name], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, f"Hello, {name}!\n"), done.stderr


# ---- configurations --------------------------------------------------------------------------------------------------

CONFIGURED = [pytest.param(conf, id=place) for place, conf, _ in blocks("nginx")]


@pytest.mark.parametrize("conf", CONFIGURED)
def test_configurations_are_sound(conf: str, start: Callable[..., Server], tmp_path: Path) -> None:
    """What a page names of its reader's machine stands for something of this one."""
    bare(tmp_path / "venv")
    conf = re.sub(r"/opt/venvs/\w+", str(tmp_path / "venv"), conf)
    (tmp_path / "srv/api").mkdir(parents=True)
    (tmp_path / "srv/tts.py").touch()
    conf = conf.replace("/run/owt/", f"{tmp_path}/run/").replace("/srv/", f"{tmp_path}/srv/")
    conf = re.sub(r"\bgpu\d\b", "127.0.0.1", conf).replace("9876", "{port}")
    conf = conf.replace("include owt_params;", "include {root}/conf/owt_params;")
    server = Server(conf)
    done = server.test_conf()
    server.close()
    assert done.returncode == 0, done.stderr


def test_every_directive_is_documented() -> None:
    directives = (ROOT / "doc/directives.md").read_text()
    (module,) = (ROOT / "src").rglob("module.cpp")
    (settings,) = (ROOT / "src").rglob("settings.cpp")
    names = set(re.findall(r'ngx_command_t\{ngx_string\("(\w+)"\)', module.read_text()))
    variables = set(re.findall(r'Entry\{ngx_string\("(\w+)"\)', module.read_text()))
    lines = set(re.findall(r'line\.name\(\) == "(\w+)"', settings.read_text()))
    assert names and variables and lines
    assert not {name for name in names if f"\n## {name}\n" not in directives}
    assert not {name for name in names if f"\n| [{name}](#{name}) | " not in directives}
    assert not {name for name in variables if f"`${name}`" not in directives}
    assert not {name for name in lines if f"\n| `{name} " not in directives}


# ---- links -----------------------------------------------------------------------------------------------------------

LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(root: Path) -> list[str]:
    """Those of README.md, doc/ and examples/ in this directory that lead nowhere, or out of it."""
    pages = [root / "README.md", *(root / "doc").glob("*.md"), *(root / "examples").rglob("*.md")]
    assert len(pages) > 10
    broken = []
    for page in pages:
        for link in LINK.findall(re.sub(r"`[^`]*`", "", FENCED.sub("", page.read_text()))):
            path, _, anchor = link.partition("#")
            if re.match(r"https?:", link):
                continue
            target = (page.parent / path).resolve() if path else page
            sound = target.exists() and target.is_relative_to(root)
            if not sound or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(root)}: {link}")
    return broken


def test_links_lead_somewhere() -> None:
    assert not broken_links(ROOT)


@pytest.mark.skipif(BUILD != ROOT / "build", reason="make install takes the build without a sanitizer")
def test_links_lead_somewhere_where_they_are_installed(tmp_path: Path) -> None:
    bridges = [path.relative_to(ROOT) for path in (BUILD / "python").glob("_bridge.*.so")]
    old = [word for path in ("build/ngx_http_owt_module.so", *bridges) for word in ("-o", path)]
    make = ["make", *old, f"DESTDIR={tmp_path}", "install"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(make, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not broken_links(tmp_path / "usr/share/doc/owt")


def test_the_developers_page_has_every_file_in_its_place() -> None:
    """A stranger finds the file for an idea there, and so nothing may be missing."""
    text = (ROOT / "doc/develop.md").read_text()
    missing = []
    for path in [*ROOT.glob("src/*/*.?pp"), *ROOT.glob("python/owt/*/*.py")]:
        wing = str(path.parent.relative_to(ROOT)).removeprefix("python/owt/")
        if path.stem.startswith("__") or wing in ("summat", "lib", "client", "server"):
            continue
        row = next(line for line in text.splitlines() if line.startswith(f"| `{wing}/` |"))
        if f"`{path.stem}`" not in row:
            missing.append(str(path.relative_to(ROOT)))
    assert not missing


def test_files_that_the_developers_page_names_are_there() -> None:
    """By their names: in which folder is for the page to say."""
    text = FENCED.sub("", (ROOT / "doc/develop.md").read_text())
    named = re.findall(r"`((?:src|python|t|conf|\.ci)/[\w./]+\.\w+)`", text)
    there = {path.name for top in ("src", "python", "t", "conf", ".ci") for path in (ROOT / top).rglob("*")}
    assert named
    assert not [path for path in named if Path(path).name not in there]
