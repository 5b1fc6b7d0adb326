"""The text of an image, read by Tesseract."""

import functools
import threading

from PIL import Image
from tesserocr import PyTessBaseAPI, get_languages
from werkzeug.datastructures import FileStorage

TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def run(request, image: FileStorage, language: str = "eng"):
    try:
        picture = Image.open(image.stream).convert("RGB")
    except (OSError, Image.DecompressionBombError):
        return "Send an image, as PNG or JPEG.\n", 400, TEXT
    if language not in get_languages()[1]:
        return f"No language {language!r} here: install tesseract-ocr-{language}.\n", 400, TEXT
    reader = warm_reader(language, threading.get_ident())
    reader.SetImage(picture)
    return reader.GetUTF8Text(), TEXT


@functools.cache
def warm_reader(language: str, thread: int) -> PyTessBaseAPI:
    """One for each thread, as it holds the image that it reads."""
    return PyTessBaseAPI(lang=language)
