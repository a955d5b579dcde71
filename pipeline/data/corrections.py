"""Reviewed corrections by users of the service: `data/corrections/<label>/<picture>-<image>.png`, as `make review`
writes them.

A file is the 28×28 image that the model saw, and no picture: that may show more than a digit, and what is in `data/` is
in git for good. Its name has the SHA-256 of the picture that the image came from (several digits of a row have the same
one) and of the image itself, 16 digits of each. So no image is there twice, and a picture trains or is scored.
"""

import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.core.errors import DataError
from pipeline.data.dataset import DIGITS, Split
from pipeline.data.limits import SIDE

FOLDER: Final = "corrections"  # in data/
NONE: Final = "none"  # the label of what shows no digit: it is scored, and never trained with
LABELS: Final = (*DIGITS, NONE)
NAME: Final = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.png")
MAX_FILE: Final = 10_000  # bytes; 784 pixels take a thousand at most

Pixels = npt.NDArray[np.uint8]


class Correction(NamedTuple):
    """An image `(28, 28) uint8, 0 = paper, 255 = ink`, what it shows, the picture that it came from, and its file."""

    image: Pixels
    label: str
    picture: str
    file: str


def digest(pixels: Pixels) -> str:
    """Of a picture or an image: its shape and its pixels."""
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()[:16]


def file_of(label: str, picture: str, image: Pixels) -> str:
    """The file in `data/corrections/` of an image that comes from the picture with this digest."""
    return f"{label}/{picture}-{digest(image)}.png"


def encode(image: Pixels) -> bytes:
    """As PNG, without metadata."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def decode(path: Path) -> Pixels:
    """The image in a file. Raises DataError if it is no PNG of 28×28 grey pixels."""
    expected = f"{path}: expected a PNG of {SIDE}×{SIDE} grey pixels, got"
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_FILE else b""
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            if (picture.size, picture.mode) != ((SIDE, SIDE), "L"):
                raise DataError(f"{expected} {picture.width}×{picture.height} of mode {picture.mode}")
            return np.array(picture)
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on damaged files
        raise DataError(f"{expected} another file ({error})") from error


def read(folder: Path) -> list[Correction]:
    """All corrections in `folder`, in the order of their paths; none if there is no such folder. Hidden files are
    skipped. Raises DataError for a file that `make review` did not write, and for an image with two labels."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    read = [read_file(folder, path) for path in files]
    first: dict[str, Correction] = {}
    for correction in read:
        other = first.setdefault(correction.image.tobytes().hex(), correction)
        if other is not correction:
            raise DataError(f"{folder}: expected each image once, got it as {other.file} and as {correction.file}")
    return read


def read_file(folder: Path, path: Path) -> Correction:
    """Raises DataError."""
    name = path.relative_to(folder).as_posix()
    label, _, file = name.rpartition("/")
    match = NAME.fullmatch(file)
    if label not in LABELS or match is None:
        expected = f"{folder}/<label>/<picture>-<image>.png with a digit or {NONE} as label, as `make review` writes"
        raise DataError(f"{path}: expected {expected}")
    image = decode(path)
    if digest(image) != match[2]:
        raise DataError(f"{path}: got an image with the hash {digest(image)}, expected the one in its name")
    return Correction(image, label, match[1], name)


def trains(picture: str, share: float) -> bool:
    """Whether the images of a picture join the training images, if `share` of all pictures does: by its hash, so that
    pictures that come later change nothing."""
    return int(picture, 16) < share * 16**16


def join(split: Split, corrections: Iterable[Correction], share: float) -> Split:
    """`split` with the digits of this share of the corrected pictures."""
    return append(split, [one for one in corrections if one.label != NONE and trains(one.picture, share)])


def append(split: Split, corrections: Sequence[Correction]) -> Split:
    images = np.array([one.image for one in corrections], np.uint8).reshape(-1, SIDE, SIDE)
    labels = np.array([int(one.label) for one in corrections], np.uint8)
    return Split(np.concatenate([split.images, images]), np.concatenate([split.labels, labels]))


def without_trained(corrections: Sequence[Correction], images: Pixels) -> list[Correction]:
    """Those whose picture has no image among the training images `(N, 28, 28)`."""
    trained = {image.tobytes() for image in images}
    pictures = {one.picture for one in corrections if one.image.tobytes() in trained}
    return [one for one in corrections if one.picture not in pictures]
