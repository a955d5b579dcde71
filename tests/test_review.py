"""The review of corrections: what is shown, what each decision does, and what the page answers to others."""

import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from pipeline.core.errors import DataError
from pipeline.data import corrections
from pipeline.data.corrections import digest, read
from pipeline.review.decisions import Applied, apply, parse_decisions
from pipeline.review.inbox import NAME, read_inbox
from serving.corrections.settings import LABELS, NONE
from serving.model import Model
from tests.support.corrections import correct, correcting_client, picture_of, reviewing
from tests.support.pictures import encoded, row
from tests.support.sample_requests import PNG


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "data" / "corrections"


@pytest.fixture
def client(model: Model, inbox: Path) -> TestClient:
    return correcting_client(model, inbox)


def test_what_the_service_stores_is_what_the_review_reads(client: TestClient, inbox: Path) -> None:
    name = correct(client, picture_of(7, 1), 7)
    answer = client.post("/predict", content=picture_of(7, 1), headers=PNG).json()

    (item,), problems = read_inbox(inbox)

    assert NAME.fullmatch(name)
    assert (item.name, item.label, item.answer) == (name, "7", answer["class"] or NONE)
    assert item.confidence == pytest.approx(answer["confidence"])
    assert (item.model, item.box, item.earlier, problems) == ("mnist:v1-0123abcd", None, (), [])
    assert corrections.LABELS == LABELS


def test_kept_relabelled_and_rejected_corrections_leave_the_inbox_and_the_others_stay(
    client: TestClient, inbox: Path, kept: Path
) -> None:
    keep, relabel, reject, later = (correct(client, picture_of(digit, digit), digit) for digit in (1, 2, 3, 4))

    applied = apply(inbox, {keep: "1", relabel: "none", reject: None}, kept)

    assert applied == Applied(kept=2, relabelled=1, rejected=1)
    assert [path.name for path in inbox.iterdir()] == [later]
    assert sorted(one.label for one in read(kept)) == ["1", "none"]


def test_a_kept_file_is_what_the_model_saw_and_nothing_else(client: TestClient, inbox: Path, kept: Path) -> None:
    name = correct(client, picture_of(7, 1), 7)
    with Image.open(inbox / name / "seen.png") as picture:
        seen = np.asarray(picture)

    apply(inbox, {name: "7"}, kept)

    (file,) = kept.rglob("*.png")
    with Image.open(file) as picture:
        assert (picture.mode, picture.info) == ("L", {})
        assert (np.asarray(picture) == seen).all()
    assert file.parent.name == "7"
    assert file.name.endswith(f"-{digest(seen)}.png")


def test_an_image_waits_once_with_its_last_label_and_is_kept_once(client: TestClient, inbox: Path, kept: Path) -> None:
    first, second = correct(client, picture_of(7, 1), 1), correct(client, picture_of(7, 1), 7)
    (item,), _ = read_inbox(inbox)
    assert (item.name, item.label, item.earlier) == (second, "7", (first,))

    assert apply(inbox, {second: "7"}, kept) == Applied(kept=1)

    assert not list(inbox.iterdir())
    again = correct(client, picture_of(7, 1), 2)
    assert apply(inbox, {again: "2"}, kept) == Applied(kept=1, known=1)
    (one,) = read(kept)
    assert one.label == "2"


def test_the_digits_of_a_row_are_of_one_picture(client: TestClient, inbox: Path, kept: Path) -> None:
    picture = encoded(255 - row("4207"))
    count = len(client.post("/read", content=picture, headers=PNG).json()["digits"])
    assert count >= 2, "the untrained model reads fewer digits"
    names = [correct(client, picture, index, digit=index) for index in range(2)]
    items, _ = read_inbox(inbox)
    assert all(item.box for item in items)

    apply(inbox, dict(zip(names, "42", strict=True)), kept)

    assert len({one.picture for one in read(kept)}) == 1
    assert len(read(kept)) == 2


def damage(folder: Path, kind: str) -> None:
    """Change the only correction in the folder."""
    (item,) = folder.iterdir()
    content = json.loads((item / "correction.json").read_text())
    match kind:
        case "a label of no class":
            (item / "correction.json").write_text(json.dumps(content | {"label": "<b>"}))
        case "no JSON":
            (item / "correction.json").write_text("{")
        case "a link":
            shutil.move(item / "seen.png", folder / "elsewhere.png")
            (item / "seen.png").symlink_to(folder / "elsewhere.png")
        case "another picture":
            (item / "seen.png").write_bytes(b"GIF89a<script>")
        case "a missing file":
            (item / "seen.png").unlink()


