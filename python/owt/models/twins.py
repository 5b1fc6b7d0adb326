"""One error for several callers: each raises its own, since a traceback grows wherever its exception is raised."""

from __future__ import annotations

import copy
from typing import TypeVar

Error = TypeVar("Error", bound=BaseException)


def twin(error: Error) -> Error:
    """A copy with the same traceback and the same cause; the error itself if it cannot be copied."""
    try:
        made = copy.copy(error)
    except BaseException:  # whatever making another of an adaptor's class raises
        return error
    if type(made) is not type(error):
        return error
    made.__traceback__ = error.__traceback__
    made.__cause__ = error.__cause__
    made.__context__ = error.__context__
    made.__suppress_context__ = error.__suppress_context__
    return made
