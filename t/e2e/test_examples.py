"""What the examples make of real models means what it should. Models that are not installed are not asked."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import wave
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from asking import Asking, leave
from harness import ROOT, SLOW, Server

# As in conf/nginx.conf; a small buffer, so that a stream soon waits for its client.
CONF = """
client_max_body_size 100m;
large_client_header_buffers 4 256k;
owt_stream_buffer 64k;
server {
    listen 127.0.0.1:{port};
    location / { owt; }
}
"""

EXAMPLES = ROOT / "examples"
PACKAGES = Path("/usr/lib/python3/dist-packages")
ASTRONAUT = PACKAGES / "skimage/data/astronaut.png"
# Where the face of ASTRONAUT is, from hairline to chin and ear to ear, as one sees it: left, top, right, bottom.
FACE = (175, 55, 275, 190)


def needs(*names: str) -> pytest.MarkDecorator:
    """Skips without these programs, modules and files."""
    missing = [name for name in names if not (find_spec(name) if name.isidentifier() else _there(name))]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)} (make examples)")


def _there(name: str) -> bool:
    return Path(name).exists() if "/" in name else shutil.which(name) is not None


speaks = needs("espeak-ng")
listens = needs("pocketsphinx", "scipy", "/usr/share/pocketsphinx/model/en-us/en-us.lm.bin")
photos = needs(str(ASTRONAUT))
reads = needs("tesserocr", "PIL", "/usr/share/tesseract-ocr/5/tessdata/eng.traineddata")
sees = needs("cv2", "/usr/share/opencv4/haarcascades", str(ASTRONAUT))
depicts = needs("cv2", "/usr/share/opencv4/haarcascades", "PIL")
learns = needs("sklearn", "PIL")
teaches = needs("sklearn")
draws = needs("matplotlib", "numpy")
reckons = needs("sympy", "matplotlib")


def call(
    server: Server, example: str, files: dict[str, bytes] | None = None, accept: str = "*/*", **fields: str
) -> httpx.Response:
    """The answer to examples/<example>.py with these arguments; it has to be one."""
    answer = ask(server, example, files, accept, **fields)
    assert answer.status_code == 200, answer.text
    return answer


def ask(
    server: Server, example: str, files: dict[str, bytes] | None = None, accept: str = "*/*", **fields: str
) -> httpx.Response:
    parts: dict[str, Any] = {"code": (EXAMPLES / f"{example}.py").read_bytes(), **(files or {})}
    return server.post("/", files=parts, data=fields, headers={"Accept": accept}, timeout=60 * SLOW)


def png(image: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


# ---- what people type ------------------------------------------------------------------------------------------------

TYPED = [
    pytest.param("speak", rb"RIFF....WAVEfmt .*", marks=speaks),
    pytest.param("listen", rb"thank you very much", marks=[speaks, listens]),
    pytest.param("ocr", rb".*determine markers of the coins.*", marks=[reads, photos]),
    pytest.param("faces", rb"\{.faces.:\[\{.x.:\d+,.y.:\d+,.width.:\d+,.height.:\d+\}\]\}", marks=sees),
    pytest.param("depict", rb'\{"text":"A cat, mostly .*brown.*","size":\[451,300\],.*\}', marks=[depicts, photos]),
    pytest.param("digits", rb"\{.digit.:7,.chances.:.*,.seen.:.*\}", marks=learns),
    pytest.param("sentiment", rb'\{.*"is":"kind",.*\}\n\{.*"is":"unkind",.*\}', marks=teaches),
    pytest.param("plot", rb"\x89PNG.*", marks=draws),
    pytest.param("sympy", rb"-exp\(-x\*\*2\)/2", marks=reckons),
]


@pytest.fixture
def shell(server: Server, tmp_path: Path) -> Any:
    """Runs a command as typed in the source tree, and gives what it writes to standard output."""
    (tmp_path / "examples").symlink_to(EXAMPLES)

    def shell(command: str) -> bytes:
        command = re.sub(r"\bcurl\b", "curl -sS --fail-with-body", command).replace("localhost:9876", server.url)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stdout[:2000] + done.stderr
        return done.stdout.strip()

    return shell


@pytest.mark.parametrize(("example", "expected"), TYPED)
def test_commands_of_the_readme(shell: Any, example: str, expected: bytes) -> None:
    commands = re.findall(r"^```sh\n(.*?)^```", (EXAMPLES / example / "README.md").read_text(), re.M | re.S)
    assert len(commands) == 1
    assert re.fullmatch(expected, shell(commands[0].replace(" | aplay", "")), re.S)


SCRIPTS = [
    pytest.param("speak/speak.sh {url}", rb"RIFF....WAVEfmt .*", marks=speaks),
    pytest.param(
        "espeak-ng -v en-us+f2 -s 160 --stdout 'Please call me tomorrow morning.' | examples/listen/listen.sh {url}",
        rb"please call me tomorrow morning",
        marks=[speaks, listens],
    ),
    pytest.param(f"ocr/ocr.sh {{url}} < {PACKAGES}/skimage/data/page.png", rb".*segmentation.*", marks=[reads, photos]),
    pytest.param(f"faces/faces.sh {{url}} < {ASTRONAUT}", rb'\{"faces":\[\{.*\}\]\}', marks=sees),
    pytest.param(f"depict/depict.sh {{url}} < {ASTRONAUT}", rb'\{"text":"A face, mostly .*', marks=[depicts, photos]),
    pytest.param("plot/plot.sh {url} 'x**2'", rb"\x89PNG.*", marks=draws),
    pytest.param("sympy/integrate.sh {url} 'cos(x)'", rb"sin\(x\)", marks=reckons),
]


@pytest.mark.parametrize(("command", "expected"), SCRIPTS)
def test_scripts(shell: Any, server: Server, command: str, expected: bytes) -> None:
    command = command.format(url=server.url)
    assert re.fullmatch(expected, shell(command if "examples/" in command else f"examples/{command}"), re.S)


# ---- echo ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "fields", "name"),
    [
        ("/hello/owt", {}, "owt"),
        ("/hello/na%C3%AFve%20reader", {}, "naïve reader"),
        ("/hello/a/b", {}, "a/b"),
        ("/hello/%2Fetc%2Fpasswd", {}, "/etc/passwd"),
        ("/hello/", {}, "owt"),
        ("/hello", {}, "owt"),
        ("/hello/path", {"name": "argument"}, "argument"),
    ],
)
def test_an_echo_of_the_path(server: Server, path: str, fields: dict[str, str], name: str) -> None:
    query = {"code": (EXAMPLES / "echo/echo.py").read_text(), **fields}
    command = [word for field in query.items() for word in ("--data-urlencode", "=".join(field))]
    assert server.curl(path, "-G", *command).stdout == f"Hello, {name}!\n"


# ---- speak and listen ------------------------------------------------------------------------------------------------


def spoken(*texts: str) -> bytes:
    """Samples, each text made by itself."""
    made = b""
    for text in texts:
        command = ["espeak-ng", "--stdout", "-v", "en-us", "-s", "160"]
        sound = subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout
        with wave.open(io.BytesIO(sound)) as file:
            made += file.readframes(file.getnframes())
    return made


@speaks
def test_sentences_become_one_wav(server: Server) -> None:
    answer = call(server, "speak/speak", text="Now then. Is this – Zoë's – one sound? Yes!")
    assert answer.headers["Content-Type"] == "audio/wav"
    with wave.open(io.BytesIO(answer.content)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (22050, 1, 2)
        assert file.readframes(file.getnframes()) == spoken("Now then.", "Is this – Zoë's – one sound?", "Yes!")


@speaks
def test_speech_can_be_heard_before_it_is_made(server: Server) -> None:
    first = spoken("This is the first sentence.")
    text = "This is the first sentence. " + "There is no end to it. " * 20_000  # hours of sound
    asked = Asking(server, (EXAMPLES / "speak/speak.py").read_text(), text=text, receive=4096)
    assert asked.read(44 + len(first))[44:] == first
    leave(server, asked)


@speaks
def test_a_voice_that_there_is_not(server: Server) -> None:
    answer = ask(server, "speak/speak", text="Hello.", voice="xx")
    assert answer.status_code == 500
    assert "The specified espeak-ng voice does not exist" in answer.text


def say(server: Server, text: str) -> bytes:
    return call(server, "speak/speak", text=text, voice="en-us+f2").content


def errors(said: str, heard: str) -> int:
    """How many words are wrong, missing or too many (the word error rate's numerator)."""
    expected, words = re.findall(r"[a-z]+", said.lower()), heard.split()
    row = list(range(len(words) + 1))
    for number, one in enumerate(expected, 1):
        before, row[0] = row[0], number
        for at, other in enumerate(words, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (one != other))
    return row[-1]


SAID = [
    "Thank you very much.",
    "Please call me tomorrow morning.",
    "I would like a cup of coffee.",
    "We need more information about the problem.",
]


def listen(server: Server, recording: bytes, **fields: str) -> str:
    return call(server, "listen/listen", {"recording": recording}, **fields).text


@speaks
@listens
def test_what_is_spoken_is_heard(server: Server) -> None:
    heard = [listen(server, say(server, text)) for text in SAID]
    assert sum(map(errors, SAID, heard)) <= 0.15 * len(" ".join(SAID).split()), heard
    # What was heard before has no say in it.
    assert [listen(server, say(server, text)) for text in reversed(SAID)] == heard[::-1]


@speaks
@listens
def test_sentences_are_lines(server: Server) -> None:
    lines = listen(server, say(server, " ".join(SAID))).splitlines()
    assert len(lines) == len(SAID)
    assert sum(map(errors, SAID, lines)) <= 0.15 * len(" ".join(SAID).split()), lines


@speaks
@listens
def test_who_stops_listening_is_no_hindrance(server: Server) -> None:
    recording = say(server, SAID[0] + " There is more to come, and then more." * 100)
    with server.client() as client:
        files = {"code": (EXAMPLES / "listen/listen.py").read_bytes(), "recording": recording}
        with client.stream("POST", "/leaving", files=files) as answer:
            lines = answer.iter_lines()
            assert next(lines).strip() == "thank you very much"
            assert "/leaving" not in server.access_log
    assert listen(server, say(server, SAID[0])) == "thank you very much\n"


GRAMMAR = """#JSGF V1.0;
grammar house;
public <order> = turn the ( light | heating | radio ) ( on | off ) [ in the ( kitchen | bedroom | garden ) ];
"""


@speaks
@listens
def test_a_grammar_says_what_to_listen_for(server: Server) -> None:
    orders = ["turn the light off in the bedroom", "turn the radio on", "turn the heating off in the kitchen"]
    for order in orders:
        assert listen(server, say(server, order + "."), grammar=GRAMMAR) == f"{order}\n"
    assert listen(server, say(server, SAID[0])) == "thank you very much\n"


@listens
@pytest.mark.parametrize("channels", [1, 2])
def test_silence_has_no_words(server: Server, channels: int) -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as silence:
        silence.setparams((channels, 2, 44100, 0, "NONE", ""))
        silence.writeframes(bytes(44100 * 2 * channels))
    assert listen(server, file.getvalue()) == ""


@listens
@pytest.mark.parametrize("recording", [b"", b"no sound", b"RIFF\xff\xff\xff\xffWAVE"])
def test_what_is_no_recording(server: Server, recording: bytes) -> None:
    answer = ask(server, "listen/listen", {"recording": recording})
    assert (answer.status_code, answer.text[:31]) == (400, "Send a WAV with 16-bit samples:")


# ---- ocr -------------------------------------------------------------------------------------------------------------


def written(text: str, size: int = 36) -> bytes:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", size)
    image = Image.new("RGB", (1200, 220), "white")
    ImageDraw.Draw(image).multiline_text((40, 40), text, fill="black", font=font)
    return png(image)


@reads
def test_what_is_written_is_read(server: Server) -> None:
    texts = [f"Page {number}: the quick brown fox\njumps over {number * 37} lazy dogs." for number in range(1, 9)]
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda text: call(server, "ocr/ocr", {"image": written(text)}).text, texts))
    assert [text.strip() for text in read] == texts


