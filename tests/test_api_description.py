"""The numbers and examples in the API's description, and in the README, are those of the service."""

import re
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from pipeline.data.limits import MAX_JPEG_PIXELS, MAX_PIXELS, MAX_WEBP_PIXELS
from serving.http import app, limits
from serving.http.limits import DEFAULT_LIMITS, MAX_BATCH, MAX_BODY, MAX_JSON
from serving.http.openapi import EXAMPLES, describe, problem_example
from serving.http.parsing import PICTURE_TYPES
from serving.http.uvicorn_protocol import slow_body
from serving.model import Model
from serving.rows.limits import MAX_DIGITS
from tests.support.attack import MEMORY
from tests.support.inprocess_service import service
from tests.support.pictures import compose, encoded, row, stroke
from tests.support.sample_requests import FIVE, JSON, MULTIPART, PNG, RAW, batch_of, gif, image_list

LINES = np.vstack([row("4207")[80:160], np.zeros((30, 500), np.uint8), row("4207")[80:160]])
ONES = compose(*((stroke(4, 30), 12 * number + 5, 40) for number in range(MAX_DIGITS + 1)))
FIELD = b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\n5\r\n--x--\r\n'
REFUSED: dict[str, tuple[str, str, bytes, dict[str, str]]] = {
    "animated_picture": ("POST", "/predict", gif(3), PNG),
    "bad_query": ("POST", "/predict?seen=yes", FIVE, PNG),
    "body_too_large": ("POST", "/predict", bytes(2 * MAX_BODY), PNG),
    "malformed_json": ("POST", "/predict_batch", b'{"images": ', JSON),
    "malformed_multipart": ("POST", "/predict", bytes(512), MULTIPART),
    "method_not_allowed": ("PUT", "/predict", b"", PNG),
    "missing_part": ("POST", "/predict", FIELD, MULTIPART),
    "more_than_one_line": ("POST", "/read", encoded(255 - LINES), PNG),
    "no_content": ("POST", "/predict", b"", PNG),
    "not_a_picture": ("POST", "/predict", b"hello", PNG),
    "picture_size": ("POST", "/predict", encoded(np.zeros((2, 2), np.uint8)), PNG),
    "too_many_digits": ("POST", "/read", encoded(255 - ONES), PNG),
    "unsupported_media_type": ("POST", "/predict", b"5", {"content-type": "text/plain"}),
    "wrong_shape": ("POST", "/predict_batch?shape=1,28,28", bytes(783), RAW),
    "wrong_value": ("POST", "/predict_batch", batch_of(image_list(1, 28, 28, value=256)), JSON),
}  # fmt: skip


def without_message(problem: dict[str, str]) -> dict[str, str]:
    """The fields for programs; the message also names the wrong pixel."""
    return {k: v for k, v in problem.items() if k != "message" or "got" not in problem}


@pytest.mark.parametrize("code", REFUSED)
def test_the_example_of_a_refusal_is_what_the_service_answers(model: Model, code: str) -> None:
    method, path, content, headers = REFUSED[code]
    with TestClient(service(model)) as client:
        answer = client.request(method, path, content=content, headers=headers).json()

    assert without_message(answer) == without_message(problem_example(code))


def test_the_example_of_a_busy_service_is_what_it_answers(model: Model) -> None:
    busy = service(model)
    busy.requests = DEFAULT_LIMITS.requests
    with TestClient(busy) as client:
        assert client.post("/predict", content=FIVE, headers=PNG).json() == problem_example("overloaded")


def test_the_example_of_a_slow_body_is_what_the_service_answers() -> None:
    assert slow_body(1000).content() == problem_example("slow_body")


def test_every_example_is_compared() -> None:
    others = {"damaged_picture", "internal_error", "not_digits", "not_ready"}  # they hold no number of the service

    of_corrections = {"corrections_full", "too_many_corrections"}  # compared in tests/test_corrections.py

    assert set(EXAMPLES) == set(REFUSED) | {"overloaded", "slow_body"} | of_corrections | others


def test_the_limits_in_the_description_are_those_of_the_service() -> None:
    description = describe("mnist:v1-0123abcd", "mnist", tuple("0123456789"))
    paths, schemas = description["paths"], description["components"]["schemas"]
    picture = paths["/predict"]["post"]["requestBody"]
    batch = paths["/predict_batch"]["post"]
    (shape,) = batch["parameters"]

    assert f"at most {MAX_BODY} bytes within {limits.BODY_SECONDS:g} seconds" in picture["description"]
    assert f"{MAX_PIXELS / 1e6:g} million pixels, {MAX_JPEG_PIXELS / 1e6:g} million as JPEG" in picture["description"]
    assert set(picture["content"]) == {"multipart/form-data", *PICTURE_TYPES}
    assert f"1 to {MAX_BATCH} images" in batch["requestBody"]["description"]
    assert f"JSON of at most {MAX_JSON} bytes" in batch["requestBody"]["description"]
    assert schemas["Batch"]["properties"]["images"]["maxItems"] == MAX_BATCH
    assert schemas["Reading"]["properties"]["digits"]["maxItems"] == MAX_DIGITS
    assert f"up to {MAX_DIGITS} digits" in paths["/read"]["post"]["summary"]
    assert re.fullmatch(shape["schema"]["pattern"], f"{MAX_BATCH},28,28")
    assert not re.fullmatch(shape["schema"]["pattern"], f"{MAX_BATCH}0,28,28")


@pytest.mark.parametrize(
    ("classes", "title", "summary"),
    [
        ("ABC", "Handwritten letters", "a picture of one letter; "),
        ("ab12", "Handwritten characters", "a picture of one character; "),
        (("Trouser", "Coat"), "What is it?", "a picture of one item; "),
    ],
)
def test_the_description_of_a_model_of_something_else_than_digits_is_about_that(
    classes: str | tuple[str, ...], title: str, summary: str
) -> None:
    description = describe("mine:v1-0123abcd", "mine", tuple(classes))

    assert description["info"]["title"] == title
    assert description["paths"]["/predict"]["post"]["summary"].startswith(summary)
    assert "/read" not in description["paths"]  # which reads rows of digits
    operations = [operation for path in description["paths"].values() for operation in path.values()]
    texts = [*description["info"].values(), *(text for each in operations for text in (each["summary"], *each["tags"]))]
    assert not [text for text in texts if "digit" in text]


@pytest.mark.parametrize(
    "sentence",
    [
        f"up to {MAX_BATCH:,} images of 28×28 at once, as raw bytes or as JSON of up to {MAX_JSON / 2**20:g} MB",
        f"a row of up to {MAX_DIGITS} digits",
        f"bodies of up to {MAX_BODY / 2**20:g} MB that arrive within {limits.BODY_SECONDS:g} seconds",
        f"pictures of up to {MAX_PIXELS / 1e6:g} million pixels (JPEG, unless progressive: "
        f"{MAX_JPEG_PIXELS / 1e6:g} million; WebP: {MAX_WEBP_PIXELS / 1e6:g} million), within {MEMORY:g} MB of memory",
        f"waits at most {app.LOCK_SECONDS:g} seconds for its turn",
        f"up to {limits.LINGER_BYTES / 2**20:g} MB of the rest are read and discarded",
    ],
)
def test_the_limits_in_the_readme_are_those_of_the_service(sentence: str) -> None:
    assert sentence in " ".join(Path("README.md").read_text().split())
