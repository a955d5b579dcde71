"""The page in a real browser, with one digit: drawn with a mouse or a finger, from a file, with the keyboard alone.

It is the page of the Bento, or of a running service where SERVICE_URL is set (see `page_url` in `conftest.py`).
"""

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from serving.http import nouns
from tests.e2e.page_actions import add_file, answer, best_two, picture, refused, tab_to
from tests.support.browser import draw, pad, stroke_paths, wait_for_answer

PHONE = {"width": 360, "height": 740}
INK = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, index) => index % 4 === 3 && value > 127).length;
}"""  # pixels

DIGITS = [*"0123456789"]
LETTERS = [*"ABCDEFGHIJ"]
ITEMS = ["Top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot"]
TEXTS = """async ([digit, classes]) => {
    const { headline, remark, announcement } = await import("/page/messages.js");
    return [headline, remark, announcement].map((text) => text([digit], classes));
}"""


def test_drawn_digits_are_read(page: Page) -> None:
    wrong = []
    for digit in range(10):
        draw(pad(page), digit)
        if answer(page) != str(digit):
            wrong.append(digit)
            assert str(digit) in best_two(page), "expected a similar shape at worst"
        page.get_by_role("button", name="Clear").click()

    assert len(wrong) <= 1, f"read wrongly: {wrong}"


def test_the_answer_appears_while_the_pen_is_down(page: Page) -> None:
    (x, y), *rest = np.vstack(stroke_paths(pad(page), 0)).tolist()
    page.mouse.move(x, y)
    page.mouse.down()
    for x, y in rest:
        page.mouse.move(x, y)

    expect(page.locator("#answer")).to_have_text("0")
    expect(page.get_by_alt_text("The model's input")).to_be_visible()


def test_never_more_than_one_request_is_in_flight_and_the_last_is_for_the_last_drawing(page: Page) -> None:
    in_flight: list[int] = [0]
    page.on("request", lambda request: in_flight.append(in_flight[-1] + 1))
    page.on("response", lambda response: in_flight.append(in_flight[-1] - 1))

    draw(pad(page), 8)

    assert answer(page) == "8"
    assert max(in_flight) == 1


def test_a_finger_draws(open_page: Callable[..., Page], page_url: str) -> None:
    page = open_page(page_url, viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=3)
    touch = page.context.new_cdp_session(page)
    for path in stroke_paths(pad(page), 3):
        for kind, (x, y) in zip(["touchStart"] + ["touchMove"] * len(path), path.tolist(), strict=False):
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    assert answer(page) == "3"
    assert page.evaluate("scrollY") == 0


def test_the_probabilities_are_a_table_with_values(page: Page) -> None:
    draw(pad(page), 2)
    wait_for_answer(page)

    table = page.get_by_role("table", name="Probabilities")
    assert [head.inner_text() for head in table.get_by_role("rowheader").all()] == list("0123456789")
    assert re.fullmatch(r"2\s+\d\d(\.\d)? %", table.get_by_role("row").nth(2).inner_text())


def test_an_empty_pad_shows_a_prompt_and_no_digit(page: Page) -> None:
    assert answer(page) == "Draw a digit"

    draw(pad(page), 6)
    assert answer(page) == "6"
    page.get_by_role("button", name="Clear").click()

    assert answer(page) == "Draw a digit"
    expect(page.get_by_role("button", name="Clear")).to_be_disabled()


def test_undo_reverts_the_last_stroke_and_also_a_clear(page: Page) -> None:
    draw(pad(page), 1)
    wait_for_answer(page)
    draw(pad(page), 7)
    page.get_by_role("button", name="Undo").click()
    assert answer(page) == "1"

    page.keyboard.press("Delete")
    assert answer(page) == "Draw a digit"
    page.keyboard.press("Control+z")
    assert answer(page) == "1"


def test_a_thicker_pen_leaves_more_ink(page: Page) -> None:
    draw(pad(page), 1)
    thin = pad(page).evaluate(INK)
    page.keyboard.press("Delete")
    for _ in range(5):
        page.keyboard.press("]")
    draw(pad(page), 1)

    assert pad(page).evaluate(INK) > 1.3 * thin


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(page: Page, how: str) -> None:
    add_file(page, how, picture(5))

    expect(page.locator("#answer")).to_have_text("5")
    page.get_by_role("button", name="Undo").click()
    assert answer(page) == "Draw a digit"


def test_a_picture_is_chosen_with_the_keyboard_alone(page: Page) -> None:
    page.on("filechooser", lambda chooser: chooser.set_files(picture(9)))  # early: it reaches the browser with a delay
    tab_to(page, "choose")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")

    expect(page.locator("#answer")).to_have_text("9")


def test_a_file_that_is_not_a_picture_gets_a_message_and_the_drawing_stays(page: Page, tmp_path: Path) -> None:
    draw(pad(page), 4)
    (tmp_path / "letter.png").write_text("Dear reader")
    add_file(page, "drop", tmp_path / "letter.png")

    expect(page.locator("#notice")).to_contain_text("letter.png cannot be opened as a picture")
    assert answer(page) == "4"


def test_a_screen_reader_announces_the_answer_once_the_drawing_stops(page: Page) -> None:
    page.evaluate("""() => {
        const region = document.getElementById("live-region");
        window.announced = [];
        new MutationObserver(() => announced.push(region.textContent)).observe(region, { childList: true });
    }""")
    draw(pad(page), 0)
    wait_for_answer(page)

    expect(page.get_by_role("status")).to_have_text(re.compile(r"0, \d\d(\.\d)? % sure"))
    assert page.evaluate("announced.length") <= 2


@pytest.mark.parametrize(
    ("probabilities", "headline", "remark"),
    [
        ({4: 0.5, 9: 0.45, 7: 0.05}, "4?", "not sure: 4 or 9"),
        ({1: 0.4, 7: 0.35, 2: 0.25}, "1?", "not sure: 1, 7 or 2"),
        ({3: 0.981, 5: 0.019}, "3", "98.1 % sure"),
        ({3: 1.0}, "3", "99.9 % sure"),
    ],
)
def test_an_unsure_answer_is_a_question_and_none_is_certain(
    page: Page, probabilities: dict[int, float], headline: str, remark: str
) -> None:
    (digit,) = (digit for digit, share in probabilities.items() if share == max(probabilities.values()))
    shares = [probabilities.get(label, 0.0) for label in range(10)]
    result = {"class": str(digit), "confidence": probabilities[digit], "reason": None, "probabilities": shares}

    assert page.evaluate(TEXTS, [result, DIGITS])[:2] == [headline, remark]


def test_a_digit_that_may_be_none_is_a_question(page: Page) -> None:
    result = refused("") | {"class": "6", "confidence": 0.6 * 0.8, "digit_score": 0.6}
    result["probabilities"] = [0.8 if label == 6 else 0.2 / 9 for label in range(10)]

    assert page.evaluate(TEXTS, [result, DIGITS])[:2] == ["6?", "not sure: 6 or no digit"]


@pytest.mark.parametrize(
    ("reason", "classes", "headline", "remark", "announcement"),
    [
        ("not_a_digit", DIGITS, "This does not look like a digit", "closest 6, 70\xa0%", None),
        (
            "several_digits",
            DIGITS,
            "Several digits?",
            "",
            "There seem to be several digits. They can be read as a line.",
        ),
        ("not_a_digit", ITEMS, "This does not look like any of these", "closest Shirt, 70\xa0%", None),
        (
            "several_digits",
            LETTERS,
            "More than one?",
            "draw one at a time",
            "There seems to be more than one. Draw one at a time.",
        ),
    ],
)
def test_what_is_no_digit_gets_a_sentence_and_the_closest_class(
    page: Page, reason: str, classes: list[str], headline: str, remark: str, announcement: str | None
) -> None:
    texts = page.evaluate(TEXTS, [refused(reason), classes])

    assert texts == [headline, remark, announcement or f"{headline}, {remark}"]


@pytest.mark.parametrize(
    ("classes", "title", "prompt"),
    [
        (DIGITS, "Handwritten digits", "Draw a digit"),
        ([*"LTX"], "Handwritten letters", "Draw one of these: L, T, X"),
        ([*"ABCDEFGHIJKLMNOPQRSTUVWXYZ"], "Handwritten letters", "Draw a letter"),
        ([*DIGITS, *LETTERS], "Handwritten characters", "Draw a character"),
        (ITEMS, "What is it?", f"Draw one of these: {', '.join(ITEMS)}"),
        ([f"item {number}" for number in range(20)], "What is it?", "Draw one of the things that are listed here"),
    ],
)
def test_the_title_and_the_prompt_follow_the_classes(page: Page, classes: list[str], title: str, prompt: str) -> None:
    texts = """async (classes) => {
        const { title, prompt } = await import("/page/messages.js");
        return [title(classes), prompt(classes)];
    }"""

    assert page.evaluate(texts, classes) == [title, prompt]
    assert nouns.title(tuple(classes)) == title


def test_what_is_no_digit_is_shown_with_dimmed_bars(page: Page) -> None:
    model = page.locator("#model").inner_text()
    page.route("**/predict?*", lambda route: route.fulfill(json={"model": model, **refused("not_a_digit")}))
    draw(pad(page), 6)

    assert answer(page) == "This does not look like a digit"
    expect(page.locator("#bars.refused .best th")).to_have_text("6")
    expect(page.get_by_role("button", name="Read as a line")).to_be_hidden()
    page.keyboard.press("Delete")
    assert answer(page) == "Draw a digit"
    expect(page.locator("#bars.refused")).to_have_count(0)


@pytest.mark.parametrize("mode", ["One digit", "Four boxes", "A line"])
def test_on_a_phone_nothing_scrolls_sideways_and_controls_are_at_least_44_pixels_large(
    open_page: Callable[..., Page], page_url: str, mode: str
) -> None:
    page = open_page(page_url, viewport=PHONE, has_touch=True, is_mobile=True)
    page.get_by_role("radio", name=mode).check()
    draw(pad(page), 5)
    wait_for_answer(page)

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


def test_in_dark_mode_the_page_is_dark_and_reads_digits_too(open_page: Callable[..., Page], page_url: str) -> None:
    page = open_page(page_url, color_scheme="dark", reduced_motion="reduce")
    draw(pad(page), 7)

    assert answer(page) == "7"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", background))) < 64
    duration = "getComputedStyle(document.querySelector('.bar'), '::before').transitionDuration"
    assert page.evaluate(duration) == "0s"


def test_the_footer_names_the_model_and_links_to_the_api(page: Page, page_url: str) -> None:
    model = json.loads(urllib.request.urlopen(f"{page_url}/model").read())["model"]

    expect(page.locator("#model")).to_have_text(model)
    links = [link.get_attribute("href") for link in page.get_by_role("contentinfo").get_by_role("link").all()]
    assert links == ["docs", "docs.json", "metrics"]
