"""What a location publishes, for whoever tells of it or calls it in another way than its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from owt.endpoint import loaded
from owt.models.batch import Batched
from owt.published import files, places
from owt.published.places import Place


class Published:
    """One function that is published. name is what callers know it by: ``speak``, ``sub/speak``."""

    def __init__(self, name: str, file: str, function: str) -> None:
        self.name = name
        self.file = file
        self.function = function

    def __repr__(self) -> str:
        return f"<Published {self.name}: {self.function} of {self.file}>"

    def get(self) -> Callable[..., Any]:
        """The function as it is now, loaded if it is not. Raises what loading raises, Refusal (404) if it has gone."""
        value = files.load(self.file).globals.get(self.function)
        if isinstance(value, Batched):
            return value
        return self.prepared().fn

    def prepared(self) -> loaded.Function:
        """The function and how arguments bind to it, converted to what its annotations want. Raises as ``get``."""
        found = files.load(self.file)
        return found.functions.get(self.function) or found.function(self.function)


class Catalog:
    """What a location publishes."""

    def __init__(self, place: Place) -> None:
        self._place = place
        #: How the paths begin by which it is called: of a directory, to be followed by names.
        self.prefix = place.prefix
        #: Beside owt_mcp: whoever may call here may run any code.
        self.runs_code = place.runs_code

    def __iter__(self) -> Iterator[Published]:
        place = self._place
        if place.kind == "file":
            yield self._of_file()
        elif place.path:
            for path in places.scan(place.path):
                name = places.name_in(place.path, path)
                if name is not None:
                    yield Published(name, path, place.function)

    def find(self, name: str) -> Published | None:
        """The function of this name, if it is published."""
        place = self._place
        if place.kind == "file":
            only = self._of_file()
            return only if name == only.name else None
        if not place.path or not places.is_name(name):
            return None
        path = places.path_of(place.path, name)
        return None if places.look(path, place.path) is None else Published(name, path, place.function)

    def only(self) -> Published | None:
        """The function of a location that publishes just one."""
        return self._of_file() if self._place.kind == "file" else None

    def _of_file(self) -> Published:
        place = self._place
        name = place.prefix.rstrip("/").rpartition("/")[2]
        return Published(name or Path(place.path).stem, place.path, place.function)
