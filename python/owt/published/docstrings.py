"""What a docstring says: a summary, the rest, and of each parameter, in the styles of Google, NumPy and Sphinx."""

from __future__ import annotations

import functools
import inspect
import re
from dataclasses import dataclass, field


@dataclass
class Said:
    """A docstring, taken apart."""

    summary: str = ""
    text: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    returns: str = ""


def read(function: object) -> Said:
    """The docstring of a function; empty if it has none of its own."""
    text = _doc(function)
    if not isinstance(function, type) and text == _doc(type(function)):
        # What partial() says of itself, or a class of its instances: of partial() count what it calls, of those what
        # calling them does.
        called = function.func if isinstance(function, functools.partial) else _method(function)
        text = _doc(called) if called is not None else ""
    return parse(text)


def _doc(value: object) -> str:
    try:
        return inspect.getdoc(value) or ""
    except Exception:  # of an object of any kind
        return ""


def _method(instance: object) -> object:
    """How an instance is called, if its class says so in Python."""
    method = getattr(type(instance), "__call__", None)  # noqa: B004 - which it is, not whether there is one
    return method if inspect.isfunction(method) else None


def parse(text: str) -> Said:
    said = Said()
    lines = _without_fields(inspect.cleandoc(text).splitlines(), said)
    rest: list[str] = []
    index = 0
    while index < len(lines):
        name, body = _section(lines, index)
        if body == index:
            rest.append(lines[index])
            index += 1
            continue
        end = _end(lines, body, underlined=body == index + 2)
        block = lines[body:end]
        if name in _PARAMETERS:
            said.parameters |= _items(block)
        elif name in _RETURNS:
            said.returns = said.returns or _prose(block)
        elif name not in _LEFT_OUT:
            rest += [f"{lines[index].strip().rstrip(':')}:", *lines[body:end]]
        index = end
    paragraphs = "\n".join(rest).strip().split("\n\n", 1)
    said.summary = " ".join(paragraphs[0].split())
    said.text = paragraphs[1].strip() if len(paragraphs) > 1 else ""
    return said


_PARAMETERS = ("args", "arguments", "parameters", "params", "keyword args", "keyword arguments", "other parameters")
_RETURNS = ("returns", "yields", "return", "yield")
#: Of no use to who calls it from elsewhere.
_LEFT_OUT = ("raises", "see also", "todo")
_NAMES = (*_PARAMETERS, *_RETURNS, *_LEFT_OUT, "notes", "note", "example", "examples", "references", "attributes")

_FIELD = re.compile(r"^:(param|parameter|arg|argument|key|returns?|yields?|type|rtype|raises?)\b\s*([^:]*):\s*(.*)$")
_ITEM = re.compile(r"^(\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?:\([^)]*\))?\s*(?::(?:\s+(.*))?)?$")
_TYPED = re.compile(r"^[\w.]+(?:\[[^:]*\])?(?:\s*\|\s*[\w.]+(?:\[[^:]*\])?)*:\s+(.+)$", re.DOTALL)


def _without_fields(lines: list[str], said: Said) -> list[str]:
    """Takes out Sphinx's fields, ``:param name: text``."""
    rest: list[str] = []
    index = 0
    while index < len(lines):
        found = _FIELD.match(lines[index])
        index += 1
        if found is None:
            rest.append(lines[index - 1])
            continue
        text = [found[3]]
        while index < len(lines) and lines[index].startswith((" ", "\t")) and lines[index].strip():
            text.append(lines[index])
            index += 1
        joined = " ".join(" ".join(text).split())
        if found[1] in ("param", "parameter", "arg", "argument", "key") and found[2].strip():
            said.parameters[found[2].split()[-1].lstrip("*")] = joined
        elif found[1].startswith(("return", "yield")):
            said.returns = joined
    return rest


def _section(lines: list[str], index: int) -> tuple[str, int]:
    """A section that begins in this line: its name, and where its body does. That is index if there is none."""
    line = lines[index]
    name = line.strip().rstrip(":").lower()
    if name not in _NAMES or line.startswith((" ", "\t")):
        return "", index
    following = lines[index + 1] if index + 1 < len(lines) else ""
    if re.fullmatch(r"-{3,}\s*", following):
        return name, index + 2
    if line.rstrip().endswith(":") and following.startswith((" ", "\t")):
        return name, index + 1
    return "", index


def _end(lines: list[str], body: int, *, underlined: bool) -> int:
    """Where a section ends: at the next one, and if it is indented, with that."""
    for index in range(body, len(lines)):
        if index > body and _section(lines, index)[1] != index:
            return index
        if not underlined and lines[index].strip() and not lines[index].startswith((" ", "\t")):
            return index
    return len(lines)


def _items(block: list[str]) -> dict[str, str]:
    """Names with what is said of them; lines that are indented further go on."""
    block = inspect.cleandoc("\n" + "\n".join(block)).splitlines()
    found: dict[str, list[str]] = {}
    names: list[str] = []
    numpys = not any(": " in line or line.rstrip().endswith(":") for line in block if line[:1].strip()) or any(
        " : " in line for line in block
    )
    for line in block:
        item = _ITEM.match(line) if not line.startswith((" ", "\t")) else None
        if item is not None:
            names = [name.strip().lstrip("*") for name in item[1].split(",")]
            for name in names:
                found[name] = [] if numpys else [item[2] or ""]
        else:
            for name in names:
                found[name].append(line.strip())
    return {name: " ".join(" ".join(text).split()) for name, text in found.items()}


def _prose(block: list[str]) -> str:
    """The text of a section, without the type that it may begin with."""
    lines = inspect.cleandoc("\n" + "\n".join(block)).splitlines()
    if len(lines) > 1 and lines[1].startswith((" ", "\t")) and ":" not in lines[0]:
        lines = lines[1:]  # NumPy's: the type has a line of its own
    text = " ".join(" ".join(lines).split())
    typed = _TYPED.match(text)
    return typed[1] if typed else text
