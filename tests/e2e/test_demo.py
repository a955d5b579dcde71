"""The README's first command, typed in a fresh clone in an environment with nothing in it."""

import os
import subprocess
import time
from pathlib import Path

from tests.e2e.conftest import clone

FIVE_MINUTES = 300  # seconds


def test_make_demo_ends_well_on_a_machine_with_nothing_but_python(tmp_path: Path) -> None:
    place = clone(tmp_path / "demo")
    home = tmp_path / "home"
    home.mkdir()
    kept = ("SSL_CERT_FILE", "UV_CACHE_DIR", "PIP_CERT")  # how packages are reached
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    path = os.pathsep.join(folder for folder in os.environ["PATH"].split(os.pathsep) if ".venv" not in folder)

    def demo(*arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
        """What `make demo` says, and the seconds that it takes."""
        started = time.monotonic()
        done = subprocess.run(
            ["make", "demo", *arguments],
            cwd=place.folder,
            env=environment | {"HOME": str(home), "PATH": path},
            capture_output=True,
            text=True,
            timeout=2 * FIVE_MINUTES,
        )
        return done, time.monotonic() - started

    done, took = demo()

    assert done.returncode == 0, done.stdout + done.stderr
    assert took < FIVE_MINUTES
    assert "make ui" in done.stdout
    assert place.must("git", "status", "--porcelain") == ""
    (parent,) = place.parents()
    assert parent.info.run_name == "demo"
    assert parent.data.metrics["test_accuracy"] > 0.95
    assert [sorted(version.aliases) for version in place.versions("digits")] == [["champion", "demo"]]
    assert "6 GB" in done.stdout

    again, _ = demo()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "pipeline.train" not in again.stdout  # it comes from the run-cache
    assert len(place.parents()) == 1

    other, _ = demo("SET=train.epochs=3")
    assert other.returncode == 0, other.stdout + other.stderr
    assert (place.folder / ".cache/bento").read_text().startswith("digits-service:v2-")  # not the champion, which is v1
    assert place.must("git", "status", "--porcelain") == ""
