"""Published files: loaded, loaded anew when they change, withdrawn when they go."""

import gc
import hashlib
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_owt import Call, bridge, wait_until
from owt.endpoint import advice, loaded
from owt.engine import runtime
from owt.process import failure, output
from owt.process.refusal import Refusal
from owt.published import files, pages, places
from owt.published.catalog import Catalog
from owt.published.describe import described
from owt.published.places import Place
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request


@pytest.fixture(autouse=True)
def no_watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Looks are the test's own."""
    monkeypatch.setattr(files, "_watch", lambda: None)
    monkeypatch.setattr(files, "SETTLE", 0)
    monkeypatch.setattr(output, "write_line", lambda *line: bridge.lines.append(line))
    yield
    for path in list(files._files):
        loaded.withdraw(path)
    for table in (files._files, files._roots, files._retired, files._missing, bridge.versions):
        table.clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "api"
    root.mkdir()
    return root


def write(path: Path, text: str) -> None:
    new = path.with_name(".new")
    new.write_text(text)
    new.replace(path)


def publish(root: Path, *, lazy: bool = False) -> Catalog:
    place = Place("root", str(root), "run", "/api/", lazy, False)
    files.publish([place])
    return Catalog(place)


def call(path: Path, **kwargs: object) -> Call:
    asked = Call()
    asked.published = True
    answer = runtime.run(asked, str(path), "run", kwargs, None)
    if answer is not None:
        asked.respond(*answer)
    return asked


def text(path: Path, **kwargs: object) -> object:
    asked = call(path, **kwargs)
    assert asked.status == 200, asked.chunks
    return asked.chunks[0]


def look() -> None:
    files._look()
    wait_until(lambda: not files._queued)


def version(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_published_is_loaded_before_it_is_called(root: Path) -> None:
    write(root / "a.py", "def run(): return 'a'\n")
    publish(root)
    assert str(root / "a.py") in loaded.endpoints
    assert bridge.versions == {str(root / "a.py"): version(root / "a.py")}
    assert text(root / "a.py") == "a"


def test_what_is_lazy_is_not(root: Path) -> None:
    write(root / "a.py", "def run(): return 'a'\n")
    publish(root, lazy=True)
    assert str(root / "a.py") not in loaded.endpoints
    look()
    assert str(root / "a.py") not in loaded.endpoints
    assert text(root / "a.py") == "a"


def test_a_change_is_loaded_and_the_old_version_let_go(root: Path) -> None:
    path = root / "a.py"
    write(path, "class Thing: pass\nthing = Thing()\ndef run(): return 'one'\n")
    publish(root)
    old = weakref.ref(loaded.endpoints[str(path)].globals["thing"])
    write(path, "def run(): return 'two'\n")
    look()
    assert text(path) == "two"
    assert bridge.versions[str(path)] == version(path)
    files._drop_retired()
    gc.collect()
    assert old() is None
    assert [name for name in sys.modules if name.startswith(f"owt.endpoint.file:{root}/")] == [
        loaded.endpoints[str(path)].globals["__name__"]
    ]


def test_what_cannot_be_loaded_leaves_the_old_one_and_is_told_once(root: Path) -> None:
    path = root / "a.py"
    write(path, "def run(): return 'one'\n")
    publish(root)
    write(path, "def run(:\n")
    for _ in range(3):
        look()
    assert text(path) == "one"
    told = [line for _, _, line in bridge.lines if "cannot be loaded" in line]
    assert told == [f"{path} cannot be loaded, what it was before goes on to answer:"]
    assert any("SyntaxError" in line for _, _, line in bridge.lines)
    write(path, "raise SystemExit('no')\n")
    look()
    assert text(path) == "one"
    write(path, "def run(): return 'two'\n")
    look()
    assert text(path) == "two"


def test_a_touched_file_is_the_same(root: Path) -> None:
    path = root / "a.py"
    write(path, "def run(): return 'one'\n")
    publish(root)
    before = loaded.endpoints[str(path)]
    os.utime(path, ns=(1, 1))
    look()
    assert loaded.endpoints[str(path)] is before


def test_what_goes_is_withdrawn_and_what_comes_is_there(root: Path) -> None:
    path = root / "a.py"
    write(path, "def run(): return 'one'\n")
    publish(root)
    path.unlink()
    look()
    assert call(path).status == 404
    assert bridge.versions == {}
    write(path, "def run(): return 'two'\n")
    assert text(path) == "two"
    write(root / "b.py", "def run(): return 'b'\n")
    look()
    assert str(root / "b.py") in loaded.endpoints


def test_a_call_of_what_cannot_be_loaded(root: Path) -> None:
    for name, source in {
        "syntax": "def run(:\n",
        "raises": "1 / 0\n",
        "norun": "def walk(): pass\n",
        "exits": "raise SystemExit(2)\n",
    }.items():
        path = root / f"{name}.py"
        write(path, source)
        publish(root)
        asked = call(path)
        assert asked.status == 500, name
    assert not bridge.failures


def test_those_that_are_loaded_stay(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "most", 2)
    for n in range(5):
        write(root / f"f{n}.py", f"def run(): return '{n}'\n")
    publish(root)
    assert loaded.count() == 5
    assert loaded.drop_half() == 0
    for _ in range(3):
        assert loaded.drop_idle(0) == 0
    assert loaded.count() == 5
    codes = [Call(f"def run(): return {n}") for n in range(4)]
    for asked in codes:
        runtime.run(asked, asked.code_id, "run", {}, None)
    assert loaded.count() == 5 + 2


def test_those_that_are_lazy_make_room_and_come_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded, "most", 2)
    for n in range(5):
        write(root / f"f{n}.py", f"def run(): return 'f{n}'\n")
    publish(root, lazy=True)
    for _ in range(2):
        for n in range(5):
            assert text(root / f"f{n}.py") == f"f{n}"
    assert loaded.count() <= 3
    assert len(bridge.versions) == loaded.count()


