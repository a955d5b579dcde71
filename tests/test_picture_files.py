"""Decoding of picture files: every format and mode gives the same image; what cannot be read is refused."""

import contextlib
import struct

import numpy as np
import pytest
from PIL import ExifTags, Image

from pipeline.core.errors import PictureError
from pipeline.data.image import preprocess
from pipeline.data.limits import FORMATS, MAX_PARTS
from pipeline.data.picture import DECODED_SIDE, open_picture
from pipeline.data.picture_file import without_metadata
from tests.support.hostile_pictures import HOSTILE, after_start, pattern
from tests.support.pictures import difference, encoded, ink, on_paper, png_chunk, png_header

PLAIN = preprocess(encoded(on_paper(ink()))).image
ROTATED_BACK = {  # EXIF orientation to the transposition from the upright picture to the stored one
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_gives_the_same_image(file_format: str) -> None:
    picture = Image.fromarray(on_paper(ink())).convert("RGB")
    assert difference(preprocess(encoded(picture, file_format)).image, PLAIN) < 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_every_mode_gives_the_same_image(mode: str) -> None:
    assert difference(preprocess(encoded(Image.fromarray(on_paper(ink())).convert(mode))).image, PLAIN) < 2


def test_sixteen_bits_per_pixel_give_the_same_image() -> None:
    assert np.array_equal(preprocess(encoded(Image.fromarray(on_paper(ink()).astype(np.uint16) * 257))).image, PLAIN)


@pytest.mark.parametrize("orientation", ROTATED_BACK)
def test_a_picture_is_turned_upright_by_its_exif_orientation(orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = Image.fromarray(on_paper(ink())[:180]).transpose(ROTATED_BACK[orientation])
    assert difference(preprocess(encoded(stored, "JPEG", exif=exif, quality=95)).image, PLAIN) < 2


def test_an_invalid_exif_field_does_not_prevent_turning_the_picture_upright() -> None:
    orientation = struct.pack("<HHII", ExifTags.Base.Orientation, 3, 1, 6)
    resolution = struct.pack("<HHI4s", ExifTags.Base.XResolution, 2, 4, b"72\0\0")  # a text, not a fraction
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + orientation + resolution + bytes(4)
    stored = Image.fromarray(on_paper(ink())).transpose(Image.Transpose.ROTATE_90)
    assert difference(preprocess(encoded(stored, exif=exif)).image, PLAIN) == 0


def test_the_first_picture_of_an_mpo_is_read() -> None:
    first, second = (Image.fromarray(on_paper(ink(digit))).convert("RGB") for digit in (5, 2))
    content = encoded(first, "MPO", save_all=True, append_images=[second])
    assert difference(preprocess(content).image, PLAIN) < 3


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
def test_an_animated_picture_is_refused(file_format: str) -> None:
    first, second = (Image.fromarray(on_paper(ink(digit))) for digit in (1, 2))
    with pytest.raises(PictureError, match="animated"):
        open_picture(encoded(first, file_format, save_all=True, append_images=[second]))


@pytest.mark.parametrize("file_format", FORMATS)
def test_half_a_file_is_refused(file_format: str) -> None:
    content = encoded(on_paper(ink()), file_format)
    with pytest.raises(PictureError, match="damaged"):
        open_picture(content[: len(content) // 2])


def test_a_damaged_gif_is_refused() -> None:
    content = encoded(on_paper(ink()), "GIF")
    short_control_block = content.replace(b"\x2c", b"\x21\xf9\x01\x00\x00\x2c", 1)
    with pytest.raises(PictureError):
        preprocess(short_control_block[:60])


def test_invalid_exif_data_is_not_a_damaged_picture() -> None:
    content = encoded(on_paper(ink()))
    broken = content[:33] + png_chunk(b"eXIf", b"xx") + content[33:]
    assert np.array_equal(preprocess(broken).image, PLAIN)


@pytest.mark.parametrize(
    "content", [b"", b"7", b"a seven, in words", b"<svg/>", b"%PDF-1.7", encoded(on_paper(ink()), "TIFF")]
)
def test_a_file_in_another_format_is_refused(content: bytes) -> None:
    with pytest.raises(PictureError, match=f"{len(content)} bytes that are not a picture, expected PNG, JPEG"):
        open_picture(content)


@pytest.mark.parametrize(("width", "height"), [(7, 100), (100, 7), (5001, 5000), (10_000, 10_000), (100_000, 100_000)])
def test_too_few_or_too_many_pixels_are_refused_before_they_are_decoded(width: int, height: int) -> None:
    with pytest.raises(PictureError, match="pixels"):  # decoding would find no pixels and call it damaged
        open_picture(png_header(width, height))


@pytest.mark.parametrize("size", [(8, 25_000), (25_000, 8), (100, 2_001)])
def test_a_picture_far_longer_than_wide_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(PictureError, match="the longer one at most 20 times the shorter one"):
        preprocess(encoded(Image.new("L", size, 255)))


def test_a_jpeg_of_many_scans_is_refused_before_they_are_decoded() -> None:
    content = encoded(on_paper(ink()), "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    assert preprocess(content).image.any()
    with pytest.raises(PictureError, match=r"10\d scans, expected at most 50 scans"):
        preprocess(content[:-2] + content[last:-2] * 100 + content[-2:])


@pytest.mark.parametrize("name", [name for name in HOSTILE if "large" not in name and "scans" not in name])
def test_pillow_gets_no_metadata_of_a_hostile_file(name: str) -> None:
    content = HOSTILE[name]()
    if "refers" in name or "texts" in name:
        assert len(without_metadata(content).content) < 1000
    else:
        with pytest.raises(PictureError, match=f"more than {MAX_PARTS:,} parts|run-length encoded BMP of"):
            open_picture(content)


def test_a_large_picture_with_much_metadata_is_read() -> None:
    thumbnail = b"\xff\xe1" + struct.pack(">H", 65_000) + b"http://ns.adobe.com/xmp/extension/\0".ljust(64_998, b"\xff")
    content = encoded(on_paper(ink()), "JPEG", quality=95)
    assert difference(preprocess(after_start(content, thumbnail, 140)).image, PLAIN) < 2


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_truncated_file_is_read_or_refused(file_format: str) -> None:
    content = encoded(on_paper(ink()), file_format)
    for length in {*range(0, min(len(content), 2000), 7), len(content) - 1}:
        with contextlib.suppress(PictureError):
            open_picture(content[:length])


def test_a_large_picture_is_converted_in_strips_like_a_whole_one() -> None:
    picture = pattern(5_000_000, "RGB")
    whole = picture.reduce(picture.width // DECODED_SIDE).convert("L")
    assert np.array_equal(np.asarray(open_picture(encoded(picture))), np.asarray(whole))
