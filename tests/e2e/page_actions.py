"""What tests do on the page, and what they read from it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, Response, expect

from docs.page_screenshots import PATIENCE, settle
from tests.support.project_clone import ROOT

OFFER: Final = """([action, name, type, bytes]) => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(bytes)], name, { type }));
    const about = { bubbles: true, cancelable: true };
    const target = document.querySelector(".sheet canvas");
    if (action === "drop") target.dispatchEvent(new DragEvent("drop", { ...about, dataTransfer: files }));
    else target.dispatchEvent(new ClipboardEvent("paste", { ...about, clipboardData: files }));
}"""  # files cannot be dragged out of a file manager here, nor copied out of one


def answer(page: Page) -> str:
    settle(page)
    return page.locator("#answer").inner_text()


def best_two(page: Page) -> set[str]:
    rows = page.locator("#bars tr").all()
    shares = {row.locator("th").inner_text(): float(row.locator(".value").inner_text().rstrip(" %")) for row in rows}
    return set(sorted(shares, key=lambda name: shares[name])[-2:])


def picture(digit: int) -> Path:
    return next((ROOT / "data" / str(digit)).glob("paint-*.png"))


def offer(page: Page, action: str, path: Path, media_type: str = "image/png") -> None:
    """Drop or paste a file."""
    page.evaluate(OFFER, [action, path.name, media_type, list(path.read_bytes())])


@contextmanager
def new_page(browser: Browser) -> Iterator[Page]:
    """A page in a context of its own."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    try:
        yield page
    finally:
        context.close()


def execute(page: Page, operation: str, file: Path | None = None) -> Response:
    """What Swagger gets where a person opens an operation, presses "Try it out" and then "Execute"."""
    block = page.locator(f"#operations-digits-{operation}")
    block.locator(".opblock-summary-control").click()
    block.get_by_role("button", name="Try it out").click()
    if file:
        block.locator("input[type=file]").set_input_files(file)
    with page.expect_response(lambda response: response.request.method == "POST") as response:
        block.get_by_role("button", name="Execute").click()
    expect(block.locator(".live-responses-table .response-col_status").first).to_be_visible()
    return response.value