@reads
def test_what_cannot_be_read(server: Server) -> None:
    from PIL import Image

    assert call(server, "ocr/ocr", {"image": png(Image.new("L", (300, 100), "white"))}).text.strip() == ""
    answer = ask(server, "ocr/ocr", {"image": written("a")}, language="xxx")
    assert (answer.status_code, answer.text) == (400, "No language 'xxx' here: install tesseract-ocr-xxx.\n")
    wide = png(Image.new("1", (40_000, 1), 1))
    answer = ask(server, "ocr/ocr", {"image": wide})
    assert (answer.status_code, answer.text) == (400, "Send a smaller image: its sides may have 32767 pixels.\n")


# Who wants one, and as which argument.
PICTURES = [
    pytest.param("ocr/ocr", "image", marks=reads),
    pytest.param("digits/digits", "drawing", marks=learns),
    pytest.param("depict/depict", "image", marks=depicts),
]

# What somebody may send for a picture, made of one, by what it is.
BROKEN = {
    "empty": lambda whole: b"",
    "text": lambda whole: b"no image",
    "cut off": lambda whole: whole[: whole.index(b"IDAT") + 20],
    "damaged": lambda whole: whole.replace(b"IDAT", b"IDAT damage"),
    "a head": lambda whole: whole[:8],
    "of no size": lambda whole: whole.replace(whole[16:24], bytes(8)),
}


