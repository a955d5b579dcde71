"""The tables and figures of the raw data, on images whose pixels can be counted by hand."""

import io
import json

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pipeline.data.dataset import DIGITS, Split
from pipeline.eda import find_duplicates, label_counts, mean_images, measure_ink, mosaic, summarise, to_text
from pipeline.reports.plots import class_balance, ink_by_class


def images(*boxes: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    """One image for each box of ink, given as its first row and column, height and width."""
    pages = np.zeros((len(boxes), 28, 28), np.uint8)
    for page, (top, left, height, width) in zip(pages, boxes, strict=True):
        page[top : top + height, left : left + width] = 100
    return pages


def split(*labels: int, first: int = 0) -> Split:
    """Images that differ from each other, the nth a line of `first` + n pixels."""
    lines = [(0, 0, 1, first + n + 1) for n in range(len(labels))]
    return Split(images(*lines), np.array(labels, np.uint8))


def test_images_of_each_label_are_counted_in_each_split() -> None:
    counts = label_counts({"train": split(0, 2, 2), "test": split(0, 0)}, ("zero", "one", "two"))
    assert counts.to_dict("list") == {
        "label": [0, 1, 2],
        "class": ["zero", "one", "two"],
        "train": [1, 0, 2],
        "test": [2, 0, 0],
    }


def test_ink_is_measured_by_share_mean_and_bounding_box() -> None:
    table = measure_ink(Split(images((3, 5, 10, 4), (0, 0, 28, 28), (27, 27, 1, 1)), np.array([7, 8, 9], np.uint8)))
    assert table["label"].tolist() == [7, 8, 9]
    assert table["box_height"].tolist() == [10, 28, 1]
    assert table["box_width"].tolist() == [4, 28, 1]
    assert table["inked_share"].tolist() == pytest.approx([40 / 784, 1, 1 / 784])
    assert table["mean_ink"].tolist() == pytest.approx([4000 / 784, 100, 100 / 784])


def test_the_bounding_box_of_scattered_ink_spans_its_first_to_its_last_pixel() -> None:
    page = images((2, 20, 1, 1)) + images((12, 4, 1, 1))
    table = measure_ink(Split(page, np.zeros(1, np.uint8)))
    assert (table["box_height"][0], table["box_width"][0]) == (11, 17)


def test_an_empty_image_has_no_bounding_box() -> None:
    table = measure_ink(Split(images((0, 0, 0, 0)), np.zeros(1, np.uint8)))
    assert (table["box_height"][0], table["box_width"][0], table["inked_share"][0]) == (0, 0, 0)


def test_different_images_are_no_duplicates() -> None:
    assert find_duplicates({"train": split(1, 1, 1), "test": split(1, first=3)}).empty


def test_duplicates_are_found_within_and_across_splits() -> None:
    train, test = split(4, 5, 6), split(9, 5, first=7)
    train.images[2], test.images[1] = train.images[0], train.images[1]
    rows = find_duplicates({"train": train, "test": test}).to_dict("records")
    assert [(row["group"], row["split"], row["index"], row["label"], row["conflict"]) for row in rows] == [
        (0, "train", 0, 4, True),
        (0, "train", 2, 6, True),
        (1, "test", 1, 5, False),
        (1, "train", 1, 5, False),
    ]


def test_the_summary_agrees_with_the_tables() -> None:
    train, test = split(4, 5, 6), split(9, 5, first=7)
    train.images[2], test.images[1] = train.images[0], train.images[1]
    splits = {"train": train, "test": test}
    figures = json.loads(json.dumps(summarise(splits, measure_ink(train), find_duplicates(splits)), allow_nan=False))
    assert figures["shapes"] == {"train": [3, 28, 28], "test": [2, 28, 28]}
    assert (figures["lowest_pixel"], figures["highest_pixel"]) == (0, 100)
    assert figures["ink"]["box_height"] == 1
    assert figures["duplicates"] == {
        "groups": 2,
        "images": 4,
        "groups_across_splits": 1,
        "groups_with_conflicting_labels": 1,
    }


def test_the_summary_of_data_without_duplicates_counts_none() -> None:
    splits = {"train": split(1, 2), "test": split(3, first=2)}
    figures = json.loads(
        json.dumps(summarise(splits, measure_ink(splits["train"]), find_duplicates(splits)), allow_nan=False)
    )
    assert set(figures["duplicates"].values()) == {0}


def test_an_image_as_text_has_a_line_per_row_and_a_character_per_pixel() -> None:
    lines = to_text(images((1, 2, 1, 3))[0]).split("\n")
    assert lines == ["0" * 28, "00111" + "0" * 23, *["0" * 28] * 26, ""]


def test_the_mosaic_has_a_row_per_class_padded_with_blank_images() -> None:
    two = Split(images((0, 0, 28, 28), (0, 0, 28, 28), (0, 0, 28, 28)), np.array([0, 0, 1], np.uint8))
    sheet = np.asarray(Image.open(io.BytesIO(mosaic(two, columns=3, classes=2))))
    darkest = [[sheet[y, x] for x in (50, 140, 230)] for y in (50, 140)]
    assert darkest == [[155, 155, 255], [155, 255, 255]]


def test_a_mean_image_is_the_mean_of_its_class() -> None:
    two = Split(np.concatenate([images((0, 0, 28, 28)), images((0, 0, 0, 0))]), np.zeros(2, np.uint8))
    sheet = np.asarray(Image.open(io.BytesIO(mean_images(two, ("zero",)))))
    assert sheet[20, 20] == 255 - 50


def test_charts_are_pictures_and_byte_identical_when_drawn_again(digits: Split) -> None:
    counts, inks = label_counts({"train": digits, "test": digits}, DIGITS), measure_ink(digits)
    charts = class_balance(counts), ink_by_class(inks, DIGITS)
    assert [Image.open(io.BytesIO(chart)).size for chart in charts] == [(880, 396)] * 2
    assert (class_balance(counts), ink_by_class(inks, DIGITS)) == charts
