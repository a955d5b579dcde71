"""Letters from end to end: a folder of pictures becomes a data set, a model, a Bento and a page that reads letters."""

import json
import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from pipeline.data.own_source import folder_sha256
from serving.smoke_test import free_port, running_command, serve_command
from tests.e2e.page_actions import answer
from tests.support import project_clone
from tests.support.browser import draw, pad
from tests.support.made_letters import write_letters
from tests.support.project_clone import Clone

LETTERS = "LOTX"
VIEWPORTS = {"desktop": {"width": 1280, "height": 720}, "phone": {"width": 360, "height": 740}}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the pipeline has run on made letters, and their model has become champion."""
    clone = project_clone.copy(tmp_path_factory.mktemp("letters") / "clone")
    checksum = folder_sha256(write_letters(clone.folder / "letters", 80, letters=LETTERS))
    own = {"name": "letters", "source": "letters", "checksum": checksum, "preprocessing": "ink", "classes": None}
    clone.set("download", dataset="own", own=own | {"test_share": 0.2, "seed": 1})
    clone.set("train", cnn={"widths": [8, 16, 16], "dropout": 0.0}, epochs=25, batch=16)
    clone.set("score", pictures=5, corrupted=10, outliers=50)
    clone.set("promote", min_accuracy=0.0, max_refused=1.0)
    clone.environment["BENTOML_HOME"] = str(tmp_path_factory.mktemp("bentoml"))
    clone.commit()
    clone.check_output("dvc", "repro")
    clone.check_output("python", "-m", "pipeline.promotion.promote", "--exported")
    return clone


@pytest.fixture(scope="module")
def page_url(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page of the letters' Bento."""
    clone.check_output("python", "-m", "pipeline.packaging.bento")
    tag, port = (clone.folder / ".cache/bento").read_text(encoding="utf-8"), free_port()
    environment = os.environ | {"BENTOML_HOME": clone.environment["BENTOML_HOME"]}
    with running_command(serve_command(tag, port), port, tmp_path_factory.mktemp("log") / "log", environment) as url:
        yield url


def test_the_tables_and_the_model_card_have_the_letters(clone: Clone) -> None:
    counts = pd.read_csv(clone.folder / "artifacts/eda/label_counts.csv")
    card = (clone.folder / "artifacts/export/model_card.md").read_text(encoding="utf-8")

    assert counts["class"].tolist() == list(LETTERS)
    assert counts["train"].tolist() == [64] * len(LETTERS)
    assert "tells 4 classes apart in images of 28×28 pixels: L, O, T, X." in card
    assert "a 7 with a bar" not in card


@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_a_letter_that_is_drawn_on_the_page_is_the_answer(
    open_page: Callable[..., Page], page_url: str, viewport: str
) -> None:
    page = open_page(page_url, viewport=VIEWPORTS[viewport])
    assert answer(page) == "Draw one of these: L, O, T, X"
    for letter in LETTERS:
        draw(pad(page), letter)
        assert answer(page).rstrip("?") == letter
        expect(page.locator("#bars .best th")).to_have_text(letter)
        page.get_by_role("button", name="Clear").click()


@pytest.mark.parametrize("viewport", VIEWPORTS)
def test_no_text_of_the_page_is_about_digits(open_page: Callable[..., Page], page_url: str, viewport: str) -> None:
    page = open_page(page_url, viewport=VIEWPORTS[viewport])

    assert page.title() == page.locator("h1").text_content() == "Handwritten letters"
    expect(page.locator("#model")).to_have_text(re.compile("^letters:v1-"))
    expect(page.get_by_role("radio", name="Four boxes")).to_be_hidden()
    for text in (page.locator("body").inner_text(), page.locator("body").aria_snapshot()):
        assert "digit" not in text.lower()
    assert page.evaluate("document.documentElement.scrollWidth") <= VIEWPORTS[viewport]["width"]


def test_the_api_is_about_letters(page: Page, page_url: str) -> None:
    description: dict[str, Any] = json.loads(urllib.request.urlopen(f"{page_url}/docs.json").read())
    page.goto(f"{page_url}/docs")

    assert description["info"]["title"] == "Handwritten letters"
    expect(page.get_by_role("heading", name="Handwritten letters")).to_be_visible()
    expect(page.locator("#operations-letters-predict")).to_contain_text("a picture of one letter")