@pytest.mark.parametrize(
    ("example", "name"),
    PICTURES,
)
@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_no_picture(server: Server, example: str, name: str, broken: str) -> None:
    answer = ask(server, example, {name: BROKEN[broken](written("a"))})
    assert answer.status_code == 400, answer.text
    assert f"{name} wants PIL.Image.Image (an image, sent as a file of a form: curl -F NAME=@FILE)" in answer.text


@pytest.mark.parametrize(
    ("example", "name"),
    PICTURES,
)
def test_a_picture_that_is_not_sent(server: Server, example: str, name: str) -> None:
    answer = ask(server, example)
    assert (answer.status_code, f"missing: {name}" in answer.text) == (400, True)
    answer = ask(server, example, **{name: "photo.png"})
    assert (answer.status_code, f"{name} wants PIL.Image.Image" in answer.text) == (400, True)


# ---- faces -----------------------------------------------------------------------------------------------------------


def faces(server: Server, photo: bytes) -> list[dict[str, int]]:
    answer = call(server, "faces/faces", {"photo": photo}, accept="application/json")
    found: list[dict[str, int]] = answer.json()["faces"]
    return found


def lies_on_the_face(box: dict[str, int], scale: float = 1) -> bool:
    """Whether most of each lies in the other (intersection over union)."""
    left, top, right, bottom = (scale * side for side in FACE)
    width = min(right, box["x"] + box["width"]) - max(left, box["x"])
    height = min(bottom, box["y"] + box["height"]) - max(top, box["y"])
    common = max(0, width) * max(0, height)
    return common > 0.5 * (box["width"] * box["height"] + (right - left) * (bottom - top) - common)


