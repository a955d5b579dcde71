"""Makes the README's pictures of the page: `python -m docs.page_screenshots [URL]`. Needs `chromium`; no network.

Reads    the page at URL, such as a Bento's; without it, that of a service which is started on the exported model.
Writes   docs/images/page-*.png.

The digits are drawn by the pointer, stroke by stroke, as the project's synthetic hand writes them (`tests.strokes`).
"""

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Final

import numpy as np
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect, sync_playwright

from docs.screenshots import IMAGES, SWITCHES
from tests.strokes import Points, fit, write
from tests.workplace import ROOT

PHONE: Final[ViewportSize] = {"width": 390, "height": 844}  # pixels
DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 800}
LINE: Final = ((1, 0.08), (9, 0.24), (8, 0.42), (4, 0.6), (7, 0.8))  # digits, and their left edge in sheet widths
PATIENCE: Final = 20_000  # milliseconds


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def service(port: int, arguments: Sequence[str] = ("-m", "tests.service")) -> Iterator[str]:
    """The address of a service that `python <arguments> <port>` starts, until it is ended."""
    server = subprocess.Popen([sys.executable, *arguments, str(port)], cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while server.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{url}/model", timeout=2):
                break
            time.sleep(0.1)
        else:
            raise SystemExit(f"error: expected the service to answer at {url}")
        yield url
    finally:
        server.kill()
        server.wait()


def sheet(page: Page, number: int = 0) -> Locator:
    return page.locator(".sheet canvas").nth(number)


def lines(canvas: Locator, digit: int, left: float | None = None, height: float = 0.7) -> list[Points]:
    """The strokes of a digit in pixels of the page: `height` sheet heights tall, in the sheet's middle or `left` sheet
    widths from its edge."""
    box = canvas.bounding_box()
    assert box is not None
    size = (0.7 * box["height"], height * box["height"])
    strokes = fit(write(digit, np.random.default_rng(digit), form=0), size)
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
    place = nullcontext(sys.argv[1]) if len(sys.argv) > 1 else service(free_port())
    with place as url, sync_playwright() as pilot:
        photograph(pilot.chromium.launch(executable_path=shutil.which("chromium"), args=SWITCHES), url)


if __name__ == "__main__":
    main()
