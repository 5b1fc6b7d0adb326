"""A picture made smaller: an upload, and a picture as the answer."""

from enum import Enum
from typing import Annotated

from msgspec import Meta
from PIL import Image, ImageFilter, ImageOps


class Look(Enum):
    AS_IT_IS = "as it is"
    GREY = "grey"
    BLURRED = "blurred"


def run(
    picture: Image.Image,
    width: Annotated[int, Meta(ge=16, le=1024)] = 256,
    look: Look = Look.AS_IT_IS,
    turn: bool = False,
) -> Image.Image:
    """Makes a picture smaller.

    Args:
        picture: PNG, JPEG or whatever Pillow reads
        width: in pixels, of the answer
        look: what else is done to it
        turn: upside down
    """
    picture = ImageOps.exif_transpose(picture).convert("RGB")
    picture.thumbnail((width, 4 * width))
    if look is Look.GREY:
        picture = ImageOps.grayscale(picture)
    elif look is Look.BLURRED:
        picture = picture.filter(ImageFilter.GaussianBlur(4))
    return picture.rotate(180) if turn else picture
