"""summat: pipelines of composable blocks, for adaptors that are put together rather than programmed."""

from owt.summat.adaptor import Adaptor, DropKWs, KeepKWs, Nullary, PassKWs, Passthrough, Result
from owt.summat.pipe import Pipe, pipe

__all__ = [
    "Adaptor",
    "DropKWs",
    "KeepKWs",
    "Nullary",
    "PassKWs",
    "Passthrough",
    "Pipe",
    "Result",
    "pipe",
]