@sees
def test_a_face_is_found(server: Server) -> None:
    [box] = faces(server, ASTRONAUT.read_bytes())
    assert lies_on_the_face(box)


@sees
def test_faces_wherever_they_are(server: Server) -> None:
    from PIL import Image

    photo = Image.open(ASTRONAUT).convert("RGB")
    [box] = faces(server, png(photo.resize((1024, 1024))))
    assert lies_on_the_face(box, 2)
    pair = Image.new("RGB", (1024, 512))
    pair.paste(photo, (0, 0))
    pair.paste(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (512, 0))
    first, second = sorted(faces(server, png(pair)), key=lambda box: box["x"])
    assert lies_on_the_face(first)
    assert lies_on_the_face({**second, "x": 1024 - second["x"] - second["width"]})


@sees
@pytest.mark.parametrize("photo", ["skimage/data/coffee.png", "skimage/data/chelsea.png", "skimage/data/rocket.jpg"])
def test_a_photo_without_faces(server: Server, photo: str) -> None:
    from PIL import Image, ImageChops

    sent = (PACKAGES / photo).read_bytes()
    assert faces(server, sent) == []
    shown = Image.open(io.BytesIO(call(server, "faces/faces", {"photo": sent}).content))
    assert ImageChops.difference(shown, Image.open(PACKAGES / photo).convert("RGB")).getextrema() == ((0, 0),) * 3


