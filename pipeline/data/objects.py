"""Pictures of an object on a plain background, brought to 28×28 as Fashion-MNIST was made (Xiao, Rasul and Vollgraf,
"Fashion-MNIST", 2017): cropped to the object, the longer side scaled to 28, in grey, the background 0."""

from typing import Final

import numpy as np
from PIL import Image, ImageOps

from pipeline.core.errors import PictureError
from pipeline.data.ink import BLANK, Ink
from pipeline.data.limits import SIDE, image_shape

BACKGROUND: Final = 0.05  # of the range of grey levels; what differs less from the border is background
MIN_CONTRAST: Final = 10  # grey levels; with less, nothing is on the picture


def crop_object(picture: Image.Image) -> Ink:
    """`(28, 28) uint8`, 0 = background, brighter than it where the object differs more.

    A light background is inverted, as in the data set. Raises PictureError `blank_page` if there is no object.
    """
    grey = np.asarray(picture, np.float32)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    background = float(np.median(border))
    level = 255 - grey if background > 127 else grey
    level = np.clip(level - (255 - background if background > 127 else background), 0, None)
    differs = np.abs(grey - background)
    if differs.max() < MIN_CONTRAST:
        raise PictureError(*BLANK)
    mask = differs > max(MIN_CONTRAST / 2, BACKGROUND * differs.max())
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = level[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    box = np.round(box * (255 / max(1.0, box.max()))) if box.max() < 128 else np.round(box)
    return resize(Image.fromarray(box.astype(np.uint8)))


def resize(picture: Image.Image) -> Ink:
    """`(28, 28) uint8`, of RGB `(28, 28, 3)`: the picture, its longer side scaled to 28, in the middle of black."""
    fitted = ImageOps.contain(picture, (SIDE, SIDE), Image.Resampling.BICUBIC)
    image = np.zeros(image_shape(len(picture.getbands())), np.uint8)
    top, left = (SIDE - fitted.height + 1) // 2, (SIDE - fitted.width + 1) // 2  # rounded as in the data set
    image[top : top + fitted.height, left : left + fitted.width] = np.asarray(fitted)
    return image
