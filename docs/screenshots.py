"""Takes the README's screenshots of MLflow: `python -m docs.screenshots`. Needs `chromium`; no network; two minutes.

Reads    the files of the repository, which it copies to a temporary folder.
Writes   docs/images/mlflow-*.png.

Two experiments on the embedded digits run in the copy, and are then compared in `make ui` with the clicks of a user.
A click that no longer finds its button is an error: MLflow's pages change from version to version. MLflow derives the
colour of a run from its id: where two colours are alike, run it again.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from playwright.sync_api import Locator, Page, expect, sync_playwright

from tests.support import project_clone
from tests.support.browser import CHROMIUM_FLAGS

IMAGES: Final = project_clone.ROOT / "docs" / "images"
RATES: Final = {"rate-0.1": 0.1, "rate-0.001": 0.001}  # learning rates by the name of the experiment
WIDTH: Final = 1600  # pixels


def two_experiments(folder: str) -> project_clone.Clone:
    """A copy of the repository with two experiments, one for each learning rate, in its own MLflow store."""
    clone = project_clone.copy(Path(folder))
    clone.set("download", dataset="digits")
    clone.set("train", batch=64, epochs=15)
    clone.commit()
    for name, rate in RATES.items():
        print(f"running experiment {name}", flush=True)
        clone.check_output("dvc", "exp", "run", "--name", name, "--set-param", f"train.optimizer.learning_rate={rate}")
        clone.check_output("python", "-m", "pipeline.promotion.promote", "--exit-zero")
    return clone


@contextmanager
def mlflow_ui(clone: project_clone.Clone) -> Iterator[str]:
    """The URL of the server that `make ui` starts on a free port; it is killed at the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    # -o: the copy has no .venv of its own; the one that runs this script comes first in its PATH.
    command = ["make", "-o", ".venv/locked", "ui", f"PORT={url.rpartition(':')[2]}"]
    output = clone.folder / "ui.log"
    with output.open("w") as log:
        server = subprocess.Popen(
            command, cwd=clone.folder, env=clone.environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 90
        while server.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2):
                break
            time.sleep(0.2)
        else:
            raise SystemExit(f"error: expected `make ui` to answer at {url}, got:\n{output.read_text()}")
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def address(clone: project_clone.Clone) -> str:
    """The address that `make ui` has printed."""
    found = re.search(r"http\S+", (clone.folder / "ui.log").read_text())
    assert found, "expected an address"
    return found[0]


def save(page: Page, path: Path, height: int) -> None:
    """Take a screenshot of the top `height` pixels of the page."""
    page.screenshot(path=path, animations="disabled", clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    assert path.stat().st_size < 300_000, "expected less than 300 kB, to be kept in git"


def row(page: Page, run: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=run, exact=True))


def show_runs(page: Page, folder: Path) -> None:
    """The experiment's runs, at the address that `make ui` prints, with parents open."""
    page.get_by_role("button", name="Close").last.click()  # the assistant, which MLflow opens at the first visit
    for run in RATES:
        row(page, run).get_by_role("button").first.click()
    expect(page.get_by_role("link", name="train", exact=True)).to_have_count(len(RATES))
    for column in ("test_accuracy", "seconds"):
        expect(page.locator(f".ag-header-cell[col-id*='{column}']")).to_be_visible()
    page.get_by_role("heading", name="Runs").click()  # leave the table, which frames the cell that was clicked last
    save(page, folder / "mlflow-runs.png", 620)


def compare(page: Page, folder: Path) -> None:
    """Tick the two parents, press Compare: first what differs, then the curves of the losses."""
    for run in RATES:
        row(page, run).get_by_role("button").first.click()  # closed: an open parent's box ticks its stages too
        row(page, run).get_by_role("checkbox").first.click()
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="Visualizations").click()
    for section in ("Parameters", "Metrics"):
        page.get_by_role("switch", name=section).click()
    page.get_by_role("grid").last.hover()
    for pixels in (361, -1):  # in MLflow 3.17 the names lag one turn of the wheel behind their values
        page.mouse.wheel(0, pixels)
        page.wait_for_timeout(300)
    save(page, folder / "mlflow-compare-params.png", 1030)
    curve = page.get_by_role("link", name="train_loss", exact=True)
    for _ in range(50):  # the table holds the rows alone that are in sight
        if curve.count():
            break
        page.mouse.wheel(0, 150)
        page.wait_for_timeout(200)
    curve.dispatch_event("click")  # rows lag behind the wheel, and one can be in front of another
    page.get_by_role("combobox").click()
    for key in ("ArrowUp", "Enter", "Escape"):  # from the first option round to the last, validation_loss
        page.keyboard.press(key)
    page.get_by_role("switch").last.click()  # logarithmic
    expect(page.locator(".ytick").get_by_text("0.1", exact=True)).to_be_visible()
    save(page, folder / "mlflow-compare.png", 900)


def show_model(page: Page, folder: Path) -> None:
    page.get_by_role("button", name="Model training").click()  # the page of a curve shows MLflow's GenAI half
    page.get_by_role("link", name="Model registry").click()
    page.get_by_role("button", name="Try it now").click()  # the welcome at the first visit
    page.get_by_role("link", name="digits", exact=True).click()
    expect(page.get_by_text("@ champion")).to_be_visible()
    save(page, folder / "mlflow-model.png", 676)


def main(images: Path = IMAGES) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, ExitStack() as stack:
        clone = two_experiments(folder)
        stack.enter_context(mlflow_ui(clone))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": 1200})
        page.goto(address(clone))
        show_runs(page, images)
        compare(page, images)
        show_model(page, images)


if __name__ == "__main__":
    main()
