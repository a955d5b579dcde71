"""The service's API in process: answers, refusals, and what happens under overload."""

import asyncio
import io
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from starlette.responses import Response
from starlette.testclient import TestClient
from starlette.types import Message

from pipeline.data.dataset import Split
from pipeline.data.image import preprocess
from serving.http import parsing
from serving.http.app import HttpApi
from serving.http.errors import STATUS, Problem
from serving.http.limits import DEFAULT_LIMITS, MAX_BATCH, MAX_BODY, Limits
from serving.http.openapi import describe
from serving.http.watchdog import Watchdog
from serving.model import Model
from tests.support.inprocess_service import bentoml_app, service
from tests.support.pictures import encoded, png_header, row
from tests.support.sample_requests import (
    BLANK,
    FIVE,
    FORM,
    JSON,
    MULTIPART,
    PICKLE,
    PNG,
    RAW,
    UNBOUND,
    batch_of,
    gif,
    image_list,
)
from tests.support.synthetic_digits import pictures


@pytest.fixture
def client(model: Model) -> Iterator[TestClient]:
    with TestClient(service(model), raise_server_exceptions=False) as client:
        yield client


def test_a_picture_gets_the_models_answer_to_its_28_by_28_pixels(client: TestClient, model: Model) -> None:
    answer = client.post("/predict", content=FIVE, headers=PNG).json()

    (probabilities,), (score,) = model.classify(preprocess(FIVE).image[None])
    assert answer["probabilities"] == pytest.approx(probabilities.tolist())
    assert answer["digit"] == probabilities.argmax()
    assert answer["class"] == str(answer["digit"])
    assert answer["reason"] is None
    assert answer["digit_score"] == pytest.approx(score)
    assert answer["confidence"] == pytest.approx(score * max(answer["probabilities"]))
    assert answer["model"] == "mnist:v1-0123abcd"
    assert "seen" not in answer


@pytest.mark.parametrize("path", ["/predict", "/read"])
def test_a_file_in_a_form_gets_the_same_answer_as_the_body(client: TestClient, path: str) -> None:
    form = client.post(path, files={"picture": ("five.png", FIVE, "image/png")})

    assert form.status_code == 200
    assert form.json() == client.post(path, content=FIVE, headers=PNG).json()


def test_a_flag_in_the_form_counts_as_one_in_the_query(client: TestClient) -> None:
    form = {"picture": ("five.png", FIVE, "image/png")}

    with_flag = client.post("/predict", files=form, data={"seen": "true"}).json()
    refused = client.post("/predict", files=form, data={"seen": "perhaps"})

    assert with_flag == client.post("/predict?seen=true", files=form).json()
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_query")


@pytest.mark.parametrize("media_type", [*parsing.PICTURE_TYPES, "IMAGE/JPG", "image/x-ms-bmp; charset=binary"])
def test_the_bytes_decide_what_a_picture_is_under_any_name_of_its_type(client: TestClient, media_type: str) -> None:
    raw = client.post("/predict", content=FIVE, headers={"content-type": media_type})
    form = client.post("/predict", files={"picture": ("five", FIVE, media_type)})

    assert (raw.status_code, form.status_code) == (200, 200)
    assert raw.json() == form.json() == client.post("/predict", content=FIVE, headers=PNG).json()


@pytest.mark.parametrize("media_type", ["image/jpg", "image/pjpeg", "image/x-png", "image/x-ms-bmp", "image/x-bmp"])
def test_the_usual_other_names_of_picture_types_are_accepted(media_type: str) -> None:
    assert media_type in parsing.PICTURE_TYPES


def test_the_picture_that_the_model_saw_comes_with_the_answer(client: TestClient) -> None:
    seen = client.post("/predict?seen=true", content=FIVE, headers=PNG).json()["seen"]

    import base64

    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(seen.removeprefix("data:image/png;base64,")))))
    assert (image == preprocess(FIVE).image).all()


def test_a_blank_picture_is_not_a_digit(client: TestClient) -> None:
    for path in ("/predict", "/read"):
        answer = client.post(path, content=BLANK, headers=PNG)
        assert answer.status_code == 200
        assert answer.json()["reason"] == "blank_page"
    blank = client.post("/predict", content=BLANK, headers=PNG).json()
    assert blank["digit"] is blank["class"] is blank["confidence"] is None
    assert (blank["digit_score"], len(blank["probabilities"])) == (0, 10)
    assert client.post("/read", content=BLANK, headers=PNG).json()["text"] == ""


