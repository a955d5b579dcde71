"""The page of the served Bento in a real browser, as a person uses it: with a mouse, a finger, a file or the keyboard.

Where SERVICE_URL names a service that runs already, its page is tried.
"""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from playwright.sync_api import Page, Route, expect

from docs.page_screenshots import draw, lines, settle, sheet
from serving.smoke_test import free_port, wait_until_ready
from tests.e2e.page_actions import answer, best_two, offer, picture
from tests.support.project_clone import ROOT, Clone

PHONE = {"width": 360, "height": 740}
INK = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, index) => index % 4 === 3 && value > 127).length;
}"""  # pixels


@contextmanager
def alone(model: Path, port: int, log: Path) -> Iterator[str]:
    """The service without BentoML, which is gone and back in no time."""
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
def exported(mnist: Clone) -> Path:
    return mnist.folder / "artifacts/export/model.onnx"


def test_drawn_digits_are_read(page: Page) -> None:
    wrong = []
    for digit in range(10):
        draw(sheet(page), digit)
        if answer(page) != str(digit):
            wrong.append(digit)
            assert str(digit) in best_two(page), "expected a similar shape at worst"
        page.get_by_role("button", name="Clear").click()

    assert len(wrong) <= 1, f"read wrongly: {wrong}"


def test_the_answer_comes_while_the_pen_is_down(page: Page) -> None:
    (x, y), *rest = np.vstack(lines(sheet(page), 0)).tolist()
    page.mouse.move(x, y)
    page.mouse.down()
    for x, y in rest:
        page.mouse.move(x, y)

    expect(page.locator("#answer")).to_have_text("0")
    expect(page.get_by_alt_text("The picture that the model sees")).to_be_visible()


def test_never_more_than_one_request_is_in_flight_and_the_last_is_for_the_last_drawing(page: Page) -> None:
    in_flight: list[int] = [0]
    page.on("request", lambda request: in_flight.append(in_flight[-1] + 1))
    page.on("response", lambda response: in_flight.append(in_flight[-1] - 1))

    draw(sheet(page), 8)

    assert answer(page) == "8"
    assert max(in_flight) == 1


def test_a_finger_draws(opened: Callable[..., Page], page_url: str) -> None:
    page = opened(page_url, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=3)
    touch = page.context.new_cdp_session(page)
    for line in lines(sheet(page), 3):
        for kind, (x, y) in zip(["touchStart"] + ["touchMove"] * len(line), line.tolist(), strict=False):
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    assert answer(page) == "3"
    assert page.evaluate("scrollY") == 0


def test_the_probabilities_are_a_table_with_values(page: Page) -> None:
    draw(sheet(page), 2)
    settle(page)

    table = page.get_by_role("table", name="Probabilities")
    assert [head.inner_text() for head in table.get_by_role("rowheader").all()] == list("0123456789")
    assert re.fullmatch(r"2\s+\d\d(\.\d)? %", table.get_by_role("row").nth(2).inner_text())


def test_an_empty_sheet_is_an_invitation_and_not_a_digit(page: Page) -> None:
    assert answer(page) == "Draw a digit"

    draw(sheet(page), 6)
    assert answer(page) == "6"
    page.get_by_role("button", name="Clear").click()

    assert answer(page) == "Draw a digit"
    expect(page.get_by_role("button", name="Clear")).to_be_disabled()


def test_undo_takes_back_the_last_stroke_and_also_a_clear(page: Page) -> None:
    draw(sheet(page), 1)
    settle(page)
    draw(sheet(page), 7)
    page.get_by_role("button", name="Undo").click()
    assert answer(page) == "1"

    page.keyboard.press("Delete")
    assert answer(page) == "Draw a digit"
    page.keyboard.press("Control+z")
    assert answer(page) == "1"


def test_a_thicker_pen_leaves_more_ink(page: Page) -> None:
    draw(sheet(page), 1)
    thin = sheet(page).evaluate(INK)
    page.keyboard.press("Delete")
    for _ in range(5):
        page.keyboard.press("]")
    draw(sheet(page), 1)

    assert sheet(page).evaluate(INK) > 1.3 * thin


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(page: Page, how: str) -> None:
    offer(page, how, picture(5))

    expect(page.locator("#answer")).to_have_text("5")
    page.get_by_role("button", name="Undo").click()
    assert answer(page) == "Draw a digit"


def test_a_picture_is_chosen_with_the_keyboard_alone(page: Page) -> None:
    page.on("filechooser", lambda chooser: chooser.set_files(picture(9)))  # early: the browser learns of it in a while
    for _ in range(9):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "choose":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")

    expect(page.locator("#answer")).to_have_text("9")


def test_modes_are_changed_with_the_arrow_keys_and_keep_what_is_drawn(page: Page) -> None:
    draw(sheet(page), 4)
    page.get_by_role("radio", name="One digit").focus()
    page.keyboard.press("ArrowRight")
    assert answer(page) == "Draw a digit in each box"

    page.keyboard.press("ArrowLeft")

    assert answer(page) == "4"


def test_what_is_no_picture_is_said_and_the_drawing_stays(page: Page, tmp_path: Path) -> None:
    draw(sheet(page), 4)
    (tmp_path / "letter.png").write_text("Dear reader")
    offer(page, "drop", tmp_path / "letter.png")

    expect(page.locator("#notice")).to_contain_text("letter.png is not a picture")
    assert answer(page) == "4"


def test_a_screen_reader_hears_the_answer_once_the_pen_rests(page: Page) -> None:
    page.evaluate("""() => {
        window.heard = [];
        new MutationObserver(() => heard.push(voice.textContent)).observe(voice, { childList: true });
    }""")
    draw(sheet(page), 0)
    settle(page)

    expect(page.get_by_role("status")).to_have_text(re.compile(r"0, \d\d(\.\d)? % sure"))
    assert page.evaluate("heard.length") <= 2


@pytest.mark.parametrize(
    ("probabilities", "headline", "remark"),
    [
        ({4: 0.5, 9: 0.45, 7: 0.05}, "4?", "not sure: 4 or 9"),
        ({1: 0.4, 7: 0.35, 2: 0.25}, "1?", "not sure: 1, 7 or 2"),
        ({3: 0.981, 5: 0.019}, "3", "98.1 % sure"),
        ({3: 1.0}, "3", "99.9 % sure"),
    ],
)
def test_an_uncertain_answer_is_a_question_and_none_is_certain(
    page: Page, probabilities: dict[int, float], headline: str, remark: str
) -> None:
    (digit,) = (digit for digit, share in probabilities.items() if share == max(probabilities.values()))
    shares = [probabilities.get(label, 0.0) for label in range(10)]
    judged = {"class": str(digit), "confidence": probabilities[digit], "probabilities": shares}
    say = "async digit => { const words = await import('/page/words.js'); return [words.headline([digit]), "
    say += "words.remark([digit], [...'0123456789'])]; }"

    assert page.evaluate(say, judged) == [headline, remark]


def test_four_boxes_are_a_number(page: Page) -> None:
    page.get_by_role("radio", name="Four boxes").check()
    for number, digit in enumerate([2, 0, 2]):
        draw(sheet(page, number), digit)
    assert answer(page) == "202·"

    draw(sheet(page, 3), 6)
    assert answer(page) == "2026"

    page.get_by_role("button", name=re.compile("^0 ")).click()
    expect(page.locator("#bars .best th")).to_have_text("0")


def test_the_box_of_a_picture_is_chosen_with_the_keyboard_alone(page: Page) -> None:
    page.on("filechooser", lambda chooser: chooser.set_files(picture(5)))
    page.get_by_role("radio", name="Four boxes").focus()
    page.keyboard.press("Space")
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Box 3", pressed=True)).to_be_focused()
    while page.evaluate("document.activeElement.id") != "choose":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.locator("#answer")).to_have_text("··5·")


def test_a_line_is_read_with_a_box_around_each_digit(page: Page) -> None:
    page.get_by_role("radio", name="A line").check()
    for number, digit in enumerate([1, 8, 4, 7]):
        draw(sheet(page), digit, left=0.08 + 0.23 * number, height=0.45)

    assert answer(page) == "1847"
    assert page.locator(".boxes > div").all_inner_texts() == ["1", "8", "4", "7"]
    box = page.locator(".boxes > div").nth(2).bounding_box()
    drawn = np.vstack(lines(sheet(page), 4, left=0.08 + 0.23 * 2, height=0.45))
    assert box is not None
    assert box["x"] < drawn[:, 0].min() < drawn[:, 0].max() < box["x"] + box["width"]
    assert box["y"] < drawn[:, 1].min() < drawn[:, 1].max() < box["y"] + box["height"]


def test_two_lines_are_refused_with_advice_and_undo_makes_it_good(page: Page) -> None:
    page.get_by_role("radio", name="A line").check()
    box = sheet(page).bounding_box()
    assert box is not None
    for top in (0.15, 0.65):
        for left in (0.2, 0.4, 0.6):
            page.mouse.move(box["x"] + left * box["width"], box["y"] + top * box["height"])
            page.mouse.down()
            page.mouse.move(box["x"] + left * box["width"], box["y"] + (top + 0.2) * box["height"], steps=5)
            page.mouse.up()
    settle(page)

    expect(page.locator("#notice")).to_contain_text("more than one line. Write the digits next to each other")
    for _ in range(3):
        page.keyboard.press("Control+z")
    assert answer(page) == "111"
    expect(page.locator("#notice")).to_be_hidden()


@pytest.mark.parametrize("mode", ["One digit", "Four boxes", "A line"])
def test_a_phone_needs_no_horizontal_scrolling_and_no_thin_fingers(
    opened: Callable[..., Page], page_url: str, mode: str
) -> None:
    page = opened(page_url, viewport=PHONE, has_touch=True, is_mobile=True)
    page.get_by_role("radio", name=mode).check()
    draw(sheet(page), 5)
    settle(page)

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    pen, desk = page.locator("#pen input").bounding_box(), page.locator("#desk").bounding_box()
    assert pen is not None
    assert desk is not None
    assert pen["x"] + pen["width"] <= desk["x"] + desk["width"] + 1
    for control in page.locator("button:visible, #modes label, #pen input").all():
        box = control.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 44, control
    expect(page.get_by_role("button", name="Photo")).to_be_visible()


def test_in_the_dark_the_page_is_dark_and_reads_as_well(opened: Callable[..., Page], page_url: str) -> None:
    page = opened(page_url, color_scheme="dark", reduced_motion="reduce")
    draw(sheet(page), 7)

    assert answer(page) == "7"
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", paper))) < 64
    duration = "getComputedStyle(document.querySelector('.bar'), '::before').transitionDuration"
    assert page.evaluate(duration) == "0s"


def test_when_the_service_goes_the_page_keeps_the_drawing_and_reads_it_when_it_is_back(
    opened: Callable[..., Page], exported: Path, tmp_path: Path
) -> None:
    port = free_port()
    with alone(exported, port, tmp_path / "log") as url:
        page = opened(url)
    place = sheet(page).bounding_box()
    draw(sheet(page), 6)
    expect(page.locator("#notice")).to_contain_text("The service does not answer. Your drawing is kept")
    expect(page.locator("#panel")).to_have_attribute("aria-busy", "true")
    assert sheet(page).bounding_box() == place, "expected a sheet that does not move under the pen"

    with alone(exported, port, tmp_path / "log"):
        assert answer(page) == "6"
        expect(page.locator("#notice")).to_be_hidden()


def test_a_busy_service_is_asked_again_after_a_while_without_a_word(page: Page) -> None:
    refusals = [{"code": "overloaded", "message": "try again in a second"}] * 2

    def answer_or_not(route: Route) -> None:
        if refusals:
            route.fulfill(status=429, headers={"Retry-After": "1"}, json=refusals.pop())
        else:
            route.continue_()

    page.route("**/predict?*", answer_or_not)
    page.evaluate("""() => {
        window.shown = 0;
        new MutationObserver(() => shown += !notice.hidden).observe(notice, { attributes: true });
    }""")
    draw(sheet(page), 2)

    assert answer(page) == "2"
    assert not refusals
    assert page.evaluate("shown") == 0


def test_a_model_of_other_things_is_introduced_and_has_no_numbers(
    opened: Callable[..., Page], exported: Path, tmp_path: Path
) -> None:
    clothes = [*"abcdefgh", "Bag", "Ankle boot"]
    network = onnx.load(exported)
    for entry in network.metadata_props:
        if entry.key in ("classes", "dataset"):
            entry.value = {"classes": json.dumps(clothes), "dataset": "fashion_mnist"}[entry.key]
    onnx.save(network, tmp_path / "model.onnx")

    with alone(tmp_path / "model.onnx", free_port(), tmp_path / "log") as url:
        page = opened(url)

        expect(page.locator("#answer")).to_contain_text("Ankle boot")
        expect(page.locator("#modes")).to_be_hidden()
        draw(sheet(page), 9)
        assert answer(page) == "Ankle boot"


def test_the_foot_names_the_model_and_leads_to_the_api(page: Page, page_url: str) -> None:
    model = json.loads(urllib.request.urlopen(f"{page_url}/model").read())["model"]

    expect(page.locator("#model")).to_have_text(model)
    links = [link.get_attribute("href") for link in page.get_by_role("contentinfo").get_by_role("link").all()]
    assert links == ["docs", "docs.json", "metrics"]
