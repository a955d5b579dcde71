"""The parts of a picture file that its pixels need.

Pillow reads metadata when it opens a file, before anything can be checked: in a time that is quadratic in the number of
parts, and into memory that they multiply, for an EXIF block can refer to the same bytes a thousand times. So it gets a
file without metadata. The pixels stay as they are. Sources: ITU-T T.81 annex B (JPEG), the PNG specification (third
edition), GIF89a, RFC 9649 (WebP), EXIF 2.32.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from pipeline.core.errors import PictureError
from pipeline.data.limits import FORMATS, MAX_PARTS, MAX_RUN_LENGTH_BYTES

JPEG_START_OF_SCAN: Final = 0xDA  # the pixels follow
JPEG_WITHOUT_LENGTH: Final = (0x00, 0x01, *range(0xD0, 0xDA))
JPEG_KEPT: Final = (*range(0xC0, 0xD0), 0xDB, 0xDD, 0xE0, 0xEE)  # frames, tables, restarts, JFIF, Adobe's colours
PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
PNG_KEPT: Final = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
PNG_END: Final = b"\0\0\0\0IEND\xae\x42\x60\x82"
WEBP_KEPT: Final = (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
WEBP_METADATA: Final = 0b00101100  # flags of VP8X: colour profile, EXIF, XMP
BMP_RUN_LENGTHS: Final = (b"\1\0\0\0", b"\2\0\0\0")
ANIMATED: Final = ("animated_picture", "an animated picture", "a still one")
ORIENTATION: Final = 0x0112  # tag of EXIF
UPRIGHT: Final = 1


class PictureFile(NamedTuple):
    format: str
    """One of FORMATS."""
    content: bytes
    """The file without metadata."""
    orientation: int
    """How the stored picture has to be turned: EXIF's value, 1 = it is upright."""


def without_metadata(content: bytes) -> PictureFile:
    """The parts of a picture file that its pixels need. Raises PictureError for another file, and for an animation."""
    for name, (signature, strip) in STRIPPED.items():
        if content[: len(signature)] == signature and (name != "WEBP" or content[8:12] == b"WEBP"):
            try:
                kept, exif = strip(content, _parts())
            except (IndexError, ValueError, struct.error) as error:
                raise PictureError(
                    "damaged_picture", f"a damaged picture (a {name} cut off)", "an intact one"
                ) from error
            return PictureFile(name, kept, _orientation(exif))
    raise PictureError("not_a_picture", f"{len(content)} bytes that are not a picture", ", ".join(FORMATS))


def _parts() -> Iterator[int]:
    """As many steps as a file may have parts; then raises PictureError."""
    yield from range(MAX_PARTS)
    expected = f"at most {MAX_PARTS:,} segments, chunks or blocks"
    raise PictureError("damaged_picture", f"a picture file of more than {MAX_PARTS:,} parts", expected)


def _strip_jpeg(content: bytes, parts: Iterator[int]) -> tuple[bytes, bytes]:
    kept, exif, start = [content[:2]], b"", 2
    for _ in parts:
        start = content.index(b"\xff", start)
        marker = content[start + 1]
        if marker == JPEG_START_OF_SCAN:
            break
        if marker == 0xFF:  # a fill byte
            start += 1
            continue
        if marker in JPEG_WITHOUT_LENGTH:
            start += 2
            continue
        end = start + 2 + struct.unpack_from(">H", content, start + 2)[0]
        if marker in JPEG_KEPT:
            kept.append(content[start:end])
        elif content.startswith(b"Exif\0\0", start + 4):
            exif = exif or content[start + 10 : end]
        start = end
    return b"".join((*kept, content[start:])), exif


def _strip_png(content: bytes, parts: Iterator[int]) -> tuple[bytes, bytes]:
    kept, exif, start = [PNG_SIGNATURE], b"", len(PNG_SIGNATURE)
    for _ in parts:
        length, kind = struct.unpack_from(">I4s", content, start)
        end = start + 12 + length
        if kind == b"IEND":
            break
        if kind == b"acTL" and content[start + 8 : start + 12] != b"\0\0\0\1":  # the number of pictures
            raise PictureError(*ANIMATED)
        if kind in PNG_KEPT:
            kept.append(content[start:end])
        elif kind == b"eXIf":
            exif = content[start + 8 : end - 4]
        start = end
    return b"".join((*kept, PNG_END)), exif


def _strip_gif(content: bytes, parts: Iterator[int]) -> tuple[bytes, bytes]:
    def after_colours(flags: int, start: int) -> int:
        return start + (3 << (flags % 8 + 1)) if flags & 0x80 else start

    def after_blocks(start: int) -> int:
        for _ in parts:
            if content[start] == 0:
                break
            start += 1 + content[start]
        return start + 1

    start = after_colours(content[10], 13)
    screen, control, picture = content[:start], b"", b""
    for _ in parts:
        kind = content[start : start + 1]
        if kind in (b"", b";"):
            break
        end = start + 1
        if kind == b"!":
            end = after_blocks(start + 2)
            if content[start + 1] == 0xF9 and not picture:  # transparency; no other extension is about pixels
                control = content[start:end]
        elif kind == b",":
            if picture:
                raise PictureError(*ANIMATED)
            end = after_blocks(after_colours(content[start + 9], start + 10) + 1)
            picture = content[start:end]
        start = end
    return b"".join((screen, control, picture, b";")), b""


def _strip_webp(content: bytes, parts: Iterator[int]) -> tuple[bytes, bytes]:
    kept, exif, start, pictures = [b"WEBP"], b"", 12, 0
    for _ in parts:
        if start >= len(content):
            break
        kind, length = struct.unpack_from("<4sI", content, start)
        end = start + 8 + length + length % 2
        if kind == b"VP8X":
            flags = content[start + 8] & ~WEBP_METADATA
            kept.append(content[start : start + 8] + bytes([flags]) + content[start + 9 : end])
        elif kind in WEBP_KEPT:
            kept.append(content[start:end])
        elif kind == b"EXIF":
            exif = content[start + 8 : end].removeprefix(b"Exif\0\0")
        pictures += kind == b"ANMF"
        if pictures > 1:
            raise PictureError(*ANIMATED)
        start = end
    body = b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body, exif


def _strip_bmp(content: bytes, parts: Iterator[int]) -> tuple[bytes, bytes]:
    # A header of fixed length and pixels. Pillow decodes run-length encoded ones in Python, a microsecond a run.
    if content[30:34] in BMP_RUN_LENGTHS and len(content) > MAX_RUN_LENGTH_BYTES:
        got = f"a run-length encoded BMP of {len(content)} bytes"
        raise PictureError("picture_size", got, f"at most {MAX_RUN_LENGTH_BYTES} bytes")
    return content, b""


STRIPPED: Final[dict[str, tuple[bytes, Callable[[bytes, Iterator[int]], tuple[bytes, bytes]]]]] = {
    "PNG": (PNG_SIGNATURE, _strip_png),
    "JPEG": (b"\xff\xd8\xff", _strip_jpeg),
    "WEBP": (b"RIFF", _strip_webp),
    "BMP": (b"BM", _strip_bmp),
    "GIF": (b"GIF8", _strip_gif),
}


def _orientation(exif: bytes) -> int:
    """EXIF's orientation, 1 if there is none: what is wrong in metadata does not damage the picture."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return UPRIGHT
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            tag, _kind, _number, value = struct.unpack_from(f"{order}HHIH", exif, entry)
            if tag == ORIENTATION:
                return int(value)
    except struct.error:
        pass
    return UPRIGHT
