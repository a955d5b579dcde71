"""Corrections in process: what is stored, what is refused, and that nothing of a client reaches the folder as it is."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.testclient import TestClient

from pipeline.core.files import read_json
from pipeline.data.image import preprocess
from serving.corrections.settings import DEFAULT_LIMITS, CorrectionLimits, corrections_folder
from serving.corrections.store import TIME, CorrectionStore
from serving.http.openapi import problem_example
from serving.model import Model
from tests.support.inprocess_service import service
from tests.support.pictures import ink, on_paper, row
from tests.support.sample_requests import BLANK, FIVE, PNG

FILES = ["correction.json", "picture.png", "seen.png"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corrections").mkdir()
    return tmp_path / "corrections"


@pytest.fixture
def start(model: Model, folder: Path) -> Callable[..., TestClient]:
    def start(**limits: int) -> TestClient:
        store = CorrectionStore(folder, CorrectionLimits(**limits))
        return TestClient(service(model, corrections=store), raise_server_exceptions=False)

    return start


@pytest.fixture
def client(start: Callable[..., TestClient]) -> TestClient:
    return start()


def correct(client: TestClient, query: str = "label=7", content: bytes = FIVE, headers: dict[str, str] = PNG) -> Any:
    return client.post(f"/corrections?{query}", content=content, headers=headers)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(path: Path) -> Any:
    with Image.open(path) as picture:
        assert (picture.format, picture.mode, picture.info) == ("PNG", "L", {})
        return np.asarray(picture)


def test_a_correction_is_the_picture_what_the_model_saw_its_answer_its_tag_the_label_and_the_time(
    client: TestClient, folder: Path
) -> None:
    answer = client.post("/predict", content=FIVE, headers=PNG).json()
    before = datetime.now(UTC).replace(microsecond=0)

    response = correct(client, headers=PNG | {"cookie": "session=secret", "x-forwarded-for": "203.0.113.7"})

    assert response.status_code == 200, response.text
    (stored,) = folder.iterdir()
    assert response.json() == {"correction": stored.name, "label": "7", "model": answer["model"]}
    assert sorted(path.name for path in stored.iterdir()) == FILES
    content = read_json(stored / "correction.json")
    assert sorted(content) == ["answer", "label", "model", "time"]
    assert content["answer"].pop("probabilities") == pytest.approx(answer.pop("probabilities"))
    assert content["answer"] | {"model": content["model"]} == answer
    assert (content["label"], content["model"]) == ("7", "mnist:v1-0123abcd")
    assert before <= datetime.fromisoformat(content["time"]) <= datetime.now(UTC)
    assert (pixels(stored / "seen.png") == preprocess(FIVE).image).all()
    with Image.open(io.BytesIO(FIVE)) as sent:
        assert (pixels(stored / "picture.png") == np.asarray(sent.convert("L"))).all()
    everything = b"".join(path.read_bytes() for path in stored.iterdir())
    assert not any(secret in everything for secret in (b"secret", b"203.0.113.7", b"testclient"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_no_byte_of_a_file_is_stored_but_its_pixels_which_the_model_sees_as_before(
    client: TestClient, folder: Path, kind: str
) -> None:
    picture, note = Image.fromarray(on_paper(ink())).convert("RGB"), b"<script>alert(1)</script>"
    exif = Image.Exif()
    exif[0x010E], exif[0x0112] = note.decode(), 6  # a description; turned by a quarter
    text = PngInfo()
    text.add_text("comment", note.decode())
    options: dict[str, dict[str, Any]] = {
        "PNG": {"pnginfo": text, "exif": exif},
        "JPEG": {"comment": note, "exif": exif},
        "WEBP": {"exif": exif},
    }
    sent = encoded(picture, kind, **options.get(kind, {"comment": note} if kind == "GIF" else {})) + note

    assert correct(client, content=sent).status_code == 200

    (stored,) = folder.iterdir()
    assert note not in (stored / "picture.png").read_bytes()
    assert (pixels(stored / "seen.png") == preprocess(sent).image).all()
    assert (preprocess((stored / "picture.png").read_bytes()).image == preprocess(sent).image).all()
    pixels(stored / "picture.png")


def test_a_large_photo_is_stored_reduced_and_seen_as_before(client: TestClient, folder: Path) -> None:
    photo = Image.fromarray(on_paper(ink())).convert("RGB").resize((3000, 3000))
    sent = encoded(photo, "PNG")

    assert correct(client, content=sent).status_code == 200

    (stored,) = folder.iterdir()
    assert max(pixels(stored / "picture.png").shape) < 2048
    assert (pixels(stored / "seen.png") == preprocess(sent).image).all()


def test_a_digit_of_a_row_is_corrected_by_its_index(client: TestClient, folder: Path) -> None:
    picture = encoded(Image.fromarray(255 - row("4207")), "PNG")
    reading = client.post("/read", content=picture, headers=PNG).json()
    index = len(reading["digits"]) - 1

    response = correct(client, f"label=7&digit={index}", picture)

    assert response.status_code == 200, response.text
    (stored,) = folder.iterdir()
    answer = read_json(stored / "correction.json")["answer"]
    assert answer["box"] == pytest.approx(reading["digits"][index]["box"])
    assert answer["digit"] == reading["digits"][index]["digit"]
    assert pixels(stored / "seen.png").shape == (28, 28)
    beyond = correct(client, f"label=7&digit={index + 1}", picture)
    assert (beyond.status_code, beyond.json()["code"]) == (400, "bad_query")
    assert f"one of the {index + 1} digits" in beyond.json()["message"]


@pytest.mark.parametrize(
    "query", ["", "label=", "label=10", "label=seven", "label=../7", "label=7&digit=-1", "label=7&digit=x"]
)
def test_a_label_or_an_index_that_is_none_is_refused(client: TestClient, folder: Path, query: str) -> None:
    response = correct(client, query)

    assert (response.status_code, response.json()["code"]) == (400, "bad_query")
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("content", "code"), [(b"hello", "not_a_picture"), (BLANK, "wrong_value"), (b"", "no_content")]
)
def test_what_the_service_cannot_answer_is_not_stored(
    client: TestClient, folder: Path, content: bytes, code: str
) -> None:
    response = correct(client, "label=none", content)

    assert response.json()["code"] == code
    assert not list(folder.iterdir())


def test_what_is_no_digit_has_the_label_none(client: TestClient, folder: Path) -> None:
    assert correct(client, "label=none").json()["label"] == "none"
    (stored,) = folder.iterdir()
    assert read_json(stored / "correction.json")["label"] == "none"


def test_without_a_folder_there_is_no_such_path_and_the_page_offers_none(model: Model) -> None:
    off = TestClient(service(model))

    assert correct(off).status_code == 404
    assert off.get("/page/settings.js").text == 'export default {"corrections":false};\n'
    assert "/corrections" not in off.get("/docs.json").json()["paths"]


def test_with_a_folder_the_page_and_the_description_offer_it(client: TestClient) -> None:
    settings = client.get("/page/settings.js")
    operation = client.get("/docs.json").json()["paths"]["/corrections"]["post"]

    assert settings.text == 'export default {"corrections":true};\n'
    assert settings.headers["content-type"].startswith("text/javascript")
    assert operation["parameters"][0]["schema"]["enum"] == [*"0123456789", "none"]
    assert client.get("/corrections").status_code == 405


def test_more_in_a_minute_than_the_limit_are_refused_whichever_worker_stored_them(
    start: Callable[..., TestClient], folder: Path
) -> None:
    one, other = start(per_minute=2), start(per_minute=2)
    assert [correct(client).status_code for client in (one, other)] == [200, 200]

    refused = correct(one)

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_corrections")
    assert refused.headers["retry-after"] == "60"
    assert correct(other).status_code == 429
    for stored in folder.iterdir():
        earlier = datetime.strptime(stored.name[:23], TIME) - timedelta(seconds=61)
        stored.rename(folder / f"{earlier.strftime(TIME)}-{stored.name[-8:]}")
    assert correct(one).status_code == 200


@pytest.mark.parametrize("limits", [{"number": 2}, {"bytes": 1500}])
def test_a_full_folder_takes_no_more_until_it_is_emptied(
    start: Callable[..., TestClient], folder: Path, limits: dict[str, int]
) -> None:
    client = start(**limits)
    codes = [correct(client).status_code for _ in range(6)]

    assert codes[0] == 200
    assert codes[-1] == 507
    assert len(list(folder.iterdir())) == codes.count(200)
    for stored in folder.iterdir():
        for path in stored.iterdir():
            path.unlink()
        stored.rmdir()
    assert correct(client).status_code == 200


def test_a_folder_that_cannot_be_written_is_a_refusal_and_leaves_nothing(client: TestClient, folder: Path) -> None:
    folder.rmdir()

    response = correct(client)

    assert (response.status_code, response.json()["code"]) == (507, "corrections_full")


def test_a_correction_is_counted_by_answer_and_label(client: TestClient) -> None:
    answer = client.post("/predict", content=FIVE, headers=PNG).json()["class"]
    line = f'digits_corrections_total{{answer="{answer}",label="3"}} '

    correct(client, "label=3")

    assert line in client.get("/metrics").text


def test_the_examples_of_refusals_are_what_the_service_answers(start: Callable[..., TestClient]) -> None:
    assert correct(start(number=0)).json() == problem_example("corrections_full")
    default = problem_example("too_many_corrections")["message"]
    assert default.startswith(f"{DEFAULT_LIMITS.per_minute} corrections")
    assert correct(start(per_minute=0)).json()["message"] == default.replace(str(DEFAULT_LIMITS.per_minute), "0", 1)


def test_the_folder_is_that_in_the_environment_and_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRECTIONS", "")
    assert corrections_folder() is None
    monkeypatch.setenv("CORRECTIONS", str(tmp_path / "new" / "folder"))
    assert corrections_folder() == tmp_path / "new" / "folder"
    assert (tmp_path / "new" / "folder").stat().st_mode & 0o777 == 0o700


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("CORRECTIONS", str(tmp_path / "file"))

    with pytest.raises(OSError, match=r"CORRECTIONS=.*file: expected a folder, got: File exists"):
        corrections_folder()


def test_other_data_sets_than_digits_have_no_corrections(client: TestClient, model: Model, folder: Path) -> None:
    model.classes = tuple("abcdefghij")
    try:
        assert correct(client).json()["code"] == "not_digits"
    finally:
        model.classes = tuple("0123456789")
    assert not list(folder.iterdir())
