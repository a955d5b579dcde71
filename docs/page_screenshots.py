"""Makes the README's pictures of the page: `python -m docs.page_screenshots`. Needs `chromium`; no network.

Reads    the page of the Bento that `make bento` built last.
Writes   docs/images/page-*.png.

The digits are drawn with the mouse, stroke by stroke, from the templates in `tests.support.stroke_templates`.
"""

import shutil
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from docs.screenshots import IMAGES
from serving.smoke_test import running
from tests.support.browser import CHROMIUM_FLAGS, NUMBER, draw, pad, wait_for_answer

PHONE: Final[ViewportSize] = {"width": 412, "height": 915}  # pixels
DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 720}


def save(page: Page, name: str, answer: str) -> None:
    wait_for_answer(page)
    expect(page.locator("#answer")).to_have_text(answer)
    page.mouse.move(0, 0)
    path = IMAGES / f"page-{name}.png"
    page.screenshot(path=path, animations="disabled")
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def take_screenshots(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    page.goto(url)
    draw(pad(page), 3)
    save(page, "phone", "3")
    page = browser.new_page(viewport=DESKTOP)
    page.goto(url)
    page.get_by_role("radio", name="Four boxes").check()
    for index, digit in enumerate((2, 0, 2, 6)):
        draw(pad(page, index), digit)
    save(page, "desktop", "2026")
    page = browser.new_page(viewport=DESKTOP, color_scheme="dark")
    page.goto(url)
    page.get_by_role("radio", name="A line").check()
    for digit, left in NUMBER:
        draw(pad(page), digit, left, height=0.42)
    save(page, "line", "19847")


def main() -> None:
    bento, log = Path(".cache/bento").read_text(), Path(".cache/service.log")
    with running(bento, log) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        take_screenshots(browser, url)


if __name__ == "__main__":
    main()
