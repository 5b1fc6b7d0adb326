"""Pages for people: the list of what a location publishes, and of each function a form that calls it.

Each is one page without anything beside it: its style and its script stand in it, and its Content-Security-Policy names
them by their hashes, so that nothing else runs there, whatever a docstring holds. Without a script the form still calls
the function.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import re
import textwrap
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from werkzeug.wrappers import Response

from owt.published import answers
from owt.published.describe import Description, Parameter, describe, outline
from owt.published.schema import MISSING, Schema, Way

if TYPE_CHECKING:
    from werkzeug.wrappers import Request

    from owt.published.catalog import Catalog, Published

#: So many functions are found without a field to filter them.
FEW = 8


def index_page(catalog: Catalog, request: Request) -> Response:
    """The list of what is published here, for which nothing is loaded."""
    where = catalog.prefix.rstrip("/") + "/"
    body = [f"<h1>{_text(request.host)}{_text(where)}</h1>"]
    # A location without a slash at its end is asked without one, too.
    base = "" if request.path.endswith("/") else quote(where.rstrip("/").rpartition("/")[2]) + "/"
    items = [_item(published, base) for published in catalog]
    count = "1 function" if len(items) == 1 else f"{len(items)} functions"
    body.append(f'<p class="soft">{count}, described for programs in <a href="{base}openapi.json">openapi.json</a></p>')
    if len(items) > FEW:
        body.append(
            '<p class="filter"><input type="search" aria-label="Filter" placeholder="Filter" autocomplete="off">'
            '<span class="found soft" role="status"></span></p>'
        )
    body.append(f'<ul class="functions">{"".join(items)}</ul>' if items else "<p>Nothing is published here yet.</p>")
    return _page("Published functions", "\n".join(body), "index.js")


def _item(published: Published, base: str) -> str:
    name = f"<code>{_text(published.name)}</code>"
    known = outline(published)
    if known is None:
        return f'<li><div class="off">{name}<p>does not load: the server\'s error log says why</p></div></li>'
    summary = f"<p>{_text(known.summary)}</p>" if known.summary else ""
    inner = f'{name}<span class="takes">({_text(", ".join(known.parameters))})</span>{summary}'
    return f'<li><a href="{base}{quote(published.name)}">{inner}</a></li>'


def form_page(published: Published, request: Request, *, listed: bool = True) -> Response:
    """The form that calls a function, which stands in a list or alone. Raises what loading the function raises."""
    one = describe(published)
    fields = [field_of(parameter, one, request.args.getlist(parameter.name)) for parameter in one.parameters]
    spec = {"name": one.name, "streams": one.answer.streams, "output": _output(one)}
    body = [
        f'<nav><a href="{"../" * one.name.count("/") or "./"}">All functions</a></nav>' if listed else "",
        f"<h1>{_text(one.name)}</h1>",
        f'<div class="about">{_about(one)}</div>',
        '<div class="work">',
        f'<form class="panel" method="post" action="{quote(request.path)}" enctype="multipart/form-data"'
        f' data-spec="{_json(spec)}">',
        "<h2>Arguments</h2>",
        *(fields or ['<p class="soft">It takes none.</p>']),
        '<div class="actions"><button class="run">Run</button>'
        '<button class="cancel" type="button" disabled>Cancel</button>'
        '<button class="reset" type="reset">Reset</button><span class="keys">Ctrl+Enter runs, Esc cancels</span></div>',
        "</form>",
        f'<section class="panel answer" aria-labelledby="answer"><h2 id="answer">Answer</h2>{_expected(one)}'
        '<p class="state">Nothing has run yet.</p><p class="told" role="status"></p>'
        '<div class="shown"></div></section>',
        "</div>",
        _COPIES,
        "<noscript><p>Without JavaScript the answer takes this page's place; lists are written as JSON.</p></noscript>",
    ]
    return _page(one.name, "\n".join(body), "views.js", "copies.js", "form.js")


_COPIES = """<section class="panel copies" aria-labelledby="copies"><h2 id="copies">The same call elsewhere</h2>
<div class="tabs"><div role="tablist" aria-labelledby="copies">
<button type="button" role="tab" id="tab-curl" data-copy="curl" aria-selected="true" aria-controls="copy">curl</button>
<button type="button" role="tab" id="tab-javascript" data-copy="javascript" aria-selected="false" tabindex="-1" \
aria-controls="copy">JavaScript</button>
<button type="button" role="tab" id="tab-python" data-copy="python" aria-selected="false" tabindex="-1" \
aria-controls="copy">Python</button>
</div><span class="copied soft" role="status"></span><button type="button" class="copy">Copy</button></div>
<pre id="copy" role="tabpanel" tabindex="0" aria-labelledby="tab-curl"></pre></section>"""


def _about(one: Description) -> str:
    made = [f'<p class="summary">{_text(one.summary)}</p>'] if one.summary else []
    for paragraph in re.split(r"\n\s*\n", one.text):
        if paragraph.strip():
            plain = re.search(r"^(\s|>>>)", paragraph, re.MULTILINE) is None
            made.append(f"<p>{_text(paragraph)}</p>" if plain else f"<pre>{_text(textwrap.dedent(paragraph))}</pre>")
    return "".join(made)


def _expected(one: Description) -> str:
    """What the answer will be, in words."""
    text = one.answer.text
    return f'<p class="hint">{_text(text[:1].upper() + text[1:])}</p>' if text else ""


def _output(one: Description) -> str:
    """The name of a file for an answer that nobody wants to see in a terminal; empty for text."""
    media_type = next(iter(one.answer.contents), "")
    if media_type == answers.OCTETS:
        return one.name.rpartition("/")[2] + ".bin"
    suffix = {"image/png": ".png", "audio/wav": ".wav", answers.PICTURES: ".mjpeg"}.get(media_type, "")
    return one.name.rpartition("/")[2] + suffix if suffix else ""


# ---- fields


def field_of(parameter: Parameter, one: Description, given: list[str]) -> str:
    """The field for a parameter, with its label and what is said of it. given are texts that a link fills in."""
    schema = _resolved(parameter.schemas.get(Way.JSON, {}) or parameter.schemas.get(Way.FORM, {}), one)
    control = _Control(parameter, schema, given)
    kind, words, inner = control.made()
    words = words.removeprefix(f"{parameter.name}, ") if words != parameter.name else ""
    label = f'<label for="{control.id}">{_text(parameter.name)}<span class="kind">{_text(words)}</span></label>'
    if kind == "choices":
        label = ""
    hint = f'<p class="hint" id="{control.id}-hint">{_text(parameter.text)}</p>' if parameter.text else ""
    data = {"kind": kind, "name": parameter.name}
    if not parameter.required:
        data["optional"] = ""
    if parameter.default is not MISSING and parameter.default is not None:
        data["default"] = json.dumps(parameter.default)
    item = schema.get("items")
    if isinstance(item, dict) and isinstance(item.get("type"), str):
        data["item"] = item["type"]
    inner = f'<div class="check">{inner}{label}</div>' if kind == "boolean" else label + inner
    return (
        f'<div class="field" {_attributes({f"data-{name}": value for name, value in data.items()})}>{inner}{hint}</div>'
    )


class _Control:
    """What a value is entered in. value is what stands there at first, as JSON; MISSING if nothing does."""

    def __init__(self, parameter: Parameter, schema: Schema, given: list[str]) -> None:
        self.parameter = parameter
        self.schema = schema
        self.id = f"field-{parameter.name}"
        default = parameter.default
        self.value: Any = MISSING if default is None else default
        if given:
            self.value = _filled_in(schema, given)
        self.common: dict[str, Any] = {"id": self.id, "name": parameter.name}
        if parameter.text:
            self.common["aria-describedby"] = f"{self.id}-hint"

    def made(self) -> tuple[str, str, str]:
        """Its kind, what it is in words, and its HTML."""
        schema, parameter = self.schema, self.parameter
        kind = schema.get("type")
        suffix = "" if parameter.required else ", optional"
        if parameter.file:
            many = parameter.schemas[Way.FORM].get("type") == "array"
            return "file", ("files" if many else _file_words(parameter)) + suffix, self.file(many)
        if "enum" in schema:
            return "choice", "one of these" + suffix, self.choice()
        if kind == "boolean":
            return "boolean", "", self.boolean()
        if kind in ("integer", "number"):
            words = ("whole number" if kind == "integer" else "number") + _bounds(schema)
            return "number", words + suffix, self.number(kind)
        if kind == "array" and isinstance(schema.get("items"), dict):
            items = schema["items"]
            if "enum" in items:
                return "choices", "", self.choices(items["enum"], "some of these" + suffix)
            if items.get("type") in _ITEMS:
                what = _FORMATS.get(items.get("format", ""), _ITEMS[items["type"]])
                return "lines", f"{what}, one per line{suffix}", self.lines()
        if kind == "string":
            words, control = _INPUTS.get(str(schema.get("format", "")), ("text", ""))
            if control:
                return "plain", words + suffix, self.input(control)
            return "text", words + suffix, self.text()
        if not schema:
            return "any", "anything, as text" + suffix, self.text()
        if "anyOf" in schema and all(one.get("type") in (*_ITEMS, None) for one in schema["anyOf"]):
            return "any", "text" + suffix, self.text()
        return "json", "JSON" + suffix, self.json()

    def values(self) -> list[Any]:
        """What stands in a field for many values at first. A default need not be what its annotation says."""
        if self.value is MISSING:
            return []
        return self.value if isinstance(self.value, list) else [self.value]

    def needed(self) -> dict[str, Any]:
        return {**self.common, "required": self.parameter.required}

    def file(self, many: bool) -> str:
        media_type = next(
            (one["contentMediaType"] for one in _all(self.parameter.schemas[Way.FORM]) if "contentMediaType" in one), ""
        )
        accept = {"accept": media_type} if media_type.endswith("/*") else {}
        attributes = {**self.needed(), "type": "file", "multiple": many, **accept}
        return f'<input {_attributes(attributes)}><div class="preview"></div>'

    def choice(self) -> str:
        options = []
        if not self.parameter.required and self.value is MISSING:
            options.append("<option value=''></option>")
        for value in self.schema["enum"]:
            chosen = value == self.value and type(value) is type(self.value)
            attributes = {"value": _as_text(value), "data-value": json.dumps(value), "selected": chosen}
            options.append(f"<option {_attributes(attributes)}>{_text(_as_text(value))}</option>")
        return f"<select {_attributes(self.needed())}>{''.join(options)}</select>"

    def choices(self, values: list[Any], words: str) -> str:
        legend = f'<legend>{_text(self.parameter.name)}<span class="kind">{_text(words)}</span></legend>'
        boxes = []
        for number, value in enumerate(values):
            attributes = {
                "type": "checkbox",
                "id": f"{self.id}-{number}",
                "name": self.parameter.name,
                "value": _as_text(value),
                "data-value": json.dumps(value),
                "checked": value in self.values(),
            }
            label = f'<label for="{self.id}-{number}">{_text(_as_text(value))}</label>'
            boxes.append(f'<div class="check"><input {_attributes(attributes)}>{label}</div>')
        return f'<fieldset class="options">{legend}{"".join(boxes)}</fieldset>'

    def boolean(self) -> str:
        attributes = {**self.common, "type": "checkbox", "value": "true", "checked": self.value is True}
        return f"<input {_attributes(attributes)}>"

    def number(self, kind: str) -> str:
        low, high = (self.schema.get(name) for name in ("minimum", "maximum"))
        step = self.schema.get("multipleOf") or (1 if kind == "integer" else "any")
        limits = {name: value for name, value in (("min", low), ("max", high)) if value is not None}
        attributes = {**self.needed(), "type": "number", "step": step, **limits}
        if self.value is not MISSING:
            attributes["value"] = self.value
        exact = f"<input {_attributes(attributes)}>"
        if low is None or high is None:
            return exact
        if step == "any":
            step = (high - low) / 100
        middle = self.value if self.value is not MISSING else low
        slider = {"type": "range", "min": low, "max": high, "step": step, "value": middle, "tabindex": -1}
        return f'<div class="pair"><input {_attributes({**slider, "aria-hidden": "true"})}>{exact}</div>'

    def input(self, kind: str) -> str:
        attributes = {**self.needed(), "type": kind}
        if kind in ("time", "datetime-local"):
            attributes["step"] = "any"
        if self.value is not MISSING:
            attributes["value"] = self.value
        return f"<input {_attributes(attributes)}>"

    def text(self) -> str:
        value = "" if self.value is MISSING else _as_text(self.value)
        rows = 3 if self.parameter.required and self.schema.get("type") == "string" else 1
        # An empty text is a text; and a parser drops a line's end that comes right after the tag.
        return f"<textarea {_attributes({**self.common, 'rows': rows})}>\n{_text(value)}</textarea>"

    def lines(self) -> str:
        value = "\n".join(map(_as_text, self.values()))
        return f"<textarea {_attributes({**self.needed(), 'rows': 3})}>\n{_text(value)}</textarea>"

    def json(self) -> str:
        value = self.value
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            with suppress(ValueError, RecursionError):
                value = json.loads(value)
        if value is MISSING and self.parameter.required:
            value = _skeleton(self.schema)
        text = "" if value is MISSING else json.dumps(value, indent=2, ensure_ascii=False)
        attributes = {**self.needed(), "rows": 3, "class": "code", "spellcheck": "false"}
        return f"<textarea {_attributes(attributes)}>\n{_text(text)}</textarea>"


def _filled_in(schema: Schema, given: list[str]) -> Any:
    """What a link wants to stand in a field."""
    if schema.get("type") == "boolean":
        return given[0].strip().lower() in ("true", "1", "yes", "on")
    if "enum" in schema:
        return next((value for value in schema["enum"] if _as_text(value) == given[0]), MISSING)
    items = schema.get("items")
    if schema.get("type") == "array" and isinstance(items, dict):
        return [value for value in items["enum"] if _as_text(value) in given] if "enum" in items else given
    return given[0]


_ITEMS = {"string": "texts", "integer": "whole numbers", "number": "numbers", "boolean": "true or false"}
_FORMATS = {
    "date": "dates as 2024-12-31",
    "date-time": "as 2024-12-31T23:59",
    "time": "times as 23:59",
    "uuid": "UUIDs",
}
_INPUTS = {
    "date": ("date", "date"),
    "date-time": ("date and time", "datetime-local"),
    "time": ("time", "time"),
    "duration": ("seconds, or as PT1H30M", "text"),
    "decimal": ("number", "text"),
    "uuid": ("UUID", "text"),
    "password": ("secret", "password"),
}


def _bounds(schema: Schema) -> str:
    """The least and the greatest that a number may be, in words."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    said = [("at least", low), ("at most", high), ("above", above), ("below", below)]
    return "".join(f", {words} {value}" for words, value in said if value is not None)


