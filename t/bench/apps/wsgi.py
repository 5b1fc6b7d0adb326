"""The Flask peer."""

from typing import Any

import adaptor
from flask import Flask, request

app = Flask(__name__)


@app.post("/")
def answer() -> Any:
    """Flask itself makes a response of what the adaptor returns."""
    return adaptor.call(request, request.json or {})
