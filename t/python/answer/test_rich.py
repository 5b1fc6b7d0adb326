"""Objects that show themselves: as the client likes it, or as the adaptor wants it."""

import io

import pytest
from PIL import Image

IMAGE = """
import numpy as np
from PIL import Image
def image(mode="RGB", colour=0): return Image.new(mode, (3, 2), colour)
def rows(dtype="uint8", *shape): return np.zeros(shape or (2, 3, 3), dtype)
"""
FIGURE = """
from matplotlib.figure import Figure
def figure():
    made = Figure()
    made.subplots().plot([1, 2])
    return made
"""
# What browsers say in the address line, and for <img>.
PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
PICTURE = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


def returned(call, made, expression, accept=None):
    return call(f"{made}\ndef run(): return {expression}", environ={"HTTP_ACCEPT": accept} if accept else {})


@pytest.mark.parametrize(
    ("expression", "accept", "kind"),
    [
        ("image()", None, "image/png"),
        ("image()", PAGE, "image/png"),
        ("image()", PICTURE, "image/png"),
        ("image()", "image/jpeg", "image/jpeg"),
        ("image()", "image/webp;q=0.1,text/html", "image/webp"),
        ("image()", "text/html", "image/png"),
        ("rows()", None, "application/json"),
        ("rows()", PAGE, "application/json"),
        ("rows()", PICTURE, "image/png"),
        ("rows()", "image/jpeg", "image/jpeg"),
        ("rows('uint8', 2, 3)", "image/png", "image/png"),
        ("rows('float32')", "image/png", "application/json"),
    ],
)
def test_images_by_accept(call, expression, accept, kind):
    done = returned(call, IMAGE, expression, accept)
    assert (done.status, done.headers["Content-Type"]) == (200, kind)
    if kind.startswith("image/"):
        assert Image.open(io.BytesIO(done.chunks[0])).size == (3, 2)
        assert done.headers["Vary"] == "Accept"


@pytest.mark.parametrize(
    ("kind", "format"),
    [
        ("image/png", "PNG"),
        ("image/jpeg", "JPEG"),
        ("IMAGE/JPEG; quality=9", "JPEG"),
        ("image/jpg", "JPEG"),
        ("image/webp", "WEBP"),
        ("image/gif", "GIF"),
        ("image/bmp", "BMP"),
        ("image/tiff", "TIFF"),
        ("application/octet-stream", "PNG"),
    ],
)
@pytest.mark.parametrize("value", ["image()", "rows()"])
def test_images_as_they_are_wanted(call, value, kind, format):
    done = returned(call, IMAGE, f"({value}, 201, {{'content-type': {kind!r}}})", "text/html")
    if value == "rows()" and format == "PNG" and kind != "image/png":
        assert done.text.startswith("[[")  # what an array is
        return
    assert (done.status, done.headers) == (201, {"content-type": kind})
    assert Image.open(io.BytesIO(done.chunks[0])).format == format


@pytest.mark.parametrize("mode", ["1", "L", "P", "I", "F", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I;16"])
@pytest.mark.parametrize("kind", ["image/png", "image/jpeg", "image/webp", "image/gif"])
def test_every_mode_of_an_image(call, mode, kind):
    done = returned(call, IMAGE, f"(image({mode!r}), {{'Content-Type': {kind!r}}})")
    assert done.status == 200, done.text
    assert Image.open(io.BytesIO(done.chunks[0])).size == (3, 2)


def test_what_is_transparent_is_white_where_there_is_no_such_thing(call):
    done = returned(call, IMAGE, "(image('RGBA', (255, 0, 0, 0)), {'Content-Type': 'image/jpeg'})")
    assert all(value > 250 for value in Image.open(io.BytesIO(done.chunks[0])).getpixel((1, 1)))


def test_a_moving_image_goes_on_moving(call):
    made = f"{IMAGE}import io\ndef moving():\n    file = io.BytesIO()\n"
    made += "    image(colour='red').save(file, 'GIF', save_all=True, append_images=[image(colour='blue')])\n"
    made += "    return Image.open(io.BytesIO(file.getvalue()))\n"
    assert (
        Image.open(io.BytesIO(returned(call, made, "(moving(), {'Content-Type': 'image/gif'})").chunks[0])).n_frames
        == 2
    )
    assert Image.open(
        io.BytesIO(returned(call, made, "(moving(), {'Content-Type': 'image/jpeg'})").chunks[0])
    ).size == (3, 2)


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        ("image/png", b"\x89PNG"),
        ("image/svg+xml", b"<?xml"),
        ("image/svg+xml; charset=utf-8", b"<?xml"),
        ("application/pdf", b"%PDF"),
        ("image/jpeg", b"\xff\xd8"),
        ("application/postscript", b"%!PS"),
    ],
)
def test_figures_as_they_are_wanted(call, kind, start):
    done = returned(call, FIGURE, f"(figure(), {{'Content-Type': {kind!r}}})")
    assert done.headers == {"Content-Type": kind}
    assert done.chunks[0].startswith(start)


@pytest.mark.parametrize("expression", ["figure().axes[0]", "figure().axes[0].plot([1])[0]", "figure().legend()"])
def test_what_is_drawn_on_a_figure_is_the_figure(call, expression):
    done = returned(call, FIGURE, expression)
    assert (done.status, done.headers["Content-Type"]) == (200, "image/png"), done.text


