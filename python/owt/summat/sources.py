"""Blocks that read the request of the running call."""

from __future__ import annotations

from typing import Any

from owt.process.context import current_request
from owt.summat.adaptor import Adaptor, DropKWs, Result


class Path(Adaptor[list[str]]):
    """``path()``: the segments of the URL's path as a list of str; ``/`` is ``[""]``."""

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return DropKWs(current_request().path.strip("/").split("/"))


class Query(Adaptor[dict[str, str]]):
    """``query()``: the URL's query as a dict of str, owt's own parameters included; of a repeated field the first."""

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        return DropKWs(current_request().args.to_dict())


class Json(Adaptor[Any]):
    """``json()``: the request's body, read as JSON once for a call whatever its content type says.

    With owt's parameters in a JSON body they are part of it. A body that is not JSON is a 400.
    """

    def call(self, /, *, __last__: Any, **kwargs: Any) -> Result:
        from werkzeug.exceptions import BadRequest

        from owt.process.refusal import Refusal

        try:
            return DropKWs(current_request().get_json(force=True))
        except BadRequest as error:
            reason = error.__context__ or error.description
            raise Refusal(400, "bad-json", f"json(): the request's body is not JSON: {reason}.") from None
