"""Judging a model and a service on a folder of labelled pictures."""

import csv
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.judge import in_process, main, metrics, over_http, refusals, table
from benchmarks.judgement import Judged, figures, judge, shares
from benchmarks.labelled_pictures import Picture, digest, read_folder
from pipeline.core.errors import DataError
from serving.http.uvicorn_protocol import Protocol
from serving.model import Model
from tests.support.inprocess_service import service
from tests.support.live_service import running
from tests.support.pictures import encoded, ink, on_paper, row

DIGIT = encoded(on_paper(ink(5)))
ROW = encoded(255 - row("12"))
BLANK = encoded(np.full((60, 60), 255, np.uint8))
FILES = {"5/a.png": DIGIT, "5/b.png": DIGIT, "12/c.png": ROW, "not_a_digit/d.png": BLANK, ".hidden/e.txt": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for each label."""
    root = tmp_path / "our pictures"
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def predicted(label: str, digit: int | None, confidence: float, score: float, **picture: str) -> Judged:
    """A picture of this label, judged by an answer whose probabilities are the confidence and the rest of 1."""
    probabilities = [0.0] * 10
    if digit is not None:
        probabilities[digit], probabilities[(digit + 1) % 10] = confidence, 1 - confidence
    kind = "digits" if label.isdigit() else "not_digits"
    answer = {"digit": digit, "confidence": confidence, "digit_score": score, "probabilities": probabilities}
    return judge(Picture("a.png", b"", kind, label, **picture), answer | {"reason": None if digit else "not_a_digit"})


def test_folders_named_by_labels_hold_digits_rows_and_other_things(folder: Path) -> None:
    assert [(picture.file, picture.kind, picture.label) for picture in read_folder(folder)] == [
        ("12/c.png", "rows", "12"),
        ("5/a.png", "digits", "5"),
        ("5/b.png", "digits", "5"),
        ("not_a_digit/d.png", "not_digits", "not_a_digit"),
    ]


def test_an_index_may_name_kind_writer_and_note(folder: Path) -> None:
    (folder / "index.csv").write_text(
        "file,kind,label,writer,note\n5/a.png,digits,5,ada,photo\n12/c.png,,12,,\n5/b.png,not_digits,A,ada,letter\n"
    )

    assert [picture._replace(content=b"") for picture in read_folder(folder)] == [
        Picture("5/a.png", b"", "digits", "5", "ada", "photo"),
        Picture("12/c.png", b"", "rows", "12"),
        Picture("5/b.png", b"", "not_digits", "A", "ada", "letter"),
    ]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("file,label\n5/a.png,seven\n", "line 2: got the label 'seven', expected a digit, a row of digits, or not_a_"),
        ("file,label\n5/a.png,²\n", "line 2: got the label '²'"),
        ("file,label\n5/a.png,\n", "line 2: got the label ''"),
        ("file,kind,label\n5/a.png,digits,12\n", "line 2: got the label '12' of the kind digits, expected a digit"),
        ("file,kind,label\n5/a.png,letters,A\n", "got the kind 'letters', expected one of digits, rows, not_digits"),
        ("file,label\n5/none.png,5\n", "none.png: expected a picture, got a file that cannot be read: No such file"),
        ("name,digit\n5/a.png,5\n", "expected the columns file and label, got name, digit"),
        ("file,label\n", "got no picture"),
    ],
)
def test_a_wrong_index_is_one_sentence(folder: Path, index: str, message: str) -> None:
    (folder / "index.csv").write_text(index)

    with pytest.raises(DataError, match=re.escape(message)):
        read_folder(folder)


def test_a_wrong_folder_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    (folder / "seven").mkdir()
    (folder / "seven" / "a.png").write_bytes(DIGIT)

    with pytest.raises(DataError, match="got the label 'seven', expected a digit"):
        read_folder(folder)
    with pytest.raises(DataError, match="nowhere: expected a folder of labelled pictures, got none"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="expected pictures as"):
        read_folder(tmp_path)


def test_the_digest_changes_with_a_label_and_with_a_picture(folder: Path) -> None:
    pictures = read_folder(folder)

    assert digest(pictures) == digest(read_folder(folder))
    assert digest(pictures) != digest([pictures[0]._replace(label="13"), *pictures[1:]])
    assert digest(pictures) != digest([pictures[0]._replace(content=DIGIT), *pictures[1:]])


def test_a_digit_is_right_if_it_is_the_label_and_something_else_if_no_digit_is_answered() -> None:
    assert predicted("4", 4, 0.9, 0.9).is_right
    assert not predicted("4", 9, 0.9, 0.9).is_right
    assert not predicted("4", None, 0.1, 0.1).is_right
    assert predicted("letter A", None, 0.1, 0.1).is_right
    assert not predicted("letter A", 4, 0.9, 0.9).is_right


def test_a_row_is_right_if_all_its_digits_are() -> None:
    picture = Picture("a.png", b"", "rows", "128")

    assert judge(picture, {"text": "128", "digits": []}).is_right
    assert not judge(picture, {"text": "12", "digits": []}).is_right
    assert judge(picture, {"code": "more_than_one_line", "message": "got two lines"}).got == "more_than_one_line"


def test_an_answer_without_a_score_has_its_confidence_as_the_score() -> None:
    probabilities = [0.0] * 9 + [1.0]

    assert judge(Picture("a.png", b"", "digits", "9"), {"digit": 9, "confidence": 0.7, "probabilities": probabilities})[
        4:7
    ] == (0.7, 0.7, 1.0)


def test_the_figures_equal_those_calculated_by_hand() -> None:
    judged = [
        predicted("4", 4, 0.8, 0.9, writer="ada", note="photo"),
        predicted("4", 3, 0.8, 0.7, writer="ada", note="paint"),
        predicted("9", 9, 0.4, 0.6, writer="bob", note="photo"),
        predicted("9", None, 0.1, 0.2, writer="bob", note="photo"),
        predicted("letter A", 4, 0.95, 0.95),
        predicted("letter B", None, 0.1, 0.1),
    ]

    assert [tuple(share) for share in shares(judged)] == [
        ("digits", 2, 4),
        ("digits paint", 0, 1),
        ("digits photo", 2, 3),
        ("not_digits", 1, 2),
    ]
    assert figures(judged) == {
        "mean over writers": 0.5,
        "digits answered": 0.75,
        "ECE": pytest.approx((2 * abs(0.8 - 0.5) + 0.6) / 3),
        "NLL": pytest.approx(-(math.log(0.8) + math.log(0.2) + math.log(0.4)) / 3),
        "not digits answered above 0.9": 0.5,
        "AUROC": 0.5,
    }
    assert "| digits photo | 2 of 3 | 66.67% |" in table(judged)
    assert metrics(judged)["not_digits_answered_above_0.9"] == 0.5


def test_figures_of_pictures_that_give_none_are_left_out() -> None:
    assert figures([judge(Picture("a.png", b"", "rows", "12"), {"text": "12"})]) == {}
    assert "AUROC" not in figures([predicted("4", 4, 0.9, 0.9)])


def test_a_model_and_its_service_are_judged_alike(model: Model, folder: Path) -> None:
    pictures = read_folder(folder)
    alone = in_process(model.path)

    with running(service(model), "asyncio", Protocol) as live:
        served = over_http("http://{}:{}".format(*live.address))
        answers = [judge(picture, served.answer(picture)) for picture in pictures]

    judged = [judge(picture, alone.answer(picture)) for picture in pictures]
    assert answers == judged
    assert [one.is_answered for one in judged] == [True, True, True, False]
    assert judged[3].got == "blank_page"
    assert judged[1].seen.startswith("data:image/png")


def test_a_file_that_is_no_picture_is_named_and_counts_as_not_answered(model: Model) -> None:
    picture = Picture("5/a.txt", b"seven", "digits", "5")

    judged = [judge(picture, in_process(model.path).answer(picture))] * 12

    assert (judged[0].got, judged[0].is_right) == ("not_a_picture", False)
    assert refusals(judged)[0].startswith("refused: 5/a.txt: got 5 bytes that are not a picture")
    assert refusals(judged)[10:] == ["and 2 more, see judged.csv"]


def test_what_is_judged_is_written_to_a_folder(
    model: Model, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "judged"
    options = ["--model", str(model.path), "--out", str(out), "--no-mlflow"]
    monkeypatch.setattr(sys, "argv", ["judge", str(folder), *options])

    main()

    with (out / "judged.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [line["file"] for line in rows] == ["12/c.png", "5/a.png", "5/b.png", "not_a_digit/d.png"]
    assert rows[3]["right"] == "True"
    assert (out / "mistakes.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "table.md").read_text() in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"), [(None, "expected a model that `make repro` exported"), (b"no", "an exported model, got:")]
)
def test_a_wrong_model_is_one_sentence(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match=f"model.onnx: .*{message}"):
        in_process(path)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:3000", "nonsense"])
def test_a_wrong_address_is_one_sentence(url: str) -> None:
    with pytest.raises(DataError, match="expected a running service, got: "):
        over_http(url)
