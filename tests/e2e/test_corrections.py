"""The whole loop as people see it: a digit that is read wrongly is corrected on the page by one touch, kept in the
review by one key, and trained with; the new model reads it, and promotion decides."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pipeline.core.files import read_json
from pipeline.data.corrections import NONE, read
from serving.model import Model
from serving.smoke_test import free_port, running_command, serve_command, wait_until_ready
from tests.e2e.page_actions import answer
from tests.support.browser import draw, pad, wait_for_answer
from tests.support.corrections import correcting_client, promote, repro, small_champion
from tests.support.project_clone import Clone
from tests.support.sample_requests import PNG

WRONG = 6  # digits that are corrected
HANDS = 200  # at most, that draw until so many have been read wrongly


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("corrections")
    clone = small_champion(folder / "clone", epochs=4)
    clone.environment["BENTOML_HOME"] = str(folder / "bentoml")
    clone.check_output("python", "-m", "pipeline.packaging.bento")
    return clone


@pytest.fixture(scope="module")
def inbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inbox") / "corrections"


@pytest.fixture(scope="module")
def page_url(clone: Clone, inbox: Path) -> Iterator[str]:
    """The champion's service, which stores corrections."""
    port, bento = free_port(), (clone.folder / ".cache/bento").read_text()
    environment = clone.environment | {"CORRECTIONS": str(inbox)}
    with running_command(serve_command(bento, port), port, inbox.with_suffix(".log"), environment) as url:
        yield url


def label(page: Page, value: object) -> None:
    """Touch what the digit is, and wait until that is stored."""
    page.locator(f"#labels [value='{value}']").click()
    expect(page.locator("#correction-result")).to_contain_text("Stored as")


def stored(inbox: Path) -> list[Path]:
    return sorted(path for path in inbox.iterdir() if not path.name.startswith("."))


def test_the_page_says_what_a_touch_stores_and_stores_it(page: Page, inbox: Path) -> None:
    expect(page.locator("#correction")).to_be_hidden()  # nothing is drawn
    draw(pad(page), 4)
    wait_for_answer(page)
    note = page.get_by_role("group", name="Touch what it is").locator("#correction-note")
    expect(note).to_contain_text("A touch stores your drawing or picture")
    expect(note).to_contain_text("No name, address or cookie is stored.")
    answered = read_answer(page)
    expect(page.locator(f"#labels [value='{answered}']")).to_be_disabled()

    first, second, *_ = touchable(page)
    label(page, first)
    expect(page.locator("#labels [aria-pressed=true]")).to_have_text(first)
    label(page, second)

    items = stored(inbox)
    assert [read_json(item / "correction.json")["label"] for item in items] == [first, second]
    assert (items[0] / "seen.png").read_bytes() == (items[1] / "seen.png").read_bytes()
    page.keyboard.press("Delete")
    expect(page.locator("#correction")).to_be_hidden()
    for item in items:
        shutil.rmtree(item)


def read_answer(page: Page) -> str:
    """The label of what is answered."""
    (value,) = [button.get_attribute("value") for button in page.locator("#labels button:disabled").all()]
    assert value is not None
    return value


def touchable(page: Page) -> list[str]:
    return [str(button.get_attribute("value")) for button in page.locator("#labels button:enabled").all()]


def test_a_digit_of_a_line_is_corrected_once_it_is_selected(page: Page, inbox: Path) -> None:
    page.get_by_role("radio", name="A line").check()
    for index, digit in enumerate([1, 8, 4]):
        draw(pad(page), digit, left=0.08 + 0.3 * index, height=0.45)
    wait_for_answer(page)
    tiles = page.locator("#tiles button")
    expect(tiles).not_to_have_count(0)
    tiles.last.click()
    count = tiles.count()

    label(page, NONE if read_answer(page) != NONE else "4")

    (item,) = stored(inbox)
    content = read_json(item / "correction.json")
    assert content["answer"]["box"]["left"] > 0.2 * (count - 1)
    tiles.first.click()
    if count > 1:
        expect(page.locator("#correction-result")).to_have_text("")
    shutil.rmtree(item)


def test_a_refusal_is_said_and_the_next_touch_tries_again(page: Page, inbox: Path) -> None:
    page.route(
        "**/corrections?*",
        lambda route: route.fulfill(status=429, json={"code": "too_many_corrections", "message": ""}),
    )
    draw(pad(page), 4)
    wait_for_answer(page)
    first, *_ = touchable(page)
    page.locator(f"#labels [value='{first}']").click()
    expect(page.locator("#correction-result")).to_have_text(
        "Not stored: too many corrections at once. Try again in a minute."
    )
    expect(page.locator("#labels [aria-pressed=true]")).to_have_count(0)

    page.unroute("**/corrections?*")
    label(page, first)

    (item,) = stored(inbox)
    shutil.rmtree(item)


@contextmanager
def review(clone: Clone, inbox: Path) -> Iterator[str]:
    """`make review` in the clone; yields the URL of its page."""
    port, log = free_port(), inbox.with_suffix(".review")
    command = ["python", "-m", "pipeline.review", str(inbox), "--port", str(port)]
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, cwd=clone.folder, env=clone.environment, stdout=output, stderr=output)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, log, "/")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_corrected_digits_are_reviewed_trained_with_and_read_by_the_next_model(
    page: Page, clone: Clone, inbox: Path, tmp_path: Path
) -> None:
    truth = []
    for hand in range(HANDS):
        digit = hand % 10
        draw(pad(page), digit, hand=hand)
        if answer(page).rstrip("?") != str(digit):
            label(page, digit)
            truth.append(str(digit))
        page.keyboard.press("Delete")
        if len(truth) == WRONG:
            break
    assert len(truth) == WRONG
    pictures = [(item / "picture.png").read_bytes() for item in stored(inbox)]

    with review(clone, inbox) as url:
        page.goto(url)
        expect(page.locator("#progress")).to_have_text(f"1 of {WRONG}, 0 decided")
        for key in ["x", "n", *(WRONG - 2) * "k"]:
            page.keyboard.press(key)
        page.get_by_role("button", name=f"Save {WRONG} decisions").click()
        expect(page.locator("#message")).to_contain_text(
            f"Kept {WRONG - 1} (1 relabelled), rejected 1.", timeout=120_000
        )
        expect(page.locator("#progress")).to_have_text("Nothing waits.")
    assert stored(inbox) == []
    labels = [one.label for one in read(clone.folder / "data/corrections")]
    assert sorted(labels) == sorted([NONE, *truth[2:]])
    assert "up to date" in clone.check_output("dvc", "status", "data.dvc")

    clone.set("normalise", corrections_share=0.95)
    clone.set("train", epochs=14)
    repro(clone)
    client = correcting_client(Model(clone.folder / "artifacts/export/model.onnx", "mnist:v2-test"), tmp_path / "none")
    answers = [client.post("/predict", content=picture, headers=PNG).json()["class"] for picture in pictures]
    right = sum(answer == digit for answer, digit in zip(answers, truth, strict=True))
    done = promote(clone)
    print(f"{right} of {WRONG} are read now", done.stdout, sep="\n")
    assert right > WRONG / 2
    assert "compared with the champion, version 1" in done.stdout
