"""The base image of a container is named by its digest. Building one: `tests/e2e/test_container.py`."""

from pathlib import Path

import pytest

from pipeline.core.errors import StorageError
from pipeline.packaging.container import base_digest, pin_base

BASE = "docker.io/library/python:3.11-slim"
FOUND, GIVEN = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine that has the base image. What it is called with is in the file `calls` beside it."""
    engine = tmp_path / "podman"
    engine.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\necho python@{FOUND}\n')
    engine.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("BASE_DIGEST", raising=False)
    return engine


def test_the_digest_is_what_the_tag_names_after_a_pull(podman: Path) -> None:
    assert base_digest(BASE, "podman", []) == FOUND
    assert podman.with_name("calls").read_text().splitlines()[0] == f"pull {BASE}"


def test_nothing_is_pulled_where_the_options_forbid_it(podman: Path) -> None:
    assert base_digest(BASE, "podman", ["--opt", "pull-never"]) == FOUND
    assert "pull " not in podman.with_name("calls").read_text()


def test_a_given_digest_is_used(podman: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE_DIGEST", GIVEN)

    assert base_digest(BASE, "podman", []) == GIVEN
    assert not podman.with_name("calls").exists()


def test_an_image_without_a_digest_is_named(podman: Path) -> None:
    podman.write_text("#!/bin/sh\necho no such image >&2\nexit 1\n")

    with pytest.raises(StorageError, match=rf"{BASE}: expected .*digest, got: no such image; BASE_DIGEST=sha256:"):
        base_digest(BASE, "podman", [])


def test_the_dockerfiles_base_means_the_digest_and_the_image_says_so() -> None:
    assert pin_base(BASE, FOUND)[1::2] == [
        f"build-context={BASE}=docker-image://docker.io/library/python@{FOUND}",
        f"label=org.opencontainers.image.base.name={BASE}",
        f"label=org.opencontainers.image.base.digest={FOUND}",
    ]
