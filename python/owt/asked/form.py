"""Parameters in a multipart form. Werkzeug parses it; what the fields mean is decided where all are."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser

from owt.process.refusal import Refusal

if TYPE_CHECKING:
    from _owt import Call
    from werkzeug.datastructures import FileStorage

    from owt.process.request import Request

#: Fields of owt's own: sent as a file, they are read as text.
_OWN = frozenset(
    (
        "code",
        "code_b64",
        "code_id",
        "fn_name",
        "kwargs",
        "kwargs_b64",
        "use_cache",
        "cache_kwargs",
        "cache_key_override",
    )
)


def read(call: Call, request: Request) -> tuple[str, str, dict[str, Any], str | None]:
    """The code's id, the function's name, the keyword arguments and the text of ``kwargs``.

    File parts are keyword arguments as FileStorage, unless the code came as ``code_b64``. Raises
    Refusal (400, or 413 for a form of too many parts).
    """
    if not request.mimetype_params.get("boundary"):
        raise Refusal(
            400,
            "bad-form",
            "The form's Content-Type names no boundary, as multipart/form-data; boundary=... does, so that"
            " its parts cannot be told apart. Let the client set that header: curl does for -F, fetch() for"
            " a FormData, requests for files=.",
        )
    texts, files = _parse(request)
    fields = [(_utf8(name, name), _utf8(name, value)) for name, value in texts]
    for name, file in files:
        if name in _OWN:
            try:
                fields.append((name, file.read().decode()))
            except UnicodeDecodeError as error:
                raise _not_utf8(name, f" at byte {error.start}") from None
            file.seek(0)
    try:
        code_id, fn_name, kwargs, text = call.read_form(fields)
    except ValueError as error:
        raise Refusal(400, "bad-parameters", str(error)) from None
    if not any(name == "code_b64" and value for name, value in fields):
        for name, file in files:
            if name not in _OWN:
                kwargs.setdefault(_utf8(name, name), file)
    return code_id, fn_name, kwargs, text


def _parse(request: Request) -> tuple[list[tuple[str, str]], list[tuple[str, FileStorage]]]:
    """The parts of the form, whole, each with a name. Raises Refusal."""
    # Bytes that are not UTF-8 have to be seen here; Werkzeug would put U+FFFD in their place. What it
    # cannot read it would take for an empty form.
    request.encoding_errors = "surrogateescape"
    request.form_data_parser_class = partial(FormDataParser, silent=False)  # type: ignore[assignment]
    try:
        texts = list(request.form.items(multi=True))
        files = list(request.files.items(multi=True))
    except RequestEntityTooLarge as error:
        raise Refusal(413, "too-many-parts", f"The form is too large: {error.description}") from None
    except (ValueError, LookupError) as error:
        raise Refusal(
            400,
            "bad-form",
            "The form cannot be read: it breaks off, its boundary is not the one that its Content-Type names,"
            f" or a part of it is malformed ({error}).",
        ) from None
    finally:
        del request.encoding_errors, request.form_data_parser_class
    # Werkzeug gives None for a name that is missing.
    if not all(isinstance(name, str) for name, _ in [*texts, *files]):
        raise Refusal(
            400,
            "bad-form",
            'A part of the form has no name: its Content-Disposition has to be form-data; name="...".',
        )
    return texts, files


def digest(request: Request) -> str:
    """A SHA-256 of the files among the arguments, with their names and types; empty if there are none."""
    total = None
    for name, file in request.files.items(multi=True):
        if name not in _OWN:
            content = hashlib.sha256()
            while block := file.read(1 << 20):
                content.update(block)
            file.seek(0)
            total = total or hashlib.sha256()
            total.update(repr((name, list(file.headers), content.digest())).encode(errors="backslashreplace"))
    return total.hexdigest() if total else ""


def _utf8(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _not_utf8(name) from None
    return text


def _not_utf8(name: str, where: str = "") -> Refusal:
    shown = name.encode(errors="replace").decode()
    return Refusal(400, "bad-parameters", f"The form's part {shown!r} is not UTF-8{where}.")
