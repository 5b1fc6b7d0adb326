"""Code by its id: what names none, where the sources lie and what if they cannot, and the id as what chooses a server."""

import base64
import hashlib
import os
import re
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from harness import SLOW, Server, wait_until

CONF = """
owt_dir sources;
owt_instance default { threads 4; }
server {
    listen 127.0.0.1:{port};
    location / { owt; }
}
"""


def name_of(source: str) -> str:
    return "sha256:" + hashlib.sha256(source.encode()).hexdigest()


def fresh(source: str) -> str:
    return f"# {uuid.uuid4()}\n{source}"


HELLO = "def run(_, **kwargs):\n    return 'hello'\n"


def by_id(server: Server, name: str, **headers: str) -> httpx.Response:
    return server.post("/", json={"code_id": name}, headers=headers)


def sources(server: Server) -> list[Path]:
    return sorted((server.dir / "sources").glob("*.py"))


# ---- names that are none ----------------------------------------------------------------------------------------------

ZEROS = "0" * 64


@pytest.mark.parametrize(
    "name",
    [
        "x",
        ZEROS,
        "sha256:",
        f"sha256:{ZEROS[1:]}",
        f"sha256:{ZEROS}0",
        f"sha256:{ZEROS} ",
        f" sha256:{ZEROS}",
        f"SHA256:{ZEROS}",
        f"sha512:{ZEROS}",
        f"sha256:{ZEROS[1:]}g",
        f"sha256:{ZEROS[1:]}\x00",
        f"sha256:{ZEROS[1:]}\n",
        f"sha256:{ZEROS[2:]}\u00e4",
        "sha256:" + "../" * 21 + "x",
        "sha256:../../../../../../../../../../../../../../../../../etc/passwd.py",
        "sha256:" + "%2e%2e%2f" * 7 + "x",
        "sha256:" + "." * 64,
        "sha256:" + "/" * 64,
    ],
)
def test_what_is_no_id_is_no_path(server: Server, name: str) -> None:
    before = sources(server)
    for answer in (
        by_id(server, name),
        server.post("/", data={"code_id": name}),
        server.post("/", files={"code_id": (None, name)}),
        server.get("/", params={"code_id": name}),
    ):
        assert answer.status_code == 400, answer.text
        assert "sha256: and the 64 hex digits" in answer.text
    assert sources(server) == before


def test_an_unknown_id(server: Server) -> None:
    answer = by_id(server, f"sha256:{ZEROS}", accept="application/json")
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("code-not-found")


def test_a_file_with_other_contents_is_not_run(server: Server, tmp_path: Path) -> None:
    """It has been written by somebody else, or half of it is lost: it goes, and the code may come again."""
    source = fresh(HELLO)
    file = server.dir / "sources" / f"sha256_{name_of(source)[7:]}.py"
    file.write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n{HELLO}")
    assert by_id(server, name_of(source)).status_code == 404
    assert not file.exists()
    file.symlink_to("/etc/passwd")
    assert by_id(server, name_of(source)).status_code == 404
    assert Path("/etc/passwd").exists()
    assert server.run(source).text == "hello"
    assert file.read_text() == source
    assert not (tmp_path / "ran").exists()


# ---- many at once -----------------------------------------------------------------------------------------------------


def test_many_write_at_once(start: Callable[..., Server]) -> None:
    """Three processes are sent the same sources at the same time: each file is whole, and nothing else is left."""
    server = start(CONF, main="worker_processes 3;")
    wanted = [fresh(f"{HELLO}#{'x' * i * 1000}\n") for i in range(20)]

    def work(_: int) -> None:
        with httpx.Client(base_url=server.url, trust_env=False, timeout=30 * SLOW) as client:
            for source in wanted:
                assert client.post("/", json={"code": source}).text == "hello"
                assert client.post("/", json={"code_id": name_of(source)}).text == "hello"

    with ThreadPoolExecutor(9) as pool:
        list(pool.map(work, range(9)))
    assert [file.name for file in sources(server)] == sorted(f"sha256_{name_of(one)[7:]}.py" for one in wanted)
    assert sorted(file.read_text() for file in sources(server)) == sorted(wanted)
    assert not list((server.dir / "sources").glob(".new-*"))


def test_old_sources_go_and_used_ones_stay(start: Callable[..., Server]) -> None:
    server = start(CONF)
    old, used = fresh(HELLO), fresh(HELLO)
    server.signal("stop")
    long_ago = time.time() - 40 * 24 * 3600
    for source, at in ((old, long_ago), (used, time.time())):
        file = server.dir / "sources" / f"sha256_{name_of(source)[7:]}.py"
        file.write_text(source)
        os.utime(file, (at, long_ago))
    server.start()
    assert server.run(fresh(HELLO)).text == "hello"  # looks around
    wait_until(lambda: len(sources(server)) == 2, "the old source to go")
    assert by_id(server, name_of(old)).status_code == 404
    assert by_id(server, name_of(used)).text == "hello"


