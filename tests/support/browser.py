"""Chromium's flags, and digits drawn with the mouse on the service's page: shared by the page's tests and `docs`."""

from typing import Final

import numpy as np
from playwright.sync_api import Locator, Page, expect

from tests.support.stroke_templates import Points, fit, write

DISABLED: Final = ("background-networking", "component-update", "gpu", "quic", "sync")  # features of Chromium
CHROMIUM_FLAGS: Final = ["--no-sandbox", "--no-first-run", *(f"--disable-{feature}" for feature in DISABLED)]
HOST: Final = "digits.test"  # a name for the loopback address, which only the browser resolves
TIMEOUT: Final = 20_000  # milliseconds
NUMBER: Final = ((1, 0.08), (9, 0.24), (8, 0.42), (4, 0.6), (7, 0.8))  # digits, and their left edges in pad widths


def pad(page: Page, index: int = 0) -> Locator:
    """The canvas of a drawing pad."""
    return page.locator(".pad canvas").nth(index)


def stroke_paths(
    canvas: Locator,
    character: int | str,
    left: float | None = None,
    height: float = 0.7,
    hand: int | None = None,
) -> list[Points]:
    """The strokes of a digit or letter in pixels of the page: `height` pad heights tall, in the middle of the pad or
    `left` pad widths from its edge; as most people write it, or as the hand with this number does."""
    box = canvas.bounding_box()
    assert box is not None
    size = (0.7 * box["height"], height * box["height"])
    seed = ord(character) if isinstance(character, str) else character
    rng, template = (np.random.default_rng(seed), 0) if hand is None else (np.random.default_rng(hand), None)
    strokes = fit(write(character, rng, template), size)
    corner = (np.array([box["width"], box["height"]]) - np.vstack(strokes).max(axis=0)) / 2
    if left is not None:
        corner[0] = left * box["width"]
    return [np.vstack([stroke[::3], stroke[-1:]]) + corner + [box["x"], box["y"]] for stroke in strokes]


def draw(
    canvas: Locator,
    character: int | str,
    left: float | None = None,
    height: float = 0.7,
    hand: int | None = None,
) -> None:
    """Draw a digit or letter with the mouse, placed as in `stroke_paths`."""
    mouse = canvas.page.mouse
    for path in stroke_paths(canvas, character, left, height, hand):
        (x, y), *rest = path.tolist()
        mouse.move(x, y)
        mouse.down()
        for x, y in rest:
            mouse.move(x, y)
        mouse.up()


def wait_for_answer(page: Page) -> None:
    """Wait until the service has answered for everything that was drawn."""
    expect(page.locator("#panel")).to_have_attribute("aria-busy", "false", timeout=TIMEOUT)