@sees
def test_boxes_are_drawn_around_faces(server: Server) -> None:
    from PIL import Image, ImageChops

    answer = call(server, "faces/faces", {"photo": ASTRONAUT.read_bytes()}, accept="image/*")
    assert answer.headers["Content-Type"] == "image/png"
    shown, photo = Image.open(io.BytesIO(answer.content)), Image.open(ASTRONAUT).convert("RGB")
    left, top, right, bottom = ImageChops.difference(shown, photo).getbbox()
    assert lies_on_the_face({"x": left, "y": top, "width": right - left, "height": bottom - top})
    middle = (left + 10, top + 10, right - 10, bottom - 10)
    assert ImageChops.difference(shown.crop(middle), photo.crop(middle)).getbbox() is None


@sees
def test_what_is_no_photo(server: Server) -> None:
    for photo in (b"", b"no photo"):
        answer = ask(server, "faces/faces", {"photo": photo})
        assert (answer.status_code, answer.text) == (400, "Send a photo, as JPEG or PNG.\n")


# ---- depict ----------------------------------------------------------------------------------------------------------


def depicted(server: Server, image: bytes) -> dict[str, Any]:
    shown: dict[str, Any] = call(server, "depict/depict", {"image": image}).json()
    return shown


@depicts
@pytest.mark.parametrize(
    ("colour", "names"),
    [
        ("#e02020", {"red": 1.0}),
        ("#101010", {"black": 1.0}),
        ("#3060d0", {"blue": 1.0}),
        ("#fafafa", {"white": 1.0}),
        ("#6b4423", {"brown": 1.0}),
    ],
)
def test_colours_are_named(server: Server, colour: str, names: dict[str, float]) -> None:
    from PIL import Image

    shown = depicted(server, png(Image.new("RGB", (300, 200), colour)))
    assert shown["colours"] == names
    assert shown["text"] == f"A picture, mostly {next(iter(names))}."
    assert shown["people"] == shown["faces"] == shown["cats"] == []


@depicts
def test_colours_have_shares(server: Server) -> None:
    from PIL import Image

    picture = Image.new("RGB", (400, 100), "#2e8b35")
    picture.paste("#f5d90a", (0, 0, 100, 100))
    shown = depicted(server, png(picture))
    assert shown["colours"] == {"green": 0.75, "yellow": 0.25}
    assert shown["text"] == "A picture, mostly green and yellow."


@depicts
@photos
def test_a_face_and_a_cat_are_seen_where_they_are(server: Server) -> None:
    from PIL import Image

    astronaut = Image.open(ASTRONAUT).convert("RGB").resize((1024, 1024))
    shown = depicted(server, png(astronaut))
    assert shown["size"] == [1024, 1024]
    assert lies_on_the_face(shown["faces"][0], 2)
    pair = Image.new("RGB", (451, 600))
    pair.paste(astronaut.resize((300, 300)), (0, 0))
    pair.paste(Image.open(PACKAGES / "skimage/data/chelsea.png").convert("RGB"), (0, 300))
    shown = depicted(server, png(pair))
    assert lies_on_the_face(shown["faces"][0], 300 / 512)
    assert shown["cats"] and min(cat["y"] for cat in shown["cats"]) > 290
    assert re.match(r"A face and (a cat|\d cats), mostly ", shown["text"])