# ---- no room, no permission -------------------------------------------------------------------------------------------


@pytest.fixture
def little_disk() -> Iterator[Server]:
    """A server whose owt_dir is a file system of 256 kB."""
    server = Server(CONF)
    directory = server.dir / "sources"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", directory], capture_output=True)
    if mounted.returncode != 0:
        server.close()
        pytest.skip("may not mount")
    try:
        server.start()
        yield server
    finally:
        subprocess.run(["umount", "-l", directory], check=True)
        server.close()


def test_a_full_disk(little_disk: Server) -> None:
    """What is there works, what cannot be stored is refused with the reason, and nothing is left half-written."""
    server = little_disk
    early, loaded = fresh(HELLO), fresh(HELLO)
    for source in (early, loaded):
        assert server.run(source).text == "hello"
    server.signal("reload")
    assert server.run(loaded).text == "hello"
    filler = server.dir / "sources" / "filler"
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"x" * 4096)
            except OSError:
                break
    late = fresh(HELLO)
    for _ in range(2):
        answer = server.post("/", json={"code": late}, headers={"Accept": "application/json"})
        assert answer.status_code == 500
        assert answer.json()["type"].endswith("cannot-store")
        assert "No space left on device" in answer.json()["detail"]
        assert "owt_dir" in answer.json()["detail"]
        assert server.run(early).text == server.run(loaded).text == by_id(server, name_of(early)).text == "hello"
        assert by_id(server, name_of(late)).status_code == 404
    assert not list((server.dir / "sources").glob(".new-*"))
    filler.unlink()
    assert server.run(late).text == "hello"
    assert by_id(server, name_of(late)).text == "hello"


def test_a_directory_that_may_not_be_written(little_disk: Server) -> None:
    server = little_disk
    early, late = fresh(HELLO), fresh(HELLO)
    assert server.run(early).text == "hello"
    directory = server.dir / "sources"
    subprocess.run(["mount", "-o", "remount,ro", directory], check=True)
    server.signal("reload")
    answer = server.run(late)
    assert answer.status_code == 500
    assert "Read-only file system" in answer.text
    assert "owt_dir" in answer.text
    assert server.run(early).text == by_id(server, name_of(early)).text == "hello"
    subprocess.run(["mount", "-o", "remount,rw", directory], check=True)
    assert server.run(late).text == "hello"


# ---- the id chooses the server ----------------------------------------------------------------------------------------

FRONT = """
log_format id '$request_uri [$owt_code_id]';
access_log id.log id;
upstream owts {{
    hash $owt_code_id consistent;
    {servers}
}}
server {{
    listen 127.0.0.1:{{port}};
    location / {{
        proxy_pass http://owts;
        proxy_set_header Host localhost;
    }}
    location /spool/ {{
        client_body_buffer_size 1k;
        proxy_pass http://owts;
        proxy_set_header Host localhost;
    }}
    location /unbuffered/ {{
        proxy_request_buffering off;
        proxy_pass http://owts;
        proxy_set_header Host localhost;
    }}
    location /own/ {{ return 200 "[$owt_code_id]"; }}
}}
"""

BACK = "owt_instance default { threads 2; }\nserver { listen 127.0.0.1:{port}; owt_allow http10; location / { owt; } }"

# Which of the servers runs it.
WHERE = "import os\ndef run(_, **kwargs):\n    return str(os.getppid())\n"


class Farm:
    """A front and three servers."""

    def __init__(self, start: Callable[..., Server]) -> None:
        self.backs = [start(BACK) for _ in range(3)]
        servers = "".join(f"server 127.0.0.1:{back.port};" for back in self.backs)
        self.front = start(FRONT.format(servers=servers))

    def where(self, source: str, path: str = "/") -> str:
        answer = self.front.post(path, json={"code": source})
        assert answer.status_code == 200, answer.text
        return answer.text


def test_an_endpoint_has_one_server_of_three(start: Callable[..., Server]) -> None:
    """However it is called; and when a server stops, only its endpoints move."""
    farm = Farm(start)
    codes = [fresh(WHERE) for _ in range(40)]
    home = {source: farm.where(source) for source in codes}
    assert set(home.values()) == {str(back.master) for back in farm.backs}
    for source in codes[:10]:
        encoded = base64.b64encode(source.encode()).decode()
        for answer in (
            farm.front.post("/any?x=1", json={"code_b64": encoded, "a": 1}),
            farm.front.post("/", json={"fn_name": "run", "padding": "x" * 20_000, "code": source}),
            farm.front.post("/", data={"a": "b", "code": source}),
            farm.front.post("/spool/", json={"padding": "x" * 100_000, "code": source}),
            farm.front.post("/spool/", data={"padding": "x" * 100_000, "code": source}),
            farm.front.post("/", json={"code_id": name_of(source)}),
            farm.front.get("/", params={"code": source}),
            farm.front.get("/", params={"code_b64": encoded}),
            farm.front.post("/", params={"code_id": name_of(source)}, content=b"the adaptor's own"),
        ):
            assert (answer.status_code, answer.text) == (200, home[source])
    dead = farm.backs.pop(1)
    dead.signal("stop")
    for source in codes:
        now = farm.where(source)
        if home[source] == str(dead.master):
            assert now in {str(back.master) for back in farm.backs}
        else:
            assert now == home[source]
    assert not re.search(r"\[(alert|crit)\]", farm.front.error_log)


