"""A clone of what is committed, as a new user has it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.trial import running
from tests.workplace import ROOT, Workplace


def clone(folder: Path) -> Workplace:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return Workplace(folder)


@pytest.fixture(scope="session")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A clone in which `dvc repro` has been typed, once, on the published archives."""
    place = clone(tmp_path_factory.mktemp("whole") / "mnist")
    place.environment |= {name: os.environ[name] for name in ("DATASET_MIRROR",) if name in os.environ}
    place.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{place.environment['PATH']}"
    (place.folder / "repro.log").write_text(place.must("dvc", "repro"))
    return place


@pytest.fixture(scope="session")
def bento(mnist: Workplace, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tag of the champion's Bento, in a store that this process and `mnist` share."""
    store = str(tmp_path_factory.mktemp("bentoml"))
    os.environ["BENTOML_HOME"] = mnist.environment["BENTOML_HOME"] = store
    mnist.must("python", "-m", "pipeline.bento", "--version", "1")
    return (mnist.folder / ".cache/bento").read_text()


@pytest.fixture(scope="session")
def service_url(bento: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where that Bento is served."""
    with running(bento, tmp_path_factory.mktemp("service") / "log") as url:
        yield url
