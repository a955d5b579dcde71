"""What a person sees on the page in a real browser: on low windows, with forced colours, and of a line's digits."""

import io
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import FloatRect, Locator, Page, Route, expect

from docs.page_screenshots import LINE, draw, settle, sheet

TOUCH: Final = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2}
LOW: Final[dict[str, dict[str, Any]]] = {
    "1280×800 at 200 %": {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},
    "1280×800 at 150 %": {"viewport": {"width": 853, "height": 533}},
    "a phone on its side": {"viewport": {"width": 844, "height": 390}, **TOUCH},
    "a small phone on its side": {"viewport": {"width": 667, "height": 375}, **TOUCH},
    "a low window": {"viewport": {"width": 1280, "height": 600}},
}
MODES: Final = ("One digit", "Four boxes", "A line")
SHADES: Final = 60  # of 255; a smaller difference does not count as seen

INK_COLOUR: Final = """async canvas => {
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame); // the page has been drawn anew
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const first = data.findIndex((value, index) => index % 4 === 3 && value === 255) - 3;
    return `rgb(${data.slice(first, first + 3).join(", ")})`;
}"""


def write_number(page: Page, mode: str) -> None:
    """Choose the mode and write what it has room for."""
    page.get_by_role("radio", name=mode).check()
    if mode == "One digit":
        draw(sheet(page), 3)
    elif mode == "Four boxes":
        for number, digit in enumerate((2, 0, 2, 6)):
            draw(sheet(page, number), digit)
    else:
        for digit, left in LINE:
            draw(sheet(page), digit, left, height=0.42)
    settle(page)


def box_of(locator: Locator) -> FloatRect:
    box = locator.bounding_box()
    assert box is not None, locator
    return box


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("window", LOW)
def test_drawing_and_answer_are_in_view_side_by_side(
    opened: Callable[..., Page], page_url: str, window: str, mode: str
) -> None:
    page = opened(page_url, **LOW[window])
    write_number(page, mode)
    width, height = (LOW[window]["viewport"][side] for side in ("width", "height"))

    assert page.evaluate("scrollY") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("#modes", ".mode", "#tools", "#answer", "#bars", "#tiles:not(:empty)"):
        for part in page.locator(name).all():
            box = box_of(part)
            assert box["x"] >= 0, name
            assert box["x"] + box["width"] <= width + 1, name
            assert box["y"] >= 0, name
            assert box["y"] + box["height"] <= height + 1, name
    drawing, panel = box_of(page.locator(".mode")), box_of(page.locator("#panel"))
    assert drawing["x"] + drawing["width"] <= panel["x"]
    assert panel["x"] + panel["width"] > width / 2, "expected the right half in use"
    assert drawing["height"] >= height / 3


@pytest.mark.parametrize("mode", MODES)
def test_on_a_phone_on_its_side_no_finger_has_to_be_thin(opened: Callable[..., Page], page_url: str, mode: str) -> None:
    page = opened(page_url, **LOW["a small phone on its side"])
    write_number(page, mode)

    for control in page.locator("button:visible, #modes label, #pen input").all():
        box = box_of(control)
        assert min(box["width"], box["height"]) >= 44, control


def pixels(locator: Locator) -> npt.NDArray[np.int64]:
    """`(H, W, 3)`, 0 to 255."""
    shot = locator.screenshot(animations="disabled")
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(np.int64)


def share_in_sight(locator: Locator, page: Page) -> float:
    """The share of an element's pixels that differ from the page's background."""
    background = [
        int(part) for part in page.evaluate("getComputedStyle(document.body).backgroundColor")[4:-1].split(",")
    ]
    return float((np.abs(pixels(locator) - background).max(axis=2) > SHADES).mean())


@pytest.fixture(params=["light", "dark"])
def forced(request: pytest.FixtureRequest, opened: Callable[..., Page], page_url: str) -> Page:
    """The page as with a contrast theme of Windows."""
    return opened(page_url, forced_colors="active", color_scheme=request.param, reduced_motion="reduce")


