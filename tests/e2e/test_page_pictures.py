"""Picture files in a real browser: the page sends what the service accepts as it is, and redraws what it would refuse.

The page has the service's limits from `page/limits.js`, which the service generates from its constants.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from serving.http.limits import MAX_BODY
from serving.http.pages import LIMITS
from tests.e2e.page_actions import add_file, answer, picture

PNG_PIXELS: Final = LIMITS["max_pixels"]["image/png"]
RECORD: Final = """{
    const original = window.fetch;
    window.sent = [];
    window.fetch = (path, options) => {
        const { body } = options;
        if (body) sent.push({ kind: body instanceof File ? "original" : "redrawn", size: body.size });
        return original(path, options);
    };
}"""  # Playwright reports no size for a body that is a file


@pytest.fixture
def statuses(page: Page) -> list[int]:
    """The status codes of the answers to pictures, in order."""
    found: list[int] = []
    page.on("response", lambda response: found.append(response.status) if "/predict" in response.url else None)
    return found


def reload(page: Page, limits: dict[str, Any] | None = None) -> None:
    """Load the page again, with these limits in place of the service's, and record which files it sends."""
    if limits:
        body = f"export default {json.dumps(limits)};"
        page.route("**/page/limits.js", lambda route: route.fulfill(content_type="text/javascript", body=body))
    page.add_init_script(RECORD)
    page.reload()
    expect(page.locator("#model")).not_to_have_text("…")


def sent_kinds(page: Page) -> list[str]:
    return [file["kind"] for file in page.evaluate("sent")]


def enlarged(digit: int, side: int) -> Image.Image:
    return Image.open(picture(digit)).convert("L").resize((side, side), Image.Resampling.NEAREST)


