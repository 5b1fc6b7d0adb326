"""The package without nginx."""

import os
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "python"), str(Path(__file__).parent)]
# What `make` had to fetch lies there.
sys.path.append(str(Path(os.environ.get("OWT_BUILD", ROOT / "build"), "python", sysconfig.get_config_var("SOABI"))))

from fake_owt import Call, bridge  # noqa: E402


@pytest.fixture(autouse=True)
def owt_dir(tmp_path, monkeypatch):
    """A fresh owt_dir, a log without lines, no endpoints."""
    monkeypatch.setenv("OWT_DIR", str(tmp_path))
    bridge.lines.clear()
    from owt import endpoint
    from owt.endpoint import loaded

    monkeypatch.setattr(endpoint, "_directory", "")
    monkeypatch.setattr(endpoint, "on_load", loaded.register)
    for code_id in list(loaded.endpoints):
        del loaded.endpoints[code_id]
        endpoint.discard(code_id)
    return tmp_path


@pytest.fixture
def log(monkeypatch):
    """The error log's lines: (level, connection, text)."""
    from owt.process import output

    monkeypatch.setattr(output, "write_line", bridge.log)
    return bridge.lines


@pytest.fixture
def call(log):
    """Runs source in a call and returns the call, its answer in it."""
    from owt.engine import runtime

    def run(source="", fn_name="run", kwargs=None, text=None, code_id=None, made=None, **options):
        made = made or Call(source, **options)
        result = runtime.run(made, made.code_id if code_id is None else code_id, fn_name, dict(kwargs or {}), text)
        if result is not None:
            made.respond(*result)
        assert made.released.wait(5)
        return made

    return run
