"""The size of an image, and the limits on pictures. Who reads them loads neither numpy nor Pillow."""

from typing import Final, Literal

SIDE: Final = 28  # pixels, of an image
COLOURS: Final = 3  # channels of an image in colour: red, green, blue
DIGIT_SIDE: Final = 20  # pixels; the longer side of the ink in it
MAX_PARTS_OF_A_DIGIT: Final = 4  # marks that do not touch; a page or an object has more
MAX_FILE: Final = 10 * 2**20  # bytes of a picture file; the service accepts bodies of this size
FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
MIN_SIDE: Final = 8  # pixels; below this a digit cannot be distinguished from noise
MAX_PIXELS: Final = 12_500_000  # a phone's photo has 12 million; decoded in full, that is 50 MB a copy
MAX_JPEG_PIXELS: Final = 25_000_000  # unless progressive, it can be decoded at a fraction of its size
MAX_WEBP_PIXELS: Final = 5_000_000  # its decoder takes 20 bytes a pixel
MAX_PARTS: Final = 2**16  # of a picture file: segments, chunks or blocks; 10 MB of GIF have 41,000
MAX_RUN_LENGTH_BYTES: Final = 2**20  # of a BMP that is encoded so
MAX_SCANS: Final = 50  # of a progressive JPEG; ten are usual, and each is another pass over all pixels
MAX_ASPECT: Final = 20  # longer side / shorter side; no row of digits needs more
LIMITS: Final = (
    f"sides of at least {MIN_SIDE} pixels, the longer one at most {MAX_ASPECT} times the shorter one, "
    f"and at most {MAX_PIXELS / 1e6:g} million pixels, {MAX_JPEG_PIXELS / 1e6:g} million as JPEG that "
    f"is not progressive, {MAX_WEBP_PIXELS / 1e6:g} million as WebP"
)

Channels = Literal[1, 3]  # of an image: ink or grey; or the COLOURS
Preprocessing = Literal["ink", "object", "none"]  # how a picture becomes an image: it belongs to the data set
Reason = Literal["blank_page", "not_a_digit", "several_digits"]  # why a picture shows none of the classes


def image_shape(channels: int) -> tuple[int, ...]:
    """`(28, 28)` or, in colour, `(28, 28, 3)`."""
    return (SIDE, SIDE) if channels == 1 else (SIDE, SIDE, channels)
