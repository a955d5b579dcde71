"""A contact sheet of mistakes: each picture beside the image that the model saw."""

import base64
import io
from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw, ImageFont, ImageOps

from benchmarks.judgement import Judged
from pipeline.reports.contact_sheet import CAPTION_HEIGHT, GAP, to_png

SIDE: Final = 84  # pixels, of a picture and of an image in the sheet
COLUMNS: Final = 6
MAX_SHOWN: Final = 240
# What Pillow's decoders raise on damaged files.
DECODING_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    Image.DecompressionBombError,
)


def mistakes_sheet(judged: Sequence[Judged]) -> bytes:
    """A PNG of at most MAX_SHOWN mistakes, those of the highest confidence first."""
    mistakes = sorted((one for one in judged if not one.is_right), key=lambda one: -one.confidence)[:MAX_SHOWN]
    width, height = 2 * SIDE + GAP, SIDE + CAPTION_HEIGHT + GAP
    rows = -(-len(mistakes) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (width + GAP) + GAP, rows * height + GAP), (235, 235, 235))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for number, one in enumerate(mistakes):
        left, top = GAP + number % COLUMNS * (width + GAP), GAP + number // COLUMNS * height
        seen = _seen(one.seen)
        _paste(sheet, _thumbnail(one.picture.content, (SIDE if seen else width, SIDE)), left, top)
        if seen:
            _paste(sheet, seen, left + SIDE + GAP, top)
        draw.text((left, top + SIDE + 2), caption(one), fill=(30, 30, 30), font=font)
    return to_png(sheet)


def caption(one: Judged) -> str:
    """Such as `4 read as 9, 0.87`, `4: not_a_digit` or `letter A read as 4, 0.99`."""
    label = one.picture.label or one.picture.note or "not a digit"
    if not one.is_answered:
        return f"{label}: {one.got}"
    return f"{label} read as {one.got}" + (f", {one.confidence:.2f}" if one.picture.kind != "rows" else "")


def _paste(sheet: Image.Image, picture: Image.Image, left: int, top: int) -> None:
    sheet.paste(picture, (left, top + (SIDE - picture.height) // 2))


def _thumbnail(content: bytes, size: tuple[int, int]) -> Image.Image:
    try:
        picture = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGBA")
    except DECODING_ERRORS:
        return Image.new("RGB", size, (200, 160, 160))
    picture.thumbnail(size)
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _seen(data_url: str) -> Image.Image | None:
    if not data_url:
        return None
    image = Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2])))
    return ImageOps.invert(image.convert("L")).resize((SIDE, SIDE), Image.Resampling.NEAREST).convert("RGB")
