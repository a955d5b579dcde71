"""The page's layout in a real browser: in low windows and with forced colours."""

import io
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import FloatRect, Locator, Page

from tests.e2e.page_actions import refused
from tests.support.browser import NUMBER, draw, pad, wait_for_answer

TOUCH: Final = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2}
LOW: Final[dict[str, dict[str, Any]]] = {
    "1280×800 at 200 %": {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},
    "1280×800 at 150 %": {"viewport": {"width": 853, "height": 533}},
    "a phone on its side": {"viewport": {"width": 844, "height": 390}, **TOUCH},
    "a small phone on its side": {"viewport": {"width": 667, "height": 375}, **TOUCH},
    "a low window": {"viewport": {"width": 1280, "height": 600}},
}
REFUSALS: Final[dict[str, dict[str, Any]]] = {
    "a phone": {"viewport": {"width": 360, "height": 740}, **TOUCH},
    "a low phone": {"viewport": {"width": 360, "height": 640}, **TOUCH},
    "a desktop": {"viewport": {"width": 1280, "height": 720}},
    "a phone on its side": LOW["a phone on its side"],
}
MODES: Final = ("One digit", "Four boxes", "A line")
SHADES: Final = 60  # of 255; a smaller difference does not count as visible

INK_COLOUR: Final = """async canvas => {
    for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame); // the page has been painted again
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const first = data.findIndex((value, index) => index % 4 === 3 && value === 255) - 3;
    return `rgb(${data.slice(first, first + 3).join(", ")})`;
}"""


def write_number(page: Page, mode: str) -> None:
    """Select the mode and draw as many digits as it has room for."""
    page.get_by_role("radio", name=mode).check()
    if mode == "One digit":
        draw(pad(page), 3)
    elif mode == "Four boxes":
        for index, digit in enumerate((2, 0, 2, 6)):
            draw(pad(page, index), digit)
    else:
        for digit, left in NUMBER:
            draw(pad(page), digit, left, height=0.42)
    wait_for_answer(page)


def box_of(locator: Locator) -> FloatRect:
    box = locator.bounding_box()
    assert box is not None, locator
    return box


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("window", LOW)
def test_drawing_and_answer_are_in_view_side_by_side(
    open_page: Callable[..., Page], page_url: str, window: str, mode: str
) -> None:
    page = open_page(page_url, **LOW[window])
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
def test_on_a_phone_on_its_side_controls_are_at_least_44_pixels_large(
    open_page: Callable[..., Page], page_url: str, mode: str
) -> None:
    page = open_page(page_url, **LOW["a small phone on its side"])
    write_number(page, mode)

    for control in page.locator("button:visible, #modes label, #pen input").all():
        box = box_of(control)
        assert min(box["width"], box["height"]) >= 44, control


def pixels(locator: Locator) -> npt.NDArray[np.int64]:
    """`(H, W, 3)`, 0 to 255."""
    shot = locator.screenshot(animations="disabled")
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(np.int64)


def visible_share(locator: Locator, page: Page) -> float:
    """The share of an element's pixels that differ from the page's background."""
    background = [
        int(part) for part in page.evaluate("getComputedStyle(document.body).backgroundColor")[4:-1].split(",")
    ]
    return float((np.abs(pixels(locator) - background).max(axis=2) > SHADES).mean())


@pytest.fixture(params=["light", "dark"])
def forced(request: pytest.FixtureRequest, open_page: Callable[..., Page], page_url: str) -> Page:
    """The page as under a contrast theme of Windows."""
    return open_page(page_url, forced_colors="active", color_scheme=request.param, reduced_motion="reduce")


def test_with_forced_colours_the_selected_mode_is_visible(forced: Page) -> None:
    for selected in MODES:
        forced.get_by_role("radio", name=selected).check()
        shares = {mode: visible_share(forced.locator("#modes label", has_text=mode), forced) for mode in MODES}
        assert shares.pop(selected) > 0.5
        assert max(shares.values()) < 0.3


def test_with_forced_colours_the_bars_are_visible(forced: Page) -> None:
    draw(pad(forced), 3)
    wait_for_answer(forced)

    best = visible_share(forced.locator("#bars .best .bar"), forced)
    others = [visible_share(bar, forced) for bar in forced.locator("#bars tr:not(.best) .bar").all()]

    assert best > 0.8
    assert 0 < min(others) <= max(others) < 0.5


def test_with_forced_colours_the_pens_slider_is_visible_and_moves(forced: Page) -> None:
    slider = forced.locator("#pen input")
    before = pixels(slider)
    assert visible_share(slider, forced) > 0.05

    for _ in range(4):
        forced.keyboard.press("]")

    moved = (np.abs(pixels(slider) - before).max(axis=2) > SHADES).sum()
    assert moved > 100, "expected the thumb at another place"


def test_with_forced_colours_ink_is_visible(forced: Page) -> None:
    draw(pad(forced), 3)

    assert visible_share(pad(forced), forced) > 0.03


def test_ink_changes_colour_when_colours_are_forced_while_the_page_is_open(
    open_page: Callable[..., Page], page_url: str
) -> None:
    page = open_page(page_url, color_scheme="dark")
    draw(pad(page), 3)
    own = pad(page).evaluate(INK_COLOUR)

    page.emulate_media(color_scheme="dark", forced_colors="active")

    assert pad(page).evaluate(INK_COLOUR) == page.evaluate("getComputedStyle(document.body).color") != own


def test_with_forced_colours_the_selected_box_and_tile_are_outlined(forced: Page) -> None:
    write_number(forced, "Four boxes")
    outline = """element => {
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        return outlineStyle === "none" ? 0 : parseFloat(outlineWidth);
    }"""

    for selected, other in (
        (".pad.selected", ".pad:not(.selected)"),
        ("#tiles [aria-pressed=true]", "#tiles [aria-pressed=false]"),
    ):
        assert forced.locator(selected).evaluate(outline) >= 2
        assert forced.locator(other).first.evaluate(outline) == 0


@pytest.mark.parametrize("window", ["a phone", "a desktop"])
def test_a_refusal_takes_the_place_of_the_answer_and_moves_nothing(
    open_page: Callable[..., Page], page_url: str, window: str
) -> None:
    page = open_page(page_url, **REFUSALS[window])
    draw(pad(page), 3)
    wait_for_answer(page)
    before = [box_of(page.locator(part)) for part in ("#seen", "#bars")]

    model = page.locator("#model").inner_text()
    page.route("**/predict?*", lambda route: route.fulfill(json={"model": model, **refused("not_a_digit")}))
    draw(pad(page), 3)
    wait_for_answer(page)

    assert [box_of(page.locator(part)) for part in ("#seen", "#bars")] == before


@pytest.mark.parametrize("window", REFUSALS)
def test_the_button_for_several_digits_is_large_enough_and_beside_the_bars(
    open_page: Callable[..., Page], page_url: str, window: str
) -> None:
    page = open_page(page_url, **REFUSALS[window])
    model = page.locator("#model").inner_text()
    page.route("**/predict?*", lambda route: route.fulfill(json={"model": model, **refused("several_digits")}))
    draw(pad(page), 3)
    wait_for_answer(page)

    button, bars = box_of(page.get_by_role("button", name="Read as a line")), box_of(page.locator("#bars"))
    assert min(button["width"], button["height"]) >= 44
    assert button["x"] + button["width"] <= bars["x"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
