"""Image preprocessing: from a picture, a file of any size and colour, to an image like those of the data set.

An image is `(28, 28) uint8, 0 = paper, 255 = ink`, or `(28, 28, 3) uint8` for a model that sees colours. Scoring,
export and the service share this module, so it needs nothing but numpy and Pillow. The steps are those by which MNIST
was made (LeCun et al., "Gradient-based learning applied to document recognition", 1998): the ink's bounding box is
scaled to fit 20×20 at the same aspect ratio, and its centre of mass is moved to the centre of 28×28. Not covered: more
than one digit in a picture.
"""

from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from pipeline.core.errors import PictureError
from pipeline.data.ink import BLANK, INK_THRESHOLD, Ink, extract_ink
from pipeline.data.limits import DIGIT_SIDE, MAX_PARTS_OF_A_DIGIT, SIDE, Preprocessing, Reason
from pipeline.data.marks import isolate
from pipeline.data.objects import crop_object, resize
from pipeline.data.picture import open_picture

THINNING: Final = 0.7  # a box that is scaled by less has strokes thinner than a pixel, which come out grey
STRONG_INK: Final = 70  # percentile of their ink, for crossings are darker than the strokes


class Preprocessed(NamedTuple):
    """The image that a picture was brought to, all paper if nothing is on it; why it shows none of the classes, if that
    is certain; and whether several characters may be on it, which a model that refuses the image may give as reason."""

    image: Ink
    reason: Reason | None = None
    is_several: bool = False


def preprocess(content: bytes, method: Preprocessing = "ink", channels: int = 1) -> Preprocessed:
    """All steps from the bytes of a picture file; three `channels` only of a picture as it is, with the method `none`.

    Raises PictureError if it cannot be read.
    """
    assert channels == 1 or method == "none"  # ink has no colour
    picture = open_picture(content, channels)
    try:
        if method == "object":
            return Preprocessed(crop_object(picture))
        if method == "none":
            return Preprocessed(resize(picture))
        character = isolate(extract_ink(picture))
        image = scale_and_center(character.ink)
    except PictureError as error:
        if error.code != BLANK[0]:
            raise
        return Preprocessed(np.zeros((SIDE, SIDE), np.uint8), "blank_page")
    is_several = character.candidates > 1
    if character.parts > MAX_PARTS_OF_A_DIGIT:
        return Preprocessed(image, "several_digits" if is_several else "not_a_digit", is_several)
    return Preprocessed(image, None, is_several)


def scale_and_center(ink: Ink) -> Ink:
    """Turn ink of any size into `(28, 28) uint8, 0 = paper, 255 = ink`, scaled and centred as MNIST is.

    Raises PictureError `blank_page` if there is no ink, or only dots that vanish in the scaling.
    """
    mask = ink > INK_THRESHOLD
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise PictureError(*BLANK)
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = DIGIT_SIDE / max(box.shape)
    height, width = (max(1, round(scale * side)) for side in box.shape)
    digit = np.asarray(Image.fromarray(box).resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32)
    if not digit.any():
        raise PictureError(*BLANK)
    strong = np.percentile(digit[digit > digit.max() / 4], STRONG_INK) if scale < THINNING else digit.max()
    digit = np.round((digit * (255 / strong)).clip(0, 255)).astype(np.uint8)
    # The centre is pixel 14 of 0 to 27, as it is in every image of MNIST to within half a pixel.
    weights = digit.astype(np.float64) / digit.sum()
    top = SIDE / 2 - (weights.sum(axis=1) @ np.arange(height))
    left = SIDE / 2 - (weights.sum(axis=0) @ np.arange(width))
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    y, x = (int(np.clip(round(corner), 0, SIDE - side)) for corner, side in ((top, height), (left, width)))
    image[y : y + height, x : x + width] = digit
    return image