@depicts
def test_who_stands_upright_is_seen(server: Server) -> None:
    from PIL import Image, ImageDraw, ImageFilter

    picture = Image.new("RGB", (300, 400), "#c8c8c8")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((128, 68, 172, 112), "#282828")
    pen.ellipse((112, 110, 188, 250), "#282828")
    for x0, y0, x1, y1, width in ((135, 230, 125, 350, 26), (165, 230, 175, 350, 26), (118, 140, 105, 230, 16)):
        pen.line((x0, y0, x1, y1), "#282828", width)
    pen.line((182, 140, 195, 230), "#282828", 16)
    shown = depicted(server, png(picture.filter(ImageFilter.GaussianBlur(1))))
    [person] = shown["people"]
    assert person["x"] < 128 and person["y"] < 68 and person["x"] + person["width"] > 172
    assert shown["text"].startswith("A person, mostly ")


@depicts
def test_pictures_that_are_small_or_turned(server: Server) -> None:
    from PIL import Image

    assert depicted(server, png(Image.new("L", (1, 1))))["text"] == "A picture, mostly black."
    assert depicted(server, png(Image.new("1", (5000, 1), 1)))["size"] == [5000, 1]
    turned = Image.new("RGB", (30, 20))
    exif = turned.getexif()
    exif[0x0112] = 6  # stands on its side
    file = io.BytesIO()
    turned.save(file, "JPEG", exif=exif)
    assert depicted(server, file.getvalue())["size"] == [20, 30]


# ---- digits ----------------------------------------------------------------------------------------------------------


@learns
def test_digits_that_it_has_not_learned_from(server: Server) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    right = 0
    for pixels, digit in zip(digits.images[1500::3], digits.target[1500::3], strict=True):
        drawing = Image.fromarray((255 - pixels * 255 / 16).astype("uint8"))
        answer = call(server, "digits/digits", {"drawing": png(drawing)}).json()
        assert sum(answer["chances"]) == pytest.approx(1, abs=0.001)
        assert answer["chances"][answer["digit"]] == max(answer["chances"])
        right += answer["digit"] == digit
    assert right >= 0.9 * len(digits.target[1500::3])


@learns
@pytest.mark.parametrize(("side", "pen"), [(300, 6), (300, 14), (300, 30), (3000, 3), (60, 4)])
def test_a_digit_of_any_size_anywhere(server: Server, side: int, pen: int) -> None:
    from PIL import Image, ImageDraw

    for height, left, top in ((0.4 * side, 0.1 * side, 0.1 * side), (0.6 * side, 0.35 * side, 0.3 * side)):
        image = Image.new("L", (side, side), "white")
        seven = [(left, top), (left + height * 0.6, top), (left + height * 0.25, top + height)]
        ImageDraw.Draw(image).line(seven, fill="black", width=pen, joint="curve")
        assert call(server, "digits/digits", {"drawing": png(image)}).json()["digit"] == 7


@learns
def test_what_is_no_digit(server: Server) -> None:
    from PIL import Image

    blank, line, column = Image.new("RGBA", (300, 300)), Image.new("L", (300, 1)), Image.new("L", (2, 200))
    for drawing in (blank, line, column, Image.new("I", (9, 9), 65535)):
        answer = ask(server, "digits/digits", {"drawing": png(drawing)})
        assert (answer.status_code, answer.text) == (400, "Draw a digit, dark on light.\n")
    assert call(server, "digits/digits", {"drawing": png(Image.new("L", (1, 1)))}).json()["digit"] in range(10)


# ---- plot ------------------------------------------------------------------------------------------------------------


def plot(server: Server, accept: str = "image/png", **fields: str) -> httpx.Response:
    code = (EXAMPLES / "plot/plot.py").read_text()
    return server.get("/plot", params={"code": code, **fields}, headers={"Accept": accept})


