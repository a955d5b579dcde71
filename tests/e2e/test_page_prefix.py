"""The page and /docs in a real browser, behind nginx, which strips a prefix: `deploy/nginx.conf`."""

import re
from collections.abc import Callable, Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from serving.http.limits import MAX_BODY
from tests.e2e.page_actions import answer, execute, new_page
from tests.support.browser import HOST, draw, pad
from tests.support.nginx import running_nginx


@pytest.fixture(scope="module")
def proxy(page_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the service behind nginx."""
    with running_nginx(page_url, tmp_path_factory.mktemp("nginx")) as url:
        yield url.replace("127.0.0.1", HOST)


@pytest.fixture(params=["the root", "a prefix"])
def base(request: pytest.FixtureRequest, page_url: str) -> str:
    """The address of the page: at the service itself, or behind the proxy."""
    if request.param == "a prefix":
        address: str = request.getfixturevalue("proxy")
        return address
    return re.sub(r"//127\.0\.0\.1\b", f"//{HOST}", page_url) + "/"


def collect_errors(page: Page, base: str) -> list[str]:
    """Returns a list that grows by each request outside `base` and each response with an error."""
    errors: list[str] = []

    def check(status: int, url: str) -> None:
        if not url.startswith(("data:", "blob:")) and (status >= 400 or not url.startswith(base)):
            errors.append(f"{status} {url}")

    page.on("request", lambda request: check(0, request.url))
    page.on("response", lambda response: check(response.status, response.url))
    return errors


def test_the_page_works_and_requests_nothing_outside(open_page: Callable[..., Page], base: str) -> None:
    page = open_page(base)
    errors = collect_errors(page, base)
    page.reload()

    draw(pad(page), 2)
    assert answer(page) == "2"
    page.get_by_role("radio", name="A line").check()
    draw(pad(page), 4, left=0.1, height=0.45)
    draw(pad(page), 7, left=0.5, height=0.45)
    assert answer(page) == "47"
    assert not errors


def test_its_links_work(open_page: Callable[..., Page], base: str, request: pytest.FixtureRequest) -> None:
    """The proxy does not expose the metrics."""
    page = open_page(base)
    for name in ("Try the API", "API description", "Metrics"):
        with page.expect_response(lambda response: response.request.is_navigation_request()) as response:
            page.get_by_role("link", name=name).click()
        is_hidden = name == "Metrics" and request.node.callspec.params["base"] == "a prefix"
        assert response.value.status == (404 if is_hidden else 200)
        assert response.value.url.startswith(base)
        page.go_back()
        expect(page.locator("#model")).not_to_have_text("…")


@pytest.mark.parametrize("path", ["docs", "docs/"])
def test_an_operation_tried_out_in_swagger_ui_stays_below_the_base(browser: Browser, base: str, path: str) -> None:
    with new_page(browser) as page:
        errors = collect_errors(page, base)
        page.goto(base + path)
        response = execute(page, "predict_batch")

        assert page.url.partition("#")[0] == base + "docs"
        assert response.url == base + "predict_batch?shape=1%2C28%2C28"
        assert response.status == 200
        assert not errors


def test_a_prefix_without_its_slash_redirects_to_the_page(open_page: Callable[..., Page], proxy: str) -> None:
    page = open_page(proxy.rstrip("/"))

    assert page.url == proxy
    draw(pad(page), 3)
    assert answer(page) == "3"


def test_the_proxy_accepts_bodies_as_large_as_the_service_does(proxy: str) -> None:
    address = proxy.replace(HOST, "127.0.0.1") + "predict"
    headers = {"content-type": "image/png"}

    assert httpx2.post(address, content=bytes(MAX_BODY), headers=headers, timeout=60).json()["code"] == "not_a_picture"
