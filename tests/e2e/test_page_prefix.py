"""The page and /docs in a real browser, behind nginx, which strips a prefix as deploy/README.md says."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Final

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from docs.page_screenshots import draw, sheet
from serving.http.parsing import MAX_BODY
from serving.smoke_test import free_port, wait_until_ready
from tests.e2e.conftest import HOST
from tests.e2e.page_actions import answer, execute, new_page
from tests.support.project_clone import ROOT

PREFIX: Final = "digits/"
NGINX: Final = shutil.which("nginx") or "/usr/sbin/nginx"  # not in the PATH of every user
CONFIGURATION: Final = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port};
        {locations}
    }}
}}
"""


def documented_locations() -> str:
    (block,) = re.findall(r"```nginx\n(.*?)  ```", (ROOT / "deploy/README.md").read_text(), re.DOTALL)
    return str(block)


@pytest.fixture(scope="module")
def proxy(page_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address below which nginx has the service, as deploy/README.md configures it."""
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    locations = documented_locations()
    assert "http://127.0.0.1:3000/" in locations
    text = CONFIGURATION.format(port=port, locations=locations.replace("http://127.0.0.1:3000", page_url))
    (folder / "nginx.conf").write_text(text)
    log = folder / "log"
    with log.open("w") as output:
        command = [NGINX, "-e", "stderr", "-p", str(folder), "-c", "nginx.conf"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/{PREFIX}", process, log, path="readyz")
        yield f"http://{HOST}:{port}/{PREFIX}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["the root", "a prefix"])
def base(request: pytest.FixtureRequest, page_url: str) -> str:
    """Where the page is: of the service itself, or behind the proxy."""
    if request.param == "a prefix":
        address: str = request.getfixturevalue("proxy")
        return address
    return re.sub(r"//127\.0\.0\.1\b", f"//{HOST}", page_url) + "/"


def watch(page: Page, base: str) -> list[str]:
    """Collects, from now on, what is asked outside `base` or answered with an error."""
    trouble: list[str] = []

    def check(status: int, url: str) -> None:
        if not url.startswith(("data:", "blob:")) and (status >= 400 or not url.startswith(base)):
            trouble.append(f"{status} {url}")

    page.on("request", lambda request: check(0, request.url))
    page.on("response", lambda response: check(response.status, response.url))
    return trouble


def test_the_page_works_and_asks_nothing_outside(opened: Callable[..., Page], base: str) -> None:
    page = opened(base)
    trouble = watch(page, base)
    page.reload()

    draw(sheet(page), 2)
    assert answer(page) == "2"
    page.get_by_role("radio", name="A line").check()
    draw(sheet(page), 4, left=0.1, height=0.45)
    draw(sheet(page), 7, left=0.5, height=0.45)
    assert answer(page) == "47"
    assert not trouble


def test_its_links_lead_to_pages(opened: Callable[..., Page], base: str) -> None:
    page = opened(base)
    for name in ("Try the API", "API description", "Metrics"):
        with page.expect_response(lambda response: response.request.is_navigation_request()) as response:
            page.get_by_role("link", name=name).click()
        assert response.value.status == 200
        assert response.value.url.startswith(base)
        page.go_back()
        expect(page.locator("#model")).not_to_have_text("…")


@pytest.mark.parametrize("path", ["docs", "docs/"])
def test_an_operation_is_tried_out_where_the_page_is(browser: Browser, base: str, path: str) -> None:
    with new_page(browser) as page:
        trouble = watch(page, base)
        page.goto(base + path)
        response = execute(page, "predict_batch")

        assert page.url.partition("#")[0] == base + "docs"
        assert response.url == base + "predict_batch?shape=1%2C28%2C28"
        assert response.status == 200
        assert not trouble


def test_a_prefix_without_its_slash_leads_to_the_page(opened: Callable[..., Page], proxy: str) -> None:
    page = opened(proxy.rstrip("/"))

    assert page.url == proxy
    draw(sheet(page), 3)
    assert answer(page) == "3"


def test_the_proxy_passes_on_what_the_service_takes(proxy: str) -> None:
    address = proxy.replace(HOST, "127.0.0.1") + "predict"
    headers = {"content-type": "image/png"}

    assert httpx2.post(address, content=bytes(MAX_BODY), headers=headers, timeout=60).json()["code"] == "not_a_picture"
