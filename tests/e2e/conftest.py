"""A clone of what is committed, the Bento of its model, the service of that Bento, and its page in a browser."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from serving.smoke_test import running
from tests.support.browser import CHROMIUM_FLAGS, HOST, TIMEOUT
from tests.support.project_clone import Clone, git_clone


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes share the tests: one gets all those of `mnist`, which is computed once, the other file by file."""
    for item in items:
        needs_mnist = {"mnist", "page_url"} & set(getattr(item, "fixturenames", ()))
        item.add_marker(pytest.mark.xdist_group("mnist" if needs_mnist else item.path.stem))


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which `dvc repro` has run on the published archives, and its model has become champion. Tests restore
    what they change."""
    clone = git_clone(tmp_path_factory.mktemp("e2e") / "mnist")
    clone.environment |= {name: os.environ[name] for name in ("DATASET_MIRROR",) if name in os.environ}
    printed = clone.check_output("dvc", "repro")
    clone.check_output("python", "-m", "pipeline.promotion.promote")
    (clone.folder / "repro.log").write_text(printed)
    return clone


@pytest.fixture(scope="session")
def bento(mnist: Clone, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tag of the champion's Bento, in a store that this process and `mnist` share."""
    store = str(tmp_path_factory.mktemp("bentoml"))
    os.environ["BENTOML_HOME"] = mnist.environment["BENTOML_HOME"] = store
    mnist.check_output("python", "-m", "pipeline.packaging.bento", "--version", "1")
    return (mnist.folder / ".cache/bento").read_text()


@pytest.fixture(scope="session")
def service_url(bento: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service of that Bento."""
    with running(bento, tmp_path_factory.mktemp("service") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def page_url(request: pytest.FixtureRequest) -> str:
    """The address of the page: the service at SERVICE_URL, or else the Bento's."""
    url: str = os.environ.get("SERVICE_URL") or request.getfixturevalue("service_url")
    return url.rstrip("/")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = [*CHROMIUM_FLAGS, f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]
        yield playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a page by its address, in a browser context with the given options. A JavaScript error fails the test."""
    errors: list[str] = []
    with ExitStack() as contexts:

        def open_page(url: str, **options: Any) -> Page:
            page = contexts.enter_context(browser.new_context(**options)).new_page()
            page.set_default_timeout(TIMEOUT)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(url)
            expect(page.locator("#model")).not_to_have_text("…")
            return page

        yield open_page
    assert not errors


@pytest.fixture
def page(open_page: Callable[..., Page], page_url: str) -> Page:
    return open_page(page_url)
