"""A clone of what is committed, as a new user has it; the Bento of its model, served; its page in a browser."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from docs.page_screenshots import PATIENCE
from docs.screenshots import SWITCHES
from serving.smoke_test import running
from tests.support.project_clone import ROOT, Clone

HOST = "digits.test"  # the loopback under a name, as a person elsewhere would type one; only the browser knows it


def clone(folder: Path) -> Clone:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return Clone(folder)


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which `dvc repro` has been typed, once, on the published archives."""
    place = clone(tmp_path_factory.mktemp("whole") / "mnist")
    place.environment |= {name: os.environ[name] for name in ("DATASET_MIRROR",) if name in os.environ}
    place.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{place.environment['PATH']}"
    (place.folder / "repro.log").write_text(place.must("dvc", "repro"))
    return place


@pytest.fixture(scope="session")
def bento(mnist: Clone, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tag of the champion's Bento, in a store that this process and `mnist` share."""
    store = str(tmp_path_factory.mktemp("bentoml"))
    os.environ["BENTOML_HOME"] = mnist.environment["BENTOML_HOME"] = store
    mnist.must("python", "-m", "pipeline.packaging.bento", "--version", "1")
    return (mnist.folder / ".cache/bento").read_text()


@pytest.fixture(scope="session")
def service_url(bento: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where that Bento is served."""
    with running(bento, tmp_path_factory.mktemp("service") / "log") as url:
        yield url


@pytest.fixture(scope="module")
def page_url(request: pytest.FixtureRequest) -> str:
    """Where the page is: of the Bento, or of the service that SERVICE_URL names."""
    url: str = os.environ.get("SERVICE_URL") or request.getfixturevalue("service_url")
    return url.rstrip("/")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as pilot:
        switches = [*SWITCHES, f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]
        yield pilot.chromium.launch(executable_path=shutil.which("chromium"), args=switches)


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages, by address and with the settings of a browser's context. An error in one fails the test."""
    contexts = []
    errors: list[str] = []

    def open_page(url: str, **settings: Any) -> Page:
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        expect(page.locator("#model")).not_to_have_text("…")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture
def page(opened: Callable[..., Page], page_url: str) -> Page:
    return opened(page_url)
