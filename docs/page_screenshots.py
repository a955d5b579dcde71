"""Makes the README's pictures of the pages: `python -m docs.page_screenshots`. Needs `chromium`; no network.

Reads    the page of the Bento that `make bento` built last, and that of `make review`.
Writes   docs/images/page-*.png, docs/images/review.png.

The digits are drawn with the mouse, stroke by stroke, from the templates in `tests.support.stroke_templates`.
"""

import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from docs.screenshots import IMAGES
from pipeline.review.server import HOST, ReviewServer
from serving.smoke_test import free_port, running, running_command, serve_command
from tests.support.browser import CHROMIUM_FLAGS, NUMBER, draw, pad, wait_for_answer

PHONE: Final[ViewportSize] = {"width": 412, "height": 915}  # pixels
DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 720}


def save(page: Page, name: str, answer: str) -> None:
    wait_for_answer(page)
    expect(page.locator("#answer")).to_have_text(answer)
    page.mouse.move(0, 0)
    take(page, f"page-{name}.png")


def take(page: Page, name: str) -> None:
    path = IMAGES / name
    page.screenshot(path=path, animations="disabled", full_page=True)
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


def take_screenshots_of_corrections(browser: Browser, url: str, inbox: Path) -> None:
    """A 7 that was meant as a 1 is put right by a touch; then it waits for its review."""
    page = browser.new_page(viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    page.goto(url)
    draw(pad(page), 7)
    wait_for_answer(page)
    page.locator("#labels [value='1']").click()
    expect(page.locator("#correction-result")).to_contain_text("Stored as")
    take(page, "page-correction.png")
    with ReviewServer(inbox, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        page = browser.new_page(viewport=DESKTOP)
        page.goto(f"http://{HOST}:{server.server_address[1]}/")
        expect(page.locator("#progress")).to_have_text("1 of 1, 0 decided")
        take(page, "review.png")
        server.shutdown()
        thread.join()


def main() -> None:
    bento, log, port = Path(".cache/bento").read_text(), Path(".cache/service.log"), free_port()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as inbox:

        def launch() -> Browser:
            return playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)

        with running(bento, log) as url:
            take_screenshots(launch(), url)
        with running_command(serve_command(bento, port), port, log, os.environ | {"CORRECTIONS": inbox}) as url:
            take_screenshots_of_corrections(launch(), url, Path(inbox))


if __name__ == "__main__":
    main()
