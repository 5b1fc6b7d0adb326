"""What has a name in a published directory, and what has none."""

import os
from pathlib import Path

import pytest
from owt.published import places


def test_names() -> None:
    for name in ("a", "sub/speak", "v1.2/a.b", "a-b_c", "grüße", "0"):
        assert places.is_name(name)
    for name in (
        "",
        ".",
        "..",
        "/",
        "a/",
        "/a",
        "a//b",
        "_a",
        ".a",
        "a/_b",
        "a/../b",
        "a b",
        "a\\b",
        "a%2e",
        "a\0",
        "\ud800",
    ):
        assert not places.is_name(name), name


def test_paths_and_names_are_each_others() -> None:
    assert places.path_of("/srv/api", "sub/speak") == "/srv/api/sub/speak.py"
    assert places.name_in("/srv/api", "/srv/api/sub/speak.py") == "sub/speak"
    assert places.name_in("/", "/speak.py") == "speak"
    for path in ("/srv/apis/a.py", "/srv/api/a.txt", "/srv/api/_a.py", "/srv/api/../a.py", "/srv/api/.py"):
        assert places.name_in("/srv/api", path) is None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "api"
    for name in ("a.py", "sub/b.py", "_no.py", ".no.py", "_no/c.py", "no.txt", "sub/_no.py", ".py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/x.py").write_text("")
    (root / "link.py").symlink_to("sub/b.py")
    (root / "away.py").symlink_to("../outside/x.py")
    (root / "broken.py").symlink_to("nowhere.py")
    (root / "linked").symlink_to("../outside")
    (root / "inner").symlink_to("sub")
    (root / "loop").symlink_to(".")
    (root / "folder.py").mkdir()
    os.mkfifo(root / "pipe.py")
    return root


def test_scan_and_look_agree(root: Path) -> None:
    found = places.scan(str(root))
    assert [os.path.relpath(path, root) for path in found] == ["a.py", "link.py", "sub/b.py"]
    for path, signature in found.items():
        assert places.look(path, str(root)) == signature
    for name in ("away", "broken", "linked/x", "inner/b", "loop/a", "folder", "pipe", "missing", "sub", "a/b"):
        assert places.look(places.path_of(str(root), name), str(root)) is None, name


def test_the_directory_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(root)
    assert [os.path.relpath(path, link) for path in places.scan(str(link))] == ["a.py", "link.py", "sub/b.py"]
    assert places.look(f"{link}/sub/b.py", str(link)) is not None
    assert places.look(f"{link}/away.py", str(link)) is None


def test_a_change_has_another_signature(root: Path) -> None:
    path = root / "a.py"
    before = places.look(str(path))
    path.write_text("x")
    assert places.look(str(path)) != before
    path.unlink()
    assert places.look(str(path)) is None


def test_read(root: Path) -> None:
    (root / "a.py").write_text("text")
    content, signature = places.read(str(root / "a.py"))
    assert content == b"text"
    assert signature == places.look(str(root / "a.py"))
    for name in ("pipe.py", "folder.py", "missing.py"):
        with pytest.raises(OSError):
            places.read(str(root / name))
