"""What is owt's own in a location that publishes: an endpoint whose functions nginx's side calls by their names."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from owt.endpoint import loaded
from owt.process.refusal import Refusal
from owt.published import files
from owt.published.catalog import Catalog
from owt.published.places import Place

if TYPE_CHECKING:
    from owt.process.request import Request

#: The id by which nginx's side knows it, see src/call/publication.hpp.
ID = "door"


def open_door(published: Iterable[tuple[Any, ...]]) -> None:
    """Once, with what ``runtime.publish`` gets."""
    places = [Place(*place) for place in published]
    made = loaded.Endpoint(sys.modules[__name__], b"", False, path=ID, stays=True)
    made.path = __file__
    loaded.take_in_own(made)
    files.publish(places)


def _catalog(request: Request) -> tuple[Catalog, str]:
    place, name = request._call.publication()
    return Catalog(Place(*place)), name


def index(request: Request, **_: Any) -> Any:
    """The page that lists what a directory publishes."""
    from owt.published import pages

    return pages.index_page(_catalog(request)[0], request)


def description(request: Request, **_: Any) -> Any:
    """The same for programs: openapi.json."""
    from owt.published import openapi

    return openapi.openapi(_catalog(request)[0], request)


def form(request: Request, **_: Any) -> Any:
    """The page that calls a function."""
    from owt.published import pages

    catalog, name = _catalog(request)
    only = catalog.only()
    found = only or catalog.find(name)
    if found is None:
        raise Refusal(404, "not-published", files.NOT_PUBLISHED)
    return pages.form_page(found, request, listed=only is None)


def tools(request: Request, **_: Any) -> Any:
    """The Model Context Protocol."""
    from owt.published import mcp

    return mcp.answer(request, _catalog(request)[0])
