"""The Starlette peer. An adaptor runs on the event loop itself: a thread for each call would cost more."""

import adaptor
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route


async def answer(request: Request) -> Response:
    """Strings are sent whole, iterators chunk by chunk."""
    result = adaptor.call(request, await request.json())
    if isinstance(result, str):
        return HTMLResponse(result)
    return StreamingResponse(result, media_type="text/html")


app = Starlette(routes=[Route("/", answer, methods=["POST"])])