class Machine:
    """A network namespace with an address, a link and a server of its own."""

    def __init__(self, number: int) -> None:
        self.name = f"owt-m{number}"
        self.address = f"10.231.{100 + number}.2"
        self.link = f"owt-l{number}"
        self.server = Server(BACK.replace("127.0.0.1:", "").replace("owt;", "owt; owt_allow remote;"))

    def start(self) -> None:
        made = subprocess.run(["ip", "netns", "add", self.name], capture_output=True)
        if made.returncode != 0:
            pytest.skip("network namespaces cannot be made here")
        inside = f"ip -n {self.name}"
        for command in (
            f"ip link add {self.link} type veth peer name uplink netns {self.name}",
            f"ip addr add {self.address[:-1]}1/30 dev {self.link}",
            f"ip link set {self.link} up",
            f"{inside} addr add {self.address}/30 dev uplink",
            f"{inside} link set uplink up",
        ):
            if subprocess.run(command.split(), capture_output=True).returncode != 0:
                pytest.skip("network namespaces cannot be used here")
        with (self.server.dir / "error.log").open("ab") as log:
            self.server._process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.name}", *self.server.command()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self.server.environment(), start_new_session=True,
            )  # fmt: skip
        wait_until(self._answers, f"the server of {self.name}", 20)

    def _answers(self) -> bool:
        try:
            socket.create_connection((self.address, self.server.port), 1).close()
        except OSError:
            return False
        return True

    def fail(self) -> None:
        """Nobody can reach it any more."""
        subprocess.run(["ip", "-n", self.name, "link", "set", "uplink", "down"], check=True)

    def close(self) -> None:
        self.server.close()
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    with ExitStack() as stack:
        made = []
        for number in range(3):
            made.append(Machine(number))
            stack.callback(made[-1].close)
            made[-1].start()
        yield made


def test_when_a_machine_fails_only_its_endpoints_move(start: Callable[..., Server], machines: list[Machine]) -> None:
    servers = "".join(f"server {machine.address}:{machine.server.port};" for machine in machines)
    front = start(
        f"upstream machines {{ hash $owt_code_id consistent; {servers} }}\n"
        "server { listen 127.0.0.1:{port}; location / {"
        " proxy_pass http://machines; include {root}/conf/owt_params; proxy_connect_timeout 500ms; } }\n"
    )

    def where(source: str) -> str:
        answer = front.post("/", json={"code": source})
        assert answer.status_code == 200, answer.text
        return answer.text

    codes = [fresh(WHERE) for _ in range(30)]
    home = {source: where(source) for source in codes}
    assert set(home.values()) == {str(machine.server.master) for machine in machines}
    machines[1].fail()
    left = {str(machines[0].server.master), str(machines[2].server.master)}
    for source in codes:
        if home[source] in left:
            assert where(source) == home[source]
        else:
            assert where(source) in left


def test_what_has_no_id(start: Callable[..., Server]) -> None:
    """It goes to one server, and works; the id is empty."""
    farm = Farm(start)
    source = fresh(WHERE)
    masters = {str(back.master) for back in farm.backs}
    assert farm.front.post("/form", files={"code": (None, source)}).text in masters
    assert farm.front.post("/unbuffered/", json={"code": source}).text in masters
    assert farm.front.post("/wrong", json={"code_b64": "?"}).status_code == 400
    assert farm.front.post("/none", content=b"").status_code == 400
    assert farm.front.post("/json", content=b'{"code": ').status_code == 400
    assert farm.front.get("/own/", params={"code": source}).text == f"[{name_of(source)[7:]}]"
    assert farm.front.get("/own/").text == "[]"
    assert farm.front.post("/right", json={"code": source}).text in masters
    log = farm.front.dir / "id.log"
    wait_until(lambda: "/right" in log.read_text(), "the log")
    lines = dict(line.split(" ", 1) for line in log.read_text().splitlines())
    assert lines["/right"] == f"[{name_of(source)[7:]}]"
    assert {lines[path] for path in ("/form", "/wrong", "/none", "/json")} <= {"[]", "[-]"}
