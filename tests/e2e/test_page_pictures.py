"""Picture files that the service does not take as they are, offered to the page in a real browser."""

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from serving.http.pages import LIMITS
from serving.http.parsing import MAX_BODY
from tests.e2e.page_actions import answer, offer, picture

PNG_PIXELS: Final = LIMITS["max_pixels"]["image/png"]


@pytest.fixture
def statuses(page: Page) -> list[int]:
    """Of the answers to pictures, in their order."""
    found: list[int] = []
    page.on("response", lambda response: found.append(response.status) if "/predict" in response.url else None)
    return found


def enlarged(digit: int, side: int) -> Image.Image:
    return Image.open(picture(digit)).convert("L").resize((side, side), Image.Resampling.NEAREST)


def service_says(page_url: str, path: Path, media_type: str = "image/png") -> str:
    """The code of its refusal."""
    request = urllib.request.Request(f"{page_url}/predict", path.read_bytes(), {"Content-Type": media_type})
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
def test_more_pixels_than_the_service_takes_are_sent_as_fewer(
    page: Page, page_url: str, large_png: Path, statuses: list[int], action: str
) -> None:
    assert service_says(page_url, large_png) == "picture_size"

    offer(page, action, large_png)

    expect(page.locator("#answer")).to_have_text("5")
    assert statuses == [200]


def test_more_bytes_than_the_service_takes_are_sent_as_fewer(page: Page, statuses: list[int], tmp_path: Path) -> None:
    side = 3500
    noise = np.random.default_rng(1).integers(0, 256, (side, side), np.uint8)
    noisy = np.where(np.asarray(enlarged(5, side)) < 128, noise // 4, 191 + noise // 4).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "noisy.png", compress_level=1)
    assert (tmp_path / "noisy.png").stat().st_size > 2_000_000

    with page.expect_request("**/predict?*") as request:
        page.locator("#file").set_input_files(tmp_path / "noisy.png")

    expect(page.locator("#answer")).to_have_text("5")
    assert len(request.value.post_data_buffer or b"") < MAX_BODY / 4
    assert statuses == [200]


def test_a_file_that_is_not_what_its_name_says_is_redrawn_once_it_is_refused(
    page: Page, page_url: str, large_png: Path, statuses: list[int]
) -> None:
    """JPEG may have more pixels: the page believes the name."""
    assert LIMITS["max_pixels"]["image/jpeg"] > 3800**2

    offer(page, "drop", large_png, "image/jpeg")

    expect(page.locator("#answer")).to_have_text("5")
    assert statuses == [422, 200]
    expect(page.locator("#notice")).to_be_hidden()


def test_a_proxy_that_takes_less_than_the_service_gets_less(page: Page, statuses: list[int], tmp_path: Path) -> None:
    most = 100_000

    def pass_on_what_is_small(route: Route) -> None:
        if len(route.request.post_data_buffer or b"") > most:
            route.fulfill(status=413, content_type="text/html", body="<h1>413 Request Entity Too Large</h1>")
        else:
            route.continue_()

    enlarged(5, 500).save(tmp_path / "five.bmp")
    assert (tmp_path / "five.bmp").stat().st_size > 2 * most
    page.route("**/predict?*", pass_on_what_is_small)
    offer(page, "drop", tmp_path / "five.bmp", "image/bmp")

    expect(page.locator("#answer")).to_have_text("5")
    assert statuses == [413, 200]


def test_a_picture_that_stays_too_large_for_a_proxy_is_said_to_be(page: Page, statuses: list[int]) -> None:
    page.route("**/predict?*", lambda route: route.fulfill(status=413, content_type="text/html", body="<h1>413</h1>"))

    offer(page, "drop", picture(5))

    expect(page.locator("#notice")).to_have_text("This picture is too large to be sent.")
    assert statuses == [413, 413]


def test_a_picture_that_is_too_narrow_is_named_with_the_services_limits(page: Page, tmp_path: Path) -> None:
    Image.new("L", (30 * LIMITS["max_aspect"], 20), 255).save(tmp_path / "narrow.png")

    offer(page, "drop", tmp_path / "narrow.png")

    expect(page.locator("#notice")).to_contain_text(f"at most {LIMITS['max_aspect']} times the shorter one")
    expect(page.locator("#notice")).to_contain_text(f"at least {LIMITS['min_side']} pixels")
    page.get_by_role("button", name="Undo").click()
    assert answer(page) == "Draw a digit"
