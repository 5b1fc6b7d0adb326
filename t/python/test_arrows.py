"""The rooms of the package keep apart: who may import what."""

import ast
from collections.abc import Iterator
from pathlib import Path

OWT = Path(__file__).resolve().parents[2] / "python" / "owt"

#: What each room stands on, beside itself. The prelude is owt/__init__.py: its names are endpoints'.
ALLOWED = {
    "process": set(),
    "asked": {"process"},
    "answer": {"process"},
    "summat": {"process"},
    "lib": {"process", "answer", "summat"},
    "models": {"process"},
    "prelude": {"process", "summat", "lib", "models"},
    "endpoint": {"process", "asked", "answer", "summat", "models", "prelude"},
    "published": {"process", "asked", "answer", "models", "endpoint"},
    "engine": {"process", "asked", "answer", "summat", "lib", "models", "prelude", "endpoint", "published"},
    "console": {"prelude"},  # examples in the page's menu
    "client": set(),
    "server": {"process"},  # for Server.sing() within a call alone
}


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ALLOWED else "prelude"


def is_room(text: str) -> bool:
    return text.startswith("owt.") and text.split(".")[1] in ALLOWED


def names(node: ast.AST) -> Iterator[str]:
    """The modules of owt that a node names: in an import, or as a string for import_module()."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and is_room(node.value):
        yield node.value


def arrows() -> Iterator[tuple[str, str, str]]:
    for path in sorted(OWT.rglob("*.py")):
        parts = path.relative_to(OWT).parts
        here = parts[0] if len(parts) > 1 else "prelude"
        for node in ast.walk(ast.parse(path.read_text())):
            for name in names(node):
                if name == "owt" or name.startswith("owt."):
                    yield here, room(name), f"{path.relative_to(OWT)}:{getattr(node, 'lineno', 0)} names {name}"


def test_every_module_lies_in_a_room() -> None:
    assert {path.name for path in OWT.iterdir() if path.is_dir() and path.name != "__pycache__"} == (
        set(ALLOWED) - {"prelude"}
    )
    assert [path.name for path in OWT.glob("*.py")] == ["__init__.py"]


def test_no_room_imports_what_it_does_not_stand_on() -> None:
    wrong = [where for here, there, where in arrows() if there != here and there not in ALLOWED[here]]
    assert not wrong, "\n".join(wrong)
