"""Picture files: decoding, within limits, to grey or to three channels."""

import io
import struct
from math import ceil
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.core.errors import PictureError
from pipeline.data.limits import (
    LIMITS,
    MAX_ASPECT,
    MAX_JPEG_PIXELS,
    MAX_PIXELS,
    MAX_SCANS,
    MAX_WEBP_PIXELS,
    MIN_SIDE,
)
from pipeline.data.picture_file import without_metadata

UPRIGHT: Final = {  # EXIF orientation to the transposition that turns the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's decoders raised on 260,000 damaged files.
DECODING_ERRORS: Final = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, struct.error)
DECODED_SIDE: Final = 1024  # pixels; a picture of twice that or more is reduced as soon as it is decoded
STRIP: Final = 16  # rows of a reduced picture that are converted at a time
MIN_CONTRAST: Final = 40  # grey levels; with less in its luminance, a picture's most contrasting colour is taken


def open_picture(content: bytes, channels: int = 1) -> Image.Image:
    """Decode a picture file, turn it upright, and composite transparent areas onto paper of one colour.

    Returns a grey picture (mode "L"), or one of three `channels` ("RGB"), whose sides satisfy MIN_SIDE, MAX_PIXELS and
    MAX_ASPECT.
    Raises PictureError for anything but one still picture of a format in FORMATS.
    """
    try:
        file = without_metadata(content)
        picture = Image.open(io.BytesIO(file.content), formats=[file.format])
        _check_size(picture)
        _check_scans(picture, file.content)
        side = DECODED_SIDE / max(picture.size)
        # A JPEG is decoded at a half, a quarter or an eighth.
        picture.draft(None, (ceil(picture.width * side), ceil(picture.height * side)))
        picture.load()
    except UnidentifiedImageError as error:
        raise PictureError("damaged_picture", f"a damaged picture ({file.format} header)", "an intact one") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError("picture_size", f"a picture of too many pixels ({error})", LIMITS) from error
    except DECODING_ERRORS as error:
        raise PictureError("damaged_picture", f"a damaged picture ({error})", "an intact one") from error
    plain = _to_grey(picture) if channels == 1 else _to_rgb(picture)
    return plain.transpose(UPRIGHT[file.orientation]) if file.orientation in UPRIGHT else plain


def _check_size(picture: Image.Image) -> None:
    short, long = sorted(picture.size)
    max_pixels = MAX_WEBP_PIXELS if picture.format == "WEBP" else MAX_PIXELS
    if "progressive" in picture.info:  # all coefficients of all colours are kept until the last scan
        max_pixels = MAX_PIXELS * 3 // max(3, len(picture.getbands()))
    elif picture.format == "JPEG":
        max_pixels = MAX_JPEG_PIXELS
    if short < MIN_SIDE or short * long > max_pixels or long > MAX_ASPECT * short:
        raise PictureError("picture_size", f"a picture of {picture.width}×{picture.height} pixels", LIMITS)


def _check_scans(picture: Image.Image, content: bytes) -> None:
    scans = content.count(b"\xff\xda")  # the start-of-scan marker; cannot occur in entropy-coded data
    if picture.format == "JPEG" and scans > MAX_SCANS:
        raise PictureError("picture_size", f"a JPEG of {scans} scans", f"at most {MAX_SCANS} scans")


def _to_grey(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16") or picture.mode == "I":
        factor = _reduction(picture)
        levels = np.asarray(picture)[::factor, ::factor]
        return Image.fromarray((levels // 257).clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        return grey_by_contrast(_on_paper(picture))
    if picture.mode in ("1", "L"):
        return _reduced(picture, "L")
    return grey_by_contrast(_reduced(picture, "RGB"))


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        return _to_grey(picture).convert("RGB")
    return _on_paper(picture) if picture.has_transparency_data else _reduced(picture, "RGB")


def _on_paper(picture: Image.Image) -> Image.Image:
    """A picture with transparency on paper of one colour, as RGB."""
    picture = _reduced(picture, "RGBA")
    # Light ink on transparency would vanish on white paper. Where most is opaque, the picture has its own paper.
    alpha = np.asarray(picture.getchannel("A"))
    colour = np.asarray(picture.convert("RGB")).sum(axis=2, dtype=np.uint16)  # of three channels
    weighted = np.einsum("ij,ij", colour, alpha, dtype=np.int64)
    is_light = alpha.mean() < 0.5 * 255 and weighted > 3 * 127 * alpha.sum(dtype=np.int64)
    paper = Image.new("RGBA", picture.size, "black" if is_light else "white")
    return Image.alpha_composite(paper, picture).convert("RGB")


def _reduction(picture: Image.Image) -> int:
    return max(1, max(picture.size) // DECODED_SIDE)


def _reduced(picture: Image.Image, mode: str) -> Image.Image:
    """The picture in another mode, with sides of less than 2 × DECODED_SIDE.

    A large one is converted in strips: a second copy of 12.5 million pixels in colour would take 50 MB.
    """
    factor = _reduction(picture)
    if factor == 1:
        return picture.convert(mode)
    reduced = Image.new(mode, (ceil(picture.width / factor), ceil(picture.height / factor)))
    for top in range(0, picture.height, STRIP * factor):
        strip = picture.crop((0, top, picture.width, min(top + STRIP * factor, picture.height)))
        reduced.paste(strip.convert(mode).reduce(factor), (0, top // factor))
    return reduced


def grey_by_contrast(picture: Image.Image) -> Image.Image:
    """Luminance of an RGB picture; the channel of most contrast if that has too little, as with yellow ink."""
    grey = picture.convert("L")
    return grey if _contrast(grey) >= MIN_CONTRAST else max(picture.split(), key=_contrast)


def _contrast(grey: Image.Image) -> int:
    return int(np.ptp(np.asarray(grey)))
