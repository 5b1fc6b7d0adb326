"""owt: run Python that comes with the request, inside nginx.

``from owt import *`` is the prelude: every adaptor starts with these names. Importing owt needs no
server, so processes that an adaptor starts can import it and the adaptor as well.
"""

from owt.context import Cancelled
from owt.summat import pipe

__all__ = ["Cancelled", "pipe"]
