"""installing() where no pip is run: what counts as there, and what is refused."""

import importlib
import sys
from importlib import metadata

import pytest
from owt import pipe
from owt.process import installed
from owt.summat import modules


@pytest.mark.parametrize(
    ("package", "satisfied"),
    [
        ("werkzeug", True),
        ("Werkzeug", True),
        ("werkzeug>=1", True),
        (f"werkzeug=={metadata.version('werkzeug')}", True),
        ("werkzeug<1", False),
        ("werkzeug>1000", False),
        ("owt-nowhere", False),
        ("owt-nowhere; python_version < '3'", True),
        ("owt-nowhere; python_version > '3'", False),
        # Only pip can tell.
        ("werkzeug[watchdog]", False),
        ("werkzeug @ https://example.org/werkzeug.whl", False),
        ("https://example.org/werkzeug.whl", False),
        ("./werkzeug.whl", False),
        ("", False),
    ],
)
def test_what_is_satisfied(package, satisfied):
    assert modules.is_satisfied(package) is satisfied


def test_satisfied_requirements_need_no_virtualenv(monkeypatch):
    monkeypatch.setattr(modules, "_pip", lambda packages: pytest.fail(f"pip is asked for {packages}"))
    assert pipe().installing("werkzeug").kwargs(a=1)(__last__=2) == (2, {"a": 1, "__last__": 2})


def test_only_what_is_missing_is_given_to_pip_and_once(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(modules, "_pip", asked.append)
    monkeypatch.setattr(modules, "_installed", set())
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    made = pipe().installing("werkzeug", "owt-nowhere", tmp_path / "a.whl")
    made()
    made()
    pipe().installing("owt-nowhere")()
    assert asked == [["owt-nowhere", f"{tmp_path}/a.whl"]]


def test_what_failed_is_tried_again(monkeypatch, tmp_path):
    asked = []

    def fail(packages):
        asked.append(packages)
        raise modules.InstallFailed("no")

    monkeypatch.setattr(modules, "_pip", fail)
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    for _ in range(2):
        with pytest.raises(modules.InstallFailed) as caught:
            pipe().installing("owt-nowhere-either")()
    assert len(asked) == 2
    assert caught.value.__notes__ == ["stage 1, installing('owt-nowhere-either'): InstallFailed"]


def test_outside_of_a_virtualenv(monkeypatch):
    monkeypatch.setattr("sys.prefix", "/usr")
    monkeypatch.setattr("sys.base_prefix", "/usr")
    with pytest.raises(modules.InstallFailed, match="python3 -m venv DIR.*python_home DIR"):
        pipe().installing("owt-nowhere")()


@pytest.mark.parametrize("option", ["-r", "--index-url=https://example.org", "-e."])
def test_options_are_no_packages(option):
    with pytest.raises(ValueError, match="not pip's option.*PIP_INDEX_URL"):
        pipe().installing("werkzeug", option)


class Ran(Exception):
    """What would have been run."""


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """The command that is run for a package, with pip in the virtualenv or without, and with uv on PATH."""

    def run(command, **_):
        raise Ran(command[:3])

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr(modules, "_installed", set())
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "uv").write_text("#!/bin/sh\n")
    (tmp_path / "uv").chmod(0o755)

    def command(pip):
        monkeypatch.setattr("importlib.util.find_spec", {"pip": pip}.get)
        with pytest.raises(Ran) as caught:
            pipe().installing("owt-nowhere")()
        return caught.value.args[0]

    return command


def test_pip_is_asked_where_there_is_one(ran):
    assert ran(object()) == [sys.executable, "-m", "pip"]


def test_uv_is_asked_in_a_virtualenv_without_pip(ran, tmp_path):
    assert ran(None) == [f"{tmp_path}/uv", "pip", "install"]


@pytest.mark.parametrize(("package", "refused"), [("my-lib>=2", True), ("my-lib==2.*", True), ("my-lib", False)])
def test_another_version_than_has_been_imported(monkeypatch, tmp_path, package, refused):
    """pip changes what is installed, and not what a process has: that it has the old one is said."""

    def upgrade(packages):
        (tmp_path / "my_lib-1.0.dist-info").rename(tmp_path / "my_lib-2.0.dist-info")
        (tmp_path / "my_lib-2.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: my-lib\nVersion: 2.0\n")

    (tmp_path / "my_lib-1.0.dist-info").mkdir()
    (tmp_path / "my_lib-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: my-lib\nVersion: 1.0\n")
    (tmp_path / "my_lib.py").write_text("__version__ = '1.0'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "my_lib", importlib.import_module("my_lib"))
    monkeypatch.setattr(installed, "_began", 0.0)
    monkeypatch.setattr(modules, "_pip", upgrade)
    monkeypatch.setattr(modules, "_installed", set())
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert modules.is_satisfied(package) is not refused
    if not refused:
        pipe().installing(package)()
        return
    for _ in range(2):
        with pytest.raises(modules.InstallFailed) as failed:
            pipe().installing(package)()
        assert str(failed.value) == (
            f"my-lib 2.0 is installed, as {package!r} wants it, and this process has imported 1.0 already. For the other"
            " to be imported, reload nginx (nginx -s reload), or start owt-server again."
        )
