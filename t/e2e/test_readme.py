"""What the README tells people to type works, and gives what it says."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest
from harness import BUILD, ROOT, Server, wait_until

CONF = """
server {
    listen 127.0.0.1:{port};
    location / { owt; }
}
"""

README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)

EXPECTED = [
    r"Hello, owt!",
    r"Hello, owt!",
    r"Hello, owt!",
    r"0\n1\n2",
    r'\{"count":5,"letter":"a"\}',
    r"(?s)# Relative.*\ndaemon off;\n.*threads 2;.*\n}",
    r"Hello, owt!",
    r"64 of \d{5}",
    r"http://\S+/\?code=lambda\+name%3A\S+&name=owt",
    r"hi owt",
    r"HI OWT",
    r"hi world",
    r"sl ;two",
    r"\[4\.0,9\.0\]",
    r"the cat sat on the cat sat on the",
    r"\S{32}\n[0-9a-f]{64}  -",
]


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = re.sub(r"\bcurl\b", "curl -sS --fail-with-body", command)
    command = re.sub(r"^owt-server\b", f"owt-server --module {BUILD}/ngx_http_owt_module.so", command)
    env = {**os.environ, "PATH": f"{ROOT}/bin:{os.environ['PATH']}", **environment}
    return subprocess.run(["bash", "-euc", command], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("command", "expected"), zip(COMMANDS, EXPECTED, strict=True))
def test_commands_of_the_readme(server: Server, command: str, expected: str) -> None:
    done = shell(command.replace("localhost:9876", server.url), OWT_ADDRESS="127.0.0.1", OWT_PORT=str(server.port))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(expected, done.stdout.strip())


@pytest.mark.parametrize("script", sorted((ROOT / "examples/echo").glob("*.sh")), ids=lambda path: path.name)
def test_echo_examples(server: Server, script: object) -> None:
    for name in ("reader", "@/etc/passwd", "%x:y", "12", 'naïve "reader"'):
        done = subprocess.run([str(script), server.url, name], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, f"Hello, {name}!\n"), done.stderr


def test_every_directive_is_documented() -> None:
    source = (ROOT / "src/nginx/module.cpp").read_text()
    directives = set(re.findall(r'ngx_command_t\{ngx_string\("(\w+)"\)', source))
    variables = set(re.findall(r'Entry\{ngx_string\("(\w+)"\)', source))
    assert directives and variables
    assert not {name for name in directives if f"\n### {name}\n" not in README}
    assert not {name for name in variables if f"`${name}`" not in README}


@pytest.fixture
def make_run() -> Iterator[subprocess.Popen[str]]:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 9876)) == 0:
            pytest.skip("port 9876 is taken: make run cannot be tried")
    process = subprocess.Popen(
        ["make", "run"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_make_run_serves_until_interrupted(make_run: subprocess.Popen[str]) -> None:
    def listens() -> bool:
        assert make_run.poll() is None, make_run.communicate()[0]
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", 9876)) == 0

    wait_until(listens, "make run to listen", 120)
    for command in COMMANDS[:3]:
        assert shell(command).stdout.strip() == "Hello, owt!"
    os.killpg(make_run.pid, signal.SIGINT)  # Ctrl-C
    output = make_run.communicate(timeout=30)[0]
    assert output.count("curl ") == 3
    assert "[alert]" not in output
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 9876)) != 0