@draws
def test_a_plot_is_what_the_client_accepts(server: Server) -> None:
    from PIL import Image

    answer = plot(server)
    assert answer.headers["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (600, 300)
    answer = plot(server, accept="image/svg+xml")
    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    assert "</svg>" in answer.text
    assert plot(server, accept="application/pdf").content.startswith(b"%PDF-")


@draws
def test_a_plot_shows_its_formula(server: Server) -> None:
    """A rising line goes from the bottom left to the top right, and a constant nowhere."""
    import numpy as np
    from PIL import Image

    def curve(y: str) -> Any:
        """Where there is orange: rows from the top and columns."""
        picture = np.asarray(Image.open(io.BytesIO(plot(server, y=y).content)).convert("RGBA"), int)
        return np.argwhere((picture[..., 0] > 200) & (picture[..., 2] < 100) & (picture[..., 3] > 200))

    rising = curve("x")
    left, right = rising[rising[:, 1].argmin()], rising[rising[:, 1].argmax()]
    assert left[0] > right[0] + 150
    assert right[1] > left[1] + 400
    assert np.ptp(curve("3 + 0 * x")[:, 0]) <= 3
    assert np.ptp(curve("3")[:, 0]) <= 3


@draws
def test_plots_at_a_time(server: Server) -> None:
    """Threads that draw share nothing: each picture is the one that is made alone."""
    formulas = [f"sin({number} * x)" for number in range(1, 9)]

    def picture(y: str) -> bytes:
        return plot(server, y=y).content

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(picture, formulas * 2))
    assert together == [picture(formula) for formula in formulas] * 2


@draws
def test_a_formula_that_is_none(server: Server) -> None:
    answer = plot(server, y="sin(xx)")
    assert answer.status_code == 500
    assert answer.text.endswith("NameError: name 'xx' is not defined\n")


# ---- sympy -----------------------------------------------------------------------------------------------------------


def algebra(server: Server, fn_name: str, accept: str = "*/*", **fields: str) -> httpx.Response:
    query = {"code": (EXAMPLES / "sympy/algebra.py").read_text(), "fn_name": fn_name, **fields}
    return server.get("/algebra", params=query, headers={"Accept": accept}, timeout=60 * SLOW)


@reckons
@pytest.mark.parametrize(
    ("fn_name", "fields", "expected"),
    [
        ("solve", {"equation": "x**2 = 2"}, "{-sqrt(2), sqrt(2)}"),
        ("solve", {"equation": "a*t + b", "x": "t"}, "{-b/a}"),
        ("solve", {"equation": "exp(x) = 0"}, "EmptySet"),
        ("integrate", {"of": "x * exp(-x**2)"}, "-exp(-x**2)/2"),
        ("integrate", {"of": "a*t", "x": "t"}, "a*t**2/2"),
        ("differentiate", {"of": "x**x"}, "x**x*(log(x) + 1)"),
        ("simplify", {"what": "sin(x)**2 + cos(x)**2"}, "1"),
    ],
)
def test_algebra(server: Server, fn_name: str, fields: dict[str, str], expected: str) -> None:
    answer = algebra(server, fn_name, **fields)
    assert (answer.text, answer.headers["Content-Type"]) == (f"{expected}\n", "text/plain; charset=utf-8")


@reckons
def test_an_integral_s_derivative_is_what_was_integrated(server: Server) -> None:
    integrand = "x**2 * cos(x) / 3"
    integral = algebra(server, "integrate", of=integrand).text
    derivative = algebra(server, "differentiate", of=integral).text
    assert algebra(server, "simplify", what=f"({derivative}) - ({integrand})").text == "0\n"


@reckons
def test_forms_of_an_answer(server: Server) -> None:
    latex = r"\left\{- \sqrt{2}, \sqrt{2}\right\}" + "\n"
    for how in ({"accept": "text/latex"}, {"form": "latex"}, {"form": "latex", "accept": "image/svg+xml"}):
        answer = algebra(server, "solve", equation="x**2 = 2", **how)
        assert (answer.text, answer.headers["Content-Type"]) == (latex, "text/latex; charset=utf-8")
    in_a_page = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"  # what Chromium accepts in an <img>
    for how in ({"accept": in_a_page}, {"form": "svg"}):
        answer = algebra(server, "solve", equation="x**2 = 2", **how)
        assert answer.headers["Content-Type"].startswith("image/svg+xml")
        assert "</svg>" in answer.text
    answer = algebra(server, "solve", equation="x", form="png")
    assert (answer.status_code, answer.text) == (400, "form is one of text, latex, svg.\n")
