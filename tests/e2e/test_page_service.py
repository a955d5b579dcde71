"""The page in a real browser while its service stops, is busy, or has a model of other classes than digits."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import pytest
from playwright.sync_api import Page, Route, expect

from serving.smoke_test import free_port, wait_until_ready
from tests.e2e.page_actions import answer
from tests.support.browser import draw, pad
from tests.support.project_clone import ROOT, Clone


@contextmanager
def serve(model: Path, port: int, log: Path) -> Iterator[str]:
    """Serve an ONNX file without BentoML, which makes starting and stopping faster. Yields the address."""
    with log.open("w") as output:
        command = [sys.executable, "-m", "tests.support.inprocess_service", str(model), str(port)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def model_file(mnist: Clone) -> Path:
    return mnist.folder / "artifacts/export/model.onnx"


def test_while_the_service_is_down_the_drawing_is_kept_and_it_is_read_afterwards(
    open_page: Callable[..., Page], model_file: Path, tmp_path: Path
) -> None:
    port = free_port()
    with serve(model_file, port, tmp_path / "log") as url:
        page = open_page(url)
    position = pad(page).bounding_box()
    draw(pad(page), 6)
    expect(page.locator("#notice")).to_contain_text("The service is not responding. Your drawing is kept")
    expect(page.locator("#panel")).to_have_attribute("aria-busy", "true")
    assert pad(page).bounding_box() == position, "expected a pad that does not move under the pen"

    with serve(model_file, port, tmp_path / "log"):
        assert answer(page) == "6"
        expect(page.locator("#notice")).to_be_hidden()


def test_a_request_to_a_busy_service_is_retried_without_a_message(page: Page) -> None:
    refusals = [{"code": "overloaded", "message": "try again in a second"}] * 2

    def refuse_twice(route: Route) -> None:
        if refusals:
            route.fulfill(status=429, headers={"Retry-After": "1"}, json=refusals.pop())
        else:
            route.continue_()

    page.route("**/predict?*", refuse_twice)
    page.evaluate("""() => {
        window.shown = 0;
        new MutationObserver(() => shown += !notice.hidden).observe(notice, { attributes: true });
    }""")
    draw(pad(page), 2)

    assert answer(page) == "2"
    assert not refusals
    assert page.evaluate("shown") == 0


def test_a_model_of_other_classes_is_shown_with_their_names_and_without_number_modes(
    open_page: Callable[..., Page], model_file: Path, tmp_path: Path
) -> None:
    clothes = [*"abcdefgh", "Bag", "Ankle boot"]
    network = onnx.load(model_file)
    for entry in network.metadata_props:
        if entry.key in ("classes", "dataset"):
            entry.value = {"classes": json.dumps(clothes), "dataset": "fashion_mnist"}[entry.key]
    onnx.save(network, tmp_path / "model.onnx")

    with serve(tmp_path / "model.onnx", free_port(), tmp_path / "log") as url:
        page = open_page(url)

        expect(page.locator("#answer")).to_contain_text("Ankle boot")
        expect(page.locator("#modes")).to_be_hidden()
        draw(pad(page), 9)
        assert answer(page) == "Ankle boot"
