"""owt as Python's own tools install it: from the sources into virtualenvs, and as the wheels that `make wheel` makes.

What is compiled takes minutes. The wheel owt-server needs OWT_NGX_SRC, an unpacked nginx source tree; the packages that
wheels depend on come from PyPI.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from asking import Asking
from harness import BUILD, NGINX, PRELOAD, ROOT, Server, free_port, linked_in, wait_until

pytestmark = pytest.mark.skipif(bool(PRELOAD) or linked_in(), reason="pip compiles for the module as it is")

UV = shutil.which("uv")
NGX_SRC = os.environ.get("OWT_NGX_SRC")
PYTHON = os.environ.get("OWT_HOME", "/usr") + "/bin/python3"
LOCATION = "server { listen 127.0.0.1:{port}; location / { owt; } }"
#: Where the process has the package from, and the bridge.
WHENCE = """
import owt, re, werkzeug, msgspec
def run(_):
    mapped = sorted(set(re.findall(r"/\\S*_bridge\\S*", open("/proc/self/maps").read())))
    return [owt.__file__, werkzeug.__file__, msgspec.__file__, *mapped]
"""


def run(*command: object, **options: Any) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "VIRTUAL_ENV"))}
    done = subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, timeout=3600, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    run(PYTHON, "-m", "venv", folder / "tools")
    run(folder / "tools/bin/pip", "install", "build")
    run(folder / "tools/bin/python", "-m", "build", "--sdist", "--outdir", folder, ROOT / "python")
    (made,) = folder.glob("owt-*.tar.gz")
    return made


def of_venv(home: Path) -> None:
    """The instance's Python has all it needs, and so have the programs."""
    with Server(f"owt_instance default {{ python_home {home}; }}\n{LOCATION}") as server:
        answer = Asking(server, WHENCE).answer()
        assert answer.status == 200, answer.text
        files = json.loads(answer.body)
        assert len(files) == 4 and all(Path(file).is_relative_to(home) for file in files), files
        said = run(home / "bin/owt", "--address", server.url, "--run", "lambda name: name", "--arg", "name", "owt")
        assert said.strip() == "owt"
    command = [home / "bin/owt-server", "--nginx", NGINX, "--module", BUILD / "ngx_http_owt_module.so", "--print-conf"]
    assert f'python_home "{home}";' in run(*command, "--port", free_port())


def test_a_source_distribution_holds_what_it_is_compiled_from(source: Path) -> None:
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert all(member.isfile() or member.isdir() for member in archive.getmembers()), "links lead out of it"
    kept = [*ROOT.glob("src/call/*"), *ROOT.glob("src/python/*"), ROOT / "src/stamp", ROOT / "LICENSE"]
    assert {str(file.relative_to(ROOT)) for file in kept} <= names
    assert not [name for name in names if name.startswith(("src/nginx", "src/guard"))]


def test_pip_compiles_it_for_a_virtualenv(source: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    run(PYTHON, "-m", "venv", home)
    run(home / "bin/pip", "install", source)
    of_venv(home)


@pytest.mark.skipif(not UV, reason="there is no uv")
def test_uv_compiles_it_for_a_virtualenv_and_again_when_it_has_changed(tmp_path: Path) -> None:
    """A directory that it has seen before is no reason to leave an old bridge where it is."""
    home, tree = tmp_path / "venv", tmp_path / "tree"
    run(UV, "venv", "--python", PYTHON, home)
    assert not list(home.glob("lib/*/site-packages/pip"))
    (tree / "python").mkdir(parents=True)
    for name in ("python/owt", "src"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "CMakeLists.txt", "src", "LICENSE"):
        shutil.copy(ROOT / "python" / name, tree / "python" / name, follow_symlinks=False)
    shutil.copy(ROOT / "LICENSE", tree)
    command = [UV, "pip", "install", "--python", home / "bin/python3", tree / "python"]
    run(*command)
    of_venv(home)
    (bridge,) = home.glob("lib/*/site-packages/owt/_bridge.*.so")
    before = re.search(rb"owt bridge [0-9.]+-\w+", bridge.read_bytes())
    with (tree / "src/call/pool.hpp").open("a") as header:
        header.write("// changed\n")
    run(*command)
    assert before and re.search(rb"owt bridge [0-9.]+-\w+", bridge.read_bytes())[0] != before[0]  # type: ignore[index]


# ---- wheels ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheels() -> dict[str, Path]:
    if not NGX_SRC:
        pytest.skip("OWT_NGX_SRC names no nginx source tree")
    run("make", "wheel", f"NGX_SRC={NGX_SRC}", f"PYTHON={PYTHON}", cwd=ROOT)
    soabi = run(PYTHON, "-Ic", "import sys; print('cp%d%d' % sys.version_info[:2] + sys.abiflags)").strip()
    made = {}
    for wheel in (ROOT / "build/wheels").glob("*.whl"):
        name, _, python, _, _ = wheel.stem.split("-")
        if python in ("py3", soabi.removesuffix("t")):
            made[name] = wheel
    return made


def test_the_wheels_say_which_systems_they_run_on(wheels: dict[str, Path]) -> None:
    assert set(wheels) == {"owt", "owt_server"}
    for wheel in wheels.values():
        assert re.search(r"-manylinux_2_\d+_\w+\.whl$", wheel.name), wheel.name
        assert any(re.search(r"dist-info/licenses/.*LICENSE", name) for name in zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize("bring", ["pip", "uv"])
def test_two_lines_to_the_first_hello(wheels: dict[str, Path], bring: str, tmp_path: Path) -> None:
    """Into an empty virtualenv; nothing of the distribution's nginx is on the way."""
    home = tmp_path / "venv"
    folder = wheels["owt"].parent
    if bring == "pip":
        run(PYTHON, "-m", "venv", home)
        run(home / "bin/pip", "install", "--find-links", folder, "owt-server")
    elif not UV:
        pytest.skip("there is no uv")
    else:
        run(UV, "venv", "--python", PYTHON, home)
        run(UV, "pip", "install", "--python", home / "bin/python3", "--find-links", folder, "owt-server")
    env = {"PATH": "/nonexistent", "TMPDIR": str(tmp_path), "LANG": "C.UTF-8"}
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [home / "bin/owt-server", "--port", "0"], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True, cwd=tmp_path,
        )  # fmt: skip
    try:

        def serves() -> bool:
            assert process.poll() is None, log.read_text()
            return "until Ctrl-C" in log.read_text()

        wait_until(serves, "owt-server", 120)
        port = int(re.search(r":(\d+), until", log.read_text())[1])  # type: ignore[index]
        told = run("curl", "-q", "-sS", "--noproxy", "*", f"127.0.0.1:{port}", "--form-string", f"code={WHENCE}")
        files = json.loads(told)
        assert len(files) == 4 and all(Path(file).is_relative_to(home) for file in files), files
        mapped = Path(f"/proc/{process.pid}/maps").read_text()
        assert str(home) in mapped
        assert not re.search(r"\s/(usr/)?lib\S*/(libssl|libcrypto|libpcre2|libz|libcrypt|libsimdjson)\S*\.so", mapped)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