def _file_words(parameter: Parameter) -> str:
    types = [one.get("contentMediaType") for one in _all(parameter.schemas[Way.FORM])]
    return "picture" if "image/*" in types else "file"


def _all(schema: Schema) -> Iterable[Schema]:
    yield schema
    for one in (schema.get("items"), *schema.get("anyOf", ())):
        if isinstance(one, dict):
            yield from _all(one)


def _resolved(schema: Schema, one: Description) -> Schema:
    """The schema with its definitions beside it, if it names any; of a mere name, what that means."""
    whole = one.with_defs(schema, Way.JSON)
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return {**whole.get("$defs", {}).get(name, {}), "$defs": whole.get("$defs", {})}
    return whole


def _skeleton(schema: Schema) -> Any:
    """What an object looks like, to be filled in."""
    if schema.get("type") != "object":
        return MISSING
    needed = schema.get("required", [])
    fields = schema.get("properties", {}).items()
    return {
        name: one.get("default", _of(one)) for name, one in fields if name in needed or one.get("default") is not None
    }


def _of(schema: Schema) -> Any:
    return {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "object": {}}.get(
        str(schema.get("type")), None
    )


def _as_text(value: object) -> str:
    """A value as a form's field sends it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# ---- the page


def _text(text: str) -> str:
    return html.escape(text)


def _json(value: object) -> str:
    return html.escape(json.dumps(value))


def _attributes(attributes: dict[str, Any]) -> str:
    """Attributes of an element; True stands alone, False is left out."""
    made = []
    for name, value in attributes.items():
        if value is True:
            made.append(name)
        elif value is not False:
            made.append(f'{name}="{html.escape(str(value))}"')
    return " ".join(made)


@functools.cache
def _asset(*names: str) -> tuple[str, str]:
    """Styles or scripts that lie beside this file, as one, and its hash as a policy names it."""
    text = "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names)
    return text, f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _page(title: str, body: str, *scripts: str) -> Response:
    style, style_hash = _asset("page.css")
    code, code_hash = _asset(*scripts)
    text = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<link rel="icon" href="data:,">\n'
        f"<title>{_text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        f"<script>{code}</script>\n</body>\n</html>\n"
    )
    policy = (
        f"default-src 'none'; script-src {code_hash}; style-src {style_hash}; connect-src 'self'; img-src blob: data:;"
        " media-src blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return Response(
        text.encode(errors="replace"),  # a docstring may hold what is no text
        content_type="text/html; charset=utf-8",
        headers={
            "Content-Security-Policy": policy,
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-cache",
            "Vary": "Accept",
        },
    )