def test_what_scores_below_the_threshold_is_not_a_digit(
    client: TestClient, model: Model, monkeypatch: pytest.MonkeyPatch, digits: Split
) -> None:
    answered = client.post("/predict", content=FIVE, headers=PNG).json()
    monkeypatch.setattr(model, "threshold", 1.0)
    refused = client.post("/predict", content=FIVE, headers=PNG).json()
    several = client.post("/predict", content=encoded(255 - row("27")), headers=PNG).json()
    batch = client.post("/predict_batch?shape=2,28,28", content=digits.images[:2].tobytes(), headers=RAW).json()
    read = client.post("/read", content=encoded(255 - row("27")), headers=PNG).json()

    assert refused == answered | {"digit": None, "class": None, "confidence": None, "reason": "not_a_digit"}
    assert several["reason"] == "several_digits"
    assert (batch["digits"], batch["reasons"]) == ([None, None], ["not_a_digit"] * 2)
    assert all(0 < score < 1 for score in batch["digit_scores"])
    assert (read["text"], read["digits"], read["reason"]) == ("", [], "not_a_digit")
    assert len(read["rejected"]) == 2
    assert read["rejected"][0]["left"] < read["rejected"][1]["left"]


def test_a_row_that_is_refused_names_the_boxes_that_it_would_have_read(
    client: TestClient, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = client.post("/read", content=FIVE, headers=PNG).json()
    monkeypatch.setattr(model, "threshold", 1.0)
    refused = client.post("/read", content=FIVE, headers=PNG).json()

    assert (read["reason"], read["rejected"]) == (None, [])
    assert refused["rejected"] == [digit["box"] for digit in read["digits"]]


def test_the_models_preprocessing_decides_how_a_picture_becomes_an_image(
    client: TestClient, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "preprocessing", "none")
    answer = client.post("/predict", content=FIVE, headers=PNG).json()

    (probabilities,), _ = model.classify(preprocess(FIVE, "none").image[None])
    assert answer["probabilities"] == pytest.approx(probabilities.tolist())
    about = client.get("/model").json()
    assert (about["preprocessing"], about["threshold"]) == ("none", model.threshold)


def test_a_page_of_marks_is_no_digit_whatever_the_network_makes_of_it(client: TestClient) -> None:
    page = np.full((300, 300), 255, np.uint8)
    for top in range(20, 280, 40):
        page[top : top + 12, 30:270:20] = page[top : top + 12, 31:270:20] = page[top : top + 12, 32:270:20] = 0
    answer = client.post("/predict", content=encoded(page), headers=PNG).json()
    assert answer["digit"] is None
    assert answer["digit_score"] <= 0.1


def test_every_synthetic_picture_is_answered(client: TestClient) -> None:
    files = pictures(5)
    for name in sorted(files)[::10]:
        kind = "jpeg" if str(name).endswith("jpg") else str(name).rpartition(".")[2]
        answer = client.post("/predict", content=files[name], headers={"content-type": f"image/{kind}"})
        assert answer.status_code == 200, (name, answer.text)
        assert answer.json()["reason"] is None


@pytest.mark.parametrize("count", [1, 17, 200])
def test_raw_bytes_and_json_get_the_models_answers_in_order(
    client: TestClient, model: Model, digits: Split, count: int
) -> None:
    images = digits.images[:count]

    raw = client.post(f"/predict_batch?shape={count},28,28", content=images.tobytes(), headers=RAW)
    listed = client.post("/predict_batch", content=batch_of(images.tolist()), headers=JSON)

    assert raw.status_code == 200
    assert raw.json() == listed.json()
    assert np.allclose(raw.json()["probabilities"], model.classify(images)[0], atol=1e-6)
    assert raw.json()["digits"] == model.classify(images)[0].argmax(axis=1).tolist()


def test_a_blank_image_in_a_batch_has_no_digit(client: TestClient, digits: Split) -> None:
    images = [image_list(28, 28), digits.images[0].tolist()]

    answer = client.post("/predict_batch", content=batch_of(images), headers=JSON).json()

    assert answer["reasons"] == ["blank_page", None]
    assert answer["digits"][0] is None
    assert answer["digit_scores"][0] == 0 < answer["digit_scores"][1]
    assert answer["digits"][1] == np.argmax(answer["probabilities"][1])


def test_each_image_of_a_batch_is_judged_by_its_own_score(
    client: TestClient, model: Model, monkeypatch: pytest.MonkeyPatch, digits: Split
) -> None:
    images = digits.images[:20]
    probabilities, scores = model.classify(images)
    monkeypatch.setattr(model, "threshold", float(np.median(scores)))
    answer = client.post("/predict_batch?shape=20,28,28", content=images.tobytes(), headers=RAW).json()

    refused = scores < model.threshold
    assert answer["reasons"] == ["not_a_digit" if none else None for none in refused]
    assert answer["digits"] == [
        None if none else digit for none, digit in zip(refused, probabilities.argmax(axis=1), strict=True)
    ]
    assert answer["digit_scores"] == pytest.approx(scores.tolist())
    assert len(answer["probabilities"]) == 20


PUNYCODE, UNDEFINED = ({"content-type": f"{MULTIPART['content-type']}; charset={c}"} for c in ("punycode", "undefined"))
MANY_KEYS = json.dumps(dict.fromkeys(map(str, range(100_000)))).encode()
AS_FORM = b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\n' + FIVE + b"\r\n--x--\r\n"
BAD: dict[str, tuple[str, Any, dict[str, str], str]] = {
    "text as a picture": ("/predict", b"hello", PNG, "not_a_picture"),
    "no body": ("/predict", b"", PNG, "no_content"),
    "an empty file in a form": ("/predict", {"picture": ("a.png", b"", "image/png")}, {}, "no_content"),
    "half a picture": ("/predict", FIVE[: len(FIVE) // 2], PNG, "damaged_picture"),
    "a bomb": ("/predict", png_header(40_000, 40_000), PNG, "picture_size"),
    "four pixels": ("/predict", encoded(np.zeros((2, 2), np.uint8)), PNG, "picture_size"),
    "an animation": ("/predict", gif(3), {"content-type": "image/gif"}, "animated_picture"),
    "an unsupported format": ("/predict", FIVE, {"content-type": "image/tiff"}, "unsupported_media_type"),
    "a vector picture": ("/predict", b"<svg/>", {"content-type": "image/svg+xml"}, "unsupported_media_type"),
    "JSON as a picture": ("/predict", b'{"url": "http://127.0.0.1/"}', JSON, "unsupported_media_type"),
    "a text form": ("/predict", b"a=b", FORM, "unsupported_media_type"),
    "a text file in a form": ("/predict", {"picture": ("a.txt", b"a", "text/plain")}, {}, "unsupported_media_type"),
    "a compressed picture": ("/predict", FIVE, PNG | {"content-encoding": "gzip"}, "unsupported_media_type"),
    "a form without its boundary": ("/predict", b"--x", UNBOUND, "malformed_multipart"),
    "a broken form": ("/predict", b"--x\r\nrubbish", MULTIPART, "malformed_multipart"),
    "a truncated form": (
        "/predict",
        b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a.png"\r\n\r\n' + FIVE,
        MULTIPART,
        "malformed_multipart",
    ),
    "a form with no file": (
        "/predict",
        b'--x\r\nContent-Disposition: form-data; name="picture"\r\n\r\nfive\r\n--x--\r\n',
        MULTIPART,
        "missing_part",
    ),
    "two files": (
        "/predict",
        [("picture", ("a.png", FIVE, "image/png")), ("picture", ("b.png", FIVE, "image/png"))],
        {},
        "malformed_multipart",
    ),
    "a flag that is neither true nor false": ("/predict?seen=perhaps", FIVE, PNG, "bad_query"),
    "text to read": ("/read", b"hello", PNG, "not_a_picture"),
    "not JSON": ("/predict_batch", b"{", JSON, "malformed_json"),
    "nothing as JSON": ("/predict_batch", b"", JSON, "malformed_json"),
    "not UTF-8": ("/predict_batch", b'{"images": "\xff"}', JSON, "malformed_json"),
    "deep JSON": ("/predict_batch", b'{"images":' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON, "malformed_json"),
    "NaN": ("/predict_batch", batch_of(image_list(1, 28, 28, value=float("nan"))), JSON, "malformed_json"),
    "another key": ("/predict_batch", b'{"images": [], "url": "http://127.0.0.1/"}', JSON, "wrong_value"),
    "no image": ("/predict_batch", batch_of([]), JSON, "wrong_shape"),
    "an image and no batch": ("/predict_batch", batch_of(image_list(28, 28)), JSON, "wrong_value"),
    "a tall image": ("/predict_batch", batch_of(image_list(1, 56, 28)), JSON, "wrong_shape"),
    "a narrow row": ("/predict_batch", batch_of([[*image_list(27, 28), [0] * 27]]), JSON, "wrong_shape"),
    "brighter than light": ("/predict_batch", batch_of(image_list(1, 28, 28, value=256)), JSON, "wrong_value"),
    "darker than dark": ("/predict_batch", batch_of(image_list(1, 28, 28, value=-1)), JSON, "wrong_value"),
    "half a grey level": ("/predict_batch", batch_of(image_list(1, 28, 28, value=0.5)), JSON, "wrong_value"),
    "text for a pixel": ("/predict_batch", batch_of(image_list(1, 28, 28, value="7")), JSON, "wrong_value"),
    "a Boolean for a pixel": ("/predict_batch", batch_of(image_list(1, 28, 28, value=True)), JSON, "wrong_value"),
    "a list for a body": ("/predict_batch", b"[]", JSON, "wrong_value"),
    "raw bytes of no shape": ("/predict_batch", bytes(784), RAW, "bad_query"),
    "a tall image as raw bytes": ("/predict_batch?shape=1,56,28", bytes(1568), RAW, "bad_query"),
    "no image as raw bytes": ("/predict_batch?shape=0,28,28", b"", RAW, "bad_query"),
    "a shape that is a long number": (f"/predict_batch?shape={'9' * 5000},28,28", b"", RAW, "bad_query"),
    "one byte too few": ("/predict_batch?shape=1,28,28", bytes(783), RAW, "wrong_shape"),
    "a picture for a batch": ("/predict_batch", FIVE, PNG, "unsupported_media_type"),
    "a pickle": ("/predict_batch", pickle.dumps(1), PICKLE, "unsupported_media_type"),
    "a pickle as a picture": ("/predict", pickle.dumps(1), PICKLE, "unsupported_media_type"),
    "an unknown path": ("/guess", FIVE, PNG, "not_found"),
    "a charset of the client's choice": ("/predict", AS_FORM, PUNYCODE, "malformed_multipart"),
    "a charset that there is not": ("/predict", AS_FORM, UNDEFINED, "malformed_multipart"),
    "more JSON than memory": ("/predict_batch", b" " * (2 * 2**20 + 1), JSON, "body_too_large"),
    "a million wrong pixels": ("/predict_batch", batch_of(image_list(600, 28, 28, value=-1)), JSON, "wrong_value"),
    "a hundred thousand keys": ("/predict_batch", MANY_KEYS, JSON, "wrong_value"),
    "a file of the page is written": ("/page/page.css", b"", {}, "method_not_allowed"),
    "a path out of the page": ("/page/../service.py", b"", {}, "not_found"),
    "a POST to the page": ("/", b"", {}, "method_not_allowed"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_gets_its_status_and_a_reason(client: TestClient, kind: str) -> None:
    path, content, headers, code = BAD[kind]
    if isinstance(content, bytes):
        response = client.post(path, content=content, headers=headers)
    else:
        response = client.post(path, files=content, headers=headers)

    problem = response.json()
    assert (response.status_code, problem["code"]) == (STATUS[code], code), problem
    assert problem["message"]
    assert set(problem) <= {"code", "message", "got", "expected"}
    assert client.get("/readyz").status_code == 200


def test_validation_stops_at_the_first_wrong_pixel(client: TestClient) -> None:
    with pytest.raises(ValidationError) as caught:
        parsing.PIXEL_VALUES.validate_python(image_list(100, 28, 28, value=-1))
    assert caught.value.error_count() == 1

    problem = client.post("/predict_batch", content=batch_of(image_list(100, 28, 28, value=-1)), headers=JSON).json()
    assert problem["message"].startswith("images[0][0][0]: ")
    assert problem["got"] == "-1"


@pytest.mark.parametrize("path", ["/", "/docs", "/page/page.css"])
def test_a_part_of_a_file_is_answered_with_the_whole_file(client: TestClient, path: str) -> None:
    for value in ("bytes=0-1", "bytes=99999999-", "bytes=5-1", "items=0-1", "x"):
        response = client.get(path, headers={"range": value})
        assert (response.status_code, response.content) == (200, client.get(path).content)


def test_every_content_encoding_header_counts(client: TestClient) -> None:
    headers = [("content-type", "image/png"), ("content-encoding", "identity"), ("content-encoding", "gzip")]

    assert client.post("/predict", content=FIVE, headers=headers).status_code == 415


def test_a_request_waits_only_so_long_for_other_pictures(model: Model) -> None:
    api = HttpApi(bentoml_app, lambda: model, Watchdog(), lock_seconds=0.05)

    async def ask() -> None:
        with pytest.raises(Problem, match=r"other pictures took 0\.05 seconds"):
            await api._in_thread(dict)

    async def both() -> object:
        async with api.lock:
            await asyncio.create_task(ask())
        return await api._in_thread(dict)

    assert isinstance(asyncio.run(both()), Response)


def test_a_wrong_method_gets_the_allowed_ones(client: TestClient) -> None:
    response = client.get("/predict")

    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_a_body_over_the_limit_is_not_read(model: Model) -> None:
    client = TestClient(service(model, Limits(body=1000)))

    def drops() -> Iterator[bytes]:  # of no announced length
        for _ in range(5):
            yield bytes(300)

    announced = client.post("/predict", content=bytes(1001), headers=PNG)
    dropped = client.post("/predict", content=drops(), headers=PNG)

    for response in (announced, dropped):
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert response.headers["connection"] == "close"
    assert client.post("/predict", content=bytes(1000), headers=PNG).status_code == 422


def test_an_overloaded_service_returns_429_and_still_answers_its_probes(model: Model) -> None:
    with TestClient(service(model, Limits(requests=0))) as client:
        refused = client.post("/predict", content=FIVE, headers=PNG)

        assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
        assert int(refused.headers["retry-after"]) > 0
        assert [client.get(path).status_code for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]


def test_too_many_bytes_at_once_are_refused_before_they_fill_the_memory(model: Model) -> None:
    with TestClient(service(model, Limits(bodies=100))) as client:
        assert client.post("/predict", content=FIVE, headers=PNG).status_code == 429
        assert client.post("/predict_batch", content=b"{}", headers=JSON).status_code == 422  # given back


def test_the_service_is_ready_only_if_the_golden_pictures_get_their_golden_answers(model: Model) -> None:
    with TestClient(service(model)) as client:
        assert client.get("/readyz").status_code == 200
        golden, model._golden_answers = model._golden_answers, [answer[::-1] for answer in model._golden_answers]
        try:
            refused = client.get("/readyz")
        finally:
            model._golden_answers = golden
        assert (refused.status_code, refused.json()["code"]) == (503, "not_ready")
        assert client.get("/livez").status_code == 200


def test_an_internal_error_is_reported_without_details(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("serving.http.handlers.preprocess", lambda *arguments: 1 / 0)

    response = client.post("/predict", content=FIVE, headers=PNG)

    assert (response.status_code, response.json()["code"]) == (500, "internal_error")
    assert "division" not in response.text
    assert "ZeroDivisionError" in caplog.text


def test_the_metrics_count_requests_digits_and_refusals(client: TestClient) -> None:
    def value(line: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(found.rpartition(" ")[2]) for found in lines if found.startswith(line))

    names = (
        'digits_requests_total{path="/predict",status="200"}', "digits_predictions_total{", "digits_confidence_count",
        "digits_none_total{", 'digits_rejected_total{code="not_a_picture"}',
        'digits_request_seconds_count{path="/predict"}', "digits_score_count",
    )  # fmt: skip
    before = [value(name) for name in names]

    client.post("/predict", content=FIVE, headers=PNG)
    client.post("/predict", content=BLANK, headers=PNG)
    client.post("/predict", content=b"hello", headers=PNG)
    client.post("/predict_batch?shape=2,28,28", content=b"\0" * 784 + b"\x7f" * 784, headers=RAW)

    assert [value(name) - was for name, was in zip(names, before, strict=True)] == [2, 2, 2, 2, 1, 3, 4]


def test_what_is_no_digit_is_counted_once(
    client: TestClient, model: Model, monkeypatch: pytest.MonkeyPatch, digits: Split
) -> None:
    def value() -> float:
        return sum(map(float, re.findall(r'digits_none_total{reason="not_a_digit"} (.*)', client.get("/metrics").text)))

    monkeypatch.setattr(model, "threshold", 1.0)
    before = value()
    for path in ("/predict", "/read"):
        client.post(path, content=FIVE, headers=PNG)
    client.post("/predict_batch?shape=3,28,28", content=digits.images[:3].tobytes(), headers=RAW)

    assert value() - before == 5


def resolved(schema: Any, root: Any) -> Any:
    return schema | {"components": root["components"]}


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_answers_and_refusals_match_the_description(
    client: TestClient, model: Model, monkeypatch: pytest.MonkeyPatch, threshold: float
) -> None:
    monkeypatch.setattr(model, "threshold", threshold)
    description = client.get("/docs.json").json()
    posts = {
        "/predict": [(FIVE, PNG), (BLANK, PNG), (b"hello", PNG)],
        "/read": [(FIVE, PNG), (BLANK, PNG)],
        "/predict_batch": [(batch_of(image_list(2, 28, 28, value=9)), JSON), (b"{}", JSON)],
    }
    for path, requests in posts.items():
        for content, headers in requests:
            response = client.post(f"{path}?seen=true", content=content, headers=headers)
            described = description["paths"][path]["post"]["responses"][str(response.status_code)]
            schema = described["content"]["application/json"]["schema"]
            jsonschema.validate(response.json(), resolved(schema, description))


def test_the_examples_of_the_description_are_valid() -> None:
    description = describe("mnist:v1-0123abcd", "mnist", tuple("0123456789"), corrections=True)
    for operations in description["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                for content in response["content"].values():
                    schema = resolved(content["schema"], description)
                    for example in (content.get("examples") or {"": {"value": content.get("example")}}).values():
                        jsonschema.validate(example["value"], schema)


def test_every_problem_of_an_operation_is_described() -> None:
    described = json.dumps(describe("mnist:v1-0123abcd", "mnist", tuple("0123456789"), corrections=True)["paths"])
    assert {code for code in STATUS if f'"{code}"' not in described} == {
        "not_found",  # of no operation
        "malformed_request",  # before one is found
        "head_too_large",
        "slow_head",
    }
    assert "got …" not in described


@pytest.mark.parametrize("path", ["/", "/docs", "/page/docs.js", "/model"])
def test_the_page_and_the_description_are_served_from_here(client: TestClient, path: str) -> None:
    response = client.get(path)

    assert response.status_code == 200
    if path in ("/", "/docs"):
        assert "https://" not in response.text


def test_serving_imports_nothing_that_the_image_lacks() -> None:
    script = (
        "import sys, serving.http.app, serving.http.limits_middleware, serving.model, serving.http.openapi\n"
        "print([name for name in ('torch', 'mlflow', 'dvc', 'matplotlib', 'pandas', 'sklearn') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_the_limits_are_those_that_the_memory_allows() -> None:
    assert DEFAULT_LIMITS.bodies <= 64 * 2**20
    assert MAX_BATCH * parsing.PIXELS <= MAX_BODY


UPLOAD = {
    "type": "http",
    "method": "POST",
    "path": "/predict",
    "query_string": b"",
    "headers": [(b"content-type", b"image/png"), (b"content-length", b"100")],
}


def test_a_client_that_disconnects_during_its_body_is_not_an_error(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    coming: list[Message] = [
        {"type": "http.request", "body": FIVE[:50], "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(service(model)(UPLOAD, receive, send))

    assert ([message.get("status") for message in sent], caplog.text) == ([499, None], "")  # uvicorn sends it to nobody
