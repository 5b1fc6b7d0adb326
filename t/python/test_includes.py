"""The wings of src keep apart: who may include what."""

import re
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src"

#: What each wing stands on, beside itself.
ALLOWED = {
    "call": set(),
    "guard": {"call"},
    "nginx": {"guard", "call"},
    "python": {"call"},
}
#: Whose headers are for one wing alone.
OTHERS = {"ngx_": "nginx", "Python.h": "python", "pybind11/": "python"}

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.MULTILINE)


def includes() -> Iterator[tuple[Path, str, str]]:
    for path in sorted(SRC.rglob("*.?pp")):
        for kind, name in INCLUDE.findall(path.read_text()):
            yield path.relative_to(SRC), kind, name


def test_every_file_lies_in_a_wing() -> None:
    assert {path.parts[0] for path, _, _ in includes()} == set(ALLOWED)


def test_no_wing_includes_what_it_does_not_stand_on() -> None:
    wrong = [
        f"{path} includes {name}"
        for path, kind, name in includes()
        if kind == '"' and (wing := name.split("/")[0]) != path.parts[0] and wing not in ALLOWED[path.parts[0]]
    ]
    assert not wrong


def test_foreign_headers_stay_in_their_wing() -> None:
    wrong = [
        f"{path} includes {name}"
        for path, _, name in includes()
        for prefix, wing in OTHERS.items()
        if name.startswith(prefix) and path.parts[0] != wing
    ]
    assert not wrong
    only = {str(path) for path, _, name in includes() if name.startswith("ngx_")}
    assert only == {"nginx/ngx.hpp"}


def test_no_circles() -> None:
    """A unit is a header with its source. Whoever stands below never includes back up."""
    below: dict[str, set[str]] = {}
    for path, kind, name in includes():
        unit = str(path.with_suffix(""))
        below.setdefault(unit, set())
        if kind == '"' and (other := str(Path(name).with_suffix(""))) != unit:
            below[unit].add(other)
    done: set[str] = set()

    def visit(unit: str, above: tuple[str, ...]) -> None:
        assert unit not in above, " includes ".join((*above[above.index(unit) :], unit))
        if unit not in done:
            for other in sorted(below.get(unit, ())):
                visit(other, (*above, unit))
            done.add(unit)

    for unit in sorted(below):
        visit(unit, ())
