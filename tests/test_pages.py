"""What a browser is served, in process: relative URLs, headers for browsers, the limits that the page applies."""

import asyncio
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from starlette.types import Message, Scope

from pipeline.core.errors import PictureError
from pipeline.data.limits import MAX_ASPECT, MIN_SIDE
from pipeline.data.picture import open_picture
from serving.http import pages
from serving.http.limits import MAX_BODY, Limits
from serving.http.pages import LIMITS, PAGES
from serving.http.parsing import PICTURES
from serving.model import Model
from tests.support.inprocess_service import service

FILES: Final = Path(pages.__file__).parents[1] / "page"
SCRIPTS: Final = sorted(FILES.glob("*.js"))
PNG: Final = {"content-type": "image/png"}
STRICT: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}


@pytest.fixture
def client(model: Model) -> Iterator[TestClient]:
    with TestClient(service(model), raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


class Links(HTMLParser):
    """Collects what a page loads and links to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = (value for name, value in attrs if name in ("href", "src", "action", "data") and value)
        self.found.extend(value for value in found if not value.startswith(("data:", "#")))


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("prefix", ["", "/digits", "/a/b"])
def test_what_a_page_loads_and_links_to_lies_below_its_prefix(client: TestClient, path: str, prefix: str) -> None:
    """The service sees paths without the prefix: the proxy strips it."""
    addresses = Links(client.get(path).text).found

    assert len(addresses) >= 3
    for address in addresses:
        absolute = urljoin(f"http://example.org{prefix}{path}", address)
        assert absolute.startswith(f"http://example.org{prefix}/"), address
        assert client.get(absolute.removeprefix(f"http://example.org{prefix}")).status_code == 200, address


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_names_no_path_from_the_root(script: Path) -> None:
    assert not re.findall(r"""["'`]/[^"'`\s]*""", script.read_text())


def test_a_style_sheet_loads_nothing() -> None:
    assert not re.findall(r"url\(|@import", (FILES / "page.css").read_text())


@pytest.mark.parametrize("prefix", ["", "/digits", "/a/b"])
def test_the_described_server_is_where_the_description_is(client: TestClient, prefix: str) -> None:
    (server,) = client.get("/docs.json").json()["servers"]

    assert urljoin(f"http://example.org{prefix}/docs.json", server["url"]) == f"http://example.org{prefix}/"


def test_docs_with_a_slash_leads_to_docs_without_one(client: TestClient) -> None:
    response = client.get("/docs/")

    assert response.status_code == 307
    assert urljoin("http://example.org/digits/docs/", response.headers["location"]) == "http://example.org/digits/docs"
    assert client.post("/docs/").status_code == 405


@pytest.mark.parametrize("name", [path.name for path in FILES.glob("*.html")])
def test_a_page_is_at_its_own_path_alone(client: TestClient, name: str) -> None:
    assert client.get(f"/page/{name}").status_code == 404


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_a_strict_policy_and_gives_no_referrer(client: TestClient, path: str) -> None:
    html = client.get(path)
    policy = dict(part.split(" ", 1) for part in html.headers["content-security-policy"].split("; "))

    assert policy.items() >= STRICT.items()
    assert set(policy["img-src"].split()) <= {"'self'", "data:", "blob:"}
    assert html.headers["referrer-policy"] == "no-referrer"
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    revalidated = client.get(path, headers={"if-none-match": html.headers["etag"]})
    assert revalidated.status_code == 304
    assert revalidated.headers["content-security-policy"] == html.headers["content-security-policy"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_its_policy_in_its_file_too(client: TestClient, path: str) -> None:
    """For a copy that is served or opened otherwise. `frame-ancestors` counts in a header alone."""
    html = client.get(path)
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)"', html.text)
    served = html.headers["content-security-policy"].split("; ")

    assert policy.split("; ") == [part for part in served if not part.startswith("frame-ancestors")]
    assert html.text.index("<meta http-equiv") < min(html.text.index("<script"), html.text.index("<link"))
    assert '<meta name="referrer" content="no-referrer"' in html.text


ANSWERED: Final = {
    "a page": ("GET", "/", {}, b"", 200),
    "a page's head": ("HEAD", "/docs", {}, b"", 200),
    "a script": ("GET", "/page/main.js", {}, b"", 200),
    "a made script": ("GET", "/page/limits.js", {}, b"", 200),
    "a redirect": ("GET", "/docs/", {}, b"", 307),
    "JSON": ("GET", "/model", {}, b"", 200),
    "a batch": ("POST", "/predict_batch?shape=1,28,28", {"content-type": "application/octet-stream"}, bytes(784), 200),
    "text": ("GET", "/metrics", {}, b"", 200),
    "an unknown path": ("GET", "/page/none.js", {}, b"", 404),
    "a wrong method": ("PUT", "/model", {}, b"", 405),
    "no picture": ("POST", "/predict", PNG, b"<script>", 422),
    "a body that is not read": ("POST", "/predict", PNG, bytes(MAX_BODY + 1), 413),
}


@pytest.mark.parametrize("kind", ANSWERED)
def test_the_type_of_no_answer_is_guessed(client: TestClient, kind: str) -> None:
    method, path, headers, content, status = ANSWERED[kind]

    response = client.request(method, path, headers=headers, content=content)

    assert response.status_code == status
    assert response.headers.get_list("x-content-type-options") == ["nosniff"]


def test_nor_that_of_an_error_or_of_an_overloaded_service(
    client: TestClient, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.http.handlers.preprocess", lambda content: 1 / 0)
    failed = client.post("/predict", content=b"x", headers=PNG)
    busy = TestClient(service(model, Limits(requests=0))).post("/predict", content=b"x", headers=PNG)

    assert (failed.status_code, busy.status_code) == (500, 429)
    assert failed.headers["x-content-type-options"] == busy.headers["x-content-type-options"] == "nosniff"


def test_headers_for_browsers_are_built_once(model: Model) -> None:
    """Not once for each request."""
    scope: Scope = {"type": "http", "method": "GET", "path": "/livez", "query_string": b"", "headers": []}
    started: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        started.extend([message] if message["type"] == "http.response.start" else [])

    for _ in range(2):
        asyncio.run(service(model)(scope, receive, send))

    first, second = (
        next(header for header in message["headers"] if header[0] == b"x-content-type-options") for message in started
    )
    assert first is second


def drawn(width: int, height: int, media_type: str) -> bytes:
    """A white picture file with a grey corner."""
    image = np.full((height, width), 255, np.uint8)
    image[: height // 2, : width // 2] = 128
    buffer = io.BytesIO()
    name = media_type.removeprefix("image/")
    Image.fromarray(image).save(buffer, name, **({"method": 0, "quality": 1} if name == "webp" else {}))
    return buffer.getvalue()


def is_refused_for_its_size(content: bytes) -> bool:
    try:
        open_picture(content)
    except PictureError as error:
        return error.code == "picture_size"
    return False


def limits_module(client: TestClient) -> dict[str, Any]:
    response = client.get("/page/limits.js")
    assert response.headers["content-type"].startswith("text/javascript")
    limits: dict[str, Any] = json.loads(response.text.removeprefix("export default ").rstrip(";\n"))
    return limits


def test_the_page_gets_the_limits_of_the_service(client: TestClient) -> None:
    limits = limits_module(client)

    assert limits == LIMITS
    assert set(LIMITS["max_pixels"]) == set(PICTURES)
    assert (limits["max_bytes"], limits["min_side"], limits["max_aspect"]) == (MAX_BODY, MIN_SIDE, MAX_ASPECT)


@pytest.mark.parametrize(("media_type", "most"), LIMITS["max_pixels"].items())
def test_as_many_pixels_as_the_page_allows_are_accepted_and_no_more(media_type: str, most: int) -> None:
    width = 5000
    assert most % width == 0

    assert not is_refused_for_its_size(drawn(width, most // width, media_type))
    assert is_refused_for_its_size(drawn(width, most // width + 1, media_type))


def test_the_page_repeats_no_limit_of_the_service() -> None:
    numbers = {MAX_BODY, *LIMITS["max_pixels"].values()}
    for script in SCRIPTS:
        written = {int(digits.replace("_", "")) for digits in re.findall(r"\b\d[\d_]{4,}", script.read_text())}
        assert not written & numbers, script.name
        assert not re.findall(r"image/(jpeg|bmp|gif|webp)", script.read_text()), script.name
