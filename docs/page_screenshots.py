"""Makes the README's pictures of the page: `python -m docs.page_screenshots`. Needs `chromium`; no network.

Reads    the page of the Bento that `make bento` built last.
Writes   docs/images/page-*.png.

The digits are drawn by the pointer, stroke by stroke, from the templates in
`tests.support.stroke_templates`.
"""

import shutil
from pathlib import Path
from typing import Final

import numpy as np
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect, sync_playwright

from docs.screenshots import IMAGES, SWITCHES
from serving.smoke_test import running
from tests.support.stroke_templates import Points, fit, write

PHONE: Final[ViewportSize] = {"width": 412, "height": 915}  # pixels
DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 720}
LINE: Final = ((1, 0.08), (9, 0.24), (8, 0.42), (4, 0.6), (7, 0.8))  # digits, and their left edge in sheet widths
PATIENCE: Final = 20_000  # milliseconds


def sheet(page: Page, number: int = 0) -> Locator:
    return page.locator(".sheet canvas").nth(number)


def lines(canvas: Locator, digit: int, left: float | None = None, height: float = 0.7) -> list[Points]:
    """The strokes of a digit in pixels of the page: `height` sheet heights tall, in the sheet's middle or `left` sheet
    widths from its edge."""
    box = canvas.bounding_box()
    assert box is not None
    size = (0.7 * box["height"], height * box["height"])
    strokes = fit(write(digit, np.random.default_rng(digit), template=0), size)
    corner = (np.array([box["width"], box["height"]]) - np.vstack(strokes).max(axis=0)) / 2
    if left is not None:
        corner[0] = left * box["width"]
    return [np.vstack([stroke[::3], stroke[-1:]]) + corner + [box["x"], box["y"]] for stroke in strokes]


def draw(canvas: Locator, digit: int, left: float | None = None, height: float = 0.7) -> None:
    """Write a digit with the mouse."""
    mouse = canvas.page.mouse
    for line in lines(canvas, digit, left, height):
        (x, y), *rest = line.tolist()
        mouse.move(x, y)
        mouse.down()
        for x, y in rest:
            mouse.move(x, y)
        mouse.up()


def settle(page: Page) -> None:
    """Wait until everything that was drawn is answered."""
    expect(page.locator("#panel")).to_have_attribute("aria-busy", "false", timeout=PATIENCE)


def save(page: Page, name: str, answer: str) -> None:
    settle(page)
    expect(page.locator("#answer")).to_have_text(answer)
    page.mouse.move(0, 0)
    path = IMAGES / f"page-{name}.png"
    page.screenshot(path=path, animations="disabled")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def photograph(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    page.goto(url)
    draw(sheet(page), 3)
    save(page, "phone", "3")
    page = browser.new_page(viewport=DESKTOP)
    page.goto(url)
    page.get_by_role("radio", name="Four boxes").check()
    for number, digit in enumerate((2, 0, 2, 6)):
        draw(sheet(page, number), digit)
    save(page, "desktop", "2026")
    page = browser.new_page(viewport=DESKTOP, color_scheme="dark")
    page.goto(url)
    page.get_by_role("radio", name="A line").check()
    for digit, left in LINE:
        draw(sheet(page), digit, left, height=0.42)
    save(page, "line", "19847")


def main() -> None:
    bento, log = Path(".cache/bento").read_text(), Path(".cache/service.log")
    with running(bento, log) as url, sync_playwright() as pilot:
        photograph(pilot.chromium.launch(executable_path=shutil.which("chromium"), args=SWITCHES), url)


if __name__ == "__main__":
    main()
