"""A clone of what is committed, as a new user has it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
