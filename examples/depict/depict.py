"""What an image shows, in words and as boxes: people, faces, cats and colours, as far as OpenCV's own detectors see."""

import threading
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

SIDE = 640  # pixels, of the larger side of what is looked at
WINDOW = 64, 128  # of the detector of people
SURE = 1.5  # how far from the border between people and the rest
# PyPI's opencv-python has them beside it, Debian's in the package opencv-data.
CASCADES = Path(getattr(getattr(cv2, "data", None), "haarcascades", "/usr/share/opencv4/haarcascades"))
COLOURS = {
    "black": "#000000", "grey": "#808080", "white": "#ffffff", "red": "#d01c1f", "orange": "#f28518",
    "brown": "#7b4a21", "yellow": "#f5d90a", "green": "#2e8b35", "turquoise": "#30c5c5", "blue": "#2151c4",
    "purple": "#7d2fa8", "pink": "#f29ac0",
}  # fmt: skip


class Warm(threading.local):
    """Detectors for each thread, as they keep notes while they look."""

    def __init__(self) -> None:
        self.face = cv2.CascadeClassifier(str(CASCADES / "haarcascade_frontalface_alt.xml"))
        self.cat = cv2.CascadeClassifier(str(CASCADES / "haarcascade_frontalcatface_extended.xml"))
        self.person = cv2.HOGDescriptor()
        self.person.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())


warm = Warm()


def run(request, image: Image.Image):
    try:
        picture = ImageOps.exif_transpose(image).convert("RGB")
    except ValueError:
        return f"Send another image: the colours of this one, {image.mode}, cannot be made RGB.\n", 400
    scale = max(1, max(picture.size) / SIDE)
    small = picture.resize([max(1, round(side / scale)) for side in picture.size], Image.Resampling.BOX)
    pixels = np.asarray(small)
    found = {"people": people(pixels), **heads(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))}
    shares = colours(small)
    boxes = {kind: [named(box, scale) for box in boxes] for kind, boxes in found.items()}
    return {"text": in_words(found, shares), "size": picture.size, **boxes, "colours": shares}


def people(pixels: np.ndarray) -> list:
    """Who stands upright, from head to foot."""
    if pixels.shape[1] < WINDOW[0] or pixels.shape[0] < WINDOW[1]:
        return []
    boxes, sure = warm.person.detectMultiScale(pixels, winStride=(8, 8))
    return [box for box, how in zip(boxes, np.ravel(sure), strict=True) if how > SURE]


def heads(grey: np.ndarray) -> dict[str, list]:
    """Those that look into the camera."""
    return {
        "faces": list(warm.face.detectMultiScale(grey, minNeighbors=5, minSize=(24, 24))),
        "cats": list(warm.cat.detectMultiScale(grey, minNeighbors=3, minSize=(48, 48))),
    }


def lab(pixels: np.ndarray) -> np.ndarray:
    """Colours as numbers whose distances are those that an eye sees."""
    return cv2.cvtColor(pixels.astype(np.float32)[None] / 255, cv2.COLOR_RGB2LAB)[0]


NAMED = lab(np.array([list(bytes.fromhex(colour[1:])) for colour in COLOURS.values()]))


def colours(picture: Image.Image) -> dict[str, float]:
    """Which share of the picture is of which colour, the largest first; what is less than a hundredth is left out."""
    pixels = lab(np.asarray(picture.resize((64, 64), Image.Resampling.BOX)).reshape(-1, 3))
    nearest = np.linalg.norm(pixels[:, None] - NAMED, axis=2).argmin(axis=1)
    shares = np.bincount(nearest, minlength=len(COLOURS)) / len(nearest)
    largest = sorted(zip(COLOURS, shares.tolist(), strict=True), key=lambda pair: -pair[1])
    return {name: round(share, 3) for name, share in largest if share >= 0.01}


def named(box, scale: float) -> dict[str, int]:
    return dict(zip(("x", "y", "width", "height"), (round(side * scale) for side in box.tolist()), strict=True))


def in_words(found: dict[str, list], shares: dict[str, float]) -> str:
    """As "A face and two cats, mostly brown and black."."""
    one = {"people": "a person", "faces": "a face", "cats": "a cat"}
    seen = [one[kind] if len(boxes) == 1 else f"{len(boxes)} {kind}" for kind, boxes in found.items() if boxes]
    what = " and ".join([", ".join(seen[:-1]), seen[-1]] if len(seen) > 1 else seen) or "a picture"
    main = [name for name, share in shares.items() if share >= 0.2][:3] or list(shares)[:1]
    return f"{what[0].upper()}{what[1:]}, mostly {' and '.join(main)}."
