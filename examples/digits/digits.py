"""Which digit a drawing shows, dark on light, as a support vector machine sees it.

It learns from scikit-learn's digits, which come from forms of NIST's: 8x8 images, in which each pixel is the ink among
4x4 dots of a larger one (https://archive.ics.uci.edu/dataset/80). A drawing is brought to that shape first.
"""

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps
from sklearn.datasets import load_digits
from sklearn.svm import SVC

LEARNED = 1500  # of 1797: the rest can tell how good it is
SIDE = 64  # of the frame in which a drawing is prepared
PEN = 10  # how thick the digits' lines are in such a frame
INK = 64  # of 255: less is paper
TEXT = {"Content-Type": "text/plain"}


def run(request, drawing: Image.Image):
    try:
        image = drawing.convert("RGBA")
    except ValueError:
        return f"Send another drawing: the colours of this one, {drawing.mode}, cannot be made RGB.\n", 400, TEXT
    paper = Image.new("RGBA", image.size, "white")
    ink = ImageChops.invert(Image.alpha_composite(paper, image).convert("L"))
    box = dots(ink).getbbox()
    if not box or is_line(box):
        return "Draw a digit, dark on light.\n", 400, TEXT
    seen = prepared(ink)
    chances = model.predict_proba([seen])[0]
    return {"digit": int(chances.argmax()), "chances": chances.round(4).tolist(), "seen": seen.round(1).tolist()}


def is_line(box: tuple[int, int, int, int]) -> bool:
    """Whether nothing is left of its width, or of its height, once it fits the frame."""
    sides = box[2] - box[0], box[3] - box[1]
    return min(sides) * SIDE < max(sides)


def prepared(ink: Image.Image) -> np.ndarray:
    """The 64 numbers, from 0 to 16, that the model knows a digit by."""
    ink = fitted(ink)
    thinner = round((PEN - thickness(ink)) / 2)
    if thinner > 0:
        ink = fitted(ImageOps.expand(ink, thinner).filter(ImageFilter.MaxFilter(2 * thinner + 1)))
    frame = Image.new("L", (SIDE, SIDE))
    frame.paste(ink, ((SIDE - ink.width) // 2, (SIDE - ink.height) // 2))
    return np.asarray(frame, float).reshape(8, SIDE // 8, 8, SIDE // 8).mean(axis=(1, 3)).ravel() * 16 / 255


def fitted(ink: Image.Image) -> Image.Image:
    """Cut out, as large as fits the frame, and black again where that made thin lines pale."""
    return ImageOps.autocontrast(ImageOps.contain(ink.crop(dots(ink).getbbox()), (SIDE, SIDE), Image.Resampling.BOX))


def thickness(ink: Image.Image) -> float:
    """Of its lines: twice their area by the length of their edge."""
    line = ImageOps.expand(dots(ink), 1)
    edge = ImageChops.subtract(line, line.filter(ImageFilter.MinFilter(3)))
    return 2 * np.count_nonzero(line) / np.count_nonzero(edge)


def dots(ink: Image.Image) -> Image.Image:
    return ink.point(lambda dark: 255 * (dark >= INK))


def drawn(pixels: np.ndarray) -> Image.Image:
    """One of scikit-learn's digits as a drawing."""
    image = Image.fromarray((pixels.reshape(8, 8) * 255 / 16).astype(np.uint8))
    return ImageOps.expand(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), SIDE // 4)


def by_another_hand(image: Image.Image) -> Image.Image:
    """Wider or narrower, and slanted."""
    wider, slant = hand.uniform(0.75, 1.25), hand.uniform(-0.3, 0.3)
    middle = image.width / 2
    left = middle - (wider + slant) * middle
    return image.transform(image.size, Image.Transform.AFFINE, (wider, slant, left, 0, 1, 0), Image.Resampling.BILINEAR)


# The first call trains it, for some seconds; the next ones find it trained.
images, digits = load_digits(return_X_y=True)
images, digits = images[:LEARNED], digits[:LEARNED]
hand = np.random.default_rng(0)
others = [prepared(by_another_hand(drawn(image))) for image in images]
model = SVC(gamma=0.001, C=10, probability=True, random_state=0)
model.fit([*images, *others], [*digits, *digits])
