"""The pages for people, as HTML. What they do stands in t/browser."""

from __future__ import annotations

import base64
import datetime
import enum
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest
from msgspec import Meta
from owt.published import pages
from PIL import Image
from small_catalog import Catalog


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


def everything(  # type: ignore[no-untyped-def]
    text: str,
    day: datetime.date,
    picture: Image.Image,
    files: list[Path],
    sizes: list[int],
    opts: dict,
    anything,
    color: Color = Color.BLUE,
    size: Literal[1, 2] | None = None,
    tags: list[Literal["a", "b"]] = ["a"],  # noqa: B006
    n: int = 3,
    level: Annotated[float, Meta(ge=0, le=1)] = 0.5,
    cut: bool = True,
    key: pydantic.SecretStr = pydantic.SecretStr("hush"),  # noqa: B008
    note: str = "</textarea><script>alert(1)</script>",
):
    """Takes <b>everything</b>.

    Args:
        text: what is "said" & done
    """


class Controls(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, dict[str, Any]] = {}
        self.fields: dict[str, dict[str, Any]] = {}
        self.labels: set[str] = set()
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag in ("input", "select", "textarea") and attributes.get("name"):
            self.found.setdefault(attributes["name"], {"tag": tag, **attributes})
        if "data-kind" in attributes:
            self.fields[attributes["data-name"]] = attributes
        if tag == "label":
            self.labels.add(attributes["for"])


@pytest.fixture
def controls(ask: Any) -> Controls:
    (published,) = Catalog(everything=everything)
    return Controls(pages.form_page(published, ask("/api/everything")).get_data(as_text=True))  # type: ignore[arg-type]


def test_each_type_has_its_control(controls: Controls) -> None:
    kinds = {name: (one["tag"], one.get("type")) for name, one in controls.found.items()}
    assert kinds == {
        "text": ("textarea", None),
        "day": ("input", "date"),
        "picture": ("input", "file"),
        "files": ("input", "file"),
        "sizes": ("textarea", None),
        "opts": ("textarea", None),
        "anything": ("textarea", None),
        "color": ("select", None),
        "size": ("select", None),
        "tags": ("input", "checkbox"),
        "n": ("input", "number"),
        "level": ("input", "number"),
        "cut": ("input", "checkbox"),
        "key": ("input", "password"),
        "note": ("textarea", None),
    }
    assert controls.found["picture"]["accept"] == "image/*"
    assert "multiple" in controls.found["files"]
    assert "multiple" not in controls.found["picture"]
    assert (controls.found["level"]["min"], controls.found["level"]["max"]) == ("0", "1")
    assert controls.fields["sizes"]["data-item"] == "integer"


def test_all_have_labels(controls: Controls) -> None:
    assert {one["id"] for one in controls.found.values()} <= controls.labels
    assert controls.found["text"]["aria-describedby"] == "field-text-hint"


def test_what_is_needed_is_asked_for(controls: Controls) -> None:
    assert {name for name, one in controls.found.items() if "required" in one} == {
        "day",
        "picture",
        "files",
        "sizes",
        "opts",
    }
    assert {name for name, one in controls.fields.items() if "data-optional" not in one} == {
        "text", "day", "picture", "files", "sizes", "opts", "anything"
    }  # fmt: skip


def test_nothing_of_a_function_is_markup(controls: Controls) -> None:
    assert controls.tags.count("script") == 1
    assert "b" not in controls.tags


def test_a_link_fills_in(ask: Any) -> None:
    def function(
        n: int = 3, text: str = "a", cut: bool = True, color: Color = Color.RED, opts: dict | None = None
    ) -> None: ...

    (published,) = Catalog(f=function)
    page = pages.form_page(published, ask("/api/f?n=7&text=%3Cb%3E&cut=no&color=blue&opts=%7B%22a%22:1%7D"))  # type: ignore[arg-type]
    text = page.get_data(as_text=True)
    made = Controls(text)
    assert made.found["n"]["value"] == "7"
    assert made.fields["n"]["data-default"] == "3"
    assert "checked" not in made.found["cut"]
    assert re.search(r'<option value="blue" [^>]*selected>', text)
    assert "&lt;b&gt;</textarea>" in text
    assert "{\n  &quot;a&quot;: 1\n}</textarea>" in text


def test_the_policy_names_what_stands_there(ask: Any) -> None:
    catalog = Catalog(everything=everything)
    for page in (pages.index_page(catalog, ask()), pages.form_page(next(iter(catalog)), ask("/api/everything"))):  # type: ignore[arg-type]
        policy = page.headers["Content-Security-Policy"]
        text = page.get_data(as_text=True)
        for tag in ("style", "script"):
            (inner,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
            assert f"'sha256-{base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()}'" in policy
        assert "unsafe" not in policy
        assert " style=" not in text
        assert (
            " on"
            not in re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.DOTALL)
            .replace(" one ", "")
            .split("<body>")[0]
        )


SOURCES = {
    "everything": 'def run(request, text: str, *, loud=1):\n    """Takes <b>everything</b>.\n\n    And more."""\n',
    "sub__deep": "async def run(_, a): ...\n",
    "expression": "lambda a: a\n",
    "bad": "def run(:\n",
}


def test_the_list_loads_nothing(ask: Any, tmp_path: Path) -> None:
    def load() -> Any:
        raise AssertionError

    catalog = Catalog(**dict.fromkeys([*SOURCES, "gone"], lambda: 1))
    for published, text in zip(catalog, [*SOURCES.values(), None], strict=True):
        path = tmp_path / f"{published.name.replace('/', '_')}.py"
        published.load, published.file = load, str(path)
        if text is not None:
            path.write_text(text)
    text = pages.index_page(catalog, ask()).get_data(as_text=True)  # type: ignore[arg-type]
    assert 'href="openapi.json"' in text
    assert 'href="everything"><code>everything</code><span class="takes">(text, loud)</span>' in text
    assert 'href="sub/deep"><code>sub/deep</code><span class="takes">(a)</span></a>' in text
    assert 'href="expression"' in text
    assert "<p>Takes &lt;b&gt;everything&lt;/b&gt;.</p>" in text
    assert text.count("does not load") == 2
    bare = pages.index_page(catalog, ask("/api")).get_data(as_text=True)  # type: ignore[arg-type]
    assert 'href="api/everything"' in bare


def test_an_empty_list(ask: Any) -> None:
    assert "Nothing is published here yet." in pages.index_page(Catalog(), ask()).get_data(as_text=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(("path", "name", "link"), [("/api/f", "f", "./"), ("/api/sub/f", "sub__f", "../")])
def test_the_way_back(ask: Any, path: str, name: str, link: str) -> None:
    (published,) = Catalog(**{name: lambda: 1})
    text = pages.form_page(published, ask(path)).get_data(as_text=True)  # type: ignore[arg-type]
    assert re.findall(r'<nav><a href="([^"]*)">', text) == [link]
    alone = pages.form_page(published, ask(path), listed=False).get_data(as_text=True)  # type: ignore[arg-type]
    assert "<nav>" not in alone
