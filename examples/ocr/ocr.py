"""The text of an image, read by Tesseract."""

import functools
import threading

from PIL import Image
from tesserocr import PyTessBaseAPI, get_languages

SIDE = 32767  # pixels that Tesseract takes
TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def run(request, image: Image.Image, language: str = "eng"):
    if language not in get_languages()[1]:
        return f"No language {language!r} here: install tesseract-ocr-{language}.\n", 400, TEXT
    if max(image.size) > SIDE:
        return f"Send a smaller image: its sides may have {SIDE} pixels.\n", 400, TEXT
    try:
        picture = image.convert("RGB")
    except ValueError:
        return f"Send another image: the colours of this one, {image.mode}, cannot be made RGB.\n", 400, TEXT
    reader = warm_reader(language, threading.get_ident())
    reader.SetImage(picture)
    return reader.GetUTF8Text(), TEXT


@functools.cache
def warm_reader(language: str, thread: int) -> PyTessBaseAPI:
    """One for each thread, as it holds the image that it reads."""
    return PyTessBaseAPI(lang=language)
