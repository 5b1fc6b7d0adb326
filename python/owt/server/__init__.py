"""Starting nginx with owt, for who does not know nginx: ``owt-server``, which is ``python3 -m owt.server``.

From Python, as a child process that ends with the program, or with the ``with`` block::

    from owt.server import Server

    with Server() as server:
        address, port = server.sing()

Within a call ``Server.sing()`` is the server that runs it. Uses the standard library alone.
"""

from owt.server.child import Server
from owt.server.errors import ServerError

__all__ = ["Server", "ServerError"]
