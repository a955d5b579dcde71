"""Corrections as the service stores them, the review of them in this process, and a champion that needs some."""

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from pipeline.review.server import ReviewServer
from serving.corrections.settings import CorrectionLimits
from serving.corrections.store import CorrectionStore
from serving.model import Model
from tests.support import project_clone
from tests.support.inprocess_service import service
from tests.support.pictures import encoded
from tests.support.project_clone import Clone
from tests.support.sample_requests import PNG
from tests.support.synthetic_digits import draw

UNLIMITED = CorrectionLimits(number=10**6, bytes=10**9, per_minute=10**6)


def picture_of(digit: int, seed: int) -> bytes:
    """A PNG of a digit, drawn on a screen."""
    return encoded(draw(digit, np.random.default_rng(seed), "paint"))


def correcting_client(model: Model, folder: Path) -> TestClient:
    """A client of a service that stores corrections in the folder, as many as are sent."""
    folder.mkdir(parents=True, exist_ok=True)
    return TestClient(service(model, corrections=CorrectionStore(folder, UNLIMITED)))


def correct(client: TestClient, picture: bytes, label: object, digit: int | None = None) -> str:
    """Correct the answer to a picture; return the correction's name."""
    query = f"label={label}" if digit is None else f"label={label}&digit={digit}"
    response = client.post(f"/corrections?{query}", content=picture, headers=PNG)
    assert response.status_code == 200, response.text
    name: str = response.json()["correction"]
    return name


@contextlib.contextmanager
def reviewing(folder: Path) -> Iterator[str]:
    """The review of the folder, on a free port; yields the URL."""
    with ReviewServer(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def small_champion(folder: Path, epochs: int) -> Clone:
    """A clone whose first champion was trained on 300 synthetic images. After one epoch it misreads more than half of
    what is drawn, after four a tenth."""
    clone = project_clone.make(folder)
    clone.set("train", epochs=epochs, averaging=0.0)
    clone.set("normalise", validation_share=0.25)
    repro(clone)
    done = promote(clone)
    assert done.returncode == 0, done.stdout + done.stderr
    return clone


def repro(clone: Clone) -> str:
    """Commit what has changed, compute, and commit the results. Returns what `dvc repro` prints."""
    commit(clone)
    printed = clone.check_output("dvc", "repro")
    commit(clone)
    return printed


def commit(clone: Clone) -> None:
    clone.check_output("git", "add", "--all")
    clone.check_output("git", "commit", "--quiet", "--message", "step")


def promote(clone: Clone) -> "subprocess.CompletedProcess[str]":
    return clone.run("python", "-m", "pipeline.promotion.promote")