def test_those_that_are_more_than_stay_loaded_are_told_of_without_loading_them_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    monkeypatch.setattr(loaded, "most", 2)
    monkeypatch.setattr(bridge, "loads", loads, raising=False)
    written = "import _owt\n_owt.loads.append(__file__[-4])\nclass Kind: pass\ndef run(kind: Kind, {}=1): return 'f'\n"
    for n in range(5):
        write(root / f"{n}.py", written.format("a"))
    write(root / "5.py", "import _owt\n_owt.loads.append('5')\nraise SystemExit\n")
    catalog = publish(root, lazy=True)

    def told() -> list[list[str]]:
        return [[one.name for one in made.parameters] for _, made in described(catalog) if made is not None]

    for _ in range(3):
        assert told() == [["kind", "a"]] * 5
    assert sorted(loads) == ["0", "1", "2", "3", "4", "5"]
    assert loaded.count() <= 3
    write(root / "0.py", written.format("b"))
    write(root / "5.py", written.format("a"))
    for _ in range(3):
        assert told() == [["kind", "b"], *[["kind", "a"]] * 5]
    assert sorted(loads[6:]) == ["0", "5"]


def test_what_is_told_of_a_function_holds_nothing_of_its_file(root: Path) -> None:
    write(
        root / "a.py",
        "import enum\nclass Size(enum.Enum): LARGE = 1\nclass Weights: pass\nweights = Weights()\n"
        "def run(size: Size = Size.LARGE, on: Weights = weights) -> Size: return size\n",
    )
    catalog = publish(root, lazy=True)
    (told,) = [made for _, made in described(catalog)]
    weights = weakref.ref(loaded.endpoints[str(root / "a.py")].globals["weights"])
    assert loaded.drop_idle(0) == 1
    gc.collect()
    assert weights() is None
    assert told is not None
    assert [one.name for one in told.parameters] == ["size"]


def test_a_directory_that_is_away_leaves_what_it_has_published(root: Path, tmp_path: Path) -> None:
    write(root / "a.py", "def run(): return 'a'\n")
    publish(root)
    root.rename(tmp_path / "elsewhere")
    for _ in range(2):
        look()
    assert text(root / "a.py") == "a"
    assert [line for _, _, line in bridge.lines] == [f"{root} is not there: what it has published goes on to answer"]
    (tmp_path / "elsewhere").rename(root)
    write(root / "a.py", "def run(): return 'b'\n")
    look()
    assert text(root / "a.py") == "b"


def test_two_functions_of_one_file(root: Path) -> None:
    path = root / "two.py"
    write(path, "def one(): return 1\ndef two(): return 2\n")
    places_of = [Place("file", str(path), name, f"/{name}", False, False) for name in ("one", "two")]
    files.publish(places_of)
    assert [Catalog(place).only().get()() for place in places_of] == [1, 2]
    path.unlink()
    look()
    with pytest.raises(Refusal, match="not-published"):
        Catalog(places_of[0]).only().get()
    write(path, "def one(): return 3\ndef two(): return 4\n")
    look()
    assert [Catalog(place).only().get()() for place in places_of] == [3, 4]


def test_catalog(root: Path) -> None:
    (root / "sub").mkdir()
    write(root / "a.py", "def run(x: int): return x\n")
    write(root / "sub/b.py", "pipe().kwarg('x')\n")
    catalog = publish(root)
    assert [(found.name, found.file, found.function) for found in catalog] == [
        ("a", f"{root}/a.py", "run"),
        ("sub/b", f"{root}/sub/b.py", "run"),
    ]
    found = catalog.find("a")
    assert found is not None
    assert found.get()(3) == 3
    assert catalog.find("sub/b").get()(x=4) == 4
    assert catalog.find("c") is None
    assert catalog.find("../api/a") is None


