"""A catalog of functions that are there already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class Published:
    name: str
    load: Callable[[], Callable[..., Any]]
    file: str = "/srv/api/one.py"
    function: str = "run"

    def get(self) -> Callable[..., Any]:
        return self.load()


class Catalog:
    def __init__(self, **functions: Callable[..., Any]) -> None:
        self.published = [Published(name.replace("__", "/"), lambda fn=fn: fn) for name, fn in functions.items()]

    def __iter__(self) -> Iterator[Published]:
        return iter(self.published)

    def find(self, name: str) -> Published | None:
        return next((one for one in self.published if one.name == name), None)
