"""Actions on the page and in Swagger UI, and what the page shows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from tests.support.browser import TIMEOUT, wait_for_answer
from tests.support.project_clone import ROOT

ADD_FILE: Final = """([action, name, type, bytes]) => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(bytes)], name, { type }));
    const options = { bubbles: true, cancelable: true };
    const target = document.querySelector(".pad canvas");
    if (action === "drop") target.dispatchEvent(new DragEvent("drop", { ...options, dataTransfer: files }));
    else target.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: files }));
}"""  # Playwright can neither drag nor copy a file from a file manager

SEEN: Final = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="  # of one pixel


def answer(page: Page) -> str:
    """The text in large type, once it is for the current drawing."""
    wait_for_answer(page)
    return page.locator("#answer").inner_text()


def best_two(page: Page) -> set[str]:
    """The names of the two most likely classes."""
    rows = page.locator("#bars tr").all()
    shares = {row.locator("th").inner_text(): float(row.locator(".value").inner_text().rstrip(" %")) for row in rows}
    return set(sorted(shares, key=lambda name: shares[name])[-2:])


def picture(digit: int) -> Path:
    """A file from `data/`."""
    return next((ROOT / "data" / str(digit)).glob("paint-*.png"))


def add_file(page: Page, action: str, path: Path, media_type: str = "image/png") -> None:
    """Drop or paste a file."""
    page.evaluate(ADD_FILE, [action, path.name, media_type, list(path.read_bytes())])


def refused(reason: str) -> dict[str, Any]:
    """An answer of `/predict` without a digit, but for its model; the sixth class is the closest."""
    shares = [0.7 if label == 6 else 0.3 / 9 for label in range(10)]
    none = dict.fromkeys(("digit", "class", "confidence"))
    return none | {"reason": reason, "digit_score": 0.02, "probabilities": shares, "seen": SEEN}


@contextmanager
def new_page(browser: Browser) -> Iterator[Page]:
    """A page in its own browser context."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    try:
        yield page
    finally:
        context.close()


def tab_to(page: Page, id: str) -> None:
    """Move the focus to an element with the Tab key."""
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == id:
            return
    pytest.fail(f"expected #{id} within 20 presses of Tab")


def execute(page: Page, operation: str, file: Path | None = None) -> Response:
    """Open an operation in Swagger UI and press "Try it out" and "Execute". Returns the response."""
    block = page.locator(f"#operations-digits-{operation}")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    if file:
        block.locator("input[type=file]").set_input_files(file)
    with page.expect_response(lambda response: response.request.method == "POST") as response:
        block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table .response-col_status").first).to_be_visible()
    return response.value
