"""Contact sheets: many images of digits in one PNG, each with a caption."""

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from pipeline.data.limits import SIDE

SCALE: Final = 3  # pixels of the sheet per pixel of an image
CAPTION_HEIGHT: Final = 16  # pixels
GAP: Final = 6  # pixels


def to_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def contact_sheet(images: npt.NDArray[np.uint8], captions: Sequence[str], columns: int, scale: int = SCALE) -> bytes:
    """A PNG of `(N, 28, 28) uint8, 0 = paper, 255 = ink`, dark on light, or of `(N, 28, 28, 3)`, in their colours, row
    by row; `captions` may be empty."""
    side, caption = SIDE * scale, CAPTION_HEIGHT if captions else 0
    rows = -(-len(images) // columns)
    width, height = columns * (side + GAP) + GAP, rows * (side + caption + GAP) + GAP
    is_grey = images.ndim == 3
    sheet = Image.new("L" if is_grey else "RGB", (width, max(height, 2 * GAP)), 235 if is_grey else "#ebebeb")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for n, image in enumerate(images):
        left, top = GAP + n % columns * (side + GAP), GAP + n // columns * (side + caption + GAP)
        shown = Image.fromarray(255 - image if is_grey else image)
        sheet.paste(shown.resize((side, side), Image.Resampling.NEAREST), (left, top))
        if captions:
            draw.text(
                (left + side / 2, top + side + 2),
                captions[n],
                fill=30 if is_grey else "#1e1e1e",
                font=font,
                anchor="ma",
            )
    return to_png(sheet)
