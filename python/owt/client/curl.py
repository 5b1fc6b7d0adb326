"""The same call as a line for curl, to be copied into a script."""

from __future__ import annotations

import os
from math import ceil
from shlex import quote

from owt.client.address import UNIX, Address
from owt.client.call import Call
from owt.client.form import Upload


def curl_line(address: Address, call: Call, auth: str, code: Upload | None) -> str:
    """code is the file that the adaptor came from, if any."""
    form = call.form()
    words = ["curl", "-sSN", "--fail-with-body"]
    if address.socket:
        words += ["--unix-socket", address.socket, "-H", f"X-Forwarded-For: {UNIX}"]
    if auth:
        words += ["-u", auth]
    if call.timeout is not None:
        seconds = str(ceil(call.timeout))
        words += ["--connect-timeout", seconds, "--speed-limit", "1", "--speed-time", seconds]
    for header, text in call.headers.items():
        if header != "Authorization":
            words += ["-H", f"{header}: {text}"]
    url = address.url(call.target(form))
    words += ["-g", url] if set(url) & set("[]{}") else [url]
    if call.method != "GET":
        for name, value in form.fields:
            upload = code if code and name == "code" else value
            if isinstance(upload, Upload):
                words += ["-F", f"{name}=@{_file(upload)}"]
            else:
                words += ["--form-string", f"{name}={os.fsdecode(upload)}"]
    return " ".join(map(quote, words))


def _file(upload: Upload) -> str:
    path = str(upload.path)
    if not set(path) & set('";,\\'):
        return path
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
