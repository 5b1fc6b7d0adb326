"""Blocks that read the request of the running call."""

from __future__ import annotations

from typing import Any

from owt.context import current_request
from owt.summat.adaptor import Adaptor, DropKWs, Result


class Path(Adaptor):
    """``path()``: the segments of the URL's path as a list of str; ``/`` is ``[""]``."""

    def call(self, *, __last__: Any, **kwargs: Any) -> Result:
        return DropKWs(current_request().path.strip("/").split("/"))
