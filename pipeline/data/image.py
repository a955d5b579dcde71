"""Image preprocessing: from a picture, a file of any size and colour, to an image like those of MNIST.

An image is `(28, 28) uint8, 0 = paper, 255 = ink`. Scoring, export and the service share this module, so it needs
nothing but numpy and Pillow. The steps are those by which MNIST was made (LeCun et al., "Gradient-based
learning applied to document recognition", 1998): the ink's bounding box is scaled to fit 20×20 at the same aspect
ratio, and its centre of mass is moved to the centre of 28×28. Not covered: more than one digit in a picture.
"""

import io
import struct
from math import ceil
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError

from pipeline.core.errors import PictureError
from pipeline.data.limits import (
    DIGIT_SIDE,
    LIMITS,
    MAX_ASPECT,
    MAX_JPEG_PIXELS,
    MAX_PIXELS,
    MAX_SCANS,
    MAX_WEBP_PIXELS,
    MIN_SIDE,
    SIDE,
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
WORKING_SIDE: Final = 512  # pixels; larger pictures are reduced to this before ink is extracted
MIN_CONTRAST: Final = 40  # grey levels between the strongest ink and its paper; less is blank paper
MAX_BORDER_DEVIATION: Final = 1.0  # grey levels, standard deviation of a drawing's border; a photo's varies more
NOISE_FLOOR: Final = 0.2  # of the strongest ink's contrast; weaker in a photo is paper texture and camera noise
INK_THRESHOLD: Final = 64  # of 255; pixels above count as ink where boxes and components are measured
BLANK: Final = ("blank_page", "a picture with nothing on it", "a digit")

Ink = npt.NDArray[np.uint8]  # (H, W), 0 = paper, 255 = ink


def open_picture(content: bytes) -> Image.Image:
    """Decode a picture file, turn it upright, and composite transparent areas onto paper of one colour.

    Returns a grey picture (mode "L") whose sides satisfy MIN_SIDE, MAX_PIXELS and MAX_ASPECT.
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
    grey = _to_grey(picture)
    return grey.transpose(UPRIGHT[file.orientation]) if file.orientation in UPRIGHT else grey


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
        picture = _reduced(picture, "RGBA")
        # Light ink on transparency would vanish on white paper. Where most is opaque, the picture has its own paper.
        alpha = np.asarray(picture.getchannel("A"))
        colour = np.asarray(picture.convert("RGB")).sum(axis=2, dtype=np.uint16)  # of three channels
        weighted = np.einsum("ij,ij", colour, alpha, dtype=np.int64)
        is_light = alpha.mean() < 0.5 * 255 and weighted > 3 * 127 * alpha.sum(dtype=np.int64)
        paper = Image.new("RGBA", picture.size, "black" if is_light else "white")
        return _to_grey_by_contrast(Image.alpha_composite(paper, picture).convert("RGB"))
    if picture.mode in ("1", "L"):
        return _reduced(picture, "L")
    return _to_grey_by_contrast(_reduced(picture, "RGB"))


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


def _to_grey_by_contrast(picture: Image.Image) -> Image.Image:
    """Luminance of an RGB picture; the channel of most contrast if that has too little, as with yellow ink."""
    grey = picture.convert("L")
    return grey if _contrast(grey) >= MIN_CONTRAST else max(picture.split(), key=_contrast)


def _contrast(grey: Image.Image) -> int:
    return int(np.ptp(np.asarray(grey)))


def extract_ink(picture: Image.Image) -> Ink:
    """Separate ink from paper: `(H, W) uint8, 0 = paper, 255 = the strongest ink`, sides at most WORKING_SIDE.

    Works for dark on light, light on dark, and uneven light: the border shows the paper, and a photo's paper is
    estimated at each pixel. Raises PictureError `blank_page` if there is no ink.
    """
    if max(picture.size) > WORKING_SIDE:
        picture = ImageOps.contain(picture, (WORKING_SIDE, WORKING_SIDE), Image.Resampling.BOX)
    grey = np.asarray(picture, dtype=np.float32)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    if np.median(border) < 128:
        grey, border = 255 - grey, 255 - border
    is_photo = float(border.std()) > MAX_BORDER_DEVIATION
    contrast = np.clip((_estimate_paper(grey) if is_photo else np.median(border)) - grey, 0, None)
    # A stroke has more than a few pixels: fewer are dust.
    pixels = min(16, contrast.size // 100)
    strongest = float(np.partition(contrast, -1 - pixels, axis=None)[-1 - pixels])
    if strongest < MIN_CONTRAST:
        raise PictureError(*BLANK)
    floor = NOISE_FLOOR * strongest if is_photo else 0.0
    share = np.clip((contrast - floor) / (strongest - floor), 0, 1)
    ink: Ink = np.round(255 * share).astype(np.uint8)
    return ink


def _estimate_paper(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Brightness of the paper at each pixel, by morphological closing, then smoothing. Closing fills whatever is dark
    and narrower than a quarter of the picture, and leaves gradients of light as they are."""
    small = ImageOps.contain(Image.fromarray(grey.astype(np.uint8)), (64, 64), Image.Resampling.BOX)
    closed = small.filter(ImageFilter.MaxFilter(17)).filter(ImageFilter.MinFilter(17)).filter(ImageFilter.BoxBlur(2))
    return np.asarray(closed.resize(grey.shape[::-1], Image.Resampling.BICUBIC), dtype=np.float32)


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
    digit = np.asarray(Image.fromarray(box).resize((width, height), Image.Resampling.BICUBIC))
    if not digit.any():
        raise PictureError(*BLANK)
    digit = np.round(digit * (255 / digit.max())).astype(np.uint8)
    # The centre is pixel 14 of 0 to 27, as it is in every image of MNIST to within half a pixel.
    weights = digit.astype(np.float64) / digit.sum()
    top = SIDE / 2 - (weights.sum(axis=1) @ np.arange(height))
    left = SIDE / 2 - (weights.sum(axis=0) @ np.arange(width))
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    y, x = (int(np.clip(round(corner), 0, SIDE - side)) for corner, side in ((top, height), (left, width)))
    image[y : y + height, x : x + width] = digit
    return image


def preprocess(content: bytes) -> Ink:
    """All steps: the bytes of a picture file to `(28, 28) uint8, 0 = paper, 255 = ink`. Raises PictureError."""
    return scale_and_center(extract_ink(open_picture(content)))
