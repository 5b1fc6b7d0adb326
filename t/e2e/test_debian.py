"""What Debian's package does to nginx's configuration as it comes and goes. Its scripts run in a namespace of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import ROOT

SCRIPTS = ROOT / "packaging" / "debian"
Script = Callable[..., None]


def may_mount() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not may_mount(), reason="only root gives a process another /etc/nginx")


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """/etc/nginx with the package unpacked."""
    for name in ("conf.d", "sites-available", "sites-enabled"):
        (tmp_path / name).mkdir()
    (tmp_path / "owt.conf").write_text("owt_dir /var/lib/nginx/owt;\n")
    for site in ("owt", "owt-tls", "default"):
        (tmp_path / "sites-available" / site).touch()
    return tmp_path


@pytest.fixture
def script(etc: Path) -> Script:
    """Runs one as dpkg does."""

    def run(name: str, *arguments: str) -> None:
        inside = f'mount --bind {etc} /etc/nginx && exec sh {SCRIPTS}/libnginx-mod-http-owt.{name} "$@"'
        subprocess.run(["unshare", "-m", "sh", "-c", inside, "sh", *arguments], check=True)

    return run


def test_what_is_shared_comes_and_goes(etc: Path, script: Script) -> None:
    link = etc / "conf.d/owt.conf"
    script("postinst", "configure", "")
    assert str(link.readlink()) == "../owt.conf"
    script("prerm", "upgrade", "1.0.1")
    script("postinst", "configure", "1.0.0")
    assert link.exists()
    script("prerm", "remove")
    assert list((etc / "conf.d").iterdir()) == [etc / "conf.d/owt.conf.removed"]
    script("postinst", "configure", "1.0.0")
    assert str(link.readlink()) == "../owt.conf"
    assert list((etc / "conf.d").iterdir()) == [link]


def test_an_administrator_who_takes_it_away_is_heeded(etc: Path, script: Script) -> None:
    script("postinst", "configure", "")
    (etc / "conf.d/owt.conf").unlink()
    script("postinst", "configure", "1.0.0")
    script("prerm", "remove")
    script("postinst", "configure", "1.0.0")
    assert not list((etc / "conf.d").iterdir())


def test_what_somebody_has_written_there_is_kept(etc: Path, script: Script) -> None:
    """As after `make install`. Without the module nginx would not start with it."""
    file = etc / "conf.d/owt.conf"
    file.write_text("owt_dir /srv/owt;\n")
    script("postinst", "configure", "")
    assert not file.is_symlink() and file.read_text() == "owt_dir /srv/owt;\n"
    script("prerm", "remove")
    assert not file.exists()
    script("postinst", "configure", "1.0.0")
    assert file.read_text() == "owt_dir /srv/owt;\n"


@pytest.mark.parametrize("what", [("prerm", "remove", "abort-remove"), ("prerm", "deconfigure", "abort-deconfigure")])
def test_a_removal_that_does_not_take_place(etc: Path, script: Script, what: tuple[str, str, str]) -> None:
    script("postinst", "configure", "")
    script(what[0], what[1])
    script("postinst", what[2])
    assert str((etc / "conf.d/owt.conf").readlink()) == "../owt.conf"


def test_sites_that_nginx_would_not_start_with_go(etc: Path, script: Script) -> None:
    enabled = etc / "sites-enabled"
    (enabled / "owt").symlink_to("../sites-available/owt")
    (enabled / "it's $(mine)\n").symlink_to("/etc/nginx/sites-available/owt-tls")
    (enabled / "default").symlink_to("../sites-available/default")
    (enabled / "own").write_text("")
    (enabled / "lost").symlink_to("nowhere")
    script("prerm", "remove")
    assert {one.name for one in enabled.iterdir()} == {"default", "own", "lost"}