def test_concurrent_calls_load_once(root: Path) -> None:
    path = root / "a.py"
    write(path, "import time\ntime.sleep(0.1)\nclass Thing: pass\ndef run(): return Thing\n")
    catalog = publish(root, lazy=True)
    got = []
    threads = [threading.Thread(target=lambda: got.append(catalog.find("a").get()())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == 1


def test_a_child_gets_the_version_of_its_call(root: Path) -> None:
    path = root / "a.py"
    write(path, "def which(): return 'old'\ndef run(): return which\n")
    publish(root)
    which: Callable[[], str] = loaded.endpoints[str(path)].functions["run"].fn()
    write(path, "def which(): return 'new'\n")  # which cannot be loaded: it has no run
    look()
    program = "import pickle, sys; print(pickle.loads(bytes.fromhex(sys.argv[1]))(), end='')"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = [sys.executable, "-c", program, pickle.dumps(which).hex()]
    assert subprocess.run(child, env=env, capture_output=True, text=True, check=True).stdout == "old"


def test_written_at(root: Path) -> None:
    write(root / "a.py", "")
    os.utime(root / "a.py", ns=(5_000_000_000, 5_000_000_000))
    signature = places.look(str(root / "a.py"))
    assert signature is not None
    assert places.written_at(signature) == 5


# ---- what does not load


def listed(root: Path) -> str:
    catalog = publish(root)
    request = Request(EnvironBuilder("/api/").get_environ())
    return pages.index_page(catalog, request).get_data(as_text=True)


@pytest.mark.parametrize("source", ["import no_such_module\n", "print(1)\n", "raise SystemExit(1)\n", "def run(:\n"])
def test_the_list_says_what_could_not_be_loaded(root: Path, source: str) -> None:
    write(root / "a.py", source)
    write(root / "b.py", "def run(): return 'b'\n")
    assert listed(root).count("does not load: the server's error log says why") == 1
    write(root / "a.py", "def run(n: int = 1): return 'a'\n")
    assert not files.has_failed(str(root / "a.py"))  # nobody has tried it yet
    look()
    assert not files.has_failed(str(root / "a.py"))
    assert "does not load" not in listed(root)


def test_what_is_lazy_is_known_to_fail_once_it_has(root: Path) -> None:
    path = root / "a.py"
    write(path, "import no_such_module\n")
    publish(root, lazy=True)
    assert not files.has_failed(str(path))
    assert call(path).status == 500
    assert files.has_failed(str(path))
    write(path, "def run(): return 'one'\n")
    assert text(path) == "one"
    assert not files.has_failed(str(path))


def test_what_does_not_fit_is_told_without_kwargs_which_are_fields_here(root: Path) -> None:
    write(root / "a.py", "def run(n: int, **_): 1/0\n")
    write(root / "b.py", "import threading\ndef run(n: threading.Event): 1/0\n")
    publish(root)
    for name, kwargs in (("a", {}), ("a", {"n": "x"}), ("b", {}), ("b", {"n": "x"})):
        asked = call(root / f"{name}.py", **kwargs)
        assert (asked.status, asked.type) == (400, "bad-arguments")
        assert asked.chunks[0].startswith("These arguments do not fit run(n: ")
        assert "kwargs" not in asked.chunks[0]


@pytest.mark.parametrize("name", ["plain", "_other"])
def test_a_file_without_the_function_says_what_to_write(root: Path, name: str) -> None:
    write(root / "a.py", f"def {name}(): return 1\n")
    publish(root)
    told = call(root / "a.py").chunks[0]
    assert "has no function 'run'. A line run = NAME at its end makes it the one called NAME" in told
    assert any(line == told for _, _, line in bridge.lines)


def test_an_application_that_owt_does_not_serve(root: Path) -> None:
    write(root / "a.py", "async def run(scope, receive, send): ...\n")
    publish(root)
    asked = call(root / "a.py")
    assert asked.status == 500
    assert "'run' is an ASGI application" in asked.chunks[0]


def test_a_neighbour_that_is_not_found_is_told_where_it_lies(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure, "advise", advice.advise)
    (root / "pkg").mkdir()
    (root / "part").mkdir()
    write(root / "beside_it.py", "def run(): return 1\n")
    write(root / "a.py", "import beside_it\ndef run(): return 1\n")
    write(root / "b.py", "from part.one import two\ndef run(): return 1\n")
    write(root / "c.py", "import nowhere_at_all\ndef run(): return 1\n")
    write(root / "pkg/__init__.py", "")
    write(root / "pkg/d.py", "from . import e\ndef run(): return 1\n")
    write(root / "pkg/f.py", "from .e import x\ndef run(): return 1\n")
    publish(root)
    said = "\n".join(line for _, _, line in bridge.lines)
    assert (
        f"beside_it.py lies beside the file, where Python does not look by itself. It is found by python_path {root};"
        in said
    )
    assert (
        f"part lies beside the file, where Python does not look by itself. It is found by python_path {root};" in said
    )
    assert "'nowhere_at_all' is not in this server's" in said
    assert f"whole name: from pkg import e. It is found by python_path {root};" in said
    assert f"whole name: from pkg.e import x. It is found by python_path {root};" in said
