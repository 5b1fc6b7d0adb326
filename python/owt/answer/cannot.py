"""What cannot be sent: the error says what it is, where in the answer, and what to return instead."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import Future
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from owt.process.refusal import Refusal


class CannotSend(Refusal):
    """A 500: what the adaptor returned or yielded cannot be sent. The text comes without its full stop."""

    def __init__(self, detail: str) -> None:
        super().__init__(500, "cannot-send", f"{detail}.")

    def __str__(self) -> str:
        return self.detail


def named(value: object) -> str:
    """What value is, with its article: ``a dict``, ``an int``, ``a torch.nn.modules.linear.Linear``."""
    if value is None or value is ... or value is NotImplemented:
        return str(value)
    if isinstance(value, type):
        return f"the class {_short(value)}"
    if isinstance(value, FunctionType | MethodType | BuiltinFunctionType):
        return f"the function {_short(value)}"
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    kind = type(value)
    name = kind.__name__ if library(kind) in _UNSAID else f"{kind.__module__}.{_short(kind)}"
    if name == "bytes":
        return name
    return f"{'an' if name[0] in 'aeioAEIO' or name == 'ndarray' else 'a'} {name}"


def _short(made: type | FunctionType | MethodType | BuiltinFunctionType) -> str:
    return made.__qualname__.rpartition("<locals>.")[2]


def library(kind: type) -> str:
    """The package that a class comes from: ``torch``."""
    return str(kind.__module__).partition(".")[0]


# An adaptor's own classes need no module, and neither do those that everybody knows.
_UNSAID = ("builtins", "owt", "numpy", "collections", "datetime", "pathlib", "_io", "asyncio", "_asyncio")


def instead(value: object, within_json: bool = False) -> str:
    """What to return in the place of value, which cannot be sent."""
    if type(value).__module__ == "matplotlib.animation":
        return "return its .to_jshtml(), or .save('made.gif') and the path, pathlib.Path('made.gif')"
    for base in type(value).__mro__:
        if base.__name__ == "Adaptor" and library(base) == "owt":
            return "a pipeline is what runs, run = pipe()...; its value comes from .done()(**kwargs)"
        if base.__name__ == "FileStorage" and library(base) == "werkzeug":
            return "it is an upload: .read() are its bytes, .stream is a file"
        found = _OF_LIBRARIES.get(library(base))
        if found is not None:
            return found
    for kinds, text in _OF_KINDS:
        if isinstance(value, kinds):
            return text
    if value is ... or value is NotImplemented:
        return "it stands for code that has yet to be written"
    if isinstance(value, type):
        return f"call it, {value.__name__}(...), or return an instance"
    if callable(value) and _is_asgi(value):
        return "it is an ASGI application, and owt serves WSGI ones: return what its functions return"
    if inspect.isroutine(value):
        return f"call it, {getattr(value, '__name__', 'f')}(...), and return what it returns"
    if hasattr(type(value), "__iter__"):
        return "it can be iterated over: iter(...) of it is streamed, list(...) is JSON"
    if callable(value):
        return "call it and return what it returns (a WSGI application takes exactly (environ, start_response))"
    if within_json:
        return "make a dict, a list, text or a number of it; the fields of a dataclass become those of a JSON object"
    return (
        "return str, bytes, numbers, None, what has a JSON form (dict, list, dataclass, arrays), what a notebook would"
        " show, an iterator of chunks, a pathlib.Path, an open file, a Response, or one of these in a tuple with status"
        " and headers"
    )


def _is_asgi(value: object) -> bool:
    try:
        return list(inspect.signature(value).parameters)[:3] == ["scope", "receive", "send"]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


_FOREIGN = (
    "it is another server's answer: return its .json(), its .content, or (r.content, r.status_code, {'Content-Type':"
    " r.headers['Content-Type']})"
)
_PICTURE = "alone it is sent as a picture; within JSON it is text: save it to a BytesIO, then {encoding}"
_ENCODING = "base64_buf() of owt.lib.encoding"

#: By the package that a type or one of its bases comes from.
_OF_LIBRARIES = {
    "requests": _FOREIGN,
    "httpx": _FOREIGN,
    "aiohttp": "it is another server's answer: return await r.json(), or await r.read()",
    "django": "return what it holds: (r.content, r.status_code, dict(r.headers))",
    "PIL": _PICTURE.format(encoding=_ENCODING),
    "matplotlib": _PICTURE.format(encoding=_ENCODING) + "; of several axes or lines return the figure",
    "bs4": "str(...) of it is HTML, .get_text() the text; of several [str(tag) for tag in tags]",
    "lxml": "lxml.etree.tostring(...) of it is XML or HTML",
    "subprocess": "return what it has written, .stdout, with capture_output=True",
    "networkx": "networkx.node_link_data(graph) is a dict of it",
    "scipy": "its .toarray() or .tolist() has a JSON form",
    "sympy": "str(...) of it is text, sympy.latex(...) LaTeX",
    "string": "it has yet to be filled in: f'...' is text, and so is what .substitute(...) of a Template returns",
    "torch": "return the tensors that it makes: call it",
    "polars": "a LazyFrame has to be collected first: .collect()",
}

#: By kind, the first that fits.
_OF_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (
        (bytes, bytearray, memoryview),
        f"JSON has no bytes: {_ENCODING} makes text of them, .decode() if they are text; or return them alone",
    ),
    (BaseException, "raise it, or return its text, str(error), with a status"),
    (complex, "JSON has no complex numbers: [z.real, z.imag]"),
    (Future, "wait for it: .result()"),
    (AsyncIterator, "alone it is streamed; within JSON collect it first: [x async for x in ...]"),
    (Awaitable, "await it"),
    (io.IOBase, "alone it is sent as a file; within JSON return what it reads, .read()"),
    (ModuleType, "return something of it; of matplotlib.pyplot the figure: fig, ax = plt.subplots() ... return fig"),
)


class Path:
    """Where in an answer something is: ``answer['items'][3].weights``."""

    __slots__ = ("_steps",)

    def __init__(self) -> None:
        self._steps: list[tuple[object, bool]] = []

    def enter(self, key: object, is_field: bool = False) -> None:
        """Goes to an item, or to a field of an object."""
        self._steps.append((key, is_field))

    def leave(self) -> None:
        """Goes back to what holds it."""
        self._steps.pop()

    def __len__(self) -> int:
        return len(self._steps)

    def text(self, length: int | None = None) -> str:
        """As Python writes it, the first so many steps of it; of a long way the middle is left out."""
        steps = [_step(*step) for step in self._steps[:length]]
        if len(steps) > _SHOWN:
            steps[_SHOWN // 2 : -_SHOWN // 2] = ["..."]
        return f"answer{''.join(steps)}"


_SHOWN = 12


def _step(key: object, is_field: bool) -> str:
    if is_field:
        return f".{key}"
    text = repr(key) if isinstance(key, str | int | float | None) else f"<{type(key).__name__}>"
    return f"[{text if len(text) <= 80 else text[:40] + '...' + text[-30:]}]"


def mimetype_of(content_type: str) -> str:
    """``text/html`` of ``Text/HTML; charset=utf-8``."""
    return re.split(r"[;\s]", content_type.strip(), maxsplit=1)[0].lower()