def test_with_forced_colours_the_chosen_mode_is_seen(forced: Page) -> None:
    for chosen in MODES:
        forced.get_by_role("radio", name=chosen).check()
        shares = {mode: share_in_sight(forced.locator("#modes label", has_text=mode), forced) for mode in MODES}
        assert shares.pop(chosen) > 0.5
        assert max(shares.values()) < 0.3


def test_with_forced_colours_the_bars_are_seen(forced: Page) -> None:
    draw(sheet(forced), 3)
    settle(forced)

    best = share_in_sight(forced.locator("#bars .best .bar"), forced)
    others = [share_in_sight(bar, forced) for bar in forced.locator("#bars tr:not(.best) .bar").all()]

    assert best > 0.8
    assert 0 < min(others) <= max(others) < 0.5


def test_with_forced_colours_the_pens_slider_is_seen_and_moves(forced: Page) -> None:
    slider = forced.locator("#pen input")
    before = pixels(slider)
    assert share_in_sight(slider, forced) > 0.05

    for _ in range(4):
        forced.keyboard.press("]")

    moved = (np.abs(pixels(slider) - before).max(axis=2) > SHADES).sum()
    assert moved > 100, "expected the thumb at another place"


def test_with_forced_colours_ink_is_seen(forced: Page) -> None:
    draw(sheet(forced), 3)

    assert share_in_sight(sheet(forced), forced) > 0.03


def test_ink_follows_when_colours_are_forced_while_the_page_is_open(opened: Callable[..., Page], page_url: str) -> None:
    page = opened(page_url, color_scheme="dark")
    draw(sheet(page), 3)
    own = sheet(page).evaluate(INK_COLOUR)

    page.emulate_media(color_scheme="dark", forced_colors="active")

    assert sheet(page).evaluate(INK_COLOUR) == page.evaluate("getComputedStyle(document.body).color") != own


def test_with_forced_colours_the_chosen_box_and_tile_are_seen(forced: Page) -> None:
    write_number(forced, "Four boxes")
    outline = """element => {
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        return outlineStyle === "none" ? 0 : parseFloat(outlineWidth);
    }"""

    for chosen, other in (
        (".sheet.current", ".sheet:not(.current)"),
        ("#tiles [aria-pressed=true]", "#tiles [aria-pressed=false]"),
    ):
        assert forced.locator(chosen).evaluate(outline) >= 2
        assert forced.locator(other).first.evaluate(outline) == 0


def judged(digit: int, confidence: float, left: float) -> dict[str, Any]:
    probabilities = [(1 - confidence) / 9] * 10
    probabilities[digit] = confidence
    return {
        "digit": digit,
        "class": str(digit),
        "confidence": confidence,
        "probabilities": probabilities,
        "box": {"left": left, "top": 0.2, "width": 0.2, "height": 0.5},
        "seen": "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=",
    }


def test_of_a_line_the_doubtful_digit_is_shown_in_full_until_a_person_chooses_another(page: Page) -> None:
    digits = [judged(4, 0.93, 0.1), judged(9, 0.41, 0.4), judged(7, 0.99, 0.7)]

    def reading(route: Route) -> None:
        model = page.locator("#model").inner_text()
        route.fulfill(json={"model": model, "is_blank": False, "text": "497", "digits": digits})

    page.route("**/read?*", reading)
    page.get_by_role("radio", name="A line").check()
    draw(sheet(page), 4, left=0.1, height=0.45)
    settle(page)
    expect(page.locator("#tiles [aria-pressed=true]")).to_contain_text("9")
    expect(page.locator("#bars .best th")).to_have_text("9")

    page.get_by_role("button", name="7 99 %").click()
    expect(page.locator("#bars .best th")).to_have_text("7")
    expect(page.locator("#tiles [aria-pressed=true]")).to_have_count(1)

    draw(sheet(page), 7, left=0.7, height=0.45)
    settle(page)
    expect(page.locator("#bars .best th")).to_have_text("9")


def test_of_four_boxes_the_one_written_last_is_shown_in_full(page: Page) -> None:
    page.get_by_role("radio", name="Four boxes").check()
    draw(sheet(page, 1), 6)
    settle(page)

    expect(page.get_by_role("button", name="Box 2", pressed=True)).to_be_visible()
    expect(page.locator("#bars .best th")).to_have_text("6")
