"""A catalog of functions that are there already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from owt.endpoint.loaded import Function


@dataclass
class Published:
    name: str
    load: Callable[[], Callable[..., Any]]
    file: str = "/srv/api/one.py"
    function: str = "run"

    def get(self) -> Callable[..., Any]:
        return self.load()

    def prepared(self) -> Function:
        fn = self.load()
        return Function(self.function, fn, fn.__globals__)


class Catalog:
    prefix = "/api/"
    runs_code = False

    def __init__(self, **functions: Callable[..., Any]) -> None:
        self.published = [Published(name.replace("__", "/"), lambda fn=fn: fn) for name, fn in functions.items()]

    def __iter__(self) -> Iterator[Published]:
        return iter(self.published)

    def find(self, name: str) -> Published | None:
        return next((one for one in self.published if one.name == name), None)
