"""Picture files that take much memory or time to decode: damaged, crafted, or only large."""

import struct
import zlib
from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image

from pipeline.data.limits import MAX_JPEG_PIXELS, MAX_PIXELS, MAX_SCANS, MAX_WEBP_PIXELS
from tests.support.pictures import encoded, png_chunk

MAX_CMYK_PIXELS: Final = MAX_PIXELS * 3 // 4  # of a progressive JPEG
SIZE: Final = 9_500_000  # bytes; the service accepts a little more


def pattern(pixels: int, mode: str) -> Image.Image:
    """A square picture of coloured squares."""
    side, channels = int(pixels**0.5), len(Image.new(mode, (1, 1)).getbands())
    squares = np.random.default_rng(0).integers(0, 256, (side // 16 + 1, side // 16 + 1, channels), np.uint8)
    tiled = squares.repeat(16, axis=0).repeat(16, axis=1)[:side, :side]
    return Image.fromarray(tiled.squeeze() if channels == 1 else tiled, mode)


def small(file_format: str) -> bytes:
    return encoded(Image.new("L", (100, 100), 255), file_format)


def after_start(jpeg: bytes, segment: bytes, number: int) -> bytes:
    """A JPEG with `number` more segments at its start."""
    return jpeg[:2] + segment * number + jpeg[2:]


def exif_segments() -> bytes:
    segment = b"\xff\xe1\x00\x0aExif\0\0II"
    return after_start(small("JPEG"), segment, SIZE // len(segment))


def empty_segments() -> bytes:
    return after_start(small("JPEG"), b"\xff\xef\x00\x02", SIZE // 4)


def self_referring_exif(size: int) -> bytes:
    """An EXIF block each of whose entries refers to all of it."""
    entries = min(65_535, size // 12 - 1)
    table = b"".join(struct.pack("<HHII", tag, 7, size - 8, 8) for tag in range(entries))
    return (b"II*\0" + struct.pack("<IH", 8, entries) + table).ljust(size, b"\0")


def exif_bomb_in_jpeg() -> bytes:
    exif = b"Exif\0\0" + self_referring_exif(65_000)
    return after_start(small("JPEG"), b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif, 1)


def exif_bomb_in_png() -> bytes:
    png = small("PNG")
    return png[:33] + png_chunk(b"eXIf", self_referring_exif(SIZE)) + png[33:]


def png_texts() -> bytes:
    text = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20)))
    png = small("PNG")
    return png[:33] + text * (SIZE // len(text)) + png[33:]


def png_of_tiny_chunks() -> bytes:
    png = small("PNG")
    pixels = zlib.compress(bytes(101 * 100))
    tiny = b"".join(png_chunk(b"IDAT", pixels[i : i + 1]) for i in range(len(pixels)))
    empty = png_chunk(b"IDAT", b"")
    return png[:33] + tiny + empty * ((SIZE - len(tiny)) // len(empty)) + png[-12:]


def gif_comment() -> bytes:
    gif = small("GIF")
    start = 13 + (3 << (gif[10] % 8 + 1))
    return gif[:start] + b"\x21\xfe" + b"\x01a" * (SIZE // 2) + b"\0" + gif[start:]


def webp_of_tiny_chunks() -> bytes:
    webp = small("WEBP")
    body = b"WEBP" + webp[12:] + b"XTRA\0\0\0\0" * (SIZE // 8)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp_of_short_runs() -> bytes:
    """Run-length encoded in runs of one pixel: Pillow decodes them in Python."""
    side = 3_000
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, SIZE, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", SIZE, 0, 0, 14 + 40 + 1024) + header + bytes(1024) + b"\x01\x07" * (SIZE // 2)


def jpeg_of_many_scans() -> bytes:
    jpeg = encoded(pattern(MAX_CMYK_PIXELS, "CMYK"), "JPEG", progressive=True, quality=20)
    first = jpeg.index(b"\xff\xda")
    second = jpeg.index(b"\xff\xda", first + 2)
    repeats = min(MAX_SCANS - jpeg.count(b"\xff\xda"), (SIZE - len(jpeg)) // (second - first))
    return jpeg[:first] + jpeg[first:second] * repeats + jpeg[first:]


def damaged(content: bytes) -> bytes:
    return content[: len(content) * 9 // 10]


# By what they are, what makes them. "Large" ones are valid.
HOSTILE: Final[dict[str, Callable[[], bytes]]] = {
    "JPEG of 800,000 EXIF segments": exif_segments,
    "JPEG of 2.4 million empty segments": empty_segments,
    "JPEG, EXIF refers to itself": exif_bomb_in_jpeg,
    "JPEG of as many scans as allowed": jpeg_of_many_scans,
    "PNG, EXIF refers to itself": exif_bomb_in_png,
    "PNG of 9,000 compressed texts": png_texts,
    "PNG of 800,000 empty chunks": png_of_tiny_chunks,
    "GIF with a comment of 5 million blocks": gif_comment,
    "WebP of 1.2 million empty chunks": webp_of_tiny_chunks,
    "BMP of 5 million short runs": bmp_of_short_runs,
    "large JPEG": lambda: encoded(pattern(MAX_JPEG_PIXELS, "CMYK"), "JPEG"),
    "large progressive JPEG": lambda: encoded(
        pattern(MAX_CMYK_PIXELS, "CMYK"), "JPEG", progressive=True, subsampling=0
    ),
    "large PNG": lambda: encoded(pattern(MAX_PIXELS, "RGBA"), "PNG", compress_level=1),
    "large WebP": lambda: encoded(pattern(MAX_WEBP_PIXELS, "RGBA"), "WEBP", lossless=True, method=0),
    "large GIF": lambda: encoded(pattern(MAX_PIXELS, "L").convert("P"), "GIF", transparency=3),
    "damaged large PNG": lambda: damaged(encoded(pattern(MAX_PIXELS, "RGBA"), "PNG", compress_level=1)),
}
