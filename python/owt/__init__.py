"""owt: run Python that comes with the request, inside nginx.

``from owt import *`` is the prelude: every adaptor starts with these names. Importing owt needs no
server, so processes that an adaptor starts can import it and the adaptor as well. What a name needs
is imported when it is first asked for: the programs owt and owt-server need none of it.
"""

__all__ = ["Cancelled", "batch", "keep", "pipe", "shell"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from owt.lib.shell import shell
    from owt.models.batch import batch
    from owt.models.keep import keep
    from owt.process.context import Cancelled
    from owt.process.progress import progress as progress
    from owt.summat.pipe import pipe
else:
    _homes = {
        "Cancelled": "owt.process.context",
        "batch": "owt.models.batch",
        "keep": "owt.models.keep",
        "pipe": "owt.summat",
        "progress": "owt.process.progress",
        "shell": "owt.lib.shell",
    }

    def __getattr__(name: str) -> object:
        if name not in _homes:
            raise AttributeError(f"module 'owt' has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_homes[name]), name)
        return value
