"""The page's three modes in a real browser: one digit, four boxes, a line."""

import re
from typing import Any

import numpy as np
from playwright.sync_api import Page, Route, expect

from tests.e2e.page_actions import SEEN, answer, picture, refused, tab_to
from tests.support.browser import draw, pad, stroke_paths, wait_for_answer


def test_modes_are_changed_with_the_arrow_keys_and_keep_their_drawings(page: Page) -> None:
    draw(pad(page), 4)
    page.get_by_role("radio", name="One digit").focus()
    page.keyboard.press("ArrowRight")
    assert answer(page) == "Draw a digit in each box"

    page.keyboard.press("ArrowLeft")

    assert answer(page) == "4"


def test_four_boxes_are_a_number(page: Page) -> None:
    page.get_by_role("radio", name="Four boxes").check()
    for index, digit in enumerate([2, 0, 2]):
        draw(pad(page, index), digit)
    assert answer(page) == "202·"

    draw(pad(page, 3), 6)
    assert answer(page) == "2026"

    page.get_by_role("button", name=re.compile("^0 ")).click()
    expect(page.locator("#bars .best th")).to_have_text("0")


def test_the_box_for_a_picture_is_selected_with_the_keyboard_alone(page: Page) -> None:
    page.on("filechooser", lambda chooser: chooser.set_files(picture(5)))
    page.get_by_role("radio", name="Four boxes").focus()
    page.keyboard.press("Space")
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Box 3", pressed=True)).to_be_focused()
    tab_to(page, "choose")
    page.keyboard.press("Enter")

    expect(page.locator("#answer")).to_have_text("··5·")


def test_a_line_is_read_with_a_box_around_each_digit(page: Page) -> None:
    page.get_by_role("radio", name="A line").check()
    for index, digit in enumerate([1, 8, 4, 7]):
        draw(pad(page), digit, left=0.08 + 0.23 * index, height=0.45)

    assert answer(page) == "1847"
    assert page.locator(".boxes > div").all_inner_texts() == ["1", "8", "4", "7"]
    box = page.locator(".boxes > div").nth(2).bounding_box()
    drawn = np.vstack(stroke_paths(pad(page), 4, left=0.08 + 0.23 * 2, height=0.45))
    assert box is not None
    assert box["x"] < drawn[:, 0].min() < drawn[:, 0].max() < box["x"] + box["width"]
    assert box["y"] < drawn[:, 1].min() < drawn[:, 1].max() < box["y"] + box["height"]


def test_two_lines_are_refused_with_advice_until_one_is_undone(page: Page) -> None:
    page.get_by_role("radio", name="A line").check()
    box = pad(page).bounding_box()
    assert box is not None
    for top in (0.15, 0.65):
        for left in (0.2, 0.4, 0.6):
            page.mouse.move(box["x"] + left * box["width"], box["y"] + top * box["height"])
            page.mouse.down()
            page.mouse.move(box["x"] + left * box["width"], box["y"] + (top + 0.2) * box["height"], steps=5)
            page.mouse.up()
    wait_for_answer(page)

    expect(page.locator("#notice")).to_contain_text("more than one line. Write the digits next to each other")
    for _ in range(3):
        page.keyboard.press("Control+z")
    assert answer(page) == "111"
    expect(page.locator("#notice")).to_be_hidden()


def result(digit: int, confidence: float, left: float) -> dict[str, Any]:
    """One of the digits in an answer of `/read`; `left` is the left edge of its box."""
    probabilities = [(1 - confidence) / 9] * 10
    probabilities[digit] = confidence
    return {
        "digit": digit,
        "class": str(digit),
        "confidence": confidence,
        "reason": None,
        "digit_score": 1.0,
        "probabilities": probabilities,
        "box": {"left": left, "top": 0.2, "width": 0.2, "height": 0.5},
        "seen": SEEN,
    }


def test_the_least_certain_digit_of_a_line_is_shown_in_full_until_the_user_selects_another(page: Page) -> None:
    digits = [result(4, 0.93, 0.1), result(9, 0.41, 0.4), result(7, 0.99, 0.7)]

    def fulfill(route: Route) -> None:
        model = page.locator("#model").inner_text()
        route.fulfill(json={"model": model, "reason": None, "text": "497", "digits": digits, "rejected": []})

    page.route("**/read?*", fulfill)
    page.get_by_role("radio", name="A line").check()
    draw(pad(page), 4, left=0.1, height=0.45)
    wait_for_answer(page)
    expect(page.locator("#tiles [aria-pressed=true]")).to_contain_text("9")
    expect(page.locator("#bars .best th")).to_have_text("9")

    page.get_by_role("button", name="7 99 %").click()
    expect(page.locator("#bars .best th")).to_have_text("7")
    expect(page.locator("#tiles [aria-pressed=true]")).to_have_count(1)

    draw(pad(page), 7, left=0.7, height=0.45)
    wait_for_answer(page)
    expect(page.locator("#bars .best th")).to_have_text("9")


def test_the_last_of_four_boxes_drawn_in_is_shown_in_full(page: Page) -> None:
    page.get_by_role("radio", name="Four boxes").check()
    draw(pad(page, 1), 6)
    wait_for_answer(page)

    expect(page.get_by_role("button", name="Box 2", pressed=True)).to_be_visible()
    expect(page.locator("#bars .best th")).to_have_text("6")


def test_several_digits_in_place_of_one_are_read_as_a_line_by_a_button(page: Page) -> None:
    model = page.locator("#model").inner_text()
    page.route("**/predict?*", lambda route: route.fulfill(json={"model": model, **refused("several_digits")}))
    draw(pad(page), 4, left=0.1, height=0.4)
    draw(pad(page), 7, left=0.6, height=0.4)
    assert answer(page) == "Several digits?"

    page.get_by_role("button", name="Read as a line").press("Enter")

    assert answer(page) == "47"
    expect(page.get_by_role("radio", name="A line", checked=True)).to_be_focused()
    page.keyboard.press("Control+z")
    assert answer(page) == "Write a number"
    page.get_by_role("radio", name="One digit").check()
    assert answer(page) == "Several digits?"


def test_marks_in_a_line_that_are_no_digits_are_counted_and_get_dashed_boxes(page: Page) -> None:
    reading: dict[str, Any] = {"model": page.locator("#model").inner_text(), "reason": None, "text": "7"}
    reading |= {"digits": [result(7, 0.99, 0.7)], "rejected": [result(0, 0.5, 0.1)["box"]]}
    page.route("**/read?*", lambda route: route.fulfill(json=reading))
    page.get_by_role("radio", name="A line").check()
    draw(pad(page), 7)

    assert answer(page) == "7"
    expect(page.locator("#remark")).to_have_text("99 % sure; left out: 1 mark, not a digit")
    expect(page.locator(".boxes .rejected")).to_have_css("border-style", "dashed")

    reading |= {"reason": "not_a_digit", "text": "", "digits": []}
    draw(pad(page), 7)
    assert answer(page) == "Nothing here looks like a digit"
    page.keyboard.press("Delete")
    assert answer(page) == "Write a number"
    expect(page.locator(".boxes > div")).to_have_count(0)
