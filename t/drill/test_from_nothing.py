"""`make run` from a fresh checkout, in a place and with an environment that are out of the ordinary, by an ordinary user:
`make drill`. It compiles all there is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import NGINX, ROOT, free_port, wait_until

AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@pytest.fixture
def worktree() -> Iterator[Path]:
    """A git worktree of a clone, nobody's own, under a name with a space and letters that are not ASCII."""
    top = Path(tempfile.mkdtemp(prefix="owt öffnet "))
    top.chmod(0o755)
    (top / "clone").mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if (ROOT / name).exists():
            (top / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, top / "clone" / name, follow_symlinks=False)
    script = """
        git init -q clone
        git -C clone add -A
        git -C clone -c user.name=n -c user.email=n@localhost commit -qm all
        git -C clone worktree add -q --detach '../zweiter Baum'
    """
    subprocess.run(["sh", "-euc", script], cwd=top, check=True, env={**os.environ, "HOME": str(top)})
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "nobody:nogroup", top], check=True)
    yield top / "zweiter Baum"
    shutil.rmtree(top)


def test_a_fresh_worktree_is_built_and_serves(worktree: Path) -> None:
    conda = worktree.parent / "conda"
    (conda / "bin").mkdir(parents=True)
    for name in ("python3", "python", "nginx"):
        (conda / "bin" / name).write_text("#!/bin/sh\nexit 3\n")
        (conda / "bin" / name).chmod(0o755)
    (worktree.parent / "tmp dir").mkdir(mode=0o777)
    (worktree.parent / "tmp dir").chmod(0o777)
    env = {
        "HOME": "/nonexistent",
        "PATH": f"{conda}/bin:{os.environ['PATH']}",
        "TMPDIR": str(worktree.parent / "tmp dir"),
        "CONDA_PREFIX": str(conda),
        "PYTHONHOME": "/nonexistent",
        "PYTHONPATH": str(conda),
        "LANG": "C",
        **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
    }
    port = free_port()
    log = worktree.parent / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*(AS_NOBODY if os.geteuid() == 0 else []), "make", "run", f"PORT={port}", f"NGINX={NGINX}"],
            cwd=worktree, env=env, umask=0o077, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    try:

        def serves() -> bool:
            assert process.poll() is None, log.read_text()[-5000:]
            return "-d name=owt" in log.read_text()

        wait_until(serves, "make run", 3600)
        words = ["curl", "-q", "-sS", "--noproxy", "*", f"127.0.0.1:{port}", "--form-string", "code=lambda: 'ran'"]
        assert subprocess.run(words, capture_output=True, text=True, timeout=60).stdout == "ran"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
