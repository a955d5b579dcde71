"""Pictures that once ended in a traceback or in the wrong image."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from pipeline.core.errors import PictureError
from pipeline.data.image import canonical, normalised, open_picture
from tests.test_image import PLAIN, difference, encoded, ink, page


@pytest.mark.parametrize("size", [(8, 25_000), (25_000, 8), (100, 2_001)])
def test_a_thread_of_a_picture_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(PictureError, match="the longer one at most 20 times the shorter one"):
        canonical(encoded(Image.new("L", size, 255)))


def test_a_grid_of_dots_is_no_digit() -> None:
    paper = np.full((512, 512), 255, np.uint8)
    paper[15::30, 15::30] = 0

    with pytest.raises(PictureError, match="nothing on it"):
        canonical(encoded(paper))


def test_no_ink_is_no_digit() -> None:
    with pytest.raises(PictureError, match="nothing on it"):
        normalised(np.zeros((20, 20), np.uint8))


def test_a_small_digit_on_a_large_page_is_found() -> None:
    paper = np.full((500, 500), 255, np.uint8)
    paper[300:332, 100:132] = np.asarray(Image.fromarray(page(ink())[30:150, 50:170]).resize((32, 32)))

    assert difference(canonical(encoded(paper)), PLAIN) < 20


def test_a_window_with_round_transparent_corners_keeps_its_paper() -> None:
    picture = Image.fromarray(page(ink())).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 10, 10))

    assert difference(canonical(encoded(picture)), PLAIN) == 0


def test_faint_white_ink_on_nothing_is_seen() -> None:
    alpha = (ink() * 120).astype(np.uint8)
    picture = Image.merge("LA", (Image.new("L", (200, 200), 255), Image.fromarray(alpha)))

    assert difference(canonical(encoded(picture)), PLAIN) < 3


def test_exif_with_rubbish_in_another_field_still_turns_the_picture() -> None:
    orientation = struct.pack("<HHII", ExifTags.Base.Orientation, 3, 1, 6)
    resolution = struct.pack("<HHI4s", ExifTags.Base.XResolution, 2, 4, b"72\0\0")  # a text, not a fraction
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + orientation + resolution + bytes(4)
    stored = Image.fromarray(page(ink())).transpose(Image.Transpose.ROTATE_90)

    assert difference(canonical(encoded(stored, "PNG", exif=exif)), PLAIN) == 0


def test_exif_that_is_none_is_a_damaged_picture() -> None:
    content = encoded(page(ink()))
    chunk = b"eXIfxx"
    broken = content[:33] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[33:]

    with pytest.raises(PictureError, match="damaged"):
        open_picture(broken)


def test_the_first_view_of_a_phones_mpo_is_read() -> None:
    first, second = (Image.fromarray(page(ink(digit))).convert("RGB") for digit in (5, 2))
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second])

    assert difference(canonical(buffer.getvalue()), PLAIN) < 3


def test_a_jpeg_of_many_scans_is_refused_before_they_are_decoded() -> None:
    buffer = io.BytesIO()
    Image.fromarray(page(ink())).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content.rindex(b"\xff\xda")
    usual, endless = content, content[:-2] + content[last:-2] * 100 + content[-2:]

    assert canonical(usual).any()
    with pytest.raises(PictureError, match=r"10\d scans, expected at most 50 scans"):
        canonical(endless)


def test_a_damaged_gif_is_refused() -> None:
    content = encoded(page(ink()), "GIF")
    short_control_block = content.replace(b"\x2c", b"\x21\xf9\x01\x00\x00\x2c", 1)

    with pytest.raises(PictureError):
        canonical(short_control_block[:60])
