"""MLflow's UI in a browser, with the clicks of a user."""

import json
import shutil
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from docs import screenshots
from tests.support.browser import CHROMIUM_FLAGS
from tests.support.project_clone import Clone


def test_two_experiments_are_compared_with_a_few_clicks(tmp_path: Path) -> None:
    screenshots.main(tmp_path)

    assert {path.stem for path in tmp_path.glob("*.png")} == {
        "mlflow-runs", "mlflow-compare", "mlflow-compare-params", "mlflow-model"
    }  # fmt: skip


def test_the_page_of_a_run_shows_its_metrics_and_the_model_card(mnist: Clone) -> None:
    (parent,) = [run for run in mnist.parents() if run.info.run_name.startswith("mnist-")]
    accuracy = json.loads((mnist.folder / "artifacts/score/metrics.json").read_text())["test"]["accuracy"]

    with screenshots.mlflow_ui(mnist) as url, sync_playwright() as pilot:
        browser = pilot.chromium.launch(executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS)
        page = browser.new_page()
        page.goto(f"{url}/#/experiments/{parent.info.experiment_id}/runs/{parent.info.run_id}")

        expect(page.get_by_text("Model card: mnist")).to_be_visible()
        expect(page.get_by_text("test_accuracy", exact=True)).to_be_visible()
        expect(page.get_by_text(str(accuracy), exact=True).first).to_be_visible()