@pytest.mark.parametrize("kind", ["a label of no class", "no JSON", "a link", "another picture", "a missing file"])
def test_a_damaged_correction_is_named_and_not_shown(client: TestClient, inbox: Path, kind: str) -> None:
    name = correct(client, picture_of(7, 1), 7)
    damage(inbox, kind)

    items, (problem,) = read_inbox(inbox)

    assert items == []
    assert name in problem


def test_what_is_no_correction_is_neither_shown_nor_removed(client: TestClient, inbox: Path, kept: Path) -> None:
    name = correct(client, picture_of(7, 1), 7)
    (inbox / f".{name}").mkdir()
    (inbox / "notes").mkdir()
    (inbox / "20261130T210747.123456Z-00000000").symlink_to(inbox / name)

    (item,), problems = read_inbox(inbox)
    applied = apply(inbox, {item.name: "7", "../data": None, "notes": None, f".{name}": None}, kept)

    assert (problems, applied) == ([], Applied(kept=1))
    assert len(list(inbox.iterdir())) == 3


@pytest.mark.parametrize("value", [[], {"a": "10"}, {"a": 7}, {"a": "../7"}, "x", None])
def test_other_decisions_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match="decisions: expected names with a label of 0, 1, "):
        parse_decisions(value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: expected the folder in which a service stores corrections, got none"):
        read_inbox(tmp_path / "none")


@pytest.fixture
def url(client: TestClient, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    correct(client, picture_of(7, 1), 7)
    monkeypatch.chdir(tmp_path)
    with reviewing(inbox) as url:
        yield url


def test_the_page_gets_what_waits_and_its_pictures(url: str, inbox: Path) -> None:
    (item,) = httpx2.get(f"{url}/corrections.json").json()["items"]

    assert (item["label"], item["kept"], item["box"]) == ("7", None, None)
    for name in ("picture.png", "seen.png"):
        response = httpx2.get(f"{url}/{item['name']}/{name}")
        assert (response.status_code, response.headers["content-type"]) == (200, "image/png")
    for path in ("/", "/review.js", "/review.css"):
        response = httpx2.get(url + path)
        assert response.status_code == 200
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in response.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    ["/../data.dvc", "/x/picture.png", "/20261130T210747.123456Z-00000000/seen.png", "/%2e%2e/seen.png", "/page"],
)
def test_other_paths_are_not_served(url: str, path: str) -> None:
    assert httpx2.get(url + path).status_code == 404


def test_a_rejection_in_the_page_removes_the_correction_and_leaves_the_data_alone(url: str, inbox: Path) -> None:
    (name,) = (path.name for path in inbox.iterdir())

    answer = httpx2.post(f"{url}/decisions", json={name: None}).json()

    assert answer == {"kept": 0, "relabelled": 0, "rejected": 1, "known": 0}
    assert not list(inbox.iterdir())
    assert not Path("data").exists()


def test_what_is_kept_outside_a_repository_is_an_error_in_a_sentence(url: str, inbox: Path) -> None:
    (name,) = (path.name for path in inbox.iterdir())

    response = httpx2.post(f"{url}/decisions", json={name: "7"})

    assert response.status_code == 422
    assert response.json()["message"].startswith("data.dvc: the images are kept, but `dvc commit data.dvc` failed: ")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"content-type": "text/plain"}, 404),
        ({"content-type": "application/x-www-form-urlencoded"}, 404),
    ],
)
def test_other_sites_decide_nothing(url: str, inbox: Path, headers: dict[str, str], status: int) -> None:
    (name,) = (path.name for path in inbox.iterdir())
    body = json.dumps({name: None}).encode()

    response = httpx2.post(f"{url}/decisions", content=body, headers={"content-type": "application/json"} | headers)

    assert response.status_code == status
    assert [path.name for path in inbox.iterdir()] == [name]
    if "host" in headers:
        assert httpx2.get(f"{url}/corrections.json", headers=headers).status_code == 403


def test_a_body_of_more_than_a_megabyte_is_not_read(url: str) -> None:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", "/decisions")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "1000001")
    connection.endheaders()

    assert connection.getresponse().status == 413
    connection.close()


def test_decisions_that_are_no_json_are_refused_in_a_sentence(url: str) -> None:
    response = httpx2.post(f"{url}/decisions", content=b"{", headers={"content-type": "application/json"})

    assert response.status_code == 422
    assert response.json()["message"].startswith("decisions: expected JSON, got: ")
