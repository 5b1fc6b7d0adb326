"""Pictures: Pillow's images, arrays that hold one, Matplotlib's figures and what is drawn on them."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

Make = Callable[[], bytes]

#: Pillow's formats.
_IMAGES = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
    "image/jp2": "JPEG2000",
    "application/pdf": "PDF",
}
_FIGURES = {
    "image/png": "png",
    "image/svg+xml": "svg",
    "application/pdf": "pdf",
    "image/jpeg": "jpeg",
    "image/webp": "webp",
    "image/tiff": "tiff",
    "application/postscript": "ps",
}


def figure_of(value: object) -> Any:
    """The Matplotlib figure that value is, or is drawn on; None if there is none."""
    figures, artists = sys.modules.get("matplotlib.figure"), sys.modules.get("matplotlib.artist")
    if isinstance(value, getattr(artists, "Artist", ())) or _is_seaborn(value):
        figure = getattr(value, "figure", None)
        value = figure if figure is not None else value
    return value if isinstance(value, getattr(figures, "FigureBase", ())) and hasattr(value, "savefig") else None


def _is_seaborn(value: object) -> bool:
    """Whether value is one of seaborn's grids, which are several axes on a figure."""
    return isinstance(value, getattr(sys.modules.get("seaborn.axisgrid"), "_BaseGrid", ()))


def figure(made: Any) -> dict[str, Make]:
    """The types that a figure can be made into, those first that its canvas knows anyway."""
    known = made.canvas.get_supported_filetypes()
    return {mimetype: _Figure(made, format) for mimetype, format in _FIGURES.items() if format in known}


class _Figure:
    def __init__(self, figure: Any, format: str) -> None:
        self.figure = figure
        self.format = format

    def __call__(self) -> bytes:
        file = io.BytesIO()
        self.figure.savefig(file, format=self.format)
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None:
            # pyplot keeps every figure that it made until it is told that it is done with.
            pyplot.close(self.figure)
        return file.getvalue()


def is_image(value: object) -> bool:
    """Whether value is an image of Pillow's."""
    return isinstance(value, getattr(sys.modules.get("PIL.Image"), "Image", ()))


def is_picture(value: Any) -> bool:
    """Whether value is an array of bytes that can be a picture: rows, columns, and 1, 3 or 4 colours, if it has any."""
    if not isinstance(value, getattr(sys.modules.get("numpy"), "ndarray", ())):
        return False
    if value.dtype != "uint8" or 0 in value.shape:
        return False
    return value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3, 4))


def is_encoded(value: Any) -> bool:
    """Whether value is an array of bytes in a row, as OpenCV's imencode() makes one of a picture's file."""
    if not isinstance(value, getattr(sys.modules.get("numpy"), "ndarray", ())):
        return False
    return bool(value.dtype == "uint8" and value.ndim == 1)


def image_of(value: Any) -> Any:
    """The image that value is, or that is in the array. ImportError without Pillow."""
    if is_image(value):
        return value
    return _pillow().fromarray(value[:, :, 0] if value.ndim == 3 and value.shape[2] == 1 else value)


def image(value: Any) -> dict[str, Make]:
    """The types that an image, or an array that holds one, can be made into, PNG first. ImportError without Pillow."""
    pillow = _pillow()
    pillow.init()
    return {mimetype: _Image(value, mimetype) for mimetype, format in _IMAGES.items() if format in pillow.SAVE}


class _Image:
    def __init__(self, value: Any, mimetype: str) -> None:
        self.value = value
        self.mimetype = mimetype

    def __call__(self) -> bytes:
        return encode(image_of(self.value), self.mimetype)


def type_of(image: Any) -> str:
    """What is best for one picture of many: JPEG, unless that could not show it."""
    return "image/jpeg" if image.mode in ("RGB", "L", "YCbCr", "CMYK") else "image/png"


def encode(image: Any, mimetype: str) -> bytes:
    """An image as one of the types above; what the type cannot hold is made into what it can."""
    format = _IMAGES[mimetype]
    file = io.BytesIO()
    several = format in _MOVING and getattr(image, "is_animated", False)
    try:
        image.save(file, format, **{"save_all": True} if several else {})
    except (OSError, ValueError):
        simpler = _simpler(image, format)
        if simpler.mode == image.mode:
            raise
        file = io.BytesIO()
        simpler.save(file, format)
    return file.getvalue()


def _pillow() -> Any:
    return import_module("PIL.Image")


_MOVING = ("GIF", "PNG", "WEBP", "TIFF", "PDF")
_TRANSPARENT = ("PNG", "WEBP", "TIFF", "GIF", "AVIF", "JPEG2000")


def _simpler(image: Any, format: str) -> Any:
    """Its colours alone; where the format knows no transparency, on white."""
    if not (image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info):
        return image.convert("RGB")
    image = image.convert("RGBA")
    if format in _TRANSPARENT:
        return image
    ground = _pillow().new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A"))
    return ground