def refusal_code(page_url: str, path: Path) -> str:
    """The error code with which the service refuses a PNG."""
    request = urllib.request.Request(f"{page_url}/predict", path.read_bytes(), {"Content-Type": "image/png"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=30)
    return str(json.load(caught.value)["code"])


@pytest.fixture
def large_png(tmp_path: Path) -> Path:
    """14 million pixels in less than 2 MB."""
    path = tmp_path / "five.png"
    enlarged(5, 3800).save(path)
    assert PNG_PIXELS < 3800**2
    assert path.stat().st_size < 2_000_000
    return path


@pytest.mark.parametrize("action", ["drop", "paste"])
def test_more_pixels_than_the_service_accepts_are_sent_as_fewer(
    page: Page, page_url: str, large_png: Path, statuses: list[int], action: str
) -> None:
    assert refusal_code(page_url, large_png) == "picture_size"

    add_file(page, action, large_png)

    expect(page.locator("#answer")).to_have_text("5")
    assert statuses == [200]


def test_a_large_file_is_sent_as_a_smaller_one(page: Page, statuses: list[int], tmp_path: Path) -> None:
    side = 3500
    noise = np.random.default_rng(1).integers(0, 256, (side, side), np.uint8)
    noisy = np.where(np.asarray(enlarged(5, side)) < 128, noise // 4, 191 + noise // 4).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "noisy.png", compress_level=1)
    assert (tmp_path / "noisy.png").stat().st_size > 2_000_000

    reload(page)
    page.locator("#file").set_input_files(tmp_path / "noisy.png")

    expect(page.locator("#answer")).to_have_text("5")
    (sent,) = page.evaluate("sent")
    assert sent["kind"] == "redrawn"
    assert sent["size"] < MAX_BODY / 4
    assert statuses == [200]


def test_a_png_named_as_a_jpeg_is_redrawn_after_it_was_refused(
    page: Page, page_url: str, large_png: Path, statuses: list[int]
) -> None:
    """The page goes by the name, and a JPEG may have more pixels."""
    assert LIMITS["max_pixels"]["image/jpeg"] > 3800**2

    add_file(page, "drop", large_png, "image/jpeg")

    expect(page.locator("#answer")).to_have_text("5")
    assert statuses == [422, 200]
    expect(page.locator("#notice")).to_be_hidden()


def test_a_proxy_with_a_lower_limit_gets_a_smaller_file(page: Page, statuses: list[int], tmp_path: Path) -> None:
    enlarged(5, 500).save(tmp_path / "five.bmp")
    reload(page)
    refusal = {"status": 413, "content_type": "text/html", "body": "<h1>413 Request Entity Too Large</h1>"}
    page.route("**/predict?*", lambda route: route.fulfill(**refusal), times=1)
    add_file(page, "drop", tmp_path / "five.bmp", "image/bmp")

    expect(page.locator("#answer")).to_have_text("5")
    assert statuses == [413, 200]
    assert sent_kinds(page) == ["original", "redrawn"]
    original, redrawn = (file["size"] for file in page.evaluate("sent"))
    assert redrawn < original / 2


def test_a_picture_that_a_proxy_refuses_even_redrawn_gets_a_message(page: Page, statuses: list[int]) -> None:
    page.route("**/predict?*", lambda route: route.fulfill(status=413, content_type="text/html", body="<h1>413</h1>"))

    add_file(page, "drop", picture(5))

    expect(page.locator("#notice")).to_have_text("This picture is too large to send.")
    assert statuses == [413, 413]


def test_the_message_about_a_narrow_picture_quotes_the_services_limits(page: Page, tmp_path: Path) -> None:
    Image.new("L", (30 * LIMITS["max_aspect"], 20), 255).save(tmp_path / "narrow.png")

    add_file(page, "drop", tmp_path / "narrow.png")

    expect(page.locator("#notice")).to_contain_text(f"at most {LIMITS['max_aspect']} times the shorter one")
    expect(page.locator("#notice")).to_contain_text(f"at least {LIMITS['min_side']} pixels")
    page.get_by_role("button", name="Undo").click()
    assert answer(page) == "Draw a digit"


@pytest.mark.parametrize(("rows", "sent"), [(0, "original"), (1, "redrawn")], ids=["at the limit", "above it"])
@pytest.mark.parametrize(("media_type", "max_pixels"), LIMITS["max_pixels"].items())
def test_a_picture_of_each_type_is_redrawn_above_the_services_limit_on_pixels_and_not_below(
    page: Page, statuses: list[int], tmp_path: Path, media_type: str, max_pixels: int, rows: int, sent: str
) -> None:
    width = 5000
    paper = Image.new("L", (width, max_pixels // width + rows), 255)
    paper.paste(enlarged(5, 700), (1500, 150))
    path = tmp_path / media_type.replace("/", ".")
    options: dict[str, Any] = {"method": 0, "quality": 1} if media_type == "image/webp" else {}
    paper.convert("1" if media_type == "image/bmp" else "L").save(path, **options)
    assert path.stat().st_size < 2_000_000, "expected a file that is not redrawn for its bytes"

    reload(page)
    page.locator("#file").set_input_files(path)

    expect(page.locator("#answer")).to_have_text("5")
    assert sent_kinds(page) == [sent]
    assert statuses == [200]


SIDE: Final = 400  # pixels, of the picture for the tests below


@pytest.mark.parametrize(
    ("name", "limit", "sent"),
    [
        ("max_bytes", lambda size: size, "original"),
        ("max_bytes", lambda size: size - 1, "redrawn"),
        ("max_pixels", lambda size: {"image/png": SIDE**2}, "original"),
        ("max_pixels", lambda size: {"image/png": SIDE**2 - 1}, "redrawn"),
        ("max_pixels", lambda size: {"image/jpeg": SIDE**2}, "redrawn"),
    ],
    ids=["as many bytes", "one byte more", "as many pixels", "one pixel more", "another type"],
)
def test_the_page_follows_whatever_limits_the_service_names(
    page: Page, tmp_path: Path, name: str, limit: Callable[[int], Any], sent: str
) -> None:
    path = tmp_path / "five.png"
    enlarged(5, SIDE).save(path)

    reload(page, {**LIMITS, name: limit(path.stat().st_size)})
    page.locator("#file").set_input_files(path)

    expect(page.locator("#answer")).to_have_text("5")
    assert sent_kinds(page) == [sent]


def test_the_messages_follow_whatever_limits_the_service_names(page: Page, tmp_path: Path) -> None:
    Image.new("L", (30 * LIMITS["max_aspect"], 20), 255).save(tmp_path / "narrow.png")

    reload(page, {**LIMITS, "min_side": 123, "max_aspect": 45})
    page.locator("#file").set_input_files(tmp_path / "narrow.png")

    expect(page.locator("#notice")).to_contain_text("at least 123 pixels")
    expect(page.locator("#notice")).to_contain_text("at most 45 times the shorter one")