@pytest.mark.parametrize(
    ("made", "expression", "part"),
    [
        (IMAGE, "(image(), {'Content-Type': 'image/svg+xml'})", "It can be image/png, image/jpeg"),
        (IMAGE, "(image(), {'Content-Type': 'text/html'})", "cannot be made into that"),
        (IMAGE, "{'a': [image()]}", "answer['a'][0] is a PIL.Image.Image"),
        (FIGURE, "(figure(), {'Content-Type': 'video/mp4'})", "It can be image/png, image/svg+xml, application/pdf"),
        (FIGURE, "figure().axes[0].plot([1])", "return the figure"),
        (FIGURE, "(figure(), figure().axes[0])", "return one of the two"),
        ("import matplotlib.pyplot as plt", "plt", "the module matplotlib.pyplot"),
        (
            "class C:\n    def _repr_html_(self): return ''",
            "(C(), {'Content-Type': 'image/png'})",
            "It can be text/html",
        ),
    ],
)
def test_what_cannot_be_as_it_is_wanted(call, made, expression, part):
    done = returned(call, made, expression)
    assert (done.status, done.type) == (500, "cannot-send")
    assert part in done.text


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Cookie", ["Accept", "Cookie"]),
        ("Accept-Encoding", ["Accept", "Accept-Encoding"]),
        ("Cookie, accept", ["Cookie, accept"]),
    ],
)
def test_what_an_answer_was_chosen_by_is_said_beside_what_else_it_depends_on(given, sent):
    from fake_owt import Call
    from owt.answer.response import coerce
    from owt.process.request import Request

    request = Request.__new__(Request)
    request._call = Call(environ={"HTTP_ACCEPT": "image/png"})
    _, headers, _ = coerce((Image.new("L", (1, 1)), {"Vary": given}), request)
    assert [value for name, value in headers if name == "Vary"] == sent


# ---- what notebooks show ---------------------------------------------------------------------------------------------

SHOWN = """
class Chart:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": "Chart()", "application/vnd.vega+json": {"a": 1}}
    def to_html(self): return "<div>chart"
class Estimator:
    def _repr_mimebundle_(self, **kwargs): return {"text/plain": "E()", "text/html": "<b>E"}
class Html:
    def _repr_html_(self): return "<b>"
class Shy:
    def _repr_png_(self): return None
    def _repr_html_(self): return None
"""


@pytest.mark.parametrize(
    ("expression", "accept", "headers", "text"),
    [
        ("Chart()", None, {"Content-Type": "text/html; charset=utf-8", "Vary": "Accept"}, "<div>chart"),
        (
            "Chart()",
            "application/vnd.vega+json",
            {"Content-Type": "application/vnd.vega+json", "Vary": "Accept"},
            '{"a":1}\n',
        ),
        ("Estimator()", "*/*", {"Content-Type": "text/html; charset=utf-8", "Vary": "Accept"}, "<b>E"),
        ("Estimator()", "text/plain", {"Content-Type": "text/plain; charset=utf-8", "Vary": "Accept"}, "E()"),
        ("(Estimator(), {'Content-Type': 'text/plain'})", None, {"Content-Type": "text/plain"}, "E()"),
        ("Html()", "image/png", {"Content-Type": "text/html; charset=utf-8"}, "<b>"),
    ],
)
def test_what_notebooks_show(call, expression, accept, headers, text):
    done = returned(call, SHOWN, expression, accept)
    assert (done.headers, done.text) == (headers, text)


def test_who_shows_nothing_is_looked_at_further(call):
    assert "a Shy, which cannot be sent" in returned(call, SHOWN, "Shy()").text


# ---- tables ----------------------------------------------------------------------------------------------------------

TABLE = "import pandas as pd\ndf = pd.DataFrame({'n': [1, 2], 's': ['a', None]})"
RECORDS, LINES = '[{"n":1,"s":"a"},{"n":2,"s":null}]\n', "n,s\n1,a\n2,\n"


@pytest.mark.parametrize(
    ("expression", "accept", "kind", "start"),
    [
        ("df", None, "text/html; charset=utf-8", "<div>"),
        ("df", "*/*", "text/html; charset=utf-8", "<div>"),
        ("df", PAGE, "text/html; charset=utf-8", "<div>"),
        ("df", "application/json", "application/json", RECORDS),
        ("df", "application/json, text/plain, */*", "application/json", RECORDS),
        ("df", "text/csv", "text/csv; charset=utf-8", LINES),
        ("df", "text/plain", "text/plain; charset=utf-8", "   n  "),
        ("df.n", None, "application/json", "[1,2]\n"),
        ("df.n", "text/csv", "text/csv; charset=utf-8", "n\n1\n2\n"),
        ("df.groupby('s').sum()", "text/csv", "text/csv; charset=utf-8", "s,n\na,1\n"),
    ],
)
def test_tables_by_accept(call, expression, accept, kind, start):
    pytest.importorskip("pandas")
    done = returned(call, TABLE, expression, accept)
    assert (done.status, done.headers) == (200, {"Content-Type": kind, "Vary": "Accept"})
    assert done.text.startswith(start)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("text/csv", LINES),
        ("text/csv; header=present", LINES),
        ("application/json", RECORDS),
        ("text/plain", "   n     s\n0  1     a\n1  2  None"),
    ],
)
def test_tables_as_they_are_wanted(call, kind, text):
    pandas = pytest.importorskip("pandas")
    done = returned(call, TABLE, f"(df, {{'Content-Type': {kind!r}}})", "text/html")
    assert done.headers == {"Content-Type": kind}
    if kind != "text/plain" or pandas.__version__ < "3":
        assert done.text == text
    done = returned(call, TABLE, "(df, {'Content-Type': 'image/png'})")
    assert "It can be text/html, application/json, text/csv, text/plain" in done.text
