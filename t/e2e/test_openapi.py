"""openapi.json of examples/publish: it is valid, and programs that generators make of it call the functions.

The generators come from the registries of Go and of npm, and take a while: `make examples` sets OWT_GENERATE.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import Server
from virtualenvs import VENVS, virtualenv

CONF = """
server {
    listen 127.0.0.1:{port};
    location /api/ { owt_root {root}/examples/publish; }
    location /odd/ { owt_root {dir}/odd; }
}
"""

GENERATED = Path(__file__).parent / "generated"
OAPI_CODEGEN = "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2"
NPM = ["openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3", "@types/node@20"]

VALIDATE = "import json, sys, openapi_spec_validator as v; v.validate(json.load(sys.stdin)); print('valid')"

# All that a schema may be made of.
ODD = '''
import dataclasses, datetime, decimal, enum, uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple, TypedDict
import msgspec
import numpy as np
import pydantic

class Color(enum.Enum):
    RED = "red"

@dataclasses.dataclass
class Point:
    x: float
    next: "Point | None" = None

class Pair(NamedTuple):
    a: int
    b: list[Point]

class Row(TypedDict, total=False):
    name: str

class Struct(msgspec.Struct):
    p: int = 1

class Model(pydantic.BaseModel):
    m: int

def run(
    request, a, b: Any, c: Color, d: Point, e: Pair, f: Row, g: Struct, h: Model, i: list[Path], j: bytes | None,
    k: tuple[int, str], l: dict[str, list[Point]], m: datetime.datetime, n: decimal.Decimal | Literal["auto"],
    o: Annotated[str, msgspec.Meta(pattern="^a", max_length=3)], p: np.ndarray, q: uuid.UUID = uuid.UUID(int=7),
    r: set[int] = {1}, s: float = float("nan"), t: BinaryIO | None = None, **more: Point,
) -> dict[str, Pair] | Model:
    """Everything: {odd} "things" `there` are.

    :param a: with <markup> & more
    """
'''


@pytest.fixture(scope="module")
def server() -> Any:
    server = Server(CONF)
    odd = server.dir / "odd"
    (odd / "sub").mkdir(parents=True)
    (odd / "odd.py").write_text(ODD)
    (odd / "sub" / "größe.py").write_text("def run(): return 1\n")
    (odd / "sub" / "broken.py").write_text("def run(:\n")
    with server:
        yield server


def document(server: Server, path: str) -> Any:
    answer = server.get(f"{path}openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


@pytest.mark.parametrize("path", ["/api/", "/odd/"])
def test_it_is_valid(server: Server, path: str) -> None:
    python = virtualenv("openapi", "openapi-spec-validator>=0.8,<0.10")
    made = document(server, path)
    done = subprocess.run([python, "-c", VALIDATE], input=json.dumps(made), capture_output=True, text=True, timeout=120)
    assert done.stdout == "valid\n", done.stderr[-3000:]


def test_what_it_says_of_the_examples(server: Server) -> None:
    made = document(server, "/api/")
    assert made["servers"] == [{"url": f"{server.url}/api"}]
    paths = made["paths"]
    assert {"/letters", "/primes", "/thumbnail", "/tune", "/words", "/repeat"} <= set(paths)
    assert paths["/tune"]["post"]["responses"]["200"]["content"] == {"audio/wav": {}}
    assert document(server, "/odd/")["paths"].keys() == {"/odd", "/sub/gr%C3%B6%C3%9Fe"}


def test_references_lead_somewhere(server: Server) -> None:
    for path in ("/api/", "/odd/"):
        made = document(server, path)
        text = json.dumps(made)
        for part in text.split('"$ref": "#/')[1:]:
            found = made
            for step in part.partition('"')[0].split("/"):
                found = found[step]


# ---- clients that are generated

GENERATES = pytest.mark.skipif("OWT_GENERATE" not in os.environ, reason="make examples does this")
EXPECTED = "l 2\nh 1\nSay it \n2\n400 urn:owt:bad-arguments\n"


def run(command: list[str], directory: Path, **more: Any) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=900, **more)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def fetched(command: list[str], directory: Path) -> None:
    """Skips the test where the registry is out of reach."""
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        pytest.skip(f"{command[0]} gets no packages here: {done.stderr.strip().splitlines()[-1]}")


@GENERATES
def test_go(server: Server, tmp_path: Path) -> None:
    if shutil.which("go") is None:
        pytest.skip("package golang-go")
    (tmp_path / "api").mkdir()
    (tmp_path / "openapi.json").write_text(json.dumps(document(server, "/api/")))
    (tmp_path / "go.mod").write_text("module try\n\ngo 1.24\n")
    shutil.copy(GENERATED / "client.go", tmp_path)
    generate = ["go", "run", OAPI_CODEGEN, "-generate", "types,client", "-package", "api", "-o", "api/api.go"]
    fetched([*generate, "openapi.json"], tmp_path)
    fetched(["go", "mod", "tidy"], tmp_path)
    assert run(["go", "run", ".", f"{server.url}/api"], tmp_path) == f"{EXPECTED}true\n"


@GENERATES
def test_typescript(server: Server, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("package npm")
    home = VENVS.parent / "npm"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "node_modules" / "openapi-fetch").exists():
        (home / "package.json").write_text('{"type": "module"}')
        fetched(["npm", "install", "--silent", "--no-audit", "--no-fund", *NPM], home)
    (tmp_path / "node_modules").symlink_to(home / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "openapi.json").write_text(json.dumps(document(server, "/api/")))
    shutil.copy(GENERATED / "client.ts", tmp_path)
    run(["npx", "openapi-typescript", "openapi.json", "-o", "api.d.ts"], tmp_path)
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--moduleResolution", "nodenext"]
    run(["npx", "tsc", *options, "--skipLibCheck", "client.ts"], tmp_path)
    from PIL import Image

    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    out = run(["node", "client.js", f"{server.url}/api", "photo.png"], tmp_path)
    assert out == f"{EXPECTED}image/png\n"
