"""Calling owt from Python, and from a shell (``owt``, which is ``python3 -m owt.client``).

    from pathlib import Path
    from owt.client import Client

    answer = Client("localhost:9876").call(Path("echo.py"), {"name": "owt"})
    print(answer.text())

Uses the standard library alone, and of owt only this package: it may be copied to a machine without
nginx. A call is one connection. The adaptor goes by its hash where that saves bytes, see
``owt.client.call``.
"""

from owt.client.answer import Answer, CallError
from owt.client.call import Client

__all__ = ["Answer", "CallError", "Client"]
